/** The major versions whose parameters, catalog and behavior this library knows. */
export type SupportedMajor = 16 | 17 | 18;

/**
 * The major version of PostgreSQL.
 *
 * The minor version is the server's own affair: it upgrades itself in the maintenance window, and the template names the
 * major version alone, so that a later deployment neither downgrades nor fails (LR-21).
 */
export class PostgresVersion {
  /** PostgreSQL 16. */
  public static readonly V16 = new PostgresVersion('16');
  /** PostgreSQL 17. */
  public static readonly V17 = new PostgresVersion('17');
  /** PostgreSQL 18. */
  public static readonly V18 = new PostgresVersion('18');

  /**
   * A version by its name, for one that must stay at a minor version, such as `17.6`.
   *
   * A server with a minor version here needs `autoMinorVersionUpgrade: false`: RDS would upgrade past it, and the next deployment
   * would ask for a downgrade, which RDS refuses.
   *
   * @param version a major version such as `18`, or a minor one such as `17.6`
   */
  public static of(version: string): PostgresVersion {
    return new PostgresVersion(version);
  }

  /** What the template names, such as `18`. */
  public readonly fullVersion: string;
  /** The major version, such as `18`. */
  public readonly majorVersion: number;

  private constructor(version: string) {
    const match = /^(\d+)(\.\d+)?$/.exec(version);
    const major = Number(match?.[1]);
    if (!match || ![16, 17, 18].includes(major)) {
      throw new Error(
        `PostgresVersion.of('${version}'): expected a major version 16, 17 or 18, or a minor one such as 17.6`,
      );
    }
    this.fullVersion = version;
    this.majorVersion = major;
  }

  /** True when a minor version is named. */
  public get isMinorPinned(): boolean {
    return this.fullVersion.includes('.');
  }

  /** @internal */
  public get _major(): SupportedMajor {
    return this.majorVersion as SupportedMajor;
  }

  /** What was asked for, such as `18` or `17.6`. */
  public toString(): string {
    return this.fullVersion;
  }
}
