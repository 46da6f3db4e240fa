import { AccessLevel, AccessRow } from '../../lib/runtime/reconcile';
import { Output } from './terminal';

const MARK: Readonly<Record<AccessLevel, string>> = {
  owner: 'owner',
  'read-write': 'read-write',
  write: 'write',
  read: 'read',
  other: 'other',
  none: '·',
};

/** Roles down, schemas across, one matrix a database, as the server itself answers for every path of membership. */
export function showAccess(output: Output, rows: readonly AccessRow[]): void {
  for (const database of distinct(rows.map((row) => row.database))) {
    const here = rows.filter((row) => row.database === database);
    const schemas = distinct(here.map((row) => row.schema));
    const roles = distinct(here.map((row) => row.role));
    const level = (role: string, schema: string) =>
      here.find((row) => row.role === role && row.schema === schema)?.level ?? 'none';
    // The widest columns that fit in one line; the others follow below.
    const first = Math.max(...roles.map((role) => role.length), database.length);
    const width = (schema: string) => Math.max(10, schema.length) + 2;
    for (let at = 0; at < schemas.length;) {
      const block: string[] = [];
      let left = output.width - first - 4;
      while (at < schemas.length && (block.length === 0 || width(schemas[at]) <= left)) {
        left -= width(schemas[at]);
        block.push(schemas[at++]);
      }
      showBlock(output, database, first, roles, block, width, level);
    }
  }
}

function showBlock(
  output: Output,
  database: string,
  first: number,
  roles: readonly string[],
  schemas: readonly string[],
  width: (schema: string) => number,
  level: (role: string, schema: string) => AccessLevel,
): void {
  const { colors } = output;
  const style = (of: AccessLevel) =>
    ({
      owner: colors.magenta,
      'read-write': colors.yellow,
      write: colors.yellow,
      read: colors.green,
      other: colors.cyan,
      none: colors.dim,
    })[of];
  output.line(
    `  ${colors.dim(database.padEnd(first + 2))}${schemas.map((schema) => colors.bold(schema.padEnd(width(schema)))).join('')}`.trimEnd(),
  );
  for (const role of roles) {
    const cells = schemas.map((schema) => style(level(role, schema))(MARK[level(role, schema)].padEnd(width(schema))));
    output.line(`  ${role.padEnd(first + 2)}${cells.join('')}`.trimEnd());
  }
}

function distinct(names: readonly string[]): string[] {
  return [...new Set(names)];
}
