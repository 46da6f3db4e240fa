import { DesiredState, encodeState } from '../../../lib/contract';
import { handler } from '../../../lib/runtime/handlers/apply';
import { TestResponses } from '../../support/cloudformation';
import { startServer, TestServer } from '../../support/postgres';
import { TestSecretsManager } from '../../support/secrets-manager';
import { catalog, lost } from '../reconcile/catalog';
import { declaration, login } from '../reconcile/declaration';

/** Events as CloudFormation and Lambda deliver them on a bad day: repeated, out of order, after a lost answer. */

const ENVIRONMENT = { ...process.env };
let server: TestServer;
let manager: TestSecretsManager;
let responses: TestResponses;
let adminArn: string;

beforeEach(async () => {
  server = await startServer({ version: 18, tls: true });
  manager = await TestSecretsManager.start();
  responses = await TestResponses.start();
  Object.assign(process.env, manager.environment, { AWS_MAX_ATTEMPTS: '1' });
  adminArn = manager.create('admin', { username: server.master.user, password: server.master.password });
  for (const level of ['info', 'warn', 'error'] as const) jest.spyOn(console, level).mockImplementation();
});
afterEach(async () => {
  jest.restoreAllMocks();
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, ENVIRONMENT);
  await responses.stop();
  await manager.stop();
});

const OLD = declaration();
const NEW = declaration({ roles: [...declaration().roles, login('report')], settings: [] });
const PHYSICAL = 'cdk-postgres/db-1/test';

const properties = (state: DesiredState, identity = 'db-1') => ({
  Server: {
    Platform: 'rds',
    Identity: identity,
    Host: server.host,
    Port: String(server.port),
    AdminSecretArn: adminArn,
    AdminDatabase: 'postgres',
    Trust: server.ca,
  },
  State: encodeState(state),
});
const event = {
  create: (state: DesiredState) => responses.event({ type: 'Create', properties: properties(state) }),
  update: (to: DesiredState, from: DesiredState) =>
    responses.event({
      type: 'Update',
      physicalId: PHYSICAL,
      properties: properties(to),
      oldProperties: properties(from),
    }),
  remove: (state: DesiredState, identity = 'db-1') =>
    responses.event({
      type: 'Delete',
      physicalId: `cdk-postgres/${identity}/test`,
      properties: properties(state, identity),
    }),
};

async function send(...events: Record<string, unknown>[]): Promise<string[]> {
  const outcomes: string[] = [];
  for (const each of events) {
    await handler(each, { getRemainingTimeInMillis: () => 60_000 });
    outcomes.push(`${responses.last.Status} ${responses.last.Data?.Outcome ?? ''}`.trim());
  }
  return outcomes;
}

test('case 6: Create whose answer was lost is run again, and an Update twice', async () => {
  responses.statuses.push(0, 0); // the answer does not arrive at first
  expect(await send(event.create(OLD), event.create(OLD))).toEqual(['SUCCESS applied', 'SUCCESS unchanged']);
  expect(await send(event.update(NEW, OLD), event.update(NEW, OLD))).toEqual(['SUCCESS applied', 'SUCCESS unchanged']);
});

test('case 6: the same event at the same time twice', async () => {
  const both = [event.create(OLD), event.create(OLD)];
  await Promise.all(both.map((each) => handler(each, { getRemainingTimeInMillis: () => 60_000 })));
  const outcomes = responses.bodies.map((body) => {
    const { Status, Reason, Data } = JSON.parse(body) as {
      Status: string;
      Reason?: string;
      Data?: { Outcome: string };
    };
    return `${Status} ${Data?.Outcome ?? Reason}`;
  });
  expect(outcomes.sort()).toEqual(['SUCCESS applied', 'SUCCESS unchanged']);
});

test('cases 109, 110: an Update to the old properties as rollback, also twice, loses nothing', async () => {
  await send(event.create(OLD));
  const before = await catalog(server);
  await send(event.update(NEW, OLD));
  expect(await send(event.update(OLD, NEW), event.update(OLD, NEW))).toEqual(['SUCCESS applied', 'SUCCESS unchanged']);
  expect(lost(before, await catalog(server))).toEqual([]);
});

test('an old Update that comes late is followed by the right one, and the server is as that says', async () => {
  await send(event.create(OLD), event.update(NEW, OLD));
  const wanted = await catalog(server);
  await send(event.update(OLD, NEW)); // out of order
  expect((await send(event.update(NEW, OLD)))[0]).toMatch(/^SUCCESS/);
  expect(lost(wanted, await catalog(server))).toEqual([]);
});

test('cases 102, 107: a Delete, repeated, before and after the replacement, changes nothing inside', async () => {
  await send(event.create(OLD));
  const before = await catalog(server);
  expect(await send(event.remove(OLD), event.remove(OLD))).toEqual(['SUCCESS', 'SUCCESS']);
  expect(await catalog(server)).toEqual(before);
  expect((await send(event.create(OLD)))[0]).toMatch(/^SUCCESS/);
  expect(await send(event.remove(OLD, 'db-0'))).toEqual(['SUCCESS']);
  expect(await catalog(server)).toEqual(before);
  expect((await send(event.update(OLD, OLD)))[0]).toBe('SUCCESS unchanged');
});
