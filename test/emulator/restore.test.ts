import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as sdk from '@aws-sdk/client-rds';
import { GuardedServer } from '../../lib/contract/deploy-guard';
import { describeSources, judgeRestore } from '../../lib/runtime/guard/source';
import { AuroraPostgres, PostgresVersion, RdsPostgres } from '../../lib';
import { OBJECTIVES, cleanStack, quiet } from '../server/support';
import { commandsOf, operationOf, optionsOf } from '../support/runbook';
import { emulatorProblem } from './availability.js';
import { tag } from './aws-api';
import { Emulator, REGION } from './emulator';

const problem = emulatorProblem();
if (problem !== undefined) process.stderr.write(`\nNothing is restored on an emulator: ${problem}.\n\n`);
const describeRestore = problem === undefined ? describe : describe.skip;

quiet();

let emulator: Emulator;
let rds: sdk.RDSClient;
/** What stands in the emulator for the resources of a stack, by type. */
const made: Record<string, string> = {};

/** Takes away what a test leaves, nodes before their cluster. */
const remains: (() => Promise<unknown>)[] = [];

function leaves(kind: 'instance' | 'cluster' | 'snapshot', name: string): void {
  remains.push(
    {
      instance: () =>
        rds.send(new sdk.DeleteDBInstanceCommand({ DBInstanceIdentifier: name, SkipFinalSnapshot: true })),
      cluster: () => rds.send(new sdk.DeleteDBClusterCommand({ DBClusterIdentifier: name, SkipFinalSnapshot: true })),
      snapshot: () => rds.send(new sdk.DeleteDBSnapshotCommand({ DBSnapshotIdentifier: name })),
    }[kind],
  );
}

/** The runbook leaves the moment to who reads it: here it is a second ago. */
function moment(written: string): Date {
  expect(written).toBe('YYYY-MM-DDThh:mm:ssZ');
  return new Date(Date.now() - 1000);
}

/** Runs a command of `aws rds` as the AWS CLI would send it. */
async function run(line: string, references: (logicalId: string) => string): Promise<void> {
  const [, , command, ...words] = line.replace(/"\$\(of (\w+)\)"/g, (_all, id: string) => references(id)).split(' ');
  if (command === 'wait') return;
  const options = optionsOf(command!);
  const input: Record<string, unknown> = {};
  for (let at = 0; at < words.length; at++) {
    const option = words[at]!.slice(2);
    const next = words[at + 1];
    const isFlag = next === undefined || next.startsWith('--');
    const member = options.get(option.replace(/^no-/, ''))!;
    if (isFlag) input[member] = !option.startsWith('no-');
    else if (/ids$/.test(option)) input[member] = [next];
    else if (/time$/.test(option)) input[member] = moment(next);
    else input[member] = /^\d+$/.test(next) ? Number(next) : next;
    if (!isFlag) at++;
  }
  const Command = (sdk as unknown as Record<string, new (input: object) => never>)[`${operationOf(command!)}Command`]!;
  await rds.send(new Command(input));
}

function runbookOf(kind: 'RdsPostgres' | 'AuroraPostgres') {
  const { app, stack, vpc } = cleanStack();
  const props = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES };
  if (kind === 'RdsPostgres') new RdsPostgres(stack, kind, props);
  else new AuroraPostgres(stack, kind, { ...props, readers: 1 });
  const { Resources } = app.synth().getStackArtifact(stack.artifactId).template;
  const lines = commandsOf(readFileSync(join(app.outdir, `Test-${kind}.recovery.md`), 'utf8'));
  const first = lines.findIndex((line) => /^aws rds restore-db/.test(line));
  const last = lines.findIndex((line, index) => index > first && !line.startsWith('aws rds'));
  const identifier = /--source-db-\w+-identifier (\S+)/.exec(lines[first]!)![1]!;
  return {
    restore: lines.slice(first, last),
    identifier,
    references: (logicalId: string) => made[Resources[logicalId].Type] ?? logicalId,
  };
}

describeRestore('on the emulator', () => {
  beforeAll(async () => {
    emulator = await Emulator.start();
    rds = new sdk.RDSClient({
      endpoint: emulator.endpoint,
      region: REGION,
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    });
    const ec2 = async (body: string) => {
      const { text } = await emulator.api(REGION).rest('ec2', 'POST', '/', `${body}&Version=2016-11-15`, {
        'content-type': 'application/x-www-form-urlencoded',
      });
      return text;
    };
    const subnets = [...(await ec2('Action=DescribeSubnets')).matchAll(/<subnetId>([^<]*)</g)].map(([, id]) => id!);
    const group = tag(await ec2('Action=DescribeSecurityGroups'), 'groupId')!;
    const name = `restore-${Date.now()}`;
    await rds.send(
      new sdk.CreateDBSubnetGroupCommand({
        DBSubnetGroupName: name,
        DBSubnetGroupDescription: name,
        SubnetIds: subnets.slice(0, 2),
      }),
    );
    await rds.send(
      new sdk.CreateDBParameterGroupCommand({
        DBParameterGroupName: name,
        DBParameterGroupFamily: 'postgres18',
        Description: name,
      }),
    );
    await rds.send(
      new sdk.CreateDBClusterParameterGroupCommand({
        DBClusterParameterGroupName: name,
        DBParameterGroupFamily: 'aurora-postgresql18',
        Description: name,
      }),
    );
    Object.assign(made, {
      'AWS::RDS::DBSubnetGroup': name,
      'AWS::RDS::DBParameterGroup': name,
      'AWS::RDS::DBClusterParameterGroup': name,
      'AWS::EC2::SecurityGroup': group,
      'AWS::KMS::Key': 'arn:aws:kms:us-east-1:123456789012:key/1',
    });
  });
  afterAll(async () => {
    // The emulator may be somebody's, who goes on with it.
    for (const remove of remains) await remove().catch(() => undefined);
    rds?.destroy();
    await emulator?.stop();
  });

  const common = {
    EngineVersion: '18.4',
    MasterUsername: 'postgres',
    MasterUserPassword: 'not-a-secret',
    StorageEncrypted: true,
  };

  test('BK-5: the commands of the runbook restore an instance, with what the stack has', async () => {
    const { restore, identifier, references } = runbookOf('RdsPostgres');
    await rds.send(
      new sdk.CreateDBInstanceCommand({
        ...common,
        DBInstanceIdentifier: identifier,
        DBInstanceClass: 'db.r7g.large',
        Engine: 'postgres',
        AllocatedStorage: 100,
      }),
    );
    [identifier, `${identifier}-r`].forEach((name) => leaves('instance', name));
    for (const line of restore) await run(line, references);
    const { DBInstances } = await rds.send(
      new sdk.DescribeDBInstancesCommand({ DBInstanceIdentifier: `${identifier}-r` }),
    );
    expect(DBInstances![0]).toMatchObject({
      Engine: 'postgres',
      DBSubnetGroup: { DBSubnetGroupName: made['AWS::RDS::DBSubnetGroup'] },
      BackupRetentionPeriod: 14,
      MasterUsername: 'postgres',
    });
  });

  test('BK-5: and a cluster, with its nodes', async () => {
    const { restore, identifier, references } = runbookOf('AuroraPostgres');
    await rds.send(
      new sdk.CreateDBClusterCommand({ ...common, DBClusterIdentifier: identifier, Engine: 'aurora-postgresql' }),
    );
    [`${identifier}-r-1`, `${identifier}-r-2`].forEach((name) => leaves('instance', name));
    [identifier, `${identifier}-r`].forEach((name) => leaves('cluster', name));
    for (const line of restore) await run(line, references);
    const { DBClusters } = await rds.send(
      new sdk.DescribeDBClustersCommand({ DBClusterIdentifier: `${identifier}-r` }),
    );
    expect(DBClusters![0]).toMatchObject({ Engine: 'aurora-postgresql', Port: 5433, BackupRetentionPeriod: 14 });
    expect(DBClusters![0]!.DBClusterMembers).toHaveLength(2);
  });

  test('BK-18: the deploy guard looks at a source, and at a snapshot', async () => {
    const identifier = `source-${Date.now()}`;
    await rds.send(
      new sdk.CreateDBInstanceCommand({
        ...common,
        DBInstanceIdentifier: identifier,
        DBInstanceClass: 'db.r7g.large',
        Engine: 'postgres',
        AllocatedStorage: 100,
      }),
    );
    await rds.send(
      new sdk.CreateDBSnapshotCommand({ DBInstanceIdentifier: identifier, DBSnapshotIdentifier: `${identifier}-s` }),
    );
    leaves('instance', identifier);
    leaves('snapshot', `${identifier}-s`);
    const server = (Source: GuardedServer['Source'], EngineVersion = '18'): GuardedServer => ({
      Path: 'App/Restored',
      LogicalId: 'Restored1',
      Type: 'AWS::RDS::DBInstance',
      Identifier: 'restored',
      EngineVersion,
      CreateOnly: {},
      Source,
    });
    const refused = async (one: GuardedServer) =>
      judgeRestore(one, (await describeSources(rds, [one])).get(one.LogicalId)).map(({ property }) => property);
    const snapshot = { Kind: 'snapshot', Identifier: `${identifier}-s`, MasterUsername: 'postgres' } as const;
    const instance = { Kind: 'instance', Identifier: identifier, MasterUsername: 'postgres' } as const;
    expect(await refused(server(snapshot))).toEqual([]);
    expect(await refused(server(instance))).toEqual([]);
    expect(await refused(server({ ...snapshot, MasterUsername: 'chief', AllocatedStorage: '20' }, '17'))).toEqual([
      'EngineVersion',
      'MasterUsername',
      'AllocatedStorage',
    ]);
    expect(await refused(server({ ...snapshot, Identifier: 'nothing' }))).toEqual([undefined]);
    expect(await refused(server({ ...instance, Identifier: 'nothing' }))).toEqual([undefined]);
  });
});
