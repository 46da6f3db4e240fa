import {
  Size,
  Stack,
  Token,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_rds as rds,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Construct, IConstruct } from 'constructs';
import { Platform } from '../contract';
import { existingCluster, existingInstance, scalingOf } from './monitoring/existing';
import { PlatformMonitoring } from './monitoring/watched';
import type { ProxyTarget } from '../pooling/rds-proxy';
import { Defaults, PostgresProfile } from './postgres-profile';
import { IPostgresServer } from './postgres-server';
import { PostgresVersion } from './postgres-version';
import { requireBoolean, requireDefaults, requireInstanceType, requireProfile } from './required';
import { SharedPostgresOptions, SharedServer, SharedServerProps, requireSame } from './shared-postgres';

/** What is said of a server that aws-rds made, where its construct does not say it. */
export interface ManagedPostgresOptions extends SharedPostgresOptions {
  /**
   * The secret with `username` and `password` of the role that applies the declared state.
   *
   * @default - the `secret` of the construct. One made from a snapshot or imported may have none, which is an error
   */
  readonly adminSecret?: secretsmanager.ISecret;

  /**
   * The server's immutable identity: `DbiResourceId` of an instance (`db-…`), `DbClusterResourceId` of a cluster (`cluster-…`).
   *
   * @default - as the construct knows it. An imported one may not, which is an error
   */
  readonly identity?: string;

  /**
   * The port, a literal number.
   *
   * @default - as the construct knows it, or PostgreSQL's own 5432 where it was made without one
   */
  readonly port?: number;

  /**
   * The version, which decides what may be declared inside.
   *
   * @default - that of the construct's engine. Where it has none, the function reads it from the server
   */
  readonly version?: PostgresVersion;

  /**
   * The network of the server.
   *
   * @default - that of the construct. An imported one has none, which is an error
   */
  readonly vpc?: ec2.IVpc;

  /**
   * The subnets of the functions.
   *
   * @default - isolated subnets, or those with egress where there are none
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /**
   * The security groups of the server, which the functions and applications may then enter. The rules are resources of their own.
   *
   * @default - those of the construct. An imported one may have none, which is an error
   */
  readonly securityGroups?: ec2.ISecurityGroup[];

  /**
   * Customer key of the roles' secrets and the functions' logs. It is not the key of the storage: its policy gets a statement that
   * lets CloudWatch Logs use it, unless it belongs to another stack, where it must have one.
   *
   * @default - a key of its own with yearly rotation
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * Whether roles may log in with IAM tokens, as the server is set up.
   *
   * @default - as the construct has it; false for an imported one
   */
  readonly iamAuthentication?: boolean;

  /**
   * The class, of a cluster that of its smallest node. Thresholds of `addMonitoring()` follow it.
   *
   * @default - as the construct has it. An imported one does not say it: then nothing watches the memory, and the probe measures how
   * many connections are used
   */
  readonly instanceType?: ec2.InstanceType;

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

/** A cluster of aws-rds, and what its construct does not say. */
export interface ManagedPostgresClusterOptions extends ManagedPostgresOptions {
  /** The cluster: made in this app, looked up, or imported by its attributes. */
  readonly cluster: rds.IDatabaseCluster;
}

/** An instance of aws-rds, and what its construct does not say. */
export interface ManagedPostgresInstanceOptions extends ManagedPostgresOptions {
  /** The instance: made in this app, looked up, or imported by its attributes. Not a read replica. */
  readonly instance: rds.IDatabaseInstance;

  /**
   * The storage that it was created with. Thresholds of `addMonitoring()` follow it.
   *
   * @default - as the construct has it. An imported one does not say it: then less than 5 GiB of free storage alarms, and nothing
   * watches how much of the storage is WAL
   */
  readonly allocatedStorage?: Size;
}

/**
 * A server that `aws-cdk-lib/aws-rds` made or imported, so that its inside can be declared. The construct of aws-rds, and what it makes,
 * stays as it is; what the state needs is made beside it.
 */
export class ManagedPostgres {
  /**
   * The server that a `DatabaseCluster` is.
   *
   * @param scope the construct to declare in, in the stack that the roles, secrets and functions shall belong to
   * @param id the id of the server in that scope
   * @param options the cluster, and what it does not say
   */
  public static fromCluster(scope: Construct, id: string, options: ManagedPostgresClusterOptions): IPostgresServer {
    const { cluster } = options;
    const path = `${scope.node.path}/${id}`;
    if (!cluster) throw new Error(`${path}: cluster is ${String(cluster)}; pass a DatabaseCluster of aws-rds`);
    if ('instanceEndpoint' in cluster)
      throw new Error(
        `${path}: cluster is ${(cluster as IConstruct).node.path}, an instance; use ManagedPostgres.fromInstance() with { instance }`,
      );
    const resource = cluster.node.defaultChild;
    const cfn = rds.CfnDBCluster.isCfnDBCluster(resource) ? resource : undefined;
    if (cfn?.replicationSourceIdentifier !== undefined) refuseReplica(path, cluster);
    return existingServer(scope, id, options, {
      construct: cluster,
      engine: cluster.engine,
      kind: 'cluster',
      identity: known(() => cluster.clusterResourceIdentifier),
      endpoint: known(() => cluster.clusterEndpoint),
      readerHost: known(() => cluster.clusterReadEndpoint)?.hostname,
      // CloudFormation gives each engine of a cluster a port of its own, so that none is guessed.
      port: cfn?.port,
      iam: cfn?.enableIamDatabaseAuthentication,
      // Which node of several will be the writer is not known, and the functions need it.
      made: cfn ? [cfn, ...nodesOf(cluster)] : [],
      secret: isSecretApplied(cfn) ? secretOf(cluster) : undefined,
      pauses: pausesOf(cfn),
      watch: (server) =>
        existingCluster(server, cluster, { instanceType: options.instanceType, pauses: pausesOf(cfn) }),
      hasReaders: !cfn || cfn.engine === 'postgres' || nodesOf(cluster).length > 1,
    });
  }

  /**
   * The server that a `DatabaseInstance` is.
   *
   * @param scope the construct to declare in, in the stack that the roles, secrets and functions shall belong to
   * @param id the id of the server in that scope
   * @param options the instance, and what it does not say
   */
  public static fromInstance(scope: Construct, id: string, options: ManagedPostgresInstanceOptions): IPostgresServer {
    const { instance } = options;
    const path = `${scope.node.path}/${id}`;
    if (!instance) throw new Error(`${path}: instance is ${String(instance)}; pass a DatabaseInstance of aws-rds`);
    if ('clusterEndpoint' in instance)
      throw new Error(
        `${path}: instance is ${(instance as IConstruct).node.path}, a cluster; use ManagedPostgres.fromCluster() with { cluster }`,
      );
    const resource = instance.node.defaultChild;
    const cfn = rds.CfnDBInstance.isCfnDBInstance(resource) ? resource : undefined;
    if (cfn?.sourceDbInstanceIdentifier !== undefined || cfn?.sourceDbClusterIdentifier !== undefined)
      refuseReplica(path, instance);
    return existingServer(scope, id, options, {
      construct: instance,
      engine: instance.engine,
      kind: 'instance',
      identity: known(() => instance.instanceResourceId),
      endpoint: known(() => instance.instanceEndpoint),
      port: cfn ? Number(cfn.port ?? 5432) : undefined,
      iam: cfn?.enableIamDatabaseAuthentication,
      made: cfn ? [cfn] : [],
      secret: secretOf(instance),
      pauses: false,
      watch: (server) => existingInstance(server, instance, options),
      hasReaders: false,
    });
  }

  private constructor() {}
}

/** What is read from a construct of aws-rds. */
interface Found {
  readonly construct: rds.IDatabaseCluster | rds.IDatabaseInstance;
  readonly kind: 'cluster' | 'instance';
  readonly engine?: rds.IEngine;
  readonly identity?: string;
  readonly endpoint?: rds.Endpoint;
  readonly readerHost?: string;
  readonly port?: number;
  readonly iam: unknown;
  /** The resources that the app makes for it. Empty: it is imported. */
  readonly made: IConstruct[];
  readonly secret?: secretsmanager.ISecret;
  readonly pauses: boolean;
  readonly watch: (server: Construct) => PlatformMonitoring;
  /** Whether nodes serve reads, as far as this app knows. */
  readonly hasReaders: boolean;
}

function existingServer(scope: Construct, id: string, options: ManagedPostgresOptions, found: Found): IPostgresServer {
  const path = `${scope.node.path}/${id}`;
  const { construct, kind, engine, endpoint } = found;
  if (options.instanceType) requireInstanceType(path, options.instanceType);
  const name = construct.node.path;
  requireSame(path, scope, construct, 'account');
  requireSame(path, scope, construct, 'region');
  refuseOtherEngine(path, name, engine);
  const ask = (prop: string, what: string) => new Error(`${path}: ${name} does not say ${what}; pass it as ${prop}`);

  const identity = options.identity ?? found.identity;
  const resourceId = kind === 'cluster' ? 'DbClusterResourceId, cluster-…' : 'DbiResourceId, db-…';
  if (!identity) throw ask('identity', `its resource id (${resourceId})`);
  if (options.identity !== undefined) requireIdentity(path, kind, options.identity);
  if (!endpoint)
    throw new Error(
      `${path}: ${name} does not say its endpoint; import it with ${kind === 'cluster' ? 'clusterEndpointAddress' : 'instanceEndpointAddress'} and port`,
    );
  const adminSecret = options.adminSecret ?? found.secret;
  if (!adminSecret)
    throw new Error(
      `${path}: ${name} has no secret of its master user, and the state is applied as that user; pass adminSecret, a secret with ` +
        'username and password of the master or of another role with CREATEROLE and CREATEDB. One that RDS or another app keeps is imported by ' +
        'Secret.fromSecretCompleteArn(); a password that is in no secret yet is written into a new one',
    );
  requireBoolean(path, 'iamAuthentication', options.iamAuthentication);
  const port = options.port ?? literal(found.port) ?? literal(endpoint.port);
  if (port === undefined) throw ask('port', 'its port as a literal number, which a security group rule needs');
  if (!Number.isInteger(port) || port < 1 || port > 65535)
    throw new Error(`${path}: port is ${port}; expected a literal number from 1 to 65535`);
  const vpc = options.vpc ?? vpcOf(construct);
  if (!vpc) throw ask('vpc', 'the network that it stands in');
  const securityGroups = options.securityGroups ?? construct.connections.securityGroups;
  if (securityGroups.length === 0 && !isPendingLookup(identity, endpoint.hostname))
    throw ask('securityGroups', 'its security groups, which the functions have to enter');

  const inSameStack = Stack.of(scope) === Stack.of(construct);
  return new ExistingServer(scope, id, {
    stateName: options.stateName,
    passwordRotation: options.passwordRotation,
    reserveConcurrency: options.reserveConcurrency,
    maxConnections: options.maxConnections,
    proxyTarget: () => proxyTargetOf(found),
    platform: platformOf(kind, engine),
    identity,
    host: endpoint.hostname,
    readerHost: found.readerHost,
    port,
    majorVersion: options.version?.majorVersion ?? majorOf(engine),
    iamAuthentication: options.iamAuthentication ?? Stack.of(construct).resolve(found.iam) === true,
    adminSecret,
    trust: 'rds',
    vpc,
    vpcSubnets: options.vpcSubnets,
    serverSecurityGroups: securityGroups,
    encryptionKey: options.encryptionKey,
    profile: requireProfile(path, options.profile),
    defaults: requireDefaults(path, options.defaults),
    imports: !inSameStack,
    // The attachment writes host and port into the secret, and comes after the server.
    dependencies: inSameStack && found.made.length > 0 ? [...found.made, adminSecret] : [],
    pauses: found.pauses,
    watch: found.watch,
  });
}

function proxyTargetOf({ kind, construct, hasReaders }: Found): ProxyTarget {
  if (kind === 'instance')
    return {
      instanceIdentifier: (construct as rds.IDatabaseInstance).instanceIdentifier,
      readers: 'RDS Proxy does not stand before read replicas; use Pooler.pgBouncer({ endpoint }) before one',
    };
  return {
    clusterIdentifier: (construct as rds.IDatabaseCluster).clusterIdentifier,
    readers: hasReaders || 'the cluster has no reader; add one',
  };
}

class ExistingServer extends SharedServer {
  private readonly found: Pick<Found, 'pauses' | 'watch'>;

  constructor(scope: Construct, id: string, props: SharedServerProps & Pick<Found, 'pauses' | 'watch'>) {
    super(scope, id, props);
    this.found = { pauses: props.pauses, watch: props.watch };
  }

  /** @internal */
  protected _pauses(): boolean {
    return this.found.pauses;
  }

  /** @internal */
  protected _platformMonitoring(): PlatformMonitoring {
    return this.found.watch(this);
  }
}

/** An imported construct throws when it is asked for what it was not given. */
function known<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function literal(port: number | undefined): number | undefined {
  return port === undefined || Token.isUnresolved(port) || Number.isNaN(port) ? undefined : port;
}

function secretOf(construct: IConstruct & { readonly secret?: secretsmanager.ISecret }) {
  return construct.secret;
}

/** aws-rds makes a secret for a restored cluster whose password it sets nowhere, unless it was told to by `snapshotCredentials`. */
function isSecretApplied(cluster: rds.CfnDBCluster | undefined): boolean {
  if (cluster?.snapshotIdentifier === undefined) return true;
  return cluster.masterUserPassword !== undefined || cluster.manageMasterUserPassword === true;
}

function vpcOf(construct: IConstruct & { readonly vpc?: ec2.IVpc }) {
  return construct.vpc;
}

/** The nodes of a cluster, however its construct keeps them. */
function nodesOf(cluster: IConstruct): rds.CfnDBInstance[] {
  return cluster.node.findAll().filter((construct) => rds.CfnDBInstance.isCfnDBInstance(construct));
}

function pausesOf(cluster: rds.CfnDBCluster | undefined): boolean {
  return scalingOf(cluster)?.minCapacity === 0;
}

/** What CDK puts in the place of a server that it will look up after this synthesis. */
function isPendingLookup(identity: string, host: string): boolean {
  return identity === 'TESTID' && host === 'TESTADDRESS';
}

function refuseReplica(path: string, construct: IConstruct): never {
  throw new Error(
    `${path}: ${construct.node.path} is a read replica, which takes no roles, databases or grants of its own; pass the server that it follows`,
  );
}

function refuseOtherEngine(path: string, name: string, engine: rds.IEngine | undefined): void {
  const type = engine?.engineType;
  if (type !== undefined && !Token.isUnresolved(type) && type !== 'postgres' && type !== 'aurora-postgresql')
    throw new Error(`${path}: the engine of ${name} is ${type}, not PostgreSQL; nothing can be declared inside it`);
  const major = majorOf(engine);
  if (major !== undefined && major < 16)
    throw new Error(
      `${path}: ${name} is of version ${major}; the declared state needs 16 or later. Upgrade the server first, or declare nothing inside it yet`,
    );
}

/** The major version of an engine, where its construct names one. */
function majorOf(engine: rds.IEngine | undefined): number | undefined {
  const version = engine?.engineVersion?.majorVersion;
  const match = version !== undefined && !Token.isUnresolved(version) ? /^(\d+)/.exec(version) : null;
  return match ? Number(match[1]) : undefined;
}

/** A cluster that is not of Aurora is one of RDS with two standbys. */
function platformOf(kind: 'cluster' | 'instance', engine: rds.IEngine | undefined): Platform {
  return kind === 'cluster' && engine?.engineType !== 'postgres' ? 'aurora' : 'rds';
}

function requireIdentity(path: string, kind: 'cluster' | 'instance', identity: string): void {
  if (Token.isUnresolved(identity)) return;
  const prefix = kind === 'cluster' ? 'cluster' : 'db';
  if (!new RegExp(`^${prefix}-[A-Z0-9]+$`).test(identity))
    throw new Error(
      `${path}: identity is "${identity}"; write the resource id of the ${kind}, ${prefix}-…, which is not its name`,
    );
}
