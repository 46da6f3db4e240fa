import * as fs from 'node:fs';
import * as path from 'node:path';
import { DesiredExtension, DesiredState } from '../../../lib/contract';
import { prepareBinaries } from '../../../lib/runtime/preview/binaries';
import { freshServer, startServer, TestServer, TestVersion, VERSIONS } from '../../support/postgres';
import { declaration, role } from './declaration';
import { objectRow, origins } from './ledger-rows';
import { apply, applyAcknowledged, appWith, asOwner, asSuperuser, legacyApplication, plan, sqlOf } from './runs';

const withExtensions = (...extensions: DesiredExtension[]): DesiredState => appWith({ extensions });

interface Row {
  readonly name: string;
  readonly version: string;
  readonly schema: string;
  readonly owner: string;
}

async function installed(server: TestServer): Promise<Row[]> {
  return server.query<Row>(
    `SELECT extname AS name, extversion AS version, extnamespace::regnamespace::text AS schema, extowner::regrole::text AS owner
     FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1`,
    { database: 'app' },
  );
}

/** With an extension of the test's own among those that the server has. */
async function withControlFile(
  version: TestVersion,
  name: string,
  lines: string,
  body: () => Promise<void>,
): Promise<void> {
  const directory = path.join(prepareBinaries(version, process.cwd()).directory, 'share/postgresql/extension');
  const files = [path.join(directory, `${name}.control`), path.join(directory, `${name}--1.sql`)];
  fs.writeFileSync(files[0], `default_version = '1'\nsuperuser = false\n${lines}\n`, { mode: 0o644 });
  fs.writeFileSync(files[1], 'CREATE FUNCTION one() RETURNS int LANGUAGE sql RETURN 1;\n', { mode: 0o644 });
  try {
    await body();
  } finally {
    files.forEach((file) => fs.rmSync(file));
  }
}

describe.each(VERSIONS)('extensions on PostgreSQL %d', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(() => server.reset());

  test('SEC-23: a trusted extension is made by the owner of the database, where it is declared to be, and found unchanged', async () => {
    const state = withExtensions({ name: 'pg_trgm', schema: 'billing', version: '1.6' }, { name: 'hstore' });
    await apply(server, state);
    expect(await installed(server)).toEqual([
      { name: 'hstore', version: '1.8', schema: 'public', owner: 'app_owner' },
      { name: 'pg_trgm', version: '1.6', schema: 'billing', owner: 'app_owner' },
    ]);
    expect(await origins(server)).toEqual(
      expect.arrayContaining(['extension app.hstore: created', 'extension app.pg_trgm: created']),
    );
    expect(await apply(server, state)).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
  });

  test('one is updated although its owner may create nothing in the database any more', async () => {
    await apply(server, withExtensions());
    await server.query(['CREATE ROLE elder', 'GRANT elder TO master WITH SET TRUE']);
    await asOwner(server, 'GRANT CREATE ON DATABASE app TO elder', 'GRANT CREATE ON SCHEMA billing TO elder');
    await server.query(['SET ROLE elder', "CREATE EXTENSION pg_trgm SCHEMA billing VERSION '1.5'"], {
      database: 'app',
    });
    await asOwner(server, 'REVOKE CREATE ON DATABASE app FROM elder');
    await applyAcknowledged(server, withExtensions({ name: 'pg_trgm', version: '1.6' }));
    expect(await installed(server)).toMatchObject([{ name: 'pg_trgm', version: '1.6', owner: 'elder' }]);
    expect((await asSuperuser(server, "SELECT has_database_privilege('elder', 'app', 'CREATE') AS may"))[0].may).toBe(
      false,
    );
  });

  test('one goes into a database that exists already', async () => {
    await apply(server, withExtensions());
    const report = await apply(server, withExtensions({ name: 'citext' }));
    expect(sqlOf(report.plan.steps)).toEqual(['CREATE EXTENSION "citext" SCHEMA "public"']);
  });

  test('one that another one requires comes first, whatever the order of their names', async () => {
    await withControlFile(version, 'a_needs_cube', "requires = 'cube'", async () => {
      const report = await apply(server, withExtensions({ name: 'a_needs_cube' }, { name: 'cube', schema: 'billing' }));
      expect(sqlOf(report.plan.steps).filter((sql) => sql.startsWith('CREATE EXTENSION'))).toEqual([
        'CREATE EXTENSION "cube" SCHEMA "billing"',
        'CREATE EXTENSION "a_needs_cube" SCHEMA "public"',
      ]);
    });
  });

  test('one that is required and not declared is refused by name, and never installed by CASCADE', async () => {
    await withControlFile(version, 'needs_cube', "requires = 'cube'", async () => {
      await apply(server, withExtensions());
      await expect(apply(server, withExtensions({ name: 'needs_cube' }))).rejects.toThrow(
        'the extension "needs_cube" of the database "app" requires cube, which is neither declared nor there',
      );
      expect(await installed(server)).toEqual([]);
      await asOwner(server, 'CREATE EXTENSION cube SCHEMA public');
      await apply(server, withExtensions({ name: 'needs_cube' }));
      expect((await installed(server)).map(({ name }) => name)).toEqual(['cube', 'needs_cube']);
    });
  });

  test.each([
    [{ name: 'pg_trigram' }, 'is not available on this server'],
    [{ name: 'pg_trgm', version: '9.9' }, 'is declared with the version 9.9, and this server has 1.3, 1.4, 1.5, 1.6'],
    [{ name: 'pg_trgm', schema: 'nowhere' }, 'the schema "nowhere", which is neither declared nor there'],
    [{ name: 'plpgsql', version: '0.9' }, 'has the version 1.0, and the older 0.9 is declared'],
  ])('%j is refused before anything changes', async (extension, problem) => {
    await apply(server, withExtensions());
    await expect(apply(server, withExtensions({ name: 'citext' }, extension))).rejects.toThrow(problem);
    expect(await installed(server)).toEqual([]);
  });

  test('case 78: a changed schema is refused, with what to do', async () => {
    await apply(server, withExtensions({ name: 'pg_trgm', schema: 'billing' }));
    await expect(apply(server, withExtensions({ name: 'pg_trgm', schema: 'public' }))).rejects.toThrow(
      'is in the schema "billing", and "public" is declared: what it consists of may belong to a superuser, who alone can ALTER EXTENSION "pg_trgm" SET SCHEMA "public"',
    );
    // The negative control of the advice: the server would not let its owner do it.
    await expect(asOwner(server, 'ALTER EXTENSION pg_trgm SET SCHEMA public')).rejects.toThrow('must be owner of');
    await apply(server, withExtensions({ name: 'pg_trgm' }));
  });

  test('case 79: a later version is updated to, an older one and one without a path are refused', async () => {
    await apply(server, withExtensions({ name: 'hstore', version: '1.4' }));
    const report = await apply(server, withExtensions({ name: 'hstore', version: '1.7' }));
    expect(sqlOf(report.plan.steps)).toEqual([`ALTER EXTENSION "hstore" UPDATE TO '1.7'`]);
    expect(await installed(server)).toMatchObject([{ version: '1.7' }]);
    await expect(apply(server, withExtensions({ name: 'hstore', version: '1.6' }))).rejects.toThrow(
      'has the version 1.7, and the older 1.6 is declared',
    );
    await expect(apply(server, withExtensions({ name: 'hstore', version: '2.0' }))).rejects.toThrow(
      'has the version 1.7, from which this server has no update to 2.0',
    );
    // No pin: it stays where it is, though the server's default is another.
    expect(await apply(server, withExtensions({ name: 'hstore' }))).toMatchObject({ outcome: 'unchanged' });
    expect(await installed(server)).toMatchObject([{ version: '1.7' }]);
  });

  test('case 110: a rollback leaves an extension at the version and in the schema to which the failed update brought it', async () => {
    await apply(server, withExtensions({ name: 'hstore', version: '1.7' }));
    await apply(server, withExtensions({ name: 'hstore', version: '1.8' }));
    const earlier = withExtensions({ name: 'hstore', version: '1.7', schema: 'billing' }, { name: 'no_such' });
    await expect(apply(server, earlier)).rejects.toThrow('3 problems');
    const { plan: rolledBack } = await apply(server, earlier, { rollback: true });
    expect(rolledBack.notes.filter((note) => note.endsWith('a rollback leaves it as it is'))).toHaveLength(3);
    expect(await installed(server)).toMatchObject([{ version: '1.8', schema: 'public' }]);
  });

  test('case 80: one that somebody made in between is compared, and not passed over', async () => {
    const state = withExtensions({ name: 'pg_trgm', schema: 'billing', version: '1.6' });
    await apply(server, withExtensions());
    await asOwner(server, "CREATE EXTENSION pg_trgm SCHEMA public VERSION '1.4'");
    await expect(apply(server, state)).rejects.toThrow('is in the schema "public", and "billing" is declared');
  });

  test('one that was there before is taken over as it is, and a pinned version waits for an acknowledgement', async () => {
    await legacyApplication(server);
    await asOwner(server, "CREATE EXTENSION hstore SCHEMA public VERSION '1.4'");
    const state = withExtensions({ name: 'hstore', version: '1.8' });
    const report = await apply(server, state);
    expect(sqlOf(report.plan.withheld)).toContain(`ALTER EXTENSION "hstore" UPDATE TO '1.8'`);
    expect(await installed(server)).toMatchObject([{ version: '1.4' }]);
    expect(await origins(server)).toContain('extension app.hstore: adopted');
    await applyAcknowledged(server, state);
    expect(await installed(server)).toMatchObject([{ version: '1.8' }]);
  });

  test('the pin of one that was taken over is moved by who moves it in the app', async () => {
    await legacyApplication(server);
    await asOwner(server, "CREATE EXTENSION hstore SCHEMA public VERSION '1.4'");
    await apply(server, withExtensions({ name: 'hstore' }));
    await apply(server, withExtensions({ name: 'hstore', version: '1.8' }));
    expect(await installed(server)).toMatchObject([{ version: '1.8' }]);
  });

  test('case 102: one that leaves the declaration stays', async () => {
    await apply(server, withExtensions({ name: 'pg_trgm' }));
    await apply(server, withExtensions());
    expect(await installed(server)).toMatchObject([{ name: 'pg_trgm' }]);
    expect(await objectRow(server, 'pg_trgm')).toMatchObject({ origin: 'created', removed_at: expect.any(Date) });
  });

  test('case 34: a second state that declares the same extension is refused', async () => {
    await apply(server, withExtensions({ name: 'pg_trgm' }));
    await expect(
      apply(server, {
        ...declaration({ name: 'second', roles: [role('x_owner')], memberships: [], settings: [] }),
        databases: [
          { ...withExtensions({ name: 'pg_trgm' }).databases[0], schemas: [], grants: [], defaultPrivileges: [] },
        ],
      }),
    ).rejects.toThrow('the extension "pg_trgm" of the database "app" is managed by the state "test"');
  });

  test.each([
    [
      'moved',
      "UPDATE pg_extension SET extnamespace = 'billing'::regnamespace WHERE extname = 'pg_trgm'",
      'is in the schema "billing"',
    ],
    ['updated', "UPDATE pg_extension SET extversion = '1.5' WHERE extname = 'pg_trgm'", undefined],
    ['dropped', 'DROP EXTENSION pg_trgm', undefined],
  ])('the fingerprint sees one that was %s behind our back', async (_, sql, refused) => {
    const state = withExtensions({ name: 'pg_trgm', schema: 'public', version: '1.6' });
    await apply(server, state);
    expect((await apply(server, state)).outcome).toBe('unchanged');
    await asSuperuser(server, sql, 'app');
    if (refused) return expect(plan(server, state)).rejects.toThrow(refused);
    const { steps, withheld } = (await plan(server, state)).plan;
    expect([...steps, ...withheld].map(({ object }) => object)).toContain('extension pg_trgm');
  });

  test('the master makes it itself where it cannot act as the owner, and is refused without CREATE', async () => {
    await asSuperuser(server, [
      'CREATE ROLE team',
      'CREATE DATABASE app OWNER team',
      'GRANT CREATE, CONNECT ON DATABASE app TO master',
    ]);
    const found = {
      ...withExtensions({ name: 'pg_trgm' }),
      roles: [],
      memberships: [],
      settings: [],
    };
    const state: DesiredState = {
      ...found,
      databases: [
        { ...found.databases[0], owner: 'master', public: 'kept', schemas: [], grants: [], defaultPrivileges: [] },
      ],
    };
    const report = await apply(server, state);
    expect(await installed(server)).toMatchObject([{ name: 'pg_trgm', owner: 'master' }]);
    expect(report.plan.withheld.map(({ object }) => object)).toEqual(['database app']);
    await asSuperuser(server, 'DROP EXTENSION pg_trgm', 'app');
    await asSuperuser(server, 'REVOKE CREATE ON DATABASE app FROM master');
    await expect(apply(server, state)).rejects.toThrow(
      "master can neither act as the database's owner team nor has CREATE",
    );
  });

  test('on a server like RDS the server itself decides on one that is not trusted', async () => {
    await apply(server, withExtensions());
    const state = withExtensions({ name: 'postgres_fdw' });
    const { steps } = (await plan(server, state)).plan;
    expect(steps.flatMap(({ statements }) => statements)).toEqual([
      { sql: 'CREATE EXTENSION "postgres_fdw" SCHEMA "public"' },
    ]);
    await expect(apply(server, state)).rejects.toThrow('permission denied to create extension "postgres_fdw"');
  });

  test('what Amazon RDS does not allow is refused with the name of the parameter', async () => {
    await apply(server, withExtensions());
    // A server that does not know the prefix takes any value of it, as a placeholder.
    await asSuperuser(server, "ALTER DATABASE app SET rds.allowed_extensions = 'citext, pg_trgm'");
    await apply(server, withExtensions({ name: 'citext' }));
    await expect(apply(server, withExtensions({ name: 'hstore' }))).rejects.toThrow(
      'is not in rds.allowed_extensions, which has citext, pg_trgm',
    );
  });
});

describe('a self-managed server', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version: 17, flavour: 'plain' });
  });
  afterEach(() => server.reset());

  test('an extension that is not trusted is refused with what a superuser has to run, and then taken over', async () => {
    const state = withExtensions({ name: 'postgres_fdw' });
    await asSuperuser(server, 'GRANT CREATE ON DATABASE postgres TO master'); // for the ledger
    await apply(server, withExtensions());
    await expect(apply(server, state)).rejects.toThrow(
      'is not a trusted one, and master is no superuser: have a superuser run CREATE EXTENSION "postgres_fdw" SCHEMA "public"',
    );
    await asSuperuser(server, 'CREATE EXTENSION "postgres_fdw" SCHEMA "public"', 'app');
    await apply(server, state);
    expect(await origins(server)).toContain('extension app.postgres_fdw: adopted');
  });
});

describe('libraries that are loaded when the server starts', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await freshServer({ version: 17, settings: { shared_preload_libraries: '' } });
  });
  afterAll(() => server.stop());

  test('SEC-23: an extension without its library is refused with the name of the parameter', async () => {
    await apply(server, withExtensions());
    await expect(apply(server, withExtensions({ name: 'pg_stat_statements' }))).rejects.toThrow(
      'needs pg_stat_statements in the parameter shared_preload_libraries, which is ""',
    );
    await asOwner(server, 'CREATE EXTENSION pg_stat_statements SCHEMA public');
    const report = await apply(server, withExtensions({ name: 'pg_stat_statements' }));
    expect(report.plan.notes).toContainEqual(expect.stringContaining('does not work: it needs pg_stat_statements'));
  });
});

test('an extension that fixes its schema goes there, and nowhere else', async () => {
  const server = await startServer({ version: 18 });
  try {
    await withControlFile(18, 'fixed_place', "schema = 'fixed_home'\nrelocatable = false", async () => {
      await apply(server, withExtensions());
      await expect(apply(server, withExtensions({ name: 'fixed_place', schema: 'billing' }))).rejects.toThrow(
        'is declared in the schema "billing", and goes into "fixed_home" always',
      );
      await apply(server, withExtensions({ name: 'fixed_place' }));
      expect(await installed(server)).toMatchObject([
        { name: 'fixed_place', schema: 'fixed_home', owner: 'app_owner' },
      ]);
    });
  } finally {
    await server.reset();
  }
});
