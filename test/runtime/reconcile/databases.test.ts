import { setTimeout as sleep } from 'node:timers/promises';
import { ContractError, decodeState, encodeState, serverEncoding, serverEncodings } from '../../../lib/contract';
import { ProofError, RefusedError } from '../../../lib/runtime/reconcile';
import { startServer, TestServer } from '../../support/postgres';
import { declaration, login, owner } from './declaration';
import {
  apply,
  applyAcknowledged,
  appWith,
  as,
  asOwner,
  asSuperuser,
  grantsOf,
  holds,
  legacyApplication,
  plan,
  sqlOf,
} from './runs';

const app = declaration().databases[0];

describe.each([16, 17, 18] as const)('databases and schemas on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(() => server.reset());

  test('case 46: the master still connects after PUBLIC is closed', async () => {
    await apply(server, declaration());
    expect(await holds(server, "has_database_privilege('public', 'app', 'CONNECT')")).toBe(false);
    const [row] = await server.query('SELECT current_user AS me', { database: 'app' });
    expect(row).toEqual({ me: 'master' });
    await server.query("CREATE ROLE stranger LOGIN PASSWORD 'x'");
    await expect(server.connect({ user: 'stranger', password: 'x', database: 'app' })).rejects.toThrow(
      /permission denied for database "app"/,
    );
  });

  test('case 46: the master lets itself in before it closes a database that it found', async () => {
    await legacyApplication(server);
    await applyAcknowledged(server, declaration());
    expect(await holds(server, "has_database_privilege('public', 'app', 'CONNECT')")).toBe(false);
    await server.query('SELECT 1', { database: 'app' });
  });

  test.each(['closed', 'kept'] as const)(
    'case 46: a master that was locked out comes in again from another database, PUBLIC %s',
    async (publicAccess) => {
      await legacyApplication(server);
      await asOwner(server, 'REVOKE ALL ON DATABASE app FROM PUBLIC');
      await expect(server.connect({ database: 'app' })).rejects.toThrow(/permission denied for database "app"/);

      const planned = await plan(server, appWith({ public: publicAccess }));
      expect(sqlOf(planned.plan.steps)).toContain('GRANT CONNECT ON DATABASE "app" TO "master"');
      expect(planned.plan.notes.join()).toMatch(/app.*cannot be entered/);
      await apply(server, appWith({ public: publicAccess }));
      await server.query('SELECT 1', { database: 'app' });
      expect(await holds(server, "has_table_privilege('app_readonly', 'billing.invoice', 'SELECT')")).toBe(true);
      // What was inside before is adopted, although the first look could not see it.
      const objects = await server.query("SELECT name, origin FROM cdk_postgres.object WHERE kind = 'schema'");
      expect(objects).toEqual([{ name: 'billing', origin: 'adopted' }]);
      expect((await apply(server, appWith({ public: publicAccess }))).outcome).toBe('unchanged');
    },
  );

  test('case 46: a database that the master can neither enter nor open is refused by name', async () => {
    await legacyApplication(server);
    await asSuperuser(server, ['ALTER DATABASE app OWNER TO rdsadmin', 'REVOKE ALL ON DATABASE app FROM PUBLIC']);
    const refused = apply(server, appWith({ owner: 'app_owner' }));
    await expect(refused).rejects.toThrow(RefusedError);
    await expect(refused).rejects.toThrow(/database "?app"?.*master/);
  });

  test('case 47: an access list that is not there means the built-in privileges', async () => {
    await legacyApplication(server);
    await asOwner(server, 'CREATE FUNCTION billing.total() RETURNS int LANGUAGE sql RETURN 1');
    const lists = await server.query(
      `SELECT datacl FROM pg_database WHERE datname = 'app'
       UNION ALL SELECT nspacl FROM pg_namespace WHERE nspname = 'billing'
       UNION ALL SELECT proacl FROM pg_proc WHERE proname = 'total'`,
      { database: 'app' },
    );
    expect(lists).toEqual([{ datacl: null }, { datacl: null }, { datacl: null }]);

    const withheld = sqlOf((await plan(server, declaration())).plan.withheld);
    expect(withheld).toContain('REVOKE TEMPORARY, CONNECT ON DATABASE "app" FROM PUBLIC');
    expect(withheld).toContain('REVOKE EXECUTE ON ROUTINE "billing"."total"() FROM PUBLIC');
    expect(withheld.filter((sql) => sql.includes('SCHEMA "billing" FROM'))).toEqual([]);
    await applyAcknowledged(server, declaration());
    for (const condition of [
      "has_database_privilege('public', 'app', 'CONNECT')",
      "has_database_privilege('public', 'app', 'TEMPORARY')",
      "has_function_privilege('public', 'billing.total()', 'EXECUTE')",
    ]) {
      expect([condition, await holds(server, condition)]).toEqual([condition, false]);
    }
    // The owner has lost nothing.
    expect(await asOwner(server, 'SELECT billing.total() AS total')).toEqual([{ total: 1 }]);
  });

  test('case 48: a new database gives PUBLIC no CREATE on its schema public', async () => {
    await apply(server, declaration());
    expect(await holds(server, "has_schema_privilege('public', 'public', 'CREATE')")).toBe(false);
    expect(await holds(server, "has_schema_privilege('public', 'public', 'USAGE')")).toBe(true);
  });

  test('case 48: CREATE for PUBLIC, as servers upgraded from 14 have it, is taken back by the owner of the schema', async () => {
    await legacyApplication(server);
    await asSuperuser(server, 'GRANT CREATE ON SCHEMA public TO PUBLIC', 'app');
    const planned = await plan(server, declaration());
    const [step] = planned.plan.withheld.filter(({ statements }) =>
      statements.some(({ sql }) => sql === 'REVOKE CREATE ON SCHEMA "public" FROM PUBLIC'),
    );
    expect(step).toMatchObject({ risk: 'narrow', database: 'app' });
    await apply(server, declaration());
    expect(await holds(server, "has_schema_privilege('public', 'public', 'CREATE')")).toBe(true);
    await applyAcknowledged(server, declaration());
    expect(await holds(server, "has_schema_privilege('public', 'public', 'CREATE')")).toBe(false);
  });

  test('case 54: what template1 gives to a new database is found after its creation and closed in the same run', async () => {
    await asSuperuser(server, 'GRANT CREATE ON SCHEMA public TO PUBLIC', 'template1');
    const report = await apply(server, declaration());
    expect(sqlOf(report.plan.steps)).toContain('REVOKE CREATE ON SCHEMA "public" FROM PUBLIC');
    expect(await holds(server, "has_schema_privilege('public', 'public', 'CREATE')")).toBe(false);
    expect(await holds(server, "has_schema_privilege('public', 'public', 'CREATE')", 'template1')).toBe(true);
  });

  test('case 50: a schema goes to an owner that may not create schemas, and does not keep the right', async () => {
    const roles = [...declaration().roles, owner('billing_owner'), owner('next_owner')];
    const ownedBy = (name: string) =>
      appWith(
        { schemas: [{ name: 'billing', owner: name }], defaultPrivileges: [] },
        { roles, profile: 'development' },
      );
    await apply(server, ownedBy('billing_owner'));
    const ownerOfBilling = () =>
      server.query("SELECT nspowner::regrole::text AS owner FROM pg_namespace WHERE nspname = 'billing'", {
        database: 'app',
      });
    expect(await ownerOfBilling()).toEqual([{ owner: 'billing_owner' }]);
    await apply(server, ownedBy('next_owner'));
    expect(await ownerOfBilling()).toEqual([{ owner: 'next_owner' }]);
    for (const role of ['billing_owner', 'next_owner', 'master']) {
      expect([role, await holds(server, `has_database_privilege('${role}', 'app', 'CREATE')`)]).toEqual([role, false]);
    }
  });
});

describe('databases and schemas', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version: 18 });
  });
  afterEach(() => server.reset());

  test('case 44: CREATE DATABASE is tried again while somebody is connected to template1', async () => {
    const somebody = await server.connect({ database: 'template1' });
    const from = server.log().length;
    const running = apply(server, declaration());
    await sleep(6_500); // the server itself waits for five seconds
    await somebody.end();
    expect((await running).outcome).toBe('applied');
    expect(server.log().slice(from)).toMatch(/source database "template1" is being accessed by other users/);
  });

  test('case 44: a declared encoding makes the copy from template0, where nobody is', async () => {
    const somebody = await server.connect({ database: 'template1' });
    const report = await apply(server, appWith({ encoding: 'UTF8', locale: 'C' }));
    expect(sqlOf(report.plan.steps).join()).toContain(`ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0`);
    await somebody.end();
    expect((await apply(server, appWith({ encoding: 'UTF8', locale: 'C' }))).outcome).toBe('unchanged');
  });

  test.each([
    [{ encoding: 'utf8' }, 'UTF8', 'C'],
    [{ encoding: 'UTF-8', locale: 'POSIX' }, 'UTF8', 'C'],
    [{ encoding: 'unicode' }, 'UTF8', 'C'],
    [{ encoding: 'latin-1', locale: 'C' }, 'LATIN1', 'C'],
  ])('case 45: %j is what the server calls %s and %s, in the second run too', async (changes, encoding, locale) => {
    await apply(server, appWith(changes));
    expect(
      await server.query(
        "SELECT pg_encoding_to_char(encoding) AS encoding, datcollate AS locale FROM pg_database WHERE datname = 'app'",
      ),
    ).toEqual([{ encoding, locale }]);
    expect((await apply(server, appWith(changes))).outcome).toBe('unchanged');
  });

  test('case 45: every name of an encoding means what it means to the server, and no client encoding is one', async () => {
    const rows = await server.query<{ name: string; database: boolean }>(
      'SELECT pg_encoding_to_char(n) AS name, n <= 34 AS database FROM generate_series(0, 41) n',
    );
    for (const { name, database } of rows)
      expect([name, serverEncoding(name)]).toEqual([name, database ? name : undefined]);
    expect([...serverEncodings].sort()).toEqual(rows.flatMap(({ name, database }) => (database ? name : [])).sort());
    const others = [
      'iso-8859-1',
      'ISO_8859-15',
      'iso885916',
      'windows-1252',
      'Win 1251',
      'alt',
      'win',
      'abc',
      'VSCII',
      'tcvn',
      'tcvn5712',
      'koi8',
      'windows866',
      'windows874',
      'utf 8',
      'no such',
    ];
    for (const name of others) {
      const [{ encoding }] = await server.query(
        `SELECT pg_encoding_to_char(pg_char_to_encoding('${name}')) AS encoding`,
      );
      expect([name, serverEncoding(name) ?? '']).toEqual([name, encoding]);
    }
  });

  test('case 45: an encoding that no database can have is refused before anything changes', async () => {
    await expect(apply(server, appWith({ encoding: 'utf9' }))).rejects.toThrow(/encoding "utf9" of the database "app"/);
    expect(await server.query("SELECT FROM pg_roles WHERE rolname IN ('app_owner', 'api')")).toEqual([]);
  });

  test.each([
    ['encoding', { encoding: 'UTF8' }],
    ['locale', { locale: 'C.UTF-8' }],
  ])('case 45: another %s is refused before anything changes', async (property, changes) => {
    await server.query(`CREATE DATABASE app TEMPLATE template0 ENCODING 'SQL_ASCII' LOCALE 'C'`);
    const refused = apply(server, appWith(changes));
    await expect(refused).rejects.toThrow(RefusedError);
    await expect(refused).rejects.toThrow(
      new RegExp(`database app has the ${property} .*needs a new database and a data move`),
    );
    expect(await server.query("SELECT FROM pg_roles WHERE rolname IN ('app_owner', 'api')")).toEqual([]);
    expect(
      await server.query(
        "SELECT pg_encoding_to_char(encoding) AS encoding, datcollate FROM pg_database WHERE datname = 'app'",
      ),
    ).toEqual([{ encoding: 'SQL_ASCII', datcollate: 'C' }]);
  });

  test('case 48: a schema public that the server keeps for itself is reported as beyond this role', async () => {
    await legacyApplication(server);
    await asSuperuser(
      server,
      ['ALTER SCHEMA public OWNER TO rdsadmin', 'GRANT CREATE ON SCHEMA public TO PUBLIC'],
      'app',
    );
    const { plan: planned } = await plan(server, declaration());
    const step = planned.withheld.find(({ object }) => object === 'grant on schema public to PUBLIC');
    expect(step?.withheld).toMatch(/master has no power/);
    const report = await applyAcknowledged(server, declaration());
    expect(report.plan.withheld.map(({ object }) => object)).toEqual(['grant on schema public to PUBLIC']);
  });

  test.each(['database', 'schema'] as const)(
    'case 49: another owner of a %s waits for the acknowledgement, and the tables stay with theirs',
    async (kind) => {
      const roles = [...declaration().roles, owner('next_owner')];
      await apply(server, declaration({ roles }));
      await asOwner(server, 'CREATE TABLE billing.invoice (id int)');
      const next =
        kind === 'database'
          ? appWith({ owner: 'next_owner' }, { roles })
          : appWith({ schemas: [{ name: 'billing', owner: 'next_owner' }] }, { roles });
      const { plan: waiting } = await apply(server, next);
      const step = waiting.withheld.find(
        ({ object }) => object === (kind === 'database' ? 'database app' : 'schema billing'),
      );
      expect(step).toMatchObject({ risk: 'disruptive' });
      expect(step?.reason).toMatch(/belongs to app_owner; the objects in it stay with their owners/);
      await applyAcknowledged(server, next);
      const rows = await server.query(
        `SELECT (SELECT datdba::regrole::text FROM pg_database WHERE datname = 'app') AS database,
                (SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'billing') AS schema,
                (SELECT relowner::regrole::text FROM pg_class WHERE relname = 'invoice') AS table`,
        { database: 'app' },
      );
      expect(rows).toEqual([
        {
          database: kind === 'database' ? 'next_owner' : 'app_owner',
          schema: kind === 'schema' ? 'next_owner' : 'app_owner',
          table: 'app_owner',
        },
      ]);
      expect((await apply(server, next)).outcome).toBe('unchanged');
      // The door to the database is still the master's.
      await server.query('SELECT 1', { database: 'app' });
    },
  );

  test('case 51: a migration user that acts as the owner makes objects that the readers can read', async () => {
    const state = appWith(
      { grants: [...app.grants, { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'migrator' }] },
      {
        roles: [...declaration().roles, login('migrator')],
        memberships: [
          ...declaration().memberships,
          { role: 'app_owner', member: 'migrator', inherit: false, set: true, admin: false },
        ],
        settings: [{ role: 'migrator', name: 'role', values: ['app_owner'] }],
      },
    );
    await apply(server, state);
    await as(server, 'migrator', 'CREATE TABLE billing.invoice AS SELECT 1 AS id');
    expect(await as(server, 'api', 'SELECT id FROM billing.invoice')).toEqual([{ id: 1 }]);
    expect((await apply(server, state)).outcome).toBe('unchanged');
  });

  test('a database that somebody dropped is made anew and said to be empty, by the plan as by the run', async () => {
    await apply(server, declaration());
    await server.query(['SET ROLE app_owner', 'DROP DATABASE app']);
    const planned = (await plan(server, declaration())).plan;
    expect(planned.withheld).toEqual([]);
    const done = (await apply(server, declaration())).plan;
    for (const { notes } of [planned, done])
      expect(notes).toContainEqual(expect.stringContaining('the database app was there when it was last declared'));
    expect(sqlOf(done.steps)).toEqual(sqlOf(planned.steps));
  });

  test('case 52: a database and a schema that are declared no more keep everything', async () => {
    const archive = { ...app, name: 'archive', grants: [], defaultPrivileges: [] };
    const both = declaration({
      databases: [{ ...app, schemas: [...app.schemas, { name: 'old', owner: 'app_owner' }] }, archive],
    });
    await apply(server, both);
    await asOwner(server, 'CREATE TABLE old.invoice AS SELECT 1 AS id');
    await server.query(['SET ROLE app_owner', 'CREATE TABLE billing.page AS SELECT 2 AS id'], { database: 'archive' });
    await asSuperuser(server, "SELECT pg_create_logical_replication_slot('consumer', 'pgoutput')", 'archive');
    try {
      for (const profile of ['production', 'development'] as const) {
        const report = await apply(server, declaration({ profile }));
        expect(sqlOf([...report.plan.steps, ...report.plan.withheld])).toEqual([]);
      }
      expect(await asOwner(server, 'SELECT id FROM old.invoice')).toEqual([{ id: 1 }]);
      expect(
        await server.query(['SET ROLE app_owner', 'SELECT id FROM billing.page'], { database: 'archive' }),
      ).toEqual([{ id: 2 }]);
      expect(await server.query('SELECT database FROM pg_replication_slots')).toEqual([{ database: 'archive' }]);
    } finally {
      await asSuperuser(server, "SELECT pg_drop_replication_slot('consumer')", 'archive');
    }
  });

  test('case 53: no statement names a tablespace', async () => {
    const report = await apply(server, appWith({ encoding: 'UTF8', locale: 'C', connectionLimit: 20 }));
    expect(sqlOf(report.plan.steps).filter((sql) => /tablespace/i.test(sql))).toEqual([]);
    expect(sqlOf(report.plan.steps).filter((sql) => sql.startsWith('CREATE DATABASE'))).toHaveLength(1);
  });

  test.each(['template0', 'template1', 'rdsadmin'])('case 54: %s cannot be declared', (name) => {
    const document = encodeState(declaration({ databases: [{ ...app, name }] }));
    expect(() => decodeState(document)).toThrow(ContractError);
    expect(() => decodeState(document)).toThrow(/belongs to the server itself/);
  });

  test('case 54: postgres is managed where it is declared, and otherwise left alone', async () => {
    await apply(server, declaration());
    expect(await server.query("SELECT datacl FROM pg_database WHERE datname = 'postgres'")).toEqual([{ datacl: null }]);
    const postgres = {
      ...app,
      name: 'postgres',
      owner: 'master',
      schemas: [],
      defaultPrivileges: [],
      grants: [{ privileges: ['CONNECT'], on: { kind: 'database' }, to: 'api' }],
    } as const;
    const state = declaration({
      databases: [app, postgres],
      settings: [{ database: 'postgres', name: 'work_mem', values: ['8MB'] }],
    });
    await applyAcknowledged(server, state);
    expect(await holds(server, "has_database_privilege('public', 'postgres', 'CONNECT')")).toBe(false);
    expect(await as(server, 'api', 'SHOW work_mem', 'postgres')).toEqual([{ work_mem: '8MB' }]);
    expect((await apply(server, state)).outcome).toBe('unchanged');
  });

  test('a connection limit is declared, raised, lowered, and left alone when it is not declared', async () => {
    const limit = async () =>
      (await server.query<{ limit: number }>("SELECT datconnlimit AS limit FROM pg_database WHERE datname = 'app'"))[0]
        .limit;
    await apply(server, appWith({ connectionLimit: 20 }));
    expect(await limit()).toBe(20);
    await apply(server, appWith({ connectionLimit: 30 }));
    expect(await limit()).toBe(30);
    await apply(server, appWith({}));
    expect(await limit()).toBe(30);
    await apply(server, appWith({ connectionLimit: 10 }));
    expect(await limit()).toBe(30);
    await applyAcknowledged(server, appWith({ connectionLimit: 10 }));
    expect(await limit()).toBe(10);
  });

  test('a proof fails where CONNECT is missing for a role that has grants inside', async () => {
    const withoutConnect = grantsOf(declaration()).filter(({ on }) => on.kind !== 'database');
    const state = appWith({
      grants: [...withoutConnect, { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'api' }],
    });
    const failed = apply(server, state);
    await expect(failed).rejects.toThrow(ProofError);
    await expect(failed).rejects.toThrow(/api has no effective CONNECT on the database app: declare it/);
  });
});
