import { App } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { SaasStack } from '../../examples/saas/saas-stack';
import { decodeState, DesiredState } from '../../lib/contract';
import { reconcile } from '../../lib/runtime/reconcile';
import { secretsOf } from '../runtime/reconcile/secrets';
import { startServer, TestServer } from '../support/postgres';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const PASSWORDS = {
  api: 'pw-api',
  migrator: 'pw-migrator',
  worker: 'pw-worker',
  report: 'pw-report',
  signup: 'pw-signup',
};
const secrets = secretsOf(PASSWORDS);

function declared(context: Record<string, unknown> = {}): DesiredState {
  const stack = new SaasStack(new App({ context }), 'Saas');
  const [resource] = Object.values(Template.fromStack(stack).findResources('Custom::CdkPostgresState'));
  return decodeState(resource.Properties.State);
}

/** What PostgreSQL says to a statement of a role: nothing, or the message of its error. */
async function trying(server: TestServer, user: keyof typeof PASSWORDS, sql: string): Promise<string> {
  const client = await server.connect({ user, password: PASSWORDS[user], database: 'app' });
  try {
    await client.query(sql);
    return 'done';
  } catch (error) {
    return (error as Error).message;
  } finally {
    await client.end();
  }
}

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ version: 18 });
  await reconcile(declared(), server.connection(), { mode: 'apply', secrets, identity: 'cluster-1' });
});

test('a second run of the example has nothing to do', async () => {
  const report = await reconcile(declared(), server.connection(), { mode: 'plan', secrets, identity: 'cluster-1' });
  expect(report.plan.steps).toEqual([]);
  expect(report.plan.withheld).toEqual([]);
});

test('what the migrator makes belongs to the owner, and everybody has what was declared for it', async () => {
  expect(await trying(server, 'migrator', 'CREATE TABLE billing.invoice (id serial PRIMARY KEY, total int)')).toBe(
    'done',
  );
  expect(await trying(server, 'migrator', 'CREATE TABLE audit.event (id serial PRIMARY KEY, what text)')).toBe('done');
  expect(await trying(server, 'migrator', 'CREATE TABLE identity.person (id serial PRIMARY KEY, name text)')).toBe(
    'done',
  );

  expect(await trying(server, 'api', 'INSERT INTO billing.invoice (total) VALUES (1)')).toBe('done');
  expect(await trying(server, 'api', "INSERT INTO audit.event (what) VALUES ('paid')")).toBe('done');
  expect(await trying(server, 'api', 'SELECT * FROM audit.event')).toBe('permission denied for table event');
  expect(await trying(server, 'api', 'TRUNCATE billing.invoice')).toBe('permission denied for table invoice');
  expect(await trying(server, 'api', 'CREATE TABLE billing.mine ()')).toBe('permission denied for schema billing');
  expect(await trying(server, 'api', 'SET ROLE app_owner')).toBe('permission denied to set role "app_owner"');
  expect(await trying(server, 'worker', 'DELETE FROM audit.event')).toBe('done');
  expect(await trying(server, 'report', 'SELECT * FROM billing.invoice')).toBe('done');
  expect(await trying(server, 'report', 'DELETE FROM billing.invoice')).toBe('permission denied for table invoice');
  expect(await trying(server, 'migrator', 'RESET ROLE; ALTER TABLE billing.invoice ADD note text')).toBe('done');
});

test('the later change takes writing from api and gives it to signup', async () => {
  const report = await reconcile(declared({ 'saas:change': 'true' }), server.connection(), {
    mode: 'plan',
    secrets,
    identity: 'cluster-1',
  });
  const changes = [...report.plan.steps, ...report.plan.withheld];
  expect(changes.filter((step) => step.risk === 'narrow').map((step) => step.object)).toContainEqual(
    expect.stringContaining('api'),
  );
  expect(changes.filter((step) => step.risk === 'add').map((step) => step.object)).toContainEqual(
    expect.stringContaining('signup'),
  );
});
