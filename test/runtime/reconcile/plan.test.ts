import { DesiredGrant, DesiredState, Privilege } from '../../../lib/contract';
import { ProofError, reconcile, RefusedError, Report } from '../../../lib/runtime/reconcile';
import { readLedger, readLedgerHead } from '../../../lib/runtime/reconcile/ledger';
import {
  observeFacts,
  observeInside,
  observeServer,
  observeSettingFacts,
} from '../../../lib/runtime/reconcile/observe';
import { Observed } from '../../../lib/runtime/reconcile/observed';
import { makePlan } from '../../../lib/runtime/reconcile/plan';
import { Session } from '../../../lib/runtime/reconcile/session';
import { LoggedStatement, startServer, TestServer } from '../../support/postgres';
import { declaration, group, login } from './declaration';
import {
  apply,
  applyAcknowledged,
  appWith,
  asOwner,
  asSuperuser,
  grantsOf,
  holds,
  legacyApplication,
  plan,
  sqlOf,
} from './runs';
import { secretsOf } from './secrets';

const readers = (...privileges: Privilege[]): DesiredGrant => ({
  privileges,
  on: { kind: 'allTables', schema: 'billing' },
  to: 'app_readonly',
});

/** The small declaration with other privileges of the readers. */
function readersWith(...privileges: Privilege[]): DesiredState {
  const others = grantsOf(declaration()).filter(({ on }) => on.kind !== 'allTables');
  const [toCome] = declaration().databases[0].defaultPrivileges;
  return appWith({ grants: [...others, readers(...privileges)], defaultPrivileges: [{ ...toCome, privileges }] });
}

const readersMay = (server: TestServer, privilege: string) =>
  holds(server, `has_table_privilege('app_readonly', 'billing.invoice', '${privilege}')`);

/** The fault to find: a statement that never reaches the server, as if it had been lost on the way. */
function loseStatements(pattern: RegExp): void {
  const run = Session.prototype.run;
  jest.spyOn(Session.prototype, 'run').mockImplementation(function (this: Session, statements, how) {
    return run.call(
      this,
      statements.filter(({ sql }) => !pattern.test(sql)),
      how,
    );
  });
}

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ version: 18 });
});
afterEach(async () => {
  jest.restoreAllMocks();
  await server.reset();
});

describe('case 116: a plan', () => {
  /** Something of every kind: to add, to widen, to narrow, adopted and not. */
  async function mixedServer(): Promise<DesiredState> {
    await apply(server, readersWith('SELECT', 'INSERT'));
    await asOwner(
      server,
      'CREATE TABLE billing.invoice (id int)',
      'CREATE TABLE billing.page (id int)',
      'REVOKE SELECT ON billing.page FROM app_readonly',
      'GRANT DELETE, UPDATE ON billing.invoice TO app_readonly, api',
      'GRANT UPDATE (id) ON billing.page TO api',
      'CREATE FUNCTION billing.total() RETURNS int LANGUAGE sql RETURN 1',
      'GRANT EXECUTE ON FUNCTION billing.total() TO PUBLIC',
      'ALTER DATABASE app CONNECTION LIMIT 10',
    );
    await server.query([
      'CREATE ROLE found LOGIN',
      'CREATE ROLE one',
      'CREATE ROLE two',
      'GRANT one, two TO api, found',
      'ALTER ROLE api SET statement_timeout = 1',
      'ALTER ROLE app_readonly LOGIN',
    ]);
    return appWith(
      { grants: [...grantsOf(readersWith('SELECT')), readers('TRIGGER')], connectionLimit: 50 },
      { roles: [...declaration().roles, login('found'), login('added')] },
    );
  }

  test('is a pure function of what it is given', async () => {
    const state = deepFreeze(await mixedServer());
    const admin = new Session(await server.connect(), 'postgres', { reads: 0, writes: 0 });
    const inApp = new Session(await server.connect({ database: 'app' }), 'app', { reads: 0, writes: 0 });
    const observed = deepFreeze<Observed>({
      ...(await observeFacts(admin, state)),
      ...(await observeServer(admin)),
      inside: new Map([['app', await observeInside(inApp, ['billing'])]]),
      settingFacts: await observeSettingFacts(admin, state),
      logins: new Map(),
      connectionVersions: new Map(),
      connectedVersions: new Map(),
      connected: new Set(),
    });
    const ledger = deepFreeze(await readLedger(admin, state.name, await readLedgerHead(admin, state.name)));
    const counted = JSON.stringify([[...observed.roles], [...observed.inside], [...ledger.objects]]);
    const first = makePlan(state, ledger, observed, 'postgres');
    expect(first.steps.length).toBeGreaterThan(3);
    expect(first.withheld.length).toBeGreaterThan(5);
    expect(makePlan(state, ledger, observed, 'postgres')).toEqual(first);
    expect(JSON.stringify([[...observed.roles], [...observed.inside], [...ledger.objects]])).toBe(counted);
  });

  test('has the same steps in the same order, wherever the server keeps its rows', async () => {
    const state = await mixedServer();
    const first = (await plan(server, state)).plan;
    // The same catalog in another physical order.
    await server.query([
      'GRANT one TO api WITH ADMIN TRUE',
      'REVOKE ADMIN OPTION FOR one FROM api',
      'ALTER ROLE one CREATEDB',
      'ALTER ROLE one NOCREATEDB',
    ]);
    await asSuperuser(server, "UPDATE cdk_postgres.object SET name = name WHERE name IN ('app', 'api')");
    expect((await plan(server, state)).plan).toEqual(first);
    expect(new Set(first.steps.map(({ risk }) => risk))).toEqual(new Set(['add', 'widen', 'narrow']));
    expect(new Set(first.withheld.map(({ risk }) => risk))).toEqual(new Set(['narrow', 'disruptive']));
    // The order of a declaration means nothing.
    const turned: DesiredState = {
      ...state,
      roles: [...state.roles].reverse(),
      databases: [...state.databases].reverse(),
    };
    const other = (await plan(server, turned)).plan;
    expect(other.hash).toBe(first.hash);
    expect(sqlOf(other.steps).sort()).toEqual(sqlOf(first.steps).sort());
  });

  test('changes nothing, also where nothing is there yet', async () => {
    let report: Report | undefined;
    const statements = await server.recordStatements(async () => (report = await plan(server, declaration())));
    expect(report?.plan.steps.length).toBeGreaterThan(5);
    expect(report?.statements.writes).toBe(0);
    expect(statements.filter(isWrite)).toEqual([]);
    expect(await server.query("SELECT FROM pg_namespace WHERE nspname = 'cdk_postgres'")).toEqual([]);
    // The negative control: what is looked for is found when there is something to find.
    const applied = await server.recordStatements(() => apply(server, declaration()));
    expect(applied.filter(isWrite).length).toBeGreaterThan(5);
  });

  describe('made by a role that can only connect', () => {
    const asAuditor = (state: DesiredState) =>
      reconcile(state, server.connection({ user: 'auditor', password: 'look' }), { mode: 'plan' });

    test('is that of the role that applies it', async () => {
      const state = await mixedServer();
      await server.query([
        "CREATE ROLE auditor LOGIN PASSWORD 'look'",
        'GRANT USAGE ON SCHEMA cdk_postgres TO auditor',
        'GRANT SELECT ON ALL TABLES IN SCHEMA cdk_postgres TO auditor',
      ]);
      await asOwner(server, 'GRANT CONNECT ON DATABASE app TO auditor');
      let report: Report | undefined;
      const statements = await server.recordStatements(async () => (report = await asAuditor(state)));
      const ours = (await plan(server, state)).plan;
      expect(sqlOf(report!.plan.steps)).toEqual(sqlOf(ours.steps));
      expect(sqlOf(report!.plan.withheld)).toEqual(sqlOf(ours.withheld));
      expect(report!.plan.hash).toBe(ours.hash);
      expect(report!.plan.notes.join()).toMatch(/auditor can only look/);
      expect(report!.server.power).toBe('none');
      expect(statements.filter(({ user }) => user === 'auditor').length).toBeGreaterThan(5);
      expect(statements.filter(isWrite)).toEqual([]);
    });

    test('is possible without the ledger, and then treats all as found', async () => {
      await apply(server, declaration());
      await asOwner(server, 'CREATE TABLE billing.invoice ()', 'REVOKE SELECT ON billing.invoice FROM app_readonly');
      await server.query("CREATE ROLE auditor LOGIN PASSWORD 'look'");
      await asOwner(server, 'GRANT CONNECT ON DATABASE app TO auditor', 'GRANT DELETE ON billing.invoice TO api');
      const { plan: planned } = await asAuditor(declaration());
      expect(sqlOf(planned.steps)).toEqual(['GRANT SELECT ON TABLE "billing"."invoice" TO "app_readonly"']);
      expect(sqlOf(planned.withheld)).toEqual(['REVOKE DELETE ON TABLE "billing"."invoice" FROM "api"']);
      expect(planned.notes.join()).toMatch(
        /everything is treated as not made by this state, since auditor may not read the ledger, .*GRANT USAGE ON SCHEMA/,
      );
    });

    test('is possible before anything is there', async () => {
      await server.query("CREATE ROLE auditor LOGIN PASSWORD 'look'");
      const { plan: planned } = await asAuditor(declaration());
      const ours = sqlOf((await plan(server, declaration())).plan.steps);
      const theirs = sqlOf(planned.steps);
      // What the master does for itself is not the auditor's to know.
      expect(ours.filter((sql) => !theirs.includes(sql))).toEqual([
        'GRANT "app_owner" TO CURRENT_USER WITH INHERIT FALSE, SET TRUE',
        'GRANT CONNECT ON DATABASE "app" TO "master"',
      ]);
      expect(theirs.filter((sql) => !ours.includes(sql))).toEqual([]);
    });

    test('says which database it cannot look into', async () => {
      await apply(server, declaration());
      await server.query("CREATE ROLE auditor LOGIN PASSWORD 'look'");
      const refused = asAuditor(declaration());
      await expect(refused).rejects.toThrow(RefusedError);
      await expect(refused).rejects.toThrow(/auditor cannot look into the database "app": GRANT CONNECT/);
    });

    test('is not applied by it', async () => {
      await server.query("CREATE ROLE auditor LOGIN PASSWORD 'look'");
      const refused = reconcile(declaration(), server.connection({ user: 'auditor', password: 'look' }), {
        mode: 'apply',
      });
      await expect(refused).rejects.toThrow(RefusedError);
      await expect(refused).rejects.toThrow(/auditor may not create roles/);
    });
  });
});

describe('case 117: the proof', () => {
  beforeEach(async () => {
    await apply(server, readersWith('SELECT', 'DELETE'));
    await asOwner(server, 'CREATE TABLE billing.invoice ()', 'CREATE TABLE billing.page ()');
  });

  test('catches a REVOKE that was lost on its way, and the next run does it', async () => {
    loseStatements(/^REVOKE DELETE/);
    const failed = apply(server, readersWith('SELECT'));
    await expect(failed).rejects.toThrow(ProofError);
    await expect(failed).rejects.toThrow(
      /grant on 2 tables in schema billing to app_readonly \(DELETE, .* is not declared any more\)/,
    );
    expect(await readersMay(server, 'DELETE')).toBe(true);
    jest.restoreAllMocks();
    expect((await apply(server, readersWith('SELECT'))).outcome).toBe('applied');
    expect(await readersMay(server, 'DELETE')).toBe(false);
  });

  test('catches it also where only one of several acknowledged steps was lost', async () => {
    await asOwner(server, 'GRANT UPDATE ON billing.invoice TO api', 'GRANT TRUNCATE ON billing.page TO app_readonly');
    const state = readersWith('SELECT', 'DELETE');
    loseStatements(/^REVOKE TRUNCATE/);
    const failed = applyAcknowledged(server, state);
    await expect(failed).rejects.toThrow(ProofError);
    await expect(failed).rejects.toThrow(/TRUNCATE/);
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'UPDATE')")).toBe(false);
  });

  test.each([
    ['GRANT on a table', /^GRANT INSERT/, readersWith('SELECT', 'DELETE', 'INSERT'), /grant on 2 tables/],
    [
      'default privilege',
      /^ALTER DEFAULT PRIVILEGES.*INSERT/,
      appWith({
        defaultPrivileges: [{ ...declaration().databases[0].defaultPrivileges[0], privileges: ['SELECT', 'INSERT'] }],
      }),
      /default privileges on tables/,
    ],
    [
      'setting',
      /SET "lock_timeout"/,
      declaration({ settings: [{ role: 'api', name: 'lock_timeout', values: ['3s'] }] }),
      /setting lock_timeout of role api/,
    ],
    [
      'membership',
      /^GRANT "pg_monitor"/,
      declaration({
        memberships: [
          ...declaration().memberships,
          { role: 'pg_monitor', member: 'api', inherit: true, set: false, admin: false },
        ],
      }),
      /membership of api in pg_monitor/,
    ],
    [
      'attribute of a role',
      /^ALTER ROLE "api" CONNECTION LIMIT/,
      declaration({
        roles: [declaration().roles[0], declaration().roles[1], login('api', { connectionLimit: 9 })],
        profile: 'development',
      }),
      /role api \(its connection limit is -1\)/,
    ],
  ])('catches a %s that was lost', async (_what, pattern, state, message) => {
    loseStatements(pattern);
    const failed = apply(server, state);
    await expect(failed).rejects.toThrow(ProofError);
    await expect(failed).rejects.toThrow(message);
  });
});

describe.each([16, 17, 18] as const)('on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(() => server.reset());

  test('case 118: a second run writes nothing, as the server itself sees it', async () => {
    const rich = appWith(
      {
        grants: [
          ...grantsOf(declaration()),
          { privileges: ['CONNECT', 'TEMPORARY'], on: { kind: 'database' }, to: 'clerk' },
          { privileges: ['EXECUTE'], on: { kind: 'allRoutines', schema: 'billing' }, to: 'app_readonly' },
          { privileges: ['USAGE'], on: { kind: 'allSequences', schema: 'billing' }, to: 'app_readonly' },
        ],
        connectionLimit: 40,
      },
      {
        roles: [
          ...declaration().roles,
          login('clerk', { authentication: 'iam', connectionLimit: 5, validUntil: '2099-01-01T00:00:00.000Z' }),
        ],
        settings: [
          { role: 'api', name: 'search_path', values: ['billing', '$user'] },
          { database: 'app', name: 'work_mem', values: ['65536'] },
        ],
      },
    );
    await apply(server, rich);
    await asOwner(
      server,
      'CREATE TABLE billing.invoice (id serial)',
      'CREATE FUNCTION billing.total() RETURNS int LANGUAGE sql RETURN 1',
    );
    await apply(server, rich);
    const rows = await catalogRows(server);
    expect(rows.length).toBeGreaterThan(400);
    // Once by the fingerprint, once by reading everything.
    for (const options of [{}, { acknowledge: ['0123456789abcdef'] }]) {
      let report: Report | undefined;
      const statements = await server.recordStatements(async () => (report = await apply(server, rich, options)));
      expect(report!.outcome).toBe('unchanged');
      expect(report!.statements.writes).toBe(0);
      expect(statements.length).toBeGreaterThan(3);
      expect(statements.filter(isWrite)).toEqual([]);
    }
    expect(await catalogRows(server)).toEqual(rows);
  });
});

test('case 118: a run that finds something withheld writes nothing the second time either', async () => {
  await legacyApplication(server);
  const first = await apply(server, declaration());
  expect(first.plan.withheld).not.toEqual([]);
  const rows = await catalogRows(server);
  const second = await apply(server, declaration());
  expect(second.statements.writes).toBe(0);
  expect(second.plan.withheld).toEqual(first.plan.withheld);
  expect(second.plan.hash).toBe(first.plan.hash);
  expect(await catalogRows(server)).toEqual(rows);
});

test('case 119: drift says what is missing, extra, changed, beyond this role and unknown', async () => {
  const roles = [...declaration().roles, login('web', { authentication: 'password' })];
  const secrets = secretsOf({ web: 'correct horse' });
  await apply(server, declaration({ roles }), { secrets });
  expect((await plan(server, declaration({ roles }))).plan).toMatchObject({ steps: [], withheld: [] });

  await asOwner(
    server,
    'CREATE TABLE billing.invoice ()',
    'REVOKE SELECT ON billing.invoice FROM app_readonly',
    'GRANT DELETE ON billing.invoice TO app_readonly',
  );
  await server.query("ALTER ROLE api NOLOGIN; ALTER ROLE api SET statement_timeout = '1h'");
  await asSuperuser(server, ['CREATE ROLE lender', 'GRANT USAGE ON SCHEMA billing TO lender'], 'app');
  await asSuperuser(
    server,
    [
      'GRANT UPDATE ON billing.invoice TO lender WITH GRANT OPTION',
      'SET ROLE lender',
      'GRANT UPDATE ON billing.invoice TO api',
    ],
    'app',
  );
  const { plan: drift } = await plan(server, declaration({ roles }));
  const summary = (steps: typeof drift.steps) =>
    steps.map(({ risk, object, withheld }) => [
      risk,
      object,
      ...(withheld === undefined ? [] : [/no power/.test(withheld) ? 'beyond this role' : 'waits']),
    ]);
  expect(summary(drift.steps)).toEqual([
    ['widen', 'role api'],
    ['add', 'grant on 1 table in schema billing to app_readonly'],
  ]);
  expect(summary(drift.withheld)).toEqual([
    ['disruptive', 'setting statement_timeout of role api', 'waits'],
    ['narrow', 'grant on 1 table in schema billing to app_readonly', 'waits'],
    ['narrow', 'grant on 1 table in schema billing to api', 'beyond this role'],
  ]);
  expect(drift.notes.join()).toMatch(/whether the password of web is the one in its secret is not known/);
  // With the secrets at hand it is known.
  const checked = await plan(server, declaration({ roles }), { secrets });
  expect(checked.plan.notes).toEqual([]);
});

test('case 112: the same declaration again shows what has drifted, and brings back what is missing', async () => {
  await apply(server, declaration());
  await asOwner(server, 'CREATE TABLE billing.invoice ()', 'REVOKE SELECT ON billing.invoice FROM app_readonly');
  const rows = await catalogRows(server);
  // What looks every night looks only.
  for (let night = 0; night < 2; night++) {
    const { plan: drift, statements } = await plan(server, declaration());
    expect(sqlOf(drift.steps)).toEqual(['GRANT SELECT ON TABLE "billing"."invoice" TO "app_readonly"']);
    expect(statements.writes).toBe(0);
    expect(await catalogRows(server)).toEqual(rows);
  }
  expect((await apply(server, declaration())).outcome).toBe('applied');
  expect(await readersMay(server, 'SELECT')).toBe(true);
  expect((await plan(server, declaration())).plan).toMatchObject({ steps: [], withheld: [] });
});

describe('case 120: narrowing', () => {
  /** An incident: somebody widens access by hand, and it works. */
  async function incident(state = readersWith('SELECT')): Promise<void> {
    await apply(server, state);
    await asOwner(server, 'CREATE TABLE billing.invoice ()', 'GRANT DELETE ON billing.invoice TO app_readonly');
  }

  test('waits in production until its plan is acknowledged, while the rest of the deployment goes on', async () => {
    await incident();
    const unrelated = { ...readersWith('SELECT'), roles: [...declaration().roles, group('unrelated')] };
    const report = await apply(server, unrelated);
    expect(report.outcome).toBe('applied');
    expect(await readersMay(server, 'DELETE')).toBe(true);
    expect(sqlOf(report.plan.withheld)).toEqual(['REVOKE DELETE ON TABLE "billing"."invoice" FROM "app_readonly"']);
    expect(report.plan.withheld[0].withheld).toMatch(/production takes nothing away/);

    const acknowledged = { ...unrelated, acknowledgedPlans: [report.plan.hash!] };
    const done = await apply(server, acknowledged);
    expect(done.plan).toMatchObject({ withheld: [] });
    expect(done.plan.hash).toBeUndefined();
    expect(done.plan.notes.join()).toContain(`since ${report.plan.hash} is acknowledged`);
    expect(await readersMay(server, 'DELETE')).toBe(false);
    expect(await readersMay(server, 'SELECT')).toBe(true);
    expect((await apply(server, acknowledged)).outcome).toBe('unchanged');
  });

  test('has another hash when it narrows something else, and an old acknowledgement then runs none of it', async () => {
    await incident();
    const { hash } = (await plan(server, readersWith('SELECT'))).plan;
    await asOwner(server, 'GRANT TRUNCATE ON billing.invoice TO app_readonly');
    const now = (await plan(server, readersWith('SELECT'))).plan;
    expect(hash).toMatch(/^[0-9a-f]{16}$/);
    expect(now.hash).toMatch(/^[0-9a-f]{16}$/);
    expect(now.hash).not.toBe(hash);

    const report = await apply(server, readersWith('SELECT', 'INSERT'), { acknowledge: [hash!] });
    expect(report.plan.hash).toBe(now.hash);
    expect(await readersMay(server, 'INSERT')).toBe(true);
    expect(await readersMay(server, 'DELETE')).toBe(true);
    expect(await readersMay(server, 'TRUNCATE')).toBe(true);
    // One step less is another plan too.
    await asOwner(server, 'REVOKE DELETE ON billing.invoice FROM app_readonly');
    await apply(server, readersWith('SELECT', 'INSERT'), { acknowledge: [now.hash!] });
    expect(await readersMay(server, 'TRUNCATE')).toBe(true);
  });

  test('has a hash that does not depend on what else there is to do', async () => {
    await incident();
    const { hash } = (await plan(server, readersWith('SELECT'))).plan;
    const more = { ...readersWith('SELECT', 'UPDATE'), roles: [...declaration().roles, group('unrelated')] };
    expect((await plan(server, more)).plan.hash).toBe(hash);
  });

  test('runs unasked in development for what this state has made', async () => {
    await incident({ ...readersWith('SELECT'), profile: 'development' });
    const report = await apply(server, { ...readersWith('SELECT'), profile: 'development' });
    expect(report.plan.withheld).toEqual([]);
    expect(await readersMay(server, 'DELETE')).toBe(false);
  });

  test('waits in development too for what was there before', async () => {
    await legacyApplication(server);
    await asOwner(server, 'GRANT DELETE ON billing.invoice TO app_readonly');
    const report = await apply(server, { ...readersWith('SELECT'), profile: 'development' });
    expect(sqlOf(report.plan.withheld)).toContain('REVOKE DELETE ON TABLE "billing"."invoice" FROM "app_readonly"');
    expect(await readersMay(server, 'DELETE')).toBe(true);
  });

  test('runs unasked in production where the previous declaration gave what this one does not', async () => {
    await incident(readersWith('SELECT', 'DELETE', 'UPDATE'));
    const report = await apply(server, readersWith('SELECT'));
    expect(report.plan.withheld).toEqual([]);
    expect(sqlOf(report.plan.steps)).toContain(
      'REVOKE UPDATE, DELETE ON TABLE "billing"."invoice" FROM "app_readonly"',
    );
    expect(await readersMay(server, 'UPDATE, DELETE')).toBe(false);
  });

  test('is in the record of the run that did it', async () => {
    await incident();
    await applyAcknowledged(server, readersWith('SELECT'));
    const [row] = await server.query<{ outcome: string; plan: unknown }>(
      'SELECT outcome, plan FROM cdk_postgres.run ORDER BY id DESC LIMIT 1',
    );
    expect(row.outcome).toBe('applied');
    expect(JSON.stringify(row.plan)).toContain('REVOKE DELETE');
  });
});

function isWrite({ sql }: LoggedStatement): boolean {
  return sql
    .split(';')
    .map((statement) => statement.trim())
    .some((statement) => statement !== '' && !/^(SELECT|WITH|SET|SHOW)\b/i.test(statement));
}

/** Which transaction wrote each row of the catalogs and of the ledger. */
async function catalogRows(of: TestServer): Promise<unknown[]> {
  const shared = ['pg_authid', 'pg_auth_members', 'pg_database', 'pg_db_role_setting', 'pg_parameter_acl'];
  const local = ['pg_class', 'pg_namespace', 'pg_attribute', 'pg_proc', 'pg_default_acl', 'pg_type', 'pg_init_privs'];
  const ledger = ['server', 'state', 'object', 'run'].map((table) => `cdk_postgres.${table}`);
  const query = (tables: string[]) =>
    tables
      .map((table) => `SELECT '${table}' AS table, xmin::text AS xmin, ctid::text AS ctid FROM ${table}`)
      .join(' UNION ALL ') + ' ORDER BY 1, 2, 3';
  return [
    ...(await asSuperuser(of, query([...shared, ...local, ...ledger]))),
    ...(await asSuperuser(of, query(local), 'app')),
  ];
}

/** Freezes an object and all that is in it, maps and sets too. */
function deepFreeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null || value instanceof Date || Object.isFrozen(value)) return value;
  const changed = () => {
    throw new Error('the plan changed what it was given');
  };
  if (value instanceof Map) {
    [...value.values()].forEach(deepFreeze);
    Object.assign(value, { set: changed, delete: changed, clear: changed });
  } else if (value instanceof Set) Object.assign(value, { add: changed, delete: changed, clear: changed });
  else Object.values(value).forEach(deepFreeze);
  return Object.freeze(value);
}
