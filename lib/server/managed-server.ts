import {
  Duration,
  RemovalPolicy,
  Stack,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_ec2 as ec2,
  aws_iam as iam,
  aws_kms as kms,
  aws_logs as logs,
  aws_rds as rds,
  aws_secretsmanager as secretsmanager,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import { Finding, addFinding } from '../compliance';
import { limitExtensions } from './allowed-extensions';
import { watchCertificates } from './certificates';
import { serverKey } from './encryption-key';
import { refuseMisspelt } from './known-props';
import { guardIdentifier, serverIdentifier } from './identifier';
import { DeployGuard, GuardAcknowledgement, readGuardAcknowledgement } from './guard';
import { ManagedServerOptions } from './managed-server-options';
import { monitoringRole } from './monitoring-role';
import { RecoveryCapability, RecoveryObjectives, unmetObjectives } from './objectives';
import { Defaults, PostgresProfile } from './postgres-profile';
import { PostgresServerBase } from './postgres-server';
import { PostgresVersion } from './postgres-version';
import {
  requireDefaults,
  requireDuration,
  requireInstanceType,
  requireMasterUsername,
  requireObjectives,
  requirePort,
  requireProfile,
  requireProps,
  requireVersion,
  requireVpc,
} from './required';
import { isRestored } from './recovery/restore';
import { serverAlarmTopic } from './alarm-topic';
import { ControlledReboot, RebootTarget } from './high-availability/controlled-reboot';
import { refuseCopies } from './recovery/backup-copy';
import { checkHistory, pointInTimeRecovery, unkeptHistory } from './recovery/history';
import { addRunbook } from './recovery/runbook';
import { guardRestoredPort, restoredPort } from './recovery/restored-port';
import { FailoverTest, FailoverTestOptions } from './high-availability/failover-test';
import { requireFirst } from './state/child-id';
import { ServerState } from './state/server-state';
import { defaultSubnets } from './state/vpc-services';
import { DEFAULT_WINDOWS, Windows, checkWindows } from './windows';

/** One port for every managed server, so that servers stay exchangeable; literal, since rule packs cannot judge a token. */
export const DEFAULT_PORT = 5433;

const RDS_PORTS = { min: 1150, max: 65_535, who: 'RDS takes' };

const RETENTION_FLOOR_DAYS = 7;

/**
 * A server that RDS runs: what an instance and a cluster have in common.
 *
 * @internal
 */
export abstract class ManagedServerBase extends PostgresServerBase {
  public readonly port: number;
  public readonly profile: PostgresProfile;
  public readonly connections: ec2.Connections;
  public readonly adminSecret: secretsmanager.ISecret;

  /** The network the server stands in. */
  public readonly vpc: ec2.IVpc;

  /** The customer key of storage, snapshots, Insights, logs, secrets and alarms. */
  public readonly encryptionKey: kms.IKey;

  /** The version. */
  public readonly version: PostgresVersion;

  /** The generation of defaults. */
  public readonly defaults: Defaults;

  /** Where alarms go. Undefined in the development profile unless one was passed. */
  public readonly alarmTopic?: sns.ITopic;

  /** The class of each provisioned node. */
  public readonly instanceType: ec2.InstanceType;

  /** @internal */
  public readonly _settings: ManagedSettings;

  private readonly objectives: RecoveryObjectives;
  /** @internal */
  public readonly _reserveConcurrency?: boolean;

  private deployGuard?: DeployGuard;
  private storageAlarms?: cloudwatch.Alarm[];

  constructor(scope: Construct, id: string, props: ManagedServerOptions) {
    super(scope, id);
    const path = this.node.path;
    requireProps(path, props, '{ vpc, version: PostgresVersion.V18, objectives }');
    refuseMisspelt(path, this, props);
    this._reserveConcurrency = props.reserveConcurrency;
    this.profile = requireProfile(path, props.profile);
    this.defaults = requireDefaults(path, props.defaults);
    this.version = requireVersion(path, props.version);
    this.objectives = requireObjectives(path, props.objectives);
    this.vpc = requireVpc(path, props.vpc);
    this.port = requirePort(path, props.port ?? restoredPort(props) ?? DEFAULT_PORT, RDS_PORTS);
    checkRetention(path, props.pointInTimeRecovery);
    checkHistory(path, this.objectives);
    const production = this.profile.isProduction;

    this.instanceType = requireInstanceType(
      path,
      props.instanceType ??
        (production
          ? ec2.InstanceType.of(ec2.InstanceClass.R7G, ec2.InstanceSize.LARGE)
          : ec2.InstanceType.of(ec2.InstanceClass.T4G, ec2.InstanceSize.MEDIUM)),
    );
    const windows: Windows = {
      backup: props.backupWindow ?? DEFAULT_WINDOWS.backup,
      maintenance: props.maintenanceWindow ?? DEFAULT_WINDOWS.maintenance,
    };
    checkWindows(path, windows);

    this.encryptionKey = serverKey(this, { given: props.encryptionKey, retain: production });
    const removalPolicy = props.removalPolicy ?? (production ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY);
    // A server that stays needs what it stands on; a snapshot is a server's alone.
    const companions = removalPolicy === RemovalPolicy.DESTROY ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
    const securityGroups = props.securityGroups ?? [this.ownSecurityGroup(companions)];
    this.connections = new ec2.Connections({ securityGroups, defaultPort: ec2.Port.tcp(this.port) });
    const vpcSubnets = props.vpcSubnets ?? defaultSubnets(props.vpc);
    refusePublicSubnets(path, props.vpc, vpcSubnets);
    const masterUsername = props.masterUsername ?? 'postgres';
    // That of a source is there, whatever RDS takes today.
    if (!isRestored(props)) requireMasterUsername(path, masterUsername);
    this.adminSecret = this.masterSecret(masterUsername, companions);
    this.alarmTopic = props.alarmTopic ?? (production ? serverAlarmTopic(this, this.encryptionKey) : undefined);

    const monitoringInterval = requireDuration(
      path,
      'monitoringInterval',
      props.monitoringInterval ?? Duration.seconds(production ? 60 : 0),
      'Duration.seconds(60)',
    );
    this._settings = {
      windows,
      securityGroups,
      removalPolicy,
      companions,
      masterUsername,
      monitoringInterval,
      identifier: serverIdentifier(this, props.identifier),
      vpcSubnets,
      subnetGroup: new rds.SubnetGroup(this, 'Subnets', {
        description: `Subnets of the PostgreSQL server ${path}`.slice(0, 255),
        vpc: props.vpc,
        vpcSubnets,
        removalPolicy: companions,
      }),
      pointInTimeRecovery:
        props.pointInTimeRecovery ?? pointInTimeRecovery(props.objectives, Duration.days(production ? 14 : 1)),
      autoMinorVersionUpgrade: props.autoMinorVersionUpgrade ?? true,
      deletionProtection: props.deletionProtection ?? production,
      logRetention: props.logRetention ?? (production ? logs.RetentionDays.ONE_YEAR : logs.RetentionDays.ONE_WEEK),
      monitoringRole: monitoringInterval.toSeconds() > 0 ? monitoringRole(this, companions) : undefined,
    };
    if (production) protectStack(Stack.of(this));
    if (!production) refuseCopies(path, props);
    this.guardVersion();
    this.guardProduction();
    guardRestoredPort(this, props, this.port);
  }

  /**
   * What stands around the finished server: the guard before it, the inside with its functions, the rotation of the master's password.
   *
   * @internal
   */
  protected _surround(
    props: ManagedServerOptions,
    made: {
      guarded: (rds.CfnDBInstance | rds.CfnDBCluster)[];
      writer: IDependable;
      attachedSecret: secretsmanager.ISecret;
    },
  ): void {
    const { guarded, writer, attachedSecret } = made;
    guardIdentifier(this, guarded);
    // A server for development may be replaced; that is what it is for.
    if (this.profile.isProduction) this.deployGuard = this.guardDeployments(props, guarded);
    const state = this._prepareState({
      stateName: props.stateName,
      majorVersion: this.version.majorVersion,
      adminSecret: attachedSecret,
      adminRole: this._settings.masterUsername,
      trust: 'rds',
      vpc: this.vpc,
      vpcSubnets: this._settings.vpcSubnets,
      serverSecurityGroups: this._settings.securityGroups,
      encryptionKey: this.encryptionKey,
      defaults: this.defaults,
      dependencies: [writer, attachedSecret],
      reserveConcurrency: props.reserveConcurrency,
      rotationInterval: props.passwordRotation,
    });
    state.rotateAdminSecret();
    addRunbook({
      construct: this,
      resource: guarded[0]!,
      nodes: guarded.slice(1) as rds.CfnDBInstance[],
      port: this.port,
      masterUsername: this._settings.masterUsername,
      stateName: state.stateName,
    });
    limitExtensions(state, props);
    watchCertificates(this, guarded, { topic: this.alarmTopic, identifier: this._settings.identifier });
  }

  /** @internal */
  protected _alarmTopic(): sns.ITopic | undefined {
    return this.alarmTopic;
  }

  /** The alarms on its storage, made once; a second topic is told as well. @internal */
  protected _storageAlarms(topic: sns.ITopic): cloudwatch.Alarm[] {
    if (!this.storageAlarms) {
      this.storageAlarms = this._makeStorageAlarms(topic);
    } else if (topic !== this.alarmTopic) {
      for (const alarm of this.storageAlarms) {
        alarm.addAlarmAction(new actions.SnsAction(topic));
        alarm.addOkAction(new actions.SnsAction(topic));
      }
    }
    return this.storageAlarms;
  }

  /** @internal */
  protected abstract _makeStorageAlarms(topic: sns.ITopic): cloudwatch.Alarm[];

  /** What the server, as configured, can hold to. @internal */
  protected abstract _capability(): RecoveryCapability;

  /** Why nobody would take over from a lost node. Undefined: somebody would. @internal */
  protected abstract _singleNode(): string | undefined;

  /** As the resource has it, which a user may have changed. Undefined: a token. @internal */
  protected abstract _backupRetentionDays(): number | undefined;

  /** As the resource has it, which a user may have changed. @internal */
  protected abstract _isDeletionProtected(): boolean;

  /**
   * The master's secret is the app's own: a password managed by RDS excludes blue/green deployments and replicas (LR-13). What is generated
   * stays the same for the secret's life, since a changed template makes a new password.
   */
  private masterSecret(username: string, removalPolicy: RemovalPolicy): secretsmanager.Secret {
    return new secretsmanager.Secret(this, 'AdminSecret', {
      description: `Master user of the PostgreSQL server ${this.node.path}`,
      encryptionKey: this.encryptionKey,
      removalPolicy,
      generateSecretString: {
        secretStringTemplate: JSON.stringify({ username }),
        generateStringKey: 'password',
        passwordLength: 40,
        excludePunctuation: true,
      },
    });
  }

  private guardDeployments(
    props: ManagedServerOptions,
    servers: (rds.CfnDBInstance | rds.CfnDBCluster)[],
  ): DeployGuard {
    return new DeployGuard(this, 'Guard', {
      servers,
      masterUsername: this._settings.masterUsername,
      vpc: this.vpc,
      vpcSubnets: this._settings.vpcSubnets,
      encryptionKey: this.encryptionKey,
      defaults: this.defaults,
      reserveConcurrency: props.reserveConcurrency,
      logRemovalPolicy: this._settings.companions,
    });
  }

  /**
   * Adds a function that makes the server fail over, and measures how long no write was acknowledged and whether one was lost (HA-17).
   *
   * @param options when it runs by itself, which in production it should not
   */
  public addFailoverTest(options: FailoverTestOptions = {}): FailoverTest {
    requireFirst(this, 'addFailoverTest()', 'FailoverTest');
    return FailoverTest._make(ServerState.of(this), options, {
      target: { kind: this._failoverKind(), identifier: this._settings.identifier },
      rto: this.objectives.rto,
      isProduction: this.profile.isProduction,
      topic: this.alarmTopic,
    });
  }

  /**
   * Adds a state machine that reboots the server when somebody starts it, readers first and then by a failover, so that static parameters
   * take effect (LIB-2). `cdk-postgres check` says whether any waits.
   */
  public addControlledReboot(): ControlledReboot {
    requireFirst(this, 'addControlledReboot()', 'ControlledReboot');
    return ControlledReboot._make(this, this._rebootTarget(), {
      encryptionKey: this.encryptionKey,
      removalPolicy: this._settings.companions,
    });
  }

  /** @internal */
  protected abstract _rebootTarget(): RebootTarget;

  /** What RDS is asked to fail over. @internal */
  protected _failoverKind(): 'instance' | 'cluster' {
    return 'cluster';
  }

  /** Puts the deploy guard before another instance or cluster of the same stack. @internal */
  public _guardAlso(server: rds.CfnDBInstance | rds.CfnDBCluster): void {
    this.deployGuard?.add(server);
  }

  /** @internal */
  protected _acknowledgeGuard(acknowledgement: GuardAcknowledgement): void {
    // Read it also where no guard stands, so that a mistake shows before it reaches production.
    readGuardAcknowledgement(this.node.path, acknowledgement);
    this.deployGuard?.acknowledge(acknowledgement);
  }

  private ownSecurityGroup(removalPolicy: RemovalPolicy): ec2.SecurityGroup {
    const group = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc: this.vpc,
      description: `PostgreSQL server ${this.node.path}`.slice(0, 255),
      allowAllOutbound: false,
    });
    group.applyRemovalPolicy(removalPolicy);
    return group;
  }

  private guardVersion(): void {
    addFinding(this, {
      id: 'LR-21',
      check: () =>
        this.version.isMinorPinned && this._settings.autoMinorVersionUpgrade
          ? `${this.node.path}: version ${this.version} names a minor version, and the server upgrades its minor version by itself: the next ` +
            'deployment would ask for a downgrade, and fail'
          : undefined,
      fix: `Use PostgresVersion.V${this.version.majorVersion}, or set autoMinorVersionUpgrade: false and upgrade by hand.`,
    });
  }

  private guardProduction(): void {
    const path = this.node.path;
    this._guard({
      id: 'BK-1',
      check: () => {
        const unmet =
          unmetObjectives(this.objectives, this._capability()) ??
          unkeptHistory(this.objectives, this._backupRetentionDays());
        return unmet && `${path}: ${unmet}`;
      },
      fix: 'State objectives that the business really has, or configure what holds to them: a standby, a reader, automated backups.',
    });
    this._guard({
      id: 'BK-2',
      check: () =>
        this._backupRetentionDays() === 0
          ? `${path}: automated backups are off, so that nothing is left but snapshots`
          : undefined,
      fix: 'Leave backupRetentionPeriod of the instance as pointInTimeRecovery sets it.',
    });
    this._guard({
      id: 'BK-3',
      check: () => {
        const days = this._backupRetentionDays();
        return days !== undefined && days > 0 && days < RETENTION_FLOOR_DAYS
          ? `${path}: pointInTimeRecovery is ${days} days; an error that is found later than that cannot be undone`
          : undefined;
      },
      fix: `Set pointInTimeRecovery to ${RETENTION_FLOOR_DAYS} days or more (the default is 14, the maximum 35).`,
    });
    addFinding(this, {
      id: 'BK-12',
      severity: 'warning',
      check: () => {
        const days = this._backupRetentionDays();
        return this._singleNode() === undefined && days !== undefined && days < RETENTION_FLOOR_DAYS
          ? `${path}: a standby or reader repeats a wrong DELETE at once, and pointInTimeRecovery goes back ${days} days alone`
          : undefined;
      },
      fix: `A second node is no backup: set pointInTimeRecovery to ${RETENTION_FLOOR_DAYS} days or more.`,
    });
    this._guard({
      id: 'BK-15',
      check: () => {
        if (!this._isDeletionProtected()) return `${path}: deletionProtection is off`;
        if (this._settings.removalPolicy === RemovalPolicy.DESTROY) return `${path}: removalPolicy is DESTROY`;
        return undefined;
      },
      fix: 'Leave deletionProtection and removalPolicy out.',
    });
    this._guard({
      id: 'HA-1',
      check: () => {
        const reason = this._singleNode();
        return reason && `${path}: ${reason}`;
      },
      fix: 'Add the second node, or use PostgresProfile.development() for a server that may be away for an hour.',
    });
    this._guard({
      id: 'OPS-12',
      check: () =>
        /^t\d/.test(this.instanceType.toString())
          ? `${path}: ${this.instanceType} is burstable; when its credits end, production runs at a fraction of its speed`
          : undefined,
      fix: 'Use a Graviton class of constant speed, such as r7g.large.',
    });
    this._guard({
      id: 'LIB-12',
      check: () =>
        rootStack(Stack.of(this)).terminationProtection
          ? undefined
          : `${path}: the termination protection of stack ${rootStack(Stack.of(this)).stackName} is off`,
      fix: 'Leave terminationProtection as the server sets it.',
    });
  }

  /**
   * A guard of production. It is there in the development profile too, so that an acknowledgement of it is not taken for a mistake.
   *
   * @internal
   */
  protected _guard(finding: Finding): void {
    addFinding(this, { ...finding, check: () => (this.profile.isProduction ? finding.check() : undefined) });
  }
}

/** What the props come to. */
export interface ManagedSettings {
  readonly identifier: string;
  readonly windows: Windows;
  readonly securityGroups: ec2.ISecurityGroup[];
  readonly vpcSubnets: ec2.SubnetSelection;
  readonly subnetGroup: rds.ISubnetGroup;
  readonly removalPolicy: RemovalPolicy;
  /** Of what the server stands on: groups, logs, the secret. */
  readonly companions: RemovalPolicy;
  readonly masterUsername: string;
  readonly pointInTimeRecovery: Duration;
  readonly autoMinorVersionUpgrade: boolean;
  readonly deletionProtection: boolean;
  readonly logRetention: logs.RetentionDays;
  readonly monitoringInterval: Duration;
  readonly monitoringRole?: iam.IRole;
}

/** Parameter groups and subnet groups stay with a server that stays: RDS refuses to delete what is in use, and the stack would hang. */
export function parameterGroup(
  scope: Construct,
  id: string,
  options: { engine: rds.IEngine; parameters: Record<string, string>; removalPolicy: RemovalPolicy },
): rds.ParameterGroup {
  return new rds.ParameterGroup(scope, id, {
    engine: options.engine,
    description: `Parameters of the PostgreSQL server ${scope.node.path}`.slice(0, 255),
    parameters: options.parameters,
    removalPolicy: options.removalPolicy,
  });
}

/** Whole days within what RDS takes. A token cannot be judged. */
function checkRetention(path: string, retention: Duration | undefined): void {
  if (retention === undefined) return;
  requireDuration(path, 'pointInTimeRecovery', retention, 'Duration.days(14)');
  if (retention.isUnresolved()) return;
  const days = retention.toDays({ integral: false });
  if (!Number.isInteger(days) || days < 1 || days > 35) {
    throw new Error(`${path}: pointInTimeRecovery is ${days} days; RDS keeps 1 to 35 whole days`);
  }
}

/** Neither a server nor its functions work in a public subnet: the one may not, the other get no public address (SEC-15). */
export function refusePublicSubnets(path: string, vpc: ec2.IVpc, selection: ec2.SubnetSelection): void {
  const selected = vpc.selectSubnets(selection);
  if (selected.isPendingLookup) return;
  const open = selected.subnets.filter((subnet) => vpc.publicSubnets.includes(subnet));
  if (open.length > 0) {
    throw new Error(
      `${path}: vpcSubnets selects public subnets (${open.map((s) => s.node.path).join(', ')}); leave it out, or select isolated ones`,
    );
  }
}

function protectStack(stack: Stack): void {
  rootStack(stack).terminationProtection = true;
}

function rootStack(stack: Stack): Stack {
  return stack.nestedStackParent ? rootStack(stack.nestedStackParent) : stack;
}
