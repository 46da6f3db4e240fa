import {
  Duration,
  Size,
  Token,
  aws_backup as backup,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_ec2 as ec2,
  aws_rds as rds,
  aws_secretsmanager as secretsmanager,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { Platform } from '../contract';
import type { ProxyTarget } from '../pooling/rds-proxy';
import { dailyBackup } from './backup-plan';
import { RebootTarget } from './high-availability/controlled-reboot';
import { insightRetention } from './insights';
import { exportedLogGroups } from './log-groups';
import { ManagedServerBase } from './managed-server';
import { ManagedServerOptions } from './managed-server-options';
import { ConnectionCapacity, connectionCapacity, memoryOf } from './monitoring/capacity';
import { clusterEvents, slotBytes, watchedStandbys } from './monitoring/platform';
import { PlatformMonitoring } from './monitoring/watched';
import { RecoveryCapability } from './objectives';
import { buildParameters, parameterFamily } from './parameters';
import { SecondCopyOptions } from './recovery/backup-copy';
import { snapshotRetention } from './recovery/history';
import { clusterReaderEndpoint } from './replicas/cluster-reader';
import { IReaderEndpoint } from './replicas/reader-endpoint';
import { requireSize } from './required';
import { requireStorage, STORAGE_RANGE } from './storage-range';
import { backupPlanHour } from './windows';

/** Properties of `MultiAzPostgres`. */
export interface MultiAzPostgresProps extends ManagedServerOptions {
  /**
   * Storage of each node. It does not grow by itself: the alarm asks for a larger value here.
   *
   * @default - 100 GiB
   */
  readonly allocatedStorage?: Size;

  /**
   * The kind of storage: GP3, IO1 or IO2.
   *
   * @default rds.StorageType.GP3
   */
  readonly storageType?: rds.StorageType;

  /**
   * Provisioned input and output operations a second. IO1 and IO2 need it.
   *
   * @default - what GP3 includes
   */
  readonly iops?: number;

  /**
   * Whether CloudWatch Database Insights runs in its standard or its advanced mode (OPS-6).
   *
   * @default rds.DatabaseInsightsMode.STANDARD
   */
  readonly databaseInsightsMode?: rds.DatabaseInsightsMode;
}

const NODES = 3;

/** RDS adds `-instance-1` to the name of the cluster, and takes no longer ones. */
const LONGEST_IDENTIFIER = 50;

/**
 * PostgreSQL on Amazon RDS as a Multi-AZ DB cluster: a writer and two readers in three zones, of which one at least has acknowledged every
 * commit (HA-21). It fails over faster than `RdsPostgres`, and its standbys serve reads.
 *
 * `instanceType` is r6gd.large by default and takes classes with disks of their own (a `d` in the family, such as m6gd), since others are not offered.
 * It does not stop and start, grow its storage, change its port, go through a blue/green deployment, or keep backups in another region or
 * account: AWS Backup copies no snapshots of it.
 */
export class MultiAzPostgres extends ManagedServerBase {
  /** The cluster; aws-cdk-lib has no L2 construct for it. */
  public readonly cluster: rds.CfnDBCluster;
  public readonly identity: string;
  public readonly host: string;
  public readonly readerHost?: string;

  /** The two readers, at one address. */
  public readonly readerEndpoint: IReaderEndpoint;

  /** @internal */
  public readonly _platform: Platform = 'rds';

  private readonly parameters: Readonly<Record<string, string>>;
  private readonly allocated: Size;

  /**
   * Makes the server, and all that stands around it.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. Another id is another, empty server, which the deploy guard refuses
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: MultiAzPostgresProps) {
    super(scope, id, {
      ...props,
      instanceType: props.instanceType ?? ec2.InstanceType.of(ec2.InstanceClass.R6GD, ec2.InstanceSize.LARGE),
    });
    const settings = this._settings;
    const path = this.node.path;
    const storageType = props.storageType ?? rds.StorageType.GP3;
    this.allocated = requireSize(path, 'allocatedStorage', props.allocatedStorage ?? Size.gibibytes(100));
    checkLimits(this, { storageType, iops: props.iops, vpcSubnets: settings.vpcSubnets });
    const { least, leastWithProvisionedIops } = STORAGE_RANGE;
    const isGp3 = storageType === rds.StorageType.GP3;
    requireStorage(path, 'allocatedStorage', this.allocated, isGp3 ? least : leastWithProvisionedIops);
    refuseBackupCopies(path, props);

    const family = parameterFamily('rds', this.version._major);
    this.parameters = buildParameters({
      scope: this,
      engine: 'rds',
      major: this.version._major,
      level: 'instance',
      overrides: props.parameters,
      profile: this.profile,
      defaults: this.defaults,
      allocatedStorageGiB: this.allocated.toGibibytes(),
      instanceType: this.instanceType,
    });
    const group = new rds.CfnDBClusterParameterGroup(this, 'Parameters', {
      family,
      description: `Parameters of the PostgreSQL server ${path}`.slice(0, 255),
      parameters: this.parameters,
    });
    group.applyRemovalPolicy(settings.companions);
    const logTypes = ['postgresql', 'upgrade'];
    const logGroups = exportedLogGroups(this, {
      kind: 'cluster',
      identifier: settings.identifier,
      types: logTypes,
      retention: settings.logRetention,
      encryptionKey: this.encryptionKey,
      removalPolicy: settings.companions,
    });
    const insights = props.databaseInsightsMode ?? rds.DatabaseInsightsMode.STANDARD;

    this.cluster = new rds.CfnDBCluster(this, 'Resource', {
      engine: 'postgres',
      engineVersion: this.version.fullVersion,
      dbClusterIdentifier: settings.identifier,
      dbClusterInstanceClass: `db.${this.instanceType.toString()}`,
      allocatedStorage: this.allocated.toGibibytes(),
      storageType: storageType,
      iops: props.iops,
      dbSubnetGroupName: settings.subnetGroup.subnetGroupName,
      vpcSecurityGroupIds: settings.securityGroups.map((one) => one.securityGroupId),
      publiclyAccessible: false,
      port: this.port,
      masterUsername: settings.masterUsername,
      masterUserPassword: this.adminSecret.secretValueFromJson('password').unsafeUnwrap(),
      enableIamDatabaseAuthentication: true,
      storageEncrypted: true,
      kmsKeyId: this.encryptionKey.keyArn,
      dbClusterParameterGroupName: group.ref,
      backupRetentionPeriod: settings.pointInTimeRecovery.toDays(),
      preferredBackupWindow: settings.windows.backup,
      preferredMaintenanceWindow: settings.windows.maintenance,
      copyTagsToSnapshot: true,
      deletionProtection: settings.deletionProtection,
      autoMinorVersionUpgrade: settings.autoMinorVersionUpgrade,
      engineLifecycleSupport: 'open-source-rds-extended-support-disabled',
      enableCloudwatchLogsExports: logTypes,
      performanceInsightsEnabled: true,
      performanceInsightsKmsKeyId: this.encryptionKey.keyArn,
      performanceInsightsRetentionPeriod: insightRetention(insights),
      databaseInsightsMode: insights,
      monitoringInterval: settings.monitoringInterval.toSeconds() || undefined,
      monitoringRoleArn: settings.monitoringRole?.roleArn,
    });
    this.cluster.applyRemovalPolicy(settings.removalPolicy);
    this.cluster.node.addDependency(...logGroups);
    this.identity = this.cluster.attrDbClusterResourceId;
    this.host = this.cluster.attrEndpointAddress;
    this.readerHost = this.cluster.attrReadEndpointAddress;
    this.readerEndpoint = clusterReaderEndpoint(this, this.readerHost);

    const attachedSecret = this.adminSecret.attach({
      asSecretAttachmentTarget: () => ({
        targetId: this.cluster.ref,
        targetType: secretsmanager.AttachmentTargetType.RDS_DB_CLUSTER,
      }),
    });
    this._surround(props, { guarded: [this.cluster], writer: this.cluster, attachedSecret });
    if (this.alarmTopic) {
      this._storageAlarms(this.alarmTopic);
      for (let node = 1; node <= NODES; node++) this.lagAlarm(node, this.alarmTopic);
    }
    if (this.profile.isProduction) {
      dailyBackup(this, {
        resource: backup.BackupResource.fromArn(this.cluster.attrDbClusterArn),
        encryptionKey: this.encryptionKey,
        hour: backupPlanHour(path, settings.windows),
        retention: snapshotRetention(props.objectives),
        lock: props.backupVaultLock,
      });
    }
  }

  /** @internal */
  protected _rebootTarget(): RebootTarget {
    const prefix = this._settings.identifier;
    return {
      kind: 'cluster',
      identifier: prefix,
      readers: () => [],
      standby: false,
      nodeNames: () => this.nodeNames(),
    };
  }

  /** As RDS names them. */
  private nodeNames(): string[] {
    return Array.from({ length: NODES }, (_, index) => `${this._settings.identifier}-instance-${index + 1}`);
  }

  private nodeMetric(node: number, metricName: string, statistic: string): cloudwatch.Metric {
    return new cloudwatch.Metric({
      namespace: 'AWS/RDS',
      metricName,
      dimensionsMap: { DBInstanceIdentifier: this.nodeNames()[node - 1]! },
      statistic,
      period: Duration.minutes(5),
    });
  }

  private lagAlarm(node: number, topic: sns.ITopic): void {
    const alarm = new cloudwatch.Alarm(this, `ReplicaLagAlarm-${node}`, {
      alarmDescription: `Node ${node} of ${this.node.path} is more than 35 seconds behind the writer: a failover to it would take as long`,
      metric: this.nodeMetric(node, 'ReplicaLag', 'Maximum'),
      threshold: 35,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 3,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
    alarm.addAlarmAction(new actions.SnsAction(topic));
    alarm.addOkAction(new actions.SnsAction(topic));
  }

  /** A fifth, since nothing grows by itself. @internal */
  protected _makeStorageAlarms(topic: sns.ITopic): cloudwatch.Alarm[] {
    return Array.from({ length: NODES }, (_, index) => {
      const alarm = new cloudwatch.Alarm(this, `FreeStorageSpaceAlarm-${index + 1}`, {
        alarmDescription: `Less than a fifth of the storage of node ${index + 1} of ${this.node.path} is free, and it does not grow by itself`,
        metric: this.nodeMetric(index + 1, 'FreeStorageSpace', 'Minimum'),
        threshold: Math.floor(this.allocated.toBytes() / 5),
        comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        evaluationPeriods: 3,
        treatMissingData: cloudwatch.TreatMissingData.MISSING,
      });
      alarm.addAlarmAction(new actions.SnsAction(topic));
      alarm.addOkAction(new actions.SnsAction(topic));
      return alarm;
    });
  }

  /** @internal */
  protected _platformMonitoring(): PlatformMonitoring {
    const watched = watchedStandbys(this.nodeNames(), {
      instanceType: this.instanceType,
      storage: this.allocated,
      storageType: this.cluster.storageType,
      iops: this.cluster.iops,
      parameters: this.parameters,
    });
    return {
      watched,
      // A node is named when RDS has made it. An alarm waits for that; a subscription to another name would fail the deployment.
      events: clusterEvents(this.cluster.ref, [], false),
      storage: (topic) => this._storageAlarms(topic),
      knowsConnections: watched.some(({ id }) => id.startsWith('DatabaseConnections')),
      slotBytes: slotBytes(this.parameters),
    };
  }

  /** @internal */
  public _connectionCapacity(): ConnectionCapacity | undefined {
    const node = this.instanceType.toString();
    return connectionCapacity({ parameters: this.parameters, memory: memoryOf(this.instanceType), node });
  }

  /** @internal */
  public _proxyTarget(): ProxyTarget {
    return { clusterIdentifier: this.cluster.ref, readers: true };
  }

  /** @internal */
  protected _capability(): RecoveryCapability {
    return {
      pointInTimeRecovery: this._backupRetentionDays() !== 0,
      synchronousCopy: true,
      recovery: 'failover to a reader',
      recoveryTime: Duration.minutes(1),
    };
  }

  /** @internal */
  protected _singleNode(): string | undefined {
    return undefined;
  }

  /** @internal */
  protected _backupRetentionDays(): number | undefined {
    return this.cluster.backupRetentionPeriod;
  }

  /** @internal */
  protected _isDeletionProtected(): boolean {
    return this.cluster.deletionProtection === true;
  }
}

/** No compiler sees it in plain JavaScript, and nobody would miss the copies before they are needed. */
function refuseBackupCopies(path: string, { backupCopies }: MultiAzPostgresProps & SecondCopyOptions): void {
  if (backupCopies === undefined) return;
  throw new Error(
    `${path}: backupCopies is set, and AWS Backup does not copy snapshots of a Multi-AZ DB cluster; leave it out, or use RdsPostgres or AuroraPostgres`,
  );
}

/** What RDS would refuse after minutes. */
function checkLimits(
  server: MultiAzPostgres,
  options: { storageType: rds.StorageType; iops?: number; vpcSubnets: ec2.SubnetSelection },
): void {
  const path = server.node.path;
  const type = server.instanceType.toString();
  if (!Token.isUnresolved(type) && !/^[a-z]+\d+[a-z]*d[a-z]*\./.test(type)) {
    throw new Error(
      `${path}: instanceType is ${type}; a Multi-AZ DB cluster takes classes with disks of their own, such as m6gd, r6gd or m6id. ` +
        'RdsPostgres takes any class',
    );
  }
  const { storageType, iops } = options;
  if (![rds.StorageType.GP3, rds.StorageType.IO1, rds.StorageType.IO2].includes(storageType)) {
    throw new Error(`${path}: storageType is ${storageType}; a Multi-AZ DB cluster takes GP3, IO1 and IO2`);
  }
  if (iops === undefined && storageType !== rds.StorageType.GP3) {
    throw new Error(`${path}: storageType ${storageType} needs iops; set it, or use GP3`);
  }
  if (server._settings.identifier.length > LONGEST_IDENTIFIER) {
    throw new Error(
      `${path}: the identifier ${server._settings.identifier} is longer than ${LONGEST_IDENTIFIER} characters`,
    );
  }
  const selected = server.vpc.selectSubnets(options.vpcSubnets);
  const zones = new Set(selected.availabilityZones).size;
  if (!selected.isPendingLookup && zones < NODES) {
    throw new Error(
      `${path}: its subnets are in ${zones} zones, and a Multi-AZ DB cluster stands in three; give the VPC a third (maxAzs: 3), or use RdsPostgres`,
    );
  }
}
