import { DesiredDatabase, DesiredIsolation, DesiredMembership, DesiredState, isServerRole } from '../../contract';

/** The kind by which the isolation of a schema is claimed. */
export const ISOLATION = 'isolation of the schema';

/** What a message needs besides the state. */
export interface DeclaredPlaces {
  /** The path of the construct that declared it. */
  pathOf(kind: string, name: string, database?: string): string;
  /** Whether the login was declared to come into this database by a way that nothing here shows (`connectPrivilege: false`). */
  comesAnotherWay(role: string, database: string): boolean;
}

/**
 * What the deployment would refuse and the whole declaration shows, whichever part of it came last. Each role, membership and grant is
 * looked at once, since a server may have as many schemas and roles as tenants.
 */
export function contradictions(state: DesiredState, places: DeclaredPlaces): string[] {
  const groups = new Groups(state.memberships);
  const declared = new Set(state.roles.map(({ name }) => name));
  // Where two logins take turns, the group has the privileges of both.
  const logins = new Map(
    state.roles.flatMap(({ name, login, passwordOf }) => (login ? [[passwordOf ?? name, name]] : [])),
  );
  return state.databases.flatMap((database) => [
    ...(database.public === 'kept' ? [] : loginsShutOut(database, declared, logins, groups, places)),
    ...rolesThatSeeAll(database, groups, places),
  ]);
}

/** A privilege inside a database is worth nothing without CONNECT on it. Groups are not asked: their members may come from elsewhere. */
function loginsShutOut(
  database: DesiredDatabase,
  declared: ReadonlySet<string>,
  logins: ReadonlyMap<string, string>,
  groups: Groups,
  places: DeclaredPlaces,
): string[] {
  const mayConnect = new Set([database.owner]);
  const granted = new Set<string>();
  for (const { on, privileges, to } of database.grants) {
    if (on.kind === 'database' && privileges.includes('CONNECT')) mayConnect.add(to);
    else granted.add(to);
  }
  const shutOut = [...granted].filter((role) => !mayConnect.has(role) && !places.comesAnotherWay(role, database.name));
  return shutOut.flatMap((role) => {
    const login = logins.get(role);
    if (login === undefined) return [];
    const powers = [...groups.above([login], ({ inherit }) => inherit)];
    // What a role that is not declared here has is known to the server alone.
    if (powers.some((power) => mayConnect.has(power) || !(declared.has(power) || isServerRole(power)))) return [];
    return [
      `${places.pathOf('role', role)}: the login role ${quoted(role)} is granted privileges in the database ${quoted(database.name)} and may not ` +
        `connect to it: call grantConnect() of ${places.pathOf('database', database.name)} with it, make it a member of a group that has CONNECT ` +
        'there, or take the grants away',
    ];
  });
}

/** Whoever can act as the owner, or as a role that sees all tenants, is not kept to one. */
function rolesThatSeeAll(database: DesiredDatabase, groups: Groups, places: DeclaredPlaces): string[] {
  if (database.isolations.length === 0) return [];
  const owners = new Map(database.schemas.map(({ name, owner }) => [name, owner]));
  const truncating = new Map<string, string[]>();
  for (const { on, privileges, to } of database.grants)
    if ((on.kind === 'allTables' || on.kind === 'table') && privileges.includes('TRUNCATE'))
      append(truncating, on.schema, to);
  return database.isolations.flatMap((isolation) =>
    seeAllOf(isolation, owners.get(isolation.schema), truncating.get(isolation.schema) ?? [], groups).map(
      (words) => `${places.pathOf(ISOLATION, isolation.schema, database.name)}: isolateTenants() ${words}`,
    ),
  );
}

function seeAllOf(
  { roles, allTenants }: DesiredIsolation,
  owner: string | undefined,
  truncating: readonly string[],
  groups: Groups,
): string[] {
  const isolated = groups.below(roles, ({ inherit, set }) => inherit || set);
  return [...isolated].flatMap((role) => {
    if (allTenants.includes(role)) return [];
    const powers = groups.above([role], ({ inherit, set, admin }) => inherit || set || admin);
    const because = [
      ...(owner !== undefined && powers.has(owner)
        ? [
            `${role === owner ? 'is' : `can act as ${quoted(owner)},`} the owner of the schema, who can turn row security off`,
          ]
        : []),
      ...allTenants
        .filter((open) => open !== owner && powers.has(open))
        .map((open) => `can act as ${quoted(open)}, who sees all tenants`),
      ...(powers.has('rds_superuser') ? ['is a member of rds_superuser'] : []),
      ...(truncating.includes(role) ? ['is granted TRUNCATE, which takes the rows of all tenants'] : []),
    ];
    if (because.length === 0) return [];
    const listed = roles.includes(role)
      ? ''
      : `, as a member of ${roles
          .filter((one) => powers.has(one))
          .map(quoted)
          .join(', ')}`;
    return [
      `has ${quoted(role)} see one tenant alone${listed}, and it ${because.join(', and ')}: take that away, or let the application log in as another role`,
    ];
  });
}

/** The declared memberships, both ways. */
class Groups {
  private readonly ofMember = new Map<string, DesiredMembership[]>();
  private readonly ofGroup = new Map<string, DesiredMembership[]>();

  constructor(memberships: readonly DesiredMembership[]) {
    for (const membership of memberships) {
      append(this.ofMember, membership.member, membership);
      append(this.ofGroup, membership.role, membership);
    }
  }

  /** These roles and all groups that they are in. */
  public above(roles: readonly string[], follow: (membership: DesiredMembership) => boolean): ReadonlySet<string> {
    const reached = new Set(roles);
    for (const name of reached)
      for (const membership of this.ofMember.get(name) ?? []) if (follow(membership)) reached.add(membership.role);
    return reached;
  }

  /** These roles and all their members. */
  public below(roles: readonly string[], follow: (membership: DesiredMembership) => boolean): ReadonlySet<string> {
    const reached = new Set(roles);
    for (const name of reached)
      for (const membership of this.ofGroup.get(name) ?? []) if (follow(membership)) reached.add(membership.member);
    return reached;
  }
}

function append<T>(lists: Map<string, T[]>, key: string, item: T): void {
  const known = lists.get(key);
  if (known) known.push(item);
  else lists.set(key, [item]);
}

function quoted(name: string): string {
  return JSON.stringify(name);
}
