import { Command, InvalidArgumentError } from 'commander';
import { DesiredState } from '../../lib/contract';
import { Plan, reconcile, ReconcileOptions, Report } from '../../lib/runtime/reconcile';
import { connectionSecrets, roleSecrets, SecretStore } from '../../lib/runtime/secrets';
import { CliError } from '../cli-error';
import { connect, parseAddress, RDS_BUNDLE } from '../connection';
import { loadDesiredState, readJson, StateOptions } from '../desired-state';
import { knownIdentity } from '../known-identity';
import { Progress } from '../output/terminal';
import { required } from './required';

/** What plan, apply and drift have in common: a declaration, a server, and who the server is. */
export interface ReconcileCommandOptions extends StateOptions {
  readonly url: string;
  readonly ca?: string;
  readonly identity?: string;
  readonly secrets?: string;
  readonly json?: boolean;
}

export function withReconcileOptions(command: Command): Command {
  return command
    .option('--url <url>', 'the server, as postgres://user@host:port/database, without a password')
    .option('--state <file>', 'a JSON document with the declaration')
    .option('--stack <name>', 'take the declaration of this stack in cdk.out')
    .option('--server <path>', 'which server of the stack, by its construct path')
    .option('--app-dir <folder>', 'where the synthesised app is', 'cdk.out')
    .option('--ca <file>', 'trust these certificates (PEM); default: those of RDS, or the public ones')
    .option('--identity <id>', 'the resource id of the server; default: what its ledger says')
    .option(
      '--secrets <file>',
      'JSON with the secret ARN of each password role and subscription; read with your AWS credentials',
    )
    .option('--json', 'print one JSON document')
    .hook('preAction', required('url'));
}

export const CONNECTION_HELP = `
The password comes from PGPASSWORD, from PGPASSFILE or ~/.pgpass, or you are asked for it.
TLS is always checked (verify-full); sslmode=disable is for a server on this machine only.`;

export async function runReconcile(
  options: ReconcileCommandOptions,
  how: Pick<ReconcileOptions, 'mode' | 'acknowledge'>,
): Promise<Report> {
  const address = parseAddress(options.url);
  const desired = loadDesiredState(options);
  const secrets = options.secrets === undefined ? {} : secretsOf(options.secrets, desired);
  const connection = await connect(address, { ca: options.ca, rdsBundle: RDS_BUNDLE });
  const progress = new Progress();
  progress.say(`connecting to ${connection.host}:${connection.port}`);
  try {
    return await reconcile(desired, connection, {
      ...how,
      identity: options.identity ?? (await knownIdentity(connection)),
      ...secrets,
      holder: 'cdk-postgres command line',
      onProgress: (message) => progress.say(message),
    });
  } finally {
    progress.done();
  }
}

const SECRET_ARN = /^arn:aws[a-z-]*:secretsmanager:[a-z0-9-]+:\d{12}:secret:.+$/;

function secretsOf(file: string, desired: DesiredState): Pick<ReconcileOptions, 'secrets' | 'connections'> {
  const arns = readJson(file);
  const isMap =
    typeof arns === 'object' && arns !== null && Object.values(arns).every((arn) => typeof arn === 'string');
  if (!isMap) throw new CliError(`${file} must map role names to secret ARNs, as {"api": "arn:aws:secretsmanager:…"}`);
  const known = arns as Record<string, string>;
  // What stands there may be a password, so it is not shown.
  const wrong = Object.keys(known).filter((key) => !SECRET_ARN.test(known[key]));
  if (wrong.length > 0)
    throw new CliError(
      `${file} has no ARN of a secret for ${wrong.join(', ')}; one looks like arn:aws:secretsmanager:eu-central-1:123456789012:secret:NAME-AbCdEf`,
    );
  const wanted = [
    ...desired.roles.flatMap(({ name, authentication, passwordOf }) =>
      authentication === 'password' ? [passwordOf ?? name] : [],
    ),
    ...desired.databases.flatMap(({ subscriptions }) => subscriptions.map(({ secret }) => secret)),
  ];
  const idle = Object.keys(known).filter((key) => !wanted.includes(key));
  if (idle.length > 0)
    process.stderr.write(
      `cdk-postgres: ${file} has secrets that are not used, for ${idle.join(', ')}: the declaration has ${wanted.length === 0 ? 'no role or subscription with one' : `secrets for ${[...new Set(wanted)].sort().join(', ')}`}\n`,
    );
  const store = new SecretStore();
  return {
    secrets: roleSecrets({ store, arns: known }),
    // Its subscriptions have keys with the database in front: `app.orders`. Without one among them, their connections are not looked at.
    connections: Object.keys(known).some((key) => key.includes('.')) ? connectionSecrets(store, known) : undefined,
  };
}

/** Whether the server differs from its declaration: steps to run, or steps that are withheld for whatever reason. */
export function hasChanges(plan: Plan): boolean {
  return plan.steps.length + plan.withheld.length > 0;
}

export function planHash(value: string): string {
  if (!/^[0-9a-f]{8,64}$/.test(value))
    throw new InvalidArgumentError('It is not the hash of a plan; copy it from a plan.');
  return value;
}
