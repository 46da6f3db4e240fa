import { Client } from 'pg';
import { PoolerDocument } from '../../lib/contract';
import { rotate, ROTATION_STEPS } from '../../lib/runtime/rotate';
import { scramVerifier, SecretStore } from '../../lib/runtime/secrets';
import { clusterProblem } from './availability.js';
import { TestPooler } from './pooler';
import { PASSWORD, Setting } from './setting';

const describeCluster = clusterProblem() === undefined ? describe : describe.skip;

let setting: Setting;
let admin: string;
let groups = 0;

beforeAll(async () => {
  if (clusterProblem() !== undefined) return;
  setting = await Setting.start();
  const { user, password } = setting.server.master;
  admin = setting.manager.create('admin', { username: user, password });
});
afterAll(() => setting?.stop());

/** A group whose logins take turns, as the first deployment leaves it. Returns the ARN of its secret. */
async function newPair(): Promise<string> {
  const group = `pair${++groups}`;
  const verifier = scramVerifier(PASSWORD);
  await setting.server.query([
    `CREATE ROLE ${group} NOLOGIN`,
    `CREATE ROLE ${group}_1 LOGIN PASSWORD '${verifier}'`,
    `CREATE ROLE ${group}_2 LOGIN`,
    `GRANT ${group} TO ${group}_1, ${group}_2 WITH INHERIT TRUE, SET FALSE`,
  ]);
  setting.arns[group] = setting.manager.create(group, {
    username: `${group}_1`,
    group,
    password: PASSWORD,
    verifier,
    dbname: 'app',
  });
  return setting.arns[group];
}

/** As Secrets Manager rotates: each step a call of the function. `pickup`: seconds. */
async function runRotation(arn: string, pickup: number): Promise<void> {
  const token = setting.manager.beginRotation(arn);
  const store = new SecretStore({ ...setting.manager.config, maxAttempts: 1 });
  const { host, port, ca } = setting.server.connection();
  try {
    for (const step of ROTATION_STEPS)
      await rotate(
        { step, secret: arn, token },
        { store, adminSecret: admin, server: { host, port, ca, database: 'postgres' }, pickup: pickup * 1000 },
      );
  } finally {
    store.destroy();
  }
}

/** Clients that read the secret, log in, work and leave, again and again. */
class Logins {
  succeeded = 0;
  readonly failures: string[] = [];
  private stopping = false;
  private readonly workers: Promise<void>[];

  constructor(
    private readonly pooler: TestPooler,
    private readonly arn: string,
  ) {
    this.workers = Array.from({ length: 3 }, () => this.work());
  }

  async once(): Promise<string | undefined> {
    const { username, password } = setting.manager.value(this.arn) as { username: string; password: string };
    const client = new Client({ ...setting.config(this.pooler.port), user: username, password });
    client.on('error', () => undefined);
    try {
      await client.connect();
      await client.query('SELECT 1');
      return undefined;
    } catch (error) {
      return `${username}: ${(error as Error).message}`;
    } finally {
      await client.end().catch(() => undefined);
    }
  }

  async until(succeeded: number, milliseconds = 20_000): Promise<void> {
    const end = Date.now() + milliseconds;
    while (this.succeeded < succeeded) {
      if (Date.now() > end) throw new Error(`${this.succeeded} logins, and failed: ${this.failures.join('; ')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.workers);
  }

  private async work(): Promise<void> {
    while (!this.stopping) {
      const problem = await this.once();
      if (problem === undefined) this.succeeded++;
      else this.failures.push(problem);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

async function underLoad(
  arn: string,
  changes: Partial<PoolerDocument>,
  work: (logins: Logins) => Promise<void>,
): Promise<Logins> {
  const pooler = await setting.startPooler({ secrets: setting.arns, ...changes });
  const logins = new Logins(pooler, arn);
  try {
    await logins.until(20);
    await work(logins);
    await logins.until(logins.succeeded + 20);
  } finally {
    await logins.stop();
    await pooler.stop();
  }
  return logins;
}

describeCluster('SEC-18: passwords that are rotated under load', () => {
  test('fail no login where two logins take turns and the rotation waits for the pooler', async () => {
    const arn = await newPair();
    const seen = new Set<unknown>();
    const logins = await underLoad(arn, { secretsInterval: 1 }, async (running) => {
      for (let turn = 0; turn < 3; turn++) {
        await runRotation(arn, 3);
        seen.add(setting.manager.value(arn)!.username);
        await running.until(running.succeeded + 10);
      }
    });
    expect(logins.failures).toEqual([]);
    expect(seen.size).toBe(2);
    expect(logins.succeeded).toBeGreaterThan(50);
  });

  test('fail some where it does not wait, and then the failed login makes the pooler look', async () => {
    const arn = await newPair();
    const logins = await underLoad(arn, { secretsInterval: 3600 }, () => runRotation(arn, 0));
    expect(logins.failures.length).toBeGreaterThan(0);
  });

  test('fail some where one login has one password, for seconds, and who is connected goes on', async () => {
    const arn = setting.arns.api;
    let connected: Client | undefined;
    const logins = await underLoad(arn, { secretsInterval: 3600 }, async (running) => {
      connected = await setting.connect(setting.poolers.at(-1)!.port);
      await connected.query('SELECT 1');
      const from = Date.now();
      await runRotation(arn, 0);
      expect((await connected.query('SELECT 1')).rowCount).toBe(1);
      await running.until(running.succeeded + 20);
      expect(Date.now() - from).toBeLessThan(15_000);
      expect((await connected.query('SELECT 1')).rowCount).toBe(1);
    });
    await connected!.end().catch(() => undefined);
    expect(logins.failures.length).toBeGreaterThan(0);
  });
});

describeCluster('a server that restarts', () => {
  test('is found again within seconds, and clients that try again lose nothing else', async () => {
    const pooler = await setting.startPooler({ secrets: setting.arns });
    const { username, password } = setting.manager.value(setting.arns.api) as { username: string; password: string };
    const pool = setting.pool(pooler.port, { user: username, password, max: 6 });
    const answers: { at: number; problem?: string }[] = [];
    let stopping = false;
    const workers = Array.from({ length: 6 }, async () => {
      while (!stopping) {
        const problem = await pool.query('SELECT 1').then(
          () => undefined,
          (error: Error) => error.message,
        );
        answers.push({ at: Date.now(), problem });
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
    });
    await pooler.waitFor(() => answers.length > 30, 'clients work');
    expect(answers.filter(({ problem }) => problem !== undefined)).toEqual([]);
    await setting.server.restart(() => new Promise((resolve) => setTimeout(resolve, 2_000)));
    const back = Date.now();
    await pooler.waitFor(
      () => answers.some(({ at, problem }) => at > back && problem === undefined),
      'clients work again',
      10_000,
    );
    const first = answers.find(({ at, problem }) => at > back && problem === undefined)!;
    expect(first.at - back).toBeLessThan(5_000);
    await new Promise((resolve) => setTimeout(resolve, 2_000));
    const settled = Date.now();
    await pooler.waitFor(() => answers.filter(({ at }) => at > settled).length > 30, 'they go on');
    stopping = true;
    await Promise.all(workers);
    expect(answers.filter(({ at, problem }) => at > settled && problem !== undefined)).toEqual([]);
    await pool.end();
    await pooler.stop();
  });
});
