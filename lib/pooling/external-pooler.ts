import { Token, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import type { ServerTrust } from '../server/external-postgres';
import type { PostgresServerBase } from '../server/postgres-server';
import { given, requireBoolean, requireHost, requirePort, requireTrust, requireWholeNumber } from '../server/required';
import { ConnectionBudget } from './budget';
import { PooledRole } from './pooled-role';
import { PoolerCapabilities, PoolerEndpoint, PoolMode } from './pooler-endpoint';

/** A pooler that somebody else runs: Supavisor, PgCat, Odyssey, or a PgBouncer of another team (CP-20). */
export interface ExternalPoolerOptions {
  /** The host, as its certificate names it. */
  readonly host: string;

  /**
   * The port, a literal number. Supavisor has its transaction mode on 6543.
   *
   * @default 5432
   */
  readonly port?: number;

  /**
   * For how long a client has a connection of the server (CP-6).
   *
   * @default PoolMode.TRANSACTION
   */
  readonly mode?: PoolMode;

  /**
   * Whether statements that a driver prepares by the protocol work there (CP-8).
   *
   * @default - true in session mode, false in transaction mode
   */
  readonly preparedStatements?: boolean;

  /**
   * Whether it lets in roles with `Authentication.iam()`.
   *
   * @default false
   */
  readonly iamAuthentication?: boolean;

  /**
   * Whom its certificate is trusted from.
   *
   * @default - the public certificate authorities
   */
  readonly trust?: ServerTrust;

  /**
   * The user name that clients say in place of the role's, in which `{role}` stands for it: Supavisor asks for `{role}.PROJECT`.
   *
   * @default '{role}'
   */
  readonly userName?: string;

  /**
   * The security groups of the pooler, which applications may then enter.
   *
   * @default - none: how it is reached is not this app's affair
   */
  readonly securityGroups?: ec2.ISecurityGroup[];

  /**
   * How many connections it opens to the server at most (CP-4).
   *
   * @default - not known, and the connection budget cannot be added up
   */
  readonly maxServerConnections?: number;
}

/** The endpoint of a pooler that this app does not run. */
export class ExternalPooler extends PoolerEndpoint {
  public readonly host: string;
  public readonly port: number;
  public readonly capabilities: PoolerCapabilities;
  public readonly connections: ec2.Connections;
  public readonly _trust: string;
  public readonly _kind = 'the pooler';
  private readonly userName: string;

  constructor(scope: Construct, id: string, server: PostgresServerBase, options: ExternalPoolerOptions) {
    super(scope, id, server);
    const path = this.node.path;
    requireHost(path, 'host', options.host);
    const mode = options.mode ?? PoolMode.TRANSACTION;
    if (!Object.values(PoolMode).includes(mode))
      throw new Error(`${path}: mode is ${given(mode)}; write PoolMode.TRANSACTION or PoolMode.SESSION`);
    requireBoolean(path, 'preparedStatements', options.preparedStatements);
    requireBoolean(path, 'iamAuthentication', options.iamAuthentication);
    const userName = options.userName ?? '{role}';
    if (typeof userName !== 'string' || Token.isUnresolved(userName) || !userName.includes('{role}'))
      throw new Error(
        `${path}: userName is ${JSON.stringify(userName)}; write where the role's name stands in it, as in '{role}.project'`,
      );
    const most = options.maxServerConnections;
    if (most !== undefined) requireWholeNumber(path, 'maxServerConnections', most, 1);
    requireTrust(path, options.trust);
    this.host = options.host;
    this.port = requirePort(path, options.port ?? 5432, { min: 1, max: 65_535, who: 'expected' });
    this.userName = userName;
    this._trust = options.trust?.value ?? 'public';
    this.capabilities = {
      mode,
      preparedStatements: options.preparedStatements ?? mode === PoolMode.SESSION,
      sessionFeatures: mode === PoolMode.SESSION,
      iamAuthentication: options.iamAuthentication ?? false,
      cancel: true,
    };
    this.connections = new ec2.Connections({
      securityGroups: options.securityGroups ?? [],
      defaultPort: ec2.Port.tcp(this.port),
    });
    ConnectionBudget.of(server).addPooler({
      takesRest: false,
      entry: () => ({
        kind: 'pooler',
        who: path,
        connections: most,
        how: most === undefined ? 'not stated; set maxServerConnections' : 'as stated',
      }),
    });
  }

  protected _admitted(): void {
    // Whom it lets in is decided where it runs.
  }

  public _environment(role: PooledRole): Record<string, string> {
    const variables = super._environment(role);
    return this.userName === '{role}'
      ? variables
      : { ...variables, PGUSER: this.userName.replaceAll('{role}', () => role.roleName) };
  }
}
