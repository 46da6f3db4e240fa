import { startServer, TestServer } from '../support/postgres';
import { cli, CliResult } from './cli';

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ version: 18 });
});
afterEach(() => server.reset());

function hardening(...more: string[]): Promise<CliResult> {
  const url = `postgres://master@127.0.0.1:${server.port}/postgres?sslmode=disable`;
  return cli(['hardening', '--url', url, ...more], { env: { PGPASSWORD: server.master.password } });
}

test('says item by item whom it would break, and exits with 2', async () => {
  await server.query("CREATE ROLE billing LOGIN PASSWORD 'for-the-test'");
  const client = await server.connect({ user: 'billing', password: 'for-the-test' });
  const { code, stdout, stderr } = await hardening();
  await client.end();
  expect(stderr).toBe('');
  expect(code).toBe(2);
  expect(stdout).toMatch(/^PostgreSQL 18\.\d+, as master, at this moment\n/);
  expect(stdout).toContain(`
  force-tls          SEC-11  missing; it would break:
    - the role billing from 127.0.0.1: 1 connection without TLS
    rds.force_ssl is not set. It takes effect for new connections. Clients without TLS are refused
      from their next connection on; those that are connected stay.
`);
  expect(stdout).toContain('\n  scram-passwords    SEC-9   in place\n');
  expect(stdout).toContain('  refuse-md5         SEC-10  missing; whom it would break is not seen\n');
  expect(stdout).toContain('\nNothing waits for a restart.\n');
});

test('--json is the report as data', async () => {
  const { code, stdout } = await hardening('--json');
  expect(code).toBe(2);
  const report = JSON.parse(stdout);
  expect(report.items.map(({ item, state }: Record<string, string>) => [item, state])).toEqual([
    ['force-tls', 'free'],
    ['scram-passwords', 'in place'],
    ['refuse-md5', 'unknown'],
    ['audit', 'breaks'],
    ['log-connections', 'free'],
    ['log-statements', 'free'],
    ['idle-transactions', 'free'],
    ['slot-limit', 'free'],
  ]);
});

test('a server that cannot be reached is an error', async () => {
  const { code, stderr } = await cli(['hardening', '--url', 'postgres://me@127.0.0.1:1/postgres?sslmode=disable'], {
    env: { PGPASSWORD: 'x' },
  });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^cdk-postgres: /);
});
