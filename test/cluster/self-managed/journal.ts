import { Client } from 'pg';
import { Lab, PASSWORDS, ROUTER, sleep } from './lab';

interface Acknowledged {
  readonly worker: number;
  readonly n: number;
  readonly at: number;
}

/**
 * Clients that insert rows through the router, one after the other, and note each that was acknowledged. One that loses its connection
 * connects again, and does not know what became of its last row.
 */
export class Journal {
  readonly acknowledged: Acknowledged[] = [];
  /** Rows whose client lost its connection before the answer: they may be there, or not. */
  unknown = 0;
  /** The longest time, in ms, for which this process was not run: what happened meanwhile was not this cluster's doing. */
  disturbed = 0;
  readonly problems: string[] = [];
  private stopping = false;
  private workers: Promise<void>[] = [];
  private watch?: NodeJS.Timeout;

  private constructor(
    private readonly lab: Lab,
    private readonly table: string,
    private readonly pause: number,
  ) {}

  static async start(
    lab: Lab,
    options: { readonly table: string; readonly workers?: number; readonly pause?: number },
  ) {
    await lab.query(`CREATE TABLE ${options.table} (worker int, n int, PRIMARY KEY (worker, n))`);
    const journal = new Journal(lab, options.table, options.pause ?? 10);
    journal.workers = Array.from({ length: options.workers ?? 4 }, (_, worker) => journal.work(worker));
    let last = Date.now();
    journal.watch = setInterval(() => {
      const now = Date.now();
      journal.disturbed = Math.max(journal.disturbed, now - last - 50);
      last = now;
    }, 50);
    // All of them have something to lose.
    await journal
      .until(() => journal.acknowledged.length > 50, 60_000)
      .catch(async (error) => {
        await journal.stop();
        throw error;
      });
    return journal;
  }

  /** Until a row was acknowledged that was begun from now on. */
  async untilWritten(milliseconds = 120_000): Promise<void> {
    const count = this.acknowledged.length;
    await this.until(() => this.acknowledged.length > count + 20, milliseconds);
  }

  /** The longest time without an acknowledgement since a moment, in seconds. */
  outage(since: number): number {
    const times = [since, ...this.acknowledged.map(({ at }) => at).filter((at) => at > since)].sort((a, b) => a - b);
    let longest = 0;
    for (let index = 1; index < times.length; index++) longest = Math.max(longest, times[index] - times[index - 1]);
    return longest / 1000;
  }

  /** How many rows were acknowledged from a moment to another. */
  between(from: number, to: number): number {
    return this.acknowledged.filter(({ at }) => at >= from && at <= to).length;
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearInterval(this.watch);
    await Promise.all(this.workers);
  }

  /** Acknowledged rows that are not there; `before`: only those acknowledged before that moment. */
  async lost(lab: Lab = this.lab, before = Infinity): Promise<Acknowledged[]> {
    const rows = await lab.query<{ worker: number; n: number }>(`SELECT worker, n FROM ${this.table}`);
    return missing(
      this.acknowledged.filter(({ at }) => at <= before),
      rows,
    );
  }

  private async until(condition: () => boolean, milliseconds: number): Promise<void> {
    const end = Date.now() + milliseconds;
    while (!condition()) {
      if (Date.now() > end)
        throw new Error(
          `not within ${milliseconds} ms: rows are written; the last problems: ${this.problems.slice(-5).join('; ')}`,
        );
      await sleep(20);
    }
  }

  private async work(worker: number): Promise<void> {
    let client: Client | undefined;
    let n = 0;
    while (!this.stopping) {
      try {
        client ??= await this.connect();
        n++;
        await client.query(`INSERT INTO ${this.table} VALUES (${worker}, ${n})`);
        this.acknowledged.push({ worker, n, at: Date.now() });
        await sleep(this.pause);
      } catch (error) {
        if (client) this.unknown++;
        this.problems.push((error as Error).message);
        // Not waited for: the other side may be gone without a word.
        client?.end().catch(() => undefined);
        client = undefined;
        await sleep(50);
      }
    }
    await Promise.race([client?.end().catch(() => undefined), sleep(1000)]);
  }

  private async connect(): Promise<Client> {
    const client = new Client({
      host: this.lab.router.address,
      port: 5432,
      user: 'postgres_admin',
      password: PASSWORDS.admin,
      database: 'postgres',
      ssl: { ca: this.lab.region.authority.certificate, servername: ROUTER },
      connectionTimeoutMillis: 3000,
    });
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }
}

/** What is in the first list and not among the rows. */
export function missing<T extends { readonly worker: number; readonly n: number }>(
  acknowledged: readonly T[],
  rows: readonly { readonly worker: number; readonly n: number }[],
): T[] {
  const there = new Set(rows.map(({ worker, n }) => `${worker}/${n}`));
  return acknowledged.filter(({ worker, n }) => !there.has(`${worker}/${n}`));
}
