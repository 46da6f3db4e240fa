import { aws_ec2 as ec2, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { ExternalEndpoint, ExternalPostgres, ServerTrust } from '../../lib/server/external-postgres';
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
  ['an impossible port', { port: 70000 }, /port is 70000/],
])('fails for %s', (_what, endpoint, message) => expect(() => make(endpoint)).toThrow(message));

test('addVpcEndpoints() needs a VPC', () =>
  expect(() => make().server.addVpcEndpoints()).toThrow(/Test\/Postgres: addVpcEndpoints\(\) needs the vpc/));

test('an own authority must be a certificate', () => {
  expect(() => ServerTrust.pem('secret')).toThrow(/-----BEGIN CERTIFICATE-----/);
  expect(ServerTrust.pem('-----BEGIN CERTIFICATE-----\nMII').value).toContain('MII');
});
