import { Duration, Size, Token, aws_iam as iam, aws_kms as kms } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  AuroraPostgres,
  AuroraPostgresProps,
  Authentication,
  ClusterBackups,
  InstanceBackups,
  PostgresVersion,
  RdsPostgres,
  RdsPostgresProps,
  RestoreTime,
} from '../../../lib';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

const TIME = '2026-01-12T03:04:05Z';

type Made = ReturnType<typeof cleanStack>;

const common = ({ vpc }: Made) => ({ vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });

function instance(made: Made, source = InstanceBackups.ofInstance('orders'), props: Partial<RdsPostgresProps> = {}) {
  return RdsPostgres.fromPointInTime(made.stack, 'Restored', {
    ...common(made),
    source,
    restoreTo: RestoreTime.utc(TIME),
    ...props,
  });
}

function cluster(made: Made, source = ClusterBackups.ofCluster('orders'), props: Partial<AuroraPostgresProps> = {}) {
  return AuroraPostgres.fromPointInTime(made.stack, 'Restored', {
    ...common(made),
    source,
    restoreTo: RestoreTime.utc(TIME),
    ...props,
  });
}

function templateOf(make: (made: Made) => unknown): Template {
  const made = cleanStack();
  make(made);
  return Template.fromStack(made.stack);
}

const INHERITED = { MasterUsername: Match.absent(), KmsKeyId: Match.absent(), AllocatedStorage: Match.absent() };

describe('BK-18: an instance from a point in time', () => {
  test.each<[string, InstanceBackups, object]>([
    ['by name', InstanceBackups.ofInstance('Orders'), { SourceDBInstanceIdentifier: 'orders' }],
    [
      'of a deleted instance, by resource id',
      InstanceBackups.ofResource('db-ABCDEFGH1234'),
      { SourceDbiResourceId: 'db-ABCDEFGH1234', SourceDBInstanceIdentifier: Match.absent() },
    ],
    [
      'replicated from another region',
      InstanceBackups.replicated('arn:aws:rds:eu-central-1:123456789012:auto-backup:ab-l2ijcexjp7xq'),
      { SourceDBInstanceAutomatedBackupsArn: 'arn:aws:rds:eu-central-1:123456789012:auto-backup:ab-l2ijcexjp7xq' },
    ],
  ])('%s', (_case, source, expected) => {
    templateOf((made) => instance(made, source)).hasResourceProperties('AWS::RDS::DBInstance', {
      ...expected,
      ...INHERITED,
      RestoreTime: TIME,
      UseLatestRestorableTime: Match.absent(),
      DBSnapshotIdentifier: Match.absent(),
    });
  });

  test('the latest that the backups reach', () => {
    templateOf((made) =>
      RdsPostgres.fromPointInTime(made.stack, 'Restored', {
        ...common(made),
        source: InstanceBackups.ofInstance('orders'),
        restoreTo: RestoreTime.latest(),
      }),
    ).hasResourceProperties('AWS::RDS::DBInstance', {
      UseLatestRestorableTime: true,
      RestoreTime: Match.absent(),
    });
  });

  test('storage is the one of the source unless it is stated', () => {
    templateOf((made) => instance(made, undefined, { allocatedStorage: Size.gibibytes(400) })).hasResourceProperties(
      'AWS::RDS::DBInstance',
      { AllocatedStorage: '400' },
    );
  });
});

describe('BK-18: an instance from a snapshot', () => {
  test.each([
    'orders-before-release',
    'rds:orders-2026-01-12-01-05',
    'arn:aws:rds:eu-central-1:210987654321:snapshot:awsbackup:job-1a2b',
  ])('%s', (snapshot) => {
    templateOf((made) =>
      RdsPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot }),
    ).hasResourceProperties('AWS::RDS::DBInstance', {
      ...INHERITED,
      DBSnapshotIdentifier: snapshot,
      SourceDBInstanceIdentifier: Match.absent(),
    });
  });
});

test('BK-18: an instance from the snapshot of a Multi-AZ DB cluster', () => {
  const snapshot = 'arn:aws:rds:eu-central-1:123456789012:cluster-snapshot:orders';
  templateOf((made) =>
    RdsPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot }),
  ).hasResourceProperties('AWS::RDS::DBInstance', {
    ...INHERITED,
    DBClusterSnapshotIdentifier: snapshot,
    DBSnapshotIdentifier: Match.absent(),
  });
});

describe('BK-18: a cluster from a point in time', () => {
  test.each<[string, ClusterBackups, object]>([
    ['by name', ClusterBackups.ofCluster('orders'), { SourceDBClusterIdentifier: 'orders' }],
    [
      'of a deleted cluster, by resource id',
      ClusterBackups.ofResource('cluster-ABCDEFGH1234'),
      { SourceDbClusterResourceId: 'cluster-ABCDEFGH1234', SourceDBClusterIdentifier: Match.absent() },
    ],
  ])('%s, a full copy and no clone', (_case, source, expected) => {
    templateOf((made) => cluster(made, source)).hasResourceProperties('AWS::RDS::DBCluster', {
      ...expected,
      MasterUsername: Match.absent(),
      RestoreToTime: TIME,
      RestoreType: Match.absent(),
      KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^RestoredKey'), 'Arn'] },
    });
  });

  test('the port is the one that the service gives, everywhere', () => {
    const made = cleanStack();
    const server = cluster(made);
    server.addDatabase('app');
    expect(server.port).toBe(5432);
    const template = Template.fromStack(made.stack);
    template.hasResourceProperties('AWS::RDS::DBCluster', { Port: 5432 });
    template.hasResourceProperties('Custom::CdkPostgresState', { Server: Match.objectLike({ Port: 5432 }) });
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { FromPort: 5432, ToPort: 5432 });
  });

  test('another port is a finding, and may be acknowledged once the cluster has it', () => {
    const made = cleanStack();
    const server = cluster(made, undefined, { port: 5433 });
    expect(() => made.app.synth()).toThrow();
    server.acknowledge({ id: 'BK-18', reason: 'moved by hand after the restore' });
    expect(() => made.app.synth()).not.toThrow();
  });
});

test('BK-18: a cluster from a snapshot, of an RDS instance too, keeps the port of every new server', () => {
  const snapshot = 'arn:aws:rds:eu-central-1:123456789012:snapshot:orders-before-aurora';
  templateOf((made) =>
    AuroraPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot }),
  ).hasResourceProperties('AWS::RDS::DBCluster', {
    SnapshotIdentifier: snapshot,
    MasterUsername: Match.absent(),
    Port: 5433,
  });
});

describe.each<[string, string, string, (made: Made) => RdsPostgres | AuroraPostgres]>([
  ['instance', 'AWS::RDS::DBInstance', 'DbiResourceId', (made) => instance(made)],
  ['cluster', 'AWS::RDS::DBCluster', 'DBClusterResourceId', (made) => cluster(made)],
])('BK-18: what stands around a restored %s is its own', (_kind, type, resourceId, make) => {
  const made = cleanStack();
  const server = make(made);
  const app = server.addDatabase('app');
  const monitor = app.addLoginRole('monitor', { authentication: Authentication.iam() });
  const user = new iam.Role(made.stack, 'User', { assumedBy: new iam.AccountRootPrincipal() });
  monitor.grantConnect(user, { maxConnections: 2 });
  const template = Template.fromStack(made.stack);
  const [logicalId] = Object.keys(
    template.findResources(type, { Properties: { Engine: Match.stringLikeRegexp('postgres') } }),
  ) as [string];
  const identity = { 'Fn::GetAtt': [logicalId, resourceId] };

  test('its identity, in the state and so in the ledger, is the resource id of the new server', () => {
    expect(made.stack.resolve(server.identity)).toEqual(identity);
    template.hasResourceProperties('Custom::CdkPostgresState', { Server: Match.objectLike({ Identity: identity }) });
  });

  test('who may log in by a token, may so on the new server', () => {
    const policies = Object.values(template.findResources('AWS::IAM::Policy')).map((one) =>
      JSON.stringify(one.Properties.PolicyDocument),
    );
    const connect = policies.filter((policy) => policy.includes('rds-db:connect'));
    expect(connect).toHaveLength(1);
    expect(connect[0]).toContain(JSON.stringify(identity));
  });

  test('a secret of its own, with a password that is set after the restore', () => {
    template.hasResourceProperties(type, {
      MasterUserPassword: {
        'Fn::Join': [
          '',
          [
            Match.stringLikeRegexp('secretsmanager'),
            { Ref: Match.stringLikeRegexp('^RestoredAdminSecret') },
            Match.anyValue(),
          ],
        ],
      },
    });
    template.hasResourceProperties('AWS::SecretsManager::SecretTargetAttachment', {
      SecretId: { Ref: Match.stringLikeRegexp('^RestoredAdminSecret') },
      TargetId: { Ref: logicalId },
    });
    template.hasResourceProperties('AWS::SecretsManager::RotationSchedule', {
      SecretId: { Ref: Match.stringLikeRegexp('^RestoredAdminSecret') },
    });
  });

  test('the backup selection names it', () => {
    const [selection] = Object.values(template.findResources('AWS::Backup::BackupSelection'));
    expect(JSON.stringify(selection!.Properties.BackupSelection.Resources)).toContain(logicalId);
  });

  test('parameters, subnets, security groups and alarms', () => {
    template.resourcePropertiesCountIs('AWS::RDS::DBSubnetGroup', {}, 1);
    const group = type === 'AWS::RDS::DBCluster' ? 'DBClusterParameterGroupName' : 'DBParameterGroupName';
    template.hasResourceProperties(type, {
      [group]: { Ref: Match.stringLikeRegexp('^RestoredParameters') },
      DBSubnetGroupName: { Ref: Match.stringLikeRegexp('^RestoredSubnets') },
    });
    const alarms = Object.values(template.findResources('AWS::CloudWatch::Alarm'));
    expect(alarms.length).toBeGreaterThan(0);
    expect(JSON.stringify(alarms)).toContain(logicalId);
  });

  test('the deploy guard knows what it is restored from', () => {
    template.hasResourceProperties('Custom::CdkPostgresDeployGuard', {
      Servers: Match.arrayWith([
        Match.objectLike({
          CreateOnly: Match.objectLike(
            type === 'AWS::RDS::DBCluster'
              ? { RestoreToTime: TIME, SourceDBClusterIdentifier: 'orders' }
              : { RestoreTime: TIME, SourceDBInstanceIdentifier: 'orders' },
          ),
        }),
      ]),
    });
  });
});

test('BK-18: it stands beside its source in one stack, under one state name', () => {
  const made = cleanStack();
  const key = new kms.Key(made.stack, 'House', { enableKeyRotation: true });
  const source = new RdsPostgres(made.stack, 'Postgres', { ...common(made), encryptionKey: key });
  source.addDatabase('app');
  const restored = instance(made, InstanceBackups.ofInstance('test-postgres'), { encryptionKey: key });
  restored.addDatabase('app');
  const states = Object.values(Template.fromStack(made.stack).findResources('Custom::CdkPostgresState'));
  expect(states).toHaveLength(2);
  expect(new Set(states.map(({ Properties }) => JSON.stringify(Properties.Server.Identity))).size).toBe(2);
});

describe('what cannot be restored is an error that names the place', () => {
  test.each<[string, () => unknown, RegExp]>([
    [
      'a time without a zone',
      () => RestoreTime.utc('2026-01-12T03:04:05'),
      /RestoreTime.utc\('2026-01-12T03:04:05'\) is no moment in UTC/,
    ],
    ['a time with an offset', () => RestoreTime.utc('2026-01-12T03:04:05+01:00'), /is no moment in UTC/],
    ['the 30th of February', () => RestoreTime.utc('2026-02-30T03:04:05Z'), /is no moment in UTC/],
    ['the future', () => RestoreTime.utc('2999-01-12T03:04:05Z'), /is in the future/],
    ['a time that is a token', () => RestoreTime.utc(Token.asString({ Ref: 'Time' })), /is a token/],
    ['a source that is a token', () => InstanceBackups.ofInstance(Token.asString({ Ref: 'Db' })), /got a token/],
    ['a resource id for a name', () => InstanceBackups.ofInstance('db-ABC_1'), /is no name in RDS/],
    ['a name for a resource id', () => InstanceBackups.ofResource('orders'), /is no resource id/],
    [
      'an instance for a cluster',
      () => ClusterBackups.ofResource('db-ABCDEF'),
      /is no resource id, which looks like cluster-/,
    ],
    [
      'an ARN of something else',
      () => InstanceBackups.replicated('arn:aws:rds:eu-west-1:123456789012:db:x'),
      /is no ARN of automated backups/,
    ],
  ])('%s', (_case, make, message) => expect(make).toThrow(message));

  test('a snapshot that is a token', () => {
    const made = cleanStack();
    const snapshot = Token.asString({ Ref: 'Snapshot' });
    expect(() => AuroraPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot })).toThrow(
      /Test\/Restored: snapshot is a token/,
    );
  });
});

// What no compiler has looked at: plain JavaScript, tsx, `as any`.
describe.each<[string, typeof RdsPostgres | typeof AuroraPostgres, object, object]>([
  ['RdsPostgres', RdsPostgres, InstanceBackups.ofInstance('orders'), ClusterBackups.ofCluster('orders')],
  ['AuroraPostgres', AuroraPostgres, ClusterBackups.ofCluster('orders'), InstanceBackups.ofInstance('orders')],
])('BK-18: %s is not restored from what is none', (_name, Server: any, right, wrong) => {
  const restore = (how: 'fromSnapshot' | 'fromPointInTime', props: object) => () => {
    const made = cleanStack();
    return Server[how](made.stack, 'Restored', { ...common(made), ...props });
  };

  test.each<[unknown, RegExp]>([
    [undefined, /^Test\/Restored: snapshot is undefined; write the name or the ARN .* would be empty/],
    [null, /^Test\/Restored: snapshot is null; write/],
    ['', /^Test\/Restored: snapshot is ''; write/],
    [' ', /^Test\/Restored: snapshot is ' '; write/],
    [{}, /^Test\/Restored: snapshot is a Object; write/],
  ])('a snapshot that is %p', (snapshot, message) => expect(restore('fromSnapshot', { snapshot })).toThrow(message));

  test.each<[unknown, RegExp]>([
    [TIME, /^Test\/Restored: restoreTo is '2026-01-12T03:04:05Z'; write RestoreTime\.utc\(/],
    [undefined, /^Test\/Restored: restoreTo is undefined; write RestoreTime\.utc\(/],
    [new Date(TIME), /^Test\/Restored: restoreTo is a Date; write RestoreTime\.utc\(/],
  ])('a time that is %p', (restoreTo, message) =>
    expect(restore('fromPointInTime', { source: right, restoreTo })).toThrow(message),
  );

  test.each<[unknown, RegExp]>([
    [
      wrong,
      /^Test\/Restored: source is a (Instance|Cluster)Backups, those of an? \w+, which another class restores; write/,
    ],
    ['orders', /^Test\/Restored: source is 'orders'; write (Instance|Cluster)Backups\.of/],
    [undefined, /^Test\/Restored: source is undefined; write (Instance|Cluster)Backups\.of/],
  ])('a source that is %p', (source, message) =>
    expect(restore('fromPointInTime', { source, restoreTo: RestoreTime.latest() })).toThrow(message),
  );

  test('and is from what is one', () => {
    expect(restore('fromSnapshot', { snapshot: 'orders' })).not.toThrow();
    expect(restore('fromPointInTime', { source: right, restoreTo: RestoreTime.utc(TIME) })).not.toThrow();
  });
});

test('a new server knows nothing of restores', () => {
  const template = templateOf((made) => {
    new RdsPostgres(made.stack, 'Postgres', { ...common(made), pointInTimeRecovery: Duration.days(20) });
  });
  template.hasResourceProperties('AWS::RDS::DBInstance', {
    MasterUsername: Match.anyValue(),
    KmsKeyId: Match.anyValue(),
    AllocatedStorage: '100',
    RestoreTime: Match.absent(),
    SourceDBInstanceIdentifier: Match.absent(),
  });
});

describe('the deploy guard looks at the source of a restore, and at nothing else', () => {
  const shared = 'arn:aws:rds:eu-central-1:210987654321:snapshot:shared';
  const ofMultiAz = 'arn:aws:rds:eu-central-1:210987654321:cluster-snapshot:before';
  const arn = (resource: string) => ({
    'Fn::Join': ['', ['arn:', { Ref: 'AWS::Partition' }, `:rds:eu-central-1:123456789012:${resource}`]],
  });
  test.each<[string, (made: Made) => unknown, object | undefined, object[]]>([
    [
      'an instance',
      (made) => instance(made),
      {
        Kind: 'instance',
        Identifier: 'orders',
        MasterUsername: 'postgres',
        RestoreTime: TIME,
        MaxAllocatedStorage: '500',
      },
      [{ Action: 'rds:DescribeDBInstances', Effect: 'Allow', Resource: arn('db:orders') }],
    ],
    [
      'a cluster',
      (made) => cluster(made, undefined, { masterUsername: 'chief' }),
      { Kind: 'cluster', Identifier: 'orders', MasterUsername: 'chief', RestoreTime: TIME },
      [{ Action: 'rds:DescribeDBClusters', Effect: 'Allow', Resource: arn('cluster:orders') }],
    ],
    [
      'a shared snapshot',
      (made) => RdsPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot: shared }),
      { Kind: 'snapshot', Identifier: shared, MasterUsername: 'postgres', MaxAllocatedStorage: '500' },
      [{ Action: 'rds:DescribeDBSnapshots', Effect: 'Allow', Resource: shared }],
    ],
    [
      'a cluster snapshot',
      (made) => AuroraPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot: 'before' }),
      { Kind: 'cluster-snapshot', Identifier: 'before', MasterUsername: 'postgres' },
      [{ Action: 'rds:DescribeDBClusterSnapshots', Effect: 'Allow', Resource: arn('cluster-snapshot:before') }],
    ],
    [
      'the snapshot of a Multi-AZ DB cluster',
      (made) => RdsPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot: ofMultiAz }),
      {
        Kind: 'cluster-snapshot',
        Identifier: ofMultiAz,
        MasterUsername: 'postgres',
        MaxAllocatedStorage: '500',
      },
      [{ Action: 'rds:DescribeDBClusterSnapshots', Effect: 'Allow', Resource: ofMultiAz }],
    ],
    // Backups of a deleted server cannot be asked for by one ARN.
    ['a resource id', (made) => instance(made, InstanceBackups.ofResource('db-ABCDEFGH')), undefined, []],
  ])('%s', (_what, make, source, extra) => {
    const template = templateOf(make);
    const [guard] = Object.values(template.findResources('Custom::CdkPostgresDeployGuard'));
    expect(guard!.Properties.Servers[0].Source).toEqual(source);
    const statements = Object.values(template.findResources('AWS::IAM::ManagedPolicy')).flatMap(
      (policy) => policy.Properties.PolicyDocument.Statement as { Action: unknown; Resource: unknown }[],
    );
    const looks = statements.filter(({ Action }) => /^rds:Describe/.test(String(Action)));
    const ownName = (resource: unknown) => JSON.stringify(resource).includes('test-restored');
    expect(looks.filter(({ Resource }) => !ownName(Resource))).toEqual(extra);
  });
});
