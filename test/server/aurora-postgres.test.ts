import { Duration, aws_ec2 as ec2, aws_rds as rds } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { AuroraPostgres, AuroraPostgresProps } from '../../lib/server/aurora-postgres';
import { PostgresProfile } from '../../lib/server/postgres-profile';
import { PostgresVersion } from '../../lib/server/postgres-version';
import { OBJECTIVES, cleanStack, quiet } from './support';

quiet();

function make(props: Partial<AuroraPostgresProps> = {}, acknowledge: string[] = []) {
  const { app, stack, vpc } = cleanStack();
  const server = new AuroraPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    ...props,
  });
  acknowledge.forEach((id) => server.acknowledge({ id, reason: 'a test of an override' }));
  return { app, stack, vpc, server, template: () => Template.fromStack(stack) };
}

test('a synthesis has no warning of CDK about Insights of nodes, which the cluster turns on; another cluster keeps its own', () => {
  const { stack, vpc } = make({ readers: 2 });
  const says = Match.stringLikeRegexp('Performance Insights');
  Annotations.fromStack(stack).hasNoWarning('*', says);
  new rds.DatabaseCluster(stack, 'Other', {
    engine: rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.VER_16_6 }),
    writer: rds.ClusterInstance.provisioned('Writer', { enablePerformanceInsights: false }),
    enablePerformanceInsights: true,
    vpc,
    vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
  });
  Annotations.fromStack(stack).hasWarning('/Test/Other', says);
});

const nodes = (template: Template) => Object.values(template.findResources('AWS::RDS::DBInstance'));

describe('production defaults', () => {
  const { template, stack, server } = make();
  const key = { 'Fn::GetAtt': [Match.stringLikeRegexp('PostgresKey'), 'Arn'] };

  test.each<[string, object]>([
    ['BK-3: 14 days of point-in-time recovery', { BackupRetentionPeriod: 14 }],
    ['BK-14, SEC-22: storage under the customer key', { StorageEncrypted: true, KmsKeyId: key }],
    [
      'BK-15: deletion is refused, backups outlive the server',
      { DeletionProtection: true, DeleteAutomatedBackups: false, CopyTagsToSnapshot: true },
    ],
    ['SEC-15: the same literal port as on RDS', { Port: 5433 }],
    ['IAM tokens may log in', { EnableIAMDatabaseAuthentication: true }],
    [
      'OPS-6: Insights in its standard mode, under the customer key',
      {
        DatabaseInsightsMode: 'standard',
        PerformanceInsightsEnabled: true,
        PerformanceInsightsRetentionPeriod: 7,
        PerformanceInsightsKmsKeyId: key,
      },
    ],
    [
      'OPS-11: explicit windows',
      { PreferredBackupWindow: '01:00-02:00', PreferredMaintenanceWindow: 'sun:03:00-sun:04:00' },
    ],
    [
      'LR-21: major pinned, minor upgrades itself, no extended support',
      {
        EngineVersion: '18',
        AutoMinorVersionUpgrade: true,
        EngineLifecycleSupport: 'open-source-rds-extended-support-disabled',
      },
    ],
    ['SEC-21: the log is exported', { EnableCloudwatchLogsExports: ['postgresql'] }],
    ['LR-13: the master password is not managed by RDS', { ManageMasterUserPassword: Match.absent() }],
  ])('%s', (_what, props) => template().hasResourceProperties('AWS::RDS::DBCluster', props));

  test('HA-1: a writer and a reader, alike', () => {
    expect(nodes(template())).toHaveLength(2);
    for (const [index, node] of nodes(template()).entries()) {
      expect(node.Properties).toMatchObject({
        DBInstanceClass: 'db.r7g.large',
        PubliclyAccessible: false,
        AutoMinorVersionUpgrade: true,
        CACertificateIdentifier: 'rds-ca-rsa2048-g1',
        MonitoringInterval: 60,
        DBInstanceIdentifier: expect.stringMatching(new RegExp(`^test-postgres-[0-9a-f]+-${index + 1}$`)),
      });
      // A reader below tier 1 would not be the first to take over.
      expect(node.Properties.PromotionTier).toBeLessThanOrEqual(1);
    }
  });

  test('SEC-9, SEC-11, OPS-5: each parameter is in the group where it applies', () => {
    template().hasResourceProperties('AWS::RDS::DBClusterParameterGroup', {
      Family: 'aurora-postgresql18',
      Parameters: Match.objectLike({ 'rds.force_ssl': '1', password_encryption: 'scram-sha-256' }),
    });
    template().hasResourceProperties('AWS::RDS::DBParameterGroup', { Family: 'aurora-postgresql18' });
  });

  test('BK-15: cluster and nodes stay when the stack goes', () => {
    for (const type of [
      'AWS::RDS::DBCluster',
      'AWS::RDS::DBInstance',
      'AWS::RDS::DBClusterParameterGroup',
      'AWS::RDS::DBSubnetGroup',
      'AWS::SecretsManager::Secret',
    ]) {
      template().allResources(type, { DeletionPolicy: 'Retain' });
    }
  });

  test('LIB-6: the log group exists before Aurora exports to it', () => {
    const groups = template().findResources('AWS::Logs::LogGroup', {
      Properties: {
        LogGroupName: Match.stringLikeRegexp('^/aws/rds/cluster/test-postgres-[0-9a-f]+/postgresql$'),
        KmsKeyId: key,
      },
    });
    expect(Object.keys(groups)).toHaveLength(1);
    template().hasResource('AWS::RDS::DBCluster', { DependsOn: Match.arrayWith(Object.keys(groups)) });
  });

  test('BK-2: the backup selection names the cluster, which is what AWS Backup protects', () => {
    template().hasResourceProperties('AWS::Backup::BackupSelection', {
      BackupSelection: { Resources: [stack.resolve(server.cluster.clusterArn)] },
    });
  });

  test('OPS-4: local storage of each node and the volume of the cluster', () => {
    const alarms = Object.values(template().findResources('AWS::CloudWatch::Alarm')).map((a) => a.Properties);
    expect(alarms.map((a) => a.MetricName).sort()).toEqual(['FreeLocalStorage', 'FreeLocalStorage', 'VolumeBytesUsed']);
    for (const alarm of alarms) expect(alarm.AlarmActions).toEqual([stack.resolve(server.alarmTopic!.topicArn)]);
    expect(alarms.find((a) => a.MetricName === 'FreeLocalStorage').Threshold).toBe(Math.round(3.2 * 1024) * 1024 ** 2);
  });

  test('reads go to the endpoint of the readers', () => {
    expect(stack.resolve(server.readerHost)).toEqual({
      'Fn::GetAtt': [expect.stringMatching(/^Postgres/), 'ReadEndpoint.Address'],
    });
    expect(stack.resolve(server.identity)).toEqual({
      'Fn::GetAtt': [expect.stringMatching(/^Postgres/), 'DBClusterResourceId'],
    });
  });
});

describe('overrides', () => {
  test('readers', () => expect(nodes(make({ readers: 3 }).template())).toHaveLength(4));
  test('version', () =>
    make({ version: PostgresVersion.V17 })
      .template()
      .hasResourceProperties('AWS::RDS::DBCluster', { EngineVersion: '17' }));
  test('pointInTimeRecovery', () =>
    make({ pointInTimeRecovery: Duration.days(35) })
      .template()
      .hasResourceProperties('AWS::RDS::DBCluster', { BackupRetentionPeriod: 35 }));
  test('instanceType, also in the alarm threshold', () => {
    const { template } = make({ instanceType: ec2.InstanceType.of(ec2.InstanceClass.R8G, ec2.InstanceSize.XLARGE4) });
    expect(nodes(template()).map((n) => n.Properties.DBInstanceClass)).toEqual(['db.r8g.4xlarge', 'db.r8g.4xlarge']);
    template().hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'FreeLocalStorage',
      Threshold: Math.round(8 * 3.2 * 1024) * 1024 ** 2,
    });
  });
  test('serverlessV2: every node scales, and the reader with the writer', () => {
    const { template } = make({ serverlessV2: { minCapacity: 1, maxCapacity: 16 } });
    template().hasResourceProperties('AWS::RDS::DBCluster', {
      ServerlessV2ScalingConfiguration: { MinCapacity: 1, MaxCapacity: 16 },
    });
    expect(nodes(template()).map((n) => [n.Properties.DBInstanceClass, n.Properties.PromotionTier])).toEqual([
      ['db.serverless', 0],
      ['db.serverless', 1],
    ]);
    // Serverless nodes publish no local storage; an alarm on it would stay silent for ever.
    expect(
      Object.values(template().findResources('AWS::CloudWatch::Alarm')).map((a) => a.Properties.MetricName),
    ).toEqual(['VolumeBytesUsed']);
  });
  test('parameters of the cluster and of the nodes', () => {
    const { template } = make({
      parameters: { 'rds.logical_replication': '1' },
      instanceParameters: { work_mem: '65536' },
    });
    template().hasResourceProperties('AWS::RDS::DBClusterParameterGroup', {
      Parameters: Match.objectLike({ 'rds.logical_replication': '1' }),
    });
    template().hasResourceProperties('AWS::RDS::DBParameterGroup', {
      Parameters: Match.objectLike({ work_mem: '65536' }),
    });
  });
  test('storageType', () =>
    make({ storageType: rds.DBClusterStorageType.AURORA_IOPT1 })
      .template()
      .hasResourceProperties('AWS::RDS::DBCluster', { StorageType: 'aurora-iopt1' }));
  test('development: one small node that goes with its stack', () => {
    const { template } = make({ profile: PostgresProfile.development() });
    expect(nodes(template()).map((n) => n.Properties.DBInstanceClass)).toEqual(['db.t4g.medium']);
    template().hasResource('AWS::RDS::DBCluster', {
      DeletionPolicy: 'Delete',
      Properties: { DeletionProtection: false, BackupRetentionPeriod: 1, StorageEncrypted: true },
    });
  });
  test('everything that the L2 offers stays reachable', () => {
    const { server, template } = make();
    (server.cluster.node.defaultChild as rds.CfnDBCluster).addPropertyOverride('NetworkType', 'DUAL');
    expect(server.cluster.metricDeadlocks().metricName).toBe('Deadlocks');
    template().hasResourceProperties('AWS::RDS::DBCluster', { NetworkType: 'DUAL' });
  });
});

describe('fails for malformed input', () => {
  test.each<[string, Partial<AuroraPostgresProps>, RegExp]>([
    ['half a reader', { readers: 0.5 }, /Test\/Postgres: readers is 0\.5/],
    ['more readers than a cluster has', { readers: 16 }, /readers is 16/],
    [
      'both kinds of nodes',
      {
        serverlessV2: { minCapacity: 1, maxCapacity: 2 },
        instanceType: ec2.InstanceType.of(ec2.InstanceClass.R7G, ec2.InstanceSize.LARGE),
      },
      /serverlessV2 and instanceType are both set/,
    ],
    [
      'a parameter of the nodes given for the cluster',
      { parameters: { work_mem: '65536' } },
      /work_mem.*move it to instanceParameters/,
    ],
  ])('%s', (_what, props, message) => expect(() => make(props)).toThrow(message));
});
