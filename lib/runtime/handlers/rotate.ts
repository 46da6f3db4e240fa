import { POOLER_PICKUP_VARIABLE, SERVER_VARIABLE } from '../../contract';
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
      pickup: pickupOf(process.env[POOLER_PICKUP_VARIABLE]),
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

/** Seconds of the environment, in milliseconds. */
function pickupOf(seconds: string | undefined): number {
  if (seconds === undefined) return 0;
  if (!/^\d{1,3}$/.test(seconds))
    throw new Error(`${POOLER_PICKUP_VARIABLE} is ${JSON.stringify(seconds)}, and not 0 to 999 seconds`);
  return Number(seconds) * 1000;
}
