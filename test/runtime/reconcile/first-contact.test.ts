import { DesiredState } from '../../../lib/contract';
import { reconcile, ReconcileOptions } from '../../../lib/runtime/reconcile';
import { NOTHING_INSIDE } from '../../support/nothing-inside';
import { freshServer, TestServer, VERSIONS } from '../../support/postgres';
import { APPLICATIONS, broken, installApplications } from './applications';
import { catalog, lost } from './catalog';
import { login, role } from './declaration';
import { secretsOf } from './secrets';

/** Adopts roles, a database and schemas of the applications, wants less for them than they have, and adds an application of its own. */
function declared(changes: Partial<DesiredState> = {}): DesiredState {
  return {
    version: 1,
    name: 'platform',
    profile: 'production',
    defaults: 'V1',
    acknowledgedPlans: [],
    roles: [
      role('billing_owner'),
      role('billing_rw'),
      // Without its CREATEDB, with a lower limit, and with another password than the one it uses.
      login('billing_app', { authentication: 'password', connectionLimit: 5 }),
      role('batch', { validUntil: '2030-01-01T00:00:00Z' }),
      login('etl', { inherit: false }),
      login('api', { authentication: 'password' }),
    ],
    memberships: [{ role: 'billing_rw', member: 'api', inherit: true, set: false, admin: false }],
    settings: [
      { role: 'billing_app', name: 'statement_timeout', values: ['15s'] },
      { database: 'shared', name: 'work_mem', values: ['4MB'] },
      { role: 'api', name: 'statement_timeout', values: ['15s'] },
    ],
    comments: [],
    drops: [],
    databases: [
      {
        ...NOTHING_INSIDE,
        name: 'shared',
        owner: 'master',
        connectionLimit: 90,
        public: 'closed',
        schemas: [
          { name: 'billing', owner: 'billing_owner' },
          { name: 'crm', owner: 'billing_owner' },
          { name: 'api', owner: 'billing_owner' },
        ],
        grants: [
          { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'api' },
          { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'billing_rw' },
          { privileges: ['SELECT'], on: { kind: 'allTables', schema: 'billing' }, to: 'billing_rw' },
          { privileges: ['USAGE'], on: { kind: 'schema', schema: 'api' }, to: 'api' },
        ],
        defaultPrivileges: [
          { creator: 'billing_owner', schema: 'api', objects: 'tables', privileges: ['SELECT'], to: 'api' },
        ],
      },
    ],
    ...changes,
  };
}

/** The next version of the app: one more role with its own rights, one more schema. */
function updated(): DesiredState {
  const state = declared();
  const [shared] = state.databases;
  return {
    ...state,
    roles: [...state.roles, login('worker', { authentication: 'password' })],
    memberships: [
      ...state.memberships,
      { role: 'billing_rw', member: 'worker', inherit: true, set: false, admin: false },
    ],
    databases: [
      {
        ...shared,
        schemas: [...shared.schemas, { name: 'jobs', owner: 'billing_owner' }],
        grants: [
          ...shared.grants,
          { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'worker' },
          { privileges: ['USAGE', 'CREATE'], on: { kind: 'schema', schema: 'jobs' }, to: 'worker' },
          { privileges: ['INSERT'], on: { kind: 'allTables', schema: 'billing' }, to: 'billing_rw' },
        ],
      },
    ],
  };
}

const options: ReconcileOptions = {
  mode: 'apply',
  secrets: secretsOf({ billing_app: 'another password', api: 'api-password', worker: 'worker-password' }),
};

describe.each(VERSIONS)('first contact with a server of ten applications, PostgreSQL %i', (version) => {
  let server: TestServer;
  let before: Set<string>;
  beforeAll(async () => {
    server = await freshServer({ version });
    await installApplications(server);
    expect(await broken(server)).toEqual([]);
    before = await catalog(server);
  });
  afterAll(() => server.stop());

  test('the first deployment takes nothing away and lists what it withholds', async () => {
    const report = await reconcile(declared(), server.connection(), options);
    expect(report.outcome).toBe('applied');
    expect(await broken(server)).toEqual([]);
    expect(lost(before, await catalog(server))).toEqual([]);
    expect(report.plan.steps.filter(({ risk }) => risk !== 'add' && risk !== 'widen')).toEqual([]);
    expect(report.plan.hash).toMatch(/^[0-9a-f]{16}$/);
    const withheld = report.plan.withheld.map(({ object }) => object).sort();
    expect([...new Set(withheld)]).toEqual([
      'database shared',
      'default privileges on routines of billing_owner to PUBLIC',
      'default privileges on routines of master to PUBLIC',
      'default privileges on tables of billing_owner in schema billing to billing_rw',
      'default privileges on tables of billing_owner in schema billing to etl',
      'grant on 1 table in schema billing to billing_rw',
      'grant on 1 table in schema billing to etl',
      'grant on 1 table in schema crm to PUBLIC',
      'grant on 2 routines in schema billing to PUBLIC',
      'grant on column billing.invoice.id to etl',
      'grant on column billing.invoice.note to etl',
      'grant on database shared to PUBLIC',
      'grant on schema billing to PUBLIC',
      'grant on schema billing to billing_app',
      'grant on schema crm to PUBLIC',
      'grant on schema public to PUBLIC',
      'membership of billing_app in billing_rw',
      'password of role billing_app',
      'role batch',
      'role billing_app',
      'role etl',
      'schema crm',
      'setting statement_timeout of role billing_app',
      'setting work_mem of database shared',
    ]);
    for (const step of report.plan.withheld) {
      expect(step.withheld).toContain('it was there before this state declared it');
      expect(step.statements.length).toBeGreaterThan(0);
    }
    const connect = report.plan.withheld.find(({ object }) => object === 'grant on database shared to PUBLIC');
    expect(connect?.reason).toContain(
      'login roles may connect through it alone: analyst, batch, billing_app, crm, cron',
    );
  });

  test('the same deployment again writes nothing and withholds the same', async () => {
    const report = await reconcile(declared(), server.connection(), options);
    expect(report).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
    expect(report.plan.withheld.length).toBeGreaterThan(20);
    expect(await broken(server)).toEqual([]);
  });

  test('an update takes nothing away', async () => {
    const report = await reconcile(updated(), server.connection(), options);
    expect(report.outcome).toBe('applied');
    expect(await broken(server)).toEqual([]);
    expect(lost(before, await catalog(server))).toEqual([]);
    await server.query(['CREATE TABLE jobs.mine ()'], {
      user: 'worker',
      password: 'worker-password',
      database: 'shared',
    });
  });

  test('case 109: the rollback takes nothing away, not even from what the update made', async () => {
    const atUpdate = await catalog(server);
    const report = await reconcile(declared(), server.connection(), { ...options, rollback: true });
    expect(report.outcome).toBe('unchanged');
    expect(await broken(server)).toEqual([]);
    expect(lost(atUpdate, await catalog(server))).toEqual([]);
    await server.query(['CREATE TABLE jobs.more ()'], {
      user: 'worker',
      password: 'worker-password',
      database: 'shared',
    });
  });

  test('case 109: neither does an update that ends half way, nor the rollback from there', async () => {
    const atUpdate = await catalog(server);
    const state = updated();
    const [shared] = state.databases;
    const next: DesiredState = {
      ...state,
      roles: [...state.roles, login('clerk')],
      databases: [
        {
          ...shared,
          schemas: [...shared.schemas, { name: 'desk', owner: 'billing_owner' }],
          grants: [...shared.grants, { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'clerk' }],
        },
      ],
    };
    const failing = reconcile(next, server.connection(), {
      ...options,
      onProgress: (message) => {
        if (message.startsWith('shared:')) throw new Error('killed here');
      },
    });
    await expect(failing).rejects.toThrow('killed here');
    expect(await server.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clerk'")).toEqual([
      { rolcanlogin: true },
    ]);
    expect(await broken(server)).toEqual([]);
    const report = await reconcile(declared(), server.connection(), { ...options, rollback: true });
    expect(report.plan.steps).toEqual([]);
    expect(await broken(server)).toEqual([]);
    expect(lost(atUpdate, await catalog(server))).toEqual([]);
  });

  test('case 104: all of them still work when the declaration is gone altogether', async () => {
    await reconcile(
      { ...declared(), roles: [], memberships: [], settings: [], databases: [] },
      server.connection(),
      options,
    );
    await reconcile(
      { ...declared(), roles: [role('other')], memberships: [], settings: [], databases: [] },
      server.connection(),
      options,
    );
    expect(await broken(server)).toEqual([]);
    expect(lost(before, await catalog(server))).toEqual([]);
    await reconcile(declared(), server.connection(), options);
    expect(await broken(server)).toEqual([]);
  });

  // Also the negative control of the two checkers above: here access is taken away, and both must see it.
  test('withheld steps run when their plan is acknowledged, and only that plan', async () => {
    const { plan } = await reconcile(declared(), server.connection(), { ...options, mode: 'plan' });
    await reconcile(declared(), server.connection(), { ...options, acknowledge: ['0123456789abcdef'] });
    expect(await broken(server)).toEqual([]);
    await expect(
      reconcile(updated(), server.connection(), { ...options, acknowledge: [plan.hash!], mode: 'plan' }),
    ).resolves.toMatchObject({ plan: { hash: expect.not.stringMatching(plan.hash!) } });

    const report = await reconcile({ ...declared(), acknowledgedPlans: [plan.hash!] }, server.connection(), options);
    expect(report.outcome).toBe('applied');
    expect(report.plan.withheld).toEqual([]);
    const failing = (await broken(server)).map((failure) => failure.split(':')[0]);
    expect(failing).toEqual(APPLICATIONS.map(({ name }) => name).filter((name) => name !== 'shop'));
    const gone = lost(before, await catalog(server));
    expect(gone).toEqual(
      expect.arrayContaining(['database shared: PUBLIC has CONNECT by master', 'shared: schema crm: owner crm']),
    );
    // What the master has borrowed to change an owner is given back, and what somebody gave it stays.
    expect(gone.filter((line) => line.startsWith('member master'))).toEqual([]);
    const again = await reconcile({ ...declared(), acknowledgedPlans: [plan.hash!] }, server.connection(), options);
    expect(again).toMatchObject({ outcome: 'unchanged', plan: { withheld: [] } });
  });
});
