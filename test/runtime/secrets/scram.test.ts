import * as fc from 'fast-check';
import { fitsVerifier, requireVerifier, scramVerifier } from '../../../lib/runtime/secrets';
import { startServer, VERSIONS } from '../../support/postgres';

const PASSWORDS = [
  'pw',
  `quotes ' " and \\ backslash`,
  ' leading and trailing ',
  'x'.repeat(900),
  '{"json": true}',
  "');--",
];

describe.each(VERSIONS)('case 37 on PostgreSQL %d', (version) => {
  test('a role whose password was set by a verifier logs in with the password, which the log never shows', async () => {
    const server = await startServer({ version });
    for (const [at, password] of PASSWORDS.entries()) {
      await server.query(`CREATE ROLE r${at} LOGIN PASSWORD '${scramVerifier(password)}'`);
      const client = await server.connect({ user: `r${at}`, password });
      await client.end();
      await expect(server.connect({ user: `r${at}`, password: `${password}x` })).rejects.toThrow(
        'authentication failed',
      );
    }
    const stored = await server.query<{ rolpassword: string }>(
      "SELECT rolpassword FROM pg_authid WHERE rolname = 'r0'",
      { superuser: true },
    );
    expect(stored[0].rolpassword).toMatch(/^SCRAM-SHA-256\$4096:/);
    expect(fitsVerifier('pw', stored[0].rolpassword)).toBe(true);
  });

  test("the server's own verifier is understood", async () => {
    const server = await startServer({ version });
    await server.query("CREATE ROLE own PASSWORD 'of the server'");
    const [{ rolpassword }] = await server.query<{ rolpassword: string }>(
      "SELECT rolpassword FROM pg_authid WHERE rolname = 'own'",
      { superuser: true },
    );
    expect(fitsVerifier('of the server', rolpassword)).toBe(true);
    expect(fitsVerifier('of another', rolpassword)).toBe(false);
  });
});

test('a verifier with a newline at its end would be stored as a clear password, so it is refused', async () => {
  const verifier = scramVerifier('secret');
  const server = await startServer({ version: 18 });
  await server.query(`CREATE ROLE trap LOGIN PASSWORD '${verifier}\n'`);
  await expect(server.connect({ user: 'trap', password: 'secret' })).rejects.toThrow('authentication failed');
  expect(() => requireVerifier(`${verifier}\n`)).toThrow('not sent to the server');
  expect(() => requireVerifier(` ${verifier}`)).toThrow('not sent');
  expect(() => requireVerifier('md5abc')).toThrow('not sent');
  expect(requireVerifier(verifier)).toBe(verifier);
});

test.each(['', 'pässword', 'tab\t', 'nul\0', '№', 'soft\u00adhyphen', 'y'.repeat(1025)])(
  'the password %j is refused without being shown',
  (password) => {
    let message = '';
    try {
      scramVerifier(password);
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(/the password (is|has) .*printable ASCII/);
    if (password) expect(message).not.toContain(password);
    expect(fitsVerifier(password, scramVerifier('other'))).toBe(false);
  },
);

test('every printable password fits its own verifier and no other, with a salt of its own each time', () => {
  const password = fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(password, password, (one, two) => {
      const verifier = scramVerifier(one);
      expect(fitsVerifier(one, verifier)).toBe(true);
      expect(fitsVerifier(two, verifier)).toBe(one === two);
      expect(scramVerifier(one)).not.toBe(verifier);
    }),
    { numRuns: 30 },
  );
});

test.each(['', 'nonsense', 'SCRAM-SHA-256$999999999:YWJj$x:y', 'SCRAM-SHA-256$0:YWJj$x:y'])(
  '%j fits nothing',
  (verifier) => {
    expect(fitsVerifier('pw', verifier)).toBe(false);
  },
);
