import { Token } from 'aws-cdk-lib';

/** The moment to which a server is restored (point-in-time recovery, PITR). */
export class RestoreTime {
  /**
   * A second within the source's retention, before its latest restorable time, which trails by about five minutes.
   *
   * It must be a literal: the template keeps it for the server's life, and another value would be another server.
   *
   * @param time the moment as `yyyy-mm-ddThh:mm:ssZ`, always UTC
   */
  public static utc(time: string): RestoreTime {
    if (Token.isUnresolved(time)) {
      throw new Error(
        'RestoreTime.utc() is a token; write the moment, since another value at the next deployment would be another server',
      );
    }
    if (!/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/.test(time) || !isMoment(time)) {
      throw new Error(`RestoreTime.utc('${time}') is no moment in UTC; write it such as '2026-01-12T03:04:05Z'`);
    }
    if (Date.parse(time) > Date.now()) {
      throw new Error(`RestoreTime.utc('${time}') is in the future; no backup reaches there`);
    }
    return new RestoreTime(time);
  }

  /** As late as the source's backups reach when the deployment runs: what is left after the loss of the source. */
  public static latest(): RestoreTime {
    return new RestoreTime(undefined);
  }

  private constructor(
    /** The moment in UTC. Undefined: the latest that the source's backups reach. */
    public readonly moment: string | undefined,
  ) {}
}

/** The 30th of February parses as the 2nd of March. */
function isMoment(time: string): boolean {
  const parsed = new Date(time);
  return !Number.isNaN(parsed.getTime()) && parsed.toISOString() === time.replace('Z', '.000Z');
}
