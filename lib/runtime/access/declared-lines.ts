import { DesiredIsolation, DesiredRole, DesiredState } from '../../contract';
import { AccessFacts, declaredAccessFacts } from './facts';
import { Access, accessReport, EVERYBODY } from './report';
import { privilegeWords, quoted } from './words';

const PLURAL = { table: '', sequence: 'sequences of ', routine: 'routines of ' } as const;

/**
 * Who will be able to do what, once a declaration is applied: lines that a reviewer reads, sorted, one for each role and kind of object,
 * so that a changed grant is a changed line. What a role has through its groups is said at the role; the way there is not.
 */
export function declaredAccessLines(state: DesiredState): string[] {
  const facts = declaredAccessFacts(state);
  const { access } = accessReport(facts);
  return [
    ...state.roles.flatMap((role) => attributes(role).map((text) => `${quoted(role.name)}: ${text}`)).sort(),
    ...powers(state).sort(),
    ...state.databases.flatMap((database) => [
      `database ${quoted(database.name)}`,
      ...lines(
        facts,
        access.filter(({ on }) => on.database === database.name),
      ).map((line) => `  ${line}`),
      ...database.isolations.flatMap(isolation).map((line) => `  ${line}`),
    ]),
  ];
}

function attributes(role: DesiredRole): string[] {
  if (!role.login) return [...special(role)];
  const way = { none: 'logs in', password: 'logs in by password', iam: 'logs in by IAM' }[role.authentication];
  const limit =
    role.connectionLimit === undefined || role.connectionLimit < 0
      ? ''
      : `, ${role.connectionLimit} connections at most`;
  const until = role.validUntil === undefined || role.validUntil === 'infinity' ? '' : `, until ${role.validUntil}`;
  return [`${way}${limit}${until}`, ...special(role)];
}

function special(role: DesiredRole): string[] {
  return [
    ...(role.createDatabase ? ['may create databases'] : []),
    ...(role.createRole ? ['may create roles'] : []),
    ...(role.replication ? ['may stream changes and use replication slots'] : []),
  ];
}

/** Membership in roles that are not declared here: those of PostgreSQL and of RDS, whose powers are theirs. */
function powers(state: DesiredState): string[] {
  const declared = new Set(state.roles.map(({ name }) => name));
  return state.memberships.flatMap(({ role, member, inherit, set, admin }) => {
    const may = [
      ...(inherit ? [] : ['does not inherit']),
      ...(set ? ['may SET ROLE'] : []),
      ...(admin ? ['may make members'] : []),
    ];
    if (declared.has(role) && !admin) return [];
    return [`${quoted(member)}: member of ${quoted(role)}${may.length === 0 ? '' : ` (${may.join(', ')})`}`];
  });
}

function lines(facts: AccessFacts, access: readonly Access[]): string[] {
  const owners = new Map(
    facts.databases.flatMap(({ inside }) =>
      [...(inside?.schemas.values() ?? [])].map(({ name, owner }) => [name, owner]),
    ),
  );
  const merged = new Map<string, { item: Access; privileges: Set<string> }>();
  const owned = new Set<string>();
  for (const item of access) {
    const { on, by } = item;
    // What a predefined role may do is said by its name.
    if (by === 'predefined') continue;
    if (by === 'owner') {
      // The owner of a schema owns what is made in it.
      if (on.kind === 'database') owned.add(`${who(item)}owns the database`);
      else if (on.kind === 'schema') owned.add(`${who(item)}owns schema ${quoted(on.schema!)} and what is in it`);
      continue;
    }
    const key = JSON.stringify([item.role, item.setRole, on, item.future, item.grantable, item.ineffective]);
    const known = merged.get(key) ?? { item, privileges: new Set<string>() };
    item.privileges.forEach((privilege) => known.privileges.add(privilege));
    merged.set(key, known);
  }
  const granted = [...merged.values()].map(({ item, privileges }) => {
    const words = privilegeWords({ on: item.on, privileges: [...privileges] });
    const effect = item.ineffective === undefined ? '' : ' — without effect';
    return `${who(item)}${words} on ${where(item, owners)}${item.grantable ? ', and may give it to others' : ''}${effect}`;
  });
  return [...owned, ...granted].sort();
}

function who({ role, setRole }: Access): string {
  const name = role === EVERYBODY ? 'everybody' : quoted(role);
  return setRole === undefined ? `${name}: ` : `${name}, after SET ROLE ${quoted(setRole)}: `;
}

function where({ on, future }: Access, owners: ReadonlyMap<string, string>): string {
  const schema = on.schema === undefined ? '' : quoted(on.schema);
  switch (on.kind) {
    case 'database':
      return 'the database';
    case 'schema':
      return `schema ${schema}`;
    case 'column':
      return `column ${schema}.${quoted(on.names[0]!)}.${quoted(on.column!)}`;
    default: {
      const makers = (future ?? []).map(quoted).join(', ');
      if (on.count === 0) return `${on.kind}s to come in ${schema} (made by ${makers})`;
      const later =
        future === undefined
          ? ''
          : future.includes(owners.get(on.schema!)!)
            ? ' (future too)'
            : ` (future ones of ${makers} too)`;
      if (on.all) return `${PLURAL[on.kind]}${schema}.*${later}`;
      const names = on.names.map((name) => `${schema}.${on.kind === 'routine' ? name : quoted(name)}`);
      return `${on.kind === 'table' ? '' : `${on.kind} `}${names.join(', ')}${later}`;
    }
  }
}

function isolation({ schema, column, setting, stage, roles, allTenants }: DesiredIsolation): string[] {
  const rule = `rows in ${quoted(schema)} by ${quoted(column)} = ${setting} (row security is ${stage})`;
  return [
    ...roles.map((role) => `${quoted(role)}: its tenant's ${rule}`).sort(),
    ...allTenants.map((role) => `${quoted(role)}: all tenants' ${rule}`).sort(),
  ];
}
