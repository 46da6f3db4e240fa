import { Duration, Size, aws_cloudwatch as cloudwatch, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { connectionsOf, memoryOf, MOST_OF_SMALL_SERVERLESS, serverlessMemory } from './capacity';
import { FIVE_MINUTES, Watched, WatchedEvents } from './watched';

/** Events that a person wants to know of; the backup of each night is none of them. */
const INSTANCE_EVENTS = [
  'availability',
  'configuration change',
  'deletion',
  'failover',
  'failure',
  'low storage',
  'maintenance',
  'notification',
  'read replica',
  'recovery',
  'restoration',
  'security patching',
];
const CLUSTER_EVENTS = ['configuration change', 'deletion', 'failover', 'failure', 'maintenance'];

/** A billion transactions: half of what there is, and twice what autovacuum lets pass without a hurry. */
const OLD_TRANSACTION_IDS = 1_000_000_000;

/** With 3,000 operations a second, 60 that wait are waited for 20 ms, which is what an index look-up may take. */
const QUEUE_SECONDS = 0.02;

type Dimensions = Record<string, string>;

function metric(
  dimensionsMap: Dimensions,
  metricName: string,
  statistic: string,
  period: Duration = FIVE_MINUTES,
): cloudwatch.Metric {
  return new cloudwatch.Metric({ namespace: 'AWS/RDS', metricName, dimensionsMap, statistic, period });
}

/** What instance and cluster have in common. The worst node of a cluster counts. */
function ofNodes(
  dimensions: Dimensions,
  sizes: { readonly memory?: number; readonly connections?: number },
): Watched[] {
  const { memory, connections } = sizes;
  return [
    {
      id: 'CPUUtilization',
      question: 'Do not clog',
      metric: metric(dimensions, 'CPUUtilization', 'Maximum'),
      threshold: 90,
      says: 'The processors are busy for 15 minutes: look for a new plan or more load in Database Insights',
    },
    {
      id: 'MaximumUsedTransactionIDs',
      question: 'Do not break',
      metric: metric(dimensions, 'MaximumUsedTransactionIDs', 'Maximum'),
      threshold: OLD_TRANSACTION_IDS,
      periods: 1,
      says: 'Half of the transaction ids are used, at the end the server takes no writes: find what holds vacuum back',
    },
    ...(memory === undefined
      ? []
      : [
          {
            id: 'FreeableMemory',
            question: 'Do not clog' as const,
            metric: metric(dimensions, 'FreeableMemory', 'Minimum'),
            threshold: Math.floor(memory / 20),
            below: true,
            says: 'Less than a twentieth of the memory is free: fewer sessions, less work_mem, or a larger class',
          },
        ]),
    ...(connections === undefined
      ? []
      : [
          {
            id: 'DatabaseConnections',
            question: 'Do not clog' as const,
            metric: metric(dimensions, 'DatabaseConnections', 'Maximum'),
            threshold: Math.floor(connections * 0.8),
            says: `Four fifths of about ${connections} connections are used: end idle ones, or put a pooler in front`,
          },
        ]),
  ];
}

/** From how much retained WAL on a slot is wrong where neither its cap nor the volume is known: 10 GiB. */
export const RETAINED_WAL = 10 * 1024 ** 3;

/** What thresholds follow. What is not known leaves out what follows it alone, but for what has a default of its own. */
export interface InstanceSize {
  readonly instanceType?: ec2.InstanceType;
  readonly storage?: Size;
  readonly storageType?: string;
  readonly iops?: number;
  readonly parameters: Readonly<Record<string, string>>;
}

/** What CloudWatch knows of an instance of RDS. */
export function watchedInstance(identifier: string, given: InstanceSize): Watched[] {
  const dimensions = { DBInstanceIdentifier: identifier };
  const { storage } = given;
  const memory = given.instanceType && memoryOf(given.instanceType);
  const operations = given.iops ?? (storage && storage.toGibibytes() >= 400 ? 12_000 : 3_000);
  return [
    ...ofNodes(dimensions, { memory, connections: connectionsOf(given.parameters.max_connections, memory) }),
    {
      id: 'DiskQueueDepth',
      question: 'Do not clog',
      metric: metric(dimensions, 'DiskQueueDepth', 'Average'),
      threshold: Math.ceil(operations * QUEUE_SECONDS),
      says: `More waits for the volume than it does in ${QUEUE_SECONDS * 1000} ms: find who reads so much, or provision more operations`,
    },
    ...['ReadLatency', 'WriteLatency'].map((name): Watched => ({
      id: name,
      question: 'Do not clog',
      metric: metric(dimensions, name, 'Average'),
      threshold: QUEUE_SECONDS,
      says: `The volume takes more than ${QUEUE_SECONDS * 1000} ms for one ${name === 'ReadLatency' ? 'read' : 'write'}`,
    })),
    ...(storage === undefined
      ? []
      : [
          {
            id: 'TransactionLogsDiskUsage',
            question: 'Do not break' as const,
            metric: metric(dimensions, 'TransactionLogsDiskUsage', 'Maximum'),
            threshold: Math.floor(storage.toBytes() * 0.3),
            says: 'WAL takes three tenths of the created storage: a slot or a replica holds it, or it cannot be archived',
          },
        ]),
    {
      id: 'OldestReplicationSlotLag',
      question: 'Do not stop',
      metric: metric(dimensions, 'OldestReplicationSlotLag', 'Maximum'),
      threshold: slotBytes(given.parameters) ?? (storage ? Math.floor(storage.toBytes() / 8) : RETAINED_WAL),
      says: 'A replication slot is half way to losing its place: its consumer is away or too slow',
    },
    ...(given.storageType === 'gp2'
      ? [
          {
            id: 'BurstBalance',
            question: 'Do not clog' as const,
            metric: metric(dimensions, 'BurstBalance', 'Minimum'),
            threshold: 20,
            below: true,
            says: 'A fifth of the burst credits of the gp2 volume is left: move it to gp3',
          },
        ]
      : []),
    ...credits(dimensions, given.instanceType),
  ];
}

/** Facts of the data rather than of a node, which every node reports: one alarm over all of them is enough. */
const OF_THE_DATA = ['MaximumUsedTransactionIDs', 'OldestReplicationSlotLag'];

/** What CloudWatch knows of the nodes of a Multi-AZ DB cluster, of which each may be the writer. */
export function watchedStandbys(identifiers: readonly string[], given: InstanceSize): Watched[] {
  const [first = [], ...others] = identifiers.map((identifier) => watchedInstance(identifier, given));
  return first.flatMap((watched, at) => {
    const nodes = [watched, ...others.map((node) => node[at]!)];
    if (!OF_THE_DATA.includes(watched.id)) {
      return nodes.map((node, index) => ({
        ...node,
        id: `${node.id}-${index + 1}`,
        says: `Node ${index + 1}: ${node.says}`,
      }));
    }
    const names = nodes.map((_node, index) => `node${index + 1}`);
    const worst = new cloudwatch.MathExpression({
      expression: `MAX([${names.join(', ')}])`,
      label: watched.id,
      period: FIVE_MINUTES,
      usingMetrics: Object.fromEntries(nodes.map((node, index) => [names[index]!, node.metric])),
    });
    return [{ ...watched, metric: worst }];
  });
}

/** What CloudWatch knows of a cluster of Aurora. */
export function watchedCluster(
  identifier: string,
  given: {
    /** Of the smallest node. */
    readonly instanceType?: ec2.InstanceType;
    readonly serverlessV2?: { readonly minCapacity: number; readonly maxCapacity: number };
    readonly readers: boolean;
    readonly parameters: Readonly<Record<string, string>>;
  },
): Watched[] {
  const dimensions = { DBClusterIdentifier: identifier };
  const { serverlessV2, instanceType } = given;
  const memory = serverlessV2
    ? serverlessMemory(serverlessV2.maxCapacity)
    : instanceType === undefined
      ? undefined
      : memoryOf(instanceType);
  const most = connectionsOf(given.parameters.max_connections, memory);
  // With so little at the least, the service lets no more than 2,000 in, whatever there is at the most.
  const small = serverlessV2 !== undefined && serverlessV2.minCapacity <= 0.5;
  return [
    ...ofNodes(dimensions, {
      // What is free of a node that grows says nothing; its share of the largest does.
      memory: serverlessV2 ? undefined : memory,
      connections: small && most !== undefined ? Math.min(MOST_OF_SMALL_SERVERLESS, most) : most,
    }),
    ...(serverlessV2
      ? [
          {
            id: 'ACUUtilization',
            question: 'Do not clog' as const,
            metric: metric(dimensions, 'ACUUtilization', 'Maximum'),
            threshold: 90,
            says: `A node is near the ${serverlessV2.maxCapacity} units that it may grow to: raise serverlessV2.maxCapacity`,
          },
        ]
      : []),
    ...(given.readers
      ? [
          {
            id: 'AuroraReplicaLagMaximum',
            question: 'Do not stop' as const,
            metric: metric(dimensions, 'AuroraReplicaLagMaximum', 'Maximum'),
            threshold: 1000,
            says: 'A reader is more than a second behind the writer, which usually is 20 ms: it is overloaded',
          },
        ]
      : []),
    ...(serverlessV2 ? [] : credits(dimensions, instanceType)),
  ];
}

function credits(dimensions: Dimensions, instanceType: ec2.InstanceType | undefined): Watched[] {
  if (instanceType === undefined || !/^t\d/.test(instanceType.toString())) return [];
  return [
    {
      id: 'CPUCreditBalance',
      question: 'Do not clog',
      metric: metric(dimensions, 'CPUCreditBalance', 'Minimum'),
      threshold: 20,
      below: true,
      says: 'The processor credits of the burstable class are at an end, and a fraction of its speed is what remains',
    },
  ];
}

/** Half of what a slot may retain, in bytes. */
export function slotBytes(parameters: Readonly<Record<string, string>>): number | undefined {
  const mebibytes = Number(parameters.max_slot_wal_keep_size);
  return mebibytes > 0 ? (mebibytes * 1024 ** 2) / 2 : undefined;
}

export function instanceEvents(identifier: string): WatchedEvents {
  return { id: 'Events', sourceType: 'db-instance', sourceIds: [identifier], categories: INSTANCE_EVENTS };
}

/**
 * A cluster that pauses would tell of each pause as a notification. Of nodes that nobody names there is no subscription: one without a
 * name would be of every instance of the account.
 */
export function clusterEvents(identifier: string, nodes: readonly string[], pauses: boolean): WatchedEvents[] {
  const quiet = (categories: string[]) =>
    pauses ? categories.filter((category) => category !== 'notification') : categories;
  return [
    {
      id: 'ClusterEvents',
      sourceType: 'db-cluster',
      sourceIds: [identifier],
      categories: quiet([...CLUSTER_EVENTS, 'notification']),
    },
    ...(nodes.length === 0
      ? []
      : [
          {
            id: 'NodeEvents',
            sourceType: 'db-instance' as const,
            sourceIds: [...nodes],
            categories: quiet(INSTANCE_EVENTS),
          },
        ]),
  ];
}
