import * as fs from 'node:fs';
import * as path from 'node:path';
import { Client } from 'pg';
import { clusterProblem, rootFolder } from '../test/cluster/availability.js';
import { Setting } from '../test/cluster/setting';

const CLIENTS = 2000;
const SERVER_CONNECTIONS = 20;
const MAX_CONNECTIONS = 100;
const QUERY_WAIT_SECONDS = 10;
const ROUND_MS = 5_000;
const ROUNDS = 3;

export interface PoolerFigures {
  readonly clients: number;
  readonly serverConnections: number;
  /** Connections of which so many are refused with 53300, without the pooler. */
  readonly directlyRefused: { readonly tried: number; readonly refused: number };
  readonly refused: number;
  /** The longest that a client has waited for the answer to a statement. */
  readonly longestAnswerMs: number;
  readonly mostServerSessions: number;
  /** Statements in a second: of 20 direct connections, of 20 and of all clients through the pooler. */
  readonly direct: readonly number[];
  readonly pooledBy20: readonly number[];
  readonly pooledByAll: readonly number[];
}

/** Why PgBouncer is not at hand; undefined: it is. */
export function poolerProblem(): string | undefined {
  const problem = clusterProblem();
  if (problem !== undefined) return problem;
  if (fs.existsSync(path.join(rootFolder(), 'cdk-postgres-cluster'))) return undefined;
  return 'npm run test:cluster has not yet built the root folder with PgBouncer';
}

/** 2,000 clients over 20 server connections, and the same work on 20 connections of its own; TLS and SCRAM everywhere. */
export async function measurePoolerFigures(say: (message: string) => void): Promise<PoolerFigures> {
  const setting = await Setting.start({ max_connections: String(MAX_CONNECTIONS) });
  try {
    await setting.server.query(
      [
        'CREATE TABLE item (id int PRIMARY KEY, name text NOT NULL)',
        "INSERT INTO item SELECT n, 'item ' || n FROM generate_series(1, 100000) n",
        'GRANT SELECT ON item TO api',
      ],
      { database: 'app' },
    );
    const pooler = await setting.startPooler({
      databases: { app: { poolSize: SERVER_CONNECTIONS, maxConnections: SERVER_CONNECTIONS } },
      processes: 2,
      metrics: undefined,
      timeouts: { queryWait: QUERY_WAIT_SECONDS },
    });
    const direct = { port: setting.server.port, ssl: { ca: setting.server.ca! } };

    say(`pooler: ${MAX_CONNECTIONS + 50} connections without it`);
    const tried = MAX_CONNECTIONS + 50;
    const attempts = await connectAll(setting, direct, tried);
    const refusedDirectly = attempts.codes.filter((code) => code === '53300').length;
    await endAll(attempts.clients);

    say(`pooler: ${CLIENTS} clients`);
    const all = await connectAll(setting, { port: pooler.port }, CLIENTS);
    const own = await connectAll(setting, direct, SERVER_CONNECTIONS);
    const figures = { direct: [] as number[], pooledBy20: [] as number[], pooledByAll: [] as number[] };
    let longest = 0;
    let failed = all.codes.length + own.codes.length;
    let sessions = 0;
    const work = async (clients: readonly Client[]) => {
      const result = await statementsPerSecond(clients, ROUND_MS);
      failed += result.failed;
      return result;
    };
    for (let round = 0; round < ROUNDS; round++) {
      say(`pooler: round ${round + 1} of ${ROUNDS}`);
      figures.direct.push((await work(own.clients)).perSecond);
      figures.pooledBy20.push((await work(all.clients.slice(0, SERVER_CONNECTIONS))).perSecond);
      const busy = work(all.clients);
      await new Promise((resolve) => setTimeout(resolve, ROUND_MS / 2));
      sessions = Math.max(sessions, (await setting.sessions()) - own.clients.length);
      const result = await busy;
      figures.pooledByAll.push(result.perSecond);
      longest = Math.max(longest, result.longestMs);
    }
    await endAll([...all.clients, ...own.clients]);
    return {
      clients: CLIENTS,
      serverConnections: SERVER_CONNECTIONS,
      directlyRefused: { tried, refused: refusedDirectly },
      refused: failed,
      longestAnswerMs: longest,
      mostServerSessions: sessions,
      ...figures,
    };
  } finally {
    await setting.stop();
  }
}

async function connectAll(setting: Setting, to: { port: number; ssl?: { ca: string } }, count: number) {
  const clients: Client[] = [];
  const codes: string[] = [];
  let started = 0;
  // As many at a time as a fleet of services that starts would send.
  await Promise.all(
    Array.from({ length: 50 }, async () => {
      while (started++ < count) {
        try {
          clients.push(await setting.connect(to.port, to.ssl ? { ssl: to.ssl } : {}));
        } catch (error) {
          codes.push((error as { code?: string }).code ?? (error as Error).message);
        }
      }
    }),
  );
  return { clients, codes };
}

async function endAll(clients: readonly Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.end().catch(() => undefined)));
}

async function statementsPerSecond(clients: readonly Client[], milliseconds: number) {
  const from = performance.now();
  let count = 0;
  let failed = 0;
  let longestMs = 0;
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() - from < milliseconds) {
        const sent = performance.now();
        try {
          await client.query({
            name: 'item',
            text: 'SELECT name FROM item WHERE id = $1',
            values: [1 + Math.floor(Math.random() * 100_000)],
          });
          count++;
        } catch {
          failed++;
          return;
        } finally {
          longestMs = Math.max(longestMs, performance.now() - sent);
        }
      }
    }),
  );
  return { perSecond: (count / (performance.now() - from)) * 1000, failed, longestMs };
}
