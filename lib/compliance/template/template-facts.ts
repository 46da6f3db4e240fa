import { PostgresServerFacts } from './server-facts';
import { Value, readValue, refOf } from './value';

interface RawResource {
  readonly Type?: unknown;
  readonly Properties?: Readonly<Record<string, unknown>>;
  readonly DeletionPolicy?: unknown;
}

/** A resource of a template. */
export class ResourceFacts {
  readonly type: string;
  private readonly properties: Readonly<Record<string, unknown>>;

  constructor(
    readonly logicalId: string,
    private readonly raw: RawResource,
  ) {
    this.type = String(raw.Type);
    const properties: unknown = raw.Properties;
    this.properties = isMap(properties) ? properties : {};
  }

  get(property: string): Value {
    return readValue(this.properties[property]);
  }

  /** As the template has it. */
  rawOf(property: string): unknown {
    return this.properties[property];
  }

  /** The elements of a list; undefined where the property is absent or only known at the deployment. */
  list(property: string): readonly unknown[] | undefined {
    const value = this.properties[property];
    return Array.isArray(value) ? (value as unknown[]) : undefined;
  }

  get deletionPolicy(): Value {
    return readValue(this.raw.DeletionPolicy);
  }
}

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

export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
