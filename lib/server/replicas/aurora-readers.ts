import {
  Duration,
  Resource,
  Stack,
  aws_applicationautoscaling as scaling,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_ec2 as ec2,
  aws_rds as rds,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import type { AuroraPostgres } from '../aurora-postgres';
import { insightRetention } from '../insights';
import { parameterGroup } from '../managed-server';
import type { IPostgresServer } from '../postgres-server';
import { requireInstanceType } from '../required';
import { IReaderEndpoint } from './reader-endpoint';

/** How `AuroraPostgres.addReaders()` makes nodes for one purpose. */
export interface AuroraReadersOptions {
  /** What they are for, such as `reports`. It stands in the alarm (HA-13). */
  readonly purpose: string;

  /**
   * How many.
   *
   * @default 1
   */
  readonly count?: number;

  /**
   * Their class.
   *
   * @default - that of the server
   */
  readonly instanceType?: ec2.InstanceType;

  /**
   * Whether they stand in line to become the writer as the server's own readers do (promotion tier 1). Otherwise they are the last that
   * Aurora takes (tier 15), so that who reads reports does not find the writer there.
   *
   * @default false
   */
  readonly failover?: boolean;

  /**
   * Parameters of these nodes that differ from those of the server's nodes.
   *
   * @default - as the server's nodes
   */
  readonly instanceParameters?: { [name: string]: string };

  /**
   * How far they may fall behind before the alarm (HA-13). Aurora's readers share the writer's storage: what lags is their memory, by
   * milliseconds as a rule.
   *
   * @default Duration.seconds(2)
   */
  readonly maxLag?: Duration;
}

/**
 * Nodes of an Aurora cluster for one purpose, with an endpoint of their own, which no other node answers (HA-13).
 */
export class AuroraReaders extends Resource implements IReaderEndpoint {
  public readonly server: IPostgresServer;
  public readonly host: string;
  public readonly port: number;
  public readonly identity: string;
  public readonly connections: ec2.Connections;

  /** The names of the nodes in RDS. */
  public readonly instanceIdentifiers: string[];

  /**
   * Makes the nodes and their endpoint; `AuroraPostgres.addReaders()` calls it.
   *
   * @param scope the server
   * @param id their name in it
   * @param source the server
   * @param options what they are for
   * @internal
   */
  public static _make(
    scope: Construct,
    id: string,
    source: AuroraPostgres,
    options: AuroraReadersOptions,
  ): AuroraReaders {
    return new AuroraReaders(scope, id, source, options);
  }

  /** As the template writes them. @internal */
  public readonly _names: string[] = [];

  private constructor(scope: Construct, id: string, source: AuroraPostgres, options: AuroraReadersOptions) {
    super(scope, id);
    const path = this.node.path;
    const settings = source._settings;
    const count = options.count ?? 1;
    if (options.purpose.trim() === '') throw new Error(`${path}: purpose is empty; say what the readers are for`);
    if (!Number.isInteger(count) || count < 1)
      throw new Error(`${path}: count is ${count}; write a whole number from 1 on`);
    source._requireRoomFor(path, count);
    if (source._serverlessV2 && options.instanceType) {
      throw new Error(`${path}: instanceType is set, and the nodes of the server are serverless; leave it out`);
    }
    const maxLag = options.maxLag ?? Duration.seconds(2);
    const instanceType = requireInstanceType(path, options.instanceType ?? source.instanceType);
    const own =
      instanceType.toString() !== source.instanceType.toString() || options.instanceParameters !== undefined
        ? parameterGroup(this, 'InstanceParameters', {
            engine: source.cluster.engine!,
            removalPolicy: settings.companions,
            parameters: source._instanceParameters(this, instanceType, options.instanceParameters),
          })
        : undefined;

    const nodes = Array.from({ length: count }, (_, index) => {
      const common = {
        instanceIdentifier: `${settings.identifier}-${id.toLowerCase().replace(/[^a-z0-9]+/g, '')}-${index + 1}`,
        publiclyAccessible: false,
        autoMinorVersionUpgrade: settings.autoMinorVersionUpgrade,
        caCertificate: rds.CaCertificate.RDS_CA_RSA2048_G1,
        preferredMaintenanceWindow: settings.windows.maintenance,
        parameterGroup: own ?? source._nodeGroup,
        promotionTier: options.failover ? 1 : 15,
        enablePerformanceInsights: true,
        performanceInsightEncryptionKey: source.encryptionKey,
        performanceInsightRetention: insightRetention(source._insights),
      };
      this._names.push(common.instanceIdentifier);
      const name = `Node${index + 1}`;
      const node = source._serverlessV2
        ? rds.ClusterInstance.serverlessV2(name, { ...common, scaleWithWriter: false })
        : rds.ClusterInstance.provisioned(name, { ...common, instanceType });
      return node.bind(this, source.cluster, {
        monitoringInterval: settings.monitoringInterval,
        monitoringRole: settings.monitoringRole,
        removalPolicy: settings.removalPolicy,
        subnetGroup: settings.subnetGroup,
        promotionTier: common.promotionTier,
      });
    });
    const resources = this.node
      .findAll()
      .filter((child): child is rds.CfnDBInstance => child instanceof rds.CfnDBInstance);
    // The writer is the first node: it is there before any reader is.
    for (const resource of resources) {
      resource.addDependency(source._writer);
      source._guardAlso(resource);
    }
    const endpoint = new rds.CfnDBClusterEndpoint(this, 'Endpoint', {
      dbClusterEndpointIdentifier: `${settings.identifier}-${id.toLowerCase().replace(/[^a-z0-9]+/g, '')}`.slice(0, 63),
      dbClusterIdentifier: source.cluster.clusterIdentifier,
      customEndpointType: 'READER',
      staticMembers: nodes.map((node) => node.instanceIdentifier),
    });
    this.instanceIdentifiers = nodes.map((node) => node.instanceIdentifier);
    this.server = source;
    this.host = endpoint.attrEndpoint;
    this.port = source.port;
    this.identity = source.identity;
    this.connections = source.connections;
    this.addLagAlarms(source, options.purpose, maxLag);
  }

  /** The region in which they stand. */
  public get region(): string {
    return Stack.of(this).region;
  }

  private addLagAlarms(source: AuroraPostgres, purpose: string, maxLag: Duration): void {
    const topic = source.alarmTopic;
    if (!topic) return;
    this.instanceIdentifiers.forEach((identifier, index) => {
      const alarm = new cloudwatch.Alarm(this, `ReplicaLagAlarm${index + 1}`, {
        alarmDescription: `Reader ${index + 1} of ${this.node.path} (${purpose}) is more than ${maxLag.toHumanString()} behind the writer`,
        metric: new cloudwatch.Metric({
          namespace: 'AWS/RDS',
          metricName: 'AuroraReplicaLag',
          dimensionsMap: { DBInstanceIdentifier: identifier },
          statistic: 'Maximum',
          period: Duration.minutes(1),
        }),
        threshold: maxLag.toMilliseconds(),
        comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
        evaluationPeriods: 3,
        // The node that has become the writer has no lag.
        treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
      });
      alarm.addAlarmAction(new actions.SnsAction(topic));
      alarm.addOkAction(new actions.SnsAction(topic));
    });
  }
}

/** How `AuroraPostgres.scaleReaders()` adds and removes readers. */
export interface ReaderScalingOptions {
  /** The most readers, those that the app declares among them. At most 15. */
  readonly maxReaders: number;

  /**
   * The load of the processors, averaged over the readers, that is kept.
   *
   * @default 60
   */
  readonly targetCpuPercent?: number;

  /**
   * How long after a reader was added or removed nothing further is done. A new one takes minutes to come and longer to warm up.
   *
   * @default Duration.minutes(10)
   */
  readonly cooldown?: Duration;
}

/** Readers that come and go with the load. What the app declares stays. */
export function scaleReaders(source: AuroraPostgres, declared: () => number, options: ReaderScalingOptions): void {
  const path = source.node.path;
  const { maxReaders, targetCpuPercent = 60, cooldown = Duration.minutes(10) } = options;
  if (!Number.isInteger(maxReaders) || maxReaders < 1 || maxReaders > 15) {
    throw new Error(`${path}: scaleReaders({ maxReaders: ${maxReaders} }): a cluster has 1 to 15 readers`);
  }
  if (targetCpuPercent < 10 || targetCpuPercent > 90) {
    throw new Error(`${path}: scaleReaders({ targetCpuPercent: ${targetCpuPercent} }): write 10 to 90`);
  }
  source.node.addValidation({
    validate: () =>
      declared() < maxReaders
        ? []
        : [
            `${path}: scaleReaders({ maxReaders: ${maxReaders} }) leaves nothing to scale; the app declares ${declared()} readers`,
          ],
  });
  const target = new scaling.ScalableTarget(source, 'ReaderScaling', {
    serviceNamespace: scaling.ServiceNamespace.RDS,
    scalableDimension: 'rds:cluster:ReadReplicaCount',
    resourceId: `cluster:${source.cluster.clusterIdentifier}`,
    minCapacity: Math.max(1, declared()),
    maxCapacity: maxReaders,
  });
  target.scaleToTrackMetric('Cpu', {
    predefinedMetric: scaling.PredefinedMetric.RDS_READER_AVERAGE_CPU_UTILIZATION,
    targetValue: targetCpuPercent,
    scaleInCooldown: cooldown,
    scaleOutCooldown: cooldown,
  });
  target.node.addDependency(source._writer);
}
