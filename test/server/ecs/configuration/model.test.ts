import { checkModel, ClusterModel, modelProblems } from '../../../../lib/server/ecs/configuration';
import { model } from './cluster-model';

test('a cluster as a production is has nothing wrong', () => {
  expect(modelProblems(model())).toEqual([]);
});

test('tokens are left to the deployment', () => {
  const token = '${Token[TOKEN.1]}';
  const { backup } = model();
  expect(
    modelProblems(
      model({ namespace: token, networks: [token], routerHosts: [token], backup: { ...backup!, bucket: token } }),
    ),
  ).toEqual([]);
});

test.each<[string, Partial<ClusterModel>, RegExp]>([
  ['a name that is none of a stanza', { name: 'Orders_1' }, /^name: "Orders_1" must be/],
  ['two members', { members: 2 as 3 }, /^members: 2 is neither 1 nor 3; of two members neither may go on alone/],
  ['a synchronous cluster of one', { members: 1 }, /^synchronous: one member has nobody to wait for/],
  ['no network', { networks: [] }, /^networks: name at least one/],
  ['a network that is none', { networks: ['10.0.0.0'] }, /^networks: "10.0.0.0" is no CIDR block/],
  ['an administrator who is the superuser', { adminUser: 'postgres' }, /^adminUser: "postgres" must be/],
  [
    'slots that do not outlive a failover',
    { majorVersion: 16, logicalSlots: { cdc: { database: 'app' } } },
    /from 17 on, and this is 16/,
  ],
  ['the slot of a member', { logicalSlots: { pg_1: { database: 'app' } } }, /^logicalSlots: "pg_1" must be/],
  [
    'an option that an ini file would take for two',
    { backup: { bucket: 'a\nrepo1-cipher-type=none', region: 'eu-central-1', retentionDays: 7 } },
    /^backup.bucket: .* line break/,
  ],
  [
    'half a day',
    { backup: { bucket: 'a', region: 'eu-central-1', retentionDays: 0.5 } },
    /^backup.retentionDays: 0.5 must be/,
  ],
])('%s is refused with what is wrong', (_, changes, message) => {
  const problems = modelProblems(model(changes));
  expect(problems).toEqual([expect.stringMatching(message)]);
  expect(() => checkModel(model(changes))).toThrow(/^the cluster .* cannot be configured:\n- /);
});

describe('what a cluster begins with', () => {
  const bootstrap = (target: object, stanza = 'billing') =>
    model({
      bootstrap: {
        stanza,
        repository: { bucket: 'orders-backups', region: 'eu-central-1' },
        target,
      } as ClusterModel['bootstrap'],
    });

  test.each([
    [{ type: 'latest' }],
    [{ type: 'immediate' }],
    [{ type: 'time', value: '2026-03-01 12:00:00.5+00' }],
    [{ type: 'lsn', value: '0/3000060' }],
    [{ type: 'name', value: 'before the release' }],
    [{ type: 'xid', value: '731', exclusive: true, timeline: '3' }],
  ])('%j is a target', (target) => expect(modelProblems(bootstrap(target))).toEqual([]));

  test('a time without a zone would be one of the server', () => {
    expect(modelProblems(bootstrap({ type: 'time', value: '2026-03-01 12:00:00' }))).toEqual([
      'bootstrap.target: "2026-03-01 12:00:00" is no time; write one with its zone, such as 2026-03-01 12:00:00+00',
    ]);
  });

  test('a value that another parameter could be written into is refused', () => {
    expect(modelProblems(bootstrap({ type: 'name', value: "x' '" }))).toEqual([expect.stringContaining('is no name')]);
  });

  test('the repository that is restored from is not archived to', () => {
    expect(modelProblems(bootstrap({ type: 'latest' }, 'orders'))).toEqual([
      expect.stringContaining('would archive to where it is restored from'),
    ]);
  });
});

describe('parameters', () => {
  const problems = (parameters: Record<string, string>) => modelProblems(model({ parameters }));

  test('numbers, units, choices and those of extensions', () => {
    expect(
      problems({ shared_buffers: '4GB', work_mem: '65536', wal_compression: 'zstd', jit: 'off', 'pgaudit.log': 'ddl' }),
    ).toEqual([]);
  });

  test.each([
    [
      { synchronous_standby_names: '*' },
      'parameters: synchronous_standby_names: leave it out: Patroni sets it; see synchronous',
    ],
    [{ fsync: 'off' }, 'parameters: fsync: leave it out: without it a crash destroys the data'],
    [{ archive_command: 'true' }, 'parameters: archive_command: leave it out: see backup'],
    [{ recovery_target_time: 'now' }, 'parameters: recovery_target_time: leave it out: see bootstrap.target'],
    [
      { shared_bufers: '1GB' },
      'parameters: shared_bufers: PostgreSQL has no such parameter; did you mean shared_buffers?',
    ],
    [{ max_connections: '0' }, 'parameters: max_connections: 0 must be 1 to 262143'],
    [{ work_mem: 'much' }, 'parameters: work_mem: "much": write a number in kB, or with its unit, such as 1kB'],
    [{ wal_compression: 'gzip' }, 'parameters: wal_compression: "gzip" must be one of pglz, on, off, lz4, zstd'],
    [{ jit: 'maybe' }, 'parameters: jit: "maybe": write on or off'],
  ])('%j is refused', (parameters, message) => expect(problems(parameters as never)).toEqual([message]));
});
