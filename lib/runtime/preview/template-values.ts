import { AssemblyStack } from './assembly';

/** A reference of the template and what stands for it in a preview. */
export interface Resolved {
  /** As a reader of the template would write it: `Cluster.Endpoint.Address`, `AWS::Region`. */
  readonly reference: string;
  readonly value: string;
}

/** Gives the value of a `Ref` (without attribute) or `Fn::GetAtt`, or undefined when it knows none. */
export type ReferenceSource = (stack: AssemblyStack, logicalId: string, attribute?: string) => string | undefined;

/** References of a template that nothing stands for. */
export class UnresolvedError extends Error {
  constructor(readonly references: readonly string[]) {
    super(
      `The template has references that a preview cannot resolve: ${references.join(', ')}. ` +
        'Say what stands for each with --value REFERENCE=VALUE',
    );
    this.name = 'UnresolvedError';
  }
}

export interface TemplateValuesOptions {
  readonly stacks: readonly AssemblyStack[];
  readonly source: ReferenceSource;
  /** Value of a `{{resolve:…}}` reference, given without its braces. */
  readonly dynamic?: (reference: string) => string | undefined;
  /** What the user says, by reference; wins over everything. */
  readonly given?: Readonly<Record<string, string>>;
}

const NO_VALUE = Symbol('AWS::NoValue');

/** Evaluates what CloudFormation would evaluate in the properties of a resource, and keeps the table of what it used. */
export class TemplateValues {
  private readonly used = new Map<string, string>();
  private readonly unresolved = new Set<string>();

  constructor(private readonly options: TemplateValuesOptions) {}

  /** In the order in which the template names them. */
  get table(): Resolved[] {
    return [...this.used].map(([reference, value]) => ({ reference, value }));
  }

  /** Throws an UnresolvedError that names all references without a value. */
  resolve(stack: AssemblyStack, value: unknown): unknown {
    const result = this.evaluate(stack, value);
    if (this.unresolved.size > 0) throw new UnresolvedError([...this.unresolved]);
    return result === NO_VALUE ? undefined : result;
  }

  private evaluate(stack: AssemblyStack, value: unknown): unknown {
    if (typeof value === 'string') return this.withDynamicReferences(value);
    if (typeof value !== 'object' || value === null) return value;
    if (Array.isArray(value)) {
      return value.map((item) => this.evaluate(stack, item)).filter((item) => item !== NO_VALUE);
    }
    const entries = Object.entries(value);
    if (entries.length === 1 && (entries[0][0] === 'Ref' || entries[0][0].startsWith('Fn::'))) {
      return this.call(stack, entries[0][0], entries[0][1]);
    }
    const evaluated = entries.map(([key, item]) => [key, this.evaluate(stack, item)] as const);
    return Object.fromEntries(evaluated.filter(([, item]) => item !== NO_VALUE));
  }

  private call(stack: AssemblyStack, name: string, argument: unknown): unknown {
    const list = () => this.evaluate(stack, argument) as unknown[];
    switch (name) {
      case 'Ref':
        return this.reference(stack, argument as string);
      case 'Fn::GetAtt': {
        const [id, ...attribute] = Array.isArray(argument) ? (argument as string[]) : String(argument).split('.');
        return this.reference(stack, id, attribute.join('.'));
      }
      case 'Fn::Join': {
        const [separator, parts] = argument as [string, unknown];
        return this.withDynamicReferences((this.evaluate(stack, parts) as unknown[]).map(text).join(separator));
      }
      case 'Fn::Sub':
        return this.substitute(stack, argument);
      case 'Fn::Select': {
        const [at, items] = list() as [string | number, unknown[]];
        return items[Number(at)];
      }
      case 'Fn::Split': {
        const [separator, whole] = list() as [string, unknown];
        return text(whole).split(separator);
      }
      case 'Fn::Base64':
        return Buffer.from(text(this.evaluate(stack, argument))).toString('base64');
      case 'Fn::FindInMap': {
        const [map, first, second] = list() as [string, string, string];
        return stack.template.Mappings?.[map]?.[first]?.[second] ?? this.missing(`FindInMap ${map}.${first}.${second}`);
      }
      case 'Fn::If': {
        const [condition, yes, no] = argument as [string, unknown, unknown];
        return this.evaluate(stack, this.condition(stack, stack.template.Conditions?.[condition]) ? yes : no);
      }
      case 'Fn::ImportValue':
        return this.imported(text(this.evaluate(stack, argument)));
      default:
        return this.missing(name);
    }
  }

  private reference(stack: AssemblyStack, id: string, attribute?: string): unknown {
    if (id === 'AWS::NoValue') return NO_VALUE;
    const name = attribute === undefined ? id : `${id}.${attribute}`;
    const parameter = attribute === undefined ? stack.template.Parameters?.[id] : undefined;
    const value =
      this.options.given?.[name] ??
      pseudoParameter(stack, name) ??
      // The default of an SSM parameter is its name, not its value.
      (parameter && !parameter.Type.startsWith('AWS::SSM::') && parameter.Default !== undefined
        ? text(parameter.Default)
        : undefined) ??
      this.options.source(stack, id, attribute);
    return value === undefined ? this.missing(name) : this.note(name, value);
  }

  private substitute(stack: AssemblyStack, argument: unknown): string {
    const [pattern, variables] = (Array.isArray(argument) ? argument : [argument, {}]) as [
      string,
      Record<string, unknown>,
    ];
    const filled = pattern.replace(/\$\{(!?)([^}]+)\}/g, (_match, literal: string, name: string) => {
      if (literal) return `\${${name}}`;
      if (name in variables) return text(this.evaluate(stack, variables[name]));
      const [id, ...attribute] = name.trim().split('.');
      return text(this.reference(stack, id, attribute.length > 0 ? attribute.join('.') : undefined));
    });
    return this.withDynamicReferences(filled);
  }

  private imported(name: string): unknown {
    for (const stack of this.options.stacks) {
      for (const output of Object.values(stack.template.Outputs ?? {})) {
        if (output.Export && this.evaluate(stack, output.Export.Name) === name)
          return this.evaluate(stack, output.Value);
      }
    }
    return this.options.given?.[name] !== undefined
      ? this.note(name, this.options.given[name])
      : this.missing(`the export ${name}`);
  }

  private condition(stack: AssemblyStack, condition: unknown): boolean {
    const [[name, argument]] = Object.entries((condition ?? { missing: true }) as Record<string, unknown>);
    const all = () => (argument as unknown[]).map((item) => this.condition(stack, item));
    switch (name) {
      case 'Fn::Equals': {
        const [left, right] = (argument as unknown[]).map((item) => this.evaluate(stack, item));
        return text(left) === text(right);
      }
      case 'Fn::And':
        return all().every(Boolean);
      case 'Fn::Or':
        return all().some(Boolean);
      case 'Fn::Not':
        return !all()[0];
      case 'Condition':
        return this.condition(stack, stack.template.Conditions?.[argument as string]);
      default:
        this.missing(`a condition with ${name}`);
        return false;
    }
  }

  private withDynamicReferences(value: string): string {
    return value.replace(/\{\{(resolve:[^{}]+)\}\}/g, (_match, reference: string) => {
      const found = this.options.given?.[reference] ?? this.options.dynamic?.(reference);
      if (found === undefined) return text(this.missing(reference));
      // What such a reference stands for may be a secret, which no table shows.
      this.note(reference, '(a secret)');
      return found;
    });
  }

  private note(reference: string, value: string): string {
    this.used.set(reference, value);
    return value;
  }

  private missing(reference: string): string {
    this.unresolved.add(reference);
    return '';
  }
}

/**
 * What CloudFormation does to the properties of a custom resource on their way to its function: every scalar becomes a string, and
 * empty lists and maps are not sent.
 */
export function asSentByCloudFormation(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asSentByCloudFormation);
  if (typeof value !== 'object' || value === null) return text(value);
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined && item !== null && !isEmpty(item))
    .map(([key, item]) => [key, asSentByCloudFormation(item)]);
  return Object.fromEntries(entries);
}

const isEmpty = (value: unknown) => typeof value === 'object' && value !== null && Object.keys(value).length === 0;

function text(value: unknown): string {
  return typeof value === 'string' ? value : typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function pseudoParameter(stack: AssemblyStack, name: string): string | undefined {
  const china = stack.region.startsWith('cn-');
  switch (name) {
    case 'AWS::AccountId':
      return stack.account;
    case 'AWS::Region':
      return stack.region;
    case 'AWS::Partition':
      return china ? 'aws-cn' : 'aws';
    case 'AWS::URLSuffix':
      return china ? 'amazonaws.com.cn' : 'amazonaws.com';
    case 'AWS::StackName':
      return stack.stackName;
    case 'AWS::StackId':
      return `arn:aws:cloudformation:${stack.region}:${stack.account}:stack/${stack.stackName}/preview`;
    default:
      return undefined;
  }
}
