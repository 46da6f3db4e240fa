import {
  Duration,
  RemovalPolicy,
  Stack,
  Validations,
  aws_backup as backup,
  aws_events as events,
  aws_iam as iam,
} from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { CopiedBackups, copyActions } from './recovery/backup-copy';
import { VaultLock } from './recovery/vault-lock';

/**
 * Daily snapshots in a vault of their own, apart from the server's automated backups, which end with the server and after 35 days at
 * most (BK-2, BK-14). The vault is locked, and its policy lets nobody delete a recovery point (BK-13).
 */
export function dailyBackup(
  scope: Construct,
  options: CopiedBackups & { resource: backup.BackupResource; hour: number },
): backup.BackupPlan {
  const lock = options.lock ?? VaultLock.governance();
  lock._check(scope.node.path, options.retention);
  const vault = new backup.BackupVault(scope, 'BackupVault', {
    encryptionKey: options.encryptionKey,
    lockConfiguration: lock._configuration(),
    blockRecoveryPointDeletion: true,
    removalPolicy: RemovalPolicy.RETAIN,
  });
  const plan = new backup.BackupPlan(scope, 'BackupPlan', {
    backupVault: vault,
    backupPlanRules: [
      new backup.BackupPlanRule({
        ruleName: 'Daily',
        scheduleExpression: events.Schedule.cron({ minute: '0', hour: String(options.hour) }),
        startWindow: Duration.hours(1),
        completionWindow: Duration.hours(12),
        deleteAfter: options.retention,
        copyActions: copyActions(scope, options),
      }),
    ],
  });
  plan.addSelection('Server', { resources: [options.resource], role: backupRole(scope) });
  return plan;
}

function backupRole(scope: Construct): iam.Role {
  const role = new iam.Role(scope, 'BackupRole', {
    assumedBy: new iam.ServicePrincipal('backup.amazonaws.com', {
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } },
    }),
    managedPolicies: [iam.ManagedPolicy.fromAwsManagedPolicyName('service-role/AWSBackupServiceRolePolicyForBackup')],
  });
  Validations.of(role).acknowledge({
    id: 'AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSBackupServiceRolePolicyForBackup]',
    reason:
      'AWS Backup documents this policy as what its service role needs, and changes it when the service changes. Snapshots get names that ' +
      'exist only after the job has started, so that an own policy would need wildcards as well. Only AWS Backup in this account may ' +
      'assume the role, and the only selection that uses it names this one server.',
  });
  return role;
}
