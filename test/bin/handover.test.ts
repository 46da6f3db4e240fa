import { apply } from '../runtime/reconcile/runs';
import { declaration } from '../runtime/reconcile/declaration';
import { origins } from '../runtime/reconcile/ledger-rows';
import { freshServer, TestServer } from '../support/postgres';
import { cli, CliResult } from './cli';

let server: TestServer;
beforeAll(async () => {
  server = await freshServer({ version: 18 });
  await apply(server, declaration({ name: 'platform' }));
});
afterAll(() => server.stop());

function run(...args: string[]): Promise<CliResult> {
  const url = `postgres://${server.master.user}@127.0.0.1:${server.port}/postgres?sslmode=disable`;
  return cli(['handover', '--url', url, '--from', 'platform', '--to', 'billing', ...args], {
    env: { PGPASSWORD: server.master.password },
  });
}

test('says what it would hand over, and does it when told so', async () => {
  const planned = await run('--role', 'api', '--database', 'app');
  expect(planned.stderr).toBe('');
  expect(planned.stdout).toContain('With --yes, these are handed over from platform to billing:');
  expect(planned.stdout).toContain('  schema app.billing (created)');
  expect(planned.stdout).toContain('"billing" has never been applied on this server');
  expect(planned.code).toBe(2);
  expect(await origins(server, 'billing')).toEqual([]);

  const done = await run('--role', 'api', '--database', 'app', '--yes', '--json');
  expect(JSON.parse(done.stdout)).toMatchObject({ outcome: 'handed over' });
  expect(done.code).toBe(0);
  expect(await origins(server, 'billing')).toEqual([
    'database app: created',
    'role api: created',
    'schema app.billing: created',
  ]);
});

test.each([
  [['--role', 'nobody'], '"platform" manages no role "nobody"; it manages'],
  [[], 'say what is handed over: --role, --database or --schema'],
  [['--schema', 'billing'], 'It looks like app.billing'],
])('%j is an error', async (args, message) => {
  const { code, stderr } = await run(...args);
  expect(stderr).toContain(message);
  expect(code).toBe(1);
});
