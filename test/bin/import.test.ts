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

test('only the roles that have to do with a database are imported with it, and the others are said', async () => {
  const one = await startServer({ version: 18 });
  const from = (...more: string[]) =>
    cli(['import', '--url', `postgres://master@127.0.0.1:${one.port}/postgres?sslmode=disable`, ...more], {
      env: { PGPASSWORD: one.master.password },
    });
  for (const name of ['shop', 'crm'])
    await one.query([
      `CREATE ROLE ${name}_owner`,
      `GRANT ${name}_owner TO master`,
      `CREATE DATABASE ${name} OWNER ${name}_owner`,
      `CREATE ROLE ${name}_read`,
      `CREATE ROLE ${name}_team`,
      `GRANT ${name}_read TO ${name}_team`,
      ...['api', 'member', 'connects'].map((login) => `CREATE ROLE ${name}_${login} LOGIN`),
      `GRANT ${name}_team TO ${name}_member`,
    ]);
  await one.query(['CREATE ROLE nobody LOGIN', 'GRANT crm_read TO shop_api']);
  for (const name of ['shop', 'crm']) {
    await one.query([`SET ROLE ${name}_owner`, `GRANT CONNECT ON DATABASE ${name} TO ${name}_connects`, 'RESET ROLE']);
    await one.query(
      [
        `SET ROLE ${name}_owner`,
        'CREATE SCHEMA sales',
        `GRANT USAGE ON SCHEMA sales TO ${name}_read`,
        'CREATE TABLE sales.item ()',
        `GRANT SELECT ON sales.item TO ${name}_api`,
      ],
      { database: name },
    );
  }
  const { code, stdout, stderr } = await from('--database', 'shop', '--json');
  const names = (JSON.parse(stdout).roles as string[]).map((line) => line.split(' ')[0]).sort();
  expect(names).toEqual(['shop_api', 'shop_connects', 'shop_member', 'shop_owner', 'shop_read', 'shop_team']);
  expect(stderr).toContain(
    'roles crm_api, crm_connects, crm_member, crm_owner, crm_read, crm_team, nobody: not declared: nothing in shop is owned by them',
  );
  expect(code).toBe(0);

  const file = path.join(folder, 'shop.json');
  fs.writeFileSync(file, stdout);
  const url = `postgres://master@127.0.0.1:${one.port}/postgres?sslmode=disable`;
  const planned = await cli(['plan', '--url', url, '--state', file], { env: { PGPASSWORD: one.master.password } });
  expect(planned.stdout).toContain('nothing to do');
  expect(planned.code).toBe(0);

  const source = (await from('--database', 'shop')).stdout;
  expect(source).toContain('Its first apply\n// changes nothing.');
  expect(source).toMatch(/^\/\/ - roles crm_api,/m);
  // Without a database all of them are imported.
  const all = (JSON.parse((await from('--json')).stdout).roles as string[]).map((line) => line.split(' ')[0]);
  expect(all).toEqual(expect.arrayContaining(['crm_api', 'nobody', 'shop_api']));
});
