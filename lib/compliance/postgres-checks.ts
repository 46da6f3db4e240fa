import {
  CfnElement,
  IPolicyValidationContext,
  IPolicyValidationPlugin,
  PolicyValidationPluginReport,
  PolicyViolation,
  Stack,
  Stage,
  Validations,
} from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { isGuarded, uncheckedRule } from './findings';
import { RULES } from './rules';
import { TemplateFacts } from './template/template-facts';

const CHECKS_NAME = 'PostgresChecks';

/**
 * Checks every PostgreSQL server of an app for what its operator would ask: recovery, availability, encryption, who can reach it. It
 * knows the L2 and L1 constructs of aws-rds, and judges the templates as they will be deployed.
 *
 * `Validations.of(app).addPlugins(new PostgresChecks())`; an exception is `Validations.of(server).acknowledge({ id: 'PostgresChecks::BK-3', reason })`.
 *
 * Servers of this library are judged by their own guards, which know the profile and the objectives; here they are checked for the rest.
 */
export class PostgresChecks implements IPolicyValidationPlugin {
  /** The plugin's name, which stands before the rule's id in an acknowledgement: `PostgresChecks::BK-3`. */
  public readonly name: string = CHECKS_NAME;

  /** The ids of all rules, which are those of the requirements. */
  public readonly ruleIds?: string[] = RULES.map(({ id }) => id);

  /** Makes the plugin, with all its rules. An exception from one of them is an acknowledgement at the construct. */
  constructor() {}

  /**
   * Checks the templates of an app or a stage. CDK calls it at the end of the synthesis.
   *
   * @param context the templates, and the app that they are made from
   */
  public validate(context: IPolicyValidationContext): PolicyValidationPluginReport {
    const violations: PolicyViolation[] = [];
    const checked: (CheckedStack & { readonly template: TemplateFacts })[] = [];
    const attempt = (stack: Stack, run: () => void) => {
      try {
        run();
      } catch (error) {
        violations.push(uncheckedRule('LIB-11', stack.node.path, error));
      }
    };
    for (const { stack, file } of checkedStacks(context))
      attempt(stack, () => void checked.push({ stack, file, template: factsOf({ stack, file }) }));
    const templates = checked.map(({ template }) => template);
    for (const { stack, template } of checked) {
      const parent = checked.find((one) => one.stack === stack.nestedStackParent)?.template;
      const logicalId = stack.nestedStackResource && String(stack.resolve(idOf(stack.nestedStackResource)));
      template.place(templates, parent && logicalId !== undefined ? { parent, logicalId } : undefined);
    }
    for (const { stack, template } of checked)
      attempt(stack, () => void violations.push(...violationsOf(stack, template)));
    violations.push(...uselessAcknowledgements(context.appConstruct));
    return { violations, success: violations.every(({ severity }) => severity !== 'error') };
  }
}

function factsOf({ stack, file }: CheckedStack): TemplateFacts {
  return new TemplateFacts(JSON.parse(readFileSync(file, 'utf8')), {
    name: stack.stackName,
    terminationProtection: outermost(stack).terminationProtection ?? false,
  });
}

function idOf(resource: IConstruct): string {
  if (!CfnElement.isCfnElement(resource)) throw new Error(`${resource.node.path} is no resource of a template`);
  return resource.logicalId;
}

function violationsOf(stack: Stack, template: TemplateFacts): PolicyViolation[] {
  const isBare = template.servers.length === 0 && template.ofType('AWS::RDS::DBProxy').length === 0;
  const rules = isBare ? RULES.filter(({ acrossStacks }) => acrossStacks) : RULES;
  const constructs = elementsOf(stack);
  return rules.flatMap((rule) => {
    try {
      return rule.check(template).flatMap(({ resource, reason, property }) => {
        const construct = constructs.get(resource.logicalId);
        if (construct && rule.guard && isGuarded(construct, rule.guard)) return [];
        return {
          ruleName: rule.id,
          description: `${construct?.node.path ?? `${stack.node.path}/${resource.logicalId}`}: ${reason}`,
          fix: rule.fix,
          severity: rule.level,
          // What an old CfnInclude takes over from a file has no construct of its own.
          violatingResources: [
            {
              constructPath: (construct ?? stack).node.path,
              locations: property === undefined ? [] : [`Properties/${property}`],
            },
          ],
        };
      });
    } catch (error) {
      // One rule that stumbles over a template must not take the others with it.
      return [uncheckedRule(rule.id, stack.node.path, error)];
    }
  });
}

interface CheckedStack {
  readonly stack: Stack;
  readonly file: string;
}

/** The stacks whose templates the plugin was called for, nested ones with theirs. */
function checkedStacks({ appConstruct, templatePaths }: IPolicyValidationContext): CheckedStack[] {
  const files = new Set(templatePaths.map((file) => resolve(file)));
  return appConstruct.node
    .findAll()
    .filter(Stack.isStack)
    .map((stack) => ({ stack, file: templateOf(stack) }))
    .filter(({ stack }) => files.has(templateOf(outermost(stack))));
}

function templateOf(stack: Stack): string {
  return resolve(join(Stage.of(stack)!.outdir, stack.templateFile));
}

function outermost(stack: Stack): Stack {
  return stack.nestedStackParent ? outermost(stack.nestedStackParent) : stack;
}

/** By logical id. */
function elementsOf(stack: Stack): Map<string, IConstruct> {
  const found = new Map<string, IConstruct>();
  for (const construct of stack.node.findAll()) {
    if (!CfnElement.isCfnElement(construct) || construct.stack !== stack) continue;
    found.set(String(stack.resolve(construct.logicalId)), construct);
  }
  return found;
}

/** A misspelt id acknowledges nothing, while its author believes that it does. */
function uselessAcknowledgements(app: IConstruct): PolicyViolation[] {
  const known = new Set(RULES.map(({ id }) => `${CHECKS_NAME}::${id}`));
  return app.node.findAll().flatMap((construct) =>
    construct.node.metadata
      .filter(({ type }) => type === Validations.ACKNOWLEDGED_RULES_METADATA_KEY)
      .flatMap(({ data }) => Object.keys((data ?? {}) as object))
      .filter((id) => id.startsWith(`${CHECKS_NAME}::`) && !known.has(id))
      .map((id) => ({
        ruleName: 'LIB-11',
        description: `${construct.node.path}: acknowledge({ id: '${id}' }) names no rule; there are ${RULES.map((rule) => rule.id).join(', ')}`,
        fix: 'Remove it, or use the id that the report shows.',
        severity: 'warning',
        violatingResources: [{ constructPath: construct.node.path, locations: [] }],
      })),
  );
}
