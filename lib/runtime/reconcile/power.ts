import { isServerRole } from '../../contract';
import { Observed, ObservedMembership } from './observed';
import { ident } from './sql';
import { Statement } from './types';

/** The pseudo-role that owns schema public: its only member is whoever owns the database (PostgreSQL manual, "Predefined Roles"). */
export const DATABASE_OWNER_ROLE = 'pg_database_owner';

/**
 * What the connected role can do, read from the catalog and never guessed from a host name. Since PostgreSQL 16 a role made
 * by a CREATEROLE role gives its creator ADMIN alone: to act as the new role, the creator has to grant itself SET first.
 */
export class Power {
  readonly superuser: boolean;
  readonly createRole: boolean;
  readonly createDatabase: boolean;
  readonly replication: boolean;
  /** The plan is made to be read, by a role that could run nothing of it: it is the plan of one that can act as every owner. */
  readonly looksOnly: boolean;
  private readonly settable: Set<string>;
  private readonly administered: Set<string>;
  private readonly alterable: Set<string>;
  /** Whose privileges it has without SET ROLE; it itself is one of them. */
  private readonly inherited: Set<string>;

  constructor(
    private readonly observed: Pick<Observed, 'user' | 'roles' | 'memberships'>,
    toBeRead = false,
  ) {
    const self = observed.roles.get(observed.user);
    this.superuser = self?.superuser ?? false;
    this.looksOnly = toBeRead && !this.superuser && !self?.createRole && !self?.createDatabase;
    const all = this.superuser || this.looksOnly;
    this.createRole = all || (self?.createRole ?? false);
    this.createDatabase = all || (self?.createDatabase ?? false);
    this.replication = all || (self?.replication ?? false);
    this.settable = reachable(observed.memberships, observed.user, (m) => m.set);
    this.inherited = reachable(observed.memberships, observed.user, (m) => m.inherit).add(observed.user);
    const administeredBy = (holders: ReadonlySet<string>) =>
      new Set(observed.memberships.filter((m) => m.admin && holders.has(m.member)).map((m) => m.role));
    this.administered = administeredBy(this.inherited);
    this.alterable = administeredBy(reachable(observed.memberships, observed.user, () => true).add(observed.user));
  }

  get user(): string {
    return this.observed.user;
  }

  canSet(role: string): boolean {
    return this.superuser || this.looksOnly || role === this.user || this.settable.has(role);
  }

  /**
   * Whether the connected role may hand out membership in `role`, with itself or a role that it inherits from as the grantor. A role that the plan creates first counts, and so
   * does a role that the server brings: there the server decides, since Amazon RDS lets its master do what stock PostgreSQL refuses.
   */
  administers(role: string): boolean {
    return this.mayChange(role, this.administered);
  }

  /** Whether it may alter `role`: there PostgreSQL asks for ADMIN by way of any membership, one that is not inherited too. */
  alters(role: string): boolean {
    return this.mayChange(role, this.alterable);
  }

  private mayChange(role: string, among: ReadonlySet<string>): boolean {
    if (this.superuser || this.looksOnly || isServerRole(role)) return true;
    return this.observed.roles.has(role) ? this.createRole && among.has(role) : this.createRole;
  }

  /** Whether it has the privileges of `role` as it is, without SET ROLE. */
  inherits(role: string): boolean {
    return this.superuser || this.looksOnly || this.inherited.has(role);
  }

  /** Whether a GRANT of a role by the connected role can have this grantor: itself, or a role whose ADMIN it inherits. */
  grantsAs(grantor: string): boolean {
    if (this.superuser) return this.observed.roles.get(grantor)?.superuser ?? false;
    return this.inherited.has(grantor);
  }

  /** The statements turned into ones that `owner` runs, or undefined if the connected role has no way to act as it. */
  actAs(owner: string, statements: readonly Omit<Statement, 'as'>[], databaseOwner?: string): Statement[] | undefined {
    const actor = owner === DATABASE_OWNER_ROLE && databaseOwner !== undefined ? databaseOwner : owner;
    if (actor === this.user) return [...statements];
    if (this.canSet(actor) || this.willSet.has(actor))
      return statements.map((statement) => ({ ...statement, as: actor }));
    if (isServerRole(actor) || !this.administers(actor)) return undefined;
    const [before, after] = this.ownRow(actor)
      ? [
          `GRANT ${ident(actor)} TO CURRENT_USER WITH SET TRUE`,
          `REVOKE SET OPTION FOR ${ident(actor)} FROM CURRENT_USER`,
        ]
      : [
          `GRANT ${ident(actor)} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE`,
          `REVOKE ${ident(actor)} FROM CURRENT_USER`,
        ];
    return [{ sql: before }, ...statements.map((statement) => ({ ...statement, as: actor })), { sql: after }];
  }

  /** The statements run while the connected role inherits from `owner`: what SET ROLE cannot do, such as giving an object away. */
  inheriting(owner: string, statements: readonly Statement[]): Statement[] | undefined {
    if (this.superuser || this.looksOnly || this.inherited.has(owner)) return [...statements];
    if (!this.administers(owner) || isServerRole(owner)) return undefined;
    // A row of its own is left as it was; where the way to the owner is another one, none is left.
    const own = this.ownRow(owner);
    const sets = this.willSet.has(owner) || (own?.set ?? false);
    return [
      { sql: `GRANT ${ident(owner)} TO CURRENT_USER WITH INHERIT TRUE, SET TRUE` },
      ...statements,
      own || sets
        ? { sql: `GRANT ${ident(owner)} TO CURRENT_USER WITH INHERIT FALSE, SET ${sets ? 'TRUE' : 'FALSE'}` }
        : { sql: `REVOKE ${ident(owner)} FROM CURRENT_USER` },
    ];
  }

  /** Roles for which the plan makes a standing SET membership before anything else needs it. */
  readonly willSet = new Set<string>();

  private ownRow(role: string): ObservedMembership | undefined {
    return this.observed.memberships.find((m) => m.role === role && m.member === this.user && m.grantor === this.user);
  }
}

/** Every role that `from` reaches over memberships that `follow` accepts; `from` itself is not in it. */
export function reachable(
  memberships: readonly Pick<ObservedMembership, 'role' | 'member' | 'inherit' | 'set' | 'admin'>[],
  from: string,
  follow: (membership: Pick<ObservedMembership, 'inherit' | 'set' | 'admin'>) => boolean,
): Set<string> {
  const groups = new Map<string, string[]>();
  for (const m of memberships) {
    if (!follow(m)) continue;
    const known = groups.get(m.member);
    if (known) known.push(m.role);
    else groups.set(m.member, [m.role]);
  }
  const seen = new Set<string>();
  const queue = [from];
  for (let role = queue.pop(); role !== undefined; role = queue.pop()) {
    for (const group of groups.get(role) ?? []) {
      if (!seen.has(group)) {
        seen.add(group);
        queue.push(group);
      }
    }
  }
  return seen;
}
