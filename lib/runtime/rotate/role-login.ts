import { Client } from 'pg';
import { ConnectionError, openClient, tryLogin } from '../connection';
import { ConnectionSettings } from '../reconcile/types';
import { requireVerifier, StoredSecret } from '../secrets';

/** The server of a role, without the role. */
export type RotationServer = Pick<ConnectionSettings, 'host' | 'port' | 'ca'> & {
  readonly readerHost?: string;
  /** Where a role logs in whose secret names no database. */
  readonly database: string;
  /** Milliseconds in which a server that starts or fails over is tried again. */
  readonly patience?: number;
};

/** Logs in as the role of a secret; undefined when the server refuses its password. Every other failure is an error. */
export async function logIn(server: RotationServer, secret: StoredSecret): Promise<Client | undefined> {
  const databases = [...new Set([secret.dbname ?? server.database, server.database])];
  for (const [at, database] of databases.entries()) {
    try {
      return await openClient(
        { ...loginOf(server, secret), database },
        { applicationName: 'cdk-postgres rotation', patience: server.patience },
      );
    } catch (error) {
      const { code } = error as ConnectionError;
      if (code === '28P01') return undefined;
      const isClosed = code === '42501' || code === '3D000';
      if (!isClosed || at === databases.length - 1) throw error;
    }
  }
  return undefined;
}

/** Whether the server takes the password of a secret, which no limit of the role or the server says anything about. */
export async function canLogIn(server: RotationServer, secret: StoredSecret): Promise<boolean> {
  const verdict = await tryLogin(loginOf(server, secret));
  if (verdict !== 'unknown') return verdict === 'works';
  // With patience, and with an error that says what is wrong.
  const client = await logIn(server, secret);
  await client?.end();
  return client !== undefined;
}

/** The same in one attempt, for a moment in which nobody should have to wait. */
export function tryLoginOnce(server: RotationServer, secret: StoredSecret, connectTimeout: number) {
  return tryLogin(loginOf(server, secret), { connectTimeout });
}

function loginOf({ host, port, ca, database }: RotationServer, secret: StoredSecret): ConnectionSettings {
  return { host, port, ca, database, user: secret.username, password: secret.password };
}

/** A role may change its own password. Sends the verifier, never the password. */
export async function setOwnPassword(client: Client, verifier: string): Promise<void> {
  await client.query(`ALTER ROLE SESSION_USER PASSWORD ${client.escapeLiteral(requireVerifier(verifier))}`);
}
