import { Duration } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import type { Database } from './database';
import { refuseMisspelt } from '../server/known-props';
import { GroupRole } from './group-role';
import { LoginRole, LoginRoleOptions } from './login-role';
import { PredefinedRole } from './predefined-role';
import { IRole } from './role';

/** How one login of a set is made. What is not said here is as the set makes it. */
export interface RoleSetLoginOptions extends LoginRoleOptions {
  /**
   * The name of the role, at most 63 bytes.
   *
   * @default - the name of the database, and what the role is for
   */
  readonly roleName?: string;

  /**
   * Whether the role is left out.
   *
   * @default false
   */
  readonly omit?: boolean;
}

/** How the role for emergencies is made. */
export interface BreakGlassOptions extends RoleSetLoginOptions {
  /**
   * Lets somebody log in until then, with a secret that exists as long as this line does. Whoever adds it says in a commit why.
   *
   * @default - nobody logs in (NOLOGIN), and there is no secret
   */
  readonly enabledUntil?: Date;
}

/** Which roles a set has, and how they differ from its defaults. */
export interface RoleSetOptions {
  /**
   * Runs the migrations.
   *
   * @default - `…_migrator`: works as the owner of the database, waits three seconds for a lock (DDL-1), and idles in a transaction for a minute
   */
  readonly migrator?: RoleSetLoginOptions;

  /**
   * The application.
   *
   * @default - `…_app`: reads and writes, with statements of 15 seconds, and idles in a transaction for a minute (CP-16)
   */
  readonly app?: RoleSetLoginOptions;

  /**
   * Reports and people who look.
   *
   * @default - `…_report`: reads, with statements of 30 minutes, and idles in a transaction for five
   */
  readonly report?: RoleSetLoginOptions;

  /**
   * Watches the server, and sees no row of a table.
   *
   * @default - `…_monitor`: a member of pg_monitor with five sessions, statements of 30 seconds, and locks of one
   */
  readonly monitor?: RoleSetLoginOptions;

  /**
   * Reads changes by logical replication (CDC). It has SELECT on nothing: grant it what is published.
   *
   * @default - none, since a consumer that stops holds WAL until the disk is full (LR-17); `{}` declares `…_cdc`
   */
  readonly cdc?: RoleSetLoginOptions;

  /**
   * For emergencies: works as the owner, and may look at and end other sessions.
   *
   * @default - `…_break_glass`, which nobody can log in as
   */
  readonly breakGlass?: BreakGlassOptions;
}

/** Properties of `RoleSet`. */
export interface RoleSetProps extends RoleSetOptions {
  /** The database that the roles work in. */
  readonly database: Database;
}

/**
 * The roles that a database in production has (SEC-2), each with the least that its work needs and timeouts of its own (CP-16). Objects
 * belong to the owner, so that whatever the migrator creates carries the privileges of the others (SEC-4).
 */
export class RoleSet extends Construct {
  /** Owns the database and its schemas, and does not log in. */
  public readonly owner: IRole;
  /** Runs the migrations. */
  public readonly migrator?: LoginRole;
  /** The application. */
  public readonly app?: LoginRole;
  /** Reports and people who look. */
  public readonly report?: LoginRole;
  /** Watches the server. */
  public readonly monitor?: LoginRole;
  /** Reads changes by logical replication. */
  public readonly cdc?: LoginRole;
  /** For emergencies. A `LoginRole` while it is enabled. */
  public readonly breakGlass?: IRole;
  private readonly database: Database;

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: RoleSetProps) {
    super(scope, id);
    refuseMisspelt(this.node.path, this, props);
    const { database } = props;
    this.database = database;
    this.owner = database.owner;
    const minute = Duration.minutes(1);
    this.migrator = this.login('Migrator', 'migrator', props.migrator, () => ({
      actsAs: this.owner,
      lockTimeout: Duration.seconds(3),
      idleInTransactionSessionTimeout: minute,
    }));
    this.app = this.login('App', 'app', props.app, () => ({
      memberOf: [database.readWriteRole],
      statementTimeout: Duration.seconds(15),
      idleInTransactionSessionTimeout: minute,
    }));
    this.report = this.login('Report', 'report', props.report, () => ({
      memberOf: [database.readOnlyRole],
      statementTimeout: Duration.minutes(30),
      idleInTransactionSessionTimeout: Duration.minutes(5),
    }));
    this.monitor = this.login('Monitor', 'monitor', props.monitor, () => ({
      memberOf: [PredefinedRole.MONITOR],
      connectionLimit: 5,
      statementTimeout: Duration.seconds(30),
      lockTimeout: Duration.seconds(1),
    }));
    this.cdc = this.login('Cdc', 'cdc', props.cdc ?? { omit: true }, () => ({ replication: true }));
    this.breakGlass = this.emergency(props.breakGlass ?? {});
  }

  private login(
    id: string,
    suffix: string,
    options: RoleSetLoginOptions = {},
    defaults: () => LoginRoleOptions,
  ): LoginRole | undefined {
    const { omit, roleName, ...given } = options;
    // The defaults may declare a group, which a role that is left out does not need.
    if (omit) return undefined;
    const usual = defaults();
    return new LoginRole(this, id, {
      ...usual,
      ...given,
      memberOf: [...(usual.memberOf ?? []), ...(given.memberOf ?? [])],
      database: this.database,
      roleName: roleName ?? this.nameFor(suffix),
    });
  }

  private emergency(options: BreakGlassOptions): IRole | undefined {
    const { enabledUntil, ...rest } = options;
    const groups = [PredefinedRole.MONITOR, PredefinedRole.SIGNAL_BACKEND, ...(rest.memberOf ?? [])];
    if (enabledUntil) {
      return this.login('BreakGlass', 'break_glass', { ...rest, memberOf: groups, validUntil: enabledUntil }, () => ({
        actsAs: this.owner,
        connectionLimit: 2,
      }));
    }
    if (rest.omit) return undefined;
    const role = new GroupRole(this, 'BreakGlass', {
      server: this.database.server,
      roleName: rest.roleName ?? this.nameFor('break_glass'),
      memberOf: groups,
    });
    role.memberOf(rest.actsAs ?? this.owner, { inherit: false, set: true });
    return role;
  }

  private nameFor(suffix: string): string {
    return `${this.database.databaseName}_${suffix}`;
  }
}
