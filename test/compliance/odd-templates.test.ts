import { CfnResource, Stack, aws_ec2 as ec2, aws_rds as rds } from 'aws-cdk-lib';
import { quiet } from '../server/support';
import { checked, rulesOf } from './checked';

quiet();

/** Everything that a weak instance is told. */
const WEAK_INSTANCE = ['BK-3', 'BK-15', 'HA-1'];

const instance = (stack: Stack, props: rds.CfnDBInstanceProps) =>
  new rds.CfnDBInstance(stack, 'Server', { engine: 'postgres', engineVersion: '17.5', ...props });

const found = (build: (stack: Stack) => void) => rulesOf(checked(build));

test('BK-3, BK-15, HA-1: an instance that is restored to a moment names a source as a replica does, and is judged', () => {
  const source = { sourceDbInstanceIdentifier: 'orders' };
  expect(found((stack) => void instance(stack, { ...source, restoreTime: '2026-01-01T00:00:00Z' }))).toEqual(
    expect.arrayContaining(WEAK_INSTANCE),
  );
  expect(found((stack) => void instance(stack, { ...source, useLatestRestorableTime: true }))).toEqual(
    expect.arrayContaining(WEAK_INSTANCE),
  );
  // It is encrypted as its source is.
  expect(found((stack) => void instance(stack, { ...source, useLatestRestorableTime: true }))).not.toContain('SEC-22');
  // A replica itself is judged by what it follows.
  for (const replica of [source, { ...source, useLatestRestorableTime: false }])
    for (const rule of WEAK_INSTANCE) expect(found((stack) => void instance(stack, replica))).not.toContain(rule);
});

test('BK-3, BK-15: a cluster that is restored to a moment is no replica', () => {
  const cluster = (props: rds.CfnDBClusterProps) => (stack: Stack) =>
    void new rds.CfnDBCluster(stack, 'Cluster', { engine: 'aurora-postgresql', ...props });
  const restored = found(cluster({ sourceDbClusterIdentifier: 'orders', useLatestRestorableTime: true }));
  expect(restored).toEqual(expect.arrayContaining(['BK-3', 'BK-15']));
  expect(restored).not.toContain('SEC-22');
  const following = found(cluster({ replicationSourceIdentifier: 'arn:aws:rds:eu-west-1:123456789012:cluster:a' }));
  for (const rule of ['BK-3', 'BK-15']) expect(following).not.toContain(rule);
});

test('what is left out by AWS::NoValue or null is not set', () => {
  const without = (property: string, value: unknown) =>
    found((stack) => {
      instance(stack, { storageEncrypted: false });
      const server = stack.node.findChild('Server') as CfnResource;
      server.addPropertyOverride(property, value);
    });
  const NO_VALUE = { Ref: 'AWS::NoValue' };
  for (const property of ['SourceDBInstanceIdentifier', 'DBSnapshotIdentifier', 'DBClusterIdentifier'])
    for (const value of [NO_VALUE, null])
      expect(without(property, value)).toEqual(expect.arrayContaining([...WEAK_INSTANCE, 'SEC-22', 'LR-21', 'SEC-21']));
  expect(without('EngineLifecycleSupport', NO_VALUE)).toContain('LR-21');
  expect(without('EnableCloudwatchLogsExports', NO_VALUE)).toContain('SEC-21');
});

test('OPS-7: what a node says holds for it, whatever its cluster says', () => {
  const autovacuum = (ofCluster: string, ofNode: string) =>
    found((stack) => {
      const family = 'aurora-postgresql17';
      const ofTheCluster = new rds.CfnDBClusterParameterGroup(stack, 'ClusterGroup', {
        family,
        description: 'of the cluster',
        parameters: { autovacuum: ofCluster },
      });
      const ofTheNode = new rds.CfnDBParameterGroup(stack, 'NodeGroup', {
        family,
        description: 'of the node',
        parameters: { autovacuum: ofNode },
      });
      const cluster = new rds.CfnDBCluster(stack, 'Cluster', {
        engine: 'aurora-postgresql',
        dbClusterParameterGroupName: ofTheCluster.ref,
      });
      new rds.CfnDBInstance(stack, 'Node', {
        engine: 'aurora-postgresql',
        dbClusterIdentifier: cluster.ref,
        dbParameterGroupName: ofTheNode.ref,
      });
    });
  expect(autovacuum('1', '0')).toContain('OPS-7');
  expect(autovacuum('0', '1')).not.toContain('OPS-7');
});

test.each([
  ['0.0.0.0/1', true],
  ['128.0.0.0/1', true],
  ['0::0/0', true],
  ['8000::/1', true],
  ['10.0.0.0/8', false],
  ['172.16.0.0/12', false],
  ['2001:db8::/32', false],
])('SEC-15: %s is everybody: %s', (cidr, everybody) => {
  const rules = found((stack) => {
    const group = new ec2.CfnSecurityGroup(stack, 'Group', {
      groupDescription: 'of the server',
      securityGroupIngress: [{ ipProtocol: 'tcp', ...(cidr.includes(':') ? { cidrIpv6: cidr } : { cidrIp: cidr }) }],
    });
    instance(stack, { vpcSecurityGroups: [group.attrGroupId] });
  });
  expect(rules.includes('SEC-15.ingress')).toBe(everybody);
});

test('no property, null or condition in any place makes a rule fail', () => {
  const ODD: unknown[] = [
    null,
    [],
    {},
    0,
    '',
    { Ref: 'AWS::NoValue' },
    { 'Fn::If': ['C', true, { Ref: 'AWS::NoValue' }] },
    [{ 'Fn::If': ['C', null, 1] }],
    [null],
    { 'Fn::GetAtt': null },
    { Ref: 1 },
    '{{resolve:ssm:x}}',
  ];
  const properties =
    'Engine EngineVersion DBClusterIdentifier DBParameterGroupName VPCSecurityGroups EnableCloudwatchLogsExports KmsKeyId MultiAZ BackupRetentionPeriod MasterUserPassword MaxAllocatedStorage AllocatedStorage CACertificateIdentifier SourceDBInstanceIdentifier DBInstanceClass'.split(
      ' ',
    );
  for (const value of ODD) {
    const unchecked = checked((stack) => {
      for (const property of properties)
        new CfnResource(stack, `Odd${property}`, {
          type: 'AWS::RDS::DBInstance',
          properties: { Engine: 'postgres', [property]: value },
        });
      new CfnResource(stack, 'Group', {
        type: 'AWS::RDS::DBParameterGroup',
        properties: { Parameters: value as object },
      });
      new CfnResource(stack, 'WithGroup', {
        type: 'AWS::RDS::DBInstance',
        properties: { Engine: 'postgres', DBParameterGroupName: { Ref: 'Group' } },
      });
      const bare = new CfnResource(stack, 'Bare', { type: 'AWS::RDS::DBInstance' });
      bare.addOverride('Properties', value);
    }).filter(({ rule }) => rule.endsWith('.unchecked'));
    expect(unchecked).toEqual([]);
  }
});
