import { Duration, aws_cloudwatch as cloudwatch, aws_sns as sns } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';

/** How a server is watched. */
export interface MonitoringOptions {
  /**
   * Where alarms and the events of RDS go. A topic of this app gets what its policy and its key's policy need for that.
   *
   * @default - the alarm topic of the server, or a new one where it has none
   */
  readonly alarmTopic?: sns.ITopic;

  /**
   * How often the probe function looks at the inside of the server: 1 to 60 whole minutes.
   *
   * @default Duration.minutes(5)
   */
  readonly every?: Duration;

  /**
   * Whether there is a probe function. Without it there is what CloudWatch knows by itself, and a server that pauses can pause.
   *
   * @default true
   */
  readonly probe?: boolean;

  /**
   * The name of the role that the probe logs in as, a member of pg_monitor. Two states of one server need two names.
   *
   * @default cdk_postgres_probe
   */
  readonly roleName?: string;

  /**
   * Whether the probe's role may read how far the sequences of declared schemas are: USAGE on each schema and SELECT on its sequences,
   * existing and future. Tables are not among it.
   *
   * @default true
   */
  readonly sequences?: boolean;

  /**
   * How many databases a look visits at most besides `postgres`, in the order of their names: 1 to 500.
   *
   * @default 50
   */
  readonly mostDatabases?: number;

  /**
   * Whether there is a dashboard.
   *
   * @default true
   */
  readonly dashboard?: boolean;
}

/** What `addMonitoring()` has made. */
export interface IServerMonitoring extends IConstruct {
  /** Every alarm of the server, those on its storage among them. */
  readonly alarms: cloudwatch.Alarm[];

  /** The dashboard, with a row for each of the five questions. Undefined where none is wanted. */
  readonly dashboard?: cloudwatch.Dashboard;

  /**
   * A metric of the probe, such as `OldestTransactionSeconds`.
   *
   * @param metricName its name, as docs/monitoring.md lists it
   * @param options how it is read. The default is the maximum of each look
   */
  metric(metricName: string, options?: cloudwatch.MetricOptions): cloudwatch.Metric;
}
