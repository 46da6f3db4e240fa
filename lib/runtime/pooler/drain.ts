import { LAST_TRANSACTIONS } from '../../contract';

/** The processes as the drain sees them. */
export interface Drained {
  running(): readonly number[];
  /** A command on the console of a process. */
  ask(process: number, command: string): Promise<unknown>;
  kill(process: number): void;
}

/** Milliseconds before the end at which whoever is still there is killed by us, so that the last lines are logged. */
const LAST_WORDS = 2_000;

/**
 * Ends all processes within `stopTimeout` seconds, in two phases: first clients may leave by themselves, new ones being refused; then
 * each client is cut when its transaction ends. Over the console, since PgBouncer takes a second signal, whichever it is, for an order
 * to stop at once.
 */
export async function drain(
  processes: Drained,
  stopTimeout: number,
  say: (message: string, fields?: object) => void,
): Promise<void> {
  const from = Date.now();
  const until = (milliseconds: number) => from + stopTimeout * 1000 - milliseconds;
  const order = (command: string) =>
    Promise.all(
      processes.running().map((process) =>
        processes.ask(process, command).catch((error: unknown) => {
          // It may just have ended.
          if (processes.running().includes(process))
            say('a process does not take an order', { process, command, problem: (error as Error).message });
        }),
      ),
    );
  const gone = async (deadline: number) => {
    while (processes.running().length > 0 && Date.now() < deadline) await sleep(100);
    return processes.running().length === 0;
  };
  say('clients may leave', { secondsLeft: (until(LAST_TRANSACTIONS) - from) / 1000 });
  await order('SHUTDOWN WAIT_FOR_CLIENTS');
  if (!(await gone(until(LAST_TRANSACTIONS)))) {
    say('clients that are left are cut when their transaction ends', { processes: processes.running().length });
    await order('SHUTDOWN WAIT_FOR_SERVERS');
    if (!(await gone(until(LAST_WORDS)))) {
      say('transactions that are left are ended', { processes: processes.running().length });
      for (const process of processes.running()) processes.kill(process);
      await gone(until(0));
    }
  }
  say('drained', { seconds: Math.round((Date.now() - from) / 100) / 10 });
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
