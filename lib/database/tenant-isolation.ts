import { IRole } from './role';

/** The type of the column that says whose row it is. */
export enum TenantType {
  /** `uuid`. */
  UUID = 'uuid',
  /** `text` or `varchar`. */
  TEXT = 'text',
  /** `integer`. */
  INTEGER = 'integer',
  /** `bigint`. */
  BIGINT = 'bigint',
}

/** How far the isolation of tenants has come. An application that is in use goes through them one by one. */
export enum TenantStage {
  /** The policies are there and have no effect. */
  PREPARED = 'prepared',
  /**
   * Row security is on, lets everything through, and counts whether the isolated roles set their tenant. The server must count calls of
   * functions (`track_functions` is `pl`).
   */
  OBSERVED = 'observed',
  /** Row security is on, for the owner of a table too: who has not set its tenant sees no row. */
  ENFORCED = 'enforced',
}

/** How tenants are kept apart. */
export interface TenantIsolationOptions {
  /** The column that says whose row it is. Every table of the schema that has it is isolated. */
  readonly column: string;

  /** The type of the column, the same in every table. */
  readonly type: TenantType;

  /**
   * The roles that see the rows of their tenant alone: what the application logs in as, or groups of which that is a member. None of
   * them may own the tables or be able to act as their owner.
   */
  readonly roles: IRole[];

  /**
   * The roles that see the rows of all tenants: reports over all, the owner if its migrations change rows.
   *
   * @default - none
   */
  readonly allTenants?: IRole[];

  /**
   * The setting with the tenant, a prefix and a name, which the application sets in each transaction.
   *
   * @default app.tenant_id
   */
  readonly setting?: string;

  /**
   * How far it has come. A step that turns row security on or off waits for the acknowledgement of its plan, except for tables that come
   * to a schema that is enforced already.
   *
   * @default TenantStage.PREPARED
   */
  readonly stage?: TenantStage;
}
