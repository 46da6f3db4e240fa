import { ConnectionSettings } from '../reconcile';
import { readComplete, SecretStore } from '../secrets';
import { KnownServer, trustedRoots } from './server-reference';

/** How to connect as the administrator. `directory` holds the certificates of RDS. */
export async function connectionTo(
  server: KnownServer,
  store: SecretStore,
  directory: string,
): Promise<ConnectionSettings> {
  const { document } = await readComplete(store, server.AdminSecretArn, undefined, undefined);
  return {
    host: server.Host,
    port: server.Port,
    user: document.username,
    password: document.password,
    database: server.AdminDatabase,
    ca: trustedRoots(server.Trust, directory),
  };
}
