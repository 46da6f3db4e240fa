import { spawn } from 'node:child_process';
import { buildSync } from 'esbuild';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

export const ROOT = path.resolve(__dirname, '..', '..');

export interface CliResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

let built: string | undefined;

/** The command line, bundled from the sources as they are, in a folder that looks like an installed package. */
export function cliFile(): string {
  if (built) return built;
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-cli-'));
  process.once('exit', () => fs.rmSync(folder, { recursive: true, force: true }));
  fs.copyFileSync(path.join(ROOT, 'package.json'), path.join(folder, 'package.json'));
  fs.cpSync(path.join(ROOT, 'docs'), path.join(folder, 'docs'), { recursive: true });
  built = path.join(folder, 'assets', 'cli.js');
  buildSync({
    absWorkingDir: ROOT,
    entryPoints: ['bin/cdk-postgres.ts'],
    bundle: true,
    platform: 'node',
    target: 'node20',
    external: ['pg-native'],
    outfile: built,
  });
  return built;
}

/** Runs the command line as a user does, without a terminal. */
export function cli(
  args: readonly string[],
  options: { readonly env?: Readonly<Record<string, string>>; readonly cwd?: string } = {},
): Promise<CliResult> {
  const env = { ...process.env, NO_COLOR: '', FORCE_COLOR: '', PGPASSFILE: '/nonexistent', ...options.env };
  delete (env as NodeJS.ProcessEnv).PGPASSWORD;
  const child = spawn(process.execPath, [cliFile(), ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...env, ...(options.env?.PGPASSWORD && { PGPASSWORD: options.env.PGPASSWORD }) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, stdout, stderr }));
  });
}
