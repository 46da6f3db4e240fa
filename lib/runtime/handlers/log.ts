import { METRIC_NAMESPACE } from '../../contract';

/** One JSON object a line: what CloudWatch Logs Insights reads without a parser. Nothing secret goes in. */
export function logLine(event: string, fields: object = {}, level: 'info' | 'warn' | 'error' = 'info'): void {
  console[level](JSON.stringify({ level, event, ...fields }));
}

/** A metric in one of these says so at the end of its name. */
const UNITS = ['Milliseconds', 'Seconds', 'Bytes', 'Percent'];

/** Metrics as a log line in CloudWatch's embedded format: no client, no endpoint, no permission. */
export function logMetrics(
  dimensions: Readonly<Record<string, string>>,
  values: Readonly<Record<string, number>>,
): void {
  const metrics = Object.keys(values).map((name) => ({
    Name: name,
    Unit: UNITS.find((unit) => name.endsWith(unit)) ?? 'Count',
  }));
  const directive = { Namespace: METRIC_NAMESPACE, Dimensions: [Object.keys(dimensions)], Metrics: metrics };
  console.info(
    JSON.stringify({ _aws: { Timestamp: Date.now(), CloudWatchMetrics: [directive] }, ...dimensions, ...values }),
  );
}
