import { RefusedError } from '../../../lib/runtime/reconcile';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { objectRow } from './ledger-rows';
import { publication, publishing, withheldOf, withTables } from './replicating';
import { apply, applyAcknowledged, appWith, asOwner, asSuperuser, plan, sqlOf } from './runs';

const invoice = { schema: 'billing', name: 'invoice' };
const line = { schema: 'billing', name: 'line' };
const event = { schema: 'billing', name: 'event' };

describe.each(VERSIONS)('publications, PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
    await withTables(server);
  });
  const published = async () =>
    (
      await server.query<{ line: string }>(
        `SELECT format('%s.%s%s%s', schemaname, tablename,
                CASE WHEN cardinality(attnames) < (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = format('%I.%I', schemaname, tablename)::regclass AND attnum > 0)
                     THEN ' ' || attnames::text END, ' where ' || rowfilter) AS line FROM pg_publication_tables WHERE pubname = 'cdc' ORDER BY 1`,
        { database: 'app', superuser: true },
      )
    ).map((row) => row.line);
  const unchanged = async (state: Parameters<typeof apply>[1]) =>
    expect(await apply(server, state)).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
  const refusal = async (state: Parameters<typeof apply>[1]) => {
    const error: unknown = await apply(server, state).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RefusedError);
    return (error as RefusedError).problems.join('\n');
  };
  const oid = async () =>
    (await server.query("SELECT oid FROM pg_publication WHERE pubname = 'cdc'", { database: 'app' }))[0].oid;

  test('LR-3: is made by the owner of its tables, who has CREATE on the database anyway', async () => {
    const report = await apply(server, publishing({ tables: [invoice, line] }));
    expect(report.plan.steps.map(({ object }) => object)).toEqual(['publication cdc']);
    expect(await published()).toEqual(['billing.invoice', 'billing.line']);
    const owner = await server.query('SELECT pubowner::regrole::text AS owner FROM pg_publication', {
      database: 'app',
    });
    expect(owner).toEqual([{ owner: 'app_owner' }]);
    expect(await objectRow(server, 'cdc')).toMatchObject({
      kind: 'publication',
      database: 'app',
      origin: 'created',
      established: true,
    });
    await unchanged(publishing({ tables: [invoice, line] }));
  });

  test('another owner gets CREATE on the database for the transaction alone', async () => {
    const state = appWith({
      schemas: [
        { name: 'billing', owner: 'app_owner' },
        { name: 'other', owner: 'app_readonly' },
      ],
    });
    await apply(server, state);
    await server.query(['SET ROLE app_readonly', 'CREATE TABLE other.t (id int PRIMARY KEY)'], { database: 'app' });
    await apply(server, {
      ...state,
      databases: [
        {
          ...state.databases[0],
          publications: [publication({ owner: 'app_readonly', tables: [{ schema: 'other', name: 't' }] })],
        },
      ],
    });
    expect(await published()).toEqual(['other.t']);
    const [row] = await server.query("SELECT has_database_privilege('app_readonly', 'app', 'CREATE') AS may", {
      database: 'app',
    });
    expect(row.may).toBe(false);
  });

  test('case 89: tables come and go by ADD and DROP, and the publication stays the same one', async () => {
    await apply(server, publishing({ tables: [invoice, line] }));
    const before = await oid();
    const report = await apply(server, publishing({ tables: [invoice, event], operations: ['INSERT'] }));
    expect(sqlOf(report.plan.steps)).toEqual([
      `ALTER PUBLICATION "cdc" SET (publish = 'insert')`,
      'ALTER PUBLICATION "cdc" ADD TABLE "billing"."event"',
      'ALTER PUBLICATION "cdc" DROP TABLE "billing"."line"',
    ]);
    expect(await published()).toEqual(['billing.event', 'billing.invoice']);
    expect(await oid()).toBe(before);
  });

  test('tables of a schema that their owner may not enter come and go, and the owner has no more than before', async () => {
    await asSuperuser(
      server,
      ['CREATE SCHEMA closed', ...['a', 'b'].map((name) => `CREATE TABLE closed.${name} (id int PRIMARY KEY)`)],
      'app',
    );
    await asSuperuser(
      server,
      [
        'ALTER SCHEMA closed OWNER TO api',
        ...['a', 'b'].map((name) => `ALTER TABLE closed.${name} OWNER TO app_owner`),
      ],
      'app',
    );
    const both = ['a', 'b'].map((name) => ({ schema: 'closed', name, identity: { kind: 'full' as const } }));
    await apply(server, publishing({ tables: both }));
    expect(await published()).toEqual(['closed.a', 'closed.b']);
    await apply(server, publishing({ tables: [both[0]] }));
    expect(await published()).toEqual(['closed.a']);
    await apply(server, publishing({ tables: both }));
    expect(await published()).toEqual(['closed.a', 'closed.b']);
    const [row] = await server.query("SELECT has_schema_privilege('app_owner', 'closed', 'USAGE') AS may", {
      database: 'app',
    });
    expect(row.may).toBe(false);
  });

  test('what somebody published by hand is withheld, and goes with an acknowledgement', async () => {
    const state = publishing();
    await apply(server, state);
    await asOwner(server, 'ALTER PUBLICATION cdc ADD TABLE billing.line');
    const report = await apply(server, state);
    expect(withheldOf(report)).toEqual([expect.stringMatching(/^publication cdc: production takes nothing away/)]);
    expect(await published()).toEqual(['billing.invoice', 'billing.line']);
    await applyAcknowledged(server, state);
    expect(await published()).toEqual(['billing.invoice']);
  });

  test('case 89: a publication that was there is adopted, and loses nothing unasked', async () => {
    await asOwner(server, 'CREATE PUBLICATION cdc FOR TABLE billing.line');
    const report = await apply(server, publishing());
    expect(await published()).toEqual(['billing.invoice', 'billing.line']);
    expect(withheldOf(report)).toEqual([expect.stringMatching(/it was there before this state declared it/)]);
    expect(await objectRow(server, 'cdc')).toMatchObject({ origin: 'adopted' });
  });

  test('row filters are compared as the server writes them, and columns by name', async () => {
    const filtered = publishing({
      tables: [
        { ...invoice, columns: ['id', 'customer'], where: "id>5 and customer='it''s'", identity: { kind: 'full' } },
      ],
      operations: ['INSERT'],
    });
    await apply(server, filtered);
    expect(await published()).toEqual([
      `billing.invoice {id,customer} where ((id > 5) AND (customer = 'it''s'::text))`,
    ]);
    await unchanged(filtered);
    // The fingerprint is not what makes it so: with the ledger's proof gone it is planned anew.
    await server.query('UPDATE cdk_postgres.state SET fingerprint = NULL');
    expect((await plan(server, filtered)).plan).toMatchObject({ steps: [], withheld: [] });
    const report = await apply(
      server,
      publishing({ tables: [{ ...invoice, where: 'id > 6', identity: { kind: 'full' } }], operations: ['INSERT'] }),
    );
    expect(sqlOf(report.plan.steps)).toEqual([
      'ALTER PUBLICATION "cdc" DROP TABLE "billing"."invoice"',
      'ALTER PUBLICATION "cdc" ADD TABLE "billing"."invoice" WHERE (id > 6)',
    ]);
  });

  test('a filter that the server refuses is named before anything changes', async () => {
    expect(await refusal(publishing({ tables: [{ ...invoice, where: 'nothing > 5' }] }))).toContain(
      'a row filter of "cdc" is refused by the server: column "nothing" does not exist',
    );
    expect(await server.query('SELECT FROM pg_publication', { database: 'app' })).toEqual([]);
  });

  test('names that need quotes, and that try to get out of them', async () => {
    const evil = `it's "; DROP TABLE billing.invoice; --`;
    await asOwner(
      server,
      `CREATE TABLE billing."it's ""; DROP TABLE billing.invoice; --" (id int PRIMARY KEY, "Select%s" text)`,
    );
    const state = publishing({
      name: evil,
      tables: [{ schema: 'billing', name: evil, columns: ['id', 'Select%s'], where: '"Select%s" IS NOT NULL' }],
      operations: ['INSERT'],
    });
    await apply(server, state);
    await unchanged(state);
    const rows = await server.query('SELECT pubname, tablename FROM pg_publication_tables', { database: 'app' });
    expect(rows).toEqual([{ pubname: evil, tablename: evil }]);
    expect(
      await server.query("SELECT to_regclass('billing.invoice') IS NOT NULL AS there", {
        superuser: true,
        database: 'app',
      }),
    ).toEqual([{ there: true }]);
  });

  test('LR-5: a table without a replica identity is refused by name, with what to do', async () => {
    expect(await refusal(publishing({ tables: [event] }))).toMatch(
      /publishes UPDATE or DELETE of billing\.event, which has no replica identity.*give it a primary key, declare ReplicaIdentity\.full\(\), or publish INSERT alone/,
    );
    await apply(server, publishing({ tables: [event], operations: ['INSERT', 'TRUNCATE'] }));
    expect(await published()).toEqual(['billing.event']);
  });

  test('LR-5: what is refused would break the UPDATE of the application', async () => {
    await asOwner(server, 'CREATE PUBLICATION cdc FOR TABLE billing.event');
    await expect(asOwner(server, "UPDATE billing.event SET what = 'x'")).rejects.toThrow(
      'does not have a replica identity',
    );
  });

  test('LR-5: a declared identity is set first, in a transaction of its own', async () => {
    const state = publishing({ tables: [{ ...event, identity: { kind: 'full' } }] });
    const report = await apply(server, state);
    expect(report.plan.steps.map(({ object, locks }) => [object, locks])).toEqual([
      ['replica identity of billing.event', { schema: 'billing', name: 'event' }],
      ['publication cdc', undefined],
    ]);
    await asOwner(server, "UPDATE billing.event SET what = 'x'");
    await unchanged(state);
  });

  test('LR-5: an index can be the identity, if PostgreSQL takes it', async () => {
    await asOwner(
      server,
      'ALTER TABLE billing.event ALTER at SET NOT NULL',
      'CREATE UNIQUE INDEX event_at ON billing.event (at)',
      'CREATE UNIQUE INDEX event_what ON billing.event (what)',
    );
    const by = (index: string) => publishing({ tables: [{ ...event, identity: { kind: 'index', index } }] });
    expect(await refusal(by('event_what'))).toMatch(/event_what.*none of its unique.*: event_at/);
    expect(sqlOf((await apply(server, by('event_at'))).plan.steps)[0]).toBe(
      'ALTER TABLE "billing"."event" REPLICA IDENTITY USING INDEX "event_at"',
    );
    await unchanged(by('event_at'));
  });

  test('LR-5: columns and filters that leave the identity out are refused, since UPDATE would fail', async () => {
    expect(await refusal(publishing({ tables: [{ ...invoice, columns: ['customer'] }] }))).toContain(
      'without its columns id',
    );
    expect(await refusal(publishing({ tables: [{ ...invoice, where: 'amount > 1' }] }))).toContain(
      'filters billing.invoice by amount',
    );
    await apply(server, publishing({ tables: [{ ...invoice, where: 'id > 1' }] }));
    await asOwner(server, 'UPDATE billing.invoice SET amount = 2');
  });

  test('case 88: without the power to publish a schema its tables are published, and later ones are drift', async () => {
    const state = publishing({ tables: [], schemas: ['billing'], operations: ['INSERT'] });
    const report = await apply(server, state);
    expect(report.plan.notes).toContainEqual(expect.stringContaining('has the schemas billing table by table'));
    expect(await published()).toEqual(['billing.event', 'billing.invoice', 'billing.line']);
    await unchanged(state);
    await asOwner(server, 'CREATE TABLE billing.late (id int)');
    expect(sqlOf((await plan(server, state)).plan.steps)).toEqual([
      'ALTER PUBLICATION "cdc" ADD TABLE "billing"."late"',
    ]);
    await apply(server, state);
    expect(await published()).toContain('billing.late');
  });

  test('case 88: all tables are refused without that power', async () => {
    expect(await refusal(publishing({ tables: [], allTables: true }))).toContain(
      'needs a superuser, or rds_superuser on Amazon RDS; master is none',
    );
  });

  test('a superuser publishes schemas and all tables as such', async () => {
    await asSuperuser(server, 'ALTER ROLE master SUPERUSER');
    try {
      const state = appWith({
        publications: [
          publication({ tables: [], schemas: ['billing'], operations: ['INSERT'] }),
          publication({ name: 'all', tables: [], allTables: true, operations: ['INSERT'] }),
        ],
      });
      await apply(server, state);
      expect(await server.query('SELECT FROM pg_publication_namespace', { database: 'app' })).toHaveLength(1);
      expect(await server.query('SELECT pubname FROM pg_publication WHERE puballtables', { database: 'app' })).toEqual([
        { pubname: 'all' },
      ]);
      await unchanged(state);
    } finally {
      await asSuperuser(server, 'ALTER ROLE master NOSUPERUSER');
    }
  });

  test('a missing table, a missing column and a table of somebody else are refused by name', async () => {
    await asSuperuser(server, 'CREATE TABLE billing.foreign_one (id int PRIMARY KEY)', 'app');
    const problems = await refusal(
      publishing({
        tables: [
          { schema: 'billing', name: 'nope' },
          { ...invoice, columns: ['id', 'nope'] },
          { schema: 'billing', name: 'foreign_one' },
        ],
      }),
    );
    expect(problems).toContain('names the table "billing.nope", which is not there');
    expect(problems).toContain('names columns that billing.invoice does not have: nope');
    expect(problems).toMatch(/billing\.foreign_one to "rdsadmin", who alone may publish it/);
  });

  test('generated columns from 18 on', async () => {
    await asOwner(server, 'ALTER TABLE billing.invoice ADD twice int GENERATED ALWAYS AS (amount * 2) STORED');
    const state = publishing({ generatedColumns: true });
    if (version < 18) {
      expect(await refusal(state)).toContain('publishes generated columns, which exists from PostgreSQL 18 on');
      return;
    }
    await apply(server, publishing());
    expect(sqlOf((await apply(server, state)).plan.steps)).toEqual([
      'ALTER PUBLICATION "cdc" SET (publish_generated_columns = stored)',
    ]);
    await unchanged(state);
  });

  test('changes of partitions as those of their root', async () => {
    await apply(server, publishing());
    const report = await apply(server, publishing({ viaRoot: true }));
    expect(sqlOf(report.plan.steps)).toEqual(['ALTER PUBLICATION "cdc" SET (publish_via_partition_root = true)']);
  });

  test('one that goes out of the declaration stays, and is noted', async () => {
    await apply(server, publishing());
    const report = await apply(server, appWith({}));
    expect(report.plan.steps).toEqual([]);
    expect(report.plan.notes).toContainEqual(
      expect.stringContaining('the publication cdc of app is not declared any more, and stays'),
    );
    expect(await published()).toEqual(['billing.invoice']);
  });

  test('two states that claim one publication: the second is refused', async () => {
    await apply(server, publishing());
    const other = { ...publishing(), name: 'other' };
    expect(await refusal(other)).toContain(
      'the publication "cdc" of the database "app" is managed by the state "test"',
    );
  });

  test('the catalog is read in as many queries for one table as for thirty', async () => {
    const names = Array.from({ length: 30 }, (_, at) => `t${at}`);
    await asOwner(server, ...names.map((name) => `CREATE TABLE billing.${name} (id int PRIMARY KEY)`));
    const reads = async (tables: string[]) =>
      (await plan(server, publishing({ tables: tables.map((name) => ({ schema: 'billing', name, where: 'id > 1' })) })))
        .statements.reads;
    expect(await reads(names)).toBe(await reads(['t0']));
  });
});

test('case 93: a publication is made before wal_level is logical, with a note that names the parameter', async () => {
  const server = await startServer({ version: 17, settings: { wal_level: 'replica' } });
  await withTables(server);
  const report = await apply(server, publishing());
  expect(report.plan.notes).toContainEqual(
    expect.stringContaining('set rds.logical_replication = 1 in the parameter group on Amazon RDS'),
  );
});
