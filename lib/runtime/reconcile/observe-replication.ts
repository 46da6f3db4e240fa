import { DesiredDatabase, DesiredPublication, DesiredState } from '../../contract';
import { lendCreate } from './lend-create';
import { Grantee, Observed } from './observed';
import { Power } from './power';
import {
  Entrance,
  filterKey,
  NormalFilter,
  ObservedPublication,
  ObservedSlot,
  ObservedSubscription,
  PublishableTable,
  PublishedTable,
  replicated,
  Replication,
  ReplicationFacts,
  tableKey,
} from './replication';
import { Session } from './session';
import { ident, qualified } from './sql';

/** One query, and the attempt to publish all tables where something like it is declared. */
export async function observeReplicationFacts(
  admin: Session,
  desired: DesiredState,
): Promise<ReplicationFacts | undefined> {
  if (desired.databases.every((database) => replicated(database).next().done)) return undefined;
  const [facts] = await admin.read<Omit<ReplicationFacts, 'publishesAll'>>(`
    SELECT current_setting('wal_level') AS "walLevel",
           current_setting('max_logical_replication_workers')::int AS "applyWorkers", rolreplication AS "replicationAttribute"
    FROM pg_roles WHERE rolname = current_user`);
  const publications = desired.databases.flatMap((database) => database.publications);
  const wantsAll = publications.some(({ allTables, schemas }) => allTables || schemas.length > 0);
  return { ...facts, publishesAll: wantsAll && (await mayPublishAll(admin)) };
}

/** What a declared replication needs to know of a database: up to six queries, and none where nothing of it is declared. */
export async function observeReplication(
  session: Session,
  database: DesiredDatabase,
  server: Pick<Observed, 'user' | 'roles' | 'memberships' | 'databases'>,
  toBeRead: boolean,
): Promise<Replication | undefined> {
  if (replicated(database).next().done) return undefined;
  const { publications: declared } = database;
  const tables = declared.length === 0 ? new Map<string, PublishableTable>() : await readTables(session, declared);
  const { filters, problems } = await normaliseFilters(session, database, tables, server, toBeRead);
  const publications = await readPublications(session, declared);
  const named = [...tables.values(), ...[...publications.values()].flatMap((publication) => publication.tables)];
  return {
    publications,
    tables,
    schemas: await readSchemas(
      session,
      named.map(({ schema }) => schema),
    ),
    filters,
    filterProblems: problems,
    slots: await readSlots(session, database),
    subscriptions: await readSubscriptions(session, database),
  };
}

/** Who may enter the schemas of the tables, which need not be declared. */
async function readSchemas(session: Session, names: readonly string[]): Promise<Map<string, Entrance>> {
  if (names.length === 0) return new Map();
  const rows = await session.read<{ name: string; owner: string; users: Grantee[] }>(
    `SELECT nspname AS name, pg_get_userbyid(nspowner) AS owner,
       (SELECT coalesce(json_agg(CASE WHEN e.grantee <> 0 THEN pg_get_userbyid(e.grantee) END), '[]')
        FROM aclexplode(coalesce(nspacl, acldefault('n', nspowner))) e WHERE e.privilege_type = 'USAGE') AS users
     FROM pg_namespace WHERE nspname = ANY($1)`,
    [[...new Set(names)]],
  );
  return new Map(rows.map(({ name, owner, users }) => [name, { owner, users }]));
}

async function readPublications(
  session: Session,
  declared: readonly DesiredPublication[],
): Promise<Map<string, ObservedPublication>> {
  if (declared.length === 0) return new Map();
  const rows = await session.read<
    Omit<ObservedPublication, 'schemas' | 'tables'> & { schemas: string[] | null; tables: Nullable[] | null }
  >(
    `SELECT p.pubname AS name, pg_get_userbyid(p.pubowner) AS owner, p.puballtables AS "allTables", p.pubviaroot AS "viaRoot",
       coalesce(to_jsonb(p) ->> 'pubgencols', 'n') = 's' AS "generatedColumns",
       array_remove(ARRAY[CASE WHEN pubinsert THEN 'INSERT' END, CASE WHEN pubupdate THEN 'UPDATE' END,
                          CASE WHEN pubdelete THEN 'DELETE' END, CASE WHEN pubtruncate THEN 'TRUNCATE' END], NULL) AS operations,
       (SELECT json_agg(n.nspname) FROM pg_publication_namespace pn JOIN pg_namespace n ON n.oid = pn.pnnspid
        WHERE pn.pnpubid = p.oid) AS schemas,
       (SELECT json_agg(json_build_object('schema', n.nspname, 'name', c.relname, 'where', pg_get_expr(r.prqual, r.prrelid),
          'columns', (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attnum = ANY(r.prattrs::int2[]))) ORDER BY n.nspname, c.relname)
        FROM pg_publication_rel r JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE r.prpubid = p.oid) AS tables
     FROM pg_publication p WHERE p.pubname = ANY($1)`,
    [declared.map(({ name }) => name)],
  );
  return new Map(
    rows.map((row) => [row.name, { ...row, schemas: row.schemas ?? [], tables: (row.tables ?? []).map(present) }]),
  );
}

interface Nullable {
  readonly schema: string;
  readonly name: string;
  readonly where: string | null;
  readonly columns: string[] | null;
}

const present = ({ where, columns, ...table }: Nullable): PublishedTable => ({
  ...table,
  where: where ?? undefined,
  columns: columns ?? undefined,
});

const IDENTITIES = { d: 'default', n: 'nothing', f: 'full', i: 'index' } as const;

async function readTables(
  session: Session,
  declared: readonly DesiredPublication[],
): Promise<Map<string, PublishableTable>> {
  const named = declared.flatMap((publication) => publication.tables);
  const rows = await session.read<{
    schema: string;
    name: string;
    owner: string;
    identity: keyof typeof IDENTITIES;
    permanent: boolean;
    partition: boolean;
    columns: string[] | null;
    indexes:
      { name: string; columns: (string | null)[]; primary: boolean; usable: boolean; identity: boolean }[] | null;
  }>(
    `SELECT n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner, c.relreplident AS identity,
       c.relpersistence = 'p' AS permanent, c.relispartition AS partition,
       (SELECT json_agg(a.attname ORDER BY a.attnum) FROM pg_attribute a
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT json_agg(json_build_object('name', i.relname, 'primary', x.indisprimary, 'identity', x.indisreplident,
          'columns', (SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY(x.indkey::int2[])),
          'usable', x.indimmediate AND x.indpred IS NULL AND NOT 0 = ANY(x.indkey::int2[]) AND NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum = ANY(x.indkey::int2[]) AND NOT a.attnotnull)))
        FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
        WHERE x.indrelid = c.oid AND x.indisunique AND x.indisvalid) AS indexes
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p') AND (n.nspname = ANY($1)
       OR (n.nspname, c.relname) IN (SELECT t.schema, t.name FROM jsonb_to_recordset($2::jsonb) AS t(schema name, name name)))
     ORDER BY 1, 2`,
    [declared.flatMap(({ schemas }) => schemas), JSON.stringify(named.map(({ schema, name }) => ({ schema, name })))],
  );
  return new Map(
    rows.map(({ indexes, identity, columns, ...row }): [string, PublishableTable] => {
      const columnsOf = (index: { columns: (string | null)[] } | undefined) =>
        index?.columns.filter((column) => column !== null);
      const primaryKey = columnsOf(indexes?.find(({ primary }) => primary));
      const own = indexes?.find((index) => index.identity);
      const identityColumns = { d: primaryKey, n: undefined, f: columns ?? [], i: columnsOf(own) }[identity];
      const usable = (indexes ?? []).filter((index) => index.usable);
      return [
        tableKey(row),
        {
          ...row,
          columns: columns ?? [],
          identity: IDENTITIES[identity],
          identityIndex: own?.name,
          identityColumns,
          primaryKey,
          indexes: Object.fromEntries(usable.map((index) => [index.name, columnsOf(index)!])),
        },
      ];
    }),
  );
}

/** FOR ALL TABLES needs a superuser, or what Amazon RDS makes of one, which no catalog tells: it is tried, and rolled back. */
async function mayPublishAll(admin: Session): Promise<boolean> {
  try {
    await admin.undone('CREATE PUBLICATION "cdk_postgres probe" FOR ALL TABLES');
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === '42501') return false;
    throw error;
  }
}

/**
 * PostgreSQL keeps a row filter as a tree and prints it in its own words. So that both can be compared, the declared ones are given to
 * publications that are rolled back at once, all in one message.
 */
async function normaliseFilters(
  session: Session,
  database: DesiredDatabase,
  tables: ReadonlyMap<string, PublishableTable>,
  server: Pick<Observed, 'user' | 'roles' | 'memberships' | 'databases'>,
  toBeRead: boolean,
): Promise<{ filters: Map<string, NormalFilter>; problems: string[] }> {
  const filters = new Map<string, NormalFilter>();
  const power = new Power(server, toBeRead);
  if (power.looksOnly) return { filters, problems: [] };
  const texts: string[] = [];
  const names: string[] = [];
  for (const publication of database.publications) {
    const filtered = publication.tables.filter(
      (table) => table.where !== undefined && tables.get(tableKey(table))?.owner === publication.owner,
    );
    if (filtered.length === 0) continue;
    const name = `cdk_postgres probe ${names.length}`;
    const items = filtered.map((table) => `${qualified(table.schema, table.name)} WHERE (${table.where})`);
    const statements = lendCreate(
      power,
      server,
      database,
      [publication.owner],
      power.actAs(publication.owner, [{ sql: `CREATE PUBLICATION ${ident(name)} FOR TABLE ${items.join(', ')}` }]),
    );
    if (!statements) continue;
    names.push(publication.name);
    for (const { sql, as } of statements)
      texts.push(as === undefined ? 'SET LOCAL ROLE NONE' : `SET LOCAL ROLE ${ident(as)}`, sql);
  }
  if (names.length === 0) return { filters, problems: [] };
  try {
    const rows = await session.undone<{ at: number; schema: string; name: string; where: string; columns: string[] }>(
      `${texts.join(';\n')}; SELECT substring(p.pubname FROM 20)::int AS at, n.nspname AS schema, c.relname AS name,
         pg_get_expr(r.prqual, r.prrelid) AS where,
         ARRAY(SELECT a.attname::text FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
               WHERE d.classid = 'pg_publication_rel'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
                 AND d.refobjsubid > 0) AS columns
       FROM pg_publication p JOIN pg_publication_rel r ON r.prpubid = p.oid
       JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace
       WHERE p.pubname LIKE 'cdk\\_postgres probe %'`,
    );
    for (const { at, where, columns, ...table } of rows) filters.set(filterKey(names[at], table), { where, columns });
    return { filters, problems: [] };
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    // What is wrong with an expression, and not with the server or its locks.
    if (!/^(42|22|0A)/.test(code ?? '')) throw error;
    return {
      filters,
      problems: [
        `a row filter of ${names.map((name) => JSON.stringify(name)).join(', ')} is refused by the server: ${message}`,
      ],
    };
  }
}

async function readSlots(session: Session, database: DesiredDatabase): Promise<Map<string, ObservedSlot>> {
  if (database.slots.length === 0) return new Map();
  const rows = await session.read<{
    name: string;
    database: string | null;
    type: string;
    plugin: string | null;
    active: boolean;
    twoPhase: boolean;
    failover: boolean;
    lost: boolean;
  }>(
    `SELECT slot_name AS name, database, slot_type AS type, plugin, active, two_phase AS "twoPhase",
            coalesce((to_jsonb(s) ->> 'failover')::boolean, false) AS failover, coalesce(wal_status = 'lost', false) AS lost
     FROM pg_replication_slots s WHERE slot_name = ANY($1)`,
    [database.slots.map(({ name }) => name)],
  );
  return new Map(
    rows.map((row) => [row.name, { ...row, database: row.database ?? undefined, plugin: row.plugin ?? undefined }]),
  );
}

/** The connection string is for superusers alone. Columns of later versions are NULL where there are none: the name finds the outer one. */
export const SUBSCRIPTIONS = `(SELECT NULL::boolean AS subfailover) AS later, LATERAL (
  SELECT oid, subname, subowner, subenabled, substream, subtwophasestate, subdisableonerr, subpasswordrequired, subrunasowner,
         subsynccommit, subslotname, subpublications, suborigin, subfailover
  FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())) AS s`;

async function readSubscriptions(
  session: Session,
  database: DesiredDatabase,
): Promise<Map<string, ObservedSubscription>> {
  if (database.subscriptions.length === 0) return new Map();
  const rows = await session.read<{
    name: string;
    owner: string;
    enabled: boolean;
    publications: string[];
    slot: string | null;
    options: Record<string, string | null>;
    tables: number;
    hasWorker: boolean;
  }>(
    `SELECT s.subname AS name, pg_get_userbyid(s.subowner) AS owner, s.subenabled AS enabled, s.subpublications AS publications,
       s.subslotname AS slot, (SELECT count(*)::int FROM pg_subscription_rel r WHERE r.srsubid = s.oid) AS tables,
       EXISTS (SELECT FROM pg_stat_subscription w WHERE w.subid = s.oid AND w.pid IS NOT NULL) AS "hasWorker",
       json_build_object('streaming', CASE s.substream::text WHEN 'f' THEN 'off' WHEN 't' THEN 'on' ELSE 'parallel' END,
         'two_phase', (s.subtwophasestate <> 'd')::text, 'failover', s.subfailover::text, 'origin', s.suborigin,
         'disable_on_error', s.subdisableonerr::text, 'run_as_owner', s.subrunasowner::text,
         'password_required', s.subpasswordrequired::text, 'synchronous_commit', s.subsynccommit) AS options
     FROM ${SUBSCRIPTIONS} WHERE s.subname = ANY($1)`,
    [database.subscriptions.map(({ name }) => name)],
  );
  return new Map(
    rows.map(({ options, slot, ...row }) => [
      row.name,
      {
        ...row,
        slot: slot ?? undefined,
        options: Object.fromEntries(
          Object.entries(options).filter((entry): entry is [string, string] => entry[1] !== null),
        ),
      },
    ]),
  );
}
