import { DesiredGrant, DesiredState, Privilege } from '../../../lib/contract';
import { ProofError, RefusedError } from '../../../lib/runtime/reconcile';
import { PreparedStatement, Session, WarningError } from '../../../lib/runtime/reconcile/session';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog } from './catalog';
import { declaration, group, login } from './declaration';
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
  loginAs,
  plan,
  sqlOf,
} from './runs';

const connect: DesiredGrant = { privileges: ['CONNECT'], on: { kind: 'database' }, to: 'api' };
const usage: DesiredGrant = { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'api' };
const onTables = (privileges: Privilege[], to = 'api'): DesiredGrant => ({
  privileges,
  on: { kind: 'allTables', schema: 'billing' },
  to,
});

/** The small declaration in which `api` has its privileges itself, and no default privileges. */
const direct = (...grants: DesiredGrant[]) =>
  appWith({ grants: [connect, usage, ...grants], defaultPrivileges: [] }, { memberships: [] });

const withheldSql = async (server: TestServer, state = declaration()) =>
  sqlOf((await plan(server, state)).plan.withheld);

describe.each([16, 17, 18] as const)('grants on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(async () => {
    jest.restoreAllMocks();
    await server.reset();
  });

  test('case 55: a GRANT that only warns is a failure, and nothing of its transaction stays', async () => {
    await legacyApplication(server);
    await server.query('CREATE ROLE bystander');
    await server.query('GRANT bystander TO master WITH SET TRUE');
    await asOwner(
      server,
      'GRANT USAGE ON SCHEMA billing TO bystander',
      'GRANT SELECT ON billing.invoice TO bystander', // without the grant option
    );
    const run = Session.prototype.run;
    jest.spyOn(Session.prototype, 'run').mockImplementation(function (this: Session, statements, how) {
      const turned = statements.map((statement): PreparedStatement => {
        return /^GRANT SELECT/.test(statement.sql) ? { ...statement, as: 'bystander' } : statement;
      });
      return run.call(this, turned, how);
    });
    const failed = apply(server, declaration());
    await expect(failed).rejects.toThrow(WarningError);
    await expect(failed).rejects.toThrow(
      /grant on 1 table in schema billing to app_readonly: the server did not do it: no privileges were granted for "invoice"/,
    );
    expect(await holds(server, "has_schema_privilege('app_readonly', 'billing', 'USAGE')")).toBe(false);
  });

  describe.each(['GRANT', 'REVOKE'] as const)('case 55: a %s that does nothing with success as its status', (word) => {
    /** The fault to find: the statement is run by a role that may not give or take what it says. */
    async function planted(warnings: 'heard' | 'ignored'): Promise<DesiredState> {
      await legacyApplication(server);
      await server.query(['CREATE ROLE bystander', 'GRANT bystander TO master WITH SET TRUE']);
      await asOwner(
        server,
        'GRANT USAGE ON SCHEMA billing TO bystander',
        'GRANT SELECT ON billing.invoice TO bystander',
      );
      if (word === 'REVOKE') await applyAcknowledged(server, direct(onTables(['SELECT'])));
      const run = Session.prototype.run;
      jest.spyOn(Session.prototype, 'run').mockImplementation(function (this: Session, statements, how) {
        if (warnings === 'ignored') this.client.removeAllListeners('notice');
        const turned = statements.map((statement): PreparedStatement => {
          return statement.sql.startsWith(`${word} SELECT ON TABLE`) ? { ...statement, as: 'bystander' } : statement;
        });
        return run.call(this, turned, how);
      });
      return direct(...(word === 'GRANT' ? [onTables(['SELECT'])] : []));
    }
    const has = () => holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')");

    test('is caught by its warning', async () => {
      const failed = apply(server, await planted('heard'));
      await expect(failed).rejects.toThrow(WarningError);
      await expect(failed).rejects.toMatchObject({ code: word === 'GRANT' ? '01007' : '01006' });
      expect(await has()).toBe(word === 'REVOKE');
    });

    test('is caught by the proof where nobody hears the warning', async () => {
      const failed = apply(server, await planted('ignored'));
      await expect(failed).rejects.toThrow(ProofError);
      await expect(failed).rejects.toThrow(/grant on 1 table in schema billing to api/);
      expect(await has()).toBe(word === 'REVOKE');
    });
  });

  test('case 55: a privilege that another role gave is taken back as that role, where REVOKE by the owner says nothing', async () => {
    await legacyApplication(server);
    await server.query('CREATE ROLE lender');
    await asOwner(
      server,
      'GRANT USAGE ON SCHEMA billing TO lender',
      'GRANT SELECT ON billing.invoice TO lender WITH GRANT OPTION',
    );
    await server.query('GRANT lender TO master WITH SET TRUE');
    await server.query(['SET ROLE lender', 'GRANT SELECT ON billing.invoice TO api'], { database: 'app' });
    await server.query('REVOKE SET OPTION FOR lender FROM master');
    // The negative control: what a plain REVOKE does about it is nothing.
    await asOwner(server, 'REVOKE SELECT ON billing.invoice FROM api');
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')")).toBe(true);

    await applyAcknowledged(server, direct());
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')")).toBe(false);
    // Acting as the lender was for the moment.
    expect(await holds(server, "pg_has_role('master', 'lender', 'SET')")).toBe(false);
    expect((await apply(server, direct())).outcome).toBe('unchanged');
  });

  test('case 56: each table is granted by its own owner, and members of extensions are left alone', async () => {
    await legacyApplication(server);
    await server.query(['CREATE ROLE other_owner', 'GRANT other_owner TO master WITH INHERIT FALSE, SET TRUE']);
    await asOwner(server, 'GRANT CREATE, USAGE ON SCHEMA billing TO other_owner, master');
    await server.query(['SET ROLE other_owner', 'CREATE TABLE billing.page (id int)'], { database: 'app' });
    await asOwner(server, 'GRANT CREATE ON DATABASE app TO master');
    await server.query('CREATE EXTENSION pg_stat_statements SCHEMA billing', { database: 'app' });
    const owners = await server.query(
      `SELECT relname AS name, relowner::regrole::text AS owner FROM pg_class
       WHERE relnamespace = 'billing'::regnamespace AND relkind IN ('r', 'v') ORDER BY relname <> 'invoice', relname`,
      { database: 'app' },
    );
    expect(owners.slice(0, 2)).toEqual([
      { name: 'invoice', owner: 'app_owner' },
      { name: 'page', owner: 'other_owner' },
    ]);
    expect(owners).toContainEqual({ name: 'pg_stat_statements', owner: 'rdsadmin' });
    const aclsOfExtension = () =>
      server.query(
        `SELECT relacl::text AS acl FROM pg_class WHERE relname LIKE 'pg_stat_%' AND relnamespace = 'billing'::regnamespace
         UNION ALL SELECT proacl::text FROM pg_proc WHERE pronamespace = 'billing'::regnamespace ORDER BY 1`,
        { database: 'app' },
      );
    const before = await aclsOfExtension();

    const report = await apply(server, declaration());
    expect(report.plan.notes.join()).toMatch(/objects of extensions in the database app keep the privileges/);
    for (const table of ['invoice', 'page']) {
      expect(await holds(server, `has_table_privilege('app_readonly', 'billing.${table}', 'SELECT')`)).toBe(true);
    }
    expect(await aclsOfExtension()).toEqual(before);
    await applyAcknowledged(server, declaration());
    expect(await aclsOfExtension()).toEqual(before);
  });

  test('case 56: a table that the master can neither grant nor get is refused by name', async () => {
    await legacyApplication(server);
    await asSuperuser(server, 'CREATE TABLE billing.secret ()', 'app');
    const refused = apply(server, declaration());
    await expect(refused).rejects.toThrow(RefusedError);
    await expect(refused).rejects.toThrow(
      /the table "billing"."secret" belongs to rdsadmin, and master cannot act as it/,
    );
    expect(await holds(server, "has_table_privilege('app_readonly', 'billing.invoice', 'SELECT')")).toBe(false);
  });

  test('case 57: all tables are those of now, those that come while it runs, and those to come', async () => {
    await legacyApplication(server);
    const run = Session.prototype.run;
    let comes = true;
    jest.spyOn(Session.prototype, 'run').mockImplementation(async function (this: Session, statements, how) {
      if (comes) await asOwner(server, 'CREATE TABLE billing.late ()');
      comes = false;
      return run.call(this, statements, how);
    });
    await apply(server, declaration());
    await asOwner(server, 'CREATE TABLE billing.later ()');
    for (const table of ['invoice', 'late', 'later']) {
      expect([table, await holds(server, `has_table_privilege('app_readonly', 'billing.${table}', 'SELECT')`)]).toEqual(
        [table, true],
      );
    }
  });

  test('case 58: MAINTAIN is given where the server has it, and refused by name where it has not', async () => {
    await legacyApplication(server);
    const state = direct(onTables(['SELECT', 'MAINTAIN']));
    if (version === 16) {
      const refused = apply(server, state);
      await expect(refused).rejects.toThrow(RefusedError);
      await expect(refused).rejects.toThrow(/MAINTAIN to "api", which exists from PostgreSQL 17 on; this server is 16/);
      return;
    }
    await apply(server, state);
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'MAINTAIN')")).toBe(true);
    await as(server, 'api', 'ANALYZE billing.invoice');
    expect((await apply(server, state)).outcome).toBe('unchanged');
  });

  test('case 58: ALL by hand has what its version has, and MAINTAIN is wanted only where it is declared', async () => {
    await legacyApplication(server);
    await asOwner(server, 'GRANT ALL ON billing.invoice TO api');
    const state = direct(onTables(['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']));
    const withheld = (await withheldSql(server, state)).filter((sql) => sql.includes('"invoice"'));
    expect(withheld).toEqual(version === 16 ? [] : ['REVOKE MAINTAIN ON TABLE "billing"."invoice" FROM "api"']);
  });

  test('case 59: a grant option whose holder has passed the privilege on is listed and not run', async () => {
    await legacyApplication(server);
    await server.query(['CREATE ROLE bob', 'GRANT api TO master WITH SET TRUE']);
    await asOwner(
      server,
      'GRANT USAGE ON SCHEMA billing TO api',
      'GRANT SELECT ON billing.invoice TO api WITH GRANT OPTION',
    );
    await server.query(['SET ROLE api', 'GRANT SELECT ON billing.invoice TO bob'], { database: 'app' });

    const state = direct(onTables(['SELECT']));
    await applyAcknowledged(server, state); // the door of PUBLIC
    const report = await apply(server, state);
    expect(report.plan.hash).toBeUndefined();
    expect(report.plan.withheld).toHaveLength(1);
    expect(report.plan.withheld[0]).toMatchObject({
      risk: 'narrow',
      object: 'grant on 1 table in schema billing to api',
    });
    expect(report.plan.withheld[0].withheld).toBe(
      'api has passed GRANT OPTION FOR SELECT on to bob: revoke it there first, or declare it for them',
    );
    expect(await holds(server, "has_table_privilege('bob', 'billing.invoice', 'SELECT')")).toBe(true);

    await server.query(['SET ROLE api', 'REVOKE SELECT ON billing.invoice FROM bob'], { database: 'app' });
    await applyAcknowledged(server, state);
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')")).toBe(true);
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT WITH GRANT OPTION')")).toBe(
      false,
    );
  });

  test('case 60: a reader never sees a moment without the privilege while its way changes', async () => {
    const viaGroup = declaration();
    const itself = direct(onTables(['SELECT']));
    await apply(server, viaGroup);
    await asOwner(server, 'CREATE TABLE billing.invoice AS SELECT 1 AS id');
    const reader = await loginAs(server, 'api');
    let stop = false;
    let reads = 0;
    const reading = (async () => {
      for (; !stop; reads++) await reader.query('SELECT id FROM billing.invoice');
    })();
    reading.catch(() => undefined); // judged below
    for (const state of [itself, viaGroup, itself, viaGroup]) {
      const report = await apply(server, state);
      expect(sqlOf(report.plan.steps).filter((sql) => sql.startsWith('REVOKE'))).not.toEqual([]);
      expect(report.plan.withheld).toEqual([]);
    }
    stop = true;
    await expect(reading).resolves.toBeUndefined();
    expect(reads).toBeGreaterThan(50);
    // The negative control: the reader does notice when it is taken.
    await asOwner(server, 'REVOKE SELECT ON billing.invoice FROM app_readonly');
    await expect(reader.query('SELECT id FROM billing.invoice')).rejects.toThrow(/permission denied/);
  });

  test('case 61: column privileges are seen, listed and taken with those of the table', async () => {
    await legacyApplication(server);
    await server.query('CREATE ROLE bystander');
    await asOwner(
      server,
      'GRANT SELECT, UPDATE ON billing.invoice TO api',
      'GRANT UPDATE (amount), INSERT (id) ON billing.invoice TO api',
      'GRANT UPDATE (amount) ON billing.invoice TO bystander',
    );
    const state = direct(onTables(['SELECT']));
    const withheld = await withheldSql(server, state);
    expect(withheld).toEqual(
      expect.arrayContaining([
        'REVOKE UPDATE ON TABLE "billing"."invoice" FROM "api"',
        'REVOKE UPDATE ("amount") ON TABLE "billing"."invoice" FROM "api"',
        'REVOKE INSERT ("id") ON TABLE "billing"."invoice" FROM "api"',
      ]),
    );
    await applyAcknowledged(server, state);
    expect(await holds(server, "has_any_column_privilege('api', 'billing.invoice', 'UPDATE, INSERT')")).toBe(false);
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')")).toBe(true);
    expect(await holds(server, "has_column_privilege('bystander', 'billing.invoice', 'amount', 'UPDATE')")).toBe(true);
    expect((await apply(server, state)).plan.withheld).toEqual([]);
  });

  test('case 61: a reader of one column becomes a reader of the table without a gap', async () => {
    await legacyApplication(server);
    await asOwner(server, 'GRANT USAGE ON SCHEMA billing TO api', 'GRANT SELECT (id) ON billing.invoice TO api');
    const reader = await loginAs(server, 'api');
    let stop = false;
    const reading = (async () => {
      while (!stop) await reader.query('SELECT id FROM billing.invoice');
    })();
    reading.catch(() => undefined);
    await applyAcknowledged(server, direct(onTables(['SELECT'])));
    stop = true;
    await expect(reading).resolves.toBeUndefined();
    expect(await as(server, 'api', 'SELECT amount FROM billing.invoice')).toEqual([]);
    expect(
      await server.query('SELECT attacl FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid > 16383', {
        database: 'app',
      }),
    ).toEqual([]);
  });

  test('case 63: overloads, procedures and aggregates are told apart by their argument types', async () => {
    await legacyApplication(server);
    await asOwner(
      server,
      'CREATE TYPE billing."Unit" AS (name text)',
      'CREATE FUNCTION billing.total(int) RETURNS int LANGUAGE sql RETURN 1',
      'CREATE FUNCTION billing.total(int, varchar(3)) RETURNS int LANGUAGE sql RETURN 2',
      'CREATE FUNCTION billing."Total"(VARIADIC billing."Unit"[]) RETURNS int LANGUAGE sql RETURN 3',
      'CREATE FUNCTION billing.parts(int, OUT a int, OUT b int) LANGUAGE sql RETURN (1, 2)',
      `CREATE PROCEDURE billing.close(int, OUT done bool) LANGUAGE sql AS 'SELECT true'`,
      'CREATE AGGREGATE billing.sum_up(int) (SFUNC = int4pl, STYPE = int)',
    );
    const routine = (signature: string): DesiredGrant => ({
      privileges: ['EXECUTE'],
      on: { kind: 'routine', schema: 'billing', signature },
      to: 'api',
    });
    const wanted = [
      'total(integer, character varying)',
      'Total(billing."Unit"[])',
      'parts(integer)',
      'close(integer)',
      'sum_up(integer)',
    ];
    const state = direct(...wanted.map(routine));
    await applyAcknowledged(server, state);
    const rows = await server.query(
      `SELECT proname || '(' || oidvectortypes(proargtypes) || ')' AS routine, has_function_privilege('api', oid, 'EXECUTE') AS may
       FROM pg_proc WHERE pronamespace = 'billing'::regnamespace ORDER BY proname || oidvectortypes(proargtypes) COLLATE "C"`,
      { database: 'app' },
    );
    expect(rows).toEqual([
      { routine: 'Total(billing."Unit"[])', may: true },
      { routine: 'close(integer)', may: true },
      { routine: 'parts(integer)', may: true },
      { routine: 'sum_up(integer)', may: true },
      { routine: 'total(integer)', may: false },
      { routine: 'total(integer, character varying)', may: true },
    ]);
    expect(await as(server, 'api', "SELECT billing.total(1, 'x')")).toEqual([{ total: 2 }]);
    await expect(as(server, 'api', 'SELECT billing.total(1)')).rejects.toThrow(/permission denied for function total/);

    const misspelt = apply(server, direct(routine('total(int)')));
    await expect(misspelt).rejects.toThrow(RefusedError);
    await expect(misspelt).rejects.toThrow(
      /routine "billing.total\(int\)".*does not exist \(there is total\(integer\), total\(integer, character varying\)\)/,
    );
  });

  test('case 65: undeclared roles, undeclared schemas, owners and superusers are not ours to judge', async () => {
    await legacyApplication(server);
    await server.query(['CREATE ROLE report LOGIN', 'CREATE ROLE other_owner']);
    await asOwner(
      server,
      'CREATE SCHEMA private',
      'CREATE TABLE private.note ()',
      'GRANT ALL ON SCHEMA private TO api, PUBLIC',
      'GRANT ALL ON private.note TO api, PUBLIC',
      'GRANT ALL ON SCHEMA billing TO report',
      'GRANT ALL ON billing.invoice TO report WITH GRANT OPTION',
      'GRANT CREATE ON DATABASE app TO report',
      'REVOKE DELETE ON billing.invoice FROM app_owner',
      'ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT ALL ON TABLES TO report',
      'ALTER DEFAULT PRIVILEGES IN SCHEMA private GRANT ALL ON TABLES TO api',
    );
    await asSuperuser(server, 'GRANT SELECT ON billing.invoice TO other_owner', 'app');
    const of = (role: string) =>
      server.query(
        `SELECT 'table' AS kind, c.oid::regclass::text AS name, e.privilege_type, e.is_grantable
         FROM pg_class c, aclexplode(c.relacl) e WHERE e.grantee = '${role}'::regrole
         UNION ALL SELECT 'schema', nspname, e.privilege_type, e.is_grantable
         FROM pg_namespace, aclexplode(nspacl) e WHERE e.grantee = '${role}'::regrole
         UNION ALL SELECT 'database', datname, e.privilege_type, e.is_grantable
         FROM pg_database, aclexplode(datacl) e WHERE e.grantee = '${role}'::regrole
         UNION ALL SELECT 'default', defaclobjtype::text || ' ' || defaclnamespace::regnamespace::text, e.privilege_type, e.is_grantable
         FROM pg_default_acl, aclexplode(defaclacl) e WHERE e.grantee = '${role}'::regrole
         ORDER BY 1, 2, 3`,
        { database: 'app' },
      );
    const untouched = async () => ({
      report: await of('report'),
      other_owner: await of('other_owner'),
      owner: (await of('app_owner')).filter(({ kind }) => kind === 'table'),
      api: (await of('api')).filter(({ name }) => /private/.test(String(name))),
      private: await server.query(
        `SELECT relacl::text, (SELECT nspacl::text FROM pg_namespace WHERE nspname = 'private') FROM pg_class WHERE relname = 'note'`,
        { database: 'app' },
      ),
    });
    const before = await untouched();
    expect(before.report.length).toBeGreaterThan(10);
    expect(before.api.length).toBeGreaterThan(5);
    const report = await applyAcknowledged(server, declaration());
    expect(report.plan.withheld).toEqual([]);
    expect(await untouched()).toEqual(before);
    expect((await apply(server, declaration())).outcome).toBe('unchanged');
  });
});

describe('grants', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version: 18 });
  });
  afterEach(() => server.reset());

  test('case 55: the session hears a warning in a batch and in a single statement', async () => {
    await legacyApplication(server);
    await server.query('CREATE ROLE bystander');
    await asOwner(server, 'GRANT USAGE ON SCHEMA billing TO master', 'GRANT SELECT ON billing.invoice TO master');
    const client = await server.connect({ database: 'app' });
    const session = new Session(client, 'app', { reads: 0, writes: 0 });
    const grant = 'GRANT SELECT ON billing.invoice TO bystander';
    const revoke = 'REVOKE SELECT ON billing.invoice FROM api';
    const statement = (text: string): PreparedStatement => ({ sql: text, text });
    for (const how of ['batch', 'single'] as const) {
      await expect(session.run([statement('SELECT 1'), statement(grant)], how)).rejects.toThrow(WarningError);
      await expect(session.run([statement('SELECT 1'), statement(grant)], how)).rejects.toMatchObject({
        code: '01007',
      });
      await expect(session.run([statement(revoke)], how)).rejects.toMatchObject({ code: '01006' });
      // A notice is none, and neither is a warning of somebody's own function.
      await session.run([statement("DO $$ BEGIN RAISE NOTICE 'fine'; END $$")], how);
      for (const code of ['01000', '01006', '01007'])
        await session.run([statement(`DO $$ BEGIN RAISE WARNING 'GRANT' USING ERRCODE = '${code}'; END $$`)], how);
    }
    await client.end();
  });

  test('case 55: a warning is heard in whatever language the server speaks', async () => {
    const client = await server.connect();
    const session = new Session(client, 'postgres', { reads: 0, writes: 0 });
    const query = client.query.bind(client) as (sql: string) => Promise<unknown>;
    const warned = { severity: 'WARNUNG', code: '01007', message: 'es wurden keine Privilegien für »x« gewährt' };
    jest.spyOn(client, 'query').mockImplementation(((sql: string) => {
      client.emit('notice', { ...warned, routine: 'restrict_and_check_grant' } as never);
      return query(sql);
    }) as never);
    await expect(session.run([{ sql: 'SELECT 1', text: 'SELECT 1' }], 'single')).rejects.toThrow(/keine Privilegien/);
    jest.restoreAllMocks();
    await client.end();
  });

  test.each(VERSIONS)(
    'case 55: a membership that was not there to be revoked is heard on PostgreSQL %i',
    async (version) => {
      const other = await startServer({ version });
      await other.query(['CREATE ROLE team', 'CREATE ROLE bystander']);
      const client = await other.connect();
      const session = new Session(client, 'postgres', { reads: 0, writes: 0 });
      const sql = 'REVOKE team FROM bystander';
      await expect(session.run([{ sql, text: sql }], 'single')).rejects.toMatchObject({ code: '01000' });
      await client.end();
    },
  );

  test('an event trigger of somebody who warns of every GRANT is in nobody’s way, and one that refuses it is named', async () => {
    await legacyApplication(server);
    const body = (raise: string) => `RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE ${raise}; END$$`;
    const on = (name: string) => `CREATE EVENT TRIGGER ${name} ON ddl_command_end EXECUTE FUNCTION public.${name}()`;
    await asSuperuser(
      server,
      [
        `CREATE FUNCTION public.watch() ${body("WARNING 'GRANT seen'")}`,
        `CREATE FUNCTION public.refuse() ${body("'not on a Friday'")}`,
        on('watch'),
      ],
      'app',
    );
    expect((await apply(server, declaration())).outcome).toBe('applied');
    await asSuperuser(server, on('refuse'), 'app');
    const more = direct(onTables(['SELECT', 'INSERT']));
    const before = await catalog(server);
    await expect(apply(server, more)).rejects.toThrow(/^grant on .*not on a Friday \(in the database app, at: GRANT/);
    expect(await catalog(server)).toEqual(before);
    await asSuperuser(server, 'DROP EVENT TRIGGER refuse', 'app');
    expect((await apply(server, more)).outcome).toBe('applied');
  });

  test('case 62: a writer needs USAGE of the sequence behind serial, and none for identity', async () => {
    await legacyApplication(server);
    await asOwner(
      server,
      'CREATE TABLE billing.serial (id serial, note text)',
      'CREATE TABLE billing.counted (id int GENERATED ALWAYS AS IDENTITY, note text)',
      'CREATE SEQUENCE billing.free',
    );
    const insert = (table: string) => as(server, 'api', `INSERT INTO billing.${table} (note) VALUES ('x')`);
    const tables = onTables(['SELECT', 'INSERT']);
    await apply(server, direct(tables));
    await insert('counted');
    await expect(insert('serial')).rejects.toThrow(/permission denied for sequence serial_id_seq/);
    const one: DesiredGrant = {
      privileges: ['USAGE'],
      on: { kind: 'sequence', schema: 'billing', name: 'serial_id_seq' },
      to: 'api',
    };
    await apply(server, direct(tables, one));
    await insert('serial');
    expect(await holds(server, "has_sequence_privilege('api', 'billing.free', 'USAGE')")).toBe(false);
    await apply(
      server,
      direct(tables, { privileges: ['USAGE'], on: { kind: 'allSequences', schema: 'billing' }, to: 'api' }),
    );
    expect(await holds(server, "has_sequence_privilege('api', 'billing.free', 'USAGE')")).toBe(true);
    await insert('serial');
  });

  test('a grant on one table is for that table, and the table has to be there', async () => {
    await legacyApplication(server);
    await asOwner(server, 'CREATE TABLE billing.page ()');
    const on = (name: string): DesiredGrant => ({
      privileges: ['SELECT'],
      on: { kind: 'table', schema: 'billing', name },
      to: 'api',
    });
    await apply(server, direct(on('page')));
    expect(await holds(server, "has_table_privilege('api', 'billing.page', 'SELECT')")).toBe(true);
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')")).toBe(false);
    await expect(apply(server, direct(on('pages')))).rejects.toThrow(
      /the table "billing.pages" of the database "app", which does not exist/,
    );
    // From one table to all and back: what the declaration gave, it takes back.
    await apply(server, direct(onTables(['SELECT'])));
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')")).toBe(true);
    await apply(server, direct(on('page')));
    expect(await holds(server, "has_table_privilege('api', 'billing.page', 'SELECT')")).toBe(true);
    expect(await holds(server, "has_table_privilege('api', 'billing.invoice', 'SELECT')")).toBe(false);
  });

  test('case 64: types, languages and parameters keep what they have', async () => {
    await legacyApplication(server);
    await asOwner(
      server,
      'CREATE DOMAIN billing.cents AS int',
      "CREATE TYPE billing.state AS ENUM ('open')",
      'REVOKE USAGE ON TYPE billing.state FROM PUBLIC',
      'GRANT USAGE ON TYPE billing.state TO api',
      'ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT USAGE ON TYPES TO api',
    );
    await asSuperuser(server, 'GRANT SET ON PARAMETER log_statement TO api');
    try {
      const lists = () =>
        server.query(
          `SELECT typname AS name, typacl::text AS acl FROM pg_type WHERE typnamespace = 'billing'::regnamespace
           UNION ALL SELECT lanname, lanacl::text FROM pg_language
           UNION ALL SELECT parname, paracl::text FROM pg_parameter_acl
           UNION ALL SELECT 'default', defaclacl::text FROM pg_default_acl WHERE defaclobjtype = 'T' ORDER BY 1`,
          { database: 'app' },
        );
      const before = await lists();
      await applyAcknowledged(server, declaration());
      expect(await lists()).toEqual(before);
      expect((await apply(server, declaration())).outcome).toBe('unchanged');
    } finally {
      await asSuperuser(server, 'REVOKE ALL ON PARAMETER log_statement FROM api');
    }
  });

  test.each([
    ['USAGE on the schema', [connect], /api has no effective USAGE on the schema billing/],
    ['CONNECT on the database', [usage], /api has no effective CONNECT on the database app/],
  ])('case 66: a grant on tables without %s fails the proof', async (_missing, grants, message) => {
    await legacyApplication(server);
    await asOwner(server, 'REVOKE ALL ON DATABASE app FROM PUBLIC', 'GRANT CONNECT ON DATABASE app TO master');
    const failed = apply(
      server,
      appWith({ grants: [...grants, onTables(['SELECT'])], defaultPrivileges: [] }, { memberships: [] }),
    );
    await expect(failed).rejects.toThrow(ProofError);
    await expect(failed).rejects.toThrow(message);
  });

  test('case 66: a membership that is not inherited makes the grants of its group no access', async () => {
    const inherited = (inherit: boolean) =>
      appWith(
        { grants: [...grantsOf(declaration()), { ...usage, to: 'app_readonly' }] },
        { memberships: [{ role: 'app_readonly', member: 'api', inherit, set: true, admin: false }] },
      );
    const access = async (inherit: boolean) =>
      (await apply(server, inherited(inherit), { access: true })).access.find(({ role }) => role === 'api')?.level;
    expect(await access(true)).toBe('read');
    await asOwner(server, 'CREATE TABLE billing.invoice ()');
    expect(await access(true)).toBe('read');
    expect(await access(false)).toBe('none');
  });

  test('case 14: roles whose names need quotes are granted, found again and taken from', async () => {
    const odd = ['a"b', 'c=d/e', 'F,g h', 'pub lic', 'é'.repeat(31)];
    const state = (privileges: Privilege[]) =>
      appWith(
        {
          grants: odd.flatMap((to) => [{ ...connect, to }, { ...usage, to }, onTables(privileges, to)]),
          defaultPrivileges: odd.map((to) => ({
            creator: 'app_owner',
            schema: 'billing',
            objects: 'tables' as const,
            privileges,
            to,
          })),
        },
        { roles: [...declaration().roles, ...odd.map((name, at) => (at % 2 ? login(name) : group(name)))] },
      );
    await apply(server, state(['SELECT', 'DELETE']));
    await asOwner(server, 'CREATE TABLE billing.invoice ()');
    expect((await apply(server, state(['SELECT', 'DELETE']))).plan.steps).toEqual([]);
    const narrowed = await apply(server, state(['SELECT']));
    expect(narrowed.plan.withheld).toEqual([]);
    for (const role of odd) {
      const quoted = role.replace(/'/g, "''");
      expect(await holds(server, `has_table_privilege('${quoted}', 'billing.invoice', 'SELECT')`)).toBe(true);
      expect(await holds(server, `has_table_privilege('${quoted}', 'billing.invoice', 'DELETE')`)).toBe(false);
    }
  });
});
