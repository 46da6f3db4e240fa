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
      const result = await client.query('DELETE FROM cdk_postgres_failover_test.heartbeat WHERE beat <= 3');
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
});
