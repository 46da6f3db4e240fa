import { Reachability } from '../access/ways';
import { Grantee, Observed, PUBLIC } from './observed';
import { HeldBy, Holder, Plan } from './types';

/** More than this nobody reads; the number says how many there are. */
const MOST_HOLDERS = 20;

/** Who holds what was given to a role: itself, and whoever reaches it over memberships. */
export class Holders {
  private readonly reachability: Reachability;

  constructor(private readonly observed: Observed) {
    this.reachability = new Reachability(observed);
  }

  of(grantee: Grantee): HeldBy {
    if (grantee === PUBLIC) return { roles: [{ role: 'PUBLIC', login: false, path: ['PUBLIC'] }], count: 1 };
    const all = [...this.reachability.to(grantee)].map(([role, reach]): Holder => ({
      role,
      login: this.observed.roles.get(role)?.login ?? false,
      ...reach,
    }));
    all.sort((a, b) => Number(b.login) - Number(a.login) || (a.role < b.role ? -1 : 1));
    return { roles: all.slice(0, MOST_HOLDERS), count: all.length };
  }
}

/** The roles whose sessions would notice the withheld steps. */
export function holdersOf(plan: Plan): string[] {
  return [...new Set(plan.withheld.flatMap((step) => step.heldBy?.roles.map(({ role }) => role) ?? []))];
}
