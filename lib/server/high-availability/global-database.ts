import {
  Duration,
  Resource,
  Stack,
  Token,
  Validations,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_rds as rds,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { FindingAcknowledgement } from '../../compliance';
import { serverAlarmTopic } from '../alarm-topic';
import type { AuroraPostgres } from '../aurora-postgres';
import { serverKey } from '../encryption-key';
import { DeployGuard } from '../guard';
import { exportedLogGroups } from '../log-groups';
import { serverIdentifier } from '../identifier';
import { parameterGroup, refusePublicSubnets } from '../managed-server';
import { monitoringRole } from '../monitoring-role';
import type { IPostgresServer } from '../postgres-server';
import { acknowledgeOnCopy, copyConnections, copyGuard, requireOwnNetwork } from '../replicas/copy';
import { IReaderEndpoint, markHeadless } from '../replicas/reader-endpoint';
import { requireInstanceType } from '../required';
import { defaultSubnets } from '../state/vpc-services';

/** How `AuroraPostgres.addGlobalDatabase()` makes a global database of the cluster. */
export interface GlobalDatabaseOptions {
  /**
   * Its name: lower-case letters, digits and single hyphens, at most 50 characters.
   *
   * @default - the cluster's, followed by `-global`
   */
  readonly identifier?: string;

  /**
   * How far the best secondary may fall behind before Aurora holds back commits on the primary (`rds.global_db_rpo`), at least 20 seconds. It
   * bounds what a failover to another region loses, at the price that commits wait while no secondary keeps up.
   *
   * @default - commits do not wait for other regions
   */
  readonly rpo?: Duration;
}

/** An Aurora cluster with copies in other regions (HA-18). Its primary writes, each secondary reads, or waits without a node. */
export class GlobalDatabase extends Resource {
  /** Its name in RDS. */
  public readonly identifier: string;

  /** The cluster that was the primary when it was made. A switchover makes another one the primary. */
  public readonly primary: AuroraPostgres;

  /** @internal */
  public static _make(primary: AuroraPostgres, id: string, options: GlobalDatabaseOptions): GlobalDatabase {
    return new GlobalDatabase(primary, id, primary, options);
  }

  private constructor(scope: Construct, id: string, primary: AuroraPostgres, options: GlobalDatabaseOptions) {
    super(scope, id);
    const path = this.node.path;
    this.primary = primary;
    this.identifier = options.identifier ?? `${primary._settings.identifier.slice(0, 42)}-global`;
    if (!/^[a-z](-?[a-z0-9])*$/.test(this.identifier) || this.identifier.length > 50) {
      throw new Error(
        `${path}: identifier '${this.identifier}' must start with a letter and have at most 50 lower-case letters, digits and single hyphens`,
      );
    }
    refuseBurstable(path, primary.instanceType, primary._serverlessV2 !== undefined);
    if (options.rpo) {
      const seconds = options.rpo.toSeconds();
      if (seconds < 20) throw new Error(`${path}: rpo is ${seconds} seconds; Aurora takes 20 or more`);
      primary._clusterGroup.addParameter('rds.global_db_rpo', String(seconds));
    }
    new rds.CfnGlobalCluster(this, 'Resource', {
      globalClusterIdentifier: this.identifier,
      sourceDbClusterIdentifier: primary.cluster.clusterIdentifier,
      deletionProtection: primary._settings.deletionProtection,
    }).applyRemovalPolicy(primary._settings.removalPolicy);
  }
}

/** Properties of `GlobalSecondary`. */
export interface GlobalSecondaryProps {
  /** The global database. */
  readonly globalDatabase: GlobalDatabase;

  /** A network in the region of this stack. */
  readonly vpc: ec2.IVpc;

  /**
   * The subnets.
   *
   * @default - the isolated subnets of the network, or its private ones where it has none isolated
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /**
   * Nodes. With 0 the secondary is headless: its storage is kept up to date for the price of storage alone, and a failover to it first takes
   * the time in which a node is made.
   *
   * @default 1
   */
  readonly readers?: number;

  /**
   * The class of the nodes. One that takes over writes is as large as the primary's.
   *
   * @default - that of the primary
   */
  readonly instanceType?: ec2.InstanceType;

  /**
   * How far it may fall behind before the alarm (HA-13).
   *
   * @default Duration.seconds(30)
   */
  readonly maxLag?: Duration;

  /**
   * The customer key of its storage (BK-14).
   *
   * @default - a key of its own with yearly rotation, kept when the stack goes
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * Its name in RDS.
   *
   * @default - made from the construct's path
   */
  readonly identifier?: string;

  /**
   * Where the alarm on its lag goes.
   *
   * @default - an encrypted topic of its own. None in the development profile
   */
  readonly alarmTopic?: sns.ITopic;
}

/** The copy of a global database in another region (HA-18): read-only until a switchover or failover makes it the primary. */
export class GlobalSecondary extends Resource implements IReaderEndpoint {
  /** The cluster. */
  public readonly cluster: rds.CfnDBCluster;
  public readonly server: IPostgresServer;
  public readonly host: string;
  public readonly port: number;
  public readonly identity: string;
  public readonly connections: ec2.Connections;

  /** The customer key of its storage. */
  public readonly encryptionKey: kms.IKey;

  private readonly guard?: DeployGuard;

  /**
   * Makes the secondary, in a stack of its region.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: GlobalSecondaryProps) {
    super(scope, id);
    const path = this.node.path;
    const { globalDatabase } = props;
    const primary = globalDatabase.primary;
    const settings = primary._settings;
    const production = primary.profile.isProduction;
    const readers = props.readers ?? 1;
    const instanceType = requireInstanceType(path, props.instanceType ?? primary.instanceType);
    requireOtherRegion(this, primary);
    requireSameAccount(this, primary);
    requireOwnNetwork(this, props.vpc);
    if (!Number.isInteger(readers) || readers < 0 || readers > 16) {
      throw new Error(`${path}: readers is ${readers}; a secondary has 0 to 16 whole nodes`);
    }
    refuseBurstable(path, instanceType, primary._serverlessV2 !== undefined);
    const maxLag = props.maxLag ?? Duration.seconds(30);
    const vpcSubnets = props.vpcSubnets ?? defaultSubnets(props.vpc);
    refusePublicSubnets(path, props.vpc, vpcSubnets);
    this.server = primary;
    if (readers === 0) markHeadless(this);
    this.port = primary.port;
    this.encryptionKey = serverKey(this, { given: props.encryptionKey, retain: production });
    this.connections = copyConnections(this, 'Aurora secondary', {
      vpc: props.vpc,
      port: this.port,
      removalPolicy: settings.companions,
    });
    const identifier = serverIdentifier(this, props.identifier);
    const subnets = new rds.SubnetGroup(this, 'Subnets', {
      description: `Subnets of the Aurora secondary ${path}`.slice(0, 255),
      vpc: props.vpc,
      vpcSubnets,
      removalPolicy: settings.companions,
    });
    const engine = primary.cluster.engine!;
    const group = (name: string, parameters: Record<string, string>) =>
      parameterGroup(this, name, { engine, removalPolicy: settings.companions, parameters });
    const logGroups = exportedLogGroups(this, {
      kind: 'cluster',
      identifier,
      types: ['postgresql'],
      retention: settings.logRetention,
      encryptionKey: this.encryptionKey,
      removalPolicy: settings.companions,
    });

    this.cluster = new rds.CfnDBCluster(this, 'Resource', {
      engine: 'aurora-postgresql',
      engineVersion: primary.version.fullVersion,
      globalClusterIdentifier: globalDatabase.identifier,
      dbClusterIdentifier: identifier,
      dbSubnetGroupName: subnets.subnetGroupName,
      vpcSecurityGroupIds: this.connections.securityGroups.map((group) => group.securityGroupId),
      port: this.port,
      enableIamDatabaseAuthentication: true,
      storageEncrypted: true,
      kmsKeyId: this.encryptionKey.keyArn,
      sourceRegion: Stack.of(primary).region,
      storageType:
        primary.cluster.node.defaultChild instanceof rds.CfnDBCluster
          ? primary.cluster.node.defaultChild.storageType
          : undefined,
      dbClusterParameterGroupName: group('Parameters', primary._clusterParameters(this)).bindToCluster({})
        .parameterGroupName,
      serverlessV2ScalingConfiguration: primary._serverlessV2 && {
        minCapacity: primary._serverlessV2.minCapacity,
        maxCapacity: primary._serverlessV2.maxCapacity,
      },
      backupRetentionPeriod: settings.pointInTimeRecovery.toDays(),
      preferredBackupWindow: settings.windows.backup,
      preferredMaintenanceWindow: settings.windows.maintenance,
      copyTagsToSnapshot: true,
      deletionProtection: settings.deletionProtection,
      engineLifecycleSupport: 'open-source-rds-extended-support-disabled',
      enableCloudwatchLogsExports: ['postgresql'],
    });
    this.cluster.applyRemovalPolicy(settings.removalPolicy);
    this.cluster.node.addDependency(...logGroups);
    this.host = this.cluster.attrReadEndpointAddress;
    this.identity = this.cluster.attrDbClusterResourceId;

    const interval = settings.monitoringInterval.toSeconds();
    const role = readers > 0 && interval > 0 ? monitoringRole(this, settings.companions) : undefined;
    const nodeGroup =
      readers > 0
        ? group('InstanceParameters', primary._instanceParameters(this, instanceType)).bindToInstance({})
            .parameterGroupName
        : undefined;
    const nodes = Array.from({ length: readers }, (_, index) => {
      const node = new rds.CfnDBInstance(this, `Node${index + 1}`, {
        engine: 'aurora-postgresql',
        dbClusterIdentifier: this.cluster.ref,
        dbInstanceIdentifier: `${identifier}-${index + 1}`,
        dbInstanceClass: primary._serverlessV2 ? 'db.serverless' : `db.${instanceType.toString()}`,
        dbParameterGroupName: nodeGroup,
        promotionTier: 1,
        publiclyAccessible: false,
        autoMinorVersionUpgrade: settings.autoMinorVersionUpgrade,
        caCertificateIdentifier: 'rds-ca-rsa2048-g1',
        preferredMaintenanceWindow: settings.windows.maintenance,
        enablePerformanceInsights: true,
        performanceInsightsKmsKeyId: this.encryptionKey.keyArn,
        performanceInsightsRetentionPeriod: 7,
        monitoringInterval: role && interval,
        monitoringRoleArn: role?.roleArn,
      });
      node.applyRemovalPolicy(settings.removalPolicy);
      return node;
    });

    Stack.of(this).addStackDependency(Stack.of(primary), `${path} follows ${primary.node.path}`);
    if (production) acknowledgeOfSecondary(this);
    this.guard = copyGuard(this, primary, { servers: [this.cluster, ...nodes], vpc: props.vpc, vpcSubnets });
    const topic = props.alarmTopic ?? (production ? serverAlarmTopic(this, this.encryptionKey) : undefined);
    if (topic) this.lagAlarm(topic, maxLag, identifier);
  }

  /** The region in which it stands. */
  public get region(): string {
    return Stack.of(this).region;
  }

  /**
   * Acknowledges a finding of this library on the secondary, or a change that its deploy guard refused.
   *
   * @param acknowledgement the id as reported, and why the exception is right here
   */
  public acknowledge(acknowledgement: FindingAcknowledgement): void {
    acknowledgeOnCopy(this, { own: this.guard }, acknowledgement);
  }

  private lagAlarm(topic: sns.ITopic, maxLag: Duration, identifier: string): void {
    const alarm = new cloudwatch.Alarm(this, 'ReplicationLagAlarm', {
      alarmDescription: `The secondary ${this.node.path} is more than ${maxLag.toHumanString()} behind its primary: a failover would lose as much`,
      metric: new cloudwatch.Metric({
        namespace: 'AWS/RDS',
        metricName: 'AuroraGlobalDBReplicationLag',
        dimensionsMap: { DBClusterIdentifier: identifier },
        statistic: 'Maximum',
        period: Duration.minutes(1),
      }),
      threshold: maxLag.toMilliseconds(),
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 5,
      // After a switchover it is the primary, and has no lag.
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
    alarm.addAlarmAction(new actions.SnsAction(topic));
    alarm.addOkAction(new actions.SnsAction(topic));
  }
}

function requireOtherRegion(secondary: Construct, primary: Construct): void {
  const [here, there] = [Stack.of(secondary).region, Stack.of(primary).region];
  if (Token.isUnresolved(here) || Token.isUnresolved(there)) {
    throw new Error(
      `${secondary.node.path}: a secondary stands in another region; give both stacks an env with a region`,
    );
  }
  if (here === there) {
    throw new Error(
      `${secondary.node.path}: the primary is in ${there} as well; a secondary stands in another region. Use readers of the primary here`,
    );
  }
}

/** A global database is one of an account, as every resource that is named without an ARN. */
function requireSameAccount(secondary: Construct, primary: Construct): void {
  const [here, there] = [Stack.of(secondary).account, Stack.of(primary).account];
  if (Token.isUnresolved(here) || Token.isUnresolved(there) || here === there) return;
  throw new Error(
    `${secondary.node.path}: this stack is in the account ${here}, and the primary ${primary.node.path} in ${there}; a global database has its ` +
      'clusters in one account. Put the secondary into a stack of that account; backupCopies brings snapshots into another one',
  );
}

function refuseBurstable(path: string, instanceType: ec2.InstanceType, serverless: boolean): void {
  if (!serverless && /^t\d/.test(instanceType.toString())) {
    throw new Error(
      `${path}: a global database does not take the class ${instanceType}; use one of constant speed, such as r7g.large`,
    );
  }
}

function acknowledgeOfSecondary(secondary: GlobalSecondary): void {
  for (const pack of ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5']) {
    Validations.of(secondary).acknowledge({
      id: `${pack}-RDSInBackupPlan`,
      reason:
        'A secondary of a global database holds what its primary holds, which is in the backup plan there. It has automated backups of its ' +
        'own besides, which hold on when it becomes the primary.',
    });
  }
}
