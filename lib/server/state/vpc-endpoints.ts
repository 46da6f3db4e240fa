import { Annotations, Token } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import { Construct, IConstruct } from 'constructs';
import { AwsService, defaultSubnets, endpointName, withoutEndpoint } from './vpc-services';

/**
 * List price of an interface endpoint in us-east-1 per hour and availability zone, in USD, as of May 2026. Data costs
 * 0.01 USD per GB besides, which for the calls of this library is nothing. The S3 gateway is free.
 */
export const INTERFACE_ENDPOINT_USD_PER_HOUR = 0.01;

const HOURS_PER_MONTH = 730;

export interface VpcEndpointsOptions {
  readonly vpc: ec2.IVpc;
  /** The subnets of the functions. */
  readonly vpcSubnets?: ec2.SubnetSelection;
  /** @default - Secrets Manager, the RDS API and S3, and what the server's poolers need besides */
  readonly services?: readonly AwsService[];
}

/** Those that are reached by an endpoint of their own, by the construct's id and the service. */
const INTERFACES: Readonly<Record<Exclude<AwsService, 's3'>, readonly [string, ec2.InterfaceVpcEndpointAwsService]>> = {
  secretsmanager: ['SecretsManagerEndpoint', ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER],
  rds: ['RdsEndpoint', ec2.InterfaceVpcEndpointAwsService.RDS],
  'ecr.api': ['EcrApiEndpoint', ec2.InterfaceVpcEndpointAwsService.ECR],
  'ecr.dkr': ['EcrRegistryEndpoint', ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER],
  logs: ['LogsEndpoint', ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS],
  ec2: ['Ec2Endpoint', ec2.InterfaceVpcEndpointAwsService.EC2],
  ecs: ['EcsEndpoint', ec2.InterfaceVpcEndpointAwsService.ECS],
  'ecs-agent': ['EcsAgentEndpoint', ec2.InterfaceVpcEndpointAwsService.ECS_AGENT],
  'ecs-telemetry': ['EcsTelemetryEndpoint', ec2.InterfaceVpcEndpointAwsService.ECS_TELEMETRY],
  ssm: ['SsmEndpoint', ec2.InterfaceVpcEndpointAwsService.SSM],
  ssmmessages: ['SsmMessagesEndpoint', ec2.InterfaceVpcEndpointAwsService.SSM_MESSAGES],
};

/**
 * Adds the endpoints by which functions in isolated subnets reach AWS's APIs, but for those that the app already declares, and says
 * what they cost a month. Children of `scope` (LIB-5, SEC-15).
 */
export function addVpcEndpoints(scope: Construct, options: VpcEndpointsOptions): void {
  const { vpc } = options;
  const selection = options.vpcSubnets ?? defaultSubnets(vpc);
  const selected = vpc.selectSubnets(selection);
  const services = options.services ?? ['secretsmanager', 'rds', 's3'];
  const wanted = selected.isPendingLookup ? services : withoutEndpoint(scope, vpc, services, selected.subnets);
  const interfaces = wanted.filter((service) => service !== 's3');

  if (wanted.includes('s3')) {
    new ec2.GatewayVpcEndpoint(scope, 'S3Endpoint', {
      vpc,
      service: ec2.GatewayVpcEndpointAwsService.S3,
      subnets: [selection],
    });
  }
  if (interfaces.length > 0) {
    // One group for all: private DNS sends every caller in the VPC here, so all of the VPC may come in.
    const securityGroup = new ec2.SecurityGroup(scope, 'EndpointSecurityGroup', {
      vpc,
      description: 'cdk-postgres: AWS APIs for the VPC',
      allowAllOutbound: false,
    });
    securityGroup.addIngressRule(ec2.Peer.ipv4(cidrOf(scope, vpc)), ec2.Port.tcp(443), 'AWS APIs from the VPC');
    for (const service of interfaces) {
      const [id, awsService] = INTERFACES[service];
      new ec2.InterfaceVpcEndpoint(scope, id, {
        vpc,
        service: awsService,
        subnets: { subnets: oneByZone(selected.subnets) },
        securityGroups: [securityGroup],
        privateDnsEnabled: true,
        open: false,
      });
    }
  }

  const zones = oneByZone(selected.subnets).length;
  const monthly = interfaces.length * zones * INTERFACE_ENDPOINT_USD_PER_HOUR * HOURS_PER_MONTH;
  const names = wanted.map(endpointName).join(', ') || 'none, the app declares them all';
  Annotations.of(scope).addInfoV2(
    'cdk-postgres:vpcEndpoints',
    `VPC endpoints added: ${names}. They cost about ${monthly.toFixed(2)} USD a month (${interfaces.length} interface endpoints in ` +
      `${zones} zones at ${INTERFACE_ENDPOINT_USD_PER_HOUR} USD per hour, list price of us-east-1; the S3 gateway is free)`,
  );
}

function oneByZone(subnets: readonly ec2.ISubnet[]): ec2.ISubnet[] {
  return [...new Map(subnets.map((subnet) => [subnet.availabilityZone, subnet])).values()];
}

function cidrOf(scope: IConstruct, vpc: ec2.IVpc): string {
  // A security group rule with a literal range can be checked at synthesis; the attribute of the VPC is a token.
  const declared = vpc instanceof ec2.Vpc ? (vpc.node.defaultChild as ec2.CfnVPC).cidrBlock : undefined;
  if (declared && !Token.isUnresolved(declared)) return declared;
  try {
    return vpc.vpcCidrBlock;
  } catch {
    throw new Error(
      `${scope.node.path}: addVpcEndpoints() needs to know the range of the VPC; give vpcCidrBlock to Vpc.fromVpcAttributes(), or use Vpc.fromLookup()`,
    );
  }
}
