import pRetry from 'p-retry';
import { requireVerifier } from '../secrets/scram';
import { CONNECTION_STATEMENT } from './publisher';
import { literal, VERIFIER_PLACEHOLDER } from './sql';
import { PreparedStatement, Session, StatementError, WarningError } from './session';
import { SecretSource, Step } from './types';

/** SQLSTATEs after which the same transaction can simply be tried again: other tools work on the same catalog rows without our lock. */
const RETRYABLE = new Set(['40001', '40P01', '55P03', '55006']);

export function isRetryable(error: { code?: string; message: string; constraint?: string }): boolean {
  if (error.code !== undefined && RETRYABLE.has(error.code)) return true;
  // An internal error, which is in English whatever the language of the server is.
  if (error.code === 'XX000') return /tuple concurrently (updated|deleted)/.test(error.message);
  return error.code === '23505' && /^pg_\w+_index$/.test(error.constraint ?? '');
}

/** SQLSTATEs of what another tool made or dropped after it was read: a run that begins anew sees it. */
const OVERTAKEN = new Set(['42710', '42P04', '42P06', '42704', '42P01', '42883', '3D000', '3F000']);

/** What was read is not so any more. */
export class OvertakenError extends Error {
  constructor(what: string) {
    super(`${what} has changed since it was read`);
    this.name = 'OvertakenError';
  }
}

export function isOvertaken(error: unknown): boolean {
  if (error instanceof OvertakenError) return true;
  return error instanceof StatementError && error.code !== undefined && OVERTAKEN.has(error.code);
}

/** Consecutive steps that share a transaction: those of one database, as far as PostgreSQL and the locks that they take allow it. */
export function groupSteps(steps: readonly Step[]): Step[][] {
  const groups: Step[][] = [];
  for (const step of steps) {
    const group = groups.at(-1);
    const shares = (one: Step) =>
      one.transactional && !one.alone && one.locks === undefined && one.database === step.database;
    if (group && shares(step) && shares(group[0])) group.push(step);
    else groups.push([step]);
  }
  return groups;
}

/** Runs one group; `within` takes part in its transaction, before its statements. */
export async function applyGroup(
  session: Session,
  group: readonly Step[],
  secrets: SecretSource | undefined,
  connectionOf: ((key: string) => Promise<string>) | undefined,
  within: () => Promise<void>,
): Promise<void> {
  const statements = await prepare(group, secrets, connectionOf);
  if (!group[0].transactional) {
    await retried(() => session.runAlone(statements));
    return;
  }
  if (group[0].locks !== undefined) {
    await applyLocking(session, group[0].locks, statements, within);
    return;
  }
  await retried(async () => {
    try {
      await session.transaction(async () => {
        await within();
        await session.run(statements, 'batch');
      });
    } catch (error) {
      if (!(error instanceof StatementError || error instanceof WarningError) || isRetryable(error)) throw error;
      if (error instanceof StatementError && error.code === undefined) throw error; // the connection itself
      // Once more, one by one: now the error names the statement.
      await session.transaction(async () => {
        await within();
        await session.run(statements, 'single');
      });
    }
  });
}

/** Everybody who comes after a waiting lock waits too, so it may wait for a moment only, and comes again. Source: reconciler case 94. */
const LOCK_TIMEOUT = '1s';

async function applyLocking(
  session: Session,
  { schema, name }: NonNullable<Step['locks']>,
  statements: readonly PreparedStatement[],
  within: () => Promise<void>,
): Promise<void> {
  try {
    await retried(() =>
      session.transaction(async () => {
        await within();
        await session.client.query(`SET LOCAL lock_timeout = '${LOCK_TIMEOUT}'`);
        await session.run(statements, 'single');
      }),
    );
  } catch (error) {
    if (!(error instanceof StatementError) || error.code !== '55P03') throw error;
    throw new Error(
      `${error.object ?? error.statement}: the table ${schema}.${name} of the database ${session.database} could not be locked: ${await holders(session, schema, name)}. Nothing of this table was changed; what came before it stays, and the next run does the rest`,
    );
  }
}

async function holders(session: Session, schema: string, name: string): Promise<string> {
  const rows = await session.read<{ pid: number; role: string | null; application: string; since: string | null }>(
    `SELECT DISTINCT l.pid, a.usename AS role, coalesce(a.application_name, '') AS application,
            to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"') AS since
     FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
     WHERE l.locktype = 'relation' AND l.granted AND l.pid <> pg_backend_pid() AND l.relation = (SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = $2)
       AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
     ORDER BY 4, 1 LIMIT 5`,
    [schema, name],
  );
  if (rows.length === 0) return 'who held it has just ended';
  const who = rows.map(({ pid, role, application, since }) => {
    const name = application === '' ? '' : ` (${application})`;
    return `process ${pid} of the role ${role ?? 'of a prepared transaction'}${name}${since === null ? '' : ` in a transaction since ${since}`}`;
  });
  return `${who.join(', ')} ${rows.length === 1 ? 'holds' : 'hold'} it`;
}

async function prepare(
  group: readonly Step[],
  secrets: SecretSource | undefined,
  connectionOf: ((key: string) => Promise<string>) | undefined,
): Promise<PreparedStatement[]> {
  const prepared: PreparedStatement[] = [];
  for (const step of group) {
    for (const statement of step.statements) {
      prepared.push({
        ...statement,
        object: step.object,
        ...(statement.connectionOf === undefined
          ? { text: statement.verifierOf === undefined ? statement.sql : await passwordStatement(statement, secrets) }
          : { text: CONNECTION_STATEMENT, params: [await connectionText(statement.connectionOf, connectionOf)] }),
      });
    }
  }
  return prepared;
}

async function connectionText(key: string, source: ((key: string) => Promise<string>) | undefined): Promise<string> {
  if (!source)
    throw new Error(
      `the subscription connects by the secret ${JSON.stringify(key)}, to which this run has no access: apply it by a deployment, or give the secrets`,
    );
  return source(key);
}

async function passwordStatement(
  statement: { sql: string; verifierOf?: string },
  secrets: SecretSource | undefined,
): Promise<string> {
  const role = statement.verifierOf!;
  if (!secrets)
    throw new Error(
      `the role ${JSON.stringify(role)} logs in by password, and this run has no access to its secret: apply it by a deployment, or give the secrets`,
    );
  const { verifier } = await secrets(role);
  // Cut off at the end, since a name in front of it may look like anything.
  const before = statement.sql.slice(0, -VERIFIER_PLACEHOLDER.length);
  return `${before}${literal(requireVerifier(verifier))}`;
}

async function retried(body: () => Promise<void>): Promise<void> {
  await pRetry(
    async () => {
      try {
        await body();
      } catch (error) {
        if (isRetryable(error as Error)) throw error;
        throw new pRetry.AbortError(error as Error);
      }
    },
    { retries: 6, minTimeout: 50, maxTimeout: 2_000, randomize: true },
  );
}
