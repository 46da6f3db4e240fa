import { DesiredState } from '../../contract';
import { Ledger, ledgerKey, LedgerObject } from './ledger';
import { Holders } from './holders';
import { exists, Grantee, Observed } from './observed';
import { Power } from './power';
import { hash } from './sql';
import { ManagedKind, HeldBy, Plan, RefusedError, Risk, Statement, Step } from './types';

/**
 * Steps run in this order, so that every prefix of a plan is safe: create before grant, grant before revoke, revoke before disable.
 * An owner changes after the privileges on what it owns, since those are given and taken by whom the catalog names as owner now.
 */
export const PHASES = [
  'createRoles',
  'memberships',
  'createDatabases',
  'databases',
  'schemas',
  'isolation',
  'extensions',
  'comments',
  'grants',
  'defaultPrivileges',
  // What a publication needs of a table comes before it, and both before anything is taken from those who make them.
  'replicaIdentities',
  'publications',
  'revokes',
  'schemaRevokes',
  'schemaOwners',
  // Who gives a schema away may have CREATE on the database up to then, and has it from the owner that the database has up to then.
  'databaseRevokes',
  'databaseOwners',
  'narrowRoles',
  'disableRoles',
  // At the end, since it cannot share a transaction.
  'slots',
  'subscriptions',
  'subscriptionStarts',
  'drops',
] as const;
export type Phase = (typeof PHASES)[number];

export interface Subject {
  readonly kind: ManagedKind;
  readonly name: string;
  readonly database?: string;
}

export interface Draft {
  readonly phase: Phase;
  /** Absent: the admin database. */
  readonly database?: string;
  readonly risk: Risk;
  readonly object: string;
  readonly reason: string;
  /** Undefined: the connected role has no power to do it. */
  readonly statements: readonly Statement[] | undefined;
  readonly transactional?: boolean;
  readonly locks?: Step['locks'];
  readonly alone?: boolean;
  /** Whose access the step concerns. A step that takes away runs unasked only if one of them is new, or declared before. */
  readonly subjects?: readonly Subject[];
  /** The previous declaration said what this step takes away, so its reader has seen it go. */
  readonly declaredBefore?: boolean;
  /** Why it waits for an acknowledgement, whoever declared what before. */
  readonly asks?: string;
  /** Why it cannot be run, whoever acknowledges it. */
  readonly impossible?: string;
  /** More of the reason, which changes from day to day, such as a size: it is shown, and an acknowledgement does not cover it. */
  readonly detail?: string;
  /** Who was given what it takes away. Absent: the role among the subjects. */
  readonly from?: Grantee;
}

interface Withholding {
  readonly reason: string;
  readonly acknowledgeable: boolean;
  readonly impossible?: boolean;
}

/** Collects steps and decides which of them run. */
export class PlanBuilder {
  readonly power: Power;
  readonly problems: string[] = [];
  readonly notes: string[] = [];
  private readonly drafts: Draft[] = [];
  private holders?: Holders;

  constructor(
    readonly desired: DesiredState,
    readonly observed: Observed,
    readonly ledger: Ledger,
    readonly adminDatabase: string,
    private readonly acknowledged: ReadonlySet<string>,
    readonly rehomed: boolean,
    readonly rollback: boolean,
    readonly toBeRead: boolean,
    private readonly onlyAdd: boolean,
  ) {
    this.power = new Power(observed, toBeRead);
    if (this.power.looksOnly) {
      this.notes.push(
        `${this.power.user} can only look: the plan is that of a role that can act as every owner, and who applies it may have to say more`,
      );
    }
  }

  add(draft: Draft): void {
    if (draft.statements === undefined || draft.statements.length > 0) this.drafts.push(draft);
  }

  /** Whether a step for this object is there already. */
  isPlanned(object: string): boolean {
    return this.drafts.some((draft) => draft.object === object);
  }

  refuse(problem: string): void {
    this.problems.push(problem);
  }

  /** The ledger's word on an object, or what it will be: created if it does not exist, adopted if it does. */
  standing(subject: Subject): 'new' | 'created' | 'adopted' {
    const known = this.ledgerObject(subject);
    // What was dropped behind our back is made anew.
    if (known && !this.exists(subject)) return 'new';
    if (known && known.state !== this.desired.name && !this.rehomed) return 'adopted';
    if (known) return known.origin === 'adopted' ? 'adopted' : known.established ? 'created' : 'new';
    return this.exists(subject) ? 'adopted' : 'new';
  }

  ledgerObject({ kind, name, database }: Subject): LedgerObject | undefined {
    return this.ledger.objects.get(ledgerKey(kind, name, database));
  }

  exists(subject: Subject): boolean {
    return exists(this.observed, subject);
  }

  private withheldBecause(draft: Draft): Withholding | undefined {
    if (draft.impossible) return { reason: draft.impossible, acknowledgeable: false, impossible: true };
    if (draft.statements === undefined) {
      return {
        reason: `${this.power.user} has no power to do it: it can neither act as the owner nor grant itself that`,
        acknowledgeable: false,
        impossible: true,
      };
    }
    const sets = draft.statements.some(({ verifierOf }) => verifierOf !== undefined);
    if (this.onlyAdd && (sets || (draft.risk !== 'add' && draft.risk !== 'widen')))
      return { reason: 'this run only adds; the next deployment does it', acknowledgeable: false };
    // What a rollback finds may be the work of the update that failed, and may be in use: it only brings back what is missing.
    if (this.rollback && (draft.risk === 'narrow' || draft.risk === 'destructive' || draft.phase === 'disableRoles'))
      return { reason: 'a rollback takes nothing away', acknowledgeable: draft.risk === 'narrow' };
    if (draft.asks !== undefined) return { reason: draft.asks, acknowledgeable: true };
    if (draft.risk === 'destructive')
      return { reason: 'it cannot be undone, and runs only when it is acknowledged', acknowledgeable: true };
    if (draft.risk === 'add' || draft.risk === 'widen' || draft.declaredBefore) return undefined;
    const standings = (draft.subjects ?? []).map((subject) => this.standing(subject));
    if (standings.includes('new')) return undefined;
    if (standings.length === 0 || standings.includes('adopted')) {
      return {
        reason: 'it was there before this state declared it, and nothing is taken from it unasked',
        acknowledgeable: true,
      };
    }
    if (this.desired.profile === 'development') return undefined;
    return {
      reason: 'production takes nothing away that the previous declaration did not give, unless it is acknowledged',
      acknowledgeable: true,
    };
  }

  build(): Plan {
    if (this.problems.length > 0) throw new RefusedError([...new Set(this.problems)]);
    const order = new Map(PHASES.map((phase, at) => [phase, at]));
    const drafts = [...this.drafts].sort((a, b) => order.get(a.phase)! - order.get(b.phase)!);
    const entries = drafts.map((draft) => ({ draft, step: this.step(draft), because: this.withheldBecause(draft) }));
    const waiting = entries.filter(({ because }) => because?.acknowledgeable).map(({ step }) => step.id);
    const planHash = waiting.length > 0 ? hash(waiting.sort(), 16) : undefined;
    const acknowledged = planHash !== undefined && this.acknowledged.has(planHash);
    const runs = (because: Withholding | undefined) =>
      because === undefined || (acknowledged && because.acknowledgeable);
    return {
      steps: entries.filter(({ because }) => runs(because)).map(({ step }) => step),
      withheld: entries
        .filter(({ because }) => !runs(because))
        .map(({ draft, step, because }) => ({
          ...step,
          withheld: because!.reason,
          ...(because!.impossible ? { impossible: true } : {}),
          ...this.heldBy(draft),
        })),
      hash: acknowledged ? undefined : planHash,
      notes: acknowledged ? [...this.notes, `the withheld steps run, since ${planHash} is acknowledged`] : this.notes,
    };
  }

  private heldBy(draft: Draft): { heldBy?: HeldBy } {
    if (draft.risk === 'add' || draft.risk === 'widen') return {};
    const from = draft.from === undefined ? draft.subjects?.find(({ kind }) => kind === 'role')?.name : draft.from;
    if (from === undefined) return {};
    this.holders ??= new Holders(this.observed);
    return { heldBy: this.holders.of(from) };
  }

  private step(draft: Draft): Step {
    const database = draft.database ?? this.adminDatabase;
    const statements = draft.statements ?? [];
    return {
      // Not who runs it: a plan has the same hash for everybody who may look at it.
      id: hash([database, draft.object, draft.reason, statements.map(({ sql }) => sql)], 12),
      database,
      risk: draft.risk,
      object: draft.object,
      reason: draft.detail === undefined ? draft.reason : `${draft.reason}; ${draft.detail}`,
      statements,
      transactional: draft.transactional ?? true,
      ...(draft.locks && { locks: draft.locks }),
      ...(draft.alone && { alone: true }),
    };
  }
}
