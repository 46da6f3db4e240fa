import { Command } from 'commander';
import { summarize } from '../../lib/runtime/reconcile';
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

export function driftCommand(): Command {
  return withReconcileOptions(new Command('drift'))
    .summary('say whether the server still is as declared')
    .description(
      'Say whether the server still is as declared, and what would take it back. Writes nothing; made for a schedule.',
    )
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres drift --stack Saas --url postgres://auditor@db.example.com:6432/postgres || notify
  $ cdk-postgres drift --state state.json --url postgres://me@db.example.com/postgres --json
${CONNECTION_HELP}
Exit code: 0 no drift, 2 drift, 1 error.`,
    )
    .action(async (options: ReconcileCommandOptions) => {
      const report = await runReconcile(options, { mode: 'plan' });
      const { plan } = report;
      const drifted = hasChanges(plan);
      const output = new Output(process.stdout, options.json);
      output.document({ drift: drifted, ...report, summary: summarize(plan) });
      const count = plan.steps.length + plan.withheld.length;
      output.line(
        drifted
          ? `Drift: ${count} ${count === 1 ? 'difference' : 'differences'} between the server and its declaration. To go back:`
          : 'No drift: the server is as declared.',
      );
      showPlanBelow(output, plan, report.sessions);
      process.exitCode = drifted ? EXIT.changes : EXIT.nothing;
    });
}
