import * as fc from 'fast-check';
import {
  DesiredDatabase,
  DesiredDefaultPrivilege,
  DesiredGrant,
  DesiredMembership,
  DesiredRole,
  DesiredSetting,
  DesiredState,
  GrantTarget,
  ISOLATION_STAGES,
  OBJECT_KIND_OF,
  Privilege,
  PRIVILEGES,
} from '../../../lib/contract';
import { NOTHING_INSIDE } from '../../support/nothing-inside';
import {
  coherentComments,
  coherentInside,
  commentsArbitrary,
  dropChoices,
  insideArbitrary,
  insideHandSteps,
  later,
  sceneArbitrary,
  withDrops,
} from './generators-inside';
import {
  ADMINS,
  ANYBODY,
  DATABASES,
  DECLARABLE,
  HandStep,
  MEMBERS,
  mostly,
  oneOf,
  OTHER_DATABASE,
  OTHER_SCHEMA,
  OTHERS,
  OWNERS,
  quoted,
  rarely,
  SCHEMAS,
  some,
  step,
  weighted,
} from './stories';

/**
 * Random declarations and random servers for the laws of the reconciler. Names are few, so that what is declared and what somebody
 * made by hand meet often. What a database has besides schemas and privileges is in generators-inside.ts.
 */

/** What happens to one server, one after the other. */
export interface Story {
  readonly before: readonly HandStep[];
  readonly first: DesiredState;
  readonly between: readonly HandStep[];
  readonly second: DesiredState;
}

const roleArbitrary = (name: string): fc.Arbitrary<DesiredRole> =>
  fc
    .record({
      login: OWNERS.includes(name as never) ? rarely(12) : fc.boolean(),
      authentication: weighted<DesiredRole['authentication']>(
        [5, fc.constant('none')],
        [3, fc.constant('password')],
        [1, fc.constant('iam')],
      ),
      inherit: mostly(6),
      createDatabase: rarely(6),
      createRole: rarely(6),
      connectionLimit: fc.option(oneOf([-1, 3, 20]), { nil: undefined, freq: 2 }),
      validUntil: fc.option(oneOf(['infinity', '2090-01-01T00:00:00Z', '2080-01-01T00:00:00Z']), {
        nil: undefined,
        freq: 2,
      }),
    })
    .map((role) => ({ name, ...role, authentication: role.login ? role.authentication : 'none' }));

/** Mostly from a group to a later one, so that few of them close a circle. */
const membershipArbitrary: fc.Arbitrary<DesiredMembership> = weighted<{ role: string; member: string }>(
  [40, oneOf(DECLARABLE.flatMap((role, at) => DECLARABLE.slice(at + 1).map((member) => ({ role, member }))))],
  [8, fc.record({ role: oneOf(['pg_read_all_data', 'pg_monitor']), member: oneOf(MEMBERS) })],
  [5, fc.record({ role: oneOf<string>(OTHERS), member: oneOf(MEMBERS) })],
  [1, fc.record({ role: oneOf<string>(['pg_maintain', ...MEMBERS]), member: oneOf(DECLARABLE) })],
).chain((pair) =>
  fc.record({ inherit: fc.boolean(), set: fc.boolean(), admin: rarely(4) }).map((options) => ({ ...pair, ...options })),
);

const settingArbitrary: fc.Arbitrary<DesiredSetting> = fc
  .record({
    scope: weighted<{ role?: string; database?: string }>(
      [4, fc.record({ role: oneOf(DECLARABLE) })],
      [2, fc.record({ database: oneOf(DATABASES) })],
      [2, fc.record({ role: oneOf(MEMBERS), database: oneOf(DATABASES) })],
    ),
    setting: weighted<{ name: string; values: string[] }>(
      [4, fc.record({ name: fc.constant('statement_timeout'), values: oneOf([['15s'], ['1min'], ['60000']]) })],
      [3, fc.record({ name: fc.constant('search_path'), values: oneOf([['sales'], ['sales', 'public'], ['$user']]) })],
      [2, fc.record({ name: fc.constant('work_mem'), values: oneOf([['4MB'], ['8192kB'], ['8MB']]) })],
      [1, fc.record({ name: oneOf(['enable_hashjoin', 'jit']), values: oneOf([['on'], ['off']]) })],
    ),
  })
  .map(({ scope, setting }) => ({ ...scope, ...setting }));

const targetsOf = (schema: string) =>
  weighted<GrantTarget>(
    [4, fc.constant({ kind: 'schema', schema })],
    [6, fc.record({ kind: oneOf(['allTables', 'allSequences', 'allRoutines'] as const), schema: fc.constant(schema) })],
    [1, fc.record({ kind: fc.constant('table' as const), schema: fc.constant(schema), name: oneOf(['item', 'lot']) })],
    [1, fc.record({ kind: fc.constant('sequence' as const), schema: fc.constant(schema), name: fc.constant('tally') })],
    [1, fc.constant({ kind: 'routine', schema, signature: 'total(integer)' })],
  );

const privilegesOn = (kind: keyof typeof OBJECT_KIND_OF) =>
  some(PRIVILEGES[OBJECT_KIND_OF[kind]].filter((privilege) => privilege !== 'MAINTAIN') as Privilege[]);

const grantArbitrary = (schemas: readonly string[]): fc.Arbitrary<DesiredGrant> =>
  weighted<GrantTarget>(
    [2, fc.constant({ kind: 'database' })],
    ...(schemas.length === 0 ? [] : [[8, oneOf(schemas).chain(targetsOf)] as const]),
  ).chain((on) => fc.record({ privileges: privilegesOn(on.kind), on: fc.constant(on), to: oneOf(DECLARABLE) }));

const defaultPrivilegeArbitrary = (schemas: readonly string[]): fc.Arbitrary<DesiredDefaultPrivilege> =>
  oneOf(['tables', 'sequences', 'routines'] as const).chain((objects) =>
    fc.record({
      creator: oneOf([...OWNERS, ...OWNERS, ...MEMBERS]),
      schema: oneOf(schemas),
      objects: fc.constant(objects),
      privileges: privilegesOn(objects),
      to: oneOf(DECLARABLE),
    }),
  );

const databaseArbitrary = (name: string): fc.Arbitrary<DesiredDatabase> =>
  fc
    .subarray([...SCHEMAS, ...SCHEMAS, 'public'], { minLength: 1 })
    .map((all) => [...new Set(all)])
    .chain((schemas) =>
      fc
        .record({
          name: fc.constant(name),
          owner: oneOf(OWNERS),
          connectionLimit: fc.option(oneOf([-1, 10, 50]), { nil: undefined, freq: 2 }),
          public: weighted([3, fc.constant('closed' as const)], [1, fc.constant('kept' as const)]),
          schemas: fc.tuple(
            ...schemas.map((schema) => oneOf(OWNERS).map((owner) => ({ name: schema, owner: owner as string }))),
          ),
          grants: fc.array(grantArbitrary(schemas), { maxLength: 6 }),
          defaultPrivileges:
            schemas.length === 0
              ? fc.constant([])
              : fc.uniqueArray(defaultPrivilegeArbitrary(schemas), {
                  maxLength: 4,
                  selector: (d) => JSON.stringify([d.creator, d.schema, d.objects, d.to]),
                }),
          inside: insideArbitrary(name, schemas),
        })
        .map(({ inside, ...database }) => ({ ...NOTHING_INSIDE, ...database, ...inside })),
    );

/**
 * What a declaration needs so that its grants are of use, as the constructs add it: a table privilege is worth nothing without
 * USAGE on the schema, and that nothing without CONNECT. It may name nobody who is neither declared nor there.
 */
function madeCoherent(state: DesiredState): DesiredState {
  const roles = new Set<string>(state.roles.map(({ name }) => name));
  const named = (name: string) => roles.has(name) || !DECLARABLE.includes(name as never);
  const databases = state.databases.map((each) => {
    const database = coherentInside(each, state);
    const grants = database.grants.filter((grant) => named(grant.to));
    const closure = grants.flatMap((grant): DesiredGrant[] => [
      ...('schema' in grant.on
        ? [{ privileges: ['USAGE' as const], on: { kind: 'schema' as const, schema: grant.on.schema }, to: grant.to }]
        : []),
      { privileges: ['CONNECT'], on: { kind: 'database' }, to: grant.to },
    ]);
    return {
      ...database,
      grants: [...grants, ...closure],
      defaultPrivileges: database.defaultPrivileges.filter((d) => named(d.creator) && named(d.to)),
    };
  });
  const names = new Set<string>(databases.map(({ name }) => name));
  return {
    ...state,
    databases,
    comments: coherentComments(state),
    memberships: state.memberships.filter((m) => named(m.role) && named(m.member)),
    settings: state.settings.filter(
      (s) => (s.role === undefined || named(s.role)) && (s.database === undefined || names.has(s.database)),
    ),
  };
}

export const declarations: fc.Arbitrary<DesiredState> = fc
  .record({
    profile: weighted([3, fc.constant('production' as const)], [1, fc.constant('development' as const)]),
    roles: fc
      .tuple(
        ...DECLARABLE.map((name) =>
          fc.tuple(OWNERS.includes(name as never) ? mostly(40) : mostly(4), roleArbitrary(name)),
        ),
      )
      .map((roles) => roles.filter(([declared]) => declared).map(([, role]) => role)),
    memberships: fc.uniqueArray(membershipArbitrary, {
      maxLength: 4,
      selector: (m) => JSON.stringify([m.role, m.member]),
    }),
    settings: fc.uniqueArray(settingArbitrary, {
      maxLength: 3,
      selector: (s) => JSON.stringify([s.role, s.database, s.name]),
    }),
    comments: commentsArbitrary,
    app: fc.option(databaseArbitrary('app'), { nil: undefined, freq: 12 }),
    more: fc.option(databaseArbitrary('more'), { nil: undefined, freq: 1 }),
  })
  .map(({ app, more, ...rest }) =>
    madeCoherent({
      version: 1,
      name: 'story',
      defaults: 'V1',
      acknowledgedPlans: [],
      drops: [],
      ...rest,
      databases: [app, more].filter((database) => database !== undefined),
    }),
  );

const ATTRIBUTES = ['LOGIN', 'NOLOGIN', 'NOINHERIT', 'INHERIT', 'CREATEDB', 'NOCREATEDB', 'CREATEROLE', 'NOCREATEROLE'];

/** The kinds of things that somebody does by hand, each with how often. */
const handSteps: readonly (readonly [number, fc.Arbitrary<HandStep[]>])[] = [
  [
    4, // memberships by several grantors: who grants is an administrator of the role first
    fc
      .record({
        role: oneOf([...DECLARABLE, ...OTHERS]),
        member: oneOf(ANYBODY),
        grantor: oneOf([undefined, 'master', ...ADMINS]),
        options: fc.tuple(fc.boolean(), fc.boolean(), rarely(4)),
      })
      .map(({ role, member, grantor, options: [inherit, set, admin] }) => [
        ...(grantor === undefined || grantor === 'master'
          ? []
          : [step(`GRANT "${role}" TO "${grantor}" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`)]),
        step(`GRANT "${role}" TO "${member}" WITH INHERIT ${inherit}, SET ${set}, ADMIN ${admin}`, grantor),
      ]),
  ],
  [
    1,
    fc
      .record({ role: oneOf(DECLARABLE), member: oneOf(DECLARABLE), cascade: fc.boolean() })
      .map(({ role, member, cascade }) => [
        step(`REVOKE "${role}" FROM "${member}" GRANTED BY "master"${cascade ? ' CASCADE' : ''}`),
      ]),
  ],
  [
    2,
    fc
      .record({
        role: oneOf([...DECLARABLE, ...OTHERS]),
        attribute: oneOf([...ATTRIBUTES, 'CONNECTION LIMIT 7', "VALID UNTIL '2070-01-01'"]),
      })
      .map(({ role, attribute }) => [step(`ALTER ROLE "${role}" ${attribute}`)]),
  ],
  [1, oneOf(MEMBERS).map((role) => [step(`ALTER ROLE "${role}" PASSWORD 'made by hand'`)])],
  [
    1,
    fc
      .record({ role: oneOf([...DECLARABLE, ...OTHERS]), value: oneOf(['1s', '15s', '0']), database: fc.boolean() })
      .map(({ role, value, database }) => [
        step(`ALTER ROLE "${role}"${database ? ' IN DATABASE "app"' : ''} SET statement_timeout = '${value}'`),
      ]),
  ],
  [1, oneOf(['work_mem = 64', "search_path = 'stock'"]).map((set) => [step(`ALTER DATABASE "app" SET ${set}`)])],
  [
    3, // privileges on a database, with and without grant option, and passed on
    fc
      .record({
        privilege: oneOf(['CONNECT', 'TEMPORARY', 'CREATE', 'ALL']),
        to: oneOf([...ANYBODY, 'PUBLIC']),
        option: rarely(4),
        take: rarely(4),
      })
      .map(({ privilege, to, option, take }) => [
        step(
          take
            ? `REVOKE ${privilege} ON DATABASE "app" FROM ${quoted(to)} CASCADE`
            : `GRANT ${privilege} ON DATABASE "app" TO ${quoted(to)}${option && to !== 'PUBLIC' ? ' WITH GRANT OPTION' : ''}`,
        ),
      ]),
  ],
  [
    8, // privileges on what is inside, by the owner or by somebody who was given the option
    fc
      .record({
        target: oneOf(SCHEMAS).chain((schema) =>
          oneOf([
            ['USAGE', `SCHEMA "${schema}"`],
            ['CREATE', `SCHEMA "${schema}"`],
            ['SELECT', `TABLE "${schema}"."item"`],
            ['INSERT, UPDATE', `TABLE "${schema}"."item"`],
            ['ALL', `TABLE "${schema}"."lot"`],
            ['SELECT', `ALL TABLES IN SCHEMA "${schema}"`],
            ['UPDATE', `SEQUENCE "${schema}"."tally"`],
            ['EXECUTE', `FUNCTION "${schema}"."total"(int)`],
            ['SELECT (id)', `TABLE "${schema}"."item"`],
            ['INSERT (id, note)', `TABLE "${schema}"."item"`],
            ['UPDATE', `SEQUENCE "${schema}"."tally"`],
            ['UPDATE (note), REFERENCES (id)', `TABLE "${schema}"."item"`],
          ] as const),
        ),
        by: oneOf([undefined, undefined, ...MEMBERS, ...OTHERS]),
        to: oneOf([...ANYBODY, ...MEMBERS, 'PUBLIC']),
        option: rarely(2),
        take: rarely(5),
      })
      .map(({ target: [privileges, on], by, to, option, take }) => [
        ...(by === undefined
          ? []
          : [step(`GRANT ${privileges} ON ${on} TO "${by}" WITH GRANT OPTION`, undefined, 'app')]),
        step(
          take
            ? `REVOKE ${privileges} ON ${on} FROM ${quoted(to)} CASCADE`
            : `GRANT ${privileges} ON ${on} TO ${quoted(to)}${option && to !== 'PUBLIC' ? ' WITH GRANT OPTION' : ''}`,
          by,
          'app',
        ),
      ]),
  ],
  [
    2,
    fc
      .record({
        creator: oneOf([...OWNERS, ...OWNERS, ...MEMBERS, ...OTHERS]),
        schema: oneOf(['', '', ' IN SCHEMA "sales"', ' IN SCHEMA "private"']),
        what: oneOf([
          'SELECT ON TABLES',
          'USAGE ON SEQUENCES',
          'EXECUTE ON ROUTINES',
          'ALL ON TABLES',
          'USAGE ON TYPES',
        ]),
        to: oneOf([...ANYBODY, 'PUBLIC']),
        option: rarely(5),
      })
      .map(({ creator, schema, what, to, option }) => [
        step(
          `ALTER DEFAULT PRIVILEGES FOR ROLE "${creator}"${schema} GRANT ${what} TO ${quoted(to)}${option && to !== 'PUBLIC' ? ' WITH GRANT OPTION' : ''}`,
          undefined,
          'app',
        ),
      ]),
  ],
  [
    2, // owners
    fc
      .record({
        what: oneOf([
          ['postgres', 'DATABASE "app"'],
          ['app', 'SCHEMA "sales"'],
          ['app', 'SCHEMA "stock"'],
          ['app', 'TABLE "sales"."item"'],
          ['app', 'SEQUENCE "stock"."tally"'],
          ['app', 'FUNCTION "sales"."total"(int)'],
        ] as const),
        to: oneOf([...OWNERS, ...MEMBERS, ...OTHERS, 'master']),
      })
      .map(({ what: [database, object], to }) => [step(`ALTER ${object} OWNER TO "${to}"`, undefined, database)]),
  ],
  [
    2, // objects that come later
    fc
      .record({ schema: oneOf([...SCHEMAS, OTHER_SCHEMA]), owner: oneOf([...OWNERS, ...MEMBERS]) })
      .map(({ schema, owner }) => [
        step(`CREATE TABLE "${schema}"."later" (id int, note text)`, undefined, 'app'),
        step(`ALTER TABLE "${schema}"."later" OWNER TO "${owner}"`, undefined, 'app'),
      ]),
  ],
  [1, oneOf(MEMBERS).map((role) => [step(`DROP ROLE "${role}"`)])],
  [1, oneOf(SCHEMAS).map((schema) => [step(`DROP SCHEMA "${schema}" CASCADE`, undefined, 'app')])],
  ...insideHandSteps,
];

const byHand = (length: number): fc.Arbitrary<HandStep[]> =>
  fc.array(weighted(...handSteps), { maxLength: length, size: 'max' }).map((steps) => steps.flat());

/** Roles as three kinds of people have made them: this master, another administrator who shares, and one who does not. */
const peopleArbitrary: fc.Arbitrary<HandStep[]> = fc
  .tuple(
    ...DECLARABLE.map((name) =>
      fc.record({
        name: fc.constant(name),
        exists: OWNERS.includes(name as never) ? mostly(5) : fc.boolean(),
        by: weighted([30, fc.constant('master')], [4, fc.constant('admin_a')], [1, fc.constant('superuser')]),
        login: fc.boolean(),
      }),
    ),
  )
  .map((people) => [
    // Where Amazon RDS has rds_replication, a server of the tests has an attribute; and what is published can be read by who streams.
    step('ALTER ROLE master REPLICATION'),
    ...ADMINS.map((name) => step(`CREATE ROLE "${name}" LOGIN CREATEROLE CREATEDB`)),
    ...OTHERS.map((name) => step(`CREATE ROLE "${name}" LOGIN`, 'master')),
    ...people
      .filter(({ exists }) => exists)
      .flatMap(({ name, by, login }) => [
        step(`CREATE ROLE "${name}" ${login ? 'LOGIN' : 'NOLOGIN'}`, by === 'superuser' ? undefined : by),
        ...(by === 'admin_a' ? [step(`GRANT "${name}" TO master WITH ADMIN TRUE, INHERIT FALSE, SET FALSE`, by)] : []),
      ]),
  ]);

/** A database that was there before, with something in it; and one that is nobody's business. */
const oldDatabaseArbitrary: fc.Arbitrary<HandStep[]> = fc
  .record({
    exists: mostly(3),
    elsewhere: rarely(4),
    owner: oneOf([...OWNERS, ...OWNERS, 'master', 'other_a']),
    schemas: fc.subarray([...SCHEMAS, OTHER_SCHEMA], { minLength: 1 }),
    owners: fc.array(oneOf([...OWNERS, ...OWNERS, ...OWNERS, 'master', 'other_a', 'role_a']), {
      minLength: 3,
      maxLength: 3,
    }),
  })
  .map(({ exists, elsewhere, owner, schemas, owners }) => [
    ...(elsewhere
      ? [
          step(`CREATE DATABASE "${OTHER_DATABASE}" OWNER other_a`),
          step(`GRANT CREATE ON DATABASE "${OTHER_DATABASE}" TO "role_a", "own_a"`),
          step('CREATE TABLE public.item (id int)', undefined, OTHER_DATABASE),
          step('GRANT SELECT ON public.item TO "role_a" WITH GRANT OPTION', undefined, OTHER_DATABASE),
        ]
      : []),
    ...(exists
      ? [
          step('CREATE DATABASE "app" OWNER master'),
          step(`ALTER DATABASE "app" OWNER TO "${owner}"`),
          ...schemas.flatMap((schema, at) => insideOf(schema, owners[at]!)),
        ]
      : []),
  ]);

function insideOf(schema: string, owner: string): HandStep[] {
  const inApp = (sql: string) => step(sql, undefined, 'app');
  // The owner may not be there: then it stays the master's, since nobody can act as the superuser.
  const give = (object: string) => ['master', owner].map((to) => inApp(`ALTER ${object} OWNER TO "${to}"`));
  return [
    inApp(`CREATE SCHEMA "${schema}"`),
    inApp(`CREATE TABLE "${schema}"."item" (id int, note text)`),
    inApp(`INSERT INTO "${schema}"."item" VALUES (1, 'a'), (2, 'b'), (3, NULL)`),
    inApp(`CREATE TABLE "${schema}"."lot" (id int)`),
    inApp(`CREATE SEQUENCE "${schema}"."tally"`),
    inApp(`CREATE FUNCTION "${schema}"."total"(int) RETURNS int LANGUAGE sql RETURN 1`),
    ...give(`SCHEMA "${schema}"`),
    ...give(`TABLE "${schema}"."item"`),
    ...give(`TABLE "${schema}"."lot"`),
    ...give(`SEQUENCE "${schema}"."tally"`),
    ...give(`FUNCTION "${schema}"."total"(int)`),
  ];
}

/** What a migration of the application makes once its schema is there. */
export const MIGRATION: readonly HandStep[] = SCHEMAS.flatMap((schema) => [
  step(`SET ROLE own_a; CREATE TABLE "${schema}"."item" (id int, note text)`, undefined, 'app'),
  step(`SET ROLE own_a; CREATE SEQUENCE "${schema}"."tally"`, undefined, 'app'),
  step(`SET ROLE own_a; CREATE FUNCTION "${schema}"."total"(int) RETURNS int LANGUAGE sql RETURN 1`, undefined, 'app'),
]);

export const stories: fc.Arbitrary<Story> = fc
  .record({
    people: peopleArbitrary,
    old: oldDatabaseArbitrary,
    hand: byHand(8),
    first: declarations,
    migrates: fc.boolean(),
    between: byHand(8),
    other: declarations,
    /** How much of the second declaration is another one: most deployments change little. */
    changed: fc.record({
      roles: rarely(3),
      memberships: fc.boolean(),
      settings: fc.boolean(),
      databases: rarely(4),
      comments: fc.boolean(),
      inside: oneOf(['same', 'later', 'later', 'later', 'other', 'none'] as const),
      fewer: fc.boolean(),
      stage: oneOf([undefined, undefined, 'prepared', 'prepared', ...ISOLATION_STAGES] as const),
      oneDatabase: fc.boolean(),
    }),
    drops: dropChoices,
    scene: sceneArbitrary,
  })
  .map(({ people, old, hand, first: any, migrates, between, other, changed, drops, scene }) => {
    const inScene = (state: DesiredState, part: Partial<DesiredDatabase>) =>
      madeCoherent({
        ...state,
        databases: state.databases.map((database) => (database.name === 'app' ? withPart(database, part) : database)),
      });
    const first = inScene(any, scene.first);
    const changedState = madeCoherent({
      ...first,
      roles: changed.roles ? other.roles : first.roles,
      memberships: changed.memberships ? other.memberships : first.memberships,
      settings: changed.settings ? other.settings : first.settings,
      comments: changed.comments ? other.comments : first.comments,
      databases: changed.databases
        ? other.databases
        : first.databases.slice(0, changed.oneDatabase ? 1 : undefined).map((database) => {
            const others = other.databases.find(({ name }) => name === database.name);
            if (changed.inside === 'same') return database;
            if (changed.inside === 'later') return later(database, changed);
            return { ...database, ...inside(changed.inside === 'none' ? undefined : others, database) };
          }),
    });
    return {
      before: [...people, ...old, ...scene.before, ...hand],
      first,
      between: [...(migrates ? MIGRATION : []), ...scene.between, ...between],
      second: withDrops(first, inScene(changedState, scene.second), drops),
    };
  });

/** The schemas that it speaks of have to be declared. */
function withPart(database: DesiredDatabase, part: Partial<DesiredDatabase>): DesiredDatabase {
  const wanted = [
    ...(part.isolations ?? []).map(({ schema }) => schema),
    ...(part.publications ?? []).flatMap(({ tables }) => tables.map(({ schema }) => schema)),
  ];
  const missing = wanted.filter((schema) => !database.schemas.some(({ name }) => name === schema));
  const schemas = [...database.schemas, ...missing.map((name) => ({ name, owner: database.owner }))];
  return { ...database, schemas, ...part };
}

/** What another declaration has in the same database, as far as it is about what this one declares. */
function inside(other: DesiredDatabase | undefined, database: DesiredDatabase): Partial<DesiredDatabase> {
  const schemas = new Set(database.schemas.map(({ name }) => name));
  const { extensions = [], isolations = [], publications = [], slots = [], subscriptions = [] } = other ?? {};
  return {
    extensions: extensions.filter(({ schema }) => schema === undefined || schemas.has(schema)),
    isolations: isolations.filter(({ schema }) => schemas.has(schema)),
    publications: publications.map((one) => ({ ...one, schemas: one.schemas.filter((schema) => schemas.has(schema)) })),
    slots,
    subscriptions,
  };
}
