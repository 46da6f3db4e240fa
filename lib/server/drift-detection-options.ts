import { Duration, aws_sns as sns } from 'aws-cdk-lib';

/** How a server is compared with its declaration between deployments. */
export interface DriftDetectionOptions {
  /**
   * How often: 1 to 72 whole hours.
   *
   * @default Duration.hours(6)
   */
  readonly every?: Duration;

  /**
   * Whether what is missing is brought back: dropped roles, revoked grants, lost memberships. Nothing is ever taken away, changed
   * or given a new password by the schedule; that waits for a deployment.
   *
   * @default false - what differs is reported
   */
  readonly enforce?: boolean;

  /**
   * Where the alarms go.
   *
   * @default - the alarm topic of the server, or a new one where it has none
   */
  readonly alarmTopic?: sns.ITopic;
}
