import {
  App,
  Duration,
  Size,
  Stack,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_rds as rds,
  aws_secretsmanager as secretsmanager,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import {
  AuroraPostgres,
  AuroraPostgresProps,
  ExternalPostgres,
  IServerMonitoring,
  MonitoringOptions,
  PostgresProfile,
  PostgresVersion,
  RdsPostgres,
  RdsPostgresProps,
} from '../../../lib';
import { METRIC_NAMESPACE, PROBE_METRICS } from '../../../lib/contract';
import { declaredState } from '../../database/declared-server';
import { cleanStack, OBJECTIVES, quiet } from '../support';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
}));

quiet();

const GIB = 1024 ** 3;

interface Made {
  readonly stack: Stack;
  readonly server: RdsPostgres | AuroraPostgres;
  readonly monitoring: IServerMonitoring;
  readonly template: Template;
}

function rdsServer(props: Partial<RdsPostgresProps> = {}, options?: MonitoringOptions): Made {
  const { stack, vpc } = cleanStack();
  const common = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES };
  const server = new RdsPostgres(stack, 'Postgres', { ...common, ...props });
  const monitoring = server.addMonitoring(options);
  return { stack, server, monitoring, template: Template.fromStack(stack) };
}

function auroraServer(props: Partial<AuroraPostgresProps> = {}, options?: MonitoringOptions): Made {
  const { stack, vpc } = cleanStack();
  const common = { vpc, version: PostgresVersion.V17, objectives: OBJECTIVES };
  const server = new AuroraPostgres(stack, 'Postgres', { ...common, ...props });
  const monitoring = server.addMonitoring(options);
  return { stack, server, monitoring, template: Template.fromStack(stack) };
}

const alarmsOf = (template: Template) => Object.values(template.findResources('AWS::CloudWatch::Alarm'));
const alarmOf = (template: Template, metric: string) => {
  const found = alarmsOf(template).filter(({ Properties }) => Properties.MetricName === metric);
  expect(found).toHaveLength(1);
  return found[0].Properties;
};
const metricsOf = (template: Template, namespace: string) =>
  alarmsOf(template)
    .filter(({ Properties }) => Properties.Namespace === namespace)
    .map(({ Properties }) => Properties.MetricName as string)
    .sort();

describe('alarms of CloudWatch', () => {
  test('OPS-4: an instance has the baseline, each metric once, the storage alarm that it had among them', () => {
    const { template, monitoring } = rdsServer();
    expect(metricsOf(template, 'AWS/RDS')).toEqual([
      'CPUUtilization',
      'DatabaseConnections',
      'DiskQueueDepth',
      'FreeStorageSpace',
      'FreeableMemory',
      'MaximumUsedTransactionIDs',
      'OldestReplicationSlotLag',
      'ReadLatency',
      'TransactionLogsDiskUsage',
      'WriteLatency',
    ]);
    expect(monitoring.alarms).toHaveLength(alarmsOf(template).length);
    for (const { Properties } of alarmsOf(template).filter(({ Properties }) => Properties.Namespace === 'AWS/RDS')) {
      expect(Properties.Dimensions).toEqual([{ Name: 'DBInstanceIdentifier', Value: { Ref: expect.any(String) } }]);
    }
  });

  test('OPS-4: a cluster has its own, over its nodes, and no alarm more with more readers', () => {
    const { template } = auroraServer({ readers: 1 });
    expect(metricsOf(template, 'AWS/RDS')).toEqual([
      'AuroraReplicaLagMaximum',
      'CPUUtilization',
      'DatabaseConnections',
      'FreeLocalStorage',
      'FreeLocalStorage',
      'FreeableMemory',
      'MaximumUsedTransactionIDs',
      'VolumeBytesUsed',
    ]);
    expect(alarmOf(template, 'CPUUtilization')).toMatchObject({
      Statistic: 'Maximum',
      Dimensions: [{ Name: 'DBClusterIdentifier', Value: { Ref: expect.any(String) } }],
    });
    expect(metricsOf(auroraServer({ readers: 3 }).template, 'AWS/RDS').filter((m) => m !== 'FreeLocalStorage')).toEqual(
      metricsOf(template, 'AWS/RDS').filter((m) => m !== 'FreeLocalStorage'),
    );
  });

  test('HA-13: a cluster without readers has no lag, and serverless nodes have capacity in place of memory', () => {
    const acknowledged = { profile: PostgresProfile.development() };
    expect(metricsOf(auroraServer({ ...acknowledged, readers: 0 }).template, 'AWS/RDS')).not.toContain(
      'AuroraReplicaLagMaximum',
    );
    const { template } = auroraServer({ serverlessV2: { minCapacity: 2, maxCapacity: 16 } });
    expect(metricsOf(template, 'AWS/RDS')).toEqual([
      'ACUUtilization',
      'AuroraReplicaLagMaximum',
      'CPUUtilization',
      'DatabaseConnections',
      'MaximumUsedTransactionIDs',
      'VolumeBytesUsed',
    ]);
    expect(alarmOf(template, 'ACUUtilization')).toMatchObject({ Threshold: 90, Statistic: 'Maximum' });
  });

  test.each<[string, ec2.InstanceClass, ec2.InstanceSize, number]>([
    ['r7g.large', ec2.InstanceClass.R7G, ec2.InstanceSize.LARGE, 16],
    ['m7g.4xlarge', ec2.InstanceClass.M7G, ec2.InstanceSize.XLARGE4, 64],
    ['x2g.xlarge', ec2.InstanceClass.X2G, ec2.InstanceSize.XLARGE, 64],
    ['t4g.medium', ec2.InstanceClass.T4G, ec2.InstanceSize.MEDIUM, 4],
  ])('OPS-4, CP-18: memory and connections of %s', (_name, family, size, gib) => {
    const { template } = rdsServer({
      instanceType: ec2.InstanceType.of(family, size),
      profile: PostgresProfile.development(),
    });
    expect(alarmOf(template, 'FreeableMemory')).toMatchObject({
      Threshold: Math.floor((gib * GIB) / 20),
      ComparisonOperator: 'LessThanThreshold',
      Statistic: 'Minimum',
    });
    const connections = Math.min(5000, Math.floor((gib * GIB * 0.95) / 9531392));
    expect(alarmOf(template, 'DatabaseConnections').Threshold).toBe(Math.floor(connections * 0.8));
  });

  test('CP-18: max_connections as it is set, of a cluster on the level of its instances', () => {
    const parameters = { max_connections: '300' };
    expect(alarmOf(rdsServer({ parameters }).template, 'DatabaseConnections').Threshold).toBe(240);
    expect(
      alarmOf(auroraServer({ instanceParameters: { max_connections: '200' } }).template, 'DatabaseConnections')
        .Threshold,
    ).toBe(160);
  });

  test('CP-18: a serverless cluster that may be very small has no more than 2,000', () => {
    const of = (minCapacity: number) =>
      alarmOf(auroraServer({ serverlessV2: { minCapacity, maxCapacity: 32 } }).template, 'DatabaseConnections')
        .Threshold;
    expect(of(0.5)).toBe(1600);
    expect(of(1)).toBe(4000);
  });

  test('CP-18: where the formula or the class is not known, the probe measures the share', () => {
    const formula = rdsServer({ parameters: { max_connections: '{DBInstanceClassMemory/12582880}' } }).template;
    expect(metricsOf(formula, 'AWS/RDS')).not.toContain('DatabaseConnections');
    expect(alarmOf(formula, 'ConnectionsUsedPercent')).toMatchObject({ Threshold: 80 });
    const strange = rdsServer({ instanceType: new ec2.InstanceType('q9z.strange') }).template;
    expect(metricsOf(strange, 'AWS/RDS')).not.toContain('FreeableMemory');
    expect(metricsOf(strange, METRIC_NAMESPACE)).toContain('ConnectionsUsedPercent');
    expect(metricsOf(rdsServer().template, METRIC_NAMESPACE)).not.toContain('ConnectionsUsedPercent');
  });

  test('OPS-9, HA-8: what is on the volume follows its size, its operations and the cap of slots', () => {
    const { template } = rdsServer({ allocatedStorage: Size.gibibytes(1000) });
    expect(alarmOf(template, 'DiskQueueDepth').Threshold).toBe(240);
    expect(alarmOf(template, 'TransactionLogsDiskUsage').Threshold).toBe(300 * GIB);
    // A slot may hold a quarter of the volume, and half of that is told.
    expect(alarmOf(template, 'OldestReplicationSlotLag').Threshold).toBe(125 * GIB);
    expect(alarmOf(template, 'SlotRetainedBytes').Threshold).toBe(125 * GIB);
    expect(
      alarmOf(rdsServer({ iops: 20_000, storageType: rds.StorageType.IO2 }).template, 'DiskQueueDepth').Threshold,
    ).toBe(400);
    expect(
      alarmOf(rdsServer({ parameters: { max_slot_wal_keep_size: '2048' } }).template, 'SlotRetainedBytes').Threshold,
    ).toBe(GIB);
    expect(alarmOf(auroraServer().template, 'SlotRetainedBytes').Threshold).toBe(50 * GIB);
  });

  test('OPS-4, OPS-12: burst credits, of gp2 and of burstable classes alone', () => {
    const bursts = (template: Template) => metricsOf(template, 'AWS/RDS').filter((m) => /Balance/.test(m));
    expect(bursts(rdsServer().template)).toEqual([]);
    expect(bursts(rdsServer({ storageType: rds.StorageType.GP2 }).template)).toEqual(['BurstBalance']);
    expect(bursts(rdsServer({ profile: PostgresProfile.development() }).template)).toEqual(['CPUCreditBalance']);
    expect(bursts(auroraServer({ profile: PostgresProfile.development() }).template)).toEqual(['CPUCreditBalance']);
  });

  test('every alarm says what it means, and tells the topic both ways', () => {
    for (const { template } of [rdsServer(), auroraServer()]) {
      for (const { Properties } of alarmsOf(template)) {
        expect(Properties.AlarmDescription.length).toBeGreaterThan(40);
        expect(Properties.AlarmActions).toEqual([{ Ref: expect.stringMatching(/^PostgresAlarmTopic/) }]);
        expect(Properties.OKActions).toEqual(Properties.AlarmActions);
        expect(Properties.Period * Properties.EvaluationPeriods).toBeLessThanOrEqual(86_400);
      }
    }
  });
});

describe('alarms of the probe', () => {
  test.each<[string, string, object]>([
    ['OPS-7', 'TransactionIdAge', { Threshold: 500_000_000, EvaluationPeriods: 3 }],
    ['OPS-7', 'MultixactAge', { Threshold: 800_000_000 }],
    ['OPS-7', 'OldestTransactionSeconds', { Threshold: 3600, EvaluationPeriods: 2 }],
    ['CP-16', 'OldestIdleInTransactionSeconds', { Threshold: 600 }],
    ['OPS-7', 'OldestPreparedTransactionSeconds', { Threshold: 3600 }],
    ['OPS-7', 'TablesVacuumOverdue', { Threshold: 0, Statistic: 'Minimum', Period: 3600, EvaluationPeriods: 6 }],
    ['CP-18', 'LongestBlockedSeconds', { Threshold: 60, EvaluationPeriods: 2 }],
    ['HA-20', 'SlotsAtRisk', { Threshold: 0, EvaluationPeriods: 1 }],
    ['HA-20', 'ReplicaLagBytes', { Threshold: GIB }],
    ['LR-17', 'InactiveSlots', { Threshold: 0, Statistic: 'Minimum', Period: 3600, EvaluationPeriods: 24 }],
    ['LR-18', 'SubscriptionConflicts', { Threshold: 0, Statistic: 'Sum', EvaluationPeriods: 1 }],
    ['LR-18', 'SubscriptionErrors', { Threshold: 0, Statistic: 'Sum' }],
    ['OPS-4', 'ChecksumFailures', { Threshold: 0, EvaluationPeriods: 1 }],
    ['LIB-2', 'PendingRestart', { Threshold: 0, EvaluationPeriods: 24 }],
    ['DDL-10', 'InvalidIndexes', { Threshold: 0, Period: 3600, Statistic: 'Minimum' }],
    ['OPS-7', 'SequencesNearEnd', { Threshold: 0 }],
  ])('%s: %s', (_requirement, metric, properties) => {
    expect(alarmOf(rdsServer().template, metric)).toMatchObject({
      Namespace: METRIC_NAMESPACE,
      ComparisonOperator: 'GreaterThanThreshold',
      TreatMissingData: 'ignore',
      Dimensions: [{ Name: 'Server', Value: { 'Fn::GetAtt': [expect.any(String), 'DbiResourceId'] } }],
      ...properties,
    });
  });

  test('OPS-4: a probe that cannot connect and one that does not run are the same alarm', () => {
    expect(alarmOf(rdsServer().template, 'ProbeFailed')).toMatchObject({
      Threshold: 0,
      Statistic: 'Maximum',
      Period: 300,
      EvaluationPeriods: 3,
      TreatMissingData: 'breaching',
    });
  });

  test('HA-7: cancelled queries are watched where there is a reader, and the lag in bytes where there is none of Aurora', () => {
    expect(metricsOf(rdsServer().template, METRIC_NAMESPACE)).not.toContain('CancelledByReplay');
    const aurora = metricsOf(auroraServer().template, METRIC_NAMESPACE);
    expect(aurora).toContain('CancelledByReplay');
    expect(aurora).not.toContain('ReplicaLagBytes');
  });

  test('HA-19: slots that are to survive a failover are watched where they are declared, before or after, and never on Aurora', () => {
    const made = (failover: boolean, order: 'before' | 'after', server: typeof RdsPostgres | typeof AuroraPostgres) => {
      const { stack, vpc } = cleanStack();
      const postgres = new server(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
      if (order === 'after') postgres.addMonitoring();
      const app = postgres.addDatabase('app');
      const consumer = app.addLoginRole('cdc', { replication: true });
      for (const name of ['one', 'two']) app.addSlot(name, { consumer, failover });
      if (order === 'before') postgres.addMonitoring();
      const alarms = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'));
      return alarms.map(({ Properties }) => Properties).filter((one) => one.MetricName === 'FailoverSlotsNotSynced');
    };
    for (const order of ['before', 'after'] as const)
      expect(made(true, order, RdsPostgres)).toMatchObject([
        { Threshold: 0, EvaluationPeriods: 3, ComparisonOperator: 'GreaterThanThreshold' },
      ]);
    expect(made(false, 'after', RdsPostgres)).toEqual([]);
    expect(made(true, 'after', AuroraPostgres)).toEqual([]);
  });

  test('every alarm is of a metric that the probe writes', () => {
    for (const { template } of [rdsServer(), auroraServer()])
      for (const metric of metricsOf(template, METRIC_NAMESPACE)) expect(PROBE_METRICS).toContain(metric);
  });

  test('a metric of the probe by its name, and no other', () => {
    const { monitoring, stack } = rdsServer();
    expect(stack.resolve(monitoring.metric('BlockedSessions'))).toMatchObject({
      namespace: METRIC_NAMESPACE,
      metricName: 'BlockedSessions',
      statistic: 'Maximum',
    });
    expect(() => monitoring.metric('Blocked')).toThrow(
      /metric\('Blocked'\) names no metric of the probe; there are ProbeFailed/,
    );
  });
});

describe('the probe', () => {
  const probeOf = (template: Template) =>
    Object.entries(template.findResources('AWS::Lambda::Function')).find(([id]) => /MonitoringProbeFunction/.test(id))!;

  test('SEC-26: logs in as a member of pg_monitor that reads only, and is let into every database whenever it is declared', () => {
    const { stack, vpc } = cleanStack();
    const server = new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
    server.addDatabase('before').addSchema('billing');
    server.addMonitoring();
    server.addDatabase('after');
    const state = declaredState(stack);
    expect(state.roles).toContainEqual(
      expect.objectContaining({
        name: 'cdk_postgres_probe',
        login: true,
        authentication: 'password',
        createRole: false,
        createDatabase: false,
      }),
    );
    expect(state.memberships.filter(({ member }) => member === 'cdk_postgres_probe')).toEqual([
      { role: 'pg_monitor', member: 'cdk_postgres_probe', inherit: true, set: false, admin: false },
    ]);
    expect(
      state.settings
        .filter(({ role }) => role === 'cdk_postgres_probe')
        .map(({ name, values }) => `${name} ${values}`)
        .sort(),
    ).toEqual([
      'default_transaction_read_only on',
      'idle_in_transaction_session_timeout 10s',
      'lock_timeout 1s',
      'statement_timeout 10s',
    ]);
    const grants = state.databases.map(({ name, grants, defaultPrivileges }) => [
      name,
      grants
        .filter(({ to }) => to === 'cdk_postgres_probe')
        .map(({ privileges, on }) => `${privileges} ${on.kind}`)
        .sort(),
      defaultPrivileges
        .filter(({ to }) => to === 'cdk_postgres_probe')
        .map(({ privileges, objects }) => `${privileges} ${objects}`),
    ]);
    expect(grants).toEqual([
      ['after', ['CONNECT database'], []],
      ['before', ['CONNECT database', 'SELECT allSequences', 'USAGE schema'], ['SELECT sequences']],
    ]);
  });

  test('SEC-26: without sequences the role has CONNECT and pg_monitor alone, under the name that it is given', () => {
    const { stack, vpc } = cleanStack();
    const server = new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
    server.addMonitoring({ sequences: false, roleName: 'eyes' });
    server.addDatabase('app').addSchema('billing');
    const [app] = declaredState(stack).databases;
    expect(app.grants.filter(({ to }) => to === 'eyes')).toEqual([
      { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'eyes' },
    ]);
  });

  test('LIB-7: looks every five minutes, after the role is there, and a missed look is not made up for', () => {
    const { template } = rdsServer();
    template.hasResource('AWS::Events::Rule', {
      Properties: {
        ScheduleExpression: 'rate(5 minutes)',
        State: 'ENABLED',
        Targets: [
          Match.objectLike({
            Arn: { 'Fn::GetAtt': [probeOf(template)[0], 'Arn'] },
            RetryPolicy: { MaximumEventAgeInSeconds: 60, MaximumRetryAttempts: 0 },
          }),
        ],
      },
      DependsOn: Match.arrayWith([Match.stringLikeRegexp('^PostgresState[0-9A-F]{8}$')]),
    });
    const { Properties } = probeOf(template)[1];
    expect(Properties.ReservedConcurrentExecutions).toBe(1);
    expect(Properties.VpcConfig.SubnetIds.length).toBeGreaterThan(0);
    expect(Properties.Environment.Variables).toMatchObject({
      CDK_POSTGRES_PROBE_SECRET: { Ref: expect.stringMatching(/^PostgresMonitoringProbeSecret/) },
      CDK_POSTGRES_PROBE_DATABASES: '50',
    });
  });

  test('SEC-26: may read its own secret and no other, write none, and call no other service', () => {
    const { template } = rdsServer();
    const policies = Object.entries(template.findResources('AWS::IAM::ManagedPolicy')).filter(([id]) =>
      /MonitoringProbe/.test(id),
    );
    expect(policies.map(([id]) => id.replace(/[0-9A-F]{8}$/, '')).sort()).toEqual([
      'PostgresMonitoringProbeFunctionNetworkPolicy',
      'PostgresMonitoringProbeFunctionPolicy',
    ]);
    const [, policy] = policies.find(([id]) => /FunctionPolicy/.test(id))!;
    const statements = policy.Properties.PolicyDocument.Statement as { Action: string | string[]; Resource: unknown }[];
    expect(statements.flatMap(({ Action }) => Action).sort()).toEqual([
      'kms:Decrypt',
      'kms:GenerateDataKey',
      'logs:CreateLogStream',
      'logs:PutLogEvents',
      'secretsmanager:GetSecretValue',
      'sqs:SendMessage',
    ]);
    expect(statements.find(({ Action }) => Action === 'secretsmanager:GetSecretValue')!.Resource).toEqual({
      Ref: expect.stringMatching(/^PostgresMonitoringProbeSecret/),
    });
    expect(JSON.stringify(statements)).not.toContain('"*"');
    const secrets = JSON.stringify(template.findResources('AWS::SecretsManager::ResourcePolicy'));
    expect(secrets).not.toContain('ProbeFunctionRole');
    template.hasResourceProperties('AWS::SecretsManager::RotationSchedule', {
      SecretId: { Ref: Match.stringLikeRegexp('^PostgresMonitoringProbeSecret') },
    });
  });

  test('the interval is that of its metrics', () => {
    const { template } = rdsServer({}, { every: Duration.minutes(1) });
    template.hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(1 minute)' });
    expect(alarmOf(template, 'ProbeFailed').Period).toBe(60);
    expect(alarmOf(template, 'InvalidIndexes').Period).toBe(3600);
  });

  test.each<[MonitoringOptions, RegExp]>([
    [{ every: Duration.seconds(90) }, /Postgres: every is 1 minute 30 seconds; expected 1 to 60 whole minutes/],
    [{ every: Duration.hours(2) }, /every is 2 hours; expected 1 to 60/],
    [{ mostDatabases: 0 }, /mostDatabases must be a whole number from 1 to 500, not 0/],
    [{ roleName: '' }, /roleName/],
  ])('%j is refused', (options, message) => {
    expect(() => rdsServer({}, options)).toThrow(message);
  });

  test('without it there is what CloudWatch knows, and nothing is declared inside', () => {
    const { template } = rdsServer({}, { probe: false });
    expect(metricsOf(template, METRIC_NAMESPACE)).toEqual([]);
    expect(metricsOf(template, 'AWS/RDS')).toContain('CPUUtilization');
    template.resourceCountIs('Custom::CdkPostgresState', 0);
    template.resourcePropertiesCountIs('AWS::Events::Rule', { ScheduleExpression: Match.anyValue() }, 0);
  });

  test('OPS-12: on a server that pauses, the schedule keeps it awake, and says so', () => {
    const pausing = (minCapacity: number, options?: MonitoringOptions) =>
      auroraServer({ serverlessV2: { minCapacity, maxCapacity: 4 }, profile: PostgresProfile.development() }, options)
        .stack;
    const said = Match.stringLikeRegexp(
      'pauses when it is idle, and the probe of addMonitoring\\(\\) connects to it every 5 minutes',
    );
    Annotations.fromStack(pausing(0)).hasWarning('/Test/Postgres', said);
    Annotations.fromStack(pausing(0.5)).hasNoWarning('/Test/Postgres', said);
    Annotations.fromStack(pausing(0, { probe: false })).hasNoWarning('/Test/Postgres', said);
  });
});

describe('events of RDS', () => {
  test('HA-20: of the instance, without the backup of each night', () => {
    const { template } = rdsServer();
    template.resourceCountIs('AWS::RDS::EventSubscription', 1);
    template.hasResourceProperties('AWS::RDS::EventSubscription', {
      SnsTopicArn: { Ref: Match.stringLikeRegexp('^PostgresAlarmTopic') },
      SourceType: 'db-instance',
      SourceIds: [{ Ref: Match.stringLikeRegexp('^Postgres[0-9A-F]+$') }],
      EventCategories: Match.arrayWith([
        'availability',
        'configuration change',
        'failover',
        'failure',
        'low storage',
        'maintenance',
      ]),
    });
    expect(JSON.stringify(template.findResources('AWS::RDS::EventSubscription'))).not.toContain('backup');
  });

  test('HA-20: of the cluster and each of its nodes; one that pauses does not tell of each pause', () => {
    const { template } = auroraServer({ readers: 2 });
    const [cluster, nodes] = ['db-cluster', 'db-instance'].map(
      (type) =>
        Object.values(template.findResources('AWS::RDS::EventSubscription')).find(
          ({ Properties }) => Properties.SourceType === type,
        )!.Properties,
    );
    expect(cluster.SourceIds).toHaveLength(1);
    expect(cluster.EventCategories).toEqual(
      expect.arrayContaining(['failover', 'failure', 'maintenance', 'notification']),
    );
    expect(nodes.SourceIds).toHaveLength(3);
    const pausing = auroraServer(
      { serverlessV2: { minCapacity: 0, maxCapacity: 4 }, profile: PostgresProfile.development() },
      { probe: false },
    );
    expect(JSON.stringify(pausing.template.findResources('AWS::RDS::EventSubscription'))).not.toContain('notification');
  });

  test('HA-20, SEC-22: RDS and alarms may publish to the topic and use its key, before the subscription is made', () => {
    const { template } = rdsServer();
    const [[policyId, policy]] = Object.entries(template.findResources('AWS::SNS::TopicPolicy'));
    for (const service of ['cloudwatch.amazonaws.com', 'events.rds.amazonaws.com'])
      expect(policy.Properties.PolicyDocument.Statement).toContainEqual(
        expect.objectContaining({
          Action: 'sns:Publish',
          Effect: 'Allow',
          Principal: { Service: service },
          Condition: { StringEquals: { 'aws:SourceAccount': '123456789012' } },
        }),
      );
    const [key] = Object.values(template.findResources('AWS::KMS::Key')).filter(({ Properties }) =>
      /Postgres/.test(Properties.Description ?? ''),
    );
    expect(key.Properties.KeyPolicy.Statement).toContainEqual(
      expect.objectContaining({
        Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
        Principal: { Service: 'events.rds.amazonaws.com' },
      }),
    );
    const [subscription] = Object.values(template.findResources('AWS::RDS::EventSubscription'));
    expect(subscription.DependsOn).toContain(policyId);
  });

  test("HA-20: so may they to a topic of the app's own with its own key, and the alarms on storage tell it too", () => {
    const { stack, vpc } = cleanStack();
    const masterKey = new kms.Key(stack, 'TopicKey', { description: 'of the topic' });
    const topic = new sns.Topic(stack, 'OnCall', { masterKey });
    const server = new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
    server.addMonitoring({ alarmTopic: topic });
    const template = Template.fromStack(stack);
    const [key] = Object.values(template.findResources('AWS::KMS::Key')).filter(
      ({ Properties }) => Properties.Description === 'of the topic',
    );
    const services = (statements: { Principal: { Service?: string } }[]) =>
      statements.flatMap(({ Principal }) => Principal.Service ?? []).sort();
    expect(services(key.Properties.KeyPolicy.Statement)).toEqual([
      'cloudwatch.amazonaws.com',
      'events.rds.amazonaws.com',
    ]);
    const [policy] = Object.entries(template.findResources('AWS::SNS::TopicPolicy')).filter(([id]) =>
      /^OnCall/.test(id),
    );
    expect(services(policy[1].Properties.PolicyDocument.Statement)).toEqual([
      'cloudwatch.amazonaws.com',
      'events.rds.amazonaws.com',
    ]);
    const onCall = { Ref: expect.stringMatching(/^OnCall/) };
    expect(alarmOf(template, 'CPUUtilization').AlarmActions).toEqual([onCall]);
    expect(alarmOf(template, 'FreeStorageSpace').AlarmActions).toEqual([
      { Ref: expect.stringMatching(/^PostgresAlarmTopic/) },
      onCall,
    ]);
  });

  test('HA-20: of a topic of another app, whose policy this one cannot change, it says what that needs', () => {
    const { stack, vpc } = cleanStack();
    const topic = sns.Topic.fromTopicArn(stack, 'Theirs', 'arn:aws:sns:eu-central-1:123456789012:on-call');
    const server = new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
    server.addMonitoring({ alarmTopic: topic });
    Annotations.fromStack(stack).hasWarning(
      '/Test/Postgres/Monitoring',
      Match.stringLikeRegexp('must let events.rds.amazonaws.com publish'),
    );
  });
});

describe('the dashboard', () => {
  const bodyOf = (template: Template) => {
    const [dashboard] = Object.values(template.findResources('AWS::CloudWatch::Dashboard'));
    const parts = dashboard.Properties.DashboardBody['Fn::Join'][1] as unknown[];
    return parts.map((part) => (typeof part === 'string' ? part : 'reference')).join('');
  };
  const widgetsOf = (template: Template) =>
    JSON.parse(bodyOf(template)).widgets as { type: string; y: number; properties: any }[];

  test.each<[string, () => Made]>([
    ['an instance', rdsServer],
    ['a cluster', auroraServer],
  ])('OPS-1: of %s has the five questions as its rows, and every alarm once', (_kind, make) => {
    const { template } = make();
    const widgets = widgetsOf(template);
    const rows = widgets.filter(({ type }) => type === 'text');
    expect(rows.map(({ properties }) => /^## (.*)\n/.exec(properties.markdown)![1])).toEqual([
      'Do not break',
      'Do not stop',
      'Do not clog',
      'Protect',
      'Evolve',
    ]);
    expect([...rows].sort((a, b) => a.y - b.y)).toEqual(rows);
    const graphs = widgets.filter(({ type, properties }) => type === 'metric' && properties.annotations?.alarms);
    expect(graphs).toHaveLength(alarmsOf(template).length);
    const states = widgets.filter(({ type }) => type === 'alarm').flatMap(({ properties }) => properties.alarms);
    expect(states).toHaveLength(alarmsOf(template).length);
  });

  test('may be left out', () => {
    const { template, monitoring } = rdsServer({}, { dashboard: false });
    template.resourceCountIs('AWS::CloudWatch::Dashboard', 0);
    expect(monitoring.dashboard).toBeUndefined();
  });
});

describe('where AWS does not run the server', () => {
  const external = (options?: MonitoringOptions) => {
    const stack = new Stack(new App(), 'Test');
    const server = ExternalPostgres.fromEndpoint(stack, 'Elsewhere', {
      host: 'db.example.com',
      identity: 'project-1',
      adminSecret: secretsmanager.Secret.fromSecretNameV2(stack, 'Admin', 'admin'),
    });
    return { stack, server, monitoring: server.addMonitoring(options) };
  };

  test('OPS-4: there is the probe with its alarms, and no event and no metric of RDS', () => {
    const template = Template.fromStack(external().stack);
    expect(metricsOf(template, 'AWS/RDS')).toEqual([]);
    template.resourceCountIs('AWS::RDS::EventSubscription', 0);
    expect(metricsOf(template, METRIC_NAMESPACE)).toEqual(
      expect.arrayContaining(['ConnectionsUsedPercent', 'Md5Verifiers', 'ProbeFailed', 'ReplicaLagBytes']),
    );
    expect(alarmOf(template, 'ProbeFailed').Dimensions).toEqual([{ Name: 'Server', Value: 'project-1' }]);
  });

  test('without the probe nothing would be left', () => {
    expect(() => external({ probe: false })).toThrow(/addMonitoring\(\{ probe: false \}\) has nothing to watch/);
  });

  test('its topic is that of the drift detection', () => {
    const { stack, server } = external();
    server.addDriftDetection();
    Template.fromStack(stack).resourceCountIs('AWS::SNS::Topic', 1);
  });
});

test('OPS-4: a server for development gets its storage alarm with its monitoring', () => {
  const { template } = rdsServer({ profile: PostgresProfile.development() });
  expect(alarmOf(template, 'FreeStorageSpace').AlarmActions).toEqual([
    { Ref: expect.stringMatching(/^PostgresAlarmTopic/) },
  ]);
});

test('OPS-4: the topic of a server lets alarms publish, without any monitoring too', () => {
  const { stack, vpc } = cleanStack();
  new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
  Template.fromStack(stack).hasResourceProperties('AWS::SNS::TopicPolicy', {
    PolicyDocument: {
      Statement: Match.arrayWith([
        Match.objectLike({
          Action: 'sns:Publish',
          Effect: 'Allow',
          Principal: { Service: 'cloudwatch.amazonaws.com' },
        }),
      ]),
    },
  });
});
