import {
  ArnFormat,
  CfnOutput,
  Lazy,
  RemovalPolicy,
  Stack,
  Validations,
  aws_iam as iam,
  aws_kms as kms,
  aws_logs as logs,
  aws_stepfunctions as sfn,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';

/** What is rebooted, and in which order. */
export interface RebootTarget {
  readonly kind: 'instance' | 'cluster';
  readonly identifier: string;
  /** Names of instances that are rebooted before it: replicas of an instance. A cluster tells its own. */
  readonly readers: () => string[];
  /** Whether an instance has a standby that takes over. */
  readonly standby: boolean;
  /** The names that nodes of the cluster have. */
  readonly nodeNames: () => string[];
}

const STATUS_WAIT_SECONDS = 20;

/** Nobody waits for longer than this for one node; then the run fails and says at which. */
const TIMEOUT_SECONDS = 4 * 3600;

/**
 * A state machine that makes static parameters take effect, when somebody starts it (LIB-2): the readers one after another, then the failover to a
 * rebooted one, then the node that was the writer. CloudFormation changes such parameters and never reboots.
 */
export class ControlledReboot extends Construct {
  /** The ARN of the state machine. */
  public readonly stateMachineArn: string;

  /** @internal */
  public static _make(
    scope: Construct,
    target: RebootTarget,
    more: { readonly encryptionKey: kms.IKey; readonly removalPolicy: RemovalPolicy },
  ): ControlledReboot {
    return new ControlledReboot(scope, target, more);
  }

  private constructor(
    scope: Construct,
    target: RebootTarget,
    more: { readonly encryptionKey: kms.IKey; readonly removalPolicy: RemovalPolicy },
  ) {
    super(scope, 'ControlledReboot');
    const stack = Stack.of(this);
    const arn = (resource: string, name: string) =>
      stack.formatArn({ service: 'rds', resource, resourceName: name, arnFormat: ArnFormat.COLON_RESOURCE_NAME });
    const role = new iam.Role(this, 'Role', {
      assumedBy: new iam.ServicePrincipal('states.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': stack.account } },
      }),
    });
    const instances = () => (target.kind === 'cluster' ? target.nodeNames() : [...target.readers(), target.identifier]);
    const policy = new iam.CfnManagedPolicy(this, 'Policy', {
      roles: [role.roleName],
      policyDocument: Lazy.any({
        produce: () =>
          new iam.PolicyDocument({
            statements: [
              new iam.PolicyStatement({
                actions: ['rds:DescribeDBInstances', 'rds:RebootDBInstance'],
                resources: instances().map((name) => arn('db', name)),
              }),
              ...(target.kind === 'cluster'
                ? [
                    new iam.PolicyStatement({
                      actions: ['rds:DescribeDBClusters', 'rds:FailoverDBCluster'],
                      resources: [arn('cluster', target.identifier)],
                    }),
                  ]
                : []),
            ],
          }).toJSON(),
      }),
    });
    const serviceWide = new iam.CfnManagedPolicy(this, 'LogPolicy', {
      roles: [role.roleName],
      policyDocument: new iam.PolicyDocument({
        statements: [
          new iam.PolicyStatement({
            actions: [
              'logs:CreateLogDelivery',
              'logs:DeleteLogDelivery',
              'logs:DescribeLogGroups',
              'logs:DescribeResourcePolicies',
              'logs:GetLogDelivery',
              'logs:ListLogDeliveries',
              'logs:PutResourcePolicy',
              'logs:UpdateLogDelivery',
              'xray:GetSamplingRules',
              'xray:GetSamplingTargets',
              'xray:PutTelemetryRecords',
              'xray:PutTraceSegments',
            ],
            resources: ['*'],
          }),
        ],
      }).toJSON(),
    });
    Validations.of(serviceWide).acknowledge({
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'Step Functions delivers its log and its traces with these calls under the role of the state machine, and none of them has a resource ' +
        'level. The policy holds nothing else.',
    });
    const logGroup = new logs.LogGroup(this, 'Logs', {
      logGroupName: `/aws/vendedlogs/states/${target.identifier}-reboot`,
      encryptionKey: more.encryptionKey,
      retention: logs.RetentionDays.ONE_YEAR,
      removalPolicy: more.removalPolicy,
    });
    const machine = new sfn.CfnStateMachine(this, 'Resource', {
      roleArn: role.roleArn,
      definitionString: Lazy.string({ produce: () => stack.toJsonString(definition(target)) }),
      loggingConfiguration: {
        destinations: [{ cloudWatchLogsLogGroup: { logGroupArn: logGroup.logGroupArn } }],
        includeExecutionData: true,
        level: 'ALL',
      },
      tracingConfiguration: { enabled: true },
    });
    machine.node.addDependency(policy, serviceWide);
    this.stateMachineArn = machine.attrArn;
    new CfnOutput(this, 'Command', {
      description: `Reboots ${scope.node.path}, readers first, so that static parameters take effect`,
      value: `aws stepfunctions start-execution --state-machine-arn ${this.stateMachineArn}`,
    });
  }
}

type State = Record<string, unknown>;

/** In the language of Step Functions. Each node is rebooted when it is available, and the next one waits until it is again. */
export function definition(target: RebootTarget): object {
  const reboot = (path: string) => ({
    Type: 'Task',
    Resource: 'arn:aws:states:::aws-sdk:rds:rebootDBInstance',
    Parameters: { 'DbInstanceIdentifier.$': path },
    ResultPath: null,
    Retry: RETRY,
  });
  const eachReader: State = {
    Type: 'Map',
    MaxConcurrency: 1,
    ItemProcessor: {
      ProcessorConfig: { Mode: 'INLINE' },
      StartAt: 'RebootReader',
      States: {
        RebootReader: { ...reboot('$.name'), Next: 'WaitForReader' },
        ...untilAvailable('Reader', '$.name'),
      },
    },
    ResultPath: null,
  };
  if (target.kind === 'instance') {
    return {
      Comment: 'Replicas first; with a standby the primary fails over to it, which has the parameters then',
      TimeoutSeconds: TIMEOUT_SECONDS,
      StartAt: 'Names',
      States: {
        Names: {
          Type: 'Pass',
          Result: { readers: target.readers().map((name) => ({ name })), writer: target.identifier },
          Next: 'Readers',
        },
        Readers: { ...eachReader, ItemsPath: '$.readers', Next: 'RebootWriter' },
        RebootWriter: {
          ...reboot('$.writer'),
          Parameters: { 'DbInstanceIdentifier.$': '$.writer', ForceFailover: target.standby },
          Next: 'WaitForWriter',
        },
        ...untilAvailable('Writer', '$.writer'),
      },
    };
  }
  return {
    Comment: 'Readers first, then the failover to one of them, then the node that was the writer',
    TimeoutSeconds: TIMEOUT_SECONDS,
    StartAt: 'Cluster',
    States: {
      Cluster: {
        Type: 'Task',
        Resource: 'arn:aws:states:::aws-sdk:rds:describeDBClusters',
        Parameters: { DbClusterIdentifier: target.identifier },
        ResultSelector: {
          'readers.$': '$.DbClusters[0].DbClusterMembers[?(@.IsClusterWriter == false)]',
          'writers.$': '$.DbClusters[0].DbClusterMembers[?(@.IsClusterWriter == true)].DbInstanceIdentifier',
        },
        Retry: RETRY,
        Next: 'Readers',
      },
      Readers: {
        ...eachReader,
        ItemsPath: '$.readers',
        ItemSelector: { 'name.$': '$$.Map.Item.Value.DbInstanceIdentifier' },
        Next: 'AnyReader',
      },
      AnyReader: {
        Type: 'Choice',
        Choices: [{ Variable: '$.readers[0]', IsPresent: true, Next: 'FailOver' }],
        Default: 'RebootWriter',
      },
      FailOver: {
        Type: 'Task',
        Resource: 'arn:aws:states:::aws-sdk:rds:failoverDBCluster',
        Parameters: { DbClusterIdentifier: target.identifier },
        ResultPath: null,
        Retry: RETRY,
        Next: 'WaitForFailover',
      },
      WaitForFailover: { Type: 'Wait', Seconds: 60, Next: 'SeeFailover' },
      SeeFailover: {
        Type: 'Task',
        Resource: 'arn:aws:states:::aws-sdk:rds:describeDBClusters',
        Parameters: { DbClusterIdentifier: target.identifier },
        ResultSelector: { 'status.$': '$.DbClusters[0].Status' },
        ResultPath: '$.cluster',
        Retry: RETRY,
        Next: 'HasFailedOver',
      },
      HasFailedOver: {
        Type: 'Choice',
        Choices: [{ Variable: '$.cluster.status', StringEquals: 'available', Next: 'RebootWriter' }],
        Default: 'WaitForFailover',
      },
      RebootWriter: { ...reboot('$.writers[0]'), Next: 'WaitForWriter' },
      ...untilAvailable('Writer', '$.writers[0]'),
    },
  };
}

/** A node that is still being changed is tried again. */
const RETRY = [
  {
    ErrorEquals: ['Rds.InvalidDbInstanceStateException', 'Rds.InvalidDbClusterStateException'],
    IntervalSeconds: 30,
    MaxAttempts: 20,
    BackoffRate: 1,
  },
  { ErrorEquals: ['Rds.SdkClientException', 'States.TaskFailed'], IntervalSeconds: 5, MaxAttempts: 3, BackoffRate: 2 },
];

function untilAvailable(name: string, path: string): Record<string, State> {
  return {
    [`WaitFor${name}`]: { Type: 'Wait', Seconds: STATUS_WAIT_SECONDS, Next: `See${name}` },
    [`See${name}`]: {
      Type: 'Task',
      Resource: 'arn:aws:states:::aws-sdk:rds:describeDBInstances',
      Parameters: { 'DbInstanceIdentifier.$': path },
      ResultSelector: { 'status.$': '$.DbInstances[0].DbInstanceStatus' },
      ResultPath: '$.node',
      Retry: RETRY,
      Next: `Is${name}Available`,
    },
    [`Is${name}Available`]: {
      Type: 'Choice',
      Choices: [{ Variable: '$.node.status', StringEquals: 'available', Next: `${name}Done` }],
      Default: `WaitFor${name}`,
    },
    [`${name}Done`]: { Type: 'Succeed' },
  };
}
