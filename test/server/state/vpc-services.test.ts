import { App, Stack, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { Construct } from 'constructs';
import { acknowledgeFinding } from '../../../lib/compliance';
import { addVpcEndpoints } from '../../../lib/server/state/vpc-endpoints';
import { AwsService, requireServices } from '../../../lib/server/state/vpc-services';

const ENV = { account: '123456789012', region: 'eu-west-1' };
const ISOLATED = [{ name: 'isolated', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 }];

function setup(vpcOf: (stack: Stack) => ec2.IVpc, services: AwsService[] = ['secretsmanager', 's3', 'rds']) {
  const app = new App();
  const stack = new Stack(app, 'Test', { env: ENV });
  const vpc = vpcOf(stack);
  const server = new Construct(stack, 'Server');
  requireServices(server, vpc, undefined, services);
  return { app, stack, vpc, server, synth: () => app.synth() };
}

const isolated = (stack: Stack) =>
  new ec2.Vpc(stack, 'Vpc', { natGateways: 0, maxAzs: 2, subnetConfiguration: ISOLATED });
const imported = (stack: Stack) =>
  ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
    vpcId: 'vpc-1',
    vpcCidrBlock: '10.1.0.0/16',
    availabilityZones: ['eu-west-1a', 'eu-west-1b'],
    isolatedSubnetIds: ['subnet-1', 'subnet-2'],
    isolatedSubnetRouteTableIds: ['rtb-1', 'rtb-2'],
  });

/** The text of the LIB-5 finding, or undefined. */
function finding(synth: () => unknown): string | undefined {
  try {
    synth();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

describe('case 115: subnets without a way out (LIB-5)', () => {
  test('are a finding that names every endpoint to add', () => {
    const text = finding(setup(isolated).synth);
    expect(text).toContain('LIB-5');
    expect(text).toMatch(/have no way to Secrets Manager .* S3 .* the RDS API/s);
    expect(text).toContain('addVpcEndpoints()');
  });

  test('are none with endpoints, also those declared after the server and in another stack', () => {
    const { app, vpc, synth } = setup(isolated);
    (vpc as ec2.Vpc).addGatewayEndpoint('S3', { service: ec2.GatewayVpcEndpointAwsService.S3 });
    (vpc as ec2.Vpc).addInterfaceEndpoint('Sm', { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER });
    const later = new Stack(app, 'Later', { env: ENV });
    new ec2.InterfaceVpcEndpoint(later, 'Rds', { vpc, service: ec2.InterfaceVpcEndpointAwsService.RDS });
    expect(finding(synth)).toBeUndefined();
  });

  test('count an endpoint only with private DNS', () => {
    const { vpc, synth } = setup(isolated, ['secretsmanager']);
    (vpc as ec2.Vpc).addInterfaceEndpoint('Sm', {
      service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
      privateDnsEnabled: false,
    });
    expect(finding(synth)).toMatch(/have no way to Secrets Manager/);
  });

  test('count the S3 gateway only with their own route tables', () => {
    const { stack, synth } = setup(
      (scope) =>
        new ec2.Vpc(scope, 'Vpc', {
          natGateways: 0,
          maxAzs: 2,
          subnetConfiguration: [...ISOLATED, { name: 'public', subnetType: ec2.SubnetType.PUBLIC, cidrMask: 24 }],
        }),
      ['s3'],
    );
    new ec2.GatewayVpcEndpoint(stack, 'S3', {
      vpc: stack.node.findChild('Vpc') as ec2.Vpc,
      service: ec2.GatewayVpcEndpointAwsService.S3,
      subnets: [{ subnetType: ec2.SubnetType.PUBLIC }],
    });
    expect(finding(synth)).toMatch(/have no way to S3/);
  });

  test('do not count the endpoint of another service or another VPC', () => {
    const { stack, vpc, synth } = setup(isolated, ['rds']);
    (vpc as ec2.Vpc).addInterfaceEndpoint('Data', { service: ec2.InterfaceVpcEndpointAwsService.RDS_DATA });
    const other = new ec2.Vpc(stack, 'OtherVpc', { natGateways: 0, maxAzs: 2, subnetConfiguration: ISOLATED });
    other.addInterfaceEndpoint('Rds', { service: ec2.InterfaceVpcEndpointAwsService.RDS });
    expect(finding(synth)).toMatch(/have no way to the RDS API/);
  });

  test('are none behind a NAT gateway', () => {
    expect(finding(setup((stack) => new ec2.Vpc(stack, 'Vpc', { natGateways: 1, maxAzs: 2 })).synth)).toBeUndefined();
  });

  test('of a looked-up VPC are a finding that can be acknowledged', () => {
    expect(finding(setup(imported).synth)).toMatch(/cannot be seen: needed are Secrets Manager/);
    const known = setup(imported);
    acknowledgeFinding(known.server, { id: 'LIB-5', reason: 'the network team has all three' });
    expect(finding(known.synth)).toBeUndefined();
  });

  test('are not judged before a lookup has its answer', () => {
    const lookedUp = (stack: Stack) => ec2.Vpc.fromLookup(stack, 'Vpc', { vpcId: 'vpc-1' });
    expect(finding(setup(lookedUp).synth)).toBeUndefined();
  });
});

describe('addVpcEndpoints', () => {
  test('adds what is missing, so that nothing is found, and says what it costs a month', () => {
    const { stack, vpc, server, synth } = setup(isolated);
    addVpcEndpoints(server, { vpc });
    expect(finding(synth)).toBeUndefined();
    const template = Template.fromStack(stack);
    template.resourceCountIs('AWS::EC2::VPCEndpoint', 3);
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      SecurityGroupIngress: [Match.objectLike({ CidrIp: '10.0.0.0/16', FromPort: 443, ToPort: 443 })],
    });
    // Two interface endpoints in two zones, 730 hours at 0.01 USD.
    Annotations.fromStack(stack).hasInfo('/Test/Server', Match.stringLikeRegexp('29\\.20 USD a month'));
  });

  test('leaves alone what the app already declares', () => {
    const { stack, vpc, server } = setup(isolated);
    (vpc as ec2.Vpc).addInterfaceEndpoint('Sm', { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER });
    addVpcEndpoints(server, { vpc });
    Template.fromStack(stack).resourceCountIs('AWS::EC2::VPCEndpoint', 3);
    Annotations.fromStack(stack).hasInfo('/Test/Server', Match.stringLikeRegexp('added: the RDS API, S3'));
  });

  test('works on an imported VPC whose range is known, and says so where it is not', () => {
    const known = setup(imported);
    addVpcEndpoints(known.server, { vpc: known.vpc });
    expect(finding(known.synth)).toBeUndefined();
    const unknown = setup((stack) =>
      ec2.Vpc.fromVpcAttributes(stack, 'Vpc', {
        vpcId: 'vpc-1',
        availabilityZones: ['eu-west-1a'],
        isolatedSubnetIds: ['subnet-1'],
        isolatedSubnetRouteTableIds: ['rtb-1'],
      }),
    );
    expect(() => addVpcEndpoints(unknown.server, { vpc: unknown.vpc })).toThrow(/give vpcCidrBlock/);
  });
});
