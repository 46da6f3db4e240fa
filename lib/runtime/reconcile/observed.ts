import { ManagedKind } from './ledger';
import { Replication, ReplicationFacts } from './replication';

/** What the catalog says, read by `observe.ts` and never changed after. Roles are named, since names are what a declaration has. */

/** The grantee PUBLIC: in the catalog it is OID 0, and no role. */
export const PUBLIC = null;
export type Grantee = string | typeof PUBLIC;

export interface AclEntry {
  readonly grantee: Grantee;
  readonly grantor: string;
  readonly privilege: string;
  readonly grantable: boolean;
}

export interface ObservedRole {
  readonly name: string;
  readonly superuser: boolean;
  readonly inherit: boolean;
  readonly createRole: boolean;
  readonly createDatabase: boolean;
  readonly login: boolean;
  readonly bypassRls: boolean;
  readonly connectionLimit: number;
  /** ISO 8601 in UTC, with the first of its years for all that is before; absent: never expires, or not before the year 10000. */
  readonly validUntil?: string;
}

export interface ObservedMembership {
  readonly role: string;
  readonly member: string;
  readonly grantor: string;
  readonly admin: boolean;
  readonly inherit: boolean;
  readonly set: boolean;
}

/** `name=value` pairs of a database, a role or a role in one database, as the catalog stores them. */
export interface ObservedSettings {
  readonly role?: string;
  readonly database?: string;
  readonly values: ReadonlyMap<string, string>;
}

/** What pg_settings knows of a setting that a declaration or the catalog names. */
export interface SettingFacts {
  readonly type: string;
  readonly unit?: string;
  readonly context: string;
  /** Whether the connected role was granted SET on it (GRANT SET ON PARAMETER). */
  readonly maySet: boolean;
}

export interface ObservedDatabase {
  readonly name: string;
  readonly owner: string;
  readonly connectionLimit: number;
  readonly allowConnections: boolean;
  readonly encoding: string;
  readonly locale: string;
  readonly acl: readonly AclEntry[];
}

export interface Securable {
  readonly schema: string;
  readonly name: string;
  readonly owner: string;
  readonly acl: readonly AclEntry[];
  /** Belongs to an extension: its privileges are the extension's business. */
  readonly extension: boolean;
}

export interface ObservedRelation extends Securable {
  readonly kind: 'table' | 'sequence';
}

export interface ObservedRoutine extends Securable {
  /** `name(type, type)`, as PostgreSQL prints the types. */
  readonly signature: string;
}

export interface ObservedColumnGrant {
  readonly schema: string;
  readonly table: string;
  readonly column: string;
  readonly owner: string;
  readonly acl: readonly AclEntry[];
}

export interface ObservedSchema {
  readonly name: string;
  readonly owner: string;
  readonly acl: readonly AclEntry[];
}

export interface ObservedDefaultAcl {
  readonly creator: string;
  /** Absent: for every schema of the database. */
  readonly schema?: string;
  readonly objects: 'tables' | 'sequences' | 'routines' | 'types' | 'schemas' | 'other';
  readonly acl: readonly AclEntry[];
}

/** The inside of one database, as far as the declaration speaks of it. */
export interface Inside {
  readonly schemas: ReadonlyMap<string, ObservedSchema>;
  readonly relations: readonly ObservedRelation[];
  readonly routines: readonly ObservedRoutine[];
  readonly columns: readonly ObservedColumnGrant[];
  readonly defaultAcls: readonly ObservedDefaultAcl[];
  /** Absent: nothing is declared that needs it. */
  readonly replication?: Replication;
}

/** How a login with the secret's current password ends. `unknown`: the server did not let it come to a verdict. */
export type LoginVerdict = 'works' | 'fails' | 'unknown';

export interface Observed {
  readonly versionNumber: number;
  readonly version: string;
  /** The connected role. */
  readonly user: string;
  readonly flavour: 'rds' | 'plain';
  readonly systemIdentifier?: string;
  readonly roles: ReadonlyMap<string, ObservedRole>;
  readonly memberships: readonly ObservedMembership[];
  readonly settings: readonly ObservedSettings[];
  readonly settingFacts: ReadonlyMap<string, SettingFacts>;
  readonly databases: ReadonlyMap<string, ObservedDatabase>;
  /** By database name; only declared databases that exist and can be entered. */
  readonly inside: ReadonlyMap<string, Inside>;
  /** Existing password roles. */
  readonly logins: ReadonlyMap<string, LoginVerdict>;
  /** Absent: nothing is declared that needs them. */
  readonly replicationFacts?: ReplicationFacts;
  /** By connectionKey(): a hash of the version of the secret that each declared subscription should connect by, where it is known. */
  readonly connectionVersions: ReadonlyMap<string, string>;
  /** The one that it connects by, as far as this library has set it. */
  readonly connectedVersions: ReadonlyMap<string, string>;
  /** Roles that have a session now, of those that are about to be disabled or have declared settings. */
  readonly connected: ReadonlySet<string>;
  readonly now: Date;
}

export function isThere(observed: Observed, item: { kind: ManagedKind; name: string; database: string }): boolean {
  const { kind, name, database } = item;
  if (kind === 'role') return observed.roles.has(name);
  if (kind === 'database') return observed.databases.has(name);
  const inside = observed.inside.get(database);
  switch (kind) {
    case 'schema':
      return inside?.schemas.has(name) ?? false;
    case 'publication':
      return inside?.replication?.publications.has(name) ?? false;
    case 'slot':
      return inside?.replication?.slots.has(name) ?? false;
    case 'subscription':
      return inside?.replication?.subscriptions.has(name) ?? false;
  }
}
