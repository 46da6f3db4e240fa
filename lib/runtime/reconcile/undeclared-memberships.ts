import { declaredMemberships } from './iam';
import { ObservedMembership } from './observed';
import { PlanBuilder } from './plan-builder';
import { reachable } from './power';
import { Previous } from './previous';
import { ident } from './sql';

/** Memberships that somebody gave by hand: drift, which is named with its remedy. Only what this plan itself would bring about is refused. */

type Pair = Pick<ObservedMembership, 'role' | 'member'>;
type Way = Pick<ObservedMembership, 'role' | 'member' | 'inherit' | 'set' | 'admin'>;

export const membershipKey = ({ role, member }: Pair) => JSON.stringify([role, member]);

/** What is there and neither declared nor taken back by this plan, and what is declared. */
export function membershipsAfter(builder: PlanBuilder, previous: Previous) {
  const planned = declaredMemberships(builder.desired, builder.observed.roles);
  const pairs = new Set(planned.map(membershipKey));
  const declared = new Set(builder.desired.roles.map((role) => role.name));
  const byHand = builder.observed.memberships.filter(
    (m) => !pairs.has(membershipKey(m)) && !(declared.has(m.member) && previous.gaveMembership(m)),
  );
  return { planned, byHand };
}

/** The memberships by which `member` reaches `role`, from the member up; undefined: it does not. */
export function wayTo<M extends Way>(
  role: string,
  member: string,
  memberships: readonly M[],
  follows: (m: M) => boolean,
): M[] | undefined {
  const ways: [string, M[]][] = [[member, []]];
  const seen = new Set([member]);
  for (const [at, way] of ways) {
    for (const m of memberships) {
      if (m.member !== at || !follows(m) || seen.has(m.role)) continue;
      if (m.role === role) return [...way, m];
      seen.add(m.role);
      ways.push([m.role, [...way, m]]);
    }
  }
  return undefined;
}

/** ` through "a" and "b"`: the roles between both ends of a way. */
export const through = (way: readonly Pair[]) =>
  way.length === 1
    ? ''
    : ` through ${way
        .slice(0, -1)
        .map((m) => JSON.stringify(m.role))
        .join(' and ')}`;

export function revokeByHand({ role, member, grantor }: ObservedMembership): string {
  const grantedBy = grantor === '' ? '' : ` GRANTED BY ${ident(grantor)}`;
  return `somebody granted that by hand, and it is not declared: REVOKE ${ident(role)} FROM ${ident(member)}${grantedBy};`;
}

/** Since 16 each grantor's row is its own: a plain REVOKE leaves the rows of others, and says so in a warning only. */
export function byGrantor(builder: PlanBuilder, grantor: string, revoke: string) {
  const isSuperuser = builder.observed.roles.get(grantor)?.superuser ?? false;
  if (isSuperuser && !builder.power.superuser) return undefined;
  if (isSuperuser || grantor === '') return [{ sql: revoke }];
  return builder.power.actAs(grantor, [{ sql: `${revoke} GRANTED BY ${ident(grantor)}` }]);
}

/**
 * Notes what a membership given by hand does to a declared role, and shows it as drift. That of a declared role is a step of its own already;
 * a role that is declared nowhere is not this state's to change, so there it is shown and left.
 */
export function reportByHand(builder: PlanBuilder, m: ObservedMembership, problem: string): void {
  builder.notes.push(`${problem}; ${revokeByHand(m)}`);
  if (builder.desired.roles.some(({ name }) => name === m.member)) return;
  const object = `membership of ${m.member} in ${m.role}`;
  if (builder.isPlanned(object)) return;
  builder.add({
    phase: 'narrowRoles',
    risk: 'narrow',
    object,
    reason: `granted by ${m.grantor}, and a declared role has it through ${m.member}`,
    statements: byGrantor(builder, m.grantor, `REVOKE ${ident(m.role)} FROM ${ident(m.member)}`),
    subjects: [{ kind: 'role', name: m.member }],
    impossible: `the role ${m.member} is not declared, so it is left to those who made it: let them REVOKE it, or declare it`,
  });
}

/** Those of `roles` that `member` has the powers of, over memberships of any kind. */
export function powersOver(memberships: readonly Way[], member: string): Set<string> {
  return reachable(memberships, member, (m) => m.inherit || m.set || m.admin).add(member);
}
