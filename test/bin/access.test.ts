import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { encodeState } from '../../lib/contract';
import { declaration } from '../runtime/reconcile/declaration';
import { apply } from '../runtime/reconcile/runs';
import { startServer, TestServer } from '../support/postgres';
import { cli, CliResult } from './cli';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-access-'));
const stateFile = path.join(folder, 'state.json');
let server: TestServer;

beforeAll(async () => {
  fs.writeFileSync(stateFile, JSON.stringify(encodeState(declaration())));
  server = await startServer({ version: 18 });
  await apply(server, declaration());
  await server.query(
    [
      'SET ROLE app_owner',
      'CREATE TABLE billing.invoice (id int, amount int)',
      'CREATE TABLE billing.line (id int)',
      'CREATE SCHEMA audit',
      'CREATE TABLE audit.event (id int)',
      'GRANT SELECT ON audit.event TO api',
    ],
    { database: 'app' },
  );
  await server.query("CREATE ROLE looker LOGIN PASSWORD 'for-the-test'");
});
afterAll(() => fs.rmSync(folder, { recursive: true }));

function access(user: string, password: string, ...more: string[]): Promise<CliResult> {
  const url = `postgres://${user}@127.0.0.1:${server.port}/postgres?sslmode=disable`;
  return cli(['access', '--url', url, ...more], { env: { PGPASSWORD: password } });
}
const asMaster = (...more: string[]) => access('master', server.master.password, ...more);

test('a role is said with all its ways, summed up by schema', async () => {
  const { code, stdout, stderr } = await asMaster('--role', 'api', '--database', 'app');
  expect(stderr).toBe('');
  expect(code).toBe(0);
  expect(stdout).toBe(`api  logs in
  in the database app
    CONNECT on the database, directly
    SELECT on table audit.event, directly — without effect: api has no USAGE on the schema audit
    USAGE on schema billing, via app_readonly
    SELECT on billing.* (2 tables; future too), via app_readonly
    USAGE on schema public, through PUBLIC
  member of app_readonly: has its privileges, may not SET ROLE to it

`);
});

test('one object is said with everybody who can do something with it', async () => {
  const { stdout } = await asMaster('--object', 'billing.invoice');
  expect(stdout).toContain('May do everything (superuser): rdsadmin');
  expect(stdout).toContain('    SELECT on table billing.invoice, via app_readonly\n');
  expect(stdout).toContain('    ALL on table billing.invoice, as owner\n');
  expect(stdout).toContain('    ALL on table billing.invoice, only after SET ROLE app_owner, the owner\n');
  expect(stdout).not.toContain('billing.line');
});

test('JSON has every way as data', async () => {
  const { stdout } = await asMaster('--role', 'api', '--json');
  const report = JSON.parse(stdout);
  expect(report.access).toContainEqual({
    role: 'api',
    on: { kind: 'table', database: 'app', schema: 'billing', names: [], count: 2, all: true },
    privileges: ['SELECT'],
    by: 'group',
    path: ['api', 'app_readonly'],
    future: ['app_owner'],
  });
  expect(report.access).toContainEqual(expect.objectContaining({ by: 'direct', ineffective: 'usage' }));
});

test('a role that may only look is told the same, but for databases that it cannot enter', async () => {
  const closed = await access('looker', 'for-the-test', '--role', 'api');
  expect(closed.stdout).toContain('CONNECT on the database, directly');
  expect(closed.stdout).toContain('Not looked into, for want of CONNECT: app;');
  await server.query('GRANT CONNECT ON DATABASE app TO looker', { superuser: true });
  const theirs = await access('looker', 'for-the-test', '--role', 'api');
  expect(theirs.stdout).toBe((await asMaster('--role', 'api')).stdout);
});

test('a declaration alone says who will have what', async () => {
  const { code, stdout } = await cli(['access', '--state', stateFile, '--role', 'api']);
  expect(code).toBe(0);
  expect(stdout).toContain('    SELECT on billing.* (all tables; future too), via app_readonly\n');
});

test('what row security makes of it is said, of a server and of a declaration (SEC-25)', async () => {
  await server.query(
    [
      'SET ROLE app_owner',
      'ALTER TABLE billing.invoice ENABLE ROW LEVEL SECURITY',
      `CREATE POLICY cdk_postgres_tenant ON billing.invoice TO api USING (id = (SELECT nullif(current_setting('app.tenant_id', true), '')::integer))`,
    ],
    { database: 'app' },
  );
  const { stdout } = await asMaster('--role', 'api', '--object', 'billing.invoice');
  expect(stdout.replaceAll(/\s+/g, ' ')).toContain(
    'SELECT on table billing.invoice, via app_readonly; row security: rows of the tenant in app.tenant_id alone',
  );
  await server.query(['SET ROLE app_owner', 'ALTER TABLE billing.invoice DISABLE ROW LEVEL SECURITY'], {
    database: 'app',
  });
  expect((await asMaster('--role', 'api', '--object', 'billing.invoice')).stdout).not.toContain('row security');
  const isolated = declaration();
  const isolations = [
    {
      schema: 'billing',
      column: 'tenant_id',
      type: 'uuid' as const,
      setting: 'app.tenant_id',
      stage: 'enforced' as const,
      roles: ['api'],
      allTenants: [],
    },
  ];
  const file = path.join(folder, 'isolated.json');
  fs.writeFileSync(
    file,
    JSON.stringify(encodeState({ ...isolated, databases: [{ ...isolated.databases[0], isolations }] })),
  );
  const declared = await cli(['access', '--state', file, '--role', 'api']);
  expect(declared.stdout.replaceAll(/\s+/g, ' ')).toContain(
    'SELECT on billing.* (all tables; future too), via app_readonly; row security: rows of the tenant in app.tenant_id alone, of tables with tenant_id',
  );
  const cutOff = await cli(['access', '--state', file, '--role', 'app_readonly']);
  expect(cutOff.stdout.replaceAll(/\s+/g, ' ')).toContain('row security: no row, since no policy is for it');
});

test('nothing is written, and the number of queries does not follow the number of roles, grants and tables', async () => {
  const count = async () => {
    const statements = await server.recordStatements(() => asMaster('--json'));
    expect(statements.filter(({ sql }) => !/^\s*(SELECT|WITH|SET|BEGIN|COMMIT)/i.test(sql))).toEqual([]);
    return statements.length;
  };
  const before = await count();
  await server.query(
    `DO $$ BEGIN FOR i IN 1..200 LOOP
       EXECUTE format('CREATE TABLE billing.t%s (a int)', i); EXECUTE format('CREATE ROLE r%s IN ROLE app_readonly', i);
       EXECUTE format('GRANT INSERT ON billing.t%s TO r%s', i, i); END LOOP; END $$`,
    { superuser: true, database: 'app' },
  );
  expect(await count()).toBe(before);
  const { stdout } = await asMaster('--role', 'r7', '--database', 'app');
  expect(stdout).toContain('INSERT on table billing.t7, directly');
});

test.each([
  ['an unknown role', ['--role', 'nobody'], 'there is no role nobody'],
  ['an unknown database', ['--database', 'gone'], 'there is no database gone'],
  ['an unknown object', ['--object', 'billing.gone'], 'there is no billing.gone in app, postgres'],
  ['an object without its schema', ['--object', 'invoice'], 'not a name with its schema'],
  ['a server and a declaration', ['--state', stateFile], 'give either --url'],
])('%s is said', async (_what, args, message) => {
  const { code, stderr } = await asMaster(...args);
  expect(stderr).toContain(message);
  expect(code).toBe(1);
});
