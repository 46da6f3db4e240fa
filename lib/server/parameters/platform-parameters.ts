/**
 * What `pg_settings` of a stock server cannot say: the parameters that Amazon RDS adds, those of extensions that are not in
 * the embedded servers, and what RDS keeps to itself. Each entry names where it comes from.
 */

const AURORA_GUIDE = 'Aurora user guide, AuroraPostgreSQL.Reference.ParameterGroups';
const RDS_GUIDE = 'RDS user guide, Appendix.PostgreSQL.CommonDBATasks.Parameters';
const PGAUDIT_GUIDE = `${AURORA_GUIDE}; pgaudit's README for the values`;

export interface PlatformParameter {
  readonly name: string;
  readonly type: 'bool' | 'integer' | 'real' | 'string' | 'enum';
  readonly apply: 'static' | 'dynamic';
  /** Where Aurora keeps it. */
  readonly auroraLevel: 'instance' | 'cluster';
  /** Default: both. */
  readonly engine?: 'rds' | 'aurora';
  /** The first major version that has it. */
  readonly since?: number;
  readonly unit?: string;
  readonly min?: number;
  readonly max?: number;
  readonly values?: readonly string[];
  readonly source: string;
  /** The kind of reboot or the range is stated by no source that could be read. */
  readonly unverified?: boolean;
}

const LOG_LEVELS = [
  'debug5',
  'debug4',
  'debug3',
  'debug2',
  'debug1',
  'info',
  'notice',
  'warning',
  'error',
  'log',
  'fatal',
  'panic',
];

const pgaudit = (name: string, rest: Pick<PlatformParameter, 'type' | 'values'>): PlatformParameter => ({
  name: `pgaudit.${name}`,
  apply: 'dynamic',
  auroraLevel: 'instance',
  source: PGAUDIT_GUIDE,
  ...rest,
});

export const PLATFORM_PARAMETERS: readonly PlatformParameter[] = [
  { name: 'rds.force_ssl', type: 'bool', apply: 'dynamic', auroraLevel: 'cluster', source: RDS_GUIDE },
  {
    name: 'rds.accepted_password_auth_method',
    type: 'enum',
    values: ['scram', 'md5+scram'],
    apply: 'dynamic',
    auroraLevel: 'cluster',
    source: `${AURORA_GUIDE}; DEPENDENCIES in aws-rds-dbparametergroup of cloudformation-resource-providers-rds`,
  },
  { name: 'rds.logical_replication', type: 'bool', apply: 'static', auroraLevel: 'cluster', source: AURORA_GUIDE },
  {
    name: 'rds.logical_slot_sync_dbname',
    type: 'string',
    apply: 'dynamic',
    auroraLevel: 'cluster',
    engine: 'rds',
    since: 17,
    source: 'RDS for PostgreSQL release notes, version 17',
    unverified: true,
  },
  { name: 'rds.restrict_password_commands', type: 'bool', apply: 'static', auroraLevel: 'cluster', source: RDS_GUIDE },
  {
    name: 'rds.allowed_extensions',
    type: 'string',
    apply: 'dynamic',
    auroraLevel: 'cluster',
    source: 'RDS user guide, PostgreSQL.Concepts.General.FeatureSupport.Extensions (dynamic, "*" by default)',
  },
  { name: 'rds.adaptive_autovacuum', type: 'bool', apply: 'dynamic', auroraLevel: 'cluster', source: RDS_GUIDE },
  {
    name: 'rds.force_autovacuum_logging_level',
    type: 'enum',
    values: ['disabled', ...LOG_LEVELS],
    apply: 'dynamic',
    auroraLevel: 'cluster',
    source: AURORA_GUIDE,
  },
  {
    name: 'rds.force_admin_logging_level',
    type: 'enum',
    values: ['disabled', ...LOG_LEVELS],
    apply: 'dynamic',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
  },
  {
    name: 'rds.log_retention_period',
    type: 'integer',
    unit: 'min',
    min: 1440,
    max: 10080,
    apply: 'dynamic',
    auroraLevel: 'instance',
    source: RDS_GUIDE,
  },
  {
    name: 'rds.rds_superuser_reserved_connections',
    type: 'integer',
    min: 0,
    max: 8388607,
    apply: 'static',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
    unverified: true,
  },
  {
    name: 'rds.pg_stat_ramdisk_size',
    type: 'integer',
    unit: 'MB',
    min: 0,
    apply: 'static',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
    unverified: true,
  },
  {
    name: 'rds.global_db_rpo',
    type: 'integer',
    unit: 's',
    min: 20,
    max: 2147483647,
    apply: 'dynamic',
    auroraLevel: 'cluster',
    engine: 'aurora',
    source: AURORA_GUIDE,
  },
  {
    name: 'rds.enable_plan_management',
    type: 'bool',
    apply: 'static',
    auroraLevel: 'cluster',
    engine: 'aurora',
    source: AURORA_GUIDE,
  },
  {
    name: 'apg_ccm_enabled',
    type: 'bool',
    apply: 'dynamic',
    auroraLevel: 'cluster',
    engine: 'aurora',
    source: AURORA_GUIDE,
  },
  ...[
    'apg_enable_batch_mode_function_execution',
    'apg_enable_correlated_any_transform',
    'apg_enable_function_migration',
    'apg_enable_not_in_transform',
    'apg_enable_remove_redundant_inner_joins',
    'apg_enable_semijoin_push_down',
  ].map((name): PlatformParameter => ({
    name,
    type: 'bool',
    apply: 'dynamic',
    auroraLevel: 'instance',
    engine: 'aurora',
    source: AURORA_GUIDE,
  })),
  pgaudit('log', { type: 'string' }),
  pgaudit('log_catalog', { type: 'bool' }),
  pgaudit('log_level', { type: 'enum', values: LOG_LEVELS.slice(0, -3) }),
  pgaudit('log_parameter', { type: 'bool' }),
  pgaudit('log_relation', { type: 'bool' }),
  pgaudit('log_statement_once', { type: 'bool' }),
  pgaudit('role', { type: 'string' }),
  {
    name: 'cron.database_name',
    type: 'string',
    apply: 'static',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
  },
  {
    name: 'cron.log_run',
    type: 'bool',
    apply: 'static',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
    unverified: true,
  },
  {
    name: 'cron.log_statement',
    type: 'bool',
    apply: 'static',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
    unverified: true,
  },
  {
    name: 'cron.max_running_jobs',
    type: 'integer',
    min: 0,
    apply: 'static',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
    unverified: true,
  },
  {
    name: 'cron.use_background_workers',
    type: 'bool',
    apply: 'static',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
    unverified: true,
  },
  ...['enable_hint', 'enable_hint_table'].map((name): PlatformParameter => ({
    name: `pg_hint_plan.${name}`,
    type: 'bool',
    apply: 'dynamic',
    auroraLevel: 'instance',
    source: AURORA_GUIDE,
  })),
];

/** What RDS sets itself, and what to do instead. */
export const KEPT_BY_RDS: Readonly<Record<string, string>> = {
  wal_level: 'set rds.logical_replication to 1 for logical decoding; RDS chooses wal_level from it',
  ssl: 'TLS is always on; rds.force_ssl decides whether it is required',
  port: "set the port of the server's construct",
  listen_addresses: 'the VPC and the security groups decide who reaches the server',
  superuser_reserved_connections: 'set rds.rds_superuser_reserved_connections, or reserved_connections',
  log_line_prefix: 'the log format belongs to RDS',
  ...Object.fromEntries(
    (
      'archive_command archive_library archive_mode archive_timeout restore_command recovery_target recovery_target_action ' +
      'recovery_target_inclusive recovery_target_lsn recovery_target_name recovery_target_time recovery_target_timeline ' +
      'recovery_target_xid archive_cleanup_command recovery_end_command primary_conninfo primary_slot_name config_file ' +
      'data_directory hba_file ident_file external_pid_file ssl_ca_file ssl_cert_file ssl_crl_dir ssl_crl_file ssl_key_file ' +
      'unix_socket_directories unix_socket_group unix_socket_permissions log_directory log_file_mode logging_collector ' +
      'fsync full_page_writes stats_temp_directory dynamic_library_path krb_server_keyfile bonjour bonjour_name ' +
      'syslog_facility syslog_ident event_source'
    )
      .split(' ')
      .map((name) => [name, 'RDS manages it']),
  ),
};
