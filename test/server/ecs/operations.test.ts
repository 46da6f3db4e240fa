import { Duration, Stack } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { HbaRule, Pooler, SharedPostgres } from '../../../lib';
import { CLUSTER_METRICS } from '../../../lib/contract';
import { handler } from '../../pooling/support';
import { cluster, ephemeral, quiet, Resources } from './support';

quiet();

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
  clusterImage: () => jest.requireActual('../../pooling/fake-image').fakeImage(),
}));

/** The text that an intrinsic function makes, with what is not known in angle brackets. */
function text(value: any): string {
  if (typeof value === 'string') return value;
  if (value.Ref) return `<${value.Ref}>`;
  if (value['Fn::GetAtt']) return `<${value['Fn::GetAtt'].join('.')}>`;
  return value['Fn::Join'][1].map(text).join(value['Fn::Join'][0]);
}

const functionOf = (resources: Resources) =>
  resources.of('AWS::Lambda::Function').find(([id]) => id.includes('OperationsFunction'))![1].Properties;

test('the function knows the members and etcd by their names in DNS', () => {
  const resources = new Resources(cluster().stack);
  const reference = JSON.parse(text(functionOf(resources).Environment.Variables.CDK_POSTGRES_CLUSTER_REFERENCE));
  expect(reference).toMatchObject({
    Scope: 'orders',
    Members: ['pg-1', 'pg-2', 'pg-3'].map((name) => `${name}=${name}.orders.internal:8008`),
    Etcd: ['etcd-1', 'etcd-2', 'etcd-3'].map((name) => `${name}=${name}.orders.internal:2379`),
    Synchronous: true,
  });
  expect(reference.CertificateSecret).toMatch(/OperatorCertificateSecret/);
  expect(reference.RestApiSecret).toMatch(/RestApiSecret/);
});

test("Patroni's dynamic configuration is kept as declared, parameters one by one and the rest as JSON", () => {
  const { stack } = cluster({
    parameters: { work_mem: '16MB' },
    hba: [HbaRule.scramSha256({ databases: ['app'], address: '10.1.0.0/16' })],
  });
  const [[, { Properties }]] = new Resources(stack).of('Custom::CdkPostgresClusterParameters') as [[string, any]];
  expect(Properties.Parameters).toMatchObject({ work_mem: '16MB', wal_level: 'logical', max_connections: '409' });
  expect(Properties.Restart).toBe('report');
  const setting = (name: string) => JSON.parse(text(Properties.Settings[name]));
  expect(setting('synchronous_mode')).toBe('quorum');
  expect(setting('synchronous_mode_strict')).toBe(true);
  expect(setting('ttl')).toBe(20);
  const hba: string[] = setting('postgresql.pg_hba');
  expect(hba).toContain('hostssl "app" all 10.1.0.0/16 scram-sha-256');
  expect(hba.at(-1)).toBe('host all all all reject');
  expect(Properties.Settings.postgresql).toBeUndefined();
});

test('HA-19: slots that outlive a failover are among it, each by its name, so that one that goes out of the app is taken back', () => {
  const { stack } = cluster({ logicalSlots: [{ name: 'cdc', database: 'app' }] });
  const [[, { Properties }]] = new Resources(stack).of('Custom::CdkPostgresClusterParameters') as [[string, any]];
  expect(JSON.parse(text(Properties.Settings['slots.cdc']))).toEqual({
    type: 'logical',
    database: 'app',
    plugin: 'pgoutput',
  });
  expect(Properties.Parameters.hot_standby_feedback).toBe('on');
});

test('a deployment restarts members for a parameter where that is asked for', () => {
  const { stack } = cluster({ restartForParameters: true });
  const [[, { Properties }]] = new Resources(stack).of('Custom::CdkPostgresClusterParameters') as [[string, any]];
  expect(Properties.Restart).toBe('ordered');
});

test('parameters follow the memory of the host and the size of the volume', () => {
  const { server } = cluster();
  expect(server._model.parameters).toMatchObject({
    shared_buffers: '4096MB',
    effective_cache_size: '11468MB',
    max_slot_wal_keep_size: '25600',
    shared_preload_libraries: 'pg_stat_statements,pgaudit',
  });
  expect(Object.keys(server._model.parameters).filter((name) => name.startsWith('rds.'))).toEqual([]);
});

test('HA-20: there is an alarm for what the cluster says of itself, and one alone speaks when nothing is measured', () => {
  const { stack, server } = cluster();
  const alarms = new Resources(stack).of('AWS::CloudWatch::Alarm').map(([, { Properties }]) => Properties);
  const watched = alarms.map(({ MetricName }) => MetricName);
  for (const metric of [
    'LeaderMissing',
    'LeaderChanges',
    'MembersMissing',
    'SynchronousStandbyMissing',
    'EtcdMembersUnhealthy',
    'ArchiveFailures',
    'WalReadySeconds',
    'BackupSeconds',
    'VolumeUsedPercent',
    'VolumeSwitchovers',
  ])
    expect(watched).toContain(metric);
  for (const metric of watched) expect(CLUSTER_METRICS).toContain(metric);
  expect(
    alarms.filter(({ TreatMissingData }) => TreatMissingData === 'breaching').map(({ MetricName }) => MetricName),
  ).toEqual(['WatchFailed']);
  expect(server.alarms).toHaveLength(alarms.length);
  for (const { AlarmActions, Dimensions } of alarms) {
    expect(AlarmActions).toHaveLength(1);
    expect(Dimensions).toEqual([
      { Name: 'Server', Value: { 'Fn::GetAtt': [expect.stringContaining('Cluster'), 'Arn'] } },
    ]);
  }
});

test('nobody waits for a standby where commits do not, and no alarm says that one is missing', () => {
  const { stack } = cluster({ objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(1) } });
  const watched = new Resources(stack).of('AWS::CloudWatch::Alarm').map(([, { Properties }]) => Properties.MetricName);
  expect(watched).not.toContain('SynchronousStandbyMissing');
});

test('a development has no alarms, and the look at it all the same', () => {
  const resources = new Resources(ephemeral().stack);
  expect(resources.of('AWS::CloudWatch::Alarm')).toEqual([]);
  expect(resources.of('AWS::Events::Rule')).toHaveLength(1);
});

test('the name of the function that operates the cluster is an output', () => {
  const { stack } = cluster();
  const outputs = Object.values(Template.fromStack(stack).findOutputs('*'));
  expect(outputs.map(({ Description }) => Description)).toContainEqual(expect.stringContaining('cdk-postgres ecs'));
});

describe('what is declared inside works as on Aurora', () => {
  test('a client gets host, port and the root of the server', () => {
    const made = cluster();
    const client = handler(made);
    made.server.acknowledge({ id: 'CP-1', reason: 'What a client gets is what is looked at' });
    made.server.addDatabase('app').addLoginRole('api').grantConnect(client);
    const resources = new Resources(made.stack);
    const { Variables } = resources.of('AWS::Lambda::Function').find(([id]) => id.startsWith('Handler'))![1].Properties
      .Environment;
    expect(Variables.PGPORT).toBe('5432');
    expect(Variables.PGSSLROOTPEM['Fn::GetAtt'][1]).toBe('CaCertificate');
    expect(resources.all[Variables.PGSSLROOTPEM['Fn::GetAtt'][0]]!.Type).toBe('Custom::CdkPostgresPoolerCertificate');
    expect(Variables.PGHOST['Fn::GetAtt'][1]).toBe('DNSName');
  });

  test('a client of the replicas gets their port, and is let in there alone', () => {
    const made = cluster();
    const client = handler(made);
    made.server.acknowledge({ id: 'CP-1', reason: 'What a client gets is what is looked at' });
    made.server
      .addDatabase('app')
      .addLoginRole('report')
      .grantConnect(client, { endpoint: made.server.readerEndpoint });
    const resources = new Resources(made.stack);
    const { Variables } = resources.of('AWS::Lambda::Function').find(([id]) => id.startsWith('Handler'))![1].Properties
      .Environment;
    expect(Variables.PGPORT).toBe('5433');
    const ports = resources
      .of('AWS::EC2::SecurityGroupIngress')
      .filter(([, { Properties }]) => text(Properties.SourceSecurityGroupId).includes('Handler'))
      .map(([, { Properties }]) => Properties.FromPort);
    expect(ports).toEqual([5433]);
  });

  test('the functions trust the root of the server, as it is and within a text of JSON', () => {
    const { stack, server } = cluster();
    server.addDatabase('app');
    const resources = new Resources(stack);
    const [[, state]] = resources.of('Custom::CdkPostgresState') as [[string, any]];
    expect(state.Properties.Server).toMatchObject({ Platform: 'external', Port: 5432 });
    expect(text(state.Properties.Server.Trust)).toMatch(/\.CaCertificate>$/);
    const rotate = resources.of('AWS::Lambda::Function').find(([id]) => id.includes('Rotate'))![1].Properties;
    const reference = JSON.parse(text(rotate.Environment.Variables.CDK_POSTGRES_SERVER));
    expect(reference.Trust).toMatch(/\.CaCertificateLine>$/);
  });

  test('another stack that declares inside of it trusts its root too, as it is and within a text of JSON', () => {
    const { app, server } = cluster();
    const other = new Stack(app, 'Other', { env: { account: '123456789012', region: 'eu-central-1' } });
    server.addVpcEndpoints();
    SharedPostgres.fromServer(other, 'Postgres', server).addDatabase('other').addLoginRole('api');
    const template = Template.fromStack(other).toJSON().Resources as Record<string, { Type: string; Properties: any }>;
    const state = Object.values(template).find(({ Type }) => Type === 'Custom::CdkPostgresState')!;
    expect(JSON.stringify(state.Properties.Server.Trust)).toMatch(/CaCertificate[0-9A-F]{8}"/);
    const rotate = Object.entries(template).find(
      ([id, { Type }]) => Type === 'AWS::Lambda::Function' && id.includes('Rotate'),
    )!;
    expect(JSON.stringify(rotate[1].Properties.Environment)).toContain('CaCertificateLine');
  });

  test('the recommended pooler is PgBouncer, which trusts the root of the server and has one of its own for clients', () => {
    const made = cluster();
    const pool = made.server.addPooler('Pool', Pooler.recommended());
    const client = handler(made);
    made.server.addDatabase('app').addLoginRole('api').grantConnect(client, { through: pool });
    const resources = new Resources(made.stack);
    const task = resources.of('AWS::ECS::TaskDefinition').find(([id]) => id.includes('PoolTask'))![1].Properties;
    const [variable] = task.ContainerDefinitions[0].Environment;
    const document = JSON.parse(text(variable.Value));
    expect(document.server.trust).toMatch(/\.CaCertificateLine>$/);
    expect(document.server.port).toBe(5432);
    const { Variables } = resources.of('AWS::Lambda::Function').find(([id]) => id.startsWith('Handler'))![1].Properties
      .Environment;
    expect(text(Variables.PGSSLROOTPEM)).toMatch(/^<PostgresPoolCertificate/);
  });

  test('RDS Proxy does not stand before it', () => {
    expect(() => cluster().server.addPooler('Pool', Pooler.rdsProxy())).toThrow(/use Pooler\.pgBouncer\(\)/);
  });
});
