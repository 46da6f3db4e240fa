import { CONTRACT_VERSION, DesiredDatabase, DesiredState } from './desired-state';
import {
  readComment,
  readDefaultPrivilege,
  readDrop,
  readExtension,
  readGrant,
  readIsolation,
  readMembership,
  readPublication,
  readRole,
  readSetting,
  readSlot,
  readSubscription,
  writeComment,
  writeDefaultPrivilege,
  writeDrop,
  writeExtension,
  writeGrant,
  writeIsolation,
  writeMembership,
  writePublication,
  writeRole,
  writeSetting,
  writeSlot,
  writeSubscription,
} from './lines';
import { serverEncoding } from './encodings';
import { Fields } from './fields';
import { nameProblem, NameKind, turnsOf } from './names';
import { rowFilterProblem } from './row-filter';

/**
 * The form in which a desired state travels: in CloudFormation properties, in a file asset, on disk. `desired-state.schema.json`
 * describes it. Lists are sorted, so that the same declaration always gives the same document. Empty lists and maps are left out,
 * since CloudFormation drops them on the way.
 */
export interface StateDocument {
  readonly version: number;
  readonly name: string;
  readonly profile: string;
  readonly defaults: string;
  readonly acknowledgedPlans?: readonly string[];
  readonly roles?: readonly string[];
  readonly memberships?: readonly string[];
  readonly settings?: readonly string[];
  readonly comments?: readonly string[];
  readonly drops?: readonly string[];
  readonly databases?: Readonly<Record<string, DatabaseDocument>>;
}

export interface DatabaseDocument {
  readonly owner: string;
  readonly connectionLimit?: number;
  readonly encoding?: string;
  readonly locale?: string;
  readonly public: string;
  /** Schema name to owner. */
  readonly schemas?: Readonly<Record<string, string>>;
  readonly grants?: readonly string[];
  readonly defaultPrivileges?: readonly string[];
  readonly extensions?: readonly string[];
  readonly isolations?: readonly string[];
  readonly publications?: readonly string[];
  readonly subscriptions?: readonly string[];
  readonly slots?: readonly string[];
}

/** A document that is not a desired state, with the place of every problem. */
export class ContractError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`The desired state is not valid: ${problems.join('; ')}`);
    this.name = 'ContractError';
  }
}

export function encodeState(state: DesiredState): StateDocument {
  return compact({
    version: state.version,
    name: state.name,
    profile: state.profile,
    defaults: state.defaults,
    acknowledgedPlans: sorted(state.acknowledgedPlans, String),
    roles: sorted(state.roles, writeRole),
    memberships: sorted(state.memberships, writeMembership),
    settings: sorted(state.settings, writeSetting),
    comments: sorted(state.comments, writeComment),
    drops: sorted(state.drops, writeDrop),
    databases: map(state.databases, (database) =>
      compact({
        owner: database.owner,
        connectionLimit: database.connectionLimit,
        encoding: database.encoding,
        locale: database.locale,
        public: database.public,
        schemas: map(database.schemas, (schema) => schema.owner),
        grants: sorted(database.grants, writeGrant),
        defaultPrivileges: sorted(database.defaultPrivileges, writeDefaultPrivilege),
        extensions: sorted(database.extensions, writeExtension),
        isolations: sorted(database.isolations, writeIsolation),
        publications: sorted(database.publications, writePublication),
        subscriptions: sorted(database.subscriptions, writeSubscription),
        slots: sorted(database.slots, writeSlot),
      }),
    ),
  });
}

/**
 * Reads a document strictly: an unknown key, a wrong type, a bad line or a name that PostgreSQL would change is an error with
 * its place. Scalars may be strings, as CloudFormation makes them, or what they were, as an emulator leaves them.
 */
export function decodeState(document: unknown): DesiredState {
  const problems: string[] = [];
  const top = new Fields(document, 'the state', problems);
  const version = top.integer('version');
  if (version !== undefined && version !== CONTRACT_VERSION) {
    throw new ContractError([
      `version is ${version}, and this code reads version ${CONTRACT_VERSION}: deploy it with the version of cdk-postgres that wrote it`,
    ]);
  }
  const state = {
    version: CONTRACT_VERSION,
    name: top.string('name') ?? '',
    profile: top.choice('profile', ['production', 'development']) ?? 'production',
    defaults: top.choice('defaults', ['V1', 'V2']) ?? 'V1',
    acknowledgedPlans: top.lines('acknowledgedPlans', String),
    roles: top.lines('roles', readRole),
    memberships: top.lines('memberships', readMembership),
    settings: top.lines('settings', readSetting),
    comments: top.lines('comments', readComment),
    drops: top.lines('drops', readDrop),
    databases: top.entries('databases', (name, value, place): DesiredDatabase => {
      const fields = new Fields(value, place, problems);
      const database = {
        name,
        owner: fields.string('owner') ?? '',
        connectionLimit: fields.integer('connectionLimit', true),
        encoding: fields.string('encoding', true),
        locale: fields.string('locale', true),
        public: fields.choice('public', ['closed', 'kept']) ?? 'closed',
        schemas: fields.entries('schemas', (schema, owner, at) => {
          if (typeof owner !== 'string') problems.push(`${at} must be the name of its owner`);
          return { name: schema, owner: String(owner) };
        }),
        grants: fields.lines('grants', readGrant),
        defaultPrivileges: fields.lines('defaultPrivileges', readDefaultPrivilege),
        extensions: fields.lines('extensions', readExtension),
        isolations: fields.lines('isolations', readIsolation),
        publications: fields.lines('publications', readPublication),
        subscriptions: fields.lines('subscriptions', readSubscription),
        slots: fields.lines('slots', readSlot),
      };
      fields.end();
      return database;
    }),
  } satisfies DesiredState;
  top.end();
  problems.push(...semanticProblems(state));
  if (problems.length > 0) throw new ContractError(problems);
  READ.add(state);
  return state;
}

/** States that came out of `decodeState()`. */
const READ = new WeakSet<DesiredState>();

/** A state as strict as if it had travelled, whoever made it. One that was decoded is not read a second time. */
export function strictState(state: DesiredState): DesiredState {
  return READ.has(state) ? state : decodeState(encodeState(state));
}

/** What no single line can show: names that PostgreSQL would refuse or change, duplicates, references to what is not declared. */
function semanticProblems(state: DesiredState): string[] {
  const problems: string[] = [];
  const named = (kind: NameKind, name: string, what: string = kind) => {
    const problem = nameProblem(kind, name);
    if (problem) problems.push(`the ${what} ${JSON.stringify(name)} ${problem}`);
  };
  // What is only referred to may be reserved (a predefined role), but not something that PostgreSQL would cut off.
  const referred = (what: string, ...names: (string | undefined)[]) =>
    names.forEach((name) => name !== undefined && named('object', name, what));
  const text = (what: string, value: string) => {
    if (value.includes('\0')) problems.push(`${what} contains a NUL character`);
  };
  const unique = (what: string, keys: string[]) => {
    const seen = new Set<string>();
    for (const key of keys) {
      if (seen.has(key)) problems.push(`${what} ${key} is declared twice`);
      seen.add(key);
    }
  };
  if (state.name.length === 0) problems.push('the state has no name');
  text('the name of the state', state.name);
  state.roles.forEach((role) => named('role', role.name));
  for (const { name, passwordOf } of state.roles) {
    if (passwordOf === undefined) continue;
    const what = `the role ${JSON.stringify(name)} has its password from the secret of ${JSON.stringify(passwordOf)}`;
    if (!turnsOf(passwordOf).includes(name))
      problems.push(`${what}, in which ${turnsOf(passwordOf).join(' and ')} take turns`);
    if (!state.roles.some((role) => role.name === passwordOf)) problems.push(`${what}, which is not declared`);
  }
  state.memberships.forEach((m) => referred('role', m.role, m.member));
  for (const { on, text: comment } of state.comments) {
    referred(on.kind, on.name);
    text(`the comment on the ${on.kind} ${JSON.stringify(on.name)}`, comment);
  }
  for (const drop of state.drops) {
    // Names that are the server's own are refused as in a declaration.
    const kind = drop.kind === 'role' || drop.kind === 'database' || drop.kind === 'schema' ? drop.kind : 'object';
    named(kind, drop.name, drop.kind);
    if ('database' in drop) named('database', drop.database);
    referred('role', drop.reassignTo);
    if (drop.reassignTo === drop.name)
      problems.push(`the role ${JSON.stringify(drop.name)} cannot inherit from itself what it owns`);
    text(`the reason to drop the ${drop.kind} ${JSON.stringify(drop.name)}`, drop.reason);
  }
  unique('the drop of', state.drops.map(dropKey));
  for (const { role, database, name, values } of state.settings) {
    referred('role', role);
    referred('database', database);
    referred('setting', name);
    values.forEach((value) => text(`a value of the setting ${JSON.stringify(name)}`, value));
  }
  unique(
    'the role',
    state.roles.map((role) => JSON.stringify(role.name)),
  );
  unique(
    'the membership of',
    state.memberships.map((m) => `${JSON.stringify(m.member)} in ${JSON.stringify(m.role)}`),
  );
  unique(
    'the setting',
    state.settings.map((s) => JSON.stringify([s.role, s.database, s.name])),
  );
  unique(
    'the comment on',
    state.comments.map(({ on }) => JSON.stringify(on)),
  );
  const kept = new Set(state.databases.flatMap((database) => [...managedNames(database)]));
  for (const name of [...state.roles.map((role) => key('role', role.name)), ...kept]) {
    if (state.drops.some((drop) => name === dropKey(drop)))
      problems.push(`${name} is declared and to be dropped: take it out of the one or the other`);
  }
  const inUse = state.drops.length > 0 ? rolesInUse(state) : new Set();
  for (const drop of state.drops) {
    if (drop.kind === 'role' && inUse.has(drop.name))
      problems.push(`the role ${JSON.stringify(drop.name)} is to be dropped and a declaration still names it`);
    if ('database' in drop && state.drops.some(({ kind, name }) => kind === 'database' && name === drop.database))
      problems.push(
        `the ${drop.kind} ${JSON.stringify(drop.name)} goes with the database ${JSON.stringify(drop.database)}, which is to be dropped too: drop the database alone`,
      );
  }
  for (const database of state.databases) {
    named('database', database.name);
    problems.push(...insideProblems(database, { referred, text, unique }));
    if (database.encoding !== undefined && serverEncoding(database.encoding) === undefined)
      problems.push(
        `the encoding ${JSON.stringify(database.encoding)} of the database ${JSON.stringify(database.name)} is none that a database of PostgreSQL can have`,
      );
    text(`the locale of the database ${JSON.stringify(database.name)}`, database.locale ?? '');
    if (database.connectionLimit !== undefined && database.connectionLimit < -1)
      problems.push(
        `connectionLimit of the database ${JSON.stringify(database.name)} is a number from 0 on, or -1 for none`,
      );
    referred('role', database.owner, ...database.schemas.map((schema) => schema.owner));
    for (const { on, to } of database.grants) {
      referred('role', to);
      if (on.kind === 'routine') text('the signature of a routine', on.signature);
      else if ('name' in on) referred(on.kind, on.name);
    }
    database.defaultPrivileges.forEach((d) => referred('role', d.creator, d.to));
    const schemas = new Set(database.schemas.map((schema) => schema.name));
    schemas.forEach((schema) => named('schema', schema));
    for (const { schema } of [
      ...database.isolations,
      ...database.publications.flatMap((publication) => publication.schemas.map((schema) => ({ schema }))),
      ...database.grants.map(({ on }) => ({ schema: 'schema' in on ? on.schema : undefined })),
      ...database.defaultPrivileges,
    ]) {
      if (schema !== undefined && !schemas.has(schema)) {
        problems.push(
          `a declaration in the database ${JSON.stringify(database.name)} names the schema ${JSON.stringify(schema)}, which is not declared there`,
        );
      }
    }
  }
  return [...new Set(problems)];
}

/** The roles that something else than their own declaration needs. */
function rolesInUse(state: DesiredState): Set<string> {
  return new Set([
    ...state.memberships.flatMap((m) => [m.role, m.member]),
    ...state.settings.flatMap(({ role }) => role ?? []),
    ...state.drops.flatMap((drop) => drop.reassignTo ?? []),
    ...state.databases.flatMap((database) => [
      database.owner,
      ...database.schemas.map(({ owner }) => owner),
      ...database.grants.map(({ to }) => to),
      ...database.defaultPrivileges.flatMap((d) => [d.creator, d.to]),
      ...database.isolations.flatMap(({ roles, allTenants }) => [...roles, ...allTenants]),
      ...[...database.publications, ...database.subscriptions].map(({ owner }) => owner),
      ...database.slots.map(({ consumer }) => consumer),
    ]),
  ]);
}

const key = (...parts: string[]) =>
  `the ${parts.map((part, at) => (at === 0 ? part : JSON.stringify(part))).join(' ')}`;

function dropKey(drop: DesiredState['drops'][number]): string {
  return 'database' in drop ? key(drop.kind, drop.database, drop.name) : key(drop.kind, drop.name);
}

function* managedNames(database: DesiredDatabase): Generator<string> {
  yield key('database', database.name);
  const inside = {
    schema: database.schemas,
    extension: database.extensions,
    publication: database.publications,
    subscription: database.subscriptions,
    slot: database.slots,
  };
  for (const [kind, items] of Object.entries(inside))
    for (const { name } of items) yield key(kind, database.name, name);
}

function insideProblems(
  database: DesiredDatabase,
  check: {
    referred: (what: string, ...names: (string | undefined)[]) => void;
    text: (what: string, value: string) => void;
    unique: (what: string, keys: string[]) => void;
  },
): string[] {
  const problems: string[] = [];
  const { referred, text, unique } = check;
  for (const { name, schema, version } of database.extensions) {
    referred('extension', name);
    referred('schema', schema);
    text(`the version of the extension ${JSON.stringify(name)}`, version ?? '');
  }
  for (const { column, schema, roles, allTenants } of database.isolations) {
    referred('column', column);
    referred('role', ...roles, ...allTenants);
    const both = roles.filter((role) => allTenants.includes(role));
    if (both.length > 0)
      problems.push(
        `the isolation of the schema ${JSON.stringify(schema)} names ${both.join(', ')} for one tenant and for all tenants`,
      );
  }
  for (const publication of database.publications) {
    referred('publication', publication.name);
    referred('role', publication.owner);
    for (const { schema, name, columns, where, identity } of publication.tables) {
      referred('schema', schema);
      referred('table', name);
      referred('column', ...(columns ?? []));
      const problem = where === undefined ? undefined : rowFilterProblem(where);
      if (problem) problems.push(`the row filter of ${JSON.stringify(name)} ${problem}`);
      if (identity?.kind === 'index') referred('index', identity.index);
    }
    unique(
      `in the publication ${JSON.stringify(publication.name)}, the table`,
      publication.tables.map((table) => JSON.stringify([table.schema, table.name])),
    );
  }
  for (const subscription of database.subscriptions) {
    referred('subscription', subscription.name, ...subscription.publications);
    referred('slot', subscription.slot);
    referred('role', subscription.owner);
    text(`the secret of the subscription ${JSON.stringify(subscription.name)}`, subscription.secret);
    Object.entries(subscription.options).forEach(([option, value]) => text(`the option ${option}`, value));
  }
  database.slots.forEach((slot) => referred('role', slot.consumer, slot.plugin));
  const where = ` of the database ${JSON.stringify(database.name)}`;
  for (const [kind, items] of Object.entries({
    extension: database.extensions,
    publication: database.publications,
    subscription: database.subscriptions,
    slot: database.slots,
  }))
    unique(
      `the ${kind}`,
      items.map(({ name }) => `${JSON.stringify(name)}${where}`),
    );
  unique(
    'the isolation of the schema',
    database.isolations.map(({ schema }) => `${JSON.stringify(schema)}${where}`),
  );
  return problems;
}

function sorted<T>(items: readonly T[], write: (item: T) => string): string[] {
  return items.map(write).sort();
}

function map<T extends { readonly name: string }, V>(items: readonly T[], value: (item: T) => V): Record<string, V> {
  const byName = [...items].sort((a, b) => (a.name < b.name ? -1 : 1));
  return Object.fromEntries(byName.map((item) => [item.name, value(item)]));
}

function compact<T extends object>(fields: T): T {
  const isEmpty = (value: unknown) =>
    value === undefined || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => !isEmpty(value))) as T;
}
