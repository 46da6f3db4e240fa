import {
  AuroraPostgres,
  ClusterBackups,
  InstanceBackups,
  PostgresVersion,
  RdsPostgres,
  RestoreTime,
} from '../../../lib';
import { ACCOUNT, REGION, SimulatedStack } from '../../compliance/iam-simulation';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
}));

type Made = ReturnType<typeof cleanStack>;

const common = ({ vpc }: Made) => ({ vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
const rdsArn = (rest: string) => `arn:aws:rds:${REGION}:${ACCOUNT}:${rest}`;
const restoreTo = RestoreTime.utc('2026-01-12T03:04:05Z');
const DESCRIBE: [action: string, resource: string][] = [
  ['rds:DescribeDBInstances', 'db:orders'],
  ['rds:DescribeDBClusters', 'cluster:orders'],
  ['rds:DescribeDBSnapshots', 'snapshot:orders'],
  ['rds:DescribeDBClusterSnapshots', 'cluster-snapshot:orders'],
];

describe.each<[string, string | undefined, (made: Made) => RdsPostgres | AuroraPostgres]>([
  [
    'an instance of an instance',
    'rds:DescribeDBInstances',
    (made) =>
      RdsPostgres.fromPointInTime(made.stack, 'Restored', {
        ...common(made),
        source: InstanceBackups.ofInstance('orders'),
        restoreTo,
      }),
  ],
  [
    'an instance of a snapshot',
    'rds:DescribeDBSnapshots',
    (made) => RdsPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot: 'orders' }),
  ],
  [
    'a cluster of a cluster',
    'rds:DescribeDBClusters',
    (made) =>
      AuroraPostgres.fromPointInTime(made.stack, 'Restored', {
        ...common(made),
        source: ClusterBackups.ofCluster('orders'),
        restoreTo,
      }),
  ],
  [
    'a cluster of a snapshot',
    'rds:DescribeDBClusterSnapshots',
    (made) => AuroraPostgres.fromSnapshot(made.stack, 'Restored', { ...common(made), snapshot: 'orders' }),
  ],
  ['a new instance', undefined, (made) => new RdsPostgres(made.stack, 'Restored', common(made))],
])('BK-18: least privilege of %s', (_what, allowed, make) => {
  const made = cleanStack();
  make(made).addDatabase('app');
  const simulated = new SimulatedStack(made.stack);
  const ask = (role: string, action: string, resource: string) =>
    simulated.ask(role, { action, resource: rdsArn(resource) });

  test.each(DESCRIBE)('the guard may %s on %s only where that is the source', async (action, resource) => {
    const expected = action === allowed ? 'Allowed' : 'ImplicitlyDenied';
    expect(await ask('Restored/Guard/Function/Role', action, resource)).toBe(expected);
    expect(await ask('Restored/Guard/Function/Role', action, `${resource}-2`)).toBe('ImplicitlyDenied');
  });

  test.each(DESCRIBE)('no other function may %s on %s', async (action, resource) => {
    const others = simulated.functionRoles().filter((role) => !role.startsWith('Restored/Guard'));
    expect(others.length).toBeGreaterThan(1);
    for (const role of others) expect(await ask(role, action, resource)).toBe('ImplicitlyDenied');
  });

  test('nobody restores anything', async () => {
    for (const role of simulated.functionRoles()) {
      expect(await ask(role, 'rds:RestoreDBInstanceToPointInTime', 'db:orders')).toBe('ImplicitlyDenied');
      expect(await ask(role, 'rds:RestoreDBClusterToPointInTime', 'cluster:orders')).toBe('ImplicitlyDenied');
    }
  });
});
