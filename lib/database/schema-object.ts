import { GrantTarget } from '../contract';

/** What a privilege is granted on inside a schema. */
export class SchemaObject {
  /** The schema itself. */
  public static schema(): SchemaObject {
    return new SchemaObject('schema');
  }

  /** All tables, views, materialized views and foreign tables, those that exist and those made later. */
  public static allTables(): SchemaObject {
    return new SchemaObject('allTables');
  }

  /** All sequences, those that exist and those made later. */
  public static allSequences(): SchemaObject {
    return new SchemaObject('allSequences');
  }

  /** All functions and procedures, those that exist and those made later. */
  public static allRoutines(): SchemaObject {
    return new SchemaObject('allRoutines');
  }

  /**
   * One table, view, materialized view or foreign table. It must be there when the state is applied.
   *
   * @param name its name without the schema
   */
  public static table(name: string): SchemaObject {
    return new SchemaObject('table', name);
  }

  /**
   * One sequence. It must be there when the state is applied.
   *
   * @param name its name without the schema
   */
  public static sequence(name: string): SchemaObject {
    return new SchemaObject('sequence', name);
  }

  /**
   * One function or procedure. It must be there when the state is applied.
   *
   * @param signature its name with its argument types, as PostgreSQL prints them: `total(integer, text)`
   */
  public static routine(signature: string): SchemaObject {
    return new SchemaObject('routine', signature);
  }

  private constructor(
    /** @internal */
    public readonly _kind: Exclude<GrantTarget['kind'], 'database'>,
    /** The name or the signature of a single object. @internal */
    public readonly _name = '',
  ) {}

  /** @internal */
  public _in(schema: string): GrantTarget {
    switch (this._kind) {
      case 'table':
      case 'sequence':
        return { kind: this._kind, schema, name: this._name };
      case 'routine':
        return { kind: this._kind, schema, signature: this._name };
      default:
        return { kind: this._kind, schema };
    }
  }
}
