import { Duration, aws_cloudwatch as cloudwatch } from 'aws-cdk-lib';
import { Platform, ProbeMetric } from '../../contract';
import { Question, Watched } from './watched';

const GIB = 1024 ** 3;
const HOUR = Duration.hours(1);

type Rule = readonly [
  metric: ProbeMetric,
  question: Question,
  threshold: number,
  /** `look`: so many looks in a row; `hours`: the whole time for so many hours. */
  lasts: { readonly looks: number } | { readonly hours: number },
  says: string,
];

/** Sums of each look, where the others are the largest value. */
const COUNTED: readonly ProbeMetric[] = [
  'CancelledByReplay',
  'SubscriptionConflicts',
  'SubscriptionErrors',
  'Deadlocks',
];

function rules(platform: Platform, slotBytes: number): readonly Rule[] {
  const once = { looks: 1 };
  const external = platform === 'external';
  return [
    [
      'ChecksumFailures',
      'Do not break',
      0,
      once,
      'A page of the storage was read with a wrong checksum: data are damaged',
    ],
    [
      'TransactionIdAge',
      'Do not break',
      500_000_000,
      { looks: 3 },
      'Freezing lags behind: find what holds vacuum back',
    ],
    ['MultixactAge', 'Do not break', 800_000_000, { looks: 3 }, 'Freezing of shared row locks lags behind'],
    [
      'SlotRetainedBytes',
      'Do not break',
      slotBytes,
      { looks: 3 },
      'A replication slot holds much WAL: its consumer is away or slow',
    ],
    [
      'SlotsAtRisk',
      'Do not stop',
      0,
      once,
      'A replication slot has lost its place or is about to: its consumer must begin anew',
    ],
    [
      'InactiveSlots',
      'Do not stop',
      0,
      { hours: 24 },
      'A replication slot was read by nobody for a day: bring its consumer back, or drop it',
    ],
    ...(platform === 'aurora'
      ? []
      : [['ReplicaLagBytes', 'Do not stop', GIB, { looks: 3 }, 'A standby is more than a GiB behind'] as const]),
    [
      'SubscriptionErrors',
      'Do not stop',
      0,
      { looks: 3 },
      'A subscription fails again and again; the server log says at which row',
    ],
    ['SubscriptionConflicts', 'Do not stop', 0, once, 'A subscription met rows that are not as the publisher has them'],
    ['CancelledByReplay', 'Do not stop', 10, { looks: 3 }, 'A reader cancels queries that stand in the way of replay'],
    [
      'OldestTransactionSeconds',
      'Do not clog',
      3600,
      { looks: 2 },
      'A transaction is open for an hour, and vacuum cleans nothing that is newer',
    ],
    [
      'OldestIdleInTransactionSeconds',
      'Do not clog',
      600,
      { looks: 2 },
      'A session idles in a transaction for ten minutes, with its locks',
    ],
    [
      'OldestPreparedTransactionSeconds',
      'Do not clog',
      3600,
      { looks: 2 },
      'A prepared transaction was forgotten: commit it or roll it back',
    ],
    [
      'LongestBlockedSeconds',
      'Do not clog',
      60,
      { looks: 2 },
      'Sessions wait for a lock for a minute; the log of the probe says who holds it',
    ],
    [
      'Deadlocks',
      'Do not clog',
      5,
      { looks: 3 },
      'Transactions deadlock again and again; the server log has both statements',
    ],
    [
      'TablesVacuumOverdue',
      'Do not clog',
      0,
      { hours: 6 },
      'Tables have many dead rows, and were not vacuumed for a day',
    ],
    ...(external ? [['Md5Verifiers', 'Protect', 0, once, 'A password is kept as MD5: set it anew'] as const] : []),
    [
      'InvalidIndexes',
      'Evolve',
      0,
      { hours: 1 },
      'An index that a build left behind is written to and never read: drop it, and build it again',
    ],
    [
      'SequencesNearEnd',
      'Evolve',
      0,
      once,
      'A sequence has used four fifths of its range or of its column: make the column bigint',
    ],
    ['PendingRestart', 'Evolve', 0, { hours: 24 }, 'A parameter waits for a restart for a day'],
    ['DatabasesNotVisited', 'Evolve', 0, { hours: 1 }, 'The probe left databases out: raise mostDatabases'],
    ['ReadingsFailed', 'Evolve', 0, { looks: 3 }, 'The probe could not read all it wanted; its log says what and why'],
  ];
}

/** For a server with slots that are to survive a failover, and a reader that keeps them up to date (HA-19). */
export function watchedSlots(metric: (name: ProbeMetric) => cloudwatch.Metric): Watched {
  const id = 'FailoverSlotsNotSynced';
  return {
    id,
    question: 'Do not stop',
    threshold: 0,
    says: 'The reader does not have every slot that is to survive a failover: after one, the consumer of such a slot begins anew',
    periods: 3,
    metric: metric(id),
  };
}

/** What the probe measures, and from where on it is wrong. */
export function watchedByProbe(
  platform: Platform,
  options: {
    readonly metric: (name: ProbeMetric, options?: cloudwatch.MetricOptions) => cloudwatch.Metric;
    readonly slotBytes?: number;
    readonly knowsConnections: boolean;
    readonly readers: boolean;
  },
): Watched[] {
  const { metric } = options;
  const watched = rules(platform, options.slotBytes ?? 10 * GIB)
    .filter(([name]) => name !== 'CancelledByReplay' || options.readers)
    .map(([name, question, threshold, lasts, says]): Watched =>
      'looks' in lasts
        ? {
            id: name,
            question,
            threshold,
            says,
            periods: lasts.looks,
            metric: metric(name, { statistic: COUNTED.includes(name) ? 'Sum' : 'Maximum' }),
          }
        : {
            id: name,
            question,
            threshold,
            says,
            periods: lasts.hours,
            // The least of an hour is above the threshold only if it was so all the time.
            metric: metric(name, { statistic: 'Minimum', period: HOUR }),
          },
    );
  if (!options.knowsConnections)
    watched.push({
      id: 'ConnectionsUsedPercent',
      question: 'Do not clog',
      threshold: 80,
      says: 'Four fifths of max_connections are used: end idle ones, or put a pooler in front',
      metric: metric('ConnectionsUsedPercent'),
    });
  watched.push({
    id: 'ProbeFailed',
    question: 'Do not stop',
    threshold: 0,
    says: 'Nobody can look into the server: it takes no connection, or the probe does not run; its log says why',
    missing: cloudwatch.TreatMissingData.BREACHING,
    metric: metric('ProbeFailed'),
  });
  return watched;
}
