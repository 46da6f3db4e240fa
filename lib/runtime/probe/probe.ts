import { Client } from 'pg';
import { ProbeMetric } from '../../contract';
import { openClient } from '../connection';
import { ConnectionSettings } from '../reconcile/types';
import {
  DATABASE_READINGS,
  DATABASES,
  FACTS,
  Reading,
  SERVER_READINGS,
  ServerFacts,
  STANDBY_READINGS,
} from './readings';

export interface ProbeOptions {
  /** A moment in milliseconds since 1970 after which no further database is visited. */
  readonly deadline: number;
  /** How many databases are visited at most, by name. */
  readonly mostDatabases: number;
  /** Milliseconds in which a server that starts or fails over is tried again. */
  readonly patience?: number;
}

export interface Finding {
  readonly reading: string;
  readonly database?: string;
  readonly found: unknown;
}

export interface Look {
  /** Of a server, its slots that are to survive a failover; of a standby that keeps these, those that it could go on with. Absent: not read. */
  readonly slots?: readonly string[];
  /** As the server has them; the counters among them since the statistics were reset. */
  readonly metrics: Partial<Record<ProbeMetric, number>>;
  readonly findings: readonly Finding[];
  /** Readings that the server refused or that took too long, by their name. */
  readonly failures: readonly { readonly reading: string; readonly database?: string; readonly problem: string }[];
  /** Which node answered, and since when it runs: a restart or another node counts anew. */
  readonly node: string;
}

/** The server must not notice the probe: nothing is written, no lock is waited for, and what takes long is given up. */
const GUARD = `
  SET default_transaction_read_only = on; SET statement_timeout = '10s'; SET lock_timeout = '1s';
  SET idle_in_transaction_session_timeout = '10s'; SET stats_fetch_consistency = 'none'`;

const NAME = 'cdk-postgres probe';

/** Looks at the server and at each database that the role may connect to, over one connection at a time. */
export async function probe(connection: ConnectionSettings, options: ProbeOptions): Promise<Look> {
  const look = new Collected(options.deadline);
  const first = await open(connection, options.patience);
  let names: string[];
  let facts: Facts;
  try {
    facts = await factsOf(first);
    await look.take(first, SERVER_READINGS, facts);
    names = (await first.query<{ name: string }>(DATABASES)).rows.map(({ name }) => name);
    const home = connection.database ?? 'postgres';
    if (names.includes(home)) await look.take(first, DATABASE_READINGS, facts, home);
    names = names.filter((name) => name !== home);
  } finally {
    await first.end().catch(() => undefined);
  }
  let visited = 0;
  for (const database of names.slice(0, options.mostDatabases)) {
    if (Date.now() > options.deadline) break;
    visited++;
    try {
      const client = await open({ ...connection, database });
      try {
        await look.take(client, DATABASE_READINGS, facts, database);
      } finally {
        await client.end().catch(() => undefined);
      }
    } catch (error) {
      // Dropped since it was listed: there is nothing left to look at.
      if ((error as { code?: string }).code === '3D000') continue;
      look.fail('connection', error, database);
    }
  }
  look.add('DatabasesNotVisited', names.length - visited);
  return look.of(facts);
}

/** What only a standby knows: whose queries replay has cancelled. Undefined: it is none. */
export async function probeStandby(connection: ConnectionSettings): Promise<Look | undefined> {
  const client = await open(connection, 0, true);
  try {
    const facts = await factsOf(client);
    if (!facts.standby) return undefined;
    const look = new Collected(Infinity);
    await look.take(client, STANDBY_READINGS, facts);
    return look.of(facts);
  } finally {
    await client.end().catch(() => undefined);
  }
}

/** The slots that a failover to the standby would lose. Undefined: that one was not read, or is to keep none. */
export function slotsNotSynced(server: Pick<Look, 'slots'>, standby: Pick<Look, 'slots'>): string[] | undefined {
  return standby.slots && server.slots?.filter((slot) => !standby.slots!.includes(slot));
}

type Facts = ServerFacts & { readonly node: string; readonly role: string; readonly monitors: boolean };

async function open(connection: ConnectionSettings, patience = 0, standby = false): Promise<Client> {
  const client = await openClient(connection, { applicationName: NAME, connectTimeout: 5_000, patience, standby });
  try {
    await client.query(GUARD);
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

async function factsOf(client: Client): Promise<Facts> {
  const [facts] = (await client.query<Facts>(FACTS)).rows;
  // Without the privilege the sessions of others are there, and all that is in them is NULL: everything would look fine.
  if (!facts.monitors) {
    throw new Error(
      `The role ${JSON.stringify(facts.role)} does not see the sessions of others, so that every server would look quiet to it: GRANT pg_monitor TO it`,
    );
  }
  return facts;
}

/** Numbers of several databases add up. */
class Collected {
  private readonly metrics = new Map<ProbeMetric, number>();
  private readonly findings: Finding[] = [];
  private slots?: readonly string[];
  private readonly failures: { reading: string; database?: string; problem: string }[] = [];

  constructor(private readonly deadline: number) {}

  async take(client: Client, readings: readonly Reading[], facts: ServerFacts, database?: string): Promise<void> {
    for (const reading of readings) {
      const sql = reading.sql(facts);
      if (sql === undefined) continue;
      try {
        if (Date.now() > this.deadline) throw new Error('the time of the function is over');
        const [{ findings, slots, ...numbers }] = (await client.query<Record<string, unknown>>(sql)).rows;
        for (const [name, value] of Object.entries(numbers)) this.add(name as ProbeMetric, Number(value));
        if (slots !== undefined) this.slots = slots as string[];
        for (const found of (findings ?? []) as unknown[])
          this.findings.push({ reading: reading.name, database, found });
      } catch (error) {
        this.fail(reading.name, error, database);
      }
    }
  }

  add(name: ProbeMetric, value: number): void {
    this.metrics.set(name, (this.metrics.get(name) ?? 0) + value);
  }

  fail(reading: string, error: unknown, database?: string): void {
    this.failures.push({ reading, database, problem: (error as Error).message });
  }

  of(facts: Facts): Look {
    this.add('ReadingsFailed', this.failures.length);
    return {
      metrics: Object.fromEntries(this.metrics),
      findings: this.findings,
      failures: this.failures,
      node: facts.node,
      ...(this.slots && { slots: this.slots }),
    };
  }
}
