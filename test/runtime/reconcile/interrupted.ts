import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { buildSync } from 'esbuild';
import { DesiredState } from '../../../lib/contract';
import { FaultProxy } from '../../support/fault-proxy';
import { TestServer } from '../../support/postgres';
import { catalog } from './catalog';
import { declaration, role } from './declaration';
import { apply, asOwner, asSuperuser, legacyApplication } from './runs';

/** A process that applies a declaration, as the function does, to be killed from outside. */
const RUN = `
  import { reconcile } from './lib/runtime/reconcile';
  const { state, connection } = JSON.parse(process.argv[2]);
  reconcile(state, connection, { mode: 'apply', identity: 'the server' }).then(() => process.exit(0), () => process.exit(1));
`;

/** A server that keeps what it has committed, as production does, when it crashes. */
export const DURABLE = { synchronous_commit: 'on' } as const;

const OPTIONS = { identity: 'the server' } as const;

/** Part of it was there before, and part of it is new: a database with its inside, an owner who changes, and what is not declared. */
export const STATE: DesiredState = declaration({
  roles: [...declaration().roles, role('reports', { login: true, connectionLimit: 5 })],
  databases: [...declaration().databases, { ...declaration().databases[0], name: 'second' }],
});

/** What others have, and no run may lose. */
export async function prepare(server: TestServer): Promise<void> {
  await legacyApplication(server);
  await server.query(['CREATE ROLE bystander', 'GRANT bystander TO api']);
  await asOwner(
    server,
    'INSERT INTO billing.invoice SELECT n, n FROM generate_series(1, 50) n',
    'GRANT USAGE ON SCHEMA billing TO bystander',
    'GRANT SELECT ON billing.invoice TO bystander',
  );
}

/** Everything that counts on the server: who may do what, what the ledger says of whom, and the rows of the application. */
export async function everything(server: TestServer): Promise<Set<string>> {
  const lines = new Set(await catalog(server));
  const rows = async (what: string, sql: string, database?: string) => {
    for (const row of await asSuperuser(server, sql, database)) lines.add(`${what} ${JSON.stringify(row)}`);
  };
  await rows(
    'ledger',
    'SELECT state, kind, database, name, origin, established, removed_at IS NULL AS kept FROM cdk_postgres.object',
  );
  await rows('row', 'SELECT * FROM billing.invoice', 'app');
  return lines;
}

/** What differs from a server on which nothing was interrupted. */
export function differences(wanted: ReadonlySet<string>, is: ReadonlySet<string>): string[] {
  return [
    ...[...wanted].filter((line) => !is.has(line)).map((line) => `lost: ${line}`),
    ...[...is].filter((line) => !wanted.has(line)).map((line) => `new: ${line}`),
  ];
}

/** Runs of a process that something happens to. */
export class Interruptions {
  private readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-faults-'));
  private wanted: ReadonlySet<string> = new Set();

  private constructor(readonly server: TestServer) {
    buildSync({
      stdin: { contents: RUN, resolveDir: path.join(__dirname, '..', '..', '..'), loader: 'ts' },
      outfile: path.join(this.folder, 'run.js'),
      bundle: true,
      platform: 'node',
      external: ['pg-native'],
    });
  }

  static async on(server: TestServer): Promise<Interruptions> {
    const interruptions = new Interruptions(server);
    await prepare(server);
    await converge(server);
    interruptions.wanted = await everything(server);
    return interruptions;
  }

  close(): void {
    fs.rmSync(this.folder, { recursive: true });
  }

  /** How many statements a run sends to which nothing happens. */
  async count(): Promise<number> {
    await this.anew();
    const proxy = await FaultProxy.start({ host: this.server.host, port: this.server.port });
    await this.run(
      proxy.port,
      () => false,
      async () => undefined,
    );
    await proxy.stop();
    return proxy.statements.length;
  }

  async anew(): Promise<void> {
    await this.server.reset();
    await prepare(this.server);
  }

  /** Runs the process until it has sent so many statements; then `fault` happens. False: it came to its end before. */
  async runUntil(statements: number, fault: (kill: () => void) => Promise<void>): Promise<boolean> {
    const proxy = await FaultProxy.start({ host: this.server.host, port: this.server.port });
    const reached = await this.run(proxy.port, () => proxy.statements.length >= statements, fault);
    await proxy.stop();
    return reached;
  }

  private async run(port: number, isTime: () => boolean, fault: (kill: () => void) => Promise<void>): Promise<boolean> {
    const connection = this.server.connection({ port });
    const child = spawn(process.execPath, [
      path.join(this.folder, 'run.js'),
      JSON.stringify({ state: STATE, connection }),
    ]);
    let ended = false;
    const end = new Promise<void>((resolve) => child.on('close', () => ((ended = true), resolve())));
    while (!ended && !isTime()) await new Promise((resolve) => setTimeout(resolve, 1));
    const reached = !ended;
    if (reached) await fault(() => child.kill('SIGKILL'));
    await end;
    return reached;
  }

  /** Whatever has happened before, one more run makes it as declared, and one after that writes nothing. What is not so. */
  async problems(): Promise<string[]> {
    await converge(this.server);
    const { writes } = (await apply(this.server, STATE, OPTIONS)).statements;
    return [
      ...differences(this.wanted, await everything(this.server)),
      ...(writes === 0 ? [] : [`a run with nothing to do wrote ${writes} times`]),
    ];
  }
}

/** What takes something away waits to be acknowledged, as on a server where nothing happened. */
async function converge(server: TestServer): Promise<void> {
  const { plan } = await apply(server, STATE, OPTIONS);
  if (plan.hash !== undefined) await apply(server, STATE, { ...OPTIONS, acknowledge: [plan.hash] });
}
