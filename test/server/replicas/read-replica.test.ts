import { App, Duration, Stack, aws_ec2 as ec2, aws_lambda as lambda, aws_rds as rds } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  Authentication,
  ConflictPolicy,
  PostgresProfile,
  PostgresVersion,
  RdsPostgres,
  RdsPostgresProps,
  ReadReplica,
  ReadReplicaOptions,
} from '../../../lib';
import { errorsOfFivePacks } from '../../compliance/five-packs';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

const R7G = (size: ec2.InstanceSize) => ec2.InstanceType.of(ec2.InstanceClass.R7G, size);

function make(options: Partial<ReadReplicaOptions> = {}, props: Partial<RdsPostgresProps> = {}) {
  const { app, stack, vpc } = cleanStack();
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    ...props,
  });
  const replica = server.addReadReplica('Reports', {
    purpose: 'reports',
    conflicts: ConflictPolicy.fresh(),
    ...options,
  });
  return { app, stack, vpc, server, replica, template: () => Template.fromStack(stack) };
}

/** What a synthesis says. */
function reported(app: App): string {
  const error = jest.spyOn(console, 'error').mockClear();
  const log = jest.spyOn(console, 'log').mockClear().mockImplementation();
  app.synth();
  return [...error.mock.calls, ...log.mock.calls].flat().join('\n');
}

/** The parameters of the replica and of its primary. */
function groups(template: Template): { primary: Record<string, string>; replica: Record<string, string> } {
  const found = Object.entries(template.findResources('AWS::RDS::DBParameterGroup'));
  const of = (isReplica: boolean) =>
    found.find(([id]) => id.startsWith('PostgresReports') === isReplica)![1].Properties.Parameters;
  return { primary: of(false), replica: of(true) };
}

describe('HA-7: the conflict policy', () => {
  test.each<[string, ConflictPolicy, Record<string, string>]>([
    ['fresh', ConflictPolicy.fresh(), { hot_standby_feedback: '0', max_standby_streaming_delay: '5000' }],
    [
      'fresh with a delay',
      ConflictPolicy.fresh({ replayDelay: Duration.seconds(1) }),
      { max_standby_streaming_delay: '1000', max_standby_archive_delay: '1000' },
    ],
    [
      'longQueries',
      ConflictPolicy.longQueries(),
      { hot_standby_feedback: '0', max_standby_streaming_delay: '1800000' },
    ],
    [
      'feedback, with a bound to what it holds back',
      ConflictPolicy.feedback({ longestStatement: Duration.minutes(10) }),
      {
        hot_standby_feedback: '1',
        max_standby_streaming_delay: '30000',
        statement_timeout: '600000',
        idle_in_transaction_session_timeout: '60000',
      },
    ],
  ])('%s sets the parameters of the replica, and none of the primary', (_name, conflicts, expected) => {
    const { primary, replica } = groups(make({ conflicts }).template());
    expect(replica).toMatchObject(expected);
    expect(primary.hot_standby_feedback).toBeUndefined();
    expect(primary.max_standby_streaming_delay).toBeUndefined();
  });

  test('is required', () =>
    expect(() => make({ conflicts: undefined as never })).toThrow(/Postgres\/Reports: conflicts is missing; choose/));

  test('is not contradicted by a parameter', () =>
    expect(() => make({ parameters: { hot_standby_feedback: '1' } })).toThrow(
      /hot_standby_feedback is decided by ConflictPolicy.fresh\(\)/,
    ));

  test('feedback watches on the primary whether vacuum gets on; the others do not', () => {
    const alarm = { MetricName: 'MaximumUsedTransactionIDs', Threshold: 300_000_000 };
    make({ conflicts: ConflictPolicy.feedback() }).template().hasResourceProperties('AWS::CloudWatch::Alarm', alarm);
    const none = make().template().findResources('AWS::CloudWatch::Alarm', { Properties: alarm });
    expect(none).toEqual({});
  });
});

describe('HA-12: what a standby needs at least as large as its primary', () => {
  const parameters = {
    max_connections: '800',
    max_worker_processes: '32',
    max_wal_senders: '40',
    max_prepared_transactions: '10',
    max_locks_per_transaction: '128',
  };

  test('is taken over from the primary', () =>
    expect(groups(make({}, { parameters }).template()).replica).toMatchObject(parameters));

  test.each(Object.entries(parameters))('a smaller %s is an error', (name, value) => {
    expect(() => make({ parameters: { [name]: String(Number(value) - 1) } }, { parameters })).toThrow(
      new RegExp(`Postgres/Reports: parameter ${name} = .* is less than the primary's ${value}`),
    );
    expect(() => make({ parameters: { [name]: String(Number(value) + 1) } }, { parameters })).not.toThrow();
  });

  test('a smaller class gets the connections of the primary as a number, since the formula would give it less', () => {
    const { replica } = groups(
      make({ instanceType: R7G(ec2.InstanceSize.LARGE) }, { instanceType: R7G(ec2.InstanceSize.XLARGE) }).template(),
    );
    expect(replica.max_connections).toBe(String(Math.ceil((32 * 1024 ** 3) / 9531392)));
  });

  test('a class of the same or more memory needs no number', () => {
    for (const size of [ec2.InstanceSize.LARGE, ec2.InstanceSize.XLARGE2]) {
      expect(groups(make({ instanceType: R7G(size) }).template()).replica.max_connections).toBeUndefined();
    }
  });

  test('of a class whose memory is not verified, a number is asked for', () => {
    const unknown = new ec2.InstanceType('q9.large');
    expect(() => make({ instanceType: unknown })).not.toThrow();
    expect(() => make({}, { instanceType: new ec2.InstanceType('q9.xlarge') })).not.toThrow();
    expect(() => make({ instanceType: unknown }, { instanceType: new ec2.InstanceType('q9.xlarge') })).toThrow(
      /write max_connections as a number in the parameters of the server/,
    );
  });
});

describe('HA-13: the contract on lag', () => {
  const threshold = (options: Partial<ReadReplicaOptions>) => {
    const { replica, stack, template } = make(options);
    const [alarm] = Object.values(
      template().findResources('AWS::CloudWatch::Alarm', { Properties: { MetricName: 'ReplicaLag' } }),
    );
    expect(alarm!.Properties.Dimensions).toEqual([
      { Name: 'DBInstanceIdentifier', Value: stack.resolve(replica.instance.instanceIdentifier) },
    ]);
    expect(alarm!.Properties).toMatchObject({ TreatMissingData: 'breaching' });
    expect(alarm!.Properties.AlarmDescription).toContain('reports');
    expect(alarm!.Properties.AlarmActions).toHaveLength(1);
    return alarm!.Properties.Threshold;
  };

  test('what replay may wait for, and the five minutes of an idle primary', () => {
    expect(threshold({})).toBe(305);
    expect(threshold({ conflicts: ConflictPolicy.longQueries({ replayDelay: Duration.minutes(10) }) })).toBe(900);
  });

  test('is what the app says', () => expect(threshold({ maxLag: Duration.seconds(30) })).toBe(30));

  test('a lag that the policy cannot keep is an error', () =>
    expect(() => make({ conflicts: ConflictPolicy.longQueries(), maxLag: Duration.minutes(1) })).toThrow(
      /maxLag is 1 minute, and ConflictPolicy.longQueries\(\) lets replay wait for 30 minutes/,
    ));

  test('BK-12: a replica besides few days of recovery is a warning', () => {
    const { app, server } = make({}, { pointInTimeRecovery: Duration.days(3) });
    server.acknowledge({ id: 'BK-3', reason: 'a test of the warning' });
    expect(reported(app)).toMatch(/the primary can go back 3 days/);
  });
});

describe('HA-19: slots that follow', () => {
  const options = { conflicts: ConflictPolicy.feedback(), slotSyncDatabase: 'app' };
  const parameters = { 'rds.logical_replication': '1' };

  test('the replica keeps the failover slots of one database up to date', () =>
    expect(groups(make(options, { parameters }).template()).replica).toMatchObject({
      sync_replication_slots: '1',
      'rds.logical_slot_sync_dbname': 'app',
      hot_standby_feedback: '1',
    }));

  test('HA-19: consumers that may be ahead of the replica are a warning, until the server makes them wait for its slot', () => {
    const ahead = /may be ahead of the replica, and have rows that it lacks when it is promoted/;
    expect(reported(make(options, { parameters }).app)).toMatch(ahead);
    const waiting = { ...parameters, synchronized_standby_slots: 'rds_eu_west_1_db_abc' };
    const { app, template } = make(options, { parameters: waiting });
    expect(reported(app)).not.toMatch(ahead);
    expect(groups(template()).primary.synchronized_standby_slots).toBe('rds_eu_west_1_db_abc');
    expect(reported(make({}, { parameters }).app)).not.toMatch(ahead);
  });

  test.each<[string, Partial<ReadReplicaOptions>, Partial<RdsPostgresProps>, RegExp]>([
    ['before 17', options, { parameters, version: PostgresVersion.V16 }, /from PostgreSQL 17 on/],
    [
      'without feedback',
      { ...options, conflicts: ConflictPolicy.fresh() },
      { parameters },
      /use ConflictPolicy.feedback\(\)/,
    ],
    ['without logical replication', options, {}, /the server has no logical replication/],
  ])('%s it is an error', (_what, replica, server, message) => expect(() => make(replica, server)).toThrow(message));
});

describe('the instance', () => {
  test('HA-13: replicates the primary, encrypted and private, from a group and behind a door of its own', () => {
    const { template, stack, server } = make();
    template().hasResourceProperties('AWS::RDS::DBInstance', {
      SourceDBInstanceIdentifier: stack.resolve(server.instance.instanceIdentifier),
      SourceRegion: Match.absent(),
      KmsKeyId: Match.absent(),
      StorageEncrypted: true,
      PubliclyAccessible: false,
      MultiAZ: false,
      DBInstanceClass: 'db.r7g.large',
      Port: '5433',
      EnableIAMDatabaseAuthentication: true,
      DeletionProtection: true,
      MaxAllocatedStorage: 500,
      MasterUsername: Match.absent(),
      MasterUserPassword: Match.absent(),
      DBParameterGroupName: { Ref: Match.stringLikeRegexp('PostgresReports') },
      VPCSecurityGroups: [{ 'Fn::GetAtt': [Match.stringLikeRegexp('PostgresReports'), 'GroupId'] }],
    });
  });

  test('LIB-6: its log group is there before RDS exports to it', () => {
    const { template, replica } = make({ identifier: 'reports-1' });
    template().hasResourceProperties('AWS::Logs::LogGroup', {
      LogGroupName: '/aws/rds/instance/reports-1/postgresql',
      KmsKeyId: Match.anyValue(),
    });
    expect(replica.maxLag.toSeconds()).toBe(305);
  });

  test('LIB-12: the deploy guard of the server stands before it as well, and may ask for it', () => {
    const { template } = make({ identifier: 'reports-1' });
    const found = template();
    const [guard] = Object.values(found.findResources('Custom::CdkPostgresDeployGuard'));
    const servers = guard!.Properties.Servers as { Path: string; CreateOnly: Record<string, unknown> }[];
    expect(servers.map(({ Path }) => Path)).toEqual(['Test/Postgres', 'Test/Postgres/Reports']);
    expect(servers[1]!.CreateOnly.SourceDBInstanceIdentifier).toMatch(/^test-postgres-/);
    const [replica] = Object.values(
      found.findResources('AWS::RDS::DBInstance', { Properties: { DBInstanceIdentifier: 'reports-1' } }),
    );
    expect(replica!.DependsOn).toEqual(
      expect.arrayContaining(Object.keys(found.findResources('Custom::CdkPostgresDeployGuard'))),
    );
    expect(JSON.stringify(found.findResources('AWS::IAM::ManagedPolicy'))).toContain(':db:reports-1');
  });

  test('the development profile has a replica without alarms and guard', () => {
    const { template } = make({}, { profile: PostgresProfile.development() });
    template().resourceCountIs('AWS::RDS::DBInstance', 2);
    template().resourceCountIs('AWS::CloudWatch::Alarm', 0);
    template().resourceCountIs('Custom::CdkPostgresDeployGuard', 0);
  });

  test('no error in the five packs', () => {
    const { app, server } = make();
    server.addDatabase('app').addLoginRole('report');
    expect(errorsOfFivePacks(app)).toEqual([]);
  });

  test('the packs see the replica: without encryption it is found', () => {
    const { app, replica } = make();
    (replica.instance.node.defaultChild as rds.CfnDBInstance).storageEncrypted = false;
    expect(errorsOfFivePacks(app).join('\n')).toMatch(/Postgres\/Reports\/Resource\/Resource AwsSolutions-RDS2/);
  });
});

describe('who reads there', () => {
  function withFunction(options: Partial<ReadReplicaOptions> = {}, authentication = Authentication.password()) {
    const made = make(options);
    made.server.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
    const role = made.server.addDatabase('app').addLoginRole('report', { authentication });
    const handler = new lambda.Function(made.stack, 'Handler', {
      code: lambda.Code.fromInline('exports.handler = async () => {}'),
      handler: 'index.handler',
      runtime: lambda.Runtime.NODEJS_24_X,
      vpc: made.vpc,
      vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
    });
    return { ...made, role, handler };
  }

  test('HA-13: grantConnect({ endpoint }) lets in at the replica alone, and names its host', () => {
    const { role, handler, replica, stack, template } = withFunction();
    role.grantConnect(handler, { endpoint: replica });
    template().hasResourceProperties('AWS::Lambda::Function', {
      Environment: {
        Variables: Match.objectLike({ PGHOST: stack.resolve(replica.host), PGPORT: '5433', PGUSER: 'report' }),
      },
    });
    const rules = Object.values(template().findResources('AWS::EC2::SecurityGroupIngress')).filter((rule) =>
      JSON.stringify(rule.Properties.SourceSecurityGroupId).includes('Handler'),
    );
    expect(rules).toHaveLength(1);
    expect(JSON.stringify(rules[0]!.Properties.GroupId)).toContain('PostgresReports');
  });

  test('SEC-16: a token is asked for the replica by its own resource id', () => {
    const { role, handler, replica, stack, template } = withFunction({}, Authentication.iam());
    role.grantConnect(handler, { endpoint: replica });
    const policies = JSON.stringify(template().findResources('AWS::IAM::Policy'));
    expect(policies).toContain('rds-db:connect');
    expect(policies).toContain(JSON.stringify(stack.resolve(replica.identity)));
  });

  test('an endpoint of another server is an error', () => {
    const { role, handler } = withFunction();
    const other = make().replica;
    expect(() => role.grantConnect(handler, { endpoint: other })).toThrow(/names an endpoint of Test\/Postgres/);
  });

  test('two endpoints of one role do not fit into one environment', () => {
    const { role, handler, replica } = withFunction();
    role.grantConnect(handler);
    expect(() => role.grantConnect(handler, { endpoint: replica })).toThrow(/another endpoint of the same role/);
    expect(() => role.grantConnect(handler, { endpoint: replica, environment: false })).not.toThrow();
  });

  test('LIB-16: the reader host of the secrets is the replica that is named so, wherever the line stands', () => {
    const { server, replica, stack, template, role } = withFunction({ readerHost: true });
    const host = stack.resolve(replica.host);
    expect(stack.resolve(server.readerHost)).toEqual(host);
    expect(stack.resolve(role.connection.readerHost)).toEqual(host);
    template().hasResourceProperties('Custom::CdkPostgresState', { Server: Match.objectLike({ ReaderHost: host }) });
    const rotate = Object.entries(template().findResources('AWS::Lambda::Function')).find(([id]) =>
      id.includes('Rotate'),
    );
    expect(JSON.stringify(rotate![1].Properties.Environment)).toContain(JSON.stringify(host));
  });

  test('without it no reader host is named', () => {
    const { server, template } = withFunction();
    expect(server.readerHost).toBeUndefined();
    template().hasResourceProperties('Custom::CdkPostgresState', {
      Server: Match.objectLike({ ReaderHost: Match.absent() }),
    });
  });

  test('a second one is an error', () => {
    const { server } = make({ readerHost: true });
    expect(() =>
      server.addReadReplica('Second', { purpose: 'x', conflicts: ConflictPolicy.fresh(), readerHost: true }),
    ).toThrow(/Postgres\/Reports is the reader host already/);
  });
});

describe('HA-18, BK-14: in another region', () => {
  function elsewhere(more: object = {}, region = 'eu-west-1') {
    const { app, stack, server } = make();
    const there = new Stack(app, 'There', { env: { account: '123456789012', region }, terminationProtection: true });
    const own = new ec2.Vpc(there, 'Vpc', {
      natGateways: 1,
      maxAzs: 2,
    });
    const add = () =>
      new ReadReplica(there, 'Replica', {
        source: server,
        purpose: 'disaster recovery',
        conflicts: ConflictPolicy.fresh(),
        vpc: own,
        ...more,
      });
    return { app, stack, server, there, make: add };
  }

  test('it has a key, a guard, a topic and a monitoring role of its own, and names its source by ARN', () => {
    const { there, make, stack, server } = elsewhere();
    const replica = make();
    const template = Template.fromStack(there);
    template.hasResourceProperties('AWS::RDS::DBInstance', {
      SourceDBInstanceIdentifier: {
        'Fn::Join': [
          '',
          ['arn:', { Ref: 'AWS::Partition' }, `:rds:eu-central-1:123456789012:db:${server._settings.identifier}`],
        ],
      },
      SourceRegion: 'eu-central-1',
      KmsKeyId: there.resolve(replica.encryptionKey.keyArn),
      StorageEncrypted: true,
      BackupRetentionPeriod: 14,
    });
    for (const type of ['AWS::KMS::Key', 'Custom::CdkPostgresDeployGuard', 'AWS::SNS::Topic'])
      template.resourceCountIs(type, 1);
    template.resourceCountIs('AWS::RDS::DBSubnetGroup', 1);
    expect(there.dependencies).toContain(stack);
    expect(JSON.stringify(template.toJSON())).not.toContain('Fn::ImportValue');
  });

  test('the stack of the server is not changed by it', () => {
    const alone = make();
    const before = Template.fromStack(alone.stack).toJSON();
    const { make: add, stack } = elsewhere();
    add();
    expect(Template.fromStack(stack).toJSON()).toEqual(before);
  });

  test.each<[string, object, RegExp]>([
    ['without a network', { vpc: undefined }, /vpc is missing; a replica in another region needs a network there/],
    [
      'with a network of the region of the server',
      { vpc: cleanStack().vpc },
      /^There\/Replica: vpc is Test\/Vpc, a network in eu-central-1, and this stack is in eu-west-1; pass one in eu-west-1/,
    ],
    ['as the reader host', { readerHost: true }, /only a replica in the stack of its server, Test\/Postgres/],
  ])('%s it is an error', (_what, props, message) => expect(() => elsewhere(props).make()).toThrow(message));

  test('a password role does not reach it, a role with IAM tokens does', () => {
    const { server, make: add, there } = elsewhere();
    const replica = add();
    const app = server.addDatabase('app');
    const handler = new lambda.Function(there, 'Handler', {
      code: lambda.Code.fromInline('exports.handler = async () => {}'),
      handler: 'index.handler',
      runtime: lambda.Runtime.NODEJS_24_X,
    });
    const connections = new ec2.Connections({ peer: ec2.Peer.ipv4('10.0.0.0/16') });
    expect(() => app.addLoginRole('a').grantConnect(handler, { endpoint: replica, connections })).toThrow(
      /the role's secret is in eu-central-1; use Authentication.iam\(\)/,
    );
  });

  test('no error in the five packs but those of the network', () => {
    const { app, make: add } = elsewhere();
    add();
    expect(errorsOfFivePacks(app).filter((error) => !/There\/Vpc/.test(error))).toEqual([]);
  });
});
