import { ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { rootFolder } from './availability.js';
import { freePort, inRootFolder } from './pooler';

/**
 * HAProxy in TCP mode, in the place of the Network Load Balancer: both hand connections on without looking into them, and a target that
 * is deregistered gets no new ones and keeps those that it has. What it does not show is how long the real one takes.
 */
export class LoadBalancer {
  private constructor(
    private readonly child: ChildProcess,
    readonly port: number,
    private readonly adminPort: number,
  ) {}

  /** `targets`: the ports of all that will ever be targets; none of them is registered yet. */
  static async start(targets: readonly number[]): Promise<LoadBalancer> {
    const [port, adminPort] = [await freePort(), await freePort()];
    const configuration = `
global
  stats socket ipv4@127.0.0.1:${adminPort} level admin
defaults
  mode tcp
  timeout connect 5s
  timeout client 350s
  timeout server 350s
listen pooler
  bind 127.0.0.1:${port}
  balance roundrobin
${targets.map((target) => `  server t${target} 127.0.0.1:${target} disabled`).join('\n')}
`;
    const file = `/opt/clients/haproxy-${port}.cfg`;
    fs.writeFileSync(path.join(rootFolder(), file), configuration);
    const child = spawn(...inRootFolder(['/usr/sbin/haproxy', '-db', '-f', file]), {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const balancer = new LoadBalancer(child, port, adminPort);
    for (let tries = 0; ; tries++) {
      const answer = await balancer.admin('show info').catch(() => '');
      if (answer.includes('HAProxy')) {
        fs.rmSync(path.join(rootFolder(), file));
        return balancer;
      }
      if (tries > 100 || child.exitCode !== null) throw new Error(`HAProxy does not start: ${said}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  register(target: number): Promise<string> {
    return this.admin(`set server pooler/t${target} state ready`);
  }

  /** No new connections; those that are there stay. */
  deregister(target: number): Promise<string> {
    return this.admin(`set server pooler/t${target} state maint`);
  }

  async stop(): Promise<void> {
    if (this.child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.child.once('close', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }

  private admin(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      let answer = '';
      const socket = net.connect(this.adminPort, '127.0.0.1', () => socket.write(`${command}\n`));
      socket.on('data', (chunk) => (answer += chunk.toString()));
      socket.once('error', reject);
      socket.once('close', () => resolve(answer));
    });
  }
}
