import { Construct } from 'constructs';
import type { IPostgresServer } from '../server/postgres-server';
import { refuseMisspelt } from '../server/known-props';
import { IRole, RoleBase } from './role';

/** How a group role is made. */
export interface GroupRoleOptions {
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
}

/** Properties of `GroupRole`. */
export interface GroupRoleProps extends GroupRoleOptions {
  /** The server to declare the role on. */
  readonly server: IPostgresServer;

  /** The name of the role, at most 63 bytes. */
  readonly roleName: string;
}

/** A role that nobody logs in as (NOLOGIN): it owns objects, or holds privileges that its members inherit (SEC-2). */
export class GroupRole extends RoleBase {
  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: GroupRoleProps) {
    super(scope, id, props.server, props.roleName);
    refuseMisspelt(this.node.path, this, props);
    this._declare({ login: false, authentication: 'none' });
    this._describe(props.description);
    props.memberOf?.forEach((group) => this.memberOf(group));
  }
}
