import { Duration } from 'aws-cdk-lib';
import { RecoveryCapability, RecoveryObjectives } from '../objectives';
import { LEADER_TTL } from './configuration';

/** Besides the timeout of the archive: a segment is compressed, encrypted and sent. */
const PUSH_LAG = Duration.seconds(60);

/** By how much the bucket trails: what is lost when nothing else is left. */
export function restorableLag(archiveTimeout: Duration): Duration {
  return Duration.seconds(archiveTimeout.toSeconds() + PUSH_LAG.toSeconds());
}

/** Whether commits wait for a standby: where the objectives allow less to be lost than the bucket may lack. */
export function isSynchronous(objectives: RecoveryObjectives, members: number, archiveTimeout: Duration): boolean {
  return members > 1 && objectives.rpo.toSeconds() < restorableLag(archiveTimeout).toSeconds();
}

/**
 * What the cluster can hold to (BK-1). Measured through the router, writes are back within 1.25 × ttl after the loss of the leader, and within
 * 1.5 × ttl where the bucket is away too; see docs/self-managed.md.
 */
export function clusterCapability(members: number, synchronous: boolean, archiveTimeout: Duration): RecoveryCapability {
  return {
    pointInTimeRecovery: true,
    restorableLag: restorableLag(archiveTimeout),
    synchronousCopy: synchronous,
    ...(members > 1
      ? { recovery: 'the election of another leader', recoveryTime: Duration.seconds(LEADER_TTL * 1.5) }
      : {
          recovery: 'the start of another instance in the same zone, which attaches the volume,',
          recoveryTime: Duration.minutes(10),
        }),
  };
}
