import { showTable } from './table';
import { Output, Progress } from './terminal';

export interface Phase {
  readonly phase: string;
  readonly milliseconds: number;
}

/** The phases of a command: what is under way on the terminal, and how long each took at the end. */
export class Phases {
  readonly done: Phase[] = [];
  private readonly progress = new Progress();

  async run<T>(phase: string, body: (say: (detail: string) => void) => Promise<T>): Promise<T> {
    this.progress.say(phase);
    const from = performance.now();
    try {
      return await body((detail) => this.progress.say(`${phase}: ${detail}`));
    } finally {
      this.progress.done();
      this.done.push({ phase, milliseconds: Math.round(performance.now() - from) });
    }
  }

  show(output: Output): void {
    const total = this.done.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
    const rows = [...this.done, { phase: 'together', milliseconds: total }];
    showTable(
      output,
      ['seconds', 'phase'],
      rows.map(({ phase, milliseconds }) => [(milliseconds / 1000).toFixed(2).padStart(7), phase]),
    );
  }
}
