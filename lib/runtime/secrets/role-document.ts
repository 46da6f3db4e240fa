import { RoleSecretDocument, turnsOf } from '../../contract';
import { fitsVerifier, passwordProblem, scramVerifier } from './scram';

/** A role's secret as it is stored: what the library knows of it, and whatever the user has added. */
export type StoredSecret = RoleSecretDocument & Readonly<Record<string, unknown>>;

/** Where a role connects to, as applications read it from the secret. */
export interface SecretEndpoint {
  readonly host: string;
  readonly readerHost?: string;
  readonly port: number;
  readonly dbname?: string;
}

/** A secret that must not be used, in words that show nothing of what it holds. */
export class SecretError extends Error {
  constructor(
    readonly secret: string,
    problem: string,
  ) {
    super(`the secret ${secret} ${problem}`);
    this.name = 'SecretError';
  }
}

/**
 * Reads a secret strictly: nothing in it may ever become an empty password or the password of another role. `role` may be a group
 * whose logins take turns in the secret.
 */
export function readSecret(secret: string, text: string | undefined, role?: string): StoredSecret {
  const document = parse(secret, text);
  const { username, password, group } = document;
  if (typeof username !== 'string' || username === '') throw new SecretError(secret, 'has no "username"');
  if (group !== undefined && (typeof group !== 'string' || !turnsOf(group).includes(username))) {
    throw new SecretError(
      secret,
      `names the group ${JSON.stringify(group)}, and ${JSON.stringify(username)} is none of the logins that take turns in it; correct its "username"`,
    );
  }
  if (role !== undefined && username !== role && group !== role) {
    throw new SecretError(
      secret,
      `is the secret of the role ${JSON.stringify(username)}, not of ${JSON.stringify(role)}; correct its "username" or the declaration`,
    );
  }
  if (typeof password !== 'string') throw new SecretError(secret, 'has no "password"');
  const problem = passwordProblem(password);
  if (problem)
    throw new SecretError(secret, `has a "password" that ${problem}; use 1 to 1,024 printable ASCII characters`);
  return document as unknown as StoredSecret;
}

/** The verifier in a secret, or a new one where that is none of its password, as after an edit by hand. */
export function verifierOf({ password, verifier }: StoredSecret): string {
  return typeof verifier === 'string' && fitsVerifier(password, verifier) ? verifier : scramVerifier(password);
}

/**
 * The secret with what the library writes into it, or undefined when all of it is there. The verifier is kept as long as it fits,
 * since the server and a pooler must have the same one.
 */
export function completeSecret(current: StoredSecret, endpoint: SecretEndpoint | undefined): StoredSecret | undefined {
  const complete = defined({
    ...current,
    engine: 'postgres' as const,
    ...(endpoint && defined({ ...endpoint })),
    verifier: verifierOf(current),
  });
  if (endpoint && endpoint.readerHost === undefined) delete (complete as { readerHost?: string }).readerHost;
  const keys = new Set([...Object.keys(current), ...Object.keys(complete)]);
  const same = [...keys].every((key) => current[key] === (complete as StoredSecret)[key]);
  return same ? undefined : complete;
}

function parse(secret: string, text: string | undefined): Record<string, unknown> {
  if (text === undefined || text === '') throw new SecretError(secret, 'has no text value');
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch {
    // The parser's own message quotes the text.
    throw new SecretError(secret, 'is not JSON; it must be {"username": …, "password": …}');
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new SecretError(secret, 'is not a JSON object; it must be {"username": …, "password": …}');
  }
  return document as Record<string, unknown>;
}

function defined<T extends object>(fields: T): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}
