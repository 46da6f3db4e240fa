import {
  ArnFormat,
  Duration,
  Lazy,
  RemovalPolicy,
  Stack,
  aws_cloudwatch as cloudwatch,
  aws_cloudwatch_actions as actions,
  aws_ec2 as ec2,
  aws_iam as iam,
  aws_logs as logs,
  aws_rds as rds,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { addFinding } from '../compliance';
import { serverIdentifier } from '../server/identifier';
import type { PostgresServerBase } from '../server/postgres-server';
import { given, requireBoolean, requireDuration } from '../server/required';
import { ServerState } from '../server/state/server-state';
import { defaultSubnets } from '../server/state/vpc-services';
import { ConnectionBudget } from './budget';
import { PooledRole } from './pooled-role';
import { IPooler, PoolerCapabilities, PoolerEndpoint, PoolMode } from './pooler-endpoint';
import { allowToServer } from './way-to-server';

/** How RDS Proxy is set up (CP-10). */
export interface RdsProxyOptions {
  /**
   * How much of the server's `max_connections` it may use, 1 to 100 percent. All proxies of a server together get 80, so that migrations,
   * operators and replication find room (CP-3).
   *
   * @default - 80, or an equal share of what the other proxies of the server leave of it
   */
  readonly maxConnectionsPercent?: number;

  /**
   * How much of `max_connections` it keeps open while nobody needs it. Less lets a serverless node shrink, more spares reconnects.
   *
   * @default - half of maxConnectionsPercent
   */
  readonly maxIdleConnectionsPercent?: number;

  /**
   * How long a client waits for a connection of the server, 1 to 300 seconds. Shorter than the time-out of whoever calls the client, which
   * otherwise never sees the error.
   *
   * @default Duration.seconds(10)
   */
  readonly borrowTimeout?: Duration;

  /**
   * After how long a client that asks nothing is disconnected, 1 second to 8 hours. A Lambda function that is frozen holds what it pinned until then.
   *
   * @default Duration.minutes(15)
   */
  readonly idleClientTimeout?: Duration;

  /**
   * Whether the proxy logs the text of statements. RDS switches it off again after 24 hours. A finding in production (CP-10).
   *
   * @default false
   */
  readonly debugLogging?: boolean;

  /**
   * Not for PostgreSQL: an error that says what to do instead.
   *
   * @default - none
   */
  readonly sessionPinningFilters?: string[];

  /**
   * Not for PostgreSQL: an error that says what to do instead.
   *
   * @default - none
   */
  readonly initQuery?: string;

  /**
   * The subnets, in two zones at least.
   *
   * @default - those of the server's functions
   */
  readonly vpcSubnets?: ec2.SubnetSelection;
}

/** How RDS names what a proxy stands before. */
export interface ProxyTarget {
  readonly clusterIdentifier?: string;
  readonly instanceIdentifier?: string;
  /** Whether the proxy can lead to nodes that serve reads, or why it cannot. */
  readonly readers: true | string;
}

/** All proxies listen there for PostgreSQL, whatever the port of the server ("Quotas and limitations for RDS Proxy"). */
const PORT = 5432;

/** What all proxies of a server may take together (CP-3). */
const MOST_PERCENT = 80;

const MOST_SECRETS = 200;

interface Share {
  readonly path: string;
  readonly percent?: number;
}

/** By server, what its proxies ask for. */
const SHARES = new WeakMap<PostgresServerBase, Share[]>();

/** RDS Proxy before an instance or cluster. */
export class RdsProxy extends PoolerEndpoint {
  public readonly host: string;
  public readonly port = PORT;
  public readonly capabilities: PoolerCapabilities = {
    mode: PoolMode.TRANSACTION,
    preparedStatements: true,
    sessionFeatures: false,
    iamAuthentication: true,
    cancel: false,
  };
  public readonly connections: ec2.Connections;
  public readonly _kind = 'RDS Proxy';
  /** Its certificate is one of AWS Certificate Manager, whose roots every client has. */
  public readonly _trust = 'public';

  private readonly roles = new Map<string, PooledRole>();
  private readonly proxy: rds.CfnDBProxy;
  private readonly targetGroup: rds.CfnDBProxyTargetGroup;
  private readonly role: iam.Role;
  private readonly subnetIds: string[];
  private readonly name: string;
  /** The server that runs, whose connections all its proxies share. */
  private readonly owner: PostgresServerBase;
  private readers?: ReadersOfProxy;

  constructor(
    scope: Construct,
    id: string,
    private readonly base: PostgresServerBase,
    private readonly target: ProxyTarget,
    private readonly options: RdsProxyOptions,
  ) {
    super(scope, id, base);
    const path = this.node.path;
    checkOptions(path, options);
    const state = ServerState.of(base);
    const { encryptionKey, serverSecurityGroups = [] } = state.props;
    const vpc = state.props.vpc!;
    const selection = options.vpcSubnets ?? state.props.vpcSubnets ?? defaultSubnets(vpc);
    const subnets = vpc.selectSubnets(selection);
    if (!subnets.isPendingLookup && new Set(subnets.availabilityZones).size < 2)
      throw new Error(
        `${path}: vpcSubnets are in ${new Set(subnets.availabilityZones).size} zone; RDS Proxy stands in two or more`,
      );
    this.subnetIds = subnets.subnetIds;
    this.name = serverIdentifier(this, undefined);

    const securityGroup = new ec2.SecurityGroup(this, 'SecurityGroup', {
      vpc,
      description: `RDS Proxy ${path}`.slice(0, 255),
      allowAllOutbound: false,
    });
    this.connections = new ec2.Connections({ securityGroups: [securityGroup], defaultPort: ec2.Port.tcp(PORT) });
    const ways = allowToServer(this, securityGroup, serverSecurityGroups, base.port);

    this.role = new iam.Role(this, 'Role', {
      // "RDS Proxy doesn't support any global condition context keys", aws:SourceAccount among them.
      assumedBy: new iam.ServicePrincipal('rds.amazonaws.com'),
      description: `RDS Proxy ${path}`.slice(0, 1000),
    });
    const policy = new iam.CfnManagedPolicy(this, 'Policy', {
      policyDocument: Lazy.any({ produce: () => new iam.PolicyDocument({ statements: this.statements() }) }),
      roles: [this.role.roleName],
    });
    // RDS would make it without key and without end.
    const logGroup = new logs.LogGroup(this, 'Logs', {
      logGroupName: `/aws/rds/proxy/${this.name}`,
      encryptionKey,
      retention: base.profile.isProduction ? logs.RetentionDays.ONE_YEAR : logs.RetentionDays.ONE_WEEK,
      removalPolicy: base.profile.isProduction ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
    });

    this.proxy = new rds.CfnDBProxy(this, 'Resource', {
      dbProxyName: this.name,
      engineFamily: 'POSTGRESQL',
      requireTls: true,
      roleArn: this.role.roleArn,
      defaultAuthScheme: Lazy.string({ produce: () => (this.letsTokensIn ? 'IAM_AUTH' : 'NONE') }),
      auth: Lazy.any({ produce: () => this.secrets() }, { omitEmptyArray: true }),
      idleClientTimeout: (options.idleClientTimeout ?? Duration.minutes(15)).toSeconds(),
      debugLogging: options.debugLogging ?? false,
      vpcSecurityGroupIds: [securityGroup.securityGroupId],
      vpcSubnetIds: this.subnetIds,
    });
    this.host = this.proxy.attrEndpoint;
    // The proxy logs in as the roles, so they, their passwords and the policies of their secrets come first.
    this.proxy.node.addDependency(policy, logGroup, ...ways, ...state.props.dependencies, state.applied);

    this.targetGroup = new rds.CfnDBProxyTargetGroup(this, 'Targets', {
      dbProxyName: this.proxy.ref,
      targetGroupName: 'default',
      ...(target.clusterIdentifier === undefined
        ? { dbInstanceIdentifiers: [target.instanceIdentifier!] }
        : { dbClusterIdentifiers: [target.clusterIdentifier] }),
      connectionPoolConfigurationInfo: {
        maxConnectionsPercent: Lazy.number({ produce: () => this.percent }),
        maxIdleConnectionsPercent: Lazy.number({
          produce: () => options.maxIdleConnectionsPercent ?? Math.floor(this.percent / 2),
        }),
        connectionBorrowTimeout: (options.borrowTimeout ?? Duration.seconds(10)).toSeconds(),
      },
    });
    this.targetGroup.node.addDependency(...ways, ...state.props.dependencies);

    this.owner = base._sharedFrom() ?? base;
    SHARES.set(this.owner, [...(SHARES.get(this.owner) ?? []), { path, percent: options.maxConnectionsPercent }]);
    ConnectionBudget.of(base).addPooler({
      takesRest: false,
      entry: () => {
        const capacity = base._connectionCapacity();
        const connections = capacity && Math.ceil((capacity.connections * this.percent) / 100);
        return { kind: 'RDS Proxy', who: path, connections, how: `${this.percent} % of max_connections` };
      },
    });
    this.node.addValidation({
      validate: () => {
        const { maxIdleConnectionsPercent: idle } = options;
        return idle !== undefined && idle > this.percent
          ? [
              `${path}: maxIdleConnectionsPercent is ${idle}, and the proxy may use ${this.percent} % of the server's connections, beside the server's other ` +
                `proxies; write ${this.percent} or less, or state maxConnectionsPercent`,
            ]
          : [];
      },
    });
    this.addGuards();
    const topic = base._poolerTopic();
    if (topic) {
      for (const alarm of [this.pinningAlarm(), this.borrowAlarm()]) {
        alarm.addAlarmAction(new actions.SnsAction(topic));
        alarm.addOkAction(new actions.SnsAction(topic));
      }
    }
  }

  /** What it takes of the server's connections. */
  private get percent(): number {
    if (this.options.maxConnectionsPercent !== undefined) return this.options.maxConnectionsPercent;
    const shares = SHARES.get(this.owner)!;
    const stated = shares.reduce((sum, { percent }) => sum + (percent ?? 0), 0);
    const open = shares.filter(({ percent }) => percent === undefined).length;
    return Math.max(1, Math.floor((MOST_PERCENT - stated) / open));
  }

  public forReads(): IPooler {
    if (this.target.readers !== true) throw new Error(`${this.node.path}: forReads(): ${this.target.readers}`);
    return (this.readers ??= new ReadersOfProxy(this, {
      name: this.name,
      proxyName: this.proxy.ref,
      securityGroup: this.connections.securityGroups[0]!,
      subnetIds: this.subnetIds,
      targets: this.targetGroup,
    }));
  }

  protected _admitted(role: PooledRole): void {
    const path = role.construct.node.path;
    if (role.method === 'alternatingPasswords') {
      throw new Error(
        `${path}: authentication is Authentication.alternatingPasswords(), and RDS Proxy knows the one user that a secret names: a client that still ` +
          'has the login of before the rotation would be refused. Use Authentication.password(), since the proxy keeps its connections over a rotation, or Authentication.iam()',
      );
    }
    if (role.actsAs !== undefined) {
      throw new Error(
        `${path}: actsAs is ${role.actsAs}, which a setting of the role switches to at login, and RDS Proxy may lose it on a connection that it pinned; ` +
          'leave through out, so that it connects to the server itself, as migrations must (CP-13)',
      );
    }
    if (this.roles.has(role.roleName)) return;
    this.roles.set(role.roleName, role);
    if (role.secret) {
      // An IAM policy ends at about 45 secret ARNs; a policy of each secret's own has no such end.
      const { policyDependable } = role.secret.addToResourcePolicy(
        new iam.PolicyStatement({
          principals: [new iam.ArnPrincipal(this.role.roleArn)],
          actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
          resources: ['*'],
        }),
      );
      if (policyDependable) this.proxy.node.addDependency(policyDependable);
    }
  }

  public _tokenArn(role: PooledRole): string {
    const id = Stack.of(this).splitArn(this.proxy.attrDbProxyArn, ArnFormat.COLON_RESOURCE_NAME).resourceName!;
    return Stack.of(this).formatArn({ service: 'rds-db', resource: `dbuser:${id}`, resourceName: role.roleName });
  }

  /** A proxy without any role yet has to be of one kind, and this one needs no secret. */
  private get letsTokensIn(): boolean {
    const methods = [...this.roles.values()].map(({ method }) => method);
    return methods.length === 0 || methods.includes('iam');
  }

  private secrets(): rds.CfnDBProxy.AuthFormatProperty[] {
    return [...this.roles.values()].flatMap(({ secret, roleName }) =>
      secret
        ? [
            {
              authScheme: 'SECRETS',
              clientPasswordAuthType: 'POSTGRES_SCRAM_SHA_256',
              description: roleName,
              iamAuth: 'DISABLED',
              secretArn: secret.secretArn,
            },
          ]
        : [],
    );
  }

  private statements(): iam.PolicyStatement[] {
    const stack = Stack.of(this);
    const { encryptionKey } = ServerState.of(this.base).props;
    const users = [...this.roles.values()].filter(({ method }) => method === 'iam').map(({ roleName }) => roleName);
    return [
      new iam.PolicyStatement({
        actions: ['kms:Decrypt'],
        resources: [encryptionKey.keyArn],
        conditions: { StringEquals: { 'kms:ViaService': `secretsmanager.${stack.region}.amazonaws.com` } },
      }),
      ...(users.length === 0
        ? []
        : [
            new iam.PolicyStatement({
              actions: ['rds-db:connect'],
              resources: users.map((user) =>
                stack.formatArn({ service: 'rds-db', resource: `dbuser:${this.base.identity}`, resourceName: user }),
              ),
            }),
          ]),
    ];
  }

  private addGuards(): void {
    const path = this.node.path;
    const production = this.base.profile.isProduction;
    addFinding(this, {
      id: 'CP-3',
      check: () => {
        const shares = SHARES.get(this.owner)!;
        const sum = shares.reduce((total, { percent }) => total + (percent ?? 0), 0);
        const open = shares.filter(({ percent }) => percent === undefined).length;
        // Each proxy has the guard, and one of them reports for all.
        if (shares[0]!.path !== path || sum + open <= MOST_PERCENT) return undefined;
        return (
          `${path}: the proxies of ${this.base.node.path} take ${sum} % of its connections` +
          `${open > 0 ? ` before ${open} more that state${open === 1 ? 's' : ''} none` : ''}, and ${100 - MOST_PERCENT} % are to be left for migrations, operators and replication`
        );
      },
      fix: `Lower maxConnectionsPercent, so that all proxies of the server together have ${MOST_PERCENT} or less.`,
    });
    addFinding(this, {
      id: 'CP-10',
      check: () =>
        production && this.proxy.debugLogging === true
          ? `${path}: debugLogging is on; the proxy logs the text of statements, with the values in them`
          : undefined,
      fix: 'Leave debugLogging out. To look at one problem, switch it on by hand for the 24 hours after which RDS switches it off.',
    });
    addFinding(this, {
      id: 'CP-10.pause',
      severity: 'warning',
      check: () =>
        this.base._pausesWhenIdle()
          ? `${path}: ${this.base.node.path} is to pause when nobody is connected, and RDS Proxy stays connected: it never pauses, and both are paid for`
          : undefined,
      fix: 'Set serverlessV2.minCapacity to 0.5 or more, or leave the pooler out where a few clients connect now and then.',
    });
    addFinding(this, {
      id: 'CP-11',
      check: () => {
        const count = this.secrets().length;
        return count > MOST_SECRETS
          ? `${path}: ${count} roles log in by password through the proxy, and it takes ${MOST_SECRETS} secrets`
          : undefined;
      },
      fix: 'Let roles log in by Authentication.iam(), which needs no secret, or add a second pooler.',
    });
  }

  private metric(metricName: string, statistic: string): cloudwatch.Metric {
    return new cloudwatch.Metric({
      namespace: 'AWS/RDS',
      metricName,
      dimensionsMap: { ProxyName: this.name },
      statistic,
      period: Duration.minutes(5),
    });
  }

  /** A pinned connection is lent to one client for as long as that stays: multiplexing is lost (CP-12). */
  private pinningAlarm(): cloudwatch.Alarm {
    return new cloudwatch.Alarm(this, 'PinningAlarm', {
      alarmDescription: `A tenth of the connections of ${this.node.path} is pinned to one client each: find in its log who sets, prepares or locks by SQL`,
      metric: new cloudwatch.MathExpression({
        expression: 'IF(connections > 0, 100 * pinned / connections, 0)',
        label: 'Pinned connections, percent',
        usingMetrics: {
          pinned: this.metric('DatabaseConnectionsCurrentlySessionPinned', 'Sum'),
          connections: this.metric('DatabaseConnections', 'Sum'),
        },
        period: Duration.minutes(5),
      }),
      threshold: 10,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 3,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
  }

  /** In microseconds: what a client waits before its statement even starts (CP-18). */
  private borrowAlarm(): cloudwatch.Alarm {
    return new cloudwatch.Alarm(this, 'BorrowLatencyAlarm', {
      alarmDescription: `Clients of ${this.node.path} wait more than 100 ms for a connection: its share is used up, by slow transactions or by pinning`,
      metric: this.metric('DatabaseConnectionsBorrowLatency', 'Average'),
      threshold: 100_000,
      comparisonOperator: cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
      evaluationPeriods: 3,
      treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
    });
  }
}

/** The endpoint of a proxy that leads to the readers. */
class ReadersOfProxy extends PoolerEndpoint {
  public readonly host: string;
  public readonly port = PORT;
  public readonly capabilities: PoolerCapabilities;
  public readonly connections: ec2.Connections;
  public readonly _kind = 'RDS Proxy';
  public readonly _trust = 'public';

  constructor(
    private readonly proxy: RdsProxy,
    made: {
      readonly name: string;
      readonly proxyName: string;
      readonly securityGroup: ec2.ISecurityGroup;
      readonly subnetIds: string[];
      readonly targets: rds.CfnDBProxyTargetGroup;
    },
  ) {
    super(proxy, 'Readers', proxy.server);
    this.capabilities = proxy.capabilities;
    this.connections = proxy.connections;
    const endpoint = new rds.CfnDBProxyEndpoint(this, 'Resource', {
      dbProxyName: made.proxyName,
      dbProxyEndpointName: `${made.name.slice(0, 54)}-readers`,
      targetRole: 'READ_ONLY',
      vpcSecurityGroupIds: [made.securityGroup.securityGroupId],
      vpcSubnetIds: made.subnetIds,
    });
    // RDS refuses an endpoint for reads while the proxy knows no cluster with readers.
    endpoint.node.addDependency(made.targets);
    this.host = endpoint.attrEndpoint;
  }

  protected _admitted(role: PooledRole): void {
    this.proxy._admit(role);
  }

  public _tokenArn(role: PooledRole): string {
    return this.proxy._tokenArn(role);
  }
}

function checkOptions(path: string, options: RdsProxyOptions): void {
  if (options.sessionPinningFilters !== undefined) {
    throw new Error(
      `${path}: sessionPinningFilters is set, and RDS Proxy has none for PostgreSQL; leave it out, and set what sessions need on the role ` +
        '(settings and searchPath of addLoginRole()), which pins nothing',
    );
  }
  if (options.initQuery !== undefined) {
    throw new Error(
      `${path}: initQuery is set; whoever may read the proxy's configuration reads it, no other pooler has it, and CDK calls it not supported for PostgreSQL. ` +
        'Leave it out, and set what sessions need on the role (settings and searchPath of addLoginRole())',
    );
  }
  requireBoolean(path, 'debugLogging', options.debugLogging);
  const { maxConnectionsPercent: most, maxIdleConnectionsPercent: idle } = options;
  if (most !== undefined && !(Number.isInteger(most) && most >= 1 && most <= 100))
    throw new Error(`${path}: maxConnectionsPercent is ${given(most)}; write whole percents from 1 to 100`);
  if (idle !== undefined && !(Number.isInteger(idle) && idle >= 0 && idle <= (most ?? MOST_PERCENT)))
    throw new Error(
      `${path}: maxIdleConnectionsPercent is ${given(idle)}; write whole percents from 0 to maxConnectionsPercent (${most ?? MOST_PERCENT})`,
    );
  checkSeconds(path, 'borrowTimeout', options.borrowTimeout, 1, 300);
  checkSeconds(path, 'idleClientTimeout', options.idleClientTimeout, 1, 8 * 3600);
}

function checkSeconds(path: string, prop: string, value: Duration | undefined, min: number, max: number): void {
  if (value === undefined) return;
  requireDuration(path, prop, value, 'Duration.seconds(10)');
  const seconds = value.isUnresolved() ? NaN : value.toSeconds({ integral: false });
  if (!(Number.isInteger(seconds) && seconds >= min && seconds <= max))
    throw new Error(
      `${path}: ${prop} is ${Number.isNaN(seconds) ? 'a token' : `${seconds} seconds`}; RDS Proxy takes ${min} to ${max} whole seconds`,
    );
}
