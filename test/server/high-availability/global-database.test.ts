import { Duration, Stack, aws_ec2 as ec2, aws_iam as iam } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  AuroraPostgres,
  Authentication,
  GlobalDatabaseOptions,
  GlobalSecondary,
  GlobalSecondaryProps,
  Pooler,
  PostgresVersion,
} from '../../../lib';
import { errorsOfFivePacks } from '../../compliance/five-packs';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

function make(
  options: GlobalDatabaseOptions = {},
  more: Partial<GlobalSecondaryProps> = {},
  region = 'eu-west-1',
  account = '123456789012',
) {
  const { app, stack, vpc } = cleanStack();
  const server = new AuroraPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V17,
    objectives: OBJECTIVES,
    identifier: 'orders',
    parameters: { wal_sender_timeout: '20000' },
    instanceParameters: { log_min_duration_statement: '250' },
  });
  const global = server.addGlobalDatabase(options);
  const there = new Stack(app, 'There', { env: { account, region }, terminationProtection: true });
  const own = new ec2.Vpc(there, 'Vpc', { natGateways: 1, maxAzs: 2 });
  const secondary = new GlobalSecondary(there, 'Secondary', {
    globalDatabase: global,
    vpc: own,
    identifier: 'orders-dr',
    ...more,
  });
  return { app, stack, server, global, there, secondary };
}

describe('HA-18: Aurora Global Database', () => {
  test('the primary is taken as it is', () => {
    const { stack, server } = make();
    Template.fromStack(stack).hasResource('AWS::RDS::GlobalCluster', {
      DeletionPolicy: 'Retain',
      Properties: {
        GlobalClusterIdentifier: 'orders-global',
        SourceDBClusterIdentifier: stack.resolve(server.cluster.clusterIdentifier),
        DeletionProtection: true,
      },
    });
    const alone = cleanStack();
    new AuroraPostgres(alone.stack, 'Postgres', {
      vpc: alone.vpc,
      version: PostgresVersion.V17,
      objectives: OBJECTIVES,
      identifier: 'orders',
      parameters: { wal_sender_timeout: '20000' },
      instanceParameters: { log_min_duration_statement: '250' },
    });
    const clusters = (one: Stack) => Template.fromStack(one).findResources('AWS::RDS::DBCluster');
    expect(clusters(stack)).toEqual(clusters(alone.stack));
  });

  test('a secondary joins by name, without a master of its own, under a key of its region', () => {
    const { there, secondary, stack } = make();
    const template = Template.fromStack(there);
    template.hasResourceProperties('AWS::RDS::DBCluster', {
      GlobalClusterIdentifier: 'orders-global',
      MasterUsername: Match.absent(),
      MasterUserPassword: Match.absent(),
      KmsKeyId: there.resolve(secondary.encryptionKey.keyArn),
      StorageEncrypted: true,
      SourceRegion: 'eu-central-1',
      DeletionProtection: true,
    });
    template.resourceCountIs('AWS::RDS::DBInstance', 1);
    template.hasResourceProperties('AWS::RDS::DBInstance', { DBInstanceClass: 'db.r7g.large', PromotionTier: 1 });
    template.resourceCountIs('Custom::CdkPostgresDeployGuard', 1);
    expect(there.dependencies).toContain(stack);
    expect(JSON.stringify(template.toJSON())).not.toContain('Fn::ImportValue');
  });

  test('has the parameters of the primary, of the cluster and of the nodes, for the day on which it is one', () => {
    const template = Template.fromStack(make().there);
    template.hasResourceProperties('AWS::RDS::DBClusterParameterGroup', {
      Parameters: Match.objectLike({ wal_sender_timeout: '20000' }),
    });
    template.hasResourceProperties('AWS::RDS::DBParameterGroup', {
      Parameters: Match.objectLike({ log_min_duration_statement: '250' }),
    });
  });

  test('a headless secondary has storage and no node', () => {
    const template = Template.fromStack(make({}, { readers: 0 }).there);
    template.resourceCountIs('AWS::RDS::DBCluster', 1);
    template.resourceCountIs('AWS::RDS::DBInstance', 0);
    template.resourceCountIs('AWS::RDS::DBParameterGroup', 0);
  });

  test('what a failover may lose is a parameter of the primary', () =>
    Template.fromStack(make({ rpo: Duration.minutes(1) }).stack).hasResourceProperties(
      'AWS::RDS::DBClusterParameterGroup',
      {
        Parameters: Match.objectLike({ 'rds.global_db_rpo': '60' }),
      },
    ));

  test('HA-13: its lag has an alarm in its region', () => {
    const { there } = make({}, { maxLag: Duration.seconds(10) });
    Template.fromStack(there).hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'AuroraGlobalDBReplicationLag',
      Threshold: 10_000,
      AlarmActions: [Match.anyValue()],
    });
  });

  test.each<[string, () => unknown, RegExp]>([
    ['an rpo under 20 seconds', () => make({ rpo: Duration.seconds(5) }), /rpo is 5 seconds; Aurora takes 20 or more/],
    ['a name with capitals', () => make({ identifier: 'Orders' }), /identifier 'Orders' must start with a letter/],
    ['the region of the primary', () => make({}, {}, 'eu-central-1'), /a secondary stands in another region/],
    ['seventeen nodes', () => make({}, { readers: 17 }), /readers is 17/],
    [
      'a burstable class',
      () => make({}, { instanceType: ec2.InstanceType.of(ec2.InstanceClass.T4G, ec2.InstanceSize.MEDIUM) }),
      /does not take the class t4g.medium/,
    ],
    [
      'another account',
      () => make({}, {}, 'eu-west-1', '210987654321'),
      /^There\/Secondary: this stack is in the account 210987654321, and the primary Test\/Postgres in 123456789012; .* that account/,
    ],
    [
      'a network of another region',
      () => make({}, { vpc: cleanStack().vpc }),
      /^There\/Secondary: vpc is Test\/Vpc, a network in eu-central-1, and this stack is in eu-west-1; pass one in eu-west-1/,
    ],
  ])('%s is an error', (_what, build, message) => expect(build).toThrow(message));

  test('a network that was looked up in the region is taken', () =>
    expect(() => {
      const { there, global } = make();
      const vpc = ec2.Vpc.fromLookup(there, 'Known', { vpcId: 'vpc-1' });
      new GlobalSecondary(there, 'Second', { globalDatabase: global, vpc });
    }).not.toThrow());

  test('nobody is let in at a headless secondary, where nobody answers', () => {
    const connect = (readers: number) => () => {
      const { server, secondary } = make({}, { readers });
      const role = server.addDatabase('app').addLoginRole('api', { authentication: Authentication.iam() });
      const peer = new ec2.Connections({ peer: ec2.Peer.ipv4('10.0.0.0/16') });
      role.grantConnect(new iam.Role(server, 'App', { assumedBy: new iam.AccountRootPrincipal() }), {
        endpoint: secondary,
        connections: peer,
        maxConnections: 2,
      });
    };
    expect(connect(0)).toThrow(
      /^Test\/Postgres\/\S+: grantConnect\(\{ endpoint \}\) names an endpoint without a node, .* readers: 0, .*; set readers to 1 or more/,
    );
    expect(connect(1)).not.toThrow();
    const { server, secondary } = make({}, { readers: 0 });
    expect(() => server.addPooler('Reads', Pooler.pgBouncer({ endpoint: secondary }))).toThrow(
      /^Test\/Postgres\/Reads: Pooler\.pgBouncer\(\{ endpoint \}\) names an endpoint without a node/,
    );
  });

  test('no error in the five packs but those of the network', () =>
    expect(errorsOfFivePacks(make().app).filter((error) => !/There\/Vpc/.test(error))).toEqual([]));
});
