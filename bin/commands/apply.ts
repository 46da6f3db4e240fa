import { Command } from 'commander';
import { countSteps, summarize } from '../../lib/runtime/reconcile';
import { EXIT } from '../cli-error';
import { showPlanBelow } from '../output/plan';
import { Output } from '../output/terminal';
import {
  CONNECTION_HELP,
  planHash,
  ReconcileCommandOptions,
  runReconcile,
  withReconcileOptions,
} from './reconcile-options';
import { counted } from '../../lib/runtime/counted';

interface ApplyOptions extends ReconcileCommandOptions {
  readonly acknowledge?: readonly string[];
}

export function applyCommand(): Command {
  return withReconcileOptions(new Command('apply'))
    .summary('take the server to its declaration and prove it')
    .description(
      'Take the server to its declaration and prove that it is there. Nothing is taken away that an earlier declaration did not give, unless the plan is acknowledged.',
    )
    .option(
      '--acknowledge <hash>',
      'let the withheld steps of this very plan run; plan prints the hash (repeatable)',
      (value: string, before: readonly string[] = []) => [...before, planHash(value)],
    )
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres apply --state state.json --url postgres://master@db.example.com:6432/postgres
  $ cdk-postgres apply --stack Saas --url postgres://master@db.example.com/postgres --acknowledge 1f3a9c0e5b7d2468
${CONNECTION_HELP}
Exit code: 0 the server is as declared, 2 withheld steps wait for an acknowledgement, 1 error.`,
    )
    .action(async (options: ApplyOptions) => {
      const report = await runReconcile(options, { mode: 'apply', acknowledge: options.acknowledge });
      const { plan, proof } = report;
      const output = new Output(process.stdout, options.json);
      output.document({ ...report, summary: summarize(plan) });
      output.line(
        report.outcome === 'unchanged'
          ? `PostgreSQL ${report.server.version}: nothing to do`
          : `PostgreSQL ${report.server.version}: done, ${countSteps(plan.steps)}`,
      );
      showPlanBelow(output, plan, report.sessions);
      if (proof) {
        output.line();
        output.line(
          `  Proven: ${counted(proof.checkedPrivileges, 'privilege is', 'privileges are')} effective, ${counted(proof.checkedLogins, 'password logs', 'passwords log')} in.`,
        );
      }
      process.exitCode = plan.withheld.length === 0 ? EXIT.nothing : EXIT.changes;
    });
}
