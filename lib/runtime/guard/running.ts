import {
  DBCluster,
  DBInstance,
  DescribeDBClustersCommand,
  DescribeDBInstancesCommand,
  RDSClient,
} from '@aws-sdk/client-rds';
import { GuardedServer } from '../../contract/deploy-guard';

/** What runs under a server's name. */
export interface RunningServer {
  readonly identifier: string;
  readonly engineVersion?: string;
  readonly class?: string;
  /** Create-only properties that RDS tells, by their CloudFormation name. */
  readonly properties: Readonly<Record<string, string>>;
  /** The tags that CloudFormation puts on what it makes. */
  readonly stackId?: string;
  readonly stackName?: string;
  readonly logicalId?: string;
  /** The server's own parameter group and whether its static parameters are in force. */
  readonly parameterGroup?: string;
  readonly parametersPending?: boolean;
}

/** A client that gives up in time for the function's answer. */
export function rdsClient(): RDSClient {
  return new RDSClient({ maxAttempts: 3, requestHandler: { connectionTimeout: 5_000, requestTimeout: 10_000 } });
}

/** Asks RDS for each server by its name. What does not exist is absent. */
export async function describeRunning(
  client: RDSClient,
  servers: readonly GuardedServer[],
): Promise<Map<string, RunningServer>> {
  const found = await Promise.all(
    servers.map(async (server): Promise<[string, RunningServer | undefined]> => [
      server.LogicalId,
      server.Type === 'AWS::RDS::DBCluster'
        ? await describeCluster(client, server.Identifier)
        : await describeInstance(client, server.Identifier),
    ]),
  );
  return new Map(found.filter((entry): entry is [string, RunningServer] => entry[1] !== undefined));
}

async function describeInstance(client: RDSClient, identifier: string): Promise<RunningServer | undefined> {
  try {
    const { DBInstances } = await client.send(new DescribeDBInstancesCommand({ DBInstanceIdentifier: identifier }));
    const instance = DBInstances?.find((one) => one.DBInstanceIdentifier?.toLowerCase() === identifier.toLowerCase());
    return instance && readInstance(instance, identifier);
  } catch (error) {
    return notFound(error, identifier);
  }
}

async function describeCluster(client: RDSClient, identifier: string): Promise<RunningServer | undefined> {
  try {
    const { DBClusters } = await client.send(new DescribeDBClustersCommand({ DBClusterIdentifier: identifier }));
    const cluster = DBClusters?.find((one) => one.DBClusterIdentifier?.toLowerCase() === identifier.toLowerCase());
    return cluster && readCluster(cluster, identifier);
  } catch (error) {
    return notFound(error, identifier);
  }
}

function readInstance(instance: DBInstance, identifier: string): RunningServer {
  const isNode = instance.DBClusterIdentifier !== undefined;
  return {
    identifier,
    engineVersion: instance.EngineVersion,
    class: instance.DBInstanceClass,
    // A node of a cluster repeats what the cluster decides, and its template does not.
    properties: present({
      Engine: instance.Engine,
      DBClusterIdentifier: instance.DBClusterIdentifier,
      DBSubnetGroupName: instance.DBSubnetGroup?.DBSubnetGroupName,
      ...(!isNode && {
        DBName: instance.DBName,
        KmsKeyId: instance.KmsKeyId,
        MasterUsername: instance.MasterUsername,
        Port: instance.Endpoint?.Port,
        StorageEncrypted: instance.StorageEncrypted,
      }),
    }),
    parameterGroup: instance.DBParameterGroups?.[0]?.DBParameterGroupName,
    parametersPending: instance.DBParameterGroups?.some((group) => group.ParameterApplyStatus === 'pending-reboot'),
    ...readTags(instance.TagList),
  };
}

function readCluster(cluster: DBCluster, identifier: string): RunningServer {
  return {
    identifier,
    engineVersion: cluster.EngineVersion,
    class: cluster.DBClusterInstanceClass,
    properties: present({
      Engine: cluster.Engine,
      EngineMode: cluster.EngineMode,
      DatabaseName: cluster.DatabaseName,
      DBSubnetGroupName: cluster.DBSubnetGroup,
      KmsKeyId: cluster.KmsKeyId,
      MasterUsername: cluster.MasterUsername,
      Port: cluster.Port,
      StorageEncrypted: cluster.StorageEncrypted,
    }),
    parameterGroup: cluster.DBClusterParameterGroup,
    parametersPending: cluster.DBClusterMembers?.some(
      (member) => member.DBClusterParameterGroupStatus === 'pending-reboot',
    ),
    ...readTags(cluster.TagList),
  };
}

function readTags(tags: readonly { readonly Key?: string; readonly Value?: string }[] = []) {
  const tag = (name: string) => tags.find(({ Key }) => Key === `aws:cloudformation:${name}`)?.Value;
  return { stackId: tag('stack-id'), stackName: tag('stack-name'), logicalId: tag('logical-id') };
}

function present(values: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(values)
      .filter(([, value]) => value !== undefined && value !== null && value !== '')
      .map(([name, value]) => [name, String(value)]),
  );
}

function notFound(error: unknown, identifier: string): undefined {
  const { name } = error as Error;
  if (/^DB(Instance|Cluster)NotFound(Fault)?$/.test(name)) return undefined;
  throw notSeen(error, `whether ${identifier} runs`);
}

/** The error of a guard that cannot look. */
export function notSeen(error: unknown, what: string): Error {
  const { name, message } = error as Error;
  if (isUnreachable(error)) {
    return new Error(
      `The deploy guard cannot reach the RDS API to see ${what} (${name}: ${message}). Its subnets need an ` +
        'interface endpoint of RDS with private DNS, which addVpcEndpoints() on the server adds, or a way out.',
    );
  }
  return new Error(`The deploy guard cannot see ${what}: ${name}: ${message}`);
}

const UNREACHABLE = /\b(ETIMEDOUT|ECONNREFUSED|ECONNRESET|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN)\b/;

/** The SDK hands an error of the network on as it is, or wraps it with its text. */
function isUnreachable(error: unknown): boolean {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  return name === 'TimeoutError' || UNREACHABLE.test(`${code} ${message}`);
}
