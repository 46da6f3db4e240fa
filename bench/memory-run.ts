import { readFileSync } from 'node:fs';
import { DesiredState } from '../lib/contract';
import { ConnectionSettings, reconcile } from '../lib/runtime/reconcile';

/**
 * The most memory that was resident, in MB (10^6 bytes). On Linux as the kernel keeps it for this program alone: what getrusage() says
 * begins with what the process had that started it.
 */
function peak(): number {
  const highWater =
    process.platform === 'linux' && /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  const kibibytes = highWater ? Number(highWater) : process.resourceUsage().maxRSS;
  return Math.round((kibibytes * 1024) / 1e6);
}

/** Runs twice and prints the most memory that was resident, in MB (10^6 bytes), after each. */
async function main() {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const { state, connection } = JSON.parse(Buffer.concat(chunks).toString()) as {
    state: DesiredState;
    connection: ConnectionSettings;
  };
  await reconcile(state, connection, { mode: 'apply' });
  const firstApplyMb = peak();
  await reconcile(state, connection, { mode: 'apply' });
  process.stdout.write(
    JSON.stringify({ roles: state.roles.length, tables: 10_000, firstApplyMb, nothingToDoMb: peak() }),
  );
}

void main();
