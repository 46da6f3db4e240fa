import {
  Duration,
  Stack,
  Token,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import { Platform } from '../contract';
import type { ProxyTarget } from '../pooling/rds-proxy';
import { serverKey } from './encryption-key';
import { refuseMisspelt } from './known-props';
import { ConnectionCapacity, statedCapacity } from './monitoring/capacity';
import { Defaults, PostgresProfile } from './postgres-profile';
import { IPostgresServer, PostgresServerBase } from './postgres-server';
import { PostgresVersion } from './postgres-version';
import {
  given,
  requireBoolean,
  requireDefaults,
  requireIdentity,
  requireMaxConnections,
  requirePort,
  requireProfile,
  requireVersion,
} from './required';
import { ServerState, ServerStateProps } from './state/server-state';

/** What a server of RDS keeps for superusers, its own and others. */
const RESERVED_ON_RDS = 5;

/** What a stack says of the state that it declares on a server of another stack. */
export interface SharedPostgresOptions {
  /**
   * The name under which what is declared here claims its objects in the ledger. No other state on the server may have it.
   *
   * @default - the stack's name
   */
  readonly stateName?: string;

  /**
   * How often the passwords of password roles change (SEC-18).
   *
   * @default Duration.days(30)
   */
  readonly passwordRotation?: Duration;

  /**
   * Whether the functions reserve their concurrency in the account. A new account has nothing to reserve.
   *
   * @default true
   */
  readonly reserveConcurrency?: boolean;
}

/** What a server of another app is, where its identity does not say it. */
export enum SharedPostgresKind {
  /** An instance of RDS. */
  INSTANCE = 'instance',

  /** A cluster of Aurora. */
  AURORA = 'aurora',

  /** A Multi-AZ DB cluster of RDS, one writer with two readable standbys. */
  MULTI_AZ_CLUSTER = 'multiAzCluster',
}

/** An RDS or Aurora server that another app runs, in the same account and region. */
export interface SharedPostgresAttributes extends SharedPostgresOptions {
  /** The host that accepts writes. */
  readonly host: string;

  /**
   * A host that serves reads.
   *
   * @default - none
   */
  readonly readerHost?: string;

  /**
   * The port, a literal number.
   *
   * @default 5433
   */
  readonly port?: number;

  /** The server's immutable identity: `DbiResourceId` of an instance (`db-…`), `DbClusterResourceId` of a cluster (`cluster-…`). */
  readonly identity: string;

  /**
   * What the server is. The resource ids and endpoints of Aurora and of Multi-AZ DB clusters look alike, and their parameters, alarms and slots
   * are not. An identity that is no literal `db-…` needs it.
   *
   * @default - an instance, where the identity is a literal that begins with `db-`
   */
  readonly kind?: SharedPostgresKind;

  /**
   * The secret of the role that applies the declared state. With `encryptionKey`, if it has a customer key: the functions
   * need its ARN to read the secret.
   */
  readonly adminSecret: secretsmanager.ISecret;

  /** The version, which decides what may be declared inside. */
  readonly version: PostgresVersion;

  /** The network of the server. */
  readonly vpc: ec2.IVpc;

  /**
   * The subnets of the functions.
   *
   * @default - isolated subnets, or those with egress where there are none
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /** The security groups of the server, which the functions and applications may then enter. The rules are made in this stack. */
  readonly securityGroups: ec2.ISecurityGroup[];

  /**
   * Customer key of the roles' secrets and the functions' logs. Its policy must let CloudWatch Logs use it, as the key of a server of this
   * library does.
   *
   * @default - a key of its own with yearly rotation
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * Whether roles may log in with IAM tokens, as the server is set up.
   *
   * @default true
   */
  readonly iamAuthentication?: boolean;

  /**
   * How many sessions the server takes (`max_connections`), with which the connection budget is compared (CP-2, CP-4).
   *
   * @default - not known, and nothing is compared
   */
  readonly maxConnections?: number;

  /**
   * What the server is for.
   *
   * @default PostgresProfile.production()
   */
  readonly profile?: PostgresProfile;

  /**
   * The generation of defaults.
   *
   * @default Defaults.V1
   */
  readonly defaults?: Defaults;
}

/**
 * A server that another stack runs, as this stack sees it: a state of its own, with functions, roles and security group rules of its own.
 * The server's stack is not changed by it, and the functions of this stack read the administrator's secret by their own policy.
 */
export class SharedPostgres {
  /**
   * A server of this app. The server's stack exports what this one refers to, and changes in nothing else.
   *
   * @param scope the construct to declare in, in the stack that the roles, secrets and functions shall belong to
   * @param id the id of the server in that scope
   * @param server the server
   * @param options what this stack says of its state
   */
  public static fromServer(
    scope: Construct,
    id: string,
    server: IPostgresServer,
    options: SharedPostgresOptions = {},
  ): IPostgresServer {
    const path = `${scope.node.path}/${id}`;
    requireSame(path, scope, server, 'account');
    requireSame(path, scope, server, 'region');
    const { props } = ServerState.of(server);
    const inSameStack = Stack.of(scope) === Stack.of(server);
    return new SharedServer(scope, id, {
      ...props,
      ...options,
      readerHost: server.readerHost,
      profile: server.profile,
      imports: !inSameStack,
      dependencies: inSameStack ? props.dependencies : [],
      sharedFrom: server as PostgresServerBase,
    });
  }

  /**
   * A server by its attributes, such as those that its app has put into SSM parameters. Nothing ties the two stacks together.
   *
   * @param scope the construct to declare in
   * @param id the id of the server in that scope
   * @param attributes where the server is and who administers it
   */
  public static fromServerAttributes(
    scope: Construct,
    id: string,
    attributes: SharedPostgresAttributes,
  ): IPostgresServer {
    const path = `${scope.node.path}/${id}`;
    const identity = requireIdentity(path, attributes.identity, "the server's resource id");
    const port = requirePort(path, attributes.port ?? 5433, { min: 1, max: 65_535, who: 'expected' });
    const version = requireVersion(path, attributes.version);
    refuseMisspelt(path, 'SharedPostgresAttributes', attributes);
    requireBoolean(path, 'iamAuthentication', attributes.iamAuthentication);
    if (!Token.isUnresolved(identity) && !/^(db|cluster)-[A-Z0-9]+$/.test(identity)) {
      throw new Error(
        `${path}: identity is "${identity}"; write the resource id, db-… of an instance or cluster-… of a cluster, or use ExternalPostgres for a server elsewhere`,
      );
    }
    requireSame(path, scope, attributes.adminSecret, 'account');
    requireSame(path, scope, attributes.adminSecret, 'region');
    return new SharedServer(scope, id, {
      ...attributes,
      port,
      platform: requireKind(path, identity, attributes.kind) === SharedPostgresKind.AURORA ? 'aurora' : 'rds',
      majorVersion: version.majorVersion,
      trust: 'rds',
      serverSecurityGroups: attributes.securityGroups,
      profile: requireProfile(path, attributes.profile),
      defaults: requireDefaults(path, attributes.defaults),
      imports: false,
      dependencies: [],
    });
  }

  private constructor() {}
}

export interface SharedServerProps
  extends Omit<ServerStateProps, 'profile' | 'encryptionKey' | 'rotationInterval'>, SharedPostgresOptions {
  readonly profile: PostgresProfile;
  readonly encryptionKey?: kms.IKey;
  /** Whether key, secret and groups are those of another stack's constructs, which would change that stack when something is granted on them. */
  readonly imports: boolean;
  readonly dependencies: IDependable[];
  readonly maxConnections?: number;
  /** The server of this app that it stands for. */
  readonly sharedFrom?: PostgresServerBase;
  readonly proxyTarget?: () => ProxyTarget | string;
}

/** A server that stands elsewhere, with a state of its own here. */
export class SharedServer extends PostgresServerBase {
  public readonly identity: string;
  public readonly host: string;
  public readonly readerHost?: string;
  public readonly port: number;
  public readonly adminSecret: secretsmanager.ISecret;
  public readonly profile: PostgresProfile;
  public readonly connections: ec2.Connections;
  public readonly _platform: Platform;

  private readonly maxConnections?: number;
  private readonly sharedFrom?: PostgresServerBase;
  private readonly proxyTarget?: () => ProxyTarget | string;

  constructor(scope: Construct, id: string, props: SharedServerProps) {
    super(scope, id);
    this.maxConnections = requireMaxConnections(this.node.path, props.maxConnections);
    const { sharedFrom } = props;
    this.sharedFrom = sharedFrom?._sharedFrom() ?? sharedFrom;
    this.proxyTarget = props.proxyTarget;
    this.identity = props.identity;
    this.host = props.host;
    this.readerHost = props.readerHost;
    this.port = props.port;
    this.profile = props.profile;
    this._platform = props.platform;
    const key = this.keyOf(props);
    this.adminSecret = props.imports ? this.importSecret(props, key) : props.adminSecret;
    const securityGroups = (props.serverSecurityGroups ?? []).map((group, index) =>
      props.imports
        ? ec2.SecurityGroup.fromSecurityGroupId(this, `SecurityGroup${index}`, group.securityGroupId)
        : group,
    );
    this.connections = new ec2.Connections({ securityGroups, defaultPort: ec2.Port.tcp(this.port) });
    this._prepareState({
      stateName: props.stateName,
      majorVersion: props.majorVersion,
      leastVersion: props.leastVersion,
      iamAuthentication: props.iamAuthentication,
      adminSecret: this.adminSecret,
      adminRole: props.adminRole,
      trust: props.trust,
      trustLine: props.trustLine,
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      serverSecurityGroups: securityGroups,
      encryptionKey: key,
      defaults: props.defaults,
      dependencies: props.dependencies,
      reserveConcurrency: props.reserveConcurrency,
      rotationInterval: props.passwordRotation,
    });
  }

  /** @internal */
  public _connectionCapacity(): ConnectionCapacity | undefined {
    return statedCapacity(this.maxConnections, RESERVED_ON_RDS) ?? this.sharedFrom?._connectionCapacity();
  }

  /** @internal */
  public _sharedFrom(): PostgresServerBase | undefined {
    return this.sharedFrom;
  }

  /** @internal */
  public _isServerless(): boolean {
    return this.sharedFrom?._isServerless() ?? false;
  }

  /** @internal */
  public _proxyTarget(): ProxyTarget | string {
    return this.proxyTarget?.() ?? this.sharedFrom?._proxyTarget() ?? super._proxyTarget();
  }

  /** By its ARN: each grant on the key itself would change its policy, in the server's stack. That policy lets IAM policies of the account decide. */
  private keyOf(props: SharedServerProps): kms.IKey {
    if (props.imports && props.encryptionKey) return kms.Key.fromKeyArn(this, 'Key', props.encryptionKey.keyArn);
    return serverKey(this, { given: props.encryptionKey, retain: this.profile.isProduction });
  }

  private importSecret({ adminSecret, encryptionKey }: SharedServerProps, key: kms.IKey): secretsmanager.ISecret {
    const theirs = adminSecret.encryptionKey;
    return secretsmanager.Secret.fromSecretAttributes(this, 'AdminSecret', {
      ...(adminSecret.secretFullArn === undefined
        ? { secretPartialArn: adminSecret.secretArn }
        : { secretCompleteArn: adminSecret.secretFullArn }),
      encryptionKey: theirs && theirs === encryptionKey ? key : theirs,
    });
  }
}

/** Asked for where it cannot be known, since both kinds of cluster have a resource id that begins with `cluster-`. */
function requireKind(path: string, identity: string, kind: SharedPostgresKind | undefined): SharedPostgresKind {
  const known = Object.entries(SharedPostgresKind).map(([name]) => `SharedPostgresKind.${name}`);
  if (kind !== undefined && !Object.values(SharedPostgresKind).includes(kind))
    throw new Error(`${path}: kind is ${given(kind)}; write ${known.join(', ')}`);
  const isInstance = !Token.isUnresolved(identity) && identity.startsWith('db-');
  const isCluster = !Token.isUnresolved(identity) && identity.startsWith('cluster-');
  if (kind === undefined && isInstance) return SharedPostgresKind.INSTANCE;
  if (kind === undefined)
    throw new Error(
      `${path}: kind is missing; the identity ${isCluster ? `"${identity}" is that of a cluster of Aurora as of a Multi-AZ DB cluster` : 'is a token'}: ` +
        `write kind: ${known.join(', or ')}`,
    );
  if ((isInstance && kind !== SharedPostgresKind.INSTANCE) || (isCluster && kind === SharedPostgresKind.INSTANCE))
    throw new Error(
      `${path}: kind is '${kind}', and the identity "${identity}" is that of ${isInstance ? 'an instance' : 'a cluster'}`,
    );
  return kind;
}

/**
 * Secret, key, security groups and subnets are of one account and one region. From another, neither the functions' policies nor their
 * network reach them by what this stack can say alone.
 */
export function requireSame(
  path: string,
  scope: Construct,
  theirs: { readonly env: { readonly account: string; readonly region: string } },
  what: 'account' | 'region',
): void {
  const own = Stack.of(scope)[what];
  const other = theirs.env[what];
  if (Token.isUnresolved(own) || Token.isUnresolved(other) || own === other) return;
  throw new Error(
    `${path}: the server is in the ${what} ${other}, and this stack in ${own}; its secret, key and network can be used from its own ${what} alone. ` +
      "Declare the roles in a stack there, or use ExternalPostgres with a secret of this stack's own for an administrator of your making",
  );
}
