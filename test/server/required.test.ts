import { Duration, Lazy, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { AuroraPostgres, PostgresVersion, RdsPostgres, SharedPostgres } from '../../lib';
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
];

describe.each([
  ['RdsPostgres', RdsPostgres],
  ['AuroraPostgres', AuroraPostgres],
] as const)('%s', (_name, Server: new (...args: any[]) => unknown) => {
  const make = (props: object) => {
    const { stack, vpc } = cleanStack();
    return new Server(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, ...props });
  };

  test('is made with all of it', () => expect(() => make({ port: 5433 })).not.toThrow());

  test.each(CASES)('fails for %s, and says what to write', (_what, props, message) => {
    expect(() => make(props)).toThrow(message);
    expect(() => make(props)).toThrow(/^Test\/Postgres: /);
  });
});

test.each<[string, object, RegExp]>([
  ['no identity', { identity: undefined }, /^Test\/Postgres: identity is missing; write the server's resource id/],
  ['no version', { version: undefined }, /^Test\/Postgres: version is missing/],
  ['a port as text', { port: '5433' }, /^Test\/Postgres: port is '5433'/],
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
