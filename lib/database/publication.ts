import { Construct } from 'constructs';
import { DesiredPublishedTable, PublishedOperation as ContractOperation, rowFilterProblem } from '../contract';
import { requireLiteral, requireName } from '../server/state/literals';
import { refuseMisspelt } from '../server/known-props';
import { ServerState } from '../server/state/server-state';
import type { Database } from './database';
import { PublishedOperation } from './published-operation';
import { ReplicaIdentity } from './replica-identity';
import { IRole, requireKnownRole } from './role';
import { Schema } from './schema';

/** A table of a publication. It must be there when the state is applied. */
export interface PublishedTable {
  /** Its schema and name with a dot between, as in `billing.invoice`; double quotes around what has a dot itself. */
  readonly table: string;

  /**
   * The columns that are published. Those of the replica identity must be among them, unless INSERT alone is published.
   *
   * @default - all
   */
  readonly columns?: string[];

  /**
   * Which rows are published: an SQL expression over columns of the replica identity, or over any if INSERT alone is published.
   *
   * @default - all
   */
  readonly where?: string;

  /**
   * How a subscriber finds the row that changed.
   *
   * @default - what the table has; a table that has none is refused unless INSERT alone is published
   */
  readonly replicaIdentity?: ReplicaIdentity;
}

/** What a publication carries. */
export interface PublicationOptions {
  /**
   * Tables by schema and name, as in `billing.invoice`.
   *
   * @default - none
   */
  readonly tables?: string[];

  /**
   * Tables with columns, a row filter or a replica identity.
   *
   * @default - none
   */
  readonly tablesWith?: PublishedTable[];

  /**
   * Schemas all of whose tables are published, those to come too. Where the applying role may not publish a schema, its tables are
   * published one by one, and those to come by the next run.
   *
   * @default - none
   */
  readonly schemas?: Schema[];

  /**
   * Whether all tables of the database are published. Needs a superuser, or the master of Amazon RDS.
   *
   * @default false
   */
  readonly allTables?: boolean;

  /**
   * Which changes are published.
   *
   * @default - all
   */
  readonly operations?: PublishedOperation[];

  /**
   * Whether changes of partitions are published as changes of their root.
   *
   * @default false
   */
  readonly viaPartitionRoot?: boolean;

  /**
   * Whether stored generated columns are published, from PostgreSQL 18 on.
   *
   * @default false
   */
  readonly generatedColumns?: boolean;

  /**
   * The role that owns the publication, who must own its tables.
   *
   * @default - the owner of the database
   */
  readonly owner?: IRole;
}

/** Properties of `Publication`. */
export interface PublicationProps extends PublicationOptions {
  /** The database whose tables are published. */
  readonly database: Database;

  /** The name of the publication, at most 63 bytes. */
  readonly publicationName: string;
}

/** Changes of tables, for subscribers and for change data capture (LR-3). It is kept when it leaves the app. */
export class Publication extends Construct {
  /** The name of the publication. */
  public readonly publicationName: string;

  /**
   * Makes the declaration.
   *
   * @param scope where in the app it stands
   * @param id its name in the scope. What is in the server is known by its PostgreSQL name, not by this
   * @param props its properties
   */
  constructor(scope: Construct, id: string, props: PublicationProps) {
    super(scope, id);
    refuseMisspelt(this.node.path, this, props);
    const state = ServerState.of(props.database.server);
    this.publicationName = requireName(this, 'publicationName', 'object', props.publicationName);
    const tables = [...(props.tables ?? []).map((table) => ({ table })), ...(props.tablesWith ?? [])];
    const schemas = props.schemas ?? [];
    const { allTables = false } = props;
    if (allTables === tables.length + schemas.length > 0) {
      throw new Error(
        `${this.node.path}: ${allTables ? 'allTables stands alone, since it has every table already' : 'the publication is of nothing; name tables, schemas, or allTables: true'}`,
      );
    }
    for (const schema of schemas) {
      if (schema.database !== props.database)
        throw new Error(
          `${this.node.path}: the schema ${schema.node.path} is of another database, ${schema.database.node.path}`,
        );
    }
    const major = state.props.majorVersion;
    if (props.generatedColumns && major !== undefined && major < 18) {
      throw new Error(
        `${this.node.path}: generatedColumns exists from PostgreSQL 18 on, and the server is of version ${major}`,
      );
    }
    const all = [
      PublishedOperation.INSERT,
      PublishedOperation.UPDATE,
      PublishedOperation.DELETE,
      PublishedOperation.TRUNCATE,
    ];
    const operations = all.filter((operation) => (props.operations ?? all).includes(operation));
    if (operations.length === 0) throw new Error(`${this.node.path}: operations is empty; name one, or leave it out`);
    const owner = requireKnownRole(this, state, props.owner ?? props.database.owner);
    const declared = {
      name: this.publicationName,
      owner,
      operations: operations.map(({ name }) => name as ContractOperation),
      viaRoot: props.viaPartitionRoot ?? false,
      generatedColumns: props.generatedColumns ?? false,
      tables: tables.map((table) => this.table(table)),
      schemas: schemas.map((schema) => schema.schemaName),
      allTables,
    };
    state.declare((declaration) =>
      declaration.addInside(this, props.database.databaseName, 'publications', this.publicationName, declared),
    );
  }

  private table(table: PublishedTable): DesiredPublishedTable {
    const text = requireLiteral(this, 'table', table.table);
    const parts = /^("(?:[^"]|"")+"|[^".]+)\.("(?:[^"]|"")+"|[^".]+)$/.exec(text);
    if (!parts)
      throw new Error(
        `${this.node.path}: table ${JSON.stringify(text)} must be its schema and name, as in billing.invoice`,
      );
    const [schema, name] = parts
      .slice(1)
      .map((part) => (part.startsWith('"') ? part.slice(1, -1).replace(/""/g, '"') : part));
    if (table.columns?.length === 0)
      throw new Error(`${this.node.path}: columns of ${text} is empty; name one, or leave it out`);
    const where = table.where === undefined ? undefined : requireLiteral(this, 'where', table.where);
    const problem = where === undefined ? undefined : rowFilterProblem(where);
    if (problem) throw new Error(`${this.node.path}: where of ${text} ${problem}`);
    const identity = table.replicaIdentity?._identity;
    if (identity?.kind === 'index') requireName(this, 'ReplicaIdentity.index()', 'object', identity.index);
    return {
      schema: requireName(this, 'the schema of table', 'object', schema),
      name: requireName(this, 'table', 'object', name),
      columns: table.columns?.map((column) => requireName(this, 'columns', 'object', column)),
      where,
      identity,
    };
  }
}
