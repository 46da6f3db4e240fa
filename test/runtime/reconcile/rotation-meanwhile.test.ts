import { SecretSource } from '../../../lib/runtime/reconcile';
import { rotate, ROTATION_STEPS } from '../../../lib/runtime/rotate';
import { roleSecrets, scramVerifier, SecretStore } from '../../../lib/runtime/secrets';
import { freshServer, TestServer } from '../../support/postgres';
import { TestSecretsManager } from '../../support/secrets-manager';
import { login } from './declaration';
import { apply, appWith, asOwner, grantsOf, sqlOf } from './runs';

const state = appWith(
  {},
  { roles: [...appWith({}).roles.filter(({ name }) => name !== 'api'), login('api', { authentication: 'password' })] },
);

/** A grant on every table, for which a deployment needs their rows in the catalog. */
const more = {
  ...state,
  databases: [
    {
      ...state.databases[0],
      grants: [
        ...grantsOf(state),
        { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'api' } as const,
        { privileges: ['SELECT'], on: { kind: 'allTables', schema: 'billing' }, to: 'api' } as const,
      ],
    },
  ],
};

describe('case 39: a secret that gets another version while a deployment runs', () => {
  let server: TestServer;
  let manager: TestSecretsManager;
  let store: SecretStore;
  let arn: string;
  let secrets: SecretSource;
  beforeEach(async () => {
    server = await freshServer({ version: 18 });
    manager = await TestSecretsManager.start();
    store = new SecretStore({ ...manager.config, maxAttempts: 1 });
    arn = manager.create('api', { username: 'api', password: 'first' });
    secrets = roleSecrets({ store, arns: { api: arn } });
    await apply(server, state, { secrets });
    await asOwner(server, 'CREATE TABLE billing.invoice (id int)');
  });
  afterEach(async () => {
    store.destroy();
    await manager.stop();
    await server.stop();
  });

  const logsIn = () =>
    server.connect({ user: 'api', password: manager.value(arn)!.password as string }).then(
      (client) => client.end().then(() => true),
      () => false,
    );

  test('a rotation that ends while a step waits is not undone by what was read before', async () => {
    const blocker = await server.connect({ database: 'app' });
    await blocker.query('SET ROLE app_owner; BEGIN; GRANT SELECT ON billing.invoice TO PUBLIC');
    const deployment = apply(server, more, { secrets });
    await waitFor(() => server.query('SELECT FROM pg_locks WHERE NOT granted', { superuser: true }));
    const token = manager.beginRotation(arn);
    for (const step of ROTATION_STEPS) {
      await rotate(
        { step, secret: arn, token },
        { store, server: { host: server.host, port: server.port, ca: false, database: 'postgres' } },
      );
    }
    await blocker.query('ROLLBACK');
    await blocker.end();
    const report = await deployment;
    expect(report).toMatchObject({ outcome: 'applied', proof: { checkedLogins: 1 } });
    expect(sqlOf(report.plan.steps).join()).not.toContain('PASSWORD');
    expect(manager.value(arn)).not.toMatchObject({ password: 'first' });
    expect(await logsIn()).toBe(true);
  });

  /** A new current version, which the server has: what is left of a rotation when it has ended. */
  const replaced = async () => {
    const verifier = scramVerifier('second');
    await server.query(`ALTER ROLE api PASSWORD '${verifier}'`);
    manager.replace(arn, { username: 'api', password: 'second', verifier });
  };

  test('a password that was planned from the version before is not set', async () => {
    await server.query("ALTER ROLE api PASSWORD 'by hand'");
    const progress: string[] = [];
    let isReplaced = false;
    const source: SecretSource = async (role) => {
      // The steps have begun, and the secret is read to set its password.
      if (!isReplaced && progress.some((message) => message.includes('password of role api'))) {
        isReplaced = true;
        await replaced();
      }
      return secrets(role);
    };
    const log = await server.recordStatements(async () => {
      const report = await apply(server, state, { secrets: source, onProgress: (message) => progress.push(message) });
      expect(report.outcome).toBe('unchanged');
    });
    expect(isReplaced).toBe(true);
    expect(progress.join()).toContain('the run begins anew: the secret of the role "api" has changed');
    expect(log.filter(({ sql }) => /PASSWORD 'SCRAM/.test(sql) && sql.includes('"api"'))).toEqual([]);
    expect(await logsIn()).toBe(true);
  });

  test('a login with the version before, which fails since a rotation has ended, is no reason to set a password', async () => {
    let isReplaced = false;
    const progress: string[] = [];
    const source: SecretSource = async (role) => {
      const secret = await secrets(role);
      if (!isReplaced) await replaced();
      isReplaced = true;
      return secret;
    };
    const report = await apply(server, state, { secrets: source, onProgress: (message) => progress.push(message) });
    expect(report.outcome).toBe('unchanged');
    expect(progress.join()).toContain('the run begins anew');
    expect(await logsIn()).toBe(true);
  });

  test('a password that was set while a rotation ended is set once more, from the new version', async () => {
    await server.query("ALTER ROLE api PASSWORD 'by hand'");
    let isSet = false;
    const progress: string[] = [];
    const source: SecretSource = async (role) => {
      const secret = await secrets(role);
      // The statement that is about to run has it.
      if (!isSet && progress.some((message) => message.includes('password of role api'))) {
        isSet = true;
        await replaced();
      }
      return secret;
    };
    const report = await apply(server, state, { secrets: source, onProgress: (message) => progress.push(message) });
    expect(isSet).toBe(true);
    expect(progress.join()).not.toContain('begins anew');
    expect(report).toMatchObject({ outcome: 'applied', proof: { checkedLogins: 1 } });
    expect(await logsIn()).toBe(true);
  });
});

async function waitFor(rows: () => Promise<unknown[]>): Promise<void> {
  while ((await rows()).length === 0) await new Promise((resolve) => setTimeout(resolve, 50));
}
