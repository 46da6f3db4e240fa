import { App, Stack, Stage } from 'aws-cdk-lib';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Defaults, PostgresProfile, PostgresVersion, RdsPostgres, RdsPostgresProps } from '../../lib';
import { RdsApi } from '../runtime/guard/rds-api';
import { cleanStack, OBJECTIVES, quiet } from '../server/support';
import { cli, CliResult } from './cli';
import { dayIn } from '../support/days';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));
quiet();

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-check-'));
let api: RdsApi;
beforeAll(async () => {
  api = await RdsApi.start();
});
afterAll(async () => {
  await api.stop();
  fs.rmSync(root, { recursive: true });
});
beforeEach(() => api.reset());

let outputs = 0;

/** The cdk.out of an app with one server. */
function synthesised(props: Partial<RdsPostgresProps> = {}, more: (server: RdsPostgres) => void = () => {}): string {
  const outdir = path.join(root, `cdk.out.${outputs++}`);
  const { app, stack, vpc } = cleanStack(new App({ outdir }));
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    identifier: 'shop-db',
    defaults: Defaults.V2,
    ...props,
  });
  server.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this server' });
  more(server);
  app.synth();
  return outdir;
}

/** What the account runs under the name of the server. */
function runs({ engineVersion = '18.4', preload = 'pg_stat_statements,pgaudit' } = {}): void {
  api.instances.push({
    identifier: 'shop-db',
    engine: 'postgres',
    engineVersion,
    xml:
      '<Endpoint><Port>5433</Port></Endpoint><StorageEncrypted>true</StorageEncrypted><MasterUsername>postgres</MasterUsername>' +
      '<DBParameterGroups><DBParameterGroup><DBParameterGroupName>shop-parameters</DBParameterGroupName>' +
      '<ParameterApplyStatus>in-sync</ParameterApplyStatus></DBParameterGroup></DBParameterGroups>',
    tags: { 'aws:cloudformation:logical-id': 'Postgres101C52D7' },
  });
  api.parameters['shop-parameters'] = { max_connections: '1024', shared_preload_libraries: preload };
}

const AWS = { AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test', AWS_REGION: '', AWS_DEFAULT_REGION: '' };

function check(appDir: string, ...more: string[]): Promise<CliResult> {
  return cli(['check', '--stack', 'Test', '--app-dir', appDir, ...more], {
    env: { ...AWS, AWS_ENDPOINT_URL_RDS: api.url },
  });
}

describe('cdk-postgres check', () => {
  test('says that nothing stands in the way, with exit code 0', async () => {
    runs();
    const { code, stdout, stderr } = await check(synthesised());
    expect(stdout).toBe(
      [
        '',
        'Test/Postgres',
        '',
        '  deploy guard  lets the deployment pass',
        '  defaults      V2 (the newest)',
        '',
        '  server   declared  running',
        '  shop-db  18        18.4',
        '',
      ].join('\n'),
    );
    expect(stderr).toBe('');
    expect(code).toBe(0);
  });

  test('says what the guard would refuse, with exit code 2', async () => {
    runs({ engineVersion: '17.10' });
    const { code, stdout } = await check(synthesised());
    expect(stdout).toContain('deploy guard  refuses the deployment');
    expect(stdout).toMatch(/^ {2}- Test\/Postgres: EngineVersion "17.10" would become "18"/m);
    // One objection, and one mark.
    expect(stdout.match(/^ {2}- /gm)).toHaveLength(1);
    expect(code).toBe(2);
  });

  test('says which parameters wait for a reboot, with exit code 2', async () => {
    runs({ preload: 'pg_stat_statements' });
    const { code, stdout } = await check(synthesised());
    expect(stdout).toContain('lets the deployment pass');
    expect(stdout).toMatch(/^ {2}shared_preload_libraries +pg_stat_statements,pgaudit +pg_stat_statements +yes$/m);
    expect(code).toBe(2);
  });

  test('lets pass what is acknowledged, and names an acknowledgement that is over', async () => {
    runs({ engineVersion: '17.10' });
    const outdir = synthesised({}, (server) => {
      server.acknowledge({ id: 'guard:major-version', reason: 'rehearsed on a copy', expires: dayIn(300) });
      server.acknowledge({ id: 'guard:port', reason: 'long ago', expires: '2020-01-31' });
    });
    const { code, stdout } = await check(outdir);
    expect(stdout).toContain('  guard:major-version would pass: rehearsed on a copy\n');
    expect(stdout).toContain('  the acknowledgement of guard:port has expired on 2020-01-31: remove it\n');
    expect(code).toBe(0);

    const late = synthesised({}, (server) => {
      server.acknowledge({ id: 'guard:major-version', reason: 'last year', expires: '2020-01-31' });
    });
    expect((await check(late)).code).toBe(2);
  });

  test('names newer defaults than those of the server, which somebody may opt into', async () => {
    runs();
    const { code, stdout } = await check(synthesised({ defaults: Defaults.V1 }));
    expect(stdout).toContain('  defaults      V1 (newer: V2)\n');
    expect(code).toBe(0);
  });

  test('prints one JSON document', async () => {
    runs({ engineVersion: '17.10' });
    const { code, stdout } = await check(synthesised(), '--json');
    expect(JSON.parse(stdout)).toEqual([
      {
        construct: 'Test/Postgres',
        logicalIds: ['Postgres101C52D7'],
        defaults: 'V2',
        newerDefaults: [],
        servers: [{ identifier: 'shop-db', declaredVersion: '18', runningVersion: '17.10' }],
        guard: 'refuses',
        objections: [expect.stringContaining("acknowledge({ id: 'guard:major-version', reason, expires })")],
        notes: [],
        reboots: [],
      },
    ]);
    expect(code).toBe(2);
  });

  test('asks nobody with --offline, and says what is unknown then', async () => {
    const { code, stdout } = await check(synthesised(), '--offline');
    expect(stdout).toContain('deploy guard  unknown without AWS');
    expect(stdout).toMatch(/^ {2}shop-db +18 +unknown$/m);
    expect(api.calls).toEqual([]);
    expect(code).toBe(0);
  });

  test('shows the one of several servers that --server names, and says which there are', async () => {
    const outdir = synthesised({}, (server) => {
      const { vpc } = server;
      const other = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, identifier: 'other-db' };
      new RdsPostgres(Stack.of(server), 'Other', other).acknowledge({ id: 'OPS-4', reason: 'nobody looks' });
    });
    const shown = async (...more: string[]) =>
      JSON.parse((await check(outdir, '--offline', '--json', ...more)).stdout).map((report: any) => report.construct);
    expect(await shown()).toEqual(['Test/Postgres', 'Test/Other']);
    expect(await shown('--server', 'Test/Other')).toEqual(['Test/Other']);
    expect(await shown('--server', 'Postgres')).toEqual(['Test/Postgres']);
    const { code, stderr } = await check(outdir, '--offline', '--server', 'Another');
    expect(stderr).toContain(
      'Test has no server Another that a deploy guard stands before; there are Test/Postgres, Test/Other',
    );
    expect(code).toBe(1);
  });

  test('says that a server does not stand yet', async () => {
    const { code, stdout } = await check(synthesised());
    expect(stdout).toMatch(/^ {2}shop-db +18 +none$/m);
    expect(code).toBe(0);
  });

  test('says that no guard stands before a server for development', async () => {
    const { code, stdout } = await check(synthesised({ profile: PostgresProfile.development() }));
    expect(stdout).toBe('Test has no server that a deploy guard stands before.\n');
    expect(code).toBe(0);
  });
});

describe('cdk-postgres check says what went wrong, with exit code 1', () => {
  test('where AWS refuses', async () => {
    api.failure = 'AccessDenied';
    const { code, stderr } = await check(synthesised());
    expect(stderr).toMatch(/AWS could not be asked \(.*AccessDenied\); --offline checks what is known without it\n$/);
    expect(code).toBe(1);
  });

  test('where the stack is another', async () => {
    const { code, stderr } = await cli(['check', '--stack', 'Tset', '--app-dir', synthesised()]);
    expect(stderr).toMatch(/has no stack Tset; it has Test\n$/);
    expect(code).toBe(1);
  });

  test('where several stages have a stack of the name, instead of looking at one of them', async () => {
    const outdir = path.join(root, 'stages');
    const app = new App({ outdir });
    for (const stage of ['Dev', 'Prod']) new Stack(new Stage(app, stage), 'Shop', { stackName: 'shop' });
    app.synth();
    const { code, stderr } = await cli(['check', '--offline', '--stack', 'shop', '--app-dir', outdir]);
    expect(stderr).toMatch(/several stacks of the name shop: give the path, Dev\/Shop, Prod\/Shop\n$/);
    expect(code).toBe(1);
    const { stdout } = await cli(['check', '--offline', '--stack', 'Prod/Shop', '--app-dir', outdir]);
    expect(stdout).toContain('Prod/Shop has no server');
  });

  test('where nobody says which region', async () => {
    const outdir = path.join(root, 'anywhere');
    const app = new App({ outdir });
    new Stack(app, 'Test');
    app.synth();
    const { code, stderr } = await check(outdir);
    expect(stderr).toContain('the stack states no region: give --region or set AWS_REGION');
    expect(code).toBe(1);
    expect((await check(outdir, '--region', 'eu-west-1')).code).toBe(0);
  });

  test('where there is no app, as JSON where that is asked for', async () => {
    const { code, stdout } = await check(path.join(root, 'nowhere'), '--json');
    expect(JSON.parse(stdout).error.message).toContain('run cdk synth first');
    expect(code).toBe(1);
  });
});
