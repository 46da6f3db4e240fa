import { DesiredState } from '../../../lib/contract';
import { ConnectionSettings, reconcile, Report } from '../../../lib/runtime/reconcile';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog, lost } from './catalog';
import { group, login, owner, declaration } from './declaration';
import { appWith, as, holds, sqlOf } from './runs';

/**
 * The same declaration, applied by the three kinds of role that it is applied by in the field: the master of RDS, an administrator
 * with CREATEROLE and CREATEDB alone, and the superuser of a self-managed server. What a role can do is read from the catalog, so
 * none of them is told apart by anything else.
 */
interface Kind {
  readonly flavour: 'rds' | 'plain';
  readonly power: 'superuser' | 'createrole';
  connection(server: TestServer): ConnectionSettings;
}

const KINDS: readonly (readonly [string, Kind])[] = [
  ['the master of RDS', { flavour: 'rds', power: 'createrole', connection: (server) => server.connection() }],
  ['an administrator', { flavour: 'plain', power: 'createrole', connection: (server) => server.connection() }],
  [
    'a superuser',
    { flavour: 'plain', power: 'superuser', connection: (server) => server.connection(server.superuser) },
  ],
];

describe.each(KINDS)('applied by %s', (_, kind) => {
  describe.each(VERSIONS)('on PostgreSQL %i', (version) => {
    let server: TestServer;
    beforeEach(async () => {
      server = await startServer({ version, flavour: kind.flavour });
      // The master of RDS owns the database with the ledger; who does not is told to have this granted.
      if (kind.power === 'createrole' && kind.flavour === 'plain')
        await server.query('GRANT CREATE ON DATABASE postgres TO master', { superuser: true });
    });
    const run = (state: DesiredState, options: { acknowledge?: string[]; mode?: 'plan' } = {}): Promise<Report> =>
      reconcile(state, kind.connection(server), { mode: 'apply', ...options });

    test('the first run does everything and the second nothing', async () => {
      const first = await run(declaration());
      expect(first).toMatchObject({ outcome: 'applied', server: { power: kind.power, flavour: kind.flavour } });
      expect(first.plan.withheld).toEqual([]);
      const before = await catalog(server);
      const second = await run(declaration());
      expect(second).toMatchObject({ outcome: 'unchanged', plan: { steps: [], withheld: [] } });
      expect(second.statements.writes).toBe(0);
      expect([...lost(before, await catalog(server)), ...lost(await catalog(server), before)]).toEqual([]);
    });

    test('what is declared works for those who log in', async () => {
      await run(declaration());
      await server.query(
        ['SET ROLE app_owner', 'CREATE TABLE billing.invoice (id int)', 'INSERT INTO billing.invoice VALUES (1)'],
        { ...kind.connection(server), database: 'app' },
      );
      expect(await as(server, 'api', 'SELECT id FROM billing.invoice')).toEqual([{ id: 1 }]);
      await expect(as(server, 'api', 'DELETE FROM billing.invoice')).rejects.toThrow(/permission denied/);
      // PUBLIC is closed, whoever closed it.
      await server.query("CREATE ROLE stranger LOGIN PASSWORD 'x'", kind.connection(server));
      expect(await holds(server, "has_database_privilege('stranger', 'app', 'CONNECT')")).toBe(false);
      expect(await holds(server, "has_database_privilege('api', 'app', 'CONNECT')")).toBe(true);
    });

    test('owners change, and what is no longer declared is taken back by whom it came from', async () => {
      await run(declaration());
      const changed = appWith(
        {
          owner: 'new_owner',
          schemas: [{ name: 'billing', owner: 'new_owner' }],
          grants: [{ privileges: ['CONNECT'], on: { kind: 'database' }, to: 'api' }],
          defaultPrivileges: [],
        },
        { roles: [owner('app_owner'), owner('new_owner'), group('app_readonly'), login('api')] },
      );
      const { hash, withheld } = (await run(changed, { mode: 'plan' })).plan;
      // An owner may be disturbed only when somebody has read it.
      expect(withheld.map(({ risk }) => risk)).toContain('disruptive');
      const report = await run(changed, { acknowledge: [hash!] });
      expect(report.plan.withheld).toEqual([]);
      expect(
        await holds(
          server,
          "(SELECT pg_get_userbyid(nspowner) = 'new_owner' FROM pg_namespace WHERE nspname = 'billing')",
        ),
      ).toBe(true);
      expect(await holds(server, "has_schema_privilege('app_readonly', 'billing', 'USAGE')")).toBe(false);
      expect((await run(changed)).statements.writes).toBe(0);
    });

    test('somebody else’s grant is seen, withheld, and taken back as the one who gave it', async () => {
      await run(declaration());
      await server.query(
        [
          'SET ROLE app_owner',
          'CREATE TABLE billing.invoice (id int)',
          'GRANT SELECT ON billing.invoice TO app_readonly WITH GRANT OPTION',
          'RESET ROLE',
          'SET ROLE app_owner',
          'GRANT DELETE ON billing.invoice TO api',
        ],
        { ...kind.connection(server), database: 'app' },
      );
      const { plan } = await run(declaration());
      expect(sqlOf(plan.withheld)).toContain('REVOKE DELETE ON TABLE "billing"."invoice" FROM "api"');
      await run(declaration(), { acknowledge: [plan.hash!] });
      expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'DELETE')")).toBe(false);
      expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')")).toBe(true);
    });
  });
});

describe.each(VERSIONS)('a lesser administrator on PostgreSQL %i', (version) => {
  test('who may not keep the ledger is told what to have granted, and it is enough', async () => {
    const server = await startServer({ version, flavour: 'plain' });
    const before = await catalog(server);
    const refused = reconcile(declaration(), server.connection(), { mode: 'apply' });
    await expect(refused).rejects.toThrow('GRANT CREATE ON DATABASE "postgres" TO "master"');
    expect(await catalog(server)).toEqual(before);
    await server.query('GRANT CREATE ON DATABASE "postgres" TO "master"', { superuser: true });
    expect(await reconcile(declaration(), server.connection(), { mode: 'apply' })).toMatchObject({
      outcome: 'applied',
    });
    // A second administrator finds the ledger of the first.
    await server.query("CREATE ROLE second LOGIN CREATEROLE CREATEDB PASSWORD 'pw'", { superuser: true });
    await server.query('GRANT app_owner, app_readonly, api TO second WITH ADMIN OPTION', { superuser: true });
    await server.query(`GRANT USAGE ON SCHEMA cdk_postgres TO second`, { superuser: true });
    await server.query(`GRANT SELECT ON ALL TABLES IN SCHEMA cdk_postgres TO second`, { superuser: true });
    const changed = declaration({ settings: [{ role: 'api', name: 'statement_timeout', values: ['5s'] }] });
    const bySecond = () => reconcile(changed, server.connection({ user: 'second', password: 'pw' }), { mode: 'apply' });
    await expect(bySecond()).rejects.toThrow(
      'GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA cdk_postgres TO "second"',
    );
    await server.query('GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA cdk_postgres TO "second"', {
      superuser: true,
    });
    expect(await bySecond()).toMatchObject({ outcome: 'applied' });
  });

  test.each([
    ['no CREATEROLE', 'CREATEDB', /may not create roles/],
    ['no CREATEDB', 'CREATEROLE', /CREATEDB/],
  ])('with %s is told what is missing before anything changes', async (_, attribute, problem) => {
    const server = await startServer({ version, flavour: 'plain' });
    await server.query(`CREATE ROLE lesser LOGIN ${attribute} PASSWORD 'pw'`, { superuser: true });
    const before = await catalog(server);
    const connection = server.connection({ user: 'lesser', password: 'pw' });
    await expect(reconcile(declaration(), connection, { mode: 'apply' })).rejects.toThrow(problem);
    expect(await catalog(server)).toEqual(before);
  });
});
