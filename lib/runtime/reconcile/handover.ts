import { Connections } from './connections';
import { LEDGER_SCHEMA, LEDGER_VERSION, LedgerObject, readLedger, readLedgerHead } from './ledger';
import { lockServer } from './lock';
import { Session } from './session';
import { ManagedKind, ConnectionSettings, RefusedError } from './types';

/** What is handed over. A database comes with everything in it that the state manages. */
export interface HandoverSubject {
  readonly kind: 'role' | 'database' | 'schema';
  readonly name: string;
  /** Of a schema. */
  readonly database?: string;
}

export interface HandoverOptions {
  readonly from: string;
  readonly to: string;
  readonly subjects: readonly HandoverSubject[];
  /** Without it nothing is written. */
  readonly write?: boolean;
}

export interface HandoverReport {
  readonly outcome: 'planned' | 'handed over';
  readonly objects: readonly Pick<LedgerObject, 'kind' | 'database' | 'name' | 'origin'>[];
  readonly notes: readonly string[];
}

const LOCK_WAIT_MS = 60_000;

/**
 * Moves what one state manages to another, in the ledger alone: nothing in the server changes. What was made stays made, so that the
 * other state does not take it for somebody else's, and the first one does not disable it. It may come before either stack has been
 * deployed without and with the object, or in between: until the second one declares it, it is left as it is.
 */
export async function handover(connection: ConnectionSettings, options: HandoverOptions): Promise<HandoverReport> {
  const { from, to } = options;
  const connections = new Connections(connection, connection.database ?? 'postgres');
  try {
    const session = await connections.admin();
    await lockServer(session, Date.now() + LOCK_WAIT_MS, () => undefined);
    const head = await readLedgerHead(session, from);
    if (!head.exists) throw new RefusedError(['there is no ledger on this server: no state has been applied here']);
    if (head.unreadable) throw new RefusedError([head.unreadable]);
    if (head.version > LEDGER_VERSION) {
      throw new RefusedError([
        `the ledger on this server was written by a newer version of cdk-postgres (ledger ${head.version}, this code ${LEDGER_VERSION}): use that version`,
      ]);
    }
    const { objects } = await readLedger(session, from, head);
    const moved = choose([...objects.values()], options);
    const [{ known }] = await session.read<{ known: boolean }>(
      `SELECT EXISTS (SELECT FROM ${LEDGER_SCHEMA}.state WHERE name = $1) AS known`,
      [to],
    );
    const notes = known
      ? []
      : [
          `the state ${JSON.stringify(to)} has never been applied on this server: check the name, which is that of its stack unless stateName says otherwise`,
        ];
    if (options.write !== true) return { outcome: 'planned', objects: moved, notes };
    await session.transaction(() => move(session, moved, from, to));
    return { outcome: 'handed over', objects: moved, notes };
  } finally {
    await connections.close();
  }
}

function choose(objects: readonly LedgerObject[], { from, to, subjects }: HandoverOptions): LedgerObject[] {
  const own = objects.filter((object) => object.state === from);
  if (from === to) throw new RefusedError([`both states are ${JSON.stringify(from)}`]);
  if (own.length === 0) {
    const states = [...new Set(objects.map(({ state }) => JSON.stringify(state)))];
    throw new RefusedError([
      `the state ${JSON.stringify(from)} manages nothing on this server; there is ${states.join(', ') || 'no state that does'}`,
    ]);
  }
  const chosen = new Set<LedgerObject>();
  const problems: string[] = [];
  for (const { kind, name, database = '' } of subjects) {
    const found = own.find((object) => object.kind === kind && object.name === name && object.database === database);
    if (!found) {
      const other = objects.find(
        (object) => object.kind === kind && object.name === name && object.database === database,
      );
      problems.push(
        other
          ? `the ${describe(other)} is managed by the state ${JSON.stringify(other.state)}, and not by ${JSON.stringify(from)}`
          : `${JSON.stringify(from)} manages no ${kind} ${JSON.stringify(database === '' ? name : `${database}.${name}`)}; it manages ${listed(own, kind)}`,
      );
      continue;
    }
    chosen.add(found);
    if (kind === 'database') own.filter((object) => object.database === name).forEach((object) => chosen.add(object));
  }
  if (problems.length > 0) throw new RefusedError(problems);
  return objects.filter((object) => chosen.has(object));
}

function listed(own: readonly LedgerObject[], kind: ManagedKind): string {
  const names = own.filter((object) => object.kind === kind).map(describe);
  return names.length === 0 ? `no ${kind}` : `the ${names.join(', the ')}`;
}

function describe({ kind, name, database }: Pick<LedgerObject, 'kind' | 'name' | 'database'>): string {
  return `${kind} ${database === '' ? name : `${database}.${name}`}`;
}

/** Neither state is proven any more: each comes to see what it has and has not. */
async function move(session: Session, objects: readonly LedgerObject[], from: string, to: string): Promise<void> {
  await session.write(
    `UPDATE ${LEDGER_SCHEMA}.object o SET state = $3, removed_at = NULL, removed_by = NULL
     FROM jsonb_to_recordset($1::jsonb) AS m(kind text, database text, name text)
     WHERE (o.kind, o.database, o.name, o.state) = (m.kind, m.database, m.name, $2)`,
    [JSON.stringify(objects), from, to],
  );
  await session.write(`UPDATE ${LEDGER_SCHEMA}.state SET fingerprint = NULL, remaining = NULL WHERE name IN ($1, $2)`, [
    from,
    to,
  ]);
  const plan = objects.map((object) => ({
    object: describe(object),
    reason: `handed over from the state ${from}`,
    statements: [],
  }));
  await session.write(
    `INSERT INTO ${LEDGER_SCHEMA}.run (state, hash, outcome, finished_at, plan) VALUES ($1, 'handover', 'handed over', now(), $2)`,
    [to, JSON.stringify(plan)],
  );
}
