import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { PublisherConnection, RefusedError } from '../../../lib/runtime/reconcile';
import { connectStatements, connectionString } from '../../../lib/runtime/reconcile/publisher';
import { startServer, TestServer, TestVersion } from '../../support/postgres';
import { objectRow, runRows } from './ledger-rows';
import {
  eventually,
  mayReplicate,
  of,
  publication,
  slot,
  subscribing,
  subscription,
  TABLES,
  withheldOf,
} from './replicating';
import { apply, appWith, asOwner, asSuperuser, plan, sqlOf } from './runs';

const PASSWORD = `pass'word\\ 7f3a`;

describe.each<[TestVersion, TestVersion]>([
  [16, 17],
  [17, 18],
  [18, 18],
])('a subscription from PostgreSQL %i to %i', (from, to) => {
  let publisher: TestServer;
  let subscriber: TestServer;
  let connection: PublisherConnection;
  beforeEach(async () => {
    publisher = await startServer({ version: from, tls: true, settings: { application_name: 'publisher' } });
    subscriber = await startServer({ version: to });
    await mayReplicate(publisher);
    const roots = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'roots-')), 'ca.pem');
    fs.chmodSync(path.dirname(roots), 0o755);
    fs.writeFileSync(roots, publisher.ca!, { mode: 0o644 });
    await apply(publisher, appWith({}));
    await asOwner(publisher, ...TABLES, "INSERT INTO billing.invoice VALUES (1, 'before', 10)");
    await apply(publisher, appWith({ publications: [publication()], slots: [slot({ name: 'orders' })] }));
    await asSuperuser(publisher, [`ALTER ROLE api REPLICATION PASSWORD '${PASSWORD.replace(/'/g, "''")}'`]);
    await asOwner(
      publisher,
      'GRANT USAGE ON SCHEMA billing TO api',
      'GRANT SELECT ON ALL TABLES IN SCHEMA billing TO api',
    );
    connection = {
      host: publisher.host,
      port: publisher.port,
      dbname: 'app',
      username: 'api',
      password: PASSWORD,
      sslrootcert: roots,
      versionId: 'v1',
    };
    await apply(subscriber, subscribing());
    await asOwner(subscriber, ...TABLES);
  });
  afterEach(async () => {
    const subscriptions = await asSuperuser(subscriber, 'SELECT subname FROM pg_subscription', 'app');
    for (const { subname } of subscriptions)
      await asSuperuser(
        subscriber,
        ['DISABLE', 'SET (slot_name = NONE)']
          .map((what) => `ALTER SUBSCRIPTION "${String(subname).replaceAll('"', '""')}" ${what}`)
          .concat(`DROP SUBSCRIPTION "${String(subname).replaceAll('"', '""')}"`),
        'app',
      );
    await asSuperuser(publisher, [
      'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active',
      'ALTER ROLE master NOREPLICATION',
    ]);
    await eventually(
      () =>
        asSuperuser(publisher, 'SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots').then(
          () => true,
          () => false,
        ),
      (dropped) => dropped,
    );
  });
  const state = (changes = {}) => subscribing(subscription(changes));
  const options = () => ({ connections: of(connection) });
  const rows = () => asSuperuser(subscriber, 'SELECT id, customer FROM billing.invoice ORDER BY 1', 'app');
  const arrived = (count: number) => eventually(rows, (found) => found.length === count);
  const refusal = async (declared: Parameters<typeof apply>[1]) => {
    const error: unknown = await apply(subscriber, declared, options()).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(RefusedError);
    return (error as RefusedError).message;
  };

  test('LR-4: rows of before and after arrive, over TLS that is checked, and its worker is nobody else', async () => {
    const report = await apply(subscriber, state(), options());
    expect(report.plan.steps.map(({ object, transactional }) => [object, transactional])).toEqual([
      ['membership of master in applier', true],
      ['subscription orders', true],
      ['subscription orders', false],
    ]);
    await asOwner(
      publisher,
      "INSERT INTO billing.invoice VALUES (2, 'after', 20)",
      "UPDATE billing.invoice SET customer = 'changed' WHERE id = 1",
    );
    const found = await eventually(rows, (seen) => seen.length === 2 && seen[0].customer === 'changed');
    expect(found).toEqual([
      { id: 1, customer: 'changed' },
      { id: 2, customer: 'after' },
    ]);
    const ssl = await asSuperuser(publisher, 'SELECT ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)');
    expect(ssl).toEqual([{ ssl: true }]);
    const [owner] = await asSuperuser(
      subscriber,
      'SELECT subowner::regrole::text AS owner FROM pg_subscription',
      'app',
    );
    expect(owner.owner).toBe('applier');
    expect(await objectRow(subscriber, 'orders')).toMatchObject({
      kind: 'subscription',
      origin: 'created',
      established: true,
    });
    expect(await apply(subscriber, state(), options())).toMatchObject({
      outcome: 'unchanged',
      statements: { writes: 0 },
    });
  });

  test('an owner that may not log in is refused, since its worker would not start', async () => {
    expect(await refusal(state({ owner: 'app_owner' }))).toContain('belongs to "app_owner", which may not log in');
  });

  test('the connected role keeps nothing that it lent itself', async () => {
    const memberships = () =>
      asSuperuser(
        subscriber,
        'SELECT roleid::regrole, member::regrole, inherit_option FROM pg_auth_members ORDER BY 1, 2',
      );
    await apply(subscriber, subscribing());
    await apply(subscriber, state({ enabled: false }), options());
    const before = await memberships();
    await apply(subscriber, state(), options());
    expect(await memberships()).toEqual(before);
    expect(await asSuperuser(subscriber, "SELECT has_database_privilege('master', 'app', 'CREATE') AS may")).toEqual([
      { may: false },
    ]);
  });

  test('LR-4: the password is in no log, ledger, plan or report', async () => {
    const planned = await plan(subscriber, state(), options());
    const report = await apply(subscriber, state(), options());
    connection = { ...connection, versionId: 'v2' };
    const rotated = await apply(subscriber, state(), options());
    expect(sqlOf(rotated.plan.steps)).toContain("SELECT set_config('cdk_postgres.connection', '…', true)");
    await arrived(1);
    const ledger = await asSuperuser(
      subscriber,
      'SELECT to_jsonb(r) AS row FROM cdk_postgres.run r UNION ALL SELECT to_jsonb(s) FROM cdk_postgres.state s UNION ALL SELECT to_jsonb(c) FROM cdk_postgres.connection c',
    );
    expect(ledger.length).toBeGreaterThan(2);
    for (const text of [
      subscriber.log(),
      JSON.stringify([planned, report, rotated, ledger, await runRows(subscriber)]),
    ])
      expect(text).not.toContain('7f3a');
    // The log would have shown it: with log_statement = ddl it has the text of whoever makes a subscription by hand.
    expect(subscriber.log()).toContain('CREATE SUBSCRIPTION "orders" CONNECTION');
    await asSuperuser(
      subscriber,
      `CREATE SUBSCRIPTION by_hand CONNECTION 'host=x password=by-hand-2b2b' PUBLICATION p WITH (connect = false)`,
      'app',
    );
    expect(subscriber.log()).toContain('by-hand-2b2b');
  });

  test('LR-4: a failing statement leaves no trace of the password either', async () => {
    const { before, connect } = connectStatements('not there', 'key');
    expect(before.map(({ connectionOf }) => connectionOf)).toEqual([undefined, 'key']);
    const client = await subscriber.connect({ database: 'app' });
    await client.query('BEGIN');
    await client.query("SELECT set_config('cdk_postgres.connection', $1, true)", ['host=x password=9e9e-secret']);
    await expect(client.query(connect.sql)).rejects.toThrow('subscription "not there" does not exist');
    await client.query('ROLLBACK');
    expect(subscriber.log()).not.toContain('9e9e-secret');
    expect(subscriber.log()).toContain('subscription "not there" does not exist');
    await client.end();
  });

  test('LR-4: a server that would log it anyway is refused it, with the parameter', async () => {
    await asSuperuser(subscriber, ["ALTER SYSTEM SET log_statement = 'all'", 'SELECT pg_reload_conf()']);
    await eventually(
      () => asSuperuser(subscriber, 'SHOW log_statement'),
      ([row]) => row.log_statement === 'all',
    );
    await expect(apply(subscriber, state(), options())).rejects.toThrow(
      /since log_statement is all: GRANT SET ON PARAMETER log_statement TO master/,
    );
    expect(subscriber.log()).not.toContain('7f3a');
    expect(await asSuperuser(subscriber, 'SELECT FROM pg_subscription', 'app')).toEqual([]);
    await asSuperuser(subscriber, 'GRANT SET ON PARAMETER log_statement TO master');
    await apply(subscriber, state(), options());
    await arrived(1);
    expect(subscriber.log()).not.toContain('7f3a');
    await asSuperuser(subscriber, 'REVOKE SET ON PARAMETER log_statement FROM master');
  });

  test('case 90: a new version of the secret is set, and no other run touches it', async () => {
    await apply(subscriber, state(), options());
    await arrived(1);
    await asSuperuser(publisher, "ALTER ROLE api PASSWORD 'another'");
    connection = { ...connection, password: 'another', versionId: 'v2' };
    const report = await apply(subscriber, state(), options());
    expect(report.plan.steps.map(({ object, reason }) => [object, reason])).toEqual([
      ['connection of subscription orders', 'its secret has a new version'],
    ]);
    await asOwner(publisher, "INSERT INTO billing.invoice VALUES (2, 'after', 20)");
    expect(await arrived(2)).toHaveLength(2);
    expect(await apply(subscriber, state(), options())).toMatchObject({
      outcome: 'unchanged',
      statements: { writes: 0 },
    });
    const noted = await plan(subscriber, state());
    expect(noted.plan.notes).toContainEqual(expect.stringContaining('is in its secret now is not known'));
  });

  test('case 91: a run that ends between the two steps is completed by the next', async () => {
    const broken = connection;
    connection = { ...connection, port: 1 };
    await expect(apply(subscriber, state(), options())).rejects.toThrow(/could not connect to the publisher/);
    const [half] = await asSuperuser(
      subscriber,
      'SELECT subenabled, (SELECT count(*)::int FROM pg_subscription_rel) AS tables FROM pg_subscription',
      'app',
    );
    expect(half).toEqual({ subenabled: true, tables: 0 });
    connection = { ...broken, versionId: 'v2' };
    const report = await apply(subscriber, state(), options());
    expect(report.plan.steps.map(({ object }) => object)).toEqual([
      'connection of subscription orders',
      'subscription orders',
    ]);
    expect(await arrived(1)).toHaveLength(1);
    expect(await apply(subscriber, state(), options())).toMatchObject({
      outcome: 'unchanged',
      statements: { writes: 0 },
    });
  });

  test('options are compared with the catalog and changed by SET', async () => {
    await apply(subscriber, state({ options: { streaming: 'on', copy_data: 'false' } }), options());
    const changed = state({
      options: { streaming: 'parallel', origin: 'none', disable_on_error: 'true', copy_data: 'false' },
    });
    const report = await apply(subscriber, changed, options());
    expect(sqlOf(report.plan.steps)).toEqual([
      `ALTER SUBSCRIPTION "orders" SET (streaming = 'parallel', origin = 'none', disable_on_error = 'true')`,
    ]);
    expect(await apply(subscriber, changed, options())).toMatchObject({
      outcome: 'unchanged',
      statements: { writes: 0 },
    });
    expect(await rows()).toEqual([]);
    const twoPhase = await plan(subscriber, state({ options: { two_phase: 'true' } }), options());
    expect(withheldOf(twoPhase)).toContainEqual(
      expect.stringContaining(
        to < 18
          ? 'changes two_phase of a subscription from version 18 on'
          : 'only while no worker of the subscription runs',
      ),
    );
  });

  test('publications come and go, and a disabled one is not started', async () => {
    await apply(
      publisher,
      appWith({
        publications: [publication(), publication({ name: 'more', tables: [{ schema: 'billing', name: 'line' }] })],
        slots: [slot({ name: 'orders' })],
      }),
    );
    await asOwner(publisher, 'INSERT INTO billing.line VALUES (1, 1)');
    await apply(subscriber, state(), options());
    await arrived(1);
    const report = await apply(subscriber, state({ publications: ['cdc', 'more'] }), options());
    expect(sqlOf(report.plan.steps)).toEqual([
      `ALTER SUBSCRIPTION "orders" SET PUBLICATION "cdc", "more" WITH (copy_data = 'true')`,
    ]);
    await eventually(
      () => asSuperuser(subscriber, 'SELECT FROM billing.line', 'app'),
      (found) => found.length === 1,
    );
    expect(await asSuperuser(subscriber, 'SELECT * FROM billing.line', 'app')).toEqual([{ invoice: 1, position: 1 }]);
    const stopped = await apply(subscriber, state({ publications: ['cdc', 'more'], enabled: false }), options());
    expect(sqlOf(stopped.plan.steps)).toEqual(['ALTER SUBSCRIPTION "orders" DISABLE']);
  });

  test('one that goes out of the declaration goes on, and is noted', async () => {
    await apply(subscriber, state(), options());
    const report = await apply(subscriber, subscribing(), options());
    expect(report.plan.steps).toEqual([]);
    expect(report.plan.notes).toContainEqual(
      expect.stringContaining('the subscription orders of app is not declared any more, and goes on'),
    );
    expect(await arrived(1)).toHaveLength(1);
  });

  test('without the secret, or the power, nothing is changed and the reason is told', async () => {
    await expect(apply(subscriber, state())).rejects.toThrow(
      'connects by the secret "app.orders", to which this run has no access',
    );
    expect(await asSuperuser(subscriber, 'SELECT FROM pg_subscription', 'app')).toEqual([]);
    expect(await refusal(state({ options: { password_required: 'false' } }))).toContain(
      'is for superusers alone; master is none',
    );
    await asSuperuser(subscriber, 'REVOKE pg_create_subscription FROM rds_superuser');
    try {
      expect(await refusal(state())).toContain('GRANT pg_create_subscription TO "master"');
    } finally {
      await asSuperuser(subscriber, 'GRANT pg_create_subscription TO rds_superuser WITH ADMIN OPTION');
    }
  });

  test('names that need quotes', async () => {
    const name = `it's 100% "$block$" \\ ; --`;
    await apply(subscriber, state({ name, slot: 'orders' }), options());
    expect(await arrived(1)).toHaveLength(1);
    connection = { ...connection, versionId: 'v2' };
    await apply(subscriber, state({ name, slot: 'orders' }), options());
    expect(await apply(subscriber, state({ name, slot: 'orders' }), options())).toMatchObject({ outcome: 'unchanged' });
  });
});

test('the connection string checks who answers, and quotes what libpq would take apart', () => {
  const connection = { host: 'h', port: 5433, dbname: 'd b', username: 'u', password: `a'b\\c`, versionId: 'v' };
  expect(connectionString(connection, 'rds')).toBe(
    `host='h' port='5433' dbname='d b' user='u' password='a\\'b\\\\c' sslmode='verify-full' sslcertmode='disable' sslrootcert='/rdsdbdata/rds-metadata/ca-cert.pem'`,
  );
  expect(connectionString(connection, 'plain')).toContain(`sslrootcert='system'`);
  expect(connectionString({ ...connection, sslmode: 'require' }, 'plain')).not.toContain('sslrootcert');
});
