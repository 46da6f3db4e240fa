import { performance } from 'node:perf_hooks';
import { Client } from 'pg';
import { openClient } from '../connection';
import { ConnectionSettings } from '../reconcile/types';

/** What the writers of an application would have seen. */
export interface Outage {
  /** Whether a write failed at all. */
  readonly interrupted: boolean;
  /** The longest time from one acknowledged write to the next, in milliseconds. */
  readonly outageMilliseconds: number;
  /** Acknowledged writes, and those of them that are not in the table afterwards. */
  readonly acknowledged: number;
  readonly lost: number;
  /** Whether the server took writes in the end. */
  readonly recovered: boolean;
  /** The first error of a write, which tells how the connection broke. */
  readonly firstError?: string;
}

export interface HeartbeatOptions {
  /** Breaks the server, once writes have been acknowledged; it may take its time, while writing goes on. */
  readonly trigger: () => Promise<void>;
  /** Whether the breaking is over, asked after each run of good writes. */
  readonly isOver?: () => Promise<boolean>;
  /** Time between writes. Default: 100 ms. */
  readonly intervalMs?: number;
  /** So many acknowledged writes before, and as many in a row after. Default: 20. */
  readonly steady?: number;
  /** Epoch milliseconds at which it gives up. */
  readonly deadline: number;
  readonly onProgress?: (message: string) => void;
}

const SCHEMA = 'cdk_postgres_failover_test';
const TABLE = `${SCHEMA}.heartbeat`;

/** One attempt to connect or to write; a write that hangs for longer is one that failed. */
const ATTEMPT_MS = 2_000;

/** A beat that is younger is that of a test that runs now, and not of one that was killed. */
const ALIVE = '1 minute';

/** How long the clean-up waits for a server that takes no writes. */
const CLEAN_UP_MS = 5_000;

/** What is in the schema, and whether it is a heartbeat that this role has left behind. */
const FOUND = `
  SELECT pg_has_role(n.nspowner, 'USAGE') AS own,
    ARRAY(SELECT c.relname::text FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind <> 'i' ORDER BY 1) AS relations,
    ARRAY(SELECT p.proname::text FROM pg_proc p WHERE p.pronamespace = n.oid ORDER BY 1) AS routines,
    ARRAY(SELECT a.attname || ' ' || a.atttypid::regtype FROM pg_attribute a
          WHERE a.attrelid = to_regclass('${TABLE}') AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns
  FROM pg_namespace n WHERE n.nspname = '${SCHEMA}'`;

interface Found {
  readonly own: boolean;
  readonly relations: readonly string[];
  readonly routines: readonly string[];
  readonly columns: readonly string[];
}

/**
 * Writes one row after another in transactions of their own while something happens to the server, reconnecting as an application would (HA-17).
 * A table of its own in a schema of its own, which is gone afterwards. A schema of that name that is none of a heartbeat, or of a test that
 * runs now, is left alone: then it throws before anything is broken, and so it does where writes fail already.
 */
export async function measureOutage(settings: ConnectionSettings, options: HeartbeatOptions): Promise<Outage> {
  const heart = new Heart(settings, options);
  try {
    await heart.prepare();
    if (!(await heart.beatSteadily())) {
      throw new Error(
        `The server does not take writes steadily, so it is not made to fail over: ${heart.problem ?? 'the time was over'}. See what ails it first.`,
      );
    }
    const triggered = options.trigger();
    let failed: unknown;
    triggered.catch((error: unknown) => (failed = error));
    let done = false;
    triggered.then(() => (done = true)).catch(() => undefined);
    let recovered = false;
    while (Date.now() < options.deadline && failed === undefined) {
      if (!(await heart.beatSteadily())) continue;
      if (done && ((await options.isOver?.()) ?? true)) {
        recovered = true;
        break;
      }
    }
    if (failed !== undefined) throw failed;
    return await heart.result(recovered);
  } finally {
    await heart.end();
  }
}

class Heart {
  private client?: Client;
  private next = 1;
  private readonly acknowledged: number[] = [];
  private lastAcknowledged?: number;
  private longest = 0;
  private failures = 0;
  private firstError?: string;
  private prepared = false;

  constructor(
    private readonly settings: ConnectionSettings,
    private readonly options: HeartbeatOptions,
  ) {}

  /** The first error of a write. */
  get problem(): string | undefined {
    return this.firstError;
  }

  async prepare(): Promise<void> {
    const client = await openClient(this.settings, { patience: 30_000 });
    try {
      await client.query('BEGIN');
      // Two that begin at once come one after the other, and the second sees the first.
      await client.query(`SELECT pg_advisory_xact_lock(hashtext('${SCHEMA}'))`);
      await refuseOthers(client);
      await client.query(`DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE`);
      await client.query(`CREATE SCHEMA ${SCHEMA}`);
      await client.query(
        `CREATE TABLE ${TABLE} (beat bigint PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp())`,
      );
      await client.query(`INSERT INTO ${TABLE} (beat) VALUES (0)`);
      await client.query('COMMIT');
      this.prepared = true;
    } finally {
      await client.end();
    }
  }

  /** Writes until so many writes in a row were acknowledged. False: one failed. */
  async beatSteadily(): Promise<boolean> {
    const { steady = 20, intervalMs = 100, deadline } = this.options;
    for (let good = 0; good < steady; good++) {
      if (Date.now() >= deadline) return false;
      const ok = await this.beat();
      await new Promise((resolve) => setTimeout(resolve, intervalMs));
      if (!ok) return false;
    }
    return true;
  }

  /** Rows whose COMMIT was acknowledged and that are no longer there: what a failover lost. */
  async result(recovered: boolean): Promise<Outage> {
    let lost = 0;
    if (recovered && this.client) {
      const { rows } = await this.client.query<{ beat: string }>(`SELECT beat FROM ${TABLE}`);
      const there = new Set(rows.map(({ beat }) => Number(beat)));
      lost = this.acknowledged.filter((beat) => !there.has(beat)).length;
    }
    if (!recovered && this.lastAcknowledged !== undefined) {
      this.longest = Math.max(this.longest, performance.now() - this.lastAcknowledged);
    }
    return {
      interrupted: this.failures > 0,
      outageMilliseconds: Math.ceil(this.longest),
      acknowledged: this.acknowledged.length,
      lost,
      recovered,
      firstError: this.firstError,
    };
  }

  /** Also where the last write failed: then over a new connection, if there is one to be had. */
  async end(): Promise<void> {
    try {
      if (this.prepared) {
        this.client ??= await openClient(this.settings, { connectTimeout: ATTEMPT_MS, patience: CLEAN_UP_MS });
        await within(CLEAN_UP_MS, this.client.query(`DROP SCHEMA IF EXISTS ${SCHEMA} CASCADE`));
      }
    } catch (error) {
      this.options.onProgress?.(
        `the schema ${SCHEMA} is left behind (${(error as Error).message}); the next test removes it`,
      );
    } finally {
      await within(ATTEMPT_MS, this.client?.end() ?? Promise.resolve()).catch(() => undefined);
    }
  }

  private async beat(): Promise<boolean> {
    const beat = this.next++;
    try {
      this.client ??= await this.open();
      await within(ATTEMPT_MS, this.client.query(`INSERT INTO ${TABLE} (beat) VALUES (${beat})`));
      const now = performance.now();
      if (this.lastAcknowledged !== undefined) this.longest = Math.max(this.longest, now - this.lastAcknowledged);
      this.lastAcknowledged = now;
      this.acknowledged.push(beat);
      return true;
    } catch (error) {
      if (this.failures++ === 0) {
        this.firstError = (error as Error).message;
        this.options.onProgress?.(`the first write failed: ${this.firstError}`);
      }
      this.drop();
      return false;
    }
  }

  private async open(): Promise<Client> {
    const client = await openClient(this.settings, { connectTimeout: ATTEMPT_MS });
    // A broken connection says so out of turn; the next write finds out.
    client.on('error', () => undefined);
    return client;
  }

  /** A dead server answers no farewell. */
  private drop(): void {
    const { client } = this;
    this.client = undefined;
    void client?.end().catch(() => undefined);
    (client as unknown as { connection?: { stream?: { destroy(): void } } } | undefined)?.connection?.stream?.destroy();
  }
}

/** Whatever else has that name is somebody's, and a drop would take it. */
async function refuseOthers(client: Client): Promise<void> {
  const [found] = (await client.query<Found>(FOUND)).rows;
  if (!found) return;
  const others = [...found.relations.filter((name) => name !== 'heartbeat'), ...found.routines];
  const shape = found.columns.join(', ');
  const isHeartbeat = ['', 'beat bigint, at timestamp with time zone'].includes(shape);
  if (!found.own || others.length > 0 || !isHeartbeat) {
    const has = !found.own
      ? 'belongs to another role'
      : others.length > 0
        ? `has ${others.join(', ')}`
        : `has a table heartbeat with other columns (${shape})`;
    throw new Error(
      `The schema ${SCHEMA} is that of the heartbeat, and there is one that ${has}: rename or drop it, and test again`,
    );
  }
  if (shape === '') return;
  const [{ alive }] = (
    await client.query<{ alive: boolean }>(
      `SELECT coalesce(max(at) > clock_timestamp() - interval '${ALIVE}', false) AS alive FROM ${TABLE}`,
    )
  ).rows;
  if (alive) {
    throw new Error(
      `Another failover test has written to ${TABLE} within the last minute: let it end, or wait a minute if it was killed`,
    );
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ms} ms`)), ms);
  });
  promise.catch(() => undefined);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
