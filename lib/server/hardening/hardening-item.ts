import { HARDENING_TEXTS, HardeningId } from '../../contract/hardening';

/**
 * One thing that makes a server that exists safer. `cdk-postgres hardening --url …` says of a server in use what each would break.
 */
export class HardeningItem {
  /** LIB-2: a parameter group of its own, without which no parameter can be set. Each node restarts, or waits for a restart. */
  public static readonly OWN_PARAMETER_GROUP = new HardeningItem('own-parameter-group');
  /** SEC-11: `rds.force_ssl`. Clients without TLS are refused from their next connection on. */
  public static readonly FORCE_TLS = new HardeningItem('force-tls');
  /** SEC-9: `password_encryption`. Passwords that are set from then on are kept as SCRAM verifiers. */
  public static readonly SCRAM_PASSWORDS = new HardeningItem('scram-passwords');
  /** SEC-10: `rds.accepted_password_auth_method`. Roles whose password is kept as MD5 no longer log in. */
  public static readonly REFUSE_MD5 = new HardeningItem('refuse-md5');
  /** SEC-20, OPS-5: pgaudit and pg_stat_statements, beside the libraries that are there. They load when the server restarts. */
  public static readonly AUDIT = new HardeningItem('audit');
  /** SEC-21: who connected, for how long, and who copied the server. */
  public static readonly LOG_CONNECTIONS = new HardeningItem('log-connections');
  /** OPS-5, DDL-23: slow statements, waits for locks, spills to disk and long vacuums in the log. */
  public static readonly LOG_STATEMENTS = new HardeningItem('log-statements');
  /** CP-16: `idle_in_transaction_session_timeout` of five minutes. */
  public static readonly IDLE_TRANSACTIONS = new HardeningItem('idle-transactions');
  /** HA-8: `max_slot_wal_keep_size`. A consumer that is further behind loses its place. */
  public static readonly SLOT_LIMIT = new HardeningItem('slot-limit');
  /** LIB-6: the logs of the server in CloudWatch. */
  public static readonly LOG_EXPORT = new HardeningItem('log-export');
  /** BK-15: deletion protection. */
  public static readonly DELETION_PROTECTION = new HardeningItem('deletion-protection');
  /** BK-3: 14 days of point-in-time recovery, where there are fewer than 7. */
  public static readonly BACKUP_RETENTION = new HardeningItem('backup-retention');
  /** SEC-16: roles may log in with IAM tokens. */
  public static readonly IAM_LOGIN = new HardeningItem('iam-login');
  /** SEC-15: no node has a public address. */
  public static readonly NOT_PUBLIC = new HardeningItem('not-public');

  /** Every item, in the order in which they are enforced. */
  public static all(): HardeningItem[] {
    return Object.values(HardeningItem).filter((value): value is HardeningItem => value instanceof HardeningItem);
  }

  /** The requirement's id, such as `SEC-11`. */
  public readonly requirement: string;

  private constructor(
    /** Its name, such as `force-tls`, by which the command line and the findings know it. */
    public readonly name: string,
  ) {
    this.requirement = HARDENING_TEXTS[this._id].requirement;
  }

  /** @internal */
  public get _id(): HardeningId {
    return this.name as HardeningId;
  }

  /** Its name. */
  public toString(): string {
    return this.name;
  }
}
