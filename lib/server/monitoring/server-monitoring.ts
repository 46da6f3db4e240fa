import {
  Annotations,
  Duration,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_rds as rds,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { METRIC_NAMESPACE, PROBE_METRICS, ProbeMetric } from '../../contract';
import { requireDuration } from '../required';
import { letPublish } from '../alarm-topic';
import { requireInteger } from '../state/literals';
import { ServerState } from '../state/server-state';
import { serverDashboard } from './dashboard';
import { IServerMonitoring, MonitoringOptions } from './monitoring-options';
import { watchedByProbe, watchedSlots } from './probe-alarms';
import { ProbeSchedule } from './probe-schedule';
import { PlatformMonitoring, Question, Watched, WatchedEvents } from './watched';

const DEFAULT_ROLE = 'cdk_postgres_probe';

/** What a server is watched by: alarms, events, a probe and a dashboard. */
export class ServerMonitoring extends Construct implements IServerMonitoring {
  public readonly alarms: cloudwatch.Alarm[] = [];
  public readonly dashboard?: cloudwatch.Dashboard;
  private readonly byQuestion = new Map<Question, cloudwatch.Alarm[]>();
  private readonly topic: sns.ITopic;
  private readonly every: Duration;

  constructor(
    private readonly state: ServerState,
    options: MonitoringOptions,
    more: { topic: () => sns.ITopic; pauses: boolean; platform: PlatformMonitoring },
  ) {
    super(state.server, 'Monitoring');
    const path = state.server.node.path;
    const { platform } = more;
    this.every = options.every ?? Duration.minutes(5);
    checkInterval(path, this.every);
    const mostDatabases = requireInteger(state.server, 'mostDatabases', options.mostDatabases ?? 50, 1, 500);
    this.topic = options.alarmTopic ?? more.topic();
    letPublish(this, this.topic, 'cloudwatch.amazonaws.com', {
      // The policy of the server's own key lets alarms use it.
      key: this.topic.masterKey !== state.props.encryptionKey,
    });

    for (const alarm of platform.storage(this.topic)) this.include('Do not break', alarm);
    for (const watched of platform.watched) this.watch(watched);
    for (const events of platform.events) this.subscribe(events);
    if (options.probe !== false) {
      if (more.pauses) warnOfPause(state.server, this.every);
      new ProbeSchedule(this, state, {
        roleName: options.roleName ?? DEFAULT_ROLE,
        sequences: options.sequences !== false,
        every: this.every,
        mostDatabases,
      });
      const watched = watchedByProbe(state.props.platform, {
        metric: (name, given) => this.metric(name, given),
        slotBytes: platform.slotBytes,
        knowsConnections: platform.knowsConnections,
        readers: state.props.readerHost !== undefined,
      });
      watched.forEach((each) => this.watch(each));
      // Aurora keeps slots in its storage, where no node has to follow.
      if (state.props.platform !== 'aurora')
        state.onFailoverSlot(() => this.watch(watchedSlots((name) => this.metric(name))));
    } else if (platform.watched.length === 0) {
      throw new Error(
        `${path}: addMonitoring({ probe: false }) has nothing to watch, since CloudWatch knows nothing of this server; leave probe out`,
      );
    }
    if (options.dashboard !== false)
      this.dashboard = serverDashboard(this, path, state.props.identity, this.byQuestion);
  }

  public metric(metricName: string, options: cloudwatch.MetricOptions = {}): cloudwatch.Metric {
    if (!(PROBE_METRICS as readonly string[]).includes(metricName)) {
      throw new Error(
        `${this.node.path}: metric('${metricName}') names no metric of the probe; there are ${PROBE_METRICS.join(', ')}`,
      );
    }
    return new cloudwatch.Metric({
      namespace: METRIC_NAMESPACE,
      metricName: metricName satisfies string as ProbeMetric,
      dimensionsMap: { Server: this.state.props.identity },
      statistic: 'Maximum',
      period: this.every,
      ...options,
    });
  }

  private watch(watched: Watched): void {
    const { below } = watched;
    const alarm = new cloudwatch.Alarm(this, `${watched.id}Alarm`, {
      alarmDescription: `${this.state.server.node.path}: ${watched.says}`,
      metric: watched.metric,
      threshold: watched.threshold,
      comparisonOperator: below
        ? cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
        : cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: watched.periods ?? 3,
      treatMissingData: watched.missing ?? cloudwatch.TreatMissingData.IGNORE,
    });
    alarm.addAlarmAction(new actions.SnsAction(this.topic));
    alarm.addOkAction(new actions.SnsAction(this.topic));
    this.include(watched.question, alarm);
  }

  private include(question: Question, alarm: cloudwatch.Alarm): void {
    this.alarms.push(alarm);
    this.byQuestion.set(question, [...(this.byQuestion.get(question) ?? []), alarm]);
  }

  /** RDS publishes to try the topic when the subscription is made, and refuses one that it may not publish to. */
  private subscribe(events: WatchedEvents): void {
    const ready = letPublish(this, this.topic, 'events.rds.amazonaws.com');
    const subscription = new rds.CfnEventSubscription(this, events.id, {
      snsTopicArn: this.topic.topicArn,
      sourceType: events.sourceType,
      sourceIds: events.sourceIds,
      eventCategories: events.categories,
    });
    subscription.node.addDependency(...ready);
  }
}

/** An alarm over three intervals stays within a day, and EventBridge takes whole minutes. */
function checkInterval(path: string, every: Duration): void {
  requireDuration(path, 'every', every, 'Duration.minutes(5)');
  if (every.isUnresolved())
    throw new Error(`${path}: every is a token; write how often, since the alarms depend on it`);
  const minutes = every.toMinutes({ integral: false });
  if (!Number.isInteger(minutes) || minutes < 1 || minutes > 60) {
    throw new Error(`${path}: every is ${every.toHumanString()}; expected 1 to 60 whole minutes`);
  }
}

function warnOfPause(server: Construct, every: Duration): void {
  Annotations.of(server).addWarningV2(
    'cdk-postgres:probeKeepsAwake',
    `The server pauses when it is idle, and the probe of addMonitoring() connects to it every ${every.toHumanString()}: it never pauses, and ` +
      'is paid for all the time. Set addMonitoring({ probe: false }) for what CloudWatch knows by itself, or serverlessV2.minCapacity to 0.5.',
  );
}
