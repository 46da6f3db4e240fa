import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { ClusterAnswer, ClusterMemberAnswer } from '../../lib/contract';
import { cli, CliResult, ROOT } from './cli';

/**
 * `cdk-postgres ecs … --function NAME` asks by the AWS CLI. In its place stands a program that notes its arguments and answers as it is
 * told, since the CLI comes from no registry of npm; what the function itself answers is shown on a real cluster (test/soak).
 */
const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-ecs-test-'));
const [asked, said] = [path.join(folder, 'asked.json'), path.join(folder, 'said.json')];

interface Said {
  /** What stands in the file of the answer. */
  readonly answer?: string;
  /** What the CLI prints itself. */
  readonly stdout?: string;
  readonly stderr?: string;
  readonly code?: number;
}

beforeAll(() => {
  const program = `#!${process.execPath}
const fs = require('node:fs');
const args = process.argv.slice(2);
fs.writeFileSync(${JSON.stringify(asked)}, JSON.stringify({ args, attempts: process.env.AWS_MAX_ATTEMPTS }));
const { answer, stdout = '{"StatusCode":200}', stderr = '', code = 0 } = JSON.parse(fs.readFileSync(${JSON.stringify(said)}, 'utf8'));
if (answer !== undefined) fs.writeFileSync(args.at(-1), answer);
process.stdout.write(stdout);
process.stderr.write(stderr);
process.exitCode = code;
`;
  fs.writeFileSync(path.join(folder, 'aws'), program, { mode: 0o755 });
});

afterAll(() => fs.rmSync(folder, { recursive: true }));

function ecs(args: readonly string[], answer: Said): Promise<CliResult> {
  fs.writeFileSync(said, JSON.stringify(answer));
  return cli(['ecs', ...args], { env: { PATH: `${folder}:${process.env.PATH}` } });
}

const of = (answer: Partial<ClusterAnswer>): Said => ({
  answer: JSON.stringify({ done: [], problems: [], paused: false, members: [], ...answer }),
});

/** Three members, of whom one leads. */
const members = (leader: string, timeline: number, pendingRestart?: readonly string[]): ClusterMemberAnswer[] =>
  ['pg-1', 'pg-2', 'pg-3'].map((name) => ({
    name,
    timeline,
    version: '18.6',
    ...(name === leader
      ? { role: 'leader', state: 'running' }
      : { role: 'synchronous standby', state: 'streaming', lag: 0 }),
    pendingRestart,
  }));

const DOCUMENTED: [string[], Partial<ClusterAnswer>][] = [
  [['status'], { members: members('pg-1', 1) }],
  [['switchover', '--to', 'pg-2'], { done: ['pg-2 leads'], members: members('pg-2', 2) }],
  [['restart', 'pg-3'], { done: ['restarted pg-3'], members: members('pg-2', 2) }],
  [['status'], { members: members('pg-2', 2, ['max_connections']) }],
  [
    ['restart', '--pending'],
    {
      done: ['restarted pg-1', 'restarted pg-3', 'switched over from pg-2 to pg-1', 'restarted pg-2'],
      members: members('pg-1', 3),
    },
  ],
  [
    ['pause'],
    { done: ['paused: nobody takes over from a leader that fails'], paused: true, members: members('pg-1', 3) },
  ],
  [['resume'], { done: ['resumed: members fail over by themselves'], members: members('pg-1', 3) }],
];

const OPERATIONS = fs.readFileSync(path.join(ROOT, 'docs', 'operations.md'), 'utf8');
/** As the document shows it: without the spaces that end a line. */
const shown = (text: string) => text.replace(/ +$/gm, '').trimEnd();

test.each(DOCUMENTED)('docs/operations.md shows what `ecs %s` prints', async (args, answer) => {
  const { stdout, code } = await ecs([...args, '--function', 'orders'], of(answer));
  expect(OPERATIONS).toContain(`$ cdk-postgres ecs ${args.join(' ')} --function $FUNCTION\n${shown(stdout)}\n`);
  expect(code).toBe(0);
});

test('every block of docs/operations.md with such a command is one of those, but for reinit, which shows its first line', () => {
  const commands = [...OPERATIONS.matchAll(/^\$ cdk-postgres ecs (.*) --function \$FUNCTION$/gm)].map(
    ([, args]) => args,
  );
  expect(commands.filter((args) => !args.startsWith('reinit'))).toEqual(DOCUMENTED.map(([args]) => args.join(' ')));
});

test('the order goes to the function as it is, once, and what is wrong ends with 2', async () => {
  const problems = ['pg-3 does not answer'];
  const result = await ecs(
    ['switchover', '--to', "pg-2'; $(id)", '--function', 'orders', '--region', 'eu-central-1', '--json'],
    of({ problems }),
  );
  const { args, attempts } = JSON.parse(fs.readFileSync(asked, 'utf8')) as { args: string[]; attempts: string };
  expect(args.slice(0, 4)).toEqual(['lambda', 'invoke', '--function-name', 'orders']);
  expect(JSON.parse(args[args.indexOf('--payload') + 1])).toEqual({ command: 'switchover', to: "pg-2'; $(id)" });
  expect(args[args.indexOf('--region') + 1]).toBe('eu-central-1');
  expect(attempts).toBe('1');
  expect(JSON.parse(result.stdout)).toMatchObject({ problems });
  expect(result.code).toBe(2);
});

test.each<[string, Said, string]>([
  [
    'has failed',
    { answer: '{"errorMessage":"no member leads"}', stdout: '{"FunctionError":"Unhandled"}' },
    'no member leads',
  ],
  ['has failed without a word', { answer: 'null', stdout: '{"FunctionError":"Unhandled"}' }, 'its log says why'],
  ['is of something else', { answer: 'null' }, 'orders is not the function of a cluster'],
  ['answers half', { answer: '{"members":[]}' }, 'orders is not the function of a cluster'],
  [
    'may not be asked',
    { stderr: 'An error occurred (AccessDeniedException) when calling the Invoke operation', code: 254 },
    'the function cannot be asked: An error occurred (AccessDeniedException)',
  ],
])('a function that %s is an error that says so', async (_, answer, message) => {
  const { stderr, stdout, code } = await ecs(['status', '--function', 'orders'], answer);
  expect(`${code} ${stdout}`).toBe('1 ');
  expect(stderr.replace(/\s+/g, ' ')).toContain(message);
});

test('without the AWS CLI, without a function, with both ways, and a restart of nobody', async () => {
  const bare = await cli(['ecs', 'status', '--function', 'orders'], { env: { PATH: '/nonexistent' } });
  expect(bare).toMatchObject({ code: 1, stderr: expect.stringContaining('the AWS CLI is not installed') });
  const refused = async (args: string[]) => {
    const { code, stderr } = await ecs(args, of({}));
    expect(code).toBe(1);
    return stderr;
  };
  expect(await refused(['status'])).toContain("name the server's function with --function");
  expect(await refused(['restart', '--function', 'orders'])).toContain('name a member, or give --pending');
  expect(await refused(['status', '--function', 'orders', '--members', 'pg-1=10.0.0.1'])).toContain(
    'exclude each other',
  );
});
