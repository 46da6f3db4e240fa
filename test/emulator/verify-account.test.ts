import { App } from 'aws-cdk-lib';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { PostgresVersion, RdsPostgres } from '../../lib';
import { Item } from '../../lib/runtime/verify';
import { cli } from '../bin/cli';
import { cleanStack, OBJECTIVES, quiet } from '../server/support';
import { emulatorProblem } from './availability.js';
import { Emulator } from './emulator';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));
quiet();

const problem = emulatorProblem();
const available = problem === undefined ? describe : describe.skip;
const STACK_REGION = 'eu-central-1';

/** The emulator may run already, with what an earlier run has made. */
const NAME = `verified-${process.pid}`;

available(`verify-account asks the emulator's RDS and Secrets Manager${problem ? `: ${problem}` : ''}`, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-verify-'));
  const outdir = path.join(folder, 'cdk.out');
  let emulator: Emulator;
  beforeAll(async () => {
    emulator = await Emulator.start();
    const { app, stack, vpc } = cleanStack(new App({ outdir }));
    const server = new RdsPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V17,
      objectives: OBJECTIVES,
      identifier: NAME,
    });
    server.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this server' });
    app.synth();
  });
  afterAll(async () => {
    await emulator.stop();
    fs.rmSync(folder, { recursive: true });
  });

  async function items(): Promise<{ code: number; of: (begin: string) => Item }> {
    const { code, stdout, stderr } = await cli(['verify-account', '--stack', 'Test', '--app-dir', outdir, '--json'], {
      env: { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_ENDPOINT_URL: emulator.endpoint },
    });
    expect(stderr).toBe('');
    const all = JSON.parse(stdout) as Item[];
    return { code, of: (begin) => all.find(({ claim }) => claim.startsWith(begin))! };
  }

  test('before the deployment it finds no server', async () => {
    const { code, of } = await items();
    expect(of('The template deploys')).toMatchObject({
      verdict: 'contradicted',
      saw: [`RDS has no ${NAME}: the stack is not deployed here, or in another region`],
    });
    expect(code).toBe(2);
  });

  test('it reads a server and its parameters, and says what differs from the template', async () => {
    const api = emulator.api(STACK_REGION);
    const group = { DBParameterGroupName: NAME, DBParameterGroupFamily: 'postgres17', Description: 'test' };
    await api.query('rds', 'CreateDBParameterGroup', group);
    await api.query('rds', 'CreateDBInstance', {
      DBInstanceIdentifier: NAME,
      DBInstanceClass: 'db.r7g.large',
      Engine: 'postgres',
      EngineVersion: '17.6',
      AllocatedStorage: '100',
      MasterUsername: 'postgres',
      MasterUserPassword: 'for-the-test',
      Port: '5433',
      BackupRetentionPeriod: '14',
      DBParameterGroupName: NAME,
      'Tags.Tag.1.Key': 'aws:cloudformation:stack-name',
      'Tags.Tag.1.Value': 'Test',
      'Tags.Tag.2.Key': 'aws:cloudformation:logical-id',
      'Tags.Tag.2.Value': 'Postgres101C52D7',
    });
    const { code, of } = await items();
    expect(of('The template deploys')).toMatchObject({ verdict: 'confirmed', saw: [`${NAME} stands`] });
    const { verdict, saw } = of('What runs is');
    expect(verdict).toBe('contradicted');
    expect(saw).toContain(`${NAME}: DeletionProtection is false, and true is declared`);
    expect(saw.join()).not.toMatch(/BackupRetentionPeriod|Port/);
    expect(of('Minor versions').saw).toContain(`${NAME} runs 17.6`);
    // The group of this server has no values of its own.
    expect(of('Parameter names').saw.join('\n')).toContain(`${NAME}: rds.force_ssl is not set in ${NAME}`);
    expect(of('Rotation as').verdict).toBe('contradicted');
    expect(code).toBe(2);
  });
});
