import { createColors } from 'picocolors';

export type Colors = ReturnType<typeof createColors>;

/** Whether a stream gets colour: a terminal that nobody has told otherwise (NO_COLOR), or FORCE_COLOR. */
export function wantsColor(stream: { readonly isTTY?: boolean }, env: NodeJS.ProcessEnv = process.env): boolean {
  if (env.NO_COLOR) return false;
  if (env.FORCE_COLOR && env.FORCE_COLOR !== '0') return true;
  return stream.isTTY === true && env.TERM !== 'dumb';
}

/** Where results go: lines for people, or one JSON document. */
export class Output {
  readonly colors: Colors;
  readonly width: number;

  constructor(
    private readonly stream: NodeJS.WriteStream = process.stdout,
    readonly json = false,
  ) {
    this.colors = createColors(wantsColor(stream));
    this.width = Math.min(stream.columns ?? 100, 100);
  }

  line(text = ''): void {
    if (!this.json) this.stream.write(`${visible(text)}\n`);
  }

  heading(text: string): void {
    this.line();
    this.line(this.colors.bold(text));
    this.line();
  }

  document(value: unknown): void {
    if (this.json) this.stream.write(`${JSON.stringify(value, null, 2)}\n`);
  }

  /** Text that goes on in an indented block where a line is full. A mark in the indent, such as `- `, stands before the first line alone. */
  wrapped(text: string, indent: string, style: (line: string) => string = (line) => line): void {
    const later = ' '.repeat(visibleLength(indent));
    wrap(text, this.width - later.length).forEach((line, at) => this.line((at === 0 ? indent : later) + style(line)));
  }
}

/** All but colours, ends of lines and tabs: a name that somebody gave a role may steer a terminal. */
const STEERING = /\x1b(?!\[\d+m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]/g;

function visible(text: string): string {
  return text.replace(STEERING, (char) => `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

function visibleLength(text: string): number {
  return text.replace(/\x1b\[\d+m/g, '').length;
}

/** Breaks text at spaces; what is longer than a line and has no space stays whole. Later lines are indented by two. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    let indent = '';
    for (const word of paragraph.trim().split(/\s+/)) {
      if (line !== '' && indent.length + line.length + 1 + word.length > width) {
        lines.push(indent + line);
        indent = '  ';
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    lines.push(indent + line);
  }
  return lines;
}

/** What is being done, in one line of standard error that is written over; silent where that is no terminal. */
export class Progress {
  private readonly shown: boolean;

  constructor(private readonly stream: NodeJS.WriteStream = process.stderr) {
    this.shown = stream.isTTY === true;
  }

  say(message: string): void {
    if (!this.shown) return;
    const width = (this.stream.columns ?? 80) - 3;
    this.stream.write(`\r\x1b[K… ${message.length > width ? `${message.slice(0, width - 1)}…` : message}`);
  }

  done(): void {
    if (this.shown) this.stream.write('\r\x1b[K');
  }
}
