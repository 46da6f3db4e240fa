import {
  Annotations,
  Duration,
  Validations,
  aws_backup as backup,
  aws_cloudwatch as cloudwatch,
  aws_ec2 as ec2,
  aws_rds as rds,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct, IConstruct } from 'constructs';
import { Platform } from '../contract';
import type { ProxyTarget } from '../pooling/rds-proxy';
import { dailyBackup } from './backup-plan';
import { insightRetention } from './insights';
import { exportedLogGroups } from './log-groups';
import { ManagedServerBase, parameterGroup } from './managed-server';
import { ManagedServerOptions } from './managed-server-options';
import {
  ConnectionCapacity,
  connectionCapacity,
  memoryOf,
  MOST_OF_SMALL_SERVERLESS,
  serverlessMemory,
} from './monitoring/capacity';
import { clusterEvents, slotBytes, watchedCluster } from './monitoring/platform';
import { PlatformMonitoring } from './monitoring/watched';
import { RecoveryCapability } from './objectives';
import { buildParameters } from './parameters';
import { RebootTarget } from './high-availability/controlled-reboot';
import { SecondCopyOptions } from './recovery/backup-copy';
import { snapshotRetention } from './recovery/history';
import { clusterFromPointInTime, clusterFromSnapshot, restoreCluster } from './recovery/restore';
import { ClusterBackups } from './recovery/restore-source';
import { RestoreTime } from './recovery/restore-time';
import { GlobalDatabase, GlobalDatabaseOptions } from './high-availability/global-database';
import { AuroraReaders, AuroraReadersOptions, ReaderScalingOptions, scaleReaders } from './replicas/aurora-readers';
import { clusterReaderEndpoint } from './replicas/cluster-reader';
import { IReaderEndpoint } from './replicas/reader-endpoint';
import { checkZones } from './replicas/zones';
import { freeLocalStorageAlarm, volumeAlarm } from './storage-alarms';
import { backupPlanHour } from './windows';

/** How far the nodes of a serverless cluster scale, in Aurora capacity units of about 2 GiB of memory each. */
export interface ServerlessV2Capacity {
  /** The capacity that is always there, in half steps. 0 pauses an idle cluster, which in production is a finding. */
  readonly minCapacity: number;
  /** The capacity that is never exceeded, in half steps, at most 256. */
  readonly maxCapacity: number;
}

/** Properties of `AuroraPostgres`. */
export interface AuroraPostgresProps extends ManagedServerOptions, SecondCopyOptions {
  /**
   * Nodes besides the writer. They serve reads, and one of them takes over from a lost writer (HA-1).
   *
   * @default - 1; 0 in the development profile. Without one, production is a finding
   */
  readonly readers?: number;

  /**
   * The zones in which the nodes stand, in turn, the writer's first (HA-1). The subnets must cover them. A node keeps its zone: to set
   * this on a server that runs replaces nodes, which the deploy guard refuses.
   *
   * @default - RDS chooses a zone for each node
   */
  readonly availabilityZones?: string[];

  /**
   * Makes every node serverless. `instanceType` is then not used.
   *
   * @default - provisioned nodes of `instanceType`
   */
  readonly serverlessV2?: ServerlessV2Capacity;

  /**
   * Parameters of each node that differ from this library's opinion; those of the cluster are in `parameters`.
   *
   * @default - this library's opinion alone
   */
  readonly instanceParameters?: { [name: string]: string };

  /**
   * How storage is billed.
   *
   * @default rds.DBClusterStorageType.AURORA
   */
  readonly storageType?: rds.DBClusterStorageType;

  /**
   * Whether CloudWatch Database Insights runs in its standard or its advanced mode (OPS-6).
   *
   * @default rds.DatabaseInsightsMode.STANDARD
   */
  readonly databaseInsightsMode?: rds.DatabaseInsightsMode;
}

/** Properties of `AuroraPostgres.fromPointInTime()`: those of a new server, and where its data comes from. */
export interface AuroraPostgresFromPointInTimeProps extends AuroraPostgresProps {
  /** Whose backup the data comes from. */
  readonly source: ClusterBackups;

  /** The moment to which the data goes back. */
  readonly restoreTo: RestoreTime;
}

/** Properties of `AuroraPostgres.fromSnapshot()`: those of a new server, and where its data comes from. */
export interface AuroraPostgresFromSnapshotProps extends AuroraPostgresProps {
  /**
   * The name of a cluster snapshot in this account, or the ARN of one: of AWS Backup, shared by another account, or a snapshot of an
   * RDS instance, which becomes a cluster.
   */
  readonly snapshot: string;
}

/** The most nodes that a cluster has besides its writer. */
const MOST_READERS = 15;

/**
 * PostgreSQL on Amazon Aurora: a writer and readers over storage that keeps six copies in three zones, fit for production as it stands.
 *
 * Everything else that Aurora offers is on `cluster`, the L2 construct of aws-cdk-lib.
 */
export class AuroraPostgres extends ManagedServerBase {
  /**
   * Restores a new cluster from the continuous backup of another one, to a second (BK-18). The source stays as it is.
   *
   * The new server has an identity, a secret, alarms and a backup plan of its own, and the declared state runs on it. Master user and
   * version are the source's: `masterUsername` must be that of the source. The port is 5432 by default and not 5433, since
   * CloudFormation does not pass a port on to this restore; change it afterwards, with an acknowledgement of `guard:port`.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope, another one than the source's
   * @param props those of a new server, and the source
   */
  public static fromPointInTime(
    scope: Construct,
    id: string,
    props: AuroraPostgresFromPointInTimeProps,
  ): AuroraPostgres {
    return new AuroraPostgres(
      scope,
      id,
      clusterFromPointInTime(`${scope.node.path}/${id}`, props, props.source, props.restoreTo),
    );
  }

  /**
   * Restores a new cluster from a snapshot, such as one of AWS Backup, of another account or of an RDS instance (BK-18).
   *
   * @param scope where in the app it stands
   * @param id its name in the scope, another one than the source's
   * @param props those of a new server, and the snapshot
   */
  public static fromSnapshot(scope: Construct, id: string, props: AuroraPostgresFromSnapshotProps): AuroraPostgres {
    return new AuroraPostgres(scope, id, clusterFromSnapshot(`${scope.node.path}/${id}`, props, props.snapshot));
  }

  /** The cluster, with everything that aws-cdk-lib offers for it. */
  public readonly cluster: rds.DatabaseCluster;
  public readonly identity: string;
  public readonly host: string;
  public readonly readerHost?: string;

  /** @internal */
  public readonly _platform: Platform = 'aurora';

  /** Every reader, at one address. It answers from the writer where there is no reader. */
  public readonly readerEndpoint: IReaderEndpoint;

  /** What further readers need to know. @internal */
  public readonly _serverlessV2?: ServerlessV2Capacity;
  /** @internal */
  public readonly _insights: rds.DatabaseInsightsMode;
  /** @internal */
  public readonly _nodeGroup: rds.IParameterGroup;
  /** @internal */
  public readonly _clusterGroup: rds.ParameterGroup;

  private readonly clusterOverrides?: { [name: string]: string };
  private readonly instanceOverrides?: { [name: string]: string };
  private readonly zones?: string[];
  private furtherReaders = 0;
  private readonly furtherNodes: string[] = [];
  private readonly effectiveParameters: Readonly<Record<string, string>>;

  /**
   * Makes the server, and all that stands around it.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. Another id is another, empty server, which the deploy guard refuses
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: AuroraPostgresProps) {
    super(scope, id, props);
    const settings = this._settings;
    const production = this.profile.isProduction;
    const readers = props.readers ?? (production ? 1 : 0);
    if (!Number.isInteger(readers) || readers < 0 || readers > MOST_READERS) {
      throw new Error(
        `${this.node.path}: readers is ${readers}; a cluster has 0 to ${MOST_READERS} whole nodes besides its writer`,
      );
    }
    if (props.serverlessV2 && props.instanceType) {
      throw new Error(`${this.node.path}: serverlessV2 and instanceType are both set; a node has one or the other`);
    }
    this._serverlessV2 = props.serverlessV2;
    this.zones = checkZones(this.node.path, this.vpc, settings.vpcSubnets, props.availabilityZones);

    const engine = rds.DatabaseClusterEngine.auroraPostgres({
      version: rds.AuroraPostgresEngineVersion.of(this.version.fullVersion, String(this.version.majorVersion), {
        s3Import: true,
        s3Export: true,
        serverlessV2AutoPauseSupported: true,
      }),
    });
    const logTypes = ['postgresql'];
    const logGroups = exportedLogGroups(this, {
      kind: 'cluster',
      identifier: settings.identifier,
      types: logTypes,
      retention: settings.logRetention,
      encryptionKey: this.encryptionKey,
      removalPolicy: settings.companions,
    });
    const parameters = {
      scope: this,
      engine: 'aurora',
      major: this.version._major,
      profile: this.profile,
      defaults: this.defaults,
    } as const;
    const instanceType = props.serverlessV2 ? undefined : this.instanceType;
    const ofInstance = buildParameters({
      ...parameters,
      level: 'instance',
      overrides: props.instanceParameters,
      instanceType,
    });
    const ofCluster = buildParameters({ ...parameters, level: 'cluster', overrides: props.parameters });
    this.effectiveParameters = { ...ofCluster, ...ofInstance };
    const instanceParameters = parameterGroup(this, 'InstanceParameters', {
      engine,
      removalPolicy: settings.companions,
      parameters: ofInstance,
    });
    this._nodeGroup = instanceParameters;
    this._clusterGroup = parameterGroup(this, 'Parameters', {
      engine,
      removalPolicy: settings.companions,
      parameters: ofCluster,
    });
    this.clusterOverrides = props.parameters;
    this.instanceOverrides = props.instanceParameters;
    this._insights = props.databaseInsightsMode ?? rds.DatabaseInsightsMode.STANDARD;

    this.cluster = new rds.DatabaseCluster(this, 'Resource', {
      engine,
      vpc: this.vpc,
      vpcSubnets: settings.vpcSubnets,
      subnetGroup: settings.subnetGroup,
      securityGroups: settings.securityGroups,
      port: this.port,
      clusterIdentifier: settings.identifier,
      writer: this.clusterNode(1, instanceParameters),
      readers: Array.from({ length: readers }, (_, index) => this.clusterNode(index + 2, instanceParameters)),
      serverlessV2MinCapacity: props.serverlessV2?.minCapacity,
      serverlessV2MaxCapacity: props.serverlessV2?.maxCapacity,
      credentials: rds.Credentials.fromSecret(this.adminSecret, settings.masterUsername),
      iamAuthentication: true,
      storageEncrypted: true,
      storageEncryptionKey: this.encryptionKey,
      storageType: props.storageType,
      parameterGroup: this._clusterGroup,
      backup: { retention: settings.pointInTimeRecovery, preferredWindow: settings.windows.backup },
      preferredMaintenanceWindow: settings.windows.maintenance,
      copyTagsToSnapshot: true,
      deleteAutomatedBackups: false,
      deletionProtection: settings.deletionProtection,
      removalPolicy: settings.removalPolicy,
      autoMinorVersionUpgrade: settings.autoMinorVersionUpgrade,
      engineLifecycleSupport: rds.EngineLifecycleSupport.OPEN_SOURCE_RDS_EXTENDED_SUPPORT_DISABLED,
      cloudwatchLogsExports: logTypes,
      enablePerformanceInsights: true,
      performanceInsightEncryptionKey: this.encryptionKey,
      performanceInsightRetention: insightRetention(this._insights),
      databaseInsightsMode: this._insights,
      monitoringInterval: settings.monitoringInterval,
      monitoringRole: settings.monitoringRole,
    });
    acknowledgeInsightsByCluster(this.cluster);
    this.cfnCluster.node.addDependency(...logGroups);
    restoreCluster(this.cfnCluster, props);
    this.identity = this.cluster.clusterResourceIdentifier;
    this.host = this.cluster.clusterEndpoint.hostname;
    this.readerHost = this.cluster.clusterReadEndpoint.hostname;
    this.readerEndpoint = clusterReaderEndpoint(this, this.readerHost);

    const nodes = this.nodes.map((node) => node.resource);
    this._surround(props, {
      guarded: [this.cfnCluster, ...nodes],
      writer: nodes[0]!,
      attachedSecret: this.cluster.secret!,
    });
    if (this.alarmTopic) this._storageAlarms(this.alarmTopic);
    if (production) {
      dailyBackup(this, {
        resource: backup.BackupResource.fromArn(this.cluster.clusterArn),
        encryptionKey: this.encryptionKey,
        hour: backupPlanHour(this.node.path, settings.windows),
        retention: snapshotRetention(props.objectives),
        copies: props.backupCopies,
        lock: props.backupVaultLock,
      });
      acknowledgeBackupByCluster(this.cluster);
    }
    this.guardPause();
  }

  private get cfnCluster(): rds.CfnDBCluster {
    return this.cluster.node.defaultChild as rds.CfnDBCluster;
  }

  /** A node: the writer is merely the one that starts as such, so that all are alike and numbered. */
  private clusterNode(number: number, parameterGroup: rds.IParameterGroup): rds.IClusterInstance {
    const common = {
      instanceIdentifier: `${this._settings.identifier}-${number}`,
      publiclyAccessible: false,
      autoMinorVersionUpgrade: this._settings.autoMinorVersionUpgrade,
      caCertificate: rds.CaCertificate.RDS_CA_RSA2048_G1,
      preferredMaintenanceWindow: this._settings.windows.maintenance,
      parameterGroup,
      availabilityZone: this.zones?.[(number - 1) % this.zones.length],
    };
    const id = `Node${number}`;
    return this._serverlessV2
      ? rds.ClusterInstance.serverlessV2(id, { ...common, scaleWithWriter: true })
      : rds.ClusterInstance.provisioned(id, { ...common, instanceType: this.instanceType, promotionTier: 1 });
  }

  private get nodes(): { readonly id: string; readonly resource: rds.CfnDBInstance }[] {
    return this.cluster.node.children.flatMap((child) =>
      child.node.defaultChild instanceof rds.CfnDBInstance
        ? [{ id: child.node.id, resource: child.node.defaultChild }]
        : [],
    );
  }

  /**
   * Adds nodes for one purpose, with an endpoint that leads to them alone (HA-13).
   *
   * @param id their name; it goes into their names in RDS
   * @param options what they are for
   */
  public addReaders(id: string, options: AuroraReadersOptions): AuroraReaders {
    const readers = AuroraReaders._make(this, id, this, options);
    this.furtherNodes.push(...readers._names);
    if (this.profile.isProduction) acknowledgeBackupByCluster(readers);
    return readers;
  }

  /**
   * Adds readers while those that are declared are busy, and removes them afterwards. Call it after `addReaders()`.
   *
   * @param options up to how many, and when
   */
  public scaleReaders(options: ReaderScalingOptions): void {
    scaleReaders(this, () => this.nodes.length - 1 + this.furtherReaders, options);
  }

  /**
   * Makes the cluster the primary of a global database, so that a `GlobalSecondary` in another region can follow it (HA-18). The cluster
   * itself stays as it is.
   *
   * @param options its name, and what a failover may lose
   */
  public addGlobalDatabase(options: GlobalDatabaseOptions = {}): GlobalDatabase {
    return GlobalDatabase._make(this, 'Global', options);
  }

  /** The parameters of a cluster that follows this one. @internal */
  public _clusterParameters(scope: Construct): Record<string, string> {
    return buildParameters({
      scope,
      engine: 'aurora',
      major: this.version._major,
      level: 'cluster',
      profile: this.profile,
      defaults: this.defaults,
      overrides: this.clusterOverrides,
    });
  }

  /** The parameters of nodes that differ from the server's own. @internal */
  public _instanceParameters(
    scope: Construct,
    instanceType: ec2.InstanceType,
    overrides: { [name: string]: string } = {},
  ): Record<string, string> {
    return buildParameters({
      scope,
      engine: 'aurora',
      major: this.version._major,
      level: 'instance',
      profile: this.profile,
      defaults: this.defaults,
      overrides: { ...this.instanceOverrides, ...overrides },
      instanceType: this._serverlessV2 ? undefined : instanceType,
    });
  }

  /** @internal */
  public _requireRoomFor(path: string, count: number): void {
    this.furtherReaders += count;
    const readers = this.nodes.length - 1 + this.furtherReaders;
    if (readers > MOST_READERS) {
      throw new Error(`${path}: with these, the cluster would have ${readers} readers; it can have ${MOST_READERS}`);
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
      nodeNames: () => [...this.nodes.map((_, index) => `${prefix}-${index + 1}`), ...this.furtherNodes],
    };
  }

  /** The node that starts as the writer. @internal */
  public get _writer(): rds.CfnDBInstance {
    return this.nodes[0]!.resource;
  }

  /** @internal */
  protected _makeStorageAlarms(topic: sns.ITopic): cloudwatch.Alarm[] {
    const volume = volumeAlarm(this, this.cluster, topic);
    // Serverless nodes publish no local storage.
    if (this._serverlessV2) return [volume];
    return [
      volume,
      ...this.nodes.map(({ id, resource }) => freeLocalStorageAlarm(this, id, resource.ref, this.instanceType, topic)),
    ];
  }

  /** @internal */
  protected _platformMonitoring(): PlatformMonitoring {
    const nodes = this.nodes.map(({ resource }) => resource.ref);
    const watched = watchedCluster(this.cfnCluster.ref, {
      instanceType: this.instanceType,
      serverlessV2: this._serverlessV2,
      readers: nodes.length > 1,
      parameters: this.effectiveParameters,
    });
    return {
      watched,
      events: clusterEvents(this.cfnCluster.ref, nodes, this._pauses()),
      storage: (topic) => this._storageAlarms(topic),
      knowsConnections: watched.some(({ id }) => id === 'DatabaseConnections'),
      slotBytes: slotBytes(this.effectiveParameters),
    };
  }

  /** @internal */
  public _connectionCapacity(): ConnectionCapacity | undefined {
    const serverless = this._serverlessV2;
    return connectionCapacity({
      parameters: this.effectiveParameters,
      memory: serverless ? serverlessMemory(serverless.maxCapacity) : memoryOf(this.instanceType),
      node: serverless ? `${serverless.maxCapacity} ACUs` : this.instanceType.toString(),
      atMost: serverless && serverless.minCapacity <= 0.5 ? MOST_OF_SMALL_SERVERLESS : undefined,
    });
  }

  /** @internal */
  public _isServerless(): boolean {
    return this._serverlessV2 !== undefined;
  }

  /** @internal */
  public _proxyTarget(): ProxyTarget {
    const readers = this.nodes.length + this.furtherReaders > 1;
    return { clusterIdentifier: this.cfnCluster.ref, readers: readers || 'the cluster has no reader; set readers' };
  }

  private guardPause(): void {
    this._guard({
      id: 'OPS-12',
      check: () =>
        this._serverlessV2?.minCapacity === 0
          ? `${this.node.path}: serverlessV2.minCapacity is 0; an idle cluster pauses, and the next connection waits for it`
          : undefined,
      fix: 'Set serverlessV2.minCapacity to 0.5 or more.',
    });
  }

  /** @internal */
  protected _pauses(): boolean {
    return this._serverlessV2?.minCapacity === 0;
  }

  /** @internal */
  protected _capability(): RecoveryCapability {
    const readers = this.nodes.length > 1;
    return {
      pointInTimeRecovery: this._backupRetentionDays() !== 0,
      synchronousCopy: true,
      recovery: readers ? 'failover to a reader' : 'a new writer, since there is no reader,',
      recoveryTime: readers ? Duration.minutes(1) : Duration.minutes(10),
    };
  }

  /** @internal */
  protected _singleNode(): string | undefined {
    return this.nodes.length > 1
      ? undefined
      : 'there is no reader; the loss of the writer stops the database until a new one is made';
  }

  /** @internal */
  protected _backupRetentionDays(): number | undefined {
    return this.cfnCluster.backupRetentionPeriod;
  }

  /** @internal */
  protected _isDeletionProtected(): boolean {
    return this.cfnCluster.deletionProtection === true;
  }
}

/**
 * Insights of a cluster are on for each of its nodes, as CDK's own warning says. Repeated on the nodes, the same would be a change of every
 * server that runs.
 */
function acknowledgeInsightsByCluster(cluster: IConstruct): void {
  Annotations.of(cluster).acknowledgeWarning(
    '@aws-cdk/aws-rds:instancePerformanceInsightsOverridden',
    'Insights are on for the cluster, and so for each node.',
  );
}

/**
 * The rule asks for every node in a backup selection, but AWS Backup protects Aurora by its cluster, which the selection names. Naming the
 * nodes as well would satisfy the rule and protect nothing.
 */
function acknowledgeBackupByCluster(cluster: IConstruct): void {
  for (const pack of ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5']) {
    Validations.of(cluster).acknowledge({
      id: `${pack}-RDSInBackupPlan`,
      reason:
        'AWS Backup protects Aurora by its cluster, and the backup selection of this server names the cluster. The rule looks for ' +
        'the instances, which AWS Backup does not support for Aurora.',
    });
  }
}
