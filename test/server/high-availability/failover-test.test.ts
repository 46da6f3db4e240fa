import { Duration, aws_events as events } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { AuroraPostgres, FailoverTestOptions, PostgresProfile, PostgresVersion, RdsPostgres } from '../../../lib';
import { errorsOfFivePacks } from '../../compliance/five-packs';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

function make(
  options: FailoverTestOptions = {},
  props: object = {},
  Kind: typeof RdsPostgres | typeof AuroraPostgres = RdsPostgres,
) {
  const { app, stack, vpc } = cleanStack();
  const common = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, identifier: 'orders', ...props };
  const server = new Kind(stack, 'Postgres', common);
  const test = server.addFailoverTest(options);
  return { app, stack, server, test, template: () => Template.fromStack(stack) };
}

const SCHEDULE = events.Schedule.rate(Duration.days(7));

describe('HA-17: the failover test', () => {
  test.each([
    ['an instance', RdsPostgres, ['rds:DescribeDBInstances', 'rds:RebootDBInstance'], ':db:orders', 'instance'],
    ['a cluster', AuroraPostgres, ['rds:DescribeDBClusters', 'rds:FailoverDBCluster'], ':cluster:orders', 'cluster'],
  ] as const)('may fail over %s and no other', (_what, Kind, actions, arn, kind) => {
    const { template } = make({}, {}, Kind);
    template().hasResourceProperties('AWS::IAM::ManagedPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Action: actions,
            Resource: { 'Fn::Join': ['', Match.arrayWith([Match.stringLikeRegexp(`${arn}$`)])] },
          }),
        ]),
      },
    });
    template().hasResourceProperties('AWS::Lambda::Function', {
      Timeout: 900,
      Environment: {
        Variables: Match.objectLike({ CDK_POSTGRES_FAILOVER_TARGET: JSON.stringify({ kind, identifier: 'orders' }) }),
      },
    });
  });

  test('runs on demand alone, and says how', () => {
    const { template } = make();
    template().resourcePropertiesCountIs('AWS::Events::Rule', { ScheduleExpression: Match.anyValue() }, 0);
    expect(JSON.stringify(template().findOutputs('*'))).toContain('aws lambda invoke');
  });

  test('a schedule in production is a finding', () => {
    expect(errorsOfFivePacks(make({ schedule: SCHEDULE }).app)).toEqual(['Test/Postgres HA-17']);
    const acknowledged = make({ schedule: SCHEDULE });
    acknowledged.server.acknowledge({ id: 'HA-17', reason: 'a chaos day every Tuesday, with the team on call' });
    expect(errorsOfFivePacks(acknowledged.app)).toEqual([]);
  });

  test('outside production it may have one', () => {
    const { template } = make({ schedule: SCHEDULE }, { profile: PostgresProfile.development(), multiAz: true });
    template().hasResourceProperties('AWS::Events::Rule', { ScheduleExpression: 'rate(7 days)' });
  });

  test('alarms when the outage is longer than the objective, when a write was lost, and when it failed', () => {
    const { template } = make();
    const alarm = (MetricName: string, Threshold: number) =>
      template().hasResourceProperties('AWS::CloudWatch::Alarm', { MetricName, Threshold, Namespace: 'CdkPostgres' });
    alarm('FailoverOutageMilliseconds', OBJECTIVES.rto.toMilliseconds());
    alarm('FailoverLostWrites', 0);
    alarm('FailoverTestFailed', 0);
    make({ maxOutage: Duration.minutes(2) })
      .template()
      .hasResourceProperties('AWS::CloudWatch::Alarm', {
        MetricName: 'FailoverOutageMilliseconds',
        Threshold: 120_000,
      });
  });

  test('no error in the five packs', () => expect(errorsOfFivePacks(make().app)).toEqual([]));
});
