import { Size, Token } from 'aws-cdk-lib';
import { requireSize } from '../required';

/** How fast a gp3 volume is. */
export interface Gp3Options {
  /**
   * Input and output operations a second: 3,000 to 80,000, and at most 500 for each GiB.
   *
   * @default - 3,000, which are included
   */
  readonly iops?: number;

  /**
   * Throughput in MiB/s: 125 to 2,000, and at most a quarter of `iops`.
   *
   * @default - 125, which are included
   */
  readonly throughput?: number;
}

/** How fast an io2 volume is. */
export interface Io2Options {
  /** Input and output operations a second: 100 to 256,000, and at most 1,000 for each GiB. */
  readonly iops: number;
}

/** Where the data of each member of an `EcsPostgres` are. */
export class Storage {
  /**
   * A gp3 volume of Amazon EBS for each member, encrypted, that outlives task and instance. A larger size in a later deployment grows it in
   * place; it never shrinks.
   *
   * @param size 10 GiB or more, of each member
   * @param options how fast it is
   */
  public static gp3(size: Size, options: Gp3Options = {}): Storage {
    const gib = checkSize('Storage.gp3()', size, 10, 65_536);
    const { iops, throughput } = options;
    if (iops !== undefined) {
      checkNumber('Storage.gp3()', 'iops', iops, 3000, 80_000);
      if (iops > Math.max(3000, gib * 500))
        throw new Error(
          `Storage.gp3(): iops is ${iops}; a volume of ${gib} GiB takes ${Math.max(3000, gib * 500)}, 500 for each GiB`,
        );
    }
    if (throughput !== undefined) {
      checkNumber('Storage.gp3()', 'throughput', throughput, 125, 2000);
      if (throughput > (iops ?? 3000) / 4)
        throw new Error(
          `Storage.gp3(): throughput is ${throughput} MiB/s; ${iops ?? 3000} iops carry ${Math.floor((iops ?? 3000) / 4)}, so set iops to ${throughput * 4} or more`,
        );
    }
    return new Storage('gp3', gib, iops, throughput);
  }

  /**
   * An io2 volume for each member, for many small writes with the least latency.
   *
   * @param size 10 GiB or more, of each member
   * @param options how fast it is
   */
  public static io2(size: Size, options: Io2Options): Storage {
    const gib = checkSize('Storage.io2()', size, 10, 65_536);
    checkNumber('Storage.io2()', 'iops', options?.iops, 100, 256_000);
    if (options.iops > gib * 1000)
      throw new Error(
        `Storage.io2(): iops is ${options.iops}; a volume of ${gib} GiB takes ${gib * 1000}, 1,000 for each GiB`,
      );
    return new Storage('io2', gib, options.iops, undefined);
  }

  /**
   * For a development alone: one member on Fargate, with the storage of its task. It is lost with the task, at each deployment of the member and
   * whenever AWS retires it; what the bucket has is restored by `EcsPostgres.fromBackup()`.
   *
   * @param size 21 to 200 GiB
   */
  public static ephemeral(size: Size): Storage {
    return new Storage('ephemeral', checkSize('Storage.ephemeral()', size, 21, 200), undefined, undefined);
  }

  private constructor(
    /** `gp3`, `io2` or `ephemeral`. */
    public readonly kind: string,
    /** The size of each member's storage in GiB. */
    public readonly gibibytes: number,
    /** Provisioned operations a second. */
    public readonly iops: number | undefined,
    /** Provisioned throughput in MiB/s. */
    public readonly throughput: number | undefined,
  ) {}

  /** True for storage that is lost with its task. */
  public get isEphemeral(): boolean {
    return this.kind === 'ephemeral';
  }
}

function checkSize(where: string, size: Size, min: number, max: number): number {
  requireSize(where, 'size', size);
  const gib = size.isUnresolved() ? NaN : size.toMebibytes() / 1024;
  if (!(Number.isInteger(gib) && gib >= min && gib <= max))
    throw new Error(
      `${where}: size is ${Number.isNaN(gib) ? 'a token' : `${gib} GiB`}; write ${min} to ${max} whole GiB`,
    );
  return gib;
}

function checkNumber(where: string, prop: string, value: number, min: number, max: number): void {
  if (Token.isUnresolved(value) || !Number.isInteger(value) || value < min || value > max)
    throw new Error(
      `${where}: ${prop} is ${Token.isUnresolved(value) ? 'a token' : value}; write a whole number from ${min} to ${max}`,
    );
}
