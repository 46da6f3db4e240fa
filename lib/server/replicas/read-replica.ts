import {
  ArnFormat,
  Duration,
  RemovalPolicy,
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
import { FindingAcknowledgement, addFinding } from '../../compliance';
import { serverAlarmTopic } from '../alarm-topic';
import { serverKey } from '../encryption-key';
import { DeployGuard } from '../guard';
import { insightRetention } from '../insights';
import { exportedLogGroups } from '../log-groups';
import { refuseMisspelt } from '../known-props';
import { guardIdentifier, serverIdentifier } from '../identifier';
import { parameterGroup, refusePublicSubnets } from '../managed-server';
import { monitoringRole } from '../monitoring-role';
import { buildParameters } from '../parameters';
import type { IPostgresServer } from '../postgres-server';
import type { RdsPostgres } from '../rds-postgres';
import { requireDuration, requireInstanceType, requireProps } from '../required';
import { defaultSubnets } from '../state/vpc-services';
import { ConflictPolicy } from './conflict-policy';
import { acknowledgeOnCopy, copyConnections, copyGuard, requireOwnNetwork } from './copy';
import { IReaderEndpoint } from './reader-endpoint';
import { standbyParameters } from './standby-parameters';

/** How `RdsPostgres.addReadReplica()` makes a replica. */
export interface ReadReplicaOptions {
  /** What it is for, such as `reports`. It stands in descriptions and alarms, so that who is woken knows who suffers (HA-13). */
  readonly purpose: string;

  /** Who gives way when replay and a query are in each other's way. There is no default that fits (HA-7). */
  readonly conflicts: ConflictPolicy;

  /**
   * How far it may fall behind before the alarm (HA-13). A primary without writes shows up to five minutes although nothing is missing, so
   * that less than that alarms at night.
   *
   * @default - five minutes besides what the conflict policy lets replay wait
   */
  readonly maxLag?: Duration;

  /**
   * The class.
   *
   * @default - that of the server
   */
  readonly instanceType?: ec2.InstanceType;

  /**
   * Whether a standby in another zone takes over from the replica.
   *
   * @default false
   */
  readonly multiAz?: boolean;

  /**
   * Parameters of the replica that differ from those of the server. What a standby needs at least as large as its primary has it cannot be
   * less (HA-12).
   *
   * @default - those of the server, and what the conflict policy says
   */
  readonly parameters?: { [name: string]: string };

  /**
   * Whether the secrets of the server name it as `readerHost`. One replica of a server can be it, and it stands in the server's stack.
   *
   * @default false
   */
  readonly readerHost?: boolean;

  /**
   * The database whose failover slots the replica keeps up to date, from PostgreSQL 17 on (HA-19): after a promotion, change data capture
   * goes on where it was. It needs `ConflictPolicy.feedback()` and `rds.logical_replication` of the server.
   *
   * @default - slots stay behind on the primary
   */
  readonly slotSyncDatabase?: string;

  /**
   * The subnets.
   *
   * @default - those of the server; in another network its isolated subnets, or its private ones where it has none isolated
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /**
   * Its name in RDS: lower-case letters, digits and single hyphens, at most 50 characters.
   *
   * @default - made from the construct's path
   */
  readonly identifier?: string;

  /**
   * Where the alarm on its lag goes.
   *
   * @default - as the alarms of the server; in another stack an encrypted topic of its own. None in the development profile
   */
  readonly alarmTopic?: sns.ITopic;
}

/** Properties of `ReadReplica`. */
export interface ReadReplicaProps extends ReadReplicaOptions {
  /** The server that it replicates. */
  readonly source: RdsPostgres;

  /**
   * The network. In another region it is one of there.
   *
   * @default - the network of the server
   */
  readonly vpc?: ec2.IVpc;

  /**
   * The customer key of a replica in another region (BK-14, HA-18). In the region of the server a replica has the server's key.
   *
   * @default - a key of its own with yearly rotation, kept when the stack goes
   */
  readonly encryptionKey?: kms.IKey;
}

/**
 * A copy of an `RdsPostgres` that serves reads, in this region or another (HA-7, HA-12, HA-13, HA-18). It follows asynchronously: it
 * is no second node for HA-1, and what somebody deletes on the primary is gone here a moment later, so that it is no backup either (BK-12).
 */
export class ReadReplica extends Resource implements IReaderEndpoint {
  /** The instance, with everything that aws-cdk-lib offers for it. */
  public readonly instance: rds.DatabaseInstanceReadReplica;
  public readonly server: IPostgresServer;
  public readonly host: string;
  public readonly port: number;
  public readonly identity: string;
  public readonly connections: ec2.Connections;

  /** How far it may fall behind. */
  public readonly maxLag: Duration;

  /** The customer key of its storage. */
  public readonly encryptionKey: kms.IKey;

  /** Its name in RDS. @internal */
  public readonly _identifier: string;

  private readonly guard?: DeployGuard;

  /**
   * Makes the replica.
   *
   * @param scope where in the app it stands; in a stack of another region for a replica there
   * @param id its name in the scope
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: ReadReplicaProps) {
    super(scope, id);
    const path = this.node.path;
    const example = "{ purpose: 'reports', conflicts: ConflictPolicy.longQueries() }";
    const { source, conflicts } = requireProps(path, props, example);
    refuseMisspelt(path, this, props);
    if (!source) throw new Error(`${path}: source is ${String(source)}; pass the RdsPostgres that it copies`);
    const settings = source._settings;
    const production = source.profile.isProduction;
    const sameStack = Stack.of(this) === Stack.of(source);
    const otherRegion = isElsewhere(this, source);
    if (typeof props.purpose !== 'string' || props.purpose.trim() === '')
      throw new Error(
        `${path}: purpose is ${props.purpose === undefined ? 'missing' : 'empty'}; say what the replica is for`,
      );
    if (!(conflicts instanceof ConflictPolicy)) {
      throw new Error(`${path}: conflicts is missing; choose ConflictPolicy.fresh(), longQueries() or feedback()`);
    }
    this.server = source;
    this.port = source.port;
    this.maxLag = requireDuration(
      path,
      'maxLag',
      props.maxLag ?? Duration.seconds(300 + conflicts.replayDelay.toSeconds({ integral: false })),
      'Duration.seconds(300)',
    );
    checkLag(path, this.maxLag, conflicts);
    if (otherRegion && !props.vpc)
      throw new Error(`${path}: vpc is missing; a replica in another region needs a network there`);
    if (props.encryptionKey && !otherRegion) {
      throw new Error(`${path}: encryptionKey is set; in the region of its server a replica has the server's key`);
    }
    if (props.readerHost && !sameStack) {
      throw new Error(
        `${path}: readerHost is set; only a replica in the stack of its server, ${source.node.path}, can be named in its secrets`,
      );
    }

    const vpc = props.vpc ?? source.vpc;
    requireOwnNetwork(this, vpc);
    const vpcSubnets = props.vpcSubnets ?? (vpc === source.vpc ? settings.vpcSubnets : defaultSubnets(vpc));
    refusePublicSubnets(path, vpc, vpcSubnets);
    this.encryptionKey = otherRegion
      ? serverKey(this, { given: props.encryptionKey, retain: production })
      : source.encryptionKey;
    const removalPolicy = settings.removalPolicy;
    const companions = settings.companions;
    this.connections = copyConnections(this, 'Read replica', { vpc, port: this.port, removalPolicy: companions });

    const identifier = serverIdentifier(this, props.identifier);
    this._identifier = identifier;
    const instanceType = requireInstanceType(path, props.instanceType ?? source.instanceType);
    const overrides = { ...conflicts._parameters(), ...slotSync(path, props, source), ...props.parameters };
    checkPolicyKept(path, conflicts, props.parameters ?? {});
    const parameters = standbyParameters({
      path,
      primary: source._parameters,
      primaryType: source.instanceType,
      replica: buildParameters({
        scope: this,
        engine: 'rds',
        major: source.version._major,
        level: 'instance',
        overrides: { ...source._parameterOverrides, ...overrides },
        profile: source.profile,
        defaults: source.defaults,
        allocatedStorageGiB: source._allocated.toGibibytes(),
        instanceType,
      }),
      replicaType: instanceType,
      overrides: props.parameters ?? {},
    });
    const logTypes = ['postgresql', 'upgrade'];
    const logGroups = exportedLogGroups(this, {
      kind: 'instance',
      identifier,
      types: logTypes,
      retention: settings.logRetention,
      encryptionKey: this.encryptionKey,
      removalPolicy: companions,
    });

    this.instance = new rds.DatabaseInstanceReadReplica(this, 'Resource', {
      sourceDatabaseInstance: sameStack ? source.instance : this.importedSource(source),
      instanceType,
      vpc,
      vpcSubnets,
      subnetGroup:
        sameStack && !props.vpcSubnets && vpc === source.vpc
          ? settings.subnetGroup
          : new rds.SubnetGroup(this, 'Subnets', {
              description: `Subnets of the read replica ${path}`.slice(0, 255),
              vpc,
              vpcSubnets,
              removalPolicy: companions,
            }),
      securityGroups: this.connections.securityGroups,
      publiclyAccessible: false,
      port: this.port,
      instanceIdentifier: identifier,
      multiAz: props.multiAz ?? false,
      iamAuthentication: true,
      storageEncrypted: true,
      // RDS takes the source's key by itself, and refuses to be told one of its own region.
      storageEncryptionKey: otherRegion ? this.encryptionKey : undefined,
      storageType: source._storageType,
      maxAllocatedStorage: source._storageCeiling.toGibibytes(),
      parameterGroup: parameterGroup(this, 'Parameters', {
        engine: source.instance.engine!,
        removalPolicy: companions,
        parameters,
      }),
      preferredBackupWindow: settings.windows.backup,
      preferredMaintenanceWindow: settings.windows.maintenance,
      copyTagsToSnapshot: true,
      deleteAutomatedBackups: removalPolicy === RemovalPolicy.DESTROY,
      deletionProtection: settings.deletionProtection,
      removalPolicy: removalPolicy === RemovalPolicy.SNAPSHOT ? RemovalPolicy.RETAIN : removalPolicy,
      autoMinorVersionUpgrade: settings.autoMinorVersionUpgrade,
      caCertificate: rds.CaCertificate.RDS_CA_RSA2048_G1,
      cloudwatchLogsExports: logTypes,
      enablePerformanceInsights: true,
      performanceInsightEncryptionKey: this.encryptionKey,
      performanceInsightRetention: insightRetention(source._insights),
      databaseInsightsMode: source._insights,
      monitoringInterval: settings.monitoringInterval,
      monitoringRole:
        settings.monitoringRole && (sameStack ? settings.monitoringRole : monitoringRole(this, companions)),
    });
    const resource = this.instance.node.defaultChild as rds.CfnDBInstance;
    resource.node.addDependency(...logGroups);
    guardIdentifier(this, [resource]);
    // A rule judges the port by the engine, which the L2 leaves to RDS.
    resource.engine = 'postgres';
    // Recovery is the primary's; a replica that is promoted has backups from the first day. RDS takes them from 14.1 on, which the L2 does
    // not know.
    resource.backupRetentionPeriod = otherRegion ? settings.pointInTimeRecovery.toDays() : 1;
    this.host = this.instance.dbInstanceEndpointAddress;
    this.identity = resource.attrDbiResourceId;
    if (sameStack) {
      resource.sourceDbInstanceIdentifier = source.instance.instanceIdentifier;
      source._guardAlso(resource);
    } else {
      if (otherRegion) resource.sourceRegion = Stack.of(source).region;
      Stack.of(this).addStackDependency(Stack.of(source), `${path} replicates ${source.node.path}`);
      this.guard = copyGuard(this, source, { servers: [resource], vpc, vpcSubnets });
    }
    if (props.readerHost) source._setReaderHost(this);

    const topic =
      props.alarmTopic ??
      (sameStack ? source.alarmTopic : production ? serverAlarmTopic(this, this.encryptionKey) : undefined);
    if (topic) this.lagAlarm(topic, props.purpose);
    if (topic && conflicts.isFeedback && sameStack) bloatAlarm(source, topic);
    acknowledgeOfReplica(this.instance, props.multiAz ?? false);
    this.warnBackup(source);
    if (props.slotSyncDatabase !== undefined) this.warnAhead(source);
  }

  /** The region in which it stands. */
  public get region(): string {
    return Stack.of(this).region;
  }

  /**
   * How many seconds it is behind its primary.
   *
   * @param options of the metric, in place of its maximum of a minute
   */
  public metricReplicaLag(options: cloudwatch.MetricOptions = {}): cloudwatch.Metric {
    return this.instance.metric('ReplicaLag', { statistic: 'Maximum', period: Duration.minutes(1), ...options });
  }

  /**
   * Acknowledges a finding of this library on the replica, or, in a stack other than its server's, a change that the deploy guard refused.
   *
   * @param acknowledgement the id as reported, and why the exception is right here
   */
  public acknowledge(acknowledgement: FindingAcknowledgement): void {
    acknowledgeOnCopy(this, { own: this.guard, server: this.server }, acknowledgement);
  }

  /** By its literal name: a reference would have to cross stacks, and regions. */
  private importedSource(source: RdsPostgres): rds.IDatabaseInstance {
    const instance = rds.DatabaseInstance.fromDatabaseInstanceAttributes(this, 'Source', {
      instanceIdentifier: source._settings.identifier,
      instanceEndpointAddress: 'unused',
      port: source.port,
      securityGroups: [],
      engine: source.instance.engine,
    });
    const arn = Stack.of(source).formatArn({
      service: 'rds',
      resource: 'db',
      resourceName: source._settings.identifier,
      arnFormat: ArnFormat.COLON_RESOURCE_NAME,
    });
    return Object.defineProperty(instance, 'instanceArn', { value: arn });
  }

  private lagAlarm(topic: sns.ITopic, purpose: string): void {
    const alarm = new cloudwatch.Alarm(this, 'ReplicaLagAlarm', {
      alarmDescription:
        `The read replica ${this.node.path} (${purpose}) is more than ${this.maxLag.toHumanString()} behind its primary, or does not report`.slice(
          0,
          1024,
        ),
      metric: this.metricReplicaLag(),
      threshold: this.maxLag.toSeconds(),
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 3,
      // A replica that stopped replaying stops reporting as well.
      treatMissingData: cloudwatch.TreatMissingData.BREACHING,
    });
    alarm.addAlarmAction(new actions.SnsAction(topic));
    alarm.addOkAction(new actions.SnsAction(topic));
  }

  private warnBackup(source: RdsPostgres): void {
    addFinding(this, {
      id: 'BK-12',
      severity: 'warning',
      check: () => {
        const days = (source.instance.node.defaultChild as rds.CfnDBInstance).backupRetentionPeriod;
        return source.profile.isProduction && days !== undefined && !Token.isUnresolved(days) && days < 7
          ? `${this.node.path}: the primary can go back ${days} days, and a replica takes over its mistakes within seconds`
          : undefined;
      },
      fix: 'Set pointInTimeRecovery of the server to 7 days or more: a replica is no backup.',
    });
  }

  /** The replica's slot has its name from RDS when the replica is there, so that no template can have it at once. */
  private warnAhead(source: RdsPostgres): void {
    addFinding(this, {
      id: 'HA-19',
      severity: 'warning',
      check: () =>
        source._parameters.synchronized_standby_slots === undefined
          ? `${this.node.path}: consumers of ${source.node.path} may be ahead of the replica, and have rows that it lacks when it is promoted`
          : undefined,
      fix:
        "Once the replica is there, SELECT slot_name FROM pg_replication_slots WHERE slot_type = 'physical' on the server names its slot: " +
        'set it as the parameter synchronized_standby_slots of the server, for which logical consumers then wait.',
    });
  }
}

/** Held to a region by two literals. Where one is a token, another stack of this app may be anywhere, and is taken for the same region. */
function isElsewhere(replica: Construct, source: Construct): boolean {
  const [here, there] = [Stack.of(replica).region, Stack.of(source).region];
  if (Stack.of(replica).account !== Stack.of(source).account) {
    throw new Error(
      `${replica.node.path}: the replica stands in another account than its server, which RDS does not do`,
    );
  }
  if (here === there) return false;
  if (Token.isUnresolved(here) || Token.isUnresolved(there)) {
    throw new Error(
      `${replica.node.path}: whether the replica is in the region of its server cannot be seen; give both stacks an env with a region`,
    );
  }
  return true;
}

function checkLag(path: string, maxLag: Duration, conflicts: ConflictPolicy): void {
  if (maxLag.isUnresolved()) throw new Error(`${path}: maxLag is a token; write it, since the alarm depends on it`);
  if (maxLag.toSeconds() < 1) throw new Error(`${path}: maxLag is ${maxLag.toHumanString()}; write at least a second`);
  if (maxLag.toMilliseconds() <= conflicts.replayDelay.toMilliseconds()) {
    throw new Error(
      `${path}: maxLag is ${maxLag.toHumanString()}, and ConflictPolicy.${conflicts.name}() lets replay wait for ` +
        `${conflicts.replayDelay.toHumanString()}: the two contradict each other; make the one longer or the other shorter`,
    );
  }
}

/** What a standby needs that keeps failover slots up to date (HA-19). */
function slotSync(path: string, props: ReadReplicaProps, source: RdsPostgres): Record<string, string> {
  const database = props.slotSyncDatabase;
  if (database === undefined) return {};
  const place = `${path}: slotSyncDatabase is set`;
  if (source.version.majorVersion < 17) {
    throw new Error(
      `${place}; slots follow a failover from PostgreSQL 17 on, and the server is of version ${source.version}`,
    );
  }
  if (!props.conflicts.isFeedback) {
    throw new Error(
      `${place} with ConflictPolicy.${props.conflicts.name}(); without feedback the primary removes rows that the copied slots need: use ConflictPolicy.feedback()`,
    );
  }
  if (source._parameters['rds.logical_replication'] !== '1') {
    throw new Error(
      `${place}, and the server has no logical replication: set parameters: { 'rds.logical_replication': '1' } on ${source.node.path}`,
    );
  }
  return { sync_replication_slots: '1', 'rds.logical_slot_sync_dbname': database };
}

/** What the policy decides is said once. */
function checkPolicyKept(path: string, conflicts: ConflictPolicy, parameters: Record<string, string>): void {
  const decided = ['hot_standby_feedback', 'max_standby_streaming_delay', 'max_standby_archive_delay'];
  const both = Object.keys(parameters).filter((name) => decided.includes(name.toLowerCase()));
  if (both.length > 0) {
    throw new Error(
      `${path}: parameter ${both.join(', ')} is decided by ConflictPolicy.${conflicts.name}(): leave it out, or choose another policy`,
    );
  }
}

/**
 * CloudWatch has no metric of bloat. A replica that holds vacuum back for long shows on the primary by what vacuum exists for: the age of the
 * oldest transaction id rises above where autovacuum would have brought it down.
 */
function bloatAlarm(source: RdsPostgres, topic: sns.ITopic): void {
  const id = 'FeedbackBloatAlarm';
  if (source.node.tryFindChild(id)) return;
  const alarm = new cloudwatch.Alarm(source, id, {
    alarmDescription: `Vacuum on ${source.node.path} does not get on, perhaps for what a replica with hot_standby_feedback still reads`,
    metric: source.instance.metric('MaximumUsedTransactionIDs', { statistic: 'Maximum', period: Duration.minutes(5) }),
    threshold: 300_000_000,
    comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    evaluationPeriods: 3,
    treatMissingData: cloudwatch.TreatMissingData.MISSING,
  });
  alarm.addAlarmAction(new actions.SnsAction(topic));
  alarm.addOkAction(new actions.SnsAction(topic));
}

function acknowledgeOfReplica(instance: rds.DatabaseInstanceReadReplica, multiAz: boolean): void {
  const packs = ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5'];
  for (const pack of packs) {
    Validations.of(instance).acknowledge({
      id: `${pack}-RDSInBackupPlan`,
      reason:
        'A read replica holds nothing of its own: its primary is in the backup plan, and a backup of the copy would be of the same data, ' +
        'later. In another region it has automated backups of its own from the day on which it is promoted.',
    });
  }
  if (multiAz) return;
  for (const id of ['AwsSolutions-RDS3', ...packs.map((pack) => `${pack}-RDSMultiAZSupport`)]) {
    Validations.of(instance).acknowledge({
      id,
      reason:
        'A read replica serves reads that bear to be away; what must not stop is its primary, which has a standby in another zone. ' +
        'multiAz: true gives the replica one as well.',
    });
  }
}
