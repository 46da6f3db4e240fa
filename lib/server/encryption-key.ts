import { ArnFormat, Duration, RemovalPolicy, Stack, aws_iam as iam, aws_kms as kms } from 'aws-cdk-lib';
import { Construct } from 'constructs';

/**
 * The customer key of one server: storage, snapshots, Insights, logs, secrets, alarms and backups (BK-14, SEC-22).
 * One key, since whoever restores needs all of it, and a key per purpose only multiplies the policies to get wrong.
 */
export function serverKey(scope: Construct, options: { given?: kms.IKey; retain: boolean }): kms.IKey {
  const key =
    options.given ??
    new kms.Key(scope, 'Key', {
      description: `PostgreSQL server ${scope.node.path}`,
      enableKeyRotation: true,
      // A backup that outlives the stack is worth nothing without its key.
      removalPolicy: options.retain ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
      ...(options.retain ? {} : { pendingWindow: Duration.days(7) }),
    });
  const stack = Stack.of(scope);
  key.addToResourcePolicy(
    new iam.PolicyStatement({
      // The regional name, as AWS documents it; ServicePrincipal's `region` option would shorten it to the global one.
      principals: [new iam.ServicePrincipal(`logs.${stack.region}.amazonaws.com`)],
      actions: ['kms:Encrypt*', 'kms:Decrypt*', 'kms:ReEncrypt*', 'kms:GenerateDataKey*', 'kms:Describe*'],
      resources: ['*'],
      conditions: {
        ArnLike: {
          'kms:EncryptionContext:aws:logs:arn': stack.formatArn({
            service: 'logs',
            resource: 'log-group',
            resourceName: '*',
            arnFormat: ArnFormat.COLON_RESOURCE_NAME,
          }),
        },
      },
    }),
  );
  key.addToResourcePolicy(
    new iam.PolicyStatement({
      sid: 'CloudWatchAlarms',
      principals: [new iam.ServicePrincipal('cloudwatch.amazonaws.com')],
      actions: ['kms:Decrypt', 'kms:GenerateDataKey*'],
      resources: ['*'],
      conditions: { StringEquals: { 'aws:SourceAccount': stack.account } },
    }),
  );
  return key;
}
