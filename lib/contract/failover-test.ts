/** Name of the environment variable with what the failover test makes fail over, as JSON `{ kind, identifier }`. */
export const FAILOVER_TARGET_VARIABLE = 'CDK_POSTGRES_FAILOVER_TARGET';

/** What the failover test measures, by the name of the metric. */
export const FAILOVER_METRICS = {
  outage: 'FailoverOutageMilliseconds',
  lost: 'FailoverLostWrites',
  failed: 'FailoverTestFailed',
} as const;
