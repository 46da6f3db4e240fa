import { Command, InvalidArgumentError } from 'commander';
import * as path from 'node:path';
import { handover, HandoverSubject } from '../../lib/runtime/reconcile';
import { CliError, EXIT } from '../cli-error';
import { connect, parseAddress } from '../connection';
import { Output } from '../output/terminal';
import { CONNECTION_HELP } from './reconcile-options';
import { required } from './required';

interface HandoverCommandOptions {
  readonly url: string;
  readonly ca?: string;
  readonly from: string;
  readonly to: string;
  readonly role?: readonly string[];
  readonly database?: readonly string[];
  readonly schema?: readonly HandoverSubject[];
  readonly yes?: boolean;
  readonly json?: boolean;
}

const collect = (value: string, before: readonly string[] = []) => [...before, value];

export function handoverCommand(): Command {
  return new Command('handover')
    .summary('let another state manage a role, a database or a schema')
    .description(
      'Let another state manage what this one made, for a declaration that moves to another stack. Only the ledger changes: the new state takes it over as its own, and the old one does not disable it.',
    )
    .option('--url <url>', 'the server, as postgres://user@host:port/database, without a password')
    .option('--from <state>', 'the state that manages it now')
    .option('--to <state>', 'the state that will declare it')
    .option('--role <name>', 'a role (repeatable)', collect)
    .option('--database <name>', 'a database with all that the state manages in it (repeatable)', collect)
    .option('--schema <database.schema>', 'a schema alone (repeatable)', collectSchema)
    .option('--yes', 'do it; without it, only say what would be handed over')
    .option('--ca <file>', 'trust these certificates (PEM); default: those of RDS, or the public ones')
    .option('--json', 'print one JSON document')
    .hook('preAction', required('url', 'from', 'to'))
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres handover --url postgres://master@db/postgres --from Platform --to Billing --role billing_api
  $ cdk-postgres handover --url … --from Platform --to Billing --database billing --role billing_owner --yes
${CONNECTION_HELP}
Exit code: 0 handed over, 2 it would be, with --yes, 1 error.`,
    )
    .action(async (options: HandoverCommandOptions) => {
      const subjects: HandoverSubject[] = [
        ...(options.role ?? []).map((name) => ({ kind: 'role', name }) as const),
        ...(options.database ?? []).map((name) => ({ kind: 'database', name }) as const),
        ...(options.schema ?? []),
      ];
      if (subjects.length === 0) throw new CliError('say what is handed over: --role, --database or --schema');
      const connection = await connect(parseAddress(options.url), {
        ca: options.ca,
        rdsBundle: path.join(__dirname, 'functions', 'apply', 'rds-ca.pem'),
      });
      const { from, to, yes } = options;
      const report = await handover(connection, { from, to, subjects, write: yes });
      const output = new Output(process.stdout, options.json);
      output.document(report);
      output.line(
        yes ? `Handed over from ${from} to ${to}:` : `With --yes, these are handed over from ${from} to ${to}:`,
      );
      for (const { kind, database, name, origin } of report.objects)
        output.line(`  ${kind} ${database === '' ? name : `${database}.${name}`} (${origin})`);
      for (const note of report.notes) output.line(`  Note: ${note}`);
      process.exitCode = yes ? EXIT.nothing : EXIT.changes;
    });
}

/** At the first dot: a database with a dot in its name is given whole, by --database. */
function collectSchema(value: string, before: readonly HandoverSubject[] = []): readonly HandoverSubject[] {
  const at = value.indexOf('.');
  if (at < 1 || at === value.length - 1)
    throw new InvalidArgumentError('It looks like app.billing, the database first.');
  return [...before, { kind: 'schema', database: value.slice(0, at), name: value.slice(at + 1) }];
}
