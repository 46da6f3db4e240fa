import { Size, Stack, aws_cloudwatch as cloudwatch, aws_ec2 as ec2, aws_rds as rds, aws_sns as sns } from 'aws-cdk-lib';
import { Construct, IConstruct } from 'constructs';
import { HardenedServer } from '../hardening/hardened-server';
import { parameterHome, readParameter } from '../hardening/parameter-home';
import { freeLocalStorageAlarm, freeStorageAlarm, volumeAlarm } from '../storage-alarms';
import { memoryOf } from './capacity';
import { clusterEvents, instanceEvents, slotBytes, watchedCluster, watchedInstance } from './platform';
import { PlatformMonitoring, Watched } from './watched';

/** What is said of a server whose construct does not say it. */
export interface ExistingSize {
  readonly instanceType?: ec2.InstanceType;
  readonly allocatedStorage?: Size;
}

/** Nobody computes with it. */
const UNKNOWN = 'unknown';

/** What CloudWatch knows of an instance of aws-rds, as far as its construct tells how large it is. */
export function existingInstance(
  scope: Construct,
  instance: rds.IDatabaseInstance,
  given: ExistingSize,
): PlatformMonitoring {
  const server = serverOf(instance);
  const storage =
    given.allocatedStorage ?? (server?.allocatedStorageGiB ? Size.gibibytes(server.allocatedStorageGiB) : undefined);
  const parameters = parametersOf(server);
  const iops = Number(server?.read('iops'));
  return monitoring(
    watchedInstance(instance.instanceIdentifier, {
      instanceType: given.instanceType ?? classOf(server, server?.instance),
      storage,
      storageType: server && String(server.read('storageType') ?? 'gp2'),
      iops: iops > 0 ? iops : undefined,
      parameters,
    }),
    {
      events: [instanceEvents(instance.instanceIdentifier)],
      storage: (topic) => [freeStorageAlarm(scope, instance, storage, topic)],
      slotBytes: slotBytes(parameters),
    },
  );
}

/** What CloudWatch knows of a cluster of aws-rds, as far as its construct tells how large it is. */
export function existingCluster(
  scope: Construct,
  cluster: rds.IDatabaseCluster,
  given: ExistingSize & { readonly pauses: boolean },
): PlatformMonitoring {
  const server = serverOf(cluster);
  const nodes = server?.nodes ?? [];
  const provisioned = nodes.flatMap((node) => {
    const instanceType = classOf(server, node);
    return instanceType ? [{ node, instanceType }] : [];
  });
  const isServerless =
    nodes.length > 0 && nodes.every((node) => server!.read('dbInstanceClass', node) === 'db.serverless');
  // What a serverless node has left says nothing of one with a class, and no metric of the cluster tells them apart.
  const smallest =
    provisioned.length < nodes.length
      ? undefined
      : provisioned.map(({ instanceType }) => instanceType).sort((a, b) => (memoryOf(a) ?? 0) - (memoryOf(b) ?? 0))[0];
  const parameters = parametersOf(server);
  return monitoring(
    watchedCluster(cluster.clusterIdentifier, {
      instanceType: given.instanceType ?? smallest,
      serverlessV2: isServerless ? scalingOf(server!.cluster) : undefined,
      // A cluster that this app does not make may have some; without them the metric is not there, and the alarm silent.
      readers: server === undefined || nodes.length > 1,
      parameters,
    }),
    {
      events: clusterEvents(
        cluster.clusterIdentifier,
        nodes.map(({ ref }) => ref),
        given.pauses,
      ),
      storage: (topic) => [
        volumeAlarm(scope, cluster, topic),
        ...provisioned.map(({ node, instanceType }, index) =>
          freeLocalStorageAlarm(scope, String(index + 1), node.ref, instanceType, topic),
        ),
      ],
      slotBytes: slotBytes(parameters),
    },
  );
}

function monitoring(
  watched: Watched[],
  more: Pick<PlatformMonitoring, 'events' | 'slotBytes'> & { storage: (topic: sns.ITopic) => cloudwatch.Alarm[] },
): PlatformMonitoring {
  return { watched, knowsConnections: watched.some(({ id }) => id === 'DatabaseConnections'), ...more };
}

/** The resource that this app makes of it. Undefined: it is imported. */
function serverOf(construct: IConstruct): HardenedServer | undefined {
  const resource = construct.node.defaultChild;
  return resource && HardenedServer.of(resource);
}

/** The class of a node. Undefined: serverless, or only the deployment knows it. */
function classOf(
  server: HardenedServer | undefined,
  node: rds.CfnDBInstance | undefined,
): ec2.InstanceType | undefined {
  const text = node && String(server?.read('dbInstanceClass', node) ?? '');
  return text?.startsWith('db.') && text !== 'db.serverless' ? new ec2.InstanceType(text.slice(3)) : undefined;
}

/** What serverless nodes of a cluster grow between. Undefined: none, or only the deployment knows it. */
export function scalingOf(cluster: rds.CfnDBCluster | undefined) {
  const { minCapacity, maxCapacity } =
    (cluster &&
      (Stack.of(cluster).resolve(cluster.serverlessV2ScalingConfiguration) as
        { [name: string]: unknown } | undefined)) ??
    {};
  return typeof minCapacity === 'number' && typeof maxCapacity === 'number' ? { minCapacity, maxCapacity } : undefined;
}

/** Of those that thresholds follow, what the server's own groups say. Where it has no group, the service's defaults hold. */
function parametersOf(server: HardenedServer | undefined): Record<string, string> {
  const read = (level: 'cluster' | 'instance', name: string): string | undefined => {
    const values = new Set(
      (server?.holders(level) ?? []).map((holder) => {
        const home = parameterHome(holder);
        if (home.kind === 'default') return undefined;
        const value = home.kind === 'own' ? readParameter(home.group, name) : UNKNOWN;
        return typeof value === 'symbol' ? UNKNOWN : value;
      }),
    );
    return values.size > 1 ? UNKNOWN : [...values][0];
  };
  const named = (name: string) => read('instance', name) ?? read('cluster', name);
  if (!server) return { max_connections: UNKNOWN };
  const found = { max_connections: named('max_connections'), max_slot_wal_keep_size: named('max_slot_wal_keep_size') };
  return Object.fromEntries(Object.entries(found).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
