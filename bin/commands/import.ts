import { Command, Option } from 'commander';
import { encodeState } from '../../lib/contract';
import { adopt, Imported, readExisting, writeTypeScript } from '../../lib/runtime/import';
import { CliError, EXIT } from '../cli-error';
import { connectTo, parseAddress, ServerOptions } from '../connection';
import { CONNECTION_HELP } from './reconcile-options';
import { required } from './required';

interface ImportOptions extends ServerOptions {
  readonly database?: readonly string[];
  readonly stateName: string;
  readonly json?: boolean;
}

export function importCommand(): Command {
  return new Command('import')
    .summary('write the declaration of a server that exists')
    .description(
      'Write what is inside a server as a declaration whose first apply changes nothing, and as comments what no declaration can say. Needs only to read the catalog, and writes nothing.',
    )
    .option('--url <url>', 'the server, as postgres://user@host:port/database, without a password')
    .option(
      '--database <name>',
      'only this database (repeatable); default: all that may be declared',
      (value: string, before: readonly string[] = []) => [...before, value],
    )
    .addOption(new Option('--language <language>', 'the language of the declaration').choices(['ts']).default('ts'))
    .option('--state-name <name>', 'the name of the state in the JSON document', 'imported')
    .option('--ca <file>', 'trust these certificates (PEM); default: those of RDS, or the public ones')
    .option('--json', 'print the declaration as a JSON document for --state, and the comments to standard error')
    .hook('preAction', required('url'))
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres import --url postgres://master@db.example.com/postgres > inside.ts
  $ cdk-postgres import --url postgres://auditor@db.example.com/postgres --database app --json
${CONNECTION_HELP}
Exit code: 0 it was written, 1 error.`,
    )
    .action(async (options: ImportOptions) => {
      const { host, port } = parseAddress(options.url);
      const connections = await connectTo(options);
      let imported: Imported;
      try {
        const existing = await readExisting(connections, options.database);
        const missing = (options.database ?? []).filter((name) => !existing.observed.databases.has(name));
        if (missing.length > 0)
          throw new CliError(`there is no database ${missing.join(', ')}, or it belongs to the server itself`);
        imported = adopt(existing, options.stateName);
      } finally {
        await connections.close();
      }
      const { state, remarks, plan } = imported;
      if (options.json) {
        process.stdout.write(`${JSON.stringify(encodeState(state), null, 2)}\n`);
        // The document is for --state; what it lacks must not be lost either.
        for (const { about, text } of remarks) process.stderr.write(`cdk-postgres: ${about}: ${text}\n`);
      } else {
        const left = plan.steps.length + plan.withheld.length;
        const says = left === 0 ? 'changes nothing' : `has ${left} steps: see cdk-postgres plan`;
        const head = [`What is inside ${host}:${port}, as cdk-postgres import found it. Its first apply`, `${says}.`];
        process.stdout.write(writeTypeScript(state, remarks, head));
      }
      process.exitCode = EXIT.nothing;
    });
}
