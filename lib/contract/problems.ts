import { DesiredDatabase, DesiredState } from './desired-state';
import { serverEncoding } from './encodings';
import { nameProblem, NameKind, turnsOf } from './names';
import { rowFilterProblem } from './row-filter';

/**
 * What is wrong with a state whose every part has its type: names that PostgreSQL would refuse or change, values out of their range,
 * duplicates, references to what is not declared.
 */
export function stateProblems(state: DesiredState): string[] {
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
  for (const { name, login, authentication, connectionLimit, validUntil } of state.roles) {
    named('role', name);
    const role = `the role ${JSON.stringify(name)}`;
    if (connectionLimit !== undefined && connectionLimit < -1)
      problems.push(`CONNECTION LIMIT of ${role} is a number from 0 on, or -1 for none`);
    if (validUntil !== undefined && !isMoment(validUntil))
      problems.push(`VALID UNTIL of ${role} is infinity, or a moment in UTC such as 2030-01-01T00:00:00Z`);
    if (!login && authentication !== 'none')
      problems.push(`${role} has no LOGIN: a role without LOGIN cannot have an authentication`);
  }
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
    if (drop.reason.trim() === '')
      problems.push(`the drop of the ${drop.kind} ${JSON.stringify(drop.name)} needs a reason after BECAUSE`);
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
  for (const { column, schema, setting, roles, allTenants } of database.isolations) {
    referred('column', column);
    if (!/^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$/i.test(setting))
      problems.push(
        `the isolation of the schema ${JSON.stringify(schema)} has the setting ${JSON.stringify(setting)}: the setting with the tenant has a prefix and a name, as in app.tenant_id`,
      );
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
    if (publication.allTables && publication.tables.length + publication.schemas.length > 0)
      problems.push(
        `in the publication ${JSON.stringify(publication.name)}, ALL TABLES stands alone, since it has every table already`,
      );
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
    Object.entries(subscription.options).forEach(([option, value]) => text(`the option ${option}`, value ?? ''));
  }
  for (const { name, consumer, plugin } of database.slots) {
    referred('role', consumer, plugin);
    if (!/^[a-z0-9_]{1,63}$/.test(name))
      problems.push(`the name of the slot ${JSON.stringify(name)} has lower case letters, digits and _ alone`);
  }
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

/** In UTC and complete: PostgreSQL would read anything less in the time zone of the session. */
function isMoment(text: string): boolean {
  const isUtc = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/.test(text);
  return text === 'infinity' || (isUtc && !Number.isNaN(Date.parse(text)));
}
