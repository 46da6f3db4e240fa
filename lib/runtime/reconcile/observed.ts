import { ObservedDrop } from './observe-drops';
import { Replication, ReplicationFacts } from './replication';
import { ManagedKind } from './types';

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
  readonly replication: boolean;
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

/** A table of a schema whose tenants are isolated. */
export interface ObservedIsolatedTable {
  readonly schema: string;
  readonly name: string;
  readonly owner: string;
  readonly rowSecurity: boolean;
  /** Row security binds the owner too. */
  readonly forced: boolean;
  /** Of the tenant's column, without its length; absent: the table has no such column. */
  readonly columnType?: string;
  /** An index begins with the column. */
  readonly indexed: boolean;
  /** The column's name as the server prints it in an expression. */
  readonly quotedColumn: string;
  readonly policies: readonly ObservedPolicy[];
}

export interface ObservedPolicy {
  readonly name: string;
  readonly permissive: boolean;
  /** `*`: all; else r, a, w or d. */
  readonly command: string;
  readonly roles: readonly Grantee[];
  /** As the server prints them. */
  readonly using: string | null;
  readonly check: string | null;
}

/** A way round the row security of a schema. */
export interface ObservedBypass {
  /** The schema with the isolated tables. */
  readonly isolation: string;
  readonly kind: 'view' | 'materialized view' | 'foreign table' | 'partition' | 'truncate' | 'function';
  readonly schema: string;
  readonly name: string;
  readonly owner: string;
  /** Of a function. */
  readonly arguments: string | null;
  /** The declared roles that have the privilege to use it. */
  readonly roles: readonly string[];
}

/** A function that does nothing but be counted. */
export interface ObservedCounter {
  readonly calls: number;
  /** Its body and attributes are those that it was made with. */
  readonly intact: boolean;
  /** Some policy calls it. */
  readonly used: boolean;
  readonly executors: readonly Grantee[];
}

export interface ObservedIsolation {
  readonly tables: readonly ObservedIsolatedTable[];
  readonly bypasses: readonly ObservedBypass[];
  /** By the name of the function that counts. */
  readonly counters: ReadonlyMap<string, ObservedCounter>;
  /** Who owns the schema of these functions, and them. Absent: it is not there. */
  readonly countingOwner?: string;
  /** Whether this server counts calls at all (track_functions). */
  readonly counted: boolean;
}

/** An extension that is there. */
export interface ObservedExtension {
  readonly name: string;
  readonly version: string;
  readonly schema: string;
  readonly owner: string;
}

/** A version of a declared extension that the server has the files of. */
export interface AvailableVersion {
  readonly name: string;
  readonly version: string;
  readonly isDefault: boolean;
  /** What its script does needs a superuser, or a trusted extension. */
  readonly superuser: boolean;
  readonly trusted: boolean;
  /** Where its control file puts it, whatever is declared. */
  readonly schema?: string;
  readonly requires: readonly string[];
}

export interface ObservedExtensions {
  readonly installed: ReadonlyMap<string, ObservedExtension>;
  /** Of the declared extensions, all that the server could install. */
  readonly available: readonly AvailableVersion[];
  /** The declared extensions with a pinned version to which the installed one can be updated. */
  readonly updatable: ReadonlySet<string>;
  /** The schemas that declared extensions name and that are there. */
  readonly schemas: ReadonlySet<string>;
  /** Settings that decide about extensions, by name; absent: the server has it not, or does not show it to the connected role. */
  readonly settings: ReadonlyMap<string, string>;
}

/** The inside of one database, as far as the declaration speaks of it. */
export interface Inside {
  readonly schemas: ReadonlyMap<string, ObservedSchema>;
  readonly relations: readonly ObservedRelation[];
  readonly routines: readonly ObservedRoutine[];
  readonly columns: readonly ObservedColumnGrant[];
  readonly defaultAcls: readonly ObservedDefaultAcl[];
  /** Present when tenants are declared to be isolated. */
  readonly isolation?: ObservedIsolation;
  /** Absent: no extension is declared here. */
  readonly extensions?: ObservedExtensions;
  /** Absent: nothing is declared that needs it. */
  readonly replication?: Replication;
}

/**
 * How a login with the secret's current password ends. `unknown`: the server did not let it come to a verdict. `resting`: the secret is
 * about the other login of the group, and the password of this one is nobody's business until its turn comes.
 */
export type LoginVerdict = 'works' | 'fails' | 'unknown' | 'resting';

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
  /** By `commentKey()`; absent: no comment is declared. */
  readonly comments?: ReadonlyMap<string, string>;
  /** What is to be dropped and is there; absent: nothing is to be dropped. */
  readonly drops?: ReadonlyMap<string, ObservedDrop>;
  readonly now: Date;
}

/** Whether what a state may manage is there, as far as it was looked at. */
export function exists(
  observed: Pick<Observed, 'roles' | 'databases' | 'inside'>,
  { kind, name, database }: { readonly kind: ManagedKind; readonly name: string; readonly database?: string },
): boolean {
  if (kind === 'role') return observed.roles.has(name);
  if (kind === 'database') return observed.databases.has(name);
  if (kind === 'isolation') return true;
  const inside = observed.inside.get(database!);
  switch (kind) {
    case 'schema':
      return inside?.schemas.has(name) ?? false;
    case 'extension':
      return inside?.extensions?.installed.has(name) ?? false;
    case 'publication':
      return inside?.replication?.publications.has(name) ?? false;
    case 'slot':
      return inside?.replication?.slots.has(name) ?? false;
    case 'subscription':
      return inside?.replication?.subscriptions.has(name) ?? false;
  }
}
