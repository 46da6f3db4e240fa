import { Client } from 'pg';
import { CounterMemory, Look, probe } from '../../../lib/runtime/probe';
import { logLine } from '../../../lib/runtime/handlers/log';
import { startServer, TestServer } from '../../support/postgres';

const LOGIN = { user: 'probe', password: 'probe-password' };
const NASTY = 'a"b\'c\\d\n{"_aws":1}\u2028 é🐘';
const quoted = (name: string) => `"${name.replaceAll('"', '""')}"`;

let server: TestServer;
beforeEach(async () => {
  server = await startServer({ version: 18 });
  await server.query([`CREATE ROLE probe LOGIN PASSWORD '${LOGIN.password}'`, 'GRANT pg_monitor TO probe']);
});

const look = (options: Partial<Parameters<typeof probe>[1]> = {}): Promise<Look> =>
  probe(server.connection(LOGIN), { deadline: Date.now() + 60_000, mostDatabases: 50, ...options });
const asSuper = (sql: string | string[], database = 'postgres') => server.query(sql, { superuser: true, database });

/** What the log gets, each as its line. */
function logged(found: Look): string[] {
  const lines: string[] = [];
  const spy = jest.spyOn(console, 'warn').mockImplementation((line: string) => void lines.push(line));
  for (const { reading, database, found: what } of found.findings) logLine(reading, { database, found: what }, 'warn');
  spy.mockRestore();
  return lines;
}

test('names with quotes, newlines and every script are read, and each stays within its line of the log', async () => {
  await server.query(`CREATE DATABASE ${quoted(NASTY)}`);
  await server.query(
    [
      `CREATE SCHEMA ${quoted(NASTY)}`,
      `CREATE SEQUENCE ${quoted(NASTY)}.${quoted(NASTY)} MAXVALUE 100`,
      `SELECT setval(${"'" + `${quoted(NASTY)}.${quoted(NASTY)}`.replaceAll("'", "''").replaceAll('\\', '\\') + "'"}, 95)`,
      `GRANT USAGE ON SCHEMA ${quoted(NASTY)} TO probe`,
      `GRANT SELECT ON SEQUENCE ${quoted(NASTY)}.${quoted(NASTY)} TO probe`,
    ],
    { database: NASTY },
  );
  const found = await look();
  expect(found.failures).toEqual([]);
  expect(found.metrics).toMatchObject({ SequencesNearEnd: 1, ReadingsFailed: 0 });
  const [line, ...others] = logged(found);
  expect(others).toEqual([]);
  expect(line).not.toMatch(/[\n\r]/);
  expect(JSON.parse(line!)).toEqual({
    level: 'warn',
    event: 'sequences',
    database: NASTY,
    found: { sequence: `${quoted(NASTY)}.${quoted(NASTY)}`, lastValue: 95, usedPercent: 95 },
  });
});

test('a role that sees no sessions of others says so, instead of a server without trouble', async () => {
  await server.query('REVOKE pg_monitor FROM probe');
  await expect(look()).rejects.toThrow(/role "probe" does not see the sessions of others.*GRANT pg_monitor/);
});

test('a database that is dropped since it was listed, or whose DROP was interrupted, is no failure of the probe', async () => {
  await server.query(['CREATE DATABASE invalid_one', 'CREATE DATABASE goes']);
  await asSuper("UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'invalid_one'");
  const original = Client.prototype.connect as unknown as (this: Client) => Promise<void>;
  const spy = jest.spyOn(Client.prototype, 'connect').mockImplementation(async function (this: Client) {
    if (this.database === 'goes' && this.user === LOGIN.user) {
      spy.mockRestore();
      await server.query('DROP DATABASE goes');
    }
    await original.call(this);
  } as never);
  const found = await look();
  spy.mockRestore();
  await asSuper("UPDATE pg_database SET datconnlimit = -1 WHERE datname = 'invalid_one'");
  expect(found.failures).toEqual([]);
  expect(found.metrics).toMatchObject({ ReadingsFailed: 0, DatabasesNotVisited: 0 });
  expect(await server.query("SELECT FROM pg_database WHERE datname = 'goes'")).toHaveLength(0);
});

test('a database that takes no more sessions is said, and the others are read', async () => {
  await server.query('CREATE DATABASE full_one CONNECTION LIMIT 0');
  const found = await look();
  expect(found.failures).toEqual([
    { reading: 'connection', database: 'full_one', problem: expect.stringMatching(/CONNECTION LIMIT/) },
  ]);
  expect(found.metrics.ReadingsFailed).toBe(1);
});

test('CP-18: of many who block, the log gets the first, and how many there are; no statement is in it', async () => {
  await server.query('CREATE TABLE t (a int)');
  const holders = await Promise.all(Array.from({ length: 25 }, () => server.connect()));
  for (const holder of holders) await holder.query("BEGIN; SELECT 'the secret of a statement' FROM t");
  const waiting = await server.connect();
  const blocked = waiting.query('ALTER TABLE t ADD b int');
  let found = await look();
  for (let tries = 0; tries < 50 && found.metrics.BlockedSessions !== 1; tries++) found = await look();
  const [{ found: what }] = found.findings.filter(({ reading }) => reading === 'blocked');
  expect(what).toMatchObject({ blockerCount: 25 });
  expect((what as { blockedBy: unknown[] }).blockedBy).toHaveLength(20);
  expect(JSON.stringify(found)).not.toContain('secret of a statement');
  for (const holder of holders) await holder.query('ROLLBACK');
  await blocked;
});

test('counters: what one look could not read is counted by the next, and a reset counts nothing', () => {
  const memory = new CounterMemory();
  expect(memory.since('n', { Deadlocks: 5 })).toEqual({ Deadlocks: 0 });
  expect(memory.since('n', {})).toEqual({});
  expect(memory.since('n', { Deadlocks: 8 })).toEqual({ Deadlocks: 3 });
  expect(memory.since('n', { Deadlocks: 1 })).toEqual({ Deadlocks: 0 });
  expect(memory.since('n', { Deadlocks: 2 })).toEqual({ Deadlocks: 1 });
});
