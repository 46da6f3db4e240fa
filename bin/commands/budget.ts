import { Command } from 'commander';
import * as fs from 'node:fs';
import { BudgetDocument } from '../../lib/contract';
import { Assembly, readAssembly, synthesise } from '../../lib/runtime/preview/assembly';
import { CliError, EXIT } from '../cli-error';
import { showTable } from '../output/table';
import { Output } from '../output/terminal';

interface BudgetOptions {
  readonly app?: string;
  readonly appDir: string;
  readonly stack?: string;
  readonly server?: string;
  readonly json?: boolean;
}

export function budgetCommand(): Command {
  return new Command('budget')
    .summary('say who takes how many connections of a server at the worst moment')
    .description(
      "Add up the connections that poolers, functions, services and people may open at the worst moment, and compare them with the server's max_connections: as the app of cdk.out declares them, or one that is synthesised first. Asks neither AWS nor a server.",
    )
    .option('--app <command>', 'synthesise this app first')
    .option('--app-dir <folder>', 'where the synthesised app is', 'cdk.out')
    .option('--stack <name>', 'only the servers of this stack')
    .option('--server <path>', 'only this server, by its construct path')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  $ cdk synth && cdk-postgres budget
  $ cdk-postgres budget --app "npx tsx app.ts" --stack Saas --json

Exit code: 0 everything fits, 2 something exceeds or is not known, 1 error.`,
    )
    .action(async (options: BudgetOptions) => {
      const budgets = budgetsOf(await load(options), options);
      const output = new Output(process.stdout, options.json);
      output.document(budgets);
      budgets.forEach((budget) => show(output, budget));
      process.exitCode = budgets.every(({ verdict }) => verdict === 'fits') ? EXIT.nothing : EXIT.changes;
    });
}

async function load({ app, appDir }: BudgetOptions): Promise<Assembly> {
  if (app !== undefined) return synthesise({ command: app });
  if (!fs.existsSync(appDir)) {
    throw new CliError(
      `${appDir} does not exist: run cdk synth first, name the folder with --app-dir, or the app with --app`,
    );
  }
  return readAssembly(appDir);
}

function budgetsOf({ stacks, directory }: Assembly, { stack, server }: BudgetOptions): BudgetDocument[] {
  const chosen = stacks.filter(({ id, stackName }) => stack === undefined || [id, stackName].includes(stack));
  if (chosen.length === 0)
    throw new CliError(`${directory} has no stack ${stack}; it has ${stacks.map(({ id }) => id).join(', ')}`);
  const all = chosen.flatMap(({ budgets }) => budgets);
  const found = all.filter((one) => server === undefined || one.server === server || one.server.endsWith(`/${server}`));
  if (found.length > 0) return found;
  throw new CliError(
    all.length === 0
      ? `${chosen.map(({ id }) => id).join(', ')} has no server of cdk-postgres`
      : `there is no server ${server}; there are ${all.map((one) => one.server).join(', ')}`,
  );
}

function show(output: Output, budget: BudgetDocument): void {
  const { colors } = output;
  const { maxConnections, total, unknown, verdict } = budget;
  output.heading(budget.server);
  showTable(
    output,
    ['connections', 'kind', 'who', 'why'],
    budget.entries.map(({ connections, kind, who, how }) => [
      connections === undefined ? '?' : String(connections),
      kind,
      who,
      how,
    ]),
  );
  const of = maxConnections === undefined ? budget.how : `of ${maxConnections} (${budget.how})`;
  const missing = unknown === 0 ? '' : `, and ${unknown} without a number`;
  const said = {
    fits: colors.green('fits'),
    exceeded: colors.red('does not fit'),
    unknown: colors.yellow('cannot be said to fit'),
  }[verdict];
  output.line();
  output.wrapped(`${total}${missing}, ${of}: ${said}`, '  ');
}
