import { fitsVerifier, roleSecrets, scramVerifier, SecretStore } from '../../../lib/runtime/secrets';
import { TestSecretsManager } from '../../support/secrets-manager';

const ENDPOINT = { host: 'writer.example', readerHost: 'reader.example', port: 15432, dbname: 'app' };

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

const source = (arn: string, endpoint: typeof ENDPOINT | undefined = ENDPOINT) =>
  roleSecrets({ store, arns: { api: arn }, endpointOf: endpoint && (() => endpoint) });

test('a new secret gets its verifier and where to connect, and keeps what the user added', async () => {
  const arn = manager.create('api', { username: 'api', password: 'hunter2', team: 'payments' });
  const secret = await source(arn)('api');
  const stored = manager.value(arn)!;
  expect(stored).toEqual({
    username: 'api',
    password: 'hunter2',
    team: 'payments',
    engine: 'postgres',
    ...ENDPOINT,
    verifier: secret.verifier,
  });
  expect(fitsVerifier('hunter2', secret.verifier)).toBe(true);
  expect(secret).toMatchObject({ password: 'hunter2', versionId: manager.versionId(arn) });
});

test('a complete secret is only read, so that server and pooler keep one verifier', async () => {
  const arn = manager.create('api', { username: 'api', password: 'hunter2' });
  const first = await source(arn)('api');
  manager.calls.length = 0;
  expect(await source(arn)('api')).toEqual(first);
  expect(manager.operations()).toEqual(['GetSecretValue']);
});

test('a password that was changed by hand gets a verifier of its own', async () => {
  const arn = manager.create('api', { username: 'api', password: 'old', verifier: scramVerifier('old') });
  manager.replace(arn, { username: 'api', password: 'new', verifier: scramVerifier('old') });
  const secret = await source(arn)('api');
  expect(fitsVerifier('new', secret.verifier)).toBe(true);
  expect(manager.value(arn)).toMatchObject({ password: 'new', verifier: secret.verifier });
});

test('a new endpoint is written, the verifier stays, a reader that is gone goes', async () => {
  const arn = manager.create('api', { username: 'api', password: 'hunter2' });
  const before = await source(arn)('api');
  const after = await roleSecrets({
    store,
    arns: { api: arn },
    endpointOf: () => ({ host: 'restored.example', port: 15432 }),
  })('api');
  expect(after.verifier).toBe(before.verifier);
  expect(manager.value(arn)).toMatchObject({ host: 'restored.example', dbname: 'app' });
  expect(manager.value(arn)).not.toHaveProperty('readerHost');
});

test('without an endpoint nothing is written', async () => {
  const arn = manager.create('api', { username: 'api', password: 'hunter2' });
  const secret = await roleSecrets({ store, arns: { api: arn } })('api');
  expect(fitsVerifier('hunter2', secret.verifier)).toBe(true);
  expect(manager.operations()).toEqual(['GetSecretValue']);
});

test('a rotation that ends between reading and writing is not undone', async () => {
  const arn = manager.create('api', { username: 'api', password: 'old' });
  let reads = 0;
  manager.afterCall = ({ operation }) => {
    if (operation === 'GetSecretValue' && ++reads === 1) manager.replace(arn, { username: 'api', password: 'rotated' });
  };
  expect((await source(arn)('api')).password).toBe('rotated');
  expect(manager.value(arn)).toMatchObject({ password: 'rotated' });
});

test.each([
  ['no password', { username: 'api' }, 'has no "password"'],
  ['an empty password', { username: 'api', password: '' }, 'has a "password" that is empty'],
  ['a password that is no text', { username: 'api', password: null }, 'has no "password"'],
  ['a password beyond ASCII', { username: 'api', password: 'hünter2' }, 'other than printable ASCII'],
  ['no user name', { password: 'hunter2' }, 'has no "username"'],
  ['another user', { username: 'master', password: 'hunter2' }, 'is the secret of the role "master", not of "api"'],
  ['no JSON', 'hunter2', 'is not JSON'],
  ['a list', '["hunter2"]', 'is not a JSON object'],
  ['null', 'null', 'is not a JSON object'],
  ['an empty text', '', 'has no text value'],
])('case 39: a secret with %s fails its role, is not written, and is not shown', async (_, value, message) => {
  const arn = manager.create('api', value);
  const failure = await source(arn)('api').catch((error) => error as Error);
  expect((failure as Error).message).toContain(message);
  expect((failure as Error).message).toContain(arn);
  expect(String((failure as Error).stack)).not.toMatch(/h[uü]nter2/);
  expect(manager.operations()).not.toContain('PutSecretValue');
});

test.each([
  ['ResourceNotFoundException', 'does not exist'],
  ['AccessDeniedException', 'resource policy'],
  ['DecryptionFailure', 'KMS key'],
  ['InvalidRequestException', 'marked for deletion'],
])('%s says what to do', async (type, message) => {
  const arn = manager.create('api', { username: 'api', password: 'hunter2' });
  manager.failing = { operation: 'GetSecretValue', type };
  await expect(source(arn)('api')).rejects.toThrow(message);
});

test('no way to Secrets Manager names the endpoint to add', async () => {
  const lost = new SecretStore({ ...manager.config, endpoint: 'http://127.0.0.1:1', maxAttempts: 1 });
  await expect(roleSecrets({ store: lost, arns: { api: 'arn:x' } })('api')).rejects.toThrow(
    'add the interface endpoint "secretsmanager"',
  );
});

test('a role without a secret is an error, also one named like a property of every object', async () => {
  await expect(roleSecrets({ store, arns: {} })('constructor')).rejects.toThrow(
    'no secret is given for the role "constructor"',
  );
});

test('the secret of a group says which of its logins has the turn; a login of another group is refused', async () => {
  const arn = manager.create('api', { username: 'api_2', group: 'api', password: 'hunter2' });
  expect(await source(arn)('api')).toMatchObject({ user: 'api_2', password: 'hunter2' });
  expect(manager.value(arn)).toMatchObject({ username: 'api_2', group: 'api', host: ENDPOINT.host });
  manager.replace(arn, { username: 'other_2', group: 'other', password: 'hunter2' });
  await expect(source(arn)('api')).rejects.toThrow('is the secret of the role "other_2", not of "api"');
  manager.replace(arn, { username: 'other_2', group: 'api', password: 'hunter2' });
  await expect(source(arn)('api')).rejects.toThrow('is none of the logins that take turns in it');
});
