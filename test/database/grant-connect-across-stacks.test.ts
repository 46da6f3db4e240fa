import { App, Duration, Stack, aws_ec2 as ec2, aws_lambda as lambda } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { AuroraPostgres, Authentication, PostgresVersion } from '../../lib';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const METHODS: [string, Authentication][] = [
  ['password', Authentication.password()],
  ['alternating passwords', Authentication.alternatingPasswords()],
  ['IAM', Authentication.iam()],
];

test.each(METHODS)('an application in a stack of its own, by %s (SEC-15)', (_, authentication) => {
  const app = new App();
  const network = new Stack(app, 'Network');
  const vpc = new ec2.Vpc(network, 'Vpc', { natGateways: 1 });
  const api = new Stack(app, 'Api');
  const handler = new lambda.Function(api, 'Handler', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
    vpc,
    reservedConcurrentExecutions: 10,
  });
  const stack = new Stack(app, 'Billing', { terminationProtection: true });
  const server = new AuroraPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(30) },
  });
  server.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
  server.addDatabase('app').addLoginRole('api', { authentication }).grantConnect(handler);

  // A reference of the server's stack to the application's would be a circle, which only a synthesis finds.
  const template = Template.fromStack(api);
  expect(stack.dependencies).not.toContain(api);
  expect(api.dependencies).toContain(stack);
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    Description: 'PostgreSQL as api',
    GroupId: { 'Fn::ImportValue': Match.stringLikeRegexp('Billing.*SecurityGroup') },
    SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('Handler'), 'GroupId'] },
  });
  const allows = (action: string | string[], resource: object, more = {}) =>
    Match.arrayWith([Match.objectLike({ Action: action, Resource: resource, ...more })]);
  const statement = (statements: Match | object) =>
    template.hasResourceProperties('AWS::IAM::Policy', { PolicyDocument: { Statement: statements } });
  if (authentication.method === 'iam') {
    statement(allows('rds-db:connect', Match.anyValue()));
    return;
  }
  statement(
    allows(['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'], {
      'Fn::ImportValue': Match.stringLikeRegexp('Secret'),
    }),
  );
  statement(
    allows(
      'kms:Decrypt',
      { 'Fn::ImportValue': Match.stringLikeRegexp('Key') },
      { Condition: { StringEquals: { 'kms:ViaService': Match.anyValue() } } },
    ),
  );
  // The account's own policies decide over the key, so that no principal has to stand in it.
  Template.fromStack(stack).hasResourceProperties('AWS::KMS::Key', {
    KeyPolicy: {
      Statement: Match.arrayWith([
        Match.objectLike({ Action: 'kms:*', Principal: { AWS: { 'Fn::Join': ['', Match.arrayWith([':root'])] } } }),
      ]),
    },
  });
});
