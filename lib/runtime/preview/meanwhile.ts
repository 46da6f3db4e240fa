import * as tls from 'node:tls';
import { Client } from 'pg';
import { PreviewServer } from './preview-server';

/** A part of a script: what one role runs in one database. */
interface Part {
  readonly database: string;
  readonly role?: string;
  readonly sql: string;
}

/**
 * Runs what happens on a server between two deployments: migrations, and what people do by hand. Lines such as
 * `\connect DATABASE [ROLE]`, as in psql, say where and as whom; a role logs in with its own password.
 */
export async function runMeanwhile(
  script: string,
  server: PreviewServer,
  secretArns: Readonly<Record<string, string>>,
): Promise<void> {
  for (const part of parts(script)) {
    const { host, port, user, password } = server.connection();
    const client = new Client({
      host,
      port,
      user,
      password,
      ...login(part, server, secretArns),
      // pg passes names only to the check of the certificate, and this host is an address.
      ssl: { ca: server.ca, checkServerIdentity: (_name, certificate) => tls.checkServerIdentity(host, certificate) },
    });
    client.on('error', () => undefined);
    await client.connect();
    try {
      await client.query(part.sql);
    } catch (error) {
      throw new Error(
        `in the database ${part.database}${part.role ? ` as ${part.role}` : ''}: ${(error as Error).message}`,
      );
    } finally {
      await client.end();
    }
  }
}

function login(part: Part, server: PreviewServer, secretArns: Readonly<Record<string, string>>) {
  const { database, role } = part;
  if (role === undefined) return { database };
  const secret = secretArns[role] === undefined ? undefined : server.secrets.value(secretArns[role]);
  if (!secret) throw new Error(`\\connect ${database} ${role}: the role has no password of its own`);
  return { database, user: String(secret.username), password: String(secret.password) };
}

function parts(script: string): Part[] {
  const found: Part[] = [];
  let current: { database: string; role?: string; sql: string } = { database: 'postgres', sql: '' };
  for (const line of script.split('\n')) {
    const match = /^\\connect\s+(\S+)(?:\s+(\S+))?\s*$/.exec(line);
    if (line.startsWith('\\') && !match) throw new Error(`only \\connect DATABASE [ROLE] is known, and not ${line}`);
    if (match) {
      found.push(current);
      current = { database: match[1], role: match[2], sql: '' };
    } else current.sql += `${line}\n`;
  }
  return [...found, current].filter(({ sql }) => sql.trim() !== '');
}
