import {
  CustomResource,
  Duration,
  Lazy,
  Stack,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_ec2 as ec2,
  aws_events as events,
  aws_events_targets as targets,
  aws_iam as iam,
  aws_secretsmanager as secretsmanager,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import {
  CLUSTER_GATE_RESOURCE_TYPE,
  CLUSTER_PARAMETERS_RESOURCE_TYPE,
  CLUSTER_SERVICE_TIMEOUT,
  CLUSTER_VARIABLE,
  ClusterGateProperties,
  ClusterMetric,
  ClusterParametersProperties,
  ClusterReference,
  METRIC_NAMESPACE,
  VOLUME_ALARM_PERCENT,
} from '../../contract';
import { ServerFunction } from '../state/server-function';
import {
  ClusterModel,
  dynamicConfiguration,
  ETCD_CLIENT_PORT,
  PATRONI_PORT,
  etcdHost,
  etcdName,
  memberHost,
  memberName,
  numbers,
} from './configuration';
import type { ClusterNetwork } from './network';
import type { ClusterContext } from './tasks';

/** How often the cluster is looked at. */
const EVERY = Duration.minutes(1);

/** In bytes: three quarters of the 2 GiB that etcd takes unless it is told otherwise. */
const ETCD_NEARLY_FULL = 1.5 * 1024 ** 3;

export interface ClusterOperationsProps {
  readonly context: ClusterContext;
  readonly server: Construct;
  readonly identity: string;
  readonly model: () => ClusterModel;
  readonly network: ClusterNetwork;
  readonly vpcSubnets?: ec2.SubnetSelection;
  readonly reserveConcurrency?: boolean;
  /** That proves to the members who asks. */
  readonly certificate: secretsmanager.ISecret;
  /** With the password of Patroni's REST API. */
  readonly restapi: secretsmanager.ISecret;
  /** What has to be there before it can ask. */
  readonly after: readonly IDependable[];
}

/** The function that waits between members, keeps Patroni's configuration, looks at the cluster each minute, and does what an operator asks for. */
export class ClusterOperations extends Construct {
  public readonly function: ServerFunction;
  private readonly ready: IDependable[];

  constructor(
    scope: Construct,
    id: string,
    private readonly props: ClusterOperationsProps,
  ) {
    super(scope, id);
    const { context, certificate, restapi } = props;
    this.function = new ServerFunction(this, 'Function', {
      duty: 'cluster',
      server: props.server,
      vpc: context.vpc,
      vpcSubnets: props.vpcSubnets,
      encryptionKey: context.encryptionKey,
      reserveConcurrency: props.reserveConcurrency,
      logRemovalPolicy: context.removalPolicy,
      timeout: Duration.minutes(15),
      // A gate that waits for long is asked again by Lambda.
      maxEventAge: Duration.hours(1),
      memorySize: 256,
      // A gate and a watch, or an operator's command.
      concurrency: 3,
      environment: {
        [CLUSTER_VARIABLE]: Lazy.string({ produce: () => Stack.of(this).toJsonString(this.reference()) }),
      },
      statements: [
        new iam.PolicyStatement({
          actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
          resources: [certificate.secretArn, restapi.secretArn],
        }),
      ],
    });
    props.network.letOperate(this.function);
    this.ready = [...this.function.ready, props.network, context.endpoints, ...props.after];
  }

  /** A resource that waits after a member until all that are there stream again. */
  public gate(id: string, through: number, deployed: string, after: readonly IDependable[]): CustomResource {
    const model = this.props.model();
    const properties: ClusterGateProperties = {
      Through: memberName(through),
      Members: numbers(model).map(memberName),
      Deployed: deployed,
    };
    const gate = new CustomResource(this, id, {
      resourceType: CLUSTER_GATE_RESOURCE_TYPE,
      serviceToken: this.function.function.functionArn,
      serviceTimeout: Duration.seconds(CLUSTER_SERVICE_TIMEOUT),
      properties: properties as unknown as Record<string, unknown>,
    });
    gate.node.addDependency(...this.ready, ...after);
    return gate;
  }

  /** A resource that keeps Patroni's dynamic configuration as it is declared, when all members are there. */
  public keepConfiguration(restarts: boolean, after: readonly IDependable[]): CustomResource {
    const { postgresql, slots, ...own } = dynamicConfiguration(this.props.model()) as DynamicConfiguration;
    const { parameters, ...ofPostgres } = postgresql;
    const text = (entries: readonly (readonly [string, unknown])[]) =>
      Object.fromEntries(entries.map(([key, value]) => [key, Stack.of(this).toJsonString(value)]));
    const properties: ClusterParametersProperties = {
      Parameters: parameters,
      Settings: {
        ...text(Object.entries(own)),
        ...text(Object.entries(ofPostgres).map(([key, value]) => [`postgresql.${key}`, value])),
        ...text(Object.entries(slots).map(([key, value]) => [`slots.${key}`, value])),
      },
      Restart: restarts ? 'ordered' : 'report',
    };
    const resource = new CustomResource(this, 'Parameters', {
      resourceType: CLUSTER_PARAMETERS_RESOURCE_TYPE,
      serviceToken: this.function.function.functionArn,
      serviceTimeout: Duration.seconds(CLUSTER_SERVICE_TIMEOUT),
      properties: properties as unknown as Record<string, unknown>,
    });
    resource.node.addDependency(...this.ready, ...after);
    return resource;
  }

  /** Looks each minute. */
  public watch(after: readonly IDependable[]): void {
    const rule = new events.Rule(this, 'Schedule', {
      description: `Looks at the members of the PostgreSQL server ${this.props.context.path}`.slice(0, 512),
      schedule: events.Schedule.rate(EVERY),
      // A look that was missed is worth nothing: the next one is newer.
      targets: [new targets.LambdaFunction(this.function.function, { retryAttempts: 0, maxEventAge: EVERY })],
    });
    rule.node.addDependency(...this.ready, ...after);
  }

  public metric(name: ClusterMetric, options: cloudwatch.MetricOptions = {}): cloudwatch.Metric {
    return new cloudwatch.Metric({
      namespace: METRIC_NAMESPACE,
      metricName: name,
      dimensionsMap: { Server: this.props.identity },
      statistic: 'Maximum',
      period: EVERY,
      ...options,
    });
  }

  /** The alarms of a cluster (HA-20, OPS-4, BK-9). */
  public alarms(topic: sns.ITopic, options: { readonly archiveTimeout: Duration }): cloudwatch.Alarm[] {
    const model = this.props.model();
    const { path } = this.props.context;
    const archived = Math.max(300, 5 * options.archiveTimeout.toSeconds());
    const wanted: readonly Watched[] = [
      {
        metric: 'WatchFailed',
        above: 0,
        minutes: 5,
        missing: true,
        says: 'nobody could look at the cluster for five minutes',
      },
      { metric: 'LeaderMissing', above: 0, minutes: 2, says: 'no member leads: nothing can be written' },
      { metric: 'LeaderChanges', above: 0, minutes: 1, says: 'another member leads than before' },
      {
        metric: 'MembersMissing',
        above: 0,
        minutes: 5,
        says: 'a member does not stream: one more loss stops the writes',
      },
      ...(model.synchronous
        ? [
            {
              metric: 'SynchronousStandbyMissing',
              above: 0,
              minutes: 1,
              says: 'commits wait for a standby, and there is none',
            } as const,
          ]
        : []),
      {
        metric: 'ReplayLagBytes',
        above: 1024 ** 3,
        minutes: 10,
        says: 'a member is more than 1 GiB behind the leader',
      },
      { metric: 'MembersPendingRestart', above: 0, minutes: 60, says: 'a parameter waits for a restart of a member' },
      { metric: 'Paused', above: 0, minutes: 60, says: 'Patroni is paused for an hour, and does not fail over' },
      {
        metric: 'EtcdMembersUnhealthy',
        above: 0,
        minutes: 5,
        says: 'a member of etcd is away: one more loss, and nobody can fail over',
      },
      {
        metric: 'EtcdDatabaseBytes',
        above: ETCD_NEARLY_FULL,
        minutes: 5,
        says: 'the database of etcd is three quarters full; a full one takes no writes, and nobody keeps the lead',
      },
      {
        metric: 'MemberWatchesMissing',
        above: 0,
        minutes: 15,
        says: 'the watch beside a member does not answer: its volume and its archive are not seen',
      },
      {
        metric: 'VolumeUsedPercent',
        above: VOLUME_ALARM_PERCENT,
        minutes: 3,
        says: `a volume is more than ${VOLUME_ALARM_PERCENT} percent full: make storage larger`,
      },
      {
        metric: 'VolumeSwitchovers',
        above: 0,
        minutes: 1,
        says: 'the volume of the leader was nearly full, and another member leads',
      },
      {
        metric: 'ArchiveFailures',
        above: 0,
        minutes: 3,
        says: 'the write-ahead log is not archived: what is written now could not be restored',
      },
      {
        metric: 'WalReadySeconds',
        above: archived,
        minutes: 3,
        says: `a segment of the write-ahead log waits for more than ${archived} seconds to be archived`,
      },
      {
        metric: 'FullBackupSeconds',
        above: 8 * 86_400,
        minutes: 30,
        says: 'the last full backup is more than eight days old',
      },
      { metric: 'BackupSeconds', above: 2 * 86_400, minutes: 30, says: 'the last backup is more than two days old' },
      { metric: 'BackupsUnreadable', above: 0, minutes: 15, says: 'pgBackRest cannot read its repository' },
    ];
    return wanted.map(({ metric, above, minutes, missing, says }) => {
      const alarm = new cloudwatch.Alarm(this, `${metric}Alarm`, {
        alarmDescription: `${path}: ${says}`,
        metric: this.metric(metric),
        threshold: above,
        comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluationPeriods: minutes,
        treatMissingData: missing ? cloudwatch.TreatMissingData.BREACHING : cloudwatch.TreatMissingData.IGNORE,
      });
      alarm.addAlarmAction(new actions.SnsAction(topic));
      alarm.addOkAction(new actions.SnsAction(topic));
      return alarm;
    });
  }

  private reference(): ClusterReference {
    const model = this.props.model();
    return {
      Identity: this.props.identity,
      Scope: model.name,
      Members: numbers(model).map((n) => `${memberName(n)}=${memberHost(model, n)}:${PATRONI_PORT}`),
      Etcd: numbers(model).map((n) => `${etcdName(n)}=${etcdHost(model, n)}:${ETCD_CLIENT_PORT}`),
      Synchronous: model.synchronous,
      CertificateSecret: this.props.certificate.secretArn,
      RestApiSecret: this.props.restapi.secretArn,
    };
  }
}

/** As far as this file takes it apart. */
interface DynamicConfiguration {
  readonly [key: string]: unknown;
  readonly postgresql: { readonly [key: string]: unknown; readonly parameters: Readonly<Record<string, string>> };
  readonly slots: Readonly<Record<string, unknown>>;
}

interface Watched {
  readonly metric: ClusterMetric;
  readonly above: number;
  /** So many in a row. */
  readonly minutes: number;
  /** Whether it is wrong when nothing is measured: of one alarm alone. */
  readonly missing?: boolean;
  readonly says: string;
}
