import { DesiredDatabase, DesiredState } from '../../contract';
import { Session } from './session';
import { AccessRow } from './types';

/** More pairs than this nobody reads as a table, and the server would be asked about each. */
const MOST_PAIRS = 400;

/** Who can do what in the declared schemas, as the server's own privilege functions see it; tables to come count by default privileges. */
export async function observeAccess(
  session: Session,
  state: DesiredState,
  database: DesiredDatabase,
): Promise<AccessRow[]> {
  const roles = state.roles.map((role) => role.name);
  const schemas = database.schemas.map((schema) => schema.name);
  if (roles.length * schemas.length > MOST_PAIRS || schemas.length === 0) return [];
  return session.read<AccessRow>(
    `SELECT r.rolname AS role, current_database() AS database, n.nspname AS schema,
       CASE WHEN pg_has_role(r.oid, n.nspowner, 'MEMBER') AND (pg_has_role(r.oid, n.nspowner, 'USAGE') OR pg_has_role(r.oid, n.nspowner, 'SET')) THEN 'owner'
            WHEN NOT has_schema_privilege(r.oid, n.oid, 'USAGE') THEN 'none'
            WHEN (t.writes OR d.writes) AND (t.reads OR d.reads) THEN 'read-write'
            WHEN t.writes OR d.writes THEN 'write'
            WHEN t.reads OR d.reads THEN 'read'
            ELSE 'other' END AS level
     FROM pg_roles r CROSS JOIN pg_namespace n,
     LATERAL (SELECT bool_or(has_table_privilege(r.oid, c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')) AS writes, bool_or(has_table_privilege(r.oid, c.oid, 'SELECT')) AS reads
              FROM pg_class c WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')) AS t,
     LATERAL (SELECT bool_or(a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')) AS writes, bool_or(a.privilege_type = 'SELECT') AS reads
              FROM pg_default_acl p, aclexplode(p.defaclacl) a
              WHERE p.defaclobjtype = 'r' AND p.defaclnamespace IN (0, n.oid) AND a.grantee <> p.defaclrole
                AND CASE WHEN a.grantee = 0 THEN true ELSE pg_has_role(r.oid, a.grantee, 'USAGE') END) AS d
     WHERE r.rolname = ANY($1) AND n.nspname = ANY($2)
     ORDER BY array_position($1, r.rolname::text), array_position($2, n.nspname::text)`,
    [roles, schemas],
  );
}
