export { FindingAcknowledgement } from './compliance/acknowledgement';
export { PostgresChecks } from './compliance/postgres-checks';
export * from './database';
export { AllowedExtensions } from './server/allowed-extensions';
export { AuroraPostgres, AuroraPostgresProps, ServerlessV2Capacity } from './server/aurora-postgres';
export { DriftDetectionOptions } from './server/drift-detection-options';
export { ExternalEndpoint, ExternalPostgres, ServerTrust } from './server/external-postgres';
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
export { RdsPostgres, RdsPostgresProps } from './server/rds-postgres';
export { SharedPostgres, SharedPostgresAttributes, SharedPostgresOptions } from './server/shared-postgres';
