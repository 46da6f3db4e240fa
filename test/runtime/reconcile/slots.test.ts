import { RefusedError } from '../../../lib/runtime/reconcile';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { objectRow } from './ledger-rows';
import { mayReplicate, slot, withheldOf } from './replicating';
import { apply, appWith, asSuperuser, plan, sqlOf } from './runs';

describe.each(VERSIONS)('slots, PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
    await mayReplicate(server);
  });
  afterEach(async () => {
    await asSuperuser(server, [
      'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots',
      'ALTER ROLE master NOREPLICATION',
    ]);
  });
  const slots = () =>
    server.query('SELECT slot_name, plugin, database, two_phase FROM pg_replication_slots ORDER BY 1');
  const refusal = async (state: Parameters<typeof apply>[1]) => {
    const error: unknown = await apply(server, state).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RefusedError);
    return (error as RefusedError).message;
  };

  test('case 92: is made once, with a consumer, in a database that is as new', async () => {
    const state = appWith({ slots: [slot({ twoPhase: true })] });
    const report = await apply(server, state);
    const step = report.plan.steps.find(({ object }) => object === 'slot debezium');
    expect(step).toMatchObject({ transactional: false, database: 'app', risk: 'add' });
    expect(await slots()).toEqual([{ slot_name: 'debezium', plugin: 'pgoutput', database: 'app', two_phase: true }]);
    expect(await objectRow(server, 'debezium')).toMatchObject({ kind: 'slot', origin: 'created', established: true });
    const again = await apply(server, state);
    expect(again).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
    expect(again.plan.notes).toContainEqual(expect.stringContaining('nobody reads from the slot debezium now'));
  });

  test('case 92: without the power to make it, it is withheld with the statement to run', async () => {
    await asSuperuser(server, ['ALTER ROLE master NOREPLICATION', 'REVOKE rds_replication FROM rds_superuser']);
    try {
      const report = await apply(server, appWith({ slots: [slot()] }));
      expect(withheldOf(report)).toEqual([
        expect.stringMatching(/slot debezium: master has neither the attribute REPLICATION nor.*rds_replication/),
      ]);
      expect(sqlOf(report.plan.withheld)).toEqual([
        "SELECT pg_create_logical_replication_slot('debezium', 'pgoutput', false, false)",
      ]);
      expect(await slots()).toEqual([]);
    } finally {
      await asSuperuser(server, 'GRANT rds_replication TO rds_superuser WITH ADMIN OPTION');
    }
  });

  test('case 92: one with another plugin is never made again, whoever acknowledges it', async () => {
    await apply(server, appWith({}));
    await server.query("SELECT pg_create_logical_replication_slot('debezium', 'test_decoding')", { database: 'app' });
    const report = await apply(server, appWith({ slots: [slot()] }));
    expect(report.plan.hash).toBeUndefined();
    expect(withheldOf(report)).toEqual([expect.stringContaining('a slot is never made again')]);
    expect(await slots()).toEqual([
      { slot_name: 'debezium', plugin: 'test_decoding', database: 'app', two_phase: false },
    ]);
  });

  test('HA-19: failover from 17 on, when it is made and by no SQL after', async () => {
    const state = appWith({ slots: [slot({ failover: true })] });
    if (version < 17) {
      expect(await refusal(state)).toContain('is to survive a failover, which exists from PostgreSQL 17 on');
      return;
    }
    await apply(server, state);
    expect(await server.query('SELECT failover FROM pg_replication_slots')).toEqual([{ failover: true }]);
    const report = await plan(server, appWith({ slots: [slot()] }));
    expect(withheldOf(report)).toEqual([expect.stringContaining('by a command of its replication protocol')]);
  });

  test('a slot of another database, and a consumer that is nowhere, are refused by name', async () => {
    await server.query("SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')");
    expect(await refusal(appWith({ slots: [slot()] }))).toContain(
      'is there as a logical slot of the database "postgres"',
    );
    expect(await refusal(appWith({ slots: [slot({ name: 'b', consumer: 'nobody' })] }))).toContain(
      'is for the role "nobody", which is neither declared nor there',
    );
  });

  test('one that goes out of the declaration stays, and is reported by each run', async () => {
    await apply(server, appWith({ slots: [slot()] }));
    for (let run = 0; run < 2; run++) {
      const { plan: done } = await apply(server, appWith({}));
      expect(done.steps).toEqual([]);
      expect(done.notes).toContainEqual(
        expect.stringContaining(
          "it holds WAL until its consumer reads it or somebody drops it: SELECT pg_drop_replication_slot('debezium')",
        ),
      );
    }
    expect(await slots()).toHaveLength(1);
  });
});

test('case 93: a slot is refused before wal_level is logical, with the name of the parameter', async () => {
  const server = await startServer({ version: 17, settings: { wal_level: 'replica' } });
  await apply(server, appWith({}));
  await expect(apply(server, appWith({ slots: [slot()] }))).rejects.toThrow(
    /needs wal_level = logical, and it is replica: set rds\.logical_replication = 1/,
  );
});
