import { ResourceFacts, isMap } from './resource-facts';
import { PostgresServerFacts } from './server-facts';
import { refOf } from './value';

/** What a rule looks at: one template, as it will be deployed, and whether its stack may be deleted. */
export class TemplateFacts {
  readonly resources: readonly ResourceFacts[];
  readonly servers: readonly PostgresServerFacts[];
  private readonly byId: ReadonlyMap<string, ResourceFacts>;

  constructor(
    template: unknown,
    readonly stack: { readonly name: string; readonly terminationProtection: boolean | undefined },
  ) {
    const raw = isMap(template) && isMap(template.Resources) ? template.Resources : {};
    this.resources = Object.entries(raw).flatMap(([id, resource]) =>
      isMap(resource) ? [new ResourceFacts(id, resource)] : [],
    );
    this.byId = new Map(this.resources.map((resource) => [resource.logicalId, resource]));
    this.servers = this.resources.flatMap((resource) => PostgresServerFacts.of(resource, this) ?? []);
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
