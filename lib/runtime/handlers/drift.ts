import { DRIFT_MODE_VARIABLE, SERVER_VARIABLE, STATE_NAME_VARIABLE } from '../../contract';
import { openClient } from '../connection';
import {
  ConnectionSettings,
  countDrift,
  driftKind,
  lastApplied,
  LastApplied,
  Plan,
  reconcile,
  RefusedError,
} from '../reconcile';
import { SecretStore } from '../secrets';
import { connectionTo } from './admin-connection';
import { LambdaContext } from './cloudformation';
import { logLine, logMetrics } from './log';
import { readServerReference } from './server-reference';

/** Before its end the function has this long to say what it has found. */
const MARGIN_MS = 10_000;
const PATIENCE_MS = 60_000;

/** What the schedule is answered, for who calls the function by hand. */
export interface DriftAnswer {
  readonly drift: number;
  readonly added: number;
}

/**
 * The function of the schedule: compares the server with what was applied last, writes the difference to the log and its size to a
 * metric. It reads no secret but the administrator's. An error makes Lambda run it again, and the metric that is missing tells.
 */
export async function handler(_event: unknown, context: LambdaContext): Promise<DriftAnswer> {
  const deadline = Date.now() + context.getRemainingTimeInMillis() - MARGIN_MS;
  const server = readServerReference(JSON.parse(process.env[SERVER_VARIABLE] ?? '{}'));
  const state = process.env[STATE_NAME_VARIABLE] ?? '';
  const store = new SecretStore();
  try {
    const connection = await connectionTo(server, store, __dirname);
    const first = await openClient(connection, {
      patience: Math.max(0, Math.min(PATIENCE_MS, deadline - Date.now())),
      onRetry: (message) => logLine('waiting', { message }),
    });
    await first.end();
    const applied = await lastApplied(state, connection, deadline, (message) => logLine('waiting', { message }));
    if (!applied) {
      logLine(
        'never applied',
        { state, problem: 'the ledger of the server knows no declaration of this state' },
        'error',
      );
      report(server.Identity, state, { missing: 1, extra: 0, changed: 0, unmanageable: 0, unknown: 0, unlisted: 1 });
      return { drift: 1, added: 0 };
    }
    const added =
      process.env[DRIFT_MODE_VARIABLE] === 'enforce'
        ? await addMissing(applied, connection, server.Identity, deadline)
        : 0;
    const found = await compare(applied, connection, server.Identity);
    report(server.Identity, state, found);
    return { drift: found.unlisted, added };
  } catch (error) {
    logLine('failed', { state, server: server.Identity, problem: (error as Error).message }, 'error');
    throw error;
  } finally {
    store.destroy();
  }
}

/** A plan, and nothing else: every difference a line of the log. */
async function compare(applied: LastApplied, connection: ConnectionSettings, identity: string) {
  let plan: Plan = { steps: [], withheld: [], notes: [] };
  let refused: readonly string[] = [];
  try {
    plan = (await reconcile(applied.declaration, connection, { mode: 'plan', identity })).plan;
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    refused = error.problems;
  }
  for (const step of [...plan.steps, ...plan.withheld]) {
    const known = applied.listed.has(step.id);
    logLine('drift', { kind: driftKind(step), known, step, acknowledge: plan.hash }, known ? 'info' : 'warn');
  }
  for (const problem of refused) logLine('drift', { kind: 'unmanageable', known: false, problem }, 'warn');
  for (const note of plan.notes) logLine('note', { note });
  const counted = countDrift(plan, applied);
  return {
    ...counted,
    unmanageable: counted.unmanageable + refused.length,
    unlisted: counted.unlisted + refused.length,
  };
}

/** Brings back what is missing, under the run lock and in the ledger as a deployment does. How many steps that took. */
async function addMissing(
  { declaration }: LastApplied,
  connection: ConnectionSettings,
  identity: string,
  deadline: number,
): Promise<number> {
  try {
    const { plan } = await reconcile(declaration, connection, {
      mode: 'apply',
      identity,
      deadline,
      onlyAdd: true,
      onProgress: (message) => logLine('progress', { message }),
    });
    const steps = plan.steps;
    for (const step of steps) logLine('added', { step }, 'warn');
    return steps.length;
  } catch (error) {
    if (!(error instanceof RefusedError)) throw error;
    for (const problem of error.problems) logLine('not added', { problem }, 'warn');
    return 0;
  }
}

function report(server: string, state: string, drift: ReturnType<typeof countDrift>): void {
  logMetrics(
    { Server: server, State: state },
    {
      Drift: drift.unlisted,
      DriftMissing: drift.missing,
      DriftExtra: drift.extra,
      DriftChanged: drift.changed,
      DriftUnmanageable: drift.unmanageable,
      DriftUnknown: drift.unknown,
    },
  );
  logLine('report', { state, server, ...drift }, drift.unlisted > 0 ? 'warn' : 'info');
}
