import { DesiredState } from '../../../lib/contract';
import { reconcile, RefusedError, release, Report } from '../../../lib/runtime/reconcile';
import { NOTHING_INSIDE } from '../../support/nothing-inside';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog, lost } from './catalog';
import { declaration, login, owner } from './declaration';
import { origins } from './ledger-rows';
import { apply, holds, plan, sqlOf } from './runs';

/** The state of an application's stack: a database, a schema and a role of its own. */
function application(name: string, changes: Partial<DesiredState> = {}): DesiredState {
  return declaration({
    name,
    roles: [owner(`${name}_owner`), login(`${name}_api`)],
    memberships: [],
    settings: [{ role: `${name}_api`, name: 'statement_timeout', values: ['15s'] }],
    databases: [
      {
        ...NOTHING_INSIDE,
        name,
        owner: `${name}_owner`,
        public: 'closed',
        schemas: [{ name: 'main', owner: `${name}_owner` }],
        grants: [
          { privileges: ['CONNECT'], on: { kind: 'database' }, to: `${name}_api` },
          { privileges: ['USAGE'], on: { kind: 'schema', schema: 'main' }, to: `${name}_api` },
          { privileges: ['SELECT'], on: { kind: 'allTables', schema: 'main' }, to: `${name}_api` },
        ],
        defaultPrivileges: [
          { creator: `${name}_owner`, schema: 'main', objects: 'tables', privileges: ['SELECT'], to: `${name}_api` },
        ],
      },
    ],
    ...changes,
  });
}

const run = (server: TestServer, state: DesiredState): Promise<Report> =>
  reconcile(state, server.connection(), { mode: 'apply', holder: `stack-${state.name}/State`, identity: 'server-1' });

describe.each(VERSIONS)('several states on one server, PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
  });

  test('each applies its own and finds nothing to do in what the others have made', async () => {
    const states = [declaration({ name: 'platform' }), application('billing'), application('shop')];
    for (const state of states) await run(server, state);
    for (const state of states) {
      const report = await run(server, state);
      expect([report.plan.steps, report.plan.withheld]).toEqual([[], []]);
    }
    // The first of these looks and notes that all is as it was; the second has nothing to note either.
    for (const state of states) expect((await run(server, state)).statements.writes).toBe(0);
    expect(await origins(server, 'billing')).toEqual([
      'database billing: created',
      'role billing_api: created',
      'role billing_owner: created',
      'schema billing.main: created',
    ]);
  });

  test('case 2: at the same time, they take turns, and each comes to its end', async () => {
    const names = ['one', 'two', 'three'];
    const reports = await Promise.all(
      names.flatMap((name) => [run(server, application(name)), run(server, application(name))]),
    );
    expect(reports.map(({ outcome }) => outcome).sort()).toEqual([
      ...names.map(() => 'applied'),
      ...names.map(() => 'unchanged'),
    ]);
    for (const name of names) {
      expect((await plan(server, application(name), { identity: 'server-1' })).plan.steps).toEqual([]);
      expect(await holds(server, `has_schema_privilege('${name}_api', 'main', 'USAGE')`, name)).toBe(true);
    }
  });

  test('case 34: what one has, the other is refused by name, and nothing of the other’s is made', async () => {
    await run(server, application('billing'));
    const before = await catalog(server);
    const greedy = application('shop', { roles: [...application('shop').roles, login('billing_api')] });
    const refusal = await run(server, greedy).catch((error) => error);
    expect(refusal).toBeInstanceOf(RefusedError);
    expect(refusal.problems).toEqual([
      expect.stringContaining('the role "billing_api" is managed by the state "billing", and "shop" declares it too'),
    ]);
    expect(await catalog(server)).toEqual(before);
  });

  test('case 107: the Delete of one leaves everything in the server, and the others their claims', async () => {
    for (const name of ['billing', 'shop']) await run(server, application(name));
    const before = await catalog(server);
    const released = await release('billing', server.connection(), 'stack-billing/State', 'server-1');
    expect(released).toBe('released');
    expect(lost(before, await catalog(server))).toEqual([]);
    expect((await run(server, application('shop'))).plan.steps).toEqual([]);
    await expect(run(server, application('billing', { name: 'shop' }))).resolves.toBeDefined();
  });

  test('what goes out of one declaration is nobody else’s: a role of another state keeps its login', async () => {
    for (const name of ['billing', 'shop']) await run(server, application(name));
    const without = application('shop', { roles: [owner('shop_owner')], settings: [] });
    const smaller = { ...without, databases: [{ ...without.databases[0], grants: [], defaultPrivileges: [] }] };
    await run(server, smaller);
    const report = await run(server, {
      ...smaller,
      settings: [{ database: 'shop', name: 'work_mem', values: ['8MB'] }],
    });
    expect(sqlOf(report.plan.steps)).toContain('ALTER ROLE "shop_api" NOLOGIN');
    expect(await holds(server, "(SELECT rolcanlogin FROM pg_roles WHERE rolname = 'billing_api')", 'postgres')).toBe(
      true,
    );
  });

  test('what somebody gives a role of one in the database of another is seen by whose schema it is not at all', async () => {
    for (const name of ['billing', 'shop']) await run(server, application(name));
    await server.query(['SET ROLE shop_owner', 'GRANT USAGE ON SCHEMA main TO billing_api'], { database: 'shop' });
    for (const name of ['billing', 'shop']) {
      const { plan: seen } = await apply(server, application(name), { identity: 'server-1' });
      expect([seen.steps, seen.withheld]).toEqual([[], []]);
    }
  });
});
