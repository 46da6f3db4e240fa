import * as fs from 'node:fs';
import * as path from 'node:path';
import { CounterMemory, Look, probe, probeStandby, slotsNotSynced } from '../../../lib/runtime/probe';
import { freshServer, TestServer, VERSIONS } from '../../support/postgres';

const LOGIN = { user: 'probe', password: 'probe-password' };

const look = (server: TestServer): Promise<Look> =>
  probe(server.connection(LOGIN), { deadline: Date.now() + 60_000, mostDatabases: 50 });

async function until<T>(body: () => Promise<T>, seen: (found: T) => boolean): Promise<T> {
  for (let tries = 0; ; tries++) {
    const found = await body();
    if (seen(found) || tries > 100) return found;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe.each(VERSIONS)('PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await freshServer({ version });
    await server.query([`CREATE ROLE probe LOGIN PASSWORD '${LOGIN.password}'`, 'GRANT pg_monitor TO probe']);
  });
  afterEach(() => server.stop());

  test('HA-20, HA-7: how far a standby is behind, and whose queries it cancels for replay', async () => {
    await server.query(['CREATE TABLE t (a int)', 'INSERT INTO t SELECT generate_series(1, 1000)']);
    const { user, password } = server.superuser;
    await server.query("SELECT pg_create_physical_replication_slot('standby')", { superuser: true });
    const standby = await server.copy(
      {
        primary_conninfo: `host=${server.host} port=${server.port} user=${user} password=${password}`,
        primary_slot_name: 'standby',
        max_standby_streaming_delay: '0',
        max_standby_archive_delay: '0',
        hot_standby: 'on',
      },
      { standby: true },
    );
    try {
      const streams = () =>
        server.query('SELECT 1 FROM pg_stat_replication WHERE state = $$streaming$$', { superuser: true });
      expect(await until(streams, (rows) => rows.length > 0)).toHaveLength(1);
      const caughtUp = await until(
        () => look(server),
        (f) => f.metrics.ReplicaLagBytes === 0,
      );
      expect(caughtUp.metrics).toMatchObject({ ReplicaLagBytes: 0, InactiveSlots: 0, ReadingsFailed: 0 });

      await server.query('SELECT 1');
      await standby.query('SELECT pg_wal_replay_pause()', { superuser: true });
      await server.query("CREATE TABLE much AS SELECT repeat('x', 1000) FROM generate_series(1, 2000)");
      const behind = await until(
        () => look(server),
        (f) => f.metrics.ReplicaLagBytes! > 1_000_000,
      );
      expect(behind.metrics.ReplicaLagBytes).toBeGreaterThan(1_000_000);
      await standby.query('SELECT pg_wal_replay_resume()', { superuser: true });

      const before = await probeStandby(standby.connection(LOGIN));
      expect(before).toMatchObject({ failures: [], metrics: { CancelledByReplay: 0 } });
      const reader = await standby.connect();
      await reader.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
      await reader.query('SELECT count(*) FROM t');
      await server.query(['DELETE FROM t', 'VACUUM (FREEZE) t', 'DROP TABLE much']);
      await until(
        () =>
          reader.query('SELECT 1 FROM t LIMIT 1').then(
            () => false,
            () => true,
          ),
        (cancelled) => cancelled,
      );
      const after = await until(
        () => probeStandby(standby.connection(LOGIN)),
        (f) => f!.metrics.CancelledByReplay! > 0,
      );
      expect(after!.metrics.CancelledByReplay).toBeGreaterThan(0);
      // A primary is none, and a standby is not what is taken for the server.
      expect(await probeStandby(server.connection(LOGIN))).toBeUndefined();
      await expect(look(standby)).rejects.toThrow(/read-only/);
    } finally {
      await standby.stop();
    }
  });

  test('HA-19: which slots a failover would lose', async () => {
    const { user, password } = server.superuser;
    const asSuper = (sql: string | string[], at = server) => at.query(sql, { superuser: true });
    await asSuper(["ALTER SYSTEM SET wal_level = 'logical'"]);
    await server.restart();
    await asSuper("SELECT pg_create_physical_replication_slot('standby')");
    const create = (name: string, failover: boolean) =>
      asSuper(
        `SELECT pg_create_logical_replication_slot('${name}', 'pgoutput'${version >= 17 ? `, false, false, ${failover}` : ''})`,
      );
    const standby = await server.copy(
      {
        primary_conninfo: `host=${server.host} port=${server.port} user=${user} password=${password} dbname=postgres`,
        primary_slot_name: 'standby',
        hot_standby_feedback: 'on',
        wal_receiver_status_interval: '1s',
        ...(version >= 17 ? { sync_replication_slots: 'on' } : {}),
      },
      { standby: true },
    );
    const compared = async () => {
      const at = await probeStandby(standby.connection(LOGIN));
      expect(at!.failures).toEqual([]);
      return slotsNotSynced(await look(server), at!);
    };
    try {
      // After the copy of the files, in which they would be slots of the standby's own.
      await create('kept', true);
      await create('of_this_node', false);
      if (version < 17) {
        expect((await look(server)).slots).toEqual([]);
        expect(await compared()).toBeUndefined();
        return;
      }
      expect((await look(server)).slots).toEqual(['kept']);
      // The consumer reads, so that the copy can catch up.
      const caughtUp = await until(
        async () => {
          await asSuper([
            'SELECT pg_log_standby_snapshot()',
            "SELECT pg_replication_slot_advance('kept', pg_current_wal_lsn())",
          ]);
          return compared();
        },
        (missing) => missing?.length === 0,
      );
      expect(caughtUp).toEqual([]);
      // A standby that comes no further has no copy of what is made after.
      await asSuper('SELECT pg_wal_replay_pause()', standby);
      await create('late', true);
      expect(await compared()).toEqual(['late']);
      await asSuper("ALTER SYSTEM SET sync_replication_slots = 'off'", standby);
      await asSuper('SELECT pg_reload_conf()', standby);
      expect(await until(compared, (missing) => missing === undefined)).toBeUndefined();
    } finally {
      await standby.stop();
    }
  });

  test('LR-18: a subscription that fails, and on 18 one that meets a row that is there already', async () => {
    const { user, password } = server.superuser;
    await server.query('CREATE DATABASE publisher', { superuser: true });
    await server.query(['CREATE TABLE t (a int PRIMARY KEY)', 'CREATE PUBLICATION p FOR TABLE t'], {
      superuser: true,
      database: 'publisher',
    });
    await server.query(['CREATE TABLE t (a int PRIMARY KEY)', 'INSERT INTO t VALUES (1)'], { superuser: true });
    await server.query("SELECT pg_create_logical_replication_slot('s', 'pgoutput')", {
      superuser: true,
      database: 'publisher',
    });
    await server.query(
      `CREATE SUBSCRIPTION s CONNECTION 'host=${server.host} port=${server.port} user=${user} password=${password} dbname=publisher'
         PUBLICATION p WITH (create_slot = false, copy_data = false)`,
      { superuser: true },
    );
    const quiet = await look(server);
    expect(quiet.metrics).toMatchObject({ SubscriptionErrors: 0, SubscriptionConflicts: 0 });
    await server.query('INSERT INTO t VALUES (1)', { superuser: true, database: 'publisher' });
    const found = await until(
      () => look(server),
      (f) => f.metrics.SubscriptionErrors! > 0,
    );
    expect(found.metrics.SubscriptionErrors).toBeGreaterThan(0);
    if (version >= 18) expect(found.metrics.SubscriptionConflicts).toBeGreaterThan(0);
    else expect(found.metrics.SubscriptionConflicts).toBe(0);
    // A logical consumer is no standby that is behind.
    expect(found.metrics.ReplicaLagBytes).toBe(0);
    await server.query('DROP SUBSCRIPTION s', { superuser: true });
  });
});

test('OPS-4: a page that was damaged on the disk', async () => {
  const server = await freshServer({ version: 18 });
  try {
    await server.query([`CREATE ROLE probe LOGIN PASSWORD '${LOGIN.password}'`, 'GRANT pg_monitor TO probe']);
    await server.query(['CREATE TABLE t (a int)', 'INSERT INTO t SELECT generate_series(1, 1000)', 'CHECKPOINT']);
    const [{ file }] = await server.query<{ file: string }>("SELECT pg_relation_filepath('t') AS file");
    const [{ on }] = await server.query<{ on: string }>('SELECT current_setting($$data_checksums$$) AS on');
    expect(on).toBe('on');
    await server.restart(async () => {
      const page = fs.openSync(path.join(server.dataDirectory, file), 'r+');
      fs.writeSync(page, Buffer.from('damaged'), 0, 7, 4000);
      fs.closeSync(page);
    });
    expect((await look(server)).metrics.ChecksumFailures).toBe(0);
    await expect(server.query('SELECT count(*) FROM t')).rejects.toThrow(/invalid page/);
    const found = await until(
      () => look(server),
      (f) => f.metrics.ChecksumFailures! > 0,
    );
    expect(found.metrics.ChecksumFailures).toBe(1);
    expect(found.findings).toMatchObject([
      { reading: 'statistics', found: { database: 'postgres', checksumFailures: 1 } },
    ]);
  } finally {
    await server.stop();
  }
});

test('counters are those of a node since its start, and one that was reset counts nothing', () => {
  const memory = new CounterMemory();
  const seen = (node: string, Deadlocks: number) => memory.since(node, { Deadlocks, InvalidIndexes: 3 });
  expect(seen('a', 5)).toEqual({ Deadlocks: 0, InvalidIndexes: 3 });
  expect(seen('a', 7)).toEqual({ Deadlocks: 2, InvalidIndexes: 3 });
  expect(seen('b', 100)).toEqual({ Deadlocks: 0, InvalidIndexes: 3 });
  expect(seen('a', 1)).toEqual({ Deadlocks: 0, InvalidIndexes: 3 });
  expect(seen('a', 2)).toEqual({ Deadlocks: 1, InvalidIndexes: 3 });
  expect(memory.since('a', {})).toEqual({});
});
