import {
  Access,
  AccessFacts,
  AccessReport,
  EVERYBODY,
  privilegeWords,
  quoted,
  reachWords,
  RowSecurity,
} from '../../lib/runtime/access';
import { Output } from './terminal';

const MOST_NAMES = 5;

const plural = (count: number, word: string) => `${count} ${word}${count === 1 ? '' : 's'}`;

/** By role, then by database: what it can do, and through which path. */
export function showAccessReport(
  output: Output,
  facts: AccessFacts,
  report: AccessReport,
  asked: { readonly role?: string; readonly object?: { readonly schema: string; readonly name: string } },
): void {
  const { colors } = output;
  if (report.superusers.length > 0) {
    output.wrapped(`May do everything (superuser): ${report.superusers.map(quoted).join(', ')}`, '');
    output.line();
  }
  const sections = new Map<string, Access[]>();
  if (asked.role !== undefined && report.superusers.length === 0) sections.set(asked.role, []);
  for (const access of report.access) {
    const section = sections.get(access.role);
    if (section) section.push(access);
    else sections.set(access.role, [access]);
  }
  for (const [role, items] of sections) {
    output.line(`${colors.bold(role === EVERYBODY ? EVERYBODY : quoted(role))}  ${colors.dim(describe(facts, role))}`);
    if (items.length === 0) output.line('  nothing');
    for (const database of [...new Set(items.map((item) => item.on.database))]) {
      const here = items.filter((item) => item.on.database === database);
      const closed = here.find((item) => item.ineffective === 'connect' || item.ineffective === 'closed');
      output.line(
        colors.dim(`  in the database ${quoted(database)}`) +
          (closed === undefined ? '' : colors.yellow(`, without effect: ${reason(closed)}`)),
      );
      for (const line of lines(facts, here, asked.object !== undefined))
        output.wrapped(line.text, '    ', closed || line.ineffective ? colors.yellow : undefined);
    }
    if (asked.role !== undefined) showMemberships(output, facts, role);
    output.line();
  }
  if (report.closed.length > 0)
    output.wrapped(
      `Not looked into, for want of CONNECT: ${report.closed.map(quoted).join(', ')}; only what is granted on these databases themselves is above.`,
      '',
    );
}

function describe(facts: AccessFacts, role: string): string {
  if (role === EVERYBODY) return 'every role';
  const known = facts.roles.get(role);
  if (known === undefined) return 'not declared';
  return [
    known.superuser ? 'superuser' : known.login ? 'logs in' : 'does not log in',
    ...(known.bypassRls && !known.superuser ? ['row security does not apply to it'] : []),
  ].join('; ');
}

/** Few lines for what is the same everywhere: a predefined role has its privileges on every table of the database. */
function lines(
  facts: AccessFacts,
  items: readonly Access[],
  detailed: boolean,
): { text: string; ineffective: boolean }[] {
  const byText = new Map<string, Access[]>();
  for (const item of items) {
    const where = item.by === 'predefined' && !detailed ? `every ${item.on.kind}` : target(facts, item);
    const text = `${privilegeWords(item)} on ${where}${item.grantable ? ', and may give it to others' : ''}, ${way(item)}${rowSecurity(item)}`;
    byText.set(text, [...(byText.get(text) ?? []), item]);
  }
  return [...byText].map(([text, same]) => {
    const useless = same.filter((item) => item.ineffective === 'usage');
    if (useless.length === 0) return { text, ineffective: false };
    const why =
      same.length === 1
        ? `: ${reason(useless[0])}`
        : ` in ${useless.map(({ on }) => quoted(on.schema!)).join(', ')}, for want of USAGE`;
    return { text: `${text} — without effect${why}`, ineffective: useless.length === same.length };
  });
}

function reason({ role, setRole, on, ineffective }: Access): string {
  switch (ineffective) {
    case 'closed':
      return 'the database takes no connections';
    case 'connect':
      return `${quoted(role)} has no CONNECT`;
    default:
      return `${quoted(setRole ?? role)} has no USAGE on the schema ${quoted(on.schema!)}`;
  }
}

function target(facts: AccessFacts, { on, future, by }: Access): string {
  const schema = on.schema === undefined ? '' : quoted(on.schema);
  switch (on.kind) {
    case 'database':
      return `the database`;
    case 'schema':
      return `schema ${schema}`;
    case 'column':
      return `column ${schema}.${quoted(on.names[0])}.${quoted(on.column!)}`;
    default: {
      const isDeclared = facts.of === 'declaration' && on.all;
      if (on.count === 0 && !isDeclared)
        return `${on.kind}s to come in ${schema} (made by ${future!.map(quoted).join(', ')})`;
      const owner = ownerOf(facts, on.database, on.schema!);
      const later =
        future === undefined || by === 'owner'
          ? ''
          : future.includes(owner)
            ? '; future too'
            : `; future ones of ${future.map(quoted).join(', ')} too`;
      if (isDeclared) return `${schema}.* (all ${on.kind}s${later})`;
      if (on.all && on.names.length !== 1) return `${schema}.* (${plural(on.count, on.kind)}${later})`;
      const item = (text: string) => `${schema}.${on.kind === 'routine' ? text : quoted(text)}`;
      if (on.count === 1) return `${on.kind} ${item(on.names[0])}${later && ` (${later.slice(2)})`}`;
      const shown = on.names.slice(0, MOST_NAMES).map(item).join(', ');
      return `${plural(on.count, on.kind)}: ${shown}${on.count > MOST_NAMES ? ', …' : ''}`;
    }
  }
}

function ownerOf(facts: AccessFacts, database: string, schema: string): string {
  const found = facts.databases.find((each) => each.name === database)!;
  const owner = found.inside?.schemas.get(schema)?.owner;
  return owner === undefined || owner === 'pg_database_owner' ? found.owner : owner;
}

function rowSecurity({ rowSecurity = [], on }: Access): string {
  return rowSecurity
    .map((each) => {
      const of =
        each.column !== undefined
          ? `, of tables with ${quoted(each.column)}`
          : each.count < on.count
            ? `, of ${each.count} of them`
            : '';
      return `; row security: ${rows(each)}${of}`;
    })
    .join('');
}

function rows({ rows, setting, policies = [], observed }: RowSecurity): string {
  if (observed)
    return `every row, and ${setting === undefined ? 'it is observed' : `whether ${setting} is set is observed`}`;
  switch (rows) {
    case 'tenant':
      return `rows of the tenant in ${setting} alone`;
    case 'policies':
      return `what ${policies.length === 1 ? 'the policy' : 'the policies'} ${policies.map(quoted).join(', ')} let${policies.length === 1 ? 's' : ''} through`;
    case 'none':
      return 'no row, since no policy is for it';
    case 'all':
      return 'every row';
  }
}

function way(item: Access): string {
  if (item.by === 'public') return 'through PUBLIC';
  if (item.by !== 'owner') return reachWords(item);
  return item.path.length === 1 ? 'as owner' : `${reachWords(item)}, the owner`;
}

function showMemberships(output: Output, facts: AccessFacts, role: string): void {
  for (const row of facts.memberships.filter((membership) => membership.member === role)) {
    const may = [
      row.inherit ? 'has its privileges' : 'does not inherit its privileges',
      row.set ? 'may SET ROLE to it' : 'may not SET ROLE to it',
      ...(row.admin ? ['may make members of it, itself too'] : []),
    ];
    output.wrapped(`member of ${quoted(row.role)}: ${may.join(', ')}`, '  ', output.colors.dim);
  }
}
