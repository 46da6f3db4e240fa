import * as sdk from '@aws-sdk/client-rds';
import { failOver, isAvailable, requireSuccessor } from '../../lib/runtime/failover';
import { emulatorProblem } from './availability.js';
import { Emulator, REGION } from './emulator';

const problem = emulatorProblem();
const available = problem === undefined ? describe : describe.skip;

available(`HA-17: the failover test asks the emulator's RDS${problem ? `: ${problem}` : ''}`, () => {
  const name = `failover-${Date.now()}`;
  const common = { Engine: 'postgres', MasterUsername: 'postgres', MasterUserPassword: 'for-the-test' };
  let emulator: Emulator;
  let rds: sdk.RDSClient;
  const addNode = (suffix: string) =>
    rds.send(
      new sdk.CreateDBInstanceCommand({
        DBInstanceIdentifier: `${name}-${suffix}`,
        DBClusterIdentifier: `${name}-cluster`,
        DBInstanceClass: 'db.r7g.large',
        Engine: 'aurora-postgresql',
      }),
    );
  beforeAll(async () => {
    emulator = await Emulator.start();
    rds = new sdk.RDSClient({
      endpoint: emulator.endpoint,
      region: REGION,
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    });
    for (const [suffix, MultiAZ] of [
      ['standby', true],
      ['alone', false],
    ] as const)
      await rds.send(
        new sdk.CreateDBInstanceCommand({
          ...common,
          DBInstanceIdentifier: `${name}-${suffix}`,
          DBInstanceClass: 'db.r7g.large',
          AllocatedStorage: 20,
          MultiAZ,
        }),
      );
    await rds.send(
      new sdk.CreateDBClusterCommand({
        ...common,
        Engine: 'aurora-postgresql',
        DBClusterIdentifier: `${name}-cluster`,
      }),
    );
    await addNode('node-1');
  });
  afterAll(async () => {
    for (const suffix of ['standby', 'alone', 'node-1', 'node-2'])
      await rds.send(
        new sdk.DeleteDBInstanceCommand({ DBInstanceIdentifier: `${name}-${suffix}`, SkipFinalSnapshot: true }),
      );
    await rds.send(new sdk.DeleteDBClusterCommand({ DBClusterIdentifier: `${name}-cluster`, SkipFinalSnapshot: true }));
    await emulator.stop();
  });

  test('an instance with a standby is rebooted, and is available again', async () => {
    const target = { kind: 'instance', identifier: `${name}-standby` } as const;
    await requireSuccessor(rds, target);
    await failOver(rds, target);
    expect(await isAvailable(rds, target)).toBe(true);
  });

  test('one without a standby is not touched', async () => {
    const target = { kind: 'instance', identifier: `${name}-alone` } as const;
    await expect(requireSuccessor(rds, target)).rejects.toThrow(/has no standby/);
  });

  test('a cluster fails over to its reader, and not before it has one', async () => {
    const target = { kind: 'cluster', identifier: `${name}-cluster` } as const;
    await expect(requireSuccessor(rds, target)).rejects.toThrow(/has no reader/);
    await addNode('node-2');
    await requireSuccessor(rds, target);
    await failOver(rds, target);
    expect(await isAvailable(rds, target)).toBe(true);
    const { DBClusters } = await rds.send(
      new sdk.DescribeDBClustersCommand({ DBClusterIdentifier: target.identifier }),
    );
    const writers = DBClusters![0]!.DBClusterMembers!.filter(({ IsClusterWriter }) => IsClusterWriter);
    expect(writers.map(({ DBInstanceIdentifier }) => DBInstanceIdentifier)).toEqual([`${name}-node-2`]);
  });

  test('one that is not there is an error of RDS', async () => {
    const target = { kind: 'instance', identifier: `${name}-nowhere` } as const;
    await expect(failOver(rds, target)).rejects.toThrow(sdk.DBInstanceNotFoundFault);
  });
});
