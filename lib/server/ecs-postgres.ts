import {
  Annotations,
  CfnOutput,
  Duration,
  RemovalPolicy,
  Size,
  Stack,
  aws_cloudwatch as cloudwatch,
  aws_ec2 as ec2,
  aws_ecs as ecs,
  aws_kms as kms,
  aws_lambda as lambda,
  aws_logs as logs,
  aws_s3 as s3,
  aws_secretsmanager as secretsmanager,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { Construct, Dependable, IDependable } from 'constructs';
import { Finding, addFinding } from '../compliance';
import { Platform } from '../contract';
import { serverAlarmTopic } from './alarm-topic';
import { CertificateAuthority, IssuedCertificate } from './certificate-authority';
import {
  BackupRepository,
  BackupSchedule,
  EcsBackupOptions,
  EcsBackups,
  EcsBackupsAttributes,
  acknowledgeFolder,
  repositoryStatements,
  sourceRepository,
} from './ecs/backups';
import { clusterCapability, isSynchronous } from './ecs/capability';
import {
  BootstrapModel,
  CertificateModel,
  ClusterModel,
  ETCD_CLIENT_PORT,
  ETCD_PEER_PORT,
  ETCD_VOLUME,
  MEMBER_VOLUME,
  PATRONI_PORT,
  PGBACKREST_PORT,
  POSTGRES_PORT,
  READ_ONLY_PORT,
  RESTAPI_USER,
  ROUTER_HEALTH_PORT,
  USERS,
  adminUser,
  backupCertificate,
  backupConfiguration,
  checkModel,
  etcdCertificate,
  etcdConfiguration,
  etcdName,
  memberCertificate,
  memberConfiguration,
  memberName,
  pathOf,
  routerCertificate,
  routerConfiguration,
} from './ecs/configuration';
import { HbaRule } from './ecs/hba-rule';
import { Host, unfitInstance } from './ecs/host';
import { EcsImages, clusterImages } from './ecs/images';
import { MemberService } from './ecs/member-service';
import { ClusterNetwork } from './ecs/network';
import { ClusterOperations } from './ecs/operations';
import { SMALL_MEMORY, memberMemory, memberParameters } from './ecs/parameters';
import { RecoveryTarget } from './ecs/recovery-target';
import { Router, RouterFront } from './ecs/router';
import { clusterNameOf, requireMajor, requireMembers, retentionDays, zonesOf } from './ecs/settings';
import { Storage } from './ecs/storage';
import { ClusterContext, ClusterTask, TaskImage, TaskStarter, taskLogs } from './ecs/tasks';
import { CONTAINER_FOLDERS, HOST_FOLDERS } from './ecs/user-data';
import { serverKey } from './encryption-key';
import { refusePublicSubnets } from './managed-server';
import { ConnectionCapacity, statedCapacity } from './monitoring/capacity';
import { NOTHING_KNOWN, PlatformMonitoring } from './monitoring/watched';
import { RecoveryObjectives, unmetObjectives } from './objectives';
import { Defaults, PostgresProfile } from './postgres-profile';
import { PostgresServerBase } from './postgres-server';
import { PostgresVersion } from './postgres-version';
import { IReaderEndpoint } from './replicas/reader-endpoint';
import {
  requireDefaults,
  requireInstanceType,
  requireObjectives,
  requireProfile,
  requireProps,
  requireVersion,
  requireVpc,
} from './required';
import { requireInteger } from './state/literals';
import { endpointsInStack, defaultSubnets, requireServices } from './state/vpc-services';
import { acknowledgeUnrotated } from './unrotated-secret';

/** A logical replication slot that Patroni keeps on every member. */
export interface EcsLogicalSlot {
  /** Its name: lower-case letters, digits and underscores. */
  readonly name: string;

  /** The database that it decodes. */
  readonly database: string;

  /**
   * The output plugin.
   *
   * @default 'pgoutput'
   */
  readonly plugin?: string;
}

/** Properties of `EcsPostgres`. */
export interface EcsPostgresProps {
  /** The network the server stands in. Three members need subnets in three zones. */
  readonly vpc: ec2.IVpc;

  /**
   * The subnets of members, routers and functions. Of each zone the first is taken for its member.
   *
   * @default - the isolated subnets of the network, or its private ones where it has none isolated; a public subnet is an error (SEC-15)
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /** The major version. The minor one is that of the image, which follows a rebuild. */
  readonly version: PostgresVersion;

  /**
   * What the business can bear; a server that cannot hold to it as configured is a finding (BK-1). An `rpo` below what the archive trails, about
   * two minutes, makes commits wait for a standby: nothing that was acknowledged is lost.
   */
  readonly objectives: RecoveryObjectives;

  /**
   * What the server is for.
   *
   * @default PostgresProfile.production()
   */
  readonly profile?: PostgresProfile;

  /**
   * The generation of defaults, so that an update of this package changes no server.
   *
   * @default Defaults.V1
   */
  readonly defaults?: Defaults;

  /**
   * How many members there are: 3 or 1. Of two neither may go on alone when it does not see the other, so that there would be two to fail
   * instead of one.
   *
   * @default - 3, in three zones; 1 in the development profile. One alone in production is a finding (HA-1)
   */
  readonly members?: number;

  /**
   * The class of each member's host, which the member and its etcd have for themselves.
   *
   * @default - r7g.large (Graviton, OPS-12); t4g.medium in the development profile. A burstable class in production is a finding
   */
  readonly instanceType?: ec2.InstanceType;

  /**
   * Where the data of each member are.
   *
   * @default - Storage.gp3() with 100 GiB; 20 GiB in the development profile
   */
  readonly storage?: Storage;

  /**
   * Server parameters that differ from this library's opinion. A name or a value that the version does not know is an error, and so is one that
   * the cluster sets itself.
   *
   * @default - this library's opinion, and sizes after the memory of the host
   */
  readonly parameters?: { [name: string]: string };

  /**
   * Whether a deployment that changes a parameter which needs a restart restarts the members, one after the other and the leader last.
   *
   * @default false: what waits is reported, and an alarm stays until somebody restarts them
   */
  readonly restartForParameters?: boolean;

  /**
   * The lines of `pg_hba.conf` for your roles (SEC-14). Those of the cluster come before, and a refusal of everybody else after them.
   *
   * @default - each role by password, from `networks`
   */
  readonly hba?: HbaRule[];

  /**
   * Logical replication slots that outlive a failover, on 17 and later (HA-19): Patroni makes them, and keeps them up to date on every member.
   *
   * @default - none: a slot of the leader is lost with it
   */
  readonly logicalSlots?: EcsLogicalSlot[];

  /**
   * CIDR blocks from which members, routers and poolers come.
   *
   * @default - that of the network
   */
  readonly networks?: string[];

  /**
   * How far back the server can be restored to any moment (BK-3), in whole days.
   *
   * @default - 14 days, or `objectives.history` where that is more; 1 day in the development profile. Less than 7 days in production is a
   * finding
   */
  readonly pointInTimeRecovery?: Duration;

  /**
   * How it is backed up.
   *
   * @default - into a bucket of its own: full on Sundays, differential on the other days, incremental every six hours, the write-ahead log always
   */
  readonly backup?: EcsBackupOptions;

  /**
   * How many routers there are, over the zones.
   *
   * @default - 3; 1 in the development profile
   */
  readonly routers?: number;

  /**
   * Images of your own.
   *
   * @default - built from this package when the app is deployed
   */
  readonly images?: EcsImages;

  /**
   * The machine image of the hosts: one with Amazon Linux 2023, Docker and the agent of ECS.
   *
   * @default - the newest AMI that ECS publishes for Amazon Linux 2023. A host gets a newer one when it is replaced
   */
  readonly machineImage?: ec2.IMachineImage;

  /**
   * The name of the cluster, as Patroni and the backups have it: lower-case letters, digits and hyphens, at most 41, a letter first. It is kept for
   * life: the backups are found by it.
   *
   * @default - made from the construct's path
   */
  readonly clusterName?: string;

  /**
   * The name of the role that this library's functions log in as. It may make roles and databases, and is no superuser.
   *
   * @default 'postgres_admin'
   */
  readonly masterUsername?: string;

  /**
   * Customer key of volumes, bucket, logs, secrets and alarms (BK-14, SEC-22). The volumes keep it for life.
   *
   * The policy of an imported key must let CloudWatch Logs and CloudWatch alarms use it.
   *
   * @default - a key of its own with yearly rotation, kept when the stack goes
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * Where alarms go (OPS-4).
   *
   * @default - an encrypted topic of its own, to which nobody is subscribed: a warning until somebody is. None in the development profile
   */
  readonly alarmTopic?: sns.ITopic;

  /**
   * How long the logs are kept (SEC-21).
   *
   * @default - one year; one week in the development profile
   */
  readonly logRetention?: logs.RetentionDays;

  /**
   * What becomes of volumes, bucket, ciphers and logs when they leave the stack (BK-15).
   *
   * @default RemovalPolicy.RETAIN; RemovalPolicy.DESTROY in the development profile
   */
  readonly removalPolicy?: RemovalPolicy;

  /**
   * The name under which this server's declared inside claims its objects in the ledger.
   *
   * @default - the stack's name
   */
  readonly stateName?: string;

  /**
   * How often the passwords of the administrator and of password roles change (SEC-18).
   *
   * @default Duration.days(30)
   */
  readonly passwordRotation?: Duration;

  /**
   * Whether the functions reserve their concurrency in the account. A new account has nothing to reserve; without it two rule packs
   * report LambdaConcurrency.
   *
   * @default true
   */
  readonly reserveConcurrency?: boolean;
}

/** Properties of `EcsPostgres.fromBackup()`: those of a new server, and where its data come from. */
export interface EcsPostgresFromBackupProps extends EcsPostgresProps {
  /** Whose backups the data come from. */
  readonly source: EcsBackups;

  /** How far the write-ahead log is replayed onto the backup. */
  readonly target: RecoveryTarget;
}

/** How long a member is given to stop: it hands over, writes a checkpoint, and archives its last segment, which a bucket that is away prolongs. */
const MEMBER_STOP = Duration.seconds(300);
/** The most that Fargate gives. */
const FARGATE_STOP = Duration.seconds(120);
const ETCD_STOP = Duration.seconds(30);

/** The images ask themselves: Patroni's `/liveness`, HAProxy's `/health`. */
const HEALTH_COMMAND = ['CMD', 'python3', '-B', '/opt/cdk-postgres/entrypoint.py', 'health'];

const RETENTION_FLOOR_DAYS = 7;

/** What reserves connections: `superuser_reserved_connections`. */
const RESERVED = 3;

/** The restore that `fromBackup()` hands to the constructor. */
const RESTORES = new WeakMap<
  EcsPostgresProps,
  { readonly source: EcsBackupsAttributes; readonly target: RecoveryTarget }
>();

/**
 * PostgreSQL on Amazon ECS, which you run yourself: three members in three zones, kept by Patroni, with everything declared inside as on the servers
 * that AWS runs.
 *
 * Each member is a service of one task on a host of its own, with a volume that outlives both. etcd decides who leads, pgBackRest archives into a
 * bucket, and routers behind a load balancer lead clients to the leader, or to the replicas.
 */
export class EcsPostgres extends PostgresServerBase {
  /**
   * Makes a new server from the backups of another one, as it was at a moment (BK-10). The source stays as it is.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope, another one than the source's
   * @param props those of a new server, and the source
   */
  public static fromBackup(scope: Construct, id: string, props: EcsPostgresFromBackupProps): EcsPostgres {
    const path = `${scope.node.path}/${id}`;
    const { source, target, ...rest } = requireProps(path, props, '{ source, target, vpc, version, objectives }');
    if (!(source instanceof EcsBackups))
      throw new Error(`${path}: source is missing; pass server.backups, or EcsBackups.fromAttributes()`);
    if (!(target instanceof RecoveryTarget))
      throw new Error(
        `${path}: target is missing; write how far the data go, such as RecoveryTarget.time('2026-03-01 12:00:00+00') or RecoveryTarget.latest()`,
      );
    RESTORES.set(rest, { source: source.attributes, target });
    return new EcsPostgres(scope, id, rest);
  }

  public readonly identity: string;
  public readonly host: string;
  public readonly readerHost?: string;
  public readonly port = POSTGRES_PORT;
  public readonly adminSecret: secretsmanager.ISecret;
  public readonly profile: PostgresProfile;
  public readonly connections: ec2.Connections;

  /** The address that leads to the replicas, on a port of its own: for `grantConnect(…, { endpoint })`. Undefined where there is one member. */
  public readonly readerEndpoint?: IReaderEndpoint;

  /** The cluster of ECS, in which each member is a service of its name. */
  public readonly cluster: ecs.Cluster;

  /** The name of the cluster, as Patroni and the backups have it. */
  public readonly clusterName: string;

  /** The network the server stands in. */
  public readonly vpc: ec2.IVpc;

  /** The customer key of volumes, bucket, logs, secrets and alarms. */
  public readonly encryptionKey: kms.IKey;

  /** The version. */
  public readonly version: PostgresVersion;

  /** The bucket with the backups. */
  public readonly backupBucket: s3.IBucket;

  /** Its backups, for `EcsPostgres.fromBackup()`. */
  public readonly backups: EcsBackups;

  /**
   * The function that operates the cluster: `cdk-postgres ecs … --function NAME` calls it. Its name is an output of the stack.
   */
  public readonly clusterFunction: lambda.IFunction;

  /** Where alarms go. Undefined in the development profile unless one was passed. */
  public readonly alarmTopic?: sns.ITopic;

  /** @internal */
  public readonly _platform: Platform = 'external';
  /** @internal */
  public readonly _model: ClusterModel;

  private readonly objectives: RecoveryObjectives;
  private readonly members: 1 | 3;
  private readonly storage: Storage;
  private readonly instanceType: ec2.InstanceType;
  private readonly retentionDays: number;
  private readonly removalPolicy: RemovalPolicy;
  private readonly zones: readonly ec2.ISubnet[];
  private readonly vpcSubnets: ec2.SubnetSelection;
  private readonly networkOfCluster: ClusterNetwork;
  private readonly context: ClusterContext;
  private readonly repository: BackupRepository;
  private readonly authority: CertificateAuthority;
  private readonly secrets: {
    readonly restapi: secretsmanager.Secret;
    readonly admin: secretsmanager.Secret;
  };
  private readonly restore?: { readonly source: EcsBackupsAttributes; readonly target: RecoveryTarget };
  private readonly clusterAlarms: cloudwatch.Alarm[] = [];

  /**
   * Makes the server, and all that stands around it.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. Another id is another, empty server
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: EcsPostgresProps) {
    super(scope, id);
    const path = this.node.path;
    requireProps(path, props, '{ vpc, version: PostgresVersion.V18, objectives }');
    this.restore = RESTORES.get(props);
    this.profile = requireProfile(path, props.profile);
    const production = this.profile.isProduction;
    this.version = requireMajor(path, requireVersion(path, props.version));
    this.objectives = requireObjectives(path, props.objectives);
    this.vpc = requireVpc(path, props.vpc);
    const defaults = requireDefaults(path, props.defaults);
    this.storage = props.storage ?? Storage.gp3(Size.gibibytes(production ? 100 : 20));
    this.members = requireMembers(path, props.members ?? (production ? 3 : 1));
    this.checkStorage(props);
    this.instanceType = requireInstanceType(
      path,
      props.instanceType ??
        (production
          ? ec2.InstanceType.of(ec2.InstanceClass.R7G, ec2.InstanceSize.LARGE)
          : ec2.InstanceType.of(ec2.InstanceClass.T4G, ec2.InstanceSize.MEDIUM)),
    );
    const unfit = this.storage.isEphemeral ? undefined : unfitInstance(this.instanceType);
    if (unfit) throw new Error(`${path}: ${unfit}`);
    this.retentionDays = retentionDays(path, props.pointInTimeRecovery, this.objectives, production ? 14 : 1);
    this.removalPolicy = props.removalPolicy ?? (production ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY);
    this.clusterName = clusterNameOf(this, props.clusterName);
    this.vpcSubnets = props.vpcSubnets ?? defaultSubnets(this.vpc);
    refusePublicSubnets(path, this.vpc, this.vpcSubnets);
    this.zones = zonesOf(path, this.vpc, this.vpcSubnets, this.members);

    this.encryptionKey = serverKey(this, { given: props.encryptionKey, retain: production });
    this.alarmTopic = props.alarmTopic ?? (production ? serverAlarmTopic(this, this.encryptionKey) : undefined);
    this.networkOfCluster = new ClusterNetwork(this, 'Network', {
      vpc: this.vpc,
      namespaceName: `${this.clusterName}.internal`,
      path,
    });
    const { front: frontGroup } = this.networkOfCluster;
    this.connections = new ec2.Connections({
      securityGroups: [frontGroup],
      defaultPort: ec2.Port.tcp(POSTGRES_PORT),
    });
    const front = new RouterFront(this, 'Front', {
      vpc: this.vpc,
      vpcSubnets: this.vpcSubnets,
      production,
      securityGroup: frontGroup,
    });
    this.host = front.loadBalancer.loadBalancerDnsName;

    const companions = this.removalPolicy === RemovalPolicy.DESTROY ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
    const logRetention = props.logRetention ?? (production ? logs.RetentionDays.ONE_YEAR : logs.RetentionDays.ONE_WEEK);
    const shared = { encryptionKey: this.encryptionKey, logRetention, removalPolicy: companions };
    this.cluster = this.makeCluster(taskLogs(this, 'ExecLogs', shared));
    this.identity = this.cluster.clusterArn;
    this.context = {
      ...shared,
      path,
      production,
      vpc: this.vpc,
      cluster: this.cluster,
      namespace: this.networkOfCluster.namespace,
      architecture:
        this.instanceType.architecture === ec2.InstanceArchitecture.ARM_64
          ? ecs.CpuArchitecture.ARM64
          : ecs.CpuArchitecture.X86_64,
      starter: new TaskStarter(this, 'TaskStarter', path),
      endpoints: lateEndpoints(this, this.vpc),
    };
    requireServices(this, this.vpc, this.vpcSubnets, [
      'secretsmanager',
      's3',
      'ecr.api',
      'ecr.dkr',
      'logs',
      'ssmmessages',
      ...(this.storage.isEphemeral ? [] : (['ec2', 'ecs', 'ecs-agent', 'ecs-telemetry', 'ssm'] as const)),
    ]);
    this.repository = new BackupRepository(this, 'Backups', {
      options: props.backup ?? {},
      clusterName: this.clusterName,
      path,
      retentionDays: this.retentionDays,
      encryptionKey: this.encryptionKey,
      removalPolicy: companions,
    });
    this.backupBucket = this.repository.bucket;
    this.backups = EcsBackups.fromAttributes({
      clusterName: this.clusterName,
      bucket: this.repository.bucket,
      cipherSecret: this.repository.cipher,
      encryptionKey: this.encryptionKey,
    });
    this._model = this.makeModel(props);
    try {
      checkModel(this._model);
    } catch (error) {
      throw new Error(`${path}: ${(error as Error).message}`);
    }

    this.secrets = {
      admin: this.generatedSecret('AdminSecret', 'Administrator', adminUser(this._model), companions),
      restapi: this.generatedSecret('RestApiSecret', "Patroni's REST API", RESTAPI_USER, RemovalPolicy.DESTROY),
    };
    acknowledgeRestApi(this.secrets.restapi);
    this.adminSecret = this.secrets.admin;
    this.authority = new CertificateAuthority(this, 'Certificates', {
      of: `the PostgreSQL server ${path}`,
      trustedBy: 'members and clients of the server',
      authorityName: this.clusterName,
      server: this,
      vpc: this.vpc,
      vpcSubnets: this.vpcSubnets,
      encryptionKey: this.encryptionKey,
      reserveConcurrency: props.reserveConcurrency,
      logRemovalPolicy: companions,
      endpoints: this.context.endpoints,
    });
    const { operations, ready } = this.makeTree(props, front);
    this.clusterFunction = operations.function.function;
    new CfnOutput(this, 'ClusterFunction', {
      value: this.clusterFunction.functionName,
      description: `cdk-postgres ecs --function: operates the PostgreSQL server ${path}`,
    });

    if (this.members > 1)
      this.readerEndpoint = {
        server: this,
        host: this.host,
        port: READ_ONLY_PORT,
        identity: this.identity,
        region: Stack.of(this).region,
        connections: new ec2.Connections({
          securityGroups: [frontGroup],
          defaultPort: ec2.Port.tcp(READ_ONLY_PORT),
        }),
      };
    const state = this._prepareState({
      stateName: props.stateName,
      majorVersion: this.version.majorVersion,
      iamAuthentication: false,
      adminSecret: this.adminSecret,
      adminRole: adminUser(this._model),
      trust: this.authority.trust,
      trustLine: this.authority.trustLine,
      vpc: this.vpc,
      vpcSubnets: this.vpcSubnets,
      serverSecurityGroups: [frontGroup],
      encryptionKey: this.encryptionKey,
      defaults,
      dependencies: [...ready, this.adminSecret],
      reserveConcurrency: props.reserveConcurrency,
      rotationInterval: props.passwordRotation,
    });
    state.rotateAdminSecret();
    if (production) protectStack(Stack.of(this));
    this.addGuards();
  }

  /** The alarms of the cluster, which stand also without `addMonitoring()`. Empty in the development profile without a topic. */
  public get alarms(): cloudwatch.Alarm[] {
    return [...this.clusterAlarms];
  }

  /** @internal */
  public _connectionCapacity(): ConnectionCapacity | undefined {
    const connections = Number(this._model.parameters.max_connections);
    return Number.isInteger(connections) && connections > 0
      ? { ...statedCapacity(connections, RESERVED)!, how: 'the parameter max_connections' }
      : undefined;
  }

  /** @internal */
  protected _alarmTopic(): sns.ITopic | undefined {
    return this.alarmTopic;
  }

  /** @internal */
  protected _platformMonitoring(): PlatformMonitoring {
    const slots = /^(\d+)$/.exec(this._model.parameters.max_slot_wal_keep_size ?? '')?.[1];
    return {
      ...NOTHING_KNOWN,
      storage: () => this.alarms,
      slotBytes: slots === undefined ? undefined : (Number(slots) * 1024 ** 2) / 2,
    };
  }

  private checkStorage({ members, instanceType }: EcsPostgresProps): void {
    const path = this.node.path;
    if (!(this.storage instanceof Storage))
      throw new Error(`${path}: storage is no Storage; write one such as Storage.gp3(Size.gibibytes(200))`);
    if (!this.storage.isEphemeral) return;
    if (this.profile.isProduction)
      throw new Error(
        `${path}: storage is Storage.ephemeral(), which is lost with the task, at each deployment and whenever AWS retires it; take Storage.gp3(), or ` +
          'PostgresProfile.development() for a server whose data may be lost',
      );
    if (this.members !== 1)
      throw new Error(
        `${path}: storage is Storage.ephemeral() and members is ${members ?? this.members}; one member runs on Fargate, so write members: 1, or take Storage.gp3()`,
      );
    if (instanceType)
      throw new Error(
        `${path}: storage is Storage.ephemeral(), with which the member runs on Fargate and has no host; leave instanceType out`,
      );
  }

  private makeModel(props: EcsPostgresProps): ClusterModel {
    const { restore } = this;
    const bootstrap: BootstrapModel | undefined = restore && {
      stanza: restore.source.clusterName,
      repository: sourceRepository(this, restore.source),
      target: restore.target._model,
    };
    return {
      name: this.clusterName,
      namespace: this.networkOfCluster.namespace.namespaceName,
      majorVersion: this.version._major,
      members: this.members,
      synchronous: isSynchronous(this.objectives, this.members, this.repository.archiveTimeout),
      parameters: memberParameters({
        major: this.version._major,
        memory: memberMemory(this.storage, this.instanceType),
        storageGib: this.storage.gibibytes,
        overrides: props.parameters ?? {},
      }),
      networks: props.networks ?? [this.vpc.vpcCidrBlock],
      hba: (props.hba ?? []).map((rule) => rule._model),
      routerHosts: [this.host],
      adminUser: props.masterUsername,
      backup: this.repository.model,
      bootstrap,
      logicalSlots: Object.fromEntries(
        (props.logicalSlots ?? []).map(({ name, database, plugin }) => [name, { database, plugin }]),
      ),
    };
  }

  private makeCluster(execLogs: logs.LogGroup): ecs.Cluster {
    return new ecs.Cluster(this, 'Cluster', {
      vpc: this.vpc,
      containerInsightsV2: ecs.ContainerInsights.ENABLED,
      executeCommandConfiguration: {
        kmsKey: this.encryptionKey,
        logging: ecs.ExecuteCommandLogging.OVERRIDE,
        logConfiguration: { cloudWatchLogGroup: execLogs, cloudWatchEncryptionEnabled: true },
      },
    });
  }

  /**
   * Hosts, members and routers, in the order in which a deployment goes through them: etcd, then the members, each after the one before streams
   * again, and the routers last. CloudFormation would restart all at once. `ready`: what a client needs to come in.
   */
  private makeTree(
    props: EcsPostgresProps,
    front: RouterFront,
  ): { readonly operations: ClusterOperations; readonly ready: IDependable[] } {
    const { context, networkOfCluster: network } = this;
    const images = clusterImages(this, props.images ?? {}, {
      majorVersion: this.version.majorVersion,
      architecture: this.instanceType.architecture,
    });
    const hosts = this.makeHosts(props);

    let before: IDependable[] = [];
    this.zones.forEach((subnet, index) => {
      const name = etcdName(index + 1);
      const part = new Construct(this, name);
      const certificate = this.certificateOf(part, etcdCertificate(this._model, index + 1));
      const task = this.etcdTask(part, index + 1, images.etcd, certificate, hosts[index]);
      const service = new MemberService(part, 'Member', {
        context,
        name,
        task,
        subnets: [subnet],
        securityGroup: network.etcd,
        host: hosts[index],
        exec: false,
        after: [certificate.resource, ...before],
      });
      before = [service.resource];
    });

    const operator = this.certificateOf(new Construct(this, 'Operator'), {
      commonName: 'operator',
      hosts: [`operator.${this._model.namespace}`],
    });
    const operations = new ClusterOperations(this, 'Operations', {
      context,
      server: this,
      identity: this.identity,
      model: () => this._model,
      network,
      vpcSubnets: this.vpcSubnets,
      reserveConcurrency: props.reserveConcurrency,
      certificate: operator.secret,
      restapi: this.secrets.restapi,
      after: [operator.resource],
    });
    const memberLogs = taskLogs(this, 'Logs', context);
    this.zones.forEach((subnet, index) => {
      const name = memberName(index + 1);
      const part = new Construct(this, name);
      const certificate = this.certificateOf(part, memberCertificate(this._model, index + 1));
      const task = this.memberTask(part, index + 1, images.postgres, memberLogs, certificate, hosts[index]);
      const service = new MemberService(part, 'Member', {
        context,
        name,
        task,
        subnets: [subnet],
        securityGroup: network.member,
        host: hosts[index],
        exec: true,
        after: [certificate.resource, ...before],
      });
      before = [operations.gate(`Gate-${name}`, index + 1, task.definition.taskDefinitionArn, [service.resource])];
    });
    const parameters = operations.keepConfiguration(props.restartForParameters === true, before);
    operations.watch(before);
    if (this.alarmTopic)
      this.clusterAlarms.push(
        ...operations.alarms(this.alarmTopic, { archiveTimeout: this.repository.archiveTimeout }),
      );

    const router = this.makeRouter(props, front, images.router, before);
    this.makeBackups(props, images.postgres, memberLogs, before);
    return { operations, ready: [parameters, ...router.ready] };
  }

  private makeHosts(props: EcsPostgresProps): (Host | undefined)[] {
    if (this.storage.isEphemeral) return this.zones.map(() => undefined);
    const arm = this.instanceType.architecture === ec2.InstanceArchitecture.ARM_64;
    const hosts = this.zones.map(
      (subnet, index) =>
        new Host(this, `Host-${index + 1}`, {
          context: this.context,
          member: memberName(index + 1),
          clusterName: this.clusterName,
          subnet,
          instanceType: this.instanceType,
          machineImage:
            props.machineImage ??
            ecs.EcsOptimizedImage.amazonLinux2023(arm ? ecs.AmiHardwareType.ARM : ecs.AmiHardwareType.STANDARD),
          securityGroup: this.networkOfCluster.host,
          storage: this.storage,
          stopTimeout: MEMBER_STOP.toSeconds(),
        }),
    );
    const providers = new ecs.CfnClusterCapacityProviderAssociations(this, 'CapacityProviders', {
      cluster: this.cluster.clusterName,
      capacityProviders: hosts.map(({ capacityProvider }) => capacityProvider.ref),
      defaultCapacityProviderStrategy: [],
    });
    hosts.forEach((host) => host.ready.push(providers));
    return hosts;
  }

  private certificateOf(scope: Construct, model: CertificateModel): IssuedCertificate {
    return this.authority.issue(new Construct(scope, 'Certificate'), {
      of: `${model.commonName} of the PostgreSQL server ${this.node.path}`,
      hosts: model.hosts,
      subject: model.commonName,
      client: true,
    });
  }

  private etcdTask(
    scope: Construct,
    n: number,
    image: TaskImage,
    certificate: IssuedCertificate,
    host: Host | undefined,
  ): ClusterTask {
    return new ClusterTask(scope, 'Task', {
      context: this.context,
      name: 'etcd',
      description: `${etcdName(n)}`,
      image,
      logGroup: taskLogs(scope, 'Logs', this.context),
      configuration: () => etcdConfiguration(this._model, n),
      secrets: { certificate: certificate.secret },
      user: USERS.etcd,
      ports: [ETCD_CLIENT_PORT, ETCD_PEER_PORT],
      // No health check: one that asks for a quorum would take its peers out of DNS, and they would never find each other again.
      stopTimeout: ETCD_STOP,
      ...(host
        ? {
            host: {
              volume: { host: HOST_FOLDERS.etcd, container: CONTAINER_FOLDERS.etcd },
              memoryReservation: mebibytes(this.memory, 1 / 16),
            },
          }
        : { fargate: { cpu: 256, memory: 512, volume: ETCD_VOLUME } }),
    });
  }

  private memberTask(
    scope: Construct,
    n: number,
    image: TaskImage,
    logGroup: logs.LogGroup,
    certificate: IssuedCertificate,
    host: Host | undefined,
  ): ClusterTask {
    const { source } = this.restore ?? {};
    const task = new ClusterTask(scope, 'Task', {
      context: this.context,
      name: 'postgres',
      description: `${memberName(n)}`,
      image,
      logGroup,
      configuration: () => memberConfiguration(this._model, n),
      secrets: {
        certificate: certificate.secret,
        restapi: this.secrets.restapi,
        admin: this.secrets.admin,
        ...this.ciphers(),
        ...(source ? { 'cipher-restore': source.cipherSecret } : {}),
      },
      statements: [...this.repository.statements(), ...this.sourceStatements()],
      exec: true,
      user: USERS.postgres,
      ports: [POSTGRES_PORT, PATRONI_PORT, PGBACKREST_PORT],
      // Patroni's /liveness, and not /readiness: a member that replays or copies for hours must not be ended for it.
      healthCheck: {
        command: HEALTH_COMMAND,
        interval: Duration.seconds(10),
        timeout: Duration.seconds(5),
        retries: 3,
        startPeriod: Duration.seconds(300),
      },
      stopTimeout: host ? MEMBER_STOP : FARGATE_STOP,
      ...(host
        ? {
            host: {
              volume: { host: HOST_FOLDERS.member, container: CONTAINER_FOLDERS.member },
              memoryReservation: mebibytes(this.memory, 5 / 8),
              sharedMemory: mebibytes(this.memory, 1 / 4),
              watchdog: true,
            },
          }
        : {
            fargate: {
              cpu: 1024,
              memory: SMALL_MEMORY / 1024 ** 2,
              volume: MEMBER_VOLUME,
              ephemeralStorage: this.storage.gibibytes,
            },
          }),
    });
    this.repository.acknowledgeOn(task.policy);
    if (source) acknowledgeFolder(task.policy, source.bucket, pathOf(source.clusterName, {}));
    return task;
  }

  private makeRouter(props: EcsPostgresProps, front: RouterFront, image: TaskImage, after: IDependable[]): Router {
    const part = new Construct(this, 'Router');
    const certificate = this.certificateOf(part, routerCertificate(this._model));
    const task = new ClusterTask(part, 'Task', {
      context: this.context,
      name: 'router',
      description: 'Router',
      image,
      logGroup: taskLogs(part, 'Logs', this.context),
      configuration: () => routerConfiguration(this._model),
      secrets: { certificate: certificate.secret },
      user: USERS.router,
      ports: [POSTGRES_PORT, READ_ONLY_PORT, ROUTER_HEALTH_PORT],
      healthCheck: {
        command: HEALTH_COMMAND,
        interval: Duration.seconds(10),
        timeout: Duration.seconds(5),
        retries: 3,
        startPeriod: Duration.seconds(60),
      },
      stopTimeout: FARGATE_STOP,
      fargate: { cpu: 512, memory: 1024 },
    });
    return new Router(part, 'Routers', {
      context: this.context,
      front,
      task,
      tasks: requireInteger(this, 'routers', props.routers ?? (this.profile.isProduction ? 3 : 1), 1, 30),
      vpcSubnets: this.vpcSubnets,
      securityGroup: this.networkOfCluster.router,
      after: [certificate.resource, ...after],
    });
  }

  private makeBackups(props: EcsPostgresProps, image: TaskImage, logGroup: logs.LogGroup, after: IDependable[]): void {
    const part = new Construct(this, 'Backup');
    const certificate = this.certificateOf(part, backupCertificate(this._model));
    const task = new ClusterTask(part, 'Task', {
      context: this.context,
      name: 'backup',
      description: 'Backup',
      image,
      logGroup,
      configuration: () => backupConfiguration(this._model),
      secrets: { certificate: certificate.secret, ...this.ciphers() },
      statements: this.repository.statements(),
      user: USERS.postgres,
      ports: [],
      command: ['backup', 'incr'],
      stopTimeout: FARGATE_STOP,
      fargate: { cpu: 1024, memory: 2048 },
    });
    this.repository.acknowledgeOn(task.policy);
    new BackupSchedule(part, 'Schedule', {
      context: this.context,
      options: props.backup ?? {},
      task,
      subnets: this.zones,
      securityGroup: this.networkOfCluster.backup,
      after: [certificate.resource, ...after],
    });
  }

  private ciphers() {
    const { cipher, secondCipher } = this.repository;
    return { cipher, ...(secondCipher ? { 'cipher-2': secondCipher } : {}) };
  }

  private sourceStatements() {
    const { source } = this.restore ?? {};
    if (!source) return [];
    return repositoryStatements(
      source.bucket,
      pathOf(source.clusterName, {}),
      source.encryptionKey ?? source.bucket.encryptionKey,
      false,
    );
  }

  private get memory(): number {
    return memberMemory(this.storage, this.instanceType);
  }

  private generatedSecret(id: string, of: string, username: string, removalPolicy: RemovalPolicy) {
    return new secretsmanager.Secret(this, id, {
      description: `${of} of the PostgreSQL server ${this.node.path}`,
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

  private addGuards(): void {
    const path = this.node.path;
    this.guard({
      id: 'BK-1',
      check: () => {
        const { archiveTimeout } = this.repository;
        const unmet = unmetObjectives(
          this.objectives,
          clusterCapability(this.members, this._model.synchronous, archiveTimeout),
        );
        return unmet && `${path}: ${unmet}`;
      },
      fix: 'State objectives that the business really has, or members: 3, which together lose nothing that was acknowledged and elect another leader.',
    });
    this.guard({
      id: 'BK-3',
      check: () =>
        this.retentionDays < RETENTION_FLOOR_DAYS
          ? `${path}: pointInTimeRecovery is ${this.retentionDays} days; an error that is found later than that cannot be undone`
          : undefined,
      fix: `Set pointInTimeRecovery to ${RETENTION_FLOOR_DAYS} days or more (the default is 14).`,
    });
    this.guard({
      id: 'BK-15',
      check: () => (this.removalPolicy === RemovalPolicy.DESTROY ? `${path}: removalPolicy is DESTROY` : undefined),
      fix: 'Leave removalPolicy out.',
    });
    this.guard({
      id: 'HA-1',
      check: () =>
        this.members === 1
          ? `${path}: members is 1; when its host is lost, it is away until another one has started, and when its zone is lost, until that is back`
          : undefined,
      fix: 'Write members: 3, or use PostgresProfile.development() for a server that may be away for an hour.',
    });
    this.guard({
      id: 'OPS-12',
      check: () =>
        /^t\d/.test(this.instanceType.toString())
          ? `${path}: ${this.instanceType} is burstable; when its credits end, production runs at a fraction of its speed`
          : undefined,
      fix: 'Use a Graviton class of constant speed, such as r7g.large.',
    });
    this.guard({
      id: 'LIB-12',
      check: () =>
        rootStack(Stack.of(this)).terminationProtection
          ? undefined
          : `${path}: the termination protection of stack ${rootStack(Stack.of(this)).stackName} is off`,
      fix: 'Leave terminationProtection as the server sets it.',
    });
    if (this.storage.isEphemeral)
      Annotations.of(this).addWarningV2(
        'cdk-postgres:ephemeralStorage',
        'The data of this server are lost with its task: at each deployment of the member, and whenever AWS retires it.',
      );
  }

  /** A guard of production, there in the development profile too, so that an acknowledgement of it is not taken for a mistake. */
  private guard(finding: Finding): void {
    addFinding(this, { ...finding, check: () => (this.profile.isProduction ? finding.check() : undefined) });
  }
}

function mebibytes(memory: number, share: number): number {
  return Math.floor((memory / 1024 ** 2) * share);
}

function acknowledgeRestApi(secret: secretsmanager.Secret): void {
  acknowledgeUnrotated(
    secret,
    'Members ask each other by it, within security groups of their own and over TLS, and whoever changes something shows a certificate of the ' +
      'cluster besides, which is renewed every 30 days. A rotation that reaches one member before the other would keep a failover from happening.',
  );
}

/** Known when the app is complete. */
function lateEndpoints(scope: Construct, vpc: ec2.IVpc): IDependable {
  const dependable: IDependable = {};
  Dependable.implement(dependable, {
    get dependencyRoots() {
      return endpointsInStack(scope, vpc);
    },
  });
  return dependable;
}

function protectStack(stack: Stack): void {
  rootStack(stack).terminationProtection = true;
}

function rootStack(stack: Stack): Stack {
  return stack.nestedStackParent ? rootStack(stack.nestedStackParent) : stack;
}
