import {
  METRIC_NAMESPACE,
  PROBE_DATABASES_VARIABLE,
  PROBE_METRICS,
  PROBE_SECRET_VARIABLE,
  SERVER_VARIABLE,
} from '../../../lib/contract';
import { handler } from '../../../lib/runtime/handlers/probe';
import { functionProcess } from '../../support/function-process';
import { startServer, TestServer } from '../../support/postgres';
import { TestSecretsManager } from '../../support/secrets-manager';

const { lines } = functionProcess();
const PASSWORD = 'the clear password of the probe';
let server: TestServer;
let manager: TestSecretsManager;
let secret: string;

beforeEach(async () => {
  server = await startServer({ version: 18, tls: true });
  manager = await TestSecretsManager.start();
  secret = manager.create('probe', { username: 'probe', password: PASSWORD });
  await server.query([`CREATE ROLE probe LOGIN PASSWORD '${PASSWORD}'`, 'GRANT pg_monitor TO probe']);
  Object.assign(process.env, manager.environment, {
    AWS_MAX_ATTEMPTS: '1',
    [PROBE_SECRET_VARIABLE]: secret,
    [PROBE_DATABASES_VARIABLE]: '50',
    [SERVER_VARIABLE]: reference(),
  });
});
afterEach(async () => {
  await manager.stop();
});

const reference = (changes: object = {}) =>
  JSON.stringify({
    Platform: 'rds',
    Identity: 'db-1',
    Host: server.host,
    Port: String(server.port),
    AdminSecretArn: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:of-the-administrator',
    AdminDatabase: 'postgres',
    Trust: server.ca,
    ...changes,
  });
const look = (time = 60_000) => handler({}, { getRemainingTimeInMillis: () => time });
const metrics = () => lines.filter((line) => line._aws !== undefined).at(-1)!;

test('OPS-4: one line in the embedded format, with the unit of each metric, by server alone', async () => {
  const answer = await look();
  expect(answer.failed).toBe(false);
  expect(lines.filter((line) => line._aws !== undefined)).toHaveLength(1);
  const line = metrics();
  const [{ Namespace, Dimensions, Metrics }] = line._aws.CloudWatchMetrics;
  expect({ Namespace, Dimensions }).toEqual({ Namespace: METRIC_NAMESPACE, Dimensions: [['Server']] });
  expect(line.Server).toBe('db-1');
  const units = Object.fromEntries(Metrics.map(({ Name, Unit }: { Name: string; Unit: string }) => [Name, Unit]));
  expect(units).toMatchObject({
    ProbeFailed: 'Count',
    ProbeMilliseconds: 'Milliseconds',
    OldestTransactionSeconds: 'Seconds',
    SlotRetainedBytes: 'Bytes',
    ConnectionsUsedPercent: 'Percent',
    BlockedSessions: 'Count',
  });
  // All but how passwords are kept, which the role may not read, and slots that no reader is there to keep.
  const others = ['Md5Verifiers', 'FailoverSlotsNotSynced'];
  expect(Object.keys(units).sort()).toEqual(PROBE_METRICS.filter((name) => !others.includes(name)).sort());
  for (const name of Object.keys(units)) expect(typeof line[name]).toBe('number');
  expect(line.ProbeFailed).toBe(0);
});

test('what is behind a number is a line of the log, with the blocker, and never a dimension', async () => {
  await server.query('CREATE TABLE t (a int)');
  const holder = await server.connect();
  await holder.query('BEGIN');
  await holder.query('LOCK TABLE t');
  const waiting = await server.connect();
  const blocked = waiting.query('SELECT * FROM t');
  for (let tries = 0; tries < 50; tries++) {
    await look();
    if (metrics().BlockedSessions === 1) break;
  }
  expect(metrics()).toMatchObject({ BlockedSessions: 1 });
  expect(lines).toContainEqual(
    expect.objectContaining({
      level: 'warn',
      event: 'blocked',
      found: expect.objectContaining({ role: 'master', blockedBy: [expect.objectContaining({ role: 'master' })] }),
    }),
  );
  await holder.query('ROLLBACK');
  await blocked;
});

test('a server that does not answer is a metric and a line that says why, and no error of the function', async () => {
  process.env[SERVER_VARIABLE] = reference({ Port: '1' });
  expect(await look(16_000)).toEqual({ failed: true, metrics: { ProbeFailed: 1 } });
  expect(metrics()).toMatchObject({ Server: 'db-1', ProbeFailed: 1 });
  expect(lines).toContainEqual(
    expect.objectContaining({ level: 'error', event: 'failed', problem: expect.stringMatching(/Nothing listens/) }),
  );
});

test('so is a password that is not the role’s, once the secret was read again', async () => {
  await server.query("ALTER ROLE probe PASSWORD 'another'");
  expect((await look()).failed).toBe(true);
  expect(manager.operations()).toEqual(['GetSecretValue', 'GetSecretValue']);
  expect(lines).toContainEqual(expect.objectContaining({ problem: expect.stringMatching(/refuses the password/) }));
  expect(JSON.stringify(lines)).not.toContain(PASSWORD);
});

test('a rotation that ends between the secret and the login is no failure', async () => {
  await server.query("ALTER ROLE probe PASSWORD 'the new one'");
  manager.afterCall = () => manager.replace(secret, { username: 'probe', password: 'the new one' });
  expect((await look()).failed).toBe(false);
  expect(manager.operations()).toEqual(['GetSecretValue', 'GetSecretValue']);
});

test('and so is a secret that cannot be read', async () => {
  process.env[PROBE_SECRET_VARIABLE] = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:gone';
  expect((await look()).failed).toBe(true);
  expect(metrics()).toMatchObject({ ProbeFailed: 1 });
});

test('it reads its own secret once, and writes none', async () => {
  await look();
  expect(manager.operations()).toEqual(['GetSecretValue']);
  expect(manager.calls.map(({ input }) => input.SecretId)).toEqual([secret]);
});

test('counters say what came since the look before', async () => {
  const deadlock = async () => {
    const [one, two] = [await server.connect(), await server.connect()];
    for (const client of [one, two]) await client.query("SET deadlock_timeout = '10ms'").catch(() => undefined);
    await one.query('BEGIN; SELECT pg_advisory_xact_lock(1)');
    await two.query('BEGIN; SELECT pg_advisory_xact_lock(2)');
    await Promise.allSettled([
      one.query('SELECT pg_advisory_xact_lock(2)'),
      two.query('SELECT pg_advisory_xact_lock(1)'),
    ]);
    for (const client of [one, two]) await client.end();
  };
  await look();
  await deadlock();
  for (let tries = 0; tries < 50; tries++) {
    await look();
    if (metrics().Deadlocks > 0) break;
  }
  expect(metrics().Deadlocks).toBe(1);
  await look();
  expect(metrics().Deadlocks).toBe(0);
});

test('a reader that does not answer is no failure of the server', async () => {
  process.env[SERVER_VARIABLE] = reference({ ReaderHost: 'reader.invalid' });
  expect((await look()).failed).toBe(false);
  expect(lines).toContainEqual(
    expect.objectContaining({ level: 'warn', event: 'reader not read', reader: 'reader.invalid' }),
  );
});

test('a reader that is the server itself counts nothing twice', async () => {
  process.env[SERVER_VARIABLE] = reference({ ReaderHost: server.host });
  expect((await look()).failed).toBe(false);
  expect(metrics().CancelledByReplay).toBe(0);
  expect(lines.filter(({ event }) => event === 'reader not read')).toEqual([]);
});

test('where the time is over, what was found is said, and no reader is waited for', async () => {
  process.env[SERVER_VARIABLE] = reference({ ReaderHost: 'reader.invalid' });
  const unread = () => lines.filter(({ event }) => event === 'reader not read').length;
  await look();
  expect(unread()).toBe(1);
  expect((await look(14_000)).failed).toBe(false);
  expect(unread()).toBe(1);
  expect(metrics()).toMatchObject({ ProbeFailed: 0, ReadingsFailed: expect.any(Number) });
  expect(metrics().ReadingsFailed).toBeGreaterThan(0);
});
