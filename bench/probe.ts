import { probe } from '../lib/runtime/probe';
import { TestServer } from '../test/support/postgres';

const LOGIN = { user: 'probe', password: 'probe-password' };
const DATABASE = 'many';

/** What the probe's queries read, once for the server and once for each database. */
const OF_THE_SERVER = [
  'pg_database',
  'pg_stat_activity',
  'pg_locks',
  'pg_prepared_xacts',
  'pg_replication_slots',
  'pg_stat_replication',
  'pg_stat_database',
  'pg_stat_subscription_stats',
  'pg_settings',
];
const OF_A_DATABASE = [
  'pg_class',
  'pg_index',
  'pg_sequences',
  'pg_depend',
  'pg_attribute',
  'pg_stat_all_tables',
  'pg_stat_progress_create_index',
];

/** A database with tables that have a key and a sequence each, and a role as the library declares it. */
export async function prepareProbe(server: TestServer, tables: number): Promise<void> {
  await server.query([
    `CREATE ROLE probe LOGIN PASSWORD '${LOGIN.password}'`,
    'GRANT pg_monitor TO probe',
    `CREATE DATABASE ${DATABASE}`,
  ]);
  const perTransaction = 1000;
  for (let from = 0; from < tables; from += perTransaction) {
    await server.query(
      `DO $$ BEGIN FOR n IN ${from}..${Math.min(from + perTransaction, tables) - 1} LOOP
         EXECUTE format('CREATE TABLE t%s (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text)', n);
       END LOOP; END $$`,
      { database: DATABASE },
    );
  }
  await server.query(
    [
      'GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO probe',
      "SELECT setval(oid::regclass, 7) FROM pg_class WHERE relkind = 'S'",
      'VACUUM ANALYZE',
    ],
    { database: DATABASE },
  );
}

/** One look, connections and all. */
export async function probeOnce(server: TestServer): Promise<void> {
  const look = await probe(server.connection(LOGIN), { deadline: Date.now() + 60_000, mostDatabases: 10 });
  if (look.failures.length > 0) throw new Error(JSON.stringify(look.failures));
}

/** Every row of what the look reads, once, over as many connections, and no row sent. */
export async function readOnce(server: TestServer): Promise<void> {
  for (const [database, relations] of [
    ['postgres', [...OF_THE_SERVER, ...OF_A_DATABASE]],
    [DATABASE, OF_A_DATABASE],
  ] as const) {
    const client = await server.connect({ ...LOGIN, database });
    try {
      for (const relation of relations) await client.query(`SELECT count(r) FROM ${relation} r`);
    } finally {
      await client.end();
    }
  }
}
