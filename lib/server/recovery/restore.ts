import { Validations, aws_rds as rds } from 'aws-cdk-lib';
import { ClusterBackups, InstanceBackups, snapshotName } from './restore-source';
import { shown } from '../required';
import { RestoreTime } from './restore-time';

/** What an instance is restored from, in the words of its CloudFormation resource. */
type Restore = Readonly<Partial<Record<RestoreProperty, string | boolean>>>;

/** The validator of templates inside aws-cdk-lib, by the name under which a rule is acknowledged. */
const VALIDATOR = 'CloudFormation Validate';

type RestoreProperty =
  | 'dbClusterSnapshotIdentifier'
  | 'dbSnapshotIdentifier'
  | 'restoreTime'
  | 'restoreToTime'
  | 'snapshotIdentifier'
  | 'sourceDbClusterIdentifier'
  | 'sourceDbClusterResourceId'
  | 'sourceDbiResourceId'
  | 'sourceDbInstanceAutomatedBackupsArn'
  | 'sourceDbInstanceIdentifier'
  | 'useLatestRestorableTime';

/** The properties of a server of each kind do not know of restores; a factory hands its source on beside them. */
const RESTORES = new WeakMap<object, Restore>();

function withRestore<P extends object>(props: P, restore: Restore): P {
  const copy = { ...props };
  RESTORES.set(copy, restore);
  return copy;
}

export function instanceFromPointInTime<P extends object>(
  path: string,
  props: P,
  source: InstanceBackups,
  time: RestoreTime,
): P {
  requireSource(path, source, InstanceBackups, "InstanceBackups.ofInstance('orders')", [ClusterBackups, 'a cluster']);
  requireTime(path, time);
  const { identifier, resourceId, arn } = source._source;
  return withRestore(props, {
    ...(identifier !== undefined && { sourceDbInstanceIdentifier: identifier }),
    ...(resourceId !== undefined && { sourceDbiResourceId: resourceId }),
    ...(arn !== undefined && { sourceDbInstanceAutomatedBackupsArn: arn }),
    ...(time.moment === undefined ? { useLatestRestorableTime: true } : { restoreTime: time.moment }),
  });
}

export function instanceFromSnapshot<P extends object>(path: string, props: P, snapshot: string): P {
  const name = snapshotName(path, snapshot);
  // Of a Multi-AZ DB cluster; one of Aurora looks alike, and the deploy guard knows it by its engine.
  return withRestore(
    props,
    /:cluster-snapshot:/.test(name) ? { dbClusterSnapshotIdentifier: name } : { dbSnapshotIdentifier: name },
  );
}

export function clusterFromPointInTime<P extends object>(
  path: string,
  props: P,
  source: ClusterBackups,
  time: RestoreTime,
): P {
  requireSource(path, source, ClusterBackups, "ClusterBackups.ofCluster('orders')", [InstanceBackups, 'an instance']);
  requireTime(path, time);
  const { identifier, resourceId } = source._source;
  return withRestore(props, {
    ...(identifier !== undefined && { sourceDbClusterIdentifier: identifier }),
    ...(resourceId !== undefined && { sourceDbClusterResourceId: resourceId }),
    ...(time.moment === undefined ? { useLatestRestorableTime: true } : { restoreToTime: time.moment }),
  });
}

export function clusterFromSnapshot<P extends object>(path: string, props: P, snapshot: string): P {
  return withRestore(props, { snapshotIdentifier: snapshotName(path, snapshot) });
}

/** The two kinds have like members, so that each would pass for the other, and be looked for where it is not. */
function requireSource(
  path: string,
  source: unknown,
  kind: typeof InstanceBackups | typeof ClusterBackups,
  example: string,
  [other, whose]: readonly [typeof InstanceBackups | typeof ClusterBackups, string],
): void {
  if (source instanceof kind) return;
  const which =
    source instanceof other ? `${shown(source)}, those of ${whose}, which another class restores` : shown(source);
  throw new Error(`${path}: source is ${which}; write ${example}`);
}

/** Anything else has no moment, and would restore to the latest. */
function requireTime(path: string, time: unknown): void {
  if (time instanceof RestoreTime) return;
  throw new Error(
    `${path}: restoreTo is ${shown(time)}; write RestoreTime.utc('2027-01-12T03:04:05Z'), or RestoreTime.latest() for all that the backups have`,
  );
}

export function isRestored(props: object): boolean {
  return RESTORES.has(props);
}

/** A cluster that is restored to a point in time, which CloudFormation makes without its port. */
export function isPointInTimeCluster(props: object): boolean {
  const restore = RESTORES.get(props);
  return restore?.sourceDbClusterIdentifier !== undefined || restore?.sourceDbClusterResourceId !== undefined;
}

/**
 * Makes a new instance one that is restored. It keeps the source's master user, key and storage, and RDS refuses to hear of them; the
 * password is set after the restore, from the new server's own secret.
 */
export function restoreInstance(instance: rds.CfnDBInstance, props: { readonly allocatedStorage?: unknown }): void {
  const restore = RESTORES.get(props);
  if (!restore) return;
  Object.assign(instance, restore);
  instance.masterUsername = undefined;
  instance.kmsKeyId = undefined;
  if (props.allocatedStorage === undefined) instance.allocatedStorage = undefined;
  if (restore.sourceDbInstanceIdentifier !== undefined) {
    acknowledge(
      instance,
      'F3020',
      'The rule is about a replica, which SourceDBInstanceIdentifier makes where no time stands beside it. A restore takes the password ' +
        'afterwards, and keeps the encryption of its source, which the deploy guard has looked at.',
    );
  }
}

/** As for an instance; but a cluster takes another key while it is restored. */
export function restoreCluster(cluster: rds.CfnDBCluster, props: object): void {
  const restore = RESTORES.get(props);
  if (!restore) return;
  Object.assign(cluster, restore);
  cluster.masterUsername = undefined;
  acknowledge(
    cluster,
    'F3021',
    'A restored cluster keeps the master user of its source, whose name RDS does not take again; its password is set after the restore.',
  );
  if (restore.sourceDbClusterIdentifier !== undefined) {
    acknowledge(
      cluster,
      'W3689',
      'The password is set by the update with which the resource handler ends a restore, and the encryption is stated for whoever reads ' +
        'the template: a restore keeps that of its source, under the key that is named here.',
    );
  }
}

/** What the validator of templates inside aws-cdk-lib holds against a restore. */
function acknowledge(resource: rds.CfnDBInstance | rds.CfnDBCluster, rule: string, reason: string): void {
  Validations.of(resource).acknowledge({ id: `${VALIDATOR}::${rule}`, reason });
}
