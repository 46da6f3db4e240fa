import { decodePooler, POOLER_FOLDER, POOLER_VARIABLE, PoolerConfiguration } from '../../contract';
import { logLine } from '../handlers/log';
import { Agent } from './agent';
import { stateProblem } from './console';
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

async function main(): Promise<number> {
  const configuration = readConfiguration();
  return process.argv[2] === 'health' ? health(configuration) : new Agent(configuration).run();
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    logLine('failed', { problem: (error as Error).message }, 'error');
    process.exit(1);
  },
);
