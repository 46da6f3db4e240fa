/**
 * The contract between synth time and run time: what a state declares about the inside of one PostgreSQL server.
 * This is the decoded form that the runtime works on; `codec.ts` has the form that travels.
 */

/** The contract's version; raised only when an older reader could misunderstand a newer document. */
export const CONTRACT_VERSION = 1;

export type Profile = 'production' | 'development';

export interface DesiredState {
  readonly version: typeof CONTRACT_VERSION;
  /** The claim on the declared objects: two states with different names may not declare the same object. */
  readonly name: string;
  readonly profile: Profile;
  /** The version of the defaults that the declaration was made with. */
  readonly defaults: 'V1' | 'V2';
  /** Hashes of plans whose withheld steps may run. */
  readonly acknowledgedPlans: readonly string[];
  readonly roles: readonly DesiredRole[];
  readonly memberships: readonly DesiredMembership[];
  readonly settings: readonly DesiredSetting[];
  /** What readers of the catalog are told about an object. */
  readonly comments: readonly DesiredComment[];
  /** What is to be gone for good. Nothing else is ever dropped. */
  readonly drops: readonly DesiredDrop[];
  readonly databases: readonly DesiredDatabase[];
}

/** How a role proves who it is. `none`: it does not log in, or somebody else manages how. */
export type RoleAuthentication = 'none' | 'password' | 'iam';

export interface DesiredRole {
  readonly name: string;
  readonly login: boolean;
  readonly authentication: RoleAuthentication;
  /**
   * The group whose secret holds its password. The logins of a group take turns in that secret, which names the one whose turn it is
   * (`turnsOf()`). Absent: a secret of its own.
   */
  readonly passwordOf?: string;
  /** rolinherit; it decides only the default of later memberships, which this contract always writes out. */
  readonly inherit: boolean;
  readonly createDatabase: boolean;
  readonly createRole: boolean;
  /**
   * Whether it may stream changes and use replication slots: by membership in `rds_replication` where the server has that role, by the
   * attribute REPLICATION elsewhere. Absent: not managed.
   */
  readonly replication?: true;
  /** Absent: not managed. -1: no limit. */
  readonly connectionLimit?: number;
  /** ISO 8601 in UTC, or `infinity`. Absent: not managed. */
  readonly validUntil?: string;
}

export interface DesiredMembership {
  /** The group. May be a predefined role. */
  readonly role: string;
  readonly member: string;
  readonly inherit: boolean;
  readonly set: boolean;
  readonly admin: boolean;
}

/** A default of a database, a role, or a role in one database. At least one of `role` and `database` is present. */
export interface DesiredSetting {
  readonly role?: string;
  readonly database?: string;
  readonly name: string;
  /** One value, or the elements of a list setting such as search_path. */
  readonly values: readonly string[];
}

/** COMMENT ON an object; absent ones keep the comment that they have. */
export interface DesiredComment {
  readonly on: CommentTarget;
  readonly text: string;
}

export type CommentTarget =
  | { readonly kind: 'role' | 'database'; readonly name: string }
  | { readonly kind: 'schema'; readonly database: string; readonly name: string };

/** An explicit, destructive act on something that is declared no more. It always waits for an acknowledgement. */
export type DesiredDrop = DropTarget & DropTerms;

export type DropTarget =
  | { readonly kind: 'role' | 'database'; readonly name: string }
  | {
      readonly kind: 'schema' | 'extension' | 'publication' | 'subscription' | 'slot';
      readonly database: string;
      readonly name: string;
    };

export interface DropTerms {
  /** Why, for who reads the plan and the ledger. */
  readonly reason: string;
  /** It may go although this state did not make it. */
  readonly adopted: boolean;
  /** Of a role: who gets what it owns. Absent: it may own nothing. */
  readonly reassignTo?: string;
  /** Of a database: its sessions are ended. */
  readonly force: boolean;
  /** Of a schema: with all that is in it, and all that depends on that. */
  readonly cascade: boolean;
}

export interface DesiredDatabase {
  readonly name: string;
  readonly owner: string;
  /** Absent: not managed. -1: no limit. */
  readonly connectionLimit?: number;
  /** Encoding and libc locale, which PostgreSQL fixes when it creates the database. Absent: the server's default, and not compared. */
  readonly encoding?: string;
  readonly locale?: string;
  /** `closed`: PUBLIC has neither CONNECT, TEMPORARY, CREATE on schema public, nor EXECUTE on routines of declared schemas (SEC-6, SEC-7). */
  readonly public: 'closed' | 'kept';
  readonly schemas: readonly DesiredSchema[];
  readonly grants: readonly DesiredGrant[];
  readonly defaultPrivileges: readonly DesiredDefaultPrivilege[];
  readonly extensions: readonly DesiredExtension[];
  readonly isolations: readonly DesiredIsolation[];
  readonly publications: readonly DesiredPublication[];
  readonly subscriptions: readonly DesiredSubscription[];
  readonly slots: readonly DesiredSlot[];
}

export interface DesiredSchema {
  readonly name: string;
  readonly owner: string;
}

export const PRIVILEGES = {
  database: ['CREATE', 'CONNECT', 'TEMPORARY'],
  schema: ['CREATE', 'USAGE'],
  table: ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER', 'MAINTAIN'],
  sequence: ['USAGE', 'SELECT', 'UPDATE'],
  routine: ['EXECUTE'],
  type: ['USAGE'],
} as const;

export type ObjectKind = keyof typeof PRIVILEGES;
export type Privilege = (typeof PRIVILEGES)[ObjectKind][number];

export type GrantTarget =
  | { readonly kind: 'database' }
  | { readonly kind: 'schema'; readonly schema: string }
  | { readonly kind: 'allTables' | 'allSequences' | 'allRoutines'; readonly schema: string }
  | { readonly kind: 'table' | 'sequence'; readonly schema: string; readonly name: string }
  /** `signature` is the name with its argument types, as PostgreSQL prints them: `total(integer, text)`. */
  | { readonly kind: 'routine'; readonly schema: string; readonly signature: string };

export interface DesiredGrant {
  readonly privileges: readonly Privilege[];
  readonly on: GrantTarget;
  readonly to: string;
}

/** What objects that `creator` makes later will carry. */
export interface DesiredDefaultPrivilege {
  readonly creator: string;
  readonly schema: string;
  readonly objects: 'tables' | 'sequences' | 'routines';
  readonly privileges: readonly Privilege[];
  readonly to: string;
}

export interface DesiredExtension {
  readonly name: string;
  /** Where its objects go when it is created. Absent: where its control file or the search path says, and not compared. */
  readonly schema?: string;
  /** Absent: the server's default version when it is created, and not updated later. */
  readonly version?: string;
}

export const TENANT_TYPES = ['uuid', 'text', 'integer', 'bigint'] as const;
export type TenantType = (typeof TENANT_TYPES)[number];

export const ISOLATION_STAGES = ['prepared', 'observed', 'enforced'] as const;
export type IsolationStage = (typeof ISOLATION_STAGES)[number];

/** Row security by tenant for every table of a schema that has the column (SEC-25). */
export interface DesiredIsolation {
  readonly schema: string;
  readonly column: string;
  readonly type: TenantType;
  /** The setting with the tenant, such as `app.tenant_id`; the application sets it in each transaction. */
  readonly setting: string;
  /**
   * `prepared`: policies are there and have no effect. `observed`: row security is on, lets everything through, and counts whether
   * the roles set the tenant. `enforced`: row security is on, for the owner too.
   */
  readonly stage: IsolationStage;
  /** The roles that see the rows of their tenant alone; at least one. */
  readonly roles: readonly string[];
  /** The roles that see the rows of all tenants: reports over all, migrations. */
  readonly allTenants: readonly string[];
}

export const PUBLISHED_OPERATIONS = ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'] as const;
export type PublishedOperation = (typeof PUBLISHED_OPERATIONS)[number];

export interface DesiredPublication {
  readonly name: string;
  /** Its owner, who must own its tables too. */
  readonly owner: string;
  readonly operations: readonly PublishedOperation[];
  readonly viaRoot: boolean;
  /** Whether stored generated columns are published, from PostgreSQL 18 on. */
  readonly generatedColumns: boolean;
  readonly tables: readonly DesiredPublishedTable[];
  /** Schemas all of whose tables are published, those to come too. */
  readonly schemas: readonly string[];
  readonly allTables: boolean;
}

export interface DesiredPublishedTable {
  readonly schema: string;
  readonly name: string;
  /** Absent: all. */
  readonly columns?: readonly string[];
  /** The row filter, an SQL expression. */
  readonly where?: string;
  /** How the subscriber finds a row that changed (REPLICA IDENTITY). Absent: what the table has. */
  readonly identity?: ReplicaIdentity;
}

export type ReplicaIdentity =
  { readonly kind: 'default' | 'full' } | { readonly kind: 'index'; readonly index: string };

/** Options of a subscription that this contract may name, as PostgreSQL spells them. */
export const SUBSCRIPTION_OPTIONS = [
  'copy_data',
  'streaming',
  'two_phase',
  'failover',
  'origin',
  'disable_on_error',
  'run_as_owner',
  'password_required',
  'synchronous_commit',
] as const;
export type SubscriptionOption = (typeof SUBSCRIPTION_OPTIONS)[number];

export interface DesiredSubscription {
  readonly name: string;
  /** A login role: its worker logs in as it, looks tables up as it, and goes on as the owner of each. */
  readonly owner: string;
  /** The key of the secret with the connection to the publisher, among the secrets that come beside the state. */
  readonly secret: string;
  readonly publications: readonly string[];
  /** The slot on the publisher. Absent: named as the subscription. */
  readonly slot?: string;
  readonly enabled: boolean;
  readonly options: Readonly<Partial<Record<SubscriptionOption, string>>>;
}

/** A logical replication slot for a consumer outside PostgreSQL. It holds WAL until its consumer has read it (LR-17). */
export interface DesiredSlot {
  readonly name: string;
  readonly plugin: string;
  /** The role that reads from it; a slot that nobody answers for fills the disk. */
  readonly consumer: string;
  /** Kept on standbys, so that the consumer goes on after a failover; from PostgreSQL 17 on. */
  readonly failover: boolean;
  readonly twoPhase: boolean;
}

/** The kind of object whose privileges a target or a default privilege speaks of. */
export const OBJECT_KIND_OF = {
  database: 'database',
  schema: 'schema',
  allTables: 'table',
  table: 'table',
  tables: 'table',
  allSequences: 'sequence',
  sequence: 'sequence',
  sequences: 'sequence',
  allRoutines: 'routine',
  routine: 'routine',
  routines: 'routine',
} as const satisfies Record<GrantTarget['kind'] | DesiredDefaultPrivilege['objects'], ObjectKind>;
