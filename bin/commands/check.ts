import { RDSClient } from '@aws-sdk/client-rds';
import { Command } from 'commander';
import { CheckReport, checkTemplate } from '../../lib/runtime/guard';
import { AssemblyStack } from '../../lib/runtime/preview/assembly';
import { CliError, EXIT } from '../cli-error';
import { showTable } from '../output/table';
import { Output, Progress } from '../output/terminal';
import { synthesisedStack } from '../synthesised-stack';
import { required } from './required';

interface CheckCommandOptions {
  readonly stack: string;
  readonly server?: string;
  readonly appDir: string;
  readonly region?: string;
  readonly offline?: boolean;
  readonly json?: boolean;
}

export function checkCommand(): Command {
  return new Command('check')
    .summary('look ahead: what the deploy guard would say, reboots, newer defaults')
    .description(
      'Compare the servers of a synthesised stack with those that run: what the deploy guard would refuse, which parameters need a reboot, which newer defaults can be opted into. Reads with your AWS credentials and changes nothing.',
    )
    .option('--stack <name>', 'the stack in cdk.out')
    .option('--server <path>', 'which server of the stack, by its construct path; default: all')
    .option('--app-dir <folder>', 'where the synthesised app is', 'cdk.out')
    .option('--region <region>', 'where the servers run; default: the region of the stack, or AWS_REGION')
    .option('--offline', 'do not ask AWS; what would need it is unknown')
    .option('--json', 'print one JSON document')
    .hook('preAction', required('stack'))
    .addHelpText(
      'after',
      `
Examples:
  $ cdk synth && cdk-postgres check --stack Saas
  $ cdk-postgres check --stack Saas --offline --json

Exit code: 0 nothing to do (newer defaults are told, and wait for nobody), 2 the guard would refuse, or a reboot
waits, 1 error.`,
    )
    .action(async (options: CheckCommandOptions) => {
      const stack = synthesisedStack(options.appDir, options.stack);
      const progress = new Progress();
      progress.say(`looking at the servers of ${stack.id}`);
      const all = await look(stack, options).finally(() => progress.done());
      const reports = chosen(all, options);
      const output = new Output(process.stdout, options.json);
      output.document(reports);
      if (reports.length === 0) output.line(`${stack.id} has no server that a deploy guard stands before.`);
      for (const report of reports) showReport(output, report);
      process.exitCode = reports.some(needsSomebody) ? EXIT.changes : EXIT.nothing;
    });
}

/** As `--server` of the other commands: the path, or a part of it. */
function chosen(reports: readonly CheckReport[], { server, stack }: CheckCommandOptions): readonly CheckReport[] {
  if (server === undefined) return reports;
  const found = reports.filter(({ construct }) => `/${construct}/`.includes(`/${server}/`));
  if (found.length > 0) return found;
  const there = reports.map(({ construct }) => construct).join(', ') || 'none';
  throw new CliError(`${stack} has no server ${server} that a deploy guard stands before; there are ${there}`);
}

async function look(stack: AssemblyStack, options: CheckCommandOptions): Promise<CheckReport[]> {
  if (options.offline) return checkTemplate({ template: stack.template });
  const region = options.region ?? stack.statedRegion ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION;
  if (!region)
    throw new CliError('the stack states no region: give --region or set AWS_REGION, or ask nobody with --offline');
  const client = new RDSClient({ region });
  try {
    return await checkTemplate({ template: stack.template, client });
  } catch (error) {
    throw new CliError(
      `AWS could not be asked (${(error as Error).message}); --offline checks what is known without it`,
    );
  } finally {
    client.destroy();
  }
}

function needsSomebody(report: CheckReport): boolean {
  const reboots = report.reboots.some(({ needsReboot }) => needsReboot === 'yes');
  return report.guard === 'refuses' || reboots;
}

function showReport(output: Output, report: CheckReport): void {
  const { colors } = output;
  output.heading(report.construct);
  const guard = {
    passes: colors.green('lets the deployment pass'),
    refuses: colors.red('refuses the deployment'),
    unknown: colors.yellow('unknown without AWS'),
  }[report.guard];
  output.line(`  deploy guard  ${guard}`);
  const newer = report.newerDefaults.length === 0 ? 'the newest' : `newer: ${report.newerDefaults.join(', ')}`;
  output.line(`  defaults      ${report.defaults} (${newer})`);
  for (const objection of report.objections) output.wrapped(objection, '  - ', colors.red);
  for (const note of report.notes) output.wrapped(note, '  ', colors.dim);
  output.line();
  showTable(
    output,
    ['server', 'declared', 'running'],
    report.servers.map((server) => [
      server.identifier,
      server.declaredVersion ?? '-',
      server.runningVersion ?? (report.guard === 'unknown' ? 'unknown' : 'none'),
    ]),
  );
  if (report.reboots.length === 0) return;
  output.line();
  showTable(
    output,
    ['parameter', 'declared', 'running', 'needs a reboot'],
    report.reboots.map((reboot) => [
      reboot.parameter,
      reboot.declared,
      reboot.running ?? 'unknown',
      reboot.needsReboot,
    ]),
  );
}
