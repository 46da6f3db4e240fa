import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';

const ROOT = path.join(__dirname, '..', '..');
const FILE = path.join(ROOT, 'docs', 'soak.json');
const from = Date.now();

const git = (...args: string[]) => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim();

/**
 * Keeps what a suite has found when it came to its end, in the place of what it found the last time, with when and on which sources. A
 * suite that fails keeps nothing.
 */
export function keep(suite: string, result: Readonly<Record<string, unknown>>): void {
  const all = (fs.existsSync(FILE) ? JSON.parse(fs.readFileSync(FILE, 'utf8')) : {}) as Record<string, unknown>;
  const changed = git('status', '--porcelain', '--untracked-files=no', '--', '.', ':!docs/soak.json') !== '';
  all[suite] = {
    date: new Date().toISOString().slice(0, 10),
    commit: `${git('rev-parse', 'HEAD')}${changed ? ', with changes that are not committed' : ''}`,
    seconds: Math.round((Date.now() - from) / 1000),
    ...result,
  };
  const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)));
  fs.writeFileSync(FILE, `${JSON.stringify(sorted, null, 2)}\n`);
}
