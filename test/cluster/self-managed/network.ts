import { execFileSync } from 'node:child_process';

/** A bridge without a way out, on which each task has an address of its own, as in a VPC. */
export class Network {
  private static made = 0;
  /** Told apart from those of other runs on this machine. */
  private readonly id = `${process.pid.toString(36)}${Network.made++}`;
  private readonly subnet = `10.${96 + (process.pid % 32)}.${Network.made % 250}`;
  private readonly bridge = `cp${this.id}`;
  private readonly spaces = new Set<string>();
  private next = 10;

  constructor() {
    ip(
      `link add ${this.bridge} type bridge`,
      `addr add ${this.subnet}.1/24 dev ${this.bridge}`,
      `link set ${this.bridge} up`,
    );
  }

  get cidr(): string {
    return `${this.subnet}.0/24`;
  }

  /** The address of this process on it. */
  get own(): string {
    return `${this.subnet}.1`;
  }

  /** A namespace with a new address, since a task has another each time. */
  add(address = `${this.subnet}.${this.next++}`): Interface {
    if (this.next > 250) throw new Error('the network has no address left');
    const number = address.split('.')[3];
    const space = `${this.bridge}-${number}`;
    const outside = `${this.bridge}v${number}`;
    ip(
      `netns add ${space}`,
      `link add ${outside} type veth peer name eth0 netns ${space}`,
      `link set ${outside} master ${this.bridge} up`,
    );
    ip(
      { space },
      'link set lo up',
      `addr add ${address}/24 dev eth0`,
      'link set eth0 up',
      'route add 169.254.170.2 dev eth0',
    );
    this.spaces.add(space);
    return { space, address, outside };
  }

  /** The address of the host that stands for AWS. */
  get aws(): string {
    return `${this.subnet}.2`;
  }
  get s3(): string {
    return `${this.subnet}.3`;
  }

  remove({ space, outside }: Interface): void {
    ip(`link del ${outside}`);
    ip(`netns del ${space}`);
    this.spaces.delete(space);
  }

  /** As a switch that fails: packets vanish, and nobody is told. */
  cut({ outside }: Interface): void {
    ip(`link set ${outside} down`);
  }
  mend({ outside }: Interface): void {
    ip(`link set ${outside} up`);
  }

  stop(): void {
    for (const space of this.spaces) ip(`netns del ${space}`);
    ip(`link del ${this.bridge}`);
  }
}

export interface Interface {
  /** Name of the network namespace. */
  readonly space: string;
  readonly address: string;
  /** The end of the cable on the bridge. */
  readonly outside: string;
}

/** Commands of `ip`, in one process. */
export function ip(...commands: readonly [string | { readonly space: string }, ...string[]]): void {
  const [first, ...rest] = commands;
  const [space, lines] = typeof first === 'string' ? [undefined, [first, ...rest]] : [first.space, rest];
  execFileSync('ip', [...(space === undefined ? [] : ['-n', space]), '-batch', '-'], {
    input: `${lines.join('\n')}\n`,
    stdio: ['pipe', 'ignore', 'pipe'],
  });
}

/** A volume of a size of its own, in MiB. It outlives tasks, and not the machine. */
export function mount(folder: string, size: number): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}m`, 'tmpfs', folder]);
}
export function unmount(folder: string): void {
  execFileSync('umount', [folder]);
}
