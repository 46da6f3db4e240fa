import { failOver, isAvailable, readTarget, requireSuccessor } from '../../../lib/runtime/failover';
import { RdsApi } from '../guard/rds-api';

let api: RdsApi;
beforeAll(async () => {
  api = await RdsApi.start();
});
afterAll(() => api.stop());
beforeEach(() => api.reset());

const INSTANCE = { kind: 'instance', identifier: 'orders' } as const;
const CLUSTER = { kind: 'cluster', identifier: 'orders' } as const;
const member = (writer: boolean) =>
  `<DBClusterMember><DBInstanceIdentifier>n${writer}</DBInstanceIdentifier><IsClusterWriter>${writer}</IsClusterWriter></DBClusterMember>`;

function put(kind: 'instances' | 'clusters', xml: string): void {
  api[kind].push({ identifier: 'orders', engine: 'postgres', engineVersion: '18.1', xml });
}

test('HA-17: an instance is rebooted with its failover forced', async () => {
  put('instances', '<MultiAZ>true</MultiAZ><DBInstanceStatus>available</DBInstanceStatus>');
  const client = api.client();
  await requireSuccessor(client, INSTANCE);
  await failOver(client, INSTANCE);
  expect(await isAvailable(client, INSTANCE)).toBe(true);
  const call = api.calls.find(({ action }) => action === 'RebootDBInstance')!;
  expect(Object.fromEntries(call.form)).toMatchObject({ DBInstanceIdentifier: 'orders', ForceFailover: 'true' });
});

test('HA-17: a cluster is failed over to a reader of its choice', async () => {
  put('clusters', `<Status>available</Status><DBClusterMembers>${member(true)}${member(false)}</DBClusterMembers>`);
  const client = api.client();
  await requireSuccessor(client, CLUSTER);
  await failOver(client, CLUSTER);
  const call = api.calls.find(({ action }) => action === 'FailoverDBCluster')!;
  expect(Object.fromEntries(call.form)).toMatchObject({ DBClusterIdentifier: 'orders' });
});

test.each([
  ['an instance without a standby', INSTANCE, 'instances', '<MultiAZ>false</MultiAZ>', /has no standby/],
  [
    'an instance that is being changed',
    INSTANCE,
    'instances',
    '<MultiAZ>true</MultiAZ><DBInstanceStatus>modifying</DBInstanceStatus>',
    /orders is modifying, not available/,
  ],
  [
    'a cluster of one node',
    CLUSTER,
    'clusters',
    `<Status>available</Status><DBClusterMembers>${member(true)}</DBClusterMembers>`,
    /has no reader/,
  ],
] as const)('%s is not made to fail over', async (_what, target, kind, xml, message) => {
  put(kind, xml);
  await expect(requireSuccessor(api.client(), target)).rejects.toThrow(message);
  expect(api.calls.map(({ action }) => action)).not.toContain('RebootDBInstance');
});

test('a target that is none is refused', () => {
  expect(readTarget('{"kind":"cluster","identifier":"a"}')).toEqual({ kind: 'cluster', identifier: 'a' });
  for (const text of [undefined, '{}', '{"kind":"x","identifier":"a"}', '{"kind":"cluster"}']) {
    expect(() => readTarget(text)).toThrow(/does not know what to fail over/);
  }
});
