import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { buildSync } from 'esbuild';
import { accessReport, observeAccessFacts } from '../lib/runtime/access';
import { openClient } from '../lib/runtime/connection';
import { reconcile, Report } from '../lib/runtime/reconcile';
import { Connections } from '../lib/runtime/reconcile/connections';
import { observeInside, observeServer } from '../lib/runtime/reconcile/observe';
import { Session } from '../lib/runtime/reconcile/session';
import { freshServer, TestServer } from '../test/support/postgres';
import { measurePoolerFigures, poolerProblem } from './pooler';
import { prepareProbe, probeOnce, readOnce } from './probe';
import { measureSynthesis } from './synthesis';
import { applyReference, prepareTables, tenants } from './tenants';

/** Prints one JSON document. Times are compared within one run only: a ratio says something on any machine, a millisecond does not. */

const TENANTS = 100;
const TABLES = 10;
const ROUNDS = 5;
const SCALE_ROUNDS = 3;
const say = (message: string) => process.stderr.write(`${message}\n`);

interface Round {
  readonly apply: number;
  readonly nothing: number;
  readonly connecting: number;
  readonly reference: number;
  readonly referenceInOneMessage: number;
  readonly first: Report;
  readonly second: Report;
}

async function timed<T>(body: () => Promise<T>): Promise<[T, number]> {
  const from = performance.now();
  const result = await body();
  return [result, performance.now() - from];
}

async function withServer<T>(body: (server: TestServer) => Promise<T>): Promise<T> {
  const server = await freshServer({ version: 18 });
  try {
    return await body(server);
  } finally {
    await server.stop();
  }
}

/** What no run can do without: a connection to each of the databases, at the same time. */
async function connectTo(server: TestServer, ...databases: string[]): Promise<void> {
  const connect = async (database: string) => (await openClient({ ...server.connection(), database })).end();
  await Promise.all(databases.map(connect));
}

async function applyRound(withTables: boolean): Promise<Round> {
  const prepare = (server: TestServer) => (withTables ? prepareTables(server, TENANTS, TABLES) : Promise.resolve());
  const desired = tenants(TENANTS);
  const mine = await withServer(async (server) => {
    await prepare(server);
    const [first, apply] = await timed(() => reconcile(desired, server.connection(), { mode: 'apply' }));
    const again: number[] = [];
    const connecting: number[] = [];
    let second = first;
    for (let n = 0; n < ROUNDS; n++) {
      const [report, elapsed] = await timed(() => reconcile(desired, server.connection(), { mode: 'apply' }));
      second = report;
      again.push(elapsed);
      connecting.push((await timed(() => connectTo(server, 'postgres', 'saas')))[1]);
    }
    return { first, apply, second, nothing: median(again), connecting: median(connecting) };
  });
  const byHand = (oneMessage: boolean) =>
    withServer(async (server) => {
      await prepare(server);
      const [, elapsed] = await timed(() => applyReference(server, TENANTS, withTables, oneMessage));
      // The reference counts only if it reaches the same catalog: then the plan against it is empty.
      const check = await reconcile(desired, server.connection(), { mode: 'plan' });
      if (check.plan.steps.length > 0)
        throw new Error(
          `the reference script leaves ${check.plan.steps.length} steps: ${check.plan.steps
            .slice(0, 3)
            .map((s) => `${s.object}: ${s.reason}`)
            .join('; ')}`,
        );
      return elapsed;
    });
  return { ...mine, reference: await byHand(false), referenceInOneMessage: await byHand(true) };
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

const round = (value: number, digits = 2) => Number(value.toFixed(digits));

async function measureApply(withTables: boolean) {
  const rounds: Round[] = [];
  for (let n = 0; n < ROUNDS; n++) {
    say(`apply, ${withTables ? 'tables present' : 'empty server'}, round ${n + 1} of ${ROUNDS}`);
    rounds.push(await applyRound(withTables));
  }
  const of = (pick: (r: Round) => number) => median(rounds.map(pick));
  return {
    firstApplyMs: round(
      of((r) => r.apply),
      0,
    ),
    referenceMs: round(
      of((r) => r.reference),
      0,
    ),
    referenceInOneMessageMs: round(
      of((r) => r.referenceInOneMessage),
      0,
    ),
    nothingToDoMs: round(
      of((r) => r.nothing),
      0,
    ),
    firstApplyToReference: limit(
      of((r) => r.apply / r.reference),
      1.5,
    ),
    firstApplyToReferenceInOneMessage: round(of((r) => r.apply / r.referenceInOneMessage)),
    nothingToDoToFirstApply: limit(
      of((r) => r.nothing / r.apply),
      0.1,
    ),
    writesWithNothingToDo: limit(Math.max(...rounds.map((r) => r.second.statements.writes)), 0),
    phasesOfFirstApplyMs: phases(rounds[0].first),
    // Where a connection is slow, a run with nothing to do is little else.
    nothingToDoToBareConnections: round(of((r) => r.nothing / r.connecting)),
    phasesOfNothingToDoMs: phases(rounds[0].second),
  };
}

function phases({ timings }: Report): Record<string, number> {
  return Object.fromEntries(Object.entries(timings).map(([phase, ms]) => [phase, round(ms, 0)]));
}

function limit(measured: number, atMost: number) {
  return { measured: round(measured, 3), atMost, met: measured <= atMost };
}

async function measureQueries() {
  const queries: Record<string, number> = {};
  for (const count of [1, 10, 100]) {
    await withServer(async (server) => {
      await reconcile(tenants(count), server.connection(), { mode: 'apply' });
      const second = await reconcile(tenants(count), server.connection(), { mode: 'apply' });
      queries[`${count} tenants`] = second.statements.reads;
    });
  }
  return { catalogQueriesWithNothingToDo: queries, same: limit(new Set(Object.values(queries)).size, 1) };
}

/** In a process of its own, from a bundle as the function has it: the loader of the benchmark itself would count otherwise. */
async function measureMemory() {
  say('memory: 1,000 roles, 10,000 tables');
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-bench-'));
  try {
    const bundle = path.join(directory, 'run.js');
    buildSync({
      entryPoints: [path.join(__dirname, 'memory-run.ts')],
      outfile: bundle,
      bundle: true,
      platform: 'node',
      target: 'node20',
      minify: true,
      external: ['pg-native'],
    });
    return await withServer(async (server) => {
      await prepareTables(server, 500, 20);
      const child = spawnSync(process.execPath, [bundle], {
        input: JSON.stringify({ state: tenants(500, true), connection: server.connection() }),
        encoding: 'utf8',
      });
      if (child.status !== 0) throw new Error(child.stderr);
      const { roles, tables, firstApplyMb, nothingToDoMb } = JSON.parse(child.stdout) as Record<string, number>;
      return { roles, tables, firstApplyMb: limit(firstApplyMb, 200), nothingToDoMb: limit(nothingToDoMb, 200) };
    });
  } finally {
    fs.rmSync(directory, { recursive: true });
  }
}

/** A pg_dump on the search path that can read the server, which a Debian or a developer's machine may have. */
function usablePgDump(version: number): boolean {
  const { stdout } = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' });
  return Number(/(\d+)/.exec(stdout ?? '')?.[1] ?? 0) >= version;
}

async function pgDump(server: TestServer): Promise<void> {
  const { user, password } = server.superuser;
  const args = ['--schema-only', '--file=/dev/null', `--host=${server.host}`, `--port=${server.port}`, 'saas'];
  const env = { ...process.env, PGUSER: user, PGPASSWORD: password };
  const child = spawn('pg_dump', args, { env, stdio: ['ignore', 'ignore', 'inherit'] });
  const code = await new Promise((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`pg_dump ended with ${code}`);
}

/**
 * 1,000 roles, 5,000 grants and 10,000 tables. The run with nothing to do against pg_dump of the same database, or where there is none
 * against full reads of the catalogs that it looks at.
 */
async function measureScale() {
  const desired = tenants(500, true);
  const grants = desired.databases[0].grants.length;
  const firstApply: number[] = [];
  for (let n = 0; n < SCALE_ROUNDS; n++) {
    say(`scale: ${desired.roles.length} roles, ${grants} grants, 10,000 tables, round ${n + 1} of ${SCALE_ROUNDS}`);
    const prepared = <T>(body: (server: TestServer) => Promise<T>) =>
      withServer(async (server) => {
        await prepareTables(server, 500, 20);
        return (await timed(() => body(server)))[1];
      });
    const reference = await prepared((server) => applyReference(server, 500, true, false, true));
    firstApply.push(
      (await prepared((server) => reconcile(desired, server.connection(), { mode: 'apply' }))) / reference,
    );
  }
  return withServer(async (server) => {
    await prepareTables(server, 500, 20);
    await applyReference(server, 500, true, false, true);
    const { plan } = await reconcile(desired, server.connection(), { mode: 'plan' });
    if (plan.steps.length > 0)
      throw new Error(`the reference script leaves ${plan.steps.length} steps: ${plan.steps[0].object}`);
    await reconcile(desired, server.connection(), { mode: 'apply' });
    const session = async (database: string) =>
      new Session(await server.connect({ database }), database, { reads: 0, writes: 0 });
    const [admin, inside] = [await session('postgres'), await session('saas')];
    const schemas = desired.databases[0].schemas.map(({ name }) => name);
    const withDump = usablePgDump(server.version);
    const times = { nothing: [] as number[], other: [] as number[], access: [] as number[] };
    for (let n = 0; n < ROUNDS; n++) {
      const spent = async (body: () => Promise<unknown>) => (await timed(body))[1];
      times.nothing.push(await spent(() => reconcile(desired, server.connection(), { mode: 'apply' })));
      times.other.push(
        await spent(async () => {
          if (withDump) return pgDump(server);
          await observeServer(admin);
          await observeInside(inside, schemas);
        }),
      );
      times.access.push(
        await spent(async () => {
          const connections = new Connections(server.connection(), 'postgres');
          try {
            accessReport(await observeAccessFacts(connections));
          } finally {
            await connections.close();
          }
        }),
      );
    }
    const ratios = (of: readonly number[], to: readonly number[]) => median(of.map((value, n) => value / to[n]));
    const nothingToOther = ratios(times.nothing, times.other);
    return {
      roles: desired.roles.length,
      grants,
      firstApplyToReference: limit(median(firstApply), 1.5),
      ...(withDump
        ? { nothingToDoToPgDump: limit(nothingToOther, 0.5) }
        : { nothingToDoToFullRead: limit(nothingToOther, 2) }),
      accessToNothingToDo: limit(ratios(times.access, times.nothing), 2),
      nothingToDoMs: round(median(times.nothing), 0),
      accessMs: round(median(times.access), 0),
    };
  });
}

/** A look of the probe against one sequential read of everything that it reads, connections and all on both sides. */
async function measureProbe() {
  const tables = 5000;
  say(`probe: ${tables} tables, each with a key and a sequence`);
  return withServer(async (server) => {
    await prepareProbe(server, tables);
    await probeOnce(server);
    await readOnce(server);
    const rounds: { look: number; read: number }[] = [];
    for (let n = 0; n < ROUNDS; n++) {
      const [, look] = await timed(() => probeOnce(server));
      const [, read] = await timed(() => readOnce(server));
      rounds.push({ look, read });
    }
    return {
      tables,
      lookMs: round(median(rounds.map(({ look }) => look)), 0),
      lookToOneRead: limit(median(rounds.map(({ look, read }) => look / read)), 2),
    };
  });
}

/** CP-14, CP-15: many clients over few server connections, by the image's own agent and configuration. */
async function measurePooler() {
  const problem = poolerProblem();
  if (problem !== undefined) return { skipped: problem };
  const figures = await measurePoolerFigures(say);
  const ratios = (of: readonly number[]) => median(of.map((value, n) => value / figures.direct[n]));
  return {
    clients: figures.clients,
    serverConnections: limit(figures.mostServerSessions, figures.serverConnections),
    refused: limit(figures.refused, 0),
    longestAnswerMs: limit(figures.longestAnswerMs, 10_000),
    withoutThePooler: figures.directlyRefused,
    statementsPerSecond: {
      direct20: round(median([...figures.direct]), 0),
      pooled20: round(median([...figures.pooledBy20]), 0),
      pooledAll: round(median([...figures.pooledByAll]), 0),
    },
    pooled20ToDirect20: atLeast(ratios(figures.pooledBy20), 0.6),
    pooledAllToDirect20: atLeast(ratios(figures.pooledByAll), 0.6),
  };
}

function atLeast(measured: number, least: number) {
  return { measured: round(measured, 3), atLeast: least, met: measured >= least };
}

function measureAssets() {
  const functions = path.join(__dirname, '..', 'assets', 'functions');
  const sizes = fs.readdirSync(functions).map((duty) => {
    const zipped = deflateRawSync(fs.readFileSync(path.join(functions, duty, 'index.js')), { level: 9 }).length;
    return [duty, limit(zipped / 1000, 300)];
  });
  return Object.fromEntries(sizes) as Record<string, unknown>;
}

function unmet(value: unknown, at: string): string[] {
  if (typeof value !== 'object' || value === null) return [];
  if ('met' in value) return value.met ? [] : [at];
  return Object.entries(value).flatMap(([key, inner]) => unmet(inner, at === '' ? key : `${at}.${key}`));
}

async function main() {
  // One part alone: `npm run bench scale`, `npm run bench pooler`.
  if (process.argv[2] === 'scale') {
    const result = { scale: await measureScale(), memory: await measureMemory() };
    process.stdout.write(`${JSON.stringify({ ...result, missed: unmet(result, '') }, null, 2)}\n`);
    return;
  }
  if (process.argv[2] === 'pooler') {
    const result = { pooler: await measurePooler() };
    process.stdout.write(`${JSON.stringify({ ...result, missed: unmet(result, '') }, null, 2)}\n`);
    return;
  }
  const result = {
    machine: { node: process.version, cores: os.cpus().length, cpu: os.cpus()[0].model },
    workload: `${TENANTS} tenants in one database of PostgreSQL 18; median of ${ROUNDS} rounds`,
    tablesPresent: await measureApply(true),
    emptyServer: await measureApply(false),
    ...(await measureQueries()),
    scale: await measureScale(),
    probe: await measureProbe(),
    pooler: await measurePooler(),
    memory: await measureMemory(),
    zippedFunctionKb: measureAssets(),
    template: measureSynthesis(),
  };
  const missed = unmet(result, '');
  process.stdout.write(`${JSON.stringify({ ...result, missed }, null, 2)}\n`);
  process.exitCode = missed.length > 0 ? 1 : 0;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
