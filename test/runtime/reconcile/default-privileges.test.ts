import { DesiredDefaultPrivilege } from '../../../lib/contract';
import { startServer, TestServer } from '../../support/postgres';
import { declaration, login, owner } from './declaration';
import {
  apply,
  applyAcknowledged,
  appWith,
  as,
  asOwner,
  asSuperuser,
  holds,
  legacyApplication,
  plan,
  sqlOf,
} from './runs';

const app = declaration().databases[0];

const rowsOf = (server: TestServer) =>
  server.query<{ creator: string; schema: string; objects: string; acl: string }>(
    `SELECT defaclrole::regrole::text AS creator, CASE WHEN defaclnamespace = 0 THEN '' ELSE defaclnamespace::regnamespace::text END AS schema,
            defaclobjtype::text AS objects, defaclacl::text AS acl FROM pg_default_acl ORDER BY 1, 2, 3`,
    { database: 'app' },
  );

const may = (server: TestServer, role: string, privilege: string, table: string) =>
  holds(server, `has_table_privilege('${role}', '${table}', '${privilege}')`);

describe.each([16, 17, 18] as const)('default privileges on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(() => server.reset());

  test('case 67: they are for what the declared creators make later, and for nobody else', async () => {
    const byPartner: DesiredDefaultPrivilege = {
      creator: 'partner_owner',
      schema: 'billing',
      objects: 'tables',
      privileges: ['SELECT', 'INSERT'],
      to: 'api',
    };
    const state = appWith(
      {
        grants: [
          ...app.grants,
          { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'stranger' },
          { privileges: ['CREATE', 'USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'partner_owner' },
          { privileges: ['CREATE', 'USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'stranger' },
        ],
        defaultPrivileges: [...app.defaultPrivileges, byPartner],
      },
      { roles: [...declaration().roles, owner('partner_owner'), login('stranger')] },
    );
    await apply(server, state);
    await asOwner(server, 'CREATE TABLE billing.by_owner (id int)');
    await server.query(['SET ROLE partner_owner', 'CREATE TABLE billing.by_partner (id int)'], { database: 'app' });
    await asSuperuser(server, ['SET ROLE stranger', 'CREATE TABLE billing.by_stranger (id int)'], 'app');
    expect(await may(server, 'app_readonly', 'SELECT', 'billing.by_owner')).toBe(true);
    expect(await may(server, 'api', 'INSERT', 'billing.by_partner')).toBe(true);
    expect(await may(server, 'app_readonly', 'SELECT', 'billing.by_partner')).toBe(false);
    expect(await may(server, 'app_readonly', 'SELECT', 'billing.by_stranger')).toBe(false);
  });

  test('case 68: every statement says for which role, and none is for the connected one', async () => {
    const report = await apply(server, declaration());
    const statements = sqlOf(report.plan.steps).filter((sql) => sql.startsWith('ALTER DEFAULT'));
    expect(statements.length).toBeGreaterThanOrEqual(2);
    for (const sql of statements) expect(sql).toMatch(/^ALTER DEFAULT PRIVILEGES FOR ROLE "app_owner" /);
    expect((await rowsOf(server)).map(({ creator }) => creator)).not.toContain('master');
  });

  test('case 69: PUBLIC may not execute the routines to come, since the entry is for all schemas', async () => {
    // The negative control: in one schema the server takes the statement, and does nothing.
    await legacyApplication(server);
    await asOwner(server, 'ALTER DEFAULT PRIVILEGES IN SCHEMA billing REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC');
    expect(await rowsOf(server)).toEqual([]);

    const report = await applyAcknowledged(server, declaration());
    const step = report.plan.steps.find(
      ({ object }) => object === 'default privileges on routines of app_owner to PUBLIC',
    );
    expect(step?.reason).toMatch(/in every schema of this database/);
    expect(step?.risk).toBe('narrow');
    await asOwner(server, 'CREATE FUNCTION billing.total() RETURNS int LANGUAGE sql RETURN 1');
    expect(await holds(server, "has_function_privilege('public', 'billing.total()', 'EXECUTE')")).toBe(false);
    await expect(as(server, 'api', 'SELECT billing.total()')).rejects.toThrow(/permission denied/);
    expect((await apply(server, declaration())).outcome).toBe('unchanged');
  });

  test('case 70: an entry that was set back to the built-in default, and so has no row, is seen', async () => {
    await apply(server, declaration());
    expect((await rowsOf(server)).map(({ objects }) => objects)).toContain('f');
    await asOwner(server, 'ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON ROUTINES TO PUBLIC');
    expect((await rowsOf(server)).map(({ objects }) => objects)).not.toContain('f');
    const { plan: planned } = await plan(server, declaration());
    expect(sqlOf(planned.withheld)).toEqual([
      'ALTER DEFAULT PRIVILEGES FOR ROLE "app_owner" REVOKE EXECUTE ON ROUTINES FROM PUBLIC',
    ]);
    await applyAcknowledged(server, declaration());
    expect((await rowsOf(server)).map(({ objects }) => objects)).toContain('f');
  });

  test('case 70: a grant to the creator itself, which no row shows, is not missed', async () => {
    const state = appWith({
      defaultPrivileges: [
        { creator: 'app_owner', schema: 'billing', objects: 'tables', privileges: ['SELECT'], to: 'app_owner' },
      ],
    });
    await apply(server, state);
    expect((await apply(server, state)).outcome).toBe('unchanged');
  });

  test('case 71: those on schemas and on large objects are left alone and in nobody’s way', async () => {
    await apply(server, declaration());
    await asOwner(
      server,
      'ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO api',
      ...(version >= 18 ? ['ALTER DEFAULT PRIVILEGES GRANT SELECT ON LARGE OBJECTS TO api'] : []),
    );
    const before = await rowsOf(server);
    expect(before.map(({ objects }) => objects)).toEqual(expect.arrayContaining(version >= 18 ? ['n', 'L'] : ['n']));
    const report = await apply(server, declaration());
    expect([...report.plan.steps, ...report.plan.withheld]).toEqual([]);
    expect(await rowsOf(server)).toEqual(before);
  });
});

describe('default privileges', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version: 18 });
  });
  afterEach(() => server.reset());

  const toReaders = (changes: Partial<DesiredDefaultPrivilege>): DesiredDefaultPrivilege => ({
    ...app.defaultPrivileges[0],
    ...changes,
  });

  test('tables, sequences and routines to come carry what is declared for them', async () => {
    const state = appWith({
      defaultPrivileges: [
        toReaders({ privileges: ['SELECT', 'UPDATE'] }),
        toReaders({ objects: 'sequences', privileges: ['USAGE'] }),
        toReaders({ objects: 'routines', privileges: ['EXECUTE'] }),
      ],
    });
    await apply(server, state);
    await asOwner(
      server,
      'CREATE TABLE billing.invoice (id serial)',
      'CREATE FUNCTION billing.total() RETURNS int LANGUAGE sql RETURN 1',
    );
    expect(await may(server, 'app_readonly', 'UPDATE', 'billing.invoice')).toBe(true);
    expect(await holds(server, "has_sequence_privilege('app_readonly', 'billing.invoice_id_seq', 'USAGE')")).toBe(true);
    expect(await holds(server, "has_function_privilege('app_readonly', 'billing.total()', 'EXECUTE')")).toBe(true);
    expect(await holds(server, "has_function_privilege('public', 'billing.total()', 'EXECUTE')")).toBe(false);
  });

  test('what the declaration gave and gives no more is taken back, and what somebody else gave waits', async () => {
    await apply(server, appWith({ defaultPrivileges: [toReaders({ privileges: ['SELECT', 'INSERT'] })] }));
    await asOwner(
      server,
      'ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT DELETE ON TABLES TO app_readonly',
      'ALTER DEFAULT PRIVILEGES GRANT TRUNCATE ON TABLES TO app_readonly',
    );
    const report = await apply(server, declaration());
    expect(sqlOf(report.plan.steps).filter((sql) => sql.startsWith('ALTER DEFAULT'))).toEqual([
      'ALTER DEFAULT PRIVILEGES FOR ROLE "app_owner" IN SCHEMA "billing" REVOKE INSERT ON TABLES FROM "app_readonly"',
    ]);
    expect(sqlOf(report.plan.withheld).sort()).toEqual([
      'ALTER DEFAULT PRIVILEGES FOR ROLE "app_owner" IN SCHEMA "billing" REVOKE DELETE ON TABLES FROM "app_readonly"',
      'ALTER DEFAULT PRIVILEGES FOR ROLE "app_owner" REVOKE TRUNCATE ON TABLES FROM "app_readonly"',
    ]);
    await applyAcknowledged(server, declaration());
    await asOwner(server, 'CREATE TABLE billing.invoice ()');
    expect(await may(server, 'app_readonly', 'SELECT', 'billing.invoice')).toBe(true);
    expect(await may(server, 'app_readonly', 'INSERT, DELETE, TRUNCATE', 'billing.invoice')).toBe(false);
  });

  test('a grant option on objects to come goes, and the privilege stays', async () => {
    await apply(server, declaration());
    await asOwner(
      server,
      'ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT SELECT ON TABLES TO app_readonly WITH GRANT OPTION',
    );
    await applyAcknowledged(server, declaration());
    await asOwner(server, 'CREATE TABLE billing.invoice ()');
    expect(await may(server, 'app_readonly', 'SELECT', 'billing.invoice')).toBe(true);
    expect(await may(server, 'app_readonly', 'SELECT WITH GRANT OPTION', 'billing.invoice')).toBe(false);
    expect((await apply(server, declaration())).outcome).toBe('unchanged');
  });

  test('with PUBLIC kept the routines to come are everybody’s, as PostgreSQL has it', async () => {
    await apply(server, appWith({ public: 'kept' }));
    await asOwner(server, 'CREATE FUNCTION billing.total() RETURNS int LANGUAGE sql RETURN 1');
    expect(await holds(server, "has_function_privilege('public', 'billing.total()', 'EXECUTE')")).toBe(true);
    expect(await holds(server, "has_database_privilege('public', 'app', 'CONNECT')")).toBe(true);
  });
});
