import { CommentTarget, DesiredState } from '../../../lib/contract';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration } from './declaration';
import { apply, applyAcknowledged, asOwner, asSuperuser, legacyApplication, plan, sqlOf } from './runs';

const ROLE: CommentTarget = { kind: 'role', name: 'api' };
const DATABASE: CommentTarget = { kind: 'database', name: 'app' };
const SCHEMA: CommentTarget = { kind: 'schema', database: 'app', name: 'billing' };

const described = (text = 'what it is for', on = [ROLE, DATABASE, SCHEMA]): DesiredState =>
  declaration({ comments: on.map((target) => ({ on: target, text })) });

/** As \du+, \l+ and \dn+ show them. */
async function comments(server: TestServer): Promise<(string | null)[]> {
  const [row] = await server.query<Record<string, string | null>>(
    `SELECT shobj_description(to_regrole('api'), 'pg_authid') AS a,
            (SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'app') AS b,
            obj_description(to_regnamespace('billing'), 'pg_namespace') AS c`,
    { database: 'app' },
  );
  return [row.a, row.b, row.c];
}

const three = (text: string | null) => [text, text, text];

describe.each(VERSIONS)('comments on PostgreSQL %d', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(() => server.reset());

  test('say what an object is for and who manages it, in the run that makes it, and are found unchanged', async () => {
    await apply(server, described());
    expect(await comments(server)).toEqual(three('what it is for (cdk-postgres: test)'));
    expect(await apply(server, described())).toMatchObject({ outcome: 'unchanged', statements: { writes: 0 } });
    // No transaction more than the steps of a database have anyway.
    const { steps } = (await plan(server, described('other'))).plan;
    expect(steps.map(({ database }) => database)).toEqual(['postgres', 'postgres', 'app']);
  });

  test('follow their text, and go with it', async () => {
    await apply(server, described());
    await apply(server, described('it\'s $1 \\ "new"\n; DROP ROLE api --'));
    expect(await comments(server)).toEqual(three('it\'s $1 \\ "new"\n; DROP ROLE api -- (cdk-postgres: test)'));
    await apply(server, described('only this', [ROLE]));
    expect(await comments(server)).toEqual(['only this (cdk-postgres: test)', null, null]);
    await apply(server, described('', []));
    expect(await comments(server)).toEqual(three(null));
  });

  test('of somebody else on what was there before wait for an acknowledgement', async () => {
    await legacyApplication(server);
    await asOwner(server, "COMMENT ON SCHEMA billing IS 'ask Ann'", "COMMENT ON DATABASE app IS 'ask Ann'");
    await server.query("COMMENT ON ROLE api IS 'ask Ann'");
    await asSuperuser(server, 'GRANT app_readonly, api TO master WITH ADMIN TRUE');
    const report = await apply(server, described());
    expect(await comments(server)).toEqual(three('ask Ann'));
    const waiting = report.plan.withheld.filter(({ object }) => object.startsWith('comment on'));
    expect(waiting.map(({ risk, reason }) => `${risk}: ${reason}`)).toEqual(
      Array(3).fill('narrow: it is "ask Ann", which somebody else wrote'),
    );
    await applyAcknowledged(server, described());
    expect(await comments(server)).toEqual(three('what it is for (cdk-postgres: test)'));
  });

  test('of somebody else stay when the description goes', async () => {
    await apply(server, described());
    await server.query("COMMENT ON ROLE api IS 'ask Bob'");
    await asOwner(server, "COMMENT ON SCHEMA billing IS 'ask Bob'", "COMMENT ON DATABASE app IS 'ask Bob'");
    const report = await apply(server, described('', []));
    expect(sqlOf(report.plan.withheld)).toEqual([]);
    expect(await comments(server)).toEqual(three('ask Bob'));
  });

  test.each([
    ['the role', "COMMENT ON ROLE api IS 'by hand'"],
    ['the database', "COMMENT ON DATABASE app IS 'by hand'"],
    ['the schema', "COMMENT ON SCHEMA billing IS 'by hand'"],
  ])('that somebody changes on %s by hand are seen, and in production not written over unasked', async (_, sql) => {
    await apply(server, described());
    await asSuperuser(server, sql, 'app');
    const { steps, withheld } = (await apply(server, described())).plan;
    expect(steps).toEqual([]);
    expect(withheld.map(({ object }) => object)).toHaveLength(1);
    expect(await comments(server)).toContain('by hand');
    await asSuperuser(server, sql.replace("'by hand'", 'NULL'), 'app');
    await apply(server, described());
    expect(await comments(server)).toEqual(three('what it is for (cdk-postgres: test)'));
  });

  test('on what the master has no power over are withheld by name, and nothing fails', async () => {
    await asSuperuser(server, ['CREATE ROLE api LOGIN', 'CREATE ROLE app_owner', 'CREATE ROLE app_readonly']);
    await asSuperuser(server, 'GRANT app_owner, app_readonly TO master WITH ADMIN TRUE, SET TRUE, INHERIT FALSE');
    const state = { ...described('x', [ROLE]), memberships: [], settings: [] };
    const report = await apply(server, state);
    expect(report.plan.withheld).toMatchObject([
      { object: 'comment on role api', withheld: expect.stringContaining('master has no power to do it') },
    ]);
    expect(report.plan.hash).toBeUndefined();
  });

  test('on the copy of a server are taken over from the state that wrote them there', async () => {
    await apply(server, described(), { identity: 'one' });
    const copy = { ...described('another'), name: 'copy' };
    await apply(server, copy, { identity: 'two' });
    expect(await comments(server)).toEqual(three('another (cdk-postgres: copy)'));
  });
});
