import { App } from 'aws-cdk-lib';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { PostgresProfile, PostgresVersion, RdsPostgres } from '../../lib';
import { cleanStack, OBJECTIVES, quiet } from '../server/support';
import { cli } from './cli';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));
quiet();

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-budget-'));
afterAll(() => fs.rmSync(root, { recursive: true }));

let outputs = 0;

/** The cdk.out of an app with one server, a pooler, and a role that may have so many sessions. */
function synthesised(connectionLimit: number): string {
  const outdir = path.join(root, `cdk.out.${outputs++}`);
  const { app, stack, vpc } = cleanStack(new App({ outdir }));
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    profile: PostgresProfile.development(),
    parameters: { max_connections: '200' },
  });
  server.addPooler('Pool');
  server.addDatabase('app').addLoginRole('report', { connectionLimit });
  app.synth();
  return outdir;
}

test('CP-4: prints who takes what, and that it fits', async () => {
  const { code, stdout } = await cli(['budget', '--app-dir', synthesised(10)]);
  expect(
    stdout
      .split('\n')
      .map((line) => line.trim().replace(/ {2,}/g, ' | '))
      .filter(Boolean),
  ).toEqual([
    'Test/Postgres',
    'connections | kind | who | why',
    '5 | reserve | superusers | kept by the server itself',
    '5 | reserve | migrations and operators | a runner, people and their tools',
    expect.stringMatching(/^14 \| functions \| Test\/Postgres \| rotation/),
    '10 | direct | Test/Postgres/Database-app/Role-report | its connectionLimit',
    '160 | RDS Proxy | Test/Postgres/Pool | 80 % of max_connections',
    '194, of 200 (the parameter max_connections): fits',
  ]);
  expect(code).toBe(0);
});

test('as JSON, with exit code 2 where it does not fit', async () => {
  const { code, stdout } = await cli([
    'budget',
    '--app-dir',
    synthesised(50),
    '--stack',
    'Test',
    '--server',
    'Postgres',
    '--json',
  ]);
  const [budget] = JSON.parse(stdout);
  expect(budget).toMatchObject({
    server: 'Test/Postgres',
    maxConnections: 200,
    total: 234,
    unknown: 0,
    verdict: 'exceeded',
  });
  expect(code).toBe(2);
});

test.each([
  [['--stack', 'Nope'], 'has no stack Nope; it has Test'],
  [['--server', 'Nope'], 'there is no server Nope; there are Test/Postgres'],
])('%j is an error that says what there is', async (args, message) => {
  const { code, stderr } = await cli(['budget', '--app-dir', synthesised(1), ...args]);
  expect(stderr).toContain(message);
  expect(code).toBe(1);
});

test('without a synthesised app it says what to do', async () => {
  const { code, stderr } = await cli(['budget', '--app-dir', path.join(root, 'nothing')]);
  expect(stderr).toContain('run cdk synth first, name the folder with --app-dir, or the app with --app');
  expect(code).toBe(1);
});
