import { DesiredSetting } from '../../../lib/contract';
import { RefusedError } from '../../../lib/runtime/reconcile';
import { startServer, TestServer } from '../../support/postgres';
import { declaration } from './declaration';
import { apply, applyAcknowledged, as, asSuperuser, loginAs, plan, sqlOf } from './runs';

const withSettings = (...settings: DesiredSetting[]) => declaration({ settings });
const ofApi = (name: string, ...values: string[]): DesiredSetting => ({ role: 'api', name, values });

const stored = async (server: TestServer, role = 'api') => {
  const rows = await server.query<{ config: string }>(
    `SELECT unnest(setconfig) AS config FROM pg_db_role_setting WHERE setrole = '${role}'::regrole ORDER BY 1`,
  );
  return rows.map(({ config }) => config);
};

describe.each([16, 17, 18] as const)('settings on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(() => server.reset());

  test('case 72: the elements of a list are quoted one by one', async () => {
    const values = ['billing', '$user', 'Mixed Case', 'a, b', 'with"quote', 'user', ''];
    const state = withSettings(ofApi('search_path', ...values));
    await apply(server, state);
    expect(await stored(server)).toEqual([
      'search_path=billing, "$user", "Mixed Case", "a, b", "with""quote", "user", ""',
    ]);
    expect((await apply(server, state)).outcome).toBe('unchanged');
    // With another setting beside it the catalog is read again, and the list is still the same.
    const more = withSettings(ofApi('search_path', ...values), ofApi('work_mem', '8MB'));
    expect(sqlOf((await plan(server, more)).plan.steps)).toEqual([`ALTER ROLE "api" SET "work_mem" TO '8MB'`]);
  });

  test('case 72: one name with a comma is not the list of two names', async () => {
    await apply(server, withSettings());
    await server.query(`ALTER ROLE api SET search_path = 'billing, public'`);
    expect(await stored(server)).toEqual(['search_path="billing, public"']);
    const { plan: planned } = await plan(server, withSettings(ofApi('search_path', 'billing', 'public')));
    expect(planned.withheld.map(({ object }) => object)).toEqual(['setting search_path of role api']);
    expect(sqlOf(planned.withheld)).toEqual([`ALTER ROLE "api" SET "search_path" TO 'billing', 'public'`]);
    await applyAcknowledged(server, withSettings(ofApi('search_path', 'billing', 'public')));
    expect(await stored(server)).toEqual(['search_path=billing, public']);
  });

  test.each([
    ['statement_timeout', '2s', '2000'],
    ['statement_timeout', '120000', '2min'],
    ['statement_timeout', '1.5min', '90 s'],
    ['idle_in_transaction_session_timeout', '1d', '86400s'],
    ['work_mem', '65536', '64MB'],
    ['temp_buffers', '1MB', '128'], // counted in blocks of 8 kB
    ['random_page_cost', '1.10', '1.1'],
    ['vacuum_cost_delay', '2000us', '2'],
    ['enable_seqscan', 'off', 'false'],
    ['jit', 'true', 'ON'],
    ['client_min_messages', 'Warning', 'warning'],
  ])('case 73: %s = %s by hand is what %s declares', async (name, byHand, declared) => {
    await apply(server, withSettings());
    await server.query(`ALTER ROLE api SET ${name} = '${byHand}'`);
    const before = await stored(server);
    const report = await apply(server, withSettings(ofApi(name, declared)));
    expect([...report.plan.steps, ...report.plan.withheld]).toEqual([]);
    expect(await stored(server)).toEqual(before);
  });

  test.each([
    ['statement_timeout', '2s', '2001'],
    ['work_mem', '64MB', '64'],
    ['enable_seqscan', 'off', 'on'],
    ['application_name', 'API', 'api'],
  ])('case 73: %s = %s by hand is not what %s declares', async (name, byHand, declared) => {
    await apply(server, withSettings());
    await server.query(`ALTER ROLE api SET ${name} = '${byHand}'`);
    const { plan: planned } = await plan(server, withSettings(ofApi(name, declared)));
    expect(sqlOf(planned.withheld)).toEqual([`ALTER ROLE "api" SET "${name}" TO '${declared}'`]);
    expect(planned.withheld[0].reason).toContain(JSON.stringify(byHand));
  });

  test.each([
    ['case 74: a placeholder', 'app.tenant_id', /only a superuser may store such a placeholder.*SET LOCAL/],
    ['case 75: a setting of superusers', 'log_statement', /only a superuser.*set it in the parameter group/],
    ['case 75: a setting of the whole server', 'max_connections', /postmaster setting.*set it in the parameter group/],
    ['case 75: a setting that needs a reload', 'autovacuum_naptime', /sighup setting.*set it in the parameter group/],
    ['case 75: a setting of a starting session', 'post_auth_delay', /backend setting.*set it in the parameter group/],
    ['case 75: a misspelt setting', 'statment_timeout', /PostgreSQL has no such setting/],
  ])('%s is refused before anything changes', async (_what, name, message) => {
    const refused = apply(server, withSettings(ofApi(name, 'ddl')));
    await expect(refused).rejects.toThrow(RefusedError);
    await expect(refused).rejects.toThrow(message);
    await expect(refused).rejects.toThrow(new RegExp(`setting ${name} of role api`));
    expect(await server.query("SELECT FROM pg_roles WHERE rolname = 'api'")).toEqual([]);
    // The server would refuse it too.
    await server.query('CREATE ROLE api LOGIN');
    await expect(server.query(`ALTER ROLE api SET ${name} = 'ddl'`)).rejects.toThrow();
  });

  test('case 75: what was granted on a parameter may be set', async () => {
    await asSuperuser(server, 'GRANT SET ON PARAMETER log_min_duration_statement TO master');
    try {
      const state = withSettings(ofApi('log_min_duration_statement', '5s'));
      await apply(server, state);
      expect(await stored(server)).toEqual(['log_min_duration_statement=5s']);
      expect((await apply(server, state)).outcome).toBe('unchanged');
    } finally {
      await asSuperuser(server, 'REVOKE ALL ON PARAMETER log_min_duration_statement FROM master');
    }
  });

  test('case 77: a key that is declared no more is reset, and those of others stay', async () => {
    await apply(
      server,
      withSettings(
        ofApi('search_path', 'user', '$user', 'a, b'),
        ofApi('statement_timeout', '15s'),
        { role: 'api', database: 'app', name: 'work_mem', values: ['8MB'] },
        { database: 'app', name: 'lock_timeout', values: ['3s'] },
      ),
    );
    await server.query('ALTER ROLE api SET random_page_cost = 1.5');
    const report = await apply(server, withSettings(ofApi('statement_timeout', '15s')));
    expect(sqlOf(report.plan.steps).sort()).toEqual([
      'ALTER DATABASE "app" RESET "lock_timeout"',
      'ALTER ROLE "api" IN DATABASE "app" RESET "work_mem"',
      'ALTER ROLE "api" RESET "search_path"',
    ]);
    expect(await stored(server)).toEqual(['random_page_cost=1.5', 'statement_timeout=15s']);
    expect(await server.query('SELECT FROM pg_db_role_setting WHERE setdatabase <> 0')).toEqual([]);
  });
});

describe('settings', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version: 18 });
  });
  afterEach(() => server.reset());

  test('of a database, of a role, and of a role in a database; the last wins', async () => {
    const state = withSettings(
      { database: 'app', name: 'work_mem', values: ['5MB'] },
      { database: 'app', name: 'lock_timeout', values: ['3s'] },
      ofApi('work_mem', '6MB'),
      ofApi('DateStyle', 'ISO', 'DMY'),
      { role: 'api', database: 'app', name: 'work_mem', values: ['7MB'] },
    );
    await apply(server, state);
    expect(await as(server, 'api', 'SHOW work_mem')).toEqual([{ work_mem: '7MB' }]);
    expect(await as(server, 'api', 'SHOW work_mem', 'postgres')).toEqual([{ work_mem: '6MB' }]);
    expect(await as(server, 'api', 'SHOW lock_timeout')).toEqual([{ lock_timeout: '3s' }]);
    expect(await as(server, 'api', 'SHOW "DateStyle"')).toEqual([{ DateStyle: 'ISO, DMY' }]);
    expect((await apply(server, state)).outcome).toBe('unchanged');
  });

  test('case 76: a session that is older than the setting keeps what it has, and the plan says so', async () => {
    await apply(server, withSettings());
    const session = await loginAs(server, 'api');
    const report = await apply(server, withSettings(ofApi('statement_timeout', '15s')));
    expect(report.plan.notes).toContain(
      'setting statement_timeout of role api: the sessions that the role has now keep the earlier value',
    );
    expect((await session.query('SHOW statement_timeout')).rows).toEqual([{ statement_timeout: '0' }]);
    expect(await as(server, 'api', 'SHOW statement_timeout')).toEqual([{ statement_timeout: '15s' }]);
  });

  test('case 76: a setting of a group is nobody’s, and the plan says so', async () => {
    const state = withSettings({ role: 'app_readonly', name: 'statement_timeout', values: ['15s'] });
    const report = await apply(server, state);
    expect(report.plan.notes.join()).toMatch(
      /setting statement_timeout of role app_readonly has no effect on anybody: the role does not log in/,
    );
    expect(await as(server, 'api', 'SHOW statement_timeout')).toEqual([{ statement_timeout: '0' }]);
  });

  test('case 77: what somebody has changed since is left to him, also when it is declared no more', async () => {
    await apply(server, withSettings(ofApi('statement_timeout', '15s')));
    await server.query("ALTER ROLE api SET statement_timeout = '1h'");
    const report = await apply(server, withSettings());
    expect(report.plan.notes.join()).toMatch(/somebody has changed it since: it stays "1h"/);
    expect(await stored(server)).toEqual(['statement_timeout=1h']);
  });

  test('case 77: a declared value that changes is set, one that somebody changed waits', async () => {
    await apply(server, withSettings(ofApi('statement_timeout', '15s')));
    await apply(server, withSettings(ofApi('statement_timeout', '20s')));
    expect(await stored(server)).toEqual(['statement_timeout=20s']);
    await server.query("ALTER ROLE api SET statement_timeout = '1h'");
    const report = await apply(server, withSettings(ofApi('statement_timeout', '20s')));
    expect(report.plan.withheld.map(({ risk }) => risk)).toEqual(['disruptive']);
    expect(await stored(server)).toEqual(['statement_timeout=1h']);
    await applyAcknowledged(server, withSettings(ofApi('statement_timeout', '20s')));
    expect(await stored(server)).toEqual(['statement_timeout=20s']);
  });

  test('case 13: a value is a value, whatever it says', async () => {
    const value = `x'; DROP ROLE api; --\\ "$$`;
    const state = withSettings(ofApi('application_name', value));
    await apply(server, state);
    expect(await stored(server)).toEqual([`application_name=${value}`]);
    expect((await apply(server, state)).outcome).toBe('unchanged');
  });
});
