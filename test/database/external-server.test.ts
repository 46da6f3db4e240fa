import { aws_ec2 as ec2, aws_lambda as lambda, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Authentication } from '../../lib/database';
import { ExternalPostgres } from '../../lib/server/external-postgres';
import { declaredLines, newStack, stateResource } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const SECRET = 'arn:aws:secretsmanager:eu-west-1:123456789012:secret:cloudsql-AbCdEf';

function setup(vpc = false) {
  const stack = newStack();
  const server = ExternalPostgres.fromEndpoint(stack, 'CloudSql', {
    host: 'db.example.com',
    identity: 'project/instance',
    adminSecret: secretsmanager.Secret.fromSecretCompleteArn(stack, 'Admin', SECRET),
    vpc: vpc ? new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 }) : undefined,
  });
  const app = server.addDatabase('app');
  const api = app.addLoginRole('api');
  app.addSchema('billing').grantReadWrite(api);
  return { stack, server, app };
}

test('everything at database level is declared as on any other server', () => {
  const { stack } = setup();
  expect(stateResource(stack).Properties.Server).toEqual({
    Platform: 'external',
    Identity: 'project/instance',
    Host: 'db.example.com',
    Port: 5432,
    AdminSecretArn: SECRET,
    AdminDatabase: 'postgres',
    Trust: 'public',
  });
  expect(declaredLines(stack).roles).toEqual(['api LOGIN PASSWORD', 'app_owner NOLOGIN']);
});

test('without a VPC the functions run outside one; with one, inside', () => {
  Template.fromStack(setup().stack).allResourcesProperties('AWS::Lambda::Function', { VpcConfig: Match.absent() });
  const inside = Template.fromStack(setup(true).stack);
  inside.hasResourceProperties('AWS::Lambda::Function', { VpcConfig: Match.anyValue(), Timeout: 900 });
  inside.hasResourceProperties('AWS::EC2::SecurityGroup', {
    GroupDescription: 'cdk-postgres apply function',
    SecurityGroupEgress: Match.arrayWith([Match.objectLike({ FromPort: 5432, ToPort: 5432 })]),
  });
});

test('the admin secret is read by its exact ARN, and is not rotated: it belongs to somebody else', () => {
  const { stack } = setup();
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::SecretsManager::RotationSchedule', 1);
  template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
    PolicyDocument: {
      Statement: Match.arrayWith([
        {
          Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
          Effect: 'Allow',
          Resource: SECRET,
        },
      ]),
    },
  });
});

test('IAM login is an error that names the alternative', () => {
  const { app } = setup();
  expect(() => app.addLoginRole('x', { authentication: Authentication.iam() })).toThrow(
    /Test\/CloudSql does not have; use Authentication.password\(\)/,
  );
});

test('a function outside a VPC is let in where nothing is to be opened, and gets the secret', () => {
  const { stack, app } = setup();
  app.server.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
  const handler = (id: string) =>
    new lambda.Function(stack, id, {
      runtime: lambda.Runtime.NODEJS_24_X,
      handler: 'index.handler',
      code: lambda.Code.fromInline('exports.handler = async () => {};'),
    });
  expect(app.addLoginRole('worker').grantConnect(handler('Handler')).success).toBe(true);
  expect(app.addLoginRole('other').grantConnect(handler('Other').currentVersion).success).toBe(true);
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::EC2::SecurityGroupIngress', 0);
  template.hasResourceProperties('AWS::IAM::Policy', { Roles: [{ Ref: Match.stringLikeRegexp('Handler') }] });
});
