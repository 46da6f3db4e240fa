import { Command } from 'commander';
import { accessReport, AccessFacts, declaredAccessFacts, observeAccessFacts } from '../../lib/runtime/access';
import { CliError, EXIT } from '../cli-error';
import { connectTo, ServerOptions } from '../connection';
import { loadDesiredState, StateOptions } from '../desired-state';
import { showAccessReport } from '../output/access';
import { Output } from '../output/terminal';
import { parseObject } from '../qualified-name';
import { CONNECTION_HELP } from './reconcile-options';

interface AccessOptions extends StateOptions, Partial<ServerOptions> {
  readonly role?: string;
  readonly object?: string;
  readonly database?: string;
  readonly json?: boolean;
}

export function accessCommand(): Command {
  return new Command('access')
    .summary('say who can do what, and through which path')
    .description(
      'Say who can do what, and through which path: a grant, a group, PUBLIC, ownership, a predefined role, SET ROLE. Of a server, or of a declaration alone. Needs only to read the catalog, and writes nothing.',
    )
    .option('--url <url>', 'the server, as postgres://user@host:port/database, without a password')
    .option('--state <file>', 'no server: a JSON document with the declaration')
    .option('--stack <name>', 'no server: the declaration of this stack in cdk.out')
    .option('--server <path>', 'which server of the stack, by its construct path')
    .option('--app-dir <folder>', 'where the synthesised app is', 'cdk.out')
    .option('--ca <file>', 'trust these certificates (PEM); default: those of RDS, or the public ones')
    .option('--role <name>', 'only what this role can do')
    .option('--object <schema.name>', 'only what can be done with this table, sequence or routine')
    .option('--database <name>', 'only this database')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres access --url postgres://auditor@db.example.com/postgres --role api
  $ cdk-postgres access --url postgres://auditor@db.example.com/postgres --object billing.invoice
  $ cdk-postgres access --stack Saas --json
${CONNECTION_HELP}
Exit code: 0 it was said, 1 error.`,
    )
    .action(async (options: AccessOptions) => {
      const object = options.object === undefined ? undefined : parseObject(options.object);
      const facts = await factsOf(options);
      if (options.database !== undefined && facts.databases.length === 0)
        throw new CliError(`there is no database ${options.database}, or it belongs to the server itself`);
      if (options.role !== undefined && !facts.roles.has(options.role))
        throw new CliError(`there is no role ${options.role}`);
      const report = accessReport(facts, { role: options.role, object });
      if (object !== undefined && report.access.length === 0)
        throw new CliError(
          `there is no ${options.object} in ${facts.databases.map(({ name }) => name).join(', ')}${report.closed.length > 0 ? `; ${report.closed.join(', ')} cannot be entered` : ''}`,
        );
      const output = new Output(process.stdout, options.json);
      output.document({ ...report, roles: [...facts.roles.values()], memberships: facts.memberships });
      showAccessReport(output, facts, report, { ...options, object });
      process.exitCode = EXIT.nothing;
    });
}

async function factsOf(options: AccessOptions): Promise<AccessFacts> {
  if (options.url === undefined) return declaredAccessFacts(loadDesiredState(options), options.database);
  if (options.state !== undefined || options.stack !== undefined)
    throw new CliError('give either --url, a server, or a declaration by --state FILE or --stack NAME');
  const connections = await connectTo({ ...options, url: options.url });
  try {
    return await observeAccessFacts(connections, options.database);
  } finally {
    await connections.close();
  }
}
