import { Duration, aws_backup as backup } from 'aws-cdk-lib';

/** How long recovery points of a locked vault are kept. */
export interface VaultLockOptions {
  /**
   * A job that would keep its recovery point for less fails.
   *
   * @default Duration.days(7)
   */
  readonly minRetention?: Duration;

  /**
   * A job that would keep its recovery point for longer fails.
   *
   * @default - no bound
   */
  readonly maxRetention?: Duration;
}

/** A lock that nobody can open any more, AWS included. */
export interface ComplianceLockOptions {
  /** A job that would keep its recovery point for less fails. */
  readonly minRetention: Duration;

  /** A job that would keep its recovery point for longer fails: what is too long by mistake is paid for until it ends. */
  readonly maxRetention: Duration;

  /** How long the lock can still be taken away, at least three days, counted from the deployment that makes it. */
  readonly coolingOff: Duration;
}

/** The lock of a backup vault (AWS Backup Vault Lock, BK-13). */
export class VaultLock {
  /**
   * Recovery points are deleted by nobody before their time, except by who may take the lock away
   * (`backup:DeleteBackupVaultLockConfiguration`).
   *
   * @param options bounds of the retention
   */
  public static governance(options: VaultLockOptions = {}): VaultLock {
    return new VaultLock(options.minRetention ?? Duration.days(7), options.maxRetention, undefined);
  }

  /**
   * After the cooling-off period nobody takes the lock away, and no recovery point is deleted before its time: not by the account's root
   * user, and not by AWS. The vault stays, and costs, until its last recovery point has ended.
   *
   * @param options bounds of the retention, and the cooling-off period
   */
  public static compliance(options: ComplianceLockOptions): VaultLock {
    if (options.coolingOff.toDays({ integral: false }) < 3) {
      throw new Error(
        `VaultLock.compliance(): coolingOff is ${options.coolingOff.toHumanString()}; AWS Backup asks for at least three days`,
      );
    }
    return new VaultLock(options.minRetention, options.maxRetention, options.coolingOff);
  }

  private constructor(
    private readonly minRetention: Duration,
    private readonly maxRetention: Duration | undefined,
    private readonly coolingOff: Duration | undefined,
  ) {}

  /** @internal */
  public _configuration(): backup.LockConfiguration {
    return { minRetention: this.minRetention, maxRetention: this.maxRetention, changeableFor: this.coolingOff };
  }

  /** Throws where every job into the vault would fail. @internal */
  public _check(path: string, retention: Duration): void {
    const bounds = this._refused(retention);
    if (bounds) {
      throw new Error(
        `${path}: recovery points are kept for ${retention.toDays()} days, and the lock of their vault takes ${bounds}: every job would fail`,
      );
    }
  }

  /** What the lock takes, where it does not take this. @internal */
  public _refused(retention: Duration): string | undefined {
    const days = retention.toDays();
    if (days >= this.minRetention.toDays() && days <= (this.maxRetention?.toDays() ?? Infinity)) return undefined;
    return `${this.minRetention.toDays()} to ${this.maxRetention?.toDays() ?? 'any number of'} days`;
  }
}
