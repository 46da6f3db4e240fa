import type { IRole } from './role';

/** A role that the server brings along, to make other roles members of (SEC-8). One that the server's version lacks is an error. */
export class PredefinedRole implements IRole {
  /** Reads all statistics, settings and the log position; what monitoring needs. */
  public static readonly MONITOR = new PredefinedRole('pg_monitor');
  /** Reads all settings. Part of MONITOR. */
  public static readonly READ_ALL_SETTINGS = new PredefinedRole('pg_read_all_settings');
  /** Reads all statistics views. Part of MONITOR. */
  public static readonly READ_ALL_STATS = new PredefinedRole('pg_read_all_stats');
  /** Runs statistics functions that may lock tables for long. Part of MONITOR. */
  public static readonly STAT_SCAN_TABLES = new PredefinedRole('pg_stat_scan_tables');
  /** Cancels queries and ends sessions of roles that are not superusers. */
  public static readonly SIGNAL_BACKEND = new PredefinedRole('pg_signal_backend');
  /** Reads every table, view and sequence of every database it can connect to. Row security still applies. */
  public static readonly READ_ALL_DATA = new PredefinedRole('pg_read_all_data', 14);
  /** Writes every table, view and sequence of every database it can connect to. */
  public static readonly WRITE_ALL_DATA = new PredefinedRole('pg_write_all_data', 14);
  /** Runs CHECKPOINT. */
  public static readonly CHECKPOINT = new PredefinedRole('pg_checkpoint', 15);
  /** Connects where `reserved_connections` keeps room. */
  public static readonly USE_RESERVED_CONNECTIONS = new PredefinedRole('pg_use_reserved_connections', 16);
  /** Makes subscriptions, together with CREATE on the database. */
  public static readonly CREATE_SUBSCRIPTION = new PredefinedRole('pg_create_subscription', 16);
  /** VACUUM, ANALYZE, REINDEX and the like on every table. */
  public static readonly MAINTAIN = new PredefinedRole('pg_maintain', 17);
  /** Ends autovacuum workers. */
  public static readonly SIGNAL_AUTOVACUUM_WORKER = new PredefinedRole('pg_signal_autovacuum_worker', 18);

  /**
   * A predefined role without a constant here, such as `rds_replication`.
   *
   * @param roleName a name that starts with `pg_` or `rds_`
   * @param sinceMajor the major version that introduced it
   */
  public static of(roleName: string, sinceMajor?: number): PredefinedRole {
    if (!/^(pg|rds)_[a-z_]+$/.test(roleName)) {
      throw new Error(
        `PredefinedRole.of('${roleName}'): a predefined role starts with pg_ or rds_; declare other roles with addGroupRole()`,
      );
    }
    if (roleName === 'rds_iam')
      throw new Error("PredefinedRole.of('rds_iam'): use Authentication.iam() on the login role");
    if (roleName === 'rds_superuser') {
      throw new Error("PredefinedRole.of('rds_superuser'): no role of an application may be an administrator (SEC-26)");
    }
    return new PredefinedRole(roleName, sinceMajor);
  }

  private constructor(
    /** The name of the role. */
    public readonly roleName: string,
    /** The major version that introduced it, where one of the supported versions lacks it. */
    public readonly sinceMajor = 0,
  ) {}
}
