import type { IRole } from './role';

/**
 * A role that is on the server and that this app does not declare, such as the master or a role of another team: it may own what is
 * declared, and be a group. It must be there when the state is applied; what it has and what it may do stays as it is.
 */
export class ExistingRole implements IRole {
  /**
   * A role by its name. Also the way to name a login role as the owner of the database that it is declared in afterwards.
   *
   * @param roleName its name in PostgreSQL
   */
  public static of(roleName: string): ExistingRole {
    return new ExistingRole(roleName);
  }

  private constructor(
    /** The name of the role. */
    public readonly roleName: string,
  ) {}
}
