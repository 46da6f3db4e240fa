import { RunbookFacts } from './runbook-facts';

/** The runbook as Markdown, for a person who has not slept: one thing after another, each command ready to paste. */
export function runbookText(facts: RunbookFacts): string {
  return [
    ...introduction(facts),
    ...decide(facts),
    ...(facts.multiAzCluster
      ? restoreMultiAz(facts, facts.multiAzCluster)
      : [...restoreInApp(facts), ...restoreByHand(facts)]),
    ...otherCopies(facts),
    ...check(facts),
    ...switchOver(facts),
    ...goBack(facts),
    ...afterwards(facts),
  ].join('\n');
}

const kind = ({ isCluster }: RunbookFacts) => (isCluster ? 'cluster' : 'instance');
const className = ({ isCluster }: RunbookFacts) => (isCluster ? 'AuroraPostgres' : 'RdsPostgres');
const backups = ({ isCluster }: RunbookFacts) => (isCluster ? 'ClusterBackups' : 'InstanceBackups');
const describe = ({ isCluster, identifier }: RunbookFacts) =>
  isCluster
    ? `aws rds describe-db-clusters --db-cluster-identifier ${identifier}`
    : `aws rds describe-db-instances --db-instance-identifier ${identifier}`;
const shell = (...lines: string[]) => ['```sh', ...lines, '```', ''];

function introduction(facts: RunbookFacts): string[] {
  return [
    `# Restoring ${facts.path}`,
    '',
    'This file is written at each synthesis. A restore makes a **new** server beside this one; nothing below changes or deletes the old one',
    'before the last section. Commands need the AWS CLI, and in one shell first:',
    '',
    ...shell(
      `export AWS_REGION=${facts.region}`,
      `of() { aws cloudformation describe-stack-resource --stack-name ${facts.stackName} --logical-resource-id "$1" \\`,
      '  --query StackResourceDetail.PhysicalResourceId --output text; }',
    ),
    '| | |',
    '|---|---|',
    `| stack | ${facts.stackName}, ${facts.region} |`,
    `| ${kind(facts)} | ${facts.identifier} |`,
    `| version, port, master user | ${facts.engineVersion}, ${facts.port}, ${facts.masterUsername} |`,
    `| restorable to any second of | the last ${facts.retentionDays} days, up to about five minutes ago |`,
    `| daily snapshots | ${facts.vault ? `vault ${facts.vault}` : 'none'} |`,
    `| copies of them | ${facts.copies.join(', ') || 'none'} |`,
    `| automated backups in another region | ${facts.replicationRegion ?? 'none'} |`,
    `| subnet group | ${facts.subnetGroup} |`,
    `| security groups | ${facts.securityGroups} |`,
    `| parameter group | ${facts.parameterGroup} |`,
    `| secret of the master user | ${facts.adminSecret} |`,
    `| key | ${facts.key} |`,
    `| state name | ${facts.stateName} |`,
    '',
  ];
}

function decide(facts: RunbookFacts): string[] {
  const query = facts.isCluster
    ? "'DBClusters[0].[EarliestRestorableTime,LatestRestorableTime]'"
    : "'DBInstances[0].LatestRestorableTime'";
  const deleted = facts.isCluster
    ? `aws rds describe-db-cluster-automated-backups --db-cluster-identifier ${facts.identifier}`
    : `aws rds describe-db-instance-automated-backups --db-instance-identifier ${facts.identifier}`;
  return [
    '## 1. Stop the damage, and find the moment',
    '',
    '- Stop whoever is writing what is wrong. Do not delete anything: each write and each log line helps to find the moment.',
    '- The moment to go back to is the last second before the damage, **in UTC**. Look for the first wrong statement in the log group of the',
    `  server, \`/aws/rds/${kind(facts)}/${facts.identifier}/postgresql\`, which has DDL, and in the logs of the application.`,
    '- If the server is there, see how far its backups reach:',
    '',
    ...shell(`${describe(facts)} --query ${query}`),
    `- If it has been deleted, its backups have been kept. Take down the resource id (\`${facts.resourceIdOf}\`) and the restorable window:`,
    '',
    ...shell(deleted),
  ];
}

function restoreInApp(facts: RunbookFacts): string[] {
  return [
    '## 2. Restore, in the app',
    '',
    'Add a second server with the properties of the first one, and leave the first one as it is. Another construct id; and another',
    '`identifier`, where the first one has one.',
    '',
    '```ts',
    `const restored = ${className(facts)}.fromPointInTime(this, 'Restored', {`,
    `  // … the properties of ${facts.path}`,
    `  masterUsername: '${facts.masterUsername}',`,
    `  stateName: '${facts.stateName}',`,
    '  encryptionKey: server.encryptionKey,',
    `  source: ${backups(facts)}.of${facts.isCluster ? 'Cluster' : 'Instance'}('${facts.identifier}'),`,
    `  // A server that has been deleted: ${backups(facts)}.ofResource('${facts.isCluster ? 'cluster' : 'db'}-…')`,
    "  restoreTo: RestoreTime.utc('YYYY-MM-DDThh:mm:ssZ'), // the second before the damage",
    '  // After the loss of the server: RestoreTime.latest()',
    '});',
    '```',
    '',
    'Declare inside it what is declared inside the first one: databases, roles and grants. Most simply, the code that does so is a function',
    `of the server, and is called for both. With the state name ${facts.stateName} the ledger in the data knows the copy for one, takes it over,`,
    'and sets every password from the new secrets.',
    '',
    'With `--no-rollback` a failure after the restore does not give the restored data up; go on from there with the same command.',
    '',
    ...shell(`npx cdk deploy ${facts.stackName} --no-rollback`),
    ...(facts.isCluster
      ? [
          'The restored cluster listens on 5432, since CloudFormation restores a cluster without its port. Clients get the port from the secret and',
          'from `grantConnect()`.',
          '',
        ]
      : []),
    'The deploy guard refuses the restore before it begins if version, master user, encryption or storage do not go together, or the backups',
    'do not reach there. How long the restore takes depends on the data.',
    '',
  ];
}

function restoreByHand(facts: RunbookFacts): string[] {
  const target = `${facts.identifier}-r`;
  const common = [
    `  --db-subnet-group-name ${facts.subnetGroup} --vpc-security-group-ids ${facts.securityGroups} \\`,
    `  --port ${facts.port} --enable-iam-database-authentication --deletion-protection --copy-tags-to-snapshot`,
  ];
  const commands = facts.isCluster
    ? [
        `aws rds restore-db-cluster-to-point-in-time --source-db-cluster-identifier ${facts.identifier} \\`,
        `  --db-cluster-identifier ${target} --restore-to-time YYYY-MM-DDThh:mm:ssZ \\`,
        `  --db-cluster-parameter-group-name ${facts.parameterGroup} --kms-key-id ${facts.key} \\`,
        ...(facts.serverless
          ? [
              `  --serverless-v2-scaling-configuration MinCapacity=${facts.serverless.min},MaxCapacity=${facts.serverless.max} \\`,
            ]
          : []),
        ...common,
        `aws rds wait db-cluster-available --db-cluster-identifier ${target}`,
        ...facts.nodes.flatMap(({ instanceClass, parameterGroup }, index) => [
          `aws rds create-db-instance --db-instance-identifier ${target}-${index + 1} --db-cluster-identifier ${target} \\`,
          `  --engine aurora-postgresql --db-instance-class ${instanceClass} --db-parameter-group-name ${parameterGroup} \\`,
          '  --no-publicly-accessible',
        ]),
        `aws rds wait db-instance-available --db-instance-identifier ${target}-1`,
        `aws rds modify-db-cluster --db-cluster-identifier ${target} --backup-retention-period ${facts.retentionDays} --apply-immediately`,
      ]
    : [
        `aws rds restore-db-instance-to-point-in-time --source-db-instance-identifier ${facts.identifier} \\`,
        `  --target-db-instance-identifier ${target} --restore-time YYYY-MM-DDThh:mm:ssZ \\`,
        `  --db-parameter-group-name ${facts.parameterGroup} --no-publicly-accessible ${facts.multiAz ? '--multi-az' : '--no-multi-az'} \\`,
        ...common,
        `aws rds wait db-instance-available --db-instance-identifier ${target}`,
        `aws rds modify-db-instance --db-instance-identifier ${target} --backup-retention-period ${facts.retentionDays} --apply-immediately`,
      ];
  return [
    '## 2b. Restore by hand, when nothing can be deployed',
    '',
    'With subnets, security groups and parameters of the stack. The passwords are those of the moment that is restored. Such a server is a',
    'bridge: CloudFormation does not know it. To keep it, make a snapshot of it and go on with section 2 and `fromSnapshot`.',
    '',
    ...shell(...commands),
  ];
}

/** RDS adds `-instance-1` to the name of such a cluster, and takes at most 50 characters. */
const multiAzTarget = ({ identifier }: RunbookFacts) => `${identifier.slice(0, 48).replace(/-$/, '')}-r`;

/** What a Multi-AZ DB cluster is restored with. Without class and storage type, RDS would look for nodes of Aurora and storage of io1. */
function multiAzOptions(facts: RunbookFacts, nodes: NonNullable<RunbookFacts['multiAzCluster']>): string[] {
  return [
    `  --db-cluster-instance-class ${nodes.instanceClass} --storage-type ${nodes.storageType}${nodes.iops === undefined ? '' : ` --iops ${nodes.iops}`} \\`,
    `  --db-cluster-parameter-group-name ${facts.parameterGroup} --kms-key-id ${facts.key} --no-publicly-accessible \\`,
    `  --db-subnet-group-name ${facts.subnetGroup} --vpc-security-group-ids ${facts.securityGroups} \\`,
    `  --port ${facts.port} --enable-iam-database-authentication --deletion-protection --copy-tags-to-snapshot`,
    `aws rds wait db-cluster-available --db-cluster-identifier ${multiAzTarget(facts)}`,
    `aws rds modify-db-cluster --db-cluster-identifier ${multiAzTarget(facts)} --backup-retention-period ${facts.retentionDays} --apply-immediately`,
  ];
}

function restoreMultiAz(facts: RunbookFacts, nodes: NonNullable<RunbookFacts['multiAzCluster']>): string[] {
  return [
    '## 2. Restore, by hand',
    '',
    'CloudFormation restores a Multi-AZ DB cluster to no moment. RDS does, to a new Multi-AZ DB cluster with three nodes. With subnets, security groups, key',
    'and parameters of the stack:',
    '',
    ...shell(
      `aws rds restore-db-cluster-to-point-in-time --source-db-cluster-identifier ${facts.identifier} \\`,
      `  --db-cluster-identifier ${multiAzTarget(facts)} --restore-to-time YYYY-MM-DDThh:mm:ssZ \\`,
      ...multiAzOptions(facts, nodes),
    ),
    'After the loss of the server, write `--source-db-cluster-resource-id cluster-…` for the name of the source, and `--use-latest-restorable-time` for',
    'the time.',
    '',
    '## 2b. Go on from there',
    '',
    'CloudFormation does not know the restored cluster. Its passwords are those of the moment that is restored: the master user is',
    `${facts.masterUsername}, and where its secret has been rotated since, section 3 sets the password of today.`,
    '',
    '- Only some rows are needed: copy them into this server (section 4), and remove the restored cluster.',
    '- The server is lost, or all of its data: make a snapshot of the restored cluster (`aws rds create-db-cluster-snapshot`), and an `RdsPostgres` from it',
    '  as in section 2c, with the same declarations inside. To have three nodes again, make a second `MultiAzPostgres` instead, and load it with `pg_dump`',
    '  from the restored cluster and `pg_restore`. The new server is `restored` in what follows; remove the restored cluster afterwards.',
    '',
  ];
}

function otherCopies(facts: RunbookFacts): string[] {
  const multiAz = facts.multiAzCluster;
  const code = (snapshot: string) =>
    multiAz
      ? [
          'As one instance with a standby, which CloudFormation knows:',
          '',
          '```ts',
          `RdsPostgres.fromSnapshot(this, 'Restored', { vpc, version, objectives, masterUsername: '${facts.masterUsername}', snapshot: '${snapshot}' });`,
          '```',
          '',
          'As three nodes again, by hand:',
          '',
          ...shell(
            `aws rds restore-db-cluster-from-snapshot --snapshot-identifier ${snapshot} \\`,
            `  --db-cluster-identifier ${multiAzTarget(facts)} --engine postgres --engine-version ${facts.engineVersion} \\`,
            ...multiAzOptions(facts, multiAz),
          ),
        ]
      : [
          '```ts',
          `${className(facts)}.fromSnapshot(this, 'Restored', { /* as above, without source and restoreTo */ snapshot: '${snapshot}' });`,
          '```',
          '',
        ];
  const snapshotArn = `arn:aws:rds:${facts.region}:…:${facts.isCluster ? 'cluster-' : ''}snapshot:awsbackup:job-…`;
  return [
    '## 2c. From a daily snapshot, or a second copy',
    '',
    ...(facts.vault
      ? [
          `For a day before the last ${facts.retentionDays}. The ARN of a recovery point is that of the snapshot:`,
          '',
          ...shell(
            `aws backup list-recovery-points-by-backup-vault --backup-vault-name ${facts.vault} \\`,
            "  --query 'RecoveryPoints[].[CreationDate,RecoveryPointArn]' --output table",
          ),
          ...code(snapshotArn),
        ]
      : ['This server has no backup plan.', '']),
    ...facts.copies.map((copy) =>
      multiAz
        ? `- A copy is in ${copy}. In that account and region, restore it by the command above, with the ARN of the recovery point there, and with key, subnets, groups of that region.`
        : `- A copy is in ${copy}. In that account and region, deploy this app's stack with \`fromSnapshot\` and the ARN of the recovery point there.`,
    ),
    ...(facts.copies.length > 0 ? [''] : []),
    ...(facts.replicationRegion
      ? [
          `To any second in ${facts.replicationRegion}: deploy the stack there, with \`source: InstanceBackups.replicated('ARN')\` and this ARN:`,
          '',
          ...shell(
            `aws rds describe-db-instance-automated-backups --region ${facts.replicationRegion} --db-instance-identifier ${facts.identifier} \\`,
            "  --query 'DBInstanceAutomatedBackups[].[DBInstanceAutomatedBackupsArn,RestoreWindow]'",
          ),
        ]
      : []),
  ];
}

function check(facts: RunbookFacts): string[] {
  const settings = facts.isCluster
    ? "aws rds describe-db-clusters --db-cluster-identifier NEW \\\n  --query 'DBClusters[0].[Status,Port,EngineVersion,StorageEncrypted,KmsKeyId,BackupRetentionPeriod,DeletionProtection,DBClusterParameterGroup]'"
    : "aws rds describe-db-instances --db-instance-identifier NEW \\\n  --query 'DBInstances[0].[DBInstanceStatus,Endpoint.Port,EngineVersion,StorageEncrypted,KmsKeyId,BackupRetentionPeriod,DeletionProtection,MultiAZ,MonitoringInterval,PerformanceInsightsEnabled,DBParameterGroups]'";
  return [
    '## 3. Check, before anybody works with it',
    '',
    ...(facts.multiAzCluster
      ? []
      : [
          '- The deployment has ended well: the log of the function that applies the state says `rehomedFrom` with the resource id of the old server.',
        ]),
    '- The functions got in. If their log says that the password of the master user is refused, the restore has left the old one:',
    '',
    ...shell(
      `aws rds modify-db-${kind(facts)} --db-${kind(facts)}-identifier NEW --apply-immediately --master-user-password \\`,
      '  "$(aws secretsmanager get-secret-value --secret-id NEW_SECRET --query SecretString --output text | jq -r .password)"',
    ),
    '- It is set up as the old one; what a restore did not bring is set with the next deployment or with `aws rds modify-db-…`:',
    '',
    ...shell(settings),
    '- A plan has no step. NEW_HOST is the endpoint of the new server:',
    '',
    ...shell(
      `npx cdk-postgres plan --stack ${facts.stackName} --server Restored \\`,
      `  --url postgres://${facts.masterUsername}@NEW_HOST:${facts.isCluster ? 5432 : facts.port}/postgres`,
    ),
    '- The damage is not in it, and the last good row is. Ask for the newest row of the busiest table, and for the rows that were lost.',
    '',
  ];
}

function switchOver(facts: RunbookFacts): string[] {
  return [
    '## 4. Switch the clients over',
    '',
    '1. Stop writing: let the applications stand, or take their security group rules to the old server away. What is written to the old server',
    '   from here on is not in the new one.',
    '2. Only some rows are needed? Then do not switch: copy them (`pg_dump --data-only --table=…` from the new server, `psql` into the old one),',
    '   and go on to section 6 with the *new* server as the one to remove.',
    `3. In the app, call \`grantConnect()\` and read \`secret\`, \`host\` and \`port\` on \`restored\`, in place of those of ${facts.path}. The new server has an`,
    `   own resource id, and own secrets: policies with \`rds-db:connect\`, alarms and the backup plan of \`restored\` name it already.`,
    '4. Deploy. Restart what keeps connections or caches secrets.',
    '5. Whatever names a host by hand (a DNS record, a BI tool) gets the new one:',
    '',
    ...shell(
      facts.isCluster
        ? "aws rds describe-db-clusters --db-cluster-identifier NEW --query 'DBClusters[0].[Endpoint,ReaderEndpoint]'"
        : "aws rds describe-db-instances --db-instance-identifier NEW --query 'DBInstances[0].Endpoint.Address'",
    ),
    'Publications are in the data; replication slots are not. Whoever reads changes begins anew.',
    '',
  ];
}

function goBack(facts: RunbookFacts): string[] {
  return [
    '## 5. Go back',
    '',
    `${facts.path} has not been changed. Undo the code of section 4, and deploy: the clients are back on it, with its secrets. What was written to the`,
    'new server in between is only there; copy it as in section 4. Then section 6 for the new server.',
    '',
  ];
}

function afterwards(facts: RunbookFacts): string[] {
  return [
    '## 6. Afterwards',
    '',
    ...(facts.multiAzCluster
      ? []
      : [
          '- **Leave `source`, `restoreTo` or `snapshot` in the app as long as the restored server lives.** CloudFormation makes an empty server when they go, and',
          '  the deploy guard refuses it.',
        ]),
    '- Keep the server that nobody uses any more until the case is closed: it is the evidence. Then take its construct out of the app: it stays',
    '  in RDS, with what it stands on. Delete it there:',
    '',
    ...shell(
      ...(facts.isCluster
        ? [
            'aws rds modify-db-cluster --db-cluster-identifier OLD --no-deletion-protection --apply-immediately',
            ...(facts.multiAzCluster
              ? []
              : ['# each node first: aws rds delete-db-instance --db-instance-identifier OLD-1']),
            'aws rds delete-db-cluster --db-cluster-identifier OLD --final-db-snapshot-identifier OLD-final --no-delete-automated-backups',
          ]
        : [
            'aws rds modify-db-instance --db-instance-identifier OLD --no-deletion-protection --apply-immediately',
            'aws rds delete-db-instance --db-instance-identifier OLD --final-db-snapshot-identifier OLD-final --no-delete-automated-backups',
          ]),
    ),
    '- Its key stays too, as long as there is a backup under it.',
    '',
  ];
}
