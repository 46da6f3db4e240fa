import {
  CfnOutput,
  Duration,
  Stack,
  aws_ec2 as ec2,
  aws_iam as iam,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Construct, Dependable, IConstruct } from 'constructs';
import { refuseMisspelt } from '../server/known-props';
import { addFinding } from '../compliance';
import { DesiredRole, turnsOf } from '../contract';
import { ConnectionBudget, Consumer } from '../pooling';
import { connecting, consumerPath, isFunction, worstCaseOf } from '../pooling/consumer';
import { PooledRole } from '../pooling/pooled-role';
import { IPooler, PoolerEndpoint, poolerEndpoint } from '../pooling/pooler-endpoint';
import { requireInteger, requireMoment, requireName, requireText } from '../server/state/literals';
import { Authentication } from './authentication';
import { type IReaderEndpoint, refuseHeadless } from '../server/replicas/reader-endpoint';
import type { Database } from './database';
import { IRole, MembershipOptions, requireKnownRole, RoleBase } from './role';
import { addSettings, toSetting } from './settings';

/** How a login role is made. */
export interface LoginRoleOptions {
  /**
   * How the role proves who it is.
   *
   * @default - a password with a secret of its own, as `Authentication.recommended()` says
   */
  readonly authentication?: Authentication;

  /**
   * How many sessions the role may have at once. 0 to 262143; no limit is -1.
   *
   * @default - not managed; a new role has no limit
   */
  readonly connectionLimit?: number;

  /**
   * After how long a statement is cancelled (`statement_timeout`).
   *
   * @default - the server's parameter
   */
  readonly statementTimeout?: Duration;

  /**
   * How long a statement waits for a lock (`lock_timeout`).
   *
   * @default - the server's parameter
   */
  readonly lockTimeout?: Duration;

  /**
   * After how long a session that idles in a transaction is ended (`idle_in_transaction_session_timeout`).
   *
   * @default - the server's parameter
   */
  readonly idleInTransactionSessionTimeout?: Duration;

  /**
   * After how long a transaction is ended (`transaction_timeout`), from PostgreSQL 17 on.
   *
   * @default - the server's parameter
   */
  readonly transactionTimeout?: Duration;

  /**
   * The schemas in which names without a schema are looked up (`search_path`).
   *
   * @default - the server's: a schema named as the role, then `public`
   */
  readonly searchPath?: string[];

  /**
   * Other settings of the role's sessions, by name. Settings of a group role would not reach its members, so they are here.
   *
   * @default - none
   */
  readonly settings?: { [name: string]: string };

  /**
   * Until when the role may log in by password (`VALID UNTIL`).
   *
   * @default - not managed
   */
  readonly validUntil?: Date;

  /**
   * Whether the role may stream changes and use replication slots: by membership in `rds_replication` on RDS and Aurora, by the attribute
   * REPLICATION elsewhere, which only an administrator can give that has it.
   *
   * @default - not managed; a new role may not
   */
  readonly replication?: boolean;

  /**
   * The role that every session of this one works as, such as the database's owner for a role that migrates the schema. This role
   * becomes a member that may SET ROLE and inherits nothing, and `ALTER ROLE … SET role` switches at login: what it creates
   * belongs to that role and carries its default privileges.
   *
   * @default - itself
   */
  readonly actsAs?: IRole;

  /**
   * Groups that this role is a member of; it inherits their privileges.
   *
   * @default - none
   */
  readonly memberOf?: IRole[];

  /**
   * What the role is for. It stands in the catalog, where `\du+` shows it, followed by who manages it: `… (cdk-postgres: StateName)`. A
   * comment that somebody else wrote is not written over unasked.
   *
   * @default - no comment is made; one that is there stays
   */
  readonly description?: string;

  /**
   * Whether the role is given CONNECT on its database. Without it, it connects by way of PUBLIC or of a group, or not at all.
   *
   * @default true
   */
  readonly connectPrivilege?: boolean;
}

/** Properties of `LoginRole`. */
export interface LoginRoleProps extends LoginRoleOptions {
  /** The database that the role connects to. `Database.grantConnect()` lets it into others. */
  readonly database: Database;

  /** The name of the role, at most 63 bytes. */
  readonly roleName: string;
}

/** How an application is let in. */
export interface ConnectOptions {
  /**
   * Where the application connects from.
   *
   * @default - the security groups of the grantee, if it has any
   */
  readonly connections?: ec2.IConnectable;

  /**
   * Whether a grantee that takes environment variables, such as a Lambda function, gets those of `LoginRole.environment`. One that
   * connects as several roles can have those of one of them.
   *
   * @default true
   */
  readonly environment?: boolean;

  /**
   * Where the application connects to, such as `server.readerEndpoint` or a replica: it is let in there, and nowhere else, and `PGHOST` names it.
   *
   * @default - the server's writer, by the server's security groups
   */
  readonly endpoint?: IReaderEndpoint;

  /**
   * The pooler that the application goes through, as `server.addPooler()` gave it (CP-1): it is let in there and not at the server, and the
   * environment names it. Migrations, replication and whatever needs a session of its own connect without.
   *
   * @default - the server itself, or `endpoint`. A Lambda function that goes there is a finding in production
   */
  readonly through?: IPooler;

  /**
   * How many connections the application opens at most, which the connection budget counts (CP-4).
   *
   * @default - what the grantee says: reserved concurrency of a Lambda function times `poolSize`, the number of a `Consumer`. Whatever else
   * connects directly has to state it, or the role its `connectionLimit`
   */
  readonly maxConnections?: number;

  /**
   * How many connections each execution environment of a Lambda function opens at most (CP-17).
   *
   * @default 1
   */
  readonly poolSize?: number;
}

/** All that a client needs to connect as a role, but for the password itself (LIB-16). */
export interface ConnectionDescriptor {
  /** The host that accepts writes. */
  readonly host: string;
  /**
   * A host that serves reads.
   *
   * @default - the server has none
   */
  readonly readerHost?: string;
  /** The port. */
  readonly port: number;
  /** The database. */
  readonly database: string;
  /**
   * The role.
   *
   * @default - two logins take turns, and the secret says in `username` who logs in
   */
  readonly user?: string;
  /** `password`, `alternatingPasswords`, `iam` or `none`. */
  readonly authentication: string;
  /**
   * The secret with the password.
   *
   * @default - the role does not log in by password
   */
  readonly secretArn?: string;
}

/** A role that logs in (SEC-2): of an application, a job or a person. It may connect to its database and has no other privilege. */
export class LoginRole extends RoleBase {
  /** The database that the role connects to. */
  public readonly database: Database;

  /** The secret with `username`, `password`, `host`, `readerHost`, `port` and `dbname`. Undefined unless the role logs in by password. */
  public readonly secret?: secretsmanager.ISecret;

  private readonly authentication: Authentication;

  /** Who logs in: the role itself, or the two that take turns. */
  private readonly logins: readonly string[];

  private readonly pooled: Omit<PooledRole, 'secret'>;

  /** Those of Lambda that connect without a pooler, by their paths. */
  private readonly unpooled = new Set<string>();

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: LoginRoleProps) {
    super(scope, id, props.database.server, props.roleName);
    refuseMisspelt(this.node.path, this, props);
    this.database = props.database;
    this.authentication = props.authentication ?? Authentication.recommended();
    this.requireSupported(props);
    this.logins = this.alternates ? turnsOf(this.roleName) : [this.roleName];
    this.declareLogins(props);
    this.declareSettings(props);
    this._describe(props.description);
    if (props.connectPrivilege !== false) props.database.grantConnect(this);
    else this._state.declare((declaration) => declaration.addOtherWay(this.roleName, this.database.databaseName));
    props.memberOf?.forEach((group) => this.memberOf(group));
    if (props.actsAs) this.actAs(props.actsAs);
    if (this.alternates || this.authentication.method === 'password') this.secret = this.makeSecret();
    this.pooled = {
      construct: this,
      roleName: this.roleName,
      databaseName: this.database.databaseName,
      method: this.authentication.method,
      logins: this.logins,
      connectionLimit: limitOf(props.connectionLimit, 1),
      replication: props.replication === true,
      actsAs: props.actsAs?.roleName,
    };
    ConnectionBudget.of(this.server).addRole(this, {
      limit: limitOf(props.connectionLimit, this.logins.length),
      replication: props.replication === true,
    });
    this.guardUnpooled();
    // Who depends on the role waits until it can log in.
    const { applied } = this._state;
    Dependable.implement(this, {
      get dependencyRoots() {
        return [scope.node.findChild(id), ...Dependable.of(applied).dependencyRoots];
      },
    });
  }

  /**
   * Makes this role a member of a group: it has the group's privileges.
   *
   * @param group a declared role of the same server, or a `PredefinedRole` that the server's version has
   * @param options what the member may do with the group
   */
  public memberOf(group: IRole, options: MembershipOptions = {}): void {
    // Privileges come to both logins by way of this role; SET ROLE and ADMIN are each login's own.
    if (options.set || options.admin) this._addMembership(group, this.logins, options);
    else super.memberOf(group, options);
  }

  /** What a client needs to connect, without secrets. */
  public get connection(): ConnectionDescriptor {
    return {
      host: this.server.host,
      readerHost: this.server.readerHost,
      port: this.server.port,
      database: this.database.databaseName,
      user: this.alternates ? undefined : this.roleName,
      authentication: this.authentication.method,
      secretArn: this.secret?.secretArn,
    };
  }

  /**
   * The connection as environment variables that libpq and most drivers read, `PGSECRETARN`, and `PGSSLROOTPEM` where the server has a root of its
   * own. No value is secret. Where two logins take
   * turns there is no `PGUSER`, since the secret has it.
   */
  public get environment(): { [name: string]: string } {
    const { connection } = this;
    const { trust } = this._state.props;
    return {
      PGHOST: connection.host,
      PGPORT: String(connection.port),
      PGDATABASE: connection.database,
      ...(connection.user && { PGUSER: connection.user }),
      PGSSLMODE: 'verify-full',
      ...(hasOwnRoot(trust) && { PGSSLROOTPEM: trust }),
      ...(connection.secretArn && { PGSECRETARN: connection.secretArn }),
    };
  }

  /** Adds the connection to the stack's outputs, without secrets. */
  public addConnectionOutputs(): void {
    for (const [name, value] of Object.entries(this.connection)) {
      if (value !== undefined) {
        new CfnOutput(this, `Output-${name}`, {
          value: String(value),
          description: `${name} of the role ${this.roleName}`,
        });
      }
    }
  }

  /**
   * Lets an application connect as this role: the server's security group lets it in, and it may read the role's secret or, with
   * `Authentication.iam()`, ask for a token for this role on this server. A Lambda function gets the connection as environment variables.
   *
   * @param grantee what runs the application
   * @param options where it connects from
   * @returns the IAM side of the grant
   */
  public grantConnect(grantee: iam.IGrantable, options: ConnectOptions = {}): iam.Grant {
    refuseMisspelt(`${this.node.path}: grantConnect()`, 'ConnectOptions', options);
    return this.letConnect(connecting(this.node.path, grantee), options);
  }

  private letConnect(grantee: iam.IGrantable, options: ConnectOptions): iam.Grant {
    const { endpoint } = options;
    if (endpoint) this.requireOwnEndpoint(endpoint);
    const pooler = options.through && this.admitTo(options.through, endpoint);
    const from = options.connections ?? this.networkOf(grantee);
    if (from) this.letIn(from, pooler ?? endpoint);
    this.count(grantee, options);
    const variables = environmentOf(grantee);
    if (this.authentication.method !== 'none' && options.environment !== false && variables)
      this.addEnvironmentTo(grantee, variables, pooler ?? endpoint);
    if (grantee instanceof Consumer && !grantee._ways.hasPrincipal)
      return iam.Grant.drop(grantee, 'a security group is nobody whom IAM could let in');
    switch (this.authentication.method) {
      case 'password':
      case 'alternatingPasswords':
        return this.grantSecret(grantee);
      case 'iam':
        return iam.Grant.addToPrincipal({
          grantee,
          actions: ['rds-db:connect'],
          resourceArns: [
            pooler?._tokenArn(this.pooledRole) ??
              Stack.of(this).formatArn({
                service: 'rds-db',
                region: endpoint?.region,
                resource: `dbuser:${endpoint?.identity ?? this.server.identity}`,
                resourceName: this.roleName,
              }),
          ],
        });
      default:
        throw new Error(
          `${this.node.path}: grantConnect() has nothing to grant, since this library does not manage how "${this.roleName}" logs in ` +
            '(Authentication.none())',
        );
    }
  }

  /** An application in a stack of its own comes after the server's stack, so every rule between them stands in its stack. */
  private letIn(from: ec2.IConnectable, other?: IReaderEndpoint | PoolerEndpoint): void {
    const to = other ?? this.server;
    const port = ec2.Port.tcp(to.port);
    const description = `PostgreSQL as ${this.roleName}`.slice(0, 255);
    const comesFromAway = from.connections.securityGroups.some((group) => this.isElsewhere(group));
    if (comesFromAway) from.connections.allowTo(to, port, description);
    else to.connections.allowFrom(from, port, description);
  }

  /** Like `ISecret.grantRead()`, which would write a principal of another stack into the policy of the key. */
  private grantSecret(grantee: iam.IGrantable): iam.Grant {
    const secret = this.secret!;
    const { grantPrincipal } = grantee;
    if (!Construct.isConstruct(grantPrincipal) || !this.isElsewhere(grantPrincipal)) return secret.grantRead(grantee);
    const grant = iam.Grant.addToPrincipal({
      grantee,
      actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
      resourceArns: [secret.secretArn],
    });
    if (!secret.encryptionKey) return grant;
    const { region } = Stack.of(this);
    return grant.combine(
      iam.Grant.addToPrincipal({
        grantee,
        actions: ['kms:Decrypt'],
        resourceArns: [secret.encryptionKey.keyArn],
        conditions: { StringEquals: { 'kms:ViaService': `secretsmanager.${region}.amazonaws.com` } },
      }),
    );
  }

  private isElsewhere(construct: IConstruct): boolean {
    return Stack.of(construct) !== Stack.of(this.secret ?? this);
  }

  private get alternates(): boolean {
    return this.authentication.method === 'alternatingPasswords';
  }

  private declareLogins(props: LoginRoleProps): void {
    const attributes = {
      login: true,
      connectionLimit:
        props.connectionLimit === undefined
          ? undefined
          : requireInteger(this, 'connectionLimit', props.connectionLimit, -1, 262_143),
      validUntil: props.validUntil === undefined ? undefined : requireMoment(this, 'validUntil', props.validUntil),
      replication: props.replication || undefined,
    } as const;
    if (!this.alternates) {
      this._declare({ ...attributes, authentication: this.authentication.method as DesiredRole['authentication'] });
      return;
    }
    this._declare({ login: false, authentication: 'none' });
    for (const login of this.logins) {
      requireName(this, 'roleName', 'role', login);
      this._declare({ ...attributes, authentication: 'password', passwordOf: this.roleName }, login);
      this._addMembership(this, [login]);
    }
    addFinding(this, {
      id: 'SEC-18',
      check: () => {
        const places = this._state.placesToCreate(this.logins);
        return places.length > 0
          ? `${this.node.path}: ${this.logins.join(' and ')} may create objects in ${places.join(', ')}, which would belong to the one whose turn it is`
          : undefined;
      },
      fix: 'Set actsAs to the owner of the schema, so that everything belongs to it, or use Authentication.password() for a role that creates objects.',
    });
  }

  private addEnvironmentTo(
    grantee: iam.IGrantable,
    add: (name: string, value: string) => unknown,
    to?: IReaderEndpoint | PoolerEndpoint,
  ): void {
    const { host, port } = to ?? this.server;
    const key = grantee instanceof Consumer ? grantee._construct : grantee;
    const earlier = ENVIRONMENTS.get(key);
    const reached = {
      PGHOST: host,
      PGPORT: String(port),
      ...(to instanceof PoolerEndpoint && to._environment(this.pooledRole)),
    };
    // The sessions of a PgBouncer have its host, and an alias of the database.
    const where = JSON.stringify(reached);
    if (earlier?.role === this && earlier.where === where) return;
    if (earlier) {
      const whose = earlier.role === this ? 'another endpoint of the same role' : earlier.role.node.path;
      throw new Error(
        `${this.node.path}: grantConnect() would overwrite the environment variables that the grantee has for ${whose}; pass environment: false, and ` +
          'give it those of LoginRole.environment under names of your own',
      );
    }
    ENVIRONMENTS.set(key, { role: this, where });
    const variables: Record<string, string> = { ...this.environment };
    // A pooler has a certificate of its own.
    if (to instanceof PoolerEndpoint) delete variables.PGSSLROOTPEM;
    for (const [name, value] of Object.entries({ ...variables, ...reached })) add(name, value);
  }

  private get pooledRole(): PooledRole {
    return { ...this.pooled, secret: this.secret };
  }

  private admitTo(through: IPooler, endpoint: IReaderEndpoint | undefined): PoolerEndpoint {
    const path = this.node.path;
    const pooler = poolerEndpoint(path, through);
    if (endpoint)
      throw new Error(
        `${path}: grantConnect() has endpoint and through; a pooler leads to where it was put: use through: pool.forReads(), or leave one out`,
      );
    if (pooler.server !== this.server)
      throw new Error(
        `${path}: grantConnect({ through }) names a pooler of ${pooler.server.node.path}; the role is one of ${this.server.node.path}. ` +
          'Add a pooler to that one',
      );
    pooler._admit(this.pooledRole);
    return pooler;
  }

  /** Notes the worst that the application may do to the server, and whether it should not be there at all. */
  private count(grantee: iam.IGrantable, options: ConnectOptions): void {
    const who = consumerPath(grantee);
    const worstCase = worstCaseOf(this.node.path, grantee, options);
    const budget = ConnectionBudget.of(this.server);
    if (options.through) {
      budget.addPooled(this);
      return;
    }
    if (isFunction(grantee)) this.unpooled.add(who);
    // What a replica takes is none of the writer's.
    if (!options.endpoint)
      budget.addDirect(this, () => ({
        kind: 'direct',
        who: `${who} as ${this.roleName}`,
        ...worstCase(),
      }));
  }

  private guardUnpooled(): void {
    addFinding(this, {
      id: 'CP-1',
      check: () =>
        this.server.profile.isProduction && this.unpooled.size > 0
          ? `${this.node.path}: ${[...this.unpooled].join(', ')} connects to the server itself; each execution environment of a function holds a ` +
            'connection, and a burst of them takes all that the server has'
          : undefined,
      fix:
        "Put a pooler before the server and let the function go through it: const pool = server.addPooler('Pool'), then " +
        'grantConnect(function, { through: pool }). Acknowledge CP-1 for one that needs a session of its own, and reserve its concurrency.',
    });
  }

  private requireOwnEndpoint(endpoint: IReaderEndpoint): void {
    if (endpoint.server !== this.server) {
      throw new Error(
        `${this.node.path}: grantConnect({ endpoint }) names an endpoint of ${endpoint.server.node.path}; the role is one of ${this.server.node.path}`,
      );
    }
    refuseHeadless(`${this.node.path}: grantConnect({ endpoint })`, endpoint);
    const region = Stack.of(this).region;
    if (endpoint.region !== region && this.authentication.method !== 'iam') {
      throw new Error(
        `${this.node.path}: grantConnect({ endpoint }) names an endpoint in ${endpoint.region}, and the role's secret is in ${region}; use Authentication.iam() ` +
          'for a role that connects there',
      );
    }
  }

  /** Every function of Lambda has `connections` by its type, and one outside a VPC throws when it is asked for them. */
  private networkOf(grantee: iam.IGrantable): ec2.IConnectable | undefined {
    if (!isConnectable(grantee)) return undefined;
    if (!('isBoundToVpc' in grantee) || grantee.isBoundToVpc !== false) return grantee;
    if (this.server.connections.securityGroups.length === 0) return undefined;
    const where = Construct.isConstruct(grantee) ? grantee.node.path : 'the function';
    throw new Error(
      `${this.node.path}: grantConnect() lets in ${where}, which is in no VPC and has no way to ${this.server.node.path}; give the function ` +
        'a vpc, or name where it connects from: grantConnect(grantee, { connections })',
    );
  }

  private requireSupported(props: LoginRoleProps): void {
    if (this.authentication.method === 'iam' && !this._state.supportsIam) {
      throw new Error(
        `${this.node.path}: authentication is Authentication.iam(), which ${this.server.node.path} does not have; use Authentication.password()`,
      );
    }
    const stack = Stack.of(this._state);
    if (this.authentication.method === 'password' && Stack.of(this) !== stack) {
      throw new Error(
        `${this.node.path}: a role that logs in by password belongs into the stack of its server, ${stack.node.path}: the server's state needs ` +
          'its secret, and its secret the rotation there. Declare it there, as database.addLoginRole() does, or log in by Authentication.iam()',
      );
    }
    const major = this._state.props.majorVersion;
    if (props.transactionTimeout && major !== undefined && major < 17) {
      throw new Error(
        `${this.node.path}: transactionTimeout exists from PostgreSQL 17 on, and the server is of version ${major}; use statementTimeout and idleInTransactionSessionTimeout`,
      );
    }
  }

  private declareSettings(props: LoginRoleProps): void {
    const timeouts: [string, string, Duration | undefined][] = [
      ['statement_timeout', 'statementTimeout', props.statementTimeout],
      ['lock_timeout', 'lockTimeout', props.lockTimeout],
      ['idle_in_transaction_session_timeout', 'idleInTransactionSessionTimeout', props.idleInTransactionSessionTimeout],
      ['transaction_timeout', 'transactionTimeout', props.transactionTimeout],
    ];
    const durations = timeouts.flatMap(([name, prop, duration]) =>
      duration !== undefined ? [[name, toSetting(this, prop, duration)] as const] : [],
    );
    // Members inherit no settings: each login has its own.
    for (const role of this.logins) {
      addSettings(this, this._state, { role }, Object.fromEntries(durations));
      addSettings(this, this._state, { role }, props.settings);
      if (props.searchPath?.length) {
        const values = props.searchPath.map((schema) => requireText(this, 'searchPath', schema));
        this._state.declare((declaration) => declaration.addSetting(this, { role, name: 'search_path', values }));
      }
    }
  }

  private actAs(role: IRole): void {
    const name = requireKnownRole(this, this._state, role);
    this.memberOf(role, { inherit: false, set: true });
    for (const login of this.logins) {
      this._state.declare((declaration) => declaration.addSetting(this, { role: login, name: 'role', values: [name] }));
    }
  }

  /**
   * The generated part holds the user name alone, with the group where two logins take turns, and never changes: CloudFormation makes a
   * new password whenever it does, and so the other kind of authentication has another secret. The function writes host, port and database.
   */
  private makeSecret(): secretsmanager.ISecret {
    const [first] = this.logins;
    const secret = new secretsmanager.Secret(this, this.alternates ? 'AlternatingSecret' : 'Secret', {
      description: `PostgreSQL role ${this.roleName} of ${this.server.node.path}`,
      encryptionKey: this._state.props.encryptionKey,
      generateSecretString: {
        secretStringTemplate: JSON.stringify({ username: first, ...(this.alternates && { group: this.roleName }) }),
        generateStringKey: 'password',
        passwordLength: 40,
        excludePunctuation: true,
      },
    });
    this._state.addSecret(this, this.roleName, secret, this.database.databaseName);
    if (this.alternates) this._state.rotateByAdministrator();
    return secret;
  }
}

/** Whether clients need a root that neither their system nor this package has. */
function hasOwnRoot(trust: string): boolean {
  return trust !== 'rds' && trust !== 'public';
}

function isConnectable(grantee: iam.IGrantable): grantee is iam.IGrantable & ec2.IConnectable {
  return 'connections' in grantee;
}

/** By what takes environment variables, the role whose variables it has. */
const ENVIRONMENTS = new WeakMap<object, { readonly role: LoginRole; readonly where: string }>();

/** How environment variables are given to it, if it takes any. */
function environmentOf(grantee: iam.IGrantable): ((name: string, value: string) => unknown) | undefined {
  if (grantee instanceof Consumer) return grantee._ways.addVariable;
  if (!('addEnvironment' in grantee) || typeof grantee.addEnvironment !== 'function') return undefined;
  return (name, value) => (grantee.addEnvironment as (name: string, value: string) => unknown)(name, value);
}

/** The limit of PostgreSQL is each login's own. */
function limitOf(limit: number | undefined, logins: number): number | undefined {
  return limit === undefined || limit < 0 ? undefined : limit * logins;
}
