import { DesiredDrop, DropTarget } from '../../contract';
import { Connections } from './connections';
import { Session } from './session';

/** What is to be dropped, as far as it is there: what hangs on it, what it holds, and what stands in the way. */
export type ObservedDrop =
  | ObservedRoleDrop
  | ObservedDatabaseDrop
  | ObservedContainerDrop
  | { readonly kind: 'publication'; readonly owner: string; readonly tables: number }
  | { readonly kind: 'subscription'; readonly owner: string; readonly slot?: string }
  | { readonly kind: 'slot'; readonly active: boolean; readonly mayDrop: boolean; readonly held?: string }
  /** It may be there, in a database that the connected role cannot enter. */
  | { readonly kind: 'closed' };

export interface ObservedRoleDrop {
  readonly kind: 'role';
  readonly sessions: number;
  /** What the whole server has of it, by catalog: databases, tablespaces, parameters. */
  readonly shared: readonly Dependence[];
  /** The databases that have anything of it. */
  readonly databases: readonly RoleInDatabase[];
  /** Databases that have something of it and cannot be entered. */
  readonly closed: readonly string[];
}

export interface Dependence {
  readonly catalog: string;
  /** As pg_shdepend has it: o owner, a named in an access list, r in a policy, i in initial privileges, t a tablespace. */
  readonly type: string;
  readonly count: number;
}

export interface RoleInDatabase {
  readonly database: string;
  readonly owner: string;
  /** How many of what it owns, but for what DROP OWNED takes with it in any case. */
  readonly owned: readonly { readonly type: string; readonly count: number }[];
  /** The owners of the objects on which it has privileges, with how many of them. */
  readonly grantedOn: readonly { readonly owner: string; readonly count: number }[];
  /** Privileges that somebody other than the owner gave it, which nobody else can take back. */
  readonly grantedByOthers: readonly { readonly object: string; readonly grantor: string }[];
  /** Privileges that it gave to others, who would lose them. */
  readonly passedOn: readonly { readonly object: string; readonly grantee: string }[];
  readonly policies: readonly {
    readonly policy: string;
    readonly table: string;
    readonly owner: string;
    /** No other role has it, and it would vanish. */
    readonly alone: boolean;
  }[];
  /** What it may give on, with who owns it, as a REVOKE names it. */
  readonly grantable: readonly {
    readonly owner: string;
    readonly what: string;
    /** That it is in. */
    readonly schema: { readonly name: string; readonly owner: string } | null;
  }[];
  readonly defaultPrivileges: number;
  readonly userMappings: number;
  /** Where its heir has to have CREATE to be given what it owns there: schemas, or the database itself. */
  readonly heirCreatesIn: readonly {
    /** Absent: the database. */
    readonly schema: string | null;
    readonly owner: string;
    readonly may: boolean;
  }[];
}

export interface ObservedDatabaseDrop {
  readonly kind: 'database';
  /** The sessions of others, as `role (application)`. */
  readonly sessions: readonly string[];
  readonly slots: readonly string[];
  readonly subscriptions: readonly string[];
  readonly prepared: readonly string[];
  /** Absent: the connected role may not know. */
  readonly size?: string;
}

export interface ObservedContainerDrop {
  readonly kind: 'schema' | 'extension';
  readonly owner: string;
  /** How many objects it has, by kind. */
  readonly contents: readonly { readonly type: string; readonly count: number }[];
  /** What keeps a drop without CASCADE from working. */
  readonly dependents: readonly string[];
  /** What a drop with CASCADE takes from other places. */
  readonly elsewhere: readonly string[];
  readonly size?: string;
}

export function dropKey(target: DropTarget): string {
  return JSON.stringify([target.kind, 'database' in target ? target.database : '', target.name]);
}

/** Absent: nothing is to be dropped, and nothing was asked. */
export async function observeDrops(
  connections: Connections,
  drops: readonly DesiredDrop[],
): Promise<ReadonlyMap<string, ObservedDrop> | undefined> {
  if (drops.length === 0) return undefined;
  const admin = await connections.admin();
  const found = new Map<string, ObservedDrop>();
  const open = await openDatabases(admin);
  for (const [database, targets] of byDatabase(drops)) {
    if (!open.has(database)) continue;
    if (!open.get(database)) targets.forEach((target) => found.set(dropKey(target), { kind: 'closed' }));
    else {
      const session = await connections.in(database);
      for (const target of targets) {
        const observed = await observeInDatabase(session, target);
        if (observed) found.set(dropKey(target), observed);
      }
    }
  }
  for (const drop of drops) {
    if (drop.kind !== 'role') continue;
    const observed = await observeRole(connections, admin, drop.name, drop.reassignTo);
    if (observed) found.set(dropKey(drop), observed);
  }
  // Last: no connection of this run may be left in a database that is to go.
  if (drops.some(({ kind }) => kind === 'database')) await connections.closeOther();
  for (const drop of drops) {
    if (drop.kind !== 'database' || !open.has(drop.name)) continue;
    found.set(dropKey(drop), await observeDatabase(admin, drop.name));
  }
  return found;
}

/** Whether anything of it is still there, without looking at what hangs on it. */
export async function anyLeft(connections: Connections, drops: readonly DesiredDrop[]): Promise<boolean> {
  if (drops.length === 0) return false;
  const admin = await connections.admin();
  const names = (kind: DropTarget['kind']) => drops.filter((drop) => drop.kind === kind).map((drop) => drop.name);
  const [row] = await admin.read<{ left: boolean }>(
    `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = ANY($1)) OR EXISTS (SELECT FROM pg_database WHERE datname = ANY($2)) AS left`,
    [names('role'), names('database')],
  );
  if (row.left) return true;
  const open = await openDatabases(admin);
  for (const [database, targets] of byDatabase(drops)) {
    if (!open.has(database)) continue;
    if (!open.get(database)) return true;
    const [inside] = await (
      await connections.in(database)
    ).read<{ left: boolean }>(
      `SELECT EXISTS (SELECT FROM jsonb_to_recordset($1::jsonb) AS t(kind text, name text) WHERE CASE kind
         WHEN 'schema' THEN EXISTS (SELECT FROM pg_namespace WHERE nspname = name)
         WHEN 'extension' THEN EXISTS (SELECT FROM pg_extension WHERE extname = name)
         WHEN 'publication' THEN EXISTS (SELECT FROM pg_publication WHERE pubname = name)
         WHEN 'subscription' THEN EXISTS (SELECT FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE subname = name AND datname = current_database())
         ELSE EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = name AND database = current_database()) END) AS left`,
      [JSON.stringify(targets)],
    );
    if (inside.left) return true;
  }
  return false;
}

type Inside = Extract<DropTarget, { readonly database: string }>;

function byDatabase(drops: readonly DropTarget[]): Map<string, Inside[]> {
  const result = new Map<string, Inside[]>();
  for (const drop of drops)
    if ('database' in drop) result.set(drop.database, [...(result.get(drop.database) ?? []), drop]);
  return result;
}

async function openDatabases(admin: Session): Promise<Map<string, boolean>> {
  const rows = await admin.read<{ name: string; open: boolean }>(
    `SELECT datname AS name, datallowconn AND has_database_privilege(oid, 'CONNECT') AS open FROM pg_database`,
  );
  return new Map(rows.map(({ name, open }) => [name, open]));
}

async function observeInDatabase(session: Session, { kind, name }: Inside): Promise<ObservedDrop | undefined> {
  switch (kind) {
    case 'schema':
    case 'extension':
      return observeContainer(session, kind, name);
    case 'publication': {
      const [row] = await session.read<{ owner: string; tables: number }>(
        `SELECT pg_get_userbyid(pubowner) AS owner, (SELECT count(*)::int FROM pg_publication_tables t WHERE t.pubname = p.pubname) AS tables
         FROM pg_publication p WHERE pubname = $1`,
        [name],
      );
      return row && { kind, ...row };
    }
    case 'subscription': {
      const [row] = await session.read<{ owner: string; slot: string | null }>(
        `SELECT pg_get_userbyid(subowner) AS owner, subslotname AS slot FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid
         WHERE subname = $1 AND datname = current_database()`,
        [name],
      );
      return row && { kind, owner: row.owner, slot: row.slot ?? undefined };
    }
    case 'slot': {
      const [row] = await session.read<{ active: boolean; may_drop: boolean; held: string | null }>(
        `SELECT active, (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user)
                  OR (to_regrole('rds_replication') IS NOT NULL AND pg_has_role('rds_replication', 'USAGE')) AS may_drop,
                pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) AS held
         FROM pg_replication_slots WHERE slot_name = $1 AND database = current_database()`,
        [name],
      );
      return row && { kind, active: row.active, mayDrop: row.may_drop, held: row.held ?? undefined };
    }
  }
}

/** More names than these nobody reads. */
const MOST_NAMED = 20;

/**
 * What goes with an object, as PostgreSQL's own dependencies say. `part` goes silently, being a piece of what goes; whatever else
 * depends on it keeps a drop without CASCADE from working, and goes with one that has it.
 */
async function observeContainer(
  session: Session,
  kind: 'schema' | 'extension',
  name: string,
): Promise<ObservedContainerDrop | undefined> {
  const catalog =
    kind === 'schema'
      ? { table: 'pg_namespace', name: 'nspname', owner: 'nspowner' }
      : { table: 'pg_extension', name: 'extname', owner: 'extowner' };
  const [row] = await session.read<{
    owner: string;
    contents: { type: string; count: number }[];
    dependents: string[];
    elsewhere: string[];
    size: string | null;
  }>(
    `WITH RECURSIVE target AS (SELECT oid, ${catalog.owner} AS owner FROM ${catalog.table} WHERE ${catalog.name} = $1),
     part AS (
       SELECT '${catalog.table}'::regclass::oid AS classid, oid AS objid FROM target
       UNION SELECT d.classid, d.objid FROM pg_depend d JOIN part p ON d.refclassid = p.classid AND d.refobjid = p.objid
         WHERE d.deptype IN ('a', 'i', 'e', 'P', 'S')),
     gone AS (
       SELECT classid, objid, 0 AS objsubid FROM part
       UNION SELECT next.* FROM gone g, LATERAL (
         SELECT d.classid, d.objid, d.objsubid FROM pg_depend d
         WHERE d.refclassid = g.classid AND d.refobjid = g.objid AND (g.objsubid = 0 OR d.refobjsubid = g.objsubid)
         -- A piece takes with it what it is a piece of: the rule of a view, for one.
         UNION ALL SELECT d.refclassid, d.refobjid, d.refobjsubid FROM pg_depend d
         WHERE d.classid = g.classid AND d.objid = g.objid AND (g.objsubid = 0 OR d.objsubid = g.objsubid) AND d.deptype IN ('i', 'e')) next),
     named AS (
       SELECT i.type, i.schema, pg_describe_object(g.classid, g.objid, g.objsubid) AS text, g.classid, g.objid, g.objsubid
       FROM gone g, LATERAL pg_identify_object(g.classid, g.objid, g.objsubid) i
       WHERE (g.classid, g.objid) NOT IN (SELECT '${catalog.table}'::regclass::oid, oid FROM target)
         AND i.type NOT IN ('rule', 'default value', 'toast table')
         -- An array type, a row type or an index of a constraint is a piece of something that is named itself.
         AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = g.classid AND d.objid = g.objid AND d.deptype = 'i'))
     SELECT pg_get_userbyid(t.owner) AS owner,
            (SELECT coalesce(json_agg(json_build_object('type', type, 'count', count) ORDER BY type), '[]') FROM
              (SELECT type, count(*) FROM named WHERE ${kind === 'schema' ? 'schema = $1' : '(classid, objid) IN (SELECT * FROM part)'} AND objsubid = 0
                 AND type NOT IN ('table constraint', 'trigger', 'policy', 'index') GROUP BY 1) c) AS contents,
            ARRAY(SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) FROM pg_depend d JOIN part p ON d.refclassid = p.classid AND d.refobjid = p.objid
                  WHERE d.deptype = 'n' AND (d.classid, d.objid) NOT IN (SELECT * FROM part) ORDER BY 1 LIMIT ${MOST_NAMED}) AS dependents,
            ARRAY(SELECT text FROM named WHERE ${kind === 'schema' ? 'schema IS DISTINCT FROM $1' : '(classid, objid) NOT IN (SELECT * FROM part)'}
                  ORDER BY 1 LIMIT ${MOST_NAMED}) AS elsewhere,
            (SELECT pg_size_pretty(sum(pg_total_relation_size(objid))) FROM gone JOIN pg_class c ON c.oid = objid
             WHERE classid = 'pg_class'::regclass AND objsubid = 0 AND relkind IN ('r', 'm')) AS size
     FROM target t`,
    [name],
  );
  return row && { kind, ...row, size: row.size ?? undefined };
}

async function observeDatabase(admin: Session, name: string): Promise<ObservedDatabaseDrop> {
  const [row] = await admin.read<Omit<ObservedDatabaseDrop, 'kind' | 'size'> & { size: string | null }>(
    `SELECT ARRAY(SELECT coalesce(usename, backend_type) || coalesce(' (' || nullif(application_name, '') || ')', '') FROM pg_stat_activity
                  WHERE datname = $1 AND NOT (usename = current_user AND application_name = current_setting('application_name'))
                    AND backend_type IN ('client backend', 'walsender') ORDER BY 1) AS sessions,
            ARRAY(SELECT slot_name::text FROM pg_replication_slots WHERE database = $1 ORDER BY 1) AS slots,
            ARRAY(SELECT subname::text FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid WHERE d.datname = $1 ORDER BY 1) AS subscriptions,
            ARRAY(SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY 1) AS prepared,
            CASE WHEN has_database_privilege($1, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'USAGE')
                 THEN pg_size_pretty(pg_database_size($1::name)) END AS size`,
    [name],
  );
  return { kind: 'database', ...row, size: row.size ?? undefined };
}

async function observeRole(
  connections: Connections,
  admin: Session,
  name: string,
  heir: string | undefined,
): Promise<ObservedRoleDrop | undefined> {
  const [role] = await admin.read<{ sessions: number }>(
    `SELECT (SELECT count(*)::int FROM pg_stat_activity a WHERE a.usename = r.rolname) AS sessions FROM pg_roles r WHERE rolname = $1`,
    [name],
  );
  if (!role) return undefined;
  const rows = await admin.read<Dependence & { database: string | null; open: boolean }>(
    `SELECT d.datname AS database, coalesce(d.datallowconn AND has_database_privilege(d.oid, 'CONNECT'), true) AS open,
            s.classid::regclass::text AS catalog, s.deptype AS type, count(*)::int AS count
     FROM pg_shdepend s LEFT JOIN pg_database d ON d.oid = s.dbid
     WHERE s.refclassid = 'pg_authid'::regclass AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
     GROUP BY 1, 2, 3, 4 ORDER BY 1, 3, 4`,
    [name],
  );
  const databases: RoleInDatabase[] = [];
  const names = [...new Set(rows.flatMap((row) => (row.database !== null && row.open ? row.database : [])))];
  for (const database of names)
    databases.push(await observeRoleIn(await connections.in(database), database, name, heir));
  return {
    kind: 'role',
    sessions: role.sessions,
    shared: rows.filter((row) => row.database === null).map(({ catalog, type, count }) => ({ catalog, type, count })),
    databases,
    closed: [...new Set(rows.filter((row) => !row.open).map((row) => row.database!))],
  };
}

/** Every catalog with access lists, but for default privileges: DROP OWNED takes an entry of those whoever made it. */
const ACLS: readonly [catalog: string, object: string, owner: string, acl: string, from?: string][] = [
  ['pg_class', 'oid', 'relowner', 'relacl'],
  ['pg_class', 'attrelid', 'relowner', 'attacl', 'pg_attribute a JOIN pg_class c ON c.oid = a.attrelid'],
  ['pg_proc', 'oid', 'proowner', 'proacl'],
  ['pg_namespace', 'oid', 'nspowner', 'nspacl'],
  ['pg_type', 'oid', 'typowner', 'typacl'],
  ['pg_language', 'oid', 'lanowner', 'lanacl'],
  ['pg_foreign_data_wrapper', 'oid', 'fdwowner', 'fdwacl'],
  ['pg_foreign_server', 'oid', 'srvowner', 'srvacl'],
  ['pg_largeobject_metadata', 'oid', 'lomowner', 'lomacl'],
];
/** In large object's dependencies stands the catalog of their data. */
const DEPENDING: Readonly<Record<string, string>> = { pg_largeobject_metadata: 'pg_largeobject' };

/** What PostgreSQL gives only to an owner who may create such a thing in its schema; it does not ask for tables and types. */
const CREATED_IN_SCHEMA = [
  'pg_proc',
  'pg_operator',
  'pg_opclass',
  'pg_opfamily',
  'pg_collation',
  'pg_conversion',
  'pg_statistic_ext',
  'pg_ts_dict',
  'pg_ts_config',
];

async function observeRoleIn(
  session: Session,
  database: string,
  role: string,
  heir: string | undefined,
): Promise<RoleInDatabase> {
  const acls = ACLS.map(
    ([catalog, object, owner, acl, from]) =>
      `SELECT '${DEPENDING[catalog] ?? catalog}'::regclass::oid AS classid, ${object} AS objid, ${owner} AS owner, ${acl} AS acl, ${from === undefined ? 'NULL' : 'attname'} AS of_column FROM ${from ?? catalog} WHERE ${acl} IS NOT NULL`,
  );
  const [row] = await session.read<Omit<RoleInDatabase, 'database'>>(
    `WITH me AS (SELECT oid FROM pg_roles WHERE rolname = $1),
     deps AS MATERIALIZED (
       SELECT classid, objid, objsubid, deptype FROM pg_shdepend
       WHERE refclassid = 'pg_authid'::regclass AND refobjid = (SELECT oid FROM me)
         AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())),
     acls AS (
       SELECT o.classid, o.objid, o.owner, o.of_column, e.grantor, e.grantee, e.is_grantable FROM (${acls.join(' UNION ALL ')}) o, aclexplode(o.acl) e
       WHERE (o.classid, o.objid) IN (SELECT classid, objid FROM deps WHERE deptype = 'a')
         AND (e.grantee = (SELECT oid FROM me) OR e.grantor = (SELECT oid FROM me))),
     mine AS (SELECT * FROM acls WHERE grantee = (SELECT oid FROM me) AND owner <> grantee)
     SELECT (SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = current_database()) AS owner,
       (SELECT coalesce(json_agg(json_build_object('type', type, 'count', count) ORDER BY type), '[]') FROM (
          SELECT (pg_identify_object(classid, objid, 0)).type, count(*) FROM deps
          WHERE deptype = 'o' AND classid NOT IN ('pg_default_acl'::regclass, 'pg_user_mapping'::regclass) GROUP BY 1) o) AS owned,
       (SELECT coalesce(json_agg(json_build_object('owner', pg_get_userbyid(owner), 'count', count) ORDER BY pg_get_userbyid(owner)), '[]') FROM (
          SELECT owner, count(DISTINCT (classid, objid)) FROM mine GROUP BY 1) g) AS "grantedOn",
       (SELECT coalesce(json_agg(DISTINCT jsonb_build_object('object', pg_describe_object(classid, objid, 0), 'grantor', pg_get_userbyid(grantor))), '[]')
        FROM mine WHERE grantor <> owner) AS "grantedByOthers",
       (SELECT coalesce(json_agg(DISTINCT jsonb_build_object('object', pg_describe_object(classid, objid, 0),
                 'grantee', CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END)), '[]')
        FROM acls WHERE grantor = (SELECT oid FROM me) AND grantee <> grantor AND owner <> grantor) AS "passedOn",
       (SELECT coalesce(json_agg(json_build_object('policy', polname, 'table', polrelid::regclass::text, 'owner', pg_get_userbyid(relowner),
                 'alone', cardinality(polroles) = 1) ORDER BY polname, polrelid::regclass::text), '[]')
        FROM deps JOIN pg_policy p ON p.oid = objid JOIN pg_class c ON c.oid = polrelid WHERE classid = 'pg_policy'::regclass) AS policies,
       (SELECT coalesce(json_agg(DISTINCT jsonb_build_object('owner', pg_get_userbyid(owner), 'what',
                 CASE classid::regclass::text
                   WHEN 'pg_class' THEN concat_ws(' ', 'ALL', '(' || quote_ident(of_column) || ')', 'ON', CASE type WHEN 'sequence' THEN 'SEQUENCE' ELSE 'TABLE' END,
                     (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = objid))
                   WHEN 'pg_proc' THEN 'ALL ON ROUTINE ' || identity
                   WHEN 'pg_namespace' THEN 'ALL ON SCHEMA ' || identity
                   WHEN 'pg_type' THEN 'ALL ON TYPE ' || identity
                   WHEN 'pg_language' THEN 'ALL ON LANGUAGE ' || identity
                   WHEN 'pg_foreign_data_wrapper' THEN 'ALL ON FOREIGN DATA WRAPPER ' || identity
                   WHEN 'pg_foreign_server' THEN 'ALL ON FOREIGN SERVER ' || identity
                   ELSE 'ALL ON LARGE OBJECT ' || objid END,
                 'schema', (SELECT jsonb_build_object('name', nspname, 'owner', pg_get_userbyid(nspowner)) FROM pg_namespace WHERE nspname = schema))), '[]')
        FROM mine, LATERAL pg_identify_object(classid, objid, 0) WHERE is_grantable) AS grantable,
       (SELECT count(*)::int FROM deps WHERE classid = 'pg_default_acl'::regclass) AS "defaultPrivileges",
       (SELECT count(*)::int FROM deps WHERE classid = 'pg_user_mapping'::regclass) AS "userMappings",
       (SELECT coalesce(json_agg(json_build_object('schema', schema, 'owner', owner, 'may', coalesce(may, false)) ORDER BY schema), '[]') FROM (
          SELECT n.nspname AS schema, pg_get_userbyid(n.nspowner) AS owner, has_schema_privilege(h.oid, n.oid, 'CREATE') AS may
          FROM pg_namespace n LEFT JOIN pg_roles h ON h.rolname = $2
          WHERE n.nspname IN (SELECT (pg_identify_object(classid, objid, 0)).schema FROM deps
                              WHERE deptype = 'o' AND classid::regclass::text = ANY($3))
          UNION ALL SELECT NULL, pg_get_userbyid(d.datdba), has_database_privilege(h.oid, d.oid, 'CREATE')
          FROM pg_database d LEFT JOIN pg_roles h ON h.rolname = $2
          WHERE d.datname = current_database() AND EXISTS (SELECT FROM deps WHERE deptype = 'o' AND classid = 'pg_publication'::regclass)) c) AS "heirCreatesIn"`,
    [role, heir ?? null, CREATED_IN_SCHEMA],
  );
  return { database, ...row };
}
