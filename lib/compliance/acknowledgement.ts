/** A reasoned exception from a guard of this library. */
export interface FindingAcknowledgement {
  /** The finding's id as it is reported, such as `HA-1`. */
  readonly id: string;
  /** Why the exception is right here. It is kept in the validation report. */
  readonly reason: string;
}
