import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { spawn } from 'node:child_process';
import { cli, cliFile } from './cli';

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-usage-'));
afterAll(() => fs.rmSync(folder, { recursive: true }));

const file = (name: string, content: string) => {
  const full = path.join(folder, name);
  fs.writeFileSync(full, content);
  return full;
};
const URL = 'postgres://me@db.example.com/postgres';

test('help is no error, and every command has examples', async () => {
  const { code, stdout } = await cli(['--help']);
  expect(code).toBe(0);
  const commands = [...stdout.matchAll(/^ {2}([a-z][a-z-]+) .*$/gm)]
    .map(([, name]) => name)
    .filter((name) => name !== 'help');
  expect(commands).toEqual([
    'preview',
    'plan',
    'apply',
    'drift',
    'check',
    'budget',
    'verify-account',
    'access',
    'hardening',
    'handover',
    'import',
    'ecs',
  ]);
  for (const command of commands) {
    const help = await cli([command, '--help']);
    expect(help.code).toBe(0);
    expect(help.stdout).toContain(`$ cdk-postgres ${command}`);
    expect(help.stdout).toContain('Exit code: ');
    expect(help.stdout).not.toMatch(/default: [[{]/); // says nothing to a reader
    expect(Math.max(...help.stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120);
  }
});

describe('a mistake is said without a stack trace, with exit code 1', () => {
  test.each([
    ['an unknown command', ['plann'], 'Did you mean plan?'],
    ['help of an unknown command', ['help', 'chek'], 'Did you mean check?'],
    [
      'an acknowledgement without a hash',
      ['apply', '--url', URL, '--state', 'x', '--acknowledge'],
      "'--acknowledge <hash>' argument missing",
    ],
    ['an unknown option', ['plan', '--url', URL, '--sate', 'x'], "unknown option '--sate'"],
    ['a misspelt option that is required', ['plan', '--urll', URL, '--state', 'x'], 'Did you mean --url?'],
    ['a misspelt option of another command', ['handover', '--url', URL, '--form', 'a'], 'Did you mean --from?'],
    ['a missing server', ['plan', '--state', 'x'], "required option '--url <url>' not specified"],
    ['where to read on', ['plan', '--url', URL, '--sate', 'x'], 'cdk-postgres plan --help says what there is.'],
    ['a missing option', ['check'], "required option '--stack <name>' not specified"],
    [
      'a password in the URL',
      ['plan', '--url', 'postgres://me:secret@h/db', '--state', 'x'],
      'must not hold a password',
    ],
    [
      'a password as a parameter',
      ['plan', '--url', `${URL}?password=secret`, '--state', 'x'],
      'must not hold a password',
    ],
    ['a URL that is none', ['plan', '--url', 'db.example.com', '--state', 'x'], '--url is not a URL'],
    ['a user with half a %', ['plan', '--url', 'postgres://m%e@h/db', '--state', 'x'], '--url has a % in its user'],
    [
      'a database with half a %',
      ['plan', '--url', 'postgres://me@h/d%ff', '--state', 'x'],
      '--url has a % in its database',
    ],
    ['another protocol', ['plan', '--url', 'mysql://me@h/db', '--state', 'x'], 'must begin with postgres://'],
    ['a weak sslmode', ['plan', '--url', `${URL}?sslmode=require`, '--state', 'x'], 'does not prove whom'],
    ['no TLS to another machine', ['plan', '--url', `${URL}?sslmode=disable`, '--state', 'x'], 'on this machine only'],
    ['an unknown parameter', ['plan', '--url', `${URL}?options=x`, '--state', 'x'], 'only sslmode is known'],
    ['neither state nor stack', ['plan', '--url', URL], 'either --state FILE'],
    ['state and stack', ['plan', '--url', URL, '--state', 'x', '--stack', 'y'], 'either --state FILE'],
    ['a missing file', ['plan', '--url', URL, '--state', '/nonexistent/state.json'], 'cannot be read (ENOENT)'],
    ['a file that is no JSON', ['plan', '--url', URL, '--state', file('bad.json', '{')], 'is not JSON'],
    [
      'a file that is no state',
      ['plan', '--url', URL, '--state', file('no.json', '{"a":1}')],
      'is not a desired state',
    ],
    ['a missing cdk.out', ['plan', '--url', URL, '--stack', 'S', '--app-dir', '/nonexistent'], 'run cdk synth first'],
    ['a hash that is none', ['apply', '--url', URL, '--state', 'x', '--acknowledge', 'yes'], 'not the hash of a plan'],
    ['an unknown PostgreSQL', ['preview', '--pg', '15'], 'Allowed choices are 16, 17, 18'],
    ['context without a value', ['preview', '-c', 'nothing'], 'It looks like key=value'],
  ])('%s', async (_what, args, message) => {
    const { code, stderr, stdout } = await cli(args);
    expect(stderr).toContain(message);
    expect(stderr + stdout).not.toContain('secret@');
    expect(stderr).not.toMatch(/^\s+at /m);
    expect(code).toBe(1);
  });
});

test('a password that is nowhere is said, with the ways to give it', async () => {
  const state = file('state.json', JSON.stringify({ version: 1, name: 's', profile: 'production', defaults: 'V1' }));
  const { code, stderr } = await cli(['plan', '--url', URL, '--state', state]);
  expect(code).toBe(1);
  expect(stderr).toContain('no password for me on db.example.com:5432: set PGPASSWORD or write it to ~/.pgpass');
});

test('an error is JSON where JSON is asked for', async () => {
  const { stdout } = await cli(['plan', '--url', URL, '--json']);
  expect(JSON.parse(stdout).error.message).toContain('either --state FILE');
});

test('a disk that is full is said in one line, with the exit code of an error', async () => {
  const child = spawn('sh', ['-c', `"${process.execPath}" "${cliFile()}" --help > /dev/full`], { stdio: 'pipe' });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const code = await new Promise((resolve) => child.once('close', resolve));
  expect(stderr).toBe('cdk-postgres: the output cannot be written (ENOSPC)\n');
  expect(code).toBe(1);
});

describe('a manifest of cdk.out', () => {
  const appWith = (artifact: object) => {
    const directory = fs.mkdtempSync(path.join(folder, 'cdk.out-'));
    const artifacts = { S: { type: 'aws:cloudformation:stack', ...artifact } };
    fs.writeFileSync(path.join(directory, 'manifest.json'), JSON.stringify({ version: '48.0.0', artifacts }));
    fs.writeFileSync(path.join(directory, 'S.template.json'), '{"Resources":{}}');
    return directory;
  };
  const look = (directory: string) => cli(['check', '--stack', 'S', '--offline', '--app-dir', directory]);
  const properties = { templateFile: 'S.template.json' };

  test.each([undefined, 'aws://', 'aws://123456789012', 'aws://unknown-account/unknown-region'])(
    'with the environment %s is read',
    async (environment) => {
      const { code, stdout, stderr } = await look(appWith({ environment, properties }));
      expect([code, stderr]).toEqual([0, '']);
      expect(stdout).toContain('S has no server that a deploy guard stands before.');
    },
  );

  test('with a stack that names no template is an error that says so', async () => {
    const { code, stderr } = await look(appWith({ environment: 'aws://1/eu-west-1' }));
    expect(stderr).toMatch(/manifest.json names no template of the stack S: run cdk synth again\n$/);
    expect(code).toBe(1);
  });
});

test('a reader that goes away ends the command without a word', async () => {
  const child = spawn('sh', ['-c', `"${process.execPath}" "${cliFile()}" --help | head -1`], { stdio: 'pipe' });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  child.stdout.resume();
  await new Promise((resolve) => child.once('close', resolve));
  expect(stderr).toBe('');
});
