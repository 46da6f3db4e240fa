import { IAM_ROLE } from './iam';
import { ObservedMembership } from './observed';
import { PlanBuilder } from './plan-builder';
import { reachable } from './power';
import { Previous } from './previous';
import { membershipKey, membershipsAfter, reportByHand, revokeByHand, through, wayTo } from './undeclared-memberships';

/** Amazon RDS looks at inherited membership; pg_hba's "+rds_iam" on a stock server at any. */
const followed = (builder: PlanBuilder) =>
  builder.observed.flavour === 'rds' ? (m: { inherit: boolean }) => m.inherit : () => true;

/** Whether the role logs in by IAM token alone, because of what somebody granted by hand and this plan leaves. */
export function isIamByHand(builder: PlanBuilder, previous: Previous, role: string): boolean {
  const { planned, byHand } = membershipsAfter(builder, previous);
  const there = new Set(builder.observed.memberships.map(membershipKey));
  const stays = [...byHand, ...planned.filter((m) => there.has(membershipKey(m)))];
  return wayTo(IAM_ROLE, role, stays, followed(builder)) !== undefined;
}

/** `rds_iam` makes whoever reaches it by inheritance unable to log in by password, so nobody who logs in without it may. */
export function guardIam(builder: PlanBuilder, previous: Previous): void {
  if (!builder.observed.roles.has(IAM_ROLE)) return;
  const { planned, byHand: kept } = membershipsAfter(builder, previous);
  const pairs = new Set(planned.map(membershipKey));
  const follows = followed(builder);
  const membersAmong = (memberships: readonly Omit<ObservedMembership, 'grantor'>[]) =>
    reachable(
      memberships.map((m) => ({ ...m, role: m.member, member: m.role })),
      IAM_ROLE,
      follows,
    );
  const before = membersAmong(builder.observed.memberships);
  const after = membersAmong([...kept, ...planned]);
  const chosen = new Set(
    builder.desired.roles.filter((role) => role.authentication !== 'none').map(({ name }) => name),
  );
  // Those who are to log in too: they would be refused once they can, with everything else done.
  const logins = new Set([
    ...[...builder.observed.roles.values()].flatMap(({ name, login, superuser }) => (login && !superuser ? name : [])),
    ...builder.desired.roles.flatMap(({ name, login }) =>
      login && !builder.observed.roles.get(name)?.superuser ? name : [],
    ),
  ]);
  for (const name of logins) {
    if (chosen.has(name) || before.has(name) || !after.has(name)) continue;
    builder.refuse(
      `${name} would become a member of ${IAM_ROLE} and could not log in by password any more: take the IAM role out of the roles that it inherits from`,
    );
  }
  for (const role of builder.desired.roles) {
    if (role.authentication === 'iam' || !after.has(role.name)) continue;
    if (role.authentication === 'none' && role.login) continue;
    const name = JSON.stringify(role.name);
    const isByHand = (m: ObservedMembership) => !pairs.has(membershipKey(m));
    const now = wayTo(IAM_ROLE, role.name, builder.observed.memberships, follows);
    const way = now?.some(isByHand) ? now : undefined;
    const is = way ? `is a member of ${IAM_ROLE}${through(way)}` : `would be a member of ${IAM_ROLE}`;
    const problem =
      role.authentication === 'password'
        ? `the role ${name} logs in by password and ${is}, which allows IAM tokens alone`
        : `the role ${name} does not log in and ${is}; every member of it ${way ? 'loses' : 'would lose'} its password login`;
    if (way) {
      // It is so already, and everything else that is declared is no worse for being applied.
      reportByHand(builder, way.find(isByHand)!, problem);
      continue;
    }
    // A declared membership in a group that is an IAM role by hand: that one is yet to be given.
    const all = [...kept, ...planned.map((m) => ({ ...m, grantor: '' }))];
    const inBetween = wayTo(IAM_ROLE, role.name, all, follows)?.find(isByHand);
    builder.refuse(
      inBetween
        ? `${problem}: ${revokeByHand(inBetween)}`
        : `${problem}: ${role.authentication === 'password' ? 'remove the membership, or choose IAM login' : 'make only login roles IAM roles'}`,
    );
  }
}
