import { Token } from 'aws-cdk-lib';
import type { RecoveryTargetModel } from './configuration';

/** How exactly a recovery ends. */
export interface RecoveryTargetOptions {
  /**
   * Stop just before the target instead of just after it.
   *
   * @default false
   */
  readonly exclusive?: boolean;

  /**
   * The timeline to follow: `latest`, `current` (that of the backup), or a number. Each failover begins a new one.
   *
   * @default 'latest'
   */
  readonly timeline?: string;
}

/** How far the write-ahead log is replayed onto a backup (BK-10): for `EcsPostgres.fromBackup()`. */
export class RecoveryTarget {
  /**
   * A moment, such as the second before a wrong DELETE.
   *
   * @param time with its zone, such as `2026-03-01 12:00:00+00` or `2026-03-01T12:00:00Z`
   * @param options how exactly it ends
   */
  public static time(time: string, options: RecoveryTargetOptions = {}): RecoveryTarget {
    const form = /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)$/;
    require_('time', time, form, "write one with its zone, such as '2026-03-01 12:00:00+00'");
    if (Number.isNaN(Date.parse(iso(time))))
      throw new Error(`RecoveryTarget.time('${time}') is no moment; write it such as '2026-03-01 12:00:00+00'`);
    if (Date.parse(iso(time)) > Date.now())
      throw new Error(`RecoveryTarget.time('${time}') is in the future; no backup reaches there`);
    return new RecoveryTarget({ type: 'time', value: time, ...options });
  }

  /**
   * A place in the write-ahead log, as `pg_current_wal_lsn()` gave it.
   *
   * @param lsn such as `0/3000060`
   * @param options how exactly it ends
   */
  public static lsn(lsn: string, options: RecoveryTargetOptions = {}): RecoveryTarget {
    require_('lsn', lsn, /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/i, "write one such as '0/3000060'");
    return new RecoveryTarget({ type: 'lsn', value: lsn, ...options });
  }

  /**
   * A restore point that somebody made by `pg_create_restore_point()`.
   *
   * @param name its name
   * @param options the timeline; a restore point has nothing before or after it
   */
  public static name(name: string, options: RecoveryTargetOptions = {}): RecoveryTarget {
    require_('name', name, /^[^'\\\0\r\n]{1,63}$/, 'write the name of a restore point');
    return new RecoveryTarget({ type: 'name', value: name, ...options });
  }

  /**
   * A transaction, by its id.
   *
   * @param xid its number
   * @param options how exactly it ends
   */
  public static transaction(xid: string, options: RecoveryTargetOptions = {}): RecoveryTarget {
    require_('transaction', xid, /^\d{1,20}$/, 'write the number of a transaction');
    return new RecoveryTarget({ type: 'xid', value: xid, ...options });
  }

  /** As soon as the backup is consistent. */
  public static immediate(): RecoveryTarget {
    return new RecoveryTarget({ type: 'immediate' });
  }

  /** All that was archived: what is left after the loss of the source. */
  public static latest(): RecoveryTarget {
    return new RecoveryTarget({ type: 'latest' });
  }

  private constructor(
    /** @internal */
    public readonly _model: RecoveryTargetModel,
  ) {}
}

function require_(method: string, value: string, form: RegExp, write: string): void {
  if (Token.isUnresolved(value))
    throw new Error(
      `RecoveryTarget.${method}() is a token; ${write}, since another value later would be another server`,
    );
  if (typeof value !== 'string' || !form.test(value)) throw new Error(`RecoveryTarget.${method}('${value}'): ${write}`);
}

/** What PostgreSQL takes and JavaScript does not: `+00` without minutes. */
function iso(time: string): string {
  return time.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00');
}
