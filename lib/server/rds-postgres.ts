import {
  Duration,
  Size,
  aws_backup as backup,
  aws_cloudwatch as cloudwatch,
  aws_rds as rds,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { Platform } from '../contract';
import type { ProxyTarget } from '../pooling/rds-proxy';
import { backupPlanHour } from './windows';
import { dailyBackup } from './backup-plan';
import { insightRetention } from './insights';
import { exportedLogGroups } from './log-groups';
import { ManagedServerOptions, StorageOptions } from './managed-server-options';
import { ManagedServerBase, parameterGroup } from './managed-server';
import { ConnectionCapacity, connectionCapacity, memoryOf } from './monitoring/capacity';
import { instanceEvents, slotBytes, watchedInstance } from './monitoring/platform';
import { PlatformMonitoring } from './monitoring/watched';
import { RecoveryCapability } from './objectives';
import { buildParameters } from './parameters';
import { RebootTarget } from './high-availability/controlled-reboot';
import { SecondCopyOptions } from './recovery/backup-copy';
import { BackupReplication, replicateBackups } from './recovery/backup-replication';
import { snapshotRetention } from './recovery/history';
import { instanceFromPointInTime, instanceFromSnapshot, restoreInstance } from './recovery/restore';
import { InstanceBackups } from './recovery/restore-source';
import { RestoreTime } from './recovery/restore-time';
import { ReadReplica, ReadReplicaOptions } from './replicas/read-replica';
import { requireSize } from './required';
import { requireStorage, STORAGE_RANGE } from './storage-range';
import { ServerState } from './state/server-state';
import { freeStorageAlarm } from './storage-alarms';

/** Properties of `RdsPostgres`. */
export interface RdsPostgresProps extends ManagedServerOptions, StorageOptions, SecondCopyOptions {
  /**
   * A synchronous standby in another zone that takes over by itself (HA-1).
   *
   * @default - true; false in the development profile. Without it, production is a finding
   */
  readonly multiAz?: boolean;

  /**
   * The kind of storage.
   *
   * @default rds.StorageType.GP3
   */
  readonly storageType?: rds.StorageType;

  /**
   * Provisioned input and output operations a second.
   *
   * @default - what the storage type includes
   */
  readonly iops?: number;

  /**
   * Provisioned throughput of gp3 storage in MiB/s.
   *
   * @default - what the storage type includes
   */
  readonly storageThroughput?: number;

  /**
   * Whether CloudWatch Database Insights runs in its standard or its advanced mode (OPS-6).
   *
   * @default rds.DatabaseInsightsMode.STANDARD
   */
  readonly databaseInsightsMode?: rds.DatabaseInsightsMode;

  /**
   * Automated backups in another region as well, from which the server is restored there to any second (BK-13). Aurora does not have it; it
   * has `backupCopies`.
   *
   * @default - in the server's own region alone
   */
  readonly backupReplication?: BackupReplication;
}

/** Properties of `RdsPostgres.fromPointInTime()`: those of a new server, and where its data comes from. */
export interface RdsPostgresFromPointInTimeProps extends RdsPostgresProps {
  /** Whose backups the data comes from. */
  readonly source: InstanceBackups;

  /** The moment to which the data goes back. */
  readonly restoreTo: RestoreTime;
}

/** Properties of `RdsPostgres.fromSnapshot()`: those of a new server, and where its data comes from. */
export interface RdsPostgresFromSnapshotProps extends RdsPostgresProps {
  /**
   * The name of a snapshot in this account, or the ARN of one: of AWS Backup, or shared by another account. One of a Multi-AZ DB cluster
   * is named by its ARN.
   */
  readonly snapshot: string;
}

const ONE_INSTANCE =
  'RDS Proxy does not stand before read replicas; pass the replica as endpoint to grantConnect(), or put Pooler.pgBouncer({ endpoint }) before it';

/**
 * PostgreSQL on Amazon RDS: one instance with a standby in another zone, fit for production as it stands.
 *
 * Everything else that RDS offers is on `instance`, the L2 construct of aws-cdk-lib.
 */
export class RdsPostgres extends ManagedServerBase {
  /**
   * Restores a new instance from the automated backups of another one, to a second (BK-18). The source stays as it is.
   *
   * The new server has an identity, a secret, alarms and a backup plan of its own, and the declared state runs on it. Master user,
   * storage key and storage are the source's: `masterUsername` must be that of the source.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope, another one than the source's
   * @param props those of a new server, and the source
   */
  public static fromPointInTime(scope: Construct, id: string, props: RdsPostgresFromPointInTimeProps): RdsPostgres {
    return new RdsPostgres(
      scope,
      id,
      instanceFromPointInTime(`${scope.node.path}/${id}`, props, props.source, props.restoreTo),
    );
  }

  /**
   * Restores a new instance from a snapshot, such as one of AWS Backup, of another account, or of a `MultiAzPostgres` (BK-18).
   *
   * As with `fromPointInTime()`, master user, storage key and storage are the source's.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope, another one than the source's
   * @param props those of a new server, and the snapshot
   */
  public static fromSnapshot(scope: Construct, id: string, props: RdsPostgresFromSnapshotProps): RdsPostgres {
    return new RdsPostgres(scope, id, instanceFromSnapshot(`${scope.node.path}/${id}`, props, props.snapshot));
  }

  /** The instance, with everything that aws-cdk-lib offers for it. */
  public readonly instance: rds.DatabaseInstance;
  public readonly identity: string;
  public readonly host: string;

  /** @internal */
  public readonly _platform: Platform = 'rds';

  /** What replicas need to know. @internal */
  public readonly _parameters: Readonly<Record<string, string>>;
  /** @internal */
  public readonly _parameterOverrides: Readonly<Record<string, string>>;
  /** @internal */
  public readonly _allocated: Size;
  /** @internal */
  public readonly _storageCeiling: Size;
  /** @internal */
  public readonly _storageType: rds.StorageType;
  /** @internal */
  public readonly _insights: rds.DatabaseInsightsMode;

  private readerReplica?: ReadReplica;
  private readonly replicas: string[] = [];

  /**
   * Makes the server, and all that stands around it.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. Another id is another, empty server, which the deploy guard refuses
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: RdsPostgresProps) {
    super(scope, id, props);
    const settings = this._settings;
    const production = this.profile.isProduction;
    const path = this.node.path;
    const usual = Size.gibibytes(production ? 100 : 20);
    const allocated = requireSize(path, 'allocatedStorage', props.allocatedStorage ?? usual);
    const ceiling = requireSize(
      path,
      'maxAllocatedStorage',
      props.maxAllocatedStorage ?? Size.gibibytes(Math.min(STORAGE_RANGE.most, allocated.toGibibytes() * 5)),
    );
    checkStorage(path, allocated, ceiling);

    const engine = rds.DatabaseInstanceEngine.postgres({
      version: rds.PostgresEngineVersion.of(this.version.fullVersion, String(this.version.majorVersion), {
        s3Import: true,
        s3Export: true,
      }),
    });
    const logTypes = ['postgresql', 'upgrade'];
    const logGroups = exportedLogGroups(this, {
      kind: 'instance',
      identifier: settings.identifier,
      types: logTypes,
      retention: settings.logRetention,
      encryptionKey: this.encryptionKey,
      removalPolicy: settings.companions,
    });
    this._parameterOverrides = props.parameters ?? {};
    this._parameters = buildParameters({
      scope: this,
      engine: 'rds',
      major: this.version._major,
      level: 'instance',
      overrides: props.parameters,
      profile: this.profile,
      defaults: this.defaults,
      allocatedStorageGiB: allocated.toGibibytes(),
      instanceType: this.instanceType,
    });
    this._allocated = allocated;
    this._storageCeiling = ceiling;
    this._storageType = props.storageType ?? rds.StorageType.GP3;
    this._insights = props.databaseInsightsMode ?? rds.DatabaseInsightsMode.STANDARD;

    this.instance = new rds.DatabaseInstance(this, 'Resource', {
      engine,
      vpc: this.vpc,
      vpcSubnets: settings.vpcSubnets,
      subnetGroup: settings.subnetGroup,
      securityGroups: settings.securityGroups,
      publiclyAccessible: false,
      port: this.port,
      instanceIdentifier: settings.identifier,
      instanceType: this.instanceType,
      multiAz: props.multiAz ?? production,
      credentials: rds.Credentials.fromSecret(this.adminSecret, settings.masterUsername),
      iamAuthentication: true,
      allocatedStorage: allocated.toGibibytes(),
      maxAllocatedStorage: ceiling.toGibibytes(),
      storageType: this._storageType,
      iops: props.iops,
      storageThroughput: props.storageThroughput,
      storageEncrypted: true,
      storageEncryptionKey: this.encryptionKey,
      parameterGroup: parameterGroup(this, 'Parameters', {
        engine,
        removalPolicy: settings.companions,
        parameters: this._parameters,
      }),
      backupRetention: settings.pointInTimeRecovery,
      preferredBackupWindow: settings.windows.backup,
      preferredMaintenanceWindow: settings.windows.maintenance,
      copyTagsToSnapshot: true,
      deleteAutomatedBackups: false,
      deletionProtection: settings.deletionProtection,
      removalPolicy: settings.removalPolicy,
      autoMinorVersionUpgrade: settings.autoMinorVersionUpgrade,
      allowMajorVersionUpgrade: false,
      engineLifecycleSupport: rds.EngineLifecycleSupport.OPEN_SOURCE_RDS_EXTENDED_SUPPORT_DISABLED,
      caCertificate: rds.CaCertificate.RDS_CA_RSA2048_G1,
      cloudwatchLogsExports: logTypes,
      enablePerformanceInsights: true,
      performanceInsightEncryptionKey: this.encryptionKey,
      performanceInsightRetention: insightRetention(this._insights),
      databaseInsightsMode: this._insights,
      monitoringInterval: settings.monitoringInterval,
      monitoringRole: settings.monitoringRole,
    });
    this.cfnInstance.node.addDependency(...logGroups);
    restoreInstance(this.cfnInstance, props);
    replicateBackups(this, this.cfnInstance, props.backupReplication, settings.pointInTimeRecovery);
    this.identity = this.cfnInstance.attrDbiResourceId;
    this.host = this.instance.dbInstanceEndpointAddress;

    this._surround(props, {
      guarded: [this.cfnInstance],
      writer: this.cfnInstance,
      attachedSecret: this.instance.secret!,
    });
    if (this.alarmTopic) this._storageAlarms(this.alarmTopic);
    if (production) {
      dailyBackup(this, {
        resource: backup.BackupResource.fromRdsDatabaseInstance(this.instance),
        encryptionKey: this.encryptionKey,
        hour: backupPlanHour(this.node.path, settings.windows),
        retention: snapshotRetention(props.objectives),
        copies: props.backupCopies,
        lock: props.backupVaultLock,
      });
    }
    this.guardStorage();
  }

  /** The replica that secrets name as `readerHost`. Undefined: none does. */
  public get readerHost(): string | undefined {
    return this.readerReplica?.host;
  }

  /**
   * Adds a copy that serves reads (HA-7, HA-13). For one in another region make a `ReadReplica` in a stack there.
   *
   * @param id its name
   * @param options what it is for, and who gives way in a conflict
   */
  public addReadReplica(id: string, options: ReadReplicaOptions): ReadReplica {
    const replica = new ReadReplica(this, id, { ...options, source: this });
    this.replicas.push(replica._identifier);
    return replica;
  }

  /** @internal */
  public _setReaderHost(replica: ReadReplica): void {
    if (this.readerReplica) {
      throw new Error(
        `${replica.node.path}: readerHost is set, and ${this.readerReplica.node.path} is the reader host already; secrets name one`,
      );
    }
    this.readerReplica = replica;
    ServerState.of(this).setReaderHost(replica.host);
  }

  /** @internal */
  protected _rebootTarget(): RebootTarget {
    return {
      kind: 'instance',
      identifier: this._settings.identifier,
      readers: () => this.replicas,
      standby: this.cfnInstance.multiAz === true,
      nodeNames: () => [],
    };
  }

  /** @internal */
  protected _failoverKind(): 'instance' | 'cluster' {
    return 'instance';
  }

  /** @internal */
  protected _makeStorageAlarms(topic: sns.ITopic): cloudwatch.Alarm[] {
    return [freeStorageAlarm(this, this.instance, this._allocated, topic)];
  }

  /** @internal */
  protected _platformMonitoring(): PlatformMonitoring {
    const watched = watchedInstance(this.cfnInstance.ref, {
      instanceType: this.instanceType,
      storage: this._allocated,
      storageType: this.cfnInstance.storageType ?? 'gp2',
      iops: this.cfnInstance.iops,
      parameters: this._parameters,
    });
    return {
      watched,
      events: [instanceEvents(this.cfnInstance.ref)],
      storage: (topic) => this._storageAlarms(topic),
      knowsConnections: watched.some(({ id }) => id === 'DatabaseConnections'),
      slotBytes: slotBytes(this._parameters),
    };
  }

  /** @internal */
  public _connectionCapacity(): ConnectionCapacity | undefined {
    const node = this.instanceType.toString();
    return connectionCapacity({ parameters: this._parameters, memory: memoryOf(this.instanceType), node });
  }

  /** @internal */
  public _proxyTarget(): ProxyTarget {
    return { instanceIdentifier: this.cfnInstance.ref, readers: ONE_INSTANCE };
  }

  private get cfnInstance(): rds.CfnDBInstance {
    return this.instance.node.defaultChild as rds.CfnDBInstance;
  }

  /** @internal */
  protected _capability(): RecoveryCapability {
    const standby = this.cfnInstance.multiAz === true;
    return {
      pointInTimeRecovery: this._backupRetentionDays() !== 0,
      synchronousCopy: standby,
      recovery: standby ? 'failover to the standby' : 'a new host in the same zone, or a restore in another,',
      recoveryTime: standby ? Duration.minutes(2) : Duration.hours(1),
    };
  }

  /** @internal */
  protected _singleNode(): string | undefined {
    return this.cfnInstance.multiAz === true
      ? undefined
      : 'multiAz is off; the loss of the node or its zone stops the database';
  }

  /** @internal */
  protected _backupRetentionDays(): number | undefined {
    return this.cfnInstance.backupRetentionPeriod;
  }

  /** @internal */
  protected _isDeletionProtected(): boolean {
    return this.cfnInstance.deletionProtection === true;
  }

  private guardStorage(): void {
    this._guard({
      id: 'OPS-4',
      check: () => {
        const { allocatedStorage, maxAllocatedStorage } = this.cfnInstance;
        return maxAllocatedStorage === undefined || maxAllocatedStorage <= Number(allocatedStorage)
          ? `${this.node.path}: storage cannot grow beyond ${allocatedStorage} GiB, and a full server stops`
          : undefined;
      },
      fix: 'Leave maxAllocatedStorage out, or set it well above allocatedStorage.',
    });
  }
}

function checkStorage(path: string, allocated: Size, ceiling: Size): void {
  requireStorage(path, 'allocatedStorage', allocated);
  requireStorage(path, 'maxAllocatedStorage', ceiling);
  if (allocated.isUnresolved() || ceiling.isUnresolved()) return;
  if (ceiling.toGibibytes() < allocated.toGibibytes()) {
    throw new Error(
      `${path}: maxAllocatedStorage is ${ceiling.toGibibytes()} GiB, less than allocatedStorage with ${allocated.toGibibytes()} GiB`,
    );
  }
}
