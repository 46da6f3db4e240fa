import { App, Duration, Stack, aws_sns as sns } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Authentication, AuroraPostgres, PostgresProfile, PostgresVersion } from '../../../lib';
import { METRIC_NAMESPACE } from '../../../lib/contract';
import { DriftDetectionOptions } from '../../../lib/server/drift-detection-options';
import { DeclaredServer, newStack } from '../../database/declared-server';
import { cleanStack, OBJECTIVES, quiet } from '../support';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('./fake-bundles').fakeBundle(),
}));

quiet();

function detected(options?: DriftDetectionOptions): { stack: Stack; server: DeclaredServer; template: Template } {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  server.addDatabase('app').addLoginRole('api');
  server.addDriftDetection(options);
  return { stack, server, template: Template.fromStack(stack) };
}

const driftFunction = (template: Template) =>
  Object.entries(template.findResources('AWS::Lambda::Function')).find(([id]) => id.includes('DriftDetection'))!;

test('looks every six hours, after the declaration is applied, and changes nothing', () => {
  const { template } = detected();
  template.hasResource('AWS::Events::Rule', {
    Properties: {
      ScheduleExpression: 'rate(6 hours)',
      State: 'ENABLED',
      Targets: [Match.objectLike({ Arn: { 'Fn::GetAtt': [driftFunction(template)[0], 'Arn'] } })],
    },
    DependsOn: Match.arrayWith([Match.stringLikeRegexp('^ServerState[0-9A-F]{8}$')]),
  });
  template.hasResourceProperties('AWS::Lambda::Permission', { Principal: 'events.amazonaws.com' });
  const { Variables } = driftFunction(template)[1].Properties.Environment;
  expect(Variables).toMatchObject({ CDK_POSTGRES_STATE: 'Test', CDK_POSTGRES_DRIFT: 'report' });
  expect(JSON.stringify(Variables.CDK_POSTGRES_SERVER)).toContain('writer.example');
});

test('may read the secret of the administrator and no other, and write none', () => {
  const { template } = detected();
  const [[, policy]] = Object.entries(template.findResources('AWS::IAM::ManagedPolicy')).filter(([id]) =>
    /DriftDetectionFunctionPolicy/.test(id),
  );
  const statements = policy.Properties.PolicyDocument.Statement as { Action: string | string[]; Resource: unknown }[];
  const actions = statements.flatMap(({ Action }) => Action).filter((action) => action.startsWith('secretsmanager:'));
  expect(actions.sort()).toEqual(['secretsmanager:DescribeSecret', 'secretsmanager:GetSecretValue']);
  const secrets = JSON.stringify(template.findResources('AWS::SecretsManager::ResourcePolicy'));
  expect(secrets).toContain('StateApply');
  expect(secrets).not.toContain('DriftDetection');
});

test('alarms on drift, and when nobody has looked for two intervals', () => {
  const { template } = detected({ every: Duration.hours(2) });
  const metric = {
    Namespace: METRIC_NAMESPACE,
    MetricName: 'Drift',
    Period: 7200,
    Dimensions: [
      { Name: 'Server', Value: 'cluster-ABC' },
      { Name: 'State', Value: 'Test' },
    ],
    AlarmActions: [{ Ref: Match.stringLikeRegexp('^ServerAlarmTopic') }],
    OKActions: [{ Ref: Match.stringLikeRegexp('^ServerAlarmTopic') }],
  };
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    ...metric,
    Statistic: 'Maximum',
    Threshold: 0,
    ComparisonOperator: 'GreaterThanThreshold',
    TreatMissingData: 'ignore',
  });
  template.hasResourceProperties('AWS::CloudWatch::Alarm', {
    ...metric,
    Statistic: 'SampleCount',
    Threshold: 1,
    ComparisonOperator: 'LessThanThreshold',
    EvaluationPeriods: 2,
    TreatMissingData: 'breaching',
  });
});

test('alarms where it is told to, and on a managed server where its other alarms go', () => {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  server.addDatabase('app').addLoginRole('api', { authentication: Authentication.iam() });
  server.addDriftDetection({ alarmTopic: new sns.Topic(stack, 'Mine') });
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::SNS::Topic', 1);
  template.allResourcesProperties('AWS::CloudWatch::Alarm', {
    AlarmActions: [{ Ref: Match.stringLikeRegexp('^Mine') }],
  });
});

test('brings back what is missing where it is told to', () => {
  const { template } = detected({ enforce: true });
  expect(driftFunction(template)[1].Properties.Environment.Variables.CDK_POSTGRES_DRIFT).toBe('enforce');
});

test.each([
  [Duration.minutes(90), /every is 1 hour 30 minutes; expected 1 to 72 whole hours/],
  [Duration.days(4), /every is 4 days; expected 1 to 72 whole hours/],
])('an interval of %s is refused', (every, message) => {
  expect(() => detected({ every })).toThrow(message);
});

test('is refused where nothing is declared', () => {
  const stack = newStack();
  new DeclaredServer(stack, 'Server').addDriftDetection();
  expect(() => (stack.node.root as App).synth()).toThrow(/addDriftDetection\(\) has nothing to look at/);
});

describe('on a server that pauses', () => {
  const pausing = (minCapacity: number) => {
    const { stack, vpc } = cleanStack();
    const server = new AuroraPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V17,
      objectives: OBJECTIVES,
      profile: PostgresProfile.development(),
      serverlessV2: { minCapacity, maxCapacity: 4 },
    });
    server.addDatabase('app');
    server.addDriftDetection({ every: Duration.hours(1) });
    return stack;
  };

  test('says that the schedule keeps it awake', () => {
    Annotations.fromStack(pausing(0)).hasWarning(
      '/Test/Postgres',
      Match.stringLikeRegexp('pauses when it is idle, and addDriftDetection\\(\\) connects to it every 1 hour'),
    );
  });

  test('says nothing where it does not pause', () => {
    Annotations.fromStack(pausing(0.5)).hasNoWarning(
      '/Test/Postgres',
      Match.stringLikeRegexp('pauses when it is idle'),
    );
  });
});
