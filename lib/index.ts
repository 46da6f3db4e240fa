export { FindingAcknowledgement } from './compliance/acknowledgement';
export { PostgresChecks } from './compliance/postgres-checks';
export * from './database';
export {
  Consumer,
  ExternalPoolerOptions,
  IPooler,
  OwnCertificateOptions,
  PgBouncerOptions,
  Pooler,
  PoolerCapabilities,
  PoolMode,
  PoolerCertificate,
  RdsProxyOptions,
  ServiceConsumerOptions,
} from './pooling';
export {
  AuroraPostgres,
  AuroraPostgresFromPointInTimeProps,
  AuroraPostgresFromSnapshotProps,
  AuroraPostgresProps,
  ServerlessV2Capacity,
} from './server/aurora-postgres';
export { AllowedExtensions } from './server/allowed-extensions';
export { EcsLogicalSlot, EcsPostgres, EcsPostgresFromBackupProps, EcsPostgresProps } from './server/ecs-postgres';
export { EcsBackupOptions, EcsBackups, EcsBackupsAttributes, SecondRepositoryOptions } from './server/ecs/backups';
export { HbaCertificateOptions, HbaOauthOptions, HbaRule, HbaRuleOptions } from './server/ecs/hba-rule';
export { EcsImages } from './server/ecs/images';
export { RecoveryTarget, RecoveryTargetOptions } from './server/ecs/recovery-target';
export { Gp3Options, Io2Options, Storage } from './server/ecs/storage';
export { DriftDetectionOptions } from './server/drift-detection-options';
export { ExternalEndpoint, ExternalPostgres, ServerTrust } from './server/external-postgres';
export { ControlledReboot } from './server/high-availability/controlled-reboot';
export { FailoverTest, FailoverTestOptions } from './server/high-availability/failover-test';
export {
  GlobalDatabase,
  GlobalDatabaseOptions,
  GlobalSecondary,
  GlobalSecondaryProps,
} from './server/high-availability/global-database';
export { MultiAzPostgres, MultiAzPostgresProps } from './server/multi-az-postgres';
export { ManagedServerOptions, StorageOptions } from './server/managed-server-options';
export { HardeningItem } from './server/hardening/hardening-item';
export { EnforcedHardening, PostgresHardening, PostgresHardeningOptions } from './server/hardening/postgres-hardening';
export {
  ManagedPostgres,
  ManagedPostgresClusterOptions,
  ManagedPostgresInstanceOptions,
  ManagedPostgresOptions,
} from './server/managed-postgres';
export { IServerMonitoring, MonitoringOptions } from './server/monitoring/monitoring-options';
export { RecoveryObjectives } from './server/objectives';
export { Defaults, PostgresProfile } from './server/postgres-profile';
export { IPostgresServer } from './server/postgres-server';
export { PostgresVersion } from './server/postgres-version';
export {
  RdsPostgres,
  RdsPostgresFromPointInTimeProps,
  RdsPostgresFromSnapshotProps,
  RdsPostgresProps,
} from './server/rds-postgres';
export { BackupCopy, SecondCopyOptions } from './server/recovery/backup-copy';
export { BackupCopyVault, BackupCopyVaultProps } from './server/recovery/backup-copy-vault';
export { BackupReplication } from './server/recovery/backup-replication';
export { ClusterBackups, InstanceBackups } from './server/recovery/restore-source';
export { ComplianceLockOptions, VaultLock, VaultLockOptions } from './server/recovery/vault-lock';
export { RestoreTime } from './server/recovery/restore-time';
export { ConflictPolicy, FeedbackOptions, FreshOptions, LongQueriesOptions } from './server/replicas/conflict-policy';
export { AuroraReaders, AuroraReadersOptions, ReaderScalingOptions } from './server/replicas/aurora-readers';
export { ReadReplica, ReadReplicaOptions, ReadReplicaProps } from './server/replicas/read-replica';
export { IReaderEndpoint } from './server/replicas/reader-endpoint';
export {
  SharedPostgres,
  SharedPostgresAttributes,
  SharedPostgresKind,
  SharedPostgresOptions,
} from './server/shared-postgres';
