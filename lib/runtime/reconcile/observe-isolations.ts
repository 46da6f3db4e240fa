import { DesiredIsolation, DesiredRole } from '../../contract';
import { COUNTER, COUNTING_SCHEMA } from './isolation-policies';
import { Grantee, ObservedBypass, ObservedIsolatedTable, ObservedIsolation, ObservedPolicy } from './observed';
import { Session } from './session';
import { sum } from './sql';

/** What row security of the declared schemas looks like, in three queries, and none where nothing is to be isolated. */
export async function observeIsolation(
  session: Session,
  isolations: readonly DesiredIsolation[],
  roles: readonly DesiredRole[],
): Promise<ObservedIsolation | undefined> {
  if (isolations.length === 0) return undefined;
  const wanted = JSON.stringify(isolations.map(({ schema, column }) => ({ schema, column })));
  const tables = await session.read<
    Omit<ObservedIsolatedTable, 'columnType' | 'policies'> & {
      columnType: string | null;
      policies: ObservedPolicy[] | null;
    }
  >(
    `SELECT n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner, c.relrowsecurity AS "rowSecurity",
            c.relforcerowsecurity AS forced, format_type(a.atttypid, NULL) AS "columnType", quote_ident(w."column") AS "quotedColumn",
            EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisvalid AND x.indkey[0] = a.attnum) AS indexed,
            (SELECT json_agg(json_build_object('name', p.polname, 'permissive', p.polpermissive, 'command', p.polcmd,
                      'roles', ARRAY(SELECT CASE WHEN r <> 0 THEN pg_get_userbyid(r) END FROM unnest(p.polroles) AS r),
                      'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname)
             FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
     FROM jsonb_to_recordset($1::jsonb) AS w(schema text, "column" text)
     JOIN pg_namespace n ON n.nspname = w.schema
     JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p')
     LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w."column" AND a.attnum > 0 AND NOT a.attisdropped
     WHERE NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
     ORDER BY 1, 2`,
    [wanted],
  );
  const bypasses = await session.read<{ [K in keyof ObservedBypass]: ObservedBypass[K] }>(BYPASSES, [
    wanted,
    [...new Set([...roles.map(({ name }) => name), ...isolations.flatMap((isolation) => isolation.roles)])],
  ]);
  const counters = await session.read<{
    name: string | null;
    calls: string;
    intact: boolean;
    used: boolean;
    executors: Grantee[];
    counted: boolean;
    owner: string | null;
  }>(
    `SELECT p.proname AS name, coalesce(pg_stat_get_function_calls(p.oid), 0) AS calls, current_setting('track_functions') <> 'none' AS counted,
            pg_get_userbyid(n.nspowner) AS owner,
            p.prosrc = $2 AND l.lanname = 'plpgsql' AND p.provolatile = 's' AND NOT p.prosecdef AND NOT p.proisstrict AND p.proconfig IS NULL
              AND p.pronargs = 0 AS intact,
            EXISTS (SELECT FROM pg_depend d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid AND d.classid = 'pg_policy'::regclass) AS used,
            ARRAY(SELECT CASE WHEN e.grantee <> 0 THEN pg_get_userbyid(e.grantee)::text END
                  FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS e) AS executors
     FROM (VALUES (1)) AS one LEFT JOIN pg_namespace n ON n.nspname = $1 LEFT JOIN pg_proc p ON p.pronamespace = n.oid
     LEFT JOIN pg_language l ON l.oid = p.prolang ORDER BY 1`,
    [COUNTING_SCHEMA, COUNTER.body],
  );
  return {
    tables: tables.map(({ columnType, policies, ...table }) => ({
      ...table,
      columnType: columnType ?? undefined,
      policies: policies ?? [],
    })),
    bypasses,
    counters: new Map(
      counters.flatMap(({ name, calls, intact, used, executors }) =>
        name === null ? [] : [[name, { calls: Number(calls), intact, used, executors }] as const],
      ),
    ),
    countingOwner: counters[0].owner ?? undefined,
    counted: counters[0].counted,
  };
}

/**
 * Ways to the rows that no policy is in: a view is read with the rights of its owner unless it is a security invoker (reconciler
 * case 83), as a SECURITY DEFINER function is called; a materialized view holds rows of its own, a partition elsewhere has no policy of
 * its own, TRUNCATE asks none (case 87).
 */
const BYPASSES = `
  WITH RECURSIVE wanted AS (SELECT * FROM jsonb_to_recordset($1::jsonb) AS w(schema text, "column" text)),
  tables AS (
    SELECT c.oid, c.relkind, w.schema AS isolation FROM wanted w
    JOIN pg_namespace n ON n.nspname = w.schema
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'f')
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = w."column" AND a.attnum > 0 AND NOT a.attisdropped),
  parts AS (
    SELECT i.inhrelid AS oid, t.isolation FROM tables t JOIN pg_inherits i ON i.inhparent = t.oid
    UNION SELECT i.inhrelid, p.isolation FROM parts p JOIN pg_inherits i ON i.inhparent = p.oid),
  readers AS (
    SELECT t.oid, t.isolation FROM tables t UNION SELECT p.oid, p.isolation FROM parts p
    UNION SELECT r.ev_class, v.isolation FROM readers v
    JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = v.oid AND d.classid = 'pg_rewrite'::regclass
    JOIN pg_rewrite r ON r.oid = d.objid),
  found AS (
    SELECT r.isolation, CASE c.relkind WHEN 'm' THEN 'materialized view' ELSE 'view' END AS kind, c.oid, 'SELECT' AS privilege
    FROM readers r JOIN pg_class c ON c.oid = r.oid
    WHERE c.relkind = 'm' OR c.relkind = 'v' AND NOT EXISTS (
      SELECT FROM pg_options_to_table(c.reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean)
    UNION ALL SELECT isolation, 'foreign table', oid, 'SELECT' FROM tables WHERE relkind = 'f'
    UNION ALL SELECT isolation, 'partition', oid, 'SELECT' FROM parts WHERE oid NOT IN (SELECT oid FROM tables)
    UNION ALL SELECT isolation, 'truncate', oid, 'TRUNCATE' FROM tables WHERE relkind <> 'f')
  SELECT f.isolation, f.kind, n.nspname AS schema, c.relname AS name, NULL AS arguments, pg_get_userbyid(c.relowner) AS owner, u.roles
  FROM found f JOIN pg_class c ON c.oid = f.oid JOIN pg_namespace n ON n.oid = c.relnamespace,
  LATERAL (SELECT array_agg(r.rolname::text ORDER BY r.rolname) AS roles FROM pg_roles r WHERE r.rolname = ANY($2) AND
           CASE f.privilege WHEN 'SELECT' THEN has_any_column_privilege(r.oid, f.oid, 'SELECT') ELSE has_table_privilege(r.oid, f.oid, f.privilege) END) AS u
  WHERE u.roles IS NOT NULL
  UNION ALL
  SELECT w.schema, 'function', n.nspname, p.proname, oidvectortypes(p.proargtypes), pg_get_userbyid(p.proowner), u.roles
  FROM wanted w CROSS JOIN pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace,
  LATERAL (SELECT array_agg(r.rolname::text ORDER BY r.rolname) AS roles FROM pg_roles r
           WHERE r.rolname = ANY($2) AND has_function_privilege(r.oid, p.oid, 'EXECUTE') AND has_schema_privilege(r.oid, n.oid, 'USAGE')) AS u
  WHERE p.prosecdef AND p.oid >= 16384 AND u.roles IS NOT NULL
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
  ORDER BY 1, 2, 3, 4, 5`;

/** What `observeIsolation` looks at; of a count its number of digits, since a plan speaks of whether, and notes say "at least". */
export async function isolationFingerprint(session: Session, isolations: readonly DesiredIsolation[]): Promise<string> {
  const [{ sums }] = await session.read<{ sums: string }>(FINGERPRINT, [
    isolations.map(({ schema }) => schema),
    isolations.map(({ column }) => column),
    COUNTING_SCHEMA,
  ]);
  return sums;
}

/** Expressions as they are stored: to print each would take longer than all the rest. */
const FINGERPRINT = `WITH spaces AS MATERIALIZED (SELECT oid FROM pg_namespace WHERE nspname = ANY($1))
SELECT concat_ws(',', current_setting('track_functions') <> 'none',
  ${sum('SELECT polrelid, polname, polcmd, polpermissive, polroles, polqual::text, polwithcheck::text FROM pg_policy')},
  ${sum('SELECT oid, relrowsecurity, relforcerowsecurity FROM pg_class WHERE relnamespace IN (SELECT oid FROM spaces)')},
  ${sum('SELECT attrelid, attname, atttypid, atttypmod FROM pg_attribute WHERE attname = ANY($2) AND attnum > 0 AND NOT attisdropped')},
  ${sum("SELECT oid, relname, relnamespace, relowner, relacl, reloptions FROM pg_class WHERE relkind IN ('v', 'm', 'f') OR relispartition")},
  ${sum("SELECT r.ev_class, d.refobjid FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.objid >= 16384")},
  ${sum('SELECT inhrelid, inhparent FROM pg_inherits')},
  ${sum('SELECT indrelid, indkey[0], count(*) FROM pg_index WHERE indisvalid AND indexrelid >= 16384 GROUP BY 1, 2')},
  ${sum('SELECT oid, proname, pronamespace, proargtypes, proowner, proacl FROM pg_proc WHERE prosecdef AND oid >= 16384')},
  ${sum('SELECT oid, nspacl FROM pg_namespace')},
  ${sum("SELECT objid, refobjid FROM pg_depend WHERE classid = 'pg_policy'::regclass AND refclassid = 'pg_proc'::regclass")},
  ${sum('SELECT p.oid, p.proname, p.prosrc, p.prolang, p.provolatile, p.prosecdef, p.proisstrict, p.proconfig, p.proacl, floor(log(greatest(coalesce(pg_stat_get_function_calls(p.oid), 0), 0.1))) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = $3')}) AS sums`;
