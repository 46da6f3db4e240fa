import { GuardedServer, GuardedSource } from '../../../lib/contract/deploy-guard';
import { checkTemplate } from '../../../lib/runtime/guard';
import { standGuard } from '../../../lib/runtime/handlers/guard';
import { RdsApi } from './rds-api';

let api: RdsApi;
beforeAll(async () => {
  api = await RdsApi.start();
});
afterAll(() => api.stop());
beforeEach(() => {
  api.reset();
  for (const level of ['info', 'warn', 'error'] as const) jest.spyOn(console, level).mockImplementation();
});

const TIME = '2026-05-03T11:00:00Z';

function restored(source: Partial<GuardedSource> = {}, changes: Partial<GuardedServer> = {}): GuardedServer {
  return {
    Path: 'App/Restored',
    LogicalId: 'Restored1',
    Type: 'AWS::RDS::DBInstance',
    Identifier: 'app-restored',
    EngineVersion: '18',
    ParameterFamily: 'postgres18',
    CreateOnly: { DBInstanceIdentifier: 'app-restored', Engine: 'postgres', RestoreTime: TIME },
    Source: { Kind: 'instance', Identifier: 'app-postgres', MasterUsername: 'postgres', RestoreTime: TIME, ...source },
    ...changes,
  };
}

const COMMON = '<MasterUsername>postgres</MasterUsername><AllocatedStorage>400</AllocatedStorage>';
const SOUND =
  COMMON + '<StorageEncrypted>true</StorageEncrypted><LatestRestorableTime>2026-05-03T11:55:00Z</LatestRestorableTime>';
const SOUND_SNAPSHOT = `${COMMON}<Encrypted>true</Encrypted>`;

const fake = (identifier: string, xml = SOUND, engineVersion = '18.4') => ({
  identifier,
  engine: 'postgres',
  engineVersion,
  xml,
});

function ask(server: GuardedServer, acknowledgements: readonly object[] = []) {
  return standGuard(
    {
      type: 'Create',
      stackId: 'arn:aws:cloudformation:eu-west-1:111122223333:stack/app/1',
      properties: { ServiceToken: 'x', Servers: [server], Acknowledgements: acknowledgements },
    } as never,
    api.client(),
    new Date('2026-05-03T12:00:00Z'),
  );
}

test('a restore of what is as the new server says passes', async () => {
  api.instances.push(fake('app-postgres'));
  await expect(ask(restored())).resolves.toMatchObject({ reason: expect.stringMatching(/no server is replaced/) });
  expect(api.calls.map(({ action }) => action)).toEqual(['DescribeDBInstances', 'DescribeDBInstances']);
});

test.each<[string, Partial<GuardedSource>, string, string, RegExp]>([
  ['of another major version', {}, SOUND, '17.5', /"17.5" would become "18".*restore as version 17, and upgrade/],
  [
    'without encryption',
    {},
    SOUND.replace('<StorageEncrypted>true', '<StorageEncrypted>false'),
    '18.4',
    /not encrypted, and a restore does not encrypt it.*copy-db-snapshot --kms-key-id/,
  ],
  [
    'with another master user',
    {},
    SOUND.replace('>postgres<', '>chief<'),
    '18.4',
    /keeps the master user .* set masterUsername: 'chief'/,
  ],
  ['with more storage', { AllocatedStorage: '100' }, SOUND, '18.4', /AllocatedStorage "400" would become "100"/],
  ['with more storage than the ceiling', { MaxAllocatedStorage: '300' }, SOUND, '18.4', /MaxAllocatedStorage "400"/],
  [
    'whose backups do not reach there yet',
    { RestoreTime: '2026-05-03T11:58:00Z' },
    SOUND,
    '18.4',
    /reach to 2026-05-03T11:55:00.000Z yet/,
  ],
])('a restore from a source %s is refused before anything is made', async (_what, source, xml, version, message) => {
  api.instances.push(fake('app-postgres', xml, version));
  await expect(ask(restored(source))).rejects.toThrow(message);
});

test('a minor version that is older than the source is refused, and a newer one is not', async () => {
  api.instances.push(fake('app-postgres'));
  await expect(ask(restored({}, { EngineVersion: '18.3' }))).rejects.toThrow(/"18.4" would become "18.3"/);
  await expect(ask(restored({}, { EngineVersion: '18.6' }))).resolves.toBeDefined();
});

test.each([
  ['postgres', 'aurora-postgresql', 'snapshot', false],
  ['postgres', 'mysql', 'snapshot', false],
  ['aurora-postgresql', 'aurora-mysql', 'cluster-snapshot', false],
  ['aurora-postgresql', 'postgres', 'cluster-snapshot', false],
  ['aurora-postgresql', 'postgres', 'snapshot', true],
  ['postgres', 'postgres', 'cluster-snapshot', true],
] as const)('a server of %s from %s, which is a %s: passes %s', async (engine, found, Kind, passes) => {
  const list = Kind === 'snapshot' ? api.snapshots : api.clusterSnapshots;
  const xml = SOUND_SNAPSHOT.replaceAll('Encrypted>', Kind === 'snapshot' ? 'Encrypted>' : 'StorageEncrypted>');
  list.push({ ...fake('s', xml), engine: found });
  const isAurora = engine === 'aurora-postgresql';
  const server = restored(
    { Kind, Identifier: 's', RestoreTime: undefined },
    {
      Type: isAurora ? 'AWS::RDS::DBCluster' : 'AWS::RDS::DBInstance',
      ParameterFamily: `${engine}18`,
      CreateOnly: { Engine: engine, SnapshotIdentifier: 's' },
    },
  );
  if (passes) await expect(ask(server)).resolves.toBeDefined();
  else await expect(ask(server)).rejects.toThrow(`is of ${found}, and RDS restores it to no other engine`);
});

test('a source that is not there is refused, with what to name instead', async () => {
  await expect(ask(restored())).rejects.toThrow(
    /the instance app-postgres does not exist in this account and region.*found by its resource id.*guard:restore-source/,
  );
});

test('it passes when it is acknowledged', async () => {
  const line = { Id: 'guard:restore-source', Reason: 'the user was renamed', Expires: '2026-05-04' };
  await expect(ask(restored(), [line])).resolves.toMatchObject({
    reason: expect.stringMatching(/the user was renamed/),
  });
});

test('once the server stands its source is not asked for, and may be gone', async () => {
  api.instances.push({
    ...fake('app-restored', '<StorageEncrypted>true</StorageEncrypted>'),
    tags: {
      'aws:cloudformation:stack-id': 'arn:aws:cloudformation:eu-west-1:111122223333:stack/app/1',
      'aws:cloudformation:logical-id': 'Restored1',
    },
  });
  await expect(ask(restored())).resolves.toBeDefined();
  expect(api.calls).toHaveLength(1);
});

test('a cluster: the first and the last moment of its backup', async () => {
  const window =
    '<EarliestRestorableTime>2026-04-20T00:00:00Z</EarliestRestorableTime><LatestRestorableTime>2026-05-03T11:55:00Z</LatestRestorableTime>';
  api.clusters.push({
    ...fake('app-postgres', `<MasterUsername>postgres</MasterUsername>${window}`),
    engine: 'aurora-postgresql',
  });
  const at = (RestoreTime: string) =>
    restored(
      { Kind: 'cluster', RestoreTime },
      { Type: 'AWS::RDS::DBCluster', CreateOnly: { Engine: 'aurora-postgresql', RestoreToTime: RestoreTime } },
    );
  await expect(ask(at('2026-05-01T00:00:00Z'))).resolves.toBeDefined();
  await expect(ask(at('2026-04-19T00:00:00Z'))).rejects.toThrow(/begin at 2026-04-20T00:00:00.000Z/);
  await expect(ask(at('2026-05-03T11:59:00Z'))).rejects.toThrow(/reach to 2026-05-03T11:55/);
});

test('snapshots: by name, and shared ones by their ARN', async () => {
  const arn = 'arn:aws:rds:eu-west-1:210987654321:snapshot:shared';
  api.snapshots.push(fake('before', SOUND_SNAPSHOT), fake(arn, SOUND_SNAPSHOT, '17.9'));
  await expect(
    ask(restored({ Kind: 'snapshot', Identifier: 'before', RestoreTime: undefined })),
  ).resolves.toBeDefined();
  await expect(ask(restored({ Kind: 'snapshot', Identifier: arn, RestoreTime: undefined }))).rejects.toThrow(/"17.9"/);
  const shared = api.calls.filter(({ action }) => action === 'DescribeDBSnapshots');
  expect(shared.map(({ form }) => form.get('IncludeShared'))).toEqual([null, 'true']);
});

test('an unencrypted cluster snapshot is encrypted by its restore', async () => {
  api.clusterSnapshots.push(fake('before', `${COMMON}<StorageEncrypted>false</StorageEncrypted>`));
  const server = restored({ Kind: 'cluster-snapshot', Identifier: 'before' }, { Type: 'AWS::RDS::DBCluster' });
  await expect(ask(server)).resolves.toBeDefined();
});

describe('the snapshot of a Multi-AZ DB cluster, for an instance', () => {
  const arn = 'arn:aws:rds:eu-west-1:210987654321:cluster-snapshot:before';
  const sound = fake(arn, `${COMMON}<StorageEncrypted>true</StorageEncrypted>`);
  test.each<[string, object, string, RegExp | undefined]>([
    ['is taken', {}, '400', undefined],
    ['larger than the instance, is refused', {}, '100', /storage does not shrink/],
    [
      'not encrypted, is refused',
      { xml: `${COMMON}<StorageEncrypted>false</StorageEncrypted>` },
      '400',
      /is not encrypted/,
    ],
    [
      'of Aurora, is refused',
      { engine: 'aurora-postgresql' },
      '400',
      /is of aurora-postgresql, and RDS restores it to no other engine/,
    ],
  ])('%s', async (_what, change, AllocatedStorage, refusal) => {
    api.clusterSnapshots.push({ ...sound, ...change });
    const asked = ask(
      restored({ Kind: 'cluster-snapshot', Identifier: arn, RestoreTime: undefined, AllocatedStorage }),
    );
    if (refusal) await expect(asked).rejects.toThrow(refusal);
    else await expect(asked).resolves.toBeDefined();
  });
});

test('a guard that may not look says what it cannot see', async () => {
  api.instances.push(fake('app-postgres'));
  api.failure = 'AccessDenied';
  await expect(ask(restored())).rejects.toThrow(/cannot see whether app-restored runs: AccessDenied/);
});

test('cdk-postgres check says the same before a deployment', async () => {
  api.instances.push(fake('app-postgres', SOUND, '17.5'));
  const template = {
    Resources: { Guard: { Type: 'Custom::CdkPostgresDeployGuard', Properties: { Servers: [restored()] } } },
  };
  const [report] = await checkTemplate({ template, client: api.client() });
  expect(report).toMatchObject({ guard: 'refuses', objections: [expect.stringMatching(/restore as version 17/)] });
});
