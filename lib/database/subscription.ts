import { aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { requireLiteral, requireName } from '../server/state/literals';
import { refuseMisspelt } from '../server/known-props';
import { ServerState } from '../server/state/server-state';
import { Authentication } from './authentication';
import type { Database } from './database';
import { ExistingRole } from './existing-role';
import { LoginRole } from './login-role';
import { IRole, requireKnownRole } from './role';

/** Which changes of a publisher a subscription asks for. */
export class SubscriptionOrigin {
  /** All, whoever made them. */
  public static readonly ANY = new SubscriptionOrigin('any');
  /** Those that were made at the publisher itself, so that two servers can follow each other. */
  public static readonly NONE = new SubscriptionOrigin('none');

  private constructor(
    /** The word in SQL. */
    public readonly name: string,
  ) {}
}

/** When large transactions are sent. */
export class SubscriptionStreaming {
  /** Once they are committed. */
  public static readonly OFF = new SubscriptionStreaming('off');
  /** As they go on, and applied once they are committed. */
  public static readonly ON = new SubscriptionStreaming('on');
  /** As they go on, and applied at once by a worker of their own. */
  public static readonly PARALLEL = new SubscriptionStreaming('parallel');

  private constructor(
    /** The word in SQL. */
    public readonly name: string,
  ) {}
}

/** What a subscription follows, and how. */
export interface SubscriptionOptions {
  /**
   * The secret with the connection to the publisher: `host`, `port`, `dbname`, `username` and `password`, as Amazon RDS and this
   * library write them. TLS checks who answers (verify-full) by the roots of Amazon RDS on RDS and Aurora, and those of the operating
   * system elsewhere; `sslrootcert` in the secret names another file on the subscribing server.
   */
  readonly connectionSecret: secretsmanager.ISecret;

  /** The names of the publications at the publisher. */
  readonly publications: string[];

  /**
   * The slot at the publisher, which must be there, with the plugin pgoutput: `addSlot()` declares one. A subscription that makes its
   * slot itself would have the password in the log of the server.
   *
   * @default - named as the subscription
   */
  readonly slotName?: string;

  /**
   * Whether the rows that are there already are copied.
   *
   * @default true
   */
  readonly copyData?: boolean;

  /**
   * When large transactions are sent.
   *
   * @default - the server's: parallel from PostgreSQL 18 on, off before
   */
  readonly streaming?: SubscriptionStreaming;

  /**
   * Whether prepared transactions are sent when they are prepared.
   *
   * @default - not managed; a new subscription does not
   */
  readonly twoPhase?: boolean;

  /**
   * Whether the slot at the publisher is kept on its standbys, from PostgreSQL 17 on. The slot must be made so.
   *
   * @default - not managed; a new subscription does not
   */
  readonly failover?: boolean;

  /**
   * Which changes are asked for.
   *
   * @default - not managed; a new subscription asks for all
   */
  readonly origin?: SubscriptionOrigin;

  /**
   * Whether the subscription is disabled at the first row that cannot be applied, in place of trying it for ever.
   *
   * @default - not managed; a new subscription tries for ever
   */
  readonly disableOnError?: boolean;

  /**
   * Whether changes are applied as the owner of the subscription, in place of the owner of each table.
   *
   * @default - not managed; a new subscription applies as the owner of each table
   */
  readonly runAsOwner?: boolean;

  /**
   * Whether it follows now.
   *
   * @default true
   */
  readonly enabled?: boolean;

  /**
   * The login role that owns the subscription: its worker logs in as it, without a password, and goes on as the owner of each table.
   * A declared one becomes a member of the owner of the database, with all that it may do; an `ExistingRole` stays as it is.
   *
   * @default - a role of its own that nobody else can log in as, named as the subscription with `_subscription` at its end
   */
  readonly owner?: IRole;
}

/** Properties of `Subscription`. */
export interface SubscriptionProps extends SubscriptionOptions {
  /** The database that gets the rows; the tables must be there. */
  readonly database: Database;

  /** The name of the subscription, at most 63 bytes. */
  readonly subscriptionName: string;
}

/** Follows publications of another server (LR-4). It goes on when it leaves the app, and is reported then. */
export class Subscription extends Construct {
  /** The name of the subscription. */
  public readonly subscriptionName: string;

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: SubscriptionProps) {
    super(scope, id);
    refuseMisspelt(this.node.path, this, props);
    const state = ServerState.of(props.database.server);
    const name = requireName(this, 'subscriptionName', 'object', props.subscriptionName);
    this.subscriptionName = name;
    if (props.publications.length === 0) throw new Error(`${this.node.path}: publications is empty; name one`);
    const major = state.props.majorVersion;
    if (props.failover !== undefined && major !== undefined && major < 17) {
      throw new Error(
        `${this.node.path}: failover exists from PostgreSQL 17 on, and the server is of version ${major}`,
      );
    }
    const slot = props.slotName === undefined ? undefined : requireLiteral(this, 'slotName', props.slotName);
    if (!/^[a-z0-9_]{1,63}$/.test(slot ?? name)) {
      throw new Error(
        `${this.node.path}: ${slot === undefined ? 'subscriptionName' : 'slotName'} ${JSON.stringify(slot ?? name)} cannot be the name of a slot, which may have lower case letters, digits and _ alone${slot === undefined ? ': give a slotName' : ''}`,
      );
    }
    const key = `${props.database.databaseName}.${name}`;
    const flag = (value: boolean | undefined) => (value === undefined ? undefined : String(value));
    const owner =
      props.owner ??
      new LoginRole(this, 'Owner', {
        database: props.database,
        roleName: `${name}_subscription`,
        authentication: Authentication.none(),
      });
    if (owner instanceof LoginRole) owner.memberOf(props.database.owner, { inherit: true, set: true });
    else if (!(owner instanceof ExistingRole)) {
      throw new Error(
        `${this.node.path}: owner is "${owner.roleName}", which does not log in, as its worker has to; give one made by addLoginRole(), or an ExistingRole`,
      );
    }
    const declared = {
      name,
      owner: requireKnownRole(this, state, owner),
      secret: key,
      publications: props.publications.map((publication) => requireName(this, 'publications', 'object', publication)),
      slot,
      enabled: props.enabled ?? true,
      options: {
        copy_data: flag(props.copyData),
        streaming: props.streaming?.name,
        two_phase: flag(props.twoPhase),
        failover: flag(props.failover),
        origin: props.origin?.name,
        disable_on_error: flag(props.disableOnError),
        run_as_owner: flag(props.runAsOwner),
      },
    };
    state.declare((declaration) =>
      declaration.addInside(this, props.database.databaseName, 'subscriptions', name, declared),
    );
    state.addConnectionSecret(key, props.connectionSecret);
  }
}
