import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { DesiredState } from '../../../lib/contract';
import { reconcile } from '../../../lib/runtime/reconcile';
import { isRetryable } from '../../../lib/runtime/reconcile/apply';
import { startRelay } from '../../support/relay';
import { freshServer, startServer, TestServer } from '../../support/postgres';
import { catalog } from './catalog';
import { declaration, login } from './declaration';
import { apply, plan } from './runs';

const LOCK = [0x63646b70, 0x6c6f636b];
const VERSIONS = [16, 17, 18] as const;

/** Roles alone, which makes a run short. */
const rolesOnly = (names: string[], changes: Partial<DesiredState> = {}) =>
  declaration({ roles: names.map((name) => login(name)), memberships: [], settings: [], databases: [], ...changes });

const sessionsOfRuns = (server: TestServer) =>
  server.query<{ pid: number; query: string }>(
    "SELECT pid, query FROM pg_stat_activity WHERE application_name = 'cdk-postgres' AND wait_event_type = 'Lock'",
    { superuser: true },
  );

async function inTransaction(server: TestServer, sql: string, superuser = false): Promise<Client> {
  const client = await server.connect({ superuser });
  await client.query('BEGIN');
  await client.query(sql);
  return client;
}

async function commit(client: Client): Promise<void> {
  await client.query('COMMIT');
  await client.end();
}

describe.each(VERSIONS)('PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  beforeEach(() => server.reset());

  test('case 1: another tool changes the same role at the same moment', async () => {
    await apply(server, rolesOnly(['api']));
    const other = await inTransaction(server, "ALTER ROLE api SET work_mem = '5MB'");
    const state = rolesOnly(['api'], { settings: [{ role: 'api', name: 'statement_timeout', values: ['1s'] }] });
    const run = apply(server, state);
    await server.whenBlocked();
    await commit(other);
    expect((await run).outcome).toBe('applied');
    expect(server.log()).toMatch(/tuple concurrently updated|could not serialize|duplicate key/); // so the trap was there
    const [row] = await server.query("SELECT setconfig FROM pg_db_role_setting WHERE setrole = 'api'::regrole");
    expect(row.setconfig).toEqual(['work_mem=5MB', 'statement_timeout=1s']);
  });

  test('case 1: another tool creates the same role at the same moment', async () => {
    const other = await inTransaction(server, 'CREATE ROLE api LOGIN');
    const run = apply(server, rolesOnly(['api', 'report']));
    await server.whenBlocked();
    await commit(other);
    expect((await run).outcome).toBe('applied');
    expect(server.log()).toContain('duplicate key value violates unique constraint "pg_authid_rolname_index"');
    expect((await apply(server, rolesOnly(['api', 'report']))).statements.writes).toBe(0);
  });

  test('case 1: another tool grants on the same schema and database again and again', async () => {
    await apply(server, declaration());
    let stop = false;
    const hammer = async (database: string, ...statements: string[]) => {
      const client = await server.connect({ superuser: true, database });
      while (!stop) for (const sql of statements) await client.query(sql).catch(() => undefined);
      await client.end();
    };
    await server.query('CREATE ROLE bystander');
    const hammers = [
      hammer('app', 'GRANT USAGE ON SCHEMA billing TO bystander', 'REVOKE USAGE ON SCHEMA billing FROM bystander'),
      hammer('postgres', 'GRANT TEMP ON DATABASE app TO bystander', 'REVOKE TEMP ON DATABASE app FROM bystander'),
      hammer('postgres', 'ALTER ROLE api SET work_mem = 64', 'ALTER ROLE api RESET work_mem'),
    ];
    try {
      for (let round = 0; round < 5; round++) {
        const [app] = declaration().databases;
        const more = round % 2 === 0;
        const state = declaration({
          settings: [{ role: 'api', name: 'statement_timeout', values: [`${round + 1}s`] }],
          databases: [
            {
              ...app,
              grants: [
                ...app.grants,
                ...(more
                  ? [
                      {
                        privileges: ['CREATE' as const],
                        on: { kind: 'schema' as const, schema: 'billing' },
                        to: 'api',
                      },
                      { privileges: ['USAGE' as const], on: { kind: 'schema' as const, schema: 'billing' }, to: 'api' },
                      { privileges: ['TEMPORARY' as const], on: { kind: 'database' as const }, to: 'api' },
                    ]
                  : []),
              ],
            },
          ],
        });
        expect((await apply(server, state)).outcome).toBe('applied');
      }
    } finally {
      stop = true;
      await Promise.all(hammers);
    }
  });

  test('cases 2, 6: eight runs at once: one does the work, seven find nothing to do', async () => {
    const reports = await Promise.all(Array.from({ length: 8 }, () => apply(server, declaration())));
    const outcomes = reports.map((report) => report.outcome).sort();
    expect(outcomes).toEqual(['applied', ...Array.from({ length: 7 }, () => 'unchanged')]);
    for (const report of reports) if (report.outcome === 'unchanged') expect(report.statements.writes).toBe(0);
    const [{ runs }] = await server.query('SELECT count(*)::int AS runs FROM cdk_postgres.run');
    expect(runs).toBe(1);
  });

  test('cases 2, 6: eight states at once on one server', async () => {
    const states = Array.from({ length: 8 }, (_, n) =>
      rolesOnly([`role_${n}`], {
        name: `state ${n}`,
        memberships: [{ role: 'pg_read_all_data', member: `role_${n}`, inherit: true, set: false, admin: false }],
        settings: [{ role: `role_${n}`, name: 'work_mem', values: [`${n + 1}MB`] }],
      }),
    );
    const reports = await Promise.all(states.map((state) => apply(server, state)));
    expect(reports.map((report) => report.outcome)).toEqual(states.map(() => 'applied'));
    for (const state of states) expect((await apply(server, state)).outcome).toBe('unchanged');
  });
});

describe('sessions, on PostgreSQL 18', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version: 18 });
  });
  beforeEach(() => server.reset());

  test('case 2: the lock is taken in the admin database and nowhere else', async () => {
    await server.query('CREATE DATABASE elsewhere');
    const elsewhere = await server.connect({ database: 'elsewhere' });
    await elsewhere.query('SELECT pg_advisory_lock($1, $2)', LOCK);
    expect((await apply(server, rolesOnly(['api']))).outcome).toBe('applied');
    await elsewhere.end();
  });

  test('case 2: a plan takes no lock, and a run that is under way does not hold it up', async () => {
    const holder = await server.connect();
    await holder.query('SELECT pg_advisory_lock($1, $2)', LOCK);
    expect((await plan(server, rolesOnly(['api']))).plan.steps).toHaveLength(1);
    await holder.end();
  });

  test('case 3: waiting for the lock is bounded, and says who holds it', async () => {
    await server.query('CREATE DATABASE elsewhere');
    const elsewhere = await server.connect({ database: 'elsewhere' });
    await elsewhere.query('SELECT pg_advisory_lock($1, $2)', LOCK);
    const holder = await server.connect();
    await holder.query("SET application_name = 'the other deployment'");
    await holder.query('SELECT pg_advisory_lock($1, $2)', LOCK);
    const { rows } = await holder.query('SELECT pg_backend_pid() AS pid');
    const told: string[] = [];
    const run = apply(server, rolesOnly(['api']), {
      deadline: Date.now() + 1_000,
      onProgress: (message) => told.push(message),
    });
    await expect(run).rejects.toThrow(
      new RegExp(`process ${rows[0].pid} of the role master \\(the other deployment\\), connected since \\d{4}-.* UTC`),
    );
    expect(told.filter((message) => message.includes('the other deployment'))).toHaveLength(1);
    expect(await server.query("SELECT FROM pg_roles WHERE rolname = 'api'")).toEqual([]);
    await holder.end();
    await elsewhere.end();
  });

  test('case 3: a holder whose session may not be looked at is still named by its process', async () => {
    const plain = await startServer({ version: 18, flavour: 'plain' });
    const holder = await plain.connect({ superuser: true });
    await holder.query('SELECT pg_advisory_lock($1, $2)', LOCK);
    const { rows } = await holder.query('SELECT pg_backend_pid() AS pid');
    const failure = await apply(plain, rolesOnly(['api']), { deadline: Date.now() + 500 }).catch((e: Error) => e);
    expect((failure as Error).message).toContain(`process ${rows[0].pid} of the role`);
    expect((failure as Error).message).not.toContain('null');
    await holder.end();
  });

  test('case 3: the next run goes on as soon as the holder is gone', async () => {
    const holder = await server.connect();
    await holder.query('SELECT pg_advisory_lock($1, $2)', LOCK);
    const run = apply(server, rolesOnly(['api']), {
      onProgress: (message) => message.startsWith('waiting') && void holder.end(),
    });
    expect((await run).outcome).toBe('applied');
  });

  test('case 4: a pooler in front of the server is refused before anything is written', async () => {
    const honest = await startRelay(server.port);
    const state = rolesOnly(['api']);
    const planned = await reconcile(state, server.connection({ port: honest.port }), { mode: 'plan' });
    expect(planned.plan.steps).toHaveLength(1); // so a relay alone is no reason
    await honest.close();
    const pooler = await startRelay(server.port, { processId: 4711 });
    const run = reconcile(state, server.connection({ port: pooler.port }), { mode: 'apply' });
    await expect(run).rejects.toThrow(/is a pooler or proxy.*writer endpoint/);
    expect(pooler.statements.filter((sql) => /\b(CREATE|ALTER|GRANT|advisory)\b/i.test(sql))).toEqual([]);
    await pooler.close();
  });

  test('case 5: a standby is refused until it is promoted', async () => {
    const original = await freshServer({ version: 18 });
    const standby = await original.copy({ hot_standby: 'on' }, { standby: true });
    const state = rolesOnly(['api']);
    await expect(apply(standby, state)).rejects.toThrow(/is read-only.*writer endpoint/);
    let promoted: Promise<unknown> | undefined;
    const run = apply(standby, state, {
      onProgress: () => (promoted ??= standby.query('SELECT pg_promote()', { superuser: true })),
    });
    expect((await run).outcome).toBe('applied');
    await promoted;
    await standby.stop();
    await original.stop();
  });

  test('case 5: a session that is terminated in the middle begins anew', async () => {
    const killed: string[] = [];
    const other = await inTransaction(server, 'CREATE ROLE api LOGIN', true);
    const run = apply(server, rolesOnly(['api']), { onProgress: (message) => killed.push(message) });
    await server.whenBlocked();
    await other.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cdk-postgres'");
    await other.query('ROLLBACK');
    await other.end();
    expect((await run).outcome).toBe('applied');
    expect(killed.join()).toMatch(/the connection was lost, and the run begins anew/);
    expect((await apply(server, rolesOnly(['api']))).statements.writes).toBe(0);
  });

  /** A run of whom only the server's half is left: its process is gone, and one of its statements waits for somebody's lock. */
  async function killedRun(state: DesiredState): Promise<{ readonly pid: number; readonly sql: string }> {
    const relay = await startRelay(server.port);
    const run = reconcile(state, server.connection({ port: relay.port }), { mode: 'apply', identity: 'the server' });
    run.catch(() => undefined);
    const left = await server.whenBlocked();
    await relay.close();
    await expect(run).rejects.toThrow();
    return { pid: left.pid, sql: left.query };
  }

  test('case 7: a run that was killed keeps neither the lock nor half of its work', async () => {
    const state = rolesOnly(['another', 'api']);
    const other = await inTransaction(server, 'CREATE ROLE api LOGIN');
    const left = await killedRun(state);
    expect(left.sql).toMatch(/CREATE ROLE "another".*CREATE ROLE "api"/s);
    // The server notices by itself; nothing of the transaction has been seen or will be.
    while ((await sessionsOfRuns(server)).some(({ pid }) => pid === left.pid)) await sleep(50);
    expect(await server.query("SELECT FROM pg_roles WHERE rolname IN ('another', 'api')")).toEqual([]);
    await other.query('ROLLBACK');
    await other.end();
    const next = await apply(server, state, { identity: 'the server' });
    expect(next.plan.steps.map(({ object }) => object)).toEqual(['role another', 'role api']);
    expect(next.plan.withheld).toEqual([]);
    expect(await server.query('SELECT outcome FROM cdk_postgres.run')).toEqual([{ outcome: 'applied' }]);
  });

  test('case 7: the one statement outside of a transaction goes on without its run, and the next one takes it from there', async () => {
    // CREATE DATABASE wants a lock on its template that nobody has who changes it.
    const other = await inTransaction(server, "COMMENT ON DATABASE template1 IS 'held'", true);
    const left = await killedRun(declaration());
    expect(left.sql).toMatch(/^CREATE DATABASE "app"/);
    expect(await server.query("SELECT FROM pg_database WHERE datname = 'app'")).toEqual([]);
    await other.query('ROLLBACK');
    await other.end();
    const next = await apply(server, declaration(), { identity: 'the server' });
    expect(next.plan.steps.map(({ object }) => object)).not.toContain('database app');
    expect(next.plan.steps.map(({ object }) => object)).toContain('schema billing');
    expect(next.plan.withheld).toEqual([]);
    const origins = await server.query('SELECT DISTINCT origin, established FROM cdk_postgres.object');
    expect(origins).toEqual([{ origin: 'created', established: true }]);
    const runs = await server.query('SELECT outcome FROM cdk_postgres.run ORDER BY id');
    expect(runs).toEqual([{ outcome: 'interrupted' }, { outcome: 'applied' }]);
    expect((await apply(server, declaration(), { identity: 'the server' })).statements.writes).toBe(0);
  });

  test('case 7: nothing but CREATE DATABASE is run outside of a transaction', async () => {
    const { plan: planned } = await plan(server, declaration());
    const outside = planned.steps.filter(({ transactional }) => !transactional);
    expect(outside.flatMap(({ statements }) => statements.map(({ sql }) => sql))).toEqual([
      'CREATE DATABASE "app" OWNER "app_owner"',
    ]);
    let open = false;
    const alone: string[] = [];
    const statements = await server.recordStatements(() => apply(server, declaration()));
    for (const { sql, database } of statements.filter((statement) => statement.database === 'postgres')) {
      if (sql === 'BEGIN') open = true;
      else if (sql === 'COMMIT') open = false;
      else if (!open && !/^\s*(SELECT|WITH|SET)\b/i.test(sql)) alone.push(`${database}: ${sql}`);
    }
    expect(alone).toEqual(['postgres: CREATE DATABASE "app" OWNER "app_owner"']);
  });

  test('case 8: what the master, the database and the server bring along changes nothing', async () => {
    await apply(server, declaration());
    const wanted = await catalog(server);
    await server.reset();
    await server.query(
      [
        'CREATE ROLE somebody',
        'GRANT somebody TO master WITH SET TRUE, INHERIT FALSE',
        'CREATE SCHEMA evil',
        `CREATE FUNCTION evil.pg_try_advisory_lock(int, int) RETURNS bool LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$`,
        `CREATE FUNCTION evil.has_table_privilege(oid, oid, text) RETURNS bool LANGUAGE sql AS 'SELECT true'`,
        'CREATE TABLE evil.pg_roles (rolname name)',
        'GRANT USAGE ON SCHEMA evil TO PUBLIC',
        'ALTER ROLE master SET role = somebody',
        'ALTER ROLE master SET search_path = evil, pg_catalog',
        "ALTER ROLE master SET createrole_self_grant = 'set, inherit'",
        'ALTER ROLE master SET standard_conforming_strings = off',
        "ALTER ROLE master SET DateStyle = 'SQL, DMY'",
        "ALTER ROLE master SET TimeZone = 'Asia/Kolkata'",
        "ALTER ROLE master SET client_encoding = 'LATIN1'",
        'ALTER ROLE master SET default_transaction_read_only = on',
        "ALTER ROLE master SET default_transaction_isolation = 'serializable'",
        'ALTER ROLE master SET statement_timeout = 500',
        'ALTER ROLE master SET client_min_messages = error',
        'ALTER ROLE master SET row_security = off',
        'ALTER ROLE master SET idle_session_timeout = 1000',
        'ALTER ROLE master SET quote_all_identifiers = on',
        'ALTER ROLE master SET exit_on_error = on',
        'ALTER ROLE master SET transaction_timeout = 1000',
      ],
      { superuser: true },
    );
    expect((await apply(server, declaration())).outcome).toBe('applied');
    expect((await apply(server, declaration())).statements.writes).toBe(0);
    await server.query('ALTER ROLE master RESET ALL', { superuser: true });
    const rest = [...(await catalog(server))].filter((line) => !line.includes('somebody') && !line.includes('evil'));
    expect(new Set(rest)).toEqual(wanted);
  });

  test('case 9: a run that loses its connection after any statement is completed by the next', async () => {
    await apply(server, declaration());
    const wanted = await catalog(server);
    await server.reset();
    for (let cutAt = 1; ; cutAt++) {
      let wasCut = false;
      const relay = await startRelay(server.port, {
        onStatement: (_, number) => (number === cutAt ? ((wasCut = true), 'cut') : 'pass'),
      });
      // A deadline this near leaves no time to begin anew.
      const run = reconcile(declaration(), server.connection({ port: relay.port }), {
        mode: 'apply',
        identity: 'the server',
        deadline: Date.now() + 4_900,
      });
      const failure = await run.then(
        () => undefined,
        (error: Error) => error,
      );
      await relay.close();
      if (!wasCut) {
        expect(failure).toBeUndefined();
        expect(cutAt).toBeGreaterThan(20);
        break;
      }
      // Goodbye is said before the last words are heard, so only a cut in the last statements may go unnoticed.
      if (failure) expect(failure.message).toMatch(/127\.0\.0\.1:\d+|Connection terminated|connection error/);
      const next = await apply(server, declaration(), { identity: 'the server' });
      expect(next.plan.withheld).toEqual([]);
      expect(await catalog(server)).toEqual(wanted);
      const origins = await server.query('SELECT DISTINCT origin, established FROM cdk_postgres.object');
      expect(origins).toEqual([{ origin: 'created', established: true }]);
      expect((await apply(server, declaration(), { identity: 'the server' })).statements.writes).toBe(0);
      await server.reset();
    }
  }, 600_000);

  test('case 106: a run whose time is over starts nothing more, says how far it came, and the next does the rest', async () => {
    const messages: string[] = [];
    const run = reconcile(declaration(), server.connection(), {
      mode: 'apply',
      get deadline() {
        return messages.includes('postgres: database app') ? 0 : Infinity;
      },
      onProgress: (message) => messages.push(message),
    });
    await expect(run).rejects.toThrow(
      /the time of this run is over before .*; [1-9] of [1-9] groups of steps are done and stay, and the next run does the rest/,
    );
    expect(await server.query("SELECT FROM pg_database WHERE datname = 'app'")).toHaveLength(1);
    expect(await server.query("SELECT FROM pg_namespace WHERE nspname = 'billing'", { database: 'app' })).toEqual([]);
    const next = await apply(server, declaration());
    expect(next.plan.steps.map(({ object }) => object)).toContain('schema billing');
    expect(next.plan.steps.map(({ object }) => object)).not.toContain('database app');
    expect(next.plan.withheld).toEqual([]);
    const runs = await server.query('SELECT outcome FROM cdk_postgres.run ORDER BY id');
    expect(runs).toEqual([{ outcome: 'failed' }, { outcome: 'applied' }]);
  });

  test('case 9: a refused step names what was done before, and the next run does the rest', async () => {
    await server.query(
      `CREATE FUNCTION public.stop_it() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'not today'; END$$`,
      { superuser: true, database: 'template1' },
    );
    await server.query(
      "CREATE EVENT TRIGGER stop_it ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA') EXECUTE FUNCTION public.stop_it()",
      {
        superuser: true,
        database: 'template1',
      },
    );
    const failure = (await apply(server, declaration()).catch((error: Error) => error)) as Error;
    expect(failure.message).toMatch(/schema billing: not today \(in the database app, at: CREATE SCHEMA "billing"\)/);
    await server.query('DROP EVENT TRIGGER stop_it', { superuser: true, database: 'template1' });
    await server.query('DROP FUNCTION public.stop_it()', { superuser: true, database: 'template1' });
    await server.query('DROP EVENT TRIGGER stop_it', { superuser: true, database: 'app' });
    const next = await apply(server, declaration());
    expect(next.plan.steps.map((step) => step.object)).toContain('schema billing');
    expect(next.plan.steps.map((step) => step.object)).not.toContain('role api');
    expect(next.plan.withheld).toEqual([]);
    const runs = await server.query('SELECT outcome FROM cdk_postgres.run ORDER BY id');
    expect(runs.map(({ outcome }) => outcome)).toEqual(['failed', 'applied']);
  });
});

test('case 1: what another tool was faster with is known in whatever language the server speaks', () => {
  const raised = (constraint: string) => ({
    code: '23505',
    message: `doppelter Schlüsselwert verletzt Unique-Constraint »${constraint}«`,
    constraint,
  });
  expect(isRetryable(raised('pg_authid_rolname_index'))).toBe(true);
  expect(isRetryable(raised('state_pkey'))).toBe(false);
});
