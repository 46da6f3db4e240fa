import { DesiredDrop, DesiredState } from '../../../lib/contract';
import { TestServer } from '../../support/postgres';
import type { Row } from './laws';

/** What the laws know of extensions, row security, replication, comments and drops. */

const ON_COMMENT = `WHERE d.objsubid = 0`;

export const MORE_SERVER_ROWS = [
  `SELECT 'slot' AS kind, database, slot_name AS name, format('%s %s', plugin, two_phase) AS value FROM pg_replication_slots`,
  `SELECT 'comment' AS kind, 'role' AS name, r.rolname AS role, d.description AS value
   FROM pg_shdescription d JOIN pg_roles r ON d.classoid = 'pg_authid'::regclass AND r.oid = d.objoid WHERE r.oid >= 16384`,
  `SELECT 'comment' AS kind, 'database' AS name, b.datname AS database, d.description AS value
   FROM pg_shdescription d JOIN pg_database b ON d.classoid = 'pg_database'::regclass AND b.oid = d.objoid`,
];

export const MORE_INSIDE_ROWS = [
  `SELECT 'comment' AS kind, 'schema' AS name, n.nspname AS schema, d.description AS value
   FROM pg_description d JOIN pg_namespace n ON d.classoid = 'pg_namespace'::regclass AND n.oid = d.objoid ${ON_COMMENT} AND n.nspname !~ '^pg_'`,
  `SELECT 'extension' AS kind, extname AS name, pg_get_userbyid(extowner) AS owner, format('%s in %s', extversion, extnamespace::regnamespace) AS value
   FROM pg_extension WHERE extname <> 'plpgsql'`,
  `SELECT 'policy' AS kind, n.nspname AS schema, format('%s.%s', c.relname, p.polname) AS name, pg_get_userbyid(c.relowner) AS owner,
     concat_ws(' ', polpermissive, polcmd, ARRAY(SELECT CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END FROM unnest(polroles) r ORDER BY 1),
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)) AS value
   FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace`,
  `SELECT 'row security' AS kind, n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner,
     format('%s, forced %s', relrowsecurity, relforcerowsecurity) AS value
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND n.nspname !~ '^pg_'`,
  `SELECT 'replica identity' AS kind, n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner, relreplident AS value
   FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND c.oid >= 16384 AND n.nspname !~ '^pg_'`,
  // One row for each thing that it publishes, so that more of them is not less.
  `SELECT 'publication' AS kind, pubname AS name, pg_get_userbyid(pubowner) AS owner, v.value FROM pg_publication p, LATERAL (
     SELECT unnest(array_remove(ARRAY[CASE WHEN puballtables THEN 'all tables' END, CASE WHEN pubinsert THEN 'insert' END,
       CASE WHEN pubupdate THEN 'update' END, CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END,
       'via root ' || pubviaroot], NULL)) AS value
     UNION ALL SELECT format('table %s.%s', n.nspname, c.relname) FROM pg_publication_rel r
       JOIN pg_class c ON c.oid = r.prrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.prpubid = p.oid) v`,
  `SELECT 'subscription' AS kind, subname AS name, pg_get_userbyid(subowner) AS owner,
     concat_ws(' ', subenabled, subdisableonerr, subslotname, subpublications) AS value
   FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`,
];

/** Whether it is nobody's business but that of others; undefined: a kind of row that is looked at elsewhere. */
export function isForeign(row: Row, states: readonly DesiredState[]): boolean | undefined {
  const declared = states.flatMap((state) => state.databases).filter(({ name }) => name === row.database);
  const has = (items: readonly { readonly name: string }[]) => items.some(({ name }) => name === row.name);
  switch (row.kind) {
    case 'comment': {
      const on = { kind: row.name, name: row.role ?? row.schema ?? row.database };
      return !states.some((state) =>
        state.comments.some(
          (comment) =>
            comment.on.kind === on.kind &&
            comment.on.name === on.name &&
            (comment.on.kind !== 'schema' || comment.on.database === row.database),
        ),
      );
    }
    case 'extension':
      return !declared.some(({ extensions }) => has(extensions));
    case 'publication':
      return !declared.some(({ publications }) => has(publications));
    case 'subscription':
      return !declared.some(({ subscriptions }) => has(subscriptions));
    case 'slot':
      return !declared.some(({ slots }) => has(slots));
    case 'policy':
      if (!row.name!.includes('.cdk_postgres_')) return true;
      return !declared.some(({ isolations }) => isolations.some(({ schema }) => schema === row.schema));
    case 'row security':
      return !declared.some(({ isolations }) => isolations.some(({ schema }) => schema === row.schema));
    case 'replica identity':
      return !declared.some(({ publications }) =>
        publications.some(({ tables }) =>
          tables.some((t) => t.identity && t.schema === row.schema && t.name === row.name),
        ),
      );
    default:
      return undefined;
  }
}

/**
 * What a drop takes with it, or leaves to somebody else, cannot be as before: of the rows that spoke of it before, neither they nor what
 * has come into their place is looked at.
 */
export function besides(drops: readonly DesiredDrop[], before: readonly Row[]): (row: Row) => boolean {
  const roles = new Set(drops.filter(({ kind }) => kind === 'role').map(({ name }) => name));
  const goes = (row: Row): boolean =>
    [row.owner, row.role, row.member, row.grantee, row.grantor].some((role) => role && roles.has(role)) ||
    (row.kind === 'role' && roles.has(row.name!)) ||
    // In an array of roles, as the server prints it.
    (row.kind === 'policy' && [...roles].some((role) => row.value!.includes(role))) ||
    drops.some((drop) => {
      if (drop.kind === 'database') return row.database === drop.name;
      if (!('database' in drop) || row.database !== drop.database) return false;
      if (drop.kind === 'schema') return row.schema === drop.name || row.kind === 'publication';
      return row.kind === drop.kind && row.name === drop.name;
    });
  const place = ({ kind, database, schema, name, role, member, grantee, privilege }: Row) =>
    JSON.stringify([kind, database, schema, name, role, member, grantee, privilege].map((part) => part ?? null));
  const gone = new Set(before.filter(goes).map(place));
  // Without the entries of others, default privileges are those that everybody has, which stand in no row.
  const defaults = ({ database, schema, owner, name }: Row) => JSON.stringify([database, schema ?? null, owner, name]);
  const emptied = new Set(before.filter((row) => row.kind === 'default' && goes(row)).map(defaults));
  const isOwn = (row: Row) =>
    row.kind === 'default' && [row.owner, 'PUBLIC'].includes(row.grantee) && emptied.has(defaults(row));
  return (row) => !goes(row) && !gone.has(place(row)) && !isOwn(row);
}

export interface Check {
  readonly what: string;
  /** The object of the step that would make it so: where that is withheld, it cannot be so. */
  readonly step: string;
  readonly holds: string;
}

const q = (value: string) => `'${value.replace(/'/g, "''")}'`;
const array = (names: readonly string[]) => `ARRAY[${[...names].sort().map(q).join(', ')}]::text[]`;
const sorted = (query: string) =>
  `ARRAY(SELECT x::text FROM (${query}) AS all_of_them(x) ORDER BY x::text COLLATE "C")`;

/** What the server has to say of the newer kinds, by database. */
export function checksInside(state: DesiredState): Map<string, Check[]> {
  const checks = new Map<string, Check[]>();
  const add = (database: string, check: Check) => checks.set(database, [...(checks.get(database) ?? []), check]);
  for (const { on, text } of state.comments) {
    const description = {
      role: `shobj_description(${q(on.name)}::regrole, 'pg_authid')`,
      database: `shobj_description((SELECT oid FROM pg_database WHERE datname = ${q(on.name)}), 'pg_database')`,
      schema: `obj_description(${q(on.name)}::regnamespace, 'pg_namespace')`,
    }[on.kind];
    add(on.kind === 'schema' ? on.database : 'postgres', {
      what: `the ${on.kind} ${on.name} has its comment`,
      step: `comment on ${on.kind} ${on.name}`,
      holds: `starts_with(${description}, ${q(text)})`,
    });
  }
  for (const { name: database, ...inside } of state.databases) {
    for (const { name, schema, version } of inside.extensions)
      add(database, {
        what: `the extension ${name} is there`,
        step: `extension ${name}`,
        holds: `EXISTS (SELECT FROM pg_extension WHERE extname = ${q(name)}${schema === undefined ? '' : ` AND extnamespace = ${q(schema)}::regnamespace`}${version === undefined ? '' : ` AND extversion = ${q(version)}`})`,
      });
    for (const { schema, stage } of inside.isolations)
      for (const table of ['item', 'later']) {
        const is = `SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = ${q(schema)} AND c.relname = ${q(table)}`;
        const policy = `EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polname`;
        add(database, {
          what: `${schema}.${table} has the policy of its tenants`,
          step: `policies of the table ${schema}.${table}`,
          holds: `(${is}) = (${is} AND ${policy} = 'cdk_postgres_tenant'))`,
        });
        if (stage !== 'enforced') continue;
        add(database, {
          what: `${schema}.${table} is under row security`,
          step: `row security of the table ${schema}.${table}`,
          holds: `(${is}) = (${is} AND relrowsecurity AND relforcerowsecurity AND NOT ${policy} LIKE 'cdk\\_postgres\\_observe%'))`,
        });
      }
    for (const { name, owner, operations, tables, schemas, viaRoot } of inside.publications) {
      const has = ['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'].map(
        (operation) => `pub${operation.toLowerCase()} = ${(operations as readonly string[]).includes(operation)}`,
      );
      const wanted = [
        ...tables.map((table) => `SELECT ${q(`${table.schema}.${table.name}`)}`),
        ...schemas.map(
          (schema) =>
            `SELECT ${q(`${schema}.`)} || c.relname FROM pg_class c WHERE relnamespace = ${q(schema)}::regnamespace AND relkind IN ('r', 'p')`,
        ),
        'SELECT NULL WHERE false',
      ];
      add(database, {
        what: `the publication ${name} is as declared`,
        step: `publication ${name}`,
        holds: `EXISTS (SELECT FROM pg_publication WHERE pubname = ${q(name)} AND pg_get_userbyid(pubowner) = ${q(owner)} AND pubviaroot = ${viaRoot} AND ${has.join(' AND ')})
          AND ${sorted(`SELECT schemaname || '.' || tablename FROM pg_publication_tables WHERE pubname = ${q(name)}`)} = ${sorted(wanted.join(' UNION '))}`,
      });
      for (const { schema, name: table, identity } of tables)
        if (identity?.kind === 'full')
          add(database, {
            what: `${schema}.${table} is identified by all of it`,
            step: `replica identity of ${schema}.${table}`,
            holds: `(SELECT relreplident FROM pg_class WHERE relnamespace = ${q(schema)}::regnamespace AND relname = ${q(table)}) = 'f'`,
          });
    }
    for (const { name, plugin, twoPhase } of inside.slots)
      add(database, {
        what: `the slot ${name} is there`,
        step: `slot ${name}`,
        holds: `EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = ${q(name)} AND database = ${q(database)} AND plugin = ${q(plugin)} AND two_phase = ${twoPhase})`,
      });
    for (const { name, owner, publications } of inside.subscriptions)
      add(database, {
        what: `the subscription ${name} is as declared`,
        step: `subscription ${name}`,
        holds: `EXISTS (SELECT FROM pg_subscription s WHERE subname = ${q(name)} AND pg_get_userbyid(subowner) = ${q(owner)} AND NOT subenabled
          AND ARRAY(SELECT p FROM unnest(subpublications) p ORDER BY p COLLATE "C") = ${array(publications)})`,
      });
  }
  return checks;
}

/** What is to be dropped is gone, unless its step is withheld. */
export function checksOfDrops(state: DesiredState): Map<string, Check[]> {
  const checks = new Map<string, Check[]>();
  for (const drop of state.drops) {
    const database = 'database' in drop ? drop.database : 'postgres';
    const catalog = {
      role: ['pg_roles', 'rolname'],
      database: ['pg_database', 'datname'],
      schema: ['pg_namespace', 'nspname'],
      extension: ['pg_extension', 'extname'],
      publication: ['pg_publication', 'pubname'],
      subscription: ['pg_subscription', 'subname'],
      slot: ['pg_replication_slots', 'slot_name'],
    }[drop.kind];
    checks.set(database, [
      ...(checks.get(database) ?? []),
      {
        what: `the ${drop.kind} ${drop.name} is gone`,
        step: `drop of ${drop.kind} ${drop.name}`,
        holds: `NOT EXISTS (SELECT FROM ${catalog[0]} WHERE ${catalog[1]} = ${q(drop.name)})`,
      },
    ]);
  }
  return checks;
}

/** Whose rows the isolated roles see, as each of them, with a tenant set: those of that tenant alone. */
export async function seenOfOthers(server: TestServer, state: DesiredState): Promise<string[]> {
  const seen: string[] = [];
  for (const { name: database, isolations } of state.databases) {
    for (const { schema, column, setting, roles, stage } of isolations) {
      if (stage !== 'enforced') continue;
      const client = await server.connect({ superuser: true, database });
      for (const role of roles) {
        await client.query(`BEGIN; SELECT set_config('${setting}', 'a', true); SET LOCAL ROLE "${role}"`);
        const others = await client
          .query(`SELECT FROM "${schema}"."item" WHERE "${column}" IS DISTINCT FROM 'a'`)
          .catch((error: { code?: string }) => {
            // Who may not read the table at all sees nothing of it, and a table may not be there.
            if (error.code !== '42501' && error.code !== '42P01') throw error;
            return { rowCount: 0 };
          });
        await client.query('ROLLBACK');
        if (others.rowCount! > 0)
          seen.push(`${role} sees ${others.rowCount} rows of others in ${schema}.item of ${database}`);
      }
      await client.end();
    }
  }
  return seen;
}
