import { DesiredMembership, DesiredState } from '../../../lib/contract';
import { RefusedError, Report } from '../../../lib/runtime/reconcile';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog, memberships } from './catalog';
import { declaration, group, login, owner } from './declaration';
import { apply, applyAcknowledged, appWith, as, asSuperuser, grantsOf, holds, plan, sqlOf } from './runs';

const membership = (role: string, member: string, options: Partial<DesiredMembership> = {}): DesiredMembership => ({
  role,
  member,
  inherit: true,
  set: false,
  admin: false,
  ...options,
});

const rolesOnly = (roles: DesiredState['roles'], ...memberships: DesiredMembership[]): DesiredState =>
  declaration({ roles, memberships, settings: [], databases: [] });

/** The plan is refused, and not even a ledger comes of it. */
async function expectRefused(server: TestServer, state: DesiredState, reason: RegExp): Promise<void> {
  const before = await catalog(server);
  const refused = apply(server, state);
  await expect(refused).rejects.toThrow(RefusedError);
  await expect(refused).rejects.toThrow(reason);
  expect(await catalog(server)).toEqual(before);
}

describe.each(VERSIONS)('memberships on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
  });

  test('case 18: what the server gives to the maker of a role is never drift, and no right of the declaration', async () => {
    const state = rolesOnly([login('deployer', { createRole: true }), group('team')]);
    await apply(server, state);
    await asSuperuser(server, "ALTER ROLE deployer PASSWORD 'x'");
    const asDeployer = { user: 'deployer', password: 'x' };
    await server.query('CREATE ROLE child', asDeployer);
    expect(await memberships(server, 'child')).toEqual(['deployer in child by rdsadmin: ADMIN']);
    // Its holder cannot give it up: the server warns and does nothing.
    await server.query('REVOKE child FROM deployer', asDeployer).catch(() => undefined);
    expect(await memberships(server, 'child')).toEqual(['deployer in child by rdsadmin: ADMIN']);
    for (const acknowledge of [[], ['0123456789abcdef']]) {
      const report = await apply(server, state, { acknowledge });
      expect(report).toMatchObject({ outcome: 'unchanged', plan: { steps: [], withheld: [] } });
    }
    // A declared membership of the maker is one besides it.
    await asSuperuser(server, 'GRANT child TO master WITH ADMIN TRUE, INHERIT FALSE, SET FALSE');
    const inheriting = { ...state, memberships: [membership('child', 'deployer')] };
    expect((await apply(server, inheriting)).plan.withheld).toEqual([]);
    expect(await memberships(server, 'child')).toEqual([
      'deployer in child by master: INHERIT',
      'deployer in child by rdsadmin: ADMIN',
      'master in child by rdsadmin: ADMIN',
    ]);
    expect((await apply(server, inheriting)).plan).toMatchObject({ steps: [], withheld: [] });
  });

  test('case 19: the master inherits from an owner within a transaction only, and nobody else sees it', async () => {
    const roles = [...declaration().roles, owner('next_owner')];
    const before: DesiredState = { ...appWith({}, { roles }), profile: 'development' };
    await apply(server, before);
    // A database cannot be given away under SET ROLE: the owner cannot act as the next one.
    await expect(server.query(['SET ROLE app_owner', 'ALTER DATABASE app OWNER TO next_owner'])).rejects.toThrow(
      /must be able to SET ROLE "next_owner"/,
    );
    const looker = await server.connect({ superuser: true });
    const inherits = async () =>
      (
        await looker.query(
          "SELECT FROM pg_auth_members WHERE member = 'master'::regrole AND grantor = member AND inherit_option",
        )
      ).rows.length;
    // Somebody who holds the row of the database stops the run in the middle of that transaction.
    const other = await server.connect({ superuser: true });
    await other.query('BEGIN');
    await other.query('ALTER DATABASE app CONNECTION LIMIT 77');
    const next = { ...before, databases: [{ ...before.databases[0], owner: 'next_owner' }] };
    const running = apply(server, next);
    const stopped = await server.whenBlocked();
    expect(stopped.query).toMatch(
      /GRANT "app_owner" TO CURRENT_USER WITH INHERIT TRUE, SET TRUE;.*ALTER DATABASE "app" OWNER/s,
    );
    expect(await inherits()).toBe(0);
    await other.query('ROLLBACK');
    await other.end();
    let samples = 0;
    let isRunning = true;
    const sampling = (async () => {
      for (; isRunning; samples++) expect(await inherits()).toBe(0);
    })();
    sampling.catch(() => undefined);
    const report = await running;
    isRunning = false;
    await sampling;
    expect(samples).toBeGreaterThan(0);
    expect(report.outcome).toBe('applied');
    expect(await memberships(server, 'app_owner')).toEqual([
      'master in app_owner by master: SET',
      'master in app_owner by rdsadmin: ADMIN',
    ]);
    // The negative control: what is looked for is seen when it is there.
    await server.query('GRANT app_owner TO CURRENT_USER WITH INHERIT TRUE');
    expect(await inherits()).toBe(1);
    await looker.end();
  });

  test('SEC-26: nobody is made an administrator of the whole server, nor the role that applies the state a member', async () => {
    const roles = [login('api'), group('team')];
    await expectRefused(
      server,
      rolesOnly(roles, membership('rds_superuser', 'api')),
      /^the membership of api in rds_superuser is not given: its members administer the whole server/,
    );
    await expectRefused(
      server,
      rolesOnly(roles, membership('team', 'master', { admin: true })),
      /^the membership of master in team cannot be declared: master applies this state/,
    );
    // Who is one already stays one.
    await apply(server, rolesOnly(roles));
    await asSuperuser(server, 'GRANT rds_superuser TO api WITH INHERIT TRUE, SET FALSE');
    expect((await apply(server, rolesOnly(roles, membership('rds_superuser', 'api')))).plan.steps).toEqual([]);
  });

  test('case 22: an owner that is a member of the master is refused, since it could not be granted to it', async () => {
    await asSuperuser(server, [
      'CREATE ROLE app_owner',
      'CREATE ROLE between',
      'GRANT master TO between',
      'GRANT between TO app_owner',
    ]);
    await expect(asSuperuser(server, 'GRANT app_owner TO master')).rejects.toThrow(
      /role "app_owner" is a member of role "master"/,
    );
    await expectRefused(
      server,
      declaration(),
      /role "app_owner" is to own objects, and is itself a member of master.*REVOKE "master" FROM/,
    );
  });

  test.each([
    ['two', [membership('one', 'two'), membership('two', 'one')]],
    ['three', [membership('one', 'two'), membership('two', 'three'), membership('three', 'one', { inherit: false })]],
    ['itself', [membership('one', 'one')]],
    ['what is there', [membership('one', 'found')]],
  ])('case 22: a circle of %s is refused', async (_of, declared) => {
    await server.query(['CREATE ROLE found', 'CREATE ROLE one', 'GRANT found TO one']);
    await expectRefused(
      server,
      rolesOnly([group('one'), group('two'), group('three'), group('found')], ...declared),
      /closes a circle/,
    );
  });

  describe('case 28: the same membership, given by several', () => {
    const secondAdmin = { user: 'second_admin', password: 'second' };
    const state = declaration();
    const without = declaration({ memberships: [] });
    beforeEach(async () => {
      await apply(server, state);
      await server.query([
        "CREATE ROLE second_admin LOGIN CREATEROLE PASSWORD 'second'",
        'GRANT app_readonly TO second_admin WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
      ]);
    });

    test('is taken back from each of them, where a plain REVOKE leaves it', async () => {
      await server.query('GRANT app_readonly TO api WITH INHERIT TRUE, SET FALSE', secondAdmin);
      // The negative control: only one's own row goes that way, with success as the status.
      await server.query('REVOKE app_readonly FROM api');
      expect(await holds(server, "pg_has_role('api', 'app_readonly', 'USAGE')")).toBe(true);

      const report = await apply(server, without);
      expect(report.plan.withheld).toEqual([]);
      expect(sqlOf(report.plan.steps)).toContain('REVOKE "app_readonly" FROM "api" GRANTED BY "second_admin"');
      expect(await holds(server, "pg_has_role('api', 'app_readonly', 'MEMBER')")).toBe(false);
      // Acting as the other administrator was for the moment.
      expect(await memberships(server, 'second_admin')).toEqual(['master in second_admin by rdsadmin: ADMIN']);
      expect(await memberships(server, 'app_readonly')).toContain('second_admin in app_readonly by master: ADMIN');
    });

    test('is there when their rows together are what is declared', async () => {
      await server.query('REVOKE app_readonly FROM api');
      await server.query('GRANT app_readonly TO api WITH INHERIT TRUE, SET FALSE', secondAdmin);
      expect((await apply(server, state)).plan).toMatchObject({ steps: [], withheld: [] });
      expect(await memberships(server, 'app_readonly')).not.toContainEqual(
        expect.stringMatching(/api in .* by master/),
      );
    });

    test('stays where a superuser gave it, and is reported as beyond this role', async () => {
      await asSuperuser(server, 'GRANT app_readonly TO api WITH INHERIT TRUE, SET FALSE');
      const report = await apply(server, without);
      expect(report.plan.withheld.map(({ object, reason, withheld }) => [object, reason, withheld])).toEqual([
        [
          'membership of api in app_readonly',
          'granted by rdsadmin, and not declared',
          expect.stringContaining('master has no power to do it'),
        ],
      ]);
      expect(await memberships(server, 'app_readonly')).toContain('api in app_readonly by rdsadmin: INHERIT');
    });

    test('loses an option that somebody else added only when that is acknowledged', async () => {
      await server.query('GRANT app_readonly TO api WITH INHERIT FALSE, SET TRUE', secondAdmin);
      const report = await apply(server, state);
      expect(report.plan.steps).toEqual([]);
      expect(sqlOf(report.plan.withheld)).toContain(
        'REVOKE SET OPTION FOR "app_readonly" FROM "api" GRANTED BY "second_admin"',
      );
      expect(await holds(server, "pg_has_role('api', 'app_readonly', 'SET')")).toBe(true);
      // Also where the membership goes as a whole.
      const removed = await apply(server, without);
      expect(await memberships(server, 'app_readonly')).toEqual([
        'api in app_readonly by second_admin: SET',
        'master in app_readonly by rdsadmin: ADMIN',
        'second_admin in app_readonly by master: ADMIN',
      ]);
      expect(removed.plan.withheld).toHaveLength(1);
      await applyAcknowledged(server, state);
      expect(await holds(server, "pg_has_role('api', 'app_readonly', 'SET')")).toBe(false);
      expect(await holds(server, "pg_has_role('api', 'app_readonly', 'USAGE')")).toBe(true);
    });
  });

  test('case 29: ADMIN whose holder has passed the membership on is listed and not taken, whoever acknowledges it', async () => {
    const withAdmin = (admin: boolean) =>
      rolesOnly([group('team'), login('lead')], membership('team', 'lead', { admin }));
    await apply(server, withAdmin(true));
    await asSuperuser(server, "ALTER ROLE lead PASSWORD 'x'");
    await server.query('CREATE ROLE newcomer');
    await server.query('GRANT team TO newcomer', { user: 'lead', password: 'x' });
    for (const revoke of ['REVOKE ADMIN OPTION FOR team FROM lead', 'REVOKE team FROM lead']) {
      await expect(server.query(revoke)).rejects.toThrow(/dependent privileges exist/);
    }
    for (const state of [withAdmin(false), rolesOnly([group('team'), login('lead')])]) {
      const report = await apply(server, state);
      expect(report.plan.withheld.map(({ withheld }) => withheld)).toEqual([
        expect.stringMatching(/^lead has itself given team to newcomer, and revoking would take it from them/),
      ]);
      expect(report.plan.hash).toBeUndefined();
      expect(await memberships(server, 'team')).toContain('lead in team by master: ADMIN, INHERIT');
      expect(await holds(server, "pg_has_role('newcomer', 'team', 'USAGE')", 'postgres')).toBe(true);
    }
    // Once another role has given it to them, it goes.
    await server.query('GRANT team TO newcomer');
    await server.query('REVOKE team FROM newcomer', { user: 'lead', password: 'x' });
    await applyAcknowledged(server, rolesOnly([group('team'), login('lead')]));
    expect(await memberships(server, 'team')).toEqual([
      'master in team by rdsadmin: ADMIN',
      'newcomer in team by master: INHERIT, SET',
    ]);
  });

  test('case 30: what an administrator gave to others outlives its removal, since nothing is ever dropped', async () => {
    const state = (...more: string[]) =>
      rolesOnly([group('team'), ...more.map((name) => login(name, { createRole: true }))]);
    const declared = { ...state('admin'), memberships: [membership('team', 'admin', { admin: true })] };
    await apply(server, declared);
    await asSuperuser(server, "ALTER ROLE admin PASSWORD 'x'");
    await server.query(['CREATE ROLE user_1', 'GRANT team TO user_1'], { user: 'admin', password: 'x' });
    const statements = await server.recordStatements(async () => {
      await apply(server, state());
      await apply(server, state('other'));
      await apply(server, state('other', 'another'));
    });
    await expect(server.connect({ user: 'admin', password: 'x' })).rejects.toThrow(/not permitted to log in/);
    expect(await memberships(server, 'team')).toContain('user_1 in team by admin: INHERIT, SET');
    expect(statements.filter(({ sql }) => /\b(DROP|REASSIGN)\b/i.test(sql))).toEqual([]);
  });

  test('case 31: all three options are written, whatever the attribute of the member says', async () => {
    await server.query([
      'CREATE ROLE trap NOINHERIT',
      'CREATE ROLE team',
      'GRANT team TO trap',
      'ALTER ROLE trap INHERIT',
    ]);
    expect(await memberships(server, 'team')).toContain('trap in team by master: SET'); // still
    const members = [login('plain', { inherit: false }), login('inheriting')];
    const state = rolesOnly(
      [group('team'), ...members],
      membership('team', 'plain'),
      membership('team', 'inheriting', { inherit: false, set: true }),
    );
    const report = await apply(server, state);
    for (const sql of sqlOf(report.plan.steps).filter((text) => text.startsWith('GRANT "team" TO "'))) {
      expect(sql).toMatch(/WITH ADMIN (TRUE|FALSE), INHERIT (TRUE|FALSE), SET (TRUE|FALSE)$/);
    }
    const wanted = ['inheriting in team by master: SET', 'plain in team by master: INHERIT'];
    expect(await memberships(server, 'team')).toEqual(expect.arrayContaining(wanted));
    // The attribute changes nothing for a membership that is there, and so is no difference of it.
    await server.query(['ALTER ROLE plain INHERIT', 'ALTER ROLE inheriting NOINHERIT']);
    const drift = await plan(server, state);
    expect([...drift.plan.steps, ...drift.plan.withheld].map(({ object }) => object).sort()).toEqual([
      'role inheriting',
      'role plain',
    ]);
    expect(await memberships(server, 'team')).toEqual(expect.arrayContaining(wanted));
    // One more option leaves the others as they are.
    await apply(server, { ...state, memberships: [membership('team', 'plain', { set: true }), state.memberships[1]] });
    expect(await memberships(server, 'team')).toContain('plain in team by master: INHERIT, SET');
  });

  test('case 32: a predefined role is given where the server has it, and refused by name where it has not', async () => {
    const of = (predefined: string) => rolesOnly([group('team')], membership(predefined, 'team'));
    await expectRefused(server, of('pg_database_owner'), /the owner of each database is its only member/);
    await expect(asSuperuser(server, 'GRANT pg_database_owner TO pg_monitor')).rejects.toThrow(
      /role "pg_database_owner" cannot have explicit members/,
    );
    const since = {
      pg_read_all_data: 14,
      pg_create_subscription: 16,
      pg_maintain: 17,
      pg_signal_autovacuum_worker: 18,
    };
    // Amazon RDS may or may not let its master give this one; here it does.
    if (version >= 18)
      await asSuperuser(server, 'GRANT pg_signal_autovacuum_worker TO rds_superuser WITH ADMIN OPTION');
    for (const [predefined, major] of Object.entries(since)) {
      const exists = await server.query(`SELECT FROM pg_roles WHERE rolname = '${predefined}'`);
      expect(exists).toHaveLength(version >= major ? 1 : 0);
      if (version >= major) {
        await apply(server, of(predefined));
        expect(await holds(server, `pg_has_role('team', '${predefined}', 'USAGE')`, 'postgres')).toBe(true);
        await server.reset();
      } else {
        await expectRefused(
          server,
          of(predefined),
          new RegExp(`${predefined} exists from PostgreSQL ${major} on, and this server is ${version}\\.`),
        );
      }
    }
    if (version >= 18) await asSuperuser(server, 'REVOKE pg_signal_autovacuum_worker FROM rds_superuser');
  });

  test('case 33: ADMIN is no access, SET is that of whom one may become, INHERIT is there at once', async () => {
    const asOwners = (options: Partial<DesiredMembership>) =>
      appWith(
        { grants: [...grantsOf(declaration())] },
        { memberships: [membership('app_owner', 'api', { inherit: false, ...options })] },
      );
    const level = (report: Report) => report.access.find(({ role }) => role === 'api')?.level;
    const may = async () => {
      const [row] = await as(
        server,
        'api',
        `SELECT pg_has_role('app_owner', 'MEMBER') AS member, pg_has_role('app_owner', 'USAGE') AS usage, pg_has_role('app_owner', 'SET') AS set`,
      );
      return row;
    };
    const admin = await apply(server, asOwners({ admin: true }), { access: true });
    expect(await may()).toEqual({ member: true, usage: false, set: false });
    expect(level(admin)).toBe('none');
    expect(sqlOf(admin.plan.steps)).toContain('GRANT "app_owner" TO "api" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE');
    await expect(as(server, 'api', 'SET ROLE app_owner')).rejects.toThrow(/permission denied to set role/);

    const set = await apply(server, asOwners({ set: true }), { access: true });
    expect(await may()).toEqual({ member: true, usage: false, set: true });
    expect(level(set)).toBe('owner');
    expect(set.plan.steps.map(({ reason }) => reason)).toContain('declared with SET');
    await expect(as(server, 'api', 'CREATE TABLE billing.mine ()')).rejects.toThrow(/permission denied/);
    await as(server, 'api', ['SET ROLE app_owner', 'CREATE TABLE billing.theirs ()']);

    const inherit = await apply(server, asOwners({ inherit: true }), { access: true });
    expect(await may()).toEqual({ member: true, usage: true, set: false });
    expect(level(inherit)).toBe('owner');
    await as(server, 'api', 'CREATE TABLE billing.mine ()');
  });
});
