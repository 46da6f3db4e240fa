import { clusterProblem } from './availability.js';
import { Load } from './load';
import { LoadBalancer } from './load-balancer';
import { freePort, TestPooler } from './pooler';
import { Setting } from './setting';

const describeCluster = clusterProblem() === undefined ? describe : describe.skip;

let setting: Setting;
beforeAll(async () => {
  if (clusterProblem() === undefined) setting = await Setting.start();
});
afterAll(() => setting?.stop());

/** Seconds: the first phase is 8 s long, and the clients' connections live for 3 s at most. */
const STOP_TIMEOUT = 23;
const MAX_LIFETIME = 3;

describeCluster('CP-15: tasks that are replaced one by one under load', () => {
  /** Replaces two tasks by two others as ECS does, by `end`, and returns what the load has felt of it. */
  async function replaceBoth(end: (pooler: TestPooler) => Promise<unknown>): Promise<Load> {
    const ports = await Promise.all([1, 2, 3, 4].map(freePort));
    const balancer = await LoadBalancer.start(ports);
    const start = async (port: number) => {
      const pooler = await setting.startPooler({ port, stopTimeout: STOP_TIMEOUT });
      await balancer.register(port);
      return pooler;
    };
    let load: Load | undefined;
    try {
      const old = [await start(ports[0]), await start(ports[1])];
      load = new Load(setting.pool(balancer.port, { max: 8, maxLifetimeSeconds: MAX_LIFETIME }), 8);
      await load.until(() => load!.succeeded > 50);
      for (const [at, pooler] of old.entries()) {
        const replacement = await start(ports[at + 2]);
        await balancer.deregister(pooler.port);
        // ECS waits for the deregistration delay, a minute or more. Whoever still logs in when the task stops is refused.
        await new Promise((resolve) => setTimeout(resolve, 1_500));
        const from = Date.now();
        await end(pooler);
        expect(Date.now() - from).toBeLessThan(STOP_TIMEOUT * 1000);
        // The new one has clients.
        const before = load.succeeded;
        await load.until(() => load!.succeeded > before + 50);
        expect(replacement.health()).toBeUndefined();
      }
      return load;
    } finally {
      await load?.stop();
      await balancer.stop();
      await Promise.all(setting.poolers.splice(0).map((pooler) => pooler.stop()));
    }
  }

  test('fail no transaction of clients that cap the age of their connections', async () => {
    const balance = async () =>
      Number((await setting.server.query('SELECT balance FROM account', { database: 'app' }))[0].balance);
    const before = await balance();
    const codes: unknown[] = [];
    const load = await replaceBoth(async (pooler) => {
      pooler.terminate();
      codes.push(await pooler.ended);
    });
    expect(load.failures).toEqual([]);
    expect(codes).toEqual([0, 0]);
    expect((await balance()) - before).toBe(load.succeeded);
  });

  test('without the drain some fail', async () => {
    const load = await replaceBoth((pooler) => pooler.kill());
    expect(load.failures.length).toBeGreaterThan(0);
  });
});

describeCluster('a client that does not leave', () => {
  test('ends its transaction, is cut after it, and the task ends before it is killed', async () => {
    const pooler = await setting.startPooler({ stopTimeout: 20 });
    const [busy, idle] = [await setting.connect(pooler.port), await setting.connect(pooler.port)];
    await idle.query('SELECT 1');
    const cut = new Promise((resolve) => busy.once('end', resolve));
    const from = Date.now();
    await busy.query('BEGIN');
    pooler.terminate();
    // The first phase is 5 s long: whoever is in goes on, and nobody else gets in.
    await pooler.waitFor(
      () =>
        setting.connect(pooler.port).then(
          () => false,
          () => true,
        ),
      'new clients are refused',
    );
    while (Date.now() - from < 9_000) {
      await busy.query('UPDATE account SET balance = balance + 1');
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    await expect(idle.query('SELECT 1')).rejects.toThrow();
    await busy.query('COMMIT');
    await cut;
    expect(await pooler.ended).toBe(0);
    expect(Date.now() - from).toBeGreaterThan(9_000);
    expect(Date.now() - from).toBeLessThan(20_000);
  });

  test('and a transaction that never ends is cut before the task is killed', async () => {
    const pooler = await setting.startPooler({ stopTimeout: 20 });
    const client = await setting.connect(pooler.port);
    await client.query('BEGIN');
    const from = Date.now();
    pooler.terminate();
    expect(await pooler.ended).toBe(0);
    expect(Date.now() - from).toBeLessThan(20_000);
  });

  test('is cut in the middle of its transaction by a second signal to PgBouncer, which is why none is sent', async () => {
    const pooler = await setting.startPooler({ processes: 1 });
    const client = await setting.connect(pooler.port);
    await client.query('BEGIN');
    await client.query('SELECT 1');
    const [bouncer] = pooler.processes();
    process.kill(bouncer, 'SIGTERM');
    await pooler.waitFor(() => pooler.lines.some((line) => line.includes('got SIGTERM')), 'the signal is taken');
    await client.query('SELECT 1');
    process.kill(bouncer, 'SIGINT');
    await pooler.waitFor(() => pooler.lines.some((line) => line.includes('fast exit')), 'it ends at once');
    await expect(client.query('COMMIT')).rejects.toThrow();
    await pooler.stop();
  });
});
