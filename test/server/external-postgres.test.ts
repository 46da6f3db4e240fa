import { Duration, Lazy, aws_ec2 as ec2, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { ExternalEndpoint, ExternalPostgres, ServerTrust } from '../../lib/server/external-postgres';
import { PostgresVersion } from '../../lib/server/postgres-version';
import { cleanStack, quiet } from './support';

quiet();

function make(endpoint: Partial<ExternalEndpoint> = {}) {
  const { stack, vpc } = cleanStack();
  const adminSecret = secretsmanager.Secret.fromSecretCompleteArn(
    stack,
    'Admin',
    'arn:aws:secretsmanager:eu-central-1:123456789012:secret:admin-AbCdEf',
  );
  const server = ExternalPostgres.fromEndpoint(stack, 'Postgres', {
    host: 'db.example.com',
    adminSecret,
    identity: 'project-1',
    ...endpoint,
  });
  return { stack, vpc, server };
}

test('is what it was told, and makes no server', () => {
  const { server, stack } = make({ readerHost: 'ro.example.com', port: 6543 });
  expect([server.host, server.readerHost, server.port, server.identity]).toEqual([
    'db.example.com',
    'ro.example.com',
    6543,
    'project-1',
  ]);
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::RDS::DBInstance', 0);
  template.resourceCountIs('AWS::RDS::DBCluster', 0);
});

test('speaks 5432 unless told otherwise', () => expect(make().server.port).toBe(5432));

test('lets a client in through the security groups it was given', () => {
  const { stack, vpc } = cleanStack();
  const group = new ec2.SecurityGroup(stack, 'Group', { vpc, allowAllOutbound: false });
  const adminSecret = new secretsmanager.Secret(stack, 'Admin');
  const server = ExternalPostgres.fromEndpoint(stack, 'Postgres', {
    host: 'h',
    adminSecret,
    identity: 'i',
    vpc,
    securityGroups: [group],
  });
  server.connections.allowDefaultPortFrom(ec2.Peer.ipv4('10.0.0.0/24'));
  Template.fromStack(stack).hasResourceProperties('AWS::EC2::SecurityGroup', {
    SecurityGroupIngress: [{ CidrIp: '10.0.0.0/24', FromPort: 5432 }],
  });
});

test.each<[string, Partial<ExternalEndpoint>, RegExp]>([
  ['no host', { host: ' ' }, /Test\/Postgres: host is empty/],
  ['no identity', { identity: '' }, /identity is empty/],
  ['a URL as its host', { host: 'postgres://u:hidden@h:1/x' }, /Test\/Postgres: host must be a host name(?!.*hidden)/],
  ['a user in its host', { host: 'u:hidden@h' }, /host must be a host name(?!.*hidden)/],
  ['a port in its host', { host: 'db.example.com:5432' }, /host must be a host name.*the port has a prop/],
  ['spaces around its host', { host: ' db ' }, /host must be a host name/],
  ['a URL as the host of its readers', { readerHost: 'https://h' }, /Test\/Postgres: readerHost must be a host name/],
  [
    'a rotation by the hour',
    { passwordRotation: Duration.hours(1) },
    /Test\/Postgres: passwordRotation must be 1 to 1000 whole days, not 1 hour/,
  ],
  ['a rotation by less than a day and more', { passwordRotation: Duration.hours(36) }, /must be 1 to 1000 whole days/],
  ['no time between rotations', { passwordRotation: Duration.days(0) }, /must be 1 to 1000 whole days/],
  ['a rotation after years', { passwordRotation: Duration.days(1001) }, /1 to 1000 whole days, not 1001 days/],
  ['a rotation that is a token', { passwordRotation: Duration.days(Lazy.number({ produce: () => 3 })) }, /not a token/],
  ['a state without a name', { stateName: '' }, /Test\/Postgres: stateName is empty/],
  [
    'a state whose name is a token',
    { stateName: Lazy.string({ produce: () => 'x' }) },
    /Test\/Postgres: stateName must be a literal text; a token/,
  ],
  ['a missing identity', { identity: undefined }, /Test\/Postgres: identity is missing; write what the server is/],
  ['a missing host', { host: undefined }, /Test\/Postgres: host is missing; write the host name/],
  ['a missing secret', { adminSecret: undefined }, /Test\/Postgres: adminSecret is missing; pass the secret/],
  ['a version as text', { version: '18' as any }, /Test\/Postgres: version is '18'; write one as PostgresVersion\.V18/],
  [
    'a port as text',
    { port: '5433' as any },
    /Test\/Postgres: port is '5433', a string; write port: 5433, without quotes/,
  ],
  ['a port in words', { port: 'default' as any }, /port is 'default', a string; write a number/],
  ['an impossible port', { port: 70000 }, /port is 70000/],
])('fails for %s', (_what, endpoint, message) => expect(() => make(endpoint)).toThrow(message));

test.each(['10.0.0.1', '::1', 'fe80::1', 'db', 'db.example.com.', 'db_1.example.com'])('takes %s as its host', (host) =>
  expect(make({ host }).server.host).toBe(host),
);

test('takes a host that is known at deployment alone', () => {
  const host = Lazy.string({ produce: () => 'h' });
  expect(make({ host }).server.host).toBe(host);
});

test.each([1, 1000])('rotates passwords every %i days', (days) => {
  const { server, stack } = make({ passwordRotation: Duration.days(days) });
  server.addDatabase('app').addLoginRole('api');
  Template.fromStack(stack).hasResourceProperties('AWS::SecretsManager::RotationSchedule', {
    RotationRules: { AutomaticallyAfterDays: days },
  });
});

test('without a version, a setting of any version is taken; with one, of that one', () => {
  const settings = { transaction_timeout: '5s' };
  const declare = (version?: PostgresVersion) => make({ version }).server.addDatabase('app', { settings });
  expect(() => declare()).not.toThrow();
  expect(() => declare(PostgresVersion.V17)).not.toThrow();
  expect(() => declare(PostgresVersion.V16)).toThrow(
    'Test/Postgres/Database-app: settings cannot have transaction_timeout: PostgreSQL 16 does not know it, and 17 and 18 do',
  );
  expect(() => make().server.addDatabase('app', { settings: { work_men: '5MB' } })).toThrow('did you mean work_mem?');
});

test('addVpcEndpoints() needs a VPC', () =>
  expect(() => make().server.addVpcEndpoints()).toThrow(/Test\/Postgres: addVpcEndpoints\(\) needs the vpc/));

test('an own authority must be a certificate', () => {
  expect(() => ServerTrust.pem('secret')).toThrow(/-----BEGIN CERTIFICATE-----/);
  expect(ServerTrust.pem('-----BEGIN CERTIFICATE-----\nMII').value).toContain('MII');
});
