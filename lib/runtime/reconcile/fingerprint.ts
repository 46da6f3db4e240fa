import { DesiredState } from '../../contract';
import { Connections } from './connections';
import { hash } from './sql';

/**
 * A fingerprint of every catalog row that a plan of this declaration looks at, computed by the server. When it is the one that the
 * last proven run left in the ledger, nothing has changed since, and there is nothing to read, plan or prove. It is taken before
 * the catalog is read, so that a change in between shows as a difference the next time.
 */
export async function fingerprint(
  connections: Connections,
  desired: DesiredState,
  inside?: readonly string[],
): Promise<string> {
  const sums = await Promise.all([ofServer(connections), inside ?? fingerprintInside(connections, desired)]);
  return hash(sums.flat());
}

async function ofServer(connections: Connections): Promise<string[]> {
  const admin = await connections.admin();
  return (await admin.read<{ sums: string }>(SERVER)).map((row) => row.sums);
}

/** The part of the databases, which takes the most time: a run that expects to find nothing changed asks for it first. */
export async function fingerprintInside(connections: Connections, desired: DesiredState): Promise<string[]> {
  const sums: string[] = [];
  for (const { name, schemas } of desired.databases) {
    const session = await connections.in(name);
    const rows = await session.read<{ sums: string }>(INSIDE, [schemas.map((schema) => schema.name)]);
    sums.push(...rows.map((row) => row.sums));
  }
  return sums;
}

/** The rows of a query as one number, whatever their order; a sum, since equal rows would cancel each other out in an XOR. */
const sum = (query: string) => `(SELECT coalesce(sum(hashtextextended(r::text, 0)), 0) FROM (${query}) AS r)`;

const SERVER = `SELECT concat_ws(',', current_setting('server_version_num'), current_user,
  ${sum('SELECT oid, rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolbypassrls, rolconnlimit, rolvaliduntil FROM pg_roles')},
  ${sum('SELECT roleid, member, grantor, admin_option, inherit_option, set_option FROM pg_auth_members')},
  ${sum('SELECT oid, datname, datdba, datconnlimit, datallowconn, datacl FROM pg_database')},
  ${sum('SELECT setdatabase, setrole, setconfig FROM pg_db_role_setting')}) AS sums`;

/** Relations share few access lists, and to print one takes longer than all the rest: each is printed once. */
const INSIDE = `WITH spaces AS MATERIALIZED (SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname = ANY($1) OR nspname = 'public')
SELECT concat_ws(',',
  ${sum('SELECT * FROM spaces')},
  ${sum(`SELECT relnamespace, relowner, relkind, relacl, sum(hashtextextended(relname::text, oid::bigint)) FROM pg_class
         WHERE relnamespace IN (SELECT oid FROM spaces) AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') GROUP BY 1, 2, 3, 4`)},
  ${sum('SELECT oid, proname, pronamespace, proowner, proargtypes, proacl FROM pg_proc WHERE pronamespace IN (SELECT oid FROM spaces)')},
  ${sum('SELECT attrelid, attname, attacl FROM pg_attribute WHERE attacl IS NOT NULL')},
  ${sum('SELECT * FROM pg_default_acl')},
  ${sum('SELECT oid, extname, extversion FROM pg_extension')}) AS sums`;
