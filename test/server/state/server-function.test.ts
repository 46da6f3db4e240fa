import { App, Duration, Stack, Validations, aws_ec2 as ec2, aws_iam as iam, aws_kms as kms } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  AwsSolutionsChecks,
  HIPAASecurityChecks,
  NIST80053R4Checks,
  NIST80053R5Checks,
  PCIDSS321Checks,
} from 'cdk-nag';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServerFunction, ServerFunctionProps } from '../../../lib/server/state/server-function';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('./fake-bundles').fakeBundle(),
}));

function setup(props: Partial<ServerFunctionProps> = {}) {
  const app = new App();
  const stack = new Stack(app, 'Test');
  const vpc = new ec2.Vpc(stack, 'Vpc', {
    natGateways: 0,
    subnetConfiguration: [{ name: 'isolated', subnetType: ec2.SubnetType.PRIVATE_ISOLATED }],
  });
  vpc.addInterfaceEndpoint('SecretsManager', { service: ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER });
  vpc.addGatewayEndpoint('S3', { service: ec2.GatewayVpcEndpointAwsService.S3 });
  const key = new kms.Key(stack, 'Key', { enableKeyRotation: true });
  const fn = new ServerFunction(stack, 'Fn', {
    duty: 'apply',
    vpc,
    encryptionKey: key,
    timeout: Duration.minutes(15),
    memorySize: 512,
    statements: [],
    ...props,
  });
  return { app, stack, vpc, fn };
}

/** The findings on the function and what belongs to it, of all five packs. */
function nagFindings(app: App, stack: Stack): string[] {
  for (const pack of [AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R4Checks, NIST80053R5Checks, PCIDSS321Checks]) {
    Validations.of(app).addPlugins(new pack(app));
  }
  try {
    app.synth();
  } catch {
    // Findings make it fail; they are in the report.
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  return report.pluginReports
    .flatMap((plugin: any) => plugin.violations)
    .flatMap((violation: any) =>
      violation.violatingConstructs.map((construct: any) => `${violation.ruleName} ${construct.constructPath}`),
    )
    .filter((finding: string) => finding.includes(`${stack.node.id}/Fn`))
    .sort();
}

test('passes the five packs', () => {
  const { app, stack } = setup();
  expect(nagFindings(app, stack)).toEqual([]);
});

test('a wildcard in its duties is found: the acknowledgement holds for the network interfaces alone', () => {
  const { app, stack } = setup({
    statements: [new iam.PolicyStatement({ actions: ['rds:DescribeDBClusters'], resources: ['*'] })],
  });
  expect(nagFindings(app, stack)).toEqual(['AwsSolutions-IAM5[Resource::*] Test/Fn/Policy']);
});

test('without a reservation, the packs that want one say so', () => {
  const { app, stack } = setup({ reserveConcurrency: false });
  expect(nagFindings(app, stack)).toEqual([
    'HIPAA.Security-LambdaConcurrency Test/Fn/Function/Resource',
    'NIST.800.53.R5-LambdaConcurrency Test/Fn/Function/Resource',
  ]);
});

test('runs on arm64 in the newest runtime, in isolated subnets, with its own log group and no name', () => {
  const { stack } = setup();
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::Lambda::Function', {
    Architectures: ['arm64'],
    Runtime: 'nodejs24.x',
    Handler: 'index.handler',
    ReservedConcurrentExecutions: 2,
    FunctionName: Match.absent(),
    LoggingConfig: { LogGroup: { Ref: Match.stringLikeRegexp('^FnLogs') } },
    VpcConfig: {
      SubnetIds: [{ Ref: Match.stringLikeRegexp('isolated') }, { Ref: Match.stringLikeRegexp('isolated') }],
    },
  });
  template.hasResourceProperties('AWS::Logs::LogGroup', { RetentionInDays: 365, KmsKeyId: Match.anyValue() });
  template.resourceCountIs('AWS::IAM::Policy', 0);
});

test('no old event runs after a newer one', () => {
  const { stack } = setup();
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::EventInvokeConfig', { MaximumEventAgeInSeconds: 1200 });
});

test('leaves by tcp/443 and to the server alone', () => {
  const { stack, vpc, fn } = setup();
  const server = new ec2.SecurityGroup(stack, 'Server', { vpc, allowAllOutbound: false });
  fn.allowTo([server], 5433);
  const template = Template.fromStack(stack);
  template.hasResourceProperties('AWS::EC2::SecurityGroup', {
    GroupDescription: 'cdk-postgres apply function',
    SecurityGroupEgress: [Match.objectLike({ CidrIp: '0.0.0.0/0', FromPort: 443, ToPort: 443, IpProtocol: 'tcp' })],
  });
  template.hasResourceProperties('AWS::EC2::SecurityGroupEgress', { FromPort: 5433, ToPort: 5433 });
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { FromPort: 5433, ToPort: 5433 });
  expect(fn.connections.securityGroups).toHaveLength(1);
});

test('outside a VPC it has no network policy and no security group', () => {
  const { stack, fn } = setup({ vpc: undefined });
  fn.allowTo([], 5432);
  const template = Template.fromStack(stack);
  template.resourceCountIs('AWS::IAM::ManagedPolicy', 1);
  expect(JSON.stringify(template.findResources('AWS::IAM::ManagedPolicy'))).not.toContain('ec2:');
  template.hasResourceProperties('AWS::Lambda::Function', { VpcConfig: Match.absent() });
});
