import { RemovalPolicy, aws_kms as kms, aws_logs as logs } from 'aws-cdk-lib';
import { Construct } from 'constructs';

/**
 * Makes the log groups before RDS exports to them (LIB-6): RDS would create them without key and without end, and the L2's
 * `cloudwatchLogsRetention` adds a function outside the VPC to repair that.
 */
export function exportedLogGroups(
  scope: Construct,
  options: {
    kind: 'instance' | 'cluster';
    identifier: string;
    types: string[];
    retention: logs.RetentionDays;
    encryptionKey: kms.IKey;
    removalPolicy: RemovalPolicy;
  },
): logs.LogGroup[] {
  return options.types.map(
    (type) =>
      new logs.LogGroup(scope, `Log-${type}`, {
        logGroupName: `/aws/rds/${options.kind}/${options.identifier}/${type}`,
        retention: options.retention,
        encryptionKey: options.encryptionKey,
        removalPolicy: options.removalPolicy,
      }),
  );
}
