import {
  CONTRACT_VERSION,
  DesiredState,
  DRIFT_MODE_VARIABLE,
  METRIC_NAMESPACE,
  SERVER_VARIABLE,
  STATE_NAME_VARIABLE,
} from '../../../lib/contract';
import { handler } from '../../../lib/runtime/handlers/drift';
import { reconcile } from '../../../lib/runtime/reconcile';
import { functionProcess } from '../../support/function-process';
import { startServer, TestServer } from '../../support/postgres';
import { TestSecretsManager } from '../../support/secrets-manager';
import { declaration, login } from '../reconcile/declaration';
import { apply, applyAcknowledged, asOwner, asSuperuser, holds, legacyApplication } from '../reconcile/runs';
import { secretsOf } from '../reconcile/secrets';

const { lines } = functionProcess();
let server: TestServer;
let manager: TestSecretsManager;

beforeEach(async () => {
  server = await startServer({ version: 18, tls: true });
  manager = await TestSecretsManager.start();
  const adminArn = manager.create('admin', { username: server.master.user, password: server.master.password });
  Object.assign(process.env, manager.environment, {
    AWS_MAX_ATTEMPTS: '1',
    [STATE_NAME_VARIABLE]: 'test',
    [DRIFT_MODE_VARIABLE]: 'report',
    [SERVER_VARIABLE]: JSON.stringify({
      Platform: 'aurora',
      Identity: 'db-1',
      Host: server.host,
      Port: String(server.port),
      AdminSecretArn: adminArn,
      AdminDatabase: 'postgres',
      Trust: server.ca,
    }),
  });
});
afterEach(async () => {
  await manager.stop();
});

const PASSWORD = secretsOf({ api: 'the clear password' });
const state: DesiredState = declaration({
  version: CONTRACT_VERSION,
  roles: declaration().roles.map((role) => (role.login ? { ...role, authentication: 'password' } : role)),
});
const deploy = (desired = state) => apply(server, desired, { identity: 'db-1', secrets: PASSWORD });
const look = (time = 60_000) => handler({}, { getRemainingTimeInMillis: () => time });
const metrics = () => lines.filter((line) => line._aws !== undefined).at(-1)!;
const differences = () => lines.filter(({ event }) => event === 'drift').map(({ kind, known }) => ({ kind, known }));

test('case 119: a server that is as declared has no drift, and its passwords are unknown', async () => {
  await deploy();
  expect(await look()).toEqual({ drift: 0, added: 0 });
  expect(metrics()).toMatchObject({
    _aws: {
      CloudWatchMetrics: [
        {
          Namespace: METRIC_NAMESPACE,
          Dimensions: [['Server', 'State']],
          Metrics: expect.arrayContaining([{ Name: 'Drift', Unit: 'Count' }]),
        },
      ],
    },
    Server: 'db-1',
    State: 'test',
    Drift: 0,
    DriftMissing: 0,
    DriftExtra: 0,
    DriftChanged: 0,
    DriftUnmanageable: 0,
    DriftUnknown: 1,
  });
  expect(differences()).toEqual([]);
});

test('case 119: what was changed by hand is missing, extra or changed', async () => {
  await deploy();
  await asOwner(server, 'REVOKE USAGE ON SCHEMA billing FROM app_readonly', 'GRANT CREATE ON SCHEMA billing TO api');
  await server.query('ALTER ROLE api SET statement_timeout = 1');
  expect(await look()).toEqual({ drift: 3, added: 0 });
  expect(metrics()).toMatchObject({ Drift: 3, DriftMissing: 1, DriftExtra: 1, DriftChanged: 1, DriftUnmanageable: 0 });
  expect(lines).toContainEqual(
    expect.objectContaining({
      level: 'warn',
      event: 'drift',
      kind: 'extra',
      known: false,
      step: expect.objectContaining({ object: 'grant on schema billing to api' }),
    }),
  );
});

test('case 119: what nobody has the power to change back is unmanageable', async () => {
  await deploy();
  await asSuperuser(server, ['CREATE ROLE stranger', 'GRANT stranger TO api']);
  await look();
  expect(metrics()).toMatchObject({ Drift: 1, DriftExtra: 0, DriftUnmanageable: 1 });
  await asSuperuser(server, ['REVOKE stranger FROM api', 'REVOKE api FROM master', 'ALTER ROLE api NOLOGIN']);
  await asSuperuser(server, "UPDATE pg_auth_members SET admin_option = false WHERE roleid = 'api'::regrole");
  await look();
  expect(metrics()).toMatchObject({ DriftUnmanageable: 1, Drift: 1 });
  expect(lines).toContainEqual(expect.objectContaining({ event: 'drift', problem: expect.stringContaining('"api"') }));
});

test('what the last deployment has listed as withheld is known, and no drift', async () => {
  await legacyApplication(server);
  await asOwner(server, 'GRANT DELETE ON billing.invoice TO app_readonly');
  const { plan } = await deploy(declaration());
  expect(plan.withheld.length).toBeGreaterThan(0);
  expect(await look()).toEqual({ drift: 0, added: 0 });
  await asOwner(server, 'GRANT UPDATE ON billing.invoice TO api');
  expect(await look()).toEqual({ drift: 1, added: 0 });
  expect(differences().filter(({ known }) => !known)).toEqual([{ kind: 'extra', known: false }]);
});

test('a report writes nothing, reads one secret, and shows none', async () => {
  await deploy();
  await asOwner(server, 'REVOKE USAGE ON SCHEMA billing FROM app_readonly');
  const recorded = await server.recordStatements(look);
  const writes = recorded.filter(({ sql }) => /^\s*(CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|UPDATE|DELETE)\b/i.test(sql));
  expect(recorded.length).toBeGreaterThan(5);
  expect(writes).toEqual([]);
  expect(manager.operations()).toEqual(['GetSecretValue']);
  expect(JSON.stringify(lines)).not.toContain(server.master.password);
});

describe('enforce', () => {
  beforeEach(() => {
    process.env[DRIFT_MODE_VARIABLE] = 'enforce';
  });

  test('brings back what is missing, and takes nothing away', async () => {
    await deploy();
    await asOwner(server, 'REVOKE USAGE ON SCHEMA billing FROM app_readonly', 'GRANT CREATE ON SCHEMA billing TO api');
    await server.query('ALTER ROLE api SET statement_timeout = 1');
    expect(await look()).toEqual({ drift: 2, added: 1 });
    expect(await holds(server, "has_schema_privilege('app_readonly', 'billing', 'USAGE')")).toBe(true);
    expect(await holds(server, "has_schema_privilege('api', 'billing', 'CREATE')")).toBe(true);
    expect(metrics()).toMatchObject({ Drift: 2, DriftMissing: 0, DriftExtra: 1, DriftChanged: 1 });
    // The next look finds the same, adds nothing, and the next deployment still does the rest.
    expect(await look()).toEqual({ drift: 2, added: 0 });
    const rest = (await reconcile(state, server.connection(), { mode: 'plan', identity: 'db-1', secrets: PASSWORD }))
      .plan;
    expect(rest.hash).toBeDefined();
    await apply(server, state, { identity: 'db-1', secrets: PASSWORD, acknowledge: [rest.hash!] });
    expect(await look()).toEqual({ drift: 0, added: 0 });
  });

  test('makes a role again, and leaves its password to the next deployment', async () => {
    await deploy();
    await asSuperuser(server, ['DROP OWNED BY api', 'DROP ROLE api']);
    await asSuperuser(server, 'DROP OWNED BY api', 'app').catch(() => undefined);
    expect((await look()).added).toBeGreaterThan(1);
    expect(await server.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'api'")).toEqual([
      { rolcanlogin: true },
    ]);
    expect((await deploy()).plan.steps.map(({ object }) => object)).toEqual(['password of role api']);
    await (await server.connect({ user: 'api', password: 'the clear password', database: 'app' })).end();
  });

  test('does nothing where nothing can be done safely, and says so', async () => {
    await deploy();
    await asSuperuser(server, ['REVOKE api FROM master', 'ALTER ROLE api NOLOGIN']);
    await asSuperuser(server, "UPDATE pg_auth_members SET admin_option = false WHERE roleid = 'api'::regrole");
    expect(await look()).toEqual({ drift: 1, added: 0 });
    expect(lines).toContainEqual(expect.objectContaining({ event: 'not added' }));
  });
});

test('cases 2, 3: it waits for a run that is under way, and not longer than its time', async () => {
  await deploy();
  const holder = await server.connect();
  await holder.query('SELECT pg_advisory_lock($1, $2)', [0x63646b70, 0x6c6f636b]);
  await expect(look(11_000)).rejects.toThrow(/another run works on this server/);
  expect(lines.filter((line) => line._aws !== undefined)).toEqual([]); // the metric that is missing tells
  const waiting = look();
  setTimeout(() => void holder.end(), 500);
  expect(await waiting).toEqual({ drift: 0, added: 0 });
});

test('a server whose ledger does not know the state has drifted', async () => {
  expect(await look()).toEqual({ drift: 1, added: 0 });
  await deploy(declaration({ name: 'another', roles: [login('other')], memberships: [], settings: [], databases: [] }));
  expect(await look()).toEqual({ drift: 1, added: 0 });
  expect(lines).toContainEqual(expect.objectContaining({ level: 'error', event: 'never applied' }));
});

test('an acknowledged deployment leaves nothing to report', async () => {
  await legacyApplication(server);
  await applyAcknowledged(server, declaration());
  expect((await look()).drift).toBe(0);
});
