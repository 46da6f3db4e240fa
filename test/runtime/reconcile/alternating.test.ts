import { DesiredState } from '../../../lib/contract';
import { RefusedError, SecretSource } from '../../../lib/runtime/reconcile';
import { scramVerifier } from '../../../lib/runtime/secrets';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration, group, login, owner, role } from './declaration';
import { apply, appWith, asSuperuser, holds, plan, sqlOf } from './runs';

const pair = [
  group('api'),
  login('api_1', { authentication: 'password', passwordOf: 'api', connectionLimit: 5 }),
  login('api_2', { authentication: 'password', passwordOf: 'api', connectionLimit: 5 }),
];
const inApi = (member: string) => ({ role: 'api', member, inherit: true, set: false, admin: false });

/** `declaration()` with two logins that take turns as its `api`. */
function alternating(changes: Partial<DesiredState> = {}): DesiredState {
  const state = declaration();
  return appWith(
    {},
    {
      roles: [owner('app_owner'), group('app_readonly'), ...pair],
      memberships: [...state.memberships, inApi('api_1'), inApi('api_2')],
      settings: ['api_1', 'api_2'].map((name) => ({ role: name, name: 'statement_timeout', values: ['15s'] })),
      ...changes,
    },
  );
}

/** The secret of `api`, as a rotation leaves it. */
function turnOf(user: string, password: string): SecretSource {
  const secret = { user, password, verifier: scramVerifier(password), versionId: `v-${password}` };
  return async (name) => {
    if (name !== 'api') throw new Error(`the test has no secret for ${name}`);
    return secret;
  };
}

const logsIn = (server: TestServer, user: string, password: string) =>
  server.connect({ user, password, database: 'app' }).then(
    (client) => client.end().then(() => true),
    () => false,
  );

async function hasPassword(server: TestServer, name: string): Promise<boolean> {
  const [row] = await asSuperuser(
    server,
    `SELECT rolpassword IS NOT NULL AS has FROM pg_authid WHERE rolname = '${name}'`,
  );
  return row.has as boolean;
}

describe.each(VERSIONS)('two logins that take turns, PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
  });

  test('case 40: the first run makes both, and the one that the secret names logs in', async () => {
    const secrets = turnOf('api_1', 'first');
    const report = await apply(server, alternating(), { secrets });
    expect(report.proof?.checkedLogins).toBe(1);
    expect(await logsIn(server, 'api_1', 'first')).toBe(true);
    expect(await hasPassword(server, 'api_2')).toBe(false);
    const again = await apply(server, alternating(), { secrets });
    expect([again.outcome, again.statements.writes]).toEqual(['unchanged', 0]);
    // Both have what the group has, their settings and their limits.
    for (const name of ['api_1', 'api_2']) {
      expect(await holds(server, `has_schema_privilege('${name}', 'billing', 'USAGE')`)).toBe(true);
      expect(await holds(server, `has_database_privilege('${name}', 'app', 'CONNECT')`)).toBe(true);
      expect(
        await holds(
          server,
          `(SELECT rolconnlimit = 5 AND rolconfig = '{statement_timeout=15s}' FROM pg_roles WHERE rolname = '${name}')`,
        ),
      ).toBe(true);
    }
  });

  test('case 40: after a rotation there is nothing to do, and the login that rests is left alone', async () => {
    await apply(server, alternating(), { secrets: turnOf('api_1', 'first') });
    await server.query(`ALTER ROLE api_2 PASSWORD '${scramVerifier('second')}'`);
    const report = await apply(server, alternating(), { secrets: turnOf('api_2', 'second') });
    expect([report.outcome, report.statements.writes]).toEqual(['unchanged', 0]);
    expect(await logsIn(server, 'api_1', 'first')).toBe(true);
    await server.query('ALTER ROLE api_1 PASSWORD NULL');
    expect((await plan(server, alternating(), { secrets: turnOf('api_2', 'second') })).plan.steps).toEqual([]);
  });

  test('case 38: a password that somebody changed is found by a login of the one whose turn it is', async () => {
    const secrets = turnOf('api_2', 'second');
    await apply(server, alternating(), { secrets });
    expect(await logsIn(server, 'api_2', 'second')).toBe(true);
    await server.query(`ALTER ROLE api_2 PASSWORD '${scramVerifier('by hand')}'`);
    const report = await apply(server, alternating(), { secrets });
    expect(report.plan.steps.map(({ object }) => object)).toEqual(['password of role api_2']);
    expect(await logsIn(server, 'api_2', 'second')).toBe(true);
  });
});

describe('PostgreSQL 18', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version: 18 });
  });

  test('without secrets a plan shows the password of the first login alone', async () => {
    const sql = sqlOf((await plan(server, alternating())).plan.steps).filter((text) => text.includes('PASSWORD'));
    expect(sql).toEqual([`ALTER ROLE "api_1" PASSWORD 'SCRAM-SHA-256$…'`]);
  });

  test.each([
    ['names a login of another group', alternating(), 'api_3', 'it is about "api_3", and not about "api_1" or "api_2"'],
    [
      'takes turns, and the declaration has one login',
      declaration({ roles: [owner('app_owner'), group('app_readonly'), login('api', { authentication: 'password' })] }),
      'api_1',
      'it is about "api_1", and not about "api"',
    ],
  ])('a secret that %s is refused, and nothing changes', async (_, state, user, message) => {
    const refusal = await apply(server, state, { secrets: turnOf(user, 'x') }).catch((error) => error);
    expect(refusal).toBeInstanceOf(RefusedError);
    expect(refusal.message).toContain(message);
    expect(await server.query("SELECT FROM pg_roles WHERE rolname LIKE 'api%'")).toEqual([]);
  });

  test('a role that logged in itself keeps its login and password until it is acknowledged that nobody uses it any more', async () => {
    const before = declaration({
      roles: [owner('app_owner'), group('app_readonly'), login('api', { authentication: 'password' })],
    });
    const own: SecretSource = async () => ({ password: 'old', verifier: scramVerifier('old'), versionId: 'v' });
    await apply(server, before, { secrets: own });
    const secrets = turnOf('api_1', 'first');
    const { plan: left } = await apply(server, alternating(), { secrets });
    expect(sqlOf(left.withheld)).toEqual(['ALTER ROLE "api" NOLOGIN']);
    expect([await logsIn(server, 'api', 'old'), await logsIn(server, 'api_1', 'first')]).toEqual([true, true]);
    await apply(server, alternating(), { secrets, acknowledge: [left.hash!] });
    expect(await logsIn(server, 'api', 'old')).toBe(false);
    // And back: the role logs in again, and what took turns keeps its login through this declaration.
    await apply(server, before, { secrets: own });
    expect([await logsIn(server, 'api', 'old'), await logsIn(server, 'api_1', 'first')]).toEqual([true, true]);
  });

  test('case 35: a group whose logins have passwords is no member of rds_iam, by whatever way', async () => {
    const state = alternating();
    const iam = { role: 'rds_iam', member: 'app_readonly', inherit: true, set: false, admin: false };
    const refusal = await plan(server, { ...state, memberships: [...state.memberships, iam] }).catch((error) => error);
    expect(refusal).toBeInstanceOf(RefusedError);
    expect(refusal.problems.join('\n')).toContain(
      'the role "api_1" logs in by password and would be a member of rds_iam',
    );
  });
});

describe('replication', () => {
  const cdc = (changes = {}) =>
    declaration({ roles: [role('cdc', { login: true, ...changes })], memberships: [], settings: [], databases: [] });

  test('SEC-2: on Amazon RDS it is membership in rds_replication, given and taken back', async () => {
    const server = await startServer({ version: 18 });
    await apply(server, cdc({ replication: true }));
    expect(await holds(server, "pg_has_role('cdc', 'rds_replication', 'USAGE')", 'postgres')).toBe(true);
    expect((await apply(server, cdc({ replication: true }))).statements.writes).toBe(0);
    await apply(server, cdc());
    expect(await holds(server, "pg_has_role('cdc', 'rds_replication', 'MEMBER')", 'postgres')).toBe(false);
  });

  describe.each(VERSIONS)('elsewhere, PostgreSQL %i', (version) => {
    const attribute = (server: TestServer) =>
      holds(server, "(SELECT rolreplication FROM pg_roles WHERE rolname = 'cdc')", 'postgres');

    test('SEC-2, case 24: it is the attribute, for who has it to give', async () => {
      const server = await startServer({ version, flavour: 'plain' });
      await asSuperuser(server, ['ALTER ROLE master REPLICATION', 'GRANT CREATE ON DATABASE postgres TO master']);
      try {
        await apply(server, cdc({ replication: true }));
        expect(await attribute(server)).toBe(true);
        expect((await apply(server, cdc({ replication: true }))).statements.writes).toBe(0);
        await apply(server, cdc());
        expect(await attribute(server)).toBe(false);
        await apply(server, cdc({ replication: true }));
        expect(await attribute(server)).toBe(true);
      } finally {
        await asSuperuser(server, 'ALTER ROLE master NOREPLICATION');
      }
    });

    test('SEC-2, case 24: who does not have it is told before anything changes', async () => {
      const server = await startServer({ version, flavour: 'plain' });
      const refusal = await apply(server, cdc({ replication: true })).catch((error) => error);
      expect(refusal).toBeInstanceOf(RefusedError);
      expect(refusal.message).toContain('declared with REPLICATION, which master does not have itself');
      expect(await server.query("SELECT FROM pg_roles WHERE rolname = 'cdc'")).toEqual([]);
    });
  });
});
