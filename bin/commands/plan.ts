import { Command } from 'commander';
import { countSteps, summarize, summaryLine } from '../../lib/runtime/reconcile';
import { EXIT } from '../cli-error';
import { showPlanBelow } from '../output/plan';
import { Output } from '../output/terminal';
import {
  CONNECTION_HELP,
  hasChanges,
  ReconcileCommandOptions,
  runReconcile,
  withReconcileOptions,
} from './reconcile-options';

interface PlanOptions extends ReconcileCommandOptions {
  readonly summary?: boolean;
}

export function planCommand(): Command {
  return withReconcileOptions(new Command('plan'))
    .summary('show what an apply would do')
    .description(
      'Show what an apply would do, with its SQL and risk. Needs only to read the catalog, and writes nothing.',
    )
    .option('--summary', 'print one line with the number of steps by risk and the hash, for a pipeline')
    .addHelpText(
      'after',
      `
Examples:
  $ cdk synth && cdk-postgres plan --stack Saas --url postgres://auditor@db.example.com:6432/postgres
  $ cdk-postgres plan --state state.json --url 'postgres://me@127.0.0.1/postgres?sslmode=disable' --json
  $ cdk-postgres plan --stack Saas --url postgres://auditor@db.example.com/postgres --summary
${CONNECTION_HELP}
Exit code: 0 nothing to do, 2 changes, 1 error.`,
    )
    .action(async (options: PlanOptions) => {
      const report = await runReconcile(options, { mode: 'plan' });
      const { plan, server, sessions } = report;
      const output = new Output(process.stdout, options.json);
      output.document({ ...report, summary: summarize(plan) });
      if (options.summary) output.line(summaryLine(plan));
      else {
        output.line(`PostgreSQL ${server.version}, as ${server.user}: ${countSteps(plan.steps)}`);
        showPlanBelow(output, plan, sessions);
      }
      process.exitCode = hasChanges(plan) ? EXIT.changes : EXIT.nothing;
    });
}
