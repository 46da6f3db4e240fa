import { scramVerifier } from '../../../lib/runtime/secrets';
import { startServer, TestServer } from '../../support/postgres';
import { declaration, group } from './declaration';
import { kindsOf, lostAtFirstContact, missing, QUIET_SERVER, snapshot, surplus, touched, writers } from './laws';
import { publication } from './replicating';
import { apply, applyAcknowledged, asOwner, asSuperuser, plan } from './runs';

/** The laws that random stories are checked by have to see a fault when there is one: each is planted here by hand. */

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ version: 18, settings: QUIET_SERVER });
});
beforeEach(async () => {
  await server.reset();
  await server.query(['CREATE ROLE bystander', 'CREATE ROLE other_admin', 'CREATE ROLE extra_group']);
  await apply(server, state);
  await asOwner(server, 'CREATE TABLE billing.page (id int)', 'GRANT SELECT ON billing.page TO bystander');
  await apply(server, state);
});

const state = declaration({ roles: [...declaration().roles, group('team')] });

test('a server as the library leaves it breaks none of them', async () => {
  const before = await snapshot(server);
  expect(await writers(server, () => apply(server, state))).toBe(0);
  expect(touched(before, await snapshot(server), [state])).toEqual([]);
  expect(lostAtFirstContact(before, await snapshot(server))).toEqual([]);
  expect(surplus(before, state)).toEqual([]);
  expect(await missing(server, state)).toEqual([]);
});

test('a REVOKE that was skipped', async () => {
  await asOwner(server, 'GRANT DELETE ON billing.page TO api');
  expect(surplus(await snapshot(server), state)).toEqual([expect.stringContaining('"DELETE"')]);
  await asOwner(server, 'REVOKE DELETE ON billing.page FROM api', 'GRANT UPDATE (id) ON billing.page TO api');
  expect(surplus(await snapshot(server), state)).toEqual([expect.stringContaining('acl of column')]);
});

test("a foreign grantor's row that was left behind", async () => {
  await asSuperuser(server, [
    'GRANT extra_group TO other_admin WITH ADMIN TRUE',
    'SET ROLE other_admin',
    'GRANT extra_group TO api',
  ]);
  expect(surplus(await snapshot(server), state)).toEqual([expect.stringMatching(/other_admin.*membership/)]);
  await asSuperuser(server, [
    'REVOKE extra_group FROM api GRANTED BY other_admin',
    'GRANT app_readonly TO other_admin WITH ADMIN TRUE',
    'SET ROLE other_admin',
    'GRANT app_readonly TO api WITH SET TRUE',
  ]);
  // Declared with INHERIT alone: the row of the other grantor gives more.
  expect(surplus(await snapshot(server), state)).toEqual([expect.stringMatching(/other_admin.*membership/)]);
});

test('a salt that was made anew, and the smallest write of all', async () => {
  const verifier = scramVerifier('the same password');
  await server.query(`ALTER ROLE api PASSWORD '${verifier}'`);
  const before = await snapshot(server);
  const again = () => server.query(`ALTER ROLE api PASSWORD '${scramVerifier('the same password')}'`);
  expect(await writers(server, again)).toBe(1);
  expect(lostAtFirstContact(before, await snapshot(server))).toEqual([expect.stringContaining(verifier.slice(0, 30))]);
  expect(await writers(server, () => server.query('UPDATE cdk_postgres.state SET name = name'))).toBe(1);
});

test('something of others that was touched', async () => {
  const before = await snapshot(server);
  const statements: [database: string, sql: string][] = [
    ['app', 'REVOKE SELECT ON billing.page FROM bystander'],
    ['app', 'GRANT INSERT ON billing.page TO bystander'],
    ['app', 'ALTER TABLE billing.page OWNER TO bystander'],
    ['app', 'CREATE SCHEMA somewhere'],
    ['app', 'ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT SELECT ON TABLES TO bystander'],
    ['postgres', 'ALTER ROLE bystander LOGIN'],
    ['postgres', 'GRANT team TO bystander'],
    ['postgres', 'ALTER ROLE bystander SET work_mem = 64'],
    ['postgres', 'ALTER ROLE api SET work_mem = 64'],
    ['postgres', 'GRANT CONNECT ON DATABASE app TO bystander'],
    ['postgres', 'REVOKE CONNECT ON DATABASE postgres FROM PUBLIC'],
    ['postgres', 'CREATE ROLE newcomer'],
  ];
  const seen: string[] = [];
  for (const [database, sql] of statements) {
    const earlier = await snapshot(server);
    await asSuperuser(server, sql, database);
    if (touched(earlier, await snapshot(server), [state]).length === 0) seen.push(`not seen: ${sql}`);
  }
  expect(seen).toEqual([]);
  expect(touched(before, await snapshot(server), [state]).length).toBeGreaterThan(statements.length - 1);
});

test('default privileges of others that were taken away, and a row that said no more than the server does by itself', async () => {
  const alter = (what: string) =>
    asSuperuser(server, `ALTER DEFAULT PRIVILEGES FOR ROLE bystander ${what}`, 'app').then(() => snapshot(server));
  const first = await snapshot(server);
  const given = await alter('GRANT USAGE ON TYPES TO extra_group');
  expect(touched(first, given, [state])).toEqual([expect.stringMatching(/^new: .*extra_group.*USAGE/)]);
  // The row had PUBLIC and bystander too, and is gone with extra_group.
  expect(touched(first, await alter('REVOKE USAGE ON TYPES FROM extra_group'), [state])).toEqual([]);
  const closed = await alter('REVOKE USAGE ON TYPES FROM PUBLIC');
  expect(touched(first, closed, [state])).toEqual([expect.stringMatching(/PUBLIC.*less than the built-in default/)]);
  const own = await alter('REVOKE USAGE ON TYPES FROM bystander');
  expect(touched(closed, own, [state])).toEqual([expect.stringMatching(/bystander.*less than the built-in default/)]);
  // In one schema a row adds to the others.
  const inside = await alter('IN SCHEMA billing GRANT USAGE ON TYPES TO PUBLIC');
  expect(touched(own, inside, [state])).toEqual([expect.stringMatching(/^new: .*PUBLIC.*beyond the built-in default/)]);
});

test('what is declared and was taken away', async () => {
  const statements: [database: string, sql: string, back: string][] = [
    ['app', 'REVOKE SELECT ON billing.page FROM app_readonly', 'GRANT SELECT ON billing.page TO app_readonly'],
    ['app', 'REVOKE USAGE ON SCHEMA billing FROM app_readonly', 'GRANT USAGE ON SCHEMA billing TO app_readonly'],
    [
      'app',
      'ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA billing REVOKE SELECT ON TABLES FROM app_readonly',
      'ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA billing GRANT SELECT ON TABLES TO app_readonly',
    ],
    ['app', 'ALTER SCHEMA billing OWNER TO team', 'ALTER SCHEMA billing OWNER TO app_owner'],
    ['postgres', 'ALTER DATABASE app OWNER TO team', 'ALTER DATABASE app OWNER TO app_owner'],
    ['postgres', 'REVOKE CONNECT ON DATABASE app FROM api', 'GRANT CONNECT ON DATABASE app TO api'],
    ['postgres', 'GRANT CONNECT ON DATABASE app TO PUBLIC', 'REVOKE CONNECT ON DATABASE app FROM PUBLIC'],
    ['postgres', 'ALTER ROLE api NOLOGIN', 'ALTER ROLE api LOGIN'],
    ['postgres', 'ALTER ROLE api RESET statement_timeout', "ALTER ROLE api SET statement_timeout = '15s'"],
    ['postgres', 'REVOKE app_readonly FROM api GRANTED BY master', 'GRANT app_readonly TO api'],
  ];
  const unseen: string[] = [];
  for (const [database, sql, back] of statements) {
    await asSuperuser(server, sql, database);
    if ((await missing(server, state)).length === 0) unseen.push(sql);
    await asSuperuser(server, back, database);
  }
  expect(unseen).toEqual([]);
  expect(await missing(server, state)).toEqual([]);
});

describe('what a database has besides', () => {
  const isolation = { schema: 'billing', column: 'tenant', type: 'text', setting: 'app.tenant' } as const;
  const inside = declaration({
    comments: [{ on: { kind: 'role', name: 'api' }, text: 'who pays' }],
    databases: [
      {
        ...declaration().databases[0],
        extensions: [{ name: 'hstore' }],
        isolations: [{ ...isolation, stage: 'enforced', roles: ['app_readonly', 'api'], allTenants: [] }],
        publications: [publication({ tables: [], schemas: ['billing'], operations: ['INSERT'] })],
      },
    ],
  });
  beforeEach(async () => {
    await asOwner(
      server,
      'CREATE TABLE billing.item (id int PRIMARY KEY, tenant text)',
      "INSERT INTO billing.item VALUES (1, 'a'), (2, 'b')",
      'GRANT CREATE ON SCHEMA billing TO bystander',
      'CREATE POLICY theirs ON billing.page USING (true)',
    );
    await asSuperuser(
      server,
      ['CREATE EXTENSION cube', 'CREATE PUBLICATION theirs', "COMMENT ON SCHEMA public IS 'theirs'"],
      'app',
    );
    await apply(server, inside);
    await applyAcknowledged(server, inside);
  });

  test('is whole as the library leaves it', async () => {
    expect(await missing(server, inside)).toEqual([]);
  });

  test('and was taken away', async () => {
    const statements: [database: string, sql: string, back: string][] = [
      ['app', 'DROP EXTENSION hstore', 'CREATE EXTENSION hstore'],
      ['app', 'ALTER PUBLICATION cdc DROP TABLE billing.item', 'ALTER PUBLICATION cdc ADD TABLE billing.item'],
      [
        'app',
        "ALTER PUBLICATION cdc SET (publish = 'insert, delete')",
        "ALTER PUBLICATION cdc SET (publish = 'insert')",
      ],
      ['app', 'ALTER PUBLICATION cdc OWNER TO bystander', 'ALTER PUBLICATION cdc OWNER TO app_owner'],
      [
        'app',
        'ALTER TABLE billing.item NO FORCE ROW LEVEL SECURITY',
        'ALTER TABLE billing.item FORCE ROW LEVEL SECURITY',
      ],
      [
        'app',
        'ALTER TABLE billing.item DISABLE ROW LEVEL SECURITY',
        'ALTER TABLE billing.item ENABLE ROW LEVEL SECURITY',
      ],
      ['app', 'CREATE POLICY open ON billing.item USING (true)', 'DROP POLICY open ON billing.item'],
      ['postgres', 'COMMENT ON ROLE api IS NULL', "COMMENT ON ROLE api IS 'who pays'"],
    ];
    const unseen: string[] = [];
    for (const [database, sql, back] of statements) {
      await asSuperuser(server, sql, database);
      if ((await missing(server, inside)).length === 0) unseen.push(sql);
      await asSuperuser(server, back, database);
    }
    expect(unseen).toEqual([]);
    await asSuperuser(server, 'DROP POLICY cdk_postgres_tenant ON billing.item', 'app');
    expect(await missing(server, inside)).toEqual(['billing.item has the policy of its tenants']);
  });

  test('of others and was touched', async () => {
    const statements: [database: string, sql: string][] = [
      ['app', 'DROP POLICY theirs ON billing.page'],
      ['app', 'ALTER EXTENSION cube SET SCHEMA billing'],
      ['app', 'ALTER PUBLICATION theirs ADD TABLE billing.page'],
      ['app', 'ALTER TABLE billing.page REPLICA IDENTITY FULL'],
      ['app', 'DROP PUBLICATION theirs'],
      ['app', 'COMMENT ON SCHEMA public IS NULL'],
      ['app', "SELECT pg_create_logical_replication_slot('theirs', 'pgoutput')"],
    ];
    const unseen: string[] = [];
    for (const [database, sql] of statements) {
      const earlier = await snapshot(server);
      await asSuperuser(server, sql, database);
      if (touched(earlier, await snapshot(server), [inside]).length === 0) unseen.push(sql);
    }
    await asSuperuser(server, "SELECT pg_drop_replication_slot('theirs')");
    expect(unseen).toEqual([]);
  });

  test('and is still there although it was to be dropped', async () => {
    const drop = {
      kind: 'role',
      name: 'bystander',
      reason: 'over',
      adopted: true,
      force: false,
      cascade: false,
    } as const;
    const dropping = { ...inside, drops: [drop] };
    expect(await missing(server, dropping)).toEqual(['the role bystander is gone']);
    const { withheld } = (await plan(server, dropping)).plan;
    expect(await missing(server, dropping, withheld)).toEqual([]);
  });
});

test('a step of a kind that nobody counts', () => {
  const step = { id: '', database: 'app', risk: 'add' as const, reason: '', transactional: true };
  expect(kindsOf({ ...step, object: 'rule x', statements: [{ sql: 'CREATE RULE x' }] })).toEqual([
    'unknown: rule x: CREATE RULE x',
  ]);
  expect(kindsOf({ ...step, object: 'role x', statements: [{ sql: 'CREATE ROLE x' }] })).toEqual(['create role']);
});
