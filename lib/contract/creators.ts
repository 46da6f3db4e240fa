import { DesiredMembership, DesiredState } from './desired-state';

type Database = Pick<DesiredState['databases'][number], 'schemas' | 'grants'>;

/**
 * By schema, everybody who makes objects in there: its owner, and each role as which somebody works after a login and which has CREATE.
 * Default privileges belong to the creating role, so each promise for the future is written once for each of them.
 */
export function creatorsBySchema(
  state: Pick<DesiredState, 'roles' | 'memberships' | 'settings'>,
  database: Database,
): Map<string, Set<string>> {
  const mayCreate = new Map(database.schemas.map((schema) => [schema.name, [schema.owner]]));
  for (const { on, privileges, to } of database.grants) {
    if (on.kind === 'schema' && privileges.includes('CREATE')) mayCreate.get(on.schema)?.push(to);
  }
  const sessions = sessionsByPower(state);
  return new Map(
    database.schemas.map(({ name, owner }) => {
      const working = mayCreate.get(name)!.flatMap((role) => sessions.get(role) ?? []);
      return [name, new Set([owner, ...working])];
    }),
  );
}

/** By role, the roles as which somebody works after a login and which have its privileges. */
function sessionsByPower(state: Pick<DesiredState, 'roles' | 'memberships' | 'settings'>): Map<string, string[]> {
  const groups = new Map<string, DesiredMembership[]>();
  for (const membership of state.memberships) {
    const known = groups.get(membership.member);
    if (known) known.push(membership);
    else groups.set(membership.member, [membership]);
  }
  const startsAs = new Map(
    state.settings.flatMap(({ role, database, name, values }) =>
      role !== undefined && database === undefined && name === 'role' ? [[role, values[0]]] : [],
    ),
  );
  const sessions = new Map<string, string[]>();
  for (const role of state.roles) {
    if (!role.login) continue;
    const session = startsAs.get(role.name) ?? role.name;
    const powers = new Set([session]);
    for (const power of powers) {
      for (const membership of groups.get(power) ?? []) if (membership.inherit) powers.add(membership.role);
    }
    for (const power of powers) {
      const known = sessions.get(power);
      if (known) known.push(session);
      else sessions.set(power, [session]);
    }
  }
  return sessions;
}
