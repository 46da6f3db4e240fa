import { DesiredState } from '../lib/contract';
import { ConnectionSettings, reconcile } from '../lib/runtime/reconcile';

/** Runs twice and prints the most memory that was resident, in MB (10^6 bytes), after each. */
async function main() {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  const { state, connection } = JSON.parse(Buffer.concat(chunks).toString()) as {
    state: DesiredState;
    connection: ConnectionSettings;
  };
  const peak = () => Math.round(process.resourceUsage().maxRSS / 1000);
  await reconcile(state, connection, { mode: 'apply' });
  const firstApplyMb = peak();
  await reconcile(state, connection, { mode: 'apply' });
  process.stdout.write(
    JSON.stringify({ roles: state.roles.length, tables: 10_000, firstApplyMb, nothingToDoMb: peak() }),
  );
}

void main();
