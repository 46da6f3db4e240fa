import { createHash, createHmac, pbkdf2Sync, randomBytes, timingSafeEqual } from 'node:crypto';

/** Strict: PostgreSQL takes whatever does not look exactly like this as a clear password, even with a newline at its end. */
const VERIFIER = /^SCRAM-SHA-256\$(\d{1,9}):([A-Za-z0-9+/]+={0,2})\$([A-Za-z0-9+/]{43}=):([A-Za-z0-9+/]{43}=)$/;

/** PostgreSQL's own default. */
const ITERATIONS = 4096;

/**
 * The SCRAM-SHA-256 verifier of a password, which PostgreSQL stores in its place, so that the password itself is never sent.
 * Source: RFC 5803, reconciler case 37.
 */
export function scramVerifier(password: string, salt: Buffer = randomBytes(16), iterations = ITERATIONS): string {
  requireUsablePassword(password);
  const salted = pbkdf2Sync(password, salt, iterations, 32, 'sha256');
  const storedKey = createHash('sha256').update(hmac(salted, 'Client Key')).digest('base64');
  const serverKey = hmac(salted, 'Server Key').toString('base64');
  return `SCRAM-SHA-256$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`;
}

/** Whether a text is a verifier, and of this password. */
export function fitsVerifier(password: string, verifier: string): boolean {
  const match = VERIFIER.exec(verifier);
  if (!match || passwordProblem(password) !== undefined) return false;
  const iterations = Number(match[1]);
  if (iterations < 1 || iterations > 1_000_000) return false;
  const expected = scramVerifier(password, Buffer.from(match[2], 'base64'), iterations);
  return expected.length === verifier.length && timingSafeEqual(Buffer.from(expected), Buffer.from(verifier));
}

/** Fails for a text that PostgreSQL would store as a clear password's hash rather than as the verifier it is. */
export function requireVerifier(text: string): string {
  if (!VERIFIER.test(text))
    throw new Error('what should be a SCRAM-SHA-256 verifier is not one, so it is not sent to the server');
  return text;
}

/**
 * What is wrong with a password, in words that never show it. PostgreSQL normalises other characters by SASLprep, which Node.js does not
 * have: a verifier made without it would lock the role out.
 */
export function passwordProblem(password: string): string | undefined {
  if (password.length === 0) return 'is empty';
  if (password.length > 1024) return 'is longer than 1,024 characters';
  return /^[\x20-\x7e]+$/.test(password) ? undefined : 'has characters other than printable ASCII';
}

function requireUsablePassword(password: string): void {
  const problem = passwordProblem(password);
  if (problem) throw new Error(`the password ${problem}; use 1 to 1,024 printable ASCII characters`);
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
