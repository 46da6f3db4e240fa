import { FAILOVER_METRICS, FAILOVER_TARGET_VARIABLE, SERVER_VARIABLE } from '../../contract';
import { failOver, isAvailable, measureOutage, Outage, readTarget, requireSuccessor } from '../failover';
import { rdsClient } from '../guard/running';
import { SecretStore } from '../secrets';
import { connectionTo } from './admin-connection';
import { LambdaContext } from './cloudformation';
import { logLine, logMetrics } from './log';
import { readServerReference } from './server-reference';

const MARGIN_MS = 15_000;

/** How long the server may take until the status says nothing of the failover yet. */
const STATUS_DELAY_MS = 15_000;

/** Fails the server over and measures what writers see of it (HA-17). Called by hand, or by a schedule outside production. */
export async function handler(_event: unknown, context: LambdaContext): Promise<Outage> {
  const deadline = Date.now() + context.getRemainingTimeInMillis() - MARGIN_MS;
  const server = readServerReference(JSON.parse(process.env[SERVER_VARIABLE] ?? '{}'));
  const target = readTarget(process.env[FAILOVER_TARGET_VARIABLE]);
  const store = new SecretStore();
  const client = rdsClient();
  try {
    await requireSuccessor(client, target);
    const connection = await connectionTo(server, store, __dirname);
    let asked = 0;
    const outage = await measureOutage(connection, {
      deadline,
      trigger: async () => {
        logLine('failing over', { target });
        await failOver(client, target);
        asked = Date.now();
      },
      isOver: async () => Date.now() - asked > STATUS_DELAY_MS && (await isAvailable(client, target)),
      onProgress: (message) => logLine('progress', { message }),
    });
    logMetrics(
      { Server: server.Identity },
      {
        [FAILOVER_METRICS.outage]: outage.outageMilliseconds,
        [FAILOVER_METRICS.lost]: outage.lost,
        [FAILOVER_METRICS.failed]: outage.recovered && outage.interrupted ? 0 : 1,
      },
    );
    logLine('measured', { target, ...outage }, outage.recovered && outage.lost === 0 ? 'info' : 'error');
    return outage;
  } catch (error) {
    logMetrics({ Server: server.Identity }, { [FAILOVER_METRICS.failed]: 1 });
    logLine('failed', { target, problem: (error as Error).message }, 'error');
    throw error;
  } finally {
    store.destroy();
    client.destroy();
  }
}
