import { Client } from 'pg';
import { HardeningReport, judgeHardening, observeHardening } from '../../../lib/runtime/hardening';
import { Connections } from '../../../lib/runtime/reconcile/connections';
import { freshServer, startServer, TestServer, VERSIONS } from '../../support/postgres';

/** A server on which nothing is hardened, with a slot, which needs wal_level. */
const SOFT = { wal_level: 'logical', max_replication_slots: '5', track_io_timing: 'off' };
/** Everything that the report asks for, as far as a stock server takes it. */
const HARD = {
  'rds.force_ssl': '1',
  'rds.accepted_password_auth_method': 'scram',
  'pgaudit.log': 'ddl,role',
  'pgaudit.role': 'rds_pgaudit',
  log_disconnections: 'on',
  log_replication_commands: 'on',
  log_min_duration_statement: '1000',
  log_lock_waits: 'on',
  log_temp_files: '10240',
  log_autovacuum_min_duration: '60000',
  track_io_timing: 'on',
  idle_in_transaction_session_timeout: '300000',
  max_slot_wal_keep_size: '25600',
};

interface Look {
  readonly report: HardeningReport;
  readonly reads: number;
}

async function look(
  server: TestServer,
  as: { user?: string; password?: string } = {},
  idleFor?: string,
): Promise<Look> {
  const connections = new Connections(server.connection(as), 'postgres');
  try {
    const report = judgeHardening(await observeHardening(await connections.admin(), idleFor));
    return { report, reads: connections.counters.reads };
  } finally {
    await connections.close();
  }
}

const item = ({ report }: Look, name: string) => report.items.find((verdict) => verdict.item === name)!;

/** Without TLS whatever the server offers. */
async function client(server: TestServer, user: string, applicationName: string): Promise<Client> {
  const { host, port } = server;
  const made = new Client({
    host,
    port,
    user,
    password: 'for-the-test',
    database: 'postgres',
    application_name: applicationName,
  });
  made.on('error', () => undefined);
  await made.connect();
  return made;
}

describe.each(VERSIONS)('PostgreSQL %s, looked at by the master', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version, settings: SOFT });
  });
  afterEach(() => server.reset());

  test('SEC-11: says who connects without TLS, but for RDS itself', async () => {
    await server.connect({ superuser: true });
    await server.query("CREATE ROLE billing LOGIN PASSWORD 'for-the-test'");
    expect(item(await look(server), 'force-tls')).toMatchObject({
      state: 'free',
      missing: ['rds.force_ssl is not set'],
    });
    const [one, two] = [await client(server, 'billing', 'billing-api'), await client(server, 'billing', 'billing-api')];
    expect(item(await look(server), 'force-tls')).toMatchObject({
      requirement: 'SEC-11',
      state: 'breaks',
      affected: ['the role billing (billing-api) from 127.0.0.1: 2 connections without TLS'],
    });
    await Promise.all([one.end(), two.end()]);
  });

  test('SEC-10: of how passwords are kept, which RDS closes, it says what to do', async () => {
    await server.query(["SET password_encryption = 'md5'", "CREATE ROLE old_app LOGIN PASSWORD 'for-the-test'"], {
      superuser: true,
    });
    expect(item(await look(server), 'refuse-md5')).toMatchObject({
      state: 'unknown',
      affected: [],
      hint: 'This role cannot see how passwords are kept: on RDS, CREATE EXTENSION rds_tools in this database, and run it again.',
    });
    // Whoever can read them is told: a superuser of a server elsewhere.
    expect(item(await look(server, server.superuser), 'refuse-md5')).toMatchObject({
      state: 'breaks',
      affected: ['the role old_app: its password is kept as MD5'],
    });
    await server.query("ALTER ROLE old_app PASSWORD 'for-the-test'", { superuser: true });
    expect(item(await look(server, server.superuser), 'refuse-md5')).toMatchObject({ state: 'free', affected: [] });
  });

  test('SEC-10: the function that RDS offers is asked, if it is part of its extension, and no other of its name', async () => {
    await server.query(["SET password_encryption = 'md5'", "CREATE ROLE old_app LOGIN PASSWORD 'for-the-test'"], {
      superuser: true,
    });
    await server.query(
      [
        'CREATE TABLE public.called (at timestamptz)',
        'GRANT INSERT ON public.called TO PUBLIC',
        'CREATE SCHEMA rds_tools',
        'GRANT USAGE ON SCHEMA rds_tools TO PUBLIC',
        `CREATE FUNCTION rds_tools.role_password_encryption_type() RETURNS TABLE (rolname name, encryption_type text)
           LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN INSERT INTO public.called VALUES (now());
           RETURN QUERY SELECT a.rolname, CASE WHEN a.rolpassword LIKE 'md5%' THEN 'md5' ELSE 'scram-sha-256' END FROM pg_authid a; END $$`,
      ],
      { superuser: true },
    );
    expect(item(await look(server), 'refuse-md5').state).toBe('unknown');
    expect(await server.query('SELECT * FROM public.called', { superuser: true })).toEqual([]);

    await server.query(
      [
        'CREATE EXTENSION pgcrypto',
        'ALTER EXTENSION pgcrypto ADD FUNCTION rds_tools.role_password_encryption_type()',
        "UPDATE pg_extension SET extname = 'rds_tools' WHERE extname = 'pgcrypto'",
      ],
      { superuser: true },
    );
    try {
      expect(item(await look(server), 'refuse-md5')).toMatchObject({
        state: 'breaks',
        affected: ['the role old_app: its password is kept as MD5'],
      });
    } finally {
      await server.query(
        ["UPDATE pg_extension SET extname = 'pgcrypto' WHERE extname = 'rds_tools'", 'DROP EXTENSION pgcrypto CASCADE'],
        { superuser: true },
      );
    }
  });

  test('HA-8: says which slots are used by nobody, and what they hold', async () => {
    expect(item(await look(server), 'slot-limit')).toMatchObject({
      state: 'free',
      missing: ['max_slot_wal_keep_size is -1'],
    });
    await server.query("SELECT pg_create_physical_replication_slot('forgotten', true)", { superuser: true });
    try {
      const [verdict] = [item(await look(server), 'slot-limit')];
      expect(verdict.state).toBe('breaks');
      expect(verdict.affected).toEqual([
        expect.stringMatching(/^the slot forgotten: used by nobody now, holds \d+ MiB$/),
      ]);
    } finally {
      await server.query("SELECT pg_drop_replication_slot('forgotten')", { superuser: true });
    }
  });

  test('CP-16: a transaction that is idle only now is nobody whom it would break', async () => {
    const open = await server.connect();
    await open.query('BEGIN');
    expect(item(await look(server), 'idle-transactions')).toMatchObject({
      state: 'free',
      missing: ['idle_in_transaction_session_timeout is 0'],
    });
    // Control: with no patience at all it is somebody.
    expect(item(await look(server, {}, '0'), 'idle-transactions')).toMatchObject({
      state: 'breaks',
      affected: ['the role master from 127.0.0.1: 1 transaction idle for more than five minutes'],
    });
  });

  test('CP-16: a value that the looking role brings along is not taken for the server’s', async () => {
    await server.query("ALTER ROLE master SET idle_in_transaction_session_timeout = '60s'");
    expect(item(await look(server), 'idle-transactions').missing).toEqual([
      'idle_in_transaction_session_timeout of the server is not seen, since this role has its own',
    ]);
  });

  test('a role that sees nobody else’s sessions says so, and is not taken for a server without clients', async () => {
    await server.query([
      "CREATE ROLE looker LOGIN PASSWORD 'for-the-test'",
      "CREATE ROLE app LOGIN PASSWORD 'for-the-test'",
    ]);
    const other = await client(server, 'app', 'app');
    const looked = await look(server, { user: 'looker', password: 'for-the-test' });
    for (const name of ['force-tls', 'idle-transactions'])
      expect(item(looked, name)).toMatchObject({ state: 'unknown', hint: expect.stringContaining('pg_monitor') });
    await server.query('GRANT pg_monitor TO looker');
    const monitoring = await look(server, { user: 'looker', password: 'for-the-test' });
    expect(item(monitoring, 'force-tls').affected).toEqual([
      'the role app (app) from 127.0.0.1: 1 connection without TLS',
    ]);
    await other.end();
  });

  test('asks the same number of queries whatever there is', async () => {
    const few = await look(server);
    const names = Array.from({ length: 20 }, (_, index) => `app_${index}`);
    await server.query(names.map((name) => `CREATE ROLE ${name} LOGIN PASSWORD 'for-the-test'`));
    const clients = await Promise.all(names.map((name) => client(server, name, name)));
    const many = await look(server);
    expect(item(many, 'force-tls').affected).toHaveLength(20);
    expect(many.reads).toBe(few.reads);
    expect(many.reads).toBe(3);
    expect((await look(server, server.superuser)).reads).toBe(4);
    await Promise.all(clients.map((one) => one.end()));
  });

  test('writes nothing', async () => {
    const statements = await server.recordStatements(() => look(server));
    expect(statements.map(({ sql }) => sql).filter((sql) => !/^\s*(SELECT|SET)\b/.test(sql))).toEqual([]);
    expect(statements.length).toBeGreaterThan(3);
  });
});

describe.each(VERSIONS)('PostgreSQL %s with everything in place', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    const connections = version >= 18 ? 'all' : 'on';
    server = await freshServer({ version, tls: true, settings: { ...HARD, log_connections: connections } });
  });
  afterAll(() => server.stop());

  test('lacks nothing; a stand-in that does nothing is in the place of the library of pgaudit', async () => {
    const { report } = await look(server);
    expect(report.items.filter(({ state }) => state !== 'in place').map(({ item }) => item)).toEqual([]);
    expect(report.pendingRestart).toEqual([]);
    expect(report.fixed).toEqual([]);
  });

  test('SEC-11: clients with TLS are nobody whom it would break', async () => {
    await server.query("ALTER SYSTEM SET rds.force_ssl = '0'", { superuser: true });
    await server.query('SELECT pg_reload_conf()', { superuser: true });
    const other = await server.connect();
    expect(item(await until(server, 'force-tls'), 'force-tls')).toMatchObject({
      state: 'free',
      missing: ['rds.force_ssl is 0'],
      affected: [],
    });
    await other.end();
  });

  test('LIB-2: says what waits for a restart', async () => {
    await server.query('ALTER SYSTEM SET max_connections = 77', { superuser: true });
    await server.query('SELECT pg_reload_conf()', { superuser: true });
    for (let tries = 0; tries < 100; tries++) {
      if ((await look(server)).report.pendingRestart.length > 0) break;
    }
    expect((await look(server)).report.pendingRestart).toEqual(['max_connections']);
  });
});

/** A reload reaches new sessions in a moment. */
async function until(server: TestServer, name: string): Promise<Look> {
  for (let tries = 0; ; tries++) {
    const looked = await look(server);
    if (item(looked, name).state !== 'in place' || tries > 100) return looked;
  }
}
