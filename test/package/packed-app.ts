import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

export const ROOT = path.resolve(__dirname, '..', '..');

const PEERS = ['aws-cdk-lib', 'constructs'];

/** What a command of a user's project printed. */
export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The names of the tests of a user's project, by how they ended. */
export interface JestOutcome {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  readonly messages: string;
}

/**
 * A CDK app of somebody else: an own folder, the tarball of this package, and its two peers. Nothing of this repository can be
 * reached from there, and nothing comes from the network.
 */
export class PackedApp {
  readonly directory = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-app-')));
  /** What npm said that it added. */
  readonly installed: string[];

  constructor() {
    // The package is built already; its prepack script would do it again.
    this.npm('pack', ROOT, '--ignore-scripts', '--silent');
    const [tarball] = fs.readdirSync(this.directory).filter((file) => file.endsWith('.tgz'));
    PEERS.forEach((peer) => this.copyPackage(peer));
    const dependencies = Object.fromEntries(PEERS.map((peer) => [peer, installedVersion(peer)]));
    this.write('package.json', JSON.stringify({ private: true, dependencies }));
    const before = this.packages();
    // To lay out peers npm asks for metadata of them, though they are there; whether they fit is asked for afterwards, of what is there.
    this.npm('install', '--offline', '--legacy-peer-deps', '--no-audit', '--no-fund', `./${tarball}`);
    this.npm('ls', ...PEERS);
    this.installed = this.packages().filter((name) => !before.includes(name));
  }

  get package(): string {
    return path.join(this.directory, 'node_modules', 'cdk-postgres');
  }

  write(file: string, content: string): void {
    fs.writeFileSync(path.join(this.directory, file), content);
  }

  run(command: string, ...args: string[]): Outcome {
    const { status, stdout, stderr } = spawnSync(command, args, this.options());
    return { code: status, stdout, stderr };
  }

  /** Adds a package that the user's project has besides, as npm would. */
  add(name: string): void {
    this.copyPackage(name);
  }

  /** Runs the project's tests with Jest, and says how each of them ended, by its name. */
  jest(env: Readonly<Record<string, string>> = {}, ...args: string[]): JestOutcome {
    const config = JSON.stringify({
      rootDir: this.directory,
      testEnvironment: 'node',
      transform: {},
      testTimeout: 120_000,
    });
    const program = path.join(ROOT, 'node_modules', 'jest', 'bin', 'jest.js');
    const options = this.options();
    const { stdout, stderr } = spawnSync(process.execPath, [program, '--config', config, '--json', ...args], {
      ...options,
      env: { ...options.env, ...env },
    });
    const start = stdout.indexOf('{');
    if (start < 0) throw new Error(`Jest said nothing that can be read:\n${stdout}\n${stderr}`);
    const { testResults } = JSON.parse(stdout.slice(start)) as {
      testResults: {
        message: string;
        assertionResults: { title: string; status: string; failureMessages: string[] }[];
      }[];
    };
    const tests = testResults.flatMap(({ assertionResults }) => assertionResults);
    const of = (status: string) =>
      tests
        .filter((one) => one.status === status)
        .map(({ title }) => title)
        .sort();
    const messages = [
      ...testResults.map(({ message }) => message),
      ...tests.flatMap(({ failureMessages }) => failureMessages),
    ];
    return { passed: of('passed'), failed: of('failed'), messages: messages.join('\n') };
  }

  remove(): void {
    fs.rmSync(this.directory, { recursive: true });
  }

  private npm(...args: string[]): void {
    execFileSync('npm', args, { ...this.options(), stdio: 'pipe' });
  }

  /** Neither jest's nor npm's own variables reach the app: they would tell it where this repository is. */
  private options() {
    const inherited = Object.entries(process.env).filter(
      ([name]) => !/^(npm_|NODE_PATH$|NODE_OPTIONS$|JEST_)/i.test(name),
    );
    const env = { ...Object.fromEntries(inherited), CDK_VALIDATION: 'false' };
    return { cwd: this.directory, env, encoding: 'utf8' as const };
  }

  /** The names of the packages that stand in node_modules. */
  private packages(): string[] {
    const folder = path.join(this.directory, 'node_modules');
    return fs
      .readdirSync(folder)
      .filter((name) => !name.startsWith('.'))
      .flatMap((name) =>
        name.startsWith('@') ? fs.readdirSync(path.join(folder, name)).map((n) => `${name}/${n}`) : [name],
      );
  }

  /** A package of this repository and what it needs besides what it brings along. */
  private copyPackage(name: string): void {
    const target = path.join(this.directory, 'node_modules', name);
    if (fs.existsSync(target)) return;
    const source = path.join(ROOT, 'node_modules', name);
    fs.cpSync(source, target, { recursive: true });
    Object.keys(manifestOf(source).dependencies ?? {})
      .filter((dependency) => !fs.existsSync(path.join(target, 'node_modules', dependency)))
      .forEach((dependency) => this.copyPackage(dependency));
  }
}

function installedVersion(name: string): string {
  return manifestOf(path.join(ROOT, 'node_modules', name)).version;
}

function manifestOf(folder: string): { version: string; dependencies?: Record<string, string> } {
  return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
}
