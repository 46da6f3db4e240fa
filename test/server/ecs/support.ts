import { App, Duration, Size, Stack, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { EcsPostgres, EcsPostgresProps, PostgresProfile, PostgresVersion, Storage } from '../../../lib';
import { cleanStack as withEndpoints } from '../support';

export { quiet } from '../support';

export const NO_LOSS = { rpo: Duration.seconds(0), rto: Duration.seconds(60) };

/** A stack whose network has three zones and a way to all that a self-managed server needs. */
export function cleanStack(app = new App(), maxAzs = 3): ReturnType<typeof withEndpoints> {
  const made = withEndpoints(app, maxAzs);
  const { stack, vpc } = made;
  for (const [id, service] of [
    ['EcrApi', ec2.InterfaceVpcEndpointAwsService.ECR],
    ['EcrRegistry', ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER],
    ['LogsApi', ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS],
    ['Ec2Api', ec2.InterfaceVpcEndpointAwsService.EC2],
    ['EcsApi', ec2.InterfaceVpcEndpointAwsService.ECS],
    ['EcsAgent', ec2.InterfaceVpcEndpointAwsService.ECS_AGENT],
    ['EcsTelemetry', ec2.InterfaceVpcEndpointAwsService.ECS_TELEMETRY],
    ['Ssm', ec2.InterfaceVpcEndpointAwsService.SSM],
    ['SsmMessages', ec2.InterfaceVpcEndpointAwsService.SSM_MESSAGES],
  ] as const) {
    const group = new ec2.SecurityGroup(stack, `${id}Group`, { vpc, description: id, allowAllOutbound: false });
    vpc.addInterfaceEndpoint(id, { service, securityGroups: [group], open: false });
  }
  return made;
}

export interface Made {
  readonly app: App;
  readonly stack: Stack;
  readonly vpc: ec2.Vpc;
  readonly server: EcsPostgres;
}

/** Three members, of which nothing is lost. */
export function cluster(props: Partial<EcsPostgresProps> = {}, network = cleanStack()): Made {
  const { app, stack, vpc } = network;
  const server = new EcsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: NO_LOSS,
    clusterName: 'orders',
    ...props,
  });
  return { app, stack, vpc, server };
}

/** One member on Fargate, of a development. */
export function ephemeral(props: Partial<EcsPostgresProps> = {}): Made {
  return cluster({
    profile: PostgresProfile.development(),
    objectives: { rpo: Duration.hours(24), rto: Duration.hours(24) },
    storage: Storage.ephemeral(Size.gibibytes(40)),
    ...props,
  });
}

export interface Resource {
  readonly Type: string;
  readonly Properties: any;
  readonly DependsOn?: string[];
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

/** The resources of a template by logical id. */
export class Resources {
  public readonly all: Readonly<Record<string, Resource>>;

  constructor(stack: Stack) {
    this.all = Template.fromStack(stack).toJSON().Resources;
  }

  public of(type: string): [string, Resource][] {
    return Object.entries(this.all).filter(([, { Type }]) => Type === type);
  }

  /** The one service of a name. */
  public service(name: string): [string, Resource] {
    const found = this.of('AWS::ECS::Service').filter(([, { Properties }]) => Properties.ServiceName === name);
    if (found.length !== 1) throw new Error(`${found.length} services are called ${name}`);
    return found[0]!;
  }

  /** The task definition that a service runs. */
  public taskOf(name: string): any {
    return this.all[this.service(name)[1].Properties.TaskDefinition.Ref]!.Properties;
  }

  /** Whether one waits for the other, directly or by way of others. */
  public waitsFor(id: string, other: string, seen = new Set<string>()): boolean {
    if (seen.has(id)) return false;
    seen.add(id);
    const resource = this.all[id]!;
    const next = new Set([...(resource.DependsOn ?? []), ...references(resource.Properties)]);
    return next.has(other) || [...next].some((one) => this.all[one] !== undefined && this.waitsFor(one, other, seen));
  }
}

/** What an intrinsic function in a value refers to. */
function references(value: unknown): string[] {
  if (Array.isArray(value)) return value.flatMap(references);
  if (typeof value !== 'object' || value === null) return [];
  const { Ref, 'Fn::GetAtt': attribute } = value as { Ref?: string; 'Fn::GetAtt'?: [string, string] };
  return [...(Ref ? [Ref] : []), ...(attribute ? [attribute[0]] : []), ...Object.values(value).flatMap(references)];
}
