import * as fs from 'node:fs';
import * as path from 'node:path';
import { ContractError, decodeState, DesiredMembership, DesiredState, encodeState } from '../../../lib/contract';
import { reconcile, RefusedError } from '../../../lib/runtime/reconcile';
import { freshServer, startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog, memberships } from './catalog';
import { declaration, group, login } from './declaration';
import { apply, applyAcknowledged, appWith, asSuperuser, holds, plan, sqlOf } from './runs';
import { secretsOf } from './secrets';

const inherits = (role: string, member: string): DesiredMembership => ({
  role,
  member,
  inherit: true,
  set: false,
  admin: false,
});
const iam = (name: string) => login(name, { authentication: 'iam' });
const rolesOnly = (roles: DesiredState['roles'], ...memberships: DesiredMembership[]): DesiredState =>
  declaration({ roles, memberships, settings: [], databases: [] });

describe.each(VERSIONS)('IAM roles on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
  });
  const secrets = secretsOf({ api: 'api-password', clerk: 'clerk-password' });

  /** Amazon RDS asks for inherited membership, and then takes no password. */
  const hasLostPassword = (role: string) => holds(server, `pg_has_role('${role}', 'rds_iam', 'USAGE')`, 'postgres');

  async function expectRefused(state: DesiredState, ...reasons: RegExp[]): Promise<void> {
    const before = await catalog(server);
    const refusal = (await apply(server, state, { secrets }).catch((error: unknown) => error)) as Error;
    expect(refusal).toBeInstanceOf(RefusedError);
    for (const reason of reasons) expect(refusal.message).toMatch(reason);
    expect(await catalog(server)).toEqual(before);
    expect(await hasLostPassword('master')).toBe(false);
    await server.query('SELECT 1'); // the master still logs in
  }

  test('a login role gets rds_iam, and nobody else does', async () => {
    await apply(server, declaration({ roles: [...declaration().roles, iam('clerk')] }));
    expect(await hasLostPassword('clerk')).toBe(true);
    for (const role of ['master', 'api', 'app_owner', 'app_readonly']) {
      expect([role, await hasLostPassword(role)]).toEqual([role, false]);
    }
  });

  test('case 35: a role that is yet to log in, below an IAM role, is refused before anything is done', async () => {
    const state = rolesOnly([iam('clerk'), login('worker')], inherits('clerk', 'worker'));
    await expectRefused(state, /worker would become a member of rds_iam/);
    await server.query('CREATE ROLE worker NOLOGIN');
    await expectRefused(state, /worker would become a member of rds_iam/);
  });

  test('case 35: a master that inherits from the owner is not locked out by an IAM role above that', async () => {
    await server.query(['CREATE ROLE app_owner', 'GRANT app_owner TO CURRENT_USER WITH INHERIT TRUE, SET TRUE']);
    const chain = declaration({
      roles: [...declaration().roles, iam('clerk')],
      memberships: [inherits('clerk', 'app_owner')],
    });
    await expectRefused(
      chain,
      /master would become a member of rds_iam and could not log in by password any more/,
      /role "app_owner" does not log in and would be a member of rds_iam/,
    );
    // The negative control: by hand nothing stops it.
    await server.query(['CREATE ROLE clerk', 'GRANT rds_iam TO clerk', 'GRANT clerk TO app_owner']);
    expect(await hasLostPassword('master')).toBe(true);
  });

  test('case 35: an owner that logs in by IAM itself leaves the master alone, whose membership is not inherited', async () => {
    const state = appWith(
      { owner: 'clerk', schemas: [], grants: [], defaultPrivileges: [] },
      {
        roles: [iam('clerk')],
        memberships: [],
        settings: [],
      },
    );
    await apply(server, state);
    expect(await memberships(server, 'clerk')).toContain('master in clerk by master: SET');
    expect(await hasLostPassword('master')).toBe(false);
    // Giving the database away needs inheritance, which is over with its transaction.
    await applyAcknowledged(server, { ...state, databases: [{ ...state.databases[0], owner: 'master' }] });
    expect(await hasLostPassword('master')).toBe(false);
    // A master that inherits from it already is another matter.
    await server.reset();
    await server.query(['CREATE ROLE clerk LOGIN', 'GRANT clerk TO CURRENT_USER WITH INHERIT TRUE, SET TRUE']);
    await expectRefused(state, /master would become a member of rds_iam/);
  });

  test('case 35: whoever logs in now and is declared nowhere keeps that too', async () => {
    await server.query(["CREATE ROLE legacy LOGIN PASSWORD 'x'", 'CREATE ROLE team', 'CREATE ROLE clerk LOGIN']);
    await server.query(['GRANT clerk TO team WITH INHERIT TRUE', 'GRANT team TO legacy WITH INHERIT TRUE']);
    await expectRefused(rolesOnly([iam('clerk')]), /legacy would become a member of rds_iam/);
    // By SET alone it is no matter.
    await server.query('GRANT team TO legacy WITH INHERIT FALSE');
    await applyAcknowledged(server, rolesOnly([iam('clerk')]));
    expect(await hasLostPassword('clerk')).toBe(true);
    expect(await hasLostPassword('legacy')).toBe(false);
    // Who has it already, by hand, loses nothing more.
    await server.query('GRANT team TO legacy WITH INHERIT TRUE');
    expect((await plan(server, rolesOnly([iam('clerk')]))).plan).toMatchObject({ steps: [], withheld: [] });
  });

  test('case 35: a group above is refused by name, since each of its members would lose its password', async () => {
    await expectRefused(
      rolesOnly([group('team'), iam('clerk')], inherits('clerk', 'team')),
      /role "team" does not log in and would be a member of rds_iam; every member of it would lose its password login/,
    );
  });

  test('case 36: a password and IAM exclude each other, in a declaration and by way of a membership', async () => {
    const document = { ...encodeState(rolesOnly([login('api')])), roles: ['api LOGIN PASSWORD IAM'] };
    expect(() => decodeState(document)).toThrow(ContractError);
    const api = login('api', { authentication: 'password' });
    await expectRefused(
      rolesOnly([api, iam('clerk')], inherits('clerk', 'api')),
      /role "api" logs in by password and would be a member of rds_iam, which allows IAM tokens alone/,
    );
    await apply(server, rolesOnly([api, iam('clerk')], { ...inherits('clerk', 'api'), inherit: false, set: true }), {
      secrets,
    });
    expect(await hasLostPassword('api')).toBe(false);
    await (await server.connect({ user: 'api', password: 'api-password' })).end();
  });

  test('case 36: a membership that somebody made by hand is drift, named with its way and its remedy, and stops nothing', async () => {
    const api = login('api', { authentication: 'password' });
    const state = rolesOnly([api, iam('report')]);
    await apply(server, state, { secrets });
    await server.query(['GRANT report TO api', 'ALTER ROLE report NOLOGIN']);
    const says = /role "api" logs in by password and is a member of rds_iam through "report", .*: (REVOKE .*);/;
    const { plan: read } = await plan(server, state);
    const remedy = says.exec(read.notes.join('\n'))?.[1];
    expect(remedy).toBe('REVOKE "report" FROM "api" GRANTED BY "master"');
    const { plan: run } = await apply(server, { ...state, roles: [...state.roles, login('clerk')] }, { secrets });
    expect(run.steps.map(({ object }) => object)).toEqual(expect.arrayContaining(['role clerk', 'role report']));
    expect(run.withheld).toMatchObject([{ object: 'membership of api in report', risk: 'narrow' }]);
    expect(run.notes.join('\n')).toMatch(says);
    await server.query(remedy!);
    expect((await plan(server, state)).plan.notes.join('\n')).not.toContain('rds_iam');
  });

  test('case 36: of a group that is declared nowhere it is drift that is beyond this state', async () => {
    await server.query('CREATE ROLE team');
    const state = rolesOnly([login('api', { authentication: 'password' })], inherits('team', 'api'));
    await apply(server, state, { secrets });
    await server.query('GRANT rds_iam TO team');
    const { plan: run } = await apply(server, state, { secrets });
    expect(run).toMatchObject({
      steps: [],
      withheld: [{ object: 'membership of team in rds_iam', impossible: true }],
    });
    expect(run.notes.join('\n')).toMatch(
      /"api" logs in by password and is a member of rds_iam through "team", .* REVOKE "rds_iam" FROM "team"/,
    );
    // What this run itself would bring about is refused: a login that is made, and could never come in.
    const more = rolesOnly(
      [...state.roles, login('clerk', { authentication: 'password' })],
      inherits('team', 'api'),
      inherits('team', 'clerk'),
    );
    await expectRefused(more, /"clerk" logs in by password and would be .*: somebody granted .* FROM "team"/);
  });

  test('case 36: where a hand-made IAM role ends the login by password, no password is set in vain', async () => {
    const state = rolesOnly([login('api', { authentication: 'password' })]);
    await apply(server, state, { secrets });
    // What Amazon RDS answers to a member of rds_iam, whatever the password.
    await asSuperuser(server, ["ALTER ROLE api PASSWORD 'another'", 'CREATE ROLE legacy']);
    await asSuperuser(server, ['GRANT rds_iam TO legacy', 'GRANT legacy TO api']);
    const { plan: run } = await apply(server, { ...state, roles: [...state.roles, login('app')] }, { secrets });
    expect(run.steps.map(({ object }) => object)).toEqual(['role app']);
    expect(run.withheld).toMatchObject([{ object: 'membership of api in legacy' }]);
    // The negative control: with the membership gone the password is put right.
    await asSuperuser(server, 'REVOKE legacy FROM api');
    const after = await apply(server, { ...state, roles: [...state.roles, login('app')] }, { secrets });
    expect(after.plan.steps.map(({ object }) => object)).toEqual(['password of role api']);
  });

  test('case 36: a role goes from a password to IAM and back', async () => {
    const byPassword = rolesOnly([login('api', { authentication: 'password' })]);
    const byIam = rolesOnly([iam('api')]);
    await apply(server, byPassword, { secrets });
    const there = await apply(server, byIam, { secrets });
    expect(there.plan.steps).toMatchObject([{ risk: 'disruptive', object: 'membership of api in rds_iam' }]);
    expect(await hasLostPassword('api')).toBe(true);
    const back = await apply(server, byPassword, { secrets });
    expect(back.plan.withheld).toEqual([]);
    expect(await hasLostPassword('api')).toBe(false);
    await (await server.connect({ user: 'api', password: 'api-password' })).end();
  });

  test('case 36: a role that was there before keeps its password until that is acknowledged', async () => {
    await server.query("CREATE ROLE api LOGIN PASSWORD 'api-password'");
    const report = await apply(server, rolesOnly([iam('api')]));
    expect(report.plan.withheld).toMatchObject([{ risk: 'disruptive', object: 'membership of api in rds_iam' }]);
    expect(await hasLostPassword('api')).toBe(false);
  });
});

describe('a server that is not of RDS', () => {
  test('case 35: has no IAM login, and says so', async () => {
    const server = await startServer({ version: 18, flavour: 'plain' });
    await expect(apply(server, rolesOnly([iam('clerk')]))).rejects.toThrow(
      /role "rds_iam" does not exist: IAM login needs Amazon RDS or Aurora; choose a password/,
    );
  });

  test('case 35: with a "+rds_iam" in its pg_hba.conf counts a membership of any kind', async () => {
    const server = await freshServer({ version: 18, flavour: 'plain' });
    await asSuperuser(server, ['CREATE ROLE rds_iam', 'CREATE ROLE clerk', 'GRANT rds_iam TO clerk']);
    await asSuperuser(server, 'GRANT CREATE ON DATABASE postgres TO master');
    const hba = path.join(server.dataDirectory, 'pg_hba.conf');
    fs.writeFileSync(hba, `host all +rds_iam 127.0.0.1/32 reject\n${fs.readFileSync(hba, 'utf8')}`);
    await asSuperuser(server, 'SELECT pg_reload_conf()');
    await asSuperuser(server, 'GRANT clerk TO master WITH ADMIN TRUE, INHERIT FALSE, SET FALSE');
    // The trap: not even inherited, and the master is out.
    await expect(server.connect()).rejects.toThrow(/pg_hba.conf rejects connection/);
    await asSuperuser(server, 'REVOKE clerk FROM master');

    const secrets = secretsOf({ api: 'api-password' });
    const state = rolesOnly([login('api', { authentication: 'password' })], {
      ...inherits('clerk', 'api'),
      inherit: false,
      set: true,
    });
    const { user, password } = server.superuser;
    // Applied by one who may do everything, so that nothing but the guard is in the way.
    const refused = reconcile(state, server.connection({ user, password }), { mode: 'apply', secrets });
    await expect(refused).rejects.toThrow(/role "api" logs in by password and would be a member of rds_iam/);
    expect(await asSuperuser(server, "SELECT FROM pg_roles WHERE rolname = 'api'")).toEqual([]);
    await apply(server, rolesOnly([login('api', { authentication: 'password' })]), { secrets });
    await (await server.connect({ user: 'api', password: 'api-password' })).end();
    expect(sqlOf((await plan(server, rolesOnly([login('api')]))).plan.steps)).toEqual([]);
    await server.stop();
  });
});
