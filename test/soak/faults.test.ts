import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { buildSync } from 'esbuild';
import { declaration } from '../runtime/reconcile/declaration';
import { catalog } from '../runtime/reconcile/catalog';
import { apply } from '../runtime/reconcile/runs';
import { FaultProxy } from '../support/fault-proxy';
import { freshServer, TestServer } from '../support/postgres';

/** A process that applies a declaration, as the function does, to be killed from outside. */
const RUN = `
  import { reconcile } from './lib/runtime/reconcile';
  const { state, connection } = JSON.parse(process.argv[2]);
  reconcile(state, connection, { mode: 'apply', identity: 'the server' }).then(() => process.exit(0), () => process.exit(1));
`;

let server: TestServer;
let folder: string;
let wanted: Set<string>;
beforeAll(async () => {
  server = await freshServer({ version: 18 });
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-faults-'));
  buildSync({
    stdin: { contents: RUN, resolveDir: path.join(__dirname, '..', '..'), loader: 'ts' },
    outfile: path.join(folder, 'run.js'),
    bundle: true,
    platform: 'node',
    external: ['pg-native'],
  });
  await apply(server, declaration(), { identity: 'the server' });
  wanted = await catalog(server);
});
beforeEach(() => server.reset());
afterAll(async () => {
  await server.stop();
  fs.rmSync(folder, { recursive: true });
});

/** Whatever has happened before, one more run makes it as declared, and one after that writes nothing. */
async function expectConverged(at: string): Promise<void> {
  const next = await apply(server, declaration(), { identity: 'the server' });
  expect([at, next.plan.withheld]).toEqual([at, []]);
  expect(await catalog(server)).toEqual(wanted);
  const origins = await server.query('SELECT DISTINCT origin, established FROM cdk_postgres.object');
  expect([at, origins]).toEqual([at, [{ origin: 'created', established: true }]]);
  expect((await apply(server, declaration(), { identity: 'the server' })).statements.writes).toBe(0);
}

/** Runs the process through a proxy until it has sent so many statements; then `fault` happens. False: it came to its end before. */
async function runUntil(count: number, fault: (kill: () => void) => Promise<void>): Promise<boolean> {
  const proxy = await FaultProxy.start({ host: server.host, port: server.port });
  const connection = server.connection({ port: proxy.port });
  const child = spawn(process.execPath, [
    path.join(folder, 'run.js'),
    JSON.stringify({ state: declaration(), connection }),
  ]);
  let ended = false;
  const end = new Promise<void>((resolve) => child.on('close', () => ((ended = true), resolve())));
  while (!ended && proxy.statements.length < count) await new Promise((resolve) => setTimeout(resolve, 1));
  const reached = !ended;
  if (reached) await fault(() => child.kill('SIGKILL'));
  await end;
  await proxy.stop();
  return reached;
}

test('case 9: the process is killed at each of its statements', async () => {
  let at = 1;
  for (; ; at++) {
    const reached = await runUntil(at, async (kill) => kill());
    if (!reached) break;
    await expectConverged(`statement ${at}`);
    await server.reset();
  }
  expect(at).toBeGreaterThan(20);
});

test('case 5: the server is restarted in the middle, at every third statement', async () => {
  let restarts = 0;
  for (let at = 1; ; at += 3) {
    const reached = await runUntil(at, () => server.restart());
    if (!reached) break;
    restarts++;
    await expectConverged(`restart at statement ${at}`);
    await server.reset();
  }
  expect(restarts).toBeGreaterThan(5);
});
