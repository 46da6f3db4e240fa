import { Construct } from 'constructs';
import { addFinding } from '../compliance';
import { OBJECT_KIND_OF, Privilege as ContractPrivilege, PRIVILEGES, rolesWithoutRows } from '../contract';
import { requireLiteral, requireName } from '../server/state/literals';
import { refuseMisspelt } from '../server/known-props';
import { ServerState } from '../server/state/server-state';
import type { Database } from './database';
import { addDescription } from './description';
import { Privilege } from './privilege';
import { IRole, requireDeclaredRole, requireKnownRole } from './role';
import { SchemaObject } from './schema-object';
import { TenantIsolationOptions, TenantStage } from './tenant-isolation';

/** How a schema is made. */
export interface SchemaOptions {
  /**
   * The role that owns the schema.
   *
   * @default - the owner of the database
   */
  readonly owner?: IRole;

  /**
   * What the schema is for. It stands in the catalog, where `\dn+` shows it, followed by who manages it: `… (cdk-postgres: StateName)`. A
   * comment that somebody else wrote is not written over unasked.
   *
   * @default - no comment is made; one that is there stays
   */
  readonly description?: string;

  /**
   * Whether each grant in the schema gives the role USAGE on it too, without which the grant has no effect. False where the role has it in
   * another way, as everybody has it on `public`; `grantUsage()` then gives it to those who need it.
   *
   * @default true
   */
  readonly usageWithGrants?: boolean;
}

/** Properties of `Schema`. */
export interface SchemaProps extends SchemaOptions {
  /** The database to declare the schema in. */
  readonly database: Database;

  /** The name of the schema, at most 63 bytes. */
  readonly schemaName: string;
}

/**
 * A schema of a database. It is kept when it leaves the app.
 *
 * A grant on all tables, sequences or routines is for those that exist and for those made later: by the schema's owner and by every
 * login role that may create there (default privileges, SEC-4).
 */
export class Schema extends Construct {
  /** The database. */
  public readonly database: Database;
  /** The name of the schema. */
  public readonly schemaName: string;
  /** The role that owns the schema. */
  public readonly owner: IRole;
  private readonly state: ServerState;
  private readonly usageWithGrants: boolean;

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: SchemaProps) {
    super(scope, id);
    refuseMisspelt(this.node.path, this, props);
    this.database = props.database;
    this.state = ServerState.of(props.database.server);
    this.schemaName = requireName(this, 'schemaName', 'schema', props.schemaName);
    this.owner = props.owner ?? props.database.owner;
    this.usageWithGrants = props.usageWithGrants ?? true;
    const owner = requireKnownRole(this, this.state, this.owner);
    this.state.declare((declaration) =>
      declaration.addSchema(this, this.database.databaseName, { name: this.schemaName, owner }),
    );
    const on = { kind: 'schema' as const, database: this.database.databaseName, name: this.schemaName };
    addDescription(this, this.state, on, props.description);
  }

  /**
   * Lets a role look objects up in the schema. Every other grant here includes it. The owner needs none.
   *
   * @param role a role declared on the same server
   */
  public grantUsage(role: IRole): void {
    this.grant(role, SchemaObject.schema(), Privilege.USAGE);
  }

  /**
   * Lets a role read all tables, views and sequences, existing and future.
   *
   * It may not call functions, since one with the rights of its owner could write: `grantExecute()` adds that, which a view that
   * calls a function needs too.
   *
   * @param role a role declared on the same server
   */
  public grantRead(role: IRole): void {
    this.grant(role, SchemaObject.allTables(), Privilege.SELECT);
    this.grant(role, SchemaObject.allSequences(), Privilege.SELECT);
  }

  /**
   * Lets a role read and write all tables, take values of all sequences, and call all functions and procedures (column defaults and
   * constraints may need them), existing and future. Not TRUNCATE, to which row security does not apply.
   *
   * @param role a role declared on the same server
   */
  public grantReadWrite(role: IRole): void {
    const { SELECT, INSERT, UPDATE, DELETE, USAGE } = Privilege;
    this.grant(role, SchemaObject.allTables(), SELECT, INSERT, UPDATE, DELETE);
    this.grant(role, SchemaObject.allSequences(), USAGE, SELECT);
    this.grantExecute(role);
  }

  /**
   * Lets a role call all functions and procedures, existing and future. PUBLIC may not (SEC-7).
   *
   * @param role a role declared on the same server
   */
  public grantExecute(role: IRole): void {
    this.grant(role, SchemaObject.allRoutines(), Privilege.EXECUTE);
  }

  /**
   * Grants privileges on the schema or on objects in it, with USAGE on the schema (`usageWithGrants`). Grants add up.
   *
   * @param role a role declared on the same server; the schema's owner has all privileges already, and nothing is declared for it
   * @param on what they are granted on
   * @param privileges at least one that this kind of object has
   */
  public grant(role: IRole, on: SchemaObject, ...privileges: Privilege[]): void {
    const to = requireDeclaredRole(this, this.state, role);
    const wanted = this.requirePrivileges(on, privileges);
    // Single objects, and those that another role makes, need not belong to the schema's owner.
    const isOwner = to === this.owner.roleName;
    if (isOwner && !on._mayBelongToOthers) return;
    const database = this.database.databaseName;
    const schema = this.schemaName;
    if (on._kind !== 'schema' && !isOwner && this.usageWithGrants) {
      this.state.declare((declaration) =>
        declaration.addGrant(database, { privileges: ['USAGE'], on: { kind: 'schema', schema }, to }),
      );
    }
    const present = on._in(schema);
    if (present)
      this.state.declare((declaration) => declaration.addGrant(database, { privileges: wanted, on: present, to }));
    if (on._futureObjects) {
      const by = on._by === undefined ? undefined : requireKnownRole(this, this.state, on._by);
      const future = { schema, objects: on._futureObjects, privileges: wanted, to, by };
      this.state.declare((declaration) => declaration.addFutureGrant(database, future));
    }
  }

  /**
   * Keeps the tenants of the application apart by row security (SEC-25): a role sees, adds and changes the rows of the tenant alone that
   * it has set in its transaction. Tables, existing and future, are isolated if they have the column.
   *
   * Row security stays when this declaration goes.
   *
   * @param options whose rows, and how far
   */
  public isolateTenants(options: TenantIsolationOptions): void {
    const prop = (name: string) => `isolateTenants() ${name}`;
    const column = requireName(this, prop('column'), 'object', options.column);
    const setting = requireLiteral(this, prop('setting'), options.setting ?? 'app.tenant_id');
    if (!/^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_]*$/i.test(setting)) {
      throw new Error(
        `${this.node.path}: isolateTenants() setting ${JSON.stringify(setting)} must have a prefix and a name, as in app.tenant_id`,
      );
    }
    const roles = options.roles.map((role) => requireDeclaredRole(this, this.state, role));
    const allTenants = (options.allTenants ?? []).map((role) => requireKnownRole(this, this.state, role));
    if (roles.length === 0) {
      throw new Error(`${this.node.path}: isolateTenants() roles is empty; name the roles that see one tenant alone`);
    }
    if (roles.includes(this.owner.roleName)) {
      throw new Error(
        `${this.node.path}: isolateTenants() roles has "${this.owner.roleName}", the owner of the schema, who can turn row security off; ` +
          'let the application log in as another role',
      );
    }
    const both = roles.filter((role) => allTenants.includes(role));
    if (both.length > 0) {
      throw new Error(
        `${this.node.path}: isolateTenants() has ${both.map((role) => `"${role}"`).join(', ')} in roles and in allTenants; each role is in one of them`,
      );
    }
    this.state.declare((declaration) =>
      declaration.addInside(this, this.database.databaseName, 'isolations', this.schemaName, {
        schema: this.schemaName,
        column,
        type: options.type,
        setting,
        stage: options.stage ?? TenantStage.PREPARED,
        roles: [...new Set(roles)].sort(),
        allTenants: [...new Set(allTenants)].sort(),
      }),
    );
    addFinding(this, {
      id: 'SEC-25',
      severity: 'warning',
      check: () => this.rolesWithoutRows(),
      fix: 'Put each of them in roles or in allTenants, or take its privileges away.',
    });
  }

  private rolesWithoutRows(): string | undefined {
    const { roles, memberships, databases } = this.state.declared();
    const database = databases.find(({ name }) => name === this.database.databaseName)!;
    const isolation = database.isolations.find(({ schema }) => schema === this.schemaName)!;
    const without = rolesWithoutRows(roles, memberships, database, isolation);
    if (without.length === 0) return undefined;
    const when = isolation.stage === 'enforced' ? 'see' : 'will see, once it is enforced,';
    return `the tenants of the schema "${this.schemaName}" are isolated, and these roles have privileges and ${when} no row: ${without.join(', ')}`;
  }

  private requirePrivileges(on: SchemaObject, privileges: Privilege[]): ContractPrivilege[] {
    const kind = OBJECT_KIND_OF[on._kind];
    const allowed: readonly ContractPrivilege[] = PRIVILEGES[kind];
    if (privileges.length === 0) throw new Error(`${this.node.path}: grant() names no privilege`);
    for (const privilege of privileges) {
      if (!allowed.includes(privilege)) {
        throw new Error(
          `${this.node.path}: grant() names ${privilege}, which a ${kind} does not have; there are ${allowed.join(', ')}`,
        );
      }
    }
    const major = this.state.props.majorVersion;
    if (privileges.includes(Privilege.MAINTAIN) && major !== undefined && major < 17) {
      throw new Error(
        `${this.node.path}: MAINTAIN exists from PostgreSQL 17 on, and the server is of version ${major}`,
      );
    }
    if (on._kind === 'routine') {
      const signature = requireLiteral(this, 'SchemaObject.routine()', on._name);
      if (!/^.+\(.*\)$/s.test(signature)) {
        throw new Error(
          `${this.node.path}: SchemaObject.routine('${signature}') must have the argument types, as in total(integer, text)`,
        );
      }
    } else if (on._kind === 'table' || on._kind === 'sequence') {
      requireName(this, `SchemaObject.${on._kind}()`, 'object', on._name);
    }
    return privileges;
  }
}
