import * as fs from 'node:fs';
import * as path from 'node:path';
import { LEADER_TTL } from './lab';
import { Journal } from './journal';

/** What was measured, for docs/self-managed.md: each as a line of the run, and in the file that CDK_POSTGRES_FIGURES names. */
export function figure(what: string, values: Readonly<Record<string, string | number>>): void {
  const line = JSON.stringify({ what, ...values });
  process.stderr.write(`${line}\n`);
  const file = process.env.CDK_POSTGRES_FIGURES;
  if (file) {
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.appendFileSync(file, `${line}\n`);
  }
}

/** The outage since a moment, in seconds and in leases, with how much the machine disturbed it. */
export function outageFigure(what: string, journal: Journal, since: number): number {
  const seconds = journal.outage(since);
  figure(what, {
    seconds: round(seconds),
    leases: round(seconds / LEADER_TTL),
    acknowledged: journal.acknowledged.length,
    unknown: journal.unknown,
    disturbedMs: journal.disturbed,
  });
  return seconds / LEADER_TTL;
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
