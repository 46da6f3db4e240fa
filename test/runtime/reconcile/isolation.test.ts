import { DesiredIsolation, DesiredState } from '../../../lib/contract';
import { driftKind, reconcile, Report } from '../../../lib/runtime/reconcile';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration, group, login, owner } from './declaration';
import { apply, applyAcknowledged, appWith, as, asOwner, asSuperuser, holds, loginAs, plan, sqlOf } from './runs';

const A = '00000000-0000-0000-0000-00000000000a';
const B = '00000000-0000-0000-0000-00000000000b';

type Stage = DesiredIsolation['stage'];

function tenants(
  stage: Stage,
  changes: Partial<DesiredIsolation> = {},
  rest: Partial<DesiredState> = {},
): DesiredState {
  const [database] = declaration().databases;
  const writers = ['api', 'worker', 'report'];
  return appWith(
    {
      isolations: [
        {
          schema: 'billing',
          column: 'tenant_id',
          type: 'uuid',
          setting: 'app.tenant_id',
          stage,
          roles: ['api', 'worker'],
          allTenants: ['report'],
          ...changes,
        },
      ],
      grants: [
        ...database.grants,
        ...writers.flatMap((to) => [
          { privileges: ['CONNECT' as const], on: { kind: 'database' as const }, to },
          { privileges: ['USAGE' as const], on: { kind: 'schema' as const, schema: 'billing' }, to },
          {
            privileges: ['SELECT' as const, 'INSERT' as const, 'UPDATE' as const, 'DELETE' as const],
            on: { kind: 'allTables' as const, schema: 'billing' },
            to,
          },
        ]),
      ].filter((grant, at, all) => all.findIndex((one) => JSON.stringify(one) === JSON.stringify(grant)) === at),
      defaultPrivileges: [
        ...database.defaultPrivileges,
        ...writers.map((to) => ({
          creator: 'app_owner',
          schema: 'billing',
          objects: 'tables' as const,
          privileges: ['SELECT' as const, 'INSERT' as const, 'UPDATE' as const, 'DELETE' as const],
          to,
        })),
      ],
    },
    {
      roles: [owner('app_owner'), group('app_readonly'), login('api'), login('worker'), login('report')],
      ...rest,
    },
  );
}

const TABLE = [
  'CREATE TABLE billing.invoice (id int PRIMARY KEY, tenant_id uuid, amount int)',
  `INSERT INTO billing.invoice VALUES (1, '${A}', 10), (2, '${A}', 20), (3, '${B}', 30)`,
];

const state = (server: TestServer, table = 'billing.invoice') =>
  server
    .query<{ state: string }>(
      `SELECT concat_ws(' ', CASE WHEN relrowsecurity THEN 'on' ELSE 'off' END, CASE WHEN relforcerowsecurity THEN 'forced' END) AS state
       FROM pg_class WHERE oid = '${table}'::regclass`,
      { superuser: true, database: 'app' },
    )
    .then(([row]) => row.state);

const policies = (server: TestServer, table = 'billing.invoice') =>
  server
    .query<{ name: string }>(`SELECT polname AS name FROM pg_policy WHERE polrelid = '${table}'::regclass ORDER BY 1`, {
      superuser: true,
      database: 'app',
    })
    .then((rows) => rows.map(({ name }) => name));

const ofRowSecurity = (report: Report) =>
  report.plan.withheld.filter(({ object }) => object.startsWith('row security of'));

/** The ids that a role sees in a transaction that sets the tenant. */
async function seenBy(server: TestServer, role: string, tenant?: string): Promise<number[]> {
  const rows = await as(server, role, [
    'BEGIN',
    ...(tenant === undefined ? [] : [`SET LOCAL app.tenant_id = '${tenant}'`]),
    'SELECT id FROM billing.invoice ORDER BY id',
  ]);
  return rows.map(({ id }) => id as number);
}

/** A server whose tables were there before, prepared and enforced as a user does. */
async function enforced(server: TestServer, changes: Partial<DesiredIsolation> = {}): Promise<DesiredState> {
  await apply(server, tenants('prepared', changes));
  await asOwner(server, ...TABLE);
  await apply(server, tenants('prepared', changes));
  await apply(server, tenants('enforced', changes));
  await applyAcknowledged(server, tenants('enforced', changes));
  return tenants('enforced', changes);
}

describe.each(VERSIONS)('tenants on PostgreSQL %s (SEC-25)', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version, settings: { track_functions: 'pl' } });
  });
  afterEach(() => server.reset());

  test.each(['prepared', 'observed', 'enforced'] as const)(
    '%s: a table of somebody who may neither enter its schema nor the one that counts',
    async (stage) => {
      await apply(server, tenants('prepared'));
      await asOwner(server, ...TABLE);
      await server.query(['CREATE ROLE elder', 'GRANT elder TO master WITH SET TRUE']);
      await asSuperuser(server, 'ALTER TABLE billing.invoice OWNER TO elder', 'app');
      await apply(server, tenants(stage));
      if (stage !== 'prepared') await applyAcknowledged(server, tenants(stage));
      expect(await state(server)).toBe({ prepared: 'off', observed: 'on', enforced: 'on forced' }[stage]);
      expect(await policies(server)).toContain('cdk_postgres_tenant');
      const may = (schema: string) => holds(server, `has_schema_privilege('elder', '${schema}', 'USAGE')`);
      expect(await may('billing')).toBe(false);
      if (stage === 'observed') expect(await may('cdk_postgres_tenants')).toBe(false);
      expect(await apply(server, tenants(stage))).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
    },
  );

  test('a table of somebody who is declared to enter its schema, and may not yet', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE);
    await server.query(['CREATE ROLE elder', 'GRANT elder TO master WITH SET TRUE']);
    await asSuperuser(server, 'ALTER TABLE billing.invoice OWNER TO elder', 'app');
    const [database] = tenants('prepared').databases;
    const usage = { privileges: ['USAGE' as const], on: { kind: 'schema' as const, schema: 'billing' }, to: 'elder' };
    const wanted = {
      ...tenants('prepared'),
      roles: [...tenants('prepared').roles, group('elder')],
      databases: [{ ...database, grants: [...database.grants, usage] }],
    };
    await apply(server, wanted);
    expect(await policies(server)).toContain('cdk_postgres_tenant');
    expect(await holds(server, "has_schema_privilege('elder', 'billing', 'USAGE')")).toBe(true);
    expect(await apply(server, wanted)).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
  });

  test('what counts stays as long as a policy of a schema that is isolated no more calls it', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE);
    await apply(server, tenants('observed'));
    await applyAcknowledged(server, tenants('observed'));
    const [first] = tenants('observed').databases;
    const other = {
      ...tenants('prepared'),
      databases: [
        {
          ...first,
          schemas: [...first.schemas, { name: 'other', owner: 'app_owner' }],
          isolations: [{ ...first.isolations[0], schema: 'other', stage: 'prepared' as const }],
        },
      ],
    };
    expect((await apply(server, other)).plan.withheld).toEqual([]);
    expect(await policies(server)).toContainEqual(expect.stringContaining('cdk_postgres_observe_'));
    expect(await apply(server, other)).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
  });

  test('prepared: the policies are there and nobody sees less', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE);
    const report = await apply(server, tenants('prepared'));
    expect(report.plan.steps.map(({ object, risk }) => [object, risk])).toContainEqual([
      'policies of the table billing.invoice',
      'add',
    ]);
    expect(await policies(server)).toEqual(['cdk_postgres_all_tenants', 'cdk_postgres_tenant']);
    expect(await state(server)).toBe('off');
    expect(await seenBy(server, 'api')).toEqual([1, 2, 3]);
    expect((await apply(server, tenants('prepared'))).statements.writes).toBe(0);
  });

  test('case 85: enforcing waits for its hash, and then is on for everybody at once', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE);
    const report = await apply(server, tenants('enforced'));
    expect(ofRowSecurity(report)).toMatchObject([
      {
        risk: 'disruptive',
        reason: 'it is off, and is to be enforced; nobody has observed whether api, worker set app.tenant_id',
        withheld: expect.stringContaining('hides every row'),
      },
    ]);
    expect(await state(server)).toBe('off');
    expect(await policies(server)).toEqual(['cdk_postgres_all_tenants', 'cdk_postgres_tenant']);
    const { plan: done } = await applyAcknowledged(server, tenants('enforced'));
    expect(sqlOf(done.steps).filter((sql) => sql.startsWith('ALTER TABLE'))).toEqual([
      'ALTER TABLE "billing"."invoice" ENABLE ROW LEVEL SECURITY',
      'ALTER TABLE "billing"."invoice" FORCE ROW LEVEL SECURITY',
    ]);
    expect(await state(server)).toBe('on forced');
    expect(await apply(server, tenants('enforced'))).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
    expect((await plan(server, tenants('enforced'))).plan).toMatchObject({ steps: [], withheld: [] });
  });

  test('roles with privileges in neither list are named before they see no row, declared or not', async () => {
    const [alone, access] = [{ roles: ['api'] }, (report: Report) => report.plan.notes.filter((n) => /no row/.test(n))];
    await apply(server, tenants('prepared', alone));
    await asOwner(server, ...TABLE);
    await asSuperuser(server, ['CREATE ROLE auditor LOGIN', 'GRANT SELECT ON billing.invoice TO auditor'], 'app');
    const prepared = await apply(server, tenants('prepared', alone));
    expect(access(prepared)).toEqual([
      'in the schema "billing" of the database "app", these roles have privileges and will see, once it is enforced, no row: auditor, worker; put them in roles or allTenants of the isolation',
    ]);
    const [step] = ofRowSecurity(await plan(server, tenants('enforced', alone)));
    expect(step.reason).toMatch(/; these roles have privileges and will see no row: auditor, worker$/);
    await applyAcknowledged(server, tenants('enforced', alone));
    expect(await seenBy(server, 'worker', A)).toEqual([]);
    const after = await plan(server, tenants('enforced', alone));
    expect(access(after)).toEqual([
      expect.stringContaining('these roles have privileges and see no row: auditor, worker'),
    ]);
    expect(access(await plan(server, tenants('enforced', { allTenants: ['report', 'auditor'] })))).toEqual([]);
  });

  test('cases 81, 82: each role sees what it is to see, and writes nothing else', async () => {
    await enforced(server);
    expect(await seenBy(server, 'api', A)).toEqual([1, 2]);
    expect(await seenBy(server, 'worker', B)).toEqual([3]);
    expect(await seenBy(server, 'api', '00000000-0000-0000-0000-00000000000c')).toEqual([]);
    expect(await seenBy(server, 'api')).toEqual([]);
    expect(await seenBy(server, 'report')).toEqual([1, 2, 3]);
    expect(await asOwner(server, 'SELECT * FROM billing.invoice')).toEqual([]);
    const refused = /violates row-level security policy/;
    const inA = (statement: string) => as(server, 'api', ['BEGIN', `SET LOCAL app.tenant_id = '${A}'`, statement]);
    await expect(inA(`INSERT INTO billing.invoice VALUES (4, '${B}', 1)`)).rejects.toThrow(refused);
    await expect(inA(`UPDATE billing.invoice SET tenant_id = '${B}' WHERE id = 1`)).rejects.toThrow(refused);
    await expect(inA(`INSERT INTO billing.invoice VALUES (4, NULL, 1)`)).rejects.toThrow(refused);
    expect(await inA('UPDATE billing.invoice SET amount = 0 WHERE id = 3 RETURNING id')).toEqual([]);
    expect(await inA(`INSERT INTO billing.invoice VALUES (4, '${A}', 1) RETURNING id`)).toEqual([{ id: 4 }]);
  });

  test('a dump that must not leave rows out fails, even one of those who see all tenants', async () => {
    await enforced(server);
    const dumped = /would be affected by row-level security policy/;
    for (const role of ['api', 'report'])
      await expect(as(server, role, ['SET row_security = off', 'TABLE billing.invoice'])).rejects.toThrow(dumped);
    await expect(asOwner(server, 'SET row_security = off', 'TABLE billing.invoice')).rejects.toThrow(dumped);
  });

  test('case 82: two tenants take turns on one connection, as behind a transaction pooler', async () => {
    await enforced(server);
    const client = await loginAs(server, 'api');
    const seen = async (tenant?: string) => {
      await client.query('BEGIN');
      if (tenant) await client.query("SELECT set_config('app.tenant_id', $1, true)", [tenant]);
      const { rows } = await client.query('SELECT id FROM billing.invoice ORDER BY id');
      await client.query('COMMIT');
      return rows.map(({ id }) => id);
    };
    expect(await seen(A)).toEqual([1, 2]);
    // What a local setting leaves behind, which a bare cast would stumble over.
    expect((await client.query("SELECT current_setting('app.tenant_id', true) AS t")).rows).toEqual([{ t: '' }]);
    expect(await seen()).toEqual([]);
    expect(await seen(B)).toEqual([3]);
    expect(await seen(A)).toEqual([1, 2]);
    await client.query('PREPARE mine AS SELECT count(*)::int AS n FROM billing.invoice');
    for (const [tenant, n] of [
      [A, 2],
      [B, 1],
      [A, 2],
      [B, 1],
      [A, 2],
      [B, 1],
      [A, 2],
      [B, 1],
    ] as const) {
      await client.query('BEGIN');
      await client.query("SELECT set_config('app.tenant_id', $1, true)", [tenant]);
      expect((await client.query('EXECUTE mine')).rows).toEqual([{ n }]);
      await client.query('COMMIT');
    }
    await client.end();
  });

  test('case 86: the policies of every type are printed as they are compared', async () => {
    const types = [
      ['uuid', 'uuid', A],
      ['text', 'text', 'acme'],
      ['text', 'varchar(40)', 'acme'],
      ['integer', 'int', '7'],
      ['bigint', 'bigint', '7'],
    ] as const;
    for (const [type, column, tenant] of types) {
      const changes = { type, column: 'Ten ant', setting: 'Saas.tenant', stage: 'enforced' as const };
      await apply(server, tenants('enforced', changes));
      await asOwner(
        server,
        `CREATE TABLE billing.invoice (id int, "Ten ant" ${column})`,
        `INSERT INTO billing.invoice VALUES (1, '${tenant}'), (2, NULL)`,
      );
      await apply(server, tenants('enforced', changes));
      expect((await plan(server, tenants('enforced', changes))).plan).toMatchObject({ steps: [], withheld: [] });
      const seen = await as(server, 'api', [
        'BEGIN',
        `SET LOCAL saas.tenant = '${tenant}'`,
        'SELECT id FROM billing.invoice',
      ]);
      expect(seen).toEqual([{ id: 1 }]);
      await asOwner(server, 'DROP TABLE billing.invoice');
    }
  });

  test('the tenant is read once for a statement, and finds its index', async () => {
    await enforced(server);
    await asOwner(server, 'CREATE INDEX ON billing.invoice (tenant_id)');
    const rows = await as(server, 'api', [
      'BEGIN',
      `SET LOCAL app.tenant_id = '${A}'`,
      'SET LOCAL enable_seqscan = off',
      'EXPLAIN SELECT * FROM billing.invoice',
    ]);
    const text = rows.map((row) => row['QUERY PLAN']).join('\n');
    expect(text).toMatch(/Index Cond: \(tenant_id = (\$0|\(InitPlan 1\)\.col1)\)/);
  });

  test('observed: nobody sees less, and what a role does is counted in read-only transactions too', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE);
    const first = await apply(server, tenants('observed'));
    expect(ofRowSecurity(first)).toHaveLength(1);
    await applyAcknowledged(server, tenants('observed'));
    expect(await state(server)).toBe('on');
    for (const role of ['api', 'worker', 'report']) expect(await seenBy(server, role)).toEqual([1, 2, 3]);
    expect(await asOwner(server, 'SELECT id FROM billing.invoice')).toHaveLength(3);
    await asSuperuser(server, 'SELECT pg_stat_reset()', 'app');

    const set = [`BEGIN READ ONLY`, `SET LOCAL app.tenant_id = '${A}'`, 'SELECT * FROM billing.invoice', 'COMMIT'];
    await as(server, 'api', set);
    const wanted = tenants('enforced');
    const notes = (report: Report) => report.plan.notes.filter((note) => note.includes('came to rows')).sort();
    expect(notes(await plan(server, wanted))).toEqual([
      'in the schema "billing" of the database "app", api came to rows at least 1 times with app.tenant_id, and never without',
      'in the schema "billing" of the database "app", worker came to rows never with app.tenant_id, and never without',
    ]);
    const [one] = ofRowSecurity(await plan(server, wanted));
    expect(one.reason).toBe(
      'it is observed, and is to be enforced; api has set app.tenant_id whenever it came to a row; worker has not come to a row, so nothing is known of it',
    );
    const { hash } = (await plan(server, wanted)).plan;

    await as(server, 'api', set);
    expect((await plan(server, wanted)).plan.hash).toBe(hash);
    await as(server, 'worker', 'SELECT * FROM billing.invoice');
    const [two] = ofRowSecurity(await plan(server, wanted));
    expect(two.reason).toContain('worker has come to rows without app.tenant_id, and would not have seen them');
    // What was acknowledged while nothing was known of the worker does not cover what is known now.
    const late = await apply(server, wanted, { acknowledge: [hash!] });
    expect(ofRowSecurity(late)).toHaveLength(1);
    expect(await seenBy(server, 'worker')).toEqual([1, 2, 3]);

    const done = await applyAcknowledged(server, wanted);
    expect(done.plan.withheld).toEqual([]);
    expect(await policies(server)).toEqual(['cdk_postgres_all_tenants', 'cdk_postgres_tenant']);
    expect(await state(server)).toBe('on forced');
    expect(await seenBy(server, 'worker')).toEqual([]);
    expect(
      await holds(
        server,
        "EXISTS (SELECT FROM pg_proc WHERE pronamespace = 'cdk_postgres_tenants'::regnamespace)",
        'app',
      ),
    ).toBe(false);
    expect((await apply(server, wanted)).statements.writes).toBe(0);
  });

  test('observed and only prepared again: row security is off, and nothing counts any more', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE);
    await apply(server, tenants('observed'));
    await applyAcknowledged(server, tenants('observed'));
    expect((await apply(server, tenants('observed'))).statements.writes).toBe(0);
    expect((await apply(server, tenants('prepared'))).plan.withheld).toEqual([]);
    expect(await state(server)).toBe('off');
    expect(await policies(server)).toEqual(['cdk_postgres_all_tenants', 'cdk_postgres_tenant']);
  });

  test('a table that comes to an enforced schema is under row security with the next run, unasked', async () => {
    const wanted = await enforced(server);
    await asOwner(
      server,
      'CREATE TABLE billing.payment (id int, tenant_id uuid)',
      `INSERT INTO billing.payment VALUES (1, '${A}')`,
      'CREATE TABLE billing.careful (id int, tenant_id uuid)',
      'ALTER TABLE billing.careful ENABLE ROW LEVEL SECURITY',
    );
    expect((await plan(server, wanted)).plan.steps.map(({ object }) => object)).toEqual([
      'row security of the table billing.careful',
      'row security of the table billing.payment',
    ]);
    expect((await apply(server, wanted)).plan.withheld).toEqual([]);
    expect(await state(server, 'billing.payment')).toBe('on forced');
    expect(await state(server, 'billing.careful')).toBe('on forced');
    expect(await as(server, 'api', 'SELECT * FROM billing.payment')).toEqual([]);
  });

  test('a schema that is enforced before it has a table never asks', async () => {
    await apply(server, tenants('enforced'));
    await asOwner(server, ...TABLE);
    const report = await apply(server, tenants('enforced'));
    expect(report.plan.withheld).toEqual([]);
    expect(await state(server)).toBe('on forced');
  });

  test('partitions are tables of their own, and under row security as their parent is', async () => {
    await apply(server, tenants('enforced'));
    await asOwner(
      server,
      'CREATE TABLE billing.event (id int, tenant_id uuid) PARTITION BY RANGE (id)',
      'CREATE TABLE billing.event_1 PARTITION OF billing.event FOR VALUES FROM (0) TO (10)',
      `INSERT INTO billing.event VALUES (1, '${A}'), (2, '${B}')`,
    );
    await apply(server, tenants('enforced'));
    for (const table of ['billing.event', 'billing.event_1']) {
      expect(await state(server, table)).toBe('on forced');
      expect(await as(server, 'api', [`SET app.tenant_id = '${A}'`, `SELECT id FROM ${table}`])).toEqual([{ id: 1 }]);
    }
  });

  describe('drift', () => {
    test('a policy that was dropped comes back', async () => {
      const wanted = await enforced(server);
      await asOwner(server, 'DROP POLICY cdk_postgres_tenant ON billing.invoice');
      expect(await seenBy(server, 'api', A)).toEqual([]);
      await apply(server, wanted);
      expect(await seenBy(server, 'api', A)).toEqual([1, 2]);
    });

    test.each([
      ['NO FORCE ROW LEVEL SECURITY', 'it is on, and the owner is not bound by it'],
      ['DISABLE ROW LEVEL SECURITY', 'it is off'],
    ])('%s by hand is found, and put right once acknowledged', async (change, reason) => {
      const wanted = await enforced(server);
      await asOwner(server, `ALTER TABLE billing.invoice ${change}`);
      const [step] = ofRowSecurity(await apply(server, wanted));
      expect(step.reason).toContain(reason);
      await applyAcknowledged(server, wanted);
      expect(await state(server)).toBe('on forced');
    });

    /** The function that counts a row of `api` with its tenant, or without. */
    const counter = async (kind: 'set' | 'missing') => {
      const rows = await asSuperuser(
        server,
        `SELECT proname AS name FROM pg_proc WHERE pronamespace = 'cdk_postgres_tenants'::regnamespace
           AND proname LIKE '${kind}%' AND obj_description(oid) LIKE '% api reads %'`,
        'app',
      );
      return `cdk_postgres_tenants.${String(rows[0].name)}`;
    };

    test.each([
      [
        'a body that hides rows',
        "CREATE OR REPLACE FUNCTION $ RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN false; END'",
      ],
      [
        'a body that fails',
        "CREATE OR REPLACE FUNCTION $ RETURNS boolean LANGUAGE plpgsql STABLE AS 'BEGIN RETURN 1 / 0; END'",
      ],
      ['another language', "CREATE OR REPLACE FUNCTION $ RETURNS boolean LANGUAGE sql STABLE AS 'SELECT false'"],
      ['the rights of its owner', 'ALTER FUNCTION $ SECURITY DEFINER'],
      ['a setting of its own', "ALTER FUNCTION $ SET search_path = ''"],
      ['nobody who may call it', 'REVOKE EXECUTE ON FUNCTION $ FROM PUBLIC, api'],
    ])('a counting function with %s is seen after a proven run, and put right', async (_what, change) => {
      const wanted = tenants('observed');
      await apply(server, tenants('prepared'));
      await asOwner(server, ...TABLE);
      await apply(server, wanted);
      await applyAcknowledged(server, wanted);
      expect((await apply(server, wanted)).statements.writes).toBe(0);
      await asOwner(server, change.replace('$', `${await counter('missing')}()`));
      const found = await plan(server, wanted);
      expect(found.plan.steps.map((step) => [step.object, step.risk, driftKind(step)])).toEqual([
        ['what counts the tenants of schema billing', 'widen', 'changed'],
      ]);
      await apply(server, wanted);
      expect(await seenBy(server, 'api')).toEqual([1, 2, 3]);
      expect(await seenBy(server, 'api', A)).toEqual([1, 2, 3]);
      expect((await apply(server, wanted)).plan.steps).toEqual([]);
    });

    test.each([
      [
        'a view',
        ['CREATE VIEW billing.leak AS SELECT * FROM billing.invoice', 'GRANT SELECT ON billing.leak TO api'],
        'view billing.leak',
        'unmanageable',
      ],
      [
        'a partition in another schema',
        [
          'CREATE TABLE billing.event (id int, tenant_id uuid) PARTITION BY RANGE (id)',
          'CREATE SCHEMA parts',
          'CREATE TABLE parts.event_1 PARTITION OF billing.event FOR VALUES FROM (1) TO (9)',
          'GRANT SELECT ON parts.event_1 TO api',
        ],
        'partition parts.event_1',
        'unmanageable',
      ],
      [
        'TRUNCATE',
        ['GRANT TRUNCATE ON billing.invoice TO api'],
        'TRUNCATE on the table billing.invoice',
        'unmanageable',
      ],
      [
        'a new table',
        ['CREATE TABLE billing.payment (id int, tenant_id uuid)'],
        'row security of the table billing.payment',
        'changed',
      ],
    ] as const)(
      'cases 83, 85, 87, 119: after a proven run, %s is found by a drift report and by an apply',
      async (_what, changes, object, kind) => {
        const wanted = await enforced(server);
        expect((await apply(server, wanted)).statements.writes).toBe(0);
        const differences = async () => {
          const report = await plan(server, wanted);
          return [...report.plan.steps, ...report.plan.withheld].map((step) => [step.object, driftKind(step)]);
        };
        expect(await differences()).toEqual([]);
        await asOwner(server, ...changes);
        expect(await differences()).toContainEqual([object, kind]);
        const { plan: applied } = await apply(server, wanted);
        expect([...applied.steps, ...applied.withheld].map((step) => step.object)).toContain(object);
      },
    );

    test('a policy that was opened by hand is found, and closed once acknowledged', async () => {
      const wanted = await enforced(server);
      await asOwner(server, 'ALTER POLICY cdk_postgres_tenant ON billing.invoice USING (true)');
      const { plan: found } = await apply(server, wanted);
      expect(found.withheld).toMatchObject([
        {
          object: 'policies of the table billing.invoice',
          risk: 'narrow',
          reason: 'cdk_postgres_tenant is not as declared',
        },
      ]);
      expect(await seenBy(server, 'api')).toEqual([1, 2, 3]);
      await applyAcknowledged(server, wanted);
      expect(await seenBy(server, 'api')).toEqual([]);
    });

    test('another role in the declaration changes the policy unasked', async () => {
      await enforced(server);
      const wanted = tenants('enforced', { roles: ['api'] });
      expect((await apply(server, wanted)).plan.withheld).toEqual([]);
      expect(await seenBy(server, 'worker', A)).toEqual([]);
      expect(await seenBy(server, 'api', A)).toEqual([1, 2]);
    });

    test('a policy of somebody else that opens more is shown and stays', async () => {
      const wanted = await enforced(server);
      await asOwner(
        server,
        'CREATE POLICY mine ON billing.invoice TO api USING (amount > 0)',
        'CREATE POLICY closes ON billing.invoice AS RESTRICTIVE TO api USING (amount < 1000)',
        'CREATE POLICY audits ON billing.invoice TO app_owner USING (true)',
      );
      const report = await apply(server, wanted);
      expect(report.plan.withheld).toMatchObject([
        {
          object: 'policy mine of the table billing.invoice',
          reason: 'it lets rows through to api besides those of the tenant: (amount > 0)',
          statements: [{ sql: 'DROP POLICY "mine" ON "billing"."invoice"' }],
        },
      ]);
      expect(report.plan.hash).toBeUndefined();
      expect(await policies(server)).toContain('mine');
    });
  });

  describe('ways round row security', () => {
    test('cases 83, 87: views, materialized views, partitions elsewhere and TRUNCATE are shown by name', async () => {
      const wanted = await enforced(server, { allTenants: ['report', 'app_owner'] });
      await asOwner(
        server,
        'CREATE VIEW billing.leak AS SELECT * FROM billing.invoice',
        'CREATE VIEW billing.leak_of_leak AS SELECT * FROM billing.leak',
        'CREATE VIEW billing.sound WITH (security_invoker = true) AS SELECT * FROM billing.invoice',
        'CREATE VIEW billing.unread AS SELECT * FROM billing.invoice',
        'REVOKE ALL ON billing.unread FROM api, worker, app_readonly',
        'CREATE MATERIALIZED VIEW billing.copied AS SELECT * FROM billing.invoice',
        'GRANT TRUNCATE ON billing.invoice TO worker',
        'CREATE TABLE billing.event (id int, tenant_id uuid) PARTITION BY RANGE (id)',
        'CREATE SCHEMA parts',
        'CREATE TABLE parts.event_1 PARTITION OF billing.event FOR VALUES FROM (0) TO (10)',
        'GRANT USAGE ON SCHEMA parts TO api',
        'GRANT SELECT ON parts.event_1 TO api',
      );
      expect((await as(server, 'api', 'SELECT id FROM billing.leak')).length).toBe(3);
      expect(await as(server, 'api', 'SELECT id FROM billing.sound')).toEqual([]);
      const { withheld } = (await plan(server, wanted)).plan;
      const shown = withheld.filter((step) =>
        step.statements.every(({ sql }) => !sql.startsWith('REVOKE TRUNCATE ON TABLE')),
      );
      expect(shown.map(({ object }) => object).sort()).toEqual([
        'TRUNCATE on the table billing.invoice',
        'materialized view billing.copied',
        'partition parts.event_1',
        'view billing.leak',
        'view billing.leak_of_leak',
      ]);
      expect(shown.find(({ object }) => object === 'view billing.leak')).toMatchObject({
        reason:
          'api, worker may read it, and it reads isolated tables of the schema billing with the rights of app_owner',
        statements: [{ sql: 'ALTER VIEW "billing"."leak" SET (security_invoker = true)' }],
      });
      await asOwner(server, 'ALTER VIEW billing.leak SET (security_invoker = true)');
      const objects = (await plan(server, wanted)).plan.withheld.map(({ object }) => object);
      expect(objects).not.toContain('view billing.leak');
      expect(objects).toContain('view billing.leak_of_leak');
    });

    test('a function with the rights of who sees all tenants is shown, and no other', async () => {
      const wanted = await enforced(server, { allTenants: ['report', 'app_owner'] });
      const definer = (name: string) =>
        `CREATE FUNCTION billing.${name}(int) RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = billing RETURN (SELECT count(*) FROM billing.invoice)`;
      await asOwner(
        server,
        definer('total'),
        definer('closed'),
        'GRANT EXECUTE ON FUNCTION billing.total(int) TO api',
        'GRANT CREATE ON SCHEMA billing TO worker',
      );
      await as(server, 'worker', [
        'CREATE FUNCTION billing.of_worker() RETURNS bigint LANGUAGE sql SECURITY DEFINER RETURN (SELECT count(*) FROM billing.invoice)',
        'GRANT EXECUTE ON FUNCTION billing.of_worker() TO api',
      ]);
      expect(await as(server, 'api', 'SELECT billing.total(1)')).toEqual([{ total: '3' }]);
      const { withheld } = (await plan(server, wanted)).plan;
      expect(withheld.filter(({ object }) => object.startsWith('function'))).toMatchObject([
        {
          object: 'function billing.total(integer)',
          reason: 'api may call it, and it runs with the rights of app_owner, to whom the rows of all tenants are open',
        },
      ]);
    });

    test('a table without an index on the column is named', async () => {
      const wanted = await enforced(server);
      const notes = async () => (await plan(server, wanted)).plan.notes.filter((note) => note.includes('no index'));
      expect(await notes()).toEqual([expect.stringContaining('no index begins with tenant_id on invoice:')]);
      await asOwner(server, 'CREATE INDEX ON billing.invoice (tenant_id, id)');
      expect(await notes()).toEqual([]);
    });

    test('a view that appears after a proven run is found', async () => {
      const wanted = await enforced(server);
      expect((await apply(server, wanted)).plan.withheld).toEqual([]);
      await asOwner(server, 'CREATE VIEW billing.leak AS SELECT * FROM billing.invoice');
      await apply(server, wanted);
      expect((await apply(server, wanted)).plan.withheld).toMatchObject([{ object: 'view billing.leak' }]);
    });

    test('a table without the column is named', async () => {
      await apply(server, tenants('enforced'));
      await asOwner(server, 'CREATE TABLE billing.currency (code text)');
      expect((await apply(server, tenants('enforced'))).plan.notes).toContain(
        'in the schema "billing" of the database "app", a table has no column tenant_id, so each tenant sees all of it: currency; no table has it, so nothing is isolated: is the column spelled right?',
      );
    });
  });

  describe('case 81: a role that would see all is refused by name', () => {
    const refused = async (wanted: DesiredState, message: RegExp | string) => {
      await apply(server, declaration({ roles: wanted.roles }));
      await asOwner(server, ...TABLE);
      await expect(apply(server, wanted)).rejects.toThrow(message);
      expect(await state(server)).toBe('off');
    };

    test('the owner of a table', () =>
      refused(
        tenants('prepared', { roles: ['app_owner'] }),
        'the role "app_owner" is to see one tenant alone in the schema "billing" of the database "app", and owns invoice',
      ));

    test.each([
      ['inherits', { inherit: true, set: false, admin: false }],
      ['may SET ROLE', { inherit: false, set: true, admin: false }],
    ])('a member of the owner that %s', (_how, options) =>
      refused(
        tenants('prepared', {}, { memberships: [{ role: 'app_owner', member: 'api', ...options }] }),
        'the role "api" is to see one tenant alone in the schema "billing" of the database "app", and can act as app_owner, who owns invoice',
      ),
    );

    test('a member of those who see all tenants', () =>
      refused(
        tenants(
          'prepared',
          {},
          { memberships: [{ role: 'report', member: 'api', inherit: true, set: false, admin: false }] },
        ),
        /"api".*can act as report, who sees all tenants/,
      ));

    test('a member of an isolated group that may act as the owner', () =>
      refused(
        tenants(
          'prepared',
          { roles: ['app_readonly'] },
          {
            memberships: [
              { role: 'app_readonly', member: 'api', inherit: true, set: false, admin: false },
              { role: 'app_owner', member: 'api', inherit: false, set: true, admin: false },
            ],
          },
        ),
        /the role "api" is to see one tenant alone.*can act as app_owner/,
      ));

    test.each([
      ['ALTER ROLE api BYPASSRLS', /"api".*has BYPASSRLS: ALTER ROLE "api" NOBYPASSRLS/],
      ['ALTER ROLE api SUPERUSER', /"api".*is a superuser/],
    ])('%s', async (statement, message) => {
      await apply(server, tenants('prepared'));
      await asSuperuser(server, statement);
      await expect(apply(server, tenants('prepared'))).rejects.toThrow(message);
    });

    test.each([
      ['rds_superuser', 'is a member of rds_superuser'],
      ['app_owner', 'can act as app_owner, who owns invoice'],
      ['report', 'can act as report, who sees all tenants'],
    ])(
      'but by a membership in %s that somebody gave by hand it is drift, and stops nothing',
      async (group, because) => {
        const wanted = await enforced(server);
        await asSuperuser(server, `GRANT ${group} TO api`);
        const changed = { ...wanted, roles: [...wanted.roles, login('clerk')] };
        const { plan: run } = await apply(server, changed);
        expect(run.steps.map(({ object }) => object)).toContain('role clerk');
        expect(run.withheld.map(({ object }) => object)).toContain(`membership of api in ${group}`);
        expect(run.notes.join('\n')).toContain(
          `the role "api" is to see one tenant alone in the schema "billing" of the database "app", and ${because}; somebody granted that by hand, and it is not declared: REVOKE "${group}" FROM "api"`,
        );
        await asSuperuser(server, `REVOKE ${group} FROM api`);
        expect((await plan(server, changed)).plan).toMatchObject({ steps: [], withheld: [] });
      },
    );

    test('not one that is a member of pg_read_all_data, which row security holds too', async () => {
      const wanted = await enforced(server);
      await asSuperuser(server, 'GRANT pg_read_all_data TO api');
      await apply(server, wanted);
      expect(await seenBy(server, 'api')).toEqual([]);
    });

    test('a declared TRUNCATE, and a column of another type', async () => {
      const wanted = tenants('prepared');
      const [database] = wanted.databases;
      const truncate = {
        privileges: ['TRUNCATE' as const],
        on: { kind: 'allTables' as const, schema: 'billing' },
        to: 'api',
      };
      await expect(
        apply(server, { ...wanted, databases: [{ ...database, grants: [...database.grants, truncate] }] }),
      ).rejects.toThrow(/"api".*TRUNCATE, which takes the rows of all tenants/);
      await apply(server, wanted);
      await asOwner(server, 'CREATE TABLE billing.odd (tenant_id int)');
      await expect(apply(server, wanted)).rejects.toThrow(
        'the column "tenant_id" of the table "billing.odd" of the database "app" is of the type integer, and the isolation declares uuid',
      );
    });
  });

  test('a declaration that goes away leaves policies and row security', async () => {
    const { databases, ...rest } = await enforced(server);
    const report = await apply(server, { ...rest, databases: [{ ...databases[0], isolations: [] }] });
    expect(report.plan.notes).toContain(
      'the tenants of the schema billing of the database app are not declared to be isolated any more: its policies and its row security stay as they are',
    );
    expect(await state(server)).toBe('on forced');
    expect(await seenBy(server, 'api', A)).toEqual([1, 2]);
  });

  test('back to prepared is an act that waits for its hash', async () => {
    await enforced(server);
    expect(ofRowSecurity(await apply(server, tenants('prepared')))).toMatchObject([
      { withheld: 'without row security every role sees the rows of all tenants' },
    ]);
    expect(await state(server)).toBe('on forced');
    await applyAcknowledged(server, tenants('prepared'));
    expect(await state(server)).toBe('off');
  });

  test('a table with restrictive policies of somebody else is not observed, since they would close it', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE, 'CREATE POLICY sleeps ON billing.invoice AS RESTRICTIVE USING (amount > 15)');
    const report = await apply(server, tenants('observed'));
    expect(ofRowSecurity(report)).toEqual([]);
    expect(report.plan.notes).toContain(
      'the table billing.invoice of the database app is not observed: row security would bring restrictive policies of others into effect (sleeps)',
    );
    expect(ofRowSecurity(await apply(server, tenants('enforced')))[0].reason).toContain(
      'with it come into effect the policies of others: sleeps',
    );
  });

  test('row security that somebody else has turned on is not opened to observe it', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE, 'ALTER TABLE billing.invoice ENABLE ROW LEVEL SECURITY');
    const report = await apply(server, tenants('observed'));
    expect(report.plan.notes).toContain(
      'row security of the table billing.invoice of the database app is already on, so it is not observed: nothing may be let through to look at it',
    );
    expect(await seenBy(server, 'api')).toEqual([]);
  });
});

describe('tenants on PostgreSQL 18', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version: 18, settings: { track_functions: 'pl' } });
  });
  afterEach(() => server.reset());

  test('the number of tables does not change the number of queries', async () => {
    const wanted = await enforced(server);
    const reads = async () =>
      (await plan(server, { ...wanted, acknowledgedPlans: ['0123456789abcdef'] })).statements.reads;
    const none = await reads();
    await asOwner(server, 'CREATE TABLE billing.t1 (tenant_id uuid)');
    const few = await reads();
    await asOwner(
      server,
      `DO $$ BEGIN FOR i IN 2..40 LOOP EXECUTE format('CREATE TABLE billing.t%s (tenant_id uuid)', i); END LOOP; END $$`,
      'CREATE VIEW billing.v AS SELECT * FROM billing.t1',
    );
    expect(await reads()).toBe(few);
    expect((await apply(server, wanted)).plan.steps).toHaveLength(40);
    expect(await reads()).toBe(none);
  });

  test('a table of an owner as whom nobody here can act is withheld by name, and the others are prepared', async () => {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE);
    await asSuperuser(
      server,
      [
        'CREATE TABLE billing.theirs (tenant_id uuid)',
        'GRANT SELECT, INSERT, UPDATE, DELETE ON billing.theirs TO api, worker, report',
        'GRANT SELECT ON billing.theirs TO app_readonly',
      ],
      'app',
    );
    const report = await apply(server, tenants('prepared'));
    expect(report.plan.withheld.map(({ object, withheld }) => [object, withheld])).toContainEqual([
      'policies of the table billing.theirs',
      'master has no power to do it: it can neither act as the owner nor grant itself that',
    ]);
    expect(await policies(server)).toHaveLength(2);
  });

  test('a role that can only look sees the plan', async () => {
    await enforced(server);
    await asOwner(
      server,
      'CREATE TABLE billing.payment (tenant_id uuid)',
      'ALTER TABLE billing.invoice NO FORCE ROW LEVEL SECURITY',
    );
    await server.query("CREATE ROLE auditor LOGIN PASSWORD 'look'");
    await asOwner(server, 'GRANT CONNECT ON DATABASE app TO auditor');
    const looks = reconcile(tenants('enforced'), server.connection({ user: 'auditor', password: 'look' }), {
      mode: 'plan',
    });
    expect(ofRowSecurity(await looks).map(({ object }) => object)).toContain(
      'row security of the table billing.invoice',
    );
  });

  test('two schemas of a database go their ways alone', async () => {
    const two = (billing: Stage, shop: Stage): DesiredState => {
      const wanted = tenants(billing);
      const [database] = wanted.databases;
      const [isolation] = database.isolations;
      return {
        ...wanted,
        databases: [
          {
            ...database,
            schemas: [...database.schemas, { name: 'shop', owner: 'app_owner' }],
            isolations: [isolation, { ...isolation, schema: 'shop', stage: shop, setting: 'shop.tenant' }],
          },
        ],
      };
    };
    const functions = () =>
      server
        .query<{ n: number }>(
          "SELECT count(*)::int AS n FROM pg_proc WHERE pronamespace = 'cdk_postgres_tenants'::regnamespace",
          { superuser: true, database: 'app' },
        )
        .then(([{ n }]) => n);
    await apply(server, two('prepared', 'prepared'));
    await asOwner(server, ...TABLE, 'CREATE TABLE shop.cart (id int, tenant_id uuid)');
    await apply(server, two('observed', 'observed'));
    await applyAcknowledged(server, two('observed', 'observed'));
    expect(await functions()).toBe(8);
    await apply(server, two('enforced', 'observed'));
    await applyAcknowledged(server, two('enforced', 'observed'));
    expect([await state(server), await state(server, 'shop.cart')]).toEqual(['on forced', 'on']);
    expect(await functions()).toBe(4);
    expect((await apply(server, two('enforced', 'observed'))).statements.writes).toBe(0);
    // A role that comes is observed as the others are.
    const [database] = two('enforced', 'observed').databases;
    const isolations = database.isolations.map((one) => ({ ...one, roles: ['api'] }));
    const fewer = { ...two('enforced', 'observed'), databases: [{ ...database, isolations }] };
    expect((await apply(server, fewer)).plan.withheld).toEqual([]);
    expect(await functions()).toBe(2);
    expect((await apply(server, two('enforced', 'observed'))).plan.withheld).toEqual([]);
    expect(await functions()).toBe(4);
  });

  test('a rollback encloses what came to an enforced schema, and opens nothing', async () => {
    const wanted = await enforced(server);
    await asOwner(server, 'CREATE TABLE billing.payment (tenant_id uuid)');
    await apply(server, wanted, { rollback: true });
    expect([await state(server), await state(server, 'billing.payment')]).toEqual(['on forced', 'on forced']);
  });
});

describe('a table that somebody holds (case 94)', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version: 18 });
  });
  afterEach(() => server.reset());

  async function held(): Promise<{ hash: string; release: () => Promise<void>; pid: number }> {
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE, 'CREATE TABLE billing.a_first (tenant_id uuid)');
    await apply(server, tenants('prepared'));
    const { hash } = (await plan(server, tenants('enforced'))).plan;
    const holder = await server.connect({ superuser: true, database: 'app' });
    await holder.query("SET application_name = 'long report'");
    await holder.query('BEGIN');
    const { rows } = await holder.query('SELECT pg_backend_pid() AS pid, count(*) FROM billing.invoice');
    return { hash: hash!, pid: rows[0].pid, release: () => holder.end() };
  }

  test('is waited for a moment, and the error names who holds it; nothing of it is half done', async () => {
    const { hash, pid, release } = await held();
    await expect(apply(server, tenants('enforced'), { acknowledge: [hash] })).rejects.toThrow(
      new RegExp(
        `row security of the table billing.invoice: the table billing.invoice of the database app could not be locked: process ${pid} of the role \\w+ \\(long report\\) in a transaction since .* holds it`,
      ),
    );
    expect(await state(server, 'billing.a_first')).toBe('on forced');
    expect(await state(server)).toBe('off');
    await release();
    await applyAcknowledged(server, tenants('enforced'));
    expect(await state(server)).toBe('on forced');
  });

  test('is taken when it is let go in time', async () => {
    const { hash, release } = await held();
    const run = apply(server, tenants('enforced'), { acknowledge: [hash] });
    for (let waits = false; !waits;)
      waits = await holds(
        server,
        "EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'billing.invoice'::regclass)",
        'app',
      );
    await release();
    await run;
    expect(await state(server)).toBe('on forced');
  });
});

describe('a server that counts no calls', () => {
  test('is said to tell nothing', async () => {
    const server = await startServer({ version: 18, settings: { track_functions: 'none' } });
    await apply(server, tenants('prepared'));
    await asOwner(server, ...TABLE);
    await apply(server, tenants('observed'));
    await applyAcknowledged(server, tenants('observed'));
    await as(server, 'api', 'SELECT * FROM billing.invoice');
    const report = await plan(server, tenants('enforced'));
    expect(ofRowSecurity(report)[0].reason).toContain('api cannot be told of, since track_functions is none');
    expect(report.plan.notes).toContain(
      'whether api sets app.tenant_id in the schema "billing" of the database "app" cannot be told, since track_functions is none: set it to pl in the parameter group',
    );
  });
});
