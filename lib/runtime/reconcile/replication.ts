import { DesiredDatabase } from '../../contract';

/** What of the server itself decides what can be replicated. */
export interface ReplicationFacts {
  readonly walLevel: string;
  /** max_logical_replication_workers: who applies what a subscription gets. */
  readonly applyWorkers: number;
  /** Whether the connected role has the attribute REPLICATION. */
  readonly replicationAttribute: boolean;
  /** Whether it may publish schemas and all tables, as tried in a transaction that was rolled back. */
  readonly publishesAll: boolean;
}

/** What the catalog of a database says of publications, slots and subscriptions, as far as a declaration speaks of them. */
export interface Replication {
  readonly publications: ReadonlyMap<string, ObservedPublication>;
  /** By `tableKey()`: the tables that a publication names, or that are in a schema that it names. */
  readonly tables: ReadonlyMap<string, PublishableTable>;
  /** Of the tables that are published or are to be. */
  readonly schemas: ReadonlyMap<string, Entrance>;
  /** By `filterKey()`: declared row filters as the server writes them. */
  readonly filters: ReadonlyMap<string, NormalFilter>;
  /** Declared row filters that the server refused. */
  readonly filterProblems: readonly string[];
  readonly slots: ReadonlyMap<string, ObservedSlot>;
  readonly subscriptions: ReadonlyMap<string, ObservedSubscription>;
}

export interface ObservedPublication {
  readonly name: string;
  readonly owner: string;
  readonly allTables: boolean;
  readonly operations: readonly string[];
  readonly viaRoot: boolean;
  readonly generatedColumns: boolean;
  readonly schemas: readonly string[];
  readonly tables: readonly PublishedTable[];
}

export interface PublishedTable {
  readonly schema: string;
  readonly name: string;
  readonly columns?: readonly string[];
  readonly where?: string;
}

export interface PublishableTable {
  readonly schema: string;
  readonly name: string;
  readonly owner: string;
  readonly identity: 'default' | 'nothing' | 'full' | 'index';
  readonly identityIndex?: string;
  /** The columns of the replica identity that it has; absent where it has none. */
  readonly identityColumns?: readonly string[];
  readonly primaryKey?: readonly string[];
  readonly columns: readonly string[];
  /** Indexes that can be a replica identity, with their columns. */
  readonly indexes: Readonly<Record<string, readonly string[]>>;
  readonly permanent: boolean;
  readonly partition: boolean;
}

export interface Entrance {
  readonly owner: string;
  /** Who has USAGE; null is PUBLIC. */
  readonly users: readonly (string | null)[];
}

export interface NormalFilter {
  readonly where: string;
  readonly columns: readonly string[];
}

export interface ObservedSlot {
  readonly name: string;
  readonly database?: string;
  readonly type: string;
  readonly plugin?: string;
  readonly active: boolean;
  readonly twoPhase: boolean;
  readonly failover: boolean;
  readonly lost: boolean;
}

export interface ObservedSubscription {
  readonly name: string;
  readonly owner: string;
  readonly enabled: boolean;
  readonly publications: readonly string[];
  readonly slot?: string;
  /** As a declaration spells them; what this version of PostgreSQL does not have is absent. */
  readonly options: Readonly<Record<string, string>>;
  /** How many tables it has, or has begun to copy. */
  readonly tables: number;
  readonly hasWorker: boolean;
}

export const tableKey = (table: { schema: string; name: string }) => JSON.stringify([table.schema, table.name]);
export const filterKey = (publication: string, table: { schema: string; name: string }) =>
  JSON.stringify([publication, table.schema, table.name]);

/** Where the version of a subscription's connection is kept; its parts are names. */
export const connectionKey = (database: string, subscription: string) => JSON.stringify([database, subscription]);

/** What a database declares for replication, by the kinds that the ledger has. */
export function* replicated(
  database: DesiredDatabase,
): Generator<{ kind: 'publication' | 'slot' | 'subscription'; name: string }> {
  for (const { name } of database.publications) yield { kind: 'publication', name };
  for (const { name } of database.slots) yield { kind: 'slot', name };
  for (const { name } of database.subscriptions) yield { kind: 'subscription', name };
}
