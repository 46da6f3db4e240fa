import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { App, Stack, aws_ec2 as ec2, aws_lambda as lambda } from 'aws-cdk-lib';
import {
  AuroraPostgres,
  AuroraPostgresProps,
  MultiAzPostgres,
  PostgresVersion,
  RdsPostgres,
  RdsPostgresProps,
} from '../../lib';
import { cleanStack as withoutRegistry, OBJECTIVES } from '../server/support';

export { quiet } from '../server/support';

/** A stack whose network has a way to all that a pooler needs. */
export function cleanStack(maxAzs = 2, app?: App): ReturnType<typeof withoutRegistry> {
  const made = withoutRegistry(app, maxAzs);
  const { stack, vpc } = made;
  for (const [id, service] of [
    ['EcrApi', ec2.InterfaceVpcEndpointAwsService.ECR],
    ['EcrRegistry', ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER],
    ['LogsApi', ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS],
  ] as const) {
    const group = new ec2.SecurityGroup(stack, `${id}Group`, { vpc, description: id, allowAllOutbound: false });
    vpc.addInterfaceEndpoint(id, { service, securityGroups: [group], open: false });
  }
  return made;
}

export interface Setup<T> {
  readonly stack: Stack;
  readonly vpc: ec2.Vpc;
  readonly server: T;
}

export function aurora(props: Partial<AuroraPostgresProps> = {}): Setup<AuroraPostgres> {
  const { stack, vpc } = cleanStack();
  const server = new AuroraPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    ...props,
  });
  return { stack, vpc, server };
}

export function instance(props: Partial<RdsPostgresProps> = {}, network = cleanStack()): Setup<RdsPostgres> {
  const { stack, vpc } = network;
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    ...props,
  });
  return { stack, vpc, server };
}

export function multiAz(): Setup<MultiAzPostgres> {
  const { stack, vpc } = cleanStack(3);
  const server = new MultiAzPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
  return { stack, vpc, server };
}

export function handler(
  { stack, vpc }: { readonly stack: Stack; readonly vpc: ec2.IVpc },
  id = 'Handler',
  props: Partial<lambda.FunctionProps> = {},
): lambda.Function {
  return new lambda.Function(stack, id, {
    vpc,
    vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
    reservedConcurrentExecutions: 20,
    ...props,
  });
}

interface Violation {
  readonly ruleName: string;
  readonly severity: string;
  readonly description: string;
}

function violations(stack: Stack): Violation[] {
  const app = stack.node.root as App;
  try {
    app.synth();
  } catch {
    // Any finding fails the synthesis; what it was is in the report.
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  return report.pluginReports
    .filter((one: { pluginName: string }) => one.pluginName === 'cdk-postgres')
    .flatMap((one: { violations: Violation[] }) => one.violations);
}

/** The ids of this library's findings, errors unless asked otherwise. */
export function findingsOf(stack: Stack, severity = 'error'): string[] {
  return violations(stack)
    .filter((one) => one.severity === severity)
    .map(({ ruleName }) => ruleName);
}

/** What one of them says. */
export function saidOf(stack: Stack, id: string): string | undefined {
  return violations(stack).find(({ ruleName }) => ruleName === id)?.description;
}

export { withoutRegistry };
