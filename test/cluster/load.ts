import { Pool } from 'pg';

/** Transactions that run until they are told to stop, over a pool of node-postgres; each adds one to a row. */
export class Load {
  succeeded = 0;
  readonly failures: string[] = [];
  private stopping = false;
  private readonly workers: Promise<void>[];

  constructor(
    private readonly pool: Pool,
    workers: number,
  ) {
    this.workers = Array.from({ length: workers }, () => this.work());
  }

  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.workers);
    await this.pool.end();
  }

  async until(condition: () => boolean, milliseconds = 20_000): Promise<void> {
    const end = Date.now() + milliseconds;
    while (!condition()) {
      if (Date.now() > end) throw new Error(`${this.succeeded} succeeded, and failed: ${this.failures.join('; ')}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  private async work(): Promise<void> {
    while (!this.stopping) {
      let problem: Error | undefined;
      try {
        const client = await this.pool.connect();
        try {
          await client.query('BEGIN');
          await client.query('UPDATE account SET balance = balance + 1');
          await client.query('COMMIT');
          this.succeeded++;
        } catch (error) {
          problem = error as Error;
        }
        client.release(problem);
      } catch (error) {
        problem = error as Error;
      }
      if (problem) this.failures.push(problem.message);
      // As a service with something else to do: connections are also idle, which is when a pooler may close them.
      await new Promise((resolve) => setTimeout(resolve, problem ? 50 : 2 + Math.random() * 10));
    }
  }
}
