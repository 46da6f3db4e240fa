/**
 * What a server is for. It decides the defaults, and whether the guards of production hold.
 */
export class PostgresProfile {
  /** Standby or reader, 14 days of point-in-time recovery, deletion protection, monitoring and alarms, and every guard. The default. */
  public static production(): PostgresProfile {
    return new PostgresProfile('production');
  }

  /**
   * One small node that goes away with its stack: one day of recovery, no standby, no alarms, no backup plan, no deploy guard, and no guard of production.
   * Encryption, TLS, SCRAM, the isolated network and least privilege inside stay as they are.
   */
  public static development(): PostgresProfile {
    return new PostgresProfile('development');
  }

  private constructor(
    /** `production` or `development`. */
    public readonly name: string,
  ) {}

  /** True for the production profile. */
  public get isProduction(): boolean {
    return this.name === 'production';
  }
}

/**
 * The generation of this library's defaults. A new release of the package leaves an unchanged app's plan and parameters as they are; a
 * newer generation is opted into (design rule: an update of the package changes no server).
 */
export enum Defaults {
  /** The first generation. */
  V1 = 'V1',
  /** The second: `max_connections` by the class of the nodes, autovacuum that starts earlier, and timeouts that end what clogs. */
  V2 = 'V2',
}
