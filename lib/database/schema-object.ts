import { DesiredDefaultPrivilege, GrantTarget } from '../contract';
import type { IRole } from './role';

const FUTURE: Readonly<Partial<Record<GrantTarget['kind'], DesiredDefaultPrivilege['objects']>>> = {
  allTables: 'tables',
  allSequences: 'sequences',
  allRoutines: 'routines',
};

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

  /** All tables, views, materialized views and foreign tables that there are when the state is applied; those made later get it by the next one. */
  public static existingTables(): SchemaObject {
    return new SchemaObject('allTables', '', 'present');
  }

  /** All sequences that there are when the state is applied; those made later get it by the next one. */
  public static existingSequences(): SchemaObject {
    return new SchemaObject('allSequences', '', 'present');
  }

  /** All functions and procedures that there are when the state is applied; those made later get it by the next one. */
  public static existingRoutines(): SchemaObject {
    return new SchemaObject('allRoutines', '', 'present');
  }

  /**
   * Tables, views, materialized views and foreign tables made later (default privileges), and none of those that there are.
   *
   * @param by the one role whose tables it is about; otherwise the schema's owner and every login role that may create there
   */
  public static futureTables(by?: IRole): SchemaObject {
    return new SchemaObject('allTables', '', 'future', by);
  }

  /**
   * Sequences made later (default privileges), and none of those that there are.
   *
   * @param by the one role whose sequences it is about; otherwise the schema's owner and every login role that may create there
   */
  public static futureSequences(by?: IRole): SchemaObject {
    return new SchemaObject('allSequences', '', 'future', by);
  }

  /**
   * Functions and procedures made later (default privileges), and none of those that there are.
   *
   * @param by the one role whose routines it is about; otherwise the schema's owner and every login role that may create there
   */
  public static futureRoutines(by?: IRole): SchemaObject {
    return new SchemaObject('allRoutines', '', 'future', by);
  }

  private constructor(
    /** @internal */
    public readonly _kind: Exclude<GrantTarget['kind'], 'database'>,
    /** The name or the signature of a single object. @internal */
    public readonly _name = '',
    private readonly when: 'always' | 'present' | 'future' = 'always',
    /** Who makes the objects to come, where it is about those of one role. @internal */
    public readonly _by?: IRole,
  ) {}

  /** The schema's owner is not the owner of every object in it. @internal */
  public get _mayBelongToOthers(): boolean {
    return this.when === 'present' || this._by !== undefined || ['table', 'sequence', 'routine'].includes(this._kind);
  }

  /** The objects to come that it is about. @internal */
  public get _futureObjects(): DesiredDefaultPrivilege['objects'] | undefined {
    return this.when === 'present' ? undefined : FUTURE[this._kind];
  }

  /** @internal */
  public _in(schema: string): GrantTarget | undefined {
    if (this.when === 'future') return undefined;
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
