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
const NEWER = declaration({ roles: [...declaration().roles, login('report'), login('batch')], settings: [] });
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
  const [create, update] = [event.create(OLD), event.update(NEW, OLD)];
  expect(await send(create, create)).toEqual(['SUCCESS applied', 'SUCCESS unchanged']);
  expect(await send(update, update)).toEqual(['SUCCESS applied', 'SUCCESS unchanged']);
});

test('case 6: the same event at the same time twice', async () => {
  const create = event.create(OLD);
  const both = [create, create];
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
  const rollback = event.update(OLD, NEW);
  expect(await send(rollback, rollback)).toEqual(['SUCCESS applied', 'SUCCESS unchanged']);
  expect(lost(before, await catalog(server))).toEqual([]);
});

describe('an event that is delivered again after a later one', () => {
  const logged = () =>
    jest
      .mocked(console.warn)
      .mock.calls.map(([line]) => String(line))
      .filter((line) => line.includes('answered before'));

  /** What the server is, and what the ledger says that it should be. */
  const everything = async () => [
    await catalog(server),
    await server.query('SELECT hash, requests FROM cdk_postgres.state', { superuser: true }),
  ];

  test('case 6: a Create and an Update that were answered change nothing, and are logged', async () => {
    const [create, first, second] = [event.create(OLD), event.update(NEW, OLD), event.update(NEWER, NEW)];
    await send(create, first, second);
    const before = await everything();
    for (const late of [create, first]) {
      const statements = await server.recordStatements(async () => {
        expect(await send(late)).toEqual(['SUCCESS answered']);
      });
      expect(statements.filter(({ sql }) => /^\s*(CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|UPDATE)\b/i.test(sql))).toEqual(
        [],
      );
      expect(responses.last.Reason).toContain('answered with SUCCESS before');
    }
    expect(logged()).toHaveLength(2);
    expect(await everything()).toEqual(before);
    expect(await send(second)).toEqual(['SUCCESS unchanged']); // the last one may have lost its answer
  });

  test('case 109: a failed Update comes again after its rollback, and fails again without a trace', async () => {
    const wrong = declaration({
      memberships: [{ role: 'nobody', member: 'api', inherit: true, set: false, admin: false }],
    });
    await send(event.create(OLD));
    const [update, rollback] = [event.update(wrong, OLD), event.update(OLD, wrong)];
    expect(await send(update)).toEqual(['FAILED']);
    // What made it fail is there now, so that it would go through.
    await server.query('CREATE ROLE nobody');
    expect((await send(rollback))[0]).toMatch(/^SUCCESS/);
    await send(event.update(NEW, OLD));
    const before = await everything();
    expect(await send(update)).toEqual(['FAILED']);
    expect(responses.last.Reason).toContain('answered with FAILED before');
    expect(await everything()).toEqual(before);
  });

  test('cases 109, 110, negative control: a rollback has the old properties under an id of its own, and is carried out', async () => {
    await send(event.create(OLD), event.update(NEW, OLD));
    const [{ hash: before }] = await server.query('SELECT hash FROM cdk_postgres.state', { superuser: true });
    expect(await send(event.update(OLD, NEW))).toEqual(['SUCCESS applied']);
    const [{ hash: after }] = await server.query('SELECT hash FROM cdk_postgres.state', { superuser: true });
    expect(after).not.toBe(before);
    expect(logged()).toEqual([]);
  });

  test('a ledger of before gets the place for them; a run with nothing to do asks and writes no more than without', async () => {
    await send(event.create(OLD));
    const [first, second] = [event.update(NEW, OLD), event.update(NEWER, NEW)];
    await send(first);
    await server.query('ALTER TABLE cdk_postgres.state DROP COLUMN requests', { superuser: true });
    const column = () =>
      server.query("SELECT FROM pg_attribute WHERE attrelid = 'cdk_postgres.state'::regclass AND attname = 'requests'");
    const count = async (each: Record<string, unknown>) => {
      const statements = await server.recordStatements(() => send(each));
      expect(statements.filter(({ sql }) => /^\s*(ALTER|INSERT|UPDATE)\b/i.test(sql))).toEqual([]);
      return statements.length;
    };
    expect(await column()).toEqual([]);
    await send(first);
    expect(await column()).toHaveLength(1);
    const without = await count(first);
    expect(await send(second)).toEqual(['SUCCESS applied']);
    expect(await count(second)).toBe(without);
    await send(event.update(OLD, NEWER));
    expect(await send(second)).toEqual(['SUCCESS answered']);
  });
});

describe('an event that is not in the ledger when it comes late', () => {
  const everything = async () => [
    await catalog(server),
    await server.query('SELECT hash, requests FROM cdk_postgres.state', { superuser: true }),
    await server.query('SELECT kind, name, state FROM cdk_postgres.object WHERE removed_at IS NULL ORDER BY 1, 2', {
      superuser: true,
    }),
  ];

  test('case 6: an Update that had nothing to do, again after one that had', async () => {
    await send(event.create(OLD));
    const [idle, update] = [event.update(OLD, OLD), event.update(NEW, OLD)];
    expect(await send(idle, update)).toEqual(['SUCCESS unchanged', 'SUCCESS applied']);
    const before = await everything();
    expect(await send(idle)).toEqual(['FAILED']);
    expect(responses.last.Reason).toContain('came too late, and nothing was changed');
    expect(await everything()).toEqual(before);
  });

  test('an Update that goes forward and has nothing to do leaves nothing in the ledger', async () => {
    await send(event.create(OLD));
    const before = await everything();
    expect(await send(event.update(OLD, OLD))).toEqual(['SUCCESS unchanged']);
    expect(await everything()).toEqual(before);
  });

  test('case 109: an Update that failed before it reached the server, after its rollback had nothing to do', async () => {
    await send(event.create(OLD));
    const [update, rollback] = [event.update(NEW, OLD), event.update(OLD, NEW)];
    manager.failing = { operation: 'GetSecretValue', type: 'AccessDeniedException' };
    expect(await send(update)).toEqual(['FAILED']);
    manager.failing = undefined;
    expect(await send(rollback)).toEqual(['SUCCESS unchanged']);
    const before = await everything();
    expect(await send(update)).toEqual(['FAILED']);
    expect(responses.last.Reason).toContain('came too late, and nothing was changed');
    expect(await everything()).toEqual(before);
  });

  test('case 109: an Update that is delivered for the first time after its rollback', async () => {
    await send(event.create(OLD));
    const [update, rollback] = [event.update(NEW, OLD), event.update(OLD, NEW)];
    expect(await send(rollback)).toEqual(['SUCCESS unchanged']);
    const before = await everything();
    expect(await send(update, update)).toEqual(['FAILED', 'FAILED']);
    expect(await everything()).toEqual(before);
    expect(await send(event.update(NEW, OLD))).toEqual(['SUCCESS applied']);
  });

  test('case 6, negative control: without the time of its request nothing tells that it is late', async () => {
    await send(event.create(OLD));
    const [update, rollback] = [event.update(NEW, OLD), event.update(OLD, NEW)];
    expect(await send(rollback, { ...update, ResponseURL: responses.url })).toEqual([
      'SUCCESS unchanged',
      'SUCCESS applied',
    ]);
  });

  test('cases 102, 107: a Delete, again after the same resource was made anew, frees nothing', async () => {
    const [remove, create] = [event.remove(OLD), event.create(OLD)];
    await send(create, remove, event.create(OLD));
    const before = await everything();
    expect(before[2]).not.toEqual([]);
    expect(await send(remove)).toEqual(['SUCCESS']);
    expect(await everything()).toEqual(before);
  });

  test('cases 102, 107: a Delete that comes for the first time after a later Create frees nothing', async () => {
    await send(event.create(OLD));
    const remove = event.remove(OLD);
    await send(event.create(OLD));
    const before = await everything();
    expect(await send(remove)).toEqual(['SUCCESS']);
    expect(await everything()).toEqual(before);
  });

  test('cases 102, 107: a Create and an Update, again after the Delete, claim nothing back', async () => {
    const [create, update] = [event.create(OLD), event.update(NEW, OLD)];
    await send(create, update, event.remove(NEW));
    const before = await everything();
    expect(before[2]).toEqual([]);
    expect(await send(create, update)).toEqual(['SUCCESS answered', 'SUCCESS answered']);
    expect(await everything()).toEqual(before);
  });
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
