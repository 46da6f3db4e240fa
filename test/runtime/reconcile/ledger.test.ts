import { DesiredState } from '../../../lib/contract';
import { knownIdentity } from '../../../bin/known-identity';
import { isRollback } from '../../../lib/runtime/handlers/rollback';
import { handover, RefusedError, release, reconcile } from '../../../lib/runtime/reconcile';
import { LEDGER_VERSION } from '../../../lib/runtime/reconcile/ledger';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration, login, owner, role } from './declaration';
import { objectRow, objectRows, origins, runRows } from './ledger-rows';
import { apply, appWith, asOwner, legacyApplication, plan } from './runs';
import { secretsOf } from './secrets';

describe.each(VERSIONS)('the ledger, PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
  });

  test('says of each object whether it was made or found', async () => {
    await server.query('CREATE ROLE app_readonly');
    await apply(server, declaration());
    expect(await origins(server)).toEqual([
      'database app: created',
      'role api: created',
      'role app_owner: created',
      'role app_readonly: adopted',
      'schema app.billing: created',
    ]);
    expect((await objectRows(server)).every(({ established, state }) => established && state === 'test')).toBe(true);
  });

  test('notes what it is about to make before anything is made', async () => {
    await legacyApplication(server);
    // The run fails at its last group, inside the database, when the roles and their grants are committed.
    await asOwner(server, 'CREATE TABLE billing.other ()');
    await server.query('ALTER TABLE billing.other OWNER TO rdsadmin', { superuser: true, database: 'app' });
    const state = declaration({ roles: [...declaration().roles, login('later')] });
    const failing = appWith(
      {
        grants: [
          ...state.databases[0].grants,
          { privileges: ['SELECT'], on: { kind: 'allTables', schema: 'billing' }, to: 'later' },
        ],
      },
      { roles: state.roles },
    );
    await expect(apply(server, failing)).rejects.toThrow(RefusedError);
    expect(await server.query("SELECT FROM pg_namespace WHERE nspname = 'cdk_postgres'")).toEqual([]);

    await server.query('DROP TABLE billing.other', { superuser: true, database: 'app' });
    await expect(
      apply(server, failing, {
        onProgress: (message) => {
          if (message.startsWith('app:')) throw new Error('killed here');
        },
      }),
    ).rejects.toThrow('killed here');
    expect(await origins(server)).toContain('role later: created');
    expect(await origins(server)).toContain('role api: adopted');
    expect((await objectRow(server, 'later'))?.established).toBe(false);
  });

  test('case 34: the second state that claims an object is refused by name, and changes nothing', async () => {
    await apply(server, declaration());
    const second = declaration({ name: 'other' });
    const refusal = await apply(server, second).catch((error) => error);
    expect(refusal).toBeInstanceOf(RefusedError);
    expect(refusal.problems).toEqual([
      expect.stringContaining('the role "api" is managed by the state "test", and "other" declares it too'),
      expect.stringContaining('the role "app_owner" is managed'),
      expect.stringContaining('the role "app_readonly" is managed'),
      expect.stringContaining('the database "app" is managed'),
      expect.stringContaining('the schema "billing" of the database "app" is managed'),
    ]);
    await expect(plan(server, second)).rejects.toThrow('managed by the state "test"');
    expect((await objectRows(server)).every(({ state }) => state === 'test')).toBe(true);
    expect(await runRows(server)).toHaveLength(1);
    // Two states with nothing in common live side by side.
    await apply(server, { ...second, roles: [role('else')], memberships: [], settings: [], databases: [] });
    expect(await origins(server, 'other')).toEqual(['role else: created']);
  });

  test('case 107: the same state name from another construct takes over, and the earlier one frees nothing', async () => {
    await apply(server, declaration(), { holder: 'stack/Old' });
    expect(await apply(server, declaration(), { holder: 'stack/New' })).toMatchObject({ outcome: 'unchanged' });
    expect(await release('test', server.connection(), 'stack/Old')).toBe('kept');
    await expect(apply(server, declaration({ name: 'other' }))).rejects.toThrow(RefusedError);

    expect(await release('test', server.connection(), 'stack/New')).toBe('released');
    const report = await apply(server, declaration({ name: 'other' }));
    expect(report.outcome).toBe('unchanged');
    // The one that had it sees that it is not its own any more.
    await expect(apply(server, declaration())).rejects.toThrow('managed by the state "other"');
  });

  test('what a state has given up is adopted by the next one, and not made by it', async () => {
    const state = declaration({ profile: 'development' });
    await apply(server, state, { holder: 'a' });
    await release('test', server.connection(), 'a');
    await asOwner(server, 'GRANT CREATE ON SCHEMA billing TO api');
    const { plan: next } = await apply(server, { ...state, name: 'other' });
    expect(next.withheld.map(({ object }) => object)).toEqual(['grant on schema billing to api']);
    expect(await origins(server, 'other')).toContain('role api: adopted');
  });

  test('a released state that comes back disables nothing that it once had', async () => {
    await apply(server, declaration(), { holder: 'a' });
    await release('test', server.connection(), 'a');
    const smaller = declaration({ roles: [owner('app_owner'), role('app_readonly')], memberships: [], settings: [] });
    await apply(server, appWith({ grants: [], defaultPrivileges: [] }, smaller), { holder: 'b' });
    await apply(server, appWith({ grants: [], defaultPrivileges: [], connectionLimit: 50 }, smaller), { holder: 'b' });
    expect(await server.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'api'")).toEqual([
      { rolcanlogin: true },
    ]);
  });

  test('release() without a ledger, or of an unknown state, is no error', async () => {
    expect(await release('test', server.connection(), 'a')).toBe('kept');
    expect(await server.query("SELECT FROM pg_namespace WHERE nspname = 'cdk_postgres'")).toEqual([]);
    await apply(server, declaration(), { holder: 'a' });
    await release('nobody', server.connection(), 'a');
    expect((await objectRow(server, 'api'))?.removed_at).toBeNull();
  });

  describe('case 114: code that is older than the ledger', () => {
    beforeEach(async () => {
      await apply(server, declaration(), { holder: 'a' });
      await server.query([
        'UPDATE cdk_postgres.server SET version = version + 1',
        'ALTER TABLE cdk_postgres.object ADD COLUMN what_is_this jsonb',
        'CREATE TABLE cdk_postgres.something ()',
      ]);
    });
    const changed = declaration({ roles: [...declaration().roles, role('more')] });

    test('answers a rollback with success and changes nothing', async () => {
      const report = await apply(server, changed, { rollback: true });
      expect(report).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
      expect(report.plan.notes[0]).toContain('a rollback changes nothing');
      expect(await server.query("SELECT FROM pg_roles WHERE rolname = 'more'")).toEqual([]);
    });

    test('refuses anything else', async () => {
      await expect(apply(server, changed)).rejects.toThrow(
        /newer version of cdk-postgres .*: deploy with that version/,
      );
      await expect(plan(server, changed)).rejects.toThrow(RefusedError);
      expect(await release('test', server.connection(), 'a')).toBe('kept');
      expect((await objectRow(server, 'api'))?.removed_at).toBeNull();
    });
  });

  test('a ledger of an older version says, after the next run that writes, who has written to it', async () => {
    await apply(server, declaration());
    await server.query('UPDATE cdk_postgres.server SET version = 0');
    await apply(server, declaration({ roles: [...declaration().roles, role('more')] }));
    expect(await server.query('SELECT version, history FROM cdk_postgres.server')).toEqual([
      { version: LEDGER_VERSION, history: [] },
    ]);
  });

  test('a ledger that cannot be read is no ground to write on', async () => {
    await apply(server, declaration());
    await server.query(['CREATE ROLE lesser LOGIN CREATEROLE PASSWORD $$lesser$$']);
    const connection = server.connection({ user: 'lesser', password: 'lesser' });
    const mine = { ...declaration(), roles: [role('mine')], memberships: [], settings: [], databases: [] };
    const refused = await reconcile(mine, connection, { mode: 'apply' }).catch((error: Error) => error);
    const { problems } = refused as RefusedError;
    const remedy = 'connect as master, which owns it, or run as that role';
    expect(problems).toEqual([
      `lesser may not read the ledger, the schema cdk_postgres in the database postgres: ${remedy}: GRANT USAGE ON SCHEMA cdk_postgres TO "lesser"; GRANT SELECT ON ALL TABLES IN SCHEMA cdk_postgres TO "lesser";`,
      `lesser may not write to the ledger, the schema cdk_postgres in the database postgres: ${remedy}: GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA cdk_postgres TO "lesser";`,
    ]);
    const { plan: shown } = await reconcile(mine, connection, { mode: 'plan' });
    expect(shown.notes[0]).toContain('may not read the ledger');
    expect(shown.steps.map(({ object }) => object)).toEqual(['role mine']);

    // What the error says is all that is needed, and one half of it is not.
    const grants = problems.map((problem) => /GRANT .*;/.exec(problem)![0].split('; '));
    await server.query(grants[0].slice(0, 1));
    const half = await reconcile(mine, connection, { mode: 'apply' }).catch((error: Error) => error);
    expect((half as RefusedError).problems[0]).toMatch(/or run as that role: GRANT SELECT ON ALL TABLES/);
    await server.query(grants.flat());
    await expect(reconcile(mine, connection, { mode: 'apply' })).resolves.toMatchObject({ outcome: 'applied' });
  });

  test('a ledger that somebody laid out beforehand runs nothing in the name of the master, and is refused with its owner', async () => {
    await server.query("CREATE ROLE lurker LOGIN PASSWORD 'lurker'");
    await server.query('GRANT CREATE ON DATABASE postgres TO lurker', { superuser: true });
    const lurker = await server.connect({ user: 'lurker', password: 'lurker' });
    const trap = `AS $$BEGIN EXECUTE 'ALTER ROLE lurker CREATEROLE'; RETURN $1; END$$`;
    await lurker.query(`
      CREATE SCHEMA cdk_postgres; GRANT ALL ON SCHEMA cdk_postgres TO PUBLIC;
      CREATE FUNCTION cdk_postgres.trap(text) RETURNS text LANGUAGE plpgsql ${trap};
      CREATE TABLE cdk_postgres.server (only_row bool PRIMARY KEY DEFAULT true, identity text, system_identifier text, version int, since timestamptz, history jsonb);
      CREATE TABLE cdk_postgres.object (kind text, database text, name text, state text, origin text, established bool, since timestamptz, removed_at timestamptz, removed_by text);
      CREATE TABLE cdk_postgres.run (id int, state text, hash text, by_role text, started_at timestamptz, finished_at timestamptz, outcome text, plan jsonb);
      CREATE TABLE cdk_postgres.state (name text, declaration jsonb, hash text, holder text, fingerprint text, remaining jsonb, updated_at timestamptz, requests jsonb);
      INSERT INTO cdk_postgres.server VALUES (true, 'db-0', NULL, 1, now(), '[]'); INSERT INTO cdk_postgres.state VALUES ('test');
      GRANT ALL ON ALL TABLES IN SCHEMA cdk_postgres TO PUBLIC`);
    for (const table of ['server', 'object', 'run', 'state']) {
      await lurker.query(`ALTER TABLE cdk_postgres.${table} ENABLE ROW LEVEL SECURITY`);
      await lurker.query(`CREATE POLICY trap ON cdk_postgres.${table} USING (cdk_postgres.trap('x') = 'x')`);
    }
    const refusal = /belongs to "lurker", who may not administrate this server.*OWNER TO "master"/;
    const state = declaration();
    await expect(apply(server, state)).rejects.toThrow(refusal);
    expect((await plan(server, state)).plan.notes.join()).toMatch(refusal);
    await expect(handover(server.connection(), { from: 'test', to: 'other', subjects: [] })).rejects.toThrow(refusal);
    expect(await release('test', server.connection(), 'a')).toBe('kept');
    expect(await knownIdentity(server.connection())).toBeUndefined();
    const client = await server.connect();
    expect(await isRollback(client, state, undefined)).toBe(false);
    const isCreator = () => server.query("SELECT rolcreaterole AS is FROM pg_roles WHERE rolname = 'lurker'");
    expect(await isCreator()).toEqual([{ is: false }]);
    // The negative control: who reads it runs what its owner likes.
    await client.query('SELECT hash FROM cdk_postgres.state');
    expect(await isCreator()).toEqual([{ is: true }]);
    await client.end();
    await server.query(['ALTER ROLE lurker NOCREATEROLE', 'DROP SCHEMA cdk_postgres CASCADE'], { superuser: true });
    expect((await apply(server, state)).outcome).toBe('applied');
    await lurker.end();
  });

  test('records each run that changed something, with its plan and outcome', async () => {
    await apply(server, declaration());
    await apply(server, declaration());
    await apply(server, declaration({ roles: [...declaration().roles, role('more')] }));
    const runs = await runRows(server);
    expect(runs.map(({ outcome, state, by_role }) => [outcome, state, by_role])).toEqual([
      ['applied', 'test', 'master'],
      ['applied', 'test', 'master'],
    ]);
    expect(runs.every(({ finished_at }) => finished_at instanceof Date)).toBe(true);
    expect(runs[1].plan).toMatchObject([
      { object: 'role more', risk: 'add', statements: [{ sql: 'CREATE ROLE "more" NOLOGIN INHERIT' }] },
    ]);
    // What a first pass brought to light belongs to the run too.
    expect(runs[0].plan.map(({ object }) => object)).toEqual(
      expect.arrayContaining(['database app', 'grant on schema billing to app_readonly']),
    );
  });

  test('a run that failed is recorded as failed', async () => {
    await server.query('CREATE DATABASE app');
    const state = declaration({ roles: declaration().roles });
    await expect(
      apply(server, state, {
        onProgress: (message) => {
          if (message.startsWith('app:')) throw new Error('not now');
        },
      }),
    ).rejects.toThrow('not now');
    expect((await runRows(server)).map(({ outcome }) => outcome)).toEqual(['failed']);
    await apply(server, state);
    expect((await runRows(server)).map(({ outcome }) => outcome)).toEqual(['failed', 'applied']);
  });

  test('case 37: holds neither a password nor a verifier', async () => {
    const state = declaration({ roles: [...declaration().roles, login('app', { authentication: 'password' })] });
    const secrets = secretsOf({ app: 'a-clear-password' });
    await apply(server, state, { secrets });
    await server.query("ALTER ROLE app PASSWORD 'changed by hand'");
    await apply(server, state, { secrets });
    const dump: unknown[] = [];
    for (const table of ['server', 'state', 'object', 'run']) {
      dump.push(await server.query(`SELECT to_jsonb(t)::text AS row FROM cdk_postgres.${table} t`));
    }
    const [{ rolpassword }] = await server.query<{ rolpassword: string }>(
      "SELECT rolpassword FROM pg_authid WHERE rolname = 'app'",
      { superuser: true },
    );
    const text = JSON.stringify(dump);
    expect(text).toContain('SCRAM-SHA-256$…');
    expect(secretsIn(text, ['a-clear-password', rolpassword])).toEqual([]);
    expect(secretsIn(`${text} ${rolpassword}`, ['a-clear-password', rolpassword])).toHaveLength(1);
  });
});

const secretsIn = (text: string, secrets: string[]) =>
  secrets
    .flatMap((secret) => [secret, ...secret.split(/[$:]/).filter((part) => part.length > 20)])
    .filter((part) => text.includes(part))
    .slice(0, 1);

/** What code of the first version finds in a ledger; columns and tables may be added, never changed or taken away. */
const FIRST_SHAPE = [
  'object.database text',
  'object.established boolean',
  'object.kind text',
  'object.name text',
  'object.origin text',
  'object.removed_at timestamp with time zone',
  'object.removed_by text',
  'object.since timestamp with time zone',
  'object.state text',
  'run.by_role text',
  'run.finished_at timestamp with time zone',
  'run.hash text',
  'run.id bigint',
  'run.outcome text',
  'run.plan jsonb',
  'run.started_at timestamp with time zone',
  'run.state text',
  'server.history jsonb',
  'server.identity text',
  'server.only_row boolean',
  'server.since timestamp with time zone',
  'server.system_identifier text',
  'server.version integer',
  'state.declaration jsonb',
  'state.fingerprint text',
  'state.hash text',
  'state.holder text',
  'state.name text',
  'state.remaining jsonb',
  'state.updated_at timestamp with time zone',
];

test('case 114: the shape of the ledger only grows', async () => {
  const server = await startServer({ version: 18 });
  await apply(server, declaration());
  const columns = await server.query<{ line: string }>(
    `SELECT c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) AS line
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
     WHERE c.relnamespace = 'cdk_postgres'::regnamespace AND c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped`,
  );
  const shape = columns.map(({ line }) => line);
  expect(FIRST_SHAPE.filter((line) => !shape.includes(line))).toEqual([]);
});

test('the negative control of the origins: an object that was there before is not taken for a new one', async () => {
  const server = await startServer({ version: 18 });
  const state: DesiredState = { ...declaration(), roles: [role('one')], memberships: [], settings: [], databases: [] };
  await apply(server, state);
  await server.query('DROP ROLE one');
  await apply(server, state);
  expect(await origins(server)).toEqual(['role one: created']);
  await server.query(['DROP ROLE one', 'CREATE ROLE one', 'DELETE FROM cdk_postgres.object']);
  await apply(server, { ...state, acknowledgedPlans: ['0000000000000000'] });
  expect(await origins(server)).toEqual(['role one: adopted']);
});
