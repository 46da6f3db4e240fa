import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Duration,
  RemovalPolicy,
  Stack,
  aws_ec2 as ec2,
  aws_rds as rds,
  aws_sns_subscriptions as subscriptions,
} from 'aws-cdk-lib';
import { ConflictPolicy } from '../../lib';
import { AuroraPostgres, AuroraPostgresProps } from '../../lib/server/aurora-postgres';
import { PostgresProfile } from '../../lib/server/postgres-profile';
import { PostgresVersion } from '../../lib/server/postgres-version';
import { RdsPostgres, RdsPostgresProps } from '../../lib/server/rds-postgres';
import { OBJECTIVES, cleanStack, quiet } from './support';

quiet();

const T4G = ec2.InstanceType.of(ec2.InstanceClass.T4G, ec2.InstanceSize.LARGE);

/** The ids of this library's findings, errors unless asked otherwise. */
function findings(
  change: (made: ReturnType<typeof cleanStack>) => RdsPostgres | AuroraPostgres,
  severity = 'error',
): string[] {
  const made = cleanStack();
  change(made);
  try {
    made.app.synth();
  } catch {
    // What failed is in the report.
  }
  const report = JSON.parse(readFileSync(join(made.app.outdir, 'validation-report.json'), 'utf8'));
  return report.pluginReports
    .filter((r: any) => r.pluginName === 'cdk-postgres')
    .flatMap((r: any) => r.violations)
    .filter((v: any) => v.severity === severity)
    .map((v: any) => v.ruleName);
}

const onRds = (props: Partial<RdsPostgresProps>, then: (server: RdsPostgres) => void = () => {}) =>
  findings(({ stack, vpc }) => {
    const server = new RdsPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      ...props,
    });
    then(server);
    return server;
  });
const onAurora = (props: Partial<AuroraPostgresProps>, then: (server: AuroraPostgres) => void = () => {}) =>
  findings(({ stack, vpc }) => {
    const server = new AuroraPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      ...props,
    });
    then(server);
    return server;
  });

test('nothing is found on the defaults', () => {
  expect(onRds({})).toEqual([]);
  expect(onAurora({})).toEqual([]);
});

describe('on RDS', () => {
  const l1 = (server: RdsPostgres) => server.instance.node.defaultChild as rds.CfnDBInstance;
  const cases: [string, string[], Partial<RdsPostgresProps>, ((server: RdsPostgres) => void)?][] = [
    [
      'BK-1: an rpo below what point-in-time recovery reaches, without a standby',
      ['BK-1', 'HA-1'],
      { multiAz: false, objectives: { rpo: Duration.minutes(1), rto: Duration.hours(2) } },
    ],
    [
      'BK-1: an rto below a failover',
      ['BK-1'],
      { objectives: { rpo: Duration.minutes(5), rto: Duration.seconds(30) } },
    ],
    [
      'BK-2: automated backups switched off on the instance',
      ['BK-1', 'BK-2'],
      {},
      (s) => (l1(s).backupRetentionPeriod = 0),
    ],
    ['BK-3: less than a week of recovery', ['BK-3'], { pointInTimeRecovery: Duration.days(3) }],
    ['BK-15: deletion protection off', ['BK-15'], { deletionProtection: false }],
    ['BK-15: the server goes with its stack', ['BK-15'], { removalPolicy: RemovalPolicy.DESTROY }],
    ['HA-1: one node', ['HA-1'], { multiAz: false, objectives: { rpo: Duration.minutes(5), rto: Duration.hours(2) } }],
    ['HA-1: the standby switched off on the instance', ['BK-1', 'HA-1'], {}, (s) => (l1(s).multiAz = false)],
    [
      'LIB-12: termination protection switched off afterwards',
      ['LIB-12'],
      {},
      (s) => (s.stack.terminationProtection = false),
    ],
    ['HA-5: commits that nobody waits for', ['HA-5'], { parameters: { synchronous_commit: 'off' } }],
    ['HA-5: commits that no standby has', ['HA-5'], { parameters: { synchronous_commit: 'local' } }],
    [
      'HA-2: a replica, which nobody promotes by itself, is no failover',
      ['HA-1'],
      { multiAz: false, objectives: { rpo: Duration.minutes(5), rto: Duration.hours(2) } },
      (s) => void s.addReadReplica('Reports', { purpose: 'reports', conflicts: ConflictPolicy.fresh() }),
    ],
    ['LR-21: a minor version that upgrades past itself', ['LR-21'], { version: PostgresVersion.of('17.6') }],
    ['OPS-4: storage that cannot grow', ['OPS-4'], {}, (s) => (l1(s).maxAllocatedStorage = undefined)],
    ['OPS-12: a burstable class', ['OPS-12'], { instanceType: T4G }],
    ['SEC-11: TLS not forced', ['SEC-11'], { parameters: { 'rds.force_ssl': '0' } }],
  ];
  // Rest parameters, since jest hands a callback to a function that takes more than a row has.
  test.each(cases)('%s', (...[, expected, props, then]) => expect(onRds(props, then).sort()).toEqual(expected));

  test.each(['on', 'remote_write', 'remote_apply'])(
    'HA-5: synchronous_commit = %s waits for as much as the default',
    (value) => expect(onRds({ parameters: { synchronous_commit: value } })).toEqual([]),
  );
});

describe('on Aurora', () => {
  test.each<[string, string[], Partial<AuroraPostgresProps>]>([
    [
      'BK-1: an rto below a failover to a reader',
      ['BK-1'],
      { objectives: { rpo: Duration.seconds(0), rto: Duration.seconds(10) } },
    ],
    [
      'BK-1: an rto that only a reader holds',
      ['BK-1', 'HA-1'],
      { readers: 0, objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(5) } },
    ],
    ['HA-1: no reader', ['HA-1'], { readers: 0 }],
    ['HA-5: commits that nobody waits for', ['HA-5'], { parameters: { synchronous_commit: 'off' } }],
    ['OPS-12: a burstable class', ['OPS-12'], { instanceType: T4G }],
    ['OPS-12: a cluster that pauses', ['OPS-12'], { serverlessV2: { minCapacity: 0, maxCapacity: 8 } }],
  ])('%s', (_what, expected, props) => expect(onAurora(props).sort()).toEqual(expected));

  test('an rpo of zero holds without a reader: storage keeps its copies in three zones', () => {
    expect(onAurora({ readers: 0, objectives: { rpo: Duration.seconds(0), rto: Duration.hours(1) } })).toEqual([
      'HA-1',
    ]);
  });
});

test('the development profile asks for none of that', () => {
  const development = PostgresProfile.development();
  expect(onRds({ profile: development, objectives: { rpo: Duration.seconds(1), rto: Duration.seconds(1) } })).toEqual(
    [],
  );
  expect(onAurora({ profile: development })).toEqual([]);
});

test('an acknowledgement for production is no mistake in development', () => {
  const { stack, vpc, app } = cleanStack();
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    profile: PostgresProfile.development(),
  });
  server.acknowledge({ id: 'HA-1', reason: 'the same code makes both' });
  app.synth();
  expect(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8')).not.toContain('LIB-11');
});

test('acknowledge() by the bare id lets the finding pass, and no other', () => {
  const alone: Partial<RdsPostgresProps> = {
    multiAz: false,
    objectives: { rpo: Duration.minutes(5), rto: Duration.hours(2) },
    instanceType: T4G,
  };
  expect(onRds(alone, (s) => s.acknowledge({ id: 'HA-1', reason: 'may be away for an hour' }))).toEqual(['OPS-12']);
});

test('OPS-4: alarms that nobody reads are a warning until somebody is subscribed', () => {
  const warnings = (subscribe: boolean) =>
    findings(({ stack, vpc }) => {
      const server = new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
      if (subscribe) server.alarmTopic!.addSubscription(new subscriptions.EmailSubscription('operators@example.com'));
      return server;
    }, 'warning');
  expect(warnings(false)).toEqual(['OPS-4']);
  expect(warnings(true)).toEqual([]);
});

describe('LIB-12: an identifier is there once in an account and region', () => {
  const other = (stack: Stack, vpc: ec2.IVpc, identifier: string, id = 'Other') =>
    new RdsPostgres(stack, id, { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, identifier });
  const of = (change: (made: ReturnType<typeof cleanStack>, first: RdsPostgres) => unknown) => {
    const made = cleanStack();
    change(made, other(made.stack, made.vpc, 'orders', 'Postgres'));
    try {
      made.app.synth();
    } catch {
      // What failed is in the report.
    }
    return JSON.parse(readFileSync(join(made.app.outdir, 'validation-report.json'), 'utf8'))
      .pluginReports.flatMap((r: any) => r.violations)
      .filter((v: any) => v.ruleName === 'LIB-12.identifier')
      .map((v: any) => v.description);
  };

  test('two servers with one are named, both, once', () =>
    expect(of(({ stack, vpc }) => other(stack, vpc, 'orders'))).toEqual([
      "Test/Other: the identifier 'orders' is also that of Test/Postgres",
    ]));

  test('so are those of two stacks, an instance of aws-rds, and a read replica', () => {
    expect(
      of(({ app, vpc }) =>
        other(new Stack(app, 'Second', { env: { account: '123456789012', region: 'eu-central-1' } }), vpc, 'orders'),
      ),
    ).toEqual(["Second/Other: the identifier 'orders' is also that of Test/Postgres"]);
    expect(
      of(({ stack, vpc }) => {
        const engine = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.VER_16 });
        return new rds.DatabaseInstance(stack, 'Own', {
          engine,
          vpc,
          vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
          instanceIdentifier: 'Orders',
        });
      }),
    ).toEqual(["Test/Postgres: the identifier 'orders' is also that of Test/Own"]);
    expect(
      of((_made, first) =>
        first.addReadReplica('Reports', {
          purpose: 'reports',
          conflicts: ConflictPolicy.fresh(),
          identifier: 'orders',
        }),
      ),
    ).toEqual(["Test/Postgres/Reports: the identifier 'orders' is also that of Test/Postgres"]);
  });

  test('another one, another region and a cluster beside an instance are no matter', () => {
    expect(of(({ stack, vpc }) => other(stack, vpc, 'orders-2'))).toEqual([]);
    expect(
      of(({ app }) => {
        const stack = new Stack(app, 'Far', { env: { account: '123456789012', region: 'eu-west-1' } });
        return other(stack, new ec2.Vpc(stack, 'Vpc'), 'orders');
      }),
    ).toEqual([]);
    expect(
      of(
        ({ stack, vpc }) =>
          new AuroraPostgres(stack, 'Cluster', {
            vpc,
            version: PostgresVersion.V18,
            objectives: OBJECTIVES,
            identifier: 'orders',
          }),
      ),
    ).toEqual([]);
  });
});
