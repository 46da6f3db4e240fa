import { RemovalPolicy, Stack, Validations, aws_iam as iam } from 'aws-cdk-lib';
import { Construct } from 'constructs';

/** The role by which RDS writes operating-system metrics to CloudWatch Logs (OPS-6). */
export function monitoringRole(scope: Construct, removalPolicy: RemovalPolicy): iam.Role {
  const role = new iam.Role(scope, 'MonitoringRole', {
    assumedBy: new iam.ServicePrincipal('monitoring.rds.amazonaws.com', {
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } },
    }),
    managedPolicies: [iam.ManagedPolicy.fromAwsManagedPolicyName('service-role/AmazonRDSEnhancedMonitoringRole')],
  });
  Validations.of(role).acknowledge({
    id: 'AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AmazonRDSEnhancedMonitoringRole]',
    reason:
      'Enhanced monitoring writes to log group RDSOSMetrics, one stream per instance, named by a resource id that exists only after ' +
      'creation. An own policy would need wildcards in its place; the AWS-managed one allows nothing beyond that log group, and only ' +
      'the monitoring service of this account may assume the role.',
  });
  role.applyRemovalPolicy(removalPolicy);
  return role;
}
