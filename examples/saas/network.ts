import {
  RemovalPolicy,
  Stack,
  Validations,
  aws_ec2 as ec2,
  aws_iam as iam,
  aws_kms as kms,
  aws_logs as logs,
} from 'aws-cdk-lib';

/** A network without a way to the internet, whose traffic is logged. */
export function isolatedNetwork(stack: Stack): ec2.Vpc {
  const vpc = new ec2.Vpc(stack, 'Network', {
    maxAzs: 3,
    natGateways: 0,
    subnetConfiguration: [{ name: 'database', subnetType: ec2.SubnetType.PRIVATE_ISOLATED, cidrMask: 24 }],
  });
  logTraffic(stack, vpc);
  acknowledgeDefaultSecurityGroup(vpc);
  return vpc;
}

/** CloudFormation cannot change a VPC's default security group, and the function with which CDK does it stands outside every network. */
function acknowledgeDefaultSecurityGroup(vpc: ec2.Vpc): void {
  for (const pack of ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5', 'PCI.DSS.321']) {
    Validations.of(vpc).acknowledge({
      id: `${pack}-VPCDefaultSecurityGroupClosed`,
      reason:
        'Nothing in this network is in the default security group, which lets in its own members alone; every server, function and ' +
        'endpoint here has a group of its own.',
    });
  }
}

function logTraffic(stack: Stack, vpc: ec2.Vpc): void {
  const key = new kms.Key(stack, 'NetworkKey', { description: 'Flow logs', enableKeyRotation: true });
  key.addToResourcePolicy(
    new iam.PolicyStatement({
      principals: [new iam.ServicePrincipal(`logs.${stack.region}.amazonaws.com`)],
      actions: ['kms:Encrypt', 'kms:Decrypt', 'kms:ReEncrypt*', 'kms:GenerateDataKey*', 'kms:Describe*'],
      resources: ['*'],
      conditions: {
        ArnLike: {
          'kms:EncryptionContext:aws:logs:arn': `arn:${stack.partition}:logs:${stack.region}:${stack.account}:log-group:*`,
        },
      },
    }),
  );
  const logGroup = new logs.LogGroup(stack, 'FlowLogs', {
    encryptionKey: key,
    retention: logs.RetentionDays.ONE_YEAR,
    removalPolicy: RemovalPolicy.RETAIN,
  });

  // The role takes no more policies, since CDK would attach an inline one; it has a managed policy instead.
  const role = new iam.Role(stack, 'FlowLogRole', {
    assumedBy: new iam.ServicePrincipal('vpc-flow-logs.amazonaws.com', {
      conditions: { StringEquals: { 'aws:SourceAccount': stack.account } },
    }),
  });
  const policy = new iam.ManagedPolicy(stack, 'FlowLogPolicy', {
    roles: [role],
    statements: [
      new iam.PolicyStatement({
        actions: ['logs:CreateLogStream', 'logs:DescribeLogStreams', 'logs:PutLogEvents'],
        resources: [logGroup.logGroupArn],
      }),
    ],
  });
  const flowLog = vpc.addFlowLog('FlowLog', {
    destination: ec2.FlowLogDestination.toCloudWatchLogs(logGroup, role.withoutPolicyUpdates()),
    trafficType: ec2.FlowLogTrafficType.ALL,
  });
  flowLog.node.addDependency(policy);
}
