import { PROBE_DATABASES_VARIABLE, PROBE_SECRET_VARIABLE, SERVER_VARIABLE } from '../../contract';
import { CounterMemory, Look, probe, probeStandby, slotsNotSynced } from '../probe';
import { ConnectionSettings } from '../reconcile/types';
import { readSecret, SecretStore } from '../secrets';
import { LambdaContext } from './cloudformation';
import { logLine, logMetrics } from './log';
import { KnownServer, readServerReference, trustedRoots } from './server-reference';

/** Before its end the function has this long to say what it has found. */
const MARGIN_MS = 15_000;
const PATIENCE_MS = 10_000;

/** What who calls the function by hand is told. */
export interface ProbeAnswer {
  readonly failed: boolean;
  readonly metrics: Look['metrics'];
}

/** Of this process: Lambda keeps it from look to look. */
const counters = new CounterMemory();

/**
 * The function of the schedule: looks at the server as a role that reads statistics and no data, and writes metrics and what is behind
 * them to the log. It never throws: that it could not look is a metric, and the next look comes soon.
 */
export async function handler(_event: unknown, context: LambdaContext): Promise<ProbeAnswer> {
  const from = Date.now();
  const deadline = from + context.getRemainingTimeInMillis() - MARGIN_MS;
  const store = new SecretStore();
  let server: KnownServer | undefined;
  try {
    server = readServerReference(JSON.parse(process.env[SERVER_VARIABLE] ?? '{}'));
    const secret = process.env[PROBE_SECRET_VARIABLE] ?? '';
    const looked = await withLogin(server, store, secret, (connection) =>
      probe(connection, {
        deadline,
        mostDatabases: Number(process.env[PROBE_DATABASES_VARIABLE] ?? 50),
        patience: Math.max(0, Math.min(PATIENCE_MS, deadline - Date.now())),
      }),
    );
    report(looked);
    const metrics = { ...counters.since(looked.node, looked.metrics) };
    // What was found is said in any case; a look at the reader would go beyond the end of the function.
    const standby = Date.now() < deadline ? await lookAtReader(server, store, secret) : undefined;
    // A primary cancels nothing for a replay, so where there is a reader its numbers are the server's.
    if (standby)
      metrics.CancelledByReplay = (metrics.CancelledByReplay ?? 0) + (standby.metrics.CancelledByReplay ?? 0);
    const missing = standby && slotsNotSynced(looked, standby);
    if (missing) {
      metrics.FailoverSlotsNotSynced = missing.length;
      for (const slot of missing) logLine('slot not synced', { slot, reader: server.ReaderHost }, 'warn');
    }
    const all = { ...metrics, ProbeFailed: 0, ProbeMilliseconds: Date.now() - from };
    logMetrics({ Server: server.Identity }, all);
    return { failed: false, metrics: all };
  } catch (error) {
    logLine('failed', { server: server?.Identity, problem: (error as Error).message }, 'error');
    const all = { ProbeFailed: 1 };
    if (server) logMetrics({ Server: server.Identity }, all);
    return { failed: true, metrics: all };
  } finally {
    store.destroy();
  }
}

/** Behind a reader's name there may be another node each time, or the primary where there is none. That it does not answer is no failure of the server. */
async function lookAtReader(
  server: KnownServer,
  store: SecretStore,
  secret: string,
): Promise<Pick<Look, 'metrics' | 'slots'> | undefined> {
  if (server.ReaderHost === undefined) return undefined;
  try {
    const looked = await withLogin({ ...server, Host: server.ReaderHost }, store, secret, probeStandby);
    if (!looked) return undefined;
    for (const { reading, found } of looked.findings)
      if (reading === 'syncedSlots') logLine(reading, { found }, 'warn');
    return { slots: looked.slots, metrics: counters.since(looked.node, looked.metrics) };
  } catch (error) {
    logLine('reader not read', { reader: server.ReaderHost, problem: (error as Error).message }, 'warn');
    return undefined;
  }
}

/** A rotation may end between the secret and the login; then the secret is read again, once. */
async function withLogin<T>(
  server: KnownServer,
  store: SecretStore,
  secret: string,
  work: (connection: ConnectionSettings) => Promise<T>,
): Promise<T> {
  for (let again = true; ; again = false) {
    const { text } = await store.get(secret);
    const { username: user, password } = readSecret(secret, text);
    try {
      return await work({
        host: server.Host,
        port: server.Port,
        user,
        password,
        database: server.AdminDatabase,
        ca: trustedRoots(server.Trust, __dirname),
      });
    } catch (error) {
      if (!again || (error as { code?: string }).code !== '28P01') throw error;
    }
  }
}

function report(look: Look): void {
  for (const { reading, database, found } of look.findings) logLine(reading, { database, found }, 'warn');
  for (const failure of look.failures) logLine('not read', failure, 'warn');
  const notVisited = look.metrics.DatabasesNotVisited ?? 0;
  if (notVisited > 0) logLine('databases not visited', { count: notVisited }, 'warn');
}
