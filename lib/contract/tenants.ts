import { DesiredDatabase, DesiredIsolation, DesiredMembership, DesiredRole } from './desired-state';

/**
 * Roles that have privileges on the tables of an isolated schema and that no policy is for: once row security is enforced they see no
 * row, without an error. A group in which nobody but roles of the lists log in is none of them, nor is the owner of the schema, of
 * whom the declaration says more. `given` are roles that have privileges besides those that are declared.
 */
export function rolesWithoutRows(
  roles: readonly Pick<DesiredRole, 'name' | 'login'>[],
  memberships: readonly Pick<DesiredMembership, 'role' | 'member' | 'inherit'>[],
  database: Pick<DesiredDatabase, 'schemas' | 'grants' | 'defaultPrivileges'>,
  isolation: Pick<DesiredIsolation, 'schema' | 'roles' | 'allTenants'>,
  given: readonly string[] = [],
): string[] {
  const { schema } = isolation;
  const owner = database.schemas.find(({ name }) => name === schema)?.owner;
  const privileged = new Set([...given, 'pg_read_all_data', 'pg_write_all_data']);
  for (const { on, to } of database.grants) {
    if ((on.kind === 'allTables' || on.kind === 'table') && on.schema === schema) privileged.add(to);
  }
  for (const { objects, schema: where, to } of database.defaultPrivileges) {
    if (objects === 'tables' && where === schema) privileged.add(to);
  }
  const listed = new Set([...isolation.roles, ...isolation.allTenants]);
  const groupsOf = new Map<string, string[]>();
  for (const { role, member, inherit } of memberships) {
    if (inherit) groupsOf.set(member, [...(groupsOf.get(member) ?? []), role]);
  }
  const has = (name: string): ReadonlySet<string> => {
    const reached = new Set([name]);
    for (const one of reached) groupsOf.get(one)?.forEach((group) => reached.add(group));
    return reached;
  };
  const meets = (all: ReadonlySet<string>, wanted: ReadonlySet<string>) => [...all].some((name) => wanted.has(name));
  const powers = new Map(roles.map(({ name }) => [name, has(name)]));
  const logins = roles.filter(({ login }) => login).map(({ name }) => name);
  const isCut = (name: string) => meets(powers.get(name)!, privileged) && !meets(powers.get(name)!, listed);
  return roles
    .filter(({ name, login }) => {
      if (name === owner || !isCut(name)) return false;
      const members = login ? [] : logins.filter((one) => powers.get(one)!.has(name));
      return members.length === 0 || members.some(isCut);
    })
    .map(({ name }) => name)
    .sort();
}
