import { DesiredMembership, DesiredState } from '../../contract';

/** Whoever reaches it by inheritance logs in to Amazon RDS by IAM token, and no more by password. */
export const IAM_ROLE = 'rds_iam';

/** What stands on Amazon RDS for the attribute REPLICATION, which nobody there can give. */
export const REPLICATION_ROLE = 'rds_replication';

/** The declared memberships, and those that IAM login and replication mean on a server that has these roles. */
export function declaredMemberships(
  state: DesiredState,
  server: { has(role: string): boolean } = { has: () => true },
): DesiredMembership[] {
  const given = (role: string, member: string) => ({ role, member, inherit: true, set: true, admin: false });
  return [
    ...state.memberships,
    ...state.roles.filter((role) => role.authentication === 'iam').map(({ name }) => given(IAM_ROLE, name)),
    ...(server.has(REPLICATION_ROLE)
      ? state.roles.filter((role) => role.replication).map(({ name }) => given(REPLICATION_ROLE, name))
      : []),
  ];
}
