import { Duration, Lazy, aws_ec2 as ec2, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import {
  AuroraPostgres,
  ConflictPolicy,
  Defaults,
  HardeningItem,
  MultiAzPostgres,
  Pooler,
  PostgresHardening,
  PostgresProfile,
  PostgresVersion,
  RdsPostgres,
  SharedPostgres,
} from '../../lib';
import { OBJECTIVES, cleanStack, quiet } from './support';

quiet();

// What no compiler has looked at: plain JavaScript, tsx, `as any`.
const CASES: [string, object, RegExp][] = [
  [
    'no objectives',
    { objectives: undefined },
    /objectives is missing; write .*objectives: { rpo: Duration\.minutes\(5\)/,
  ],
  ['empty objectives', { objectives: {} }, /objectives\.rpo is missing; write how much work may be lost/],
  ['no rto', { objectives: { rpo: Duration.minutes(5) } }, /objectives\.rto is missing; write how long/],
  ['an rpo in minutes', { objectives: { ...OBJECTIVES, rpo: 5 } }, /objectives\.rpo is 5; write a literal Duration/],
  [
    'an rpo that is a token',
    { objectives: { ...OBJECTIVES, rpo: Duration.minutes(Lazy.number({ produce: () => 5 })) } },
    /objectives\.rpo is a token; write a literal Duration/,
  ],
  ['no version', { version: undefined }, /version is missing; write .*PostgresVersion\.V18/],
  ['a version as text', { version: '18' }, /version is '18'; write one as PostgresVersion\.V18/],
  ['a port as text', { port: '5433' }, /port is '5433', a string; write port: 5433, without quotes/],
  ['a profile as text', { profile: 'production' }, /profile is 'production'; write PostgresProfile\.production\(\) or/],
  ['a profile that is none', { profile: { isProduction: true } }, /profile is a Object; write PostgresProfile/],
  ['defaults that are none', { defaults: 'V3' }, /defaults is 'V3'; write Defaults\.V1 or Defaults\.V2/],
  [
    'a class as RDS writes it',
    { instanceType: new ec2.InstanceType('db.r7g.large') },
    /instanceType is 'db\.r7g\.large'; leave out 'db\.', .* new InstanceType\('r7g\.large'\)/,
  ],
  ...['admin', 'rdsadmin', 'rds_superuser', 'user', 'table', 'public'].map((name): [string, object, RegExp] => [
    `a master user ${name}`,
    { masterUsername: name },
    new RegExp(`masterUsername is '${name}'; RDS for PostgreSQL refuses it as a reserved word; choose another`),
  ]),
  ...['', '1st', '_owner', 'the-owner', 'ö', 'a'.repeat(64)].map((name): [string, object, RegExp] => [
    `a master user '${name}'`,
    { masterUsername: name },
    new RegExp(`masterUsername is '${name}'; RDS takes 1 to 63 letters, digits and underscores, a letter first`),
  ]),
  ['a master user in capitals', { masterUsername: 'Chief' }, /masterUsername is 'Chief'; .*; write 'chief'/],
  ['a master user of PostgreSQL', { masterUsername: 'pg_dba' }, /masterUsername is 'pg_dba'; PostgreSQL reserves/],
  [
    'the id of a network',
    { vpc: 'vpc-123' },
    /vpc is 'vpc-123'; write ec2\.Vpc\.fromLookup\(this, 'Vpc', { vpcId: 'vpc-123' }\)/,
  ],
  [
    'a number of days',
    { pointInTimeRecovery: 21 },
    /pointInTimeRecovery is 21; write a Duration, such as Duration\.days\(21\)/,
  ],
  ['no days', { pointInTimeRecovery: 0 }, /pointInTimeRecovery is 0; write a Duration, such as Duration\.days\(14\)/],
  [
    'days as text',
    { passwordRotation: '30d' },
    /passwordRotation is '30d'; write a Duration, such as Duration\.days\(30\)/,
  ],
  ['a number of seconds', { monitoringInterval: 60 }, /monitoringInterval is 60; write .* Duration\.seconds\(60\)/],
];

describe.each([
  ['RdsPostgres', RdsPostgres],
  ['AuroraPostgres', AuroraPostgres],
] as const)('%s', (_name, Server: new (...args: any[]) => unknown) => {
  const make = (props: object) => {
    const { stack, vpc } = cleanStack();
    return new Server(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, ...props });
  };

  test.each<[string, object]>([
    ['all of it', { port: 5433 }],
    ['a profile and defaults', { profile: PostgresProfile.development(), defaults: Defaults.V2 }],
    ['a class', { instanceType: new ec2.InstanceType('r7g.large') }],
    ['the longest master user', { masterUsername: 'a'.repeat(63) }],
    ['a master user of letters, digits and underscores', { masterUsername: 'admin_of_all_2' }],
  ])('is made with %s', (_what, props) => expect(() => make(props)).not.toThrow());

  test.each(CASES)('fails for %s, and says what to write', (_what, props, message) => {
    expect(() => make(props)).toThrow(message);
    expect(() => make(props)).toThrow(/^Test\/Postgres: /);
  });
});

test.each<[string, object, RegExp]>([
  ['no identity', { identity: undefined }, /^Test\/Postgres: identity is missing; write the server's resource id/],
  ['no version', { version: undefined }, /^Test\/Postgres: version is missing/],
  ['a port as text', { port: '5433' }, /^Test\/Postgres: port is '5433'/],
  ['a profile as text', { profile: 'development' }, /^Test\/Postgres: profile is 'development'; write/],
  ['defaults that are none', { defaults: 'V3' }, /^Test\/Postgres: defaults is 'V3'; write/],
])('SharedPostgres.fromServerAttributes() fails for %s', (_what, attributes, message) => {
  const { stack, vpc } = cleanStack();
  expect(() =>
    SharedPostgres.fromServerAttributes(stack, 'Postgres', {
      host: 'db.example.com',
      identity: 'db-ABC',
      adminSecret: new secretsmanager.Secret(stack, 'Admin'),
      version: PostgresVersion.V18,
      vpc,
      securityGroups: [],
      ...attributes,
    }),
  ).toThrow(message);
});

test.each([RdsPostgres, AuroraPostgres])('%p fails without any properties', (Server) => {
  const { stack } = cleanStack();
  expect(() => new Server(stack, 'Postgres', undefined as never)).toThrow(
    /^Test\/Postgres: its properties are missing; write an object, such as { vpc, version: PostgresVersion\.V18, objectives }/,
  );
});

test('MultiAzPostgres fails for storage as a number', () => {
  const { stack, vpc } = cleanStack();
  const props = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, allocatedStorage: 200 as never };
  expect(() => new MultiAzPostgres(stack, 'Postgres', props)).toThrow(
    /^Test\/Postgres: allocatedStorage is 200; write a Size, such as Size\.gibibytes\(200\)/,
  );
});

describe('an RdsPostgres', () => {
  const make = (props: object = {}) => {
    const { stack, vpc } = cleanStack();
    return new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, ...props });
  };

  test.each<[object, RegExp]>([
    [{ allocatedStorage: 200 }, /: allocatedStorage is 200; write a Size, such as Size\.gibibytes\(200\)/],
    [{ allocatedStorage: '200 GiB' }, /: allocatedStorage is '200 GiB'; write a Size, such as Size\.gibibytes\(100\)/],
    [{ maxAllocatedStorage: 500 }, /: maxAllocatedStorage is 500; write a Size, such as Size\.gibibytes\(500\)/],
    [
      { backupReplication: { region: 'eu-west-1' } },
      /: backupReplication\.encryptionKey is missing; pass a customer key of eu-west-1/,
    ],
  ])('fails for %j', (props, message) => {
    expect(() => make(props)).toThrow(message);
    expect(() => make(props)).toThrow(/^Test\/Postgres: /);
  });

  // What is called as plain JavaScript calls it.
  test.each<[string, (server: any) => unknown, RegExp]>([
    [
      'a timeout',
      (server) => server.addDatabase('app').addLoginRole('api', { statementTimeout: 15 }),
      /^Test\/Postgres\/.*: statementTimeout is 15; write .* Duration\.seconds\(15\)/,
    ],
    [
      'the interval of the monitoring',
      (server) => server.addMonitoring({ every: '1h' }),
      /^Test\/Postgres: every is '1h'; write .* Duration\.minutes\(5\)/,
    ],
    [
      'the interval of the drift detection',
      (server) => server.addDriftDetection({ every: 2 }),
      /^Test\/Postgres: every is 2; write .* Duration\.hours\(2\)/,
    ],
    [
      'a schedule',
      (server) => server.addFailoverTest({ schedule: Duration.days(7) }),
      /^Test\/Postgres: addFailoverTest\({ schedule }\) .* write events\.Schedule\.rate\(that duration\)/,
    ],
    [
      'an outage',
      (server) => server.addFailoverTest({ maxOutage: 2 }),
      /^Test\/Postgres: maxOutage is 2; write .* Duration\.minutes\(2\)/,
    ],
    [
      'a replica without options',
      (server) => server.addReadReplica('R'),
      /^Test\/Postgres\/R: purpose is missing; say what the replica is for/,
    ],
    [
      'the lag of a replica',
      (server) => server.addReadReplica('R', { purpose: 'p', conflicts: ConflictPolicy.fresh(), maxLag: 60 }),
      /^Test\/Postgres\/R: maxLag is 60; write .* Duration\.seconds\(60\)/,
    ],
    [
      'an acknowledgement without a reason',
      (server) => server.acknowledge({ id: 'HA-1' }),
      /^Test\/Postgres: acknowledge\({ id: 'HA-1' }\) has no reason/,
    ],
    [
      'an acknowledged plan without a reason',
      (server) => server.acknowledgePlan('0123456789abcdef'),
      /^Test\/Postgres: .* needs a reason/,
    ],
    [
      'the timeout of a pooler',
      (server) => server.addPooler('Pool', Pooler.rdsProxy({ borrowTimeout: 10 as never })),
      /: borrowTimeout is 10; write .* Duration\.seconds\(10\)/,
    ],
  ])('fails for %s that has another type', (_what, use, message) => {
    const server = make();
    expect(() => use(server)).toThrow(message);
  });
});

test('PostgresHardening fails for an item without a reason', () => {
  const enforce = [{ item: HardeningItem.DELETION_PROTECTION } as never];
  expect(() => new PostgresHardening({ enforce })).toThrow(/deletion-protection is enforced without a reason/);
});

describe('a property that is misspelt, where no compiler looks', () => {
  const server = (props: object, Server: typeof RdsPostgres | typeof AuroraPostgres = RdsPostgres) => {
    const { stack, vpc } = cleanStack();
    return new Server(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      ...props,
    } as never);
  };

  test.each<[object, RegExp]>([
    [
      { multiAZ: true },
      /^Test\/Postgres: multiAZ is no property of it, so that it would have no effect; write multiAz$/,
    ],
    [{ deletionProtecton: false }, /; write deletionProtection$/],
    [{ backupCopie: [] }, /; write backupCopies$/],
  ])('of a server: %j', (props, message) => expect(() => server(props)).toThrow(message));

  test('of what is declared inside, of a grant and of monitoring', () => {
    const app = server({}).addDatabase('app');
    expect(() => app.addLoginRole('api', { connectionlimit: 3 } as object)).toThrow(
      /Role-api: connectionlimit is no property of it, .*; write connectionLimit/,
    );
    expect(() => app.addSchema('s', { ower: 'x' } as object)).toThrow(/ower is no property of it, .*; write owner/);
    expect(() => server({}).addMonitoring({ dashbord: false } as object)).toThrow(
      /addMonitoring\(\): dashbord .*; write dashboard/,
    );
  });

  test('what is none of ours is passed over, as where one object is for two constructs', () => {
    expect(() => server({ readers: 2, stage: 'prod', tags: {} })).not.toThrow();
    expect(() => server({ multiAz: true }, AuroraPostgres)).not.toThrow();
    expect(() => server({ multiAZ: undefined })).not.toThrow();
  });

  test('and a class of a user has the properties of the one that it extends', () => {
    class Ours extends RdsPostgres {}
    const { stack, vpc } = cleanStack();
    const props = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES };
    expect(() => new Ours(stack, 'Postgres', { ...props, multiAZ: true } as never)).toThrow(/write multiAz/);
  });
});
