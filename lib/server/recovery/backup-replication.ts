import { Duration, Stack, Token, aws_kms as kms, aws_rds as rds } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { requireDuration } from '../required';
import { refuseManagedKey } from './backup-copy';

/** Automated backups of an instance in another region, from which it is restored to any second (BK-13). */
export interface BackupReplication {
  /** The other region, such as `eu-west-1`. */
  readonly region: string;

  /** A customer key in the other region (BK-14). A key of the server's own region cannot be used there. */
  readonly encryptionKey: kms.IKey;

  /**
   * How far back the other region can restore, 1 to 35 days.
   *
   * @default - as far as the server's own region: `pointInTimeRecovery`
   */
  readonly retention?: Duration;
}

/** Throws where RDS would refuse the replication at deployment, or a restore could not use it. */
export function replicateBackups(
  scope: IConstruct,
  instance: rds.CfnDBInstance,
  replication: BackupReplication | undefined,
  pointInTimeRecovery: Duration,
): void {
  if (!replication) return;
  const path = scope.node.path;
  const { region, encryptionKey } = replication;
  const own = Stack.of(scope).region;
  if (Token.isUnresolved(region) || !/^[a-z]{2}(-[a-z]+)+-\d$/.test(region)) {
    throw new Error(`${path}: backupReplication.region is '${region}'; write a region such as eu-west-1`);
  }
  if (region === own) {
    throw new Error(
      `${path}: backupReplication.region is ${region}, the server's own; a second copy belongs into another region`,
    );
  }
  if (!encryptionKey) {
    throw new Error(
      `${path}: backupReplication.encryptionKey is missing; pass a customer key of ${region}, since the server's own cannot be used there`,
    );
  }
  refuseManagedKey(
    path,
    'backupReplication.encryptionKey',
    encryptionKey,
    'who restores in the other region may not be given it',
  );
  const place = regionOf(encryptionKey);
  if (!Token.isUnresolved(place) && place !== region) {
    throw new Error(
      `${path}: backupReplication.encryptionKey is a key of ${place}, and cannot encrypt in ${region}; use a key that is made there`,
    );
  }
  const retention = requireDuration(
    path,
    'backupReplication.retention',
    replication.retention ?? pointInTimeRecovery,
    'Duration.days(14)',
  );
  const days = retention.toDays({ integral: false });
  if (!Number.isInteger(days) || days < 1 || days > 35) {
    throw new Error(`${path}: backupReplication.retention is ${days} days; RDS keeps 1 to 35 whole days`);
  }
  instance.automaticBackupReplicationRegion = region;
  instance.automaticBackupReplicationKmsKeyId = encryptionKey.keyArn;
  instance.automaticBackupReplicationRetentionPeriod = days;
}

function regionOf(key: kms.IKey): string {
  const arn: unknown = Stack.of(key).resolve(key.keyArn);
  return (typeof arn === 'string' ? arn.split(':')[3] : undefined) || key.env.region;
}
