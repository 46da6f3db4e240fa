import { checkTemplate } from '../../../lib/runtime/guard/check';
import { RdsApi } from './rds-api';

let api: RdsApi;
beforeAll(async () => {
  api = await RdsApi.start();
});
afterAll(() => api.stop());
beforeEach(() => api.reset());

const template = (properties: object = {}, acknowledgements?: object[]) => ({
  Resources: {
    Guard: {
      Type: 'Custom::CdkPostgresDeployGuard',
      Metadata: {
        'cdk-postgres': {
          defaults: 'V1',
          staticParameters: { Group: ['max_connections', 'shared_preload_libraries'] },
        },
      },
      Properties: {
        Servers: [
          {
            Path: 'App/Postgres',
            LogicalId: 'Postgres1',
            Type: 'AWS::RDS::DBInstance',
            Identifier: 'app-postgres',
            EngineVersion: '18',
            ParameterFamily: 'postgres18',
            CreateOnly: { Engine: 'postgres', Port: '5433', KmsKeyId: { 'Fn::GetAtt': ['Key', 'Arn'] }, ...properties },
          },
        ],
        Acknowledgements: acknowledgements,
      },
    },
    Postgres1: { Type: 'AWS::RDS::DBInstance', Properties: { DBParameterGroupName: { Ref: 'Group' } } },
    Group: {
      Type: 'AWS::RDS::DBParameterGroup',
      Properties: {
        Family: 'postgres18',
        Parameters: {
          shared_preload_libraries: 'pg_stat_statements,pgaudit',
          max_connections: '200',
          log_lock_waits: '1',
        },
      },
    },
    Other: { Type: 'AWS::S3::Bucket' },
  },
});

function runs(engineVersion = '18.4', status = 'in-sync') {
  api.instances.push({
    identifier: 'app-postgres',
    engine: 'postgres',
    engineVersion,
    xml:
      '<Endpoint><Port>5433</Port></Endpoint><KmsKeyId>arn:aws:kms:eu-west-1:1:key/a</KmsKeyId><DBParameterGroups><DBParameterGroup>' +
      `<DBParameterGroupName>app-group</DBParameterGroupName><ParameterApplyStatus>${status}</ParameterApplyStatus></DBParameterGroup></DBParameterGroups>`,
    tags: { 'aws:cloudformation:logical-id': 'Postgres1' },
  });
  api.parameters['app-group'] = { shared_preload_libraries: 'pg_stat_statements,pgaudit', max_connections: '100' };
}

async function check(given: object) {
  const client = api.client();
  const reports = await checkTemplate({ template: given, client, now: new Date('2026-05-03') });
  client.destroy();
  return reports;
}

test('a template without a guarded server has no report', async () => {
  expect(await checkTemplate({ template: { Resources: { Other: { Type: 'AWS::S3::Bucket' } } } })).toEqual([]);
});

test('without credentials it says what the template says, and what is unknown', async () => {
  const [report] = await checkTemplate({ template: template() });
  expect(report).toEqual({
    construct: 'App/Postgres',
    logicalIds: ['Postgres1'],
    defaults: 'V1',
    newerDefaults: ['V2'],
    servers: [{ identifier: 'app-postgres', declaredVersion: '18', runningVersion: undefined }],
    guard: 'unknown',
    objections: [],
    notes: [],
    reboots: [
      { parameterGroup: 'Group', parameter: 'max_connections', declared: '200', needsReboot: 'unknown' },
      {
        parameterGroup: 'Group',
        parameter: 'shared_preload_libraries',
        declared: 'pg_stat_statements,pgaudit',
        needsReboot: 'unknown',
      },
    ],
  });
});

test('with credentials it names the static parameters that differ from those in force', async () => {
  runs();
  const [report] = await check(template());
  expect(report.guard).toBe('passes');
  expect(report.servers[0].runningVersion).toBe('18.4');
  expect(report.reboots).toEqual([
    { parameterGroup: 'Group', parameter: 'max_connections', declared: '200', needsReboot: 'yes', running: '100' },
  ]);
});

test('a group that waits for its reboot already is named whatever its values are', async () => {
  runs('18.4', 'pending-reboot');
  const [report] = await check(template());
  expect(report.reboots.map(({ parameter }) => parameter)).toEqual(['max_connections', 'shared_preload_libraries']);
});

test('a server that does not stand yet starts with its parameters', async () => {
  const [report] = await check(template());
  expect(report).toMatchObject({ guard: 'passes', reboots: [] });
});

test('it says what the guard would refuse, and what an acknowledgement lets pass', async () => {
  runs('17.10');
  const [refused] = await check(template({ Port: '5434' }));
  expect(refused.guard).toBe('refuses');
  expect(refused.objections).toEqual([
    expect.stringContaining('Port "5433" would become "5434"'),
    expect.stringContaining('EngineVersion "17.10" would become "18"'),
  ]);
  const acknowledgements = [
    { Id: 'guard:major-version', Reason: 'rehearsed', Expires: '2026-05-03' },
    { Id: 'guard:port', Reason: 'long ago', Expires: '2026-01-01' },
  ];
  const [passes] = await check(template({}, acknowledgements));
  expect(passes).toMatchObject({
    guard: 'passes',
    notes: [
      'guard:major-version would pass: rehearsed',
      'the acknowledgement of guard:port has expired on 2026-01-01: remove it',
    ],
  });
});
