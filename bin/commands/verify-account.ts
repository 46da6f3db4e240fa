import { RDSClient } from '@aws-sdk/client-rds';
import { SecretsManagerClient } from '@aws-sdk/client-secrets-manager';
import { Command } from 'commander';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { ACTIONS, Item, readRows, Verdict, verifyAccount } from '../../lib/runtime/verify';
import { CliError, EXIT } from '../cli-error';
import { Output, Progress } from '../output/terminal';
import { synthesisedStack } from '../synthesised-stack';

interface VerifyAccountOptions {
  readonly stack?: string;
  readonly appDir: string;
  readonly region?: string;
  readonly permissions?: boolean;
  readonly json?: boolean;
}

const TABLE = path.join('docs', 'verify-on-aws.md');

export function verifyAccountCommand(): Command {
  return new Command('verify-account')
    .summary('what was never tried on AWS: what a deployed stack of yours shows of it')
    .description(
      'Go through what the authors of this library could not try on AWS, and say of each item what a deployed stack in your account shows. Reads with your AWS credentials, reads no secret, and changes nothing.',
    )
    .option('--stack <name>', 'the stack in cdk.out, as it is deployed')
    .option('--app-dir <folder>', 'where the synthesised app is', 'cdk.out')
    .option('--region <region>', 'where the stack is deployed; default: the region of the stack, or AWS_REGION')
    .option('--permissions', 'print the IAM policy that it needs, and ask nobody')
    .option('--json', 'print one JSON document')
    .addHelpText(
      'after',
      `
Examples:
  $ cdk-postgres verify-account --permissions
  $ cdk synth && cdk-postgres verify-account --stack Saas

Exit code: 0 nothing that was seen contradicts, 2 something does, 1 error. What was not checked does not count.`,
    )
    .action(async (options: VerifyAccountOptions) => {
      const output = new Output(process.stdout, options.json);
      if (options.permissions) return printPermissions(output);
      const items = await look(options);
      output.document(items);
      show(output, items);
      process.exitCode = items.some(({ verdict }) => verdict === 'contradicted') ? EXIT.changes : EXIT.nothing;
    });
}

function printPermissions(output: Output): void {
  const policy = {
    Version: '2012-10-17',
    Statement: [{ Effect: 'Allow', Action: ACTIONS, Resource: '*' }],
  };
  if (output.json) output.document(policy);
  else
    JSON.stringify(policy, null, 2)
      .split('\n')
      .forEach((line) => output.line(line));
}

async function look({ stack, appDir, region: given }: VerifyAccountOptions): Promise<Item[]> {
  if (stack === undefined) throw new CliError('name the stack with --stack, or print the policy with --permissions');
  const found = synthesisedStack(appDir, stack);
  const region = given ?? found.statedRegion ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION;
  if (!region) throw new CliError('the stack states no region: give --region or set AWS_REGION');
  const rows = readRows(fs.readFileSync(path.join(__dirname, '..', TABLE), 'utf8'));
  const progress = new Progress();
  progress.say(`looking at what ${found.id} is in the account`);
  const rds = new RDSClient({ region });
  const secrets = new SecretsManagerClient({ region });
  try {
    return await verifyAccount({ template: found.template, stackName: found.stackName, rows, rds, secrets });
  } catch (error) {
    throw new CliError(`AWS could not be asked (${(error as Error).message})`);
  } finally {
    progress.done();
    rds.destroy();
    secrets.destroy();
  }
}

const ORDER: readonly Verdict[] = ['contradicted', 'unknown', 'confirmed', 'not checked'];

function show(output: Output, items: readonly Item[]): void {
  const { colors } = output;
  const paint = {
    contradicted: colors.red,
    unknown: colors.yellow,
    confirmed: colors.green,
    'not checked': colors.dim,
  };
  for (const verdict of ORDER) {
    const those = items.filter((item) => item.verdict === verdict);
    if (those.length === 0) continue;
    output.heading(paint[verdict](`${verdict} (${those.length})`));
    for (const { claim, saw } of those) {
      output.wrapped(claim, '  ');
      for (const line of saw) output.wrapped(line, '    - ', colors.dim);
    }
  }
}
