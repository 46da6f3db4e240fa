import {
  App,
  Aspects,
  CfnElement,
  CfnParameter,
  CfnResource,
  Duration,
  Fn,
  IAspect,
  NestedStack,
  RemovalPolicy,
  SecretValue,
  Stack,
  Stage,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_rds as rds,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { IConstruct } from 'constructs';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { AuroraPostgres, PostgresProfile, PostgresVersion, RdsPostgres } from '../../lib';
import { OBJECTIVES, quiet } from '../server/support';
import { checked, rulesOf } from './checked';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const V17 = rds.DatabaseInstanceEngine.postgres({ version: rds.PostgresEngineVersion.VER_17 });
const AURORA = rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.VER_16_4 });
const vpcOf = (stack: Stack) => new ec2.Vpc(stack, 'Vpc', { restrictDefaultSecurityGroup: false });

/** What every server of aws-rds has that nobody said more about. */
const UNSAID = ['LR-21', 'OPS-6', 'SEC-20', 'SEC-21'];

/** As a careful team writes it. */
const careful = (stack: Stack): rds.DatabaseInstanceProps => ({
  engine: V17,
  vpc: vpcOf(stack),
  instanceType: ec2.InstanceType.of(ec2.InstanceClass.R7G, ec2.InstanceSize.LARGE),
  multiAz: true,
  storageEncrypted: true,
  storageEncryptionKey: new kms.Key(stack, 'Key', { enableKeyRotation: true }),
  backupRetention: Duration.days(14),
  allocatedStorage: 100,
  maxAllocatedStorage: 500,
  deletionProtection: true,
  enablePerformanceInsights: true,
  cloudwatchLogsExports: ['postgresql', 'upgrade'],
  engineLifecycleSupport: rds.EngineLifecycleSupport.OPEN_SOURCE_RDS_EXTENDED_SUPPORT_DISABLED,
  parameters: { shared_preload_libraries: 'pg_stat_statements,pgaudit' },
});

/** Each with exactly the rules that it breaks, each of which is true of it. */
const STYLES: Record<string, [(stack: Stack, app: App) => void, string[]]> = {
  'L2 instance of a careful team': [(stack) => void new rds.DatabaseInstance(stack, 'Db', careful(stack)), []],
  'L2 instance with nothing said': [
    (stack) => void new rds.DatabaseInstance(stack, 'Db', { engine: V17, vpc: vpcOf(stack) }),
    ['BK-15', 'BK-3', 'HA-1', ...UNSAID, 'OPS-4', 'SEC-22'],
  ],
  'L2 instance of a public subnet, opened to everybody': [
    (stack) => {
      const props = careful(stack);
      const db = new rds.DatabaseInstance(stack, 'Db', { ...props, vpcSubnets: { subnetType: ec2.SubnetType.PUBLIC } });
      db.connections.allowDefaultPortFromAnyIpv4();
    },
    ['SEC-15', 'SEC-15.ingress'],
  ],
  'L2 instance that lets in a security group': [
    (stack) => {
      const props = careful(stack);
      const db = new rds.DatabaseInstance(stack, 'Db', props);
      db.connections.allowDefaultPortFrom(new ec2.SecurityGroup(stack, 'Consumer', { vpc: props.vpc }));
    },
    [],
  ],
  'L2 instance with a password in clear text': [
    (stack) =>
      void new rds.DatabaseInstance(stack, 'Db', {
        ...careful(stack),
        credentials: rds.Credentials.fromPassword('admin', SecretValue.unsafePlainText('correct horse')),
      }),
    ['SEC-18'],
  ],
  'L2 instance with a secret of its own': [
    (stack) =>
      void new rds.DatabaseInstance(stack, 'Db', {
        ...careful(stack),
        credentials: rds.Credentials.fromSecret(new secretsmanager.Secret(stack, 'Secret')),
      }),
    [],
  ],
  'L2 read replica': [
    (stack) => {
      const props = careful(stack);
      const source = new rds.DatabaseInstance(stack, 'Db', props);
      new rds.DatabaseInstanceReadReplica(stack, 'Replica', {
        sourceDatabaseInstance: source,
        vpc: props.vpc,
        instanceType: props.instanceType!,
        enablePerformanceInsights: true,
        maxAllocatedStorage: 500,
        cloudwatchLogsExports: ['postgresql'],
      });
    },
    [],
  ],
  'L2 instance from a snapshot': [
    (stack) => {
      const props = {
        ...careful(stack),
        storageEncryptionKey: undefined,
        storageEncrypted: undefined,
        credentials: undefined,
      };
      new rds.DatabaseInstanceFromSnapshot(stack, 'Db', { ...props, snapshotIdentifier: 'before-the-migration' });
    },
    [],
  ],
  'L2 Aurora cluster with writer and reader': [
    (stack) =>
      void new rds.DatabaseCluster(stack, 'Db', {
        engine: AURORA,
        vpc: vpcOf(stack),
        writer: rds.ClusterInstance.provisioned('w', {
          enablePerformanceInsights: true,
          instanceType: new ec2.InstanceType('r7g.large'),
        }),
        readers: [
          rds.ClusterInstance.provisioned('r', {
            enablePerformanceInsights: true,
            instanceType: new ec2.InstanceType('r7g.large'),
          }),
        ],
        storageEncrypted: true,
        storageEncryptionKey: new kms.Key(stack, 'Key'),
        backup: { retention: Duration.days(30) },
        deletionProtection: true,
        cloudwatchLogsExports: ['postgresql'],
        engineLifecycleSupport: rds.EngineLifecycleSupport.OPEN_SOURCE_RDS_EXTENDED_SUPPORT_DISABLED,
        parameters: { 'rds.force_ssl': '1', shared_preload_libraries: 'pg_stat_statements,pgaudit' },
      }),
    [],
  ],
  'L2 Aurora serverless with a writer alone': [
    (stack) =>
      void new rds.DatabaseCluster(stack, 'Db', {
        engine: AURORA,
        vpc: vpcOf(stack),
        writer: rds.ClusterInstance.serverlessV2('w'),
        removalPolicy: RemovalPolicy.DESTROY,
      }),
    ['BK-15', 'BK-3', 'HA-1', ...UNSAID, 'SEC-11', 'SEC-22'],
  ],
  'L2 cluster made with instanceProps, as before': [
    (stack) => {
      const vpc = vpcOf(stack);
      new rds.DatabaseCluster(stack, 'Db', {
        engine: AURORA,
        instances: 2,
        instanceProps: { vpc, instanceType: new ec2.InstanceType('t4g.medium') },
        storageEncrypted: true,
      });
    },
    ['BK-14', 'BK-15', 'BK-3', ...UNSAID, 'OPS-12', 'SEC-11'],
  ],
  'L2 servers that are imported': [
    (stack) => {
      rds.DatabaseInstance.fromDatabaseInstanceAttributes(stack, 'Instance', {
        instanceIdentifier: 'db',
        instanceEndpointAddress: 'db.example.com',
        port: 5432,
        securityGroups: [],
      });
      rds.DatabaseCluster.fromDatabaseClusterAttributes(stack, 'Cluster', { clusterIdentifier: 'cluster' });
    },
    [],
  ],
  'L2 proxy before an imported cluster': [
    (stack) => {
      const cluster = rds.DatabaseCluster.fromDatabaseClusterAttributes(stack, 'Cluster', {
        clusterIdentifier: 'cluster',
        engine: AURORA,
        port: 5432,
      });
      new rds.DatabaseProxy(stack, 'Proxy', {
        proxyTarget: rds.ProxyTarget.fromCluster(cluster),
        secrets: [new secretsmanager.Secret(stack, 'Secret')],
        vpc: vpcOf(stack),
      });
    },
    [],
  ],
  'MySQL, MariaDB and Aurora MySQL': [
    (stack) => {
      const vpc = vpcOf(stack);
      new rds.DatabaseInstance(stack, 'MySql', {
        engine: rds.DatabaseInstanceEngine.mysql({ version: rds.MysqlEngineVersion.VER_8_0 }),
        vpc,
      });
      new rds.CfnDBInstance(stack, 'Maria', { engine: 'mariadb', storageEncrypted: false });
      new rds.CfnDBCluster(stack, 'AuroraMySql', { engine: 'aurora-mysql', storageEncrypted: false });
    },
    [],
  ],
  'L1 of which everything is a parameter': [
    (stack) => {
      const names = [
        'Engine',
        'EngineVersion',
        'DBInstanceClass',
        'StorageEncrypted',
        'MultiAZ',
        'BackupRetentionPeriod',
      ];
      const db = new rds.CfnDBInstance(stack, 'Db', {});
      for (const name of names) {
        const parameter = new CfnParameter(stack, `P${name}`, { type: 'String' });
        db.addPropertyOverride(name, { Ref: parameter.logicalId });
      }
    },
    [],
  ],
  'L1 with conditions and values of other stacks': [
    (stack) => {
      const db = new rds.CfnDBInstance(stack, 'Db', { engine: 'postgres', engineVersion: Fn.importValue('version') });
      for (const name of [
        'MultiAZ',
        'DeletionProtection',
        'BackupRetentionPeriod',
        'StorageEncrypted',
        'MaxAllocatedStorage',
      ])
        db.addPropertyOverride(name, { 'Fn::If': ['Production', 1, 0] });
      db.addPropertyOverride('DBParameterGroupName', { 'Fn::ImportValue': 'group' });
      db.addPropertyOverride('VPCSecurityGroups', { 'Fn::Split': [',', { 'Fn::ImportValue': 'groups' }] });
      db.addPropertyOverride('EnableCloudwatchLogsExports', { 'Fn::Split': [',', { 'Fn::ImportValue': 'logs' }] });
      db.addPropertyOverride('EnablePerformanceInsights', { 'Fn::ImportValue': 'insights' });
      db.addPropertyOverride('EngineLifecycleSupport', { 'Fn::ImportValue': 'lifecycle' });
    },
    [],
  ],
  'a resource of a type and properties as text': [
    (stack) =>
      void new CfnResource(stack, 'Db', {
        type: 'AWS::RDS::DBInstance',
        properties: {
          Engine: 'postgres',
          MultiAZ: 'true',
          BackupRetentionPeriod: '14',
          StorageEncrypted: 'true',
          KmsKeyId: 'k',
          DeletionProtection: 'true',
          PubliclyAccessible: 'true',
          AllocatedStorage: '20',
          MaxAllocatedStorage: '100',
        },
      }),
    [...UNSAID, 'SEC-15'],
  ],
  'a resource without properties': [
    (stack) => {
      new CfnResource(stack, 'Db', { type: 'AWS::RDS::DBInstance' });
      new CfnResource(stack, 'Cluster', { type: 'AWS::RDS::DBCluster' });
      new CfnResource(stack, 'Proxy', { type: 'AWS::RDS::DBProxy' });
      new CfnResource(stack, 'Group', { type: 'AWS::EC2::SecurityGroup' });
    },
    [],
  ],
  'an included template, and a resource without a construct of its own': [
    (stack) => {
      const template = {
        Parameters: { Days: { Type: 'Number', Default: 0 } },
        Resources: {
          Included: {
            Type: 'AWS::RDS::DBInstance',
            DeletionPolicy: 'Delete',
            Properties: {
              Engine: 'postgres',
              MultiAZ: true,
              BackupRetentionPeriod: { Ref: 'Days' },
              StorageEncrypted: true,
              KmsKeyId: 'k',
              DeletionProtection: true,
              AllocatedStorage: '20',
              MaxAllocatedStorage: 100,
            },
          },
        },
      };
      const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-include-')), 'template.json');
      fs.writeFileSync(file, JSON.stringify(template));
      new CfnInclude(stack, 'New', { templateFile: file });
      fs.rmSync(path.dirname(file), { recursive: true });
      const { Included } = template.Resources;
      new Raw(stack, 'Old').template = { Resources: { Raw: Included, Odd: 'not a resource' } };
    },
    ['BK-15', ...UNSAID],
  ],
  'a nested stack and a stage': [
    (stack, app) => {
      const nested = new NestedStack(stack, 'Nested');
      new rds.CfnDBInstance(nested, 'Db', { engine: 'postgres', backupRetentionPeriod: 0 });
      const staged = new Stack(new Stage(app, 'Prod'), 'T', { terminationProtection: true });
      new rds.CfnDBCluster(staged, 'Db', { engine: 'aurora-postgresql', storageEncrypted: true });
    },
    ['BK-14', 'BK-15', 'BK-2', 'BK-3', 'HA-1', ...UNSAID, 'OPS-4', 'SEC-22'],
  ],
  'a server whose properties an aspect sets': [
    (stack) => {
      const props = careful(stack);
      new rds.DatabaseInstance(stack, 'Db', { ...props, multiAz: false, backupRetention: Duration.days(1) });
      class Hardening implements IAspect {
        visit(node: IConstruct) {
          if (!(node instanceof rds.CfnDBInstance)) return;
          node.multiAz = true;
          node.backupRetentionPeriod = 35;
        }
      }
      Aspects.of(stack).add(new Hardening());
    },
    [],
  ],
  'servers of this library, for production': [
    (stack) => {
      const props = { vpc: quietVpc(stack), version: PostgresVersion.V18, objectives: OBJECTIVES };
      new RdsPostgres(stack, 'Rds', props).addDatabase('app');
      new AuroraPostgres(stack, 'Aurora', { ...props, version: PostgresVersion.V17 }).addDatabase('app');
    },
    [],
  ],
  'servers of this library, for development': [
    (stack) => {
      const props = {
        vpc: quietVpc(stack),
        version: PostgresVersion.V18,
        objectives: OBJECTIVES,
        profile: PostgresProfile.development(),
      };
      new RdsPostgres(stack, 'Rds', props);
      new AuroraPostgres(stack, 'Aurora', { ...props, version: PostgresVersion.V17 });
    },
    [],
  ],
  'no server at all': [(stack) => void vpcOf(stack), []],
};

/** What puts resources into a template that have no constructs of their own. */
class Raw extends CfnElement {
  template: object = {};
  _toCloudFormation(): object {
    return this.template;
  }
}

function quietVpc(stack: Stack): ec2.Vpc {
  return new ec2.Vpc(stack, 'Vpc', { restrictDefaultSecurityGroup: false });
}

test('there are 20 styles or more', () => {
  expect(Object.keys(STYLES).length).toBeGreaterThanOrEqual(20);
});

test.each(Object.entries(STYLES))('%s', (_style, [build, rules]) => {
  expect(rulesOf(checked(build))).toEqual([...rules].sort());
});

test('what is found in a nested stack, a stage and an included template is said with its place', () => {
  const at = (style: string) => [...new Set(checked(STYLES[style]![0]).map((one) => one.at))].sort();
  expect(at('a nested stack and a stage')).toEqual(['Prod/T/Db', 'S/Nested/Db']);
  expect(at('an included template, and a resource without a construct of its own')).toEqual(['S', 'S/New/Included']);
});

test('a guard of this library is acknowledged once, and the checks are silent about it too', () => {
  const found = checked((stack) => {
    const server = new RdsPostgres(stack, 'Rds', {
      vpc: quietVpc(stack),
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      multiAz: false,
    });
    server.acknowledge({ id: 'HA-1', reason: 'a reporting copy' });
    (server.instance.node.defaultChild as rds.CfnDBInstance).publiclyAccessible = true;
  });
  expect(rulesOf(found)).toEqual(['SEC-15']);
});
