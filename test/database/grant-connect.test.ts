import { Stack, aws_ec2 as ec2, aws_iam as iam, aws_lambda as lambda } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Authentication, LoginRole } from '../../lib/database';
import { declaredState, DeclaredServer, newStack } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup() {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  server.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
  const app = server.addDatabase('app');
  const handler = new lambda.Function(stack, 'Handler', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
    vpc: server.vpc,
  });
  return { stack, server, app, handler };
}

test('a password role: the port, and the secret', () => {
  const { stack, app, handler } = setup();
  const api = app.addLoginRole('api');
  const grant = api.grantConnect(handler);
  expect(grant.success).toBe(true);
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    FromPort: 5433,
    ToPort: 5433,
    Description: 'PostgreSQL as api',
    SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('Handler'), 'GroupId'] },
  });
  const secret = stack.resolve(api.secret!.secretArn);
  template.hasResourceProperties('AWS::IAM::Policy', {
    Roles: [{ Ref: Match.stringLikeRegexp('Handler') }],
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
          Resource: secret,
        }),
      ]),
    },
  });
});

test('an IAM role: a token for this role on this server alone, and no secret', () => {
  const { stack, app, handler } = setup();
  const api = app.addLoginRole('api', { authentication: Authentication.iam() });
  api.grantConnect(handler);
  expect(api.secret).toBeUndefined();
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::IAM::Policy', {
    PolicyDocument: {
      Statement: [
        {
          Action: 'rds-db:connect',
          Effect: 'Allow',
          Resource: {
            'Fn::Join': [
              '',
              [
                'arn:',
                { Ref: 'AWS::Partition' },
                ':rds-db:',
                { Ref: 'AWS::Region' },
                ':',
                { Ref: 'AWS::AccountId' },
                ':dbuser:cluster-ABC/api',
              ],
            ],
          },
        },
      ],
    },
  });
});

test('a grantee without a network gets the IAM side; connections can be named', () => {
  const { stack, server, app } = setup();
  const api = app.addLoginRole('api');
  const task = new iam.Role(stack, 'Task', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') });
  api.grantConnect(task);
  const rules = () => Object.keys(Template.fromStack(stack).findResources('AWS::EC2::SecurityGroupIngress')).length;
  const before = rules();
  const second = setup();
  const group = new ec2.SecurityGroup(second.stack, 'From', { vpc: second.server.vpc });
  second.app
    .addLoginRole('api')
    .grantConnect(
      new iam.Role(second.stack, 'Task', { assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com') }),
      { connections: group },
    );
  expect(Object.keys(Template.fromStack(second.stack).findResources('AWS::EC2::SecurityGroupIngress'))).toHaveLength(
    before + 1,
  );
  expect(server.port).toBe(5433);
});

test('a role that somebody else lets in has nothing to grant', () => {
  const { app, handler } = setup();
  const api = app.addLoginRole('api', { authentication: Authentication.none() });
  expect(() => api.grantConnect(handler)).toThrow(/does not manage how "api" logs in/);
});

test('IAM login where the server has none is an error that names the alternative', () => {
  const stack = newStack();
  const app = new DeclaredServer(stack, 'Server', { platform: 'external' }).addDatabase('app');
  expect(() => app.addLoginRole('api', { authentication: Authentication.iam() })).toThrow(
    /Role-api: authentication is Authentication.iam\(\), which Test\/Server does not have; use Authentication.password\(\)/,
  );
});

test('describes the connection without a secret (LIB-16), and puts it out when asked', () => {
  const { stack, app } = setup();
  const api = app.addLoginRole('api');
  expect(Object.keys(Template.fromStack(stack).findOutputs('*'))).toHaveLength(0);
  const second = setup();
  const role = second.app.addLoginRole('api');
  expect(role.connection).toMatchObject({
    host: 'writer.example',
    readerHost: 'reader.example',
    port: 5433,
    database: 'app',
    user: 'api',
    authentication: 'password',
  });
  expect(role.environment).toMatchObject({ PGHOST: 'writer.example', PGPORT: '5433', PGSSLMODE: 'verify-full' });
  role.addConnectionOutputs();
  const outputs = Object.values(Template.fromStack(second.stack).findOutputs('*')).map((output) => output.Value);
  expect(outputs).toEqual(expect.arrayContaining(['writer.example', '5433', 'app', 'api', 'password']));
  expect(JSON.stringify(outputs)).not.toContain('{{resolve');
  expect(api.roleName).toBe('api');
});

test('what depends on a role waits for the applied state', () => {
  const { stack, app, handler } = setup();
  const api = app.addLoginRole('api');
  handler.node.addDependency(api);
  Template.fromStack(stack).hasResource('AWS::Lambda::Function', {
    Properties: { Code: { ZipFile: Match.anyValue() } },
    DependsOn: Match.arrayWith([Match.stringLikeRegexp('^ServerState[0-9A-F]{8}$')]),
  });
});

test('LIB-16: one call is the whole connection: a function gets its environment, unless told otherwise', () => {
  const variables = (environment?: boolean) => {
    const { stack, app, handler } = setup();
    const api = app.addLoginRole('api', { authentication: Authentication.iam() });
    api.grantConnect(handler, { environment });
    api.grantConnect(handler, { environment });
    const [resource] = Object.values(
      Template.fromStack(stack).findResources('AWS::Lambda::Function', { Properties: { Handler: 'index.handler' } }),
    ).filter(({ Properties }) => Properties.Code.ZipFile);
    return resource.Properties.Environment?.Variables;
  };
  expect(variables()).toEqual({
    PGHOST: 'writer.example',
    PGPORT: '5433',
    PGDATABASE: 'app',
    PGUSER: 'api',
    PGSSLMODE: 'verify-full',
  });
  expect(variables(false)).toBeUndefined();
});

test('LIB-16: a second role does not silently take the environment of the first', () => {
  const { app, handler } = setup();
  const [api, report] = [app.addLoginRole('api'), app.addLoginRole('report')];
  api.grantConnect(handler);
  expect(() => report.grantConnect(handler)).toThrow(
    /Role-report: grantConnect\(\) would overwrite the environment variables that the grantee has for .*Role-api; pass environment: false/,
  );
  expect(report.grantConnect(handler, { environment: false }).success).toBe(true);
});

test('a function outside a VPC is told that it has no way to the server, unless its connections are named', () => {
  const { stack, server, app } = setup();
  const outside = new lambda.Function(stack, 'Outside', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
  });
  const api = app.addLoginRole('api');
  expect(() => api.grantConnect(outside)).toThrow(
    /Role-api: grantConnect\(\) lets in Test\/Outside, which is in no VPC and has no way to Test\/Server; give the function a vpc/,
  );
  const connections = new ec2.SecurityGroup(stack, 'From', { vpc: server.vpc });
  expect(api.grantConnect(outside, { connections }).success).toBe(true);
});

test('a role that logs in by password stands in the stack of its server', () => {
  const { stack, app } = setup();
  const other = new Stack(stack.node.root, 'Other');
  expect(() => new LoginRole(other, 'Api', { database: app, roleName: 'api' })).toThrow(
    /Other\/Api: a role that logs in by password belongs into the stack of its server, Test/,
  );
  const byToken = { database: app, roleName: 'worker', authentication: Authentication.iam() };
  expect(() => new LoginRole(other, 'Worker', byToken)).not.toThrow();
  expect(declaredState(stack).roles.map(({ name }) => name)).toContain('worker');
});
