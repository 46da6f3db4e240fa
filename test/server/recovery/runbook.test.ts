import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  App,
  Duration,
  Stack,
  Stage,
  aws_backup as backup,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_rds as rds,
} from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { AuroraPostgres, MultiAzPostgres, PostgresVersion, RdsPostgres, RestoreTime } from '../../../lib';
import { commandsOf, optionsOf } from '../../support/runbook';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

const FILE = 'Test-Postgres.recovery.md';

type Made = ReturnType<typeof cleanStack>;

const common = ({ vpc }: Made) => ({ vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });

function runbookOf(make: (made: Made) => unknown, zones?: number): { text: string; template: Template } {
  const made = cleanStack(undefined, zones);
  make(made);
  made.app.synth();
  return { text: readFileSync(join(made.app.outdir, FILE), 'utf8'), template: Template.fromStack(made.stack) };
}

/** The logical ids that the commands ask CloudFormation for. */
const asked = (text: string) => [...text.matchAll(/\$\(of (\w+)\)/g)].map(([, id]) => id!);

describe.each<[string, (made: Made) => RdsPostgres | AuroraPostgres, RegExp, string[]]>([
  [
    'RdsPostgres',
    (made) => new RdsPostgres(made.stack, 'Postgres', { ...common(made), masterUsername: 'chief' }),
    /^test-postgres-\w+$/,
    [
      'AWS::RDS::DBSubnetGroup',
      'AWS::RDS::DBParameterGroup',
      'AWS::EC2::SecurityGroup',
      'AWS::SecretsManager::Secret',
      'AWS::Backup::BackupVault',
      'AWS::KMS::Key',
    ],
  ],
  [
    'AuroraPostgres',
    (made) => new AuroraPostgres(made.stack, 'Postgres', { ...common(made), masterUsername: 'chief', readers: 2 }),
    /^test-postgres-\w+$/,
    [
      'AWS::RDS::DBSubnetGroup',
      'AWS::RDS::DBClusterParameterGroup',
      'AWS::RDS::DBParameterGroup',
      'AWS::EC2::SecurityGroup',
      'AWS::SecretsManager::Secret',
      'AWS::Backup::BackupVault',
      'AWS::KMS::Key',
    ],
  ],
])('BK-5: the runbook of %s', (kind, make, name, types) => {
  const { text, template } = runbookOf(make);
  const isCluster = kind === 'AuroraPostgres';
  const identifier = Object.values(
    template.findResources(isCluster ? 'AWS::RDS::DBCluster' : 'AWS::RDS::DBInstance'),
  )[0]!.Properties[isCluster ? 'DBClusterIdentifier' : 'DBInstanceIdentifier'];

  test('is named by an output of the stack, and lies in the cloud assembly', () => {
    const outputs = Object.values(template.toJSON().Outputs as Record<string, { Value: unknown }>);
    expect(outputs.map(({ Value }) => Value)).toContain(FILE);
  });

  test('names this server, and asks the stack for what has no literal name', () => {
    expect(identifier).toMatch(name);
    expect(text).toContain(`--source-db-${isCluster ? 'cluster' : 'instance'}-identifier ${identifier} `);
    const resources = template.toJSON().Resources as Record<string, { Type: string }>;
    expect(new Set(asked(text).map((id) => resources[id]?.Type))).toEqual(new Set(types));
    expect(text).toContain('--stack-name Test');
    expect(text).toContain('AWS_REGION=eu-central-1');
  });

  test('has the code change, with what a restore keeps', () => {
    expect(text).toContain(`${kind}.fromPointInTime(this, 'Restored', {`);
    expect(text).toContain(
      `source: ${isCluster ? 'ClusterBackups.ofCluster' : 'InstanceBackups.ofInstance'}('${identifier}')`,
    );
    expect(text).toContain(`masterUsername: 'chief'`);
    expect(text).toContain(`stateName: 'Test'`);
  });

  test('goes from the moment over the restore to the check, the switch and the way back', () => {
    expect([...text.matchAll(/^## (.*)$/gm)].map(([, title]) => title)).toEqual([
      '1. Stop the damage, and find the moment',
      '2. Restore, in the app',
      '2b. Restore by hand, when nothing can be deployed',
      '2c. From a daily snapshot, or a second copy',
      '3. Check, before anybody works with it',
      '4. Switch the clients over',
      '5. Go back',
      '6. Afterwards',
    ]);
  });

  test('has a moment that nobody can leave as it is, and a plan that names server and URL', () => {
    const [, moment] = /RestoreTime\.utc\('(.*)'\)/.exec(text)!;
    expect(() => RestoreTime.utc(moment!)).toThrow(/is no moment in UTC/);
    expect(commandsOf(text)).toContain(
      `npx cdk-postgres plan --stack Test --server Restored --url postgres://chief@NEW_HOST:${isCluster ? 5432 : 5433}/postgres`,
    );
  });

  test('has nothing that is not filled in', () => {
    expect(text).not.toMatch(/undefined|\[object|\$\{Token|<see the template>|STACK_NAME/);
  });

  test('deletes nothing before its last section', () => {
    const [before] = text.split('## 6. Afterwards');
    expect(commandsOf(before!).filter((line) => /\bdelete-|no-deletion-protection/.test(line))).toEqual([]);
  });
});

describe('BK-5: the commands', () => {
  const all = [
    (made: Made) => new RdsPostgres(made.stack, 'Postgres', common(made)),
    (made: Made) =>
      new AuroraPostgres(made.stack, 'Postgres', { ...common(made), serverlessV2: { minCapacity: 1, maxCapacity: 4 } }),
    (made: Made) =>
      new MultiAzPostgres(made.stack, 'Postgres', { ...common(made), storageType: rds.StorageType.IO1, iops: 3000 }),
  ].flatMap((make) => commandsOf(runbookOf(make, 3).text).filter((line) => /^aws rds (?!wait)/.test(line)));
  const calls = [...new Set(all)].map((line): [string, string] => [line.split(' ')[2]!, line]);

  test.each(calls)('%s has no option that the API does not know', (command, line) => {
    const known = [...optionsOf(command).keys()];
    // What a substituted command takes is not this one's.
    const used = [...line.replace(/"\$\(.*\)"/, '').matchAll(/ --([a-z0-9-]+)/g)].map(([, option]) =>
      option!.replace(/^no-/, ''),
    );
    expect(known.length).toBeGreaterThan(0);
    expect(used.filter((option) => !known.includes(option) && option !== 'query')).toEqual([]);
  });

  test('an option that does not exist is found', () => {
    expect([...optionsOf('restore-db-cluster-to-point-in-time').keys()]).toContain('restore-to-time');
    expect([...optionsOf('restore-db-cluster-to-point-in-time').keys()]).not.toContain('restore-time');
    expect(calls.map(([command]) => command)).toContain('restore-db-instance-to-point-in-time');
  });
});

test('BK-5: every node of a cluster is made again by hand', () => {
  const { text } = runbookOf((made) => new AuroraPostgres(made.stack, 'Postgres', { ...common(made), readers: 2 }));
  expect(commandsOf(text).filter((line) => line.startsWith('aws rds create-db-instance'))).toHaveLength(3);
});

describe('BK-5: a Multi-AZ DB cluster', () => {
  const { text, template } = runbookOf(
    (made) => new MultiAzPostgres(made.stack, 'Postgres', { ...common(made), masterUsername: 'chief' }),
    3,
  );
  const commands = commandsOf(text);
  const source = Object.values(template.findResources('AWS::RDS::DBCluster'))[0]!.Properties.DBClusterIdentifier;

  test.each<[string, string]>([
    ['restore-db-cluster-to-point-in-time', `--source-db-cluster-identifier ${source} `],
    ['restore-db-cluster-from-snapshot', '--snapshot-identifier arn:aws:rds:eu-central-1:…:cluster-snapshot:'],
  ])('is restored by %s to one of the same kind, class and port', (command, from) => {
    const [line] = commands.filter((one) => one.startsWith(`aws rds ${command} `));
    expect(line).toContain(from);
    expect(line).toContain('--db-cluster-instance-class db.r6gd.large --storage-type gp3 ');
    expect(line).toContain('--port 5433 ');
    expect(line).not.toContain('--iops');
    expect(line).toMatch(/--db-cluster-identifier \S{1,50} /);
  });

  test('names the one construct that takes its snapshots, and none for a moment', () => {
    expect(text).toMatch(/RdsPostgres\.fromSnapshot\(this, .* snapshot: 'arn:aws:rds:eu-central-1:…:cluster-snapshot:/);
    expect(text).not.toMatch(
      /new AuroraPostgres|fromPointInTime\(this|AuroraPostgres\.fromSnapshot|ClusterBackups|create-db-instance|rehomedFrom/,
    );
  });

  test('has nothing that is not filled in, and deletes nothing before its last section', () => {
    expect(text).not.toMatch(/undefined|\[object|\$\{Token|<see the template>|STACK_NAME/);
    const [before] = text.split('## 6. Afterwards');
    expect(commandsOf(before!).filter((line) => /\bdelete-|no-deletion-protection/.test(line))).toEqual([]);
  });

  test('the others have none of its options', () => {
    const aurora = runbookOf((made) => new AuroraPostgres(made.stack, 'Postgres', common(made))).text;
    expect(aurora).not.toMatch(/db-cluster-instance-class|MultiAzPostgres/);
  });
});

test('BK-5: a serverless cluster scales as before', () => {
  const serverlessV2 = { minCapacity: 2, maxCapacity: 16 };
  const { text } = runbookOf((made) => new AuroraPostgres(made.stack, 'Postgres', { ...common(made), serverlessV2 }));
  expect(text).toContain('--serverless-v2-scaling-configuration MinCapacity=2,MaxCapacity=16');
  expect(text).toContain('--db-instance-class db.serverless');
});

test('BK-5, BK-13: second copies are named', () => {
  const { text } = runbookOf(({ stack, vpc }) => {
    const arn = 'arn:aws:backup:eu-west-1:123456789012:backup-vault:copies';
    new RdsPostgres(stack, 'Postgres', {
      ...common({ stack, vpc } as Made),
      pointInTimeRecovery: Duration.days(20),
      backupCopies: [{ vault: backup.BackupVault.fromBackupVaultArn(stack, 'Copies', arn) }],
      backupReplication: {
        region: 'eu-north-1',
        encryptionKey: kms.Key.fromKeyArn(stack, 'Other', 'arn:aws:kms:eu-north-1:123456789012:key/1'),
      },
    });
  });
  expect(text).toContain('A copy is in arn:aws:backup:eu-west-1:123456789012:backup-vault:copies');
  expect(text).toContain('describe-db-instance-automated-backups --region eu-north-1');
  expect(text).toContain('the last 20 days');
});

test('BK-5: two servers of one app have a runbook each, also in a stage', () => {
  const app = new App();
  const stage = new Stage(app, 'Prod', { env: { account: '123456789012', region: 'eu-central-1' } });
  const stack = new Stack(stage, 'Data');
  const vpc = new ec2.Vpc(stack, 'Vpc', {
    maxAzs: 2,
    natGateways: 0,
    subnetConfiguration: [{ name: 'data', subnetType: ec2.SubnetType.PRIVATE_ISOLATED }],
  });
  for (const id of ['Orders', 'Reports']) {
    const server = new RdsPostgres(stack, id, { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
    server.acknowledge({ id: 'LIB-5', reason: 'the network is not the subject' });
  }
  stage.synth();
  for (const id of ['Orders', 'Reports']) {
    expect(existsSync(join(stage.outdir, `Prod-Data-${id}.recovery.md`))).toBe(true);
  }
});
