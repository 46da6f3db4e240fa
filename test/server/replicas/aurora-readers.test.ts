import { Duration, aws_ec2 as ec2, aws_lambda as lambda } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { AuroraPostgres, AuroraPostgresProps, PostgresVersion } from '../../../lib';
import { errorsOfFivePacks } from '../../compliance/five-packs';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

function make(props: Partial<AuroraPostgresProps> = {}) {
  const { app, stack, vpc } = cleanStack();
  const server = new AuroraPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V17,
    objectives: OBJECTIVES,
    identifier: 'orders',
    ...props,
  });
  return { app, stack, vpc, server, template: () => Template.fromStack(stack) };
}

const nodesOf = (template: Template) =>
  Object.values(template.findResources('AWS::RDS::DBInstance')).map(({ Properties }) => Properties);

describe('HA-13: readers for one purpose', () => {
  test('have an endpoint that leads to them alone', () => {
    const { server, stack, template } = make();
    const readers = server.addReaders('Reports', { purpose: 'reports', count: 2 });
    template().hasResourceProperties('AWS::RDS::DBClusterEndpoint', {
      CustomEndpointType: 'READER',
      DBClusterEndpointIdentifier: 'orders-reports',
      DBClusterIdentifier: stack.resolve(server.cluster.clusterIdentifier),
      StaticMembers: stack.resolve(readers.instanceIdentifiers),
      ExcludedMembers: Match.absent(),
    });
    expect(readers.instanceIdentifiers).toHaveLength(2);
    expect(nodesOf(template()).map((node) => node.DBInstanceIdentifier)).toEqual(
      expect.arrayContaining(['orders-1', 'orders-2', 'orders-reports-1', 'orders-reports-2']),
    );
  });

  test('HA-1: are the last that become the writer, unless the app says so', () => {
    const tier = (failover?: boolean) => {
      const { server, template } = make();
      server.addReaders('Reports', { purpose: 'reports', failover });
      return nodesOf(template()).find((node) => node.DBInstanceIdentifier === 'orders-reports-1')!.PromotionTier;
    };
    expect(tier()).toBe(15);
    expect(tier(true)).toBe(1);
  });

  test('LIB-12: stand behind the deploy guard, and wait for the writer', () => {
    const { server, stack, template } = make();
    server.addReaders('Reports', { purpose: 'reports' });
    const [guard] = Object.entries(template().findResources('Custom::CdkPostgresDeployGuard'));
    expect(guard![1].Properties.Servers.map((one: { Identifier: string }) => one.Identifier)).toContain(
      'orders-reports-1',
    );
    const [reader] = Object.values(
      template().findResources('AWS::RDS::DBInstance', { Properties: { DBInstanceIdentifier: 'orders-reports-1' } }),
    );
    expect(reader!.DependsOn).toEqual(expect.arrayContaining([guard![0], stack.resolve(server._writer.logicalId)]));
  });

  test('a class of their own has a parameter group of its own, with what the server says', () => {
    const { server, template } = make({ instanceParameters: { log_min_duration_statement: '250' } });
    server.addReaders('Reports', {
      purpose: 'reports',
      instanceType: ec2.InstanceType.of(ec2.InstanceClass.R7G, ec2.InstanceSize.XLARGE4),
      instanceParameters: { statement_timeout: '600000' },
    });
    template().hasResourceProperties('AWS::RDS::DBParameterGroup', {
      Parameters: Match.objectLike({ log_min_duration_statement: '250', statement_timeout: '600000' }),
    });
    template().hasResourceProperties('AWS::RDS::DBInstance', { DBInstanceClass: 'db.r7g.4xlarge' });
  });

  test('have an alarm on lag for each node', () => {
    const { server, template } = make();
    server.addReaders('Reports', { purpose: 'reports', count: 2, maxLag: Duration.seconds(5) });
    const alarms = template().findResources('AWS::CloudWatch::Alarm', {
      Properties: { MetricName: 'AuroraReplicaLag', Threshold: 5000 },
    });
    expect(Object.keys(alarms)).toHaveLength(2);
  });

  test.each<[string, (server: AuroraPostgres) => unknown, RegExp]>([
    ['no purpose', (s) => s.addReaders('R', { purpose: ' ' }), /Postgres\/R: purpose is empty/],
    ['half a reader', (s) => s.addReaders('R', { purpose: 'x', count: 0.5 }), /count is 0.5/],
    [
      'more than a cluster has',
      (s) => s.addReaders('R', { purpose: 'x', count: 15 }),
      /would have 16 readers; it can have 15/,
    ],
  ])('%s is an error', (_what, build, message) => expect(() => build(make().server)).toThrow(message));

  test('the endpoint of the readers, and of some of them, takes grantConnect()', () => {
    const { server, stack, vpc, template } = make();
    const reports = server.addReaders('Reports', { purpose: 'reports' });
    server.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
    const role = server.addDatabase('app').addLoginRole('report');
    const endpoints = [
      ['All', server.readerEndpoint],
      ['Some', reports],
    ] as const;
    for (const [id, endpoint] of endpoints) {
      const handler = new lambda.Function(stack, id, {
        code: lambda.Code.fromInline('exports.handler = async () => {}'),
        handler: 'index.handler',
        runtime: lambda.Runtime.NODEJS_24_X,
        vpc,
        vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
      });
      role.grantConnect(handler, { endpoint });
    }
    for (const [, endpoint] of endpoints) {
      template().hasResourceProperties('AWS::Lambda::Function', {
        Environment: { Variables: Match.objectLike({ PGHOST: stack.resolve(endpoint.host) }) },
      });
    }
  });

  test('no error in the five packs', () => {
    const { app, server } = make();
    server.addReaders('Reports', { purpose: 'reports', count: 2 });
    server.scaleReaders({ maxReaders: 6 });
    expect(errorsOfFivePacks(app)).toEqual([]);
  });
});

describe('HA-13: readers that come and go with the load', () => {
  test('between what the app declares and the most', () => {
    const { server, stack, template } = make({ readers: 2 });
    server.addReaders('Reports', { purpose: 'reports' });
    server.scaleReaders({ maxReaders: 6, targetCpuPercent: 50 });
    template().hasResourceProperties('AWS::ApplicationAutoScaling::ScalableTarget', {
      MinCapacity: 3,
      MaxCapacity: 6,
      ScalableDimension: 'rds:cluster:ReadReplicaCount',
      ServiceNamespace: 'rds',
      ResourceId: { 'Fn::Join': ['', ['cluster:', stack.resolve(server.cluster.clusterIdentifier)]] },
    });
    template().hasResourceProperties('AWS::ApplicationAutoScaling::ScalingPolicy', {
      TargetTrackingScalingPolicyConfiguration: {
        PredefinedMetricSpecification: { PredefinedMetricType: 'RDSReaderAverageCPUUtilization' },
        TargetValue: 50,
      },
    });
  });

  test('nothing to scale is an error', () => {
    const { app, server } = make({ readers: 3 });
    server.scaleReaders({ maxReaders: 3 });
    expect(() => app.synth()).toThrow(/leaves nothing to scale; the app declares 3 readers/);
  });

  test.each([0, 16, 2.5])('maxReaders %p is an error', (maxReaders) =>
    expect(() => make().server.scaleReaders({ maxReaders })).toThrow(/a cluster has 1 to 15 readers/),
  );
});

describe('HA-1: zones', () => {
  test('the nodes stand in them in turn', () => {
    const { template } = make({ readers: 2, availabilityZones: ['dummy1a', 'dummy1b'] });
    expect(nodesOf(template()).map((node) => node.AvailabilityZone)).toEqual(['dummy1a', 'dummy1b', 'dummy1a']);
  });

  test('are left to RDS by default, as before', () =>
    expect(nodesOf(make().template()).map((node) => node.AvailabilityZone)).toEqual([undefined, undefined]));

  test('one alone, and one without a subnet, are errors', () => {
    expect(() => make({ availabilityZones: ['dummy1a'] })).toThrow(/write two or more different zones/);
    expect(() => make({ availabilityZones: ['dummy1a', 'dummy1z'] })).toThrow(
      /names dummy1z, where no subnet of the server is/,
    );
  });
});
