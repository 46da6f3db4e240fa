import { Duration } from 'aws-cdk-lib';

/** What the business can bear: how much work may be lost, and how long the database may be away (BK-1). */
export interface RecoveryObjectives {
  /**
   * Recovery point objective: the work that may be lost, counted back from the moment of the failure.
   *
   * Point-in-time recovery reaches to about five minutes before the failure. Less than that needs a synchronous copy: a standby
   * in another zone (`RdsPostgres`), or the storage of Aurora, which keeps six copies in three zones.
   */
  readonly rpo: Duration;
  /**
   * Recovery time objective: from the failure of a node or a zone to the first accepted write.
   *
   * How long a restore from a backup takes depends on the data, and only a restore drill tells.
   */
  readonly rto: Duration;
  /**
   * How late an error may be found and still be undone, in whole days. Up to 35 days it is undone to the second by point-in-time
   * recovery, which AWS keeps no longer; beyond, to the day, by the daily snapshots of the backup plan.
   *
   * @default - what `pointInTimeRecovery` says, and 35 days of daily snapshots
   */
  readonly history?: Duration;
}

/** What a server can hold to, as configured. Times are what AWS documents, taken at their unfavorable end. */
export interface RecoveryCapability {
  /** Automated backups are on. */
  readonly pointInTimeRecovery: boolean;
  /**
   * By how much the latest moment that can be restored trails.
   * @default - five minutes, as on RDS and Aurora
   */
  readonly restorableLag?: Duration;
  /** A committed transaction survives the loss of a node or a zone. */
  readonly synchronousCopy: boolean;
  /** What brings the server back after the loss of a node, in words that continue "… after the loss of a node". */
  readonly recovery: string;
  readonly recoveryTime: Duration;
}

/** The latest restorable time of RDS and Aurora trails by about this much. */
const RESTORABLE_LAG = Duration.minutes(5);

/** Why the objectives cannot be held, in one sentence. Undefined: they can. */
export function unmetObjectives(objectives: RecoveryObjectives, capability: RecoveryCapability): string | undefined {
  const { rpo, rto } = objectives;
  const { restorableLag = RESTORABLE_LAG } = capability;
  if (!capability.pointInTimeRecovery) {
    return `an rpo of ${show(rpo)} cannot be held after a logical error such as a wrong DELETE: automated backups are off`;
  }
  if (rpo.toSeconds() < restorableLag.toSeconds() && !capability.synchronousCopy) {
    return (
      `an rpo of ${show(rpo)} cannot be held by point-in-time recovery alone, which reaches to about ` +
      `${show(restorableLag)} before a failure, and there is no synchronous copy in another zone`
    );
  }
  if (rto.toSeconds() < capability.recoveryTime.toSeconds()) {
    return (
      `an rto of ${show(rto)} cannot be held: ${capability.recovery} after the loss of a node takes up to ` +
      show(capability.recoveryTime)
    );
  }
  return undefined;
}

function show(duration: Duration): string {
  return duration.toHumanString();
}
