import { Command, CommanderError } from 'commander';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { ContractError } from '../lib/contract';
import { ConnectionError, isUntrusted } from '../lib/runtime/connection';
import { ProofError, RefusedError } from '../lib/runtime/reconcile';
import { CliError, EXIT } from './cli-error';
import { accessCommand } from './commands/access';
import { applyCommand } from './commands/apply';
import { budgetCommand } from './commands/budget';
import { checkCommand } from './commands/check';
import { driftCommand } from './commands/drift';
import { ecsCommand } from './commands/ecs';
import { handoverCommand } from './commands/handover';
import { hardeningCommand } from './commands/hardening';
import { importCommand } from './commands/import';
import { planCommand } from './commands/plan';
import { previewCommand } from './commands/preview';
import { verifyAccountCommand } from './commands/verify-account';

// It speaks of the functions' runtime, which is not this one.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // Whoever reads our output may have enough of it: `cdk-postgres plan | head`.
    if (error.code === 'EPIPE') process.exit(process.exitCode ?? EXIT.nothing);
    // What was to be said is lost, so its exit code would mislead: a full disk must not read as no drift.
    if (stream === process.stdout) process.stderr.write(`cdk-postgres: the output cannot be written (${error.code})\n`);
    process.exit(EXIT.error);
  });
}

function version(): string {
  const manifest = path.join(__dirname, '..', 'package.json');
  return (JSON.parse(fs.readFileSync(manifest, 'utf8')) as { version: string }).version;
}

const program = new Command('cdk-postgres')
  .description(
    'What is inside a PostgreSQL server, as an AWS CDK app declares it: preview it, plan it, apply it, find drift.',
  )
  .version(version())
  .configureHelp({ helpWidth: 100 })
  .exitOverride()
  .showHelpAfterError('cdk-postgres --help says what there is.')
  .addHelpText(
    'after',
    `
Examples:
  $ cdk-postgres preview                        the app of cdk.json against a PostgreSQL on this machine
  $ cdk-postgres plan --stack Saas --url postgres://auditor@db.example.com/postgres
  $ cdk-postgres help plan`,
  );
for (const command of [
  previewCommand(),
  planCommand(),
  applyCommand(),
  driftCommand(),
  checkCommand(),
  budgetCommand(),
  verifyAccountCommand(),
  accessCommand(),
  hardeningCommand(),
  handoverCommand(),
  importCommand(),
  ecsCommand(),
]) {
  command.copyInheritedSettings(program);
  program.addCommand(command.showHelpAfterError(`cdk-postgres ${command.name()} --help says what there is.`));
}

async function main(): Promise<void> {
  try {
    await program.parseAsync(withoutUnknownHelp(process.argv));
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version are no errors; commander has said the rest.
      process.exitCode = error.exitCode === 0 ? EXIT.nothing : EXIT.error;
      return;
    }
    process.exitCode = EXIT.error;
    report(error as Error);
  }
}

/** Commander answers `help chek` with the help of everything; the command itself is answered with the one that was meant. */
function withoutUnknownHelp(argv: readonly string[]): string[] {
  const [node, script, first, name] = argv;
  const isUnknown =
    first === 'help' &&
    name !== undefined &&
    !name.startsWith('-') &&
    name !== 'help' &&
    !program.commands.some((command) => command.name() === name);
  return isUnknown ? [node!, script!, name] : [...argv];
}

/** Errors that a user can act on are said; a fault of this program shows where it is. */
function report(error: Error): void {
  const known = [CliError, ConnectionError, ContractError, ProofError, RefusedError].some(
    (type) => error instanceof type,
  );
  const lines =
    error instanceof RefusedError ? error.problems : error instanceof ProofError ? error.remaining : undefined;
  if (process.argv.includes('--json')) {
    process.stdout.write(
      `${JSON.stringify({ error: { name: error.name, message: withOption(error), problems: lines } }, null, 2)}\n`,
    );
  }
  const detail = lines && lines.length > 1 ? `\n${lines.map((line) => `  ${line}`).join('\n')}` : '';
  const message = detail ? error.message.split(':')[0] + ':' : withOption(error);
  process.stderr.write(`cdk-postgres: ${message}${detail}\n`);
  if (!known && process.env.CDK_POSTGRES_DEBUG) process.stderr.write(`${error.stack}\n`);
}

/** The runtime does not know the option that helps here. */
function withOption(error: Error): string {
  return error instanceof ConnectionError && isUntrusted(error)
    ? `${error.message}; --ca FILE names the certificate (PEM) of the authority that signed it`
    : error.message;
}

void main();
