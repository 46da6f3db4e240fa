import * as fc from 'fast-check';
import {
  DesiredComment,
  DesiredDatabase,
  DesiredDrop,
  DesiredExtension,
  DesiredIsolation,
  DesiredPublication,
  DesiredSlot,
  DesiredState,
  DesiredSubscription,
  PUBLISHED_OPERATIONS,
} from '../../../lib/contract';
import {
  DATABASES,
  DECLARABLE,
  HandStep,
  MEMBERS,
  mostly,
  oneOf,
  OTHERS,
  OWNERS,
  rarely,
  SCHEMAS,
  some,
  step,
  weighted,
} from './stories';

const inApp = (sql: string) => step(sql, undefined, 'app');

/** What a database has besides schemas and privileges; each kind is in some of the declarations alone, so that most of them can be applied. */

const at = <T>(often: number, arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
  weighted<T[]>([often, arbitrary.map((one) => [one])], [10 - often, fc.constant([])]);

/** Trusted ones: the others need Amazon RDS, or a superuser. */
const extensionsArbitrary = (schemas: readonly string[]): fc.Arbitrary<DesiredExtension[]> => {
  const schema = fc.option(oneOf(schemas), { nil: undefined, freq: 1 });
  return weighted<DesiredExtension[]>(
    [10, fc.constant([])],
    [
      7,
      fc
        .record({ schema, version: fc.option(oneOf(['1.5', '1.6', '1.6', '1.6']), { nil: undefined }) })
        .map((more) => [{ name: 'pg_trgm', ...more }]),
    ],
    [2, schema.map((where) => [{ name: 'hstore', schema: where }])],
    [1, schema.map((where) => [{ name: 'hstore' }, { name: 'cube', schema: where }])],
  );
};

/** The column that says whose a row is: `note`, which some tables have and some do not. */
const isolationArbitrary = (schema: string): fc.Arbitrary<DesiredIsolation> =>
  fc
    .record({
      stage: weighted<DesiredIsolation['stage']>(
        [2, fc.constant('prepared')],
        [2, fc.constant('observed')],
        [2, fc.constant('enforced')],
      ),
      people: fc.shuffledSubarray([...MEMBERS], { minLength: 2, maxLength: 3 }),
      open: rarely(2),
    })
    .map(({ stage, people, open }) => ({
      schema,
      column: 'note',
      type: 'text',
      setting: 'app.tenant',
      stage,
      roles: open ? people.slice(1) : people,
      allTenants: open ? people.slice(0, 1) : [],
    }));

const publicationArbitrary = (database: string, schemas: readonly string[]): fc.Arbitrary<DesiredPublication> =>
  fc
    .record({
      owner: oneOf(OWNERS),
      operations: weighted<DesiredPublication['operations']>(
        [3, fc.constant(['INSERT'])],
        [2, fc.constant(['INSERT', 'TRUNCATE'])],
        [1, some(PUBLISHED_OPERATIONS)],
      ),
      viaRoot: rarely(3),
      schemas: fc.subarray(schemas.filter((schema) => schema !== 'public')),
      tables: fc.subarray(
        schemas
          .filter((schema) => schema !== 'public')
          .flatMap((schema) => [
            { schema, name: 'item', identity: { kind: 'full' as const } },
            { schema, name: 'lot', identity: { kind: 'full' as const } },
          ]),
      ),
      what: weighted([3, fc.constant('schemas')], [5, fc.constant('tables')], [1, fc.constant('nothing')]),
    })
    .map(({ what, ...publication }) => ({
      ...publication,
      name: `pub_${database}`,
      generatedColumns: false,
      allTables: false,
      schemas: what === 'schemas' ? publication.schemas : [],
      tables: what === 'tables' ? publication.tables.slice(0, 2) : [],
    }));

const slotArbitrary = (database: string): fc.Arbitrary<DesiredSlot> =>
  fc
    .record({ plugin: weighted([4, fc.constant('pgoutput')], [1, fc.constant('test_decoding')]), twoPhase: rarely(6) })
    .map((slot) => ({ name: `slot_${database}`, consumer: 'role_a', failover: false, ...slot }));

/** Disabled: what makes it run is another server, and is looked at where there are two. */
const subscriptionArbitrary = (database: string): fc.Arbitrary<DesiredSubscription> =>
  fc.record({ owner: oneOf(MEMBERS), publications: some(['there_a', 'there_b']) }).map((subscription) => ({
    name: `sub_${database}`,
    secret: 'publisher',
    enabled: false,
    options: {},
    ...subscription,
  }));

type Inside = Pick<DesiredDatabase, 'extensions' | 'isolations' | 'publications' | 'slots' | 'subscriptions'>;

export const insideArbitrary = (database: string, schemas: readonly string[]): fc.Arbitrary<Inside> =>
  fc.record({
    extensions: extensionsArbitrary(schemas),
    isolations: at(7, oneOf(schemas).chain(isolationArbitrary)),
    publications: at(5, publicationArbitrary(database, schemas)),
    slots: at(4, slotArbitrary(database)),
    subscriptions: at(6, subscriptionArbitrary(database)),
  });

export const commentsArbitrary: fc.Arbitrary<DesiredComment[]> = fc.uniqueArray(
  fc.record({
    on: weighted<DesiredComment['on']>(
      [3, oneOf(DECLARABLE).map((name) => ({ kind: 'role', name }))],
      [1, oneOf(DATABASES).map((name) => ({ kind: 'database', name }))],
      [2, oneOf(SCHEMAS).map((name) => ({ kind: 'schema', database: 'app', name }))],
    ),
    text: oneOf(['who pays', "it's theirs", 'made of\ntwo lines']),
  }),
  { maxLength: 2, selector: ({ on }) => JSON.stringify(on) },
);

/** Takes out what speaks of nothing that is declared, or of a role in a way that is refused always: stories of refusals show little. */
export function coherentInside(database: DesiredDatabase, state: DesiredState): DesiredDatabase {
  const roles = new Map(state.roles.map((role) => [role.name, role]));
  const isolations = database.isolations.flatMap((isolation) => {
    const acts = new Set<string>(state.memberships.map(({ member }) => member));
    const [one, all] = [
      isolation.roles.filter((name) => roles.has(name) && !acts.has(name)),
      isolation.allTenants.filter((name) => roles.has(name)),
    ];
    return one.length === 0 ? [] : [{ ...isolation, roles: one, allTenants: all }];
  });
  const isolated = new Set(isolations.map(({ schema }) => schema));
  return {
    ...database,
    isolations,
    slots: database.slots.filter(({ consumer }) => roles.has(consumer)),
    subscriptions: database.subscriptions.flatMap((one) => {
      const owner = [one.owner, ...MEMBERS].find((name) => roles.get(name)?.login);
      return owner === undefined ? [] : [{ ...one, owner }];
    }),
    publications: database.publications.filter(({ owner }) => roles.has(owner)),
    grants: database.grants.flatMap((grant) => {
      if (!('schema' in grant.on) || !isolated.has(grant.on.schema)) return [grant];
      const privileges = grant.privileges.filter((privilege) => privilege !== 'TRUNCATE');
      return privileges.length === 0 ? [] : [{ ...grant, privileges }];
    }),
  };
}

export function coherentComments(state: DesiredState): DesiredComment[] {
  return state.comments.filter(({ on }) => {
    if (on.kind === 'role') return state.roles.some(({ name }) => name === on.name);
    const database = state.databases.find(({ name }) => name === (on.kind === 'schema' ? on.database : on.name));
    return database !== undefined && (on.kind !== 'schema' || database.schemas.some(({ name }) => name === on.name));
  });
}

/** The same database with less in it, or another stage of its isolations: what a deployment later wants. */
export function later(
  database: DesiredDatabase,
  { fewer, stage }: { readonly fewer: boolean; readonly stage: DesiredIsolation['stage'] | undefined },
): DesiredDatabase {
  const schemas = fewer && database.schemas.length > 1 ? database.schemas.slice(0, -1) : database.schemas;
  const has = (schema: string) => schemas.some(({ name }) => name === schema);
  const isolations = database.isolations.filter(({ schema }) => has(schema));
  return {
    ...database,
    schemas,
    grants: database.grants.filter(({ on }) => !('schema' in on) || has(on.schema)),
    defaultPrivileges: database.defaultPrivileges.filter(({ schema }) => has(schema)),
    extensions: database.extensions.filter(({ schema }) => schema === undefined || has(schema)),
    isolations: isolations.map((one) => ({ ...one, stage: stage ?? one.stage, roles: one.roles.slice(0, 1) })),
    subscriptions: database.subscriptions.map((one) => ({ ...one, publications: ['there_b'] })),
    publications: database.publications.map((one) => ({
      ...one,
      schemas: one.schemas.filter(has),
      tables: one.tables.filter(({ schema }) => has(schema)),
    })),
  };
}

/** What chance alone brings together too seldom: something that was there, what is declared of it, and what is declared later. */
export interface Scene {
  readonly before: readonly HandStep[];
  readonly first: Partial<DesiredDatabase>;
  readonly between: readonly HandStep[];
  readonly second: Partial<DesiredDatabase>;
}

const NO_SCENE: Scene = { before: [], first: {}, between: [], second: {} };

const sceneOfIsolation = (schema: string, then: DesiredIsolation['stage']): Scene => {
  const isolation: DesiredIsolation = {
    schema,
    column: 'note',
    type: 'text',
    setting: 'app.tenant',
    stage: 'observed',
    roles: ['role_c', 'role_d'],
    allTenants: [],
  };
  const isolations = [{ ...isolation, stage: then, roles: ['role_c'] }];
  return { ...NO_SCENE, first: { isolations: [isolation] }, second: { isolations } };
};

const sceneOfPublication = (schema: string, owner: string): Scene => {
  const lot = { schema, name: 'lot', identity: { kind: 'full' as const } };
  const one: DesiredPublication = {
    name: 'pub_app',
    owner,
    operations: ['INSERT'],
    viaRoot: false,
    generatedColumns: false,
    allTables: false,
    schemas: [],
    tables: [lot],
  };
  return {
    before: ['TABLE', 'SCHEMA'].map((kind) =>
      inApp(`ALTER ${kind} "${schema}"${kind === 'TABLE' ? '."lot"' : ''} OWNER TO "${owner}"`),
    ),
    first: { publications: [one] },
    between: [inApp('ALTER PUBLICATION pub_app OWNER TO "other_a"')],
    second: { publications: [{ ...one, operations: ['INSERT', 'TRUNCATE'] }] },
  };
};

export const sceneArbitrary: fc.Arbitrary<Scene> = weighted<Scene>(
  [6, fc.constant(NO_SCENE)],
  [
    1,
    oneOf(['1.4', '1.5']).map((version) => ({
      ...NO_SCENE,
      before: [
        inApp('GRANT CREATE ON DATABASE app TO master'),
        { ...inApp(`CREATE EXTENSION pg_trgm SCHEMA public VERSION '${version}'`), as: 'master' },
      ],
      first: { extensions: [{ name: 'pg_trgm', version: '1.6' }] },
    })),
  ],
  [
    2,
    oneOf(SCHEMAS).chain((schema) =>
      oneOf(['prepared', 'observed'] as const).map((then) => sceneOfIsolation(schema, then)),
    ),
  ],
  [2, oneOf(SCHEMAS).chain((schema) => oneOf(OWNERS).map((owner) => sceneOfPublication(schema, owner)))],
);

/** How one of the things is dropped that could be. */
export interface DropChoice {
  readonly which: number;
  readonly adopted: boolean;
  readonly reassignTo: string | undefined;
  readonly cascade: boolean;
  readonly force: boolean;
}

export const dropChoices: fc.Arbitrary<DropChoice[]> = fc.array(
  fc.record({
    which: fc.nat({ max: 999 }),
    adopted: mostly(3),
    reassignTo: weighted([3, oneOf<string | undefined>(OWNERS)], [1, fc.constant(undefined)]),
    cascade: mostly(3),
    force: fc.boolean(),
  }),
  { minLength: 1, maxLength: 3, size: 'max' },
);

/** Drops of what the first declaration had and the second has not, and now and then of what was never declared. */
export function withDrops(first: DesiredState, second: DesiredState, choices: readonly DropChoice[]): DesiredState {
  type Target = Pick<DesiredDrop, 'kind' | 'name'> & { readonly database?: string };
  const inside = (state: DesiredState, database: string): Target[] => {
    const found = state.databases.find(({ name }) => name === database);
    if (!found) return [];
    const of = (kind: Target['kind'], items: readonly { name: string }[]) =>
      items.map(({ name }): Target => ({ kind, database, name }));
    return [
      ...of(
        'schema',
        found.schemas.filter(({ name }) => name !== 'public'),
      ),
      ...of('extension', found.extensions),
      ...of('publication', found.publications),
      ...of('subscription', found.subscriptions),
      ...of('slot', found.slots),
    ];
  };
  const targets = (state: DesiredState): Target[] => [
    ...state.roles.map(({ name }): Target => ({ kind: 'role', name })),
    ...state.databases.map(({ name }): Target => ({ kind: 'database', name })),
    ...second.databases.flatMap(({ name }) => inside(state, name)),
  ];
  const key = ({ kind, database, name }: Target) => JSON.stringify([kind, database, name]);
  const kept = new Set(targets(second).map(key));
  const named = JSON.stringify([second.memberships, second.settings, second.databases]);
  const candidates = [...targets(first), ...OTHERS.map((name): Target => ({ kind: 'role', name }))].filter(
    (target) => !kept.has(key(target)) && !(target.kind === 'role' && named.includes(`"${target.name}"`)),
  );
  const drops = new Map<string, DesiredDrop>();
  // Each kind as often as another: there are always roles, and seldom a slot.
  const kinds = [...new Set(candidates.map(({ kind }) => kind))];
  for (const { which, adopted, reassignTo, cascade, force } of kinds.length === 0 ? [] : choices) {
    const ofKind = candidates.filter(({ kind }) => kind === kinds[which % kinds.length]);
    const target = ofKind[Math.floor(which / kinds.length) % ofKind.length];
    const heir = second.roles.some(({ name }) => name === reassignTo) ? reassignTo : undefined;
    drops.set(key(target), {
      ...target,
      reason: 'its time has come',
      adopted,
      reassignTo: target.kind === 'role' ? heir : undefined,
      cascade: target.kind === 'schema' && cascade,
      force: target.kind === 'database' && force,
    } as DesiredDrop);
  }
  return { ...second, drops: [...drops.values()] };
}

/** What somebody does by hand with the newer kinds of objects. */
export const insideHandSteps: readonly (readonly [number, fc.Arbitrary<HandStep[]>])[] = [
  [
    3,
    oneOf([
      "CREATE EXTENSION pg_trgm SCHEMA sales VERSION '1.4'",
      "CREATE EXTENSION pg_trgm SCHEMA public VERSION '1.5'",
      "CREATE EXTENSION pg_trgm SCHEMA public VERSION '1.5'",
      'CREATE EXTENSION hstore SCHEMA public',
      'CREATE EXTENSION cube SCHEMA public',
      'DROP EXTENSION pg_trgm',
      'DROP EXTENSION hstore',
    ]).map((sql) => [
      // Who makes a trusted one owns it; nobody but a superuser could do anything with one of a superuser.
      ...(sql.startsWith('CREATE') ? [inApp('GRANT CREATE ON DATABASE app TO master')] : []),
      { ...inApp(sql), as: sql.startsWith('CREATE') ? 'master' : undefined },
    ]),
  ],
  [
    3, // row security
    fc
      .record({ schema: oneOf(SCHEMAS), to: oneOf([...MEMBERS, ...OTHERS, 'PUBLIC']) })
      .chain(({ schema, to }) =>
        oneOf([
          `CREATE POLICY by_hand ON "${schema}"."item" TO ${to === 'PUBLIC' ? to : `"${to}"`} USING (id > 0)`,
          `CREATE POLICY by_hand ON "${schema}"."lot" AS RESTRICTIVE USING (id > 0)`,
          `ALTER TABLE "${schema}"."item" ENABLE ROW LEVEL SECURITY`,
          `ALTER TABLE "${schema}"."item" DISABLE ROW LEVEL SECURITY`,
          `ALTER TABLE "${schema}"."item" NO FORCE ROW LEVEL SECURITY`,
          `DROP POLICY cdk_postgres_tenant ON "${schema}"."item"`,
          `ALTER POLICY cdk_postgres_tenant ON "${schema}"."item" USING (true)`,
        ]),
      )
      .map((sql) => [inApp(sql)]),
  ],
  [
    3,
    fc.record({ owner: oneOf(OWNERS), schema: oneOf(SCHEMAS) }).chain(({ owner, schema }) =>
      oneOf([
        [
          inApp(`GRANT CREATE ON DATABASE "app" TO "${owner}"`),
          {
            ...inApp(`CREATE PUBLICATION pub_app FOR TABLE "${schema}"."item" WITH (publish = 'insert')`),
            as: owner,
          },
        ],
        [inApp(`ALTER PUBLICATION pub_app ADD TABLE "${schema}"."lot"`)],
        [inApp(`ALTER PUBLICATION pub_app SET (publish = 'insert, truncate')`)],
        [inApp(`ALTER PUBLICATION pub_app OWNER TO "${owner}"`)],
        [inApp(`ALTER PUBLICATION pub_app OWNER TO "role_a"`)],
        [inApp(`ALTER PUBLICATION pub_app OWNER TO "role_b"`)],

        [inApp(`CREATE PUBLICATION pub_others FOR TABLE "${schema}"."item"`)],
      ]),
    ),
  ],
  [
    1,
    oneOf(['slot_app', 'slot_others']).chain((name) =>
      oneOf([
        `SELECT pg_create_logical_replication_slot('${name}', 'pgoutput')`,
        `SELECT pg_create_logical_replication_slot('${name}', 'test_decoding')`,
        `SELECT pg_drop_replication_slot('${name}')`,
      ]).map((sql) => [inApp(sql)]),
    ),
  ],
  [
    9, // more than a declaration ever gives
    fc
      .record({ to: oneOf(DECLARABLE), other: oneOf(MEMBERS), schema: oneOf(SCHEMAS) })
      .chain(({ to, other, schema }) =>
        oneOf([
          [step(`GRANT CONNECT ON DATABASE "app" TO "${to}" WITH GRANT OPTION`)],
          [inApp(`GRANT USAGE ON SCHEMA "${schema}" TO "${to}" WITH GRANT OPTION`)],
          [inApp(`GRANT SELECT ON ALL TABLES IN SCHEMA "${schema}" TO "${to}" WITH GRANT OPTION`)],
          [step(`GRANT "${to}" TO "${other}" WITH INHERIT TRUE, SET TRUE, ADMIN TRUE`, 'master')],
          [step(`GRANT "own_a" TO "${other}" WITH INHERIT TRUE, SET TRUE, ADMIN TRUE`, 'master')],
        ]),
      ),
  ],
  [
    3,
    oneOf([
      'ALTER SUBSCRIPTION sub_app SET PUBLICATION there_a, there_c WITH (refresh = false)',
      'ALTER SUBSCRIPTION sub_app SET PUBLICATION there_b, there_c WITH (refresh = false)',
      'ALTER SUBSCRIPTION sub_more SET PUBLICATION there_b WITH (refresh = false)',
    ]).map((sql) => [inApp(sql)]),
  ],
  [
    2,
    oneOf([
      ...DECLARABLE.map((name) => step(`COMMENT ON ROLE "${name}" IS 'by hand'`)),
      step(`COMMENT ON ROLE "other_a" IS 'by hand'`),
      step(`COMMENT ON DATABASE "app" IS 'by hand'`),
      ...SCHEMAS.map((name) => inApp(`COMMENT ON SCHEMA "${name}" IS 'by hand'`)),
    ]).map((one) => [one]),
  ],
];
