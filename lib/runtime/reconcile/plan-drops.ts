import { DesiredDrop, isServerRole } from '../../contract';
import { dropKey, ObservedContainerDrop, ObservedDatabaseDrop, ObservedDrop, ObservedRoleDrop } from './observe-drops';
import { Draft, PlanBuilder } from './plan-builder';
import { DATABASE_OWNER_ROLE } from './power';
import { refuseWithoutAdmin } from './plan-server';
import { ident, literal } from './sql';
import { Statement } from './types';
import { counted } from '../counted';

/** What hangs on something else goes first, and a role when nothing of it is left. */
const ORDER: readonly DesiredDrop['kind'][] = [
  'subscription',
  'slot',
  'publication',
  'extension',
  'schema',
  'database',
  'role',
];

/**
 * Drops that somebody asked for by name. Each waits for an acknowledgement of exactly what it takes with it. What will never work is
 * refused; what stands in the way for a while, such as a session, leaves the step withheld.
 */
export function planDrops(builder: PlanBuilder): void {
  const { desired, observed } = builder;
  if (desired.drops.length === 0) return;
  if (builder.rollback) {
    builder.notes.push('a rollback drops nothing');
    return;
  }
  const drops = [...desired.drops].sort(
    (a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind) || (dropKey(a) < dropKey(b) ? -1 : 1),
  );
  for (const drop of drops) {
    const there = observed.drops?.get(dropKey(drop));
    if (!there) builder.notes.push(`${title(drop)} is not there any more: take its drop out of the app`);
    else if (mayGo(builder, drop, there)) planDrop(builder, drop, there);
  }
}

function title(drop: DesiredDrop): string {
  return `the ${drop.kind} ${'database' in drop ? `${drop.name} of the database ${drop.database}` : drop.name}`;
}

/** What this state did not make goes only if the app says so in so many words. */
function mayGo(builder: PlanBuilder, drop: DesiredDrop, there: ObservedDrop): boolean {
  const { power } = builder;
  if (there.kind === 'closed') {
    // A declared one is opened by this plan, whose notes say that what is inside shows then.
    if ('database' in drop && builder.desired.databases.some(({ name }) => name === drop.database)) return false;
    builder.refuse(
      `${title(drop)} cannot be dropped, since ${power.user} cannot enter the database: GRANT CONNECT ON DATABASE ${ident('database' in drop ? drop.database : drop.name)} TO ${ident(power.user)}`,
    );
    return false;
  }
  if (drop.kind === 'database' && drop.name === builder.adminDatabase) {
    builder.refuse(`${title(drop)} holds the ledger of this server, and is never dropped`);
    return false;
  }
  const known = builder.ledgerObject({
    kind: drop.kind,
    name: drop.name,
    database: 'database' in drop ? drop.database : '',
  });
  const isOurs = known?.origin === 'created' && (known.state === builder.desired.name || builder.rehomed);
  if (isOurs || drop.adopted) return true;
  builder.refuse(
    `${title(drop)} was not made by the state ${JSON.stringify(builder.desired.name)}, and is not dropped for it: say adopted: true if it may go all the same`,
  );
  return false;
}

function planDrop(builder: PlanBuilder, drop: DesiredDrop, there: ObservedDrop): void {
  switch (there.kind) {
    case 'role':
      return planRole(builder, drop, there);
    case 'database':
      return planDatabase(builder, drop, there);
    case 'schema':
    case 'extension':
      return planContainer(builder, drop, there);
    case 'publication':
      return add(builder, drop, {
        reason: `it publishes ${there.tables} tables, and its subscribers get nothing more from it`,
        statements: builder.power.actAs(there.owner, [{ sql: `DROP PUBLICATION ${ident(drop.name)}` }]),
      });
    case 'subscription': {
      const subscription = `ALTER SUBSCRIPTION ${ident(drop.name)}`;
      return add(builder, drop, {
        // Without its slot it can be dropped while the publisher is gone; nobody then takes the slot away over there.
        reason:
          there.slot === undefined
            ? 'it has no slot'
            : `its slot ${there.slot} stays on the publisher and holds WAL there until it is dropped: SELECT pg_drop_replication_slot(${literal(there.slot)})`,
        statements: builder.power.actAs(there.owner, [
          { sql: `${subscription} DISABLE` },
          { sql: `${subscription} SET (slot_name = NONE)` },
          { sql: `DROP SUBSCRIPTION ${ident(drop.name)}` },
        ]),
      });
    }
    case 'slot':
      return add(builder, drop, {
        reason: 'its consumer cannot go on from where it is',
        detail: there.held === undefined ? undefined : `it holds ${there.held} of WAL`,
        statements: there.mayDrop ? [{ sql: `SELECT pg_drop_replication_slot(${literal(drop.name)})` }] : undefined,
        impossible: there.active ? 'its consumer is connected now: stop it first' : undefined,
      });
  }
}

function add(
  builder: PlanBuilder,
  drop: DesiredDrop,
  draft: Pick<Draft, 'reason' | 'statements'> & Partial<Draft>,
): void {
  builder.add({
    phase: 'drops',
    database: 'database' in drop ? drop.database : undefined,
    risk: 'destructive',
    object: `drop of ${drop.kind} ${drop.name}`,
    ...draft,
    reason: `${drop.reason}; ${draft.reason}`,
  });
}

function planDatabase(builder: PlanBuilder, drop: DesiredDrop, there: ObservedDatabaseDrop): void {
  const { observed, power } = builder;
  const inUse: [string, readonly string[], string][] = [
    ['replication slots', there.slots, 'they would vanish with it: drop them first'],
    ['subscriptions', there.subscriptions, 'drop them first'],
    ['prepared transactions', there.prepared, 'end them first'],
  ];
  for (const [what, names, advice] of inUse)
    if (names.length > 0)
      builder.refuse(`${title(drop)} cannot be dropped: it has the ${what} ${names.join(', ')}; ${advice}`);
  const sessions = [...new Set(there.sessions)];
  // Not WITH (FORCE): who ends sessions is the connected role, and who drops the database is its owner.
  const end = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = ${literal(drop.name)}`;
  const statements = power.actAs(observed.databases.get(drop.name)!.owner, [
    { sql: `DROP DATABASE ${ident(drop.name)}` },
  ]);
  add(builder, drop, {
    reason: `the database goes with everything in it${drop.force ? ', and ends the sessions in it' : ''}`,
    detail: there.size === undefined ? undefined : `it has ${there.size}`,
    transactional: false,
    statements: statements && [...(drop.force ? [{ sql: end }] : []), ...statements],
    impossible:
      sessions.length > 0 && !drop.force
        ? `it has ${counted(there.sessions.length, 'session')} of others now (${some(sessions)}): end them, or say force: true`
        : undefined,
  });
}

function planContainer(builder: PlanBuilder, drop: DesiredDrop, there: ObservedContainerDrop): void {
  const has = there.contents.map(({ type, count }) => counted(count, type)).join(', ');
  if (there.dependents.length > 0 && !drop.cascade) {
    const way =
      drop.kind === 'schema'
        ? 'empty it first, or say cascade: true'
        : 'change or drop them first, since it never cascades';
    return builder.refuse(`${title(drop)} cannot be dropped: ${some(there.dependents)} depend on it; ${way}`);
  }
  const elsewhere = there.elsewhere.length > 0 ? `; and from other places ${some(there.elsewhere)}` : '';
  const statement = `DROP ${drop.kind.toUpperCase()} ${ident(drop.name)} ${drop.cascade ? 'CASCADE' : 'RESTRICT'}`;
  const databaseOwner = 'database' in drop ? builder.observed.databases.get(drop.database)?.owner : undefined;
  add(builder, drop, {
    reason: `${has === '' ? 'it is empty' : `with it go ${has}`}${drop.cascade ? elsewhere : ''}`,
    detail: there.size === undefined ? undefined : `they have ${there.size}`,
    statements: builder.power.actAs(there.owner, [{ sql: statement }], databaseOwner),
  });
}

function planRole(builder: PlanBuilder, drop: DesiredDrop, there: ObservedRoleDrop): void {
  const { power, observed, desired } = builder;
  const role = drop.name;
  const refuse = (problem: string) => builder.refuse(`${title(drop)} cannot be dropped: ${problem}`);
  if (role === power.user) return refuse('it is the one that applies this state');
  if (isServerRole(role) || observed.roles.get(role)?.superuser) return refuse('it belongs to the server');
  if (!power.alters(role)) return refuseWithoutAdmin(builder, role);
  const heir = drop.reassignTo;
  if (heir !== undefined && !observed.roles.has(heir) && !desired.roles.some(({ name }) => name === heir))
    refuse(`its heir ${heir} is neither declared nor there`);
  // A declared one is opened by this plan, and what of the role is in it shows then.
  const opens = there.closed.filter((database) => desired.databases.some(({ name }) => name === database));
  if (opens.length > 0) return;
  if (there.closed.length > 0)
    refuse(
      `it has something in ${there.closed.join(', ')}, which ${power.user} cannot enter: let it connect there, or remove what depends on the role`,
    );

  // What goes with a database that is dropped before needs no heir.
  const goes = new Set(desired.drops.filter(({ kind }) => kind === 'database').map(({ name }) => name));
  const databases = there.databases.filter(({ database }) => !goes.has(database));
  const ownDatabases = [...observed.databases.values()]
    .filter(({ owner, name }) => owner === role && !goes.has(name))
    .map(({ name }) => name);
  const owned = [
    ...ownDatabases.map((name) => `the database ${name}`),
    ...there.shared
      .filter(({ catalog, type }) => type === 'o' && catalog === 'pg_tablespace')
      .map(({ count }) => counted(count, 'tablespace')),
    ...databases
      .filter((d) => d.owned.length > 0)
      .map((d) => `in ${d.database} ${d.owned.map(({ type, count }) => counted(count, type)).join(', ')}`),
  ];
  if (owned.length > 0 && heir === undefined)
    refuse(`it owns ${owned.join('; ')}: say who gets that (reassignTo), or drop it first`);
  // Dropped by this plan before the role is.
  const droppedSubscriptions = desired.drops.filter((other) => {
    const observedDrop = other.kind === 'subscription' ? observed.drops?.get(dropKey(other)) : undefined;
    return observedDrop?.kind === 'subscription' && observedDrop.owner === role;
  }).length;
  const subscriptions = there.shared.find(({ catalog, type }) => type === 'o' && catalog === 'pg_subscription');
  if (subscriptions && subscriptions.count > droppedSubscriptions)
    refuse(
      `it owns ${counted(subscriptions.count, 'subscription')}, whose workers apply changes as it: drop them first, or give them to another role with ALTER SUBSCRIPTION … OWNER TO`,
    );
  refuseLostAccess(refuse, databases);
  for (const { catalog, type, count } of there.shared)
    if (type === 'a' && catalog !== 'pg_database' && catalog !== 'pg_auth_members')
      refuse(
        `it has ${counted(count, 'privilege')} in ${catalog}, which ${power.user} cannot take back: have a superuser REVOKE them`,
      );
  const regrants = regranted(builder, role, refuse);

  // An access list is changed as the owner of its object; of the schema public that is the owner of the database.
  const lists = [...observed.databases.values()].filter(
    (d) => !goes.has(d.name) && d.acl.some((e) => e.grantee === role),
  );
  const grantedByOthers = lists.filter((d) => d.acl.some((e) => e.grantee === role && e.grantor !== d.owner));
  for (const { name } of grantedByOthers)
    refuse(
      `somebody other than its owner gave it privileges on the database ${name}: have the one who gave them REVOKE them`,
    );
  const shared = lists.map(({ owner }) => owner);
  const within = (actors: readonly string[], statements: Statement[]) => {
    let result: Statement[] | undefined = statements;
    for (const actor of [...new Set(actors)].filter((actor) => !power.inherits(actor)).sort()) {
      result = result && power.inheriting(actor, result);
      if (!result)
        refuse(
          `${power.user} cannot act as ${actor}, on whose objects it has privileges: GRANT ${ident(actor)} TO ${ident(power.user)} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE, or have ${actor} take them back`,
        );
    }
    return result ?? [];
  };
  // Who inherits from both revokes as the one that may grant, and finds nothing that this one has granted; so that goes first.
  // Who owns a schema now may have given it away by then.
  const ownersOf = (database: string, schema: string | null) =>
    desired.databases
      .filter(({ name }) => name === database)
      .flatMap(({ owner, schemas }) =>
        schema === null ? owner : schemas.flatMap((one) => (one.name === schema ? one.owner : [])),
      );
  const withoutOptions = (database: string, list: readonly Grantable[], databaseOwner: string): Statement[] => {
    const own = (owner: string) => (owner === DATABASE_OWNER_ROLE ? databaseOwner : owner);
    const actors = list.flatMap(({ owner, schema }) => [
      own(owner),
      ...(schema ? [own(schema.owner), ...ownersOf(database, schema.name)] : []),
    ]);
    const sql = (what: string) => `REVOKE GRANT OPTION FOR ${what} FROM ${ident(role)} CASCADE`;
    return list.length === 0
      ? []
      : within(
          actors,
          list.map(({ what }) => ({ sql: sql(what) })),
        );
  };
  const owns = owned.length > 0;
  const clearing = [
    ...(owns && heir !== undefined ? [{ sql: `REASSIGN OWNED BY ${ident(role)} TO ${ident(heir)}` }] : []),
    { sql: `DROP OWNED BY ${ident(role)}` },
  ];
  const heirs = owns && heir !== undefined ? [heir] : [];
  const impossible =
    there.sessions > 0
      ? `the role has ${counted(there.sessions, 'session')} now: end ${there.sessions === 1 ? 'it' : 'them'} first`
      : undefined;
  const step = (draft: Pick<Draft, 'reason' | 'statements'> & Partial<Draft>) =>
    add(builder, drop, { impossible, ...draft });
  if (regrants.length > 0) step({ reason: 'what it has given to others is given to them anew', statements: regrants });
  // DROP OWNED looks at databases wherever it runs, and would revoke as anybody from whom the connected role inherits the option.
  const onDatabases = lists.flatMap(({ name, owner }) =>
    within(
      [owner, ...desired.databases.filter((d) => d.name === name).map((d) => d.owner)],
      [{ sql: `REVOKE ALL ON DATABASE ${ident(name)} FROM ${ident(role)} CASCADE` }],
    ),
  );
  for (const [at, d] of databases.entries()) {
    const own = (owner: string) => (owner === DATABASE_OWNER_ROLE ? d.owner : owner);
    const actors = [
      role,
      ...heirs,
      ...d.grantedOn.map(({ owner }) => own(owner)),
      ...d.policies.map(({ owner }) => owner),
      ...shared,
    ];
    // Only who may create a schema can give one away.
    if (d.owned.some(({ type }) => type === 'schema')) actors.push(d.owner, ...ownersOf(d.database, null));
    const lent =
      heir === undefined || !owns ? [] : d.heirCreatesIn.filter((place) => !mayCreate(builder, d, place, heir));
    actors.push(...lent.flatMap(({ owner, schema }) => [own(owner), ...ownersOf(d.database, schema)]));
    const create = ({ schema }: HeirPlace) =>
      schema === null ? `CREATE ON DATABASE ${ident(d.database)}` : `CREATE ON SCHEMA ${ident(schema)}`;
    step({
      database: d.database,
      reason: `in the database ${d.database}: ${whatGoes(d, heir)}`,
      statements: [
        ...(at === 0 ? onDatabases : []),
        ...withoutOptions(d.database, d.grantable, d.owner),
        ...within(actors, [
          ...lent.map((place) => ({ sql: `GRANT ${create(place)} TO ${ident(heir!)}` })),
          ...clearing,
          // What is the heir's by now is not taken back: it would be its own privilege.
          ...lent
            .filter(({ owner }) => owner !== role)
            .map((place) => ({ sql: `REVOKE ${create(place)} FROM ${ident(heir!)}` })),
        ]),
      ],
    });
  }
  const members = observed.memberships.filter((m) => m.role === role && m.member !== power.user).map((m) => m.member);
  const groups = observed.memberships.filter((m) => m.member === role).map((m) => m.role);
  const clearsShared = lists.length > 0 || ownDatabases.length > 0 || there.shared.length > 0;
  step({
    reason: [
      ...(ownDatabases.length > 0 ? [`${heir} gets the database ${ownDatabases.join(', ')}`] : []),
      members.length > 0
        ? `${some([...new Set(members)])} lose what they have through it`
        : 'nobody has anything through it',
      ...(groups.length > 0 ? [`it was a member of ${some([...new Set(groups)])}`] : []),
    ].join('; '),
    statements: [
      ...(databases.length === 0 ? onDatabases : []),
      ...(clearsShared ? within([role, ...heirs, ...shared], clearing) : []),
      { sql: `DROP ROLE ${ident(role)}` },
    ],
  });
}

type Grantable = ObservedRoleDrop['databases'][number]['grantable'][number];
type HeirPlace = ObservedRoleDrop['databases'][number]['heirCreatesIn'][number];

/** Once what is declared is applied, which it is before anything is dropped. */
function mayCreate(
  builder: PlanBuilder,
  { database }: ObservedRoleDrop['databases'][number],
  { schema, may }: HeirPlace,
  heir: string,
): boolean {
  const declared = builder.desired.databases.find(({ name }) => name === database);
  const owner = schema === null ? declared?.owner : declared?.schemas.find(({ name }) => name === schema)?.owner;
  const isGranted = declared?.grants.some(
    ({ on, to, privileges }) =>
      to === heir &&
      privileges.includes('CREATE') &&
      (schema === null ? on.kind === 'database' : on.kind === 'schema' && on.schema === schema),
  );
  if (owner === heir || isGranted) return true;
  // What it has and is not declared to have is taken from a declared role, and what it owns may have another owner by then.
  const isJudged = owner !== undefined && builder.desired.roles.some(({ name }) => name === heir);
  return may && !isJudged;
}

/** Access that would silently be another one: a policy that vanishes, privileges that others have from it, grants that would stay. */
function refuseLostAccess(refuse: (problem: string) => void, databases: ObservedRoleDrop['databases']): void {
  for (const d of databases) {
    for (const { policy, table } of d.policies.filter(({ alone }) => alone))
      refuse(
        `the policy ${policy} on ${table} of the database ${d.database} is for this role alone and would vanish, so that others might see more: ALTER POLICY … TO another role, or DROP POLICY`,
      );
    for (const { object, grantor } of d.grantedByOthers)
      refuse(
        `it has privileges on ${object} of the database ${d.database} from ${grantor}, who does not own it: have ${grantor} REVOKE them`,
      );
    for (const { object, grantee } of d.passedOn)
      refuse(
        `${grantee} has its privileges on ${object} of the database ${d.database} from this role, and would lose them: have the owner GRANT them to ${grantee}`,
      );
  }
}

/** DROP OWNED takes back the memberships that a role has granted (reconciler case 30), so the connected role grants them first. */
function regranted(builder: PlanBuilder, role: string, refuse: (problem: string) => void): Statement[] {
  const { power, observed } = builder;
  const given = observed.memberships.filter((m) => m.grantor === role && m.member !== role);
  return given.flatMap((m): Statement[] => {
    const passedOn = observed.memberships.some((other) => other.role === m.role && other.grantor === m.member);
    if (!power.administers(m.role) || m.member === power.user || (m.admin && passedOn)) {
      refuse(
        `it has made ${m.member} a member of ${m.role}, and ${power.user} cannot do that in its place: have another role GRANT ${ident(m.role)} TO ${ident(m.member)}, and REVOKE that of this role`,
      );
      return [];
    }
    const word = (value: boolean) => (value ? 'TRUE' : 'FALSE');
    return [
      {
        sql: `GRANT ${ident(m.role)} TO ${ident(m.member)} WITH ADMIN ${word(m.admin)}, INHERIT ${word(m.inherit)}, SET ${word(m.set)}`,
      },
    ];
  });
}

function whatGoes(d: ObservedRoleDrop['databases'][number], heir: string | undefined): string {
  const parts = [
    ...(d.owned.length > 0
      ? [`${heir} gets ${d.owned.map(({ type, count }) => counted(count, type)).join(', ')}`]
      : []),
    ...d.grantedOn.map(({ owner, count }) => `its privileges on ${counted(count, 'object')} of ${owner} go`),
    ...(d.defaultPrivileges > 0
      ? [`${counted(d.defaultPrivileges, 'default privilege')} ${d.defaultPrivileges === 1 ? 'goes' : 'go'}`]
      : []),
    ...(d.userMappings > 0
      ? [`${counted(d.userMappings, 'user mapping')} ${d.userMappings === 1 ? 'goes' : 'go'}`]
      : []),
    ...d.policies.map(({ policy, table }) => `the policy ${policy} on ${table} loses it`),
  ];
  return parts.length > 0 ? parts.join(', ') : 'what names it goes';
}

function some(names: readonly string[]): string {
  return names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ');
}
