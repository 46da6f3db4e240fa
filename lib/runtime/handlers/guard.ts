import { RDSClient } from '@aws-sdk/client-rds';
import { GuardedServer } from '../../contract/deploy-guard';
import { weigh } from '../guard/acknowledged';
import { describeObjection, fingerprint, judge } from '../guard/judge';
import { readAcknowledgements, readServers } from '../guard/properties';
import { readReceipt, Receipt, writeReceipt } from '../guard/receipt';
import { describeSources, judgeRestore } from '../guard/source';
import { describeRunning, rdsClient, RunningServer } from '../guard/running';
import { ResourceAnswer, ResourceRequest, serveCustomResource } from './cloudformation';
import { logLine } from './log';

/** No stack operation goes on for longer, so that going back after it is a new decision. */
const ROLLBACK_WINDOW_MS = 24 * 3_600_000;

/** The function of the deploy guard: fails before a server is touched that the deployment would replace, downgrade or empty. */
export const handler = serveCustomResource((request) => {
  const client = rdsClient();
  return standGuard(request, client, new Date()).finally(() => client.destroy());
});

export async function standGuard(request: ResourceRequest, client: RDSClient, now: Date): Promise<ResourceAnswer> {
  if (request.type === 'Delete') return { physicalId: request.physicalId! };
  const desired = readServers(request.properties);
  const wanted = fingerprint(desired);
  const receipt = readReceipt(request.physicalId);
  // Nothing that the guard watches changes, or CloudFormation goes back to what stood before the guard refused.
  if (receipt?.accepted === wanted) return pass(request.physicalId!, 'nothing that the guard watches has changed');

  const isOwn = (server: GuardedServer, running: RunningServer) =>
    running.stackId === request.stackId && running.logicalId === server.LogicalId;
  const mayBeRollback = receipt?.before === wanted && now.getTime() - receipt.at < ROLLBACK_WINDOW_MS;
  if (mayBeRollback && (await stillStand(client, desired, isOwn))) {
    return pass(receiptAfter(receipt, wanted, now), 'the deployment goes back to servers that still stand');
  }

  const running = await describeRunning(client, desired);
  const previous = request.type === 'Update' ? readServers(request.oldProperties ?? {}) : undefined;
  // What runs already has been restored, and its source may be gone since.
  const toRestore = desired.filter(({ LogicalId }) => !running.has(LogicalId));
  const sources = await describeSources(client, toRestore);
  const objections = [
    ...judge({ desired, previous, running, isOwn }),
    ...toRestore.flatMap((server) => judgeRestore(server, sources.get(server.LogicalId))),
  ];
  const { refused, accepted, expired } = weigh(objections, readAcknowledgements(request.properties), now);
  for (const { objection, reason, expires } of accepted)
    logLine('acknowledged', { objection, reason, expires }, 'warn');
  if (refused.length === 0) {
    const note = accepted.map(({ objection, reason }) => `${objection.id}: ${reason}`).join('; ');
    return pass(receiptAfter(receipt, wanted, now), note || 'no server is replaced, downgraded or emptied');
  }
  for (const objection of refused) logLine('refused', { objection }, 'error');
  const late = expired.map(({ Id, Expires }) => ` The acknowledgement of ${Id} has expired on ${Expires}.`);
  throw new Error(
    `cdk-postgres refuses this deployment, and no server has been touched. ${refused.map(describeObjection).join(' ')}${late.join('')}`,
  );
}

/**
 * Whether every server of an earlier template is still there. Going back to it then makes nothing new, and a guard that failed in a
 * rollback would leave the stack stuck; so it passes also where it cannot see.
 */
async function stillStand(
  client: RDSClient,
  servers: readonly GuardedServer[],
  isOwn: (server: GuardedServer, running: RunningServer) => boolean,
): Promise<boolean> {
  try {
    const running = await describeRunning(client, servers);
    return servers.every((server) => {
      const found = running.get(server.LogicalId);
      return found !== undefined && isOwn(server, found);
    });
  } catch (error) {
    logLine('not seen', { problem: (error as Error).message, consequence: 'taken for a rollback' }, 'warn');
    return true;
  }
}

function receiptAfter(receipt: Receipt | undefined, accepted: string, now: Date): string {
  return writeReceipt({ accepted, before: receipt?.accepted, at: now.getTime() });
}

function pass(physicalId: string, reason: string): ResourceAnswer {
  logLine('passed', { reason });
  return { physicalId, reason };
}
