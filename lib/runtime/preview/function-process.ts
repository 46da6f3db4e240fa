import { spawn } from 'node:child_process';
import * as readline from 'node:readline';
import { Readable } from 'node:stream';

/** A line of a function's log. */
export type LogRecord = Readonly<Record<string, unknown>> & { readonly event?: string };

export interface Invocation {
  /** The folder of the bundle, as it is uploaded. */
  readonly folder: string;
  readonly event: object;
  readonly environment: Readonly<Record<string, string>>;
  readonly timeoutSeconds: number;
  readonly onRecord?: (record: LogRecord) => void;
}

/** Loads the bundle as Lambda does (`index.handler`) and calls it with the event from standard input. */
const RUNNER = `
  const { readFileSync } = require('node:fs');
  const { join } = require('node:path');
  const { folder, event, timeout } = JSON.parse(readFileSync(0, 'utf8'));
  const end = Date.now() + timeout * 1000;
  const context = { getRemainingTimeInMillis: () => end - Date.now(), functionName: 'preview', awsRequestId: 'preview' };
  require(join(folder, 'index.js')).handler(event, context).then(() => process.exit(0), (error) => {
    console.error(error.message);
    process.exit(1);
  });
`;

/** Runs a function's bundle in a process of its own and returns its log. Throws when it ends without having done its work. */
export async function invoke(invocation: Invocation): Promise<LogRecord[]> {
  const { folder, event, timeoutSeconds } = invocation;
  const child = spawn(process.execPath, ['-e', RUNNER], {
    // Nothing of the user's own AWS access may reach the function.
    env: { PATH: process.env.PATH ?? '', TMPDIR: process.env.TMPDIR ?? '', ...invocation.environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const records: LogRecord[] = [];
  const words: string[] = [];
  const read = (stream: Readable) =>
    readline.createInterface({ input: stream }).on('line', (line) => {
      const record = parse(line);
      if (record === undefined) {
        words.push(line);
        return;
      }
      records.push(record);
      invocation.onRecord?.(record);
    });
  read(child.stdout);
  read(child.stderr);
  child.stdin.on('error', () => undefined); // it ended before it read: the exit code says so
  child.stdin.end(JSON.stringify({ folder, event, timeout: timeoutSeconds }));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`the function ended with code ${code}: ${words.slice(-10).join('\n')}`);
  return records;
}

function parse(line: string): LogRecord | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    return JSON.parse(line) as LogRecord;
  } catch {
    return undefined;
  }
}
