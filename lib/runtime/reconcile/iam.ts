import { DesiredMembership, DesiredState } from '../../contract';

/** Whoever reaches it by inheritance logs in to Amazon RDS by IAM token, and no more by password. */
export const IAM_ROLE = 'rds_iam';

/** The declared memberships, and those that IAM login means. */
export function declaredMemberships(state: DesiredState): DesiredMembership[] {
  const iam = state.roles
    .filter((role) => role.authentication === 'iam')
    .map((role) => ({ role: IAM_ROLE, member: role.name, inherit: true, set: true, admin: false }));
  return [...state.memberships, ...iam];
}
