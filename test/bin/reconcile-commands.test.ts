import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { encodeState } from '../../lib/contract';
import { declaration } from '../runtime/reconcile/declaration';
import { freshServer, TestServer } from '../support/postgres';
import { cli, CliResult } from './cli';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-commands-'));
const stateFile = path.join(folder, 'state.json');
const caFile = path.join(folder, 'ca.pem');
let server: TestServer;

beforeAll(async () => {
  server = await freshServer({ version: 18, tls: true });
  fs.writeFileSync(stateFile, JSON.stringify(encodeState(declaration())));
  fs.writeFileSync(caFile, server.ca!);
});
afterAll(async () => {
  await server.stop();
  fs.rmSync(folder, { recursive: true });
});

function run(command: string, ...more: string[]): Promise<CliResult> {
  const url = `postgres://${server.master.user}@127.0.0.1:${server.port}/postgres`;
  return cli([command, '--url', url, '--state', stateFile, '--ca', caFile, ...more], {
    env: { PGPASSWORD: server.master.password },
  });
}

test('a server goes from plan over apply and drift to acknowledged apply', async () => {
  const planned = await run('plan');
  expect(planned.stderr).toBe('');
  expect(planned.stdout).toContain('CREATE ROLE "api" LOGIN');
  expect(planned.stdout).not.toContain('\x1b['); // no colour, since it is no terminal
  expect(planned.code).toBe(2);
  expect(await server.query("SELECT 1 FROM pg_roles WHERE rolname = 'api'")).toEqual([]);

  const applied = await run('apply');
  expect(applied.stdout).toContain('Proven: ');
  expect(applied.code).toBe(0);
  expect(await server.query("SELECT 1 FROM pg_roles WHERE rolname = 'api'")).toHaveLength(1);

  expect((await run('plan')).code).toBe(0);
  const none = await run('drift');
  expect(none.stdout).toContain('No drift');
  expect(none.code).toBe(0);

  await server.query(['CREATE ROLE helper', 'GRANT app_owner TO master', 'GRANT CREATE ON SCHEMA billing TO api'], {
    database: 'app',
    superuser: true,
  });
  const drifted = await run('drift', '--json');
  expect(drifted.code).toBe(2);
  const { drift, plan } = JSON.parse(drifted.stdout);
  expect(drift).toBe(true);
  expect(plan.withheld).toHaveLength(1);

  const counted = await run('plan', '--summary');
  expect(counted.stdout).toBe(
    `add=0 widen=0 narrow=0 disruptive=0 destructive=0 withheld-add=0 withheld-widen=0 withheld-narrow=1 withheld-disruptive=0 withheld-destructive=0 hash=${plan.hash}\n`,
  );
  expect(counted.code).toBe(2);
  expect(JSON.parse((await run('plan', '--json')).stdout).summary).toMatchObject({
    withheld: { narrow: 1 },
    hash: plan.hash,
  });

  const waiting = await run('apply');
  expect(waiting.stdout).toContain('Withheld, and not run: 1 step');
  expect(waiting.stdout).toContain('held now by: api directly'); // case 120
  expect(waiting.code).toBe(2);

  const acknowledged = await run('apply', '--acknowledge', plan.hash);
  expect(acknowledged.code).toBe(0);
  expect(
    await server.query("SELECT has_schema_privilege('api', 'billing', 'CREATE') AS may", { database: 'app' }),
  ).toEqual([{ may: false }]);
  expect((await run('drift')).code).toBe(0);
});

test('the password may come from a pgpass file', async () => {
  const passFile = path.join(folder, 'pgpass');
  fs.writeFileSync(passFile, `127.0.0.1:${server.port}:*:master:${server.master.password}\n`, { mode: 0o600 });
  const url = `postgres://master@127.0.0.1:${server.port}/postgres`;
  const { code, stderr } = await cli(['plan', '--url', url, '--state', stateFile, '--ca', caFile], {
    env: { PGPASSFILE: passFile },
  });
  expect(stderr).toBe('');
  expect(code).not.toBe(1);
});

test('a server that nobody vouches for is not spoken to', async () => {
  const url = `postgres://master@127.0.0.1:${server.port}/postgres`;
  const { code, stderr } = await cli(['plan', '--url', url, '--state', stateFile], {
    env: { PGPASSWORD: server.master.password },
  });
  expect(stderr).toContain('is not trusted');
  expect(stderr).not.toContain(server.master.password);
  expect(code).toBe(1);
});

test('a plan needs only to read: a role without any right gets one, and leaves no trace', async () => {
  await server.query("CREATE ROLE auditor LOGIN PASSWORD 'auditor'");
  await server.query('GRANT CONNECT ON DATABASE app TO auditor', { superuser: true });
  const url = `postgres://auditor@127.0.0.1:${server.port}/postgres`;
  let result: CliResult | undefined;
  const statements = await server.recordStatements(async () => {
    result = await cli(['plan', '--url', url, '--state', stateFile, '--ca', caFile], {
      env: { PGPASSWORD: 'auditor' },
    });
  });
  expect(result!.stderr).toBe('');
  expect(result!.code).not.toBe(1);
  const writes = statements.filter(({ sql }) =>
    /^\s*(CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|UPDATE|DELETE)\b/i.test(sql),
  );
  expect(writes).toEqual([]);
});
