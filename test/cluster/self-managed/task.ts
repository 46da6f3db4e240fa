import { ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import * as readline from 'node:readline';
import { rootFolder } from '../availability.js';
import { Interface, ip, Network } from './network';

/**
 * What the container runtime does with an image: namespaces of its own for processes, mounts, shared memory and the network, a root file system
 * that nobody writes, a tmpfs, the volume, and the user of the image.
 */
const CONTAINER = `
  if [ -n "$LAYER" ]; then
    mount -t overlay -o "lowerdir=$LAYER:$ROOTFS" overlay "$ROOTFS"
  else
    mount --bind "$ROOTFS" "$ROOTFS"
    mount -o remount,bind,ro "$ROOTFS"
  fi
  if [ -n "$IMAGE" ]; then
    mount --bind "$IMAGE" "$ROOTFS/opt/cdk-postgres"
    mount -o remount,bind,ro "$ROOTFS/opt/cdk-postgres"
  fi
  mount -t proc proc "$ROOTFS/proc"
  mount --rbind /dev "$ROOTFS/dev"
  mount -t tmpfs -o size=256m,mode=1777 tmpfs "$ROOTFS/dev/shm"
  mount -t tmpfs -o size=64m,uid=$USER_ID,gid=$USER_ID,mode=0700 tmpfs "$ROOTFS/run/cdk-postgres"
  if [ -n "$VOLUME" ]; then mount --bind "$VOLUME" "$ROOTFS$MOUNTED"; fi
  mount --bind "$RESOLV" "$ROOTFS/etc/resolv.conf"
  unset ROOTFS LAYER IMAGE RESOLV
  exec chroot --userspec="$USER_ID:$USER_ID" "$OLDPWD" "$@"`;

export interface TaskOptions {
  readonly name: string;
  readonly network: Network;
  /** Folder of the image, with its Dockerfile. Undefined: a command of the root folder. */
  readonly image?: string;
  /** Folder with what a user's own image adds to ours, at the paths that it has in the image. */
  readonly layer?: string;
  readonly command: readonly string[];
  readonly user: number;
  readonly environment: Readonly<Record<string, string>>;
  /** Folder of the host, which outlives the task, and where it is mounted. */
  readonly volume?: { readonly host: string; readonly mounted: string };
  /** The file with the address of the DNS server. */
  readonly resolv: string;
  /** @default - a new one each time */
  readonly address?: string;
  /** Called with each new address. */
  readonly registered?: (address: string) => void;
}

/** A task: it can be started again and again, each time with a new container and a new address, and the same volume. */
export class Task {
  readonly lines: string[] = [];
  interface?: Interface;
  private child?: ChildProcess;
  private pid?: number;
  private ended?: Promise<number | null>;

  constructor(readonly options: TaskOptions) {}

  get name(): string {
    return this.options.name;
  }
  get address(): string {
    if (!this.interface) throw new Error(`${this.name} does not run`);
    return this.interface.address;
  }
  get isRunning(): boolean {
    return this.child !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** `links`: further commands of `ip` in its namespace. */
  start(links: readonly string[] = []): void {
    const { network, image, layer, user, volume, resolv, environment, address, registered } = this.options;
    this.interface = network.add(address);
    if (links.length > 0) ip({ space: this.interface.space }, ...links);
    registered?.(this.interface.address);
    const root = rootFolder();
    const env = {
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      LANG: 'C.UTF-8',
      ...(image ? imageEnvironment(image) : {}),
      ...environment,
      ROOTFS: root,
      LAYER: layer ?? '',
      IMAGE: image ?? '',
      RESOLV: resolv,
      USER_ID: String(user),
      VOLUME: volume?.host ?? '',
      MOUNTED: volume?.mounted ?? '',
      // The shell that mounts unsets the others, and enters by this one.
      OLDPWD: root,
    };
    const command = [...(image ? entrypoint(image) : []), ...this.options.command];
    const unshare = ['unshare', '--mount', '--pid', '--ipc', '--fork', '--propagation', 'private'];
    const child = spawn(
      'ip',
      ['netns', 'exec', this.interface.space, ...unshare, 'sh', '-euc', CONTAINER, 'container', ...command],
      { env, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    this.child = child;
    this.pid = undefined;
    for (const stream of [child.stdout, child.stderr])
      readline.createInterface({ input: stream }).on('line', (line) => {
        this.lines.push(line);
        if (process.env.CDK_POSTGRES_LAB_LOG)
          fs.appendFileSync(
            process.env.CDK_POSTGRES_LAB_LOG,
            `${new Date().toISOString().slice(11, 23)} ${this.name}: ${line}\n`,
          );
      });
    this.ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  }

  /** As ECS stops a task: SIGTERM, and SIGKILL after its stop timeout. Resolves to its exit code. */
  async terminate(stopTimeout = 120_000): Promise<number | null> {
    this.signal('SIGTERM');
    const timer = setTimeout(() => this.signal('SIGKILL'), stopTimeout);
    const code = await this.ended!;
    clearTimeout(timer);
    this.leave();
    return code;
  }

  /** Resolves to its exit code when it ends by itself. */
  async end(): Promise<number | null> {
    const code = await this.ended!;
    this.leave();
    return code;
  }

  /** As a host that loses power: every process of it at once. */
  async kill(): Promise<void> {
    if (this.isRunning) {
      this.signal('SIGKILL');
      await this.ended;
    }
    this.leave();
  }

  cut(): void {
    this.options.network.cut(this.interface!);
  }
  mend(): void {
    this.options.network.mend(this.interface!);
  }

  /** A command in the container, as ECS Exec runs it. Resolves to what it printed. */
  exec(command: readonly string[], input = ''): Promise<string> {
    const user = String(this.options.user);
    const spaces = ['--mount', '--pid', '--net', '--ipc', '--root', '--wd=/', '--setuid', user, '--setgid', user];
    const child = spawn('nsenter', ['--target', String(this.first()), ...spaces, ...command], {
      env: {
        PATH: '/usr/bin:/bin',
        LANG: 'C.UTF-8',
        ...imageEnvironment(this.options.image!),
        ...this.options.environment,
      },
      timeout: 120_000,
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    return new Promise((resolve, reject) =>
      child.once('close', (code) =>
        code === 0 ? resolve(stdout) : reject(new Error(`${this.name}: ${command.join(' ')}: ${stderr || stdout}`)),
      ),
    );
  }

  /** What is in the container's file system, as it is seen from outside. */
  path(inside: string): string {
    return `/proc/${this.first()}/root${inside}`;
  }

  private signal(signal: NodeJS.Signals): void {
    try {
      process.kill(this.first(), signal);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH' && this.isRunning) throw error;
    }
  }

  /** The first process of the container: the signal to it is that of ECS, and its end is that of all others. */
  private first(): number {
    if (this.pid !== undefined) return this.pid;
    const unshare = this.child!.pid!;
    const children = fs.readFileSync(`/proc/${unshare}/task/${unshare}/children`, 'utf8').trim();
    if (children === '') throw new Error(`${this.name} has no process\n${this.lines.slice(-20).join('\n')}`);
    return (this.pid = Number(children.split(' ')[0]));
  }

  private leave(): void {
    if (this.interface) this.options.network.remove(this.interface);
    this.interface = undefined;
  }
}

/** What the Dockerfile says that is run. */
export function entrypoint(image: string): string[] {
  return JSON.parse(/^ENTRYPOINT (.*)$/m.exec(dockerfile(image))![1]) as string[];
}

function imageEnvironment(image: string): Record<string, string> {
  const [, variables] = /^ENV (.*)$/m.exec(dockerfile(image)) ?? [];
  return Object.fromEntries((variables ?? '').split(' ').map((variable) => variable.split('=') as [string, string]));
}

function dockerfile(image: string): string {
  return fs.readFileSync(path.join(image, 'Dockerfile'), 'utf8');
}
