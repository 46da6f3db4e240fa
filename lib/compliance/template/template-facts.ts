import { ResourceFacts, isMap } from './resource-facts';
import { PostgresServerFacts } from './server-facts';
import { attributeName, attributeOwner, exportOf, refOf } from './value';

export const NESTED_STACK = 'AWS::CloudFormation::Stack';

/** Where a nested template stands: its parameters are given there, and its outputs read. */
export interface Nesting {
  readonly parent: TemplateFacts;
  /** The logical id of the nested stack in it. */
  readonly logicalId: string;
}

/** What a rule looks at: one template, as it will be deployed, and whether its stack may be deleted. */
export class TemplateFacts {
  readonly resources: readonly ResourceFacts[];
  readonly servers: readonly PostgresServerFacts[];
  private readonly byId: ReadonlyMap<string, ResourceFacts>;
  private readonly outputs: readonly (readonly [string, Readonly<Record<string, unknown>>])[];
  private app: readonly TemplateFacts[] = [this];
  private nesting?: Nesting;

  constructor(
    template: unknown,
    readonly stack: { readonly name: string; readonly terminationProtection: boolean | undefined },
  ) {
    const raw = isMap(template) && isMap(template.Resources) ? template.Resources : {};
    this.resources = Object.entries(raw).flatMap(([id, resource]) =>
      isMap(resource) ? [new ResourceFacts(id, resource)] : [],
    );
    this.byId = new Map(this.resources.map((resource) => [resource.logicalId, resource]));
    const outputs = isMap(template) && isMap(template.Outputs) ? Object.entries(template.Outputs) : [];
    this.outputs = outputs.flatMap(([id, output]) => (isMap(output) ? [[id, output] as const] : []));
    this.servers = this.resources.flatMap((resource) => PostgresServerFacts.of(resource, this) ?? []);
  }

  /** Tells it the other templates of its app, and where it stands if it is nested. */
  place(app: readonly TemplateFacts[], nesting: Nesting | undefined): void {
    this.app = app;
    this.nesting = nesting;
  }

  /** The servers of all templates of the app, with the template that each is in. */
  get allServers(): readonly { readonly server: PostgresServerFacts; readonly template: TemplateFacts }[] {
    return this.app.flatMap((template) => template.servers.map((server) => ({ server, template })));
  }

  /** The resource that a reference means, also one that comes over an export, a parameter or an output from another template of the app. */
  meant(value: unknown): ResourceFacts | undefined {
    const own = this.byLogicalId(attributeOwner(value)) ?? this.referenced(value);
    if (own && own.type !== NESTED_STACK) return own;
    if (own) {
      const inside = this.app.find(({ nesting }) => nesting?.parent === this && nesting.logicalId === own.logicalId);
      return inside?.meant(inside.outputs.find(([id]) => `Outputs.${id}` === attributeName(value))?.[1].Value);
    }
    const exported = exportOf(value);
    if (exported !== undefined) {
      for (const template of this.app) {
        const output = template.outputs.find(([, { Export }]) => isMap(Export) && Export.Name === exported);
        if (output) return template.meant(output[1].Value);
      }
      return undefined;
    }
    const { nesting } = this;
    const given = nesting?.parent.byLogicalId(nesting.logicalId)?.rawOf('Parameters');
    const parameter = refOf(value);
    return parameter !== undefined && isMap(given) && given[parameter] !== undefined
      ? nesting!.parent.meant(given[parameter])
      : undefined;
  }

  ofType(type: string): readonly ResourceFacts[] {
    return this.resources.filter((resource) => resource.type === type);
  }

  /** The resource of this template that `{ Ref: … }` names. */
  referenced(value: unknown): ResourceFacts | undefined {
    const id = refOf(value);
    return id === undefined ? undefined : this.byId.get(id);
  }

  /** The resource of this template with this logical id. */
  byLogicalId(id: string | undefined): ResourceFacts | undefined {
    return id === undefined ? undefined : this.byId.get(id);
  }
}
