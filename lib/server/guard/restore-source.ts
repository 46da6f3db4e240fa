import { ArnFormat, Stack, aws_iam as iam } from 'aws-cdk-lib';
import { GuardedSource } from '../../contract/deploy-guard';

/** What the guard compares with the source of a restore, besides what it knows of every server. */
export interface RestoredExpectation {
  /** The master user in the new server's secret; a restore keeps the source's. */
  readonly masterUsername?: string;
}

/** What a server is restored from, as far as the deploy guard can ask RDS for it: by its name, or by a snapshot's. */
export function readSource(
  properties: Readonly<Record<string, unknown>>,
  { masterUsername }: RestoredExpectation,
): GuardedSource | undefined {
  const found = named(properties);
  if (!found) return undefined;
  const text = (name: string) => {
    const value = properties[name];
    return typeof value === 'string' || typeof value === 'number' ? String(value) : undefined;
  };
  return {
    ...found,
    MasterUsername: masterUsername,
    RestoreTime: text('RestoreTime') ?? text('RestoreToTime'),
    AllocatedStorage: text('AllocatedStorage'),
    MaxAllocatedStorage: text('MaxAllocatedStorage'),
  };
}

function named(properties: Readonly<Record<string, unknown>>): Pick<GuardedSource, 'Kind' | 'Identifier'> | undefined {
  const text = (name: string) => (typeof properties[name] === 'string' ? (properties[name] as string) : undefined);
  const snapshot = text('DBSnapshotIdentifier');
  if (snapshot) return { Kind: 'snapshot', Identifier: snapshot };
  const clusterSnapshot = text('DBClusterSnapshotIdentifier');
  if (clusterSnapshot) return { Kind: 'cluster-snapshot', Identifier: clusterSnapshot };
  const anySnapshot = text('SnapshotIdentifier');
  if (anySnapshot)
    return { Kind: /:snapshot:/.test(anySnapshot) ? 'snapshot' : 'cluster-snapshot', Identifier: anySnapshot };
  const cluster = text('SourceDBClusterIdentifier');
  if (cluster && properties.Engine === 'aurora-postgresql') return { Kind: 'cluster', Identifier: cluster };
  const instance = text('SourceDBInstanceIdentifier');
  // Without a time it is the source of a replica.
  const isRestore = text('RestoreTime') !== undefined || properties.UseLatestRestorableTime === true;
  return instance && isRestore ? { Kind: 'instance', Identifier: instance } : undefined;
}

const ACTIONS: Readonly<Record<GuardedSource['Kind'], readonly [action: string, resource: string]>> = {
  instance: ['rds:DescribeDBInstances', 'db'],
  cluster: ['rds:DescribeDBClusters', 'cluster'],
  snapshot: ['rds:DescribeDBSnapshots', 'snapshot'],
  'cluster-snapshot': ['rds:DescribeDBClusterSnapshots', 'cluster-snapshot'],
};

/** Lets the guard look at the one source, by its exact ARN. */
export function sourceStatement(stack: Stack, { Kind, Identifier }: GuardedSource): iam.PolicyStatement {
  const [action, resource] = ACTIONS[Kind];
  const arn = Identifier.startsWith('arn:')
    ? Identifier
    : stack.formatArn({
        service: 'rds',
        resource,
        resourceName: Identifier.toLowerCase(),
        arnFormat: ArnFormat.COLON_RESOURCE_NAME,
      });
  return new iam.PolicyStatement({ actions: [action], resources: [arn] });
}
