import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { TestResponses } from '../../support/cloudformation';
import { RdsApi } from './rds-api';

const run = promisify(execFile);
const ROOT = join(__dirname, '..', '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'cdk-postgres-guard-'));

let api: RdsApi;
let responses: TestResponses;
beforeAll(async () => {
  [api, responses] = await Promise.all([RdsApi.start(), TestResponses.start()]);
  await run(process.execPath, [join(ROOT, 'scripts', 'bundle.mjs'), folder]);
});
afterAll(async () => {
  await Promise.all([api.stop(), responses.stop()]);
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the file that is deployed, in a process of its own, as Lambda does. */
async function invoke(event: object): Promise<void> {
  const script =
    `require(${JSON.stringify(join(folder, 'functions', 'guard', 'index.js'))})` +
    '.handler(JSON.parse(process.env.EVENT), { getRemainingTimeInMillis: () => 60000 })';
  const env = {
    PATH: process.env.PATH,
    EVENT: JSON.stringify(event),
    AWS_ENDPOINT_URL: api.url,
    AWS_REGION: 'eu-west-1',
    AWS_ACCESS_KEY_ID: 'test',
    AWS_SECRET_ACCESS_KEY: 'test',
  };
  await run(process.execPath, ['-e', script], { env });
}

const properties = (port: number) => ({
  ServiceToken: 'arn',
  Servers: [
    {
      Path: 'App/Postgres',
      LogicalId: 'Postgres1',
      Type: 'AWS::RDS::DBInstance',
      Identifier: 'app-postgres',
      EngineVersion: '18',
      CreateOnly: { DBInstanceIdentifier: 'app-postgres', Engine: 'postgres', Port: port },
    },
  ],
});

test('the deployed bundle lets a first deployment pass and refuses another port', async () => {
  await invoke(responses.event({ type: 'Create', properties: properties(5433) }));
  expect(responses.last.Status).toBe('SUCCESS');
  expect(api.calls.map(({ action }) => action)).toEqual(['DescribeDBInstances']);

  const { PhysicalResourceId: physicalId } = responses.last;
  const update = { properties: properties(5434), oldProperties: properties(5433), physicalId };
  await invoke(responses.event({ type: 'Update', ...update }));
  expect(responses.last.Status).toBe('FAILED');
  expect(responses.last.Reason).toMatch(/App\/Postgres: Port "5433" would become "5434"/);
});
