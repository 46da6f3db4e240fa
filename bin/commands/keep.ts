import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { PreviewedResource } from '../../lib/runtime/preview/deployment';
import { PreviewServer } from '../../lib/runtime/preview/preview-server';
import { Output } from '../output/terminal';

/**
 * Writes what the other commands need into a folder of this user's, says how to use it, and waits for Ctrl-C (SIGINT) or SIGTERM. No password is
 * shown; the server ends with this process in whatever way that ends.
 */
export async function keepRunning(output: Output, server: PreviewServer, previewed: PreviewedResource): Promise<void> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-preview-'));
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  const { host, port, user, password, database } = server.connection();
  const write = (name: string, text: string) => {
    const file = path.join(folder, name);
    fs.writeFileSync(file, text, { mode: 0o600 });
    return file;
  };
  const variables = {
    PGPASSFILE: write('pgpass', `${host}:${port}:*:${user}:${password}\n`),
    URL: `postgres://${user}@${host}:${port}/${database}`,
    CA: write('ca.pem', server.ca),
    STATE: write('state.json', JSON.stringify(previewed.document, null, 2)),
    SECRETS: write('secrets.json', JSON.stringify(previewed.secretArns, null, 2)),
    ...server.environment(previewed.resource.stack.region),
  };
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const environment = write(
    'environment',
    Object.entries(variables)
      .map(([name, value]) => `export ${name}=${quoted(value)}\n`)
      .join(''),
  );

  output.heading('PostgreSQL goes on running, until Ctrl-C here');
  output.line(`  server  ${variables.URL}`);
  output.line('  In another terminal:');
  output.line();
  for (const command of [
    `. ${environment}`,
    'cdk-postgres plan --state "$STATE" --secrets "$SECRETS" --url "$URL" --ca "$CA"',
    'cdk-postgres access --url "$URL" --ca "$CA"',
    'cdk-postgres import --url "$URL" --ca "$CA"',
  ])
    output.line(`    ${command}`);
  output.line();
  await untilEnded();
}

function untilEnded(): Promise<void> {
  return new Promise((resolve) => {
    // A handler of a signal alone keeps no process alive.
    const alive = setInterval(() => undefined, 60_000);
    const end = () => {
      clearInterval(alive);
      resolve();
    };
    process.once('SIGINT', end);
    process.once('SIGTERM', end);
  });
}
