import {
  Duration,
  Lazy,
  RemovalPolicy,
  Stack,
  Token,
  Validations,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_ec2 as ec2,
  aws_ecr_assets as assets,
  aws_ecs as ecs,
  aws_elasticloadbalancingv2 as elb,
  aws_iam as iam,
  aws_logs as logs,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { addFinding } from '../compliance';
import {
  METRIC_NAMESPACE,
  POOLER_FOLDER,
  POOLER_PORT,
  POOLER_VARIABLE,
  POOLER_VERSION,
  decodePooler,
  PoolerDocument,
  PoolerDocumentError,
  PoolerMetric,
  SESSION_SUFFIX,
} from '../contract';
import { poolerImage } from '../server/package-root';
import type { PostgresServerBase } from '../server/postgres-server';
import { type IReaderEndpoint, refuseHeadless } from '../server/replicas/reader-endpoint';
import { acknowledgePassThrough, acknowledgePassThroughListener } from '../server/pass-through';
import { given, requireDuration, requireWholeNumber } from '../server/required';
import { ServerState } from '../server/state/server-state';
import { defaultSubnets, requireServices } from '../server/state/vpc-services';
import { ConnectionBudget } from './budget';
import { PooledLogins, PoolerSizes, poolerSizes } from './pgbouncer-sizes';
import { PooledRole } from './pooled-role';
import { MadeCertificate, PoolerCertificate, PrivateAuthority } from './pooler-certificate';
import { IPooler, PoolerCapabilities, PoolerEndpoint, PoolMode } from './pooler-endpoint';
import { allowToServer } from './way-to-server';

/** How PgBouncer is set up (CP-14, CP-15). */
export interface PgBouncerOptions {
  /**
   * How many tasks run, over the zones. Two at least in production.
   *
   * @default 2
   */
  readonly tasks?: number;

  /**
   * Processors of each task: 1, 2 or 4. PgBouncer has one thread, so that as many processes run in it.
   *
   * @default 1
   */
  readonly vcpus?: number;

  /**
   * How many connections to the server all tasks together may open, also while a deployment doubles them (CP-3). A few for each processor of the
   * server do the most work: state it, since what is left is most often more than that, and fits whatever the others take.
   *
   * @default - what the connection budget leaves, shared with the server's other PgBouncers
   */
  readonly maxServerConnections?: number;

  /**
   * How many of each task's connections are kept for clients that need a session of their own, by `pool.forSessions()` (CP-6).
   *
   * @default 0
   */
  readonly sessionConnections?: number;

  /**
   * How many clients each task lets in.
   *
   * @default 5000
   */
  readonly maxClientConnections?: number;

  /**
   * How long a client waits for a connection of the server before it is refused.
   *
   * @default Duration.seconds(10)
   */
  readonly queryWaitTimeout?: Duration;

  /**
   * After how long a transaction in which nothing happens is ended. 0: never.
   *
   * @default Duration.seconds(60)
   */
  readonly idleTransactionTimeout?: Duration;

  /**
   * After how long a transaction is ended, whatever it does. 0: never.
   *
   * @default - never
   */
  readonly transactionTimeout?: Duration;

  /**
   * A replica or the readers that it leads to.
   *
   * @default - the writer
   */
  readonly endpoint?: IReaderEndpoint;

  /**
   * What it proves to its clients who it is.
   *
   * @default PoolerCertificate.privateAuthority()
   */
  readonly certificate?: PoolerCertificate;

  /**
   * An image of your own, with the entrypoint of the one that comes with this package. You then keep PgBouncer up to date in it.
   *
   * @default - built from the folder of this package when the app is deployed, which needs Docker
   */
  readonly image?: ecs.ContainerImage;

  /**
   * The subnets of load balancer and tasks.
   *
   * @default - those of the server's functions
   */
  readonly vpcSubnets?: ec2.SubnetSelection;
}

const DEPLOYMENT_PERCENT = 200;

/** In seconds; what Fargate takes at the most. */
const STOP_TIMEOUT = 120;

/** How often the tasks look at the secrets, in seconds. */
const SECRETS_INTERVAL = 30;

/** Until each task has seen a new password, with a look that came just too early. */
const PICK_UP = 2 * SECRETS_INTERVAL + 10;

/** A drain that is on its way has come to its last transactions by then. */
const DEREGISTRATION = Duration.seconds(60);

const USER = '10001:10001';

/** PgBouncer on ECS Fargate, with a load balancer of its own. */
export class PgBouncer extends PoolerEndpoint {
  public readonly host: string;
  public readonly port = POOLER_PORT;
  public readonly capabilities: PoolerCapabilities = CAPABILITIES;
  public readonly connections: ec2.Connections;
  public readonly loadBalancer: elb.NetworkLoadBalancer;
  public readonly _kind = 'PgBouncer';
  public readonly _trust: string;

  private readonly roles = new Map<string, PooledRole>();
  private readonly tasks: number;
  private readonly vcpus: number;
  private readonly taskRole: iam.Role;
  private readonly service: ecs.FargateService;
  private readonly certificate: MadeCertificate;
  private sessions?: SessionsOfPgBouncer;

  constructor(
    scope: Construct,
    id: string,
    private readonly base: PostgresServerBase,
    private readonly options: PgBouncerOptions,
  ) {
    super(scope, id, base);
    const path = this.node.path;
    const production = base.profile.isProduction;
    const state = ServerState.of(base);
    const { vpc, encryptionKey } = state.props;
    if (!vpc)
      throw new Error(
        `${path}: Pooler.pgBouncer() stands in a VPC, and ${base.node.path} is reached over the internet; pass the vpc from which it is reached, ` +
          'or use Pooler.external() for a pooler that somebody else runs',
      );
    this.tasks = requireWholeNumber(path, 'tasks', options.tasks ?? 2, 1, 100);
    if (production && this.tasks < 2)
      throw new Error(
        `${path}: tasks is 1; when it is replaced or its zone is lost, nobody reaches the server. Write 2 or more`,
      );
    this.vcpus = options.vcpus ?? 1;
    if (![1, 2, 4].includes(this.vcpus)) throw new Error(`${path}: vcpus is ${given(this.vcpus)}; write 1, 2 or 4`);
    checkNumbers(path, options, this.vcpus);
    const { endpoint, certificate, image: own } = options;
    if (own !== undefined && !(own instanceof ecs.ContainerImage))
      throw new Error(
        `${path}: image is ${given(own)}; write an ecs.ContainerImage, such as ecs.ContainerImage.fromRegistry('registry.example.com/pgbouncer@sha256:…')`,
      );
    // Another object would be passed over, and clients be given the root of an authority that nobody asked for.
    if (certificate !== undefined && !(certificate instanceof PoolerCertificate))
      throw new Error(
        `${path}: certificate must be what PoolerCertificate.fromSecret(secret, { hostName, trust }) or PoolerCertificate.privateAuthority() gives`,
      );
    if (endpoint && !endpoint.server)
      throw new Error(`${path}: endpoint must be a replica or server.readerEndpoint; leave it out for the writer`);
    if (endpoint && endpoint.server !== base)
      throw new Error(`${path}: endpoint is one of ${endpoint.server.node.path}; pass one of ${base.node.path}`);
    if (endpoint) refuseHeadless(`${path}: Pooler.pgBouncer({ endpoint })`, endpoint);

    const selection = options.vpcSubnets ?? state.props.vpcSubnets ?? defaultSubnets(vpc);
    const subnets = vpc.selectSubnets(selection);
    if (production && !subnets.isPendingLookup && new Set(subnets.availabilityZones).size < 2)
      throw new Error(`${path}: its subnets are in one zone, whose loss would stop it; select subnets of two or more`);
    requireServices(options.vpcSubnets ? this : base, vpc, selection, [
      'secretsmanager',
      's3',
      'ecr.api',
      'ecr.dkr',
      'logs',
    ]);

    const front = this.securityGroup('FrontSecurityGroup', vpc, 'Load balancer of the pooler');
    const inside = this.securityGroup('SecurityGroup', vpc, 'Tasks of the pooler');
    this.connections = new ec2.Connections({ securityGroups: [front], defaultPort: ec2.Port.tcp(POOLER_PORT) });
    const fromFront = 'From the load balancer of the pooler';
    inside.connections.allowFrom(front, ec2.Port.tcp(POOLER_PORT), fromFront);
    inside.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(443), 'AWS APIs and the image');
    const groups = endpoint ? endpoint.connections.securityGroups : (state.props.serverSecurityGroups ?? []);
    const ways = allowToServer(this, inside, groups, endpoint?.port ?? base.port);

    this.loadBalancer = new elb.NetworkLoadBalancer(this, 'LoadBalancer', {
      vpc,
      vpcSubnets: selection,
      internetFacing: false,
      crossZoneEnabled: true,
      deletionProtection: production,
      securityGroups: [front],
    });
    this.certificate = this.makeCertificate(state);
    this.host = this.certificate.host;
    this._trust = this.certificate.trust;

    this.taskRole = new iam.Role(this, 'TaskRole', {
      assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(this).account } },
      }),
      description: `PgBouncer ${path}`.slice(0, 1000),
    });
    const logGroup = new logs.LogGroup(this, 'Logs', {
      encryptionKey,
      retention: production ? logs.RetentionDays.ONE_YEAR : logs.RetentionDays.ONE_WEEK,
      removalPolicy: production ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });
    const image = options.image ?? this.packagedImage();
    const { executionRole, policies } = this.roles_(logGroup, image);
    const definition = this.taskDefinition(executionRole, image, logGroup);

    const cluster = new ecs.Cluster(this, 'Cluster', { vpc, containerInsightsV2: ecs.ContainerInsights.ENABLED });
    this.service = new ecs.FargateService(this, 'Service', {
      cluster,
      taskDefinition: definition,
      desiredCount: this.tasks,
      minHealthyPercent: 100,
      maxHealthyPercent: DEPLOYMENT_PERCENT,
      circuitBreaker: { rollback: true },
      availabilityZoneRebalancing: ecs.AvailabilityZoneRebalancing.ENABLED,
      assignPublicIp: false,
      vpcSubnets: selection,
      securityGroups: [inside],
    });
    const resource = this.service.node.findAll().find((child) => child instanceof ecs.CfnService) as ecs.CfnService;
    // Without a role there is no database to pool, and no task would get well.
    resource.desiredCount = Lazy.number({ produce: () => (this.roles.size === 0 ? 0 : this.tasks) });
    resource.node.addDependency(
      ...policies,
      ...ways,
      ...state.props.dependencies,
      ...this.certificate.ready,
      state.applied,
      state.endpoints,
      logGroup,
    );

    const listener = this.loadBalancer.addListener('Listener', {
      port: POOLER_PORT,
      protocol: elb.Protocol.TCP,
      // Above the keepalives of tasks and drivers, which are what keeps a quiet connection.
      tcpIdleTimeout: Duration.seconds(350),
    });
    acknowledgePassThrough(this.loadBalancer, BEHIND);
    acknowledgePassThroughListener(listener, BEHIND);
    listener.addTargets('Tasks', {
      port: POOLER_PORT,
      protocol: elb.Protocol.TCP,
      targets: [this.service.loadBalancerTarget({ containerName: CONTAINER, containerPort: POOLER_PORT })],
      deregistrationDelay: DEREGISTRATION,
      // Clients reach a task by the address of the load balancer, so that its security group is who is let in.
      preserveClientIp: false,
      healthCheck: {
        protocol: elb.Protocol.TCP,
        interval: Duration.seconds(10),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 2,
      },
    });

    if (!endpoint)
      ConnectionBudget.of(base).addPooler({
        takesRest: options.maxServerConnections === undefined,
        entry: () => ({
          kind: 'PgBouncer',
          who: path,
          connections: this.sizes().total,
          ...(options.maxServerConnections === undefined && { rest: true }),
          how:
            `${this.tasks} tasks, ${this.mostTasks} during a deployment` +
            (options.maxServerConnections === undefined
              ? '; no more than what is left, since maxServerConnections is not stated'
              : ''),
        }),
      });
    this.node.addValidation({ validate: () => this.refusedByTasks() });
    this.addGuards();
    this.addAlarms();
  }

  private get mostTasks(): number {
    return Math.floor((this.tasks * DEPLOYMENT_PERCENT) / 100);
  }

  public forReads(): IPooler {
    throw new Error(
      `${this.node.path}: a PgBouncer leads to one place; add another for reads: server.addPooler('Reads', Pooler.pgBouncer({ endpoint: server.readerEndpoint }))`,
    );
  }

  public forSessions(): IPooler {
    if ((this.options.sessionConnections ?? 0) === 0)
      throw new Error(
        `${this.node.path}: forSessions() has no connections; set sessionConnections of Pooler.pgBouncer()`,
      );
    return (this.sessions ??= new SessionsOfPgBouncer(this));
  }

  protected _admitted(role: PooledRole): void {
    const path = role.construct.node.path;
    if (!/^[A-Za-z0-9_.-]+$/.test(role.databaseName))
      throw new Error(
        `${path}: PgBouncer takes databases whose names have letters, digits, _, . and - alone, and not ${JSON.stringify(role.databaseName)}; connect to ` +
          'the server itself, or rename the database',
      );
    const key = `${role.databaseName}/${role.roleName}`;
    if (this.roles.has(key)) return;
    this.roles.set(key, role);
    if (!role.secret) return;
    // An IAM policy ends at about 45 secret ARNs; a policy of each secret's own has no such end.
    this.letRead(role.secret);
    ServerState.of(this.base).letPoolerPickUp(PICK_UP);
  }

  private letRead(secret: PooledRole['secret'] & object): void {
    const { policyDependable } = secret.addToResourcePolicy(
      new iam.PolicyStatement({
        principals: [new iam.ArnPrincipal(this.taskRole.roleArn)],
        actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
        resources: ['*'],
      }),
    );
    if (policyDependable) this.service.node.addDependency(policyDependable);
  }

  private securityGroup(id: string, vpc: ec2.IVpc, description: string): ec2.SecurityGroup {
    return new ec2.SecurityGroup(this, id, {
      vpc,
      description: `${description} ${this.node.path}`.slice(0, 255),
      allowAllOutbound: false,
    });
  }

  private makeCertificate(state: ServerState): MadeCertificate {
    const { _secret: secret, _options: own } = this.options.certificate ?? PoolerCertificate.privateAuthority();
    if (secret && own) return { secret, host: own.hostName, trust: own.trust.value, ready: [] };
    return new PrivateAuthority(this, 'Certificate', state, this.loadBalancer.loadBalancerDnsName);
  }

  private packagedImage(): assets.DockerImageAsset {
    return new assets.DockerImageAsset(this, 'Image', {
      directory: poolerImage(),
      platform: assets.Platform.LINUX_ARM64,
    });
  }

  /** Managed policies, since CDK's grants would make inline ones. */
  private roles_(logGroup: logs.LogGroup, image: ecs.ContainerImage | assets.DockerImageAsset) {
    const { encryptionKey } = ServerState.of(this.base).props;
    const { region, account } = Stack.of(this);
    const keyOfCertificate = this.certificate.secret.encryptionKey;
    const keys = new Set([encryptionKey, ...(keyOfCertificate ? [keyOfCertificate] : [])]);
    const role = new iam.Role(this, 'ExecutionRole', {
      assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': account } },
      }),
      description: `Starts the tasks of PgBouncer ${this.node.path}`.slice(0, 1000),
    });
    const task = new iam.CfnManagedPolicy(this, 'TaskPolicy', {
      policyDocument: new iam.PolicyDocument({
        statements: [
          new iam.PolicyStatement({
            actions: ['kms:Decrypt'],
            resources: [...keys].map((key) => key.keyArn),
            conditions: { StringEquals: { 'kms:ViaService': `secretsmanager.${region}.amazonaws.com` } },
          }),
          new iam.PolicyStatement({
            actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
            resources: [this.certificate.secret.secretFullArn ?? `${this.certificate.secret.secretArn}-??????`],
          }),
        ],
      }),
      roles: [this.taskRole.roleName],
    });
    const start = new iam.CfnManagedPolicy(this, 'ExecutionPolicy', {
      policyDocument: new iam.PolicyDocument({
        statements: [
          new iam.PolicyStatement({
            actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
            resources: [logGroup.logGroupArn],
          }),
          ...(image instanceof assets.DockerImageAsset
            ? [
                new iam.PolicyStatement({
                  actions: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
                  resources: [image.repository.repositoryArn],
                }),
                new iam.PolicyStatement({ actions: ['ecr:GetAuthorizationToken'], resources: ['*'] }),
              ]
            : []),
        ],
      }),
      roles: [role.roleName],
    });
    if (image instanceof assets.DockerImageAsset)
      Validations.of(start).acknowledge({
        id: 'AwsSolutions-IAM5[Resource::*]',
        reason:
          'ecr:GetAuthorizationToken has no resource level: the token is one of the registry, and what it may pull is said by the ' +
          'statement beside it, which names the one repository.',
      });
    const executionRole = image instanceof assets.DockerImageAsset ? role.withoutPolicyUpdates() : role;
    return { executionRole, policies: [task, start] };
  }

  private taskDefinition(
    executionRole: iam.IRole,
    image: ecs.ContainerImage | assets.DockerImageAsset,
    logGroup: logs.LogGroup,
  ): ecs.FargateTaskDefinition {
    const definition = new ecs.FargateTaskDefinition(this, 'Task', {
      cpu: this.vcpus * 1024,
      memoryLimitMiB: this.vcpus * 2048,
      runtimePlatform: {
        cpuArchitecture: ecs.CpuArchitecture.ARM64,
        operatingSystemFamily: ecs.OperatingSystemFamily.LINUX,
      },
      executionRole,
      taskRole: this.taskRole.withoutPolicyUpdates(),
      // Fargate encrypts it, and it goes with the task. The image's VOLUME gives it to the user of the container.
      volumes: [{ name: 'run' }],
    });
    const container = definition.addContainer(CONTAINER, {
      image: image instanceof assets.DockerImageAsset ? ecs.ContainerImage.fromDockerImageAsset(image) : image,
      user: USER,
      readonlyRootFilesystem: true,
      linuxParameters: new ecs.LinuxParameters(this, 'Linux', { initProcessEnabled: true }),
      environment: { [POOLER_VARIABLE]: Lazy.string({ produce: () => Stack.of(this).toJsonString(this.document()) }) },
      portMappings: [{ containerPort: POOLER_PORT, protocol: ecs.Protocol.TCP }],
      ulimits: [{ name: ecs.UlimitName.NOFILE, softLimit: 65_536, hardLimit: 65_536 }],
      stopTimeout: Duration.seconds(STOP_TIMEOUT),
      healthCheck: {
        command: ['CMD', 'node', '/opt/pooler/agent.js', 'health'],
        interval: Duration.seconds(15),
        timeout: Duration.seconds(5),
        retries: 3,
        startPeriod: Duration.seconds(30),
      },
      logging: ecs.LogDrivers.awsLogs({ logGroup, streamPrefix: 'pgbouncer' }),
    });
    container.addMountPoints({ sourceVolume: 'run', containerPath: POOLER_FOLDER, readOnly: false });
    Validations.of(definition).acknowledge({
      id: 'AwsSolutions-ECS2',
      reason:
        'The one variable says where the server is, how large the pools are and which secrets to read, by their ARNs. No secret is in it: ' +
        'the task reads them itself, since one that ECS puts into the environment is not renewed by a rotation.',
    });
    return definition;
  }

  private document(): PoolerDocument {
    const { options } = this;
    const { trustInJson: trust } = ServerState.of(this.base);
    const seconds = (duration: Duration | undefined) => duration?.toSeconds();
    return {
      version: POOLER_VERSION,
      server: {
        host: options.endpoint?.host ?? this.base.host,
        port: options.endpoint?.port ?? this.base.port,
        trust,
      },
      databases: this.sizes().databases,
      secrets: Object.fromEntries(
        [...this.roles.values()].flatMap(({ roleName, secret }) => (secret ? [[roleName, secret.secretArn]] : [])),
      ),
      certificateSecret: this.certificate.secret.secretArn,
      processes: this.vcpus,
      port: POOLER_PORT,
      maxClientConnections: options.maxClientConnections ?? 5000,
      timeouts: withoutUndefined({
        queryWait: seconds(options.queryWaitTimeout),
        idleTransaction: seconds(options.idleTransactionTimeout),
        transaction: seconds(options.transactionTimeout),
        // A serverless node gets smaller, or sleeps, when nobody is connected.
        serverIdle: this.base._isServerless() ? 60 : undefined,
      }),
      stopTimeout: STOP_TIMEOUT,
      secretsInterval: SECRETS_INTERVAL,
      metrics: { dimensions: this.dimensions },
    };
  }

  /** What the tasks would refuse as they start, said before anything is deployed. Tokens are known there alone. */
  private refusedByTasks(): string[] {
    if (this.roles.size === 0) return [];
    const secret = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:known-when-deployed';
    const document = this.document();
    const known = (text: string, otherwise: string) => (Token.isUnresolved(text) ? otherwise : text);
    try {
      decodePooler({
        ...document,
        server: {
          ...document.server,
          host: known(document.server.host, 'known-when-deployed'),
          trust: known(document.server.trust, 'public'),
        },
        secrets: Object.fromEntries(Object.keys(document.secrets).map((role) => [role, secret])),
        certificateSecret: secret,
        metrics: undefined,
      });
      return [];
    } catch (error) {
      if (!(error instanceof PoolerDocumentError)) throw error;
      return error.problems.map(
        (problem) =>
          `${this.node.path}: its tasks would not start: ${problem}; let such a role connect to the server itself (grantConnect() without through), ` +
          'or change the name or number',
      );
    }
  }

  private get dimensions(): Record<string, string> {
    return { Server: this.base.identity, Pooler: this.node.path };
  }

  /** What there is for each database, when all roles are known. */
  private sizes(): PoolerSizes {
    const logins = new Map<string, number>();
    for (const role of this.roles.values())
      logins.set(role.databaseName, (logins.get(role.databaseName) ?? 0) + role.logins.length);
    return poolerSizes({
      share: this.share(),
      tasks: this.mostTasks,
      processes: this.vcpus,
      sessionConnections: this.options.sessionConnections ?? 0,
      logins: [...logins].map(([database, count]): PooledLogins => ({ database, logins: count })),
    });
  }

  /** The server refuses what is above the limit of a role, and whoever waits for that connection waits in vain. */
  private rolesOverLimit(): string | undefined {
    const { databases } = this.sizes();
    const over = [...this.roles.values()].flatMap(({ roleName, databaseName, connectionLimit }) => {
      const { poolSize = 0, reservePoolSize = 0, sessionConnections = 0 } = databases[databaseName] ?? {};
      const most = (poolSize + reservePoolSize + sessionConnections) * this.mostTasks;
      return connectionLimit === undefined || connectionLimit >= most
        ? []
        : [`${roleName} has a connectionLimit of ${connectionLimit}, and its pools a size of ${most}`];
    });
    return over.length === 0
      ? undefined
      : `${this.node.path}: the role ${over.join('; ')} (${this.tasks} tasks, ${this.mostTasks} during a deployment)`;
  }

  private share(): number | undefined {
    const { maxServerConnections, endpoint } = this.options;
    if (maxServerConnections !== undefined) return maxServerConnections;
    if (endpoint) return undefined;
    const rest = ConnectionBudget.of(this.base).rest();
    return rest && Math.floor(rest.connections / rest.poolers);
  }

  private addGuards(): void {
    addFinding(this, {
      id: 'CP-3',
      check: () => {
        const { missing } = this.sizes();
        return (
          missing &&
          `${this.node.path}: ${this.options.maxServerConnections === undefined ? "what is left of the server's connections" : 'maxServerConnections'} is too little: the database ${missing}`
        );
      },
      fix: 'Let the server take more connections, fewer tasks run, or fewer roles and databases go through this pooler; `cdk-postgres budget` prints who takes what.',
    });
    addFinding(this, {
      id: 'CP-3.limit',
      severity: 'warning',
      check: () => this.rolesOverLimit(),
      fix: "Raise the role's connectionLimit to the size of its pools or leave it out, since the pools are its limit, or state a smaller maxServerConnections.",
    });
    addFinding(this, {
      id: 'CP-10.pause',
      severity: 'warning',
      check: () =>
        this.base._pausesWhenIdle()
          ? `${this.node.path}: ${this.base.node.path} is to pause when nobody is connected, and a pooler that anybody uses now and then keeps it awake`
          : undefined,
      fix: 'Set serverlessV2.minCapacity to 0.5 or more, or leave the pooler out where a few clients connect now and then.',
    });
  }

  private addAlarms(): void {
    const topic = this.base._poolerTopic();
    if (!topic) return;
    const wait = (this.options.queryWaitTimeout ?? Duration.seconds(10)).toMilliseconds();
    const alarms = [
      this.alarm(
        'ClientsWaiting',
        0,
        3,
        'clients wait for a connection: transactions are slow, or its share of the server is too small',
      ),
      this.alarm(
        'LongestWaitMilliseconds',
        wait / 2,
        3,
        'a client has waited for half of what it waits at the most: the next ones are refused',
      ),
      this.alarm('ServerFailures', 0, 3, 'it cannot connect to the server'),
      this.alarm('SecretsUnreadable', 0, 10, 'it cannot read its secrets: rotated passwords do not reach it'),
    ];
    for (const alarm of alarms) {
      alarm.addAlarmAction(new actions.SnsAction(topic));
      alarm.addOkAction(new actions.SnsAction(topic));
    }
  }

  private alarm(metricName: PoolerMetric, threshold: number, minutes: number, says: string): cloudwatch.Alarm {
    return new cloudwatch.Alarm(this, `${metricName}Alarm`, {
      alarmDescription: `${this.node.path}: ${says}`,
      metric: new cloudwatch.Metric({
        namespace: METRIC_NAMESPACE,
        metricName,
        dimensionsMap: this.dimensions,
        statistic: 'Maximum',
        period: Duration.minutes(1),
      }),
      threshold,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: minutes,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
  }
}

const CONTAINER = 'pgbouncer';

const BEHIND = { to: 'tasks', logs: 'PgBouncer' };

const CAPABILITIES: PoolerCapabilities = {
  mode: PoolMode.TRANSACTION,
  preparedStatements: true,
  sessionFeatures: false,
  iamAuthentication: false,
  cancel: true,
};

/** The alias of each database that gives every client a connection of its own. */
class SessionsOfPgBouncer extends PoolerEndpoint {
  public readonly host: string;
  public readonly port = POOLER_PORT;
  public readonly capabilities: PoolerCapabilities = { ...CAPABILITIES, mode: PoolMode.SESSION, sessionFeatures: true };
  public readonly connections: ec2.Connections;
  public readonly _kind = 'PgBouncer';
  public readonly _trust: string;

  constructor(private readonly pooler: PgBouncer) {
    super(pooler, 'Sessions', pooler.server);
    this.host = pooler.host;
    this.connections = pooler.connections;
    this._trust = pooler._trust;
  }

  protected _admitted(role: PooledRole): void {
    this.pooler._admit(role);
  }

  public _environment(role: PooledRole): Record<string, string> {
    return { ...super._environment(role), PGDATABASE: `${role.databaseName}${SESSION_SUFFIX}` };
  }
}

function checkNumbers(path: string, options: PgBouncerOptions, processes: number): void {
  const { maxServerConnections, sessionConnections, maxClientConnections } = options;
  if (maxServerConnections !== undefined)
    requireWholeNumber(path, 'maxServerConnections', maxServerConnections, 1, 100_000);
  if (sessionConnections !== undefined) requireWholeNumber(path, 'sessionConnections', sessionConnections, 0, 10_000);
  // PgBouncer takes none for no limit at all.
  if (sessionConnections !== undefined && sessionConnections > 0 && sessionConnections < processes)
    throw new Error(
      `${path}: sessionConnections is ${sessionConnections}, and each of its ${processes} processes (vcpus) needs one; write 0, or ${processes} or more`,
    );
  // Each client and each connection of the server is a file to the task, which may open 65,536.
  if (maxClientConnections !== undefined)
    requireWholeNumber(path, 'maxClientConnections', maxClientConnections, processes, 50_000);
  checkDuration(path, 'queryWaitTimeout', options.queryWaitTimeout, 1);
  checkDuration(path, 'idleTransactionTimeout', options.idleTransactionTimeout, 0);
  checkDuration(path, 'transactionTimeout', options.transactionTimeout, 0);
}

function checkDuration(path: string, prop: string, value: Duration | undefined, min: number): void {
  if (value === undefined) return;
  requireDuration(path, prop, value, 'Duration.seconds(10)');
  const seconds = value.isUnresolved() ? NaN : value.toSeconds({ integral: false });
  if (!(Number.isInteger(seconds) && seconds >= min && seconds <= 86_400))
    throw new Error(
      `${path}: ${prop} is ${Number.isNaN(seconds) ? 'a token' : `${seconds} seconds`}; PgBouncer takes ${min} to 86400 whole seconds`,
    );
}

function withoutUndefined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as T;
}
