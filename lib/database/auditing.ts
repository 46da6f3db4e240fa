import { Construct } from 'constructs';
import { AUDIT_ROLE } from '../contract';
import type { IPostgresServer } from '../server/postgres-server';
import { refuseMisspelt } from '../server/known-props';
import { ServerState } from '../server/state/server-state';
import { GroupRole } from './group-role';
import { Privilege } from './privilege';
import type { Schema } from './schema';
import { SchemaObject } from './schema-object';

/** How a server is audited. */
export interface AuditingOptions {
  /**
   * The name of the role whose privileges say what is audited, which the parameter `pgaudit.role` has to name.
   *
   * @default 'rds_pgaudit', the one name that Amazon RDS takes
   */
  readonly roleName?: string;
}

/** Properties of `Auditing`. */
export interface AuditingProps extends AuditingOptions {
  /** The server to audit. */
  readonly server: IPostgresServer;
}

/** What pgaudit looks for on a table that its role has privileges on. It takes no notice of others, TRUNCATE among them. */
const AUDITED: readonly Privilege[] = [Privilege.SELECT, Privilege.INSERT, Privilege.UPDATE, Privilege.DELETE];

/**
 * What a server writes to its log about who did what, by pgaudit (SEC-20): the extension in every database of the state, and a role that
 * nobody logs in as or is a member of. A table is audited for the statements for which this role has a privilege on it.
 *
 * What is audited whatever the table, such as changes of objects and roles, says the parameter `pgaudit.log`.
 */
export class Auditing extends Construct {
  /** The name of the role whose privileges say what is audited. */
  public readonly roleName: string;
  private readonly role: GroupRole;

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: AuditingProps) {
    super(scope, id);
    refuseMisspelt(this.node.path, this, props);
    const { server } = props;
    this.roleName = props.roleName ?? AUDIT_ROLE;
    this.role = new GroupRole(this, 'Role', { server, roleName: this.roleName });
    ServerState.of(server).declare((declaration) => declaration.addEverywhere(this, { name: 'pgaudit' }));
  }

  /**
   * Audits each access to tables of a schema, by whom ever: every statement that needs one of the privileges on one of them is a line of
   * the log.
   *
   * @param schema the schema
   * @param on all its tables, existing and future, or one of them
   * @param privileges of SELECT, INSERT, UPDATE and DELETE; without any, the three that write
   */
  public audit(schema: Schema, on: SchemaObject, ...privileges: Privilege[]): void {
    const place = `${this.node.path}: audit() of the schema "${schema.schemaName}"`;
    if (!['allTables', 'table'].includes(on._kind)) {
      throw new Error(
        `${place} names a ${on._kind}; pgaudit audits access to tables and views: SchemaObject.allTables()`,
      );
    }
    const other = privileges.filter((privilege) => !AUDITED.includes(privilege));
    if (other.length > 0) {
      throw new Error(
        `${place} names ${other.join(', ')}; pgaudit audits ${AUDITED.join(', ')} table by table, and the rest by the parameter pgaudit.log`,
      );
    }
    const { INSERT, UPDATE, DELETE } = Privilege;
    schema.grant(this.role, on, ...(privileges.length === 0 ? [INSERT, UPDATE, DELETE] : privileges));
  }
}
