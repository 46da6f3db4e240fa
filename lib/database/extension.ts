import { Construct } from 'constructs';
import { requireLiteral, requireName } from '../server/state/literals';
import { refuseMisspelt } from '../server/known-props';
import { ServerState } from '../server/state/server-state';
import type { Database } from './database';
import { Schema } from './schema';

/** How an extension is made. */
export interface ExtensionOptions {
  /**
   * The schema that its objects go into. It is decided when the extension is made: most extensions cannot be moved later by anybody
   * but a superuser, so a changed schema is refused.
   *
   * @default - `public`, or what the extension itself says; an extension that is there already stays where it is
   */
  readonly schema?: Schema;

  /**
   * The version that the extension is kept at. A later one is updated to; an older one is refused, since extensions do not go back.
   *
   * @default - the server's default version when the extension is made, and no update later
   */
  readonly version?: string;
}

/** Properties of `Extension`. */
export interface ExtensionProps extends ExtensionOptions {
  /** The database to declare the extension in. */
  readonly database: Database;

  /** The name of the extension, such as `pg_trgm`. */
  readonly extensionName: string;
}

/**
 * An extension of a database (SEC-23). It is kept when it leaves the app.
 *
 * The owner of the database makes it, as far as the extension is one that PostgreSQL trusts; the rest is up to the role that applies
 * the state, which on Amazon RDS may make what `rds.allowed_extensions` allows. What an extension requires is declared too: nothing
 * is installed that nobody chose.
 */
export class Extension extends Construct {
  /** The database. */
  public readonly database: Database;
  /** The name of the extension. */
  public readonly extensionName: string;

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: ExtensionProps) {
    super(scope, id);
    refuseMisspelt(this.node.path, this, props);
    this.database = props.database;
    this.extensionName = requireExtensionName(this, props.extensionName);
    const { schema } = props;
    if (schema && schema.database !== props.database) {
      throw new Error(
        `${this.node.path}: schema is "${schema.schemaName}" of the database "${schema.database.databaseName}" (${schema.node.path}); an extension goes into a schema of its own database`,
      );
    }
    const version = props.version === undefined ? undefined : requireLiteral(this, 'version', props.version);
    if (version !== undefined && !/^[^\s\0]+$/.test(version)) {
      throw new Error(
        `${this.node.path}: version is ${JSON.stringify(version)}, which is no version of an extension; give one such as 1.6, or leave it out for the server's default`,
      );
    }
    ServerState.of(props.database.server).declare((declaration) =>
      declaration.addInside(this, props.database.databaseName, 'extensions', this.extensionName, {
        name: this.extensionName,
        schema: schema?.schemaName,
        version,
      }),
    );
  }
}

/** Unlike other names these are given by others, and some need quotes (uuid-ossp). */
function requireExtensionName(scope: Construct, value: string): string {
  const name = requireLiteral(scope, 'extensionName', value);
  return /^[a-z0-9_][a-z0-9_-]{0,62}$/.test(name) ? name : requireName(scope, 'extensionName', 'object', name);
}
