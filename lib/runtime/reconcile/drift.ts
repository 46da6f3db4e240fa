import { DesiredState } from '../../contract';
import { Connections } from './connections';
import { readLedger, readLedgerHead } from './ledger';
import { lockServer } from './lock';
import { ConnectionSettings, Plan, RefusedError, Step } from './types';

/** How far a server is from its declaration, by what kind of difference it is. Source: reconciler case 119. */
export interface Drift {
  /** Declared, and not there. */
  readonly missing: number;
  /** There, and not declared. */
  readonly extra: number;
  /** There, and other than declared. */
  readonly changed: number;
  /** A difference that the connected role has no power over. */
  readonly unmanageable: number;
  /** What nobody can read: whether a password is the one in its secret. */
  readonly unknown: number;
  /** Those differences that the last deployment did not leave and list itself. */
  readonly unlisted: number;
}

/** What was applied last, as the ledger has it. */
export interface LastApplied {
  readonly declaration: DesiredState;
  /** The ids of the steps that its last run listed as withheld. */
  readonly listed: ReadonlySet<string>;
}

/** The declaration that this state has come to the end of last; undefined: none, or its ledger is gone. */
export async function lastApplied(
  stateName: string,
  connection: ConnectionSettings,
  deadline: number,
  onWait: (message: string) => void,
): Promise<LastApplied | undefined> {
  const connections = new Connections(connection, connection.database ?? 'postgres');
  try {
    const session = await connections.admin();
    // In the middle of another run everything would look like drift: this waits until it has ended.
    await lockServer(session, deadline, onWait);
    const head = await readLedgerHead(session, stateName);
    if (head.unreadable) throw new RefusedError([head.unreadable]);
    const { previous, proven } = await readLedger(session, stateName, head);
    if (!previous) return undefined;
    return { declaration: previous, listed: new Set((proven?.remaining.withheld ?? []).map(({ id }) => id)) };
  } finally {
    await connections.close();
  }
}

export type DriftKind = 'missing' | 'extra' | 'changed' | 'unmanageable';

export function driftKind(step: Step): DriftKind {
  if (step.impossible) return 'unmanageable';
  if (step.risk === 'add') return 'missing';
  return step.risk === 'narrow' ? 'extra' : 'changed';
}

/** Counts what a plan would change. Without the secrets of the roles, every password is unknown. */
export function countDrift(plan: Plan, { declaration, listed }: LastApplied): Drift {
  const steps = [...plan.steps, ...plan.withheld];
  const of = (kind: DriftKind) => steps.filter((step) => driftKind(step) === kind).length;
  return {
    missing: of('missing'),
    extra: of('extra'),
    changed: of('changed'),
    unmanageable: of('unmanageable'),
    unknown: declaration.roles.filter(({ authentication }) => authentication === 'password').length,
    unlisted: steps.filter(({ id }) => !listed.has(id)).length,
  };
}
