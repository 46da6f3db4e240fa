import { DesiredDatabase, DesiredState, GrantTarget, OBJECT_KIND_OF } from '../../contract';
import { Session } from './session';

/**
 * An ACL entry is not yet access: a table privilege is worth nothing without USAGE on the schema, and that nothing without CONNECT.
 * This asks the server itself, by its has_*_privilege functions, whether each declared grant has effect.
 */
export async function ineffective(
  session: Session,
  state: DesiredState,
  database: DesiredDatabase,
): Promise<{ checked: number; problems: string[] }> {
  const checks = new Map<string, { role: string; kind: string; schema: string | null; privilege: string }>();
  const want = (role: string, kind: string, schema: string | null, privilege: string) =>
    checks.set(JSON.stringify([role, kind, schema, privilege]), { role, kind, schema, privilege });
  for (const grant of database.grants) {
    const schema = schemaOf(grant.on);
    if (schema !== null) want(grant.to, 'schema', schema, 'USAGE');
    for (const privilege of grant.privileges) {
      if (!('name' in grant.on) && grant.on.kind !== 'routine')
        want(grant.to, OBJECT_KIND_OF[grant.on.kind], schema, privilege);
    }
  }
  const granted = new Set(database.grants.map((grant) => grant.to));
  for (const role of state.roles) {
    if (role.login && (granted.has(role.name) || granted.has(role.passwordOf ?? '')))
      want(role.name, 'database', null, 'CONNECT');
  }
  if (checks.size === 0) return { checked: 0, problems: [] };
  const rows = await session.read<{
    role: string;
    kind: string;
    schema: string | null;
    privilege: string;
    missing: string;
  }>(
    `WITH checks AS MATERIALIZED (
       SELECT c.role, c.kind, c.schema, c.privilege, n.oid AS space
       FROM jsonb_to_recordset($1::jsonb) AS c(role text, kind text, schema text, privilege text)
       LEFT JOIN pg_namespace n ON n.nspname = c.schema),
     found AS (
       SELECT c.*, current_database()::text AS missing, NULL::oid AS oid FROM checks c
         WHERE c.kind = 'database' AND NOT has_database_privilege(c.role, current_database(), c.privilege)
       UNION ALL SELECT c.*, c.schema, NULL FROM checks c
         WHERE c.kind = 'schema' AND NOT has_schema_privilege(c.role, c.space, c.privilege)
       UNION ALL SELECT c.*, r.relname, r.oid FROM checks c JOIN pg_class r ON r.relnamespace = c.space
         WHERE CASE WHEN c.kind = 'table' AND r.relkind IN ('r', 'p', 'v', 'm', 'f') THEN NOT has_table_privilege(c.role, r.oid, c.privilege)
                    WHEN c.kind = 'sequence' AND r.relkind = 'S' THEN NOT has_sequence_privilege(c.role, r.oid, c.privilege) END
       UNION ALL SELECT c.*, p.proname, p.oid FROM checks c JOIN pg_proc p ON p.pronamespace = c.space
         WHERE c.kind = 'routine' AND NOT has_function_privilege(c.role, p.oid, c.privilege))
     SELECT role, kind, schema, privilege, missing FROM found f
     WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = f.oid AND d.deptype = 'e'
                       AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass))
     ORDER BY 1, 2, 3, 4, 5 LIMIT 50`,
    [JSON.stringify([...checks.values()])],
  );
  return {
    checked: checks.size,
    problems: rows.map(
      ({ role, kind, schema, privilege, missing }) =>
        `${role} has no effective ${privilege} on the ${kind} ${schema !== null && kind !== 'schema' ? `${schema}.` : ''}${missing}${kind === 'database' ? '' : ` of the database ${database.name}`}${kind === 'schema' || kind === 'database' ? `: declare it, since grants inside are useless without` : ''}`,
    ),
  };
}

function schemaOf(on: GrantTarget): string | null {
  return 'schema' in on ? on.schema : null;
}
