import { Command } from 'commander';
import { HardeningReport, HardeningState, judgeHardening, observeHardening } from '../../lib/runtime/hardening';
import { EXIT } from '../cli-error';
import { connectTo, ServerOptions } from '../connection';
import { Output } from '../output/terminal';
import { CONNECTION_HELP } from './reconcile-options';
import { required } from './required';

interface HardeningOptions extends ServerOptions {
  readonly json?: boolean;
}

export function hardeningCommand(): Command {
  return new Command('hardening')
    .summary('say what is not hardened, and whom hardening would break')
    .description(
      'Say what a server in use lacks, and whom each item of PostgresHardening would break on it: who connects without TLS, whose password is kept as MD5, which slots are behind, what waits for a restart. Looks at this moment, and writes nothing.',
    )
    .option('--url <url>', 'the server, as postgres://user@host:port/database, without a password')
    .option('--ca <file>', 'trust these certificates (PEM); default: those of RDS, or the public ones')
    .option('--json', 'print one JSON document')
    .hook('preAction', required('url'))
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres hardening --url postgres://master@db.example.com/postgres
  $ cdk-postgres hardening --url postgres://master@db.example.com/postgres --json
${CONNECTION_HELP}
Exit code: 0 everything is in place, 2 something is not, 1 error.`,
    )
    .action(async (options: HardeningOptions) => {
      const report = await look(options);
      const output = new Output(process.stdout, options.json);
      output.document(report);
      show(output, report);
      process.exitCode = report.items.every(({ state }) => state === 'in place') ? EXIT.nothing : EXIT.changes;
    });
}

async function look(options: HardeningOptions): Promise<HardeningReport> {
  const connections = await connectTo(options);
  try {
    return judgeHardening(await observeHardening(await connections.admin()));
  } finally {
    await connections.close();
  }
}

function show(output: Output, report: HardeningReport): void {
  const { colors } = output;
  const paint: Readonly<Record<HardeningState, (text: string) => string>> = {
    'in place': colors.green,
    free: colors.yellow,
    breaks: colors.red,
    unknown: colors.yellow,
  };
  const words: Readonly<Record<HardeningState, string>> = {
    'in place': 'in place',
    free: 'missing; nobody is seen whom it would break',
    breaks: 'missing; it would break:',
    unknown: 'missing; whom it would break is not seen',
  };
  output.line(`PostgreSQL ${report.version}, as ${report.role}, at this moment`);
  for (const { item, requirement, state, missing, affected, hint, breaks, takesEffect } of report.items) {
    output.line();
    output.line(`  ${colors.bold(item.padEnd(18))} ${requirement.padEnd(7)} ${paint[state](words[state])}`);
    if (state === 'in place') continue;
    for (const one of affected) output.wrapped(one, '    - ');
    if (hint) output.wrapped(hint, '    ');
    output.wrapped(`${missing.join('; ')}. It takes effect ${takesEffect}. ${breaks}`, '    ', colors.dim);
  }
  output.line();
  output.line(
    report.pendingRestart.length === 0
      ? 'Nothing waits for a restart.'
      : `Waits for a restart: ${report.pendingRestart.join(', ')}`,
  );
  for (const fixed of report.fixed) output.wrapped(`Cannot be changed on a server that runs: ${fixed}`, '');
  output.wrapped(
    'Encryption, subnets, backups and protection are not seen from inside: new PostgresHardening() reports them at synthesis.',
    '',
    colors.dim,
  );
}
