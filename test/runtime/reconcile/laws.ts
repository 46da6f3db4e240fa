import * as fc from 'fast-check';
import { DesiredDatabase, DesiredState, GrantTarget, OBJECT_KIND_OF } from '../../../lib/contract';
import { reconcile, RefusedError, Report, Step } from '../../../lib/runtime/reconcile';
import { fitsVerifier } from '../../../lib/runtime/secrets';
import { TestServer } from '../../support/postgres';
import { Story } from './generators';
import {
  besides,
  Check,
  checksInside,
  checksOfDrops,
  isForeign,
  MORE_INSIDE_ROWS,
  MORE_SERVER_ROWS,
  seenOfOthers,
} from './laws-inside';
import { secretsOf } from './secrets';
import { HandStep } from './stories';

/** What holds for every declaration on every server, checked by other means than those of the code under test. */

/** Autovacuum writes to the catalog too, which would look as if a run did. */
export const QUIET_SERVER = { autovacuum: 'off' } as const;

const PASSWORDS = Object.fromEntries(
  ['own_a', 'own_b', 'role_a', 'role_b', 'role_c', 'role_d'].map((role) => [role, `secret of ${role}`]),
);
export const secrets = secretsOf(PASSWORDS);

/** Nobody connects by it: the subscriptions of the stories are disabled. */
const connections = async () => ({
  host: 'publisher.example',
  port: 5432,
  dbname: 'there',
  username: 'reader',
  password: 'secret of the publisher',
  versionId: 'v1',
});

/** One row of a catalog that says who may do what, or how something is set. */
export interface Row {
  readonly kind:
    | 'role'
    | 'membership'
    | 'setting'
    | 'database'
    | 'schema'
    | 'object'
    | 'default'
    | 'comment'
    | 'extension'
    | 'policy'
    | 'row security'
    | 'replica identity'
    | 'publication'
    | 'subscription'
    | 'slot'
    | `acl of ${'database' | 'schema' | 'object' | 'column'}`;
  /** Absent: of the whole server. */
  readonly database?: string | null;
  readonly schema?: string | null;
  readonly name?: string;
  /** Of an object: who owns it. Of a default privilege: who creates. */
  readonly owner?: string;
  readonly role?: string;
  readonly member?: string;
  readonly grantee?: string;
  readonly privilege?: string;
  readonly grantor?: string;
  readonly value?: string;
}

const ENTRY = `CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee) END AS grantee,
  e.privilege_type || CASE WHEN e.is_grantable THEN ' with grant option' ELSE '' END AS privilege, pg_get_userbyid(e.grantor) AS grantor`;
const MADE = `c.relkind IN ('r', 'v', 'm', 'S', 'p') AND c.oid >= 16384 AND n.nspname !~ '^pg_'`;

/** What an extension consists of comes and goes with it. */
const notOfExtension = (catalog: string, oid: string) =>
  `NOT EXISTS (SELECT FROM pg_depend x WHERE x.classid = '${catalog}'::regclass AND x.objid = ${oid} AND x.deptype = 'e')`;

const SERVER_ROWS = [
  `SELECT 'role' AS kind, rolname AS name, to_jsonb(a) - 'oid' || '{}' AS value FROM pg_authid a WHERE rolname !~ '^(pg_|rds)'`,
  `SELECT 'membership' AS kind, pg_get_userbyid(roleid) AS role, pg_get_userbyid(member) AS member, pg_get_userbyid(grantor) AS grantor,
     format('inherit %s, set %s, admin %s', inherit_option, set_option, admin_option) AS value FROM pg_auth_members`,
  `SELECT 'setting' AS kind, r.rolname AS role, d.datname AS database, split_part(c, '=', 1) AS name, c AS value
   FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c`,
  `SELECT 'database' AS kind, datname AS database, pg_get_userbyid(datdba) AS owner, datconnlimit AS value FROM pg_database`,
  `SELECT 'acl of database' AS kind, datname AS database, pg_get_userbyid(datdba) AS owner, ${ENTRY}
   FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) e`,
  ...MORE_SERVER_ROWS,
];

/**
 * What the creator of an object and PUBLIC get without a row in pg_default_acl; the server takes a row away that says no more than this,
 * as when the last one else whom it names is dropped, and nothing has changed then. A row for one schema adds to it.
 */
const BUILT_IN = `CASE WHEN d.defaclnamespace = 0 THEN acldefault(CASE d.defaclobjtype WHEN 'S' THEN 's' ELSE d.defaclobjtype END, d.defaclrole) END`;

const INSIDE_ROWS = [
  `SELECT 'schema' AS kind, nspname AS schema, pg_get_userbyid(nspowner) AS owner FROM pg_namespace WHERE nspname !~ '^pg_'`,
  `SELECT 'acl of schema' AS kind, nspname AS schema, pg_get_userbyid(nspowner) AS owner, ${ENTRY}
   FROM pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) e WHERE nspname !~ '^pg_'`,
  `SELECT 'object' AS kind, n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE ${MADE}`,
  `SELECT 'acl of object' AS kind, n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
          CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END AS value, ${ENTRY}
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
     aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) e WHERE ${MADE}`,
  `SELECT 'object' AS kind, n.nspname AS schema, p.proname AS name, pg_get_userbyid(p.proowner) AS owner
   FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.oid >= 16384 AND ${notOfExtension('pg_proc', 'p.oid')}`,
  `SELECT 'acl of object' AS kind, n.nspname AS schema, p.proname AS name, pg_get_userbyid(p.proowner) AS owner, 'routine' AS value, ${ENTRY}
   FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(coalesce(proacl, acldefault('f', proowner))) e
   WHERE p.oid >= 16384 AND ${notOfExtension('pg_proc', 'p.oid')}`,
  `SELECT 'acl of column' AS kind, n.nspname AS schema, c.relname || '.' || a.attname AS name, pg_get_userbyid(c.relowner) AS owner, ${ENTRY}
   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(a.attacl) e WHERE ${MADE}`,
  ...[
    ['beyond the built-in default', 'd.defaclacl', BUILT_IN],
    ['less than the built-in default', BUILT_IN, 'd.defaclacl'],
  ].map(
    ([value, these, without]) =>
      `SELECT 'default' AS kind, n.nspname AS schema, d.defaclobjtype AS name, pg_get_userbyid(d.defaclrole) AS owner,
              pg_get_userbyid(d.defaclrole) AS role, '${value}' AS value, ${ENTRY}
       FROM pg_default_acl d LEFT JOIN pg_namespace n ON n.oid = d.defaclnamespace,
         LATERAL (SELECT * FROM aclexplode(${these}) EXCEPT SELECT * FROM aclexplode(${without})) e`,
  ),
  ...MORE_INSIDE_ROWS,
];

const asJson = (queries: readonly string[]) =>
  queries.map((query) => `SELECT to_jsonb(q) AS row FROM (${query}) AS q`).join('\nUNION ALL ');

/** Everything in the server but the ledger of this library. */
export async function snapshot(server: TestServer): Promise<Row[]> {
  const read = async (queries: readonly string[], database: string, of: object) =>
    (await server.query<{ row: Row }>(asJson(queries), { superuser: true, database }))
      .map(
        ({ row }) => ({ ...of, ...row, value: row.value === undefined ? undefined : JSON.stringify(row.value) }) as Row,
      )
      .filter((row) => !row.schema?.startsWith('cdk_postgres'));
  const rows = await read(SERVER_ROWS, 'postgres', {});
  const names = rows.filter(({ kind }) => kind === 'database').map(({ database }) => database!);
  for (const database of names.filter((name) => !['template0', 'template1', 'rdsadmin', 'postgres'].includes(name)))
    rows.push(...(await read(INSIDE_ROWS, database, { database })));
  return rows;
}

const text = (row: Row) => JSON.stringify(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)));
/** Who granted changes with the owner of an object, and what was granted does not. */
const withoutGrantor = ({ grantor, owner, ...row }: Row): Row =>
  row.grantee === undefined ? { ...row, grantor, owner } : row;

function differences(before: readonly Row[], after: readonly Row[], of: (row: Row) => Row): string[] {
  const texts = (rows: readonly Row[]) => new Set(rows.map((row) => text(of(row))));
  const [old, now] = [texts(before), texts(after)];
  return [
    ...[...old].filter((row) => !now.has(row)).map((row) => `gone: ${row}`),
    ...[...now].filter((row) => !old.has(row)).map((row) => `new: ${row}`),
  ];
}

/** What is nobody's business but that of others: everything that no declaration of this story speaks of. */
export function foreign(rows: readonly Row[], states: readonly DesiredState[]): Row[] {
  const roles = new Set(states.flatMap((state) => state.roles.map(({ name }) => name)));
  const databases = new Map<string, DesiredDatabase[]>();
  for (const database of states.flatMap((state) => state.databases))
    databases.set(database.name, [...(databases.get(database.name) ?? []), database]);
  const settings = new Set(
    states.flatMap((state) => state.settings.map((s) => JSON.stringify([s.role ?? null, s.database ?? null, s.name]))),
  );
  const named = new Set(
    [...databases.values()]
      .flat()
      .flatMap((d) => [
        d.owner,
        ...d.schemas.map(({ owner }) => owner),
        ...d.defaultPrivileges.map(({ creator }) => creator),
      ]),
  );
  return rows.filter((row) => {
    const isOfOthers = isForeign(row, states);
    if (isOfOthers !== undefined) return isOfOthers;
    const declared = databases.get(row.database ?? '') ?? [];
    const closed = declared.some((database) => database.public === 'closed');
    const isOurs = (grantee: string) => roles.has(grantee) || (grantee === 'PUBLIC' && closed) || grantee === row.owner;
    switch (row.kind) {
      case 'role':
        return !roles.has(row.name!);
      case 'membership':
        return !roles.has(row.member!) && !(row.member === 'master' && (roles.has(row.role!) || named.has(row.role!)));
      case 'setting':
        return !settings.has(JSON.stringify([row.role ?? null, row.database ?? null, row.name]));
      case 'database':
        return declared.length === 0;
      case 'acl of database':
        return declared.length === 0 || (!isOurs(row.grantee!) && row.grantee !== 'master');
      case 'object':
        return true;
      case 'schema':
        return !declared.some(({ schemas }) => schemas.some(({ name }) => name === row.schema));
      case 'acl of schema':
      case 'acl of object':
      case 'acl of column': {
        const isDeclared = declared.some(({ schemas }) => schemas.some(({ name }) => name === row.schema));
        const isPublicCreate = row.schema === 'public' && row.grantee === 'PUBLIC' && row.privilege === 'CREATE';
        return isDeclared ? !isOurs(row.grantee!) : !(closed && isPublicCreate);
      }
      case 'default':
        return !'rSf'.includes(row.name!) || !named.has(row.owner!) || !isOurs(row.grantee!);
    }
    throw new Error(`nobody has said whose a row of ${row.kind} is`);
  });
}

/** Undeclared objects are untouched: what others have is the same before and after, and nothing has been added to it. */
export function touched(before: readonly Row[], after: readonly Row[], states: readonly DesiredState[]): string[] {
  // What is made new by the run is of the declaration, whoever has it: a new schema, and what its owner gets with it.
  const existed = new Set(before.filter(({ kind }) => kind === 'database').map(({ database }) => database));
  const owners = new Set([...before, ...after].map((row) => `${row.database}/${row.schema}/${row.owner}`));
  const stays = besides(
    states.flatMap(({ drops }) => drops),
    before,
  );
  const kept = (rows: readonly Row[]) =>
    foreign(rows, states)
      .filter(stays)
      .filter(({ database }) => database === null || database === undefined || existed.has(database))
      .filter((row) => !row.kind.startsWith('acl') || !owners.has(`${row.database}/${row.schema}/${row.grantee}`));
  return differences(kept(before), kept(after), withoutGrantor);
}

/** First contact is additive: nobody has lost anything, and no password, owner or limit has changed. */
export function lostAtFirstContact(before: readonly Row[], after: readonly Row[]): string[] {
  // A table that is identified by all of its columns is identified by those of before too.
  const place = (row: Row) => JSON.stringify([row.database, row.schema, row.name]);
  const isFull = (row: Row) => row.kind === 'replica identity' && row.value === JSON.stringify('f');
  const full = new Set(after.filter(isFull).map(place));
  const only = (rows: readonly Row[]) =>
    rows.filter(
      (row) =>
        !['role', 'database', 'membership'].includes(row.kind) &&
        !(row.kind === 'replica identity' && full.has(place(row))),
    );
  const lost = differences(only(before), only(after), withoutGrantor).filter((line) => line.startsWith('gone: '));
  const owners = (rows: readonly Row[]) =>
    rows.filter(({ kind }) => kind === 'database').map(({ kind, database, owner }): Row => ({ kind, database, owner }));
  const passwords = (rows: readonly Row[]) =>
    rows
      .filter(({ kind }) => kind === 'role')
      .map(({ kind, name, value }): Row => {
        const role = JSON.parse(value!) as { rolpassword: string | null; rolcanlogin: boolean };
        return { kind, name, value: role.rolpassword ?? undefined };
      });
  const rights = (rows: readonly Row[]) =>
    rows
      .filter(({ kind }) => kind === 'role' || kind === 'membership')
      .flatMap((row): Row[] => {
        const { kind, name, role, member, grantor } = row;
        return [
          ...row.value!.matchAll(/(rolcanlogin|rolcreatedb|rolcreaterole|rolinherit)": true|(inherit|set|admin) t/g),
        ].map(([value]) => ({ kind, name, role, member, grantor, value }));
      });
  const gone = (of: (rows: readonly Row[]) => Row[]) =>
    differences(of(before), of(after), (row) => row).filter((line) => line.startsWith('gone: '));
  return [...lost, ...gone(owners), ...gone(passwords), ...gone(rights)];
}

/** Whether the server has what is declared, as the server itself says. */
export async function missing(
  server: TestServer,
  state: DesiredState,
  withheld: readonly Step[] = [],
): Promise<string[]> {
  const problems: string[] = [];
  const ask = async (database: string, checks: readonly { what: string; holds: string }[]) => {
    if (checks.length === 0) return;
    const sql = checks
      .map(({ holds }, at) => `SELECT ${at} AS at WHERE NOT coalesce((${holds}), false)`)
      .join('\nUNION ALL ');
    const failed = await server.query<{ at: number }>(sql, { superuser: true, database });
    problems.push(...failed.map(({ at }) => checks[at].what));
  };
  const q = (value: string) => `'${value.replace(/'/g, "''")}'`;
  await ask('postgres', [
    ...state.roles.map(({ name, login, inherit, createDatabase, createRole, connectionLimit, validUntil }) => ({
      what: `the role ${name} is as declared`,
      holds: `SELECT rolcanlogin = ${login} AND rolinherit = ${inherit} AND rolcreatedb = ${createDatabase} AND rolcreaterole = ${createRole}
        ${connectionLimit === undefined ? '' : `AND rolconnlimit = ${connectionLimit}`}
        ${validUntil === undefined ? '' : `AND coalesce(rolvaliduntil, 'infinity') = ${q(validUntil)}`} FROM pg_roles WHERE rolname = ${q(name)}`,
    })),
    ...state.memberships.flatMap(({ role, member, inherit, set, admin }) =>
      [inherit && 'USAGE', set && 'SET', admin && 'MEMBER WITH ADMIN OPTION', 'MEMBER'].flatMap((what) =>
        what
          ? [{ what: `${member} has ${what} of ${role}`, holds: `pg_has_role(${q(member)}, ${q(role)}, ${q(what)})` }]
          : [],
      ),
    ),
    ...state.databases.map(({ name, owner }) => ({
      what: `${owner} owns the database ${name}`,
      holds: `SELECT pg_get_userbyid(datdba) = ${q(owner)} FROM pg_database WHERE datname = ${q(name)}`,
    })),
    ...state.settings.map((s) => ({
      what: `the setting ${s.name} of ${s.role} in ${s.database} is there`,
      holds: `EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) c WHERE split_part(c, '=', 1) = ${q(s.name)}
        AND setrole = coalesce((SELECT oid FROM pg_roles WHERE rolname = ${s.role === undefined ? 'NULL' : q(s.role)}), 0)
        AND setdatabase = coalesce((SELECT oid FROM pg_database WHERE datname = ${s.database === undefined ? 'NULL' : q(s.database)}), 0))`,
    })),
  ]);
  for (const database of state.databases) {
    await ask(database.name, [
      ...database.schemas.map(({ name, owner }) => ({
        what: `${owner} owns the schema ${name}`,
        holds: `SELECT pg_get_userbyid(nspowner) IN (${q(owner)}, ${owner === database.owner ? "'pg_database_owner'" : q(owner)}) FROM pg_namespace WHERE nspname = ${q(name)}`,
      })),
      ...database.grants.flatMap(({ privileges, on, to }) =>
        privileges.map((privilege) => ({
          what: `${to} has ${privilege} on ${JSON.stringify(on)} in ${database.name}`,
          holds: `SELECT coalesce(bool_and(${HAS[OBJECT_KIND_OF[on.kind]]}(${q(to)}, o.oid, ${q(privilege)})), true) FROM (${objectsOf(on)}) o`,
        })),
      ),
      ...database.defaultPrivileges.flatMap(({ creator, schema, objects, privileges, to }) =>
        (creator === to ? [] : privileges).map((privilege) => ({
          what: `${to} will have ${privilege} on ${objects} of ${creator} in ${schema}`,
          holds: `EXISTS (SELECT FROM pg_default_acl, aclexplode(defaclacl) e WHERE defaclrole = ${q(creator)}::regrole
            AND defaclnamespace = ${q(schema)}::regnamespace AND defaclobjtype = ${q({ tables: 'r', sequences: 'S', routines: 'f' }[objects])}
            AND e.grantee = ${q(to)}::regrole AND e.privilege_type = ${q(privilege)})`,
        })),
      ),
      ...(database.public === 'closed'
        ? [
            {
              what: `PUBLIC has nothing on the database ${database.name}`,
              holds: `SELECT NOT bool_or(e.grantee = 0) FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) e WHERE datname = current_database()`,
            },
          ]
        : []),
    ]);
  }
  const isWithheld = ({ step }: Check) => withheld.some(({ object }) => object === step);
  for (const [database, checks] of [...checksInside(state), ...checksOfDrops(state)])
    await ask(
      database,
      checks.filter((check) => !isWithheld(check)),
    );
  if (withheld.length === 0) problems.push(...(await seenOfOthers(server, state)));
  const verifiers = await server.query<{ name: string; verifier: string | null }>(
    'SELECT rolname AS name, rolpassword AS verifier FROM pg_authid',
    { superuser: true },
  );
  const known = new Map(verifiers.map(({ name, verifier }) => [name, verifier]));
  for (const { name, authentication } of state.roles) {
    if (authentication === 'password' && !fitsVerifier(PASSWORDS[name], known.get(name) ?? ''))
      problems.push(`the password of ${name} is the one in its secret`);
  }
  return problems;
}

const HAS = {
  database: 'has_database_privilege',
  schema: 'has_schema_privilege',
  table: 'has_table_privilege',
  sequence: 'has_sequence_privilege',
  routine: 'has_function_privilege',
  type: 'has_type_privilege',
} as const;

function objectsOf(on: GrantTarget): string {
  if (on.kind === 'database') return 'SELECT oid FROM pg_database WHERE datname = current_database()';
  const space = `'${on.schema}'::regnamespace`;
  switch (on.kind) {
    case 'schema':
      return `SELECT ${space}::oid AS oid`;
    case 'allTables':
      return `SELECT oid FROM pg_class WHERE relnamespace = ${space} AND relkind IN ('r', 'p', 'v', 'm')`;
    case 'allSequences':
      return `SELECT oid FROM pg_class WHERE relnamespace = ${space} AND relkind = 'S'`;
    case 'table':
    case 'sequence':
      return `SELECT oid FROM pg_class WHERE relnamespace = ${space} AND relname = '${on.name}'`;
    case 'routine':
      return `SELECT oid FROM pg_proc WHERE pronamespace = ${space} AND proname = '${on.signature.split('(')[0]}'`;
    default:
      return `SELECT oid FROM pg_proc WHERE pronamespace = ${space} AND ${notOfExtension('pg_proc', 'pg_proc.oid')}`;
  }
}

/** What a declared role has on what is declared, and the declaration does not give. */
export function surplus(rows: readonly Row[], state: DesiredState): string[] {
  const managed = new Set(state.roles.map(({ name }) => name));
  const wanted = new Set<string>();
  for (const { name, grants, defaultPrivileges } of state.databases) {
    for (const { privileges, on, to } of grants)
      for (const privilege of privileges) wanted.add(JSON.stringify([name, to, privilege, ...wantedKey(on)]));
    for (const d of defaultPrivileges)
      for (const privilege of d.privileges)
        wanted.add(JSON.stringify([name, d.to, privilege, 'default', d.schema, d.creator, d.objects]));
  }
  const databases = new Map(state.databases.map((database) => [database.name, database]));
  return rows
    .filter((row) => {
      if (row.kind === 'membership')
        return (
          managed.has(row.member!) &&
          // The server gives it to whoever creates a role.
          !(row.grantor === 'rdsadmin' && row.value === JSON.stringify('inherit f, set f, admin t')) &&
          !state.memberships.some(
            (m) =>
              m.role === row.role &&
              m.member === row.member &&
              (m.inherit || !row.value!.includes('inherit t')) &&
              (m.set || !row.value!.includes('set t')) &&
              (m.admin || !row.value!.includes('admin t')),
          ) &&
          !(row.role === 'rds_iam' && state.roles.some((r) => r.name === row.member && r.authentication === 'iam'))
        );
      const database = databases.get(row.database ?? '');
      if (!database || !managed.has(row.grantee ?? '') || row.grantee === row.owner) return false;
      const has = (...key: (string | null | undefined)[]) =>
        wanted.has(JSON.stringify([row.database, row.grantee, row.privilege, ...key]));
      if (row.kind === 'acl of database') return !has('database');
      if (row.kind === 'default') {
        const objects = { r: 'tables', S: 'sequences', f: 'routines' }[row.name!];
        const isCreator =
          row.owner === database.owner ||
          database.schemas.some(({ owner }) => owner === row.owner) ||
          database.defaultPrivileges.some(({ creator }) => creator === row.owner);
        const isJudged =
          row.schema === null || row.schema === undefined || database.schemas.some(({ name }) => name === row.schema);
        return objects !== undefined && isCreator && isJudged && !has('default', row.schema, row.owner, objects);
      }
      if (!row.kind.startsWith('acl') || !database.schemas.some(({ name }) => name === row.schema)) return false;
      if (row.kind === 'acl of schema') return !has('schema', row.schema);
      if (row.kind === 'acl of column') return true;
      const kind = JSON.parse(row.value!) as string;
      return !has(kind, row.schema, row.name) && !has(kind, row.schema, '*');
    })
    .map(text);
}

function wantedKey(on: GrantTarget): string[] {
  if (on.kind === 'database') return ['database'];
  if (on.kind === 'schema') return ['schema', on.schema];
  const kind = OBJECT_KIND_OF[on.kind];
  if (on.kind === 'routine') return [kind, on.schema, on.signature.split('(')[0]];
  return [kind, on.schema, 'name' in on ? on.name : '*'];
}

/** The next transaction id: whatever writes takes one, the smallest change of a row too. */
async function nextTransaction(server: TestServer): Promise<string> {
  const [row] = await server.query<{ next: string }>('SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS next', {
    superuser: true,
  });
  return row.next;
}

/** How many transactions wrote something while `body` ran. */
export async function writers(server: TestServer, body: () => Promise<unknown>): Promise<number> {
  const before = await nextTransaction(server);
  await body();
  return Number(BigInt(await nextTransaction(server)) - BigInt(before));
}

export async function doByHand(server: TestServer, steps: readonly HandStep[]): Promise<void> {
  const clients = new Map<string, Awaited<ReturnType<TestServer['connect']>> | undefined>();
  for (const { database, as, sql } of steps) {
    if (!clients.get(database))
      clients.set(database, await server.connect({ superuser: true, database }).catch(() => undefined));
    const client = clients.get(database);
    // One message is one transaction: what fails leaves nothing, not even the role that it was tried as.
    await client?.query(`${as === undefined ? '' : `SET LOCAL ROLE "${as}"; `}${sql}`).catch(() => undefined);
    await client?.query('RESET ROLE');
  }
  for (const client of clients.values()) await client?.end();
}

/** The kinds of steps, by what they change and how. Every one of them has to occur for the laws to mean something. */
export const STEP_KINDS: readonly (readonly [name: string, object: RegExp, sql: RegExp])[] = [
  ['create role', /^role /, /^CREATE/],
  ['disable login', /^role /, /NOLOGIN$/],
  ['alter role', /^role /, /^ALTER/],
  ['password', /^password /, /./],
  ['act as an owner', /^membership of master /, /./],
  ['give membership', /^membership /, /^GRANT.* WITH /],
  ['take membership', /^membership /, /REVOKE (?!\w+ OPTION)/],
  ['take option of membership', /^membership /, /REVOKE \w+ OPTION/],
  ['set', /^setting /, / SET /],
  ['reset', /^setting /, / RESET /],
  ['create database', /^database /, /^CREATE/],
  ['limit of database', /^database /, /LIMIT/],
  ['owner of database', /^database /, /OWNER TO/],
  ['create schema', /^schema /, /CREATE SCHEMA/],
  ['owner of schema', /^schema /, /OWNER TO/],
  ['revoke grant option', /^grant on /, /REVOKE GRANT OPTION FOR/],
  ...['database', 'schema', 'table', 'sequence', 'routine'].flatMap((kind) => {
    const object = new RegExp(`^grant on (\\d+ )?${kind}s? `);
    const on = ` ON ${kind.toUpperCase()} `;
    return [
      [`grant on ${kind}`, object, new RegExp(`^GRANT .*${on}`, 'm')] as const,
      [`revoke on ${kind}`, object, new RegExp(`^REVOKE .*${on}`, 'm')] as const,
    ];
  }),
  ['revoke on column', /^grant on column /, /REVOKE/],
  ['give default privilege', /^default privileges /, / GRANT /],
  ['take default privilege', /^default privileges .* to (?!PUBLIC)/, / REVOKE /],
  ['close new routines', /^default privileges .* to PUBLIC/, / REVOKE /],
  ['comment', /^comment on /, / IS '/],
  ['take comment', /^comment on /, / IS NULL/],
  ['create extension', /^extension /, /^CREATE/m],
  ['update extension', /^extension /, /^ALTER/m],
  ['change policy', /^policies /, /DROP POLICY/],
  ['make policy', /^policies /, /CREATE POLICY/],
  ['count tenants', /^what count/, /./],
  ['row security off', /^row security /, /DISABLE/],
  ['row security on', /^row security /, /ENABLE|FORCE/],
  ['change what observes', /^row security /, /./],
  ['create publication', /^publication /, /^CREATE/m],
  ['owner of publication', /^publication /, /OWNER TO/],
  ['change publication', /^publication /, /^ALTER/m],
  ['replica identity', /^replica identity /, /./],
  ['create slot', /^slot /, /create/],
  ['create subscription', /^subscription /, /^CREATE/m],
  ['change subscription', /^(connection of )?subscription /, /ALTER/],
  ...['role', 'database', 'schema', 'extension', 'publication', 'subscription', 'slot'].map(
    (kind) => [`drop ${kind}`, new RegExp(`^drop of ${kind} `), /./] as const,
  ),
];

export function kindsOf(step: Step): string[] {
  const sql = step.statements.map((statement) => statement.sql).join('\n');
  const kinds = STEP_KINDS.filter(([, object, pattern]) => object.test(step.object) && pattern.test(sql));
  return kinds.length === 0 ? [`unknown: ${step.object}: ${sql}`] : [kinds[0][0]];
}

/** How often each thing happened over all stories. */
export class Tally {
  private readonly counts = new Map<string, number>();

  add(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  of(what: string): number {
    return this.counts.get(what) ?? 0;
  }

  get lines(): string[] {
    return [...this.counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, count]) => `${String(count).padStart(6)}  ${what}`);
  }

  get unknown(): string[] {
    return [...this.counts.keys()].filter((what) => what.startsWith('unknown'));
  }
}

export class LawError extends Error {
  constructor(law: string, problems: readonly string[]) {
    super(`${law}\n${problems.slice(0, 20).join('\n')}`);
    this.name = 'LawError';
  }
}

function require(law: string, problems: readonly string[]): void {
  if (problems.length > 0) throw new LawError(law, problems);
}

const MOST_ACKNOWLEDGEMENTS = 5;

/** Lives through a story on a server that has nothing else, and checks every law on the way. */
export async function live(server: TestServer, story: Story, tally: Tally): Promise<void> {
  await server.reset();
  await doByHand(server, story.before);
  const applied: DesiredState[] = [];
  for (const [at, state] of [story.first, story.second].entries()) {
    if (at === 1) await doByHand(server, story.between);
    const before = await snapshot(server);
    // What is inside a database that the master may not enter shows once the run has opened it, and may be refused then.
    const closed = await server.query(
      `SELECT FROM pg_database WHERE datname IN ('${state.databases.map(({ name }) => name).join("', '")}') AND NOT has_database_privilege('master', oid, 'CONNECT')`,
      { superuser: true },
    );
    const run = (mode: 'plan' | 'apply', acknowledge: string[] = []) =>
      reconcile(state, server.connection(), { mode, identity: 'the server', secrets, connections, acknowledge });
    const count = ({ plan }: Report) => {
      for (const step of plan.steps) kindsOf(step).forEach((kind) => tally.add(kind));
    };
    let refused: unknown;
    const wrote = await writers(server, async () => {
      const report = await run('apply').catch((error: unknown) => {
        if (!(error instanceof RefusedError)) throw error;
        refused = error;
      });
      if (report) count(report);
    });
    if (refused) {
      tally.add('(refused)');
      if (closed.length > 0) continue;
      require('what is refused is refused before anything is changed', wrote === 0 ? [] : [String(refused)]);
      continue;
    }
    applied.push(state);
    if (applied.length === 1)
      require('first contact takes nothing away', lostAtFirstContact(before, await snapshot(server)));
    let planned = await run('plan');
    for (let n = 0; planned.plan.hash !== undefined; n++) {
      if (n === MOST_ACKNOWLEDGEMENTS)
        throw new LawError(
          'acknowledged steps run',
          planned.plan.withheld.map(({ object }) => object),
        );
      tally.add('(acknowledged)');
      count(await run('apply', [planned.plan.hash]));
      planned = await run('plan');
    }
    require('after an apply nothing is left to do', planned.plan.steps.map((step) => `${step.object}: ${step.reason}`));
    require('a second run writes nothing', (await writers(server, () => run('apply'))) === 0
      ? []
      : [`state ${at + 1}`]);
    const after = await snapshot(server);
    require('what nobody declared is untouched', touched(before, after, applied));
    require('what is declared is there', (await missing(server, state, planned.plan.withheld)).map(
      (what) => `not so: ${what}`,
    ));
    if (planned.plan.withheld.length === 0) require('a declared role has nothing else', surplus(after, state));
    else tally.add('(cannot be done)');
  }
}

export interface Parameters {
  readonly seed: number;
  readonly path?: string;
}

/** `CDK_POSTGRES_SEED=4711 CDK_POSTGRES_PATH=12:3 npx jest …` lives through one story again. */
/** `byDefault`: the same stories each time where a run must not depend on luck, others each time where they are searched. */
export function parameters(byDefault = Math.floor(Math.random() * 2 ** 31)): Parameters {
  const { CDK_POSTGRES_SEED, CDK_POSTGRES_PATH } = process.env;
  return {
    seed: CDK_POSTGRES_SEED === undefined ? byDefault : Number(CDK_POSTGRES_SEED),
    path: CDK_POSTGRES_PATH,
  };
}

/** Checks the laws on so many random stories. */
export async function check(
  stories: fc.Arbitrary<Story>,
  server: TestServer,
  numRuns: number,
  { seed, path }: Parameters,
  tally = new Tally(),
): Promise<void> {
  await fc.assert(
    fc.asyncProperty(stories, (story) => live(server, story, tally)),
    {
      seed,
      path,
      numRuns,
      interruptAfterTimeLimit: numRuns * 10_000 + 60_000, // a story takes 1 s on an idle machine, and 5 s on a busy one
      markInterruptAsFailure: true,
      endOnFailure: process.env.CDK_POSTGRES_SHRINK === undefined,
    },
  );
}
