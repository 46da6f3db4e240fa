import { Token } from 'aws-cdk-lib';
import { shown } from '../required';

/** The instance whose automated backups a new one is made from. */
export class InstanceBackups {
  /**
   * The backups of an instance that stands, in this account and region.
   *
   * @param identifier its name in RDS
   */
  public static ofInstance(identifier: string): InstanceBackups {
    return new InstanceBackups({ identifier: named('InstanceBackups.ofInstance', identifier) });
  }

  /**
   * The backups that were retained of an instance that has been deleted, or those of one that stands.
   *
   * @param resourceId its resource id (DbiResourceId), such as `db-ABCDEFGHIJKL01234`, which `describe-db-instance-automated-backups` lists
   */
  public static ofResource(resourceId: string): InstanceBackups {
    const id = literal('InstanceBackups.ofResource', resourceId);
    if (!/^db-[A-Z0-9]+$/.test(id)) {
      throw new Error(
        `InstanceBackups.ofResource('${id}') is no resource id, which looks like db-ABCDEFGHIJKL01234; use ofInstance() for a name`,
      );
    }
    return new InstanceBackups({ resourceId: id });
  }

  /**
   * The backups that were replicated into this region from another one.
   *
   * @param arn the ARN of the replicated backups, `arn:aws:rds:REGION:ACCOUNT:auto-backup:ab-…`
   */
  public static replicated(arn: string): InstanceBackups {
    const value = literal('InstanceBackups.replicated', arn);
    if (!/^arn:[a-z-]+:rds:[a-z0-9-]+:\d{12}:auto-backup:ab-[a-z0-9]+$/i.test(value)) {
      throw new Error(
        `InstanceBackups.replicated('${value}') is no ARN of automated backups, which looks like arn:aws:rds:eu-west-1:123456789012:auto-backup:ab-abc`,
      );
    }
    return new InstanceBackups({ arn: value });
  }

  /** @internal */
  public readonly _source: { readonly identifier?: string; readonly resourceId?: string; readonly arn?: string };

  private constructor(source: { identifier?: string; resourceId?: string; arn?: string }) {
    this._source = source;
  }
}

/** The cluster whose continuous backup a new one is made from. */
export class ClusterBackups {
  /**
   * The backup of a cluster that stands, in this account and region.
   *
   * @param identifier its name in RDS
   */
  public static ofCluster(identifier: string): ClusterBackups {
    return new ClusterBackups({ identifier: named('ClusterBackups.ofCluster', identifier) });
  }

  /**
   * The backup that was retained of a cluster that has been deleted, or that of one that stands.
   *
   * @param resourceId its resource id (DbClusterResourceId), such as `cluster-ABCDEFGHIJKL01234`
   */
  public static ofResource(resourceId: string): ClusterBackups {
    const id = literal('ClusterBackups.ofResource', resourceId);
    if (!/^cluster-[A-Z0-9]+$/.test(id)) {
      throw new Error(
        `ClusterBackups.ofResource('${id}') is no resource id, which looks like cluster-ABCDEFGHIJKL01234; use ofCluster() for a name`,
      );
    }
    return new ClusterBackups({ resourceId: id });
  }

  /** @internal */
  public readonly _source: { readonly identifier?: string; readonly resourceId?: string };

  private constructor(source: { identifier?: string; resourceId?: string }) {
    this._source = source;
  }
}

/** A snapshot's name, or the ARN of one of AWS Backup, of another account, or of an RDS instance that becomes a cluster. */
export function snapshotName(path: string, snapshot: string): string {
  // A regular expression takes undefined for the word, and CloudFormation makes an empty server where no snapshot is named.
  if (typeof snapshot !== 'string' || snapshot.trim() === '') {
    throw new Error(
      `${path}: snapshot is ${shown(snapshot)}; write the name or the ARN of the snapshot, without which the new server would be empty. ` +
        'Where it comes from the environment, see that the variable is set',
    );
  }
  if (Token.isUnresolved(snapshot)) {
    throw new Error(
      `${path}: snapshot is a token; write the name or the ARN, since another value at the next deployment would be another server`,
    );
  }
  if (
    !/^(arn:[a-z-]+:rds:[a-z0-9-]+:\d{12}:(cluster-)?snapshot:\S+|(rds:|awsbackup:)?[a-z][a-z0-9-]*)$/i.test(snapshot)
  ) {
    throw new Error(
      `${path}: snapshot '${snapshot}' is neither the name of a snapshot nor an ARN such as arn:aws:rds:eu-west-1:123456789012:snapshot:awsbackup:job-abc`,
    );
  }
  return snapshot;
}

function named(place: string, identifier: string): string {
  const name = literal(place, identifier);
  if (!/^[a-z](-?[a-z0-9])*$/i.test(name) || name.length > 63) {
    throw new Error(`${place}('${name}') is no name in RDS; use ofResource() for a resource id`);
  }
  return name.toLowerCase();
}

function literal(place: string, value: string): string {
  if (typeof value !== 'string') throw new Error(`${place}() got ${shown(value)}; write the text`);
  if (Token.isUnresolved(value)) {
    throw new Error(
      `${place}() got a token; write the text, since another value at the next deployment would be another server`,
    );
  }
  return value;
}
