import {
  App,
  Lazy,
  Stack,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_lambda as lambda,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  AuroraPostgres,
  Authentication,
  ExternalPostgres,
  IPostgresServer,
  PostgresVersion,
  RdsPostgres,
  SharedPostgres,
  SharedPostgresKind,
  SharedPostgresOptions,
} from '../../lib';
import { OBJECTIVES, quiet } from './support';

quiet();

const ENV = { account: '123456789012', region: 'eu-west-1' };

function platform(kind: 'rds' | 'aurora', env: { account: string; region: string } | undefined) {
  const app = new App();
  const stack = new Stack(app, 'Platform', { env });
  const vpc = new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 });
  const props = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES };
  const server =
    kind === 'rds' ? new RdsPostgres(stack, 'Postgres', props) : new AuroraPostgres(stack, 'Postgres', props);
  server.addDatabase('shared').addLoginRole('auditor');
  return { app, stack, server, vpc };
}

test.each(['rds', 'aurora'] as const)('the master of the server (%s) is no role to declare here either', (kind) => {
  const { app, server } = platform(kind, ENV);
  const shared = SharedPostgres.fromServer(new Stack(app, 'Orders', { env: ENV }), 'Postgres', server);
  expect(() => shared.addGroupRole('postgres')).toThrow(
    'Orders/Postgres/Role-postgres: roleName "postgres" is the master user',
  );
  expect(() => shared.addGroupRole('postgres2')).not.toThrow();
});

/** What an application's team writes, in a stack of its own. */
function application(
  app: App,
  server: IPostgresServer,
  options: SharedPostgresOptions & { env?: { account: string; region: string } } = {},
) {
  const { env, ...rest } = options;
  const stack = new Stack(app, 'Billing', { env: env ?? { account: server.env.account, region: server.env.region } });
  const shared = SharedPostgres.fromServer(stack, 'Db', server, rest);
  shared.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
  const billing = shared.addDatabase('billing');
  const api = billing.addLoginRole('billing_api', { authentication: Authentication.alternatingPasswords() });
  const job = billing.addLoginRole('billing_job', { authentication: Authentication.iam() });
  billing.addSchema('billing').grantReadWrite(api);
  const handler = new lambda.Function(stack, 'Handler', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
    vpc: (server as RdsPostgres).vpc,
    reservedConcurrentExecutions: 10,
  });
  api.grantConnect(handler);
  job.grantConnect(handler, { environment: false });
  return { stack, shared, handler };
}

const withoutOutputs = (stack: Stack) => ({ ...Template.fromStack(stack).toJSON(), Outputs: undefined });
const exportsOf = (stack: Stack) => Object.values(Template.fromStack(stack).findOutputs('*')).filter((o) => o.Export);

describe.each(['rds', 'aurora'] as const)('a %s server of another stack', (kind) => {
  test.each([
    ['an environment', ENV],
    ['any environment', undefined],
  ])('its template has no difference but exports when an application comes, in %s', (_, env) => {
    const alone = platform(kind, env);
    const before = withoutOutputs(alone.stack);
    const both = platform(kind, env);
    application(both.app, both.server);
    expect(withoutOutputs(both.stack)).toEqual(before);
    // Control: the outputs are what tells them apart.
    expect(exportsOf(alone.stack)).toEqual([]);
    expect(exportsOf(both.stack).length).toBeGreaterThan(3);
  });

  test('state, functions, secrets and rules are in the application’s stack', () => {
    const { app, server } = platform(kind, ENV);
    const { stack } = application(app, server);
    const template = Template.fromStack(stack);
    template.resourceCountIs('Custom::CdkPostgresState', 1);
    template.hasResourceProperties('Custom::CdkPostgresState', {
      State: Match.objectLike({
        name: 'Billing',
        roles: [
          'billing_api NOLOGIN',
          'billing_api_1 LOGIN PASSWORD OF billing_api',
          'billing_api_2 LOGIN PASSWORD OF billing_api',
          'billing_job LOGIN IAM',
          'billing_owner NOLOGIN',
        ],
      }),
      Server: Match.objectLike({ Platform: kind, Port: 5433, Trust: 'rds' }),
    });
    // Apply, rotate and the handler come in.
    const ingress = Object.values(template.findResources('AWS::EC2::SecurityGroupIngress'));
    expect(ingress.map(({ Properties }) => Properties.Description).sort()).toEqual(
      expect.arrayContaining(['PostgreSQL as billing_api', 'cdk-postgres function', 'cdk-postgres function']),
    );
    for (const { Properties } of ingress) expect(JSON.stringify(Properties.GroupId)).toContain('Fn::ImportValue');
    // The admin secret is rotated by the server's stack alone.
    template.resourceCountIs('AWS::SecretsManager::RotationSchedule', 1);
    template.resourceCountIs('AWS::KMS::Key', 0);
  });

  test('its functions read the administrator’s secret and its key by their own policies, and write neither', () => {
    const { app, server } = platform(kind, ENV);
    const { stack } = application(app, server);
    const statements = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy')).flatMap(
      ({ Properties }) => Properties.PolicyDocument.Statement as { Action: string | string[]; Resource: unknown }[],
    );
    const admin = statements.filter(({ Resource }) => JSON.stringify(Resource).includes('AdminSecret'));
    expect(admin.map(({ Action }) => Action)).toEqual([
      ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
      ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
    ]);
    const key = statements.filter(({ Resource }) => /ImportValue.*PostgresKey/.test(JSON.stringify(Resource)));
    expect(key.map(({ Action }) => Action)).toEqual([
      ['kms:Decrypt', 'kms:GenerateDataKey'],
      ['kms:Decrypt', 'kms:GenerateDataKey'],
    ]);
  });

  test('the key’s own policy leaves that to IAM, and lets CloudWatch Logs use it for every log group of the account', () => {
    const { stack } = platform(kind, ENV);
    const [{ Properties }] = Object.values(Template.fromStack(stack).findResources('AWS::KMS::Key'));
    const statements = Properties.KeyPolicy.Statement as Record<string, any>[];
    expect(statements).toContainEqual(
      expect.objectContaining({
        Action: 'kms:*',
        Effect: 'Allow',
        Principal: { AWS: { 'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, ':iam::123456789012:root']] } },
      }),
    );
    const logs = statements.find((s) => JSON.stringify(s.Principal).includes('logs.'));
    expect(JSON.stringify(logs!.Condition)).toContain(':logs:eu-west-1:123456789012:log-group:*');
  });
});

describe('a server by its attributes', () => {
  function attributes(stack: Stack) {
    const keyArn = 'arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555';
    const encryptionKey = kms.Key.fromKeyArn(stack, 'Key', keyArn);
    return {
      host: 'db.cluster-abc.eu-west-1.rds.amazonaws.com',
      identity: 'cluster-ABCDEFGHIJ',
      kind: SharedPostgresKind.AURORA,
      version: PostgresVersion.V17,
      adminSecret: secretsmanager.Secret.fromSecretAttributes(stack, 'Admin', {
        secretCompleteArn: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf',
        encryptionKey,
      }),
      encryptionKey,
      vpc: ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
        vpcId: 'vpc-1',
        availabilityZones: ['eu-west-1a', 'eu-west-1b'],
        privateSubnetIds: ['subnet-1', 'subnet-2'],
      }),
      securityGroups: [ec2.SecurityGroup.fromSecurityGroupId(stack, 'Theirs', 'sg-1')],
    };
  }

  test('is declared on as on one of this app, and the server’s stack knows nothing of it', () => {
    const before = platform('aurora', ENV);
    const template = Template.fromStack(before.stack).toJSON();
    const { app, stack: server } = platform('aurora', ENV);
    const stack = new Stack(app, 'Billing', { env: ENV });
    const shared = SharedPostgres.fromServerAttributes(stack, 'Db', attributes(stack));
    shared.addDatabase('billing').addLoginRole('job', { authentication: Authentication.iam() });
    expect(Template.fromStack(server).toJSON()).toEqual(template);
    const own = Template.fromStack(stack);
    own.hasResourceProperties('Custom::CdkPostgresState', {
      Server: {
        Platform: 'aurora',
        Identity: 'cluster-ABCDEFGHIJ',
        Host: 'db.cluster-abc.eu-west-1.rds.amazonaws.com',
        Port: 5433,
        AdminSecretArn: 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:admin-AbCdEf',
        AdminDatabase: 'postgres',
        Trust: 'rds',
      },
    });
    own.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { GroupId: 'sg-1', FromPort: 5433 });
    own.resourceCountIs('AWS::KMS::Key', 0);
  });

  test.each([
    ['cluster-ABC', SharedPostgresKind.MULTI_AZ_CLUSTER, 'rds'],
    ['cluster-ABC', SharedPostgresKind.AURORA, 'aurora'],
    ['db-ABC', undefined, 'rds'],
    [Lazy.string({ produce: () => 'cluster-ABC' }), SharedPostgresKind.AURORA, 'aurora'],
  ])('an identity %s of kind %s is of the platform', (identity, kind, platform) => {
    const stack = new Stack(new App(), 'Billing', { env: ENV });
    const given = { ...attributes(stack), identity, kind };
    SharedPostgres.fromServerAttributes(stack, 'Db', given).addDatabase('billing').addLoginRole('job');
    Template.fromStack(stack).hasResourceProperties('Custom::CdkPostgresState', {
      Server: { Platform: platform, Identity: stack.resolve(identity) },
    });
  });

  test.each([
    [{ identity: '' }, /Billing\/Db: identity is empty/],
    [{ identity: 'my-database' }, /identity is "my-database"; write the resource id, db-… of an instance/],
    [
      { kind: undefined },
      /Db: kind is missing; the identity "cluster-ABCDEFGHIJ" is that of a cluster of Aurora as of a Multi-AZ DB cluster: write kind: SharedPostgresKind.INSTANCE, or/,
    ],
    [
      { kind: undefined, identity: Lazy.string({ produce: () => 'db-A' }) },
      /kind is missing; the identity is a token: write/,
    ],
    [{ kind: 'aurora-postgresql' as never }, /kind is 'aurora-postgresql'; write SharedPostgresKind.INSTANCE, /],
    [
      { kind: SharedPostgresKind.INSTANCE },
      /kind is 'instance', and the identity "cluster-ABCDEFGHIJ" is that of a cluster/,
    ],
    [{ identity: 'db-ABC' }, /kind is 'aurora', and the identity "db-ABC" is that of an instance/],
    [{ iamAuthentication: 'no' as never }, /Billing\/Db: iamAuthentication is 'no'; write true or false/],
    [{ readerhost: 'x' } as object, /Billing\/Db: readerhost is no property of it, .*; write readerHost/],
  ])('%j is refused', (wrong, message) => {
    const stack = new Stack(new App(), 'Billing', { env: ENV });
    expect(() => SharedPostgres.fromServerAttributes(stack, 'Db', { ...attributes(stack), ...wrong })).toThrow(message);
  });

  test('a secret of another account is refused with what to do', () => {
    const stack = new Stack(new App(), 'Billing', { env: { ...ENV, account: '999999999999' } });
    expect(() => SharedPostgres.fromServerAttributes(stack, 'Db', attributes(stack))).toThrow(
      /the server is in the account 123456789012, and this stack in 999999999999; .*Declare the roles in a stack there/,
    );
  });
});

test.each([
  ['account', { ...ENV, account: '999999999999' }],
  ['region', { ...ENV, region: 'us-east-1' }],
])('a server of another %s is refused with what to do', (what, env) => {
  const { app, server } = platform('rds', ENV);
  expect(() => application(app, server, { env })).toThrow(new RegExp(`Billing/Db: the server is in the ${what}`));
});

test('two states of one name on one server are an error, whose names are given', () => {
  const { app, server, stack } = platform('rds', ENV);
  expect(() => SharedPostgres.fromServer(stack, 'Again', server).addDatabase('second')).toThrow(
    /Platform\/Again: the state "Platform" is declared on this server by Platform\/Postgres as well; give one of them another stateName/,
  );
  const second = SharedPostgres.fromServer(stack, 'Second', server, { stateName: 'second' });
  second.addDatabase('second');
  Template.fromStack(stack).resourceCountIs('Custom::CdkPostgresState', 2);
  expect(() => application(app, server, { stateName: 'Platform' })).toThrow(/is declared on this server by/);
});

test('a server that lives elsewhere can be shared too, without what it does not have', () => {
  const elsewhere = () => {
    const app = new App();
    const stack = new Stack(app, 'Platform', { env: ENV });
    const server = ExternalPostgres.fromEndpoint(stack, 'CloudSql', {
      host: 'db.example.com',
      identity: 'project/instance',
      adminSecret: new secretsmanager.Secret(stack, 'Admin'),
    });
    server.addDatabase('shared');
    return { app, stack, server };
  };
  const { app, stack: platformStack, server } = elsewhere();
  const stack = new Stack(app, 'Billing', { env: ENV });
  const billing = SharedPostgres.fromServer(stack, 'Db', server).addDatabase('billing');
  billing.addLoginRole('billing_api');
  expect(() => billing.addLoginRole('job', { authentication: Authentication.iam() })).toThrow(
    /Billing\/Db does not have; use Authentication.password\(\)/,
  );
  Template.fromStack(stack).hasResourceProperties('Custom::CdkPostgresState', {
    Server: Match.objectLike({ Platform: 'external', Host: 'db.example.com' }),
  });
  expect(withoutOutputs(platformStack)).toEqual(withoutOutputs(elsewhere().stack));
});
