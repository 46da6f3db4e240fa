import { measureOutage } from '../../../lib/runtime/failover';
import { freshServer, TestServer, VERSIONS } from '../../support/postgres';

describe.each(VERSIONS)('PostgreSQL %s', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await freshServer({ version });
  });
  afterAll(() => server.stop());

  const measure = (trigger: () => Promise<void>, isOver?: () => Promise<boolean>, deadline = Date.now() + 60_000) =>
    measureOutage(server.connection(), { trigger, isOver, deadline, intervalMs: 5, steady: 5 });

  test('HA-17: a server that restarts under the heartbeat is away at least as long as it was down, and loses nothing', async () => {
    let down = 0;
    const outage = await measure(() =>
      server.restart(async () => {
        const from = performance.now();
        await new Promise((resolve) => setTimeout(resolve, 700));
        down = performance.now() - from;
      }),
    );
    expect(outage).toMatchObject({ interrupted: true, recovered: true, lost: 0, firstError: expect.any(String) });
    expect(down).toBeGreaterThan(0);
    expect(outage.outageMilliseconds).toBeGreaterThanOrEqual(Math.floor(down));
    expect(outage.acknowledged).toBeGreaterThanOrEqual(10);
  });

  test('HA-17: where nothing happens, nothing was interrupted', async () => {
    const outage = await measure(async () => undefined);
    expect(outage).toMatchObject({ interrupted: false, recovered: true, lost: 0, firstError: undefined });
  });

  test('HA-17: an acknowledged write that is gone is counted as lost', async () => {
    let deleted = 0;
    const outage = await measure(async () => {
      const client = await server.connect();
      const result = await client.query('DELETE FROM cdk_postgres_failover_test.heartbeat WHERE beat BETWEEN 1 AND 3');
      deleted = result.rowCount ?? 0;
      await client.end();
    });
    expect(deleted).toBe(3);
    expect(outage.lost).toBe(3);
  });

  test('a server that does not come back in time is not recovered, and the outage goes on until then', async () => {
    const outage = await measure(
      async () => undefined,
      async () => false,
      Date.now() + 1_500,
    );
    expect(outage.recovered).toBe(false);
  });

  test('a trigger that fails ends the test with its error', () =>
    expect(measure(() => Promise.reject(new Error('AccessDenied')))).rejects.toThrow('AccessDenied'));

  test('the heartbeat leaves nothing behind', async () => {
    await measure(async () => undefined);
    const rows = await server.query("SELECT 1 FROM pg_namespace WHERE nspname LIKE '%failover_test%'");
    expect(rows).toEqual([]);
  });

  const SCHEMA = 'cdk_postgres_failover_test';
  const none = async () => undefined;
  const schemas = () => server.query(`SELECT 1 FROM pg_namespace WHERE nspname = '${SCHEMA}'`);

  test('a schema of that name that is somebody’s is left alone, and nothing is made to fail over', async () => {
    const triggered = jest.fn(none);
    for (const [inside, says] of [
      ['CREATE TABLE invoices (id int)', 'has invoices'],
      ['CREATE TABLE heartbeat (id int)', 'other columns (id integer)'],
      ['CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1', 'has f'],
    ]) {
      await server.query([`CREATE SCHEMA ${SCHEMA}`, `SET search_path = ${SCHEMA}`, inside]);
      await expect(measure(triggered)).rejects.toThrow(says);
      expect(await schemas()).toHaveLength(1);
      await server.query(`DROP SCHEMA ${SCHEMA} CASCADE`);
    }
    expect(triggered).not.toHaveBeenCalled();
  });

  test('a second test beside one that runs is refused, and disturbs it in nothing', async () => {
    let second: Promise<unknown> = Promise.resolve();
    const outage = await measure(async () => {
      second = measure(none).catch((error: Error) => error.message);
      await second;
    });
    expect(await second).toMatch(/Another failover test/);
    expect(outage).toMatchObject({ interrupted: false, recovered: true, lost: 0 });
    expect(await schemas()).toEqual([]);
  });

  test('what a killed test has left behind is removed by the next one', async () => {
    await server.query([
      `CREATE SCHEMA ${SCHEMA}`,
      `CREATE TABLE ${SCHEMA}.heartbeat (beat bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())`,
      `INSERT INTO ${SCHEMA}.heartbeat VALUES (1, now() - interval '1 hour')`,
    ]);
    expect(await measure(none)).toMatchObject({ recovered: true, lost: 0 });
    expect(await schemas()).toEqual([]);
  });

  test('a server that takes no writes is not made to fail over as well', async () => {
    const triggered = jest.fn(none);
    const blocked = measureOutage(server.connection(), {
      trigger: triggered,
      deadline: Date.now() + 10_000,
      intervalMs: 50,
      steady: 100,
    });
    for (let tries = 0; tries < 200 && (await schemas()).length === 0; tries++)
      await new Promise((resolve) => setTimeout(resolve, 20));
    await server.query(`DROP TABLE ${SCHEMA}.heartbeat`);
    await expect(blocked).rejects.toThrow(/does not take writes steadily.*heartbeat" does not exist/);
    expect(triggered).not.toHaveBeenCalled();
    expect(await schemas()).toEqual([]);
  });
});
