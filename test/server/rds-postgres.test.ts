import {
  Duration,
  RemovalPolicy,
  Size,
  Token,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_logs as logs,
  aws_rds as rds,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { PostgresProfile } from '../../lib/server/postgres-profile';
import { PostgresVersion } from '../../lib/server/postgres-version';
import { RdsPostgres, RdsPostgresProps } from '../../lib/server/rds-postgres';
import { OBJECTIVES, cleanStack, quiet } from './support';

quiet();

function make(props: Partial<RdsPostgresProps> = {}, acknowledge: string[] = []) {
  const { app, stack, vpc } = cleanStack();
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    ...props,
  });
  acknowledge.forEach((id) => server.acknowledge({ id, reason: 'a test of an override' }));
  return { app, stack, vpc, server, template: () => Template.fromStack(stack) };
}

describe('production defaults', () => {
  const { template, stack, server } = make();
  const instance = (props: object) => template().hasResourceProperties('AWS::RDS::DBInstance', props);

  test.each<[string, object]>([
    ['BK-3: 14 days of point-in-time recovery', { BackupRetentionPeriod: 14 }],
    [
      'BK-14, SEC-22: storage under the customer key',
      { StorageEncrypted: true, KmsKeyId: { 'Fn::GetAtt': [Match.stringLikeRegexp('PostgresKey'), 'Arn'] } },
    ],
    [
      'BK-15: deletion is refused, backups outlive the server',
      { DeletionProtection: true, DeleteAutomatedBackups: false, CopyTagsToSnapshot: true },
    ],
    ['HA-1: a standby', { MultiAZ: true }],
    ['SEC-15: never public', { PubliclyAccessible: false }],
    ['SEC-15: not the port that scanners try first', { Port: '5433' }],
    ['SEC-12: the certificate authority is pinned', { CACertificateIdentifier: 'rds-ca-rsa2048-g1' }],
    ['IAM tokens may log in', { EnableIAMDatabaseAuthentication: true }],
    ['OPS-4: storage grows up to a ceiling', { AllocatedStorage: '100', MaxAllocatedStorage: 500, StorageType: 'gp3' }],
    [
      'OPS-6: Insights in its standard mode, under the customer key',
      {
        DatabaseInsightsMode: 'standard',
        EnablePerformanceInsights: true,
        PerformanceInsightsRetentionPeriod: 7,
        PerformanceInsightsKMSKeyId: Match.anyValue(),
      },
    ],
    ['OPS-6: enhanced monitoring', { MonitoringInterval: 60, MonitoringRoleArn: Match.anyValue() }],
    [
      'OPS-11: explicit windows',
      { PreferredBackupWindow: '01:00-02:00', PreferredMaintenanceWindow: 'sun:03:00-sun:04:00' },
    ],
    ['OPS-12: Graviton of constant speed', { DBInstanceClass: 'db.r7g.large' }],
    [
      'LR-21: major pinned, minor upgrades itself, no extended support',
      {
        EngineVersion: '18',
        AutoMinorVersionUpgrade: true,
        AllowMajorVersionUpgrade: false,
        EngineLifecycleSupport: 'open-source-rds-extended-support-disabled',
      },
    ],
    ['SEC-21: both logs are exported', { EnableCloudwatchLogsExports: ['postgresql', 'upgrade'] }],
    [
      'LR-13: the master password is not managed by RDS',
      {
        ManageMasterUserPassword: Match.absent(),
        MasterUserPassword: {
          'Fn::Join': [
            '',
            [Match.stringLikeRegexp('resolve:secretsmanager'), Match.anyValue(), ':SecretString:password::}}'],
          ],
        },
      },
    ],
  ])('%s', (_what, props) => instance(props));

  test('BK-15: the server and what it stands on stay when the stack goes', () => {
    for (const type of [
      'AWS::RDS::DBInstance',
      'AWS::RDS::DBSubnetGroup',
      'AWS::RDS::DBParameterGroup',
      'AWS::SecretsManager::Secret',
      'AWS::Backup::BackupVault',
    ]) {
      template().allResources(type, { DeletionPolicy: 'Retain', UpdateReplacePolicy: 'Retain' });
    }
    template().hasResource('AWS::KMS::Key', {
      DeletionPolicy: 'Retain',
      Properties: { EnableKeyRotation: true, Description: Match.stringLikeRegexp('Postgres') },
    });
    template().hasResource('AWS::EC2::SecurityGroup', {
      DeletionPolicy: 'Retain',
      Properties: { GroupDescription: 'PostgreSQL server Test/Postgres' },
    });
  });

  test('SEC-9, SEC-11, SEC-20, OPS-5: the parameter group carries the opinion of this library', () => {
    template().hasResourceProperties('AWS::RDS::DBParameterGroup', {
      Family: 'postgres18',
      Parameters: Match.objectLike({
        'rds.force_ssl': '1',
        password_encryption: 'scram-sha-256',
        'rds.accepted_password_auth_method': 'scram',
        shared_preload_libraries: Match.stringLikeRegexp('pgaudit'),
      }),
    });
  });

  test('LIB-6: the log groups exist before RDS exports to them, encrypted and with an end', () => {
    const groups = template().findResources('AWS::Logs::LogGroup', {
      Properties: {
        LogGroupName: Match.stringLikeRegexp('^/aws/rds/instance/test-postgres-[0-9a-f]+/(postgresql|upgrade)$'),
        RetentionInDays: 365,
        KmsKeyId: Match.anyValue(),
      },
    });
    expect(Object.keys(groups)).toHaveLength(2);
    const [instance] = Object.values(template().findResources('AWS::RDS::DBInstance'));
    expect(instance!.DependsOn).toEqual(expect.arrayContaining(Object.keys(groups)));
    const name = instance!.Properties.DBInstanceIdentifier;
    for (const group of Object.values(groups)) expect(group.Properties.LogGroupName).toContain(`/${name}/`);
  });

  test('SEC-15: the server stands in the isolated subnets, and nobody but the functions may enter', () => {
    template().hasResourceProperties('AWS::RDS::DBSubnetGroup', {
      SubnetIds: [{ Ref: Match.stringLikeRegexp('VpcdataSubnet1') }, { Ref: Match.stringLikeRegexp('VpcdataSubnet2') }],
    });
    template().hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: 'PostgreSQL server Test/Postgres',
      SecurityGroupIngress: Match.absent(),
    });
    for (const rule of Object.values(template().findResources('AWS::EC2::SecurityGroupIngress'))) {
      expect(rule.Properties).toMatchObject({ FromPort: 5433, ToPort: 5433, SourceSecurityGroupId: expect.anything() });
      expect(rule.Properties.CidrIp).toBeUndefined();
    }
  });

  test('SEC-1, LR-13: the secret of the master is generated once, under the customer key, and rotates by our function', () => {
    template().hasResourceProperties('AWS::SecretsManager::Secret', {
      GenerateSecretString: {
        SecretStringTemplate: '{"username":"postgres"}',
        GenerateStringKey: 'password',
        PasswordLength: 40,
        ExcludePunctuation: true,
      },
      KmsKeyId: Match.anyValue(),
    });
    template().hasResourceProperties('AWS::SecretsManager::RotationSchedule', {
      RotateImmediatelyOnUpdate: false,
      HostedRotationLambda: Match.absent(),
      RotationRules: { AutomaticallyAfterDays: 30 },
    });
  });

  test('BK-2: AWS Backup takes a daily snapshot of this instance, outside both windows', () => {
    template().hasResourceProperties('AWS::Backup::BackupPlan', {
      BackupPlan: {
        BackupPlanRule: [
          Match.objectLike({ ScheduleExpression: 'cron(0 4 * * ? *)', Lifecycle: { DeleteAfterDays: 35 } }),
        ],
      },
    });
    template().hasResourceProperties('AWS::Backup::BackupSelection', {
      BackupSelection: { Resources: [stack.resolve(server.instance.instanceArn)] },
    });
  });

  test('OPS-4: too little free storage reaches the topic', () => {
    template().hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'FreeStorageSpace',
      Threshold: 10 * 1024 ** 3,
      ComparisonOperator: 'LessThanThreshold',
      AlarmActions: [stack.resolve(server.alarmTopic!.topicArn)],
    });
    template().hasResourceProperties('AWS::SNS::Topic', { KmsMasterKeyId: Match.anyValue() });
  });

  test('the key lets CloudWatch Logs, alarms and notices use it, and nobody else', () => {
    const key = template().findResources('AWS::KMS::Key', {
      Properties: { Description: Match.stringLikeRegexp('PostgreSQL') },
    });
    const statements = Object.values(key)[0]!.Properties.KeyPolicy.Statement as {
      Principal: { Service?: string };
      Condition?: object;
    }[];
    const services = statements.filter((s) => s.Principal.Service);
    expect(services.map((s) => s.Principal.Service)).toEqual(
      expect.arrayContaining(['logs.eu-central-1.amazonaws.com', 'cloudwatch.amazonaws.com']),
    );
    // EventBridge, which brings the notices of certificates, is not known to name the account.
    const unconditional = services.filter((s) => s.Condition === undefined).map((s) => s.Principal.Service);
    expect(unconditional).toEqual(['events.amazonaws.com']);
  });

  test('LIB-12: the stack is protected against termination', () => expect(stack.terminationProtection).toBe(true));

  test('LIB-12: the name in RDS is explicit, and does not change with anything but the path', () => {
    const name = (t: Template) =>
      Object.values(t.findResources('AWS::RDS::DBInstance'))[0]!.Properties.DBInstanceIdentifier;
    expect(name(template())).toMatch(/^[a-z](-?[a-z0-9])*$/);
    expect(name(make({ version: PostgresVersion.V17, multiAz: true }).template())).toBe(name(template()));
  });
});

describe('overrides', () => {
  const instance = (props: Partial<RdsPostgresProps>, expected: object, acknowledge: string[] = []) =>
    make(props, acknowledge).template().hasResourceProperties('AWS::RDS::DBInstance', expected);

  test('version', () => instance({ version: PostgresVersion.V16 }, { EngineVersion: '16' }));
  test('a pinned minor version', () =>
    instance(
      { version: PostgresVersion.of('17.6'), autoMinorVersionUpgrade: false },
      { EngineVersion: '17.6', AutoMinorVersionUpgrade: false },
    ));
  test('pointInTimeRecovery', () =>
    instance({ pointInTimeRecovery: Duration.days(35) }, { BackupRetentionPeriod: 35 }));
  test('instanceType', () =>
    instance(
      { instanceType: ec2.InstanceType.of(ec2.InstanceClass.M7G, ec2.InstanceSize.XLARGE4) },
      { DBInstanceClass: 'db.m7g.4xlarge' },
    ));
  test('port, also in the rules of the functions', () => {
    const { template } = make({ port: 6000 });
    template().hasResourceProperties('AWS::RDS::DBInstance', { Port: '6000' });
    template().hasResourceProperties('AWS::EC2::SecurityGroupIngress', { FromPort: 6000, ToPort: 6000 });
  });
  test('identifier, also in the names of the log groups', () => {
    const { template } = make({ identifier: 'orders' });
    template().hasResourceProperties('AWS::RDS::DBInstance', { DBInstanceIdentifier: 'orders' });
    template().hasResourceProperties('AWS::Logs::LogGroup', { LogGroupName: '/aws/rds/instance/orders/postgresql' });
  });
  test('masterUsername, also in the secret', () => {
    const { template } = make({ masterUsername: 'admin_of_all' });
    template().hasResourceProperties('AWS::RDS::DBInstance', { MasterUsername: 'admin_of_all' });
    template().hasResourceProperties('AWS::SecretsManager::Secret', {
      GenerateSecretString: { SecretStringTemplate: '{"username":"admin_of_all"}' },
    });
  });
  test('masterUsername, which is no role to declare, and another one is', () => {
    const { server } = make({ masterUsername: 'admin_of_all' });
    const app = server.addDatabase('app');
    expect(() => app.addLoginRole('admin_of_all')).toThrow(
      'Test/Postgres/Database-app/Role-admin_of_all: roleName "admin_of_all" is the master user of Test/Postgres, who applies what is declared; ' +
        'declare a role of another name',
    );
    expect(() => app.addLoginRole('postgres')).not.toThrow();
  });
  test('windows, which the backup plan keeps away from', () => {
    const { template } = make({ backupWindow: '03:30-04:30', maintenanceWindow: 'tue:05:00-tue:07:00' });
    template().hasResourceProperties('AWS::RDS::DBInstance', {
      PreferredBackupWindow: '03:30-04:30',
      PreferredMaintenanceWindow: 'tue:05:00-tue:07:00',
    });
    template().hasResourceProperties('AWS::Backup::BackupPlan', {
      BackupPlan: { BackupPlanRule: [Match.objectLike({ ScheduleExpression: 'cron(0 7 * * ? *)' })] },
    });
  });
  test('storage', () =>
    instance(
      {
        allocatedStorage: Size.gibibytes(400),
        maxAllocatedStorage: Size.tebibytes(1),
        iops: 12000,
        storageThroughput: 500,
        storageType: rds.StorageType.GP3,
      },
      { AllocatedStorage: '400', MaxAllocatedStorage: 1024, Iops: 12000, StorageThroughput: 500 },
    ));
  test('OPS-4: storage may grow fivefold, and not beyond what RDS takes', () => {
    instance({ allocatedStorage: Size.gibibytes(400) }, { MaxAllocatedStorage: 2000 });
    instance({ allocatedStorage: Size.tebibytes(20) }, { MaxAllocatedStorage: 65_536 });
  });
  test('the alarm threshold follows the storage', () =>
    make({ allocatedStorage: Size.gibibytes(400) })
      .template()
      .hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName: 'FreeStorageSpace', Threshold: 40 * 1024 ** 3 }));
  test('databaseInsightsMode, with the retention that it asks for', () =>
    instance(
      { databaseInsightsMode: rds.DatabaseInsightsMode.ADVANCED },
      { DatabaseInsightsMode: 'advanced', PerformanceInsightsRetentionPeriod: 465 },
    ));
  test('monitoringInterval', () => instance({ monitoringInterval: Duration.seconds(15) }, { MonitoringInterval: 15 }));
  test('logRetention', () =>
    make({ logRetention: logs.RetentionDays.TEN_YEARS })
      .template()
      .hasResourceProperties('AWS::Logs::LogGroup', {
        LogGroupName: Match.stringLikeRegexp('postgresql'),
        RetentionInDays: 3653,
      }));
  test('parameters', () =>
    make({ parameters: { work_mem: '65536' } })
      .template()
      .hasResourceProperties('AWS::RDS::DBParameterGroup', {
        Parameters: Match.objectLike({ work_mem: '65536', 'rds.force_ssl': '1' }),
      }));
  test('passwordRotation', () =>
    make({ passwordRotation: Duration.days(7) })
      .template()
      .hasResourceProperties('AWS::SecretsManager::RotationSchedule', {
        RotationRules: { AutomaticallyAfterDays: 7 },
      }));
  test('removalPolicy: a snapshot of the server; what it stands on stays', () => {
    const { template } = make({ removalPolicy: RemovalPolicy.SNAPSHOT });
    template().hasResource('AWS::RDS::DBInstance', { DeletionPolicy: 'Snapshot' });
    template().hasResource('AWS::RDS::DBParameterGroup', { DeletionPolicy: 'Retain' });
    template().hasResource('AWS::SecretsManager::Secret', { DeletionPolicy: 'Retain' });
  });
  test('alarmTopic', () => {
    const { stack, vpc } = cleanStack();
    const topic = new sns.Topic(stack, 'Operators');
    const server = new RdsPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      alarmTopic: topic,
    });
    expect(server.alarmTopic).toBe(topic);
    Template.fromStack(stack).hasResourceProperties('AWS::CloudWatch::Alarm', {
      AlarmActions: [{ Ref: Match.stringLikeRegexp('^Operators') }],
    });
    Template.fromStack(stack).resourceCountIs('AWS::SNS::Topic', 1);
  });
  test('encryptionKey is used everywhere in place of an own one', () => {
    const { stack, vpc } = cleanStack();
    const key = new kms.Key(stack, 'House', { enableKeyRotation: true });
    new RdsPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      encryptionKey: key,
    });
    const arn = { 'Fn::GetAtt': [Match.stringLikeRegexp('^House'), 'Arn'] };
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::RDS::DBInstance', { KmsKeyId: arn, PerformanceInsightsKMSKeyId: arn });
    template.hasResourceProperties('AWS::SecretsManager::Secret', { KmsKeyId: arn });
    template.resourceCountIs('AWS::KMS::Key', 2); // this one, and that of the flow logs
  });
  test('securityGroups', () => {
    const { stack, vpc } = cleanStack();
    const group = new ec2.SecurityGroup(stack, 'Given', { vpc, allowAllOutbound: false });
    new RdsPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      securityGroups: [group],
    });
    Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBInstance', {
      VPCSecurityGroups: [{ 'Fn::GetAtt': [Match.stringLikeRegexp('^Given'), 'GroupId'] }],
    });
  });
  test('everything that the L2 offers stays reachable', () => {
    const { server, template } = make();
    (server.instance.node.defaultChild as rds.CfnDBInstance).addPropertyOverride('PromotionTier', 3);
    expect(server.instance.metricCPUUtilization().metricName).toBe('CPUUtilization');
    template().hasResourceProperties('AWS::RDS::DBInstance', { PromotionTier: 3 });
  });
});

describe('the development profile', () => {
  const { template, stack, server } = make({ profile: PostgresProfile.development() });

  test('is small, alone, and goes with its stack', () => {
    template().hasResource('AWS::RDS::DBInstance', {
      DeletionPolicy: 'Delete',
      Properties: {
        MultiAZ: false,
        DBInstanceClass: 'db.t4g.medium',
        AllocatedStorage: '20',
        BackupRetentionPeriod: 1,
        DeletionProtection: false,
        MonitoringInterval: 0,
        MonitoringRoleArn: Match.absent(),
      },
    });
    template().resourceCountIs('AWS::CloudWatch::Alarm', 0);
    template().resourceCountIs('AWS::Backup::BackupPlan', 0);
    template().hasResource('AWS::SecretsManager::Secret', { DeletionPolicy: 'Delete' });
    expect(stack.terminationProtection).toBeFalsy();
    expect(server.alarmTopic).toBeUndefined();
  });

  test('keeps encryption, the isolated network, TLS and SCRAM', () => {
    template().hasResourceProperties('AWS::RDS::DBInstance', {
      StorageEncrypted: true,
      PubliclyAccessible: false,
      KmsKeyId: Match.anyValue(),
    });
    template().hasResourceProperties('AWS::RDS::DBParameterGroup', {
      Parameters: Match.objectLike({ 'rds.force_ssl': '1', password_encryption: 'scram-sha-256' }),
    });
  });
});

describe('fails for malformed input, naming construct, prop and value', () => {
  test.each<[string, Partial<RdsPostgresProps>, RegExp]>([
    ['a port that RDS does not take', { port: 80 }, /Test\/Postgres: port is 80; RDS takes 1150/],
    ['a port that is no whole number', { port: 5433.5 }, /port is 5433\.5/],
    ['a port that is a token', { port: Token.asNumber({ Ref: 'Port' }) }, /port is a token/],
    ['a retention beyond 35 days', { pointInTimeRecovery: Duration.days(36) }, /pointInTimeRecovery is 36 days/],
    ['no retention', { pointInTimeRecovery: Duration.days(0) }, /pointInTimeRecovery is 0 days/],
    ['an identifier with capitals', { identifier: 'Orders' }, /identifier 'Orders'/],
    ['an identifier with two hyphens', { identifier: 'a--b' }, /identifier 'a--b'/],
    [
      'less storage than RDS takes',
      { allocatedStorage: Size.gibibytes(10) },
      /allocatedStorage is 10 GiB; RDS takes whole GiB from 20 to 65536/,
    ],
    [
      'a ceiling above what RDS takes',
      { maxAllocatedStorage: Size.tebibytes(65) },
      /maxAllocatedStorage is 66560 GiB; RDS takes whole GiB from 20 to 65536/,
    ],
    [
      'a ceiling below the storage',
      { allocatedStorage: Size.gibibytes(100), maxAllocatedStorage: Size.gibibytes(50) },
      /maxAllocatedStorage is 50 GiB, less than allocatedStorage with 100/,
    ],
    ['an unknown parameter', { parameters: { wrok_mem: '1' } }, /wrok_mem/],
  ])('%s', (_what, props, message) => expect(() => make(props)).toThrow(message));

  test('SEC-15: public subnets', () => {
    const { stack } = cleanStack();
    const vpc = new ec2.Vpc(stack, 'Open', {
      natGateways: 0,
      subnetConfiguration: [{ name: 'open', subnetType: ec2.SubnetType.PUBLIC }],
    });
    const vpcSubnets = { subnetType: ec2.SubnetType.PUBLIC };
    const server = () =>
      new RdsPostgres(stack, 'Postgres', { vpc, vpcSubnets, version: PostgresVersion.V18, objectives: OBJECTIVES });
    expect(server).toThrow(/Test\/Postgres: vpcSubnets selects public subnets \(Test\/Open\/openSubnet1/);
  });

  test('SEC-15: the private subnets of a VPC that has none isolated', () => {
    const { stack } = cleanStack();
    const vpc = new ec2.Vpc(stack, 'Common', { maxAzs: 2 });
    new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
    Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBSubnetGroup', {
      SubnetIds: vpc.privateSubnets.map((subnet) => ({
        Ref: stack.getLogicalId(subnet.node.defaultChild as ec2.CfnSubnet),
      })),
    });
  });

  test('a VPC that is public everywhere', () => {
    const { stack } = cleanStack();
    const vpc = new ec2.Vpc(stack, 'Open', {
      natGateways: 0,
      subnetConfiguration: [{ name: 'open', subnetType: ec2.SubnetType.PUBLIC }],
    });
    expect(
      () => new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES }),
    ).toThrow(/no 'Private' subnet/i);
  });
});

test('a server without a network is an error that names the prop', () => {
  expect(() => make({ vpc: undefined as never })).toThrow(/Postgres: vpc is undefined; a server needs a network/);
});
