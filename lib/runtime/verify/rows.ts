/** One row of the table in `docs/verify-on-aws.md`. */
export interface Row {
  readonly claim: string;
  /** How somebody with an account finds out. */
  readonly how: string;
}

/** The first table of the document; its columns are the claim, what stands for it, and how to verify it. */
export function readRows(document: string): Row[] {
  const lines = document.split('\n');
  const head = lines.findIndex((line) => line.startsWith('| not verified |'));
  if (head < 0) throw new Error('the document has no table "not verified"');
  const rows: Row[] = [];
  for (const line of lines.slice(head + 2)) {
    if (!line.startsWith('|')) break;
    const cells = line.split('|').slice(1, -1);
    rows.push({ claim: plain(cells[0]), how: plain(cells[cells.length - 1]) });
  }
  return rows;
}

/** Markdown as a terminal shows it. */
function plain(cell: string): string {
  return cell
    .trim()
    .replaceAll('`', '')
    .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1');
}
