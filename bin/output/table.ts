import { Output } from './terminal';

/** Columns as wide as their widest cell; the last one takes what the line has left, and loses its middle where that is too little. */
export function showTable(output: Output, head: readonly string[], rows: readonly (readonly string[])[]): void {
  const widths = head.map((title, at) => Math.max(title.length, ...rows.map((row) => row[at].length)));
  const left = output.width - 2 - widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0);
  widths[widths.length - 1] = Math.max(12, Math.min(widths[widths.length - 1], left));
  const render = (cells: readonly string[]) =>
    `  ${cells.map((cell, at) => cut(cell, widths[at]).padEnd(widths[at])).join('  ')}`.trimEnd();
  output.line(output.colors.dim(render(head)));
  for (const row of rows) output.line(render(row));
}

function cut(text: string, width: number): string {
  if (text.length <= width) return text;
  const head = Math.floor((width - 1) / 3);
  return `${text.slice(0, head)}…${text.slice(text.length - (width - 1 - head))}`;
}
