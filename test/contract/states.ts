import * as fc from 'fast-check';
import {
  DesiredDatabase,
  DesiredComment,
  DesiredDrop,
  DesiredGrant,
  DesiredIsolation,
  DesiredPublication,
  DesiredState,
  DesiredSubscription,
  GrantTarget,
  ISOLATION_STAGES,
  MAX_NAME_BYTES,
  nameProblem,
  OBJECT_KIND_OF,
  PRIVILEGES,
  PUBLISHED_OPERATIONS,
  SUBSCRIPTION_OPTIONS,
  TENANT_TYPES,
  turnsOf,
  rowFilterProblem,
} from '../../lib/contract';

/** Names that break whoever splits, folds, escapes or counts in the wrong way. */
export const HOSTILE_NAMES = [
  'with"quote',
  '""',
  "it's",
  'a.b.c',
  'MyRole',
  'select',
  'to',
  'ON',
  'with space',
  ' ',
  'new\nline',
  'tab\tbed',
  'back\\slash',
  'semi;colon --',
  '/* x */',
  'a=r/b',
  '$user',
  '$1',
  '%s',
  'PUBLICUS',
  '__proto__',
  'constructor',
  '42',
  '-1',
  'ä-ß-€-😀',
  'e\u0301',
  '\u00a0',
  'x'.repeat(63),
  `${'é'.repeat(30)}€`,
];

const text = fc.string({ unit: 'binary', maxLength: 20 });
const anyName = fc
  .oneof(fc.constantFrom(...HOSTILE_NAMES), text, fc.string({ minLength: 1, maxLength: 12 }))
  .map((name) => (Buffer.byteLength(name) > MAX_NAME_BYTES ? name.slice(0, 15) : name));

const named = (kind: 'role' | 'database' | 'schema' | 'object') =>
  anyName.filter((name) => nameProblem(kind, name) === undefined);

const unique = <T>(item: fc.Arbitrary<T>, key: (item: T) => unknown, maxLength = 4) =>
  fc.uniqueArray(item, { selector: (value) => JSON.stringify(key(value)), maxLength });

const role = named('role');
const limit = fc.option(fc.integer({ min: -1, max: 1000 }), { nil: undefined });
const value = fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => !text.includes('\0'));

function targets(schemas: readonly string[]): fc.Arbitrary<GrantTarget> {
  const database = fc.constant<GrantTarget>({ kind: 'database' });
  if (schemas.length === 0) return database;
  const schema = fc.constantFrom(...schemas);
  return fc.oneof(
    database,
    fc.record({
      kind: fc.constantFrom('schema' as const, 'allTables' as const, 'allSequences' as const, 'allRoutines' as const),
      schema,
    }),
    fc.record({ kind: fc.constantFrom('table' as const, 'sequence' as const), schema, name: object }),
    fc.record({ kind: fc.constant('routine' as const), schema, signature: object.map((name) => `${name}(text)`) }),
  );
}

const privilegesOn = (on: keyof typeof OBJECT_KIND_OF) =>
  fc.subarray([...PRIVILEGES[OBJECT_KIND_OF[on]]], { minLength: 1 });

function grants(schemas: readonly string[]): fc.Arbitrary<DesiredGrant> {
  return targets(schemas).chain((on) =>
    fc.record({ privileges: privilegesOn(on.kind), on: fc.constant(on), to: role }),
  );
}

const optional = <T>(item: fc.Arbitrary<T>) => fc.option(item, { nil: undefined });
const object = named('object');
const slotName = fc.stringMatching(/^[a-z0-9_]{1,20}$/);

const publication: fc.Arbitrary<DesiredPublication> = fc.record({
  name: object,
  owner: role,
  operations: fc.subarray([...PUBLISHED_OPERATIONS], { minLength: 1 }),
  viaRoot: fc.boolean(),
  generatedColumns: fc.boolean(),
  schemas: fc.constant([]),
  allTables: fc.constant(false),
  tables: unique(
    fc.record({
      schema: object,
      name: object,
      columns: optional(fc.array(object, { minLength: 1, maxLength: 2 })),
      where: optional(value.filter((text) => rowFilterProblem(text) === undefined)),
      identity: optional(
        fc.oneof(
          fc.record({ kind: fc.constantFrom('default' as const, 'full' as const) }),
          fc.record({ kind: fc.constant('index' as const), index: object }),
        ),
      ),
    }),
    (t) => [t.schema, t.name],
    2,
  ),
});

const subscription: fc.Arbitrary<DesiredSubscription> = fc.record({
  name: object,
  owner: role,
  secret: value,
  publications: fc.uniqueArray(object, { minLength: 1, maxLength: 2 }).map((names) => names.sort()),
  slot: optional(object),
  enabled: fc.boolean(),
  options: fc
    .subarray([...SUBSCRIPTION_OPTIONS], { maxLength: 2 })
    .chain((names) => fc.tuple(...names.map((name) => value.map((text): [string, string] => [name, text]))))
    .map((pairs) => Object.fromEntries(pairs)),
});

function isolations(schemas: readonly string[]): fc.Arbitrary<DesiredIsolation[]> {
  return fc.tuple(
    ...schemas.map((schema) =>
      fc.uniqueArray(role, { minLength: 1, maxLength: 4 }).chain((roles) =>
        fc.record({
          schema: fc.constant(schema),
          column: object,
          type: fc.constantFrom(...TENANT_TYPES),
          setting: fc.constantFrom('app.tenant_id', 'Saas.tenant'),
          stage: fc.constantFrom(...ISOLATION_STAGES),
          roles: fc.constant(roles.slice(0, 2).sort()),
          allTenants: fc.constant(roles.slice(2).sort()),
        }),
      ),
    ),
  );
}

/** Names under a prefix that no declared object has, since what is declared is not dropped. */
const drop: fc.Arbitrary<DesiredDrop> = fc
  .tuple(
    fc.oneof(
      fc.record({ kind: fc.constantFrom('role' as const, 'database' as const), name: object.map(gone) }),
      fc.record({
        kind: fc.constantFrom(
          'schema' as const,
          'extension' as const,
          'publication' as const,
          'subscription' as const,
          'slot' as const,
        ),
        database: named('database'),
        name: object.map(gone),
      }),
    ),
    fc.record({
      reason: value.filter((reason) => reason.trim() !== ''),
      adopted: fc.boolean(),
      reassignTo: optional(role),
      force: fc.boolean(),
      cascade: fc.boolean(),
    }),
  )
  .map(([target, terms]) => ({
    ...target,
    ...terms,
    reassignTo: target.kind === 'role' ? terms.reassignTo : undefined,
    force: target.kind === 'database' && terms.force,
    cascade: target.kind === 'schema' && terms.cascade,
  }));

function gone(name: string): string {
  return `gone ${[...name].slice(0, 5).join('')}`;
}

const comment: fc.Arbitrary<DesiredComment> = fc.record({
  on: fc.oneof(
    fc.record({ kind: fc.constantFrom('role' as const, 'database' as const), name: object }),
    fc.record({ kind: fc.constant('schema' as const), database: object, name: object }),
  ),
  text: value,
});

const database: fc.Arbitrary<DesiredDatabase> = unique(named('schema'), (name) => name, 3).chain((schemas) =>
  fc.record({
    name: named('database'),
    owner: role,
    connectionLimit: limit,
    encoding: fc.constantFrom(undefined, 'UTF8'),
    locale: fc.constantFrom(undefined, 'C.UTF-8'),
    public: fc.constantFrom('closed' as const, 'kept' as const),
    schemas: fc.tuple(...schemas.map((name) => role.map((owner) => ({ name, owner })))),
    grants: fc.array(grants(schemas), { maxLength: 4 }),
    defaultPrivileges:
      schemas.length === 0
        ? fc.constant([])
        : fc.array(
            fc.constantFrom('tables' as const, 'sequences' as const, 'routines' as const).chain((objects) =>
              fc.record({
                creator: role,
                schema: fc.constantFrom(...schemas),
                objects: fc.constant(objects),
                privileges: privilegesOn(objects),
                to: role,
              }),
            ),
            { maxLength: 3 },
          ),
    extensions: unique(fc.record({ name: object, schema: optional(object), version: optional(value) }), (e) => e.name),
    isolations: isolations(schemas),
    publications: unique(publication, (p) => p.name, 2),
    subscriptions: unique(subscription, (s) => s.name, 2),
    slots: unique(
      fc.record({ name: slotName, plugin: object, consumer: role, failover: fc.boolean(), twoPhase: fc.boolean() }),
      (s) => s.name,
      2,
    ),
  }),
);

/** With two logins that take turns for one of the roles that do not log in. */
function withTurns(roles: DesiredState['roles']): DesiredState['roles'] {
  const named = (login: string) => nameProblem('role', login) === undefined;
  const group = roles.find((r) => !r.login && turnsOf(r.name).every(named));
  if (!group) return roles;
  const logins = turnsOf(group.name);
  return [
    ...roles.filter((r) => !logins.includes(r.name)),
    ...logins.map((name) => ({
      ...group,
      name,
      login: true,
      authentication: 'password' as const,
      passwordOf: group.name,
    })),
  ];
}

/** Valid states of every shape. */
export const states: fc.Arbitrary<DesiredState> = fc.record({
  version: fc.constant(1 as const),
  name: value.filter((name) => name.length > 0),
  profile: fc.constantFrom('production' as const, 'development' as const),
  defaults: fc.constant('V1' as const),
  acknowledgedPlans: fc.uniqueArray(fc.stringMatching(/^[0-9a-f]{16}$/), { maxLength: 2 }),
  roles: unique(
    fc
      .record({
        name: role,
        login: fc.boolean(),
        authentication: fc.constantFrom('none' as const, 'password' as const, 'iam' as const),
        inherit: fc.boolean(),
        createDatabase: fc.boolean(),
        createRole: fc.boolean(),
        replication: fc.constantFrom(undefined, true as const),
        connectionLimit: limit,
        validUntil: fc.constantFrom(undefined, 'infinity', '2030-01-01T00:00:00Z'),
      })
      .map((r) => (r.login ? r : { ...r, authentication: 'none' as const })),
    (r) => r.name,
  ).map(withTurns),
  memberships: unique(
    fc.record({ role, member: role, inherit: fc.boolean(), set: fc.boolean(), admin: fc.boolean() }),
    (m) => [m.role, m.member],
  ),
  settings: unique(
    fc.oneof(
      fc.record({
        role: fc.constant(undefined),
        database: role,
        name: named('object'),
        values: values(),
      }),
      fc.record({
        role,
        database: fc.option(named('database'), { nil: undefined }),
        name: named('object'),
        values: values(),
      }),
    ),
    (s) => [s.role, s.database, s.name],
  ),
  comments: unique(comment, (c) => c.on, 3),
  drops: unique(drop, (d) => [d.kind, 'database' in d && d.database, d.name], 2),
  databases: unique(database, (d) => d.name, 3),
});

function values(): fc.Arbitrary<string[]> {
  return fc.array(value, { minLength: 1, maxLength: 3 });
}

/** The state with its lists in the order in which they travel, for comparison. */
export function ordered(state: DesiredState): unknown {
  const sort = (items: readonly unknown[]) => items.map((item) => JSON.stringify(item, keysInOrder)).sort();
  return {
    ...state,
    acknowledgedPlans: sort(state.acknowledgedPlans),
    roles: sort(state.roles),
    memberships: sort(state.memberships),
    settings: sort(state.settings),
    comments: sort(state.comments),
    drops: sort(state.drops),
    databases: state.databases
      .map((d) => ({
        ...d,
        schemas: sort(d.schemas),
        grants: sort(d.grants),
        defaultPrivileges: sort(d.defaultPrivileges),
        extensions: sort(d.extensions),
        isolations: sort(d.isolations),
        publications: sort(d.publications.map((p) => ({ ...p, tables: sort(p.tables) }))),
        subscriptions: sort(d.subscriptions),
        slots: sort(d.slots),
      }))
      .map((d) => JSON.stringify(d, keysInOrder))
      .sort(),
  };
}

function keysInOrder(_key: string, item: unknown): unknown {
  if (typeof item !== 'object' || item === null || Array.isArray(item)) return item;
  return Object.fromEntries(Object.entries(item).sort(([a], [b]) => (a < b ? -1 : 1)));
}
