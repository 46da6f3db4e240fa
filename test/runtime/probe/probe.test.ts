import { Client } from 'pg';
import { PROBE_METRICS, ProbeMetric } from '../../../lib/contract';
import { Look, probe } from '../../../lib/runtime/probe';
import { startServer, TestServer, TestVersion, VERSIONS } from '../../support/postgres';

/** As the library declares it: a login that is a member of pg_monitor and has nothing else. */
const LOGIN = { user: 'probe', password: 'probe-password' };

async function monitored(version: TestVersion, settings?: Record<string, string>): Promise<TestServer> {
  const server = await startServer({ version, settings });
  await server.query([`CREATE ROLE probe LOGIN PASSWORD '${LOGIN.password}'`, 'GRANT pg_monitor TO probe']);
  return server;
}

const look = (server: TestServer, options: Partial<Parameters<typeof probe>[1]> = {}): Promise<Look> =>
  probe(server.connection(LOGIN), { deadline: Date.now() + 60_000, mostDatabases: 50, ...options });

/** Statistics and waits become visible a moment after what caused them. */
async function until(server: TestServer, seen: (found: Look) => boolean): Promise<Look> {
  for (let tries = 0; ; tries++) {
    const found = await look(server);
    if (seen(found) || tries > 100) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const of = (found: Look, reading: string) => found.findings.filter((f) => f.reading === reading);
const asSuper = (server: TestServer, sql: string | string[], database = 'postgres') =>
  server.query(sql, { superuser: true, database });

/** What a server without any trouble has. Ages and used connections are never nothing. */
const QUIET: Partial<Record<ProbeMetric, number>> = {
  BlockedSessions: 0,
  LongestBlockedSeconds: 0,
  OldestTransactionSeconds: 0,
  OldestIdleInTransactionSeconds: 0,
  OldestPreparedTransactionSeconds: 0,
  SlotRetainedBytes: 0,
  SlotsAtRisk: 0,
  InactiveSlots: 0,
  ReplicaLagBytes: 0,
  SubscriptionConflicts: 0,
  SubscriptionErrors: 0,
  ChecksumFailures: 0,
  PendingRestart: 0,
  InvalidIndexes: 0,
  SequencesNearEnd: 0,
  SequencesUnreadable: 0,
  TablesVacuumOverdue: 0,
  DatabasesNotVisited: 0,
  ReadingsFailed: 0,
};

describe.each(VERSIONS)('PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await monitored(version, { max_prepared_transactions: '5' });
  });

  test('OPS-7: a server without trouble: every reading is taken, and none has a finding', async () => {
    const found = await look(server);
    expect(found.failures).toEqual([]);
    expect(found.findings).toEqual([]);
    expect(found.metrics).toMatchObject(QUIET);
    expect(found.metrics.TransactionIdAge).toBeGreaterThan(0);
    expect(found.metrics.MultixactAge).toBeGreaterThanOrEqual(0);
    expect(found.metrics.ConnectionsUsedPercent).toBeGreaterThan(0);
    // How passwords are kept is hidden from the role, and so is no metric.
    expect(found.metrics.Md5Verifiers).toBeUndefined();
    for (const name of Object.keys(found.metrics)) expect(PROBE_METRICS).toContain(name);
  });

  test('SEC-9: md5 verifiers are counted where the role may read them', async () => {
    await asSuper(server, [
      'GRANT SELECT (rolname, rolpassword) ON pg_authid TO probe',
      "SET password_encryption = 'md5'",
      "CREATE ROLE old_one LOGIN PASSWORD 'x'",
    ]);
    const found = await look(server);
    expect(found.metrics.Md5Verifiers).toBe(1);
    expect(of(found, 'verifiers')).toEqual([{ reading: 'verifiers', found: { role: 'old_one' } }]);
    await asSuper(server, 'REVOKE SELECT (rolname, rolpassword) ON pg_authid FROM probe');
  });

  test('OPS-7: ages are those of the oldest database', async () => {
    const before = await look(server);
    for (let n = 0; n < 20; n++) await server.query('SELECT pg_current_xact_id()');
    const after = await look(server);
    expect(after.metrics.TransactionIdAge! - before.metrics.TransactionIdAge!).toBeGreaterThanOrEqual(20);
  });

  test('CP-18, DDL-23: who is blocked, and by whom, without the text of a statement', async () => {
    await server.query('CREATE TABLE t (a int)');
    const holder = await server.connect();
    await holder.query("SET application_name = 'the holder'");
    await holder.query('BEGIN');
    await holder.query('LOCK TABLE t');
    const waiting = await server.connect();
    const blocked = waiting.query('SELECT count(*) AS a_secret_word FROM t');
    const found = await until(server, (f) => f.metrics.BlockedSessions === 1 && f.metrics.LongestBlockedSeconds! > 0);
    expect(found.metrics).toMatchObject({ BlockedSessions: 1 });
    expect(found.metrics.LongestBlockedSeconds).toBeGreaterThan(0);
    expect(found.metrics.OldestIdleInTransactionSeconds).toBeGreaterThan(0);
    expect(of(found, 'blocked')).toEqual([
      {
        reading: 'blocked',
        found: expect.objectContaining({
          pid: (waiting as Client & { processID: number }).processID,
          role: 'master',
          blockedBy: [
            expect.objectContaining({
              pid: (holder as Client & { processID: number }).processID,
              application: 'the holder',
              state: 'idle in transaction',
              waitsToo: false,
            }),
          ],
        }),
      },
    ]);
    expect(JSON.stringify(found)).not.toContain('a_secret_word');
    await holder.query('COMMIT');
    await blocked;
    expect((await until(server, (f) => f.metrics.BlockedSessions === 0)).metrics).toMatchObject({
      BlockedSessions: 0,
      LongestBlockedSeconds: 0,
      OldestIdleInTransactionSeconds: 0,
    });
  });

  test('CP-16: a transaction that is held is the oldest, and one that was prepared is forgotten by its session', async () => {
    const holder = await server.connect();
    await holder.query('BEGIN');
    await holder.query('SELECT 1');
    const held = await until(server, (f) => f.metrics.OldestTransactionSeconds! > 0.1);
    expect(held.metrics.OldestTransactionSeconds).toBeGreaterThan(0.1);
    await holder.query('SELECT pg_current_xact_id()');
    await holder.query("PREPARE TRANSACTION 'forgotten'");
    const prepared = await until(server, (f) => f.metrics.OldestPreparedTransactionSeconds! > 0);
    expect(prepared.metrics).toMatchObject({ OldestTransactionSeconds: 0, OldestIdleInTransactionSeconds: 0 });
    expect(prepared.metrics.OldestPreparedTransactionSeconds).toBeGreaterThan(0);
    await holder.query("ROLLBACK PREPARED 'forgotten'");
    expect((await look(server)).metrics.OldestPreparedTransactionSeconds).toBe(0);
  });

  test('LR-17: a slot that nobody reads from retains WAL, and is at risk once its WAL is gone', async () => {
    await asSuper(server, "SELECT pg_create_physical_replication_slot('forgotten', true)");
    await server.query('CREATE TABLE w (a text)');
    await server.query("INSERT INTO w SELECT repeat('x', 1000) FROM generate_series(1, 2000)");
    const unread = await look(server);
    expect(unread.metrics).toMatchObject({ InactiveSlots: 1, SlotsAtRisk: 0, ReadingsFailed: 0 });
    expect(unread.metrics.SlotRetainedBytes).toBeGreaterThan(1_000_000);
    expect(of(unread, 'slots')).toEqual([
      {
        reading: 'slots',
        found: expect.objectContaining({ slot: 'forgotten', type: 'physical', walStatus: 'reserved' }),
      },
    ]);
    await asSuper(server, ["ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", 'SELECT pg_reload_conf()']);
    await asSuper(
      server,
      Array.from({ length: 3 }, () => ['SELECT pg_switch_wal()', 'CREATE TABLE s (a int)', 'DROP TABLE s']).flat(),
    );
    await asSuper(server, 'CHECKPOINT');
    const lost = await until(server, (f) => f.metrics.SlotsAtRisk === 1);
    expect(lost.metrics).toMatchObject({ SlotsAtRisk: 1 });
    await asSuper(server, "SELECT pg_drop_replication_slot('forgotten')");
    expect((await look(server)).metrics).toMatchObject({ InactiveSlots: 0, SlotsAtRisk: 0, SlotRetainedBytes: 0 });
  });

  test('DDL-10: an index that a build left invalid', async () => {
    await server.query(['CREATE TABLE d (a int)', 'INSERT INTO d VALUES (1), (1)']);
    await expect(server.query('CREATE UNIQUE INDEX CONCURRENTLY broken ON d (a)')).rejects.toThrow(
      'could not create unique index',
    );
    const found = await look(server);
    expect(found.metrics.InvalidIndexes).toBe(1);
    expect(of(found, 'indexes')).toEqual([
      { reading: 'indexes', database: 'postgres', found: { index: 'public.broken', table: 'public.d' } },
    ]);
    await server.query('DROP INDEX broken');
    expect((await look(server)).metrics.InvalidIndexes).toBe(0);
  });

  test('an index that is being built right now is not invalid', async () => {
    await server.query('CREATE TABLE d (a int)');
    const holder = await server.connect();
    await holder.query('BEGIN');
    await holder.query('INSERT INTO d VALUES (1)');
    const builder = await server.connect();
    const build = builder.query('CREATE INDEX CONCURRENTLY waits ON d (a)');
    const [row] = await (async () => {
      for (let tries = 0; ; tries++) {
        const rows = await asSuper(
          server,
          "SELECT 1 FROM pg_index WHERE indexrelid = to_regclass('waits') AND NOT indisvalid",
        );
        if (rows.length > 0 || tries > 100) return rows;
      }
    })();
    expect(row).toBeDefined();
    expect((await look(server)).metrics.InvalidIndexes).toBe(0);
    await holder.query('COMMIT');
    await build;
  });

  test('sequences near the end of their range or of their column, where the role may read them', async () => {
    await server.query([
      'CREATE SEQUENCE far',
      'CREATE SEQUENCE near MAXVALUE 100',
      'CREATE SEQUENCE down INCREMENT -1 MINVALUE -10 MAXVALUE -1',
      'CREATE SEQUENCE round MAXVALUE 10 CYCLE',
      'CREATE SEQUENCE wide',
      'CREATE TABLE narrow (id int)',
      'ALTER SEQUENCE wide OWNED BY narrow.id',
      'CREATE SEQUENCE hidden MAXVALUE 10',
      "SELECT setval('near', 80), setval('down', -9), setval('round', 10), setval('wide', 2000000000), setval('hidden', 10), setval('far', 1000)",
      'GRANT SELECT ON SEQUENCE far, near, down, round, wide TO probe',
    ]);
    const found = await look(server);
    expect(found.failures).toEqual([]);
    expect(found.metrics).toMatchObject({ SequencesNearEnd: 3, SequencesUnreadable: 1 });
    expect(of(found, 'sequences').map(({ found }) => found)).toEqual([
      { sequence: 'public.wide', lastValue: 2000000000, usedPercent: 93.1 },
      { sequence: 'public.down', lastValue: -9, usedPercent: 90 },
      { sequence: 'public.near', lastValue: 80, usedPercent: 80 },
    ]);
    await server.query("SELECT setval('near', 79), setval('down', -7), setval('wide', 1000)");
    expect((await look(server)).metrics.SequencesNearEnd).toBe(0);
  });

  test('OPS-7: a table with dead rows that nobody has vacuumed', async () => {
    await server.query([
      'CREATE TABLE bloated (a int) WITH (autovacuum_enabled = off)',
      'INSERT INTO bloated SELECT generate_series(1, 5000)',
      'DELETE FROM bloated WHERE a <= 4000',
    ]);
    const found = await until(server, (f) => f.metrics.TablesVacuumOverdue === 1);
    expect(found.metrics.TablesVacuumOverdue).toBe(1);
    expect(of(found, 'vacuum')).toEqual([
      {
        reading: 'vacuum',
        database: 'postgres',
        found: expect.objectContaining({ table: 'public.bloated', lastVacuum: null }),
      },
    ]);
    await server.query('VACUUM bloated');
    const after = await until(server, (f) => f.metrics.TablesVacuumOverdue === 0);
    expect(after.metrics.TablesVacuumOverdue).toBe(0);
  });

  test('LIB-2: a parameter that waits for a restart', async () => {
    await asSuper(server, ["ALTER SYSTEM SET max_connections = '77'", 'SELECT pg_reload_conf()']);
    const found = await until(server, (f) => f.metrics.PendingRestart! > 0);
    expect(of(found, 'settings')).toEqual([{ reading: 'settings', found: { parameter: 'max_connections' } }]);
    await asSuper(server, ['ALTER SYSTEM RESET max_connections', 'SELECT pg_reload_conf()']);
    expect((await until(server, (f) => f.metrics.PendingRestart === 0)).metrics.PendingRestart).toBe(0);
  });

  test('every database that the role may connect to is visited, and no more than allowed', async () => {
    await server.query([
      'CREATE DATABASE closed',
      'REVOKE CONNECT ON DATABASE closed FROM PUBLIC',
      'CREATE DATABASE open',
    ]);
    await server.query('CREATE DATABASE third');
    for (const database of ['closed', 'open']) {
      await server.query(['CREATE TABLE d (a int)', 'INSERT INTO d VALUES (1), (1)'], { database });
      await server.query('CREATE UNIQUE INDEX CONCURRENTLY broken ON d (a)', { database }).catch(() => undefined);
    }
    const found = await look(server);
    expect(found.metrics).toMatchObject({ InvalidIndexes: 1, DatabasesNotVisited: 0, ReadingsFailed: 0 });
    expect(of(found, 'indexes')).toMatchObject([{ database: 'open' }]);
    await server.query('GRANT CONNECT ON DATABASE closed TO probe');
    expect((await look(server)).metrics.InvalidIndexes).toBe(2);
    expect((await look(server, { mostDatabases: 1 })).metrics).toMatchObject({
      InvalidIndexes: 1,
      DatabasesNotVisited: 2,
    });
    expect((await look(server, { deadline: 0 })).metrics).toMatchObject({ DatabasesNotVisited: 3 });
  });

  test('the number of queries does not depend on what is in the server, but for the number of databases', async () => {
    const count = async () =>
      (await server.recordStatements(() => look(server))).filter(({ user }) => user === 'probe').length;
    const alone = await count();
    await server.query(
      Array.from({ length: 30 }, (_, n) => [
        `CREATE TABLE many_${n} (id serial PRIMARY KEY)`,
        `CREATE ROLE r_${n}`,
      ]).flat(),
    );
    expect(await count()).toBe(alone);
    await server.query('CREATE DATABASE one');
    const withOne = await count();
    await server.query('CREATE DATABASE two');
    expect((await count()) - withOne).toBe(withOne - alone);
    expect(withOne).toBeGreaterThan(alone);
  });

  test('it writes nothing, and waits for no lock and no statement without end', async () => {
    const statements = await server.recordStatements(() => look(server));
    const mine = statements.filter(({ user }) => user === 'probe').map(({ sql }) => sql);
    expect(mine.join()).toMatch(/SET default_transaction_read_only = on/);
    expect(mine.filter((sql) => !/^\s*(SET|WITH|SELECT)\b/.test(sql))).toEqual([]);
    const timeouts = mine
      .join()
      .match(/SET (statement|lock)_timeout = '\w+'/g)!
      .slice(-2);
    expect(timeouts).toEqual(["SET statement_timeout = '10s'", "SET lock_timeout = '1s'"]);
  });

  test('a reading that is refused is named, and the others are taken', async () => {
    await asSuper(server, 'REVOKE SELECT ON pg_stat_subscription_stats FROM PUBLIC');
    const found = await look(server);
    expect(found.failures).toEqual([{ reading: 'statistics', problem: expect.stringMatching(/permission denied/) }]);
    expect(found.metrics).toMatchObject({ ReadingsFailed: 1, PendingRestart: 0, InvalidIndexes: 0 });
    expect(found.metrics.ChecksumFailures).toBeUndefined();
    await asSuper(server, 'GRANT SELECT ON pg_stat_subscription_stats TO PUBLIC');
  });
});
