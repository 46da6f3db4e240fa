import { DesiredState } from '../../../lib/contract';
import { handover, HandoverOptions, RefusedError } from '../../../lib/runtime/reconcile';
import { LEDGER_VERSION } from '../../../lib/runtime/reconcile/ledger';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog } from './catalog';
import { declaration, login, owner } from './declaration';
import { ageRemoval, objectRow, objectRows, origins, runRows } from './ledger-rows';
import { apply, holds, plan } from './runs';

const rolesOnly = (name: string, ...roles: string[]): DesiredState =>
  declaration({ name, roles: roles.map((role) => login(role)), memberships: [], settings: [], databases: [] });

const toBilling = (server: TestServer, changes: Partial<HandoverOptions> = {}) =>
  handover(server.connection(), {
    from: 'platform',
    to: 'billing',
    subjects: [{ kind: 'role', name: 'worker' }],
    write: true,
    ...changes,
  });

const mayLogIn = (server: TestServer) =>
  holds(server, "(SELECT rolcanlogin FROM pg_roles WHERE rolname = 'worker')", 'postgres');

describe.each(VERSIONS)('handover, PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
    await apply(server, rolesOnly('platform', 'worker', 'stays'));
    await apply(server, rolesOnly('billing', 'own'));
  });

  test('case 34: the new stack first: its state manages the role as one that it made, and the old one leaves it alone', async () => {
    await expect(apply(server, rolesOnly('billing', 'own', 'worker'))).rejects.toThrow('cdk-postgres handover');
    const before = await catalog(server);
    expect((await toBilling(server)).outcome).toBe('handed over');
    expect(await catalog(server)).toEqual(before);
    expect(await objectRow(server, 'worker')).toMatchObject({ state: 'billing', origin: 'created', established: true });

    expect((await apply(server, rolesOnly('billing', 'own', 'worker'))).plan.withheld).toEqual([]);
    // Until it is deployed without the role, the old stack is refused by name.
    await expect(apply(server, rolesOnly('platform', 'worker', 'stays'))).rejects.toThrow(
      'managed by the state "billing"',
    );
    await apply(server, rolesOnly('platform', 'stays'));
    await apply(server, rolesOnly('platform', 'stays', 'another'));
    expect(await mayLogIn(server)).toBe(true);
    expect(await origins(server, 'billing')).toEqual(['role own: created', 'role worker: created']);
  });

  test('case 34: the old stack first: what it has let go of is taken over as made, and keeps its login', async () => {
    await apply(server, rolesOnly('platform', 'stays'));
    expect((await objectRow(server, 'worker'))?.removed_at).not.toBeNull();
    await toBilling(server);
    expect(await objectRow(server, 'worker')).toMatchObject({ removed_at: null, removed_by: null });
    await apply(server, rolesOnly('platform', 'stays', 'another'));
    expect(await mayLogIn(server)).toBe(true);
    await apply(server, rolesOnly('billing', 'own', 'worker'));
    expect(await objectRow(server, 'worker')).toMatchObject({ state: 'billing', origin: 'created', established: true });
    expect((await apply(server, rolesOnly('billing', 'own', 'worker'))).statements.writes).toBe(0);
  });

  test('control: without it the role is adopted by the new state, or loses its login in the old one', async () => {
    await apply(server, rolesOnly('platform', 'stays'));
    await ageRemoval(server, 'worker', 25);
    await apply(server, rolesOnly('platform', 'stays', 'another'));
    expect(await mayLogIn(server)).toBe(false);
    await apply(server, rolesOnly('billing', 'own', 'worker'));
    expect(await objectRow(server, 'worker')).toMatchObject({ origin: 'adopted' });
  });

  test('a role that lost its login already gets it back from the new state', async () => {
    await apply(server, rolesOnly('platform', 'stays'));
    await ageRemoval(server, 'worker', 25);
    await apply(server, rolesOnly('platform', 'stays', 'another'));
    await toBilling(server);
    await apply(server, rolesOnly('billing', 'own', 'worker'));
    expect(await mayLogIn(server)).toBe(true);
  });
});

describe('PostgreSQL 18', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version: 18 });
    await apply(server, declaration({ name: 'platform' }));
  });

  test('a database comes with its schemas, and its owner when it is named', async () => {
    await handover(server.connection(), {
      from: 'platform',
      to: 'billing',
      subjects: [
        { kind: 'database', name: 'app' },
        { kind: 'role', name: 'app_owner' },
      ],
      write: true,
    });
    expect(await origins(server, 'billing')).toEqual([
      'database app: created',
      'role app_owner: created',
      'schema app.billing: created',
    ]);
    expect(await origins(server, 'platform')).toEqual(['role api: created', 'role app_readonly: created']);
    const [{ databases }] = [declaration()];
    const state = declaration({
      name: 'billing',
      roles: [owner('app_owner')],
      memberships: [],
      settings: [],
      databases: [{ ...databases[0], grants: [], defaultPrivileges: [] }],
    });
    expect((await apply(server, state)).plan.steps).toEqual([]);
  });

  test('a schema alone', async () => {
    await toBilling(server, { subjects: [{ kind: 'schema', database: 'app', name: 'billing' }] });
    expect(await origins(server, 'billing')).toEqual(['schema app.billing: created']);
  });

  test('nothing is written unasked', async () => {
    const [objects, runs] = [await objectRows(server), await runRows(server)];
    const report = await toBilling(server, { subjects: [{ kind: 'role', name: 'api' }], write: false });
    expect(report).toMatchObject({ outcome: 'planned', objects: [{ kind: 'role', name: 'api', origin: 'created' }] });
    expect(report.notes).toEqual([
      expect.stringContaining('the state "billing" has never been applied on this server'),
    ]);
    expect([await objectRows(server), await runRows(server)]).toEqual([objects, runs]);
  });

  test('it is in the ledger’s runs, and neither state counts as proven', async () => {
    await toBilling(server, { subjects: [{ kind: 'role', name: 'api' }] });
    expect((await runRows(server)).at(-1)).toMatchObject({
      state: 'billing',
      outcome: 'handed over',
      by_role: 'master',
      plan: [{ object: 'role api', reason: 'handed over from the state platform' }],
    });
    expect((await runRows(server)).at(-1)?.finished_at).not.toBeNull();
    await expect(plan(server, declaration({ name: 'platform' }))).rejects.toThrow('managed by the state "billing"');
  });

  test.each<[string, Partial<HandoverOptions>, string]>([
    [
      'a state that is not there',
      { from: 'platfrom' },
      'the state "platfrom" manages nothing on this server; there is "platform"',
    ],
    [
      'a role that is not there',
      { subjects: [{ kind: 'role', name: 'apo' }] },
      '"platform" manages no role "apo"; it manages the role api, the role app_owner, the role app_readonly',
    ],
    [
      'a schema of another database',
      { subjects: [{ kind: 'schema', database: 'other', name: 'billing' }] },
      'manages no schema "other.billing"; it manages the schema app.billing',
    ],
    [
      'what another state manages',
      { from: 'second', subjects: [{ kind: 'role', name: 'api' }] },
      'the role api is managed by the state "platform", and not by "second"',
    ],
    ['the same state', { to: 'platform' }, 'both states are "platform"'],
  ])('%s is refused with what there is, and nothing changes', async (_, changes, message) => {
    await apply(server, rolesOnly('second', 'other'));
    const objects = await objectRows(server);
    const refusal = await toBilling(server, changes).catch((error) => error);
    expect(refusal).toBeInstanceOf(RefusedError);
    expect(refusal.message).toContain(message);
    expect(await objectRows(server)).toEqual(objects);
  });

  test('case 114: a ledger of a newer version is left alone', async () => {
    await server.query(`UPDATE cdk_postgres.server SET version = ${LEDGER_VERSION + 1}`);
    await expect(toBilling(server)).rejects.toThrow('written by a newer version');
  });

  test('case 2: it waits for a run that is under way', async () => {
    const holder = await server.connect();
    await holder.query(`SELECT pg_advisory_lock(${0x63646b70}, ${0x6c6f636b})`);
    let done = false;
    const waiting = toBilling(server, { subjects: [{ kind: 'role', name: 'api' }] }).then(() => (done = true));
    const isWaiting =
      "EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE '%pg_try_advisory_lock%' AND pid <> pg_backend_pid())";
    while (!(await holds(server, isWaiting, 'postgres')));
    expect(done).toBe(false);
    await holder.end();
    await waiting;
    expect(await origins(server, 'billing')).toEqual(['role api: created']);
  });
});

test('a server without a ledger says so', async () => {
  const server = await startServer({ version: 18 });
  await expect(toBilling(server)).rejects.toThrow('there is no ledger on this server');
});
