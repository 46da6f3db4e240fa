import {
  CfnParameter,
  App,
  Aws,
  Stack,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_rds as rds,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Construct } from 'constructs';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DEPLOY_GUARD_METADATA, DEPLOY_GUARD_TYPE, GuardedServer } from '../../../lib/contract/deploy-guard';
import { judge } from '../../../lib/runtime/guard/judge';
import { DeployGuard, GuardAcknowledgement, isGuardId } from '../../../lib/server/guard';
import { guardedProperties } from '../../../lib/server/guard/create-only';
import { dayIn } from '../../support/days';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
}));

beforeEach(() => void jest.spyOn(console, 'error').mockImplementation());

function setup() {
  const app = new App();
  const stack = new Stack(app, 'App');
  const scope = new Construct(stack, 'Postgres');
  const vpc = new ec2.Vpc(stack, 'Vpc', {
    natGateways: 0,
    subnetConfiguration: [{ name: 'isolated', subnetType: ec2.SubnetType.PRIVATE_ISOLATED }],
  });
  vpc.addInterfaceEndpoint('SecretsManager', { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER });
  vpc.addInterfaceEndpoint('Rds', { service: ec2.InterfaceVpcEndpointAwsService.RDS });
  vpc.addGatewayEndpoint('S3', { service: ec2.GatewayVpcEndpointAwsService.S3 });
  const key = new kms.Key(scope, 'Key');
  return { app, stack, scope, vpc, key };
}

function instanceWithGuard(acknowledgements?: GuardAcknowledgement[]) {
  const { app, stack, scope, vpc, key } = setup();
  const engine = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.of('18', '18') });
  const instance = new rds.DatabaseInstance(scope, 'Resource', {
    engine,
    vpc,
    vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
    instanceIdentifier: 'App-Postgres',
    port: 5433,
    storageEncryptionKey: key,
    parameterGroup: new rds.ParameterGroup(scope, 'Parameters', {
      engine,
      parameters: { shared_preload_libraries: 'pgaudit', log_lock_waits: '1' },
    }),
  });
  const resource = instance.node.defaultChild as rds.CfnDBInstance;
  const guard = new DeployGuard(scope, 'Guard', { servers: [resource], vpc, encryptionKey: key, acknowledgements });
  return { app, stack, scope, resource, guard };
}

function clusterWithGuard() {
  const { stack, scope, vpc, key } = setup();
  const cluster = new rds.DatabaseCluster(scope, 'Resource', {
    engine: rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.of('18', '18') }),
    vpc,
    vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
    clusterIdentifier: 'app-postgres',
    writer: rds.ClusterInstance.provisioned('Node1', { instanceIdentifier: 'app-postgres-1' }),
    readers: [rds.ClusterInstance.serverlessV2('Node2', { instanceIdentifier: 'app-postgres-2' })],
    storageEncryptionKey: key,
  });
  const servers = cluster.node
    .findAll()
    .filter((one) => one instanceof rds.CfnDBCluster || one instanceof rds.CfnDBInstance);
  new DeployGuard(scope, 'Guard', { servers, vpc, encryptionKey: key });
  return { stack, cluster, resource: cluster.node.defaultChild as rds.CfnDBCluster };
}

const guardOf = (stack: Stack) => Object.values(Template.fromStack(stack).findResources(DEPLOY_GUARD_TYPE))[0]!;
const serversOf = (stack: Stack): GuardedServer[] => guardOf(stack).Properties.Servers;
const judged = (desired: GuardedServer[], previous: GuardedServer[]) =>
  judge({ desired, previous, running: new Map(), isOwn: () => true });

test('the server waits for the guard, and the guard for its function and the endpoints', () => {
  const { stack } = instanceWithGuard();
  const template = Template.fromStack(stack);
  const [guardId, guard] = Object.entries(template.findResources(DEPLOY_GUARD_TYPE))[0]!;
  template.hasResource('AWS::RDS::DBInstance', { DependsOn: Match.arrayWith([guardId]) });
  const endpoints = Object.keys(template.findResources('AWS::EC2::VPCEndpoint'));
  const policies = Object.keys(template.findResources('AWS::IAM::ManagedPolicy'));
  expect(endpoints.length).toBeGreaterThan(2);
  expect(guard.DependsOn).toEqual(expect.arrayContaining([...endpoints, ...policies]));
  expect(guard.Properties).toMatchObject({ ServiceTimeout: '300' });
});

test('it gets what the template says about an instance', () => {
  const { stack, resource } = instanceWithGuard();
  expect(serversOf(stack)).toEqual([
    {
      Path: 'App/Postgres',
      LogicalId: stack.resolve(resource.logicalId),
      Type: 'AWS::RDS::DBInstance',
      Identifier: 'app-postgres',
      EngineVersion: '18',
      ParameterFamily: 'postgres18',
      Class: 'db.m5.large',
      CreateOnly: expect.objectContaining({
        DBInstanceIdentifier: 'app-postgres',
        Engine: 'postgres',
        Port: '5433',
        StorageEncrypted: true,
        KmsKeyId: { 'Fn::GetAtt': [expect.any(String), 'Arn'] },
        DBSubnetGroupName: { Ref: expect.any(String) },
      }),
    },
  ]);
});

test('LIB-12: a version that only the deployment knows reaches the guard, and is judged there', () => {
  const { stack, resource } = instanceWithGuard();
  const version = new CfnParameter(stack, 'Version', { default: '19' });
  resource.addPropertyOverride('EngineVersion', version.valueAsString);
  const [server] = serversOf(stack);
  expect(server!.EngineVersion).toEqual({ Ref: 'Version' });
  const resolved = { ...server!, EngineVersion: '19' };
  const before = { ...server!, EngineVersion: '18' };
  expect(judged([resolved], [before]).map(({ id }) => id)).toContain('guard:major-version');
});

test('a cluster and its nodes are told apart, without a circle between guard and cluster', () => {
  const { stack } = clusterWithGuard();
  const servers = serversOf(stack);
  expect(servers.map(({ Path, Identifier }) => [Path, Identifier])).toEqual([
    ['App/Postgres', 'app-postgres'],
    ['App/Postgres/Resource/Node1', 'app-postgres-1'],
    ['App/Postgres/Resource/Node2', 'app-postgres-2'],
  ]);
  expect(servers[1]!.CreateOnly.DBClusterIdentifier).toBe('app-postgres');
  const clusterId = servers[0]!.LogicalId;
  expect(JSON.stringify(guardOf(stack).Properties.Servers)).not.toContain(`{"Ref":"${clusterId}"}`);
});

test('it may ask for exactly these servers', () => {
  const { stack } = clusterWithGuard();
  const statements = Object.values(Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy')).flatMap(
    (policy) => policy.Properties.PolicyDocument.Statement as { Action: string; Resource: object }[],
  );
  const asked = statements.filter(({ Action }) => String(Action).startsWith('rds:'));
  expect(
    asked.map(({ Action, Resource }) => [Action, JSON.stringify(Resource).match(/:(?:db|cluster):[\w-]+/)?.[0]]),
  ).toEqual([
    ['rds:DescribeDBClusters', ':cluster:app-postgres'],
    ['rds:DescribeDBInstances', ':db:app-postgres-1'],
    ['rds:DescribeDBInstances', ':db:app-postgres-2'],
  ]);
  expect(JSON.stringify(asked)).not.toContain('*');
});

describe.each([
  ['instance', instanceWithGuard, guardedProperties('AWS::RDS::DBInstance')],
  ['cluster', clusterWithGuard, guardedProperties('AWS::RDS::DBCluster')],
] as const)('an escape hatch on the %s reaches the guard:', (_, make, properties) => {
  const before = serversOf(make().stack);

  test.each(properties.filter((name) => !/^DB(Instance|Cluster)Identifier$/.test(name)))('%s', (name) => {
    const { stack, resource } = make();
    resource.addPropertyOverride(name, 'something else');
    const after = serversOf(stack);
    expect(after[0]!.CreateOnly[name]).toBe('something else');
    const objections = judged(after, before);
    // Switching Insights on under a key is no replacement, a changed key is.
    if (name === 'PerformanceInsightsKMSKeyId') expect(objections).toEqual([]);
    else expect(objections).toContainEqual(expect.objectContaining({ property: name }));
  });

  test('nothing changed passes', () => {
    expect(judged(serversOf(make().stack), before)).toEqual([]);
  });
});

test('another identifier is refused', () => {
  const before = serversOf(instanceWithGuard().stack);
  const { stack, resource } = instanceWithGuard();
  resource.dbInstanceIdentifier = 'other';
  expect(judged(serversOf(stack), before).map(({ id }) => id)).toEqual(['guard:replacement', 'guard:empty-successor']);
});

test('a deleted property is seen', () => {
  const before = serversOf(instanceWithGuard().stack);
  const { stack, resource } = instanceWithGuard();
  resource.addPropertyDeletionOverride('KmsKeyId');
  expect(judged(serversOf(stack), before)).toContainEqual(expect.objectContaining({ property: 'KmsKeyId' }));
});

test('a reference to another stack is the one that the server has', () => {
  const { app, stack, resource } = instanceWithGuard();
  resource.kmsKeyId = new kms.Key(new Stack(app, 'Keys'), 'Key').keyArn;
  const [server] = Object.values(Template.fromStack(stack).findResources('AWS::RDS::DBInstance'));
  expect(JSON.stringify(server.Properties.KmsKeyId)).toContain('Keys:Export');
  expect(serversOf(stack)[0]!.CreateOnly.KmsKeyId).toEqual(server.Properties.KmsKeyId);
});

test('a dynamic reference stays a text, so that nothing secret reaches the guard', () => {
  const { stack, scope, resource } = instanceWithGuard();
  const secret = new secretsmanager.Secret(scope, 'Secret');
  resource.masterUsername = secret.secretValueFromJson('username').unsafeUnwrap();
  const text = JSON.stringify(guardOf(stack).Properties);
  expect(text).toContain('{{not resolved:secretsmanager:');
  expect(text).not.toContain('{{resolve:');
});

test.each<[string, unknown]>([
  ['missing', undefined],
  ['a token', Aws.STACK_NAME],
])('a name that is %s fails the synthesis', (_, name) => {
  const { stack, resource } = instanceWithGuard();
  resource.dbInstanceIdentifier = name as string | undefined;
  expect(() => Template.fromStack(stack)).toThrow(
    /App\/Postgres\/Resource\/Resource: DBInstanceIdentifier is not a literal name/,
  );
});

test('its metadata says what a check needs: the defaults, and what waits for a reboot', () => {
  const { stack } = instanceWithGuard();
  const template = Template.fromStack(stack);
  const [group] = Object.keys(template.findResources('AWS::RDS::DBParameterGroup'));
  expect(guardOf(stack).Metadata[DEPLOY_GUARD_METADATA]).toEqual({
    defaults: 'V1',
    staticParameters: { [group!]: ['shared_preload_libraries'] },
  });
});

describe('acknowledge', () => {
  const acknowledgement = { id: 'guard:replacement', reason: 'moves to another key', expires: dayIn(30) };

  test('reaches the guard, also after it was made', () => {
    const { stack, guard } = instanceWithGuard([acknowledgement]);
    guard.acknowledge({ ...acknowledgement, id: 'guard:empty-successor' });
    expect(guardOf(stack).Properties.Acknowledgements).toEqual([
      { Id: 'guard:replacement', Reason: 'moves to another key', Expires: acknowledgement.expires },
      { Id: 'guard:empty-successor', Reason: 'moves to another key', Expires: acknowledgement.expires },
    ]);
    expect(guardOf(instanceWithGuard().stack).Properties).not.toHaveProperty('Acknowledgements');
  });

  test.each([
    [
      { id: 'guard:replacment' },
      /App\/Postgres: acknowledge\(\{ id: 'guard:replacment' \}\) names nothing .* guard:replacement/,
    ],
    [{ reason: ' ' }, /has no reason/],
    [{ expires: '31.01.2099' }, /expires '31.01.2099'; write the last day/],
    [{ expires: '2099-02-30' }, /expires '2099-02-30'; write the last day/],
    [
      { expires: '9999-12-31' },
      /guard:replacement.* expires '9999-12-31', which is more than a year away; write a day up to/,
    ],
    [{ expires: dayIn(400) }, /more than a year away/],
    [{ expires: undefined as unknown as string }, /write the last day/],
  ])('refuses %j', (change, message) => {
    expect(() => instanceWithGuard([{ ...acknowledgement, ...change }])).toThrow(message);
  });

  test('one that has expired is shown and fails nothing, since the deployment is what it speaks of', () => {
    const { app } = instanceWithGuard([{ ...acknowledgement, expires: '2020-01-31' }]);
    app.synth();
    const report = readFileSync(join(app.outdir, 'validation-report.json'), 'utf8');
    expect(report).toContain('App/Postgres: the acknowledgement of guard:replacement has expired on 2020-01-31');
  });

  test('tells its ids from those of findings', () => {
    expect(isGuardId('guard:port')).toBe(true);
    expect(isGuardId('HA-1')).toBe(false);
  });
});
