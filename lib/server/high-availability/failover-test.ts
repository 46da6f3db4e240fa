import {
  ArnFormat,
  CfnOutput,
  Duration,
  Stack,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_events as events,
  aws_events_targets as targets,
  aws_iam as iam,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { addFinding } from '../../compliance';
import { FAILOVER_METRICS, FAILOVER_TARGET_VARIABLE, METRIC_NAMESPACE } from '../../contract';
import { requireDuration } from '../required';
import { ServerState } from '../state/server-state';

/** How `addFailoverTest()` tests. */
export interface FailoverTestOptions {
  /**
   * When it runs by itself. In production a schedule is a finding: there somebody runs it who watches.
   *
   * @default - on demand alone
   */
  readonly schedule?: events.Schedule;

  /**
   * The longest write outage that is taken for good.
   *
   * @default - the recovery time objective of the server
   */
  readonly maxOutage?: Duration;

  /**
   * Where the alarm goes.
   *
   * @default - as the alarms of the server
   */
  readonly alarmTopic?: sns.ITopic;
}

export interface FailoverTestContext {
  readonly target: { readonly kind: 'instance' | 'cluster'; readonly identifier: string };
  readonly rto: Duration;
  readonly isProduction: boolean;
  readonly topic?: sns.ITopic;
}

/**
 * A function that makes the server fail over, and measures with a heartbeat table how long no write was acknowledged and whether an acknowledged
 * one was lost (HA-17).
 */
export class FailoverTest extends Construct {
  /** The name of the function, to be invoked. */
  public readonly functionName: string;

  /** @internal */
  public static _make(state: ServerState, options: FailoverTestOptions, context: FailoverTestContext): FailoverTest {
    return new FailoverTest(state, options, context);
  }

  private constructor(state: ServerState, options: FailoverTestOptions, context: FailoverTestContext) {
    super(state.server, 'FailoverTest');
    const path = state.server.node.path;
    const { target } = context;
    const stack = Stack.of(this);
    const arn = (resource: string, resourceName: string) =>
      stack.formatArn({ service: 'rds', resource, resourceName, arnFormat: ArnFormat.COLON_RESOURCE_NAME });
    const isCluster = target.kind === 'cluster';
    const test = state.failoverFunction(this, {
      environment: { [FAILOVER_TARGET_VARIABLE]: JSON.stringify(target) },
      statements: [
        new iam.PolicyStatement({
          actions: isCluster
            ? ['rds:DescribeDBClusters', 'rds:FailoverDBCluster']
            : ['rds:DescribeDBInstances', 'rds:RebootDBInstance'],
          resources: [arn(isCluster ? 'cluster' : 'db', target.identifier)],
        }),
      ],
    });
    this.functionName = test.function.functionName;
    new CfnOutput(this, 'Command', {
      description: `Fails ${path} over and measures the write outage; see docs/high-availability.md first`,
      value: `aws lambda invoke --cli-read-timeout 900 --function-name ${this.functionName} /dev/stdout`,
    });
    const { schedule } = options;
    if (schedule !== undefined) {
      if (!(schedule instanceof events.Schedule)) {
        const example = (schedule as unknown) instanceof Duration ? 'rate(that duration)' : 'rate(Duration.days(7))';
        throw new Error(
          `${path}: addFailoverTest({ schedule }) is no Schedule of aws-events; write events.Schedule.${example}, or leave it out to run it by hand`,
        );
      }
      const rule = new events.Rule(this, 'Schedule', {
        description: `Tests the failover of the PostgreSQL server ${path}`.slice(0, 512),
        schedule,
        targets: [new targets.LambdaFunction(test.function, { retryAttempts: 0, maxEventAge: Duration.minutes(5) })],
      });
      rule.node.addDependency(...test.ready);
    }
    addFinding(state.server, {
      id: 'HA-17',
      check: () =>
        schedule && context.isProduction
          ? `${path}: addFailoverTest({ schedule }) would interrupt production with nobody watching`
          : undefined,
      fix: 'Leave the schedule out and invoke the function when somebody watches, or put the schedule on a server that is no production.',
    });
    const maxOutage = requireDuration(path, 'maxOutage', options.maxOutage ?? context.rto, 'Duration.minutes(2)');
    const topic = options.alarmTopic ?? context.topic;
    if (topic) this.addAlarms(state, path, maxOutage, topic);
  }

  private addAlarms(state: ServerState, path: string, maxOutage: Duration, topic: sns.ITopic): void {
    const watched: [string, string, number, string][] = [
      [
        'OutageAlarm',
        FAILOVER_METRICS.outage,
        maxOutage.toMilliseconds(),
        `took no writes for more than ${maxOutage.toHumanString()}`,
      ],
      ['LostWritesAlarm', FAILOVER_METRICS.lost, 0, 'lost writes that it had acknowledged'],
      ['FailedAlarm', FAILOVER_METRICS.failed, 0, 'did not fail over, or did not come back in time'],
    ];
    for (const [id, metricName, threshold, says] of watched) {
      const alarm = new cloudwatch.Alarm(this, id, {
        alarmDescription: `In the failover test ${path} ${says}`,
        metric: new cloudwatch.Metric({
          namespace: METRIC_NAMESPACE,
          metricName,
          dimensionsMap: { Server: state.props.identity },
          statistic: 'Maximum',
          period: Duration.minutes(5),
        }),
        threshold,
        comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluationPeriods: 1,
        treatMissingData: cloudwatch.TreatMissingData.IGNORE,
      });
      alarm.addAlarmAction(new actions.SnsAction(topic));
      alarm.addOkAction(new actions.SnsAction(topic));
    }
  }
}
