import { CfnResource, Reference, Stack, Token, Tokenization } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { IConstruct } from 'constructs';
import { addFinding } from '../../compliance';

/** An AWS service that a function or a task of this library calls, by the last part of its endpoint's service name. */
export type AwsService =
  | 'secretsmanager'
  | 's3'
  | 'rds'
  | 'ecr.api'
  | 'ecr.dkr'
  | 'logs'
  | 'ec2'
  | 'ecs'
  | 'ecs-agent'
  | 'ecs-telemetry'
  | 'ssm'
  | 'ssmmessages';

const WHY: Readonly<Record<AwsService, string>> = {
  secretsmanager: 'the functions read and rotate passwords there',
  s3: 'the functions answer CloudFormation through it, and without an answer a deployment hangs',
  rds: 'the deploy guard asks it what runs',
  'ecr.api': 'tasks get their image there',
  'ecr.dkr': 'tasks get their image there',
  logs: 'tasks write their log there',
  ec2: 'the hosts attach their volumes there',
  ecs: 'the agents of the hosts register there',
  'ecs-agent': 'the agents of the hosts learn there which tasks to run',
  'ecs-telemetry': 'the agents of the hosts report there',
  ssm: 'operators reach the hosts through it',
  ssmmessages: 'operators reach hosts and tasks through it',
};

/** The subnets that a function runs in where nobody says otherwise: those without a way out, as the server itself. */
export function defaultSubnets(vpc: ec2.IVpc): ec2.SubnetSelection {
  const isolated = vpc.isolatedSubnets.length > 0;
  return { subnetType: isolated ? ec2.SubnetType.PRIVATE_ISOLATED : ec2.SubnetType.PRIVATE_WITH_EGRESS };
}

const NAMES: Readonly<Record<AwsService, string>> = {
  secretsmanager: 'Secrets Manager',
  s3: 'S3',
  rds: 'the RDS API',
  'ecr.api': "ECR's API",
  'ecr.dkr': "ECR's registry",
  logs: 'CloudWatch Logs',
  ec2: 'the EC2 API',
  ecs: 'the ECS API',
  'ecs-agent': "ECS's agents",
  'ecs-telemetry': "ECS's telemetry",
  ssm: 'Systems Manager',
  ssmmessages: 'Session Manager',
};

interface Need {
  readonly vpc: ec2.IVpc;
  readonly subnets: ec2.SubnetSelection;
  readonly services: Set<AwsService>;
}

const NEEDS = new WeakMap<IConstruct, Need>();

/** The services that the functions of a server need so far. */
export function neededServices(server: IConstruct): AwsService[] {
  return [...(NEEDS.get(server)?.services ?? [])];
}

/**
 * Notes that the functions of a server need services, and reports once per server what has no way to them (LIB-5). Endpoints may be
 * added long after the server, so the look is taken when the app is complete.
 */
export function requireServices(
  server: IConstruct,
  vpc: ec2.IVpc,
  subnets: ec2.SubnetSelection | undefined,
  services: readonly AwsService[],
): void {
  const known = NEEDS.get(server);
  if (known) {
    services.forEach((service) => known.services.add(service));
    return;
  }
  const need: Need = { vpc, subnets: subnets ?? defaultSubnets(vpc), services: new Set(services) };
  NEEDS.set(server, need);
  addFinding(server, {
    id: 'LIB-5',
    check: () => missingServices(server, need),
    fix:
      'Call addVpcEndpoints() on the server, add the endpoints yourself (interface endpoints with private DNS, the S3 gateway with the ' +
      "route tables of the subnets), or give the subnets a NAT gateway. If a VPC that this app only looks up has them, acknowledge 'LIB-5'.",
  });
}

function missingServices(server: IConstruct, { vpc, subnets, services }: Need): string | undefined {
  const selected = vpc.selectSubnets(subnets);
  if (selected.isPendingLookup) return undefined;
  const madeHere = vpc instanceof ec2.Vpc;
  const routes = madeHere ? resourcesOf(server, ec2.CfnRoute) : [];
  const withoutEgress = selected.subnets.filter((subnet) =>
    madeHere
      ? !hasEgress(routes, subnet)
      : vpc.isolatedSubnets.some((isolated) => isolated.subnetId === subnet.subnetId),
  );
  if (withoutEgress.length === 0) return undefined;
  const missing = withoutEndpoint(server, vpc, [...services], withoutEgress);
  if (missing.length === 0) return undefined;
  const list = missing.map((service) => `${endpointName(service)} (${WHY[service]})`).join(', ');
  const where = `the subnets ${withoutEgress.map((subnet) => subnet.node.path).join(', ')}`;
  return madeHere
    ? `${where} have no way to ${list}: neither a route out nor an endpoint`
    : `${where} are isolated, and whether their VPC, which this app only looks up, has endpoints cannot be seen: needed are ${list}`;
}

export function endpointName(service: AwsService): string {
  return NAMES[service];
}

/** Those of the services that the subnets reach by no endpoint that the app declares. */
export function withoutEndpoint(
  scope: IConstruct,
  vpc: ec2.IVpc,
  services: readonly AwsService[],
  subnets: readonly ec2.ISubnet[],
): AwsService[] {
  const endpoints = resourcesOf(scope, ec2.CfnVPCEndpoint).filter(({ vpcId }) => sameValue(vpcId, vpc.vpcId));
  const serves = (endpoint: ec2.CfnVPCEndpoint) => {
    if ((endpoint.vpcEndpointType ?? 'Gateway') !== 'Gateway') return endpoint.privateDnsEnabled === true;
    const tables = endpoint.routeTableIds ?? [];
    return subnets.every((subnet) => tables.some((table) => sameValue(table, subnet.routeTable.routeTableId)));
  };
  return services.filter((service) => !endpoints.some((endpoint) => isFor(endpoint, service) && serves(endpoint)));
}

/** The endpoints that this app declares for a VPC in the stack of a construct. */
export function endpointsInStack(scope: IConstruct, vpc: ec2.IVpc): CfnResource[] {
  const stack = Stack.of(scope);
  return resourcesOf(scope, ec2.CfnVPCEndpoint).filter(
    (endpoint) => Stack.of(endpoint) === stack && sameValue(endpoint.vpcId, vpc.vpcId),
  );
}

function isFor(endpoint: ec2.CfnVPCEndpoint, service: AwsService): boolean {
  const name = JSON.stringify(Stack.of(endpoint).resolve(endpoint.serviceName));
  return new RegExp(`\\.${service.replace('.', '\\.')}(-fips)?["\\]}]*$`).test(name);
}

/** A default route that ends in the outside world for an address without a public IP; an internet gateway does not. */
function hasEgress(routes: readonly ec2.CfnRoute[], subnet: ec2.ISubnet): boolean {
  return routes.some(
    (route) =>
      route.destinationCidrBlock === '0.0.0.0/0' &&
      [
        route.natGatewayId,
        route.transitGatewayId,
        route.networkInterfaceId,
        route.instanceId,
        route.vpcEndpointId,
      ].some((target) => target !== undefined) &&
      sameValue(route.routeTableId, subnet.routeTable.routeTableId),
  );
}

function resourcesOf<T extends CfnResource>(scope: IConstruct, type: abstract new (...args: never[]) => T): T[] {
  return scope.node.root.node.findAll().filter((construct): construct is T => construct instanceof type);
}

/** Whether two values are the same, also where they refer to the same resource from different stacks. */
function sameValue(a: string, b: string): boolean {
  return identity(a) === identity(b);
}

function identity(value: string): string {
  if (!Token.isUnresolved(value)) return value;
  const fragments = Tokenization.reverseString(value);
  const only = fragments.length === 1 ? fragments.firstToken : undefined;
  return only && Reference.isReference(only) ? `${only.target.node.path}#${only.displayName}` : value;
}
