import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** Writes into the README what the commands that it names really print: `npm run readme`, after a change of their output. */

/** What differs from run to run says nothing to a reader. */
function settled(output: string): string {
  return output
    .replace(/\r/g, '')
    .split('\n')
    .filter((line) => !/^npm warn|^> |^\w+: \d+ kB zipped/.test(line))
    .map((line) => line.trimEnd())
    .join('\n')
    .trim();
}

function between(readme: string, name: string, content: string): string {
  const marks = new RegExp(`(<!-- ${name} -->\n)[^]*?(<!-- /${name} -->)`);
  if (!marks.test(readme)) throw new Error(`README.md has no place for the output of ${name}`);
  return readme.replace(marks, (_, before: string, after: string) => `${before}${content}\n${after}`);
}

interface Limit {
  readonly measured: number;
  readonly atMost: number;
}

interface Least {
  readonly measured: number;
  readonly atLeast: number;
}

/** What docs/bench.json has to hold for the table; bench/index.ts writes more. */
interface Bench {
  readonly tablesPresent: Ratios & { readonly writesWithNothingToDo: Limit };
  readonly emptyServer: Ratios;
  readonly catalogQueriesWithNothingToDo: Readonly<Record<string, number>>;
  readonly scale: { readonly accessToNothingToDo: Limit; readonly firstApplyToReference: Limit };
  readonly probe: { readonly lookToOneRead: Limit };
  readonly pooler: {
    readonly clients: number;
    readonly serverConnections: Limit;
    readonly refused: Limit;
    readonly withoutThePooler: { readonly tried: number; readonly refused: number };
    readonly pooled20ToDirect20: Least;
    readonly pooledAllToDirect20: Least;
  };
  readonly memory: { readonly firstApplyMb: Limit };
  readonly zippedFunctionKb: Readonly<Record<string, Limit>>;
  readonly template: {
    readonly resources: { readonly oneTenant: number; readonly hundredTenants: number };
    readonly hundredTenantsToBareServer: Limit;
  };
}

interface Ratios {
  readonly firstApplyToReference: Limit;
  readonly nothingToDoToFirstApply: Limit;
  readonly nothingToDoToBareConnections: number;
}

function benchTable(): string {
  if (!existsSync('docs/bench.json')) throw new Error('docs/bench.json is missing: npm run bench > docs/bench.json');
  const bench = JSON.parse(readFileSync('docs/bench.json', 'utf8')) as Bench;
  const row = (what: string, { measured, atMost }: Limit, unit = '') =>
    `| ${what} | ${measured}${unit}${measured > atMost ? ', **missed**' : ''} | at most ${atMost}${unit} |`;
  const atLeast = (what: string, least: Least) =>
    `| ${what} | ${least.measured} ×${least.measured < least.atLeast ? ', **missed**' : ''} | at least ${least.atLeast} × |`;
  const { pooler } = bench;
  return [
    '| | measured | limit |',
    '|---|---|---|',
    row(
      'first apply of 100 tenants on 1,000 tables, to a hand-written script over one connection',
      bench.tablesPresent.firstApplyToReference,
      ' ×',
    ),
    row('the same on an empty server', bench.emptyServer.firstApplyToReference, ' ×'),
    row(
      'a run with nothing to do, to the first apply (1,000 tables)',
      bench.tablesPresent.nothingToDoToFirstApply,
      ' ×',
    ),
    row('a run with nothing to do, to the first apply (no tables)', bench.emptyServer.nothingToDoToFirstApply, ' ×'),
    `| a run with nothing to do, to two bare connections at the same time (1,000 tables) | ${bench.tablesPresent.nothingToDoToBareConnections} × | – |`,
    row('statements that change something, with nothing to do', bench.tablesPresent.writesWithNothingToDo),
    `| catalog queries with nothing to do, for 1, 10 and 100 tenants | ${Object.values(bench.catalogQueriesWithNothingToDo).join(', ')} | the same |`,
    row(
      '1,000 roles, 5,000 grants, 10,000 tables: first apply, to a hand-written script',
      bench.scale.firstApplyToReference,
      ' ×',
    ),
    row('`cdk-postgres access` there, to a run with nothing to do', bench.scale.accessToNothingToDo, ' ×'),
    row('a look of the probe at 5,000 tables, to one read of the catalogs', bench.probe.lookToOneRead, ' ×'),
    row(`connections to the server for ${pooler.clients} clients of PgBouncer`, pooler.serverConnections),
    row(
      `of these clients refused (without it, ${pooler.withoutThePooler.refused} of ${pooler.withoutThePooler.tried} are)`,
      pooler.refused,
    ),
    atLeast('statements a second of 20 clients through PgBouncer, to 20 direct connections', pooler.pooled20ToDirect20),
    atLeast('those of all its clients, to 20 direct connections', pooler.pooledAllToDirect20),
    row('most resident memory, 1,000 roles and 10,000 tables', bench.memory.firstApplyMb, ' MB'),
    ...Object.entries(bench.zippedFunctionKb).map(([duty, limit]) =>
      row(`the function \`${duty}\`, zipped JavaScript`, limit, ' kB'),
    ),
    `| CloudFormation resources of 1 and of 100 tenants | ${bench.template.resources.oneTenant}, ${bench.template.resources.hundredTenants} | the same |`,
    row('synthesis of 100 tenants, to that of the bare server', bench.template.hundredTenantsToBareServer, ' ×'),
  ].join('\n');
}

const output = settled(
  execFileSync('npm', ['start', '--silent'], {
    encoding: 'utf8',
    env: { ...process.env, NO_COLOR: '1', COLUMNS: '100' },
  }),
);
let readme = readFileSync('README.md', 'utf8');
readme = between(readme, 'npm start', `\n\`\`\`text\n${output}\n\`\`\`\n`);
readme = between(readme, 'bench', `\n${benchTable()}\n`);
writeFileSync('README.md', readme);
