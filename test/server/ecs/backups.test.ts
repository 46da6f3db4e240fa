import { Duration, Stack, aws_kms as kms, aws_s3 as s3, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { EcsBackups, EcsPostgres, PostgresProfile, PostgresVersion, RecoveryTarget } from '../../../lib';
import { memberConfiguration } from '../../../lib/server/ecs/configuration';
import { ACCOUNT, REGION, SimulatedStack } from '../../compliance/iam-simulation';
import { cleanStack, cluster, NO_LOSS, quiet, Resources } from './support';

quiet();

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
}));

const schedules = (resources: Resources): Record<string, any> =>
  Object.fromEntries(
    resources
      .of('AWS::Scheduler::Schedule')
      .map(([, { Properties }]) => [
        JSON.parse(Properties.Target.Input).containerOverrides[0].command.join(' '),
        Properties,
      ]),
  );

test('full, differential and incremental backups run at times of their own, as tasks without a service', () => {
  const resources = new Resources(cluster().stack);
  const made = schedules(resources);
  expect(Object.entries(made).map(([command, { ScheduleExpression }]) => [command, ScheduleExpression])).toEqual([
    ['backup full', 'cron(0 1 ? * SUN *)'],
    ['backup diff', 'cron(0 1 ? * MON-SAT *)'],
    ['backup incr', 'cron(30 0/6 * * ? *)'],
  ]);
  for (const { Target, KmsKeyArn, ScheduleExpressionTimezone } of Object.values(made)) {
    expect(KmsKeyArn).toBeDefined();
    expect(ScheduleExpressionTimezone).toBe('UTC');
    expect(Target.EcsParameters).toMatchObject({
      LaunchType: 'FARGATE',
      TaskCount: 1,
      NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: 'DISABLED' } },
    });
    expect(Target.DeadLetterConfig.Arn).toBeDefined();
  }
});

test('the schedules are what they are set to', () => {
  const { stack } = cluster({
    backup: {
      full: 'cron(0 3 ? * SAT *)',
      differential: 'cron(0 3 ? * SUN-FRI *)',
      incrementalEvery: Duration.hours(1),
    },
  });
  expect(Object.values(schedules(new Resources(stack))).map(({ ScheduleExpression }) => ScheduleExpression)).toEqual([
    'cron(0 3 ? * SAT *)',
    'cron(0 3 ? * SUN-FRI *)',
    'cron(30 0/1 * * ? *)',
  ]);
});

test('the bucket is versioned, under the key of the server, closed, and stays when the stack goes', () => {
  const [[, { Properties, DeletionPolicy, UpdateReplacePolicy }]] = new Resources(cluster().stack).of(
    'AWS::S3::Bucket',
  ) as [[string, any]];
  expect([DeletionPolicy, UpdateReplacePolicy]).toEqual(['Retain', 'Retain']);
  expect(Properties.VersioningConfiguration).toEqual({ Status: 'Enabled' });
  expect(Properties.PublicAccessBlockConfiguration).toEqual({
    BlockPublicAcls: true,
    BlockPublicPolicy: true,
    IgnorePublicAcls: true,
    RestrictPublicBuckets: true,
  });
  const [encryption] = Properties.BucketEncryption.ServerSideEncryptionConfiguration;
  expect(encryption.ServerSideEncryptionByDefault.SSEAlgorithm).toBe('aws:kms');
  expect(Properties.LifecycleConfiguration.Rules.map((rule: any) => rule.Id)).toEqual(['Deleted', 'Unfinished']);
  const policy = JSON.stringify(new Resources(cluster().stack).of('AWS::S3::BucketPolicy'));
  expect(policy).toContain('aws:SecureTransport');
  expect(policy).toContain('s3:TlsVersion');
});

test.each([
  [{}, 14],
  [{ pointInTimeRecovery: Duration.days(30) }, 30],
  [{ objectives: { ...NO_LOSS, history: Duration.days(90) } }, 90],
])('BK-3: %j keeps %d days', (props, days) => {
  const { server } = cluster(props);
  expect(server._model.backup?.retentionDays).toBe(days);
  expect(memberConfiguration(server._model, 1).files['/run/cdk-postgres/pgbackrest.conf']).toContain(
    `repo1-retention-full-type=time\nrepo1-retention-full=${days}\n`,
  );
});

describe('BK-13: a second repository', () => {
  function made() {
    const network = cleanStack();
    const { stack } = network;
    const bucket = s3.Bucket.fromBucketAttributes(stack, 'Second', {
      bucketArn: 'arn:aws:s3:::elsewhere',
      encryptionKey: kms.Key.fromKeyArn(stack, 'SecondKey', 'arn:aws:kms:eu-west-1:222222222222:key/second'),
    });
    return cluster(
      { backup: { secondRepository: { bucket, region: 'eu-west-1', pointInTimeRecovery: Duration.days(60) } } },
      network,
    );
  }

  test('is written by the same tasks, with a cipher and a retention of its own', () => {
    const { server, stack } = made();
    const configuration = memberConfiguration(server._model, 1);
    expect(configuration.files['/run/cdk-postgres/pgbackrest.conf']).toContain('repo2-s3-region=eu-west-1\n');
    expect(configuration.files['/run/cdk-postgres/pgbackrest.conf']).toContain('repo2-retention-full=60\n');
    expect(configuration.secrets).toContain('cipher-2');
    const secrets = new Resources(stack)
      .taskOf('pg-1')
      .ContainerDefinitions[0].Environment.find(({ Name }: any) => Name === 'CDK_POSTGRES_SECRETS').Value;
    expect(JSON.stringify(secrets)).toContain('SecondCipher');
  });

  test("is encrypted with the key that it is given, whose policy is its owner's", () => {
    const policies = new Resources(made().stack)
      .of('AWS::IAM::ManagedPolicy')
      .flatMap(([, { Properties }]) => Properties.PolicyDocument.Statement)
      .filter(({ Resource }: any) => Resource === 'arn:aws:kms:eu-west-1:222222222222:key/second');
    expect(policies).toHaveLength(4);
    for (const { Action, Condition } of policies) {
      expect(Action).toEqual(['kms:Decrypt', 'kms:GenerateDataKey']);
      expect(Condition).toEqual({ StringLike: { 'kms:ViaService': 's3.*.amazonaws.com' } });
    }
  });

  test('is in the policies of members and backup task, in the one folder', async () => {
    const simulated = new SimulatedStack(made().stack);
    for (const role of ['Postgres/pg-3/Task/Role', 'Postgres/Backup/Task/Role']) {
      const ask = (action: string, resource: string) => simulated.ask(role, { action, resource });
      expect(await ask('s3:PutObject', 'arn:aws:s3:::elsewhere/orders/x')).toBe('Allowed');
      expect(await ask('s3:PutObject', 'arn:aws:s3:::elsewhere/other/x')).not.toBe('Allowed');
    }
  });
});

describe('BK-10: fromBackup()', () => {
  function restored(target: RecoveryTarget): { stack: Stack; server: EcsPostgres } {
    const { stack, vpc } = cleanStack();
    const source = EcsBackups.fromAttributes({
      clusterName: 'lost',
      bucket: s3.Bucket.fromBucketName(stack, 'Old', 'old-bucket'),
      cipherSecret: secretsmanager.Secret.fromSecretCompleteArn(
        stack,
        'OldCipher',
        `arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:OldCipher-AbCdEf`,
      ),
      encryptionKey: kms.Key.fromKeyArn(stack, 'OldKey', `arn:aws:kms:${REGION}:${ACCOUNT}:key/old`),
    });
    const server = EcsPostgres.fromBackup(stack, 'Restored', {
      vpc,
      version: PostgresVersion.V18,
      objectives: NO_LOSS,
      clusterName: 'found',
      source,
      target,
    });
    return { stack, server };
  }

  test.each([
    ['time', RecoveryTarget.time('2026-03-01 12:00:00+00'), { type: 'time', target: '2026-03-01 12:00:00+00' }],
    ['lsn', RecoveryTarget.lsn('0/3000060', { exclusive: true }), { type: 'lsn', 'target-exclusive': 'y' }],
    ['name', RecoveryTarget.name('before-release'), { type: 'name', target: 'before-release' }],
    ['transaction', RecoveryTarget.transaction('4711', { timeline: '3' }), { type: 'xid', 'target-timeline': '3' }],
    ['immediate', RecoveryTarget.immediate(), { type: 'immediate', 'target-action': 'promote' }],
  ])('%s is what the first member is restored to', (_name, target, options) => {
    const { files } = memberConfiguration(restored(target).server._model, 1);
    expect(JSON.parse(files['/run/cdk-postgres/patroni/1-cluster.yml']!).bootstrap.repository).toMatchObject(options);
  });

  test('latest has no target, and the server archives to where it finds nothing of its source', () => {
    const { files } = memberConfiguration(restored(RecoveryTarget.latest()).server._model, 1);
    const { repository } = JSON.parse(files['/run/cdk-postgres/patroni/1-cluster.yml']!).bootstrap;
    expect(Object.keys(repository).filter((option) => /^(type|target)/.test(option))).toEqual([]);
    expect(files['/run/cdk-postgres/restore.conf']).toContain('repo1-path=/lost\nrepo1-s3-bucket=old-bucket\n');
    expect(files['/run/cdk-postgres/pgbackrest.conf']).toContain('repo1-path=/found\n');
  });

  test('members read the repository of the source with its cipher, and change nothing in it', async () => {
    const simulated = new SimulatedStack(restored(RecoveryTarget.latest()).stack);
    const role = 'Restored/pg-1/Task/Role';
    const ask = (action: string, resource: string, context = {}) => simulated.ask(role, { action, resource, context });
    expect(await ask('s3:GetObject', 'arn:aws:s3:::old-bucket/lost/backup/x')).toBe('Allowed');
    expect(
      await ask('secretsmanager:GetSecretValue', `arn:aws:secretsmanager:${REGION}:${ACCOUNT}:secret:OldCipher-AbCdEf`),
    ).toBe('Allowed');
    for (const action of ['s3:PutObject', 's3:DeleteObject'])
      expect(await ask(action, 'arn:aws:s3:::old-bucket/lost/backup/x')).not.toBe('Allowed');
    expect(await ask('s3:GetObject', 'arn:aws:s3:::old-bucket/other/x')).not.toBe('Allowed');
  });

  test('a server gives its own backups, by which another one is made', () => {
    const { server } = cluster();
    const { clusterName, bucket } = server.backups.attributes;
    // Not compared as values: each construct leads to all others.
    expect([clusterName, bucket === server.backupBucket]).toEqual(['orders', true]);
  });

  test('a server of the same name has a bucket of its own, and leaves that of its source as it is', () => {
    const network = cleanStack();
    const { server, stack, vpc } = cluster({}, network);
    const props = { vpc, version: PostgresVersion.V18, objectives: NO_LOSS };
    const target = RecoveryTarget.latest();
    // Another bucket is another folder, whatever the names are.
    const again = EcsPostgres.fromBackup(stack, 'Again', {
      ...props,
      clusterName: 'orders',
      source: server.backups,
      target,
    });
    expect(again.clusterName).toBe('orders');
    expect(again.backupBucket === server.backupBucket).toBe(false);
  });
});

test('of a development, bucket and volumes go with the stack', () => {
  const { stack } = cluster({ profile: PostgresProfile.development(), members: 1 });
  const resources = new Resources(stack);
  for (const type of ['AWS::S3::Bucket', 'AWS::EC2::Volume'])
    for (const [, { DeletionPolicy }] of resources.of(type)) expect(DeletionPolicy).toBe('Delete');
});
