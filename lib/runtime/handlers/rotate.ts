import { SERVER_VARIABLE } from '../../contract';
import { readRotationEvent, rotate } from '../rotate';
import { SecretStore } from '../secrets';
import { logLine } from './log';
import { readServerReference, trustedRoots } from './server-reference';

/** The rotation function of the administrator's and the roles' secrets. An error makes Secrets Manager run the step again. */
export async function handler(event: unknown): Promise<void> {
  const rotation = readRotationEvent(event);
  const server = readServerReference(JSON.parse(process.env[SERVER_VARIABLE] ?? '{}'));
  const store = new SecretStore();
  const context = { step: rotation.step, secret: rotation.secret };
  try {
    await rotate(rotation, {
      store,
      adminSecret: server.AdminSecretArn,
      server: {
        host: server.Host,
        readerHost: server.ReaderHost,
        port: server.Port,
        database: server.AdminDatabase,
        ca: trustedRoots(server.Trust, __dirname),
        patience: 30_000,
      },
      onProgress: (message) => logLine('progress', { ...context, message }),
    });
    logLine('done', context);
  } catch (error) {
    logLine('failed', { ...context, problem: (error as Error).message }, 'error');
    throw error;
  } finally {
    store.destroy();
  }
}
