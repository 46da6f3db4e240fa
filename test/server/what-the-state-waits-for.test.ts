import { App, Stack, Token, aws_ec2 as ec2, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  AuroraPostgres,
  ExternalPostgres,
  IPostgresServer,
  PostgresVersion,
  RdsPostgres,
  ServerTrust,
} from '../../lib';
import { OBJECTIVES, cleanStack, quiet } from './support';

quiet();

const STATE = 'Custom::CdkPostgresState';

type Make = (stack: Stack, vpc: ec2.Vpc) => IPostgresServer;

const aurora: Make = (stack, vpc) =>
  new AuroraPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
const managed: [string, Make][] = [
  [
    'rds',
    (stack, vpc) => new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES }),
  ],
  ['aurora', aurora],
  [
    'serverless aurora',
    (stack, vpc) =>
      new AuroraPostgres(stack, 'Postgres', {
        vpc,
        version: PostgresVersion.V18,
        objectives: OBJECTIVES,
        serverlessV2: { minCapacity: 1, maxCapacity: 4 },
      }),
  ],
];

const external: Make = (stack, vpc) =>
  ExternalPostgres.fromEndpoint(stack, 'Postgres', {
    host: 'db.example.com',
    identity: 'project-1',
    adminSecret: new secretsmanager.Secret(stack, 'Admin'),
    trust: ServerTrust.rds(),
    vpc,
    securityGroups: [new ec2.SecurityGroup(stack, 'Theirs', { vpc, allowAllOutbound: false })],
  });

function declared(make: Make) {
  const { stack, vpc } = cleanStack();
  const server = make(stack, vpc);
  server.addDatabase('app');
  const template = Template.fromStack(stack);
  const resources = template.toJSON().Resources as Record<
    string,
    { Type: string; DependsOn?: string[]; Properties: any }
  >;
  const [state] = Object.values(resources).filter((r) => r.Type === STATE);
  const waitsFor = (type: string) => (state!.DependsOn ?? []).filter((id) => resources[id]?.Type === type);
  return { server, stack, template, resources, state: state!, waitsFor };
}

describe.each([...managed, ['external', external]] as [string, Make][])(
  'case 113: on %s the state waits for',
  (_kind, make) => {
    const { waitsFor } = declared(make);

    test("the rules between function and server, the function's policies, its log group, the endpoints", () => {
      expect(waitsFor('AWS::EC2::SecurityGroupEgress')).toHaveLength(1);
      expect(waitsFor('AWS::EC2::SecurityGroupIngress')).toHaveLength(1);
      expect(waitsFor('AWS::IAM::ManagedPolicy')).toHaveLength(2);
      expect(waitsFor('AWS::Logs::LogGroup')).toHaveLength(1);
      expect(waitsFor('AWS::EC2::VPCEndpoint')).toHaveLength(3);
    });
  },
);

describe.each(managed)('case 113: on %s the state waits for', (_kind, make) => {
  const { waitsFor, resources, state } = declared(make);

  test('the instance that accepts writes, and not for readers', () => {
    const instances = waitsFor('AWS::RDS::DBInstance');
    expect(instances).toHaveLength(1);
    expect(resources[instances[0]!]!.Properties.PromotionTier ?? 0).toBe(0);
  });

  test('the attachment that puts host and port into the secret', () => {
    expect(waitsFor('AWS::SecretsManager::SecretTargetAttachment')).toHaveLength(1);
  });

  test('the schedule of the master waits for the state, so that no rotation meets a server without its roles', () => {
    const schedules = Object.values(resources).filter((r) => r.Type === 'AWS::SecretsManager::RotationSchedule');
    const stateId = Object.keys(resources).find((id) => resources[id] === state)!;
    expect(schedules).toHaveLength(1);
    expect(schedules[0]!.DependsOn).toContain(stateId);
  });
});

test('the state names the server by its immutable identity, its endpoints and the literal port', () => {
  const { state } = declared(aurora);
  expect(state.Properties.Server).toMatchObject({
    Platform: 'aurora',
    Identity: { 'Fn::GetAtt': [expect.stringMatching(/^Postgres/), 'DBClusterResourceId'] },
    Host: { 'Fn::GetAtt': [expect.stringMatching(/^Postgres/), 'Endpoint.Address'] },
    ReaderHost: { 'Fn::GetAtt': [expect.stringMatching(/^Postgres/), 'ReadEndpoint.Address'] },
    Port: 5433,
    Trust: 'rds',
  });
});

test('the state of an external server is as it was told, and its secret is left to its owner', () => {
  const { state, template } = declared(external);
  expect(state.Properties.Server).toMatchObject({
    Platform: 'external',
    Identity: 'project-1',
    Host: 'db.example.com',
    Port: 5432,
    Trust: 'rds',
  });
  template.resourceCountIs('AWS::SecretsManager::RotationSchedule', 0);
});

test('a server inside which nothing is declared has no state', () => {
  const { stack, vpc } = cleanStack();
  aurora(stack, vpc);
  Template.fromStack(stack).resourceCountIs(STATE, 0);
});

test('the emergency exit reaches the state of a managed server, and says so', () => {
  const { stack, vpc } = cleanStack(
    new App({ context: { 'cdk-postgres:skipState': 'INC-42: the run lock is stuck' } }),
  );
  aurora(stack, vpc).addDatabase('app');
  const template = Template.fromStack(stack);
  template.hasResourceProperties(STATE, { SkipReason: 'INC-42: the run lock is stuck' });
  const said = stack.node
    .findAll()
    .flatMap((c) => c.node.metadata.filter((m) => m.type === 'aws:cdk:warning').map((m) => String(m.data)));
  expect(said.join('\n')).toContain('INC-42');
});

test('a client is let in at the literal port', () => {
  const { stack, vpc } = cleanStack();
  const client = new ec2.SecurityGroup(stack, 'Client', { vpc, allowAllOutbound: false });
  aurora(stack, vpc).connections.allowDefaultPortFrom(client);
  Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    FromPort: 5433,
    SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^Client'), 'GroupId'] },
  });
});

test('a plan is acknowledged by its hash on the server', () => {
  const { stack, vpc } = cleanStack();
  const server = aurora(stack, vpc);
  server.addDatabase('app');
  server.acknowledgePlan('0123456789abcdef', 'the role api loses DELETE, as agreed');
  Template.fromStack(stack).hasResourceProperties(STATE, {
    State: Match.objectLike({ acknowledgedPlans: ['0123456789abcdef'] }),
  });
  expect(Token.isUnresolved(server.host)).toBe(true);
});

test('addVpcEndpoints() adds what the app does not declare yet', () => {
  const { stack } = cleanStack();
  const bare = new ec2.Vpc(stack, 'Bare', {
    natGateways: 0,
    maxAzs: 2,
    subnetConfiguration: [{ name: 'data', subnetType: ec2.SubnetType.PRIVATE_ISOLATED }],
  });
  const server = aurora(stack, bare);
  expect(() => Template.fromStack(stack)).toThrow(/LIB-5/);
  server.addVpcEndpoints();
  Template.fromStack(stack).resourcePropertiesCountIs(
    'AWS::EC2::VPCEndpoint',
    { VpcId: { Ref: Match.stringLikeRegexp('^Bare') } },
    3,
  );
});
