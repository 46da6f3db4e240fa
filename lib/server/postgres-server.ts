import { IResource, Resource, aws_ec2 as ec2, aws_secretsmanager as secretsmanager, aws_sns as sns } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { FindingAcknowledgement, acknowledgeFinding } from '../compliance';
import { Platform } from '../contract';
import {
  Auditing,
  AuditingOptions,
  Database,
  DatabaseOptions,
  DroppedObject,
  DropOptions,
  GroupRole,
  GroupRoleOptions,
} from '../database';
import { ConnectionBudget, IPooler, Pooler } from '../pooling';
import type { ProxyTarget } from '../pooling/rds-proxy';
import { refuseMisspelt } from './known-props';
import { DriftDetectionOptions } from './drift-detection-options';
import { GuardAcknowledgement, isGuardId } from './guard';
import { ConnectionCapacity } from './monitoring/capacity';
import { IServerMonitoring, MonitoringOptions } from './monitoring/monitoring-options';
import { ServerMonitoring } from './monitoring/server-monitoring';
import { NOTHING_KNOWN, PlatformMonitoring } from './monitoring/watched';
import { PostgresProfile } from './postgres-profile';
import { guardAuditing } from './auditing-parameters';
import { childId, requireFirst } from './state/child-id';
import { addVpcEndpoints } from './state/vpc-endpoints';
import { AwsService, neededServices } from './state/vpc-services';
import { DriftDetection } from './state/drift-detection';
import { ServerState, ServerStateProps } from './state/server-state';
import { serverAlarmTopic } from './alarm-topic';

/** A PostgreSQL server, wherever it runs. */
export interface IPostgresServer extends IResource, ec2.IConnectable {
  /** The immutable identity of the server: DbiResourceId, DbClusterResourceId, or what the user states for an external server. */
  readonly identity: string;

  /** The host that accepts writes. */
  readonly host: string;

  /** A host that serves reads, where the server has one. */
  readonly readerHost?: string;

  /** The port, a literal number on every managed server. */
  readonly port: number;

  /** The secret with the credentials of the role that applies the declared state. No application uses it (SEC-1). */
  readonly adminSecret: secretsmanager.ISecret;

  /** What the server is for. */
  readonly profile: PostgresProfile;

  /**
   * Acknowledges a finding of this library on the server and everything declared inside it, or a change that the deploy guard refused.
   *
   * @param acknowledgement the id as reported, such as `HA-1` or `guard:replacement`, and why the exception is right here
   */
  acknowledge(acknowledgement: FindingAcknowledgement): void;

  /**
   * Declares a database: its owner is a role that nobody logs in as, and PUBLIC is closed (SEC-2, SEC-6, SEC-7).
   *
   * @param databaseName its name, at most 63 bytes
   * @param options how it is made
   */
  addDatabase(databaseName: string, options?: DatabaseOptions): Database;

  /**
   * Declares a role that nobody logs in as, to hold privileges for its members in every database.
   *
   * @param roleName its name, at most 63 bytes
   * @param options how it is made
   */
  addGroupRole(roleName: string, options?: GroupRoleOptions): GroupRole;

  /**
   * Puts a pooler between the server and its applications, which `role.grantConnect(…, { through })` then connects by way of it (CP-1).
   *
   * @param id its name
   * @param pooler which one. Default: `Pooler.recommended()`, RDS Proxy before RDS and Aurora, PgBouncer on ECS before others
   */
  addPooler(id: string, pooler?: Pooler): IPooler;

  /**
   * Drops something for good, which leaving the app never does. The plan says what goes with it, and nothing happens until the hash
   * of exactly that plan is acknowledged. Take the call out of the app once it is done.
   *
   * @param dropped what goes
   * @param options why, and on what terms
   */
  drop(dropped: DroppedObject, options: DropOptions): void;

  /**
   * Lets the withheld steps of one plan run, and of no other.
   *
   * @param hash the hash of the plan, as the deployment that withheld the steps printed it
   * @param reason why they may run
   */
  acknowledgePlan(hash: string, reason: string): void;

  /**
   * Compares the server with what was applied last, on a schedule, and alarms on what somebody has changed since.
   *
   * @param options how often, and what is done about it
   */
  addDriftDetection(options?: DriftDetectionOptions): void;

  /**
   * Watches the server: alarms with thresholds that fit its size, the events of RDS, a probe function for what CloudWatch does not know,
   * and a dashboard with a row for each of the five questions (OPS-4, OPS-7). Where AWS does not run the server, the probe and its alarms.
   *
   * @param options where alarms go, and how often the probe looks
   */
  addMonitoring(options?: MonitoringOptions): IServerMonitoring;

  /**
   * Audits by pgaudit (SEC-20): the extension in every database of this state, and the role whose privileges say which tables are
   * audited access by access.
   *
   * @param options how the role is named
   */
  addAuditing(options?: AuditingOptions): Auditing;

  /**
   * Adds what the functions in isolated subnets need to reach AWS's APIs, and says what it costs a month: interface endpoints for
   * Secrets Manager and the RDS API, and the gateway to S3, but for those that the app already declares (LIB-5). After `addPooler()` it adds
   * what PgBouncer's tasks need too.
   */
  addVpcEndpoints(): void;
}

/** What the functions call. */
const OF_EXTERNAL: readonly AwsService[] = ['secretsmanager', 's3'];
const OF_MANAGED: readonly AwsService[] = ['secretsmanager', 'rds', 's3'];

const NO_PROXY =
  'RDS Proxy stands before servers that RDS or Aurora runs, and this app knows this one by its address alone; use Pooler.pgBouncer(), or ' +
  'Pooler.external() for a pooler that somebody else runs';

/**
 * What every kind of server shares: the guards' exceptions and the declared inside.
 *
 * @internal
 */
export abstract class PostgresServerBase extends Resource implements IPostgresServer {
  public abstract readonly identity: string;
  public abstract readonly host: string;
  public abstract readonly readerHost?: string;
  public abstract readonly port: number;
  public abstract readonly adminSecret: secretsmanager.ISecret;
  public abstract readonly profile: PostgresProfile;
  public abstract readonly connections: ec2.Connections;

  /** @internal */
  public abstract readonly _platform: Platform;

  private madeAlarmTopic?: sns.ITopic;

  constructor(scope: Construct, id: string) {
    super(scope, id);
  }

  public addDatabase(databaseName: string, options: DatabaseOptions = {}): Database {
    return new Database(this, childId(this, 'addDatabase', 'databaseName', 'Database', databaseName), {
      ...options,
      server: this,
      databaseName,
    });
  }

  public addGroupRole(roleName: string, options: GroupRoleOptions = {}): GroupRole {
    return new GroupRole(this, childId(this, 'addGroupRole', 'roleName', 'Role', roleName), {
      ...options,
      server: this,
      roleName,
    });
  }

  public addPooler(id: string, pooler: Pooler = Pooler.recommended()): IPooler {
    if (typeof pooler?._make !== 'function')
      throw new Error(
        `${this.node.path}: addPooler('${id}') takes Pooler.rdsProxy(), Pooler.pgBouncer() or Pooler.external(), or nothing for Pooler.recommended()`,
      );
    return pooler._make(this, id, this);
  }

  public drop(dropped: DroppedObject, options: DropOptions): void {
    dropped._declare(this, options);
  }

  public acknowledgePlan(hash: string, reason: string): void {
    ServerState.of(this).acknowledgePlan(hash, reason);
  }

  public addDriftDetection(options: DriftDetectionOptions = {}): void {
    const state = ServerState.of(this);
    requireFirst(this, 'addDriftDetection()', 'DriftDetection');
    new DriftDetection(state, options, {
      topic: () => this.someAlarmTopic(),
      pauses: this._pauses(),
    });
  }

  public addMonitoring(options: MonitoringOptions = {}): IServerMonitoring {
    requireFirst(this, 'addMonitoring()', 'Monitoring');
    refuseMisspelt(`${this.node.path}: addMonitoring()`, 'MonitoringOptions', options);
    return new ServerMonitoring(ServerState.of(this), options, {
      topic: () => this.someAlarmTopic(),
      pauses: this._pauses(),
      platform: this._platformMonitoring(),
    });
  }

  public addAuditing(options: AuditingOptions = {}): Auditing {
    const auditing = new Auditing(this, requireFirst(this, 'addAuditing()', 'Auditing'), { ...options, server: this });
    guardAuditing(this, auditing.roleName);
    return auditing;
  }

  private someAlarmTopic(): sns.ITopic {
    return (
      this._alarmTopic() ?? (this.madeAlarmTopic ??= serverAlarmTopic(this, ServerState.of(this).props.encryptionKey))
    );
  }

  /** How many sessions it takes. Undefined: nobody said. @internal */
  public _connectionCapacity(): ConnectionCapacity | undefined {
    return undefined;
  }

  /** The server of this app that it stands for in another stack. @internal */
  public _sharedFrom(): PostgresServerBase | undefined {
    return undefined;
  }

  /** How RDS Proxy names it, or why there is none before it. @internal */
  public _proxyTarget(): ProxyTarget | string {
    return NO_PROXY;
  }

  /** Whether it stops by itself when nobody is connected. @internal */
  public _pausesWhenIdle(): boolean {
    return this._pauses();
  }

  /** Whether its nodes get smaller when less is asked of them. @internal */
  public _isServerless(): boolean {
    return false;
  }

  /** Where the alarms of a pooler go. Undefined: a development server without a topic. @internal */
  public _poolerTopic(): sns.ITopic | undefined {
    return this.profile.isProduction ? this.someAlarmTopic() : this._alarmTopic();
  }

  /** What AWS knows of the server. @internal */
  protected _platformMonitoring(): PlatformMonitoring {
    return NOTHING_KNOWN;
  }

  /** Where the alarms of the server go. @internal */
  protected _alarmTopic(): sns.ITopic | undefined {
    return undefined;
  }

  /** Whether it stops by itself when nobody is connected. @internal */
  protected _pauses(): boolean {
    return false;
  }

  public addVpcEndpoints(): void {
    const { vpc, vpcSubnets, platform } = ServerState.of(this).props;
    if (!vpc)
      throw new Error(
        `${this.node.path}: addVpcEndpoints() needs the vpc from which the server is reached; pass it as vpc`,
      );
    addVpcEndpoints(this, {
      vpc,
      vpcSubnets,
      services: [...new Set([...(platform === 'external' ? OF_EXTERNAL : OF_MANAGED), ...neededServices(this)])],
    });
  }

  /** Prepares what is declared inside; nothing is created until something is. @internal */
  protected _prepareState(
    props: Omit<ServerStateProps, 'platform' | 'identity' | 'host' | 'readerHost' | 'port' | 'profile'>,
  ) {
    const state = new ServerState(this, 'State', {
      ...props,
      platform: this._platform,
      identity: this.identity,
      host: this.host,
      readerHost: this.readerHost,
      port: this.port,
      profile: this.profile.isProduction ? 'production' : 'development',
    });
    ConnectionBudget.of(this);
    return state;
  }

  public acknowledge(acknowledgement: FindingAcknowledgement): void {
    if (isGuardId(acknowledgement.id))
      this._acknowledgeGuard({ ...acknowledgement, expires: acknowledgement.expires ?? '' });
    else acknowledgeFinding(this, acknowledgement);
  }

  /** @internal */
  protected _acknowledgeGuard(acknowledgement: GuardAcknowledgement): void {
    throw new Error(
      `${this.node.path}: acknowledge({ id: '${acknowledgement.id}' }) has nothing to let pass; no deploy guard stands before a server that this app does not run`,
    );
  }
}
