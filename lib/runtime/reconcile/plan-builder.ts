import { DesiredState } from '../../contract';
import { Ledger, ledgerKey, LedgerObject, ManagedKind } from './ledger';
import { Holders } from './holders';
import { Grantee, Observed } from './observed';
import { Power } from './power';
import { hash } from './sql';
import { HeldBy, Plan, RefusedError, Risk, Statement, Step } from './types';

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
  'grants',
  'defaultPrivileges',
  'revokes',
  'schemaOwners',
  'databaseOwners',
  'narrowRoles',
  'disableRoles',
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
  /** Whose access the step concerns. A step that takes away runs unasked only if one of them is new, or declared before. */
  readonly subjects?: readonly Subject[];
  /** The previous declaration said what this step takes away, so its reader has seen it go. */
  readonly declaredBefore?: boolean;
  /** Why it cannot be run, whoever acknowledges it. */
  readonly impossible?: string;
  /** Who was given what it takes away. Absent: the role among the subjects. */
  readonly from?: Grantee;
}

interface Withholding {
  readonly reason: string;
  readonly acknowledgeable: boolean;
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
    private readonly adminDatabase: string,
    private readonly acknowledged: ReadonlySet<string>,
    readonly rehomed: boolean,
    private readonly rollback: boolean,
    toBeRead: boolean,
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

  refuse(problem: string): void {
    this.problems.push(problem);
  }

  /** The ledger's word on an object, or what it will be: created if it does not exist, adopted if it does. */
  standing(subject: Subject): 'new' | 'created' | 'adopted' {
    const known = this.ledgerObject(subject);
    if (known && known.state !== this.desired.name && !this.rehomed) return 'adopted';
    if (known) return known.origin === 'adopted' ? 'adopted' : known.established ? 'created' : 'new';
    return this.exists(subject) ? 'adopted' : 'new';
  }

  ledgerObject({ kind, name, database }: Subject): LedgerObject | undefined {
    return this.ledger.objects.get(ledgerKey(kind, name, database));
  }

  exists({ kind, name, database }: Subject): boolean {
    if (kind === 'role') return this.observed.roles.has(name);
    if (kind === 'database') return this.observed.databases.has(name);
    return this.observed.inside.get(database!)?.schemas.has(name) ?? false;
  }

  private withheldBecause(draft: Draft): Withholding | undefined {
    if (draft.impossible) return { reason: draft.impossible, acknowledgeable: false };
    if (draft.statements === undefined) {
      return {
        reason: `${this.power.user} has no power to do it: it can neither act as the owner nor grant itself that`,
        acknowledgeable: false,
      };
    }
    // What a rollback finds may be the work of the update that failed, and may be in use: it only brings back what is missing.
    if (this.rollback && (draft.risk === 'narrow' || draft.risk === 'destructive' || draft.phase === 'disableRoles'))
      return { reason: 'a rollback takes nothing away', acknowledgeable: false };
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
        .map(({ draft, step, because }) => ({ ...step, withheld: because!.reason, ...this.heldBy(draft) })),
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
      reason: draft.reason,
      statements,
      transactional: draft.transactional ?? true,
    };
  }
}
