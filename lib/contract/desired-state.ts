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
  readonly defaults: 'V1';
  /** Hashes of plans whose withheld steps may run. */
  readonly acknowledgedPlans: readonly string[];
  readonly roles: readonly DesiredRole[];
  readonly memberships: readonly DesiredMembership[];
  readonly settings: readonly DesiredSetting[];
  readonly databases: readonly DesiredDatabase[];
}

/** How a role proves who it is. `none`: it does not log in, or somebody else manages how. */
export type RoleAuthentication = 'none' | 'password' | 'iam';

export interface DesiredRole {
  readonly name: string;
  readonly login: boolean;
  readonly authentication: RoleAuthentication;
  /** rolinherit; it decides only the default of later memberships, which this contract always writes out. */
  readonly inherit: boolean;
  readonly createDatabase: boolean;
  readonly createRole: boolean;
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
