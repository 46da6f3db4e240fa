import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { AwsApi } from './aws-api';
// Also read by the reporter of `npm test`, which is no TypeScript.
import { emulatorFolder } from './availability.js';

const ROOT = path.resolve(__dirname, '..', '..');
const HOSTS_MARK = '# cdk-postgres test';

/** The emulator's CloudFormation hears a function's SUCCESS in this region alone; everywhere it hears that one failed. */
export const REGION = 'us-east-1';
export const OTHER_REGION = 'eu-central-1';

export const ACCOUNT = '123456789012';

/** The emulator of AWS's API, started by this run or found running. */
export class Emulator {
  private readonly hosts: string[] = [];

  private constructor(
    readonly endpoint: string,
    /** Whether somebody else runs it; it then goes on running. */
    readonly isForeign: boolean,
  ) {}

  static async start(): Promise<Emulator> {
    const running = runningPort();
    const port = running ?? process.env.AWS_EMULATOR_PORT ?? String(await freePort());
    if (running === undefined) {
      // Its first start builds a root folder from Debian's packages, and says nothing meanwhile. The scripts of these packages run in
      // that folder, where jest's own temporary folder is not.
      const env = { ...process.env, TMPDIR: '/tmp', AWS_EMULATOR_PORT: port };
      await run(path.join(emulatorFolder(), 'start'), [], env);
    } else {
      process.stderr.write(`The emulator runs already on port ${port}: this suite uses it and leaves it running.\n`);
    }
    return new Emulator(`http://localhost:${port}`, running !== undefined);
  }

  api(region: string): AwsApi {
    return new AwsApi(this.endpoint, region);
  }

  /** What an emulator that runs already may hold is somebody's, and would be taken for what this run has made. */
  async refuseRemains(): Promise<void> {
    for (const region of [REGION, OTHER_REGION]) {
      const { status } = await this.api(region).rest('s3', 'HEAD', `/cdk-hnb659fds-assets-${ACCOUNT}-${region}`);
      if (status !== 404) {
        throw new Error(
          `the emulator that runs holds a deployment to ${region}; ${path.join(emulatorFolder(), 'stop')} ends it`,
        );
      }
    }
  }

  /** Makes the functions resolve these names to an address of this machine: they run in the emulator's root folder, with its hosts file. */
  resolve(address: string, names: readonly string[]): void {
    const line = `${address} ${names.join(' ')} ${HOSTS_MARK} ${process.pid}`;
    this.hosts.push(line);
    fs.appendFileSync(hostsFile(), `${line}\n`);
  }

  /** Runs the CDK CLI of this repository against the emulator, never against AWS. */
  cdk(region: string, ...args: readonly string[]): Promise<string> {
    return run(path.join(ROOT, 'node_modules', '.bin', 'cdk'), args, this.environment(region));
  }

  async stop(): Promise<void> {
    const lines = fs.readFileSync(hostsFile(), 'utf8').split('\n');
    fs.writeFileSync(hostsFile(), lines.filter((line) => !this.hosts.includes(line)).join('\n'));
    if (this.isForeign) return;
    const pid = Number(fs.readFileSync(path.join(home(), 'pid'), 'utf8'));
    await run(path.join(emulatorFolder(), 'stop'), [], process.env);
    // It ends with its last function: one that failed elsewhere may still be trying to be heard.
    for (let tries = 0; tries < 300 && fs.existsSync(`/proc/${pid}`); tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    // The code of the functions, which the emulator unpacks and leaves.
    const temporary = path.join(home(), 'rootfs', 'tmp');
    for (const name of fs.readdirSync(temporary).filter((entry) => entry.startsWith('lambda-volumes-'))) {
      fs.rmSync(path.join(temporary, name), { recursive: true, force: true });
    }
  }

  private environment(region: string): NodeJS.ProcessEnv {
    const own = Object.entries(process.env).filter(([name]) => !/^(AWS|CDK)_/.test(name));
    return {
      ...Object.fromEntries(own),
      AWS_ENDPOINT_URL: this.endpoint,
      AWS_REGION: region,
      AWS_DEFAULT_REGION: region,
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
      AWS_EC2_METADATA_DISABLED: 'true',
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      CDK_DISABLE_CLI_TELEMETRY: 'true',
      JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION: '1',
      NODE_NO_WARNINGS: '1',
      CI: '1',
    };
  }
}

function home(): string {
  return process.env.AWS_EMULATOR_HOME ?? '/var/tmp/aws-emulator';
}

function hostsFile(): string {
  return path.join(home(), 'rootfs', 'etc', 'hosts');
}

/** The port of an emulator that runs, by its command line. */
function runningPort(): string | undefined {
  try {
    const pid = fs.readFileSync(path.join(home(), 'pid'), 'utf8').trim();
    const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    if (!command.some((part) => part.endsWith('moto_server'))) return undefined;
    return command[command.indexOf('-p') + 1];
  } catch {
    return undefined;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function run(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
    child.once('error', reject);
    // Not `close`: what the emulator's start leaves running may hold the pipes.
    child.once('exit', (code) => {
      child.stdout.destroy();
      child.stderr.destroy();
      if (code === 0) resolve(text);
      else reject(new Error(`${path.basename(command)} ${args.join(' ')} ended with ${code}:\n${text.slice(-4000)}`));
    });
  });
}
