import { TestServer } from '../../support/postgres';

const ACL = (acl: string, kind: string, owner: string) =>
  `aclexplode(coalesce(${acl}, acldefault('${kind}', ${owner}))) AS e`;
const ENTRY = `CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(e.grantee) END || ' has ' || e.privilege_type || CASE WHEN e.is_grantable THEN ' with grant option' ELSE '' END || ' by ' || pg_get_userbyid(e.grantor)`;

const SERVER = `
  SELECT 'role ' || to_jsonb(a)::text FROM (
    SELECT rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls, rolconnlimit, rolvaliduntil, rolpassword
    FROM pg_authid WHERE rolname !~ '^(pg_|rds)') a
  UNION ALL SELECT format('member %s of %s by %s: admin %s, inherit %s, set %s', m.member::regrole, m.roleid::regrole, m.grantor::regrole, admin_option, inherit_option, set_option)
    FROM pg_auth_members m
  UNION ALL SELECT format('setting of %s in %s: %s', s.setrole::regrole, d.datname, c)
    FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
  UNION ALL SELECT format('database %s: owner %s, limit %s', datname, datdba::regrole, datconnlimit) FROM pg_database
  UNION ALL SELECT format('database %s: ', datname) || ${ENTRY} FROM pg_database, ${ACL('datacl', 'd', 'datdba')}`;

const INSIDE = `
  SELECT format('schema %s: owner %s', nspname, nspowner::regrole) FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
  UNION ALL SELECT format('schema %s: ', nspname) || ${ENTRY} FROM pg_namespace, ${ACL('nspacl', 'n', 'nspowner')}
    WHERE nspname !~ '^pg_(toast|temp)'
  UNION ALL SELECT format('%s %s: owner %s', relkind, c.oid::regclass, relowner::regrole) FROM pg_class c WHERE c.oid >= 16384
    AND relkind IN ('r', 'v', 'm', 'S', 'p') AND relnamespace <> pg_my_temp_schema()
  UNION ALL SELECT format('%s %s: ', relkind, c.oid::regclass) || ${ENTRY} FROM pg_class c,
    aclexplode(coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", relowner))) AS e
    WHERE c.oid >= 16384 AND relkind IN ('r', 'v', 'm', 'S', 'p')
  UNION ALL SELECT format('column %s.%s: ', attrelid::regclass, attname) || ${ENTRY} FROM pg_attribute, aclexplode(attacl) AS e
    WHERE attrelid >= 16384
  UNION ALL SELECT format('routine %s: ', p.oid::regprocedure) || ${ENTRY} FROM pg_proc p, ${ACL('proacl', 'f', 'proowner')}
    WHERE p.oid >= 16384
  UNION ALL SELECT format('new %s of %s in %s: ', defaclobjtype, defaclrole::regrole, defaclnamespace::regnamespace) || ${ENTRY}
    FROM pg_default_acl, aclexplode(defaclacl) AS e WHERE defaclnamespace <> 0
  UNION ALL SELECT format('new routine of %s: ', r.rolname) || ${ENTRY}
    FROM pg_roles r LEFT JOIN pg_default_acl d ON d.defaclrole = r.oid AND d.defaclnamespace = 0 AND d.defaclobjtype = 'f',
    aclexplode(coalesce(defaclacl, acldefault('f', r.oid))) AS e WHERE r.rolname !~ '^(pg_|rds)'`;

/** Who may do what, and how everything is set, in one line each, of everything but the library's ledger. Needs the superuser. */
export async function catalog(server: TestServer): Promise<Set<string>> {
  const lines = new Set<string>();
  const read = async (sql: string, database: string) => {
    const rows = await server.query<Record<string, string>>(sql, { superuser: true, database });
    for (const row of rows) {
      const [line] = Object.values(row);
      if (!line.includes('cdk_postgres')) lines.add(`${database === 'postgres' ? '' : `${database}: `}${line}`);
    }
  };
  await read(SERVER, 'postgres');
  const databases = await server.query<{ datname: string }>(
    "SELECT datname FROM pg_database WHERE datallowconn AND datname NOT IN ('template1', 'rdsadmin')",
    { superuser: true },
  );
  for (const { datname } of databases) await read(INSIDE, datname);
  return lines;
}

/** What was so and is not so any more. */
export function lost(before: ReadonlySet<string>, after: ReadonlySet<string>): string[] {
  return [...before].filter((line) => !after.has(line)).sort();
}

/** The memberships between declared roles and the master, in one line each: `api in app_readonly by master: INHERIT`. */
export async function memberships(server: TestServer, role?: string): Promise<string[]> {
  const rows = await server.query<{ line: string; role: string }>(
    `SELECT format('%s in %s by %s: ', u.rolname, r.rolname, g.rolname) || concat_ws(', ', CASE WHEN m.admin_option THEN 'ADMIN' END,
              CASE WHEN m.inherit_option THEN 'INHERIT' END, CASE WHEN m.set_option THEN 'SET' END) AS line, r.rolname AS role
     FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid JOIN pg_roles u ON u.oid = m.member JOIN pg_roles g ON g.oid = m.grantor
     WHERE r.oid >= 16384 AND r.rolname NOT LIKE 'rds%'`,
    { superuser: true },
  );
  return rows
    .filter((row) => role === undefined || row.role === role)
    .map(({ line }) => line)
    .sort();
}
