import { decodePooler, POOLER_FOLDER, POOLER_VARIABLE, PoolerConfiguration } from '../../contract';
import { logLine } from '../handlers/log';
import { Agent } from './agent';
import { askConsole, stateProblem } from './console';
import { filesIn } from './files';

function readConfiguration(): PoolerConfiguration {
  const text = process.env[POOLER_VARIABLE];
  if (text === undefined) throw new Error(`the environment variable ${POOLER_VARIABLE} is missing`);
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw new Error(`the environment variable ${POOLER_VARIABLE} is not JSON: ${(error as Error).message}`);
  }
  return decodePooler(document);
}

/**
 * Whether every process answers and serves. The server is not asked: where it is away, another task would not reach it either, and
 * ending this one would only cut the clients that wait for it.
 */
async function health({ processes, port }: PoolerConfiguration): Promise<number> {
  const files = filesIn(POOLER_FOLDER);
  const states = await Promise.all(
    Array.from({ length: processes }, async (_, at) => {
      const problem = await stateProblem({ sockets: files.sockets(at + 1), port });
      return problem === undefined ? [] : [`process ${at + 1} ${problem}`];
    }),
  );
  const problems = states.flat();
  if (problems.length > 0) console.error(problems.join('; '));
  return problems.length > 0 ? 1 : 0;
}

/** `console COMMAND [PROCESS]`: a command of PgBouncer's console, to all processes or to one; prints the rows by process. */
async function runOnConsole({ processes, port }: PoolerConfiguration, command: string, only?: string): Promise<number> {
  const all = Array.from({ length: processes }, (_, at) => at + 1).filter(
    (each) => only === undefined || String(each) === only,
  );
  if (all.length === 0) throw new Error(`there is no process ${only}; write a number from 1 to ${processes}, or none`);
  const answers: Record<string, unknown> = {};
  for (const each of all)
    answers[each] = await askConsole({ sockets: filesIn(POOLER_FOLDER).sockets(each), port }, command);
  console.log(JSON.stringify(answers));
  return 0;
}

function main(): Promise<number> {
  const [what, ...rest] = process.argv.slice(2);
  const configuration = readConfiguration();
  switch (what) {
    case undefined:
      return new Agent(configuration).run();
    case 'health':
      return health(configuration);
    case 'console':
      if (rest[0] !== undefined) return runOnConsole(configuration, rest[0], rest[1]);
  }
  throw new Error(`${process.argv.slice(2).join(' ')} is none of: health, console COMMAND [PROCESS]`);
}

Promise.resolve()
  .then(main)
  .then(
    (code) => process.exit(code),
    (error: unknown) => {
      logLine('failed', { problem: (error as Error).message }, 'error');
      process.exit(1);
    },
  );
