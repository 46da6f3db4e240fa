import { aws_ec2 as ec2, aws_elasticloadbalancingv2 as elb } from 'aws-cdk-lib';
import { Construct, IConstruct } from 'constructs';
import type { IPostgresServer } from '../server/postgres-server';
import { given } from '../server/required';
import { PooledRole } from './pooled-role';

/** For how long a pooler lends a connection of the server to a client (CP-6). */
export enum PoolMode {
  /** For each transaction: a few connections serve many clients, and what belongs to a session is lost. */
  TRANSACTION = 'transaction',

  /** For as long as the client stays: everything works, and each client holds a connection. */
  SESSION = 'session',
}

/** What clients may do through a pooler. */
export interface PoolerCapabilities {
  /** For how long a client has a connection of the server (CP-6). */
  readonly mode: PoolMode;

  /** Whether statements that a driver prepares by the protocol work (CP-8). SQL's own PREPARE never does in transaction mode. */
  readonly preparedStatements: boolean;

  /** Whether SET, LISTEN, advisory locks of the session, temporary tables and cursors WITH HOLD work (CP-7). */
  readonly sessionFeatures: boolean;

  /** Whether a role with `Authentication.iam()` can log in. */
  readonly iamAuthentication: boolean;

  /** Whether a client can cancel a statement. */
  readonly cancel: boolean;
}

/** A pooler before a server, as `server.addPooler()` gives it: applications connect to it by `role.grantConnect(…, { through })`. */
export interface IPooler extends IConstruct, ec2.IConnectable {
  /** The server behind it. */
  readonly server: IPostgresServer;

  /** The host that clients connect to, as its certificate names it. */
  readonly host: string;

  /** The port, a literal number. */
  readonly port: number;

  /** What clients may do through it. */
  readonly capabilities: PoolerCapabilities;

  /**
   * Its load balancer, at which a name of your own points.
   *
   * @default - it has none
   */
  readonly loadBalancer?: elb.INetworkLoadBalancer;

  /**
   * The same pooler's way to the nodes that serve reads (CP-13). It is made when it is first asked for, since each endpoint costs; an error
   * where the pooler or the server has none.
   */
  forReads(): IPooler;

  /**
   * The same pooler's way for clients that need a session of their own: LISTEN, advisory locks of the session, temporary tables (CP-6). Each
   * holds a connection of the server for as long as it stays. PgBouncer alone has it; an error elsewhere.
   */
  forSessions(): IPooler;
}

/**
 * What every kind of pooler shares.
 *
 * @internal
 */
export abstract class PoolerEndpoint extends Construct implements IPooler {
  public abstract readonly host: string;
  public abstract readonly port: number;
  public abstract readonly capabilities: PoolerCapabilities;
  public abstract readonly connections: ec2.Connections;
  public readonly loadBalancer?: elb.INetworkLoadBalancer;

  /** Whom its certificate is trusted from: `public`, `rds`, or the certificates. @internal */
  public abstract readonly _trust: string;

  /** As messages name it. @internal */
  public abstract readonly _kind: string;

  constructor(
    scope: Construct,
    id: string,
    public readonly server: IPostgresServer,
  ) {
    super(scope, id);
  }

  public forReads(): IPooler {
    throw new Error(
      `${this.node.path}: ${this._kind} has no endpoint for reads here; pass server.readerEndpoint as endpoint, and no pooler`,
    );
  }

  public forSessions(): IPooler {
    throw new Error(
      `${this.node.path}: ${this._kind} has no way of its own for sessions; leave through out, so that the client connects to the server itself`,
    );
  }

  /** Lets a role log in through it, or says why that cannot be. @internal */
  public _admit(role: PooledRole): void {
    const path = role.construct.node.path;
    if (role.replication) {
      throw new Error(
        `${path}: grantConnect({ through }) would send a role with replication through ${this.node.path}, and no pooler passes the replication ` +
          'protocol on; leave through out, so that it connects to the server itself (CP-13)',
      );
    }
    if (role.method === 'iam' && !this.capabilities.iamAuthentication) {
      throw new Error(
        `${path}: authentication is Authentication.iam(), and ${this._kind} ${this.node.path} cannot hand a token on to the server; use ` +
          'Authentication.password(), or Pooler.rdsProxy() on RDS and Aurora (CP-11)',
      );
    }
    this._admitted(role);
  }

  /** @internal */
  protected abstract _admitted(role: PooledRole): void;

  /** What IAM calls the login by token here. Undefined: what it calls it at the server. @internal */
  public _tokenArn(_role: PooledRole): string | undefined {
    return undefined;
  }

  /** What a client needs that differs from a connection to the server itself. @internal */
  public _environment(_role: PooledRole): Record<string, string> {
    const trust: Record<string, string> =
      this._trust === 'public'
        ? { PGSSLROOTCERT: 'system' }
        : this._trust === 'rds'
          ? {}
          : { PGSSLROOTPEM: this._trust };
    return { PGHOST: this.host, PGPORT: String(this.port), ...trust };
  }
}

/** The pooler behind the interface. Nothing else knows how to let a role in. */
export function poolerEndpoint(path: string, through: IPooler): PoolerEndpoint {
  if (through instanceof PoolerEndpoint) return through;
  throw new Error(
    `${path}: through is ${given(through)}; pass what server.addPooler() gave: const pool = server.addPooler('Pool'), with Pooler.external() as its second ` +
      'argument for a pooler that somebody else runs',
  );
}
