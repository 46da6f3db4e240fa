import { ChildProcess, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import * as readline from 'node:readline';
import { POOLER_FOLDER, POOLER_VARIABLE, PoolerDocument } from '../../lib/contract';
import { rootFolder } from './availability.js';

const ROOT = path.resolve(__dirname, '..', '..');
const IMAGE = path.join(ROOT, 'assets', 'pgbouncer');

/** The user of the image. */
const USER = 10001;

/**
 * What the container runtime does with the image: a root file system that nobody writes, a tmpfs, the user of the image. The mounts are
 * in a namespace of their own and go with the last process in it. Debian's node and pgbouncer are those of the root folder, as in the image.
 */
const CONTAINER = `
  mount --bind "$ROOTFS" "$ROOTFS"
  mount -o remount,bind,ro "$ROOTFS"
  mount --bind "$IMAGE" "$ROOTFS/opt/pooler"
  mount -o remount,bind,ro "$ROOTFS/opt/pooler"
  mount -t proc proc "$ROOTFS/proc"
  mount --rbind /dev "$ROOTFS/dev"
  mount -t tmpfs -o size=16m,uid=${USER},gid=${USER},mode=0700 tmpfs "$ROOTFS${POOLER_FOLDER}"
  ulimit -n "$(ulimit -Hn)"
  exec chroot --userspec=${USER}:${USER} "$ROOTFS" "$@"`;

/** A task of the pooler: the bundle and the entrypoint of the image, with the configuration that the task would get. */
export class TestPooler {
  readonly lines: string[] = [];
  readonly ended: Promise<number | null>;

  private constructor(
    private readonly child: ChildProcess,
    readonly document: PoolerDocument,
    private readonly environment: Readonly<Record<string, string>>,
  ) {
    for (const stream of [child.stdout!, child.stderr!])
      readline.createInterface({ input: stream }).on('line', (line) => this.lines.push(line));
    this.ended = new Promise((resolve) => child.once('close', resolve));
  }

  static async start(
    document: PoolerDocument,
    environment: Readonly<Record<string, string>>,
    options: { readonly untilHealthy?: boolean } = {},
  ): Promise<TestPooler> {
    const variables = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      [POOLER_VARIABLE]: JSON.stringify(document),
      ...environment,
    };
    const child = spawn(
      'unshare',
      ['--mount', '--propagation', 'private', 'sh', '-euc', CONTAINER, 'container', ...entrypoint()],
      { env: { ...variables, ROOTFS: rootFolder(), IMAGE }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    const pooler = new TestPooler(child, document, variables);
    if (options.untilHealthy !== false) {
      await pooler
        .waitFor(() => pooler.health() === undefined, 'the pooler is healthy', 30_000)
        .catch(async (error) => {
          await pooler.kill();
          throw error;
        });
    }
    return pooler;
  }

  get pid(): number {
    return this.child.pid!;
  }
  get port(): number {
    return Number(this.document.port);
  }
  /** The tmpfs, as it is seen from outside. */
  get folder(): string {
    return `/proc/${this.pid}/root${POOLER_FOLDER}`;
  }

  /** Ids of the PgBouncer processes. */
  processes(): number[] {
    const children = fs.readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8').trim();
    return children === '' ? [] : children.split(' ').map(Number);
  }

  /** What ECS runs to know whether the task is healthy: undefined when it is, or what it printed. */
  health(): string | undefined {
    const { status, stderr } = this.exec([...entrypoint(), 'health'], this.environment);
    return status === 0 ? undefined : stderr.trim();
  }

  /** A command on the console of a process, as an operator gives it. */
  console(command: string, process = 1): Record<string, unknown>[] {
    const { status, stdout, stderr } = this.exec(
      [...entrypoint(), 'console', command, String(process)],
      this.environment,
    );
    if (status !== 0) throw new Error(stderr);
    return (JSON.parse(stdout) as Record<number, Record<string, unknown>[]>)[process];
  }

  /** The metrics lines so far. */
  metrics(): Record<string, unknown>[] {
    return this.lines
      .filter((line) => line.includes('"_aws"'))
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  /** As ECS stops a task. */
  terminate(): void {
    this.child.kill('SIGTERM');
  }

  /** As a host that fails: nobody is told anything. */
  async kill(): Promise<void> {
    const all = this.child.exitCode === null ? this.processes() : [];
    this.child.kill('SIGKILL');
    for (const pid of all) process.kill(pid, 'SIGKILL');
    await this.ended;
  }

  async stop(): Promise<void> {
    if (this.child.exitCode === null && this.child.signalCode === null) await this.kill();
  }

  async waitFor(condition: () => boolean | Promise<boolean>, what: string, milliseconds = 15_000): Promise<void> {
    const until = Date.now() + milliseconds;
    while (!(await condition())) {
      if (Date.now() > until || this.child.exitCode !== null)
        throw new Error(`not within ${milliseconds} ms: ${what}\n${this.lines.slice(-30).join('\n')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  private exec(command: readonly string[], env: Readonly<Record<string, string>>) {
    return spawnSync(
      'nsenter',
      [
        '--target',
        String(this.pid),
        '--mount',
        '--root',
        '--setuid',
        String(USER),
        '--setgid',
        String(USER),
        ...command,
      ],
      { env, encoding: 'utf8', timeout: 10_000 },
    );
  }
}

/** A command in the root folder, as root: for what stands around the pooler. */
export function inRootFolder(command: readonly string[]): [file: string, args: string[]] {
  const script = 'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec chroot "$0" "$@"';
  return ['unshare', ['--mount', '--propagation', 'private', 'sh', '-euc', script, rootFolder(), ...command]];
}

/** What the Dockerfile says that is run. */
export function entrypoint(): string[] {
  const dockerfile = fs.readFileSync(path.join(IMAGE, 'Dockerfile'), 'utf8');
  return JSON.parse(/^ENTRYPOINT (.*)$/m.exec(dockerfile)![1]) as string[];
}

let ports = 0;

/**
 * From a range of this process's own, below those that the system hands out: PgBouncer shares a port with whoever else is willing to, and
 * so would not notice that another run has taken it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + (process.pid % 440) * 50 + (ports++ % 50);
    const isFree = await new Promise<boolean>((resolve) => {
      const server = net.createServer();
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
    });
    if (isFree) return port;
  }
}
