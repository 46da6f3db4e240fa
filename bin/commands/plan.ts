import { Command } from 'commander';
import { EXIT } from '../cli-error';
import { countSteps, showPlanBelow } from '../output/plan';
import { Output } from '../output/terminal';
import {
  CONNECTION_HELP,
  hasChanges,
  ReconcileCommandOptions,
  runReconcile,
  withReconcileOptions,
} from './reconcile-options';

export function planCommand(): Command {
  return withReconcileOptions(new Command('plan'))
    .summary('show what an apply would do')
    .description(
      'Show what an apply would do, with its SQL and risk. Needs only to read the catalog, and writes nothing.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ cdk synth && cdk-postgres plan --stack Saas --url postgres://auditor@db.example.com:6432/postgres
  $ cdk-postgres plan --state state.json --url 'postgres://me@127.0.0.1/postgres?sslmode=disable' --json
${CONNECTION_HELP}
Exit code: 0 nothing to do, 2 changes, 1 error.`,
    )
    .action(async (options: ReconcileCommandOptions) => {
      const report = await runReconcile(options, { mode: 'plan' });
      const output = new Output(process.stdout, options.json);
      output.document(report);
      output.line(`PostgreSQL ${report.server.version}, as ${report.server.user}: ${countSteps(report.plan.steps)}`);
      showPlanBelow(output, report.plan);
      process.exitCode = hasChanges(report.plan) ? EXIT.changes : EXIT.nothing;
    });
}
