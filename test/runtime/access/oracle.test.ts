import { Access, AccessFacts, accessReport, EVERYBODY, observeAccessFacts } from '../../../lib/runtime/access';
import { Connections } from '../../../lib/runtime/reconcile/connections';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { nastyCatalog } from './nasty-catalog';

const DATABASES = ['app', 'other'];

/** Every role × object × privilege, with what the server's own functions say. */
const ORACLE = `
  WITH roles AS (SELECT oid, rolname FROM pg_roles WHERE oid >= 16384 OR rolsuper),
  spaces AS (SELECT oid, nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema')
  SELECT json_build_array(r.rolname, 'database', current_database(), p) AS key, has_database_privilege(r.oid, current_database(), p) AS may
    FROM roles r, unnest(ARRAY['CREATE', 'CONNECT', 'TEMPORARY']) p
  UNION ALL SELECT json_build_array(r.rolname, 'schema', s.nspname, p), has_schema_privilege(r.oid, s.oid, p)
    FROM roles r, spaces s, unnest(ARRAY['CREATE', 'USAGE']) p
  UNION ALL SELECT json_build_array(r.rolname, 'table', s.nspname, c.relname, p), has_table_privilege(r.oid, c.oid, p)
    FROM roles r, pg_class c JOIN spaces s ON s.oid = c.relnamespace, unnest($1::text[]) p WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL SELECT json_build_array(r.rolname, 'sequence', s.nspname, c.relname, p), has_sequence_privilege(r.oid, c.oid, p)
    FROM roles r, pg_class c JOIN spaces s ON s.oid = c.relnamespace, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p WHERE c.relkind = 'S'
  UNION ALL SELECT json_build_array(r.rolname, 'routine', s.nspname, f.proname || '(' || oidvectortypes(f.proargtypes) || ')', 'EXECUTE'), has_function_privilege(r.oid, f.oid, 'EXECUTE')
    FROM roles r, pg_proc f JOIN spaces s ON s.oid = f.pronamespace
  UNION ALL SELECT json_build_array(r.rolname, 'column', s.nspname, c.relname, a.attname, p), has_column_privilege(r.oid, c.oid, a.attnum, p)
    FROM roles r, pg_class c JOIN spaces s ON s.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p WHERE c.relkind IN ('r', 'p')`;

interface Answers {
  readonly may: Map<string, boolean>;
  readonly maySet: Set<string>;
}

async function answers(server: TestServer, database: string): Promise<Answers> {
  const client = await server.connect({ superuser: true, database });
  try {
    const table = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'];
    const { rows } = await client.query(ORACLE, [server.version >= 17 ? [...table, 'MAINTAIN'] : table]);
    const set = await client.query(
      `SELECT json_build_array(a.rolname, b.rolname) AS key FROM pg_roles a, pg_roles b WHERE a.oid <> b.oid AND pg_has_role(a.oid, b.oid, 'SET')`,
    );
    return {
      may: new Map(rows.map(({ key, may }) => [JSON.stringify(key), may as boolean])),
      maySet: new Set(set.rows.map(({ key }) => JSON.stringify(key))),
    };
  } finally {
    await client.end();
  }
}

/** What the report says, taken apart to one key for each role, object and privilege: `now`, or `set`: after SET ROLE alone. */
function said(facts: AccessFacts, keys: Iterable<string>, database: string): Map<string, Access[]> {
  const report = accessReport(facts);
  const byKey = new Map<string, Access[]>();
  const say = (key: readonly unknown[], access: Access) => {
    const text = JSON.stringify(key);
    byKey.set(text, [...(byKey.get(text) ?? []), access]);
  };
  const all = [...keys].map((key) => JSON.parse(key) as string[]);
  const everybody = [...new Set(all.map(([role]) => role))].filter((role) => !report.superusers.includes(role));
  for (const access of report.access.filter((item) => item.on.database === database && item.on.count > 0)) {
    const { on } = access;
    const roles = access.role === EVERYBODY ? everybody : [access.role];
    // A privilege on a table is one on each of its columns.
    const matches = all.filter(
      ([role, kind, schema, ...rest]) =>
        role === everybody[0] &&
        access.privileges.includes(rest.at(-1)!) &&
        (on.kind === 'column'
          ? kind === 'column' && schema === on.schema && rest[0] === on.names[0] && rest[1] === on.column
          : (kind === on.kind || (kind === 'column' && on.kind === 'table')) &&
            (on.schema === undefined || schema === on.schema) &&
            (on.kind === 'schema' || on.kind === 'database' || on.all || on.names.includes(rest[0]))),
    );
    for (const [, ...rest] of matches) for (const role of roles) say([role, ...rest], access);
  }
  return byKey;
}

describe.each(VERSIONS)('PostgreSQL %s', (version) => {
  let server: TestServer;
  let facts: AccessFacts;
  let oracle: Map<string, Answers>;

  beforeAll(async () => {
    server = await startServer({ version });
    await nastyCatalog(server);
    facts = await observed(server);
    oracle = new Map();
    for (const database of DATABASES) oracle.set(database, await answers(server, database));
  });

  async function observed(from: TestServer, user?: string): Promise<AccessFacts> {
    const login = user === undefined ? {} : { user, password: 'for-the-test' };
    const connections = new Connections(from.connection(login), 'postgres');
    try {
      return await observeAccessFacts(connections);
    } finally {
      await connections.close();
    }
  }

  test.each(DATABASES)('every answer about %s is the one of the has_*_privilege functions', (database) => {
    const { may } = oracle.get(database)!;
    const { superusers } = accessReport(facts);
    const answersOfOurs = said(facts, may.keys(), database);
    const wrong = [...may].filter(([key, answer]) => {
      const ours =
        superusers.includes((JSON.parse(key) as string[])[0]) ||
        (answersOfOurs.get(key) ?? []).some((access) => access.setRole === undefined);
      return ours !== answer;
    });
    expect(wrong).toEqual([]);
    expect([...may.values()].filter(Boolean).length).toBeGreaterThan(100);
    expect([...may.values()].filter((answer) => !answer).length).toBeGreaterThan(100);
  });

  test.each(DATABASES)('what SET ROLE would give in %s is said, and nothing that it would not', (database) => {
    const { may, maySet } = oracle.get(database)!;
    const { superusers } = accessReport(facts);
    const ours = said(facts, may.keys(), database);
    const roles = new Set([...may.keys()].map((key) => (JSON.parse(key) as string[])[0]));
    const wrong: string[] = [];
    for (const [key, answer] of may) {
      const [role, ...rest] = JSON.parse(key) as string[];
      if (answer || superusers.includes(role)) continue;
      const reachable = [...roles, 'pg_write_all_data', 'pg_read_all_data'].some(
        (target) =>
          maySet.has(JSON.stringify([role, target])) &&
          !superusers.includes(target) &&
          (may.get(JSON.stringify([target, ...rest])) ??
            (ours.get(key) ?? []).some((access) => access.setRole === target)),
      );
      const claimed = ours.get(key) ?? [];
      const isTrue = claimed.every(
        (access) => access.setRole !== undefined && maySet.has(JSON.stringify([role, access.setRole])),
      );
      if (claimed.length > 0 !== reachable || !isTrue) wrong.push(key);
    }
    expect(wrong).toEqual([]);
  });

  test('without effect is what lacks USAGE or CONNECT, and nothing else', () => {
    for (const database of DATABASES) {
      const { may } = oracle.get(database)!;
      const ask = (...key: string[]) => may.get(JSON.stringify(key));
      const items = accessReport(facts).access.filter(
        ({ role, on }) => role !== EVERYBODY && on.database === database && on.schema !== undefined,
      );
      expect(items.length).toBeGreaterThan(10);
      for (const { role, on, setRole, ineffective } of items) {
        const actor = setRole ?? role;
        if (ask(actor, 'schema', on.schema!, 'USAGE') === undefined) continue; // a predefined role, not among the asked
        const connects = !facts.roles.get(role)!.login || ask(role, 'database', database, 'CONNECT')!;
        const uses = on.kind === 'schema' || ask(actor, 'schema', on.schema!, 'USAGE')!;
        expect([role, on, setRole, ineffective === undefined]).toEqual([role, on, setRole, connects && uses]);
      }
    }
  });

  test('negative control: one grant that is not seen shows as a wrong answer', async () => {
    await server.query('GRANT TRUNCATE ON billing.line TO team', { superuser: true, database: 'app' });
    try {
      const { may } = await answers(server, 'app');
      const ours = said(facts, may.keys(), 'app'); // from before the grant
      const wrong = [...may].filter(
        ([key, answer]) =>
          answer &&
          !(ours.get(key) ?? []).some((access) => access.setRole === undefined) &&
          !accessReport(facts).superusers.includes((JSON.parse(key) as string[])[0]),
      );
      expect(wrong.map(([key]) => (JSON.parse(key) as string[])[0]).sort()).toEqual(['api', 'team']);
    } finally {
      await server.query('REVOKE TRUNCATE ON billing.line FROM team', { superuser: true, database: 'app' });
    }
  });

  test('a role that may only look sees the same', async () => {
    await server.query(
      [
        "CREATE ROLE looker LOGIN PASSWORD 'for-the-test'",
        'GRANT CONNECT ON DATABASE app TO looker',
        'GRANT CONNECT ON DATABASE other TO looker',
      ],
      { superuser: true },
    );
    try {
      const theirs = accessReport(await observed(server, 'looker'));
      const ours = accessReport(await observed(server));
      expect(theirs.closed).toEqual([]);
      const inside = (items: readonly Access[]) => items.filter(({ on }) => on.schema !== undefined);
      expect(inside(theirs.access)).toEqual(inside(ours.access).filter(({ on }) => !ours.closed.includes(on.database)));
    } finally {
      await server.query(['DROP OWNED BY looker', 'DROP ROLE looker'], { superuser: true });
    }
  });
});
