import { DesiredDatabase, DesiredPublication, DesiredSlot, ReplicaIdentity } from '../../contract';
import { lendCreate } from './lend-create';
import { lendUsage } from './lend-usage';
import { PlanBuilder, Subject } from './plan-builder';
import { planSubscription } from './plan-subscriptions';
import { Previous } from './previous';
import {
  filterKey,
  ObservedPublication,
  PublishableTable,
  PublishedTable,
  replicated,
  Replication,
  ReplicationFacts,
  tableKey,
} from './replication';
import { ident, literal, qualified } from './sql';
import { Risk, Statement } from './types';

/** Publications, slots and subscriptions of one database. */
export function planReplication(builder: PlanBuilder, previous: Previous, database: DesiredDatabase): void {
  noteRemoved(builder, database);
  if (replicated(database).next().done) return;
  const replication = builder.observed.inside.get(database.name)?.replication ?? NOTHING_THERE;
  const facts = builder.observed.replicationFacts!;
  const before = previous.database(database.name);
  for (const publication of database.publications) {
    new PublicationPlanner(
      builder,
      database,
      facts,
      replication,
      publication,
      before?.publications.find(({ name }) => name === publication.name),
    ).plan();
  }
  replication.filterProblems.forEach((problem) => builder.refuse(problem));
  for (const slot of database.slots) planSlot(builder, database, facts, replication, slot);
  for (const subscription of database.subscriptions) {
    const earlier = before?.subscriptions.find(({ name }) => name === subscription.name);
    planSubscription(builder, database, facts, replication, subscription, earlier);
  }
}

/** A database that is not there yet. */
const NOTHING_THERE: Replication = {
  publications: new Map(),
  tables: new Map(),
  schemas: new Map(),
  filters: new Map(),
  filterProblems: [],
  slots: new Map(),
  subscriptions: new Map(),
};

function noteRemoved(builder: PlanBuilder, database: DesiredDatabase): void {
  const declared = new Set([...replicated(database)].map(({ kind, name }) => `${kind} ${name}`));
  for (const { kind, name, database: of, state } of builder.ledger.objects.values()) {
    if (of !== database.name || state !== builder.desired.name || declared.has(`${kind} ${name}`)) continue;
    if (kind === 'slot')
      builder.notes.push(
        `the slot ${name} is not declared any more, and stays: it holds WAL until its consumer reads it or somebody drops it: SELECT pg_drop_replication_slot(${literal(name)})`,
      );
    if (kind === 'publication')
      builder.notes.push(
        `the publication ${name} of ${of} is not declared any more, and stays, since others may read from it`,
      );
    if (kind === 'subscription')
      builder.notes.push(
        `the subscription ${name} of ${of} is not declared any more, and goes on: to end it, ALTER SUBSCRIPTION ${ident(name)} DISABLE, then DROP SUBSCRIPTION ${ident(name)}, which drops its slot at the publisher too`,
      );
  }
}

class PublicationPlanner {
  private readonly observed: ObservedPublication | undefined;
  private readonly object: string;
  private readonly subjects: readonly Subject[];
  /** Schemas that are published as a whole; others are as the tables that they have now. */
  private readonly schemas: readonly string[];

  constructor(
    private readonly builder: PlanBuilder,
    private readonly database: DesiredDatabase,
    private readonly facts: ReplicationFacts,
    private readonly replication: Replication,
    private readonly desired: DesiredPublication,
    private readonly before: DesiredPublication | undefined,
  ) {
    this.observed = replication.publications.get(desired.name);
    this.object = `publication ${desired.name}`;
    this.subjects = [{ kind: 'publication', name: desired.name, database: database.name }];
    this.schemas = facts.publishesAll ? desired.schemas : [];
  }

  plan(): void {
    const { desired, observed, facts } = this;
    const major = Math.floor(this.builder.observed.versionNumber / 10_000);
    if (desired.generatedColumns && major < 18) {
      return this.refuse(
        `publishes generated columns, which exists from PostgreSQL 18 on; this server is ${this.builder.observed.version}`,
      );
    }
    if (desired.allTables && !facts.publishesAll) {
      return this.refuse(
        `is for all tables, which needs a superuser, or rds_superuser on Amazon RDS; ${this.builder.power.user} is none: name schemas or tables`,
      );
    }
    if (this.schemas.length > 0 && desired.tables.some(({ columns }) => columns !== undefined)) {
      return this.refuse(
        'names a schema and a list of columns, which PostgreSQL does not allow in one publication: make two',
      );
    }
    if (observed && observed.allTables !== desired.allTables) {
      return this.refuse(
        `is there ${observed.allTables ? 'for all tables' : 'with a list of tables'}, which PostgreSQL cannot change into what is declared: declare it under another name, and let its subscribers go over`,
      );
    }
    if (facts.walLevel !== 'logical')
      this.builder.notes.push(
        `the publication ${desired.name} cannot be read from before wal_level is logical, and it is ${facts.walLevel}: ${WAL_LEVEL_ADVICE}`,
      );
    const tables = this.wantedTables();
    this.planIdentities(tables);
    if (observed) this.change(observed, tables);
    else this.create(tables);
  }

  private refuse(problem: string): void {
    this.builder.refuse(
      `the publication ${JSON.stringify(this.desired.name)} of the database ${JSON.stringify(this.database.name)} ${problem}`,
    );
  }

  /** What is declared table by table, and the tables of schemas that cannot be published as a whole (reconciler case 88). */
  private wantedTables(): Map<string, PublishedTable> {
    const { desired, replication } = this;
    const wanted = new Map<string, PublishedTable>();
    for (const table of desired.tables) {
      const there = replication.tables.get(tableKey(table));
      if (!there) {
        this.refuse(
          `names the table ${JSON.stringify(`${table.schema}.${table.name}`)}, which is not there: make it first, or take it out`,
        );
        continue;
      }
      const unknown = (table.columns ?? []).filter((column) => !there.columns.includes(column));
      if (unknown.length > 0)
        this.refuse(`names columns that ${table.schema}.${table.name} does not have: ${unknown.join(', ')}`);
      this.requireOwner(there);
      wanted.set(tableKey(table), table);
    }
    if (this.schemas.length < desired.schemas.length) {
      const from = desired.schemas.filter((schema) => !this.schemas.includes(schema));
      this.builder.notes.push(
        `the publication ${desired.name} has the schemas ${from.join(', ')} table by table, since ${this.builder.power.user} may not publish a schema: a table that is made later is published by the next run`,
      );
      for (const [key, table] of replication.tables) {
        if (!from.includes(table.schema) || wanted.has(key) || table.partition || !table.permanent) continue;
        this.requireOwner(table);
        wanted.set(key, { schema: table.schema, name: table.name });
      }
    }
    return wanted;
  }

  private requireOwner(table: PublishableTable): void {
    if (table.owner === this.desired.owner || this.builder.observed.roles.get(this.desired.owner)?.superuser) return;
    this.refuse(
      `belongs to ${JSON.stringify(this.desired.owner)}, and ${table.schema}.${table.name} to ${JSON.stringify(table.owner)}, who alone may publish it: give both one owner`,
    );
  }

  private get publishesChanges(): boolean {
    return this.desired.operations.includes('UPDATE') || this.desired.operations.includes('DELETE');
  }

  /** A table without a replica identity takes no UPDATE and no DELETE any more once they are published (LR-5). */
  private planIdentities(tables: ReadonlyMap<string, PublishedTable>): void {
    const declared = new Map(this.desired.tables.map((table) => [tableKey(table), table.identity]));
    const all = this.schemas.length > 0 ? [...this.replication.tables.values()] : [];
    const keys = new Set([
      ...tables.keys(),
      ...all.filter(({ schema }) => this.schemas.includes(schema)).map(tableKey),
    ]);
    for (const key of keys) {
      const table = this.replication.tables.get(key)!;
      const identity = declared.get(key);
      if (identity) this.planIdentity(table, identity);
      if (!this.publishesChanges) continue;
      const columns = identity ? columnsOf(table, identity) : table.identityColumns;
      const name = `${table.schema}.${table.name}`;
      if (!columns) {
        const usable = Object.keys(table.indexes);
        this.refuse(
          `publishes UPDATE or DELETE of ${name}, which has no replica identity, so that the application's own UPDATE would fail: give it a primary key, ${usable.length > 0 ? `declare ReplicaIdentity.index() with ${usable.join(' or ')}, ` : ''}declare ReplicaIdentity.full(), or publish INSERT alone`,
        );
        continue;
      }
      const full = (identity?.kind ?? table.identity) === 'full';
      const listed = tables.get(key)?.columns;
      const uncovered = listed ? columns.filter((column) => !listed.includes(column)) : [];
      if (uncovered.length > 0)
        this.refuse(
          `publishes UPDATE or DELETE of ${name} without its columns ${uncovered.join(', ')}, which are its replica identity, so that the application's own UPDATE would fail: add them`,
        );
      const filtered = this.replication.filters.get(filterKey(this.desired.name, table))?.columns ?? [];
      const unidentified = full ? [] : filtered.filter((column) => !columns.includes(column));
      if (unidentified.length > 0)
        this.refuse(
          `filters ${name} by ${unidentified.join(', ')}, which is not in its replica identity, so that the application's own UPDATE would fail: filter by ${columns.join(', ')}, declare ReplicaIdentity.full(), or publish INSERT alone`,
        );
    }
  }

  private planIdentity(table: PublishableTable, identity: ReplicaIdentity): void {
    const index = identity.kind === 'index' ? identity.index : undefined;
    if (table.identity === identity.kind && table.identityIndex === index) return;
    const name = `${table.schema}.${table.name}`;
    if (index !== undefined && !Object.hasOwn(table.indexes, index)) {
      return this.refuse(
        `has the index ${JSON.stringify(index)} as the replica identity of ${name}, which is none of its unique, complete and immediate indexes over columns that are NOT NULL: ${Object.keys(table.indexes).join(', ') || 'it has none'}`,
      );
    }
    const words = index === undefined ? identity.kind.toUpperCase() : `USING INDEX ${ident(index)}`;
    const earlier = this.before?.tables.find((other) => tableKey(other) === tableKey(table))?.identity;
    this.builder.add({
      phase: 'replicaIdentities',
      database: this.database.name,
      risk: 'disruptive',
      object: `replica identity of ${name}`,
      reason: `it is ${table.identityIndex ?? table.identity}; the table is locked for a moment`,
      statements: this.entering(
        table.owner,
        [table.schema],
        this.builder.power.actAs(table.owner, [
          { sql: `ALTER TABLE ${qualified(table.schema, table.name)} REPLICA IDENTITY ${words}` },
        ]),
      ),
      locks: { schema: table.schema, name: table.name },
      subjects: this.subjects,
      declaredBefore: this.before !== undefined && JSON.stringify(earlier) !== JSON.stringify(identity),
    });
  }

  private create(tables: ReadonlyMap<string, PublishedTable>): void {
    const { desired } = this;
    const items = [
      ...(tables.size > 0 ? [`TABLE ${[...tables.values()].map(item).join(', ')}`] : []),
      ...(this.schemas.length > 0 ? [`TABLES IN SCHEMA ${this.schemas.map(ident).join(', ')}`] : []),
    ];
    const what = desired.allTables ? ' FOR ALL TABLES' : items.length > 0 ? ` FOR ${items.join(', ')}` : '';
    const options = [
      `publish = ${this.operations}`,
      `publish_via_partition_root = ${desired.viaRoot}`,
      ...(desired.generatedColumns ? ['publish_generated_columns = stored'] : []),
    ];
    const sql = `CREATE PUBLICATION ${ident(desired.name)}${what} WITH (${options.join(', ')})`;
    const { power, observed } = this.builder;
    const maker = this.maker;
    this.builder.add({
      phase: 'publications',
      database: this.database.name,
      risk: 'add',
      object: this.object,
      reason: 'declared, and not there',
      statements: this.entering(
        maker,
        [...tables.values()].map(({ schema }) => schema),
        lendCreate(power, observed, this.database, [maker], power.actAs(maker, [{ sql }])),
      ),
      subjects: this.subjects,
    });
  }

  private entering(
    role: string,
    schemas: readonly string[],
    statements: Statement[] | undefined,
  ): Statement[] | undefined {
    return [...new Set(schemas)].reduce(
      (inner: Statement[] | undefined, schema) =>
        lendUsage(this.builder, this.database, role, schema, inner, this.replication.schemas.get(schema)),
      statements,
    );
  }

  /** PostgreSQL leaves publications of schemas and of all tables to superusers, and to them alone; on Amazon RDS, to its master. */
  private get maker(): string {
    return this.desired.allTables || this.schemas.length > 0 ? this.builder.power.user : this.desired.owner;
  }

  private get operations(): string {
    return literal(this.desired.operations.map((operation) => operation.toLowerCase()).join(', '));
  }

  private change(observed: ObservedPublication, tables: ReadonlyMap<string, PublishedTable>): void {
    const { desired, before } = this;
    this.planOwner(observed);
    const missing = desired.operations.filter((operation) => !observed.operations.includes(operation));
    const extra = observed.operations.filter(
      (operation) => !(desired.operations as readonly string[]).includes(operation),
    );
    if (missing.length + extra.length > 0) {
      this.alter({
        risk: extra.length > 0 ? 'narrow' : 'widen',
        reason: `it publishes ${observed.operations.join(', ') || 'nothing'}`,
        declaredBefore: extra.every((operation) =>
          (before?.operations as readonly string[] | undefined)?.includes(operation),
        ),
        sql: [`SET (publish = ${this.operations})`],
      });
    }
    if (desired.viaRoot !== observed.viaRoot) {
      this.alter({
        risk: 'disruptive',
        reason: `changes of partitions are published as those of ${observed.viaRoot ? 'their root' : 'the partition'}`,
        declaredBefore: before?.viaRoot === observed.viaRoot,
        sql: [`SET (publish_via_partition_root = ${desired.viaRoot})`],
      });
    }
    if (desired.generatedColumns !== observed.generatedColumns) {
      this.alter({
        risk: desired.generatedColumns ? 'widen' : 'narrow',
        reason: `stored generated columns are ${observed.generatedColumns ? '' : 'not '}published`,
        declaredBefore: before?.generatedColumns === observed.generatedColumns,
        sql: [`SET (publish_generated_columns = ${desired.generatedColumns ? 'stored' : 'none'})`],
      });
    }
    this.changeTables(observed, tables);
    const add = this.schemas.filter((schema) => !observed.schemas.includes(schema));
    const drop = observed.schemas.filter((schema) => !this.schemas.includes(schema));
    if (add.length > 0)
      this.alter({
        risk: 'widen',
        reason: `it lacks the schemas ${add.join(', ')}`,
        sql: [`ADD TABLES IN SCHEMA ${add.map(ident).join(', ')}`],
      });
    if (drop.length > 0) {
      this.alter({
        risk: 'narrow',
        reason: `it has the schemas ${drop.join(', ')}, which are not declared`,
        declaredBefore: drop.every((schema) => before?.schemas.includes(schema)),
        sql: [`DROP TABLES IN SCHEMA ${drop.map(ident).join(', ')}`],
      });
    }
  }

  private changeTables(observed: ObservedPublication, wanted: ReadonlyMap<string, PublishedTable>): void {
    const there = new Map(observed.tables.map((table) => [tableKey(table), table]));
    const declared = new Map(this.before?.tables.map((table) => [tableKey(table), table]));
    const add = [...wanted].filter(([key]) => !there.has(key)).map(([, table]) => table);
    if (add.length > 0)
      this.alter({
        risk: 'widen',
        reason: `it lacks ${names(add)}; subscribers see it after ALTER SUBSCRIPTION … REFRESH PUBLICATION`,
        schemas: add.map(({ schema }) => schema),
        sql: [`ADD TABLE ${add.map(item).join(', ')}`],
      });
    for (const [key, table] of there) {
      const target = wanted.get(key);
      if (!target) {
        this.alter({
          risk: 'narrow',
          reason: `it has ${names([table])}, which is not declared: its subscribers get no more of it`,
          declaredBefore: declared.has(key) || this.before?.schemas.includes(table.schema),
          schemas: [table.schema],
          sql: [`DROP TABLE ${qualified(table.schema, table.name)}`],
        });
      } else if (!this.same(table, target)) {
        const earlier = declared.get(key);
        const gains =
          (target.where === undefined || this.sameFilter(table, target)) &&
          (target.columns === undefined ||
            (table.columns?.every((column) => target.columns!.includes(column)) ?? false));
        this.alter({
          risk: gains ? 'widen' : 'narrow',
          reason: `${names([table])} is published ${table.columns ? `with the columns ${table.columns.join(', ')}` : 'with all columns'}${table.where === undefined ? '' : ` where ${table.where}`}`,
          declaredBefore:
            earlier !== undefined &&
            JSON.stringify([earlier.where, earlier.columns]) !== JSON.stringify([target.where, target.columns]),
          // In one transaction: no change between the two is lost, and the other tables stay as they are.
          schemas: [table.schema],
          sql: [`DROP TABLE ${qualified(table.schema, table.name)}`, `ADD TABLE ${item(target)}`],
        });
      }
    }
  }

  private same(table: PublishedTable, target: PublishedTable): boolean {
    const columns = (of: PublishedTable) => JSON.stringify(of.columns && [...of.columns].sort());
    return columns(table) === columns(target) && this.sameFilter(table, target);
  }

  private sameFilter(table: PublishedTable, target: PublishedTable): boolean {
    if (target.where === undefined || table.where === undefined) return target.where === table.where;
    const normal = this.replication.filters.get(filterKey(this.desired.name, target))?.where;
    // Who can only look cannot ask the server how it would write the filter.
    return normal === undefined ? loose(table.where) === loose(target.where) : normal === table.where;
  }

  private planOwner(observed: ObservedPublication): void {
    const { power, observed: server } = this.builder;
    const { owner, name } = this.desired;
    if (observed.owner === owner || this.maker !== owner) return;
    this.builder.add({
      phase: 'publications',
      database: this.database.name,
      risk: 'disruptive',
      object: this.object,
      reason: `it belongs to ${observed.owner}`,
      statements: lendCreate(
        power,
        server,
        this.database,
        [owner],
        power.inheriting(observed.owner, [{ sql: `ALTER PUBLICATION ${ident(name)} OWNER TO ${ident(owner)}` }]),
      ),
      subjects: this.subjects,
    });
  }

  /** Never dropped and made again: subscribers would lose their place (reconciler case 89). */
  private alter(change: {
    risk: Risk;
    reason: string;
    sql: readonly string[];
    /** Those of the tables that it names. */
    schemas?: readonly string[];
    declaredBefore?: boolean;
  }): void {
    const { power } = this.builder;
    const statements = change.sql.map((sql): Statement => ({
      sql: `ALTER PUBLICATION ${ident(this.desired.name)} ${sql}`,
    }));
    // Whether its owner has changed by then is not known, since that may wait for an acknowledgement: so as both.
    const owner = this.maker === this.desired.owner ? this.desired.owner : this.observed!.owner;
    const before = this.observed!.owner;
    const acting =
      power.superuser || owner === before
        ? power.actAs(power.superuser ? power.user : owner, statements)
        : asBoth(power.inheriting(owner, statements));
    function asBoth(inner: Statement[] | undefined): Statement[] | undefined {
      return inner && power.inheriting(before, inner);
    }
    this.builder.add({
      phase: 'publications',
      database: this.database.name,
      risk: change.risk,
      object: this.object,
      reason: change.reason,
      statements: this.entering(owner, change.schemas ?? [], acting),
      subjects: this.subjects,
      declaredBefore: change.declaredBefore,
    });
  }
}

function item(table: PublishedTable): string {
  const columns = table.columns ? ` (${table.columns.map(ident).join(', ')})` : '';
  return `${qualified(table.schema, table.name)}${columns}${table.where === undefined ? '' : ` WHERE (${table.where})`}`;
}

const names = (tables: readonly PublishedTable[]) => tables.map(({ schema, name }) => `${schema}.${name}`).join(', ');

const loose = (filter: string) => filter.toLowerCase().replace(/::[a-z ]+|[\s()]/g, '');

function columnsOf(table: PublishableTable, identity: ReplicaIdentity): readonly string[] | undefined {
  switch (identity.kind) {
    case 'full':
      return table.columns;
    case 'default':
      return table.primaryKey;
    case 'index':
      return table.indexes[identity.index] ?? [];
  }
}

export const WAL_LEVEL_ADVICE =
  'set rds.logical_replication = 1 in the parameter group on Amazon RDS, or wal_level = logical elsewhere, and restart the server';

function planSlot(
  builder: PlanBuilder,
  database: DesiredDatabase,
  facts: ReplicationFacts,
  replication: Replication,
  slot: DesiredSlot,
): void {
  const { observed, power } = builder;
  const refuse = (problem: string) =>
    builder.refuse(`the slot ${JSON.stringify(slot.name)} of the database ${JSON.stringify(database.name)} ${problem}`);
  if (slot.failover && observed.versionNumber < 170_000)
    return refuse(`is to survive a failover, which exists from PostgreSQL 17 on; this server is ${observed.version}`);
  if (!observed.roles.has(slot.consumer) && !builder.desired.roles.some(({ name }) => name === slot.consumer))
    return refuse(`is for the role ${JSON.stringify(slot.consumer)}, which is neither declared nor there: declare it`);
  if (facts.walLevel !== 'logical')
    return refuse(`needs wal_level = logical, and it is ${facts.walLevel}: ${WAL_LEVEL_ADVICE}`);
  const there = replication.slots.get(slot.name);
  const add = (reason: string, risk: Risk, statements: readonly Statement[], impossible?: string) =>
    builder.add({
      phase: 'slots',
      database: database.name,
      risk,
      object: `slot ${slot.name}`,
      reason,
      statements,
      transactional: false,
      subjects: [{ kind: 'slot', name: slot.name, database: database.name }],
      impossible,
    });
  const create = `SELECT pg_create_logical_replication_slot(${literal(slot.name)}, ${literal(slot.plugin)}, false, ${slot.twoPhase}${slot.failover ? ', true' : ''})`;
  if (!there) {
    const mayCreate =
      power.superuser ||
      power.looksOnly ||
      facts.replicationAttribute ||
      (observed.flavour === 'rds' && power.inherits('rds_replication'));
    add(
      'declared, and not there; from now on the server keeps the WAL that its consumer has not read',
      'add',
      [{ sql: create }],
      mayCreate
        ? undefined
        : `${power.user} has neither the attribute REPLICATION nor, on Amazon RDS, membership in rds_replication: give it one of them, or let a role that has it run the statement`,
    );
    return;
  }
  if (there.type !== 'logical' || there.database !== database.name)
    return refuse(
      `is there as a ${there.type} slot${there.database === undefined ? '' : ` of the database ${JSON.stringify(there.database)}`}, and slots have one name for the whole server: declare another name`,
    );
  const differs = [
    ...(there.plugin === slot.plugin ? [] : [`its plugin is ${there.plugin}`]),
    ...(there.twoPhase === slot.twoPhase ? [] : [`two-phase is ${there.twoPhase ? 'on' : 'off'}`]),
  ];
  if (differs.length > 0)
    add(
      differs.join(', and '),
      'destructive',
      [{ sql: `SELECT pg_drop_replication_slot(${literal(slot.name)})` }, { sql: create }],
      'a slot is never made again, since its consumer would lose its place: stop the consumer, run the statements by hand, and let it read everything anew',
    );
  if (there.failover !== slot.failover)
    add(
      `failover is ${there.failover ? 'on' : 'off'}`,
      'disruptive',
      [{ sql: `ALTER_REPLICATION_SLOT ${ident(slot.name)} ( FAILOVER ${slot.failover} )` }],
      'PostgreSQL changes it by a command of its replication protocol and not by SQL: run the statement over a connection with replication=database',
    );
  if (there.lost)
    builder.notes.push(
      `the slot ${slot.name} has lost WAL that its consumer needs (max_slot_wal_keep_size): drop it, and let the consumer begin anew`,
    );
  else if (!there.active)
    builder.notes.push(
      `nobody reads from the slot ${slot.name} now, and the server keeps WAL for it; its consumer is ${slot.consumer}`,
    );
}
