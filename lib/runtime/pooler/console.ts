import { Client } from 'pg';

/** The name of PgBouncer's console, and of the only one who may use it: whoever runs the process, over its own socket. */
const CONSOLE = 'pgbouncer';

export interface ConsoleOptions {
  /** The folder of the process's socket. */
  readonly sockets: string;
  readonly port: number;
  /** Milliseconds. @default 3000 */
  readonly timeout?: number;
}

/** Sends one command to the console of a process and returns its rows. */
export async function askConsole(
  { sockets, port, timeout = 3_000 }: ConsoleOptions,
  command: string,
): Promise<Readonly<Record<string, unknown>>[]> {
  const client = new Client({
    host: sockets,
    port,
    user: CONSOLE,
    database: CONSOLE,
    connectionTimeoutMillis: timeout,
    query_timeout: timeout,
  });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query(command)).rows as Readonly<Record<string, unknown>>[];
  } finally {
    // Nobody waits for it: a process that hangs does not answer that either.
    client.end().catch(() => undefined);
  }
}

/** Why a process does not serve, or undefined. A pooler that somebody has paused lets every client wait. */
export async function stateProblem(options: ConsoleOptions): Promise<string | undefined> {
  try {
    const rows = await askConsole(options, 'SHOW STATE');
    return rows.some(({ key, value }) => key === 'active' && value === 'yes') ? undefined : 'is not active';
  } catch (error) {
    return `does not answer: ${(error as Error).message}`;
  }
}
