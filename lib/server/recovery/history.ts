import { Duration } from 'aws-cdk-lib';
import { RecoveryObjectives } from '../objectives';

/** The most days that RDS and Aurora restore to any second of. */
const LONGEST_POINT_IN_TIME = 35;

/** The most days that AWS Backup keeps anything. */
const LONGEST_SNAPSHOT = 36_500;

/** Throws for a history that nothing can keep. */
export function checkHistory(path: string, { history }: RecoveryObjectives): void {
  if (!history) return;
  const days = history.toDays({ integral: false });
  if (!Number.isInteger(days) || days < 1 || days > LONGEST_SNAPSHOT) {
    throw new Error(
      `${path}: objectives.history is ${days} days; point-in-time recovery keeps 1 to ${LONGEST_POINT_IN_TIME} whole days, and AWS Backup a snapshot of each day up to ${LONGEST_SNAPSHOT}`,
    );
  }
}

/** How far point-in-time recovery goes back: as the objectives ask, and never less than `usual`. */
export function pointInTimeRecovery({ history }: RecoveryObjectives, usual: Duration): Duration {
  return Duration.days(Math.max(usual.toDays(), Math.min(history?.toDays() ?? 0, LONGEST_POINT_IN_TIME)));
}

/** How long daily snapshots are kept: as the objectives ask, and never less than point-in-time recovery can. */
export function snapshotRetention({ history }: RecoveryObjectives): Duration {
  return Duration.days(Math.max(LONGEST_POINT_IN_TIME, history?.toDays() ?? 0));
}

/** Why the history is not kept. A token cannot be judged. */
export function unkeptHistory({ history }: RecoveryObjectives, retentionDays: number | undefined): string | undefined {
  if (!history || retentionDays === undefined) return undefined;
  const wanted = Math.min(history.toDays(), LONGEST_POINT_IN_TIME);
  return retentionDays < wanted
    ? `a history of ${history.toHumanString()} is not kept: point-in-time recovery goes back ${retentionDays} days, and up to ${LONGEST_POINT_IN_TIME} could be kept`
    : undefined;
}
