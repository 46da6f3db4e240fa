import { connectionSecrets, SecretStore } from '../../../lib/runtime/secrets';

const source = (document: object) =>
  connectionSecrets(
    { get: async () => ({ versionId: 'v1', text: JSON.stringify(document) }) } as unknown as SecretStore,
    { key: 'arn:secret' },
  );
const complete = { host: 'h', port: 5433, dbname: 'd', username: 'u', password: 'hidden' };

test('LR-4: reads what Amazon RDS and this library write', async () => {
  expect(await source({ ...complete, engine: 'postgres' })('key')).toEqual({
    ...complete,
    sslmode: undefined,
    sslrootcert: undefined,
    versionId: 'v1',
  });
});

test.each<[string, object, RegExp]>([
  ['no host', { ...complete, host: undefined }, /arn:secret has no "host"/],
  ['no database', { ...complete, dbname: '' }, /"dbname" that is no text/],
  ['a port that is none', { ...complete, port: 'x' }, /has a "port" that is none/],
  [
    'a way to connect that checks nobody',
    { ...complete, sslmode: 'require' },
    /"sslmode" that does not check who answers/,
  ],
])('LR-4: refuses %s, and shows nothing of it', async (_what, document, problem) => {
  const error = await source(document)('key').catch((thrown: Error) => thrown);
  expect((error as Error).message).toMatch(problem);
  expect((error as Error).message).not.toContain('hidden');
});

test('a key without a secret is named', async () => {
  await expect(source(complete)('other')).rejects.toThrow('no secret is given for the connection "other"');
});
