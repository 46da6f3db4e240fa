import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { legacyApplication } from '../runtime/reconcile/runs';
import { startServer, TestServer } from '../support/postgres';
import { cli, CliResult } from './cli';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-import-'));
let server: TestServer;

beforeAll(async () => {
  server = await startServer({ version: 18 });
  await legacyApplication(server);
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

function run(command: string, ...more: string[]): Promise<CliResult> {
  const url = `postgres://master@127.0.0.1:${server.port}/postgres?sslmode=disable`;
  return cli([command, '--url', url, ...more], { env: { PGPASSWORD: server.master.password } });
}

test('the TypeScript of a server that was made by hand', async () => {
  const { code, stdout, stderr } = await run('import');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toBe(`import { Authentication, IPostgresServer } from 'cdk-postgres';

// What is inside 127.0.0.1:${server.port}, as cdk-postgres import found it. Its first apply
// changes nothing.

export function declareInside(server: IPostgresServer): void {
  server.addGroupRole('app_readonly');

  const app = server.addDatabase('app', { closePublic: false });

  // Authentication.none(): the role keeps its password. To take it over, with a new
  // one in a secret of its own, leave the line out and acknowledge the plan.
  app.addLoginRole('api', {
    authentication: Authentication.none(),
    connectPrivilege: false,
  });

  app.addSchema('billing');
}

// Not in the declaration. All of it stays on the server as it is:
// - role master: not declared: it is the one that applies the state
`);
});

test('the document of an import is a state whose plan is empty', async () => {
  const statements = await server.recordStatements(async () => {
    const { stdout, stderr } = await run('import', '--json', '--state-name', 'legacy');
    expect(stderr).toContain('role master: not declared');
    fs.writeFileSync(path.join(folder, 'state.json'), stdout);
  });
  expect(statements.filter(({ sql }) => /^\s*(CREATE|ALTER|DROP|GRANT|REVOKE|INSERT|UPDATE)\b/i.test(sql))).toEqual([]);
  const planned = await run('plan', '--state', path.join(folder, 'state.json'));
  expect(planned.code).toBe(0);
  await server.query('GRANT CREATE ON SCHEMA billing TO api', { superuser: true, database: 'app' });
  expect((await run('plan', '--state', path.join(folder, 'state.json'))).code).toBe(2); // negative control
});

test('a database that is not there is said', async () => {
  const { code, stderr } = await run('import', '--database', 'gone');
  expect(stderr).toContain('there is no database gone');
  expect(code).toBe(1);
});
