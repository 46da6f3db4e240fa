/** A reasoned exception from a guard of this library. */
export interface FindingAcknowledgement {
  /** The id as it is reported: a finding's, such as `HA-1`, or what the deploy guard refused, such as `guard:replacement`. */
  readonly id: string;

  /** Why the exception is right here. It is kept in the validation report; the deploy guard shows it in CloudFormation's events. */
  readonly reason: string;

  /**
   * The last day on which the exception holds, as `yyyy-mm-dd` in UTC, at most a year ahead; one that is past is reported (LIB-11, LIB-12.expired).
   * What the deploy guard refuses needs one.
   *
   * @default - a finding is acknowledged until the line is removed
   */
  readonly expires?: string;
}
