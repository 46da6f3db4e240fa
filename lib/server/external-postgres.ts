import { Duration, Token, aws_ec2 as ec2, aws_kms as kms, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { Platform } from '../contract';
import { refuseMisspelt } from './known-props';
import { serverKey } from './encryption-key';
import { ConnectionCapacity, statedCapacity } from './monitoring/capacity';
import { Defaults, PostgresProfile } from './postgres-profile';
import { IPostgresServer, PostgresServerBase } from './postgres-server';
import { PostgresVersion } from './postgres-version';
import {
  requireDefaults,
  requireHost,
  requireIdentity,
  requireMaxConnections,
  requirePort,
  requireProfile,
  requireVersion,
} from './required';

/** Whom a server's certificate is trusted from. The certificate and the host name are always verified (SEC-12). */
export class ServerTrust {
  /** The bundle of Amazon RDS that comes with this package. */
  public static rds(): ServerTrust {
    return new ServerTrust('rds');
  }

  /** The public certificate authorities that Node.js ships. */
  public static publicRoots(): ServerTrust {
    return new ServerTrust('public');
  }

  /**
   * Certificate authorities of your own.
   *
   * @param text one or more certificates in PEM form
   */
  public static pem(text: string): ServerTrust {
    if (!Token.isUnresolved(text) && !text.includes('-----BEGIN CERTIFICATE-----')) {
      throw new Error('ServerTrust.pem(): the text has no certificate; it must contain -----BEGIN CERTIFICATE-----');
    }
    return new ServerTrust(text);
  }

  private constructor(
    /** `rds`, `public`, or the certificates. */
    public readonly value: string,
  ) {}
}

/** A server that lives elsewhere: Cloud SQL, Supabase, on-premises, or an RDS server that another app made. */
export interface ExternalEndpoint {
  /** The host that accepts writes, as its certificate names it. */
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
   * @default 5432
   */
  readonly port?: number;

  /**
   * A secret with `username` and `password` of a role with CREATEROLE, CREATEDB and CREATE on the database `postgres`, where the
   * ledger is kept. It need not be a superuser.
   */
  readonly adminSecret: secretsmanager.ISecret;

  /**
   * What this server is, for as long as it holds these data: the project's or the instance's id. It must not change when the host
   * does, and must differ for a copy, since the ledger inside the server is compared with it.
   */
  readonly identity: string;

  /**
   * The version, which decides what may be declared inside. The function refuses a server that is older than that.
   *
   * @default PostgresVersion.V16
   */
  readonly version?: PostgresVersion;

  /**
   * Whom the server's certificate is trusted from.
   *
   * @default ServerTrust.publicRoots()
   */
  readonly trust?: ServerTrust;

  /**
   * The network from which the server is reached.
   *
   * @default - the internet, from a function outside any VPC
   */
  readonly vpc?: ec2.IVpc;

  /**
   * The subnets of the functions.
   *
   * @default - isolated subnets, or those with egress where there are none
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /**
   * Security groups of the server, which the functions and applications may then enter.
   *
   * @default - none: how the server is reached is not this app's affair
   */
  readonly securityGroups?: ec2.ISecurityGroup[];

  /**
   * Customer key of the roles' secrets and the functions' logs.
   *
   * @default - a key of its own with yearly rotation
   */
  readonly encryptionKey?: kms.IKey;

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

  /**
   * The name under which the declared inside claims its objects in the ledger.
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

  /**
   * How many sessions the server takes (`max_connections`), with which the connection budget is compared (CP-2, CP-4).
   *
   * @default - not known, and nothing is compared
   */
  readonly maxConnections?: number;
}

/** A PostgreSQL server that this app does not run. Everything that is declared inside works on it as on any other. */
export class ExternalPostgres {
  /**
   * A server by its endpoint.
   *
   * @param scope the construct that the server is declared in
   * @param id the id of the server in that scope
   * @param endpoint where the server is and who administers it
   */
  public static fromEndpoint(scope: Construct, id: string, endpoint: ExternalEndpoint): IPostgresServer {
    return new ExternalServer(scope, id, endpoint);
  }

  private constructor() {}
}

class ExternalServer extends PostgresServerBase {
  public readonly identity: string;
  public readonly host: string;
  public readonly readerHost?: string;
  public readonly port: number;
  public readonly adminSecret: secretsmanager.ISecret;
  public readonly profile: PostgresProfile;
  public readonly connections: ec2.Connections;
  public readonly _platform: Platform = 'external';
  private readonly maxConnections?: number;

  constructor(scope: Construct, id: string, endpoint: ExternalEndpoint) {
    super(scope, id);
    const path = this.node.path;
    refuseMisspelt(path, 'ExternalEndpoint', endpoint);
    if (Token.isUnresolved(endpoint.identity)) {
      throw new Error(
        `${path}: identity is a token; write what the server is, since the ledger compares it with what it stored`,
      );
    }
    requireIdentity(path, endpoint.identity, 'what the server is, such as a project id');
    requireHost(path, 'host', endpoint.host);
    if (endpoint.readerHost !== undefined) requireHost(path, 'readerHost', endpoint.readerHost);
    const port = requirePort(path, endpoint.port ?? 5432, { min: 1, max: 65_535, who: 'expected' });
    if (!endpoint.adminSecret) {
      throw new Error(
        `${path}: adminSecret is missing; pass the secret with username and password of the role that applies the declared state`,
      );
    }
    const version = endpoint.version === undefined ? PostgresVersion.V16 : requireVersion(path, endpoint.version);

    this.maxConnections = requireMaxConnections(path, endpoint.maxConnections);
    this.identity = endpoint.identity;
    this.host = endpoint.host;
    this.readerHost = endpoint.readerHost;
    this.port = port;
    this.adminSecret = endpoint.adminSecret;
    this.profile = requireProfile(path, endpoint.profile);
    this.connections = new ec2.Connections({
      securityGroups: endpoint.securityGroups ?? [],
      defaultPort: ec2.Port.tcp(port),
    });
    this._prepareState({
      stateName: endpoint.stateName,
      majorVersion: version.majorVersion,
      leastVersion: endpoint.version === undefined,
      iamAuthentication: false,
      adminSecret: endpoint.adminSecret,
      trust: (endpoint.trust ?? ServerTrust.publicRoots()).value,
      vpc: endpoint.vpc,
      vpcSubnets: endpoint.vpcSubnets,
      serverSecurityGroups: endpoint.securityGroups,
      encryptionKey: serverKey(this, { given: endpoint.encryptionKey, retain: this.profile.isProduction }),
      defaults: requireDefaults(path, endpoint.defaults),
      dependencies: [],
      reserveConcurrency: endpoint.reserveConcurrency,
      rotationInterval: endpoint.passwordRotation,
    });
  }

  /** @internal */
  public _connectionCapacity(): ConnectionCapacity | undefined {
    return statedCapacity(this.maxConnections, 3);
  }
}
