import {
  App,
  Duration,
  RemovalPolicy,
  Size,
  aws_ec2 as ec2,
  aws_s3 as s3,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import {
  EcsBackups,
  EcsPostgres,
  EcsPostgresProps,
  HbaRule,
  PostgresProfile,
  PostgresVersion,
  RecoveryTarget,
  Storage,
} from '../../../lib';
import { findingsOf, saidOf } from '../../pooling/support';
import { cleanStack, cluster, ephemeral, NO_LOSS, quiet } from './support';

quiet();

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
}));

const type = (name: string) => new ec2.InstanceType(name);

describe('is refused, with what to write instead', () => {
  const CASES: [string, Partial<EcsPostgresProps>, RegExp][] = [
    [
      'two members',
      { members: 2 },
      /Test\/Postgres: members is 2; of two neither may go on alone when it does not see the other.* Write 3, or 1/,
    ],
    ['five members', { members: 5 }, /members is 5; write 3, or 1/],
    [
      'a minor version',
      { version: PostgresVersion.of('18.1') },
      /version is 18\.1, and the minor version is that of the image; write PostgresVersion\.V18/,
    ],
    [
      'a host with two network interfaces',
      { instanceType: type('m7g.medium') },
      /instanceType is m7g\.medium, which has two network interfaces; a host needs three/,
    ],
    [
      'the smallest burstable hosts',
      { instanceType: type('t4g.micro') },
      /t4g\.micro, which has two network interfaces/,
    ],
    [
      'a class as RDS writes it',
      { instanceType: type('db.r7g.large') },
      /leave out 'db\.', which the template gets by itself: new InstanceType\('r7g\.large'\)/,
    ],
    [
      'storage that is lost with its task, in production',
      { storage: Storage.ephemeral(Size.gibibytes(40)), members: 1 },
      /storage is Storage\.ephemeral\(\), which is lost with the task.*take Storage\.gp3\(\), or PostgresProfile\.development\(\)/,
    ],
    ['no Storage', { storage: 'gp3' as never }, /storage is no Storage; write one such as Storage\.gp3/],
    [
      'a name that Patroni and the bucket do not take',
      { clusterName: 'Orders_1' },
      /clusterName is 'Orders_1'; write at most 41 lower-case letters/,
    ],
    [
      'a parameter that the cluster sets',
      { parameters: { wal_level: 'minimal' } },
      /Test\/Postgres: .*parameters: wal_level: leave it out: archiving, replicas and logical slots need what it is/s,
    ],
    [
      'a parameter that PostgreSQL does not have',
      { parameters: { work_memory: '1MB' } },
      /work_memory: PostgreSQL has no such parameter/,
    ],
    [
      'a line of pg_hba.conf for everybody everywhere',
      { hba: [HbaRule.scramSha256({ address: '0.0.0.0/0' })] },
      /hba\[0\]: every role in every database; name the databases or the roles \(SEC-14\).*0\.0\.0\.0\/0 is everywhere/s,
    ],
    [
      'tokens of OAuth before 18',
      {
        version: PostgresVersion.V17,
        hba: [
          HbaRule.oauth({ roles: ['api'], address: '10.0.0.0/16', issuer: 'https://idp.example.com', scope: ['db'] }),
        ],
      },
      /hba\[0\]: method: oauth comes with 18, and this is 17/,
    ],
    [
      'tokens of OAuth that no library looks at',
      {
        version: PostgresVersion.V18,
        hba: [
          HbaRule.oauth({ roles: ['api'], address: '10.0.0.0/16', issuer: 'https://idp.example.com', scope: ['db'] }),
        ],
      },
      /hba\[0\]: oauth: name the library that looks at tokens in the parameter oauth_validator_libraries/,
    ],
    [
      'an administrator who is the superuser',
      { masterUsername: 'postgres' },
      /adminUser: "postgres" must be .* no role of the cluster itself/,
    ],
    [
      'no whole days of recovery',
      { pointInTimeRecovery: Duration.hours(36) },
      /pointInTimeRecovery is 1\.5 days; write a whole number/,
    ],
    [
      'less recovery than the history that is asked for',
      { pointInTimeRecovery: Duration.days(14), objectives: { ...NO_LOSS, history: Duration.days(60) } },
      /pointInTimeRecovery is 14 days, and objectives\.history 60 days; leave pointInTimeRecovery out/,
    ],
    [
      'an incremental backup every 90 minutes',
      { backup: { incrementalEvery: Duration.minutes(90) } },
      /backup\.incrementalEvery is 1 hour 30 minutes; write 1 to 24 whole hours/,
    ],
    [
      'a schedule that is no cron expression',
      { backup: { full: 'weekly' } },
      /backup\.full is 'weekly'; write a cron expression of EventBridge/,
    ],
    [
      'an archive that waits for hours',
      { backup: { archiveTimeout: Duration.hours(2) } },
      /backup\.archiveTimeout: 7200 must be 1 to 3600 seconds/,
    ],
    [
      'a slot that outlives a failover before 17',
      { version: PostgresVersion.V16, logicalSlots: [{ name: 'cdc', database: 'app' }] },
      /logicalSlots\.cdc: slots outlive a failover from 17 on, and this is 16/,
    ],
    ['no router', { routers: 0 }, /routers must be a whole number from 1 to 30, not 0/],
    ['no objectives', { objectives: undefined }, /objectives is missing/],
  ];
  test.each(CASES)('%s', (_name, props, message) => {
    expect(() => cluster(props)).toThrow(message);
  });

  test('three members in two zones', () => {
    expect(() => cluster({}, cleanStack(new App(), 2))).toThrow(
      /Test\/Postgres: its subnets are in 2 zones \(.*\), and 3 members need 3; select subnets of more zones/,
    );
  });

  test('public subnets', () => {
    const network = cleanStack();
    const open = new ec2.Vpc(network.stack, 'Open', { maxAzs: 3, natGateways: 0, restrictDefaultSecurityGroup: false });
    expect(() => cluster({ vpc: open, vpcSubnets: { subnetType: ec2.SubnetType.PUBLIC } }, network)).toThrow(
      /vpcSubnets selects public subnets/,
    );
  });

  test('storage on Fargate with a class of a host, or with three members', () => {
    expect(() => ephemeral({ instanceType: type('t4g.medium') })).toThrow(
      /runs on Fargate and has no host; leave instanceType out/,
    );
    expect(() => ephemeral({ members: 3 })).toThrow(/members is 3; one member runs on Fargate, so write members: 1/);
  });

  test.each([
    [
      'a volume that is too small',
      () => Storage.gp3(Size.gibibytes(5)),
      /Storage\.gp3\(\): size is 5 GiB; write 10 to 65536 whole GiB/,
    ],
    [
      'too many operations for its size',
      () => Storage.gp3(Size.gibibytes(10), { iops: 6000 }),
      /iops is 6000; a volume of 10 GiB takes 5000, 500 for each GiB/,
    ],
    [
      'throughput without the operations for it',
      () => Storage.gp3(Size.gibibytes(500), { throughput: 1000 }),
      /throughput is 1000 MiB\/s; 3000 iops carry 750, so set iops to 4000 or more/,
    ],
    [
      'io2 without operations',
      () => Storage.io2(Size.gibibytes(500), {} as never),
      /iops is undefined; write a whole number from 100 to 256000/,
    ],
    [
      'more than Fargate has',
      () => Storage.ephemeral(Size.gibibytes(500)),
      /size is 500 GiB; write 21 to 200 whole GiB/,
    ],
    [
      'a moment without a zone',
      () => RecoveryTarget.time('2026-03-01 12:00:00'),
      /write one with its zone, such as '2026-03-01 12:00:00\+00'/,
    ],
    ['a moment that is none', () => RecoveryTarget.time('2026-02-30 99:00:00Z'), /is no moment/],
    [
      'a moment to come',
      () => RecoveryTarget.time('2999-01-01 00:00:00Z'),
      /is in the future; no backup reaches there/,
    ],
    ['no place in the log', () => RecoveryTarget.lsn('yesterday'), /write one such as '0\/3000060'/],
    ['no name of a restore point', () => RecoveryTarget.name(''), /write the name of a restore point/],
    ['no number of a transaction', () => RecoveryTarget.transaction('12a'), /write the number of a transaction/],
  ])('%s', (_name, make, message) => {
    expect(make).toThrow(message);
  });
});

describe('a restore', () => {
  const made = () => {
    const { stack, vpc } = cleanStack();
    const bucket = s3.Bucket.fromBucketName(stack, 'Old', 'old-bucket');
    const cipherSecret = secretsmanager.Secret.fromSecretNameV2(stack, 'OldCipher', 'old-cipher');
    const source = EcsBackups.fromAttributes({ clusterName: 'old', bucket, cipherSecret });
    return { stack, source, props: { vpc, version: PostgresVersion.V18, objectives: NO_LOSS } };
  };

  test('needs a source', () => {
    const { stack, props } = made();
    expect(() => EcsPostgres.fromBackup(stack, 'New', { ...props, target: RecoveryTarget.latest() } as never)).toThrow(
      /Test\/New: source is missing; pass server\.backups, or EcsBackups\.fromAttributes\(\)/,
    );
  });

  test('needs a target', () => {
    const { stack, props, source } = made();
    expect(() => EcsPostgres.fromBackup(stack, 'New', { ...props, source } as never)).toThrow(
      /Test\/New: target is missing; write how far the data go/,
    );
  });
});

describe('a guard of production speaks', () => {
  const CASES: [string, string, Partial<EcsPostgresProps>, RegExp][] = [
    [
      'HA-1',
      'one member',
      { members: 1, objectives: { rpo: Duration.hours(1), rto: Duration.hours(1) } },
      /members is 1; when its host is lost/,
    ],
    [
      'BK-1',
      'an rpo of 0 with one member',
      { members: 1, objectives: { rpo: Duration.seconds(0), rto: Duration.hours(1) } },
      /an rpo of 0 seconds cannot be held .* and there is no synchronous copy/,
    ],
    [
      'BK-1',
      'an rto below what a failover takes',
      { objectives: { rpo: Duration.seconds(0), rto: Duration.seconds(10) } },
      /an rto of 10 seconds cannot be held: the election of another leader after the loss of a node takes up to 30 seconds/,
    ],
    [
      'BK-1',
      'an rto below what another host takes',
      { members: 1, objectives: { rpo: Duration.hours(1), rto: Duration.minutes(1) } },
      /the start of another instance in the same zone, which attaches the volume, after the loss of a node takes up to 10 minutes/,
    ],
    ['BK-3', 'three days of recovery', { pointInTimeRecovery: Duration.days(3) }, /pointInTimeRecovery is 3 days/],
    ['BK-15', 'data that go with the stack', { removalPolicy: RemovalPolicy.DESTROY }, /removalPolicy is DESTROY/],
    ['OPS-12', 'a burstable class', { instanceType: type('t4g.large') }, /t4g\.large is burstable/],
  ];
  test.each(CASES)('%s on %s', (id, _name, props, message) => {
    const { stack } = cluster(props);
    expect(saidOf(stack, id)).toMatch(message);
  });

  test('and nothing is said of what is as it should be, nor of a development', () => {
    expect(findingsOf(cluster().stack)).toEqual([]);
    expect(findingsOf(cluster({ profile: PostgresProfile.development(), members: 1 }).stack)).toEqual([]);
  });

  test('BK-1 is silent where the objectives can be held', () => {
    for (const rpo of [Duration.seconds(0), Duration.minutes(2), Duration.hours(1)])
      expect(findingsOf(cluster({ objectives: { rpo, rto: Duration.seconds(30) } }).stack)).toEqual([]);
  });

  test('LIB-5 names what hosts and tasks have no way to', () => {
    const network = cleanStack();
    for (const child of network.vpc.node.children.filter(({ node }) => ['EcsAgent', 'Ec2Api'].includes(node.id)))
      network.vpc.node.tryRemoveChild(child.node.id);
    expect(saidOf(cluster({}, network).stack, 'LIB-5')).toMatch(
      /no way to the EC2 API \(the hosts attach their volumes there\), ECS's agents \(the agents of the hosts learn there which tasks to run\)/,
    );
  });
});

describe('whether commits wait for a standby follows from the rpo', () => {
  test.each([
    [0, true],
    [119, true],
    [120, false],
    [3600, false],
  ])('%s seconds: %s', (seconds, synchronous) => {
    const { server } = cluster({ objectives: { rpo: Duration.seconds(seconds), rto: Duration.minutes(1) } });
    expect(server._model.synchronous).toBe(synchronous);
  });
});
