import { App, Duration, Stack, aws_ec2 as ec2, aws_iam as iam, aws_kms as kms, aws_logs as logs } from 'aws-cdk-lib';

export const OBJECTIVES = { rpo: Duration.minutes(5), rto: Duration.minutes(30) };

/** A stack whose VPC has no finding in any rule pack, and everything that the functions call by an endpoint. */
export function cleanStack(app: App = new App(), maxAzs = 2): { app: App; stack: Stack; vpc: ec2.Vpc } {
  const stack = new Stack(app, 'Test', { env: { account: '123456789012', region: 'eu-central-1' } });
  const vpc = new ec2.Vpc(stack, 'Vpc', {
    maxAzs,
    natGateways: 0,
    restrictDefaultSecurityGroup: false,
    subnetConfiguration: [{ name: 'data', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 }],
  });
  flowLogs(stack, vpc);
  const securityGroup = new ec2.SecurityGroup(stack, 'Endpoints', {
    vpc,
    description: 'Endpoints',
    allowAllOutbound: false,
  });
  vpc.addGatewayEndpoint('S3', { service: ec2.GatewayVpcEndpointAwsService.S3 });
  for (const [id, service] of [
    ['SecretsManager', ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER],
    ['Rds', ec2.InterfaceVpcEndpointAwsService.RDS],
  ] as const) {
    vpc.addInterfaceEndpoint(id, { service, securityGroups: [securityGroup], open: false });
  }
  return { app, stack, vpc };
}

function flowLogs(stack: Stack, vpc: ec2.Vpc): void {
  const key = new kms.Key(stack, 'FlowKey', { enableKeyRotation: true });
  const group = new logs.LogGroup(stack, 'FlowLogs', { encryptionKey: key, retention: logs.RetentionDays.ONE_YEAR });
  const role = new iam.Role(stack, 'FlowRole', { assumedBy: new iam.ServicePrincipal('vpc-flow-logs.amazonaws.com') });
  new iam.ManagedPolicy(stack, 'FlowPolicy', {
    roles: [role],
    statements: [
      new iam.PolicyStatement({
        actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        resources: [group.logGroupArn],
      }),
    ],
  });
  vpc.addFlowLog('All', { destination: ec2.FlowLogDestination.toCloudWatchLogs(group, role.withoutPolicyUpdates()) });
}

/** Warnings of a synthesis are what a test asks for, not what its output should show. */
export function quiet(): void {
  beforeEach(() => {
    jest.spyOn(console, 'error').mockImplementation();
    jest.spyOn(console, 'warn').mockImplementation();
  });
}
