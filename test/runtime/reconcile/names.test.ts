import { ContractError, DesiredState, NameKind, nameProblem } from '../../../lib/contract';
import { ident } from '../../../lib/runtime/reconcile/sql';
import { HOSTILE_NAMES } from '../../contract/states';
import { NOTHING_INSIDE } from '../../support/nothing-inside';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog } from './catalog';
import { declaration, login, owner } from './declaration';
import { apply, appWith, asOwner, asSuperuser, holds, plan, sqlOf } from './runs';

const rolesOnly = (...names: string[]): DesiredState =>
  declaration({ roles: names.map((name) => login(name)), memberships: [], settings: [], databases: [] });

const quoted = (name: string) => `"${name.replace(/"/g, '""')}"`;
const literal = (text: string) => `'${text.replace(/'/g, "''")}'`;

/** A declaration that uses one name for everything that has a name. */
function allNamed(name: string): DesiredState {
  const member = `${name.slice(0, 9)}2`;
  return declaration({
    roles: [owner(name), login(member)],
    memberships: [{ role: name, member, inherit: true, set: false, admin: false }],
    settings: [{ role: member, name: 'application_name', values: [name] }],
    databases: [
      {
        ...NOTHING_INSIDE,
        name,
        owner: name,
        public: 'closed',
        schemas: [{ name, owner: name }],
        grants: [
          { privileges: ['CONNECT'], on: { kind: 'database' }, to: member },
          { privileges: ['USAGE'], on: { kind: 'schema', schema: name }, to: member },
          { privileges: ['SELECT'], on: { kind: 'allTables', schema: name }, to: member },
        ],
        defaultPrivileges: [{ creator: name, schema: name, objects: 'tables', privileges: ['SELECT'], to: member }],
      },
    ],
  });
}

describe.each(VERSIONS)('names on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
  });

  test('case 10: a name that PostgreSQL would cut off is refused, and one that just fits is kept whole', async () => {
    const tooLong = `${'é'.repeat(31)}€`;
    // The trap: the server makes another role of it, and says so in a notice alone.
    await server.query(`CREATE ROLE ${quoted(tooLong)}`);
    expect(await server.query("SELECT octet_length(rolname) AS bytes FROM pg_roles WHERE rolname LIKE 'éé%'")).toEqual([
      { bytes: 62 },
    ]);
    const before = await catalog(server);
    for (const name of [tooLong, 'x'.repeat(64), '😀'.repeat(16)]) {
      await expect(apply(server, rolesOnly(name))).rejects.toThrow(ContractError);
      await expect(apply(server, rolesOnly(name))).rejects.toThrow(/bytes long in UTF-8; PostgreSQL keeps 63/);
      expect(() => ident(name)).toThrow(/over 63 bytes/);
    }
    expect(await catalog(server)).toEqual(before);
    const longest = [`${'ü'.repeat(31)}x`, 'x'.repeat(63), `${'😀'.repeat(15)}xyz`];
    await apply(server, rolesOnly(...longest));
    const found = await server.query<{ rolname: string }>(
      'SELECT rolname FROM pg_roles WHERE octet_length(rolname) = 63 ORDER BY rolname COLLATE "C"',
    );
    expect(found.map(({ rolname }) => rolname)).toEqual([...longest].sort());
    expect((await apply(server, rolesOnly(...longest))).outcome).toBe('unchanged');
  });

  test.each<[NameKind, string, 'refuses it' | 'would take it']>([
    ['role', 'pg_mine', 'refuses it'],
    ['role', 'public', 'refuses it'],
    ['role', 'none', 'refuses it'],
    ['role', '', 'refuses it'],
    ['role', 'current_user', 'would take it'],
    ['role', 'session_user', 'would take it'],
    ['role', 'current_role', 'would take it'],
    ['role', 'user', 'would take it'],
    ['role', 'PUBLIC', 'would take it'],
    ['role', 'rds_mine', 'would take it'],
    ['schema', 'pg_mine', 'refuses it'],
    ['schema', '', 'refuses it'],
    ['database', 'template1', 'refuses it'],
    ['database', 'rdsadmin', 'refuses it'],
    ['database', '', 'refuses it'],
  ])('case 11: the %s %j is refused; the server itself %s', async (kind, name, itself) => {
    expect(nameProblem(kind, name)).toBeDefined();
    const byHand = server.query(`CREATE ${kind.toUpperCase()} ${quoted(name)}`);
    if (itself === 'refuses it') await expect(byHand).rejects.toThrow();
    else await byHand;
    try {
      const state =
        kind === 'role'
          ? rolesOnly(name)
          : kind === 'schema'
            ? appWith({ schemas: [{ name, owner: 'app_owner' }], grants: [], defaultPrivileges: [] })
            : appWith({ name });
      const before = await catalog(server);
      await expect(apply(server, state)).rejects.toThrow(ContractError);
      expect(await catalog(server)).toEqual(before);
    } finally {
      if (itself !== 'refuses it') await asSuperuser(server, `DROP ROLE ${quoted(name)}`);
    }
  });

  test('case 15: a role of the name PUBLIC is not everybody', async () => {
    await apply(server, declaration());
    await asSuperuser(server, 'CREATE ROLE "PUBLIC" LOGIN PASSWORD \'x\'');
    await asOwner(
      server,
      'CREATE TABLE billing.invoice (id int)',
      'GRANT CONNECT, TEMPORARY ON DATABASE app TO "PUBLIC"',
      'GRANT USAGE ON SCHEMA billing TO "PUBLIC"',
      'GRANT SELECT ON billing.invoice TO "PUBLIC"',
    );
    expect((await plan(server, declaration())).plan).toMatchObject({ steps: [], withheld: [] });
    await asOwner(server, 'GRANT CONNECT ON DATABASE app TO PUBLIC');
    const { plan: found } = await plan(server, declaration());
    expect(sqlOf(found.withheld)).toEqual(['REVOKE CONNECT ON DATABASE "app" FROM PUBLIC']);
    await apply(server, declaration(), { acknowledge: [found.hash!] });
    expect(await holds(server, "has_database_privilege('public', 'app', 'CONNECT')")).toBe(false);
    const client = await server.connect({ user: 'PUBLIC', password: 'x', database: 'app' });
    await client.query('SELECT id FROM billing.invoice');
    await client.end();
  });

  test('case 16: names that differ in case alone are two, and the declared one is meant', async () => {
    await server.query('CREATE ROLE MyRole LOGIN'); // without quotes
    await apply(server, rolesOnly('MyRole', 'MYROLE'));
    expect(
      await server.query('SELECT rolname FROM pg_roles WHERE lower(rolname) = $$myrole$$ ORDER BY rolname COLLATE "C"'),
    ).toEqual([{ rolname: 'MYROLE' }, { rolname: 'MyRole' }, { rolname: 'myrole' }]);
    const report = await apply(server, rolesOnly('MyRole', 'myrole', 'MYROLE'));
    expect(report.plan).toMatchObject({ steps: [], withheld: [] });
  });
});

// A database takes a while to make, so once is enough.
describe('on PostgreSQL 18', () => {
  test.each(HOSTILE_NAMES)('case 12: %j names a role, a database and a schema, and is found again', async (name) => {
    const server = await startServer({ version: 18 });
    const state = allNamed(name);
    await apply(server, state);
    expect((await apply(server, state, { acknowledge: ['0123456789abcdef'] })).statements.writes).toBe(0);
    const [found] = await server.query(
      `SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = ${literal(name)}) AS role,
              (SELECT datdba = (SELECT oid FROM pg_roles WHERE rolname = ${literal(name)}) FROM pg_database WHERE datname = current_database()) AS database,
              EXISTS (SELECT FROM pg_namespace WHERE nspname = ${literal(name)}) AS schema`,
      { database: name, superuser: true },
    );
    expect(found).toEqual({ role: true, database: true, schema: true });
    // And it works, as the owner and as its reader.
    await server.query([`SET ROLE ${quoted(name)}`, `CREATE TABLE ${quoted(name)}.${quoted(name)} AS SELECT 1 AS n`], {
      database: name,
    });
    const member = `${name.slice(0, 9)}2`;
    await asSuperuser(server, `ALTER ROLE ${quoted(member)} PASSWORD 'x'`);
    const reader = await server.connect({ user: member, password: 'x', database: name });
    expect((await reader.query(`SELECT n FROM ${quoted(name)}.${quoted(name)}`)).rows).toEqual([{ n: 1 }]);
    await reader.end();
  });

  test('case 12: a name with a NUL or a lone surrogate is refused', async () => {
    const server = await startServer({ version: 18 });
    for (const name of ['a\0b', 'a\ud800']) {
      await expect(apply(server, rolesOnly(name))).rejects.toThrow(ContractError);
    }
    expect(() => ident('a\0b')).toThrow(/has a NUL/);
  });

  test('case 13: a value in a statement is a value, also where the server would read backslashes', async () => {
    const server = await startServer({ version: 18 });
    await asSuperuser(server, 'ALTER ROLE master SET standard_conforming_strings = off');
    const values = [`\\'; DROP ROLE api; --`, `it's`, '\\', '%s %I', '$1', `E'\\x41'`];
    for (const value of values) {
      const state = declaration({ settings: [{ role: 'api', name: 'application_name', values: [value] }] });
      await apply(server, state);
      const [row] = await server.query<{ setconfig: string[] }>(
        "SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'api'::regrole",
        { superuser: true },
      );
      expect(row.setconfig).toEqual([`application_name=${value}`]);
    }
  });
});
