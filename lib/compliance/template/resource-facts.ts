import { Value, readValue } from './value';

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

  /** Whether it is set. `null` and AWS::NoValue leave a property out. */
  has(property: string): boolean {
    return this.get(property) !== undefined;
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

export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
