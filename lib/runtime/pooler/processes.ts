import { ChildProcess, spawn } from 'node:child_process';
import * as readline from 'node:readline';

export interface ProcessesOptions {
  readonly binary: string;
  readonly count: number;
  readonly iniOf: (process: number) => string;
  /** A line that a process has logged. */
  readonly onLine: (process: number, line: string) => void;
  /** A process has ended by itself and is started again. */
  readonly onRestart: (process: number, how: string) => void;
  /** They end again and again, or cannot be started at all. */
  readonly onGiveUp: (problem: string) => void;
}

/** More ends within this time, in milliseconds, are no accident: somebody else has to look, and ECS puts another task in place. */
const WITHIN = 60_000;
const MOST_ENDS = 5;

/** The PgBouncer processes of a task. One that ends is started again, since the others go on serving. */
export class Processes {
  private readonly children = new Map<number, ChildProcess>();
  private readonly ends: number[] = [];
  private stopping = false;

  constructor(private readonly options: ProcessesOptions) {}

  start(): void {
    for (let process = 1; process <= this.options.count; process++) this.startOne(process);
  }

  /** From now on whoever ends has ended. */
  stopRestarting(): void {
    this.stopping = true;
  }

  running(): number[] {
    return [...this.children.keys()].sort((a, b) => a - b);
  }

  signal(process: number, signal: NodeJS.Signals): void {
    this.children.get(process)?.kill(signal);
  }

  private startOne(process: number): void {
    // Nothing of the environment, in which the way to the task's credentials stands.
    const child = spawn(this.options.binary, [this.options.iniOf(process)], {
      env: {},
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.children.set(process, child);
    readline.createInterface({ input: child.stderr }).on('line', (line) => this.options.onLine(process, line));
    let ended = false;
    const end = (how: string) => {
      if (ended) return;
      ended = true;
      this.children.delete(process);
      if (!this.stopping) this.again(process, how);
    };
    child.once('error', (error) => end(error.message));
    child.once('exit', (code, signal) => end(signal ? `by ${signal}` : `with ${code}`));
  }

  private again(process: number, how: string): void {
    const now = Date.now();
    this.ends.push(now);
    const recent = this.ends.filter((at) => now - at < WITHIN).length;
    if (recent > MOST_ENDS) {
      this.options.onGiveUp(
        `a process of PgBouncer ended for the ${recent}th time within a minute, the last time ${how}`,
      );
      return;
    }
    this.options.onRestart(process, how);
    setTimeout(() => {
      if (!this.stopping) this.startOne(process);
    }, 500 * recent);
  }
}
