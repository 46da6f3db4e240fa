import { ContractError, decodeState, DesiredState, encodeState } from '../../../lib/contract';
import { reconcile, RefusedError, SecretSource } from '../../../lib/runtime/reconcile';
import { Session } from '../../../lib/runtime/reconcile/session';
import { scramVerifier } from '../../../lib/runtime/secrets';
import { NOTHING_INSIDE } from '../../support/nothing-inside';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog, memberships } from './catalog';
import { declaration, group, login, role } from './declaration';
import { apply, applyAcknowledged, as, asSuperuser, plan, sqlOf } from './runs';
import { secretsOf } from './secrets';

/** Roles and what is said of them alone. */
const rolesOnly = (roles: DesiredState['roles'], changes: Partial<DesiredState> = {}): DesiredState =>
  declaration({ roles, memberships: [], settings: [], databases: [], ...changes });

const byPassword = login('api', { authentication: 'password' });

async function verifierOf(server: TestServer, name: string): Promise<string | null> {
  const [row] = await asSuperuser(server, `SELECT rolpassword FROM pg_authid WHERE rolname = '${name}'`);
  return row.rolpassword as string | null;
}

/** The run is refused for these reasons, and the server is as it was. */
async function expectRefused(server: TestServer, run: () => Promise<unknown>, ...reasons: RegExp[]): Promise<string> {
  const before = await catalog(server);
  const refusal = await run().catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(RefusedError);
  for (const reason of reasons) expect((refusal as Error).message).toMatch(reason);
  expect(await catalog(server)).toEqual(before);
  expect(await server.query("SELECT FROM pg_namespace WHERE nspname = 'cdk_postgres'")).toEqual([]);
  return (refusal as Error).message;
}

/** The first GRANT that a message tells to run. */
const grantIn = (message: string) => /: (GRANT .*?), as a role that may/.exec(message)![1];

describe.each(VERSIONS)('roles on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
  });

  test('case 17: a role that was just made owns a database and gives default privileges, by SET alone', async () => {
    // What creating a role gives is not enough for any of that.
    await server.query('CREATE ROLE trap');
    await expect(server.query('CREATE DATABASE trap OWNER trap')).rejects.toThrow(/must be able to SET ROLE "trap"/);
    await expect(
      server.query('ALTER DEFAULT PRIVILEGES FOR ROLE trap GRANT SELECT ON TABLES TO PUBLIC'),
    ).rejects.toThrow(/permission denied/);

    expect((await apply(server, declaration())).outcome).toBe('applied');
    expect(await memberships(server)).toEqual([
      'api in app_readonly by master: INHERIT',
      'master in api by rdsadmin: ADMIN',
      'master in app_owner by master: SET',
      'master in app_owner by rdsadmin: ADMIN',
      'master in app_readonly by rdsadmin: ADMIN',
      'master in trap by rdsadmin: ADMIN',
    ]);
  });

  test('case 21: what the master grants itself by a setting changes nothing', async () => {
    await apply(server, declaration());
    const wanted = await memberships(server);
    await server.reset();
    await asSuperuser(server, "ALTER ROLE master SET createrole_self_grant = 'set, inherit'");
    await server.query('CREATE ROLE trap');
    expect(await memberships(server, 'trap')).toContain('master in trap by master: INHERIT, SET'); // so it was in force
    await apply(server, declaration());
    expect((await memberships(server)).filter((line) => !line.includes('trap'))).toEqual(wanted);
  });

  test.each(['NOSUPERUSER', 'NOREPLICATION', 'NOBYPASSRLS'])(
    'case 23: %s is never said of a role that is there, since the server refuses it even where it changes nothing',
    async (attribute) => {
      await server.query('CREATE ROLE api');
      await expect(server.query(`ALTER ROLE api ${attribute}`)).rejects.toThrow(/permission denied to alter role/);
      // Whatever else a role has is not this library's, also where it is more than the master has.
      await asSuperuser(server, 'ALTER ROLE api REPLICATION BYPASSRLS');
      const statements = await server.recordStatements(() =>
        applyAcknowledged(server, rolesOnly([login('api', { connectionLimit: 7, inherit: false })])),
      );
      const altering = statements.map(({ sql }) => sql).join(';');
      expect(altering).toMatch(/ALTER ROLE "api" LOGIN/);
      expect(altering).toMatch(/ALTER ROLE "api" CONNECTION LIMIT 7/);
      expect(altering).toMatch(/ALTER ROLE "api" NOINHERIT/);
      expect(altering).not.toMatch(/SUPERUSER|REPLICATION|BYPASSRLS|CREATEDB|CREATEROLE/);
      expect(
        await server.query(
          `SELECT rolcanlogin, rolconnlimit, rolinherit, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = 'api'`,
        ),
      ).toEqual([{ rolcanlogin: true, rolconnlimit: 7, rolinherit: false, rolreplication: true, rolbypassrls: true }]);
    },
  );

  test.each(['SUPERUSER', 'BYPASSRLS'])('case 24: %s cannot be declared', async (attribute) => {
    await expect(server.query(`CREATE ROLE api ${attribute}`)).rejects.toThrow(/permission denied to create role/);
    const document = { ...encodeState(rolesOnly([login('api')])), roles: [`api LOGIN ${attribute}`] };
    expect(() => decodeState(document)).toThrow(ContractError);
    expect(() => decodeState(document)).toThrow(new RegExp(`nothing should stand where ${attribute} does`));
  });

  test.each(['SUPERUSER', 'BYPASSRLS'])('case 119: %s given by hand is drift', async (attribute) => {
    const state = rolesOnly([login('api')]);
    await apply(server, state);
    await asSuperuser(server, `ALTER ROLE api ${attribute}`);
    const { withheld } = (await plan(server, state)).plan;
    expect(withheld).toMatchObject([
      { object: 'role api', risk: 'narrow', impossible: true, reason: expect.stringContaining(attribute) },
    ]);
    // Who has the power takes it back, once it is acknowledged.
    const bySuperuser = (acknowledge: string[]) =>
      reconcile(state, server.connection(server.superuser), { mode: 'apply', acknowledge });
    const { hash } = (await bySuperuser([])).plan;
    expect((await bySuperuser([hash!])).plan.withheld).toEqual([]);
    expect((await plan(server, state)).plan.withheld).toEqual([]);
  });

  test.each(['SUPERUSER', 'BYPASSRLS'])('an adopted role keeps its %s, and the plan says so', async (attribute) => {
    await asSuperuser(server, `CREATE ROLE api LOGIN ${attribute}; GRANT api TO master WITH ADMIN TRUE`);
    const { withheld, notes } = (await apply(server, rolesOnly([login('api')]))).plan;
    expect(withheld).toEqual([]);
    expect(notes.join()).toContain(`the role api has ${attribute}, which no declaration gives`);
  });

  test('case 24: in place of REPLICATION there is the role that RDS has for it', async () => {
    await apply(
      server,
      rolesOnly([login('api')], {
        memberships: [{ role: 'rds_replication', member: 'api', inherit: true, set: false, admin: false }],
      }),
    );
    expect(await as(server, 'api', "SELECT pg_has_role('rds_replication', 'USAGE') AS has", 'postgres')).toEqual([
      { has: true },
    ]);
  });

  describe('case 25: an administrator that has less than the master', () => {
    const asLesser = (state: DesiredState, mode: 'apply' | 'plan' = 'apply') =>
      reconcile(state, server.connection({ user: 'lesser', password: 'lesser' }), { mode });

    test('without CREATEDB can neither make a database nor give CREATEDB', async () => {
      await server.query("CREATE ROLE lesser LOGIN CREATEROLE PASSWORD 'lesser'");
      await expectRefused(
        server,
        () => asLesser(declaration({ roles: [...declaration().roles, login('maker', { createDatabase: true })] })),
        /database "app" is missing, and lesser may not create one: ALTER ROLE "lesser" CREATEDB/,
        /role "maker" is declared with CREATEDB, which lesser does not have itself/,
      );
    });

    test('without CREATEDB says that it cannot take it away either', async () => {
      await server.query([
        "CREATE ROLE lesser LOGIN CREATEROLE PASSWORD 'lesser'",
        'GRANT CREATE ON DATABASE postgres TO lesser',
        'CREATE ROLE maker CREATEDB',
        'GRANT maker TO lesser WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
      ]);
      const state = { ...rolesOnly([group('maker')]), profile: 'development' as const };
      const { plan: planned } = await asLesser(state, 'plan');
      expect(planned.withheld.map(({ object, withheld }) => `${object}: ${withheld}`)).toEqual([
        'role maker: lesser does not have CREATEDB itself, and so cannot take it away',
      ]);
      expect(planned.hash).toBeUndefined();
      // The server would refuse it.
      await expect(server.query('ALTER ROLE maker NOCREATEDB', { user: 'lesser', password: 'lesser' })).rejects.toThrow(
        /permission denied to alter role/,
      );
      expect((await asLesser(state)).plan.withheld).toHaveLength(1);
    });

    test('without CREATEROLE can make and change no role, and is told what it needs', async () => {
      await server.query("CREATE ROLE lesser LOGIN CREATEDB PASSWORD 'lesser'");
      await server.query('CREATE ROLE found');
      const message = await expectRefused(
        server,
        () =>
          asLesser(
            rolesOnly([login('found'), login('api')], {
              settings: [{ role: 'api', name: 'statement_timeout', values: ['1s'] }],
            }),
          ),
        /role "api" is missing, and lesser may not create roles: ALTER ROLE "lesser" CREATEROLE/,
        /role "found" was made by somebody else, and lesser may not change it: ALTER ROLE "lesser" CREATEROLE, and GRANT/,
      );
      expect(message).not.toMatch(/role "api" was made by somebody else/);
    });
  });

  describe.each([
    [
      'case 26: a role that another administrator has made',
      { user: 'second_admin', password: 'second' },
      async () => {
        await asSuperuser(server, "CREATE ROLE second_admin LOGIN CREATEROLE PASSWORD 'second'");
        await server.query("CREATE ROLE theirs LOGIN PASSWORD 'theirs'", { user: 'second_admin', password: 'second' });
      },
    ],
    [
      'case 27: a role whose maker the upgrade from 15 has forgotten',
      { superuser: true },
      async () => {
        await server.query("CREATE ROLE theirs LOGIN PASSWORD 'theirs'");
        await asSuperuser(server, 'REVOKE theirs FROM master');
      },
    ],
  ] as const)('%s', (_what, whoMay, make) => {
    beforeEach(make);
    const secrets = secretsOf({ theirs: 'of the secret' });

    test.each<[string, DesiredState, string]>([
      ['an attribute', rolesOnly([login('theirs', { connectionLimit: 5 })]), 'ALTER ROLE theirs CONNECTION LIMIT 5'],
      ['a password', rolesOnly([login('theirs', { authentication: 'password' })]), "ALTER ROLE theirs PASSWORD 'x'"],
      [
        'a setting',
        rolesOnly([login('theirs')], { settings: [{ role: 'theirs', name: 'work_mem', values: ['8MB'] }] }),
        "ALTER ROLE theirs SET work_mem = '8MB'",
      ],
      [
        'a membership in it',
        rolesOnly([login('theirs'), login('api')], {
          memberships: [{ role: 'theirs', member: 'api', inherit: true, set: false, admin: false }],
        }),
        'GRANT theirs TO rds_replication',
      ],
      [
        'an object of its own',
        rolesOnly([login('theirs')], {
          databases: [{ ...NOTHING_INSIDE, name: 'app', owner: 'theirs', public: 'kept' }],
        }),
        'CREATE DATABASE app OWNER theirs',
      ],
    ])('gets %s only after the GRANT that the refusal names', async (_it, state, byHand) => {
      await expect(server.query(byHand)).rejects.toThrow(/permission denied|must be able to SET ROLE/);
      const message = await expectRefused(
        server,
        () => apply(server, state, { secrets }),
        /the role "theirs" was made by somebody else, and master may not change it/,
      );
      await server.query(grantIn(message), whoMay);
      await applyAcknowledgedWith(server, state, secrets);
      expect(await plan(server, state, { secrets })).toMatchObject({ plan: { steps: [], withheld: [] } });
    });

    test('is declared as it is without any power over it', async () => {
      const report = await apply(server, rolesOnly([login('theirs')]));
      expect(report.plan).toMatchObject({ steps: [], withheld: [] });
      expect(await memberships(server, 'theirs')).not.toContainEqual(expect.stringContaining('master in'));
    });
  });

  test('case 26: what an administrator that the master has made makes can be altered, and not handed out', async () => {
    await server.query("CREATE ROLE second_admin LOGIN CREATEROLE PASSWORD 'second'");
    await server.query('CREATE ROLE theirs LOGIN', { user: 'second_admin', password: 'second' });
    const altered = rolesOnly([login('theirs', { connectionLimit: 5 }), login('api')], {
      settings: [{ role: 'theirs', name: 'work_mem', values: ['8MB'] }],
    });
    await expectRefused(
      server,
      () =>
        apply(server, {
          ...altered,
          memberships: [{ role: 'theirs', member: 'api', inherit: true, set: false, admin: false }],
        }),
      /the role "theirs" was made by somebody else/,
    );
    await applyAcknowledged(server, altered);
    expect(await as(server, 'theirs', 'SHOW work_mem', 'postgres')).toEqual([{ work_mem: '8MB' }]);
    expect(await memberships(server, 'theirs')).toEqual(['second_admin in theirs by rdsadmin: ADMIN']);
  });

  test('case 38: a password is set when a login with it fails, and not again while it works', async () => {
    const state = rolesOnly([byPassword]);
    const secrets = secretsOf({ api: 'the right one' });
    await apply(server, state, { secrets });
    const verifier = await verifierOf(server, 'api');
    expect(verifier).toBe((await secrets('api')).verifier);

    // The same password with another salt, as whoever computes a verifier anew gets it.
    const salted = secretsOf({ api: 'the right one' });
    expect((await salted('api')).verifier).not.toBe(verifier);
    for (const acknowledge of [[], ['0123456789abcdef']]) {
      expect((await apply(server, state, { secrets: salted, acknowledge })).statements.writes).toBe(0);
    }
    expect(await verifierOf(server, 'api')).toBe(verifier);

    await server.query("ALTER ROLE api PASSWORD 'by hand'");
    const found = await plan(server, state, { secrets });
    expect(found.plan.steps).toMatchObject([
      { object: 'password of role api', reason: 'a login with the password in its secret fails' },
    ]);
    const repaired = await apply(server, state, { secrets });
    expect(repaired.proof).toMatchObject({ checkedLogins: 1 });
    expect(await verifierOf(server, 'api')).toBe(verifier);
    await (await server.connect({ user: 'api', password: 'the right one' })).end();
    await expect(server.connect({ user: 'api', password: 'by hand' })).rejects.toThrow(/authentication failed/);
  });

  test('case 41: only a SCRAM verifier is sent, whatever the server would make of something else', async () => {
    await asSuperuser(server, "ALTER ROLE master SET password_encryption = 'md5'");
    const state = rolesOnly([byPassword]);
    for (const verifier of [`md5${'0'.repeat(32)}`, 'a clear password', `${scramVerifier('x')}\n`]) {
      const wrong: SecretSource = async () => ({ password: 'x', verifier, versionId: 'v' });
      await expect(apply(server, state, { secrets: wrong })).rejects.toThrow(/not one, so it is not sent/);
      expect(server.log()).not.toContain(verifier);
      expect(await server.query("SELECT FROM pg_roles WHERE rolname = 'api'")).toEqual([]);
    }
    await apply(server, state, { secrets: secretsOf({ api: 'x' }) });
    expect(await verifierOf(server, 'api')).toMatch(/^SCRAM-SHA-256\$/);
  });

  test('case 42: never, infinity and the same moment in another time zone are no difference', async () => {
    await asSuperuser(server, "ALTER ROLE master SET TimeZone = 'Asia/Kolkata'");
    await server.query([
      'CREATE ROLE never',
      "CREATE ROLE infinite VALID UNTIL 'infinity'",
      "CREATE ROLE dated VALID UNTIL '2031-01-01 05:30:00+05:30'",
      'CREATE ROLE left_alone',
      "ALTER ROLE left_alone VALID UNTIL '2031-01-01'",
    ]);
    const until = (validUntil: string) => ({ validUntil });
    const state = rolesOnly([
      role('never', until('infinity')),
      role('infinite', until('infinity')),
      role('dated', until('2031-01-01T00:00:00Z')),
      role('left_alone'),
    ]);
    expect((await apply(server, state)).plan).toMatchObject({ steps: [], withheld: [] });
    // A later moment is told from an earlier one.
    const later = await apply(
      server,
      rolesOnly([...state.roles.slice(1), role('never', until('2032-01-01T00:00:00Z'))]),
    );
    expect(sqlOf(later.plan.steps)).toEqual([`ALTER ROLE "never" VALID UNTIL '2032-01-01T00:00:00Z'`]);
    const widened = await apply(server, rolesOnly([role('dated', until('infinity'))]));
    expect(sqlOf(widened.plan.steps)).toEqual([`ALTER ROLE "dated" VALID UNTIL 'infinity'`]);
  });

  test('case 42: a role that is over for ever, and one that is so far away that it never ends', async () => {
    await server.query([
      "CREATE ROLE over LOGIN PASSWORD 'x' VALID UNTIL '-infinity'",
      "CREATE ROLE far LOGIN PASSWORD 'x' VALID UNTIL '20000-01-01'",
    ]);
    const state = rolesOnly([login('over', { validUntil: 'infinity' }), login('far', { validUntil: 'infinity' })]);
    await expect(server.connect({ user: 'over', password: 'x' })).rejects.toThrow(/authentication failed/);
    const report = await apply(server, state);
    expect(sqlOf(report.plan.steps)).toEqual([`ALTER ROLE "over" VALID UNTIL 'infinity'`]);
    expect(report.plan.withheld).toEqual([]);
    await (await server.connect({ user: 'over', password: 'x' })).end();
  });
});

test.each([
  ['case 20: 15, whose memberships have no options', 150_018, '15.18', 'plan'],
  ['case 20: 15, whose memberships have no options', 150_018, '15.18', 'apply'],
  ['case 114: 19, which nobody knows yet', 190_000, '19.0', 'apply'],
] as const)('%s (%i), is refused before anything is written: %s %s', async (_what, number, text, mode) => {
  const server = await startServer({ version: 18 });
  pretendVersion(number, text);
  const before = await catalog(server);
  const refused = reconcile(declaration(), server.connection(), { mode });
  await expect(refused).rejects.toThrow(RefusedError);
  await expect(refused).rejects.toThrow(
    `this server is PostgreSQL ${text}, and this version of cdk-postgres works on 16`,
  );
  expect(await catalog(server)).toEqual(before);
});

test('case 114: a server that is newer than this library can be looked at', async () => {
  const server = await startServer({ version: 18 });
  pretendVersion(190_000, '19.0');
  const report = await plan(server, declaration());
  expect(report.plan.steps.length).toBeGreaterThan(5);
  expect(report.statements.writes).toBe(0);
});

/** The server says that it is of another version; there is none to be had. */
function pretendVersion(version_number: number, version: string): void {
  const read = Session.prototype.read;
  jest.spyOn(Session.prototype, 'read').mockImplementation(async function (this: Session, sql, params) {
    const rows = await read.call(this, sql, params);
    return rows.map((row) => ('version_number' in row ? { ...row, version_number, version } : row));
  } as typeof read);
}
afterEach(() => jest.restoreAllMocks());

async function applyAcknowledgedWith(server: TestServer, state: DesiredState, secrets: SecretSource): Promise<void> {
  const { hash } = (await plan(server, state, { secrets })).plan;
  await apply(server, state, { secrets, acknowledge: hash === undefined ? [] : [hash] });
}
