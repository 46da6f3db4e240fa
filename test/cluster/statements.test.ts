import { Client } from 'pg';
import { clusterProblem } from './availability.js';
import { TestPooler } from './pooler';
import { Setting } from './setting';

const describeCluster = clusterProblem() === undefined ? describe : describe.skip;

let setting: Setting;
let pooler: TestPooler;

beforeAll(async () => {
  if (clusterProblem() !== undefined) return;
  setting = await Setting.start();
  // Two server connections, so that it can be said which of them a client gets.
  pooler = await setting.startPooler({
    processes: 1,
    databases: { app: { poolSize: 2, maxConnections: 2, sessionConnections: 4 } },
  });
});
afterAll(() => setting?.stop());

/** Two clients of the pooler; closed at the end. */
async function two<T>(database: string, work: (one: Client, other: Client) => Promise<T>): Promise<T> {
  const clients = [await setting.connect(pooler.port, { database }), await setting.connect(pooler.port, { database })];
  try {
    return await work(clients[0], clients[1]);
  } finally {
    await Promise.all(clients.map((client) => client.end()));
    // What a test has left in the sessions on the server is no other test's business.
    pooler.console('RECONNECT');
    await pooler.waitFor(async () => (await setting.sessions()) === 0, 'the server connections are closed');
  }
}

/** Does `work` while the other client has the server connection that the one has used last. */
async function elsewhere<T>(other: Client, work: () => Promise<T>): Promise<T> {
  await other.query('BEGIN');
  await other.query('SELECT 1');
  try {
    return await work();
  } finally {
    await other.query('ROLLBACK');
  }
}

const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'none',
    (error: { code?: string }) => error.code,
  );
const one = async (client: Client, sql: string) => Object.values((await client.query(sql)).rows[0] as object)[0];

describeCluster('CP-8: statements that drivers prepare', () => {
  async function run(port: number): Promise<string[]> {
    const clients = await Promise.all(Array.from({ length: 20 }, () => setting.connect(port)));
    const failures: string[] = [];
    try {
      for (let round = 0; round < 5; round++) {
        await Promise.all(
          clients.map(async (client, at) => {
            try {
              const { rows } = await client.query({
                name: `add-${at % 5}`,
                text: `SELECT $1::int + ${at % 5} AS sum, pg_sleep(0.002)`,
                values: [at],
              });
              if (rows[0].sum !== at + (at % 5)) failures.push(`${at} got ${rows[0].sum}`);
            } catch (error) {
              failures.push((error as Error).message);
            }
          }),
        );
      }
    } finally {
      await Promise.all(clients.map((client) => client.end()));
    }
    return failures;
  }

  test('are there on whichever server connection a client gets', async () => {
    expect(await run(pooler.port)).toEqual([]);
    const [app] = pooler.console('SHOW STATS').filter(({ database }) => database === 'app');
    // Five statements on two connections, whatever the number of clients.
    expect(Number(app.total_client_parse_count)).toBeGreaterThanOrEqual(20);
    expect(Number(app.total_server_parse_count)).toBeLessThanOrEqual(10);
  });

  test('are not without max_prepared_statements', async () => {
    const without = await setting.startPooler({
      processes: 1,
      maxPreparedStatements: 0,
      databases: { app: { poolSize: 2, maxConnections: 2 } },
    });
    const failures = await run(without.port);
    expect(failures.length).toBeGreaterThan(0);
    expect(failures.join()).toMatch(/prepared statement "add-\d" (does not exist|already exists)/);
    await without.stop();
  });
});

describeCluster('CP-7: in transaction mode', () => {
  test('SET reaches others, and SET LOCAL and ALTER ROLE … SET do not', async () => {
    await two('app', async (a, b) => {
      await a.query("SET statement_timeout = '7s'");
      expect(await one(b, 'SHOW statement_timeout')).toBe('7s');
      expect(await elsewhere(b, () => one(a, 'SHOW statement_timeout'))).toBe('0');
    });
    await two('app', async (a, b) => {
      await a.query('BEGIN');
      await a.query("SET LOCAL statement_timeout = '7s'");
      expect(await one(a, 'SHOW statement_timeout')).toBe('7s');
      await a.query('COMMIT');
      expect(await one(b, 'SHOW statement_timeout')).toBe('0');
    });
    await setting.server.query("ALTER ROLE api SET statement_timeout = '9s'");
    try {
      await two('app', async (a, b) => {
        expect(await one(a, 'SHOW statement_timeout')).toBe('9s');
        expect(await elsewhere(a, () => one(b, 'SHOW statement_timeout'))).toBe('9s');
      });
    } finally {
      await setting.server.query('ALTER ROLE api RESET statement_timeout');
    }
  });

  test('settings that the server reports follow their client: search_path (from PostgreSQL 18), application_name, TimeZone', async () => {
    await two('app', async (a, b) => {
      await a.query('SET search_path = pg_catalog');
      await a.query("SET TimeZone = 'Asia/Tokyo'");
      expect(await one(b, 'SHOW search_path')).toBe('"$user", public');
      await elsewhere(b, async () => {
        expect(await one(a, 'SHOW search_path')).toBe('pg_catalog');
        expect(await one(a, 'SHOW TimeZone')).toBe('Asia/Tokyo');
      });
    });
  });

  test('a search_path of the role holds, whoever has changed it on the same server connection', async () => {
    await setting.server.query('ALTER ROLE api SET search_path = pg_catalog, public');
    try {
      await two('app', async (a, b) => {
        await a.query('SET search_path = public');
        expect(await one(b, 'SHOW search_path')).toBe('pg_catalog, public');
        expect(await one(a, 'SHOW search_path')).toBe('public');
      });
    } finally {
      await setting.server.query('ALTER ROLE api RESET search_path');
    }
  });

  test('settings in the options of a connection are ignored, and those of drivers are no error', async () => {
    const client = await setting.connect(pooler.port, { options: '-c statement_timeout=3000 -c extra_float_digits=2' });
    expect(await one(client, 'SHOW statement_timeout')).toBe('0');
    await client.end();
  });

  test('LISTEN hears nothing; through the session alias it does', async () => {
    const hears = (database: string) =>
      two(database, async (a, b) => {
        const heard: string[] = [];
        a.on('notification', ({ payload }) => heard.push(payload ?? ''));
        await a.query('LISTEN news');
        await elsewhere(a, () => b.query("NOTIFY news, 'hello'"));
        await new Promise((resolve) => setTimeout(resolve, 300));
        return heard;
      });
    expect(await hears('app_session')).toEqual(['hello']);
    const client = await setting.connect(pooler.port);
    const heard: string[] = [];
    client.on('notification', ({ payload }) => heard.push(payload ?? ''));
    await client.query('LISTEN news');
    await setting.server.query("NOTIFY news, 'hello'", { database: 'app' });
    await new Promise((resolve) => setTimeout(resolve, 300));
    await client.end();
    expect(heard).toEqual([]);
  });

  test('a session advisory lock excludes nobody; one of a transaction, or of the session alias, does', async () => {
    const lock = 'SELECT pg_try_advisory_lock(42)';
    await two('app', async (a, b) => {
      expect(await one(a, lock)).toBe(true);
      expect(await one(b, lock)).toBe(true);
    });
    await two('app_session', async (a, b) => {
      expect(await one(a, lock)).toBe(true);
      expect(await one(b, lock)).toBe(false);
    });
    await two('app', async (a, b) => {
      await a.query('BEGIN');
      expect(await one(a, 'SELECT pg_try_advisory_xact_lock(42)')).toBe(true);
      expect(await one(b, 'SELECT pg_try_advisory_xact_lock(42)')).toBe(false);
      await a.query('COMMIT');
    });
  });

  test('what PREPARE, WITH HOLD and TEMP leave in a session is gone elsewhere; in one transaction or the session alias it is there', async () => {
    const cases = [
      { make: 'PREPARE answer AS SELECT 42', use: 'EXECUTE answer', code: '26000' },
      { make: 'DECLARE answer CURSOR WITH HOLD FOR SELECT 42', use: 'FETCH answer', code: '34000' },
      { make: 'CREATE TEMP TABLE answer AS SELECT 42', use: 'SELECT * FROM answer', code: '42P01' },
    ];
    for (const { make, use, code } of cases) {
      await two('app', async (a, b) => {
        await a.query(make);
        expect(await elsewhere(b, () => codeOf(a.query(use)))).toBe(code);
      });
      await two('app', async (a) => {
        await a.query('BEGIN');
        await a.query(make);
        expect(await one(a, use)).toBe(42);
        await a.query('ROLLBACK');
      });
      await two('app_session', async (a, b) => {
        await a.query(make);
        expect(await elsewhere(b, () => one(a, use))).toBe(42);
      });
    }
  });
});
