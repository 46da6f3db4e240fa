import { Duration, Lazy, aws_ec2 as ec2, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { AuroraPostgres, Defaults, PostgresProfile, PostgresVersion, RdsPostgres, SharedPostgres } from '../../lib';
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
