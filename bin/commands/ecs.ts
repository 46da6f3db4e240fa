import { Command } from 'commander';
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { ClusterAnswer, ClusterCommand, PATRONI_PORT, REST_API_USER } from '../../lib/contract';
import { KnownCluster, OrderError, readEndpoints, RestClient, RestError, runCommand } from '../../lib/runtime/cluster';
import { CliError, EXIT } from '../cli-error';
import { showTable } from '../output/table';
import { Output, Progress } from '../output/terminal';

interface EcsOptions {
  readonly function?: string;
  readonly region?: string;
  readonly members?: readonly string[];
  readonly scope?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly json?: boolean;
}

/** How long an order may take, in milliseconds: as long as the function runs at the most. */
const PATIENCE_MS = 14 * 60_000;

export function ecsCommand(): Command {
  const ecs = new Command('ecs')
    .summary('operate a self-managed server on ECS: switchover, restart, reinit, pause')
    .description(
      'Operate the members of a self-managed server on ECS. Its function does what is asked, next to the members; from within the network of the server Patroni can be spoken to without it.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres ecs status --function $FUNCTION
  $ cdk-postgres ecs switchover --to pg-2 --function $FUNCTION

Exit code: 0 all members stream, 2 something is not as it should be, 1 error.`,
    );
  const add = (name: string, summary: string, description = summary) => {
    const command = ecs.command(name).summary(summary).description(description);
    return command
      .option('--function <name>', "name or ARN of the server's function, an output of its stack")
      .option('--region <region>', 'where the function is; default: that of the AWS CLI')
      .option(
        '--members <name=host:port...>',
        `instead of the function: the members; the port is ${PATRONI_PORT} by default`,
      )
      .option('--scope <name>', 'with --members: the name of the cluster')
      .option('--certificate <file>', 'with --members: a certificate of the cluster (PEM)')
      .option('--key <file>', 'with --members: its private key (PEM)')
      .option('--ca <file>', 'with --members: the root of the cluster (PEM)')
      .option('--json', 'print one JSON document');
  };
  add('status', 'who leads, who follows how closely, and what is not as it should be').action((options: EcsOptions) =>
    run(options, { command: 'status' }),
  );
  add(
    'switchover',
    'have another member lead',
    'Have another member lead. The leader stops in an orderly way, so that nothing is lost; writers wait for some seconds and lose their connections.',
  )
    .option('--to <member>', 'who leads then; default: who is the least behind')
    .action((options: EcsOptions & { to?: string }) =>
      run(options, { command: 'switchover', ...(options.to !== undefined && { to: options.to }) }),
    );
  add(
    'restart',
    'restart PostgreSQL on one member, or on those that wait for it',
    'Restart PostgreSQL on one member, or with --pending on those that wait for it: the standbys, then a switchover, then the old leader.',
  )
    .argument('[member]')
    .option('--pending', 'those whose parameters wait for a restart')
    .action((member: string | undefined, options: EcsOptions & { pending?: boolean }) => {
      if ((member === undefined) === !options.pending)
        throw new CliError('name a member, or give --pending for those that wait for a restart');
      return run(options, { command: 'restart', ...(member === undefined ? { pending: true } : { member }) });
    });
  add(
    'reinit',
    'make the data of a standby anew',
    'Make the data of a standby anew, from the backups or from the leader. What it has is deleted. It takes as long as the data is large; look with status.',
  )
    .argument('<member>')
    .action((member: string, options: EcsOptions) => run(options, { command: 'reinit', member }));
  add(
    'pause',
    'suspend failover for work by hand',
    'Suspend failover, for work by hand: nobody takes over from a leader that fails, until resume.',
  ).action((options: EcsOptions) => run(options, { command: 'pause' }));
  add('resume', 'end a pause').action((options: EcsOptions) => run(options, { command: 'resume' }));
  return ecs;
}

async function run(options: EcsOptions, command: ClusterCommand): Promise<void> {
  const output = new Output(process.stdout, options.json);
  const progress = new Progress();
  let answer: ClusterAnswer;
  try {
    answer = await (options.members
      ? directly(options, command, progress)
      : throughFunction(options, command, progress));
  } finally {
    progress.done();
  }
  output.document(answer);
  show(output, answer);
  process.exitCode = answer.problems.length > 0 ? EXIT.changes : EXIT.nothing;
}

async function directly(options: EcsOptions, command: ClusterCommand, progress: Progress): Promise<ClusterAnswer> {
  if (options.function !== undefined) throw new CliError('--function and --members exclude each other');
  const file = (name: 'certificate' | 'key' | 'ca'): string => {
    const from = options[name];
    if (from === undefined) throw new CliError(`--members needs --${name} FILE too: Patroni trusts certificates alone`);
    try {
      return fs.readFileSync(from, 'utf8');
    } catch (error) {
      throw new CliError(`${from} cannot be read (${(error as NodeJS.ErrnoException).code})`);
    }
  };
  const [certificate, privateKey, ca] = [file('certificate'), file('key'), file('ca')];
  if (options.scope === undefined)
    throw new CliError('--members needs --scope NAME too, so that no other cluster is met');
  const { PATRONI_RESTAPI_USERNAME: user = REST_API_USER, PATRONI_RESTAPI_PASSWORD: password } = process.env;
  const rest = new RestClient({ certificate, privateKey, ca, basic: password && `${user}:${password}` });
  try {
    const cluster: KnownCluster = {
      identity: options.scope,
      scope: options.scope,
      members: readEndpoints('--members', options.members, PATRONI_PORT),
      etcd: [],
      synchronous: false,
      certificateSecret: '',
    };
    return await runCommand(rest, cluster, command, {
      deadline: Date.now() + PATIENCE_MS,
      onProgress: (message) => progress.say(message),
    });
  } catch (error) {
    throw isKnown(error) ? new CliError(error.message) : error;
  } finally {
    rest.destroy();
  }
}

function isKnown(error: unknown): error is Error {
  return (
    error instanceof OrderError || error instanceof RestError || /^--members /.test((error as Error).message ?? '')
  );
}

/** By the AWS CLI, which knows how its user logs in. */
async function throughFunction(
  options: EcsOptions,
  command: ClusterCommand,
  progress: Progress,
): Promise<ClusterAnswer> {
  if (options.function === undefined)
    throw new CliError("name the server's function with --function, or its members with --members");
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-ecs-'));
  const file = path.join(folder, 'answer.json');
  try {
    progress.say(`asking ${options.function}`);
    const said = await aws([
      ...['lambda', 'invoke', '--function-name', options.function, '--payload', JSON.stringify(command)],
      ...['--cli-binary-format', 'raw-in-base64-out', '--cli-read-timeout', '0', '--output', 'json'],
      ...(options.region === undefined ? [] : ['--region', options.region]),
      file,
    ]);
    const { FunctionError: failure } = JSON.parse(said) as { FunctionError?: string };
    const answer = JSON.parse(fs.readFileSync(file, 'utf8')) as (ClusterAnswer & { errorMessage?: string }) | null;
    if (failure !== undefined) throw new CliError(answer?.errorMessage ?? 'the function has failed; its log says why');
    // Any function may be named, and answers what it likes.
    if (![answer?.members, answer?.done, answer?.problems].every(Array.isArray))
      throw new CliError(`${options.function} is not the function of a cluster: an output of its stack names it`);
    return answer!;
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** A request that is sent again would be a second switchover. */
function aws(args: readonly string[]): Promise<string> {
  const child = spawn('aws', args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, AWS_MAX_ATTEMPTS: '1', AWS_PAGER: '' },
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        new CliError(
          error.code === 'ENOENT'
            ? 'the AWS CLI is not installed: install its version 2, or speak to Patroni with --members'
            : `the AWS CLI cannot be run (${error.code})`,
        ),
      ),
    );
    child.once('close', (code) => {
      if (code === 0) resolve(stdout);
      else reject(new CliError(`the function cannot be asked: ${stderr.trim() || `aws ended with ${code}`}`));
    });
  });
}

function show(output: Output, answer: ClusterAnswer): void {
  const { colors } = output;
  for (const line of answer.done) output.wrapped(line, '');
  if (answer.done.length > 0) output.line();
  showTable(
    output,
    ['member', 'role', 'state', 'timeline', 'lag', 'version', 'waits for a restart'],
    answer.members.map(({ name, role, state, timeline, lag, version, pendingRestart }) => [
      name,
      role,
      state,
      timeline === undefined ? '' : String(timeline),
      lag === undefined ? '' : bytes(lag),
      version ?? '',
      pendingRestart === undefined ? '' : pendingRestart.join(', ') || 'yes',
    ]),
  );
  if (answer.paused) {
    output.line();
    output.line(colors.yellow('Paused: nobody takes over from a leader that fails. cdk-postgres ecs resume ends it.'));
  }
  if (answer.problems.length > 0) {
    output.line();
    for (const problem of answer.problems) output.wrapped(problem, '- ', colors.red);
  }
}

function bytes(count: number): string {
  if (count < 1024) return `${count} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length, Math.floor(Math.log2(count) / 10));
  return `${Math.round(count / 1024 ** power)} ${units[power - 1]}`;
}
