import { Client } from 'pg';
import { rdsDeviations } from './rds-checks';
import { TestServer, VERSIONS, freshServer, startServer } from './postgres';

describe.each(VERSIONS)('the RDS-like test server %d', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });

  test('it is the version asked for, and its master is no superuser', async () => {
    const [row] = await server.query(
      'SELECT current_setting($$server_version_num$$)::int / 10000 AS v, rolsuper FROM pg_roles WHERE rolname = current_user',
    );
    expect(row).toEqual({ v: version, rolsuper: false });
  });

  test('its master has the power of an RDS master and no more', async () => {
    const master = await server.connect();
    expect(await rdsDeviations(master)).toEqual([]);
    await expect(server.connect({ database: 'rdsadmin' })).rejects.toThrow('permission denied for database "rdsadmin"');
    await master.end();
  });

  test('the negative control of that: a superuser connection is caught', async () => {
    const superuser = await server.connect({ superuser: true });
    expect(await rdsDeviations(superuser)).toEqual(
      expect.arrayContaining(['it is not so that the role is no superuser', 'reading pg_authid is possible']),
    );
    await superuser.end();
  });

  test('reset() gives back a new server', async () => {
    const before = await state(server);
    await server.query([
      'CREATE ROLE "we""ird" LOGIN',
      'GRANT "we""ird" TO master WITH INHERIT TRUE, SET TRUE',
      'CREATE DATABASE "my db" OWNER "we""ird"',
      'CREATE SCHEMA cdk_postgres',
      'CREATE TABLE public.t ()',
      'GRANT ALL ON TABLE public.t TO "we""ird"',
      'ALTER ROLE master SET statement_timeout = 7000',
      'ALTER DATABASE postgres SET search_path = x',
      'REVOKE ALL ON DATABASE postgres FROM PUBLIC',
      'GRANT CONNECT ON DATABASE postgres TO "we""ird"',
    ]);
    expect(await state(server)).not.toEqual(before);
    await server.reset();
    expect(await state(server)).toEqual(before);
  });

  test('a copy has the data and its own life', async () => {
    const original = await freshServer({ version });
    await original.query(['CREATE DATABASE app', 'CREATE ROLE bob LOGIN PASSWORD $$first$$']);
    const copy = await original.copy();
    expect(copy.port).not.toBe(original.port);
    await original.query('CREATE ROLE later');
    expect(await copy.query("SELECT rolname FROM pg_roles WHERE rolname IN ('bob', 'later')")).toEqual([
      { rolname: 'bob' },
    ]);
    await original.restart();
    expect(await original.query("SELECT datname FROM pg_database WHERE datname = 'app'")).toHaveLength(1);
    await copy.stop();
    await original.stop();
  });

  test('recordStatements() sees what was sent, over both protocols', async () => {
    const client = await server.connect();
    const statements = await server.recordStatements(async () => {
      await client.query('SELECT 1\n  AS one');
      await client.query('SELECT $1::int AS two', [2]);
    });
    expect(statements.map(({ sql }) => sql)).toEqual(['SELECT 1\n  AS one', 'SELECT $1::int AS two']);
    await client.end();
  });
});

test('a server with TLS refuses a connection without it and shows the certificate asked for', async () => {
  const server = await startServer({ version: 18, tls: true });
  const [row] = await server.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
  expect(row).toEqual({ ssl: true });
  const plain = new Client({ host: server.host, port: server.port, ...server.master, database: 'postgres' });
  await expect(plain.connect()).rejects.toThrow('no encryption');
});

test('a stock server has none of the roles of RDS', async () => {
  const server = await startServer({ version: 18, flavour: 'plain' });
  expect(await server.query("SELECT rolname FROM pg_roles WHERE rolname LIKE 'rds%'")).toEqual([]);
});

test('a second call in the same worker gets the same server, as new', async () => {
  const first = await startServer({ version: 18 });
  await first.query('CREATE ROLE left_behind');
  const second = await startServer({ version: 18 });
  expect(second.port).toBe(first.port);
  expect(await second.query("SELECT 1 FROM pg_roles WHERE rolname = 'left_behind'")).toEqual([]);
});

/** What reset() promises to bring back. */
async function state(server: TestServer): Promise<unknown> {
  return server.query(
    `SELECT (SELECT array_agg(datname || coalesce(datacl::text, '') ORDER BY datname) FROM pg_database) AS databases,
            (SELECT array_agg(rolname ORDER BY rolname) FROM pg_roles) AS roles,
            (SELECT array_agg(nspname || nspacl::text ORDER BY nspname) FROM pg_namespace WHERE nspname NOT LIKE 'pg_%') AS schemas,
            (SELECT count(*) FROM pg_db_role_setting)::int AS settings,
            (SELECT count(*) FROM pg_auth_members)::int AS memberships`,
    { superuser: true },
  );
}
