import { Duration } from 'aws-cdk-lib';

/** How old `ConflictPolicy.fresh()` lets a replica become. */
export interface FreshOptions {
  /**
   * How long replay waits for a query that stands in its way (`max_standby_streaming_delay`).
   *
   * @default Duration.seconds(5)
   */
  readonly replayDelay?: Duration;
}

/** What `ConflictPolicy.longQueries()` bears. */
export interface LongQueriesOptions {
  /**
   * How long a query is left in peace, and so how stale the replica becomes meanwhile (`max_standby_streaming_delay`).
   *
   * @default Duration.minutes(30)
   */
  readonly replayDelay?: Duration;
}

/** What `ConflictPolicy.feedback()` bears. */
export interface FeedbackOptions {
  /**
   * The longest statement on the replica (`statement_timeout` of its parameter group). For as long, vacuum on the primary keeps the row
   * versions that the statement may see.
   *
   * @default Duration.hours(1)
   */
  readonly longestStatement?: Duration;
}

/**
 * What happens when replay wants to remove what a query on the replica still reads (HA-7). PostgreSQL's defaults are a choice too, and
 * rarely the one that was meant: so it is made for every replica.
 */
export class ConflictPolicy {
  /**
   * The replica stays close to the primary, and a query in the way of replay is cancelled within seconds (SQLSTATE 40001, to be
   * tried again). For short queries that want the present.
   *
   * @param options how long replay waits
   */
  public static fresh(options: FreshOptions = {}): ConflictPolicy {
    return new ConflictPolicy('fresh', options.replayDelay ?? Duration.seconds(5), false);
  }

  /**
   * Queries are left in peace, and the replica falls behind while they run. For reports that bear to be stale; the primary is not
   * touched by them.
   *
   * @param options how stale the replica may become
   */
  public static longQueries(options: LongQueriesOptions = {}): ConflictPolicy {
    return new ConflictPolicy('longQueries', options.replayDelay ?? Duration.minutes(30), false);
  }

  /**
   * The replica tells the primary what its queries still read (`hot_standby_feedback`), and vacuum on the primary waits for them. Few
   * queries are cancelled and the replica stays close, at the price of bloat on the primary; a statement timeout bounds it.
   *
   * @param options the longest statement
   */
  public static feedback(options: FeedbackOptions = {}): ConflictPolicy {
    return new ConflictPolicy('feedback', Duration.seconds(30), true, options.longestStatement ?? Duration.hours(1));
  }

  private constructor(
    /** `fresh`, `longQueries` or `feedback`. */
    public readonly name: string,
    /** How long replay waits for a query that stands in its way. */
    public readonly replayDelay: Duration,
    /** Whether the replica tells the primary what it still reads. */
    public readonly isFeedback: boolean,
    /** The longest statement, where the policy bounds it. */
    public readonly longestStatement?: Duration,
  ) {
    for (const duration of [replayDelay, longestStatement]) {
      if (duration?.isUnresolved()) throw new Error(`ConflictPolicy.${name}(): a duration is a token; write it`);
      if (duration?.toMilliseconds() === 0) {
        throw new Error(`ConflictPolicy.${name}(): a duration of 0 cancels or waits for ever; write at least a second`);
      }
    }
  }

  /** The parameters of the replica that the policy decides. @internal */
  public _parameters(): Record<string, string> {
    const delay = String(this.replayDelay.toMilliseconds());
    return {
      hot_standby_feedback: this.isFeedback ? '1' : '0',
      max_standby_streaming_delay: delay,
      max_standby_archive_delay: delay,
      ...(this.longestStatement && {
        statement_timeout: String(this.longestStatement.toMilliseconds()),
        // A transaction that is opened and left holds back vacuum as a long statement does.
        idle_in_transaction_session_timeout: '60000',
      }),
    };
  }
}
