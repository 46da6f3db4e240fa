/** What the probe function measures, by the name of the metric. The end of a name says its unit. */
export const PROBE_METRICS = [
  'ProbeFailed',
  'ProbeMilliseconds',
  'ReadingsFailed',
  'DatabasesNotVisited',
  'TransactionIdAge',
  'MultixactAge',
  'ConnectionsUsedPercent',
  'OldestTransactionSeconds',
  'OldestIdleInTransactionSeconds',
  'OldestPreparedTransactionSeconds',
  'BlockedSessions',
  'LongestBlockedSeconds',
  'SlotRetainedBytes',
  'SlotsAtRisk',
  'InactiveSlots',
  'FailoverSlotsNotSynced',
  'ReplicaLagBytes',
  'CancelledByReplay',
  'SubscriptionConflicts',
  'SubscriptionErrors',
  'Deadlocks',
  'ChecksumFailures',
  'PendingRestart',
  'Md5Verifiers',
  'InvalidIndexes',
  'SequencesNearEnd',
  'SequencesUnreadable',
  'TablesVacuumOverdue',
] as const;

export type ProbeMetric = (typeof PROBE_METRICS)[number];

/** From this share of its range on, a sequence is near its end. */
export const SEQUENCE_NEAR_END = 0.8;

/** Name of the environment variable with the ARN of the secret that the probe logs in with. */
export const PROBE_SECRET_VARIABLE = 'CDK_POSTGRES_PROBE_SECRET';
/** Name of the environment variable with how many databases the probe visits at most. */
export const PROBE_DATABASES_VARIABLE = 'CDK_POSTGRES_PROBE_DATABASES';
