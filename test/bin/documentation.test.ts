import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { freshServer, TestServer } from '../support/postgres';
import { cli, CliResult, ROOT } from './cli';

/** docs/command-line.md shows what the commands print. Here they print it again. */
const page = fs.readFileSync(path.join(ROOT, 'docs', 'command-line.md'), 'utf8');

function blocks(heading: string, language: string): string[] {
  const section = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`))!;
  return [...section.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, 'gm'))].map(([, content]) => content);
}

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-documentation-'));
const stateFile = path.join(folder, 'state.json');
let server: TestServer;
beforeAll(async () => {
  server = await freshServer({ version: 18 });
  fs.writeFileSync(stateFile, blocks('The declaration', 'json')[0]);
});
afterAll(async () => {
  await server.stop();
  fs.rmSync(folder, { recursive: true });
});

function run(command: string, ...more: string[]): Promise<CliResult> {
  const url = `postgres://${server.master.user}@127.0.0.1:${server.port}/postgres?sslmode=disable`;
  return cli([command, '--url', url, '--state', stateFile, ...more], { env: { PGPASSWORD: server.master.password } });
}

test('the documented output is what the commands print', async () => {
  const planned = await run('plan');
  expect(planned.stdout).toBe(blocks('plan', 'text')[0]);
  expect(planned.code).toBe(2);

  const [proven, acknowledgedText] = blocks('apply', 'text');
  const applied = await run('apply');
  expect(applied.stdout.endsWith(`\n${proven}`)).toBe(true);
  expect(applied.code).toBe(0);
  expect((await run('drift')).stdout).toBe('No drift: the server is as declared.\n');

  await server.query('GRANT CREATE ON SCHEMA orders TO api', { database: 'shop', superuser: true });
  const drifted = await run('drift');
  expect(drifted.stdout).toBe(blocks('drift', 'text')[0]);
  expect(drifted.code).toBe(2);

  const summary = await run('plan', '--summary');
  expect(summary.stdout).toBe(blocks('plan', 'text')[1]);
  expect(summary.code).toBe(2);

  const asJson = JSON.parse((await run('drift', '--json')).stdout);
  const shown = JSON.parse(blocks('JSON', 'json')[0]);
  const { timings, statements, ...report } = asJson;
  expect({ timings, statements }).toEqual({ timings: expect.any(Object), statements: expect.any(Object) });
  expect({ ...report, server: { ...report.server, identity: shown.server.identity } }).toEqual(shown);

  const [hash] = /[0-9a-f]{16}/.exec(blocks('apply', 'sh')[0])!;
  expect((await run('apply', '--acknowledge', hash)).stdout).toBe(acknowledgedText);

  const of = (command: string, ...more: string[]) =>
    cli(
      [command, '--url', `postgres://${server.master.user}@127.0.0.1:${server.port}/postgres?sslmode=disable`, ...more],
      {
        env: { PGPASSWORD: server.master.password },
      },
    );
  expect((await of('access', '--database', 'shop', '--role', 'api')).stdout).toBe(blocks('access', 'text')[0]);
  const imported = await of('import', '--database', 'shop');
  expect(imported.stdout.replace(`127.0.0.1:${server.port}`, 'db.example.com:5432')).toBe(blocks('import', 'text')[0]);
  const handed = await of('handover', '--from', 'Shop', '--to', 'Orders', '--role', 'api');
  expect(handed.stdout.trimEnd()).toBe(blocks('handover', 'text')[0].trimEnd());
  expect(handed.code).toBe(2);
});
