import {
  DescribeDBClustersCommand,
  DescribeDBInstancesCommand,
  FailoverDBClusterCommand,
  RDSClient,
  RebootDBInstanceCommand,
} from '@aws-sdk/client-rds';

/** What is made to fail over: an instance with a standby, or a cluster with readers. */
export interface FailoverTarget {
  readonly kind: 'instance' | 'cluster';
  readonly identifier: string;
}

export function readTarget(text: string | undefined): FailoverTarget {
  const target = JSON.parse(text ?? '{}') as Partial<FailoverTarget>;
  if ((target.kind !== 'instance' && target.kind !== 'cluster') || !target.identifier) {
    throw new Error('the function does not know what to fail over');
  }
  return { kind: target.kind, identifier: target.identifier };
}

/** Refuses where nobody would take over: then it would be no failover but a reboot of the only node. */
export async function requireSuccessor(client: RDSClient, { kind, identifier }: FailoverTarget): Promise<void> {
  if (kind === 'instance') {
    const { DBInstances } = await client.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: identifier }));
    const instance = DBInstances?.[0];
    if (!instance?.MultiAZ) throw new Error(`${identifier} has no standby: a failover test would only restart it`);
    if (instance.DBInstanceStatus !== 'available')
      throw new Error(`${identifier} is ${instance.DBInstanceStatus}, not available`);
    return;
  }
  const { DBClusters } = await client.send(new DescribeDBClustersCommand({ DBClusterIdentifier: identifier }));
  const cluster = DBClusters?.[0];
  if (!cluster?.DBClusterMembers?.some((member) => !member.IsClusterWriter)) {
    throw new Error(`${identifier} has no reader: nobody would take over`);
  }
  if (cluster.Status !== 'available') throw new Error(`${identifier} is ${cluster.Status}, not available`);
}

export async function failOver(client: RDSClient, { kind, identifier }: FailoverTarget): Promise<void> {
  if (kind === 'instance') {
    await client.send(new RebootDBInstanceCommand({ DBInstanceIdentifier: identifier, ForceFailover: true }));
  } else {
    await client.send(new FailoverDBClusterCommand({ DBClusterIdentifier: identifier }));
  }
}

export async function isAvailable(client: RDSClient, { kind, identifier }: FailoverTarget): Promise<boolean> {
  if (kind === 'instance') {
    const { DBInstances } = await client.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: identifier }));
    return DBInstances?.[0]?.DBInstanceStatus === 'available';
  }
  const { DBClusters } = await client.send(new DescribeDBClustersCommand({ DBClusterIdentifier: identifier }));
  return DBClusters?.[0]?.Status === 'available';
}
