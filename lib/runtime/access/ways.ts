import { DATABASE_OWNER_ROLE } from '../reconcile/power';
import { ObservedMembership } from '../reconcile/observed';

/** How a role comes to what somebody was given. */
export interface Reach {
  /** From the role to whom it was given, one membership after the other; a role that was given it itself is alone in there. */
  readonly path: readonly string[];
  /** Where a membership on the way is not inherited: the role of the path that a session has to SET ROLE to first. */
  readonly setRole?: string;
}

type Edge = Omit<ObservedMembership, 'grantor'>;

interface Graph {
  readonly roles: ReadonlyMap<string, { readonly superuser: boolean }>;
  readonly memberships: readonly Edge[];
}

/** Who reaches whom in one database: its owner is the only member of pg_database_owner, and of nobody else's. */
export class Reachability {
  private readonly members = new Map<string, Edge[]>();
  private readonly known = new Map<string, ReadonlyMap<string, Reach>>();

  constructor(
    private readonly facts: Graph,
    databaseOwner?: string,
  ) {
    const implicit =
      databaseOwner === undefined
        ? []
        : [{ role: DATABASE_OWNER_ROLE, member: databaseOwner, inherit: true, set: true, admin: false }];
    for (const edge of [...facts.memberships, ...implicit]) {
      const rows = this.members.get(edge.role);
      if (rows) rows.push(edge);
      else this.members.set(edge.role, [edge]);
    }
  }

  /**
   * Everybody who has what was given to `role`: itself, those who inherit it, and those who get it by SET ROLE. Of several ways to
   * the same role the shortest one. Superusers need no way, and are left out where they only have one by a membership.
   */
  to(role: string): ReadonlyMap<string, Reach> {
    const known = this.known.get(role);
    if (known) return known;
    const reached = new Map<string, Reach>([[role, { path: [role] }]]);
    this.spread(reached, [role], (edge) => edge.inherit, undefined);
    // Whoever may SET ROLE to one of these has it then; SET goes on over memberships that have the option, and over no others.
    const inheriting = [...reached.keys()];
    for (const target of inheriting) this.spread(reached, [target], (edge) => edge.set, target);
    this.known.set(role, reached);
    return reached;
  }

  private spread(
    reached: Map<string, Reach>,
    from: readonly string[],
    follows: (edge: Edge) => boolean,
    setRole: string | undefined,
  ): void {
    const queue = from.map((role) => ({ role, path: reached.get(role)!.path }));
    const seen = new Set(from);
    for (const { role, path } of queue) {
      for (const edge of this.members.get(role) ?? []) {
        const { member } = edge;
        if (!follows(edge) || seen.has(member)) continue;
        seen.add(member);
        const reach = { path: [member, ...path], ...(setRole === undefined ? {} : { setRole }) };
        if (!reached.has(member) && !this.facts.roles.get(member)?.superuser) reached.set(member, reach);
        queue.push({ role: member, path: reach.path });
      }
    }
  }
}
