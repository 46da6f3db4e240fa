import { App, Duration, Size, Stack, aws_ec2 as ec2, aws_rds as rds } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { MultiAzPostgres, MultiAzPostgresProps, PostgresVersion, VaultLock } from '../../../lib';
import { errorsOfFivePacks } from '../../compliance/five-packs';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

function make(props: Partial<MultiAzPostgresProps> = {}, zones = 3) {
  // Of an unknown region CDK names two zones alone.
  const context = {
    'availability-zones:account=123456789012:region=eu-central-1': ['eu-central-1a', 'eu-central-1b', 'eu-central-1c'],
  };
  const { app, stack, vpc } = cleanStack(new App({ context }), zones);
  const server = new MultiAzPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V17,
    objectives: OBJECTIVES,
    identifier: 'orders',
    ...props,
  });
  return { app, stack, vpc, server, template: () => Template.fromStack(stack) };
}

describe('HA-21: a Multi-AZ DB cluster', () => {
  test('is one resource, encrypted, private, with IAM tokens and protected from deletion', () => {
    make()
      .template()
      .hasResource('AWS::RDS::DBCluster', {
        DeletionPolicy: 'Retain',
        Properties: {
          Engine: 'postgres',
          EngineVersion: '17',
          DBClusterInstanceClass: 'db.r6gd.large',
          AllocatedStorage: 100,
          StorageType: 'gp3',
          StorageEncrypted: true,
          KmsKeyId: Match.anyValue(),
          PubliclyAccessible: false,
          EnableIAMDatabaseAuthentication: true,
          DeletionProtection: true,
          BackupRetentionPeriod: 14,
          Port: 5433,
          MonitoringInterval: 60,
          PerformanceInsightsEnabled: true,
        },
      });
    make().template().resourceCountIs('AWS::RDS::DBInstance', 0);
  });

  test('HA-8: its group is of the family of RDS, with a share of the volume for slots', () =>
    make({ allocatedStorage: Size.gibibytes(400) })
      .template()
      .hasResourceProperties('AWS::RDS::DBClusterParameterGroup', {
        Family: 'postgres17',
        Parameters: Match.objectLike({ max_slot_wal_keep_size: String(100 * 1024), 'rds.force_ssl': '1' }),
      }));

  test('HA-13: its readers have an endpoint, which secrets name as well', () => {
    const { server, stack, template } = make();
    server.addDatabase('app').addLoginRole('api');
    const host = stack.resolve(server.readerHost);
    expect(host).toEqual({ 'Fn::GetAtt': [expect.any(String), 'ReadEndpoint.Address'] });
    expect(stack.resolve(server.readerEndpoint.host)).toEqual(host);
    template().hasResourceProperties('Custom::CdkPostgresState', {
      Server: Match.objectLike({ ReaderHost: host, Platform: 'rds' }),
    });
  });

  test('LIB-12: stands behind the deploy guard, with its class', () => {
    const { template } = make();
    const [guard] = Object.values(template().findResources('Custom::CdkPostgresDeployGuard'));
    expect(guard!.Properties.Servers).toEqual([
      expect.objectContaining({
        Identifier: 'orders',
        Type: 'AWS::RDS::DBCluster',
        Class: 'db.r6gd.large',
        ParameterFamily: 'postgres17',
        CreateOnly: expect.objectContaining({ Engine: 'postgres', StorageEncrypted: true }),
      }),
    ]);
  });

  test('OPS-4: each node has an alarm on its storage, which does not grow, and on its lag', () => {
    const { template } = make();
    const count = (MetricName: string) =>
      Object.keys(template().findResources('AWS::CloudWatch::Alarm', { Properties: { MetricName } })).length;
    expect([count('FreeStorageSpace'), count('ReplicaLag')]).toEqual([3, 3]);
  });

  describe('its monitoring', () => {
    const GIB = 1024 ** 3;
    const alarms = (props: Partial<MultiAzPostgresProps> = {}) => {
      const { server, template } = make(props);
      server.addMonitoring();
      return Object.values(template().findResources('AWS::CloudWatch::Alarm')).map(({ Properties }) => Properties);
    };
    const nodes = ['orders-instance-1', 'orders-instance-2', 'orders-instance-3'];

    test.each<[string, object]>([
      ['CPUUtilization', { Threshold: 90, Statistic: 'Maximum' }],
      ['FreeableMemory', { Threshold: Math.floor((16 * GIB) / 20), ComparisonOperator: 'LessThanThreshold' }],
      ['DatabaseConnections', { Threshold: Math.floor(Math.floor((16 * GIB * 0.95) / 9531392) * 0.8) }],
      ['FreeStorageSpace', { Threshold: 20 * GIB, ComparisonOperator: 'LessThanThreshold' }],
      ['DiskQueueDepth', { Threshold: 60 }],
      ['ReadLatency', { Threshold: 0.02 }],
      ['WriteLatency', { Threshold: 0.02 }],
      ['TransactionLogsDiskUsage', { Threshold: 30 * GIB }],
      ['ReplicaLag', { Threshold: 35 }],
    ])('OPS-4, CP-18, OPS-9: %s of each node, since each may be the writer', (metric, properties) => {
      const found = alarms().filter(({ MetricName }) => MetricName === metric);
      expect(found.map(({ Dimensions }) => Dimensions)).toEqual(
        nodes.map((Value) => [{ Name: 'DBInstanceIdentifier', Value }]),
      );
      for (const alarm of found) expect(alarm).toMatchObject(properties);
      if (metric !== 'FreeStorageSpace')
        expect(found.map(({ AlarmDescription }) => /[Nn]ode (\d)/.exec(AlarmDescription)?.[1])).toEqual([
          '1',
          '2',
          '3',
        ]);
    });

    test.each(['MaximumUsedTransactionIDs', 'OldestReplicationSlotLag'])(
      'OPS-4: %s is of the data, and one alarm over the nodes',
      (metric) => {
        const found = alarms().filter(({ Metrics }) => JSON.stringify(Metrics ?? '').includes(metric));
        expect(found).toHaveLength(1);
        expect(found[0].Metrics).toEqual([
          expect.objectContaining({ Expression: 'MAX([node1, node2, node3])', ReturnData: true }),
          ...nodes.map((Value, index) =>
            expect.objectContaining({
              Id: `node${index + 1}`,
              ReturnData: false,
              MetricStat: expect.objectContaining({
                Metric: expect.objectContaining({
                  MetricName: metric,
                  Dimensions: [{ Name: 'DBInstanceIdentifier', Value }],
                }),
              }),
            }),
          ),
        ]);
      },
    );

    test('CP-18: where max_connections is a formula of your own, the probe measures the share', () => {
      const names = (props: Partial<MultiAzPostgresProps>) => alarms(props).map(({ MetricName }) => MetricName);
      const formula = names({ parameters: { max_connections: '{DBInstanceClassMemory/12582880}' } });
      expect(formula).toContain('ConnectionsUsedPercent');
      expect(formula).not.toContain('DatabaseConnections');
      expect(names({})).not.toContain('ConnectionsUsedPercent');
    });
  });

  test('HA-20: the events of its monitoring are those of the cluster alone', () => {
    const { server, template } = make();
    server.addMonitoring();
    const found = Object.values(template().findResources('AWS::RDS::EventSubscription'));
    expect(found.map(({ Properties }) => Properties.SourceType)).toEqual(['db-cluster']);
  });

  test('the secret of the master is attached to it', () =>
    make()
      .template()
      .hasResourceProperties('AWS::SecretsManager::SecretTargetAttachment', { TargetType: 'AWS::RDS::DBCluster' }));

  test.each<[string, Partial<MultiAzPostgresProps>, RegExp]>([
    [
      'a class without disks of its own',
      { instanceType: ec2.InstanceType.of(ec2.InstanceClass.R7G, ec2.InstanceSize.LARGE) },
      /instanceType is r7g.large; a Multi-AZ DB cluster takes classes with disks of their own/,
    ],
    ['gp2', { storageType: rds.StorageType.GP2 }, /storageType is gp2; a Multi-AZ DB cluster takes GP3, IO1 and IO2/],
    ['io1 without iops', { storageType: rds.StorageType.IO1 }, /storageType io1 needs iops/],
    [
      'too little storage',
      { allocatedStorage: Size.gibibytes(19) },
      /allocatedStorage is 19 GiB; RDS takes whole GiB from 20 to 65536/,
    ],
    [
      'too little storage for io1',
      { allocatedStorage: Size.gibibytes(50), storageType: rds.StorageType.IO1, iops: 1000 },
      /allocatedStorage is 50 GiB; RDS takes whole GiB from 100 to 65536/,
    ],
    [
      'copies of its snapshots',
      { backupCopies: [] } as Partial<MultiAzPostgresProps>,
      /Postgres: backupCopies is set, and AWS Backup does not copy snapshots of a Multi-AZ DB cluster/,
    ],
  ])('%s is an error', (_what, props, message) => expect(() => make(props)).toThrow(message));

  test('two zones are an error', () =>
    expect(() => make({}, 2)).toThrow(/its subnets are in 2 zones, and a Multi-AZ DB cluster stands in three/));

  test('no error in the five packs', () => {
    const { app, server } = make();
    server.addDatabase('app').addLoginRole('api');
    expect(errorsOfFivePacks(app)).toEqual([]);
  });

  test('the packs see the cluster', () => {
    const { app, server } = make();
    server.cluster.storageEncrypted = false;
    expect(errorsOfFivePacks(app).join('\n')).toMatch(/AwsSolutions-RDS2/);
  });

  test('BK-13: its daily snapshots are locked as asked, and kept as long as the history', () => {
    const { template } = make({
      objectives: { ...OBJECTIVES, history: Duration.days(90) },
      backupVaultLock: VaultLock.governance({ minRetention: Duration.days(60) }),
    });
    template().hasResourceProperties('AWS::Backup::BackupVault', {
      LockConfiguration: Match.objectLike({ MinRetentionDays: 60 }),
    });
    template().hasResourceProperties('AWS::Backup::BackupPlan', {
      BackupPlan: { BackupPlanRule: [Match.objectLike({ Lifecycle: { DeleteAfterDays: 90 } })] },
    });
  });

  test('its stack is protected', () => expect(Stack.of(make().server).terminationProtection).toBe(true));
});
