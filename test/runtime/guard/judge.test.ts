import { GuardedServer } from '../../../lib/contract/deploy-guard';
import { weigh } from '../../../lib/runtime/guard/acknowledged';
import { canonical, Case, describeObjection, fingerprint, judge } from '../../../lib/runtime/guard/judge';
import { RunningServer } from '../../../lib/runtime/guard/running';
import { CREATE_ONLY, guardedProperties, GuardedType } from '../../../lib/server/guard/create-only';

const instance: GuardedServer = {
  Path: 'App/Postgres',
  LogicalId: 'PostgresResource1',
  Type: 'AWS::RDS::DBInstance',
  Identifier: 'app-postgres',
  EngineVersion: '18',
  ParameterFamily: 'postgres18',
  Class: 'db.r7g.large',
  CreateOnly: {
    DBInstanceIdentifier: 'app-postgres',
    Engine: 'postgres',
    StorageEncrypted: 'true',
    Port: '5433',
    MasterUsername: 'postgres',
    DBSubnetGroupName: 'subnets',
    KmsKeyId: 'arn:aws:kms:eu-west-1:111122223333:key/1',
  },
};

const cluster: GuardedServer = {
  Path: 'App/Postgres',
  LogicalId: 'PostgresResource1',
  Type: 'AWS::RDS::DBCluster',
  Identifier: 'app-postgres',
  EngineVersion: '18',
  ParameterFamily: 'aurora-postgresql18',
  CreateOnly: {
    DBClusterIdentifier: 'app-postgres',
    Engine: 'aurora-postgresql',
    StorageEncrypted: 'true',
    Port: '5433',
    MasterUsername: 'postgres',
    DBSubnetGroupName: 'subnets',
    KmsKeyId: 'arn:aws:kms:eu-west-1:111122223333:key/1',
  },
};

const node: GuardedServer = {
  Path: 'App/Postgres/Node1',
  LogicalId: 'PostgresNode1',
  Type: 'AWS::RDS::DBInstance',
  Identifier: 'app-postgres-1',
  CreateOnly: {
    DBInstanceIdentifier: 'app-postgres-1',
    DBClusterIdentifier: 'app-postgres',
    Engine: 'aurora-postgresql',
  },
};

const SERVERS: Record<GuardedType, GuardedServer> = {
  'AWS::RDS::DBInstance': instance,
  'AWS::RDS::DBCluster': cluster,
};

function ask(desired: GuardedServer[], facts: Partial<Case> & { own?: boolean } = {}) {
  return judge({ desired, running: new Map(), isOwn: () => facts.own ?? true, ...facts });
}

const ids = (objections: readonly { id: string }[]) => objections.map(({ id }) => id);
const running = (server: GuardedServer, engineVersion: string, properties = {}): ReadonlyMap<string, RunningServer> =>
  new Map([[server.LogicalId, { identifier: server.Identifier, engineVersion, properties }]]);
const withProperty = (server: GuardedServer, name: string, value: unknown): GuardedServer => {
  const CreateOnly = { ...server.CreateOnly, [name]: value };
  if (value === undefined) delete CreateOnly[name];
  return { ...server, CreateOnly };
};

const every = (Object.keys(CREATE_ONLY) as GuardedType[]).flatMap((type) =>
  guardedProperties(type).map((name): [GuardedType, string] => [type, name]),
);

test('the walk covers what the requirement names', () => {
  const names = every.map(([type, name]) => `${type} ${name}`);
  for (const expected of [
    'AWS::RDS::DBInstance Port',
    'AWS::RDS::DBCluster Port',
    'AWS::RDS::DBInstance StorageEncrypted',
    'AWS::RDS::DBCluster StorageEncrypted',
    'AWS::RDS::DBCluster SnapshotIdentifier',
    'AWS::RDS::DBInstance DBSnapshotIdentifier',
    'AWS::RDS::DBInstance RestoreTime',
    'AWS::RDS::DBCluster RestoreToTime',
    'AWS::RDS::DBCluster SourceDBClusterIdentifier',
    'AWS::RDS::DBInstance SourceDBInstanceIdentifier',
  ]) {
    expect(names).toContain(expected);
  }
});

describe.each(every)('%s.%s', (type, name) => {
  const server = withProperty(SERVERS[type], name, 'before');

  test('changed: refused, by name and with both values', () => {
    const objections = ask([withProperty(server, name, 'after')], { previous: [server] });
    expect(objections.length).toBeGreaterThan(0);
    expect(objections[0]).toMatchObject({ path: 'App/Postgres', property: name, before: 'before', after: 'after' });
    expect(describeObjection(objections[0])).toMatch(new RegExp(`App/Postgres: ${name} "before" would become "after"`));
  });

  test('unchanged: passes', () => {
    expect(ask([server], { previous: [server] })).toEqual([]);
  });

  const mayGo = name === 'GlobalClusterIdentifier';
  test(`taken away: ${mayGo ? 'passes, since the cluster stays' : 'refused'}`, () => {
    const objections = ask([withProperty(server, name, undefined)], { previous: [server] });
    expect(objections.length > 0).toBe(!mayGo);
  });

  const mayCome = name === 'PerformanceInsightsKMSKeyId';
  test(`added: ${mayCome ? 'passes, since Insights are only switched on' : 'refused'}`, () => {
    const objections = ask([server], { previous: [withProperty(server, name, undefined)] });
    expect(objections.length > 0).toBe(!mayCome);
  });
});

describe('what is the same passes:', () => {
  test('scalars as CloudFormation writes them and as an emulator leaves them', () => {
    const typed = withProperty(withProperty(instance, 'StorageEncrypted', true), 'Port', 5433);
    expect(ask([typed], { previous: [instance] })).toEqual([]);
    expect(fingerprint([typed])).toBe(fingerprint([instance]));
    expect(canonical(['b', 'a'])).toBe(canonical(['a', 'b']));
  });

  test('names in another case', () => {
    expect(ask([withProperty(instance, 'DBSubnetGroupName', 'SUBNETS')], { previous: [instance] })).toEqual([]);
  });

  test('another class, as no server is replaced for it', () => {
    expect(ask([{ ...instance, Class: 'db.r7g.xlarge' }], { previous: [instance] })).toEqual([]);
  });

  test('more and fewer nodes of a cluster', () => {
    expect(ask([cluster, node], { previous: [cluster] })).toEqual([]);
    expect(ask([cluster], { previous: [cluster, node] })).toEqual([]);
  });

  test('a new server where nothing stands', () => {
    expect(ask([cluster, node])).toEqual([]);
  });
});

describe('versions:', () => {
  test.each(['18.4', '18.4-R2', '18'])('a server that upgraded itself to %s passes', (version) => {
    expect(ask([instance], { previous: [instance], running: running(instance, version) })).toEqual([]);
    expect(ask([instance], { running: running(instance, version) })).toEqual([]);
  });

  test('a pinned minor that the server has left behind by itself passes while nobody changes it', () => {
    const pinned = { ...instance, EngineVersion: '18.2' };
    expect(ask([pinned], { previous: [pinned], running: running(instance, '18.4') })).toEqual([]);
  });

  test('a minor upgrade by hand, and the way from a pinned minor to the major version, pass', () => {
    const at = (EngineVersion: string) => ({ ...instance, EngineVersion });
    expect(ask([at('18.10')], { previous: [at('18.4')], running: running(instance, '18.4') })).toEqual([]);
    expect(ask([at('18')], { previous: [at('18.4')], running: running(instance, '18.6') })).toEqual([]);
  });

  test('a major upgrade is refused', () => {
    const before = { ...instance, EngineVersion: '17', ParameterFamily: 'postgres17' };
    expect(ids(ask([instance], { previous: [before], running: running(instance, '17.10') }))).toEqual([
      'guard:major-version',
    ]);
    expect(ids(ask([instance], { previous: [before] }))).toEqual(['guard:major-version']);
  });

  test('a major upgrade that has happened already, by a blue/green deployment, passes', () => {
    const before = { ...instance, EngineVersion: '17', ParameterFamily: 'postgres17' };
    expect(ask([instance], { previous: [before], running: running(instance, '18.4') })).toEqual([]);
  });

  test.each(['17', '18.2'])('a downgrade to %s is refused', (version) => {
    const family = version === '17' ? 'postgres17' : 'postgres18';
    const older = { ...instance, EngineVersion: version, ParameterFamily: family };
    expect(ids(ask([older], { previous: [instance], running: running(instance, '18.4') }))).toEqual([
      'guard:downgrade',
    ]);
  });

  test('parameters of another major version are refused', () => {
    const mixed = { ...instance, ParameterFamily: 'postgres17' };
    const [objection] = ask([mixed]);
    expect(objection.id).toBe('guard:major-version');
    expect(describeObjection(objection)).toMatch(/version 18 cannot use parameters of postgres17/);
  });
});

describe('successors:', () => {
  test('a replacement that starts empty is two objections, so that acknowledging one does not lose the data', () => {
    const moved = { ...withProperty(instance, 'DBInstanceIdentifier', 'other'), Identifier: 'other' };
    expect(ids(ask([moved], { previous: [instance] }))).toEqual(['guard:replacement', 'guard:empty-successor']);
    const restored = withProperty(moved, 'DBSnapshotIdentifier', 'snap');
    expect(ids(ask([restored], { previous: [instance] }))).toEqual(['guard:replacement', 'guard:replacement']);
  });

  test('a replaced node of a cluster loses no data', () => {
    const moved = { ...withProperty(node, 'DBInstanceIdentifier', 'other'), Identifier: 'other' };
    expect(ids(ask([cluster, moved], { previous: [cluster, node] }))).toEqual(['guard:replacement']);
  });

  test('a restore source that goes away is refused', () => {
    const restored = withProperty(cluster, 'SnapshotIdentifier', 'snap');
    expect(ids(ask([cluster], { previous: [restored] }))).toEqual(['guard:empty-successor']);
  });

  test('another kind of server under the same resource is refused', () => {
    expect(ids(ask([cluster], { previous: [instance] }))).toEqual(['guard:engine']);
  });

  test('another kind of server under the same construct is refused', () => {
    const aurora = { ...cluster, LogicalId: 'Other' };
    expect(ids(ask([aurora, node], { previous: [instance] }))).toEqual(['guard:engine']);
  });

  test('another resource of the same kind is refused: empty, or restored', () => {
    const renamed = { ...instance, LogicalId: 'Other' };
    expect(ids(ask([renamed], { previous: [instance] }))).toEqual(['guard:empty-successor']);
    const restored = withProperty(renamed, 'DBSnapshotIdentifier', 'snap');
    expect(ids(ask([restored], { previous: [instance] }))).toEqual(['guard:replacement']);
  });

  test('the engine alone', () => {
    expect(ids(ask([withProperty(instance, 'Engine', 'mysql')], { previous: [instance] }))).toEqual([
      'guard:engine',
      'guard:empty-successor',
    ]);
  });
});

describe('a server that stands while the guard is new:', () => {
  test('of another stack, it is refused', () => {
    expect(ids(ask([instance], { running: running(instance, '18.4'), own: false }))).toEqual([
      'guard:identifier-taken',
    ]);
  });

  test('under the name that a resource is to get, it is refused', () => {
    const moved = { ...withProperty(instance, 'DBInstanceIdentifier', 'other'), Identifier: 'other' };
    const facts = { previous: [instance], running: running(moved, '18.4'), own: false };
    expect(ids(ask([moved], facts))).toEqual(['guard:identifier-taken']);
  });

  test('of this resource, what runs is compared', () => {
    const facts = {
      Engine: 'postgres',
      StorageEncrypted: 'true',
      Port: '5433',
      MasterUsername: 'postgres',
      DBSubnetGroupName: 'subnets',
      KmsKeyId: 'arn:aws:kms:eu-west-1:111122223333:key/1',
    };
    expect(ask([instance], { running: running(instance, '18.4', facts) })).toEqual([]);
    for (const [name, value] of Object.entries(facts)) {
      const other = { ...facts, [name]: `${value}0` };
      const [objection] = ask([instance], { running: running(instance, '18.4', other) });
      expect(objection).toMatchObject({ property: name, before: `${value}0` });
    }
  });

  test('a user name from a secret cannot be compared', () => {
    const secret = withProperty(
      instance,
      'MasterUsername',
      '{{not resolved:secretsmanager:arn:SecretString:username::}}',
    );
    expect(ask([secret], { running: running(instance, '18.4', { MasterUsername: 'postgres' }) })).toEqual([]);
  });

  test('a key by its id is the key by its ARN', () => {
    const byId = withProperty(instance, 'KmsKeyId', '1');
    const facts = { KmsKeyId: 'arn:aws:kms:eu-west-1:111122223333:key/1' };
    expect(ask([byId], { running: running(instance, '18.4', facts) })).toEqual([]);
  });
});

describe('acknowledgements', () => {
  const [objection] = ask([withProperty(instance, 'Port', '5434')], { previous: [instance] });
  const line = { Id: 'guard:replacement', Reason: 'moved by hand on 3 May', Expires: '2026-05-03' };
  const lateThatDay = new Date('2026-05-03T23:59:00Z');

  test('let their own kind pass, through the day that they name', () => {
    const { refused, accepted } = weigh([objection], [line], lateThatDay);
    expect(refused).toEqual([]);
    expect(accepted).toEqual([{ objection, reason: line.Reason, expires: line.Expires }]);
  });

  test.each([
    ['the day after', line, '2026-05-04T00:00:00Z'],
    ['of another kind', { ...line, Id: 'guard:port' }, '2026-05-03T00:00:00Z'],
    ['without reason', { ...line, Reason: ' ' }, '2026-05-03T00:00:00Z'],
    ['with a day that is none', { ...line, Expires: 'soon' }, '2026-05-03T00:00:00Z'],
    ['with a day that its month does not have', { ...line, Expires: '2026-11-31' }, '2026-05-03T00:00:00Z'],
  ])('%s do not', (_, given, now) => {
    expect(weigh([objection], [given], new Date(now)).refused).toEqual([objection]);
  });

  test('that have expired are named', () => {
    expect(weigh([objection], [line], new Date('2026-06-01')).expired).toEqual([line]);
    expect(weigh([objection], [line], lateThatDay).expired).toEqual([]);
  });
});

describe('read replicas (HA-13)', () => {
  const bare = (name: string, CreateOnly: Record<string, unknown>): GuardedServer => ({
    ...instance,
    LogicalId: name,
    Identifier: name.toLowerCase(),
    CreateOnly: { Engine: 'postgres', ...CreateOnly },
  });
  const primary = bare('Primary', {});
  const replica = (name: string, more: object = {}) => bare(name, { SourceDBInstanceIdentifier: 'primary', ...more });
  const found = (previous: GuardedServer[], desired: GuardedServer[]) => ids(ask(desired, { previous, own: true }));

  test('one may go and another come, since a replica holds nothing of its own', () =>
    expect(found([primary, replica('A')], [primary, replica('B')])).toEqual([]));

  test('a server with data that gives way to another with data is refused all the same', () =>
    expect(found([primary, replica('A')], [bare('Other', {}), replica('A')])).toEqual(['guard:empty-successor']));

  test('a replica with another key is refused: it would be made anew', () =>
    expect(found([primary, replica('A')], [primary, replica('A', { KmsKeyId: 'another' })])).toEqual([
      'guard:replacement',
    ]));

  test('a restore to a moment is no replica', () =>
    expect(found([primary], [replica('B', { RestoreTime: '2026-01-01T00:00:00Z' })])).toEqual(['guard:replacement']));
});
