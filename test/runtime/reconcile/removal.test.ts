import { DesiredState } from '../../../lib/contract';
import { Report } from '../../../lib/runtime/reconcile';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration, login } from './declaration';
import { ageRemoval, objectRow, origins } from './ledger-rows';
import { apply, appWith, asOwner, sqlOf } from './runs';
import { secretsOf } from './secrets';

const options = { secrets: secretsOf({ api: 'api-password', app_owner: 'x' }) };
const steps = (report: Report) => sqlOf(report.plan.steps);
const NOLOGIN = 'ALTER ROLE "api" NOLOGIN';

/** With the login role `api`, whose password is in a secret. */
const full: DesiredState = declaration({
  roles: declaration().roles.map((role) => (role.name === 'api' ? { ...role, authentication: 'password' } : role)),
});
/** Without it. */
const without = (more: string[] = []): DesiredState =>
  appWith(
    { grants: full.databases[0].grants.filter(({ to }) => to !== 'api') },
    {
      roles: [...full.roles.filter(({ name }) => name !== 'api'), ...more.map((name) => login(name))],
      memberships: [],
      settings: [],
    },
  );

describe.each(VERSIONS)('a role that goes out of the declaration, PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
    await apply(server, full, options);
    await asOwner(server, 'CREATE TABLE billing.invoice (id int)');
  });
  const api = () => server.connect({ user: 'api', password: 'api-password', database: 'app' });
  const logsIn = async () => {
    const client = await api();
    await client.query('SELECT FROM billing.invoice');
    await client.end();
  };
  const verifier = async () =>
    (
      await server.query<{ rolpassword: string }>("SELECT rolpassword FROM pg_authid WHERE rolname = 'api'", {
        superuser: true,
      })
    )[0].rolpassword;

  test('case 102: keeps its login through the run that removes it and through runs of the same declaration', async () => {
    const removing = await apply(server, without(), options);
    expect(steps(removing)).not.toContain(NOLOGIN);
    expect(removing.plan.notes).toContainEqual(expect.stringContaining('the role api is not declared any more'));
    const client = await api();
    await client.end();
    for (let run = 0; run < 2; run++) {
      const again = await apply(server, without(), options);
      expect(again).toMatchObject({ outcome: 'unchanged', plan: { steps: [] }, statements: { writes: 0 } });
    }
    await (await api()).end();
    expect((await objectRow(server, 'api'))?.removed_at).toBeInstanceOf(Date);
  });

  test('case 102: the next changed declaration disables it, and its password and objects stay', async () => {
    const before = await verifier();
    await server.query(['CREATE SCHEMA of_api AUTHORIZATION api'], { superuser: true, database: 'app' });
    await apply(server, without(), options);
    const report = await apply(server, without(['more']), options);
    expect(steps(report)).toContain(NOLOGIN);
    await expect(api()).rejects.toThrow('role "api" is not permitted to log in');
    expect(await verifier()).toBe(before);
    expect(
      await server.query("SELECT nspowner::regrole::text AS owner FROM pg_namespace WHERE nspname = 'of_api'", {
        database: 'app',
      }),
    ).toEqual([{ owner: 'api' }]);
    // And that is all: the run after it has nothing to do.
    expect(await apply(server, without(['more']), options)).toMatchObject({
      outcome: 'unchanged',
      statements: { writes: 0 },
    });
  });

  test('a run of the same declaration disables it 24 hours later, and not before', async () => {
    await apply(server, without(), options);
    await ageRemoval(server, 'api', 23);
    expect(await apply(server, without(), options)).toMatchObject({ outcome: 'unchanged' });
    await (await api()).end();
    await ageRemoval(server, 'api', 1);
    expect(steps(await apply(server, without(), options))).toEqual([NOLOGIN]);
    await expect(api()).rejects.toThrow('not permitted to log in');
  });

  test('a session in the grace keeps the login, until a later declaration finds none', async () => {
    await apply(server, without(), options);
    const session = await api();
    const report = await apply(server, without(['more']), options);
    expect(steps(report)).not.toContain(NOLOGIN);
    expect(report.plan.notes).toContainEqual(expect.stringContaining('has a session now: it keeps its login'));
    await session.end();
    // The grace began anew with that run.
    expect(await apply(server, without(['more']), options)).toMatchObject({ outcome: 'unchanged' });
    await (await api()).end();
    await settled(server);
    expect(steps(await apply(server, without(['more', 'most']), options))).toContain(NOLOGIN);
  });

  test('a role that comes back logs in again, with the password of before', async () => {
    await apply(server, without(), options);
    await apply(server, without(['more']), options);
    await expect(api()).rejects.toThrow('not permitted to log in');
    const report = await apply(server, full, options);
    expect(steps(report)).toContain('ALTER ROLE "api" LOGIN');
    expect(steps(report).filter((sql) => sql.includes('PASSWORD'))).toEqual([]);
    await logsIn();
    expect(await objectRow(server, 'api')).toMatchObject({ removed_at: null, removed_by: null });
  });

  test('a role that comes back within its grace was never away', async () => {
    await apply(server, without(), options);
    await apply(server, full, options);
    await logsIn();
    await apply(server, without(), options);
    await ageRemoval(server, 'api', 1);
    expect(steps(await apply(server, without(), options))).toEqual([]);
    await (await api()).end();
  });

  test('case 109: a rollback disables nobody, and brings back who was removed', async () => {
    await apply(server, without(), options);
    const back = await apply(server, without(['more']), { ...options, rollback: true });
    expect(steps(back)).not.toContain(NOLOGIN);
    expect(sqlOf(back.plan.withheld)).toEqual([NOLOGIN]);
    await (await api()).end();
    await apply(server, without(['more', 'most']), options);
    await expect(api()).rejects.toThrow('not permitted to log in');
    await apply(server, full, { ...options, rollback: true });
    await logsIn();
  });

  test('case 104: an adopted role is let go, and never disabled', async () => {
    await server.reset();
    await server.query(['CREATE ROLE api LOGIN PASSWORD $$api-password$$']);
    await apply(server, full, options);
    expect(await origins(server)).toContain('role api: adopted');
    await apply(server, without(), options);
    expect(await objectRow(server, 'api')).toBeUndefined();
    await apply(server, without(['more']), options);
    expect(await apply(server, without(['more', 'most']), options)).toMatchObject({ outcome: 'applied' });
    await (await api()).end();
  });

  test('case 102: databases and schemas stay, with everything in them', async () => {
    await asOwner(server, 'INSERT INTO billing.invoice VALUES (1)');
    const nothing = { ...full, roles: full.roles.filter(({ name }) => name !== 'api'), memberships: [], settings: [] };
    await apply(server, {
      ...nothing,
      databases: [{ ...full.databases[0], schemas: [], grants: [], defaultPrivileges: [] }],
    });
    expect(await asOwner(server, 'SELECT * FROM billing.invoice')).toEqual([{ id: 1 }]);
    await apply(server, { ...nothing, databases: [] });
    await apply(server, { ...nothing, roles: [], databases: [] });
    await apply(server, { ...nothing, roles: [login('last')], databases: [] });
    expect(await asOwner(server, 'SELECT * FROM billing.invoice')).toEqual([{ id: 1 }]);
    // Declared again, they are what they were.
    await apply(server, full, options);
    expect(await origins(server)).toEqual(
      expect.arrayContaining(['database app: created', 'schema app.billing: created']),
    );
    await logsIn();
  });

  test('a role that somebody has dropped in the meantime is forgotten', async () => {
    await apply(server, without(), options);
    await server.query(['DROP OWNED BY api'], { superuser: true, database: 'app' });
    await server.query(['DROP ROLE api'], { superuser: true });
    await apply(server, without(['more']), options);
    expect(await objectRow(server, 'api')).toBeUndefined();
  });
});

/** A session that has ended is seen for a moment more. */
async function settled(server: TestServer): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const rows = await server.query("SELECT FROM pg_stat_activity WHERE usename = 'api'", { superuser: true });
    if (rows.length === 0) return;
  }
}
