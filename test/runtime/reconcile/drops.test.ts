import { Client } from 'pg';
import { DesiredDrop, DesiredState } from '../../../lib/contract';
import { Step } from '../../../lib/runtime/reconcile';
import { freshServer, startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration, group, login } from './declaration';
import { snapshot, touched } from './laws';
import { objectRow, objectRows } from './ledger-rows';
import { apply, applyAcknowledged, asOwner, asSuperuser, holds, loginAs, plan, sqlOf } from './runs';

const TERMS = { reason: 'over', adopted: false, force: false, cascade: false };
type Changes = Partial<Omit<DesiredDrop, 'kind' | 'name'>>;
const roleDrop = (name: string, changes: Changes = {}): DesiredDrop => ({ ...TERMS, kind: 'role', name, ...changes });
const databaseDrop = (name: string, changes: Changes = {}): DesiredDrop => ({
  ...TERMS,
  kind: 'database',
  name,
  ...changes,
});
const insideDrop = (
  kind: 'schema' | 'extension' | 'publication' | 'subscription' | 'slot',
  name: string,
  changes: Changes = {},
): DesiredDrop => ({ ...TERMS, kind, database: 'app', name, ...changes }) as DesiredDrop;

const base = declaration();
const dropping = (...drops: DesiredDrop[]): DesiredState => declaration({ drops });

/** What a database that was made for a test declares. */
const second = (state: DesiredState): DesiredState => ({
  ...state,
  databases: [
    ...state.databases,
    { ...base.databases[0], name: 'second', schemas: [], grants: [], defaultPrivileges: [] },
  ],
});

const withRoles = (...names: string[]): DesiredState =>
  declaration({ roles: [...base.roles, ...names.map((name) => group(name))] });

const exists = (server: TestServer, role: string) => holds(server, `to_regrole('${role}') IS NOT NULL`, 'postgres');
const reasons = (steps: readonly Step[]) => steps.map(({ reason }) => reason).join('\n');

async function until(server: TestServer, condition: string): Promise<void> {
  while (!(await holds(server, condition))) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe.each(VERSIONS)('drops on PostgreSQL %d', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(() => server.reset());

  test('a role with routines and a publication, whose heir may create neither: it may for that moment alone', async () => {
    await apply(server, withRoles('old', 'heir'));
    await server.query('GRANT old TO master WITH INHERIT FALSE, SET TRUE');
    await asOwner(
      server,
      'GRANT CREATE ON DATABASE app TO old',
      'GRANT CREATE, USAGE ON SCHEMA billing TO old',
      'SET ROLE NONE',
      'SET ROLE old',
      'CREATE FUNCTION billing.its() RETURNS int LANGUAGE sql RETURN 1',
      'CREATE SCHEMA its',
      'CREATE FUNCTION its.own() RETURNS int LANGUAGE sql RETURN 1',
      'CREATE TABLE its.data (id int)',
      'CREATE PUBLICATION its FOR TABLE its.data',
    );
    await applyAcknowledged(server, { ...withRoles('heir'), drops: [roleDrop('old', { reassignTo: 'heir' })] });
    expect(await exists(server, 'old')).toBe(false);
    const owners = `SELECT proowner::regrole::text AS owner FROM pg_proc WHERE proname IN ('its', 'own')
      UNION ALL SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'its' UNION ALL SELECT pubowner::regrole::text FROM pg_publication`;
    expect(await asSuperuser(server, owners, 'app')).toEqual(Array(4).fill({ owner: 'heir' }));
    expect(await holds(server, "has_schema_privilege('heir', 'billing', 'CREATE')")).toBe(false);
    expect(await holds(server, "has_database_privilege('heir', 'app', 'CREATE')")).toBe(false);
    expect(await holds(server, "has_schema_privilege('heir', 'its', 'CREATE')")).toBe(true);
  });

  test('a role that may pass on all that it was given, by an owner from whom the connected role inherits too', async () => {
    await apply(server, withRoles('old'));
    await server.query('GRANT app_owner TO master WITH INHERIT TRUE');
    await asOwner(
      server,
      'CREATE FUNCTION billing."To Tal"(int) RETURNS int LANGUAGE sql RETURN 1',
      'CREATE TABLE billing."In Voice" (id int, "No te" text)',
      'CREATE SEQUENCE billing.tally',
      "CREATE TYPE billing.mood AS ENUM ('good')",
      'GRANT ALL ON FUNCTION billing."To Tal"(int) TO old WITH GRANT OPTION',
      'GRANT ALL ON billing."In Voice" TO old WITH GRANT OPTION',
      'GRANT SELECT ("No te") ON billing."In Voice" TO old WITH GRANT OPTION',
      'GRANT ALL ON SEQUENCE billing.tally TO old WITH GRANT OPTION',
      'GRANT ALL ON TYPE billing.mood TO old WITH GRANT OPTION',
      'GRANT ALL ON SCHEMA billing TO old WITH GRANT OPTION',
      'GRANT ALL ON DATABASE app TO old WITH GRANT OPTION',
    );
    await applyAcknowledged(server, dropping(roleDrop('old')));
    expect(await exists(server, 'old')).toBe(false);
  });

  test('what a creator that nobody declares gives by default stays as effective, although the row of it goes with a dropped role', async () => {
    const rows = () =>
      asSuperuser(server, 'SELECT defaclobjtype FROM pg_default_acl WHERE defaclrole = $$other$$::regrole', 'app');
    const creates = async (name: string) => {
      await asSuperuser(server, ['SET ROLE other', `CREATE TYPE other.${name} AS (a int)`], 'app');
      const privileges = (role: string) => holds(server, `has_type_privilege('${role}', 'other.${name}', 'USAGE')`);
      return [await privileges('public'), await privileges('other')];
    };
    await asSuperuser(server, 'CREATE ROLE other');
    await apply(server, withRoles('old'));
    await asSuperuser(server, 'CREATE SCHEMA other AUTHORIZATION other', 'app');
    for (const what of ['USAGE ON TYPES', 'EXECUTE ON ROUTINES', 'USAGE ON SCHEMAS'])
      await asSuperuser(server, `ALTER DEFAULT PRIVILEGES FOR ROLE other GRANT ${what} TO old`, 'app');
    expect(await rows()).toHaveLength(3);
    const before = await snapshot(server);
    const state = { ...base, drops: [roleDrop('old')] };
    await applyAcknowledged(server, state);
    expect(await exists(server, 'old')).toBe(false);
    expect(await rows()).toEqual([]);
    expect(await creates('later')).toEqual([true, true]);
    const after = await snapshot(server);
    expect(touched(before, after, [withRoles('old'), state])).toEqual([]);
  });

  test('a role that owns a subscription is refused, unless the subscription is dropped before', async () => {
    await apply(server, withRoles('old', 'heir'));
    const subscription = `CREATE SUBSCRIPTION its CONNECTION 'host=127.0.0.1 dbname=none password=none' PUBLICATION p WITH (connect = false, slot_name = NONE)`;
    await asSuperuser(server, [subscription, 'ALTER SUBSCRIPTION its OWNER TO old'], 'app');
    const state = { ...withRoles('heir'), drops: [roleDrop('old', { reassignTo: 'heir' })] };
    await expect(plan(server, state)).rejects.toThrow(
      'the role old cannot be dropped: it owns 1 subscription, whose workers apply changes as it',
    );
    const both = [...state.drops, insideDrop('subscription', 'its', { adopted: true })];
    await applyAcknowledged(server, { ...state, drops: both });
    expect(await exists(server, 'old')).toBe(false);
  });

  /** The role `old` as this state made it, with something of every kind in two databases. */
  async function oldRole(): Promise<void> {
    await apply(server, second(withRoles('old', 'heir', 'grp', 'u1')));
    await server.query(['GRANT old TO master WITH INHERIT FALSE, SET TRUE', 'GRANT grp TO old WITH ADMIN TRUE']);
    await server.query(['SET ROLE old', 'GRANT grp TO u1 WITH INHERIT TRUE, SET FALSE']);
    await asOwner(
      server,
      'CREATE TABLE billing.invoice (id int)',
      'CREATE FUNCTION billing.total() RETURNS int LANGUAGE sql RETURN 1',
      'GRANT CREATE ON DATABASE app TO old',
      'GRANT SELECT ON billing.invoice TO old',
      'GRANT UPDATE (id) ON billing.invoice TO old',
      'GRANT EXECUTE ON FUNCTION billing.total() TO old',
      'GRANT CREATE, USAGE ON SCHEMA billing TO old',
      'GRANT CREATE ON SCHEMA public TO old',
      'ALTER DEFAULT PRIVILEGES IN SCHEMA billing GRANT SELECT ON TABLES TO old',
      'CREATE POLICY shared ON billing.invoice TO old, u1 USING (true)',
      'SET ROLE NONE',
      'SET ROLE old',
      'CREATE TABLE billing.its (id int)',
      'CREATE SCHEMA its',
      'CREATE TABLE its.data (id int)',
      'INSERT INTO its.data SELECT generate_series(1, 100)',
      'CREATE EXTENSION pg_trgm SCHEMA its',
      'ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO u1',
    );
    await server.query(
      [
        'SET ROLE app_owner',
        'GRANT CREATE ON SCHEMA public TO old',
        'SET ROLE NONE',
        'SET ROLE old',
        'CREATE TABLE public.far (id int)',
      ],
      {
        database: 'second',
      },
    );
  }
  const without = (...drops: DesiredDrop[]): DesiredState => ({
    ...second(withRoles('heir', 'grp', 'u1')),
    drops,
  });

  test('case 100: a role is cleared from every database, gives what it owns to its heir, and is gone', async () => {
    await oldRole();
    const state = without(roleDrop('old', { reassignTo: 'heir' }));
    const { withheld, hash } = (await apply(server, state)).plan;
    expect(await exists(server, 'old')).toBe(true);
    expect(hash).toBeDefined();
    const drops = withheld.filter(({ object }) => object === 'drop of role old');
    expect(new Set(drops.map(({ risk }) => risk))).toEqual(new Set(['destructive']));
    expect(drops.map(({ database }) => database)).toEqual(['postgres', 'app', 'second', 'postgres']);
    expect(reasons(drops)).toContain('over; in the database app: heir gets 1 extension, 1 schema, 2 tables');
    expect(reasons(drops)).toContain('its privileges on 3 objects of app_owner go');
    expect(reasons(drops)).toContain('the policy shared on billing.invoice loses it');
    expect(reasons(drops)).toContain('in the database second: heir gets 1 table');

    await applyAcknowledged(server, state);
    expect(await exists(server, 'old')).toBe(false);
    expect(
      await holds(
        server,
        "EXISTS (SELECT FROM pg_class WHERE oid = 'its.data'::regclass AND pg_get_userbyid(relowner) = 'heir')",
      ),
    ).toBe(true);
    expect(
      await holds(
        server,
        "EXISTS (SELECT FROM pg_class WHERE relname = 'far' AND pg_get_userbyid(relowner) = 'heir')",
        'second',
      ),
    ).toBe(true);
    expect(await asOwner(server, 'SELECT polname FROM pg_policy')).toEqual([{ polname: 'shared' }]);
    // No trace of the power that it took.
    expect(
      await server.query(
        "SELECT roleid::regrole::text AS role FROM pg_auth_members WHERE member = 'master'::regrole AND inherit_option AND roleid >= 16384 AND roleid::regrole::text NOT LIKE 'rds%'",
      ),
    ).toEqual([]);
    expect(await objectRow(server, 'old')).toBeUndefined();
    const again = await apply(server, state);
    expect(again).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
  });

  test('case 100: a run that ends between two databases leaves a plan of what is left, which no earlier hash covers', async () => {
    await oldRole();
    const state = without(roleDrop('old', { reassignTo: 'heir' }));
    const { hash } = (await plan(server, state)).plan;
    const cut = apply(server, state, {
      acknowledge: [hash!],
      onProgress: (message) => {
        if (message.startsWith('second:')) throw new Error('killed');
      },
    });
    await expect(cut).rejects.toThrow('killed');
    expect(await exists(server, 'old')).toBe(true);

    // Somebody gives the role more meanwhile, where it was still to be cleared.
    await server.query(['SET ROLE old', 'CREATE TABLE public.later (id int)'], { database: 'second' });
    const left = (await apply(server, state, { acknowledge: [hash!] })).plan;
    expect(await exists(server, 'old')).toBe(true);
    expect(left.hash).not.toBe(hash);
    const drops = left.withheld.filter(({ object }) => object === 'drop of role old');
    expect(drops.map(({ database }) => database)).toEqual(['second', 'postgres']);
    expect(reasons(left.withheld)).toContain('in the database second: heir gets 2 tables');

    await apply(server, state, { acknowledge: [left.hash!] });
    expect(await exists(server, 'old')).toBe(false);
    expect(
      await holds(
        server,
        "(SELECT bool_and(pg_get_userbyid(relowner) = 'heir') FROM pg_class WHERE relname IN ('far', 'later'))",
        'second',
      ),
    ).toBe(true);
  });

  test('case 30: who became a member by the dropped role stays one', async () => {
    await oldRole();
    await applyAcknowledged(server, without(roleDrop('old', { reassignTo: 'heir' })));
    expect(
      await server.query(
        "SELECT grantor::regrole::text AS grantor, inherit_option, set_option, admin_option FROM pg_auth_members WHERE roleid = 'grp'::regrole AND member = 'u1'::regrole",
      ),
    ).toEqual([{ grantor: 'master', inherit_option: true, set_option: false, admin_option: false }]);
  });

  test('case 100: a role that owns something is refused without an heir, with a list', async () => {
    await oldRole();
    await expect(plan(server, without(roleDrop('old')))).rejects.toThrow(
      'the role old cannot be dropped: it owns in app 1 extension, 1 schema, 2 tables; in second 1 table: say who gets that (reassignTo)',
    );
    await expect(plan(server, without(roleDrop('old', { reassignTo: 'nobody' })))).rejects.toThrow(
      'its heir nobody is neither declared nor there',
    );
  });

  test('case 100: a role with something in a database that cannot be entered is refused', async () => {
    await oldRole();
    await asSuperuser(server, 'ALTER DATABASE second ALLOW_CONNECTIONS false');
    const state = { ...without(roleDrop('old', { reassignTo: 'heir' })), databases: base.databases };
    await expect(plan(server, state)).rejects.toThrow('it has something in second, which master cannot enter');
  });

  test('case 84: a policy for the dropped role alone is named, and nothing is dropped', async () => {
    await oldRole();
    await asOwner(server, 'CREATE POLICY only_old ON billing.invoice AS RESTRICTIVE TO old USING (false)');
    await expect(plan(server, without(roleDrop('old', { reassignTo: 'heir' })))).rejects.toThrow(
      'the policy only_old on billing.invoice of the database app is for this role alone and would vanish',
    );
  });

  test.each([
    [
      'privileges from another than the owner',
      [
        'GRANT SELECT ON billing.invoice TO u1 WITH GRANT OPTION',
        'SET ROLE u1',
        'GRANT SELECT ON billing.invoice TO old',
      ],
      'it has privileges on table billing.invoice of the database app from u1, who does not own it',
    ],
    [
      'privileges that it has passed on',
      [
        'GRANT INSERT ON billing.invoice TO old WITH GRANT OPTION',
        'SET ROLE old',
        'GRANT INSERT ON billing.invoice TO u1',
      ],
      'u1 has its privileges on table billing.invoice of the database app from this role, and would lose them',
    ],
  ])('case 101: %s are named, and nothing is dropped', async (_, statements, problem) => {
    await oldRole();
    await asSuperuser(server, ['GRANT USAGE ON SCHEMA billing TO u1', 'SET ROLE app_owner', statements[0]], 'app');
    await asSuperuser(server, statements.slice(1), 'app');
    await expect(plan(server, without(roleDrop('old', { reassignTo: 'heir' })))).rejects.toThrow(problem);
  });

  test('case 101: privileges on what belongs to the server are named, and nothing is dropped', async () => {
    await oldRole();
    await asSuperuser(server, 'GRANT SELECT ON pg_catalog.pg_authid TO old', 'app');
    await expect(plan(server, without(roleDrop('old', { reassignTo: 'heir' })))).rejects.toThrow(
      'master cannot act as rdsadmin, on whose objects it has privileges',
    );
    await asSuperuser(server, 'REVOKE SELECT ON pg_catalog.pg_authid FROM old', 'app');
    await asSuperuser(server, 'GRANT SET ON PARAMETER log_statement TO old', 'app');
    await expect(plan(server, without(roleDrop('old', { reassignTo: 'heir' })))).rejects.toThrow(
      'it has 1 privilege in pg_parameter_acl, which master cannot take back',
    );
  });

  test('case 104: what this state did not make goes only when the app says so', async () => {
    await apply(server, base);
    await server.query('CREATE ROLE theirs');
    await expect(plan(server, dropping(roleDrop('theirs')))).rejects.toThrow(
      'the role theirs was not made by the state "test", and is not dropped for it: say adopted: true',
    );
    const state = dropping(roleDrop('theirs', { adopted: true }));
    await apply(server, state);
    // Waiting for an acknowledgement, it is read anew by each run, and nothing is written.
    expect(await apply(server, state)).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
    await applyAcknowledged(server, state);
    expect(await exists(server, 'theirs')).toBe(false);
  });

  test('case 34: what another state manages is refused', async () => {
    await apply(server, withRoles('old'));
    const other: DesiredState = {
      ...declaration({ name: 'other', roles: [], memberships: [], settings: [], databases: [] }),
      drops: [roleDrop('old', { adopted: true })],
    };
    await expect(apply(server, other)).rejects.toThrow(
      'the role "old" is managed by the state "test", and "other" is to drop it',
    );
  });

  test('a role that somebody else made is refused, with the grant that is missing', async () => {
    await apply(server, base);
    await asSuperuser(server, 'CREATE ROLE theirs');
    await expect(plan(server, dropping(roleDrop('theirs', { adopted: true })))).rejects.toThrow(
      'GRANT "theirs" TO "master" WITH ADMIN OPTION',
    );
  });

  test('a role with a session waits, whoever acknowledges it', async () => {
    await apply(server, declaration({ roles: [...base.roles, login('old')] }));
    const client = await loginAs(server, 'old', 'postgres');
    const state = dropping(roleDrop('old'));
    const { withheld, hash } = (await plan(server, state)).plan;
    expect(withheld.filter(({ risk }) => risk === 'destructive').map(({ withheld: because }) => because)).toEqual([
      'the role has 1 session now: end it first',
    ]);
    expect(hash).toBeUndefined();
    await client.end();
  });

  test('an acknowledgement covers what it named, and not what came after', async () => {
    await oldRole();
    const state = without(roleDrop('old', { reassignTo: 'heir' }));
    const { hash } = (await plan(server, state)).plan;
    await asOwner(server, 'SET ROLE NONE', 'SET ROLE old', 'CREATE TABLE billing.later (id int)');
    await apply(server, state, { acknowledge: [hash!] });
    expect(await exists(server, 'old')).toBe(true);
  });

  test('the development profile waits for an acknowledgement too, and a rollback drops nothing', async () => {
    await apply(server, { ...withRoles('old'), profile: 'development' });
    const state: DesiredState = { ...dropping(roleDrop('old')), profile: 'development' };
    const { hash } = (await apply(server, state)).plan;
    expect(await exists(server, 'old')).toBe(true);
    const report = await apply(server, state, { rollback: true, acknowledge: [hash!] });
    expect(report.plan.notes).toContain('a rollback drops nothing');
    expect(await exists(server, 'old')).toBe(true);
  });

  test('case 52: a database goes with its size in the plan, and with what the ledger says of it', async () => {
    await apply(server, second(base));
    const state = dropping(databaseDrop('second'));
    const { withheld } = (await plan(server, state)).plan;
    expect(reasons(withheld)).toMatch(/^over; the database goes with everything in it; it has \d+ kB$/);
    await applyAcknowledged(server, state);
    expect(await holds(server, "NOT EXISTS (SELECT FROM pg_database WHERE datname = 'second')", 'postgres')).toBe(true);
    expect(
      (await objectRows(server)).filter(({ name, database }) => name === 'second' || database === 'second'),
    ).toEqual([]);
    expect(await apply(server, state)).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
  });

  test('case 52: sessions in a database keep it, unless they may be ended', async () => {
    await apply(server, second(base));
    const client = await server.connect({ database: 'second' });
    const state = dropping(databaseDrop('second'));
    const { withheld, hash } = (await plan(server, state)).plan;
    expect(withheld.map(({ withheld: because }) => because)).toEqual([
      'it has 1 session of others now (master): end them, or say force: true',
    ]);
    expect(hash).toBeUndefined();
    const forced = dropping(databaseDrop('second', { force: true }));
    expect(sqlOf((await plan(server, forced)).plan.withheld)).toEqual([
      "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'second'",
      'DROP DATABASE "second"',
    ]);
    await applyAcknowledged(server, forced);
    await expect(client.query('SELECT 1')).rejects.toThrow();
  });

  test('case 52: slots, subscriptions and prepared transactions in a database are named, and it stays', async () => {
    await apply(server, second(base));
    await asSuperuser(server, "SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')", 'second');
    await asSuperuser(
      server,
      "CREATE SUBSCRIPTION feed CONNECTION 'host=nowhere' PUBLICATION p WITH (connect = false)",
      'second',
    );
    const refused = expect(plan(server, dropping(databaseDrop('second', { force: true })))).rejects;
    await refused.toThrow(/replication slots cdc.*subscriptions feed/s);
    await asSuperuser(
      server,
      [
        'ALTER SUBSCRIPTION feed SET (slot_name = NONE)',
        'DROP SUBSCRIPTION feed',
        "SELECT pg_drop_replication_slot('cdc')",
      ],
      'second',
    );
    await expect(plan(server, dropping(databaseDrop('second')))).resolves.toBeDefined();
  });

  test('the database with the ledger is never dropped', async () => {
    await expect(plan(server, dropping(databaseDrop('postgres', { adopted: true })))).rejects.toThrow(
      'holds the ledger',
    );
  });

  test('a role and the only database with what it owns go together, without an heir', async () => {
    const state = second(withRoles('old'));
    await apply(server, {
      ...state,
      databases: state.databases.map((d) => (d.name === 'second' ? { ...d, owner: 'old' } : d)),
    });
    await server.query(['SET ROLE old', 'CREATE TABLE public.t (id int)'], { database: 'second' });
    await applyAcknowledged(server, dropping(databaseDrop('second'), roleDrop('old')));
    expect(await exists(server, 'old')).toBe(false);
  });

  describe('a schema', () => {
    const withSchema = (): DesiredState => ({
      ...base,
      databases: [
        { ...base.databases[0], schemas: [...base.databases[0].schemas, { name: 'attic', owner: 'app_owner' }] },
      ],
    });

    test('that is empty goes', async () => {
      await apply(server, withSchema());
      await applyAcknowledged(server, dropping(insideDrop('schema', 'attic')));
      expect(await holds(server, "to_regnamespace('attic') IS NULL")).toBe(true);
      expect(await objectRow(server, 'attic')).toBeUndefined();
    });

    test('that has something is refused unless it may cascade, and then all that goes is listed', async () => {
      await apply(server, withSchema());
      await asOwner(
        server,
        'CREATE TABLE attic.box (id int PRIMARY KEY, n serial)',
        "CREATE TYPE attic.mood AS ENUM ('a')",
        'CREATE FUNCTION attic.f() RETURNS int LANGUAGE sql RETURN 1',
        'CREATE TABLE billing.invoice (id int REFERENCES attic.box, m attic.mood)',
        'CREATE VIEW billing.boxes AS SELECT * FROM attic.box',
      );
      await expect(plan(server, dropping(insideDrop('schema', 'attic')))).rejects.toThrow(
        /the schema attic of the database app cannot be dropped: .*table attic\.box.* depend on it; empty it first, or say cascade: true/,
      );
      const state = dropping(insideDrop('schema', 'attic', { cascade: true }));
      const { withheld } = (await plan(server, state)).plan;
      expect(reasons(withheld)).toContain('with it go 1 function, 1 sequence, 1 table, 1 type; and from other places');
      expect(reasons(withheld)).toContain('view billing.boxes');
      expect(reasons(withheld)).toContain('column m of table billing.invoice');
      expect(reasons(withheld)).toContain('constraint invoice_id_fkey on table billing.invoice');
      expect(reasons(withheld)).toMatch(/they have 8192 bytes$/);
      await applyAcknowledged(server, state);
      expect(
        await asOwner(
          server,
          "SELECT attname FROM pg_attribute WHERE attrelid = 'billing.invoice'::regclass AND attnum > 0 AND NOT attisdropped",
        ),
      ).toEqual([{ attname: 'id' }]);
    });

    test('keeps its hash while it grows, since a size is no part of what is acknowledged', async () => {
      await apply(server, withSchema());
      await asOwner(server, 'CREATE TABLE attic.box (id int)');
      const state = dropping(insideDrop('schema', 'attic', { cascade: true }));
      const before = (await plan(server, state)).plan;
      await asOwner(server, 'INSERT INTO attic.box SELECT generate_series(1, 100000)');
      const after = (await plan(server, state)).plan;
      expect(reasons(after.withheld)).not.toBe(reasons(before.withheld));
      expect(after.hash).toBe(before.hash);
    });
  });

  test('an extension goes, and one that something uses is refused with what does', async () => {
    const state = {
      ...base,
      databases: [{ ...base.databases[0], extensions: [{ name: 'pg_trgm', schema: 'billing' }, { name: 'citext' }] }],
    };
    await apply(server, state);
    await asOwner(
      server,
      'CREATE TABLE billing.person (name public.citext, note text)',
      'CREATE INDEX by_note ON billing.person USING gin (note billing.gin_trgm_ops)',
    );
    await expect(plan(server, dropping(insideDrop('extension', 'citext')))).rejects.toThrow(
      'the extension citext of the database app cannot be dropped: column name of table billing.person depend on it; change or drop them first',
    );
    await expect(plan(server, dropping(insideDrop('extension', 'pg_trgm')))).rejects.toThrow('index billing.by_note');
    await asOwner(server, 'DROP INDEX billing.by_note');
    await applyAcknowledged(server, dropping(insideDrop('extension', 'pg_trgm')));
    expect(await holds(server, "NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')")).toBe(true);
  });

  test('a publication goes', async () => {
    await apply(server, base);
    await asOwner(server, 'CREATE TABLE billing.invoice (id int)', 'CREATE PUBLICATION cdc FOR TABLE billing.invoice');
    const state = dropping(insideDrop('publication', 'cdc', { adopted: true }));
    expect(reasons((await plan(server, state)).plan.withheld)).toContain('it publishes 1 tables');
    await applyAcknowledged(server, state);
    expect(await holds(server, 'NOT EXISTS (SELECT FROM pg_publication)')).toBe(true);
  });

  test('case 91: a subscription goes while its publisher is gone, and its slot there is named', async () => {
    await apply(server, base);
    await asSuperuser(
      server,
      [
        "CREATE SUBSCRIPTION feed CONNECTION 'host=127.0.0.1 port=1 password=x' PUBLICATION p WITH (connect = false, slot_name = 'feed_slot')",
        'ALTER SUBSCRIPTION feed ENABLE',
        'GRANT pg_create_subscription TO app_owner',
        'GRANT CREATE ON DATABASE app TO app_owner',
      ],
      'app',
    );
    await asSuperuser(server, "UPDATE pg_subscription SET subowner = 'app_owner'::regrole", 'app');
    const state = dropping(insideDrop('subscription', 'feed', { adopted: true }));
    expect(reasons((await plan(server, state)).plan.withheld)).toContain(
      'its slot feed_slot stays on the publisher and holds WAL',
    );
    await applyAcknowledged(server, state);
    expect(await holds(server, 'NOT EXISTS (SELECT FROM pg_subscription)')).toBe(true);
  });

  test('case 92: a slot goes, and an active one waits', async () => {
    await apply(server, base);
    await asSuperuser(server, 'ALTER ROLE master REPLICATION');
    await server.query("SELECT pg_create_logical_replication_slot('cdc', 'pgoutput')", { database: 'app' });
    const state = dropping(insideDrop('slot', 'cdc', { adopted: true }));
    const consumer = new Client({
      ...server.connection({ database: 'app' }),
      ssl: false,
      replication: 'database',
    } as object);
    await consumer.connect();
    consumer.on('error', () => undefined);
    consumer
      .query("START_REPLICATION SLOT cdc LOGICAL 0/0 (proto_version '1', publication_names 'none')")
      .catch(() => undefined);
    await until(server, 'EXISTS (SELECT FROM pg_replication_slots WHERE active)');
    expect((await plan(server, state)).plan).toMatchObject({
      withheld: [{ withheld: 'its consumer is connected now: stop it first' }],
      hash: undefined,
    });
    await asSuperuser(server, 'SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots');
    await until(server, 'NOT EXISTS (SELECT FROM pg_replication_slots WHERE active)');
    await applyAcknowledged(server, state);
    expect(await holds(server, 'NOT EXISTS (SELECT FROM pg_replication_slots)')).toBe(true);
    await asSuperuser(server, 'ALTER ROLE master NOREPLICATION');
  });

  test('what is in a database that cannot be entered is refused', async () => {
    await apply(server, second(base));
    await asSuperuser(server, 'ALTER DATABASE second ALLOW_CONNECTIONS false');
    const drop = { ...insideDrop('schema', 'x', { adopted: true }), database: 'second' } as DesiredDrop;
    await expect(plan(server, dropping(drop))).rejects.toThrow(
      'the schema x of the database second cannot be dropped, since master cannot enter',
    );
  });

  test('what was dropped and comes back is seen, and does not go by the old acknowledgement', async () => {
    await apply(server, withRoles('old'));
    const state = dropping(roleDrop('old', { adopted: true }));
    await applyAcknowledged(server, state);
    expect((await apply(server, state)).plan.notes).toContain(
      'the role old is not there any more: take its drop out of the app',
    );
    await server.query('CREATE ROLE old');
    expect((await plan(server, state)).plan.withheld.map(({ object }) => object)).toEqual(['drop of role old']);
    for (const sql of ['CREATE SCHEMA back', 'CREATE EXTENSION citext SCHEMA public', 'CREATE PUBLICATION back']) {
      const kind = sql.split(' ')[1].toLowerCase() as 'schema' | 'extension' | 'publication';
      const gone = dropping(insideDrop(kind, kind === 'extension' ? 'citext' : 'back', { adopted: true }));
      await apply(server, gone);
      expect((await apply(server, gone)).outcome).toBe('unchanged');
      await asOwner(server, sql);
      expect((await plan(server, gone)).plan.withheld).toHaveLength(1);
    }
  });
});

test('case 52: prepared transactions in a database are named, and it stays', async () => {
  const server = await freshServer({ version: 17, settings: { max_prepared_transactions: '2' } });
  try {
    await apply(server, second(base));
    await server.query(['BEGIN', "PREPARE TRANSACTION 'half'"], { database: 'second' });
    await expect(plan(server, dropping(databaseDrop('second', { force: true })))).rejects.toThrow(
      'the database second cannot be dropped: it has the prepared transactions half; end them first',
    );
  } finally {
    await server.stop();
  }
});
