import { Client, ClientConfig } from 'pg';
import { encodeState } from '../../../lib/contract';
import { adopt, Imported, readExisting, writeTypeScript } from '../../../lib/runtime/import';
import { reconcile } from '../../../lib/runtime/reconcile';
import { Connections } from '../../../lib/runtime/reconcile/connections';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration, login } from '../reconcile/declaration';
import { eventually, mayReplicate } from '../reconcile/replicating';
import { apply, applyAcknowledged, appWith, asOwner, asSuperuser, plan, sqlOf } from '../reconcile/runs';
import { compileErrors, declaredBy, prettier } from './declared-again';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../../server/state/fake-bundles').fakeBundle(),
}));

const SECRET = 's3cr3t-of-the-publisher';
const sources: string[] = [];

const connectionOf = (server: TestServer, superuser: boolean) => server.connection(superuser ? server.superuser : {});

async function imported(server: TestServer, superuser = false, name = 'test'): Promise<Imported> {
  const connections = new Connections(connectionOf(server, superuser), 'postgres');
  try {
    return adopt(await readExisting(connections), name);
  } finally {
    await connections.close();
  }
}

function source({ state, remarks }: Imported): string {
  const text = writeTypeScript(state, remarks, ['What was there.']);
  sources.push(text);
  return text;
}

const remarksOf = ({ remarks }: Imported) => remarks.map(({ about, text }) => `${about}: ${text}`);

/** Its TypeScript declares the same, and neither the import nor a plan of what it declares has anything to do. */
async function expectWhole(server: TestServer, result: Imported, superuser = false): Promise<void> {
  const report = await reconcile(result.state, connectionOf(server, superuser), { mode: 'plan' });
  expect([
    ...sqlOf(report.plan.steps),
    ...report.plan.withheld.map((step) => `${step.object}: ${step.reason}`),
  ]).toEqual([]);
  expect([...result.plan.steps, ...result.plan.withheld]).toEqual([]);
  expect(declaredBy(source(result), result.state.name)).toEqual(JSON.parse(JSON.stringify(encodeState(result.state))));
}

const TABLES = [
  'CREATE TABLE billing.invoice (id int PRIMARY KEY, tenant_id uuid NOT NULL, amount int)',
  'CREATE TABLE billing."Odd.""Table" (id int PRIMARY KEY, tenant_id uuid NOT NULL, a text, b text)',
  'ALTER TABLE billing.invoice REPLICA IDENTITY FULL',
  'CREATE INDEX ON billing.invoice (tenant_id)',
];

/** Isolated and described by this library, whose ledger is gone; published by hand. */
async function rich(server: TestServer, stage: 'prepared' | 'observed' | 'enforced'): Promise<void> {
  const isolation = {
    schema: 'billing',
    column: 'tenant_id',
    type: 'uuid' as const,
    setting: 'shop.tenant',
    stage,
    roles: ['api', 'worker'],
    allTenants: ['app_owner'],
  };
  const state = appWith(
    { isolations: [isolation] },
    {
      roles: [...declaration().roles, login('worker')],
      comments: [
        { on: { kind: 'role', name: 'api' }, text: "the shop's own" },
        { on: { kind: 'role', name: 'app_readonly' }, text: 'who reads' },
        { on: { kind: 'role', name: 'app_owner' }, text: 'owns it all' },
        { on: { kind: 'database', name: 'app' }, text: 'the shop' },
        { on: { kind: 'schema', database: 'app', name: 'billing' }, text: 'invoices\nand lines' },
      ],
    },
  );
  await apply(server, appWith({}, { roles: state.roles }));
  await asOwner(server, ...TABLES);
  const { plan: withheld } = await apply(server, state);
  if (withheld.hash !== undefined) await applyAcknowledged(server, state);
  await asOwner(
    server,
    'CREATE PUBLICATION plain FOR TABLE billing.invoice',
    `CREATE PUBLICATION parts FOR TABLE billing.invoice WHERE (amount > 10 AND tenant_id IS NOT NULL), billing."Odd.""Table" (id, a)
       WITH (publish = 'insert, update', publish_via_partition_root = true)`,
    'CREATE PUBLICATION nothing',
  );
  await asSuperuser(
    server,
    [
      'CREATE EXTENSION citext SCHEMA billing',
      'CREATE EXTENSION hstore',
      'CREATE PUBLICATION everything FOR ALL TABLES',
      'CREATE PUBLICATION spaces FOR TABLES IN SCHEMA billing',
      `SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')`,
      `CREATE SUBSCRIPTION orders CONNECTION 'host=nowhere user=u password=${SECRET}' PUBLICATION b, a
         WITH (connect = false, slot_name = 'shop_orders', streaming = parallel, disable_on_error = true, origin = none)`,
      `CREATE SUBSCRIPTION other CONNECTION 'host=nowhere user=u password=${SECRET}' PUBLICATION a WITH (connect = false, synchronous_commit = on)`,
      'COMMENT ON SCHEMA public IS $$of somebody$$',
    ],
    'app',
  );
  await asSuperuser(server, ['DROP SCHEMA cdk_postgres CASCADE', 'COMMENT ON ROLE worker IS $$by hand$$']);
}

/** Slots and subscriptions belong to the whole server, and are no part of what a reset takes away. */
async function poor(server: TestServer): Promise<void> {
  for (const name of ['orders', 'other'])
    await asSuperuser(
      server,
      [`ALTER SUBSCRIPTION ${name} SET (slot_name = NONE)`, `DROP SUBSCRIPTION ${name}`],
      'app',
    );
  await asSuperuser(server, [
    'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active',
    'ALTER ROLE master NOREPLICATION',
  ]);
  await asSuperuser(server, 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots');
}

describe.each(VERSIONS)('PostgreSQL %s', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
    await mayReplicate(server);
  });
  afterEach(() => poor(server));

  test.each(['prepared', 'observed', 'enforced'] as const)(
    'what is beside the schemas, with tenants %s, is declared so that nothing is left to do',
    async (stage) => {
      await rich(server, stage);
      const statements = await server.recordStatements(async () => {
        const result = await imported(server);
        const [database] = result.state.databases;
        expect(database.extensions).toEqual([{ name: 'citext', schema: 'billing' }, { name: 'hstore' }]);
        expect(database.isolations).toEqual([
          expect.objectContaining({
            column: 'tenant_id',
            type: 'uuid',
            setting: 'shop.tenant',
            stage,
            roles: ['api', 'worker'],
          }),
        ]);
        expect(database.publications.map(({ name }) => name).sort()).toEqual(['parts', 'plain']);
        expect(database.subscriptions).toEqual([
          expect.objectContaining({ name: 'orders', slot: 'shop_orders', enabled: false, publications: ['a', 'b'] }),
        ]);
        expect(result.state.comments.map(({ text }) => text).sort()).toEqual([
          'invoices\nand lines',
          'owns it all',
          'the shop',
          "the shop's own",
          'who reads',
        ]);
        const remarks = remarksOf(result);
        for (const remark of [
          /^publication nothing of the database app: not declared, and stays: it is of nothing/,
          /^publication everything of the database app: not declared.*needs a superuser/,
          /^publication spaces of the database app: not declared.*DROP|^publication spaces of the database app: not declared/,
          /^slot debezium of the database app: not declared.*nobody reads from it now.*pgoutput/,
          /^subscription other of the database app: not declared.*synchronous_commit = on/,
          /^comment on role worker: "by hand" is not declared and stays/,
        ])
          expect(remarks).toContainEqual(expect.stringMatching(remark));
        await expectWhole(server, result);
        const text = source(result);
        expect(text).toContain('readonly orders: ISecret;');
        expect(text + JSON.stringify(encodeState(result.state))).not.toContain(SECRET);
      });
      expect(JSON.stringify(statements)).not.toContain('subconninfo');
    },
  );

  test('a superuser declares what is for all tables and for schemas too', async () => {
    await rich(server, 'prepared');
    const result = await imported(server, true);
    const names = result.state.databases[0].publications.map(({ name }) => name).sort();
    expect(names).toEqual(['everything', 'parts', 'plain', 'spaces']);
    await expectWhole(server, result, true);
  });

  test('an apply of what was imported changes nothing, and its second run writes nothing', async () => {
    await rich(server, 'enforced');
    const { state } = await imported(server);
    const first = await apply(server, state);
    expect(first.outcome).toBe('unchanged');
    expect((await apply(server, state)).statements.writes).toBe(0);
  });

  test('negative control: what changes after the import shows in its plan', async () => {
    await rich(server, 'enforced');
    const { state } = await imported(server);
    const changed = async () => {
      const { plan: after } = await plan(server, state);
      return [...after.steps, ...after.withheld].map(({ object }) => object);
    };
    await asOwner(server, 'ALTER PUBLICATION parts DROP TABLE billing."Odd.""Table"');
    await asOwner(server, 'ALTER TABLE billing.invoice NO FORCE ROW LEVEL SECURITY');
    await asSuperuser(server, ['DROP EXTENSION hstore', 'ALTER SUBSCRIPTION orders SET (origin = any)'], 'app');
    await asSuperuser(server, 'COMMENT ON ROLE api IS NULL');
    const objects = await changed();
    expect(objects).toEqual(
      expect.arrayContaining([
        'comment on role api',
        'row security of the table billing.invoice',
        'extension hstore',
        'publication parts',
        'subscription orders',
      ]),
    );
  });

  test('an isolation with a way round it is left out, with the way', async () => {
    await rich(server, 'enforced');
    await asOwner(
      server,
      'CREATE VIEW billing.all_invoices AS SELECT * FROM billing.invoice',
      'GRANT SELECT ON billing.all_invoices TO api',
    );
    const result = await imported(server);
    expect(result.state.databases[0].isolations).toEqual([]);
    expect(remarksOf(result)).toContainEqual(
      expect.stringMatching(/^isolation of tenants in the schema billing.*view billing.all_invoices: api may read it/),
    );
    await expectWhole(server, result);
  });

  test('what is for a role that cannot be declared, or owned by one that a construct refuses, is left out by name', async () => {
    await rich(server, 'enforced');
    await asSuperuser(server, 'ALTER ROLE worker NOINHERIT');
    await asSuperuser(server, ['GRANT pg_create_subscription TO app_owner', 'ALTER ROLE app_owner LOGIN']);
    await asSuperuser(server, 'ALTER SUBSCRIPTION orders OWNER TO app_owner', 'app');
    const result = await imported(server);
    const remarks = remarksOf(result);
    expect(remarks).toContainEqual(
      expect.stringMatching(/^isolation of tenants in the schema billing.*for the role worker, which is not declared/),
    );
    expect(remarks).toContainEqual(
      expect.stringMatching(/^subscription orders of the database app: not declared.*its owner app_owner is no member/),
    );
    expect(result.state.databases[0]).toMatchObject({ isolations: [], subscriptions: [] });
    await expectWhole(server, result);
  });

  test('a subscription of a declared login that is a member of the owner is declared with it', async () => {
    await rich(server, 'prepared');
    await server.query([
      'CREATE ROLE applier LOGIN',
      'GRANT app_owner TO applier WITH INHERIT TRUE, SET TRUE',
      'GRANT applier TO master WITH INHERIT FALSE, SET TRUE',
    ]);
    await asSuperuser(
      server,
      [
        'GRANT CREATE ON DATABASE app TO applier',
        'GRANT pg_create_subscription TO applier',
        'ALTER SUBSCRIPTION orders OWNER TO applier',
        'GRANT CONNECT ON DATABASE app TO applier',
      ],
      'app',
    );
    const result = await imported(server);
    expect(result.state.databases[0].subscriptions).toMatchObject([{ name: 'orders', owner: 'applier' }]);
    await expectWhole(server, result);
    expect(source(result)).toContain('owner: applier,');
  });

  test('a slot that somebody reads from has that role as its consumer', async () => {
    await rich(server, 'prepared');
    await asSuperuser(server, ["ALTER ROLE api REPLICATION PASSWORD 'for-the-test'"]);
    const { host, port } = server;
    const login = { host, port, user: 'api', password: 'for-the-test', database: 'app' };
    const consumer = new Client({ ...login, replication: 'database' } as ClientConfig);
    consumer.on('error', () => undefined);
    await consumer.connect();
    try {
      const options = `proto_version '1', publication_names 'plain'`;
      consumer.query(`START_REPLICATION SLOT debezium LOGICAL 0/0 (${options})`).catch(() => undefined);
      await eventually(
        () => asSuperuser(server, "SELECT FROM pg_replication_slots WHERE slot_name = 'debezium' AND active"),
        (rows) => rows.length === 1,
      );
      const result = await imported(server);
      expect(result.state.databases[0].slots).toMatchObject([
        { name: 'debezium', plugin: 'pgoutput', consumer: 'api' },
      ]);
      await expectWhole(server, result);
    } finally {
      await consumer.end().catch(() => undefined);
    }
  });

  test('a comment of another state stays somebody else’s', async () => {
    await rich(server, 'prepared');
    const result = await imported(server, false, 'other');
    expect(result.state.comments).toEqual([]);
    expect(remarksOf(result)).toContainEqual(expect.stringContaining('the shop (cdk-postgres: test)'));
    await expectWhole(server, result);
  });
});

test('the TypeScript of all of these compiles, and is formatted as Prettier formats it', () => {
  expect(sources.length).toBeGreaterThan(10);
  const wrong = sources[0].replace('addPublication(', 'addPublicazion(');
  expect(compileErrors([...new Set(sources), wrong])).toEqual([expect.stringContaining('addPublicazion')]);
  for (const text of [...new Set(sources)].slice(0, 6)) expect(text).toBe(prettier(text));
});
