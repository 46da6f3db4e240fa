import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { createAuthority } from '../support/certificates';
import { clusterProblem, rootFolder } from './availability.js';
import { inRootFolder, TestPooler } from './pooler';
import { PASSWORD, Setting } from './setting';

const describeCluster = clusterProblem() === undefined ? describe : describe.skip;

const ROOT = path.resolve(__dirname, '..', '..');
const SHARED = '/opt/clients';
/** Several runs may share the root folder. */
const FOLDER = `${SHARED}/${process.pid}`;
const JDBC = '/usr/share/java/postgresql.jar';

/** The program under a heading of docs/clients.md. */
function program(heading: string): string {
  const text = fs.readFileSync(path.join(ROOT, 'docs/clients.md'), 'utf8');
  return new RegExp(`^### ${heading}$[^]*?^\`\`\`\\w+\\n([^]*?)^\`\`\`$`, 'm').exec(text)![1];
}

interface Driver {
  readonly heading: string;
  readonly file: string;
  /** Run once, before it. */
  readonly build?: readonly string[];
  readonly run: readonly string[];
  readonly here?: boolean;
  readonly refused: RegExp;
}

const DRIVERS: readonly Driver[] = [
  {
    heading: 'node-postgres',
    file: 'connect.js',
    run: [process.execPath, path.join(rootFolder(), FOLDER, 'connect.js')],
    here: true,
    refused: /certificate/,
  },
  {
    heading: 'Drizzle',
    file: 'drizzle.js',
    run: [process.execPath, path.join(rootFolder(), FOLDER, 'drizzle.js')],
    here: true,
    refused: /certificate/,
  },
  {
    heading: 'psycopg',
    file: 'connect.py',
    run: ['python3', `${FOLDER}/connect.py`],
    refused: /certificate verify failed/,
  },
  {
    heading: 'JDBC',
    file: 'Connect.java',
    build: ['javac', '-d', FOLDER, `${FOLDER}/Connect.java`],
    run: ['java', '-cp', `${FOLDER}:${JDBC}`, 'Connect'],
    refused: /unable to find valid certification path|PKIX|SSL error/,
  },
  {
    heading: 'pgx',
    file: 'connect.go',
    build: ['go', 'build', '-o', `${FOLDER}/connect`, `${FOLDER}/connect.go`],
    run: [`${FOLDER}/connect`],
    refused: /certificate signed by unknown authority|failed to verify certificate/,
  },
];

/** Debian's Go finds the packages of Debian in a path of its own. */
const GO = { GO111MODULE: 'off', GOPATH: '/usr/share/gocode', GOCACHE: `${SHARED}/go-cache`, GOFLAGS: '-p=2' };

function run(
  command: readonly string[],
  env: Readonly<Record<string, string>>,
  here = false,
): Promise<{ code: number | null; output: string }> {
  const [file, args] = here ? [command[0], command.slice(1)] : inRootFolder(command);
  const child = spawn(file, args, {
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: FOLDER, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((resolve) => child.once('close', (code) => resolve({ code, output })));
}

describeCluster('the programs of docs/clients.md', () => {
  let setting: Setting;
  let pooler: TestPooler;

  beforeAll(async () => {
    setting = await Setting.start();
    pooler = await setting.startPooler();
    const files = path.join(rootFolder(), FOLDER);
    fs.mkdirSync(files, { recursive: true });
    fs.writeFileSync(path.join(files, 'pooler-ca.pem'), setting.authority.ca);
    fs.writeFileSync(path.join(files, 'server-ca.pem'), setting.server.ca!);
    fs.writeFileSync(path.join(files, 'other-ca.pem'), createAuthority('other').ca);
  });
  afterAll(async () => {
    await setting?.stop();
    fs.rmSync(path.join(rootFolder(), FOLDER), { recursive: true, force: true });
  });

  const environment = (port: number, root: string, here = false) => ({
    ...GO,
    NODE_PATH: path.join(ROOT, 'node_modules'),
    PGHOST: '127.0.0.1',
    PGPORT: String(port),
    PGDATABASE: 'app',
    PGUSER: 'api',
    PGPASSWORD: PASSWORD,
    PGSSLROOTCERT: `${here ? rootFolder() : ''}${FOLDER}/${root}`,
  });

  test.each(DRIVERS)(
    '$heading: through the pooler and directly, each by its root alone',
    async (driver) => {
      fs.writeFileSync(path.join(rootFolder(), FOLDER, driver.file), program(driver.heading));
      if (driver.build) {
        const built = await run(driver.build, GO);
        expect(built).toMatchObject({ code: 0 });
      }
      const through = (port: number, root: string) =>
        run(driver.run, environment(port, root, driver.here), driver.here);
      expect(await through(pooler.port, 'pooler-ca.pem')).toEqual({ code: 0, output: 'connected\n' });
      expect(await through(setting.server.port, 'server-ca.pem')).toEqual({ code: 0, output: 'connected\n' });
      for (const [port, root] of [
        [pooler.port, 'server-ca.pem'],
        [setting.server.port, 'other-ca.pem'],
      ] as const) {
        const { code, output } = await through(port, root);
        expect(code).not.toBe(0);
        expect(output).toMatch(driver.refused);
        expect(output).not.toContain(PASSWORD);
      }
    },
    300_000,
  );

  test.each(DRIVERS.filter(({ here }) => here))(
    '$heading: takes the root as a text too, as grantConnect() gives it, and the public roots of the platform',
    async ({ heading, file, run: command, refused }) => {
      fs.writeFileSync(path.join(rootFolder(), FOLDER, file), program(heading));
      const { PGSSLROOTCERT, ...env } = environment(pooler.port, 'pooler-ca.pem', true);
      const connected = { code: 0, output: 'connected\n' };
      const PGSSLROOTPEM = setting.authority.ca;
      expect(await run(command, { ...env, PGSSLROOTPEM }, true)).toEqual(connected);
      const system = { ...env, PGSSLROOTCERT: 'system' };
      expect(await run(command, { ...system, NODE_EXTRA_CA_CERTS: PGSSLROOTCERT }, true)).toEqual(connected);
      const stranger = await run(command, system, true);
      expect(stranger.code).not.toBe(0);
      expect(stranger.output).toMatch(refused);
    },
    300_000,
  );
});
