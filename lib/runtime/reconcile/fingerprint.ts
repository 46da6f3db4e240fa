import { DesiredDatabase, DesiredState } from '../../contract';
import { commentFingerprint } from './comments';
import { Connections } from './connections';
import { isolationFingerprint } from './observe-isolations';
import { SUBSCRIPTIONS } from './observe-replication';
import { hash, sum } from './sql';

/**
 * A fingerprint of every catalog row that a plan of this declaration looks at, computed by the server. When it is the one that the
 * last proven run left in the ledger, nothing has changed since, and there is nothing to read, plan or prove. It is taken before
 * the catalog is read, so that a change in between shows as a difference the next time.
 */
export async function fingerprint(
  connections: Connections,
  desired: DesiredState,
  inside = fingerprintInside(connections, desired),
): Promise<string> {
  const sums = await Promise.all([ofServer(connections), inside]);
  return hash([...sums.flat(), ...(await commentFingerprint(connections, desired))]);
}

async function ofServer(connections: Connections): Promise<string[]> {
  const admin = await connections.admin();
  return (await admin.read<{ sums: string }>(SERVER)).map((row) => row.sums);
}

/** The part of the databases, which takes the most time: a run that expects to find nothing changed asks for it first. */
export async function fingerprintInside(connections: Connections, desired: DesiredState): Promise<string[]> {
  const sums: string[] = [];
  for (const database of desired.databases) {
    const { name, schemas, isolations } = database;
    const session = await connections.in(name);
    const rows = await session.read<{ sums: string }>(INSIDE, [schemas.map((schema) => schema.name)]);
    sums.push(...rows.map((row) => row.sums));
    if (isolations.length > 0) sums.push(await isolationFingerprint(session, isolations));
    const replication = ofReplication(database);
    if (replication) sums.push(...(await session.read<{ sums: string }>(...replication)).map((row) => row.sums));
  }
  return sums;
}

const SERVER = `SELECT concat_ws(',', current_setting('server_version_num'), current_user,
  ${sum('SELECT oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil FROM pg_roles')},
  ${sum('SELECT roleid, member, grantor, admin_option, inherit_option, set_option FROM pg_auth_members')},
  ${sum('SELECT oid, datname, datdba, datconnlimit, datallowconn, datacl FROM pg_database')},
  ${sum('SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting')}) AS sums`;

/**
 * Relations share few access lists, and to print one takes longer than all the rest: each is printed once. Routines of the server itself
 * have object ids under 16384 (FirstNormalObjectId), and their pages are left alone.
 */
const INSIDE = `WITH spaces AS MATERIALIZED (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = ANY($1) OR nspname = 'public')
SELECT concat_ws(',',
  ${sum('SELECT * FROM spaces')},
  ${sum(`SELECT relnamespace, relowner, relkind, relacl, sum(hashtextextended(relname::text, oid::bigint)) FROM pg_class
         WHERE relnamespace = ANY (ARRAY(SELECT oid FROM spaces)) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') GROUP BY 1, 2, 3, 4`)},
  ${sum('SELECT oid, proname, pronamespace, proowner, proargtypes, proacl FROM pg_proc WHERE oid >= 16384 AND pronamespace = ANY (ARRAY(SELECT oid FROM spaces))')},
  ${sum('SELECT attrelid, attname, attacl FROM pg_attribute WHERE attacl IS NOT NULL')},
  ${sum('SELECT * FROM pg_default_acl')},
  ${sum('SELECT oid, extname, extversion, extowner, extnamespace::regnamespace FROM pg_extension')}) AS sums`;

/** Asked of a database that declares a publication, a slot or a subscription, and of no other. */
function ofReplication({ publications, slots, subscriptions }: DesiredDatabase): [string, unknown[]] | undefined {
  const sums: string[] = [];
  const schemas = publications.flatMap((p) => [...p.schemas, ...p.tables.map(({ schema }) => schema)]);
  if (publications.length > 0) {
    const tables = `SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') AND n.nspname = ANY($1)`;
    sums.push(
      sum('SELECT to_jsonb(p) FROM pg_publication p'),
      sum('SELECT prpubid, prrelid, prqual, prattrs FROM pg_publication_rel'),
      sum('SELECT pnpubid, pnnspid FROM pg_publication_namespace'),
      sum(
        `SELECT oid, relname, relnamespace, relowner, relreplident, relpersistence, relispartition FROM pg_class WHERE oid IN (${tables})`,
      ),
      sum(
        `SELECT attrelid, attnum, attname, attnotnull FROM pg_attribute WHERE attnum > 0 AND attrelid IN (${tables})`,
      ),
      sum(
        `SELECT indexrelid, indrelid, indisprimary, indisreplident, indisvalid, indkey FROM pg_index WHERE indrelid IN (${tables})`,
      ),
    );
  }
  if (slots.length > 0)
    sums.push(
      sum(
        `SELECT slot_name, database, plugin, active, two_phase, wal_status = 'lost', to_jsonb(s) -> 'failover' FROM pg_replication_slots s WHERE slot_name = ANY($2)`,
      ),
    );
  if (subscriptions.length > 0) sums.push(sum(`SELECT s.* FROM ${SUBSCRIPTIONS}`));
  if (sums.length === 0) return undefined;
  const names = slots.map(({ name }) => name);
  return [
    `SELECT concat_ws(',', current_setting('wal_level'), $1::text[] IS NULL, $2::text[] IS NULL, ${sums.join(',')}) AS sums`,
    [schemas, names],
  ];
}
