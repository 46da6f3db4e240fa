import { Client } from 'pg';
import { TestServer } from '../../support/postgres';

/** The same sequence for the same seed (mulberry32). */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const ROLES = [
  'owner_a',
  'owner_b',
  'readers',
  'writers',
  'Team "X"',
  'api',
  'report',
  'migrator',
  'const',
  'ünï cödé',
  "o'brien",
  'a.b/c',
];
const LOGINS = new Set(['api', 'report', 'migrator', 'ünï cödé', "o'brien"]);
const SCHEMAS = ['billing', 'Audit "Log"', 'public', 'empty'];
const TABLES = ['invoice', 'line', 'Odd "Table"', 'view'];
const TABLE_PRIVILEGES = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'];

const q = (name: string) => `"${name.replaceAll('"', '""')}"`;

/**
 * A server as many hands leave it: the master, owners and a superuser grant, revoke and own at random. What PostgreSQL refuses did not
 * happen.
 */
export async function randomCatalog(server: TestServer, seed: number): Promise<void> {
  const random = randomOf(seed);
  const one = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)];
  const some = <T>(items: readonly T[]): T[] => items.filter(() => random() < 0.35);
  const maybe = (chance: number) => random() < chance;
  const clients = new Map<string, Client>();
  const run = async (sql: string, database = 'postgres', superuser = false): Promise<void> => {
    const key = JSON.stringify([database, superuser]);
    if (!clients.has(key)) clients.set(key, await server.connect({ database, superuser }));
    await clients
      .get(key)!
      .query(sql)
      .catch(() => undefined);
  };
  for (const role of ROLES) {
    const options = [LOGINS.has(role) ? 'LOGIN' : 'NOLOGIN'];
    if (maybe(0.1)) options.push('NOINHERIT');
    if (maybe(0.1)) options.push('CREATEDB');
    if (maybe(0.2)) options.push('CONNECTION LIMIT 7');
    if (maybe(0.1)) options.push("VALID UNTIL '2031-02-03 04:05:06.789Z'");
    await run(`CREATE ROLE ${q(role)} ${options.join(' ')}`);
    await run(`GRANT ${q(role)} TO master WITH INHERIT FALSE, SET TRUE`);
  }
  if (maybe(0.5)) await run('ALTER ROLE readers BYPASSRLS', 'postgres', true);
  if (maybe(0.3)) await run('GRANT pg_read_all_data TO report', 'postgres', true);
  if (maybe(0.3)) await run('GRANT rds_iam TO api');
  for (let at = 0; at < 14; at++) {
    const options = ['INHERIT', 'SET', 'ADMIN']
      .map((option) => `${option} ${maybe(0.5) ? 'TRUE' : 'FALSE'}`)
      .join(', ');
    await run(`GRANT ${q(one(ROLES))} TO ${q(one(ROLES))} WITH ${options}`, 'postgres', maybe(0.2));
  }
  const settings = [
    "statement_timeout = '90s'",
    "statement_timeout = '2h'",
    "lock_timeout = '1500'",
    "work_mem = '8MB'",
    'search_path = billing, "Audit ""Log"""',
    "application_name = 'it''s'",
    "log_statement = 'all'",
  ];
  for (const role of some(ROLES)) await run(`ALTER ROLE ${q(role)} SET ${one(settings)}`, 'postgres', maybe(0.2));
  await run('GRANT owner_a TO migrator WITH INHERIT FALSE, SET TRUE, ADMIN FALSE');
  if (maybe(0.5)) await run('ALTER ROLE migrator SET role = owner_a');
  for (const database of ['app', 'other "db"']) {
    await run(`CREATE DATABASE ${q(database)} OWNER ${q(one(['owner_a', 'owner_b', 'master', 'api']))}`);
    if (maybe(0.5)) await run(`ALTER DATABASE ${q(database)} SET ${one(settings)}`);
    if (maybe(0.5)) await run(`REVOKE ALL ON DATABASE ${q(database)} FROM PUBLIC`, 'postgres', true);
    await run(`GRANT CONNECT ON DATABASE ${q(database)} TO master`, 'postgres', true);
    for (const role of some(ROLES))
      await run(
        `GRANT ${one(['CONNECT', 'CONNECT, TEMPORARY', 'CREATE'])} ON DATABASE ${q(database)} TO ${q(role)}`,
        'postgres',
        true,
      );
    for (const schema of SCHEMAS) {
      if (maybe(0.2)) continue;
      const owner = one(['owner_a', 'owner_b', 'master', 'migrator']);
      await run(`CREATE SCHEMA ${q(schema)} AUTHORIZATION ${owner}`, database, true);
      for (const role of some(ROLES))
        await run(
          `GRANT ${one(['USAGE', 'USAGE', 'USAGE, CREATE', 'CREATE'])} ON SCHEMA ${q(schema)} TO ${q(role)}`,
          database,
          true,
        );
      if (schema !== 'empty') {
        for (const table of some(TABLES)) {
          await run(`CREATE TABLE ${q(schema)}.${q(table)} (id serial, secret text)`, database, true);
          await run(
            `ALTER TABLE ${q(schema)}.${q(table)} OWNER TO ${one(['owner_a', 'owner_b', 'migrator'])}`,
            database,
            true,
          );
          for (const role of some(ROLES))
            await run(
              `GRANT ${some(TABLE_PRIVILEGES).join() || 'SELECT'} ON ${q(schema)}.${q(table)} TO ${q(role)}${maybe(0.05) ? ' WITH GRANT OPTION' : ''}`,
              database,
              true,
            );
          if (maybe(0.1))
            await run(`GRANT SELECT (secret) ON ${q(schema)}.${q(table)} TO ${q(one(ROLES))}`, database, true);
        }
        if (maybe(0.5))
          await run(
            `CREATE FUNCTION ${q(schema)}.f(a int, b text[]) RETURNS int LANGUAGE sql RETURN 1`,
            database,
            true,
          );
        if (maybe(0.5))
          await run(`GRANT EXECUTE ON ALL ROUTINES IN SCHEMA ${q(schema)} TO ${q(one(ROLES))}`, database, true);
        if (maybe(0.3)) await run(`REVOKE EXECUTE ON ALL ROUTINES IN SCHEMA ${q(schema)} FROM PUBLIC`, database, true);
        if (maybe(0.6))
          await run(`GRANT SELECT ON ALL TABLES IN SCHEMA ${q(schema)} TO ${q(one(ROLES))}`, database, true);
        if (maybe(0.4))
          await run(`GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA ${q(schema)} TO writers`, database, true);
      }
      for (const creator of some(['owner_a', 'owner_b', 'migrator', 'master', 'writers'])) {
        const [objects, privileges] = one([
          ['TABLES', 'SELECT'],
          ['TABLES', 'SELECT, INSERT, UPDATE, DELETE'],
          ['SEQUENCES', 'USAGE'],
          ['ROUTINES', 'EXECUTE'],
        ]);
        await run(
          `ALTER DEFAULT PRIVILEGES FOR ROLE ${creator} IN SCHEMA ${q(schema)} GRANT ${privileges} ON ${objects} TO ${q(one(ROLES))}`,
          database,
          true,
        );
      }
    }
    if (maybe(0.1))
      await run(`ALTER DEFAULT PRIVILEGES FOR ROLE owner_a GRANT SELECT ON TABLES TO ${q(one(ROLES))}`, database, true);
    if (maybe(0.3))
      await run('ALTER DEFAULT PRIVILEGES FOR ROLE owner_a REVOKE EXECUTE ON ROUTINES FROM PUBLIC', database, true);
    if (maybe(0.3)) await run('CREATE EXTENSION pg_stat_statements', database, true);
  }
  await Promise.all([...clients.values()].map((client) => client.end()));
}
