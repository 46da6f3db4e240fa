import {
  DesiredDatabase,
  DesiredMembership,
  DesiredRole,
  DesiredSetting,
  isServerRole,
  serverEncoding,
  serverLocale,
  turnsOf,
} from '../../contract';
import { declaredMemberships, IAM_ROLE, REPLICATION_ROLE } from './iam';
import { isIamByHand } from './guard-iam';
import { FREED } from './ledger';
import { ObservedMembership, ObservedRole } from './observed';
import { PlanBuilder } from './plan-builder';
import { DATABASE_OWNER_ROLE, reachable } from './power';
import { MEMBERSHIP_OPTIONS, Previous } from './previous';
import { sameSetting, settingLiteral } from './settings';
import { ident, literal, VERIFIER_PLACEHOLDER } from './sql';
import { Risk } from './types';
import { byGrantor, membershipKey, revokeByHand, wayTo } from './undeclared-memberships';

/** What belongs to the whole server: roles, memberships, databases, settings. */

/** The first major with each predefined role (PostgreSQL manual, "Predefined Roles"). */
const PREDEFINED_SINCE: Readonly<Record<string, number>> = {
  pg_use_reserved_connections: 16,
  pg_create_subscription: 16,
  pg_maintain: 17,
  pg_signal_autovacuum_worker: 18,
};

/** What the master of Amazon RDS is a member of, and nobody else by a declaration. */
const RDS_SUPERUSER = 'rds_superuser';

/** How long a role that went out of the declaration keeps its login, unless a later declaration is applied before. */
const DISABLE_AFTER_MS = 24 * 60 * 60 * 1000;

export function planRoles(builder: PlanBuilder, previous: Previous): void {
  for (const role of builder.desired.roles) {
    if (role.name === builder.observed.user && !builder.power.looksOnly) {
      builder.refuse(
        `the role ${JSON.stringify(role.name)} is the one that applies this state, and cannot be declared in it: a wrong attribute would lock the state out`,
      );
      continue;
    }
    const observed = builder.observed.roles.get(role.name);
    if (observed) planExistingRole(builder, previous, role, observed);
    else planNewRole(builder, role);
    planPassword(builder, previous, role, observed);
  }
}

function planNewRole(builder: PlanBuilder, role: DesiredRole): void {
  if (!builder.power.createRole) {
    return builder.refuse(
      `the role ${JSON.stringify(role.name)} is missing, and ${builder.power.user} may not create roles: ALTER ROLE ${ident(builder.power.user)} CREATEROLE`,
    );
  }
  const words = [
    role.login ? 'LOGIN' : 'NOLOGIN',
    role.inherit ? 'INHERIT' : 'NOINHERIT',
    ...(role.createDatabase ? ['CREATEDB'] : []),
    ...(role.createRole ? ['CREATEROLE'] : []),
    ...(role.replication && takesAttribute(builder) ? ['REPLICATION'] : []),
    ...(role.connectionLimit === undefined ? [] : [`CONNECTION LIMIT ${role.connectionLimit}`]),
    ...(role.validUntil === undefined ? [] : [`VALID UNTIL ${literal(role.validUntil)}`]),
  ];
  if (role.createDatabase && !builder.power.createDatabase) refuseAttribute(builder, role.name, 'CREATEDB');
  if (role.replication) refuseReplication(builder, role.name);
  builder.add({
    phase: 'createRoles',
    risk: 'add',
    object: `role ${role.name}`,
    reason: 'declared, and not there',
    statements: [{ sql: `CREATE ROLE ${ident(role.name)} ${words.join(' ')}` }],
  });
}

/** Whether replication is an attribute here: a server of Amazon RDS has a role for it. */
function takesAttribute(builder: PlanBuilder): boolean {
  return !builder.observed.roles.has(REPLICATION_ROLE);
}

function refuseReplication(builder: PlanBuilder, role: string): void {
  if (takesAttribute(builder) && !builder.power.replication) refuseAttribute(builder, role, 'REPLICATION');
}

function refuseAttribute(builder: PlanBuilder, role: string, attribute: string): void {
  builder.refuse(
    `the role ${JSON.stringify(role)} is declared with ${attribute}, which ${builder.power.user} does not have itself and so cannot give: ALTER ROLE ${ident(builder.power.user)} ${attribute} as an administrator, or leave it out`,
  );
}

function planExistingRole(builder: PlanBuilder, previous: Previous, role: DesiredRole, observed: ObservedRole): void {
  const before = previous.role(role.name);
  const differences: { words: string; risk: Risk; reason: string; declaredBefore: boolean }[] = [];
  const flag = (word: string, wanted: boolean, has: boolean, took: Risk, hadBefore: boolean | undefined) => {
    if (wanted === has) return;
    differences.push({
      words: wanted ? word : `NO${word}`,
      risk: wanted ? 'widen' : took,
      reason: wanted ? `${word} is declared` : `it has ${word}, which is not declared`,
      declaredBefore: hadBefore === true,
    });
  };
  const turns = builder.desired.roles.some(({ passwordOf }) => passwordOf === role.name);
  if (turns && observed.login) {
    differences.push({
      words: 'NOLOGIN',
      risk: 'disruptive',
      reason: `it has LOGIN, and ${turnsOf(role.name).join(' and ')} log in for it now: acknowledge this when no client logs in as ${role.name} any more`,
      // Its clients have its password until they have read the new secret.
      declaredBefore: false,
    });
  } else flag('LOGIN', role.login, observed.login, 'disruptive', before?.login);
  flag('INHERIT', role.inherit, observed.inherit, 'narrow', before?.inherit);
  flag('CREATEDB', role.createDatabase, observed.createDatabase, 'narrow', before?.createDatabase);
  flag('CREATEROLE', role.createRole, observed.createRole, 'narrow', before?.createRole);
  if ((role.replication || before?.replication) && takesAttribute(builder))
    flag('REPLICATION', role.replication === true, observed.replication, 'narrow', before?.replication);
  if (role.replication && !observed.replication) refuseReplication(builder, role.name);
  if (role.createDatabase && !observed.createDatabase && !builder.power.createDatabase)
    refuseAttribute(builder, role.name, 'CREATEDB');
  if (role.connectionLimit !== undefined && role.connectionLimit !== observed.connectionLimit) {
    const rises =
      role.connectionLimit === -1 ||
      (observed.connectionLimit !== -1 && role.connectionLimit > observed.connectionLimit);
    differences.push({
      words: `CONNECTION LIMIT ${role.connectionLimit}`,
      risk: rises ? 'widen' : 'narrow',
      reason: `its connection limit is ${observed.connectionLimit}`,
      declaredBefore: before?.connectionLimit === observed.connectionLimit,
    });
  }
  const until = (text: string | undefined) => (text === undefined || text === 'infinity' ? Infinity : Date.parse(text));
  if (role.validUntil !== undefined && until(role.validUntil) !== until(observed.validUntil)) {
    differences.push({
      words: `VALID UNTIL ${literal(role.validUntil)}`,
      risk: until(role.validUntil) > until(observed.validUntil) ? 'widen' : 'narrow',
      reason: `it is valid until ${observed.validUntil ?? 'infinity'}`,
      declaredBefore: before !== undefined && until(before.validUntil) === until(observed.validUntil),
    });
  }
  planUndeclarable(builder, role, observed);
  if (differences.length > 0 && !builder.power.alters(role.name)) return refuseWithoutAdmin(builder, role.name);
  if (differences.length > 0 && observed.superuser && !builder.power.superuser) {
    return builder.refuse(
      `the role ${JSON.stringify(role.name)} is a superuser, and ${builder.power.user} cannot change one: leave it out of the declaration`,
    );
  }
  for (const { words, risk, reason, declaredBefore } of differences) {
    builder.add({
      phase: risk === 'widen' ? 'createRoles' : words === 'NOLOGIN' ? 'disableRoles' : 'narrowRoles',
      risk,
      object: `role ${role.name}`,
      reason,
      statements: [{ sql: `ALTER ROLE ${ident(role.name)} ${words}` }],
      subjects: [{ kind: 'role', name: role.name }],
      declaredBefore,
      impossible:
        words === 'NOCREATEDB' && !builder.power.createDatabase
          ? `${builder.power.user} does not have CREATEDB itself, and so cannot take it away`
          : undefined,
    });
  }
}

/**
 * Attributes that no declaration can give: whoever has them is above every grant here, and a role of ours was given them by hand.
 * What is adopted is not reset in what the declaration does not mention.
 */
function planUndeclarable(builder: PlanBuilder, role: DesiredRole, observed: ObservedRole): void {
  for (const [attribute, has] of [
    ['SUPERUSER', observed.superuser],
    ['BYPASSRLS', observed.bypassRls],
  ] as const) {
    if (!has) continue;
    if (builder.standing({ kind: 'role', name: role.name }) === 'adopted') {
      builder.notes.push(
        `the role ${role.name} has ${attribute}, which no declaration gives; it was adopted, and keeps it`,
      );
      continue;
    }
    builder.add({
      phase: 'narrowRoles',
      risk: 'narrow',
      object: `role ${role.name}`,
      reason: `it has ${attribute}, which no declaration gives`,
      statements: builder.power.superuser ? [{ sql: `ALTER ROLE ${ident(role.name)} NO${attribute}` }] : undefined,
      subjects: [{ kind: 'role', name: role.name }],
      declaredBefore: false,
    });
  }
}

export function refuseWithoutAdmin(builder: PlanBuilder, role: string): void {
  const { user, createRole } = builder.power;
  if (!createRole && !builder.observed.roles.has(role)) return; // that it cannot be made is said already
  const first = createRole ? '' : `ALTER ROLE ${ident(user)} CREATEROLE, and `;
  builder.refuse(
    `the role ${JSON.stringify(role)} was made by somebody else, and ${user} may not change it: ${first}GRANT ${ident(role)} TO ${ident(user)} WITH ADMIN OPTION, INHERIT FALSE, SET FALSE, as a role that may`,
  );
}

function planPassword(
  builder: PlanBuilder,
  previous: Previous,
  role: DesiredRole,
  observed: ObservedRole | undefined,
): void {
  if (role.authentication !== 'password') return;
  // After its VALID UNTIL the server refuses the right password too.
  const until = role.validUntil ?? observed?.validUntil;
  const expired = until !== undefined && Date.parse(until) <= builder.observed.now.getTime();
  if (observed?.login && expired && role.validUntil === undefined)
    builder.notes.push(
      `nobody logs in as ${role.name} by password: it was valid until ${until}, which is not declared`,
    );
  const login = builder.observed.logins.get(role.name);
  // Without the secret nobody knows whose turn it is; one that nobody has used yet names the first.
  const rests =
    login === 'resting' ||
    (login === undefined && role.passwordOf !== undefined && role.name !== turnsOf(role.passwordOf)[0]);
  if (rests) return;
  if (observed && !expired && login !== 'works' && login !== 'fails')
    builder.notes.push(`whether the password of ${role.name} is the one in its secret is not known`);
  if (observed && (expired || login !== 'fails')) return;
  // Amazon RDS then refuses every password, the right one too: to set it again would change nothing, and be tried in vain.
  if (observed && isIamByHand(builder, previous, role.name)) return;
  if (observed && !builder.power.alters(role.name)) return refuseWithoutAdmin(builder, role.name);
  const adopted =
    observed !== undefined && !builder.rehomed && builder.standing({ kind: 'role', name: role.name }) === 'adopted';
  builder.add({
    phase: 'createRoles',
    // A role of ours has its password from its secret by declaration; one that was there before has clients with the old one.
    risk: adopted ? 'disruptive' : 'add',
    object: `password of role ${role.name}`,
    reason: observed ? 'a login with the password in its secret fails' : 'declared, and the role is new',
    statements: [
      {
        sql: `ALTER ROLE ${ident(role.name)} PASSWORD ${VERIFIER_PLACEHOLDER}`,
        verifierOf: role.passwordOf ?? role.name,
      },
    ],
    subjects: [{ kind: 'role', name: role.name }],
    declaredBefore: false,
  });
}

/** Roles that own something need a standing membership of the connected role, so that it can act as them: SET alone, never INHERIT. */
export function planOwners(builder: PlanBuilder): void {
  const owners = new Set<string>();
  for (const database of builder.desired.databases) {
    owners.add(database.owner);
    database.schemas.forEach((schema) => owners.add(schema.owner));
    database.defaultPrivileges.forEach((d) => owners.add(d.creator));
    database.publications.forEach((publication) => owners.add(publication.owner));
    database.subscriptions.forEach((subscription) => owners.add(subscription.owner));
  }
  const memberships = [
    ...builder.observed.memberships,
    ...declaredMemberships(builder.desired, builder.observed.roles),
  ];
  for (const owner of [...owners].sort()) {
    if (!known(builder, owner)) {
      builder.refuse(
        `the role ${JSON.stringify(owner)} is declared as an owner, and is neither declared as a role nor there: declare it`,
      );
      continue;
    }
    if (isServerRole(owner) || builder.power.canSet(owner)) continue;
    if (reachable(memberships, owner, () => true).has(builder.power.user)) {
      builder.refuse(
        `the role ${JSON.stringify(owner)} is to own objects, and is itself a member of ${builder.power.user}, so that it cannot be granted to it: REVOKE ${ident(builder.power.user)} FROM the role in between`,
      );
      continue;
    }
    if (!builder.power.administers(owner)) {
      refuseWithoutAdmin(builder, owner);
      continue;
    }
    builder.power.willSet.add(owner);
    builder.add({
      phase: 'memberships',
      risk: 'add',
      object: `membership of ${builder.power.user} in ${owner}`,
      reason: 'acting as the owner needs SET; its privileges are not inherited',
      statements: [{ sql: `GRANT ${ident(owner)} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE` }],
    });
  }
}

function known(builder: PlanBuilder, role: string): boolean {
  return builder.observed.roles.has(role) || builder.desired.roles.some(({ name }) => name === role);
}

export function planMemberships(builder: PlanBuilder, previous: Previous): void {
  const wanted = declaredMemberships(builder.desired, builder.observed.roles);
  for (const m of wanted) planMembership(builder, previous, m);
  const declaredMembers = new Set(builder.desired.roles.map((role) => role.name));
  const wantedPairs = new Set(wanted.map(membershipKey));
  for (const m of builder.observed.memberships) {
    if (!declaredMembers.has(m.member) || wantedPairs.has(membershipKey(m))) continue;
    // What the server itself gives to whoever creates a role is part of the server, and cannot be revoked by its holder.
    if (builder.observed.roles.get(m.grantor)?.superuser && m.admin && !m.inherit && !m.set) continue;
    planRevokedMembership(builder, previous, m);
  }
}

function planMembership(builder: PlanBuilder, previous: Previous, m: DesiredMembership): void {
  const object = `membership of ${m.member} in ${m.role}`;
  if (m.role === DATABASE_OWNER_ROLE) {
    return builder.refuse(
      `the ${object} cannot be given: the owner of each database is its only member; grant the owner itself`,
    );
  }
  const { user, looksOnly } = builder.power;
  if (m.member === user && !looksOnly) {
    return builder.refuse(
      `the ${object} cannot be declared: ${user} applies this state, and has by itself what it needs to act as the owners; leave it out`,
    );
  }
  const since = PREDEFINED_SINCE[m.role];
  const major = Math.floor(builder.observed.versionNumber / 10_000);
  if (since !== undefined && major < since) {
    return builder.refuse(
      `the predefined role ${m.role} exists from PostgreSQL ${since} on, and this server is ${builder.observed.version}: remove it from ${m.member}`,
    );
  }
  for (const role of [m.role, m.member]) {
    if (!known(builder, role)) {
      const hint =
        role === IAM_ROLE
          ? 'IAM login needs Amazon RDS or Aurora; choose a password'
          : 'declare it, or create it before';
      return builder.refuse(
        `the ${object} cannot be given, since the role ${JSON.stringify(role)} does not exist: ${hint}`,
      );
    }
  }
  const rows = builder.observed.memberships.filter((row) => row.role === m.role && row.member === m.member);
  const implicit = rows.filter(
    (row) => builder.observed.roles.get(row.grantor)?.superuser && row.admin && !row.inherit && !row.set,
  );
  const effective = (option: 'inherit' | 'set' | 'admin', among = rows) => among.some((row) => row[option]);
  const missing = MEMBERSHIP_OPTIONS.filter((option) => m[option] && !effective(option));
  if (rows.length === 0 || missing.length > 0) {
    if (m.role === RDS_SUPERUSER) {
      return builder.refuse(
        `the ${object} is not given: its members administer the whole server and every role in it; grant what ${m.member} needs, or a predefined role such as pg_monitor`,
      );
    }
    if (!builder.power.administers(m.role)) return refuseWithoutAdmin(builder, m.role);
    // All three options are written out: an omitted one would keep an old value or follow the member's attribute. A GRANT
    // changes the row of its own grantor alone, and what is too much in it goes by a step that says so.
    const own = rows.filter((row) => !implicit.includes(row) && builder.power.grantsAs(row.grantor));
    const options = {
      inherit: m.inherit || effective('inherit', own),
      set: m.set || effective('set', own),
      admin: m.admin || effective('admin', own),
    };
    const endsPassword =
      m.role === IAM_ROLE && rows.length === 0 && builder.observed.roles.get(m.member)?.login === true;
    builder.add({
      phase: 'memberships',
      risk: endsPassword ? 'disruptive' : rows.length === 0 ? 'add' : 'widen',
      object,
      reason: endsPassword
        ? 'declared, and not there; the role logs in by IAM token from then on, and no more by password'
        : rows.length === 0
          ? 'declared, and not there'
          : `declared with ${missing.join(', ').toUpperCase()}`,
      subjects: [{ kind: 'role', name: m.member }],
      declaredBefore: previous.role(m.member)?.authentication === 'password',
      statements: [
        {
          sql: `GRANT ${ident(m.role)} TO ${ident(m.member)} WITH ADMIN ${word(options.admin)}, INHERIT ${word(options.inherit)}, SET ${word(options.set)}`,
        },
      ],
    });
  }
  for (const option of MEMBERSHIP_OPTIONS) {
    if (m[option]) continue;
    for (const row of rows) {
      if (!row[option] || implicit.includes(row)) continue;
      builder.add({
        phase: 'narrowRoles',
        risk: 'narrow',
        object,
        reason: `granted by ${row.grantor} with ${option.toUpperCase()}, which is not declared`,
        statements: byGrantor(
          builder,
          row.grantor,
          `REVOKE ${option.toUpperCase()} OPTION FOR ${ident(m.role)} FROM ${ident(m.member)}`,
        ),
        subjects: [{ kind: 'role', name: m.member }],
        declaredBefore: previous.membership(m.role, m.member)?.[option] === true,
        impossible: option === 'admin' ? dependents(builder, m.role, m.member) : undefined,
      });
    }
  }
}

function planRevokedMembership(builder: PlanBuilder, previous: Previous, m: ObservedMembership): void {
  builder.add({
    phase: 'narrowRoles',
    risk: 'narrow',
    object: `membership of ${m.member} in ${m.role}`,
    reason: `granted by ${m.grantor}, and not declared`,
    statements: byGrantor(builder, m.grantor, `REVOKE ${ident(m.role)} FROM ${ident(m.member)}`),
    subjects: [{ kind: 'role', name: m.member }],
    declaredBefore: previous.gaveMembership(m),
    impossible: m.admin ? dependents(builder, m.role, m.member) : undefined,
  });
}

function dependents(builder: PlanBuilder, role: string, member: string): string | undefined {
  const given = builder.observed.memberships
    .filter((row) => row.role === role && row.grantor === member)
    .map((row) => row.member);
  return given.length === 0
    ? undefined
    : `${member} has itself given ${role} to ${given.join(', ')}, and revoking would take it from them: grant it to them by another role first`;
}

const word = (value: boolean) => (value ? 'TRUE' : 'FALSE');

export function guardCycles(builder: PlanBuilder): void {
  const all = [...builder.observed.memberships, ...builder.desired.memberships];
  const pairs = new Set(builder.desired.memberships.map(membershipKey));
  for (const m of builder.desired.memberships) {
    if (m.role === m.member || reachable(all, m.role, () => true).has(m.member)) {
      // The server itself would refuse the GRANT, so what is there has to go first.
      const way = wayTo(m.member, m.role, builder.observed.memberships, () => true);
      const byHand = way?.find((row) => !pairs.has(membershipKey(row)));
      builder.refuse(
        `the membership of ${JSON.stringify(m.member)} in ${JSON.stringify(m.role)} closes a circle: ${m.role} is already a member of ${m.member}${byHand ? `; ${revokeByHand(byHand)}` : ''}`,
      );
    }
  }
}

export function planDatabases(builder: PlanBuilder): void {
  for (const database of builder.desired.databases) {
    const observed = builder.observed.databases.get(database.name);
    if (database.connectionLimit === 0 && !builder.power.superuser) {
      builder.refuse(
        `the database ${JSON.stringify(database.name)} is declared with a connection limit of 0, which lets nobody in, ${builder.power.user} neither, who has to come again: take CONNECT from the roles instead`,
      );
      continue;
    }
    if (!observed) {
      if (builder.ledgerObject({ kind: 'database', name: database.name })?.established)
        builder.notes.push(
          `the database ${database.name} was there when it was last declared, and is gone: it is made anew, and empty`,
        );
      planNewDatabase(builder, database);
      continue;
    }
    const object = `database ${database.name}`;
    if (!observed.allowConnections)
      builder.refuse(
        `the ${object} allows no connections: ALTER DATABASE ${ident(database.name)} ALLOW_CONNECTIONS true, or leave it out`,
      );
    const created = { encoding: serverEncoding, locale: serverLocale };
    for (const property of ['encoding', 'locale'] as const) {
      const declared = database[property];
      if (declared !== undefined && created[property](declared) !== created[property](observed[property])) {
        builder.refuse(
          `the ${object} has the ${property} ${observed[property]}, and ${declared} is declared: PostgreSQL fixes it at creation, so this needs a new database and a data move`,
        );
      }
    }
    const subjects = [{ kind: 'database', name: database.name } as const];
    if (database.connectionLimit !== undefined && database.connectionLimit !== observed.connectionLimit) {
      const rises =
        database.connectionLimit === -1 ||
        (observed.connectionLimit !== -1 && database.connectionLimit > observed.connectionLimit);
      builder.add({
        phase: 'databases',
        risk: rises ? 'widen' : 'narrow',
        object,
        reason: `its connection limit is ${observed.connectionLimit}`,
        statements: builder.power.actAs(observed.owner, [
          { sql: `ALTER DATABASE ${ident(database.name)} CONNECTION LIMIT ${database.connectionLimit}` },
        ]),
        subjects,
      });
    }
    if (database.owner !== observed.owner) {
      builder.add({
        phase: 'databaseOwners',
        risk: 'disruptive',
        object,
        reason: `it belongs to ${observed.owner}; the objects in it stay with their owners`,
        statements: builder.power.inheriting(observed.owner, [
          { sql: `ALTER DATABASE ${ident(database.name)} OWNER TO ${ident(database.owner)}` },
        ]),
        subjects,
        from: observed.owner,
      });
    }
  }
}

function planNewDatabase(builder: PlanBuilder, database: DesiredDatabase): void {
  if (!builder.power.createDatabase) {
    return builder.refuse(
      `the database ${JSON.stringify(database.name)} is missing, and ${builder.power.user} may not create one: ALTER ROLE ${ident(builder.power.user)} CREATEDB`,
    );
  }
  const options = [
    ...(database.encoding === undefined ? [] : [`ENCODING ${literal(database.encoding)}`]),
    ...(database.locale === undefined ? [] : [`LOCALE ${literal(database.locale)}`]),
    ...((database.encoding ?? database.locale) ? ['TEMPLATE template0'] : []),
    ...(database.connectionLimit === undefined ? [] : [`CONNECTION LIMIT ${database.connectionLimit}`]),
  ];
  builder.add({
    phase: 'createDatabases',
    risk: 'add',
    object: `database ${database.name}`,
    reason: 'declared, and not there',
    statements: [
      { sql: [`CREATE DATABASE ${ident(database.name)} OWNER ${ident(database.owner)}`, ...options].join(' ') },
    ],
    transactional: false,
  });
}

export function planSettings(builder: PlanBuilder, previous: Previous): void {
  const scope = (s: { role?: string; database?: string }) => JSON.stringify([s.role ?? null, s.database ?? null]);
  const observed = new Map(builder.observed.settings.map((settings) => [scope(settings), settings.values]));
  const declared = new Set(builder.desired.settings.map((s) => scope(s) + s.name.toLowerCase()));
  const before = new Map(previous.settings.map((s) => [scope(s) + s.name.toLowerCase(), s]));
  for (const setting of builder.desired.settings) {
    const name = setting.name.toLowerCase();
    const facts = builder.observed.settingFacts.get(name);
    const problem = settingProblem(builder, setting);
    if (problem) {
      builder.refuse(`${settingObject(setting)} cannot be set: ${problem}`);
      continue;
    }
    if (builder.desired.roles.some((role) => role.name === setting.role && !role.login)) {
      builder.notes.push(
        `${settingObject(setting)} has no effect on anybody: the role does not log in, and members inherit no settings`,
      );
    }
    const current = observed.get(scope(setting))?.get(name);
    if (current !== undefined && sameSetting(setting, current, facts)) continue;
    if (setting.role !== undefined && builder.observed.connected.has(setting.role)) {
      builder.notes.push(`${settingObject(setting)}: the sessions that the role has now keep the earlier value`);
    }
    if (current === undefined && setting.role !== undefined && !builder.power.alters(setting.role)) {
      refuseWithoutAdmin(builder, setting.role);
      continue;
    }
    const earlier = before.get(scope(setting) + name);
    builder.add({
      phase: setting.database === undefined ? 'memberships' : 'databases',
      risk: current === undefined ? 'add' : 'disruptive',
      object: settingObject(setting),
      reason:
        current === undefined
          ? 'declared, and not set; new sessions get it'
          : `it is ${JSON.stringify(current)}; new sessions get the new value`,
      statements: settingStatements(builder, setting, `SET ${ident(name)} TO ${settingLiteral(setting)}`),
      subjects: settingSubjects(setting),
      declaredBefore: earlier !== undefined && current !== undefined && sameSetting(earlier, current, facts),
    });
  }
  for (const [key, setting] of before) {
    const current = observed.get(scope(setting))?.get(setting.name.toLowerCase());
    const scopeDeclared =
      (setting.role === undefined || builder.desired.roles.some(({ name }) => name === setting.role)) &&
      (setting.database === undefined || builder.desired.databases.some(({ name }) => name === setting.database));
    if (declared.has(key) || current === undefined || !scopeDeclared) continue;
    if (!sameSetting(setting, current, undefined)) {
      builder.notes.push(
        `${settingObject(setting)} is not declared any more, and somebody has changed it since: it stays ${JSON.stringify(current)}`,
      );
      continue;
    }
    builder.add({
      // The owner of the database resets it, so before the owner changes.
      phase: setting.role === undefined ? 'revokes' : 'narrowRoles',
      risk: 'disruptive',
      object: settingObject(setting),
      reason: 'not declared any more',
      statements: settingStatements(builder, setting, `RESET ${ident(setting.name.toLowerCase())}`),
      subjects: settingSubjects(setting),
      declaredBefore: true,
    });
  }
}

function settingObject(s: DesiredSetting): string {
  const of =
    s.role === undefined
      ? `database ${s.database}`
      : s.database === undefined
        ? `role ${s.role}`
        : `role ${s.role} in database ${s.database}`;
  return `setting ${s.name} of ${of}`;
}

function settingSubjects(s: DesiredSetting) {
  return s.role === undefined
    ? [{ kind: 'database' as const, name: s.database! }]
    : [{ kind: 'role' as const, name: s.role }];
}

function settingStatements(builder: PlanBuilder, s: DesiredSetting, change: string) {
  if (s.role !== undefined) {
    if (!builder.power.alters(s.role)) return undefined;
    const where = s.database === undefined ? '' : ` IN DATABASE ${ident(s.database)}`;
    return [{ sql: `ALTER ROLE ${ident(s.role)}${where} ${change}` }];
  }
  const owner =
    builder.observed.databases.get(s.database!)?.owner ??
    builder.desired.databases.find(({ name }) => name === s.database)!.owner;
  return builder.power.actAs(owner, [{ sql: `ALTER DATABASE ${ident(s.database!)} ${change}` }]);
}

function settingProblem(builder: PlanBuilder, s: DesiredSetting): string | undefined {
  if (s.role !== undefined && !known(builder, s.role))
    return `the role ${JSON.stringify(s.role)} is neither declared nor there`;
  if (
    s.database !== undefined &&
    !builder.observed.databases.has(s.database) &&
    !builder.desired.databases.some(({ name }) => name === s.database)
  ) {
    return `the database ${JSON.stringify(s.database)} is neither declared nor there`;
  }
  const facts = builder.observed.settingFacts.get(s.name.toLowerCase());
  if (!facts) {
    if (builder.power.superuser && s.name.includes('.')) return undefined;
    return s.name.includes('.')
      ? 'the server does not know it, and only a superuser may store such a placeholder: let the application set it in each transaction (SET LOCAL)'
      : 'PostgreSQL has no such setting: look for a misspelling, or for a setting of another major version';
  }
  if (facts.context !== 'user' && facts.context !== 'superuser')
    return `it is a ${facts.context} setting, of the whole server: set it in the parameter group`;
  if (facts.context === 'superuser' && !facts.maySet)
    return `only a superuser may set it for a role or database, and ${builder.power.user} is none: set it in the parameter group`;
  return undefined;
}

/** Roles that this state made and that went out of its declaration: they lose their login after a grace, and nothing else. */
export function planRemovedRoles(builder: PlanBuilder, declarationHash: string): void {
  const declared = new Set(builder.desired.roles.map((role) => role.name));
  for (const object of builder.ledger.objects.values()) {
    if (
      object.kind !== 'role' ||
      object.state !== builder.desired.name ||
      object.removedBy === FREED ||
      declared.has(object.name) ||
      object.origin !== 'created'
    )
      continue;
    const role = builder.observed.roles.get(object.name);
    if (!role?.login) continue;
    const due =
      object.removedAt !== undefined &&
      (object.removedBy !== declarationHash ||
        builder.observed.now.getTime() - object.removedAt.getTime() >= DISABLE_AFTER_MS);
    if (!due) {
      builder.notes.push(
        `the role ${object.name} is not declared any more: it keeps its login until the next changed deployment, or 24 hours`,
      );
    } else if (builder.observed.connected.has(object.name)) {
      builder.notes.push(`the role ${object.name} is not declared any more and has a session now: it keeps its login`);
    } else {
      builder.add({
        phase: 'disableRoles',
        risk: 'disruptive',
        object: `role ${object.name}`,
        reason: 'not declared any more; its password, grants and objects stay, so that LOGIN brings it back',
        statements: [{ sql: `ALTER ROLE ${ident(object.name)} NOLOGIN` }],
        declaredBefore: true,
      });
    }
  }
}
