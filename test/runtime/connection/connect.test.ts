import * as net from 'node:net';
import { Client } from 'pg';
import { isConnectionFailure, openClient, tryLogin } from '../../../lib/runtime/connection';
import { createAuthority } from '../../support/certificates';
import { freshServer, startServer, TestServer, VERSIONS } from '../../support/postgres';

describe('openClient()', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version: 18 });
  });

  test('case 8: pins the session against what the role and the database bring along', async () => {
    await server.query(
      [
        'CREATE ROLE other',
        'GRANT other TO master WITH SET TRUE, INHERIT FALSE',
        'ALTER ROLE master SET role = other',
        'ALTER ROLE master SET search_path = evil, public',
        "ALTER DATABASE postgres SET createrole_self_grant = 'set, inherit'",
        'ALTER ROLE master SET default_transaction_read_only = on',
        'ALTER ROLE master SET standard_conforming_strings = off',
        "ALTER ROLE master SET DateStyle = 'SQL, DMY'",
        'ALTER ROLE master SET statement_timeout = 500',
        'ALTER ROLE master SET transaction_timeout = 1000',
        'ALTER ROLE master SET idle_session_timeout = 1000',
        'ALTER ROLE master SET quote_all_identifiers = on',
        'ALTER ROLE master SET row_security = off',
        'ALTER ROLE master SET array_nulls = off',
        'ALTER ROLE master SET exit_on_error = on',
      ],
      { superuser: true },
    );
    const client = await openClient(server.connection());
    await new Promise((resolve) => setTimeout(resolve, 1_200));
    await expect(client.query('SELECT 1 / 0')).rejects.toThrow('division by zero');
    const { rows } = await client.query(
      `SELECT current_user, current_setting('search_path') AS path, current_setting('createrole_self_grant') AS self_grant,
              current_setting('transaction_read_only') AS read_only, current_setting('standard_conforming_strings') AS strings,
              current_setting('DateStyle') AS dates, current_setting('TimeZone') AS zone, current_setting('client_encoding') AS encoding,
              current_setting('statement_timeout') AS timeout, current_setting('lock_timeout') AS lock,
              current_setting('client_connection_check_interval') AS watch,
              current_setting('transaction_timeout') AS transaction, current_setting('idle_session_timeout') AS idle,
              current_setting('quote_all_identifiers') AS quotes, current_setting('row_security') AS row_security, current_setting('array_nulls') AS nulls`,
    );
    expect(rows[0]).toEqual({
      current_user: 'master',
      path: 'pg_catalog',
      self_grant: '',
      read_only: 'off',
      strings: 'on',
      dates: 'ISO, DMY',
      zone: 'UTC',
      encoding: 'UTF8',
      timeout: '5min',
      lock: '5s',
      watch: '10s',
      transaction: '0',
      idle: '0',
      quotes: 'off',
      row_security: 'on',
      nulls: 'on',
    });
    await client.end();
  });

  test('case 5: waits for a server that is starting, and tells why', async () => {
    const own = await freshServer({ version: 18 });
    const waits: string[] = [];
    let connecting: Promise<unknown> | undefined;
    await own.restart(async () => {
      connecting = openClient(own.connection(), { patience: 20_000, onRetry: (message) => waits.push(message) });
      await new Promise((resolve) => setTimeout(resolve, 400));
    });
    await ((await connecting) as { end(): Promise<void> }).end();
    expect(waits[0]).toContain(`Nothing listens on 127.0.0.1:${own.port}`);
    await own.stop();
  });

  test('case 5: a standby is refused as read-only', async () => {
    const original = await freshServer({ version: 18 });
    const standby = await original.copy({ hot_standby: 'on' }, { standby: true });
    await expect(openClient(standby.connection())).rejects.toMatchObject({
      code: '25006',
      message: expect.stringContaining('writer endpoint'),
    });
    await standby.stop();
    await original.stop();
  });

  test('case 4: a pooler is refused', async () => {
    const pooler = await fakePooler(server.port);
    await expect(openClient(server.connection({ port: pooler.port }))).rejects.toThrow('is a pooler or proxy');
    await pooler.close();
  });

  test.each([
    [
      'role',
      'ALTER ROLE few CONNECTION LIMIT 0',
      /"few" has as many sessions .* CONNECTION LIMIT .*raise the limit of the role/,
    ],
    [
      'database',
      'ALTER DATABASE narrow CONNECTION LIMIT 0',
      /The database "narrow" on .* has as many sessions .*raise the limit of the database/,
    ],
  ])('a %s at the limit of its own, and what to do', async (_what, limit, message) => {
    await server.query(["CREATE ROLE few LOGIN PASSWORD 'abc'"]);
    await server.query('CREATE DATABASE narrow');
    await server.query(limit);
    const refusal = openClient(server.connection({ user: 'few', password: 'abc', database: 'narrow' }));
    await expect(refusal).rejects.toMatchObject({ code: '53300', message: expect.stringMatching(message) });
    await expect(refusal).rejects.not.toMatchObject({ message: expect.stringContaining('max_connections') });
    await refusal.catch((error) => expect(isConnectionFailure(error)).toBe(true));
  });

  test('a server that is full, and what to do', async () => {
    await server.query(["CREATE ROLE few LOGIN PASSWORD 'abc'"]);
    const [{ slots }] = await server.query<{ slots: number }>(
      "SELECT current_setting('max_connections')::int AS slots",
    );
    const sessions: Client[] = [];
    let refusal: { code?: string; message?: string } = {};
    while (sessions.length <= slots && refusal.code === undefined) {
      await openClient(server.connection({ user: 'few', password: 'abc' })).then(
        (client) => sessions.push(client),
        (error) => (refusal = error),
      );
    }
    await Promise.all(sessions.map((client) => client.end()));
    expect(refusal).toMatchObject({
      code: '53300',
      message: expect.stringMatching(/no connection left .*max_connections/),
    });
    expect(isConnectionFailure(refusal)).toBe(true);
  });

  test.each([
    ['nobody listens', { port: 1 }, 'ECONNREFUSED', 'Nothing listens on 127.0.0.1:1'],
    ['an unknown name', { host: 'no-such-host.invalid' }, undefined, 'cannot be resolved'],
    ['a wrong password', { password: 'nobodyknows' }, '28P01', 'refuses the password of "master"'],
    ['a missing database', { database: 'nowhere' }, '3D000', 'The database "nowhere" does not exist'],
    ['a closed database', { database: 'rdsadmin' }, '42501', 'may not connect to the database "rdsadmin"'],
    ['TLS that the server does not have', { ca: createAuthority().ca }, undefined, 'does not offer TLS'],
  ])('%s is a clear error', async (_, overrides, code, message) => {
    const failure = openClient(server.connection(overrides)).catch((error) => error);
    expect((await failure).message).toContain(message);
    if (code) expect((await failure).code).toBe(code);
    expect((await failure).message).not.toContain('nobodyknows');
  });

  test('a server that never answers ends in time', async () => {
    const silent = net.createServer(() => undefined).listen(0, '127.0.0.1');
    await new Promise((resolve) => silent.once('listening', resolve));
    const { port } = silent.address() as net.AddressInfo;
    await expect(openClient(server.connection({ port }), { connectTimeout: 200 })).rejects.toMatchObject({
      code: 'ETIMEDOUT',
    });
    silent.close();
  });
});

describe('case 115: TLS is verify-full', () => {
  test('the right authority and host', async () => {
    const server = await startServer({ version: 18, tls: true });
    const client = await openClient(server.connection());
    expect((await client.query('SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()')).rows).toEqual([
      { ssl: true },
    ]);
    await client.end();
  });

  test('another authority is refused', async () => {
    const server = await startServer({ version: 18, tls: true });
    await expect(openClient(server.connection({ ca: createAuthority().ca }))).rejects.toThrow('is not trusted');
  });

  // pg alone would accept this one: it passes no name to Node.js for an address, and Node.js then assumes localhost.
  test('a certificate of another host is refused, also where the host is an address', async () => {
    const server = await startServer({ version: 18, tls: true, certificateHosts: ['localhost'] });
    await expect(openClient(server.connection())).rejects.toMatchObject({ code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
    const byName = await openClient(server.connection({ host: 'localhost' }));
    await byName.end();
  });

  test('a connection without TLS is not made when roots are given', async () => {
    const server = await startServer({ version: 18 });
    await expect(openClient(server.connection({ ca: createAuthority().ca }))).rejects.toThrow('does not offer TLS');
  });
});

describe('tryLogin()', () => {
  test.each([
    ['LOGIN', 'right', 'works'],
    ['LOGIN', 'wrong', 'fails'],
    ['NOLOGIN', 'right', 'works'],
    ['NOLOGIN', 'wrong', 'fails'],
    ['LOGIN CONNECTION LIMIT 0', 'right', 'works'],
  ])('a role with %s and the %s password: %s', async (attributes, password, verdict) => {
    const server = await startServer({ version: 18 });
    await server.query(`CREATE ROLE probe ${attributes} PASSWORD 'right'`);
    expect(await tryLogin(server.connection({ user: 'probe', password }))).toBe(verdict);
  });

  test.each(VERSIONS)(
    'a full server of version %i gives a verdict only where it has looked at the password',
    async (version) => {
      const settings = { max_connections: '6', superuser_reserved_connections: '2' };
      const server = await freshServer({ version, settings });
      const verdictOf = (password: string) => tryLogin(server.connection({ user: 'probe', password }));
      try {
        await server.query("CREATE ROLE probe LOGIN PASSWORD 'right'");
        for (let slot = 0; slot < 4; slot++) await server.connect();
        expect(await verdictOf('right')).toBe('works');
        expect(await verdictOf('wrong')).toBe('fails');
        for (let slot = 0; slot < 2; slot++) await server.connect({ superuser: true });
        expect(await verdictOf('right')).toBe('unknown');
        expect(await verdictOf('wrong')).toBe('unknown');
      } finally {
        await server.stop();
      }
    },
  );

  test('a server that is gone gives no verdict', async () => {
    const server = await startServer({ version: 18 });
    expect(await tryLogin(server.connection({ port: 1 }))).toBe('unknown');
  });
});

/** Passes everything on, but answers with a process id of its own, as poolers do. */
async function fakePooler(target: number): Promise<{ port: number; close(): Promise<void> }> {
  const server = net.createServer((client) => {
    const upstream = net.connect(target, '127.0.0.1');
    client.pipe(upstream);
    upstream.on('data', (data) => {
      const at = data.indexOf(Buffer.from([0x4b, 0, 0, 0]));
      if (at >= 0) data.writeUInt32BE(4711, at + 5);
      client.write(data);
    });
    upstream.on('close', () => client.destroy());
    client.on('close', () => upstream.destroy());
    client.on('error', () => undefined);
    upstream.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as net.AddressInfo;
  return { port, close: () => new Promise((resolve) => server.close(() => resolve())) };
}
