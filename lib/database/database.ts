import { Construct, Dependable } from 'constructs';
import { PRIVILEGES, Privilege as ContractPrivilege, serverEncoding, serverEncodings } from '../contract';
import type { IPostgresServer } from '../server/postgres-server';
import { childId, requireFirst } from '../server/state/child-id';
import { requireInteger, requireLiteral, requireName } from '../server/state/literals';
import { refuseMisspelt } from '../server/known-props';
import { ServerState } from '../server/state/server-state';
import { addDescription } from './description';
import { Extension, ExtensionOptions } from './extension';
import { GroupRole, GroupRoleOptions } from './group-role';
import { LoginRole, LoginRoleOptions } from './login-role';
import { Privilege } from './privilege';
import { Publication, PublicationOptions } from './publication';
import { IRole, requireDeclaredRole, requireKnownRole } from './role';
import { RoleSet, RoleSetOptions } from './role-set';
import { Schema, SchemaOptions } from './schema';
import { addSettings } from './settings';
import { Slot, SlotOptions } from './slot';
import { Subscription, SubscriptionOptions } from './subscription';

/** How a database is made. */
export interface DatabaseOptions {
  /**
   * The role that owns the database and, unless they say otherwise, its schemas. Nobody should log in as it.
   *
   * @default - a group role named as the database, with `_owner` at its end (SEC-2)
   */
  readonly owner?: IRole;

  /**
   * The name of `readWriteRole`, at most 63 bytes.
   *
   * @default - the name of the database, with `_readwrite` at its end
   */
  readonly readWriteRoleName?: string;

  /**
   * The name of `readOnlyRole`, at most 63 bytes.
   *
   * @default - the name of the database, with `_readonly` at its end
   */
  readonly readOnlyRoleName?: string;

  /**
   * How many sessions the database takes at once; no limit is -1.
   *
   * @default - not managed; a new database has no limit
   */
  readonly connectionLimit?: number;

  /**
   * The character encoding, which PostgreSQL fixes when it creates the database.
   *
   * @default - the server's; a database that exists keeps its own
   */
  readonly encoding?: string;

  /**
   * The libc locale, which PostgreSQL fixes when it creates the database.
   *
   * @default - the server's; a database that exists keeps its own
   */
  readonly locale?: string;

  /**
   * Defaults of all sessions in the database, by name.
   *
   * @default - none
   */
  readonly settings?: { [name: string]: string };

  /**
   * Whether PUBLIC, which is every role of the server, loses CONNECT and TEMPORARY on the database, CREATE on the schema `public`, and
   * EXECUTE on the routines of declared schemas (SEC-6, SEC-7).
   *
   * @default true
   */
  readonly closePublic?: boolean;

  /**
   * What the database is for. It stands in the catalog, where `\l+` shows it, followed by who manages it: `… (cdk-postgres: StateName)`. A
   * comment that somebody else wrote is not written over unasked.
   *
   * @default - no comment is made; one that is there stays
   */
  readonly description?: string;
}

/** Properties of `Database`. */
export interface DatabaseProps extends DatabaseOptions {
  /** The server to declare the database on. */
  readonly server: IPostgresServer;

  /** The name of the database, at most 63 bytes. */
  readonly databaseName: string;
}

/** A database of a server, and what is declared inside. It is kept when it leaves the app. */
export class Database extends Construct {
  /** The server. */
  public readonly server: IPostgresServer;
  /** The name of the database. */
  public readonly databaseName: string;
  /** The role that owns the database. */
  public readonly owner: IRole;
  private readonly state: ServerState;
  private readonly schemas: Schema[] = [];
  private readonly accessRoleNames: { readonly readWrite?: string; readonly readOnly?: string };
  private writers?: GroupRole;
  private readers?: GroupRole;

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: DatabaseProps) {
    super(scope, id);
    refuseMisspelt(this.node.path, this, props);
    this.server = props.server;
    this.state = ServerState.of(props.server);
    this.accessRoleNames = { readWrite: props.readWriteRoleName, readOnly: props.readOnlyRoleName };
    this.databaseName = requireName(this, 'databaseName', 'database', props.databaseName);
    if (this.databaseName === 'postgres') {
      throw new Error(
        `${this.node.path}: databaseName is "postgres", which holds the ledger of the server; declare a database of the application's own`,
      );
    }
    this.owner =
      props.owner ?? new GroupRole(this, 'Owner', { server: this.server, roleName: `${this.databaseName}_owner` });
    this.state.declare((declaration) =>
      declaration.addDatabase(this, {
        name: this.databaseName,
        owner: requireKnownRole(this, this.state, this.owner),
        connectionLimit:
          props.connectionLimit === undefined
            ? undefined
            : requireInteger(this, 'connectionLimit', props.connectionLimit, -1, 262_143),
        encoding: props.encoding === undefined ? undefined : this.requireEncoding(props.encoding),
        locale: props.locale === undefined ? undefined : this.requireLocale(props.locale),
        public: props.closePublic === false ? 'kept' : 'closed',
      }),
    );
    addSettings(this, this.state, { database: this.databaseName }, props.settings);
    addDescription(this, this.state, { kind: 'database', name: this.databaseName }, props.description);
    // Who depends on the database waits until it is there, with all that is declared inside.
    const { applied } = this.state;
    Dependable.implement(this, {
      get dependencyRoots() {
        return [scope.node.findChild(id), ...Dependable.of(applied).dependencyRoots];
      },
    });
  }

  /**
   * Declares a schema.
   *
   * @param schemaName its name, at most 63 bytes
   * @param options how it is made
   */
  public addSchema(schemaName: string, options: SchemaOptions = {}): Schema {
    const schema = new Schema(this, childId(this, 'addSchema', 'schemaName', 'Schema', schemaName), {
      ...options,
      database: this,
      schemaName,
    });
    this.schemas.push(schema);
    if (this.writers) schema.grantReadWrite(this.writers);
    if (this.readers) schema.grantRead(this.readers);
    return schema;
  }

  /**
   * Declares an extension. What it requires is declared as well, by a call of its own.
   *
   * @param extensionName its name, such as `pg_trgm`
   * @param options how it is made
   */
  public addExtension(extensionName: string, options: ExtensionOptions = {}): Extension {
    return new Extension(this, childId(this, 'addExtension', 'extensionName', 'Extension', extensionName), {
      ...options,
      database: this,
      extensionName,
    });
  }

  /**
   * Declares a role that logs in and connects to this database.
   *
   * @param roleName its name, at most 63 bytes; role names are shared by all databases of a server
   * @param options how it is made
   */
  public addLoginRole(roleName: string, options: LoginRoleOptions = {}): LoginRole {
    return new LoginRole(this, childId(this, 'addLoginRole', 'roleName', 'Role', roleName), {
      ...options,
      database: this,
      roleName,
    });
  }

  /**
   * Declares a group role (NOLOGIN), which holds privileges for its members.
   *
   * @param roleName its name, at most 63 bytes; role names are shared by all databases of a server
   * @param options how it is made
   */
  public addGroupRole(roleName: string, options: GroupRoleOptions = {}): GroupRole {
    return new GroupRole(this, childId(this, 'addGroupRole', 'roleName', 'Role', roleName), {
      ...options,
      server: this.server,
      roleName,
    });
  }

  /**
   * Declares the roles that a database in production has (SEC-2): migrator, application, report, monitor, one for emergencies that nobody
   * logs in as, and where asked one for logical replication. Each may be renamed, changed or left out.
   *
   * @param options how they differ from the set's defaults
   */
  public addRoleSet(options: RoleSetOptions = {}): RoleSet {
    return new RoleSet(this, requireFirst(this, 'addRoleSet()', 'RoleSet'), { ...options, database: this });
  }

  /**
   * A group role whose members read and write every schema that `addSchema()` declares, before or later (SEC-2). It is declared when
   * it is first asked for, and named as the database with `_readwrite` at its end.
   */
  public get readWriteRole(): GroupRole {
    if (!this.writers) {
      this.writers = this.accessRole('ReadWrite', this.accessRoleNames.readWrite ?? `${this.databaseName}_readwrite`);
      this.schemas.forEach((schema) => schema.grantReadWrite(this.writers!));
    }
    return this.writers;
  }

  /**
   * A group role whose members read every schema that `addSchema()` declares, before or later (SEC-2). It is declared when it is first
   * asked for, and named as the database with `_readonly` at its end.
   */
  public get readOnlyRole(): GroupRole {
    if (!this.readers) {
      this.readers = this.accessRole('ReadOnly', this.accessRoleNames.readOnly ?? `${this.databaseName}_readonly`);
      this.schemas.forEach((schema) => schema.grantRead(this.readers!));
    }
    return this.readers;
  }

  /**
   * Declares a publication: changes of tables, for subscribers and for change data capture.
   *
   * @param publicationName its name, at most 63 bytes
   * @param options what it carries
   */
  public addPublication(publicationName: string, options: PublicationOptions): Publication {
    return new Publication(this, childId(this, 'addPublication', 'publicationName', 'Publication', publicationName), {
      ...options,
      database: this,
      publicationName,
    });
  }

  /**
   * Declares a logical replication slot for a consumer.
   *
   * @param slotName its name, one for the whole server
   * @param options who reads from it, and how
   */
  public addSlot(slotName: string, options: SlotOptions): Slot {
    return new Slot(this, childId(this, 'addSlot', 'slotName', 'Slot', slotName), {
      ...options,
      database: this,
      slotName,
    });
  }

  /**
   * Declares a subscription to publications of another server.
   *
   * @param subscriptionName its name, at most 63 bytes
   * @param options what it follows, and how
   */
  public addSubscription(subscriptionName: string, options: SubscriptionOptions): Subscription {
    return new Subscription(
      this,
      childId(this, 'addSubscription', 'subscriptionName', 'Subscription', subscriptionName),
      { ...options, database: this, subscriptionName },
    );
  }

  /**
   * Lets a role of the server connect to this database. A login role may connect to its own without it.
   *
   * @param role a role declared on the same server
   */
  public grantConnect(role: IRole): void {
    this.grant(role, Privilege.CONNECT);
  }

  /**
   * Grants privileges on the database itself. Grants add up.
   *
   * @param role a role declared on the same server; the owner has all privileges already, and nothing is declared for it
   * @param privileges of CONNECT, CREATE and TEMPORARY
   */
  public grant(role: IRole, ...privileges: Privilege[]): void {
    const to = requireDeclaredRole(this, this.state, role);
    const allowed: readonly ContractPrivilege[] = PRIVILEGES.database;
    const wrong = privileges.filter((privilege) => !allowed.includes(privilege));
    if (wrong.length > 0 || privileges.length === 0) {
      throw new Error(
        `${this.node.path}: grant() names ${wrong.join(', ') || 'no privilege'}; a database has ${allowed.join(', ')}`,
      );
    }
    if (to === this.owner.roleName) return;
    this.state.declare((declaration) =>
      declaration.addGrant(this.databaseName, { privileges, on: { kind: 'database' }, to }),
    );
  }

  private requireEncoding(given: string): string {
    const encoding = requireLiteral(this, 'encoding', given);
    if (serverEncoding(encoding) === undefined) {
      throw new Error(
        `${this.node.path}: encoding ${JSON.stringify(encoding)} is none that a database can have; PostgreSQL knows ${serverEncodings.join(', ')}`,
      );
    }
    return encoding;
  }

  private requireLocale(given: string): string {
    const locale = requireLiteral(this, 'locale', given);
    if (locale === '' || locale.includes('\0')) {
      throw new Error(
        `${this.node.path}: locale ${JSON.stringify(locale)} is no locale; write one as C.UTF-8, or leave it out for the server's own`,
      );
    }
    return locale;
  }

  private accessRole(id: string, roleName: string): GroupRole {
    return new GroupRole(this, id, { server: this.server, roleName });
  }
}
