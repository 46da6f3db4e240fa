import { RoleLogins } from '../../../lib/runtime/pooler/logins';
import { scramVerifier, SecretStore } from '../../../lib/runtime/secrets';
import { TestSecretsManager } from '../../support/secrets-manager';

let manager: TestSecretsManager;
let store: SecretStore;
beforeEach(async () => {
  manager = await TestSecretsManager.start();
  store = new SecretStore({ ...manager.config, maxAttempts: 1 });
});
afterEach(async () => {
  store.destroy();
  await manager.stop();
});

const secret = (username: string, password: string, more: object = {}) => ({
  username,
  password,
  verifier: scramVerifier(password),
  ...more,
});

async function begin(arn: string, value: object): Promise<string> {
  const token = manager.beginRotation(arn);
  await store.put(arn, value, token, 'AWSPENDING');
  return token;
}

describe('who may log in', () => {
  test('is who the current version names, by its verifier', async () => {
    const api = secret('api', 'one');
    const logins = new RoleLogins(store, { api: manager.create('api', api) });
    expect(await logins.look()).toEqual({ verifiers: new Map([['api', api.verifier]]), problems: new Map() });
  });

  test('SEC-18: is the other of two logins before its turn comes, and the one before after it', async () => {
    const [first, second] = [secret('api_1', 'one', { group: 'api' }), secret('api_2', 'two', { group: 'api' })];
    const arn = manager.create('api', first);
    const logins = new RoleLogins(store, { api: arn });
    const token = await begin(arn, second);
    const both = new Map([
      ['api_1', first.verifier],
      ['api_2', second.verifier],
    ]);
    expect((await logins.look()).verifiers).toEqual(both);
    await store.makeCurrent(arn, token, manager.versionId(arn)!);
    expect((await logins.look()).verifiers).toEqual(both);
    // The turn after that changes the password of the first.
    const third = secret('api_1', 'three', { group: 'api' });
    await begin(arn, third);
    expect((await logins.look()).verifiers).toEqual(
      new Map([
        ['api_1', third.verifier],
        ['api_2', second.verifier],
      ]),
    );
  });

  test('never is by a pending password of the same login, which the server does not have yet', async () => {
    const api = secret('api', 'one');
    const arn = manager.create('api', api);
    const logins = new RoleLogins(store, { api: arn });
    await begin(arn, secret('api', 'two'));
    expect((await logins.look()).verifiers).toEqual(new Map([['api', api.verifier]]));
  });

  test.each([
    ['no verifier', { username: 'api', password: 'clear-1' }, 'has no verifier yet'],
    [
      'the verifier of another password',
      { ...secret('api', 'clear-1'), password: 'clear-2' },
      'a verifier of another password',
    ],
    ['another role', secret('other', 'clear-1'), 'is the secret of the role "other", not of "api"'],
    ['no JSON', 'clear-1', 'is not JSON'],
  ])('is nobody by a secret with %s, which is told of without its content', async (_, value, problem) => {
    const good = secret('good', 'well');
    const logins = new RoleLogins(store, { api: manager.create('api', value), good: manager.create('good', good) });
    const look = await logins.look();
    expect(look.verifiers).toEqual(new Map([['good', good.verifier]]));
    expect([...look.problems.keys()]).toEqual(['api']);
    expect(look.problems.get('api')).toContain(problem);
    expect(look.problems.get('api')).not.toContain('clear-');
  });

  test('stays who it was while Secrets Manager does not answer', async () => {
    const api = secret('api', 'one');
    const logins = new RoleLogins(store, { api: manager.create('api', api) });
    await logins.look();
    manager.failing = { operation: 'DescribeSecret', type: 'ThrottlingException' };
    const look = await logins.look();
    expect(look.verifiers).toEqual(new Map([['api', api.verifier]]));
    expect(look.problems.get('api')).toContain('ThrottlingException');
  });

  test('is not asked for again while no version is new', async () => {
    const logins = new RoleLogins(store, { api: manager.create('api', secret('api', 'one')) });
    await logins.look();
    manager.calls.length = 0;
    await logins.look();
    expect(manager.operations()).toEqual(['DescribeSecret']);
  });
});
