import {
  Annotations,
  Duration,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_events as events,
  aws_events_targets as targets,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { METRIC_NAMESPACE } from '../../contract';
import { requireDuration } from '../required';
import { DriftDetectionOptions } from '../drift-detection-options';
import { ServerState } from './server-state';

/** Looks at the server on a schedule, and alarms when it is not as declared, or when nobody has looked. */
export class DriftDetection extends Construct {
  constructor(state: ServerState, options: DriftDetectionOptions, more: { topic: () => sns.ITopic; pauses: boolean }) {
    super(state.server, 'DriftDetection');
    const path = state.server.node.path;
    const every = options.every ?? Duration.hours(6);
    checkInterval(path, every);
    this.node.addValidation({
      validate: () =>
        state.isEmpty ? [`${path}: addDriftDetection() has nothing to look at, since nothing is declared inside`] : [],
    });
    if (more.pauses) {
      Annotations.of(state.server).addWarningV2(
        'cdk-postgres:driftKeepsAwake',
        `The server pauses when it is idle, and addDriftDetection() connects to it every ${every.toHumanString()}: each look wakes it, ` +
          'and is paid for. Make the interval longer, or leave the check to `cdk-postgres drift` by hand.',
      );
    }
    const { function: target, ready } = state.driftFunction(this, options.enforce ? 'enforce' : 'report');
    const rule = new events.Rule(this, 'Schedule', {
      description: `Compares the PostgreSQL server ${path} with its declaration`.slice(0, 512),
      schedule: events.Schedule.rate(every),
      targets: [new targets.LambdaFunction(target, { retryAttempts: 2, maxEventAge: Duration.hours(1) })],
    });
    rule.node.addDependency(state.applied, ...ready);

    const dimensionsMap = { Server: state.props.identity, State: state.stateName };
    const metric = (statistic: string) =>
      new cloudwatch.Metric({
        namespace: METRIC_NAMESPACE,
        metricName: 'Drift',
        dimensionsMap,
        statistic,
        period: every,
      });
    const topic = options.alarmTopic ?? more.topic();
    const alarms = [
      new cloudwatch.Alarm(this, 'DriftAlarm', {
        alarmDescription: `The inside of ${path} is not as declared; the log of the drift function says what differs`,
        metric: metric('Maximum'),
        threshold: 0,
        comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluationPeriods: 1,
        // Whether nobody looked is the other alarm's business; here the last look holds until the next.
        treatMissingData: cloudwatch.TreatMissingData.IGNORE,
      }),
      new cloudwatch.Alarm(this, 'NotCheckedAlarm', {
        alarmDescription: `Nobody has compared ${path} with its declaration for two intervals; see the log of the drift function`,
        metric: metric('SampleCount'),
        threshold: 1,
        comparisonOperator: cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        evaluationPeriods: 2,
        treatMissingData: cloudwatch.TreatMissingData.BREACHING,
      }),
    ];
    for (const alarm of alarms) {
      alarm.addAlarmAction(new actions.SnsAction(topic));
      alarm.addOkAction(new actions.SnsAction(topic));
    }
  }
}

/** An alarm over two intervals reaches back a week at most, and takes periods of whole minutes. */
function checkInterval(path: string, every: Duration): void {
  requireDuration(path, 'every', every, 'Duration.hours(6)');
  if (every.isUnresolved())
    throw new Error(`${path}: every is a token; write how often, since the alarms depend on it`);
  const hours = every.toHours({ integral: false });
  if (!Number.isInteger(hours) || hours < 1 || hours > 72) {
    throw new Error(`${path}: every is ${every.toHumanString()}; expected 1 to 72 whole hours`);
  }
}
