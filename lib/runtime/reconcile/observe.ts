import { DesiredState } from '../../contract';
import {
  AclEntry,
  Inside,
  Observed,
  ObservedColumnGrant,
  ObservedDatabase,
  ObservedDefaultAcl,
  ObservedMembership,
  ObservedRelation,
  ObservedRole,
  ObservedRoutine,
  ObservedSchema,
  SettingFacts,
} from './observed';
import { Session } from './session';

/**
 * Reads the catalog in a constant number of queries: one set for the server, one per declared database, never one per object.
 * An ACL that is NULL means the built-in default, hence acldefault() everywhere; ACLs are taken apart by aclexplode() alone,
 * since role names may contain every character that their text form uses.
 */

export interface ServerFacts {
  readonly versionNumber: number;
  readonly version: string;
  readonly user: string;
  readonly superuser: boolean;
  readonly createRole: boolean;
  readonly flavour: 'rds' | 'plain';
  readonly systemIdentifier?: string;
  readonly now: Date;
  /** Those of the declared databases that exist and let the connected role in. */
  readonly databases: ReadonlySet<string>;
}

export async function observeFacts(session: Session, desired: DesiredState): Promise<ServerFacts> {
  const [row] = await session.read<{
    version_number: number;
    version: string;
    user: string;
    superuser: boolean;
    create_role: boolean;
    flavour: 'rds' | 'plain';
    system_identifier: string | null;
    now: Date;
    databases: string[];
  }>(
    `SELECT current_setting('server_version_num')::int AS version_number, current_setting('server_version') AS version,
            rolname AS user, rolsuper AS superuser, rolcreaterole AS create_role,
            CASE WHEN EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_superuser')
                 AND EXISTS (SELECT FROM pg_database WHERE datname = 'rdsadmin') THEN 'rds' ELSE 'plain' END AS flavour,
            CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')
                 THEN (SELECT system_identifier::text FROM pg_control_system()) END AS system_identifier,
            now() AS now,
            ARRAY(SELECT datname::text FROM pg_database WHERE datname = ANY($1) AND datallowconn
                    AND has_database_privilege(oid, 'CONNECT')) AS databases
     FROM pg_roles WHERE rolname = current_user`,
    [desired.databases.map((database) => database.name)],
  );
  return {
    versionNumber: row.version_number,
    version: row.version,
    user: row.user,
    superuser: row.superuser,
    createRole: row.create_role,
    flavour: row.flavour,
    systemIdentifier: row.system_identifier ?? undefined,
    now: row.now,
    databases: new Set(row.databases),
  };
}

type ServerCatalog = Pick<Observed, 'roles' | 'memberships' | 'settings' | 'databases'>;

export async function observeServer(session: Session): Promise<ServerCatalog> {
  const roles = await session.read<ObservedRole & { validUntil: string | null }>(`
    SELECT rolname AS name, rolsuper AS superuser, rolinherit AS inherit, rolcreaterole AS "createRole",
           rolcreatedb AS "createDatabase", rolcanlogin AS login, rolreplication AS replication, rolbypassrls AS "bypassRls",
           rolconnlimit AS "connectionLimit",
           CASE WHEN rolvaliduntil < '10000-01-01Z'
                THEN to_char(greatest(rolvaliduntil, '0001-01-01Z') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') END AS "validUntil"
    FROM pg_roles ORDER BY 1`);
  const memberships = await session.read<ObservedMembership>(`
    SELECT r.rolname AS role, m.rolname AS member, coalesce(g.rolname, '') AS grantor,
           a.admin_option AS admin, a.inherit_option AS inherit, a.set_option AS set
    FROM pg_auth_members a
    JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member LEFT JOIN pg_roles g ON g.oid = a.grantor
    ORDER BY 1, 2, 3`);
  const databases = await session.read<Omit<ObservedDatabase, 'acl'> & { acl: AclRow[] }>(`
    SELECT d.datname AS name, pg_get_userbyid(d.datdba) AS owner, d.datconnlimit AS "connectionLimit",
           d.datallowconn AS "allowConnections", pg_encoding_to_char(d.encoding) AS encoding, d.datcollate AS locale,
           (SELECT json_agg(${ACL_ROW}) FROM aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS e) AS acl
    FROM pg_database d ORDER BY 1`);
  const settings = await session.read<{ role: string | null; database: string | null; config: string[] }>(`
    SELECT r.rolname AS role, d.datname AS database, s.setconfig AS config
    FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
    WHERE (s.setrole = 0 OR r.oid IS NOT NULL) AND (s.setdatabase = 0 OR d.oid IS NOT NULL)
    ORDER BY 1, 2`);
  return {
    roles: new Map(roles.map((role) => [role.name, { ...role, validUntil: role.validUntil ?? undefined }])),
    memberships,
    databases: new Map(databases.map((row) => [row.name, { ...row, acl: acl(row.acl) }])),
    settings: settings.map(({ role, database, config }) => ({
      role: role ?? undefined,
      database: database ?? undefined,
      values: new Map(
        config.map((pair): [string, string] => {
          const at = pair.indexOf('=');
          return [pair.slice(0, at).toLowerCase(), pair.slice(at + 1)];
        }),
      ),
    })),
  };
}

/** What a session starts as (ALTER ROLE … SET role) is a setting that everybody may set and pg_settings leaves out. */
const UNLISTED_SETTINGS: readonly [string, SettingFacts][] = [
  ['role', { type: 'string', context: 'user', maySet: true }],
];

export async function observeSettingFacts(session: Session, desired: DesiredState): Promise<Map<string, SettingFacts>> {
  const names = [...new Set(desired.settings.map((setting) => setting.name.toLowerCase()))];
  if (names.length === 0) return new Map();
  const rows = await session.read<{
    name: string;
    type: string;
    unit: string | null;
    context: string;
    may_set: boolean;
  }>(
    `SELECT lower(name) AS name, vartype AS type, unit, context,
            has_parameter_privilege(name, 'SET') AS may_set
     FROM pg_settings WHERE lower(name) = ANY($1)`,
    [names],
  );
  return new Map([
    ...UNLISTED_SETTINGS,
    ...rows.map((row): [string, SettingFacts] => [
      row.name,
      { type: row.type, unit: row.unit ?? undefined, context: row.context, maySet: row.may_set },
    ]),
  ]);
}

export async function observeConnected(session: Session, roles: readonly string[]): Promise<Set<string>> {
  if (roles.length === 0) return new Set();
  const rows = await session.read<{ name: string }>(
    `SELECT DISTINCT usename AS name FROM pg_stat_activity WHERE usename = ANY($1)`,
    [roles],
  );
  return new Set(rows.map((row) => row.name));
}

/** How many sessions each of these roles has now. */
export async function observeSessions(session: Session, roles: readonly string[]): Promise<Record<string, number>> {
  if (roles.length === 0) return {};
  const rows = await session.read<{ name: string; count: number }>(
    `SELECT usename::text AS name, count(*)::int AS count FROM pg_stat_activity
     WHERE usename = ANY($1) AND pid <> pg_backend_pid() GROUP BY 1 ORDER BY 1`,
    [roles],
  );
  return Object.fromEntries(rows.map(({ name, count }) => [name, count]));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

type AclRow = [grantee: string | null, grantor: string, privilege: string, grantable: boolean];

const ACL_ROW = `json_build_array(CASE WHEN e.grantee <> 0 THEN pg_get_userbyid(e.grantee) END, pg_get_userbyid(e.grantor), e.privilege_type, e.is_grantable)`;

function acl(rows: AclRow[] | null): AclEntry[] {
  return (rows ?? []).map(([grantee, grantor, privilege, grantable]) => ({ grantee, grantor, privilege, grantable }));
}

const DEFAULT_ACL_OBJECTS = { r: 'tables', S: 'sequences', f: 'routines', T: 'types', n: 'schemas' } as const;

/** Reads the declared schemas of the database that `session` is connected to, and the schema `public`. */
export async function observeInside(session: Session, declaredSchemas: readonly string[]): Promise<Inside> {
  const schemas = await session.read<Omit<ObservedSchema, 'acl'> & { acl: AclRow[] }>(
    `SELECT n.nspname AS name, pg_get_userbyid(n.nspowner) AS owner,
            (SELECT json_agg(${ACL_ROW}) FROM aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) AS e) AS acl
     FROM pg_namespace n WHERE n.nspname = ANY($1)`,
    [[...declaredSchemas, 'public']],
  );
  // Many objects of a schema share few owners and access lists: each list is taken apart once, and stands for all of them.
  const groups = await session.read<{
    schema: string;
    class: 'r' | 's' | 'f';
    owner: string;
    acl: AclRow[] | null;
    extension: boolean;
    names: string[];
    signatures: string[] | null;
  }>(
    `WITH spaces AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = ANY($1)),
          objects AS (
       SELECT 'pg_class'::regclass AS catalog, oid, relnamespace AS space, relname AS name, relowner AS owner, relacl AS acl,
              CASE relkind WHEN 'S' THEN 's' ELSE 'r' END AS class, NULL AS signature
       FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relnamespace IN (SELECT oid FROM spaces)
       UNION ALL
       SELECT 'pg_proc'::regclass, oid, pronamespace, proname, proowner, proacl, 'f', proname || '(' || oidvectortypes(proargtypes) || ')'
       FROM pg_proc WHERE pronamespace IN (SELECT oid FROM spaces)),
          groups AS (
       SELECT space, class, owner, acl, (catalog, oid) IN (SELECT classid, objid FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e') AS extension,
              json_agg(name) AS names, CASE class WHEN 'f' THEN json_agg(signature) END AS signatures
       FROM objects GROUP BY 1, 2, 3, 4, 5)
     SELECT s.nspname AS schema, g.class, pg_get_userbyid(g.owner) AS owner, g.extension,
            (SELECT json_agg(${ACL_ROW}) FROM aclexplode(coalesce(g.acl, acldefault(g.class::"char", g.owner))) AS e) AS acl,
            g.names, g.signatures
     FROM groups g JOIN spaces s ON s.oid = g.space`,
    [declaredSchemas],
  );
  // The server reads on while the objects are sorted. Few columns of many have an access list: they are found first.
  const reading = session.read<Omit<ObservedColumnGrant, 'acl'> & { acl: AclRow[] }>(
    `WITH granted AS MATERIALIZED (SELECT attrelid, attname, attacl FROM pg_attribute WHERE attacl IS NOT NULL AND NOT attisdropped)
     SELECT n.nspname AS schema, c.relname AS table, a.attname AS column, pg_get_userbyid(c.relowner) AS owner,
            (SELECT json_agg(${ACL_ROW}) FROM aclexplode(a.attacl) AS e) AS acl
     FROM granted a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = ANY($1)
     ORDER BY 1, 2, 3`,
    [declaredSchemas],
  );
  const relations: ObservedRelation[] = [];
  const routines: ObservedRoutine[] = [];
  for (const { schema, owner, extension, names, signatures, ...group } of groups) {
    const common = { schema, owner, extension, acl: acl(group.acl) };
    const kind = group.class === 's' ? 'sequence' : 'table';
    names.forEach((name, at) => {
      if (signatures) routines.push({ ...common, name, signature: signatures[at] });
      else relations.push({ ...common, name, kind });
    });
  }
  relations.sort((a, b) => compare(a.schema, b.schema) || compare(a.name, b.name));
  routines.sort((a, b) => compare(a.schema, b.schema) || compare(a.signature, b.signature));
  const columns = await reading;
  const defaults = await session.read<{ creator: string; schema: string | null; objects: string; acl: AclRow[] }>(
    `SELECT pg_get_userbyid(d.defaclrole) AS creator, n.nspname AS schema, d.defaclobjtype AS objects,
            (SELECT json_agg(${ACL_ROW}) FROM aclexplode(d.defaclacl) AS e) AS acl
     FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace
     WHERE d.defaclnamespace = 0 OR n.nspname = ANY($1)
     ORDER BY 1, 2 NULLS FIRST, 3`,
    [declaredSchemas],
  );
  return {
    schemas: new Map(schemas.map((row) => [row.name, { ...row, acl: acl(row.acl) }])),
    relations,
    routines,
    columns: columns.map((row) => ({ ...row, acl: acl(row.acl) })),
    defaultAcls: defaults.map((row): ObservedDefaultAcl => ({
      creator: row.creator,
      schema: row.schema ?? undefined,
      objects: DEFAULT_ACL_OBJECTS[row.objects as keyof typeof DEFAULT_ACL_OBJECTS] ?? 'other',
      acl: acl(row.acl),
    })),
  };
}
