import { DesiredState } from '../../contract';
import { openClient } from '../connection';
import { AnsweredError, approvalText, ConnectionSettings, heldByWords, reconcile, release, Report } from '../reconcile';
import { isRollback } from './rollback';
import { connectionSecrets, roleSecrets, SecretStore } from '../secrets';
import { connectionTo } from './admin-connection';
import { ResourceAnswer, ResourceRequest, RunLimits, serveCustomResource } from './cloudformation';
import { logLine, logMetrics } from './log';
import { KnownServer, readServerReference } from './server-reference';
import { loadState } from './state-document';

/** How long a server that starts, fails over or resumes is waited for. */
const PATIENCE_MS = 120_000;
/** Deleting a stack must not wait for a server that is gone already. */
const DELETE_PATIENCE_MS = 15_000;

/** The function of the state resource: takes the inside of a server to what is declared, and proves it. */
export const handler = serveCustomResource((request, limits) => applyState(request, limits, __dirname));

/** `directory` holds the certificates of RDS. */
export async function applyState(
  request: ResourceRequest,
  limits: RunLimits,
  directory: string,
): Promise<ResourceAnswer> {
  if (request.type === 'Delete') return deleteState(request, limits, directory);
  const { properties } = request;
  const server = readServerReference(properties.Server);
  const state = await loadState(properties);
  const physicalId = `cdk-postgres/${server.Identity}/${state.name}`.slice(0, 1000);
  if (properties.SkipReason !== undefined && properties.SkipReason !== '') {
    const reason = `LEFT ALONE, the database was not touched: ${String(properties.SkipReason).slice(0, 500)}`;
    logLine('skipped', { state: state.name, server: server.Identity, reason }, 'warn');
    return { physicalId, reason, data: { Outcome: 'skipped' } };
  }
  const store = new SecretStore();
  try {
    const connection = await connectionTo(server, store, directory);
    const report = await run(request, limits, server, state, connection, store);
    logReport(report, state, server);
    return { physicalId, data: summary(report), reason: approvalText(report) };
  } catch (error) {
    if (error instanceof AnsweredError) {
      const facts = {
        state: state.name,
        server: server.Identity,
        request: request.requestId,
        answered: error.status ?? 'late',
      };
      logLine('answered before', facts, 'warn');
      if (error.status === 'SUCCESS') return { physicalId, reason: error.message, data: { Outcome: 'answered' } };
      throw error;
    }
    logLine('failed', { state: state.name, server: server.Identity, problem: (error as Error).message }, 'error');
    throw error;
  } finally {
    store.destroy();
  }
}

async function run(
  request: ResourceRequest,
  limits: RunLimits,
  server: KnownServer,
  state: DesiredState,
  connection: ConnectionSettings,
  store: SecretStore,
): Promise<Report> {
  const first = await openClient(connection, {
    patience: Math.max(0, Math.min(PATIENCE_MS, limits.deadline - Date.now())),
    onRetry: (message) => logLine('waiting', { message }),
  });
  let rollback = false;
  try {
    if (request.type === 'Update') rollback = await isRollback(first, state, await previousState(request));
  } finally {
    await first.end();
  }
  const homes = asMap(request.properties.HomeDatabases);
  return reconcile(state, connection, {
    mode: 'apply',
    identity: server.Identity,
    identityBefore: asMap(request.oldProperties?.Server).Identity,
    holder: holderOf(request),
    request: { id: request.requestId, at: request.requestedAt },
    noteUnchanged: request.type !== 'Update' || rollback || request.requestedAt === undefined,
    deadline: limits.deadline,
    rollback,
    secrets: roleSecrets({
      store,
      arns: asMap(request.properties.Secrets),
      endpointOf: (role) => ({
        host: server.Host,
        readerHost: server.ReaderHost,
        port: server.Port,
        dbname: homes[role],
      }),
    }),
    connections: connectionSecrets(store, asMap(request.properties.ConnectionSecrets)),
    onProgress: (message) => logLine('progress', { message }),
  });
}

/**
 * Nothing in the database changes: its objects are retained, and only the ledger's claim on them ends, so that another state may declare them.
 * Succeeds whatever happens, since the server, its secret or the network may be gone with the same stack.
 */
async function deleteState(request: ResourceRequest, limits: RunLimits, directory: string): Promise<ResourceAnswer> {
  const physicalId = request.physicalId!;
  if (request.properties.SkipReason) return { physicalId, reason: 'the database was left alone' };
  const store = new SecretStore({ maxAttempts: 2 });
  try {
    const server = readServerReference(request.properties.Server);
    const state = await loadState(request.properties);
    const connection = await connectionTo(server, store, directory);
    const patience = Math.min(DELETE_PATIENCE_MS, limits.deadline - Date.now());
    const { requestId: id, requestedAt: at } = request;
    const released = release(state.name, connection, holderOf(request), server.Identity, { id, at });
    const outcome = await within(patience, released);
    logLine(outcome, { state: state.name, server: server.Identity });
  } catch (error) {
    const problem = (error as Error).message;
    logLine('not released', { physicalId, problem, consequence: 'everything stays in the database as it is' }, 'warn');
  } finally {
    store.destroy();
  }
  return { physicalId };
}

/** Undefined: a state that this version cannot read, or whose file is gone. */
async function previousState(request: ResourceRequest): Promise<DesiredState | undefined> {
  return loadState(request.oldProperties ?? {}).catch(() => undefined);
}

function holderOf(request: ResourceRequest): string {
  return `${request.stackId}/${request.logicalId}`;
}

function summary(report: Report): Record<string, string> {
  const { plan } = report;
  return {
    Outcome: report.outcome,
    Steps: String(plan.steps.length),
    Withheld: String(plan.withheld.length),
    ...(plan.hash === undefined ? {} : { PlanHash: plan.hash }),
    ...(report.rehomedFrom === undefined ? {} : { RehomedFrom: report.rehomedFrom }),
    ServerVersion: report.server.version,
  };
}

/** The plan step by step, since a line of CloudWatch Logs has an end. Statements hold no secret: verifiers are placeholders. */
function logReport(report: Report, state: DesiredState, server: KnownServer): void {
  const { plan, access, ...facts } = report;
  for (const step of plan.steps) logLine('step', { step });
  for (const step of plan.withheld)
    logLine('withheld', { step, heldBy: heldByWords(step, report.sessions), acknowledge: plan.hash }, 'warn');
  for (const note of plan.notes) logLine('note', { note });
  for (const row of access) logLine('access', { row });
  logLine('report', { state: state.name, ...facts, steps: plan.steps.length, withheld: plan.withheld.length });
  logMetrics(
    { Server: server.Identity, State: state.name },
    {
      Steps: plan.steps.length,
      Withheld: plan.withheld.length,
      ReadStatements: report.statements.reads,
      WriteStatements: report.statements.writes,
      RunMilliseconds: Math.round(Object.values(report.timings).reduce((sum, time) => sum + time, 0)),
    },
  );
}

function asMap(value: unknown): Record<string, string> {
  return typeof value === 'object' && value !== null ? (value as Record<string, string>) : {};
}

function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const over = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('the server did not answer in time')), Math.max(0, milliseconds));
  });
  work.catch(() => undefined);
  return Promise.race([work, over]).finally(() => clearTimeout(timer));
}
