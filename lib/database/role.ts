import { Construct } from 'constructs';
import { DesiredRole, nameProblem } from '../contract';
import type { IPostgresServer } from '../server/postgres-server';
import { requireLiteral, requireName } from '../server/state/literals';
import { ServerState } from '../server/state/server-state';
import { addDescription } from './description';
import { ExistingRole } from './existing-role';
import { PredefinedRole } from './predefined-role';

/**
 * A role of a PostgreSQL server: one that is declared (`LoginRole`, `GroupRole`), that the server brings along (`PredefinedRole`), or that
 * is there and is declared by nobody here (`ExistingRole`).
 */
export interface IRole {
  /** The name of the role in PostgreSQL. */
  readonly roleName: string;
}

/** What a member may do with the group; PostgreSQL 16 and later keep each apart, and each is always written out. */
export interface MembershipOptions {
  /**
   * Whether the member has the group's privileges without further ado.
   *
   * @default true
   */
  readonly inherit?: boolean;

  /**
   * Whether the member may SET ROLE to the group, and so create objects that belong to it.
   *
   * @default false
   */
  readonly set?: boolean;

  /**
   * Whether the member may make others members.
   *
   * @default false
   */
  readonly admin?: boolean;
}

/**
 * What login roles and group roles share.
 *
 * @internal
 */
export abstract class RoleBase extends Construct implements IRole {
  public readonly roleName: string;

  /** The server that the role is declared on. A role belongs to the server, not to a database. */
  public readonly server: IPostgresServer;

  /** @internal */
  protected readonly _state: ServerState;

  constructor(scope: Construct, id: string, server: IPostgresServer, roleName: string) {
    super(scope, id);
    this.server = server;
    this._state = ServerState.of(server);
    this.roleName = requireName(this, 'roleName', 'role', roleName);
  }

  /**
   * Makes this role a member of a group: it has the group's privileges.
   *
   * @param group a declared role of the same server, a `PredefinedRole` that the server's version has, or an `ExistingRole`
   * @param options what the member may do with the group
   */
  public memberOf(group: IRole, options: MembershipOptions = {}): void {
    this._addMembership(group, [this.roleName], options);
  }

  /** @internal */
  protected _addMembership(group: IRole, members: readonly string[], options: MembershipOptions = {}): void {
    if (group instanceof PredefinedRole) {
      const major = this._state.props.majorVersion;
      if (major !== undefined && group.sinceMajor > major) {
        throw new Error(
          `${this.node.path}: ${group.roleName} exists from PostgreSQL ${group.sinceMajor} on, and the server is of version ${major}`,
        );
      }
    } else {
      requireKnownRole(this, this._state, group);
    }
    for (const member of members) {
      this._state.declare((declaration) =>
        declaration.addMembership(this, {
          role: group.roleName,
          member,
          inherit: options.inherit ?? true,
          set: options.set ?? false,
          admin: options.admin ?? false,
        }),
      );
    }
  }

  /** @internal */
  protected _describe(description?: string): void {
    addDescription(this, this._state, { kind: 'role', name: this.roleName }, description);
  }

  /** @internal */
  protected _declare(
    role: Omit<DesiredRole, 'name' | 'inherit' | 'createDatabase' | 'createRole'>,
    name = this.roleName,
  ): void {
    if (name === this._state.props.adminRole) {
      throw new Error(
        `${this.node.path}: roleName ${JSON.stringify(name)} is the master user of ${this.server.node.path}, who applies what is declared; declare ` +
          'a role of another name, or name the master where it owns something as ExistingRole.of()',
      );
    }
    this._state.declare((declaration) =>
      declaration.addRole(this, {
        name,
        inherit: true,
        createDatabase: false,
        createRole: false,
        ...role,
      }),
    );
  }
}

/** Fails unless the role is declared on the server, or said to be there already: for owners and groups. */
export function requireKnownRole(scope: Construct, state: ServerState, role: IRole): string {
  if (!(role instanceof ExistingRole)) return requireDeclaredRole(scope, state, role);
  const name = requireLiteral(scope, 'ExistingRole.of()', role.roleName);
  const problem = nameProblem('object', name);
  if (problem)
    throw new Error(`${scope.node.path}: ExistingRole.of(${JSON.stringify(name)}) names no role: it ${problem}`);
  return name;
}

/** Fails unless the role is declared on the server that a privilege or membership is about. */
export function requireDeclaredRole(scope: Construct, state: ServerState, role: IRole): string {
  if (!role) throw new Error(`${scope.node.path}: role is ${String(role)}; name a role of the server`);
  if (!(role instanceof RoleBase)) {
    throw new Error(
      `${scope.node.path}: "${role.roleName}" is not a declared role; privileges go to roles made by addLoginRole() or addGroupRole(), which can ` +
        'be members of a predefined role',
    );
  }
  if (ServerState.of(role.server) !== state) {
    throw new Error(
      `${scope.node.path}: the role "${role.roleName}" (${role.node.path}) is declared on another server, ${role.server.node.path}`,
    );
  }
  return role.roleName;
}
