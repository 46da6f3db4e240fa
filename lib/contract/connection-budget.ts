/** Under which a server's construct leaves its budget in the metadata of the stack, where the command line reads it. */
export const BUDGET_METADATA = 'cdk-postgres:connection-budget';

/** Who takes how many of a server's connections at the worst moment. */
export interface BudgetEntry {
  /** What kind of consumer: `reserve`, `functions`, `RDS Proxy`, `PgBouncer`, `pooler`, `direct`. */
  readonly kind: string;
  /** The construct, or what the reserve is for. */
  readonly who: string;
  /** Absent: nobody said, and it cannot be derived. */
  readonly connections?: number;
  /** It is no number of its own: it takes what the others leave, and so always fits. */
  readonly rest?: boolean;
  /** How the number comes about, or why there is none. */
  readonly how: string;
}

/** The connections of one server, added up. */
export interface BudgetDocument {
  /** The construct path of the server. */
  readonly server: string;
  /** What the server takes. Absent: not known. */
  readonly maxConnections?: number;
  /** How that is known, or what would make it known. */
  readonly how: string;
  readonly entries: readonly BudgetEntry[];
  /** The sum of what is known. */
  readonly total: number;
  /** Entries without a number. */
  readonly unknown: number;
  /** `fits`, `exceeded`, or `unknown`, where the server's number or that of a consumer is missing. */
  readonly verdict: 'fits' | 'exceeded' | 'unknown';
}

/** Adds the entries up and compares them with what the server takes. */
export function balance(
  document: Pick<BudgetDocument, 'server' | 'maxConnections' | 'how' | 'entries'>,
): BudgetDocument {
  const { maxConnections, entries } = document;
  const total = entries.reduce((sum, { connections }) => sum + (connections ?? 0), 0);
  const unknown = entries.filter(({ connections }) => connections === undefined).length;
  const exceeded = maxConnections !== undefined && total > maxConnections;
  const verdict = exceeded ? 'exceeded' : maxConnections === undefined || unknown > 0 ? 'unknown' : 'fits';
  return { ...document, total, unknown, verdict };
}

/** The table of who takes what, as lines of text. */
export function budgetLines({ entries, total, maxConnections, how }: BudgetDocument): string[] {
  const rows = entries.map(({ kind, who, connections, how: why }) => [
    connections === undefined ? '?' : String(connections),
    kind,
    `${who}: ${why}`,
  ]);
  rows.push([String(total), 'sum', maxConnections === undefined ? how : `of ${maxConnections} (${how})`]);
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map(([number, kind, rest]) => `${number!.padStart(widths[0]!)}  ${kind!.padEnd(widths[1]!)}  ${rest}`);
}
