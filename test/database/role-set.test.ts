import { Duration } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { Authentication, LoginRole, RoleSetOptions } from '../../lib/database';
import { SecretSource } from '../../lib/runtime/reconcile';
import { scramVerifier } from '../../lib/runtime/secrets';
import { apply, plan } from '../runtime/reconcile/runs';
import { startServer, TestServer, VERSIONS } from '../support/postgres';
import { DeclaredServer, declaredLines, declaredState, newStack } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup(options: RoleSetOptions = {}) {
  const stack = newStack();
  const app = new DeclaredServer(stack, 'Server').addDatabase('shop');
  const orders = app.addSchema('orders');
  const roles = app.addRoleSet(options);
  return { stack, app, orders, roles };
}

test('SEC-2, CP-16, DDL-1: one line declares the roles that a database in production has', () => {
  const { stack } = setup();
  const lines = declaredLines(stack);
  expect(lines.roles).toEqual([
    'shop_app LOGIN PASSWORD',
    'shop_break_glass NOLOGIN',
    'shop_migrator LOGIN PASSWORD',
    'shop_monitor LOGIN PASSWORD CONNECTION LIMIT 5',
    'shop_owner NOLOGIN',
    'shop_readonly NOLOGIN',
    'shop_readwrite NOLOGIN',
    'shop_report LOGIN PASSWORD',
  ]);
  expect(lines.memberships).toEqual([
    'pg_monitor TO shop_break_glass WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    'pg_monitor TO shop_monitor WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    'pg_signal_backend TO shop_break_glass WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    'shop_owner TO shop_break_glass WITH INHERIT FALSE, SET TRUE, ADMIN FALSE',
    'shop_owner TO shop_migrator WITH INHERIT FALSE, SET TRUE, ADMIN FALSE',
    'shop_readonly TO shop_report WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    'shop_readwrite TO shop_app WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
  ]);
  expect(lines.settings).toEqual([
    "ROLE shop_app SET idle_in_transaction_session_timeout = '1min'",
    "ROLE shop_app SET statement_timeout = '15s'",
    'ROLE shop_migrator SET "role" = \'shop_owner\'',
    "ROLE shop_migrator SET idle_in_transaction_session_timeout = '1min'",
    "ROLE shop_migrator SET lock_timeout = '3s'",
    "ROLE shop_monitor SET lock_timeout = '1s'",
    "ROLE shop_monitor SET statement_timeout = '30s'",
    "ROLE shop_report SET idle_in_transaction_session_timeout = '5min'",
    "ROLE shop_report SET statement_timeout = '30min'",
  ]);
});

test('each may be left out, renamed and changed; what nobody needs is not there', () => {
  const { stack, roles } = setup({
    migrator: { roleName: 'deploy', lockTimeout: Duration.seconds(10) },
    app: { roleName: 'api', authentication: Authentication.iam(), connectionLimit: 20 },
    report: { omit: true },
    monitor: { omit: true },
    breakGlass: { omit: true },
    cdc: {},
  });
  const lines = declaredLines(stack);
  expect(lines.roles).toEqual([
    'api LOGIN IAM CONNECTION LIMIT 20',
    'deploy LOGIN PASSWORD',
    'shop_cdc LOGIN PASSWORD REPLICATION',
    'shop_owner NOLOGIN',
    'shop_readwrite NOLOGIN',
  ]);
  expect(lines.settings).toContain("ROLE deploy SET lock_timeout = '10s'");
  expect(lines.settings).toContain("ROLE api SET statement_timeout = '15s'");
  expect([roles.report, roles.monitor, roles.breakGlass]).toEqual([undefined, undefined, undefined]);
});

test('the owner and the groups are named by the database', () => {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  const app = server.addDatabase('shop', {
    owner: server.addGroupRole('keeper'),
    readWriteRoleName: 'writers',
    readOnlyRoleName: 'readers',
  });
  app.addRoleSet({ monitor: { omit: true }, breakGlass: { omit: true } });
  expect(declaredLines(stack).roles).toEqual([
    'keeper NOLOGIN',
    'readers NOLOGIN',
    'shop_app LOGIN PASSWORD',
    'shop_migrator LOGIN PASSWORD',
    'shop_report LOGIN PASSWORD',
    'writers NOLOGIN',
  ]);
});

test('break-glass: a login and a secret only as long as the app says until when', () => {
  const secretsOf = (options: RoleSetOptions) => {
    const { stack, roles } = setup(options);
    const count = Object.keys(Template.fromStack(stack).findResources('AWS::SecretsManager::Secret')).length;
    return { count, roles, lines: declaredLines(stack) };
  };
  const closed = secretsOf({});
  const open = secretsOf({ breakGlass: { enabledUntil: new Date('2030-01-01T12:00:00Z') } });
  expect(open.count).toBe(closed.count + 1);
  expect(open.roles.breakGlass).toBeInstanceOf(LoginRole);
  expect(closed.roles.breakGlass).not.toBeInstanceOf(LoginRole);
  expect(open.lines.roles).toContain(
    "shop_break_glass LOGIN PASSWORD CONNECTION LIMIT 2 VALID UNTIL '2030-01-01T12:00:00.000Z'",
  );
  // Opening it changes who logs in, and nothing of what it may do.
  expect(open.lines.memberships).toEqual(closed.lines.memberships);
});

/** Every role has the password `pw-NAME`. */
const secrets: SecretSource = async (name) => ({
  password: `pw-${name}`,
  verifier: scramVerifier(`pw-${name}`, Buffer.alloc(16)),
  versionId: 'v',
});

describe.each(VERSIONS)('on PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
    await apply(server, declaredState(setup({ cdc: {} }).stack), { secrets });
  });

  async function trying(user: string, sql: string): Promise<string> {
    try {
      const client = await server.connect({ user, password: `pw-${user}`, database: 'shop' });
      try {
        await client.query(sql);
        return 'done';
      } finally {
        await client.end();
      }
    } catch (error) {
      return (error as Error).message;
    }
  }

  test('SEC-4: what the migrator makes belongs to the owner, and each of the others may do its work and no more', async () => {
    expect(await trying('shop_migrator', 'CREATE TABLE orders.item (id serial PRIMARY KEY, what text)')).toBe('done');
    expect(await trying('shop_app', "INSERT INTO orders.item (what) VALUES ('pen')")).toBe('done');
    expect(await trying('shop_app', 'CREATE TABLE orders.mine ()')).toBe('permission denied for schema orders');
    expect(await trying('shop_app', 'SET ROLE shop_owner')).toBe('permission denied to set role "shop_owner"');
    expect(await trying('shop_report', 'SELECT * FROM orders.item')).toBe('done');
    expect(await trying('shop_report', 'DELETE FROM orders.item')).toBe('permission denied for table item');
    expect(await trying('shop_monitor', 'SELECT * FROM pg_stat_activity')).toBe('done');
    expect(await trying('shop_monitor', 'SELECT * FROM orders.item')).toBe('permission denied for schema orders');
    expect(await trying('shop_cdc', 'SELECT * FROM orders.item')).toBe('permission denied for schema orders');
    expect(
      await server.query("SELECT pg_has_role('shop_cdc', 'rds_replication', 'USAGE') AS may", { superuser: true }),
    ).toEqual([{ may: true }]);
  });

  test('a second run has nothing to do', async () => {
    const { plan: again } = await plan(server, declaredState(setup({ cdc: {} }).stack), { secrets });
    expect([again.steps, again.withheld]).toEqual([[], []]);
  });

  test('break-glass is closed, opened by the app, and closed again', async () => {
    const enabledUntil = new Date(Date.now() + 3_600_000);
    const open = declaredState(setup({ cdc: {}, breakGlass: { enabledUntil } }).stack);
    const closed = declaredState(setup({ cdc: {} }).stack);
    const enter = () => trying('shop_break_glass', 'ALTER TABLE orders.item ADD COLUMN IF NOT EXISTS fixed boolean');
    expect(await enter()).not.toBe('done');
    await apply(server, open, { secrets });
    expect(await enter()).toBe('done');
    expect((await apply(server, closed, { secrets })).plan.withheld).toEqual([]);
    expect(await enter()).toMatch(/not permitted to log in/);
  });
});
