import { RdsApi } from '../runtime/guard/rds-api';
import { definition } from '../../lib/server/high-availability/controlled-reboot';
import { answerViolations, errorViolations, requestViolations, taskErrorViolations, taskViolations } from './rds-model';

const VERSION = '2014-10-31';
const violations = (form: Record<string, string>) =>
  requestViolations(new URLSearchParams({ Version: VERSION, ...form }));

test('a call as the SDK writes it has nothing wrong', () => {
  const forms: Record<string, string>[] = [
    { Action: 'RebootDBInstance', DBInstanceIdentifier: 'orders', ForceFailover: 'true' },
    {
      Action: 'DescribeDBInstances',
      'Filters.Filter.1.Name': 'engine',
      'Filters.Filter.1.Values.Value.1': 'postgres',
      MaxRecords: '20',
    },
  ];
  for (const form of forms) expect(violations(form)).toEqual([]);
});

test.each<[string, Record<string, string>, string]>([
  [
    'a misnamed parameter',
    { Action: 'RebootDBInstance', DBInstanceIdentifier: 'orders', ForceFailOver: 'true' },
    'RebootDBInstance: ForceFailOver is not in the model',
  ],
  ['a parameter that is missing', { Action: 'RebootDBInstance' }, 'RebootDBInstance: DBInstanceIdentifier is missing'],
  [
    'a value of another kind',
    { Action: 'RebootDBInstance', DBInstanceIdentifier: 'orders', ForceFailover: 'yes' },
    'RebootDBInstance: ForceFailover is "yes", no boolean',
  ],
  [
    'a list whose elements have another name',
    { Action: 'DescribeDBInstances', 'Filters.member.1.Name': 'engine' },
    'DescribeDBInstances: Filters.member.1.Name is no element of the list: write Filter.1',
  ],
  [
    'a member that its structure does not have',
    { Action: 'DescribeDBInstances', 'Filters.Filter.1.Key': 'engine' },
    'DescribeDBInstances: Filters.Filter.1.Key is not in the model',
  ],
  ['an action that RDS does not have', { Action: 'RestartDBInstance' }, 'RDS has no action "RestartDBInstance"'],
  [
    'another version of the API',
    { Action: 'DescribeDBInstances', Version: '2010-01-01' },
    'DescribeDBInstances: Version is 2010-01-01',
  ],
])('%s is seen', (_what, form, violation) => expect(violations(form)).toEqual([violation]));

const answer = (inside: string) =>
  `<DescribeDBInstancesResponse><DescribeDBInstancesResult>${inside}</DescribeDBInstancesResult></DescribeDBInstancesResponse>`;
const instance = (inside: string) => answer(`<DBInstances><DBInstance>${inside}</DBInstance></DBInstances>`);

test('an answer as RDS writes it has nothing wrong', () => {
  const inside =
    '<DBInstanceIdentifier>a</DBInstanceIdentifier><MultiAZ>true</MultiAZ><AllocatedStorage>20</AllocatedStorage>' +
    '<LatestRestorableTime>2026-11-30T12:00:00Z</LatestRestorableTime><Endpoint><Port>5432</Port></Endpoint>' +
    '<EnabledCloudwatchLogsExports><member>postgresql</member></EnabledCloudwatchLogsExports><TagList></TagList>';
  expect(answerViolations('DescribeDBInstances', instance(inside))).toEqual([]);
});

test.each<[string, string, string]>([
  ['a misnamed element', instance('<MultiAz>true</MultiAz>'), 'DBInstance.MultiAz is not in the model'],
  ['a value of another kind', instance('<MultiAZ>yes</MultiAZ>'), 'DBInstance.MultiAZ is "yes", no boolean'],
  ['text in the place of a structure', instance('<Endpoint>a:5432</Endpoint>'), 'DBInstance.Endpoint is text'],
  [
    'a list whose elements have another name',
    answer('<DBInstances><member/></DBInstances>'),
    'DBInstances.member is no',
  ],
  ['an answer to something else', '<DescribeDBClustersResponse/>', 'the answer has no DescribeDBInstancesResult'],
])('in an answer, %s is seen', (_what, xml, violation) =>
  expect(answerViolations('DescribeDBInstances', xml)).toEqual([expect.stringContaining(violation)]),
);

test('an error has a code of the model, and its status', () => {
  expect(errorViolations('DBInstanceNotFound', 404)).toEqual([]);
  expect(errorViolations('AccessDenied', 403)).toEqual([]);
  expect(errorViolations('DBInstanceNotFound', 400)).toEqual(['DBInstanceNotFound has status 404, not 400']);
  expect(errorViolations('NoSuchInstance', 404)).toEqual(['RDS has no error "NoSuchInstance"']);
});

describe('the stand-in for RDS', () => {
  test('refuses a call that is not of the model, and remembers it', async () => {
    const api = await RdsApi.start();
    const body = new URLSearchParams({ Action: 'RebootDBInstance', Version: VERSION, DBInstanceIdentifer: 'orders' });
    const response = await fetch(api.url, { method: 'POST', body });
    expect(response.status).toBe(400);
    expect(await response.text()).toContain('DBInstanceIdentifer is not in the model');
    await expect(api.stop()).rejects.toThrow(
      /DBInstanceIdentifer is not in the model; .*DBInstanceIdentifier is missing/,
    );
  });

  test('does not give an answer that is not of the model', async () => {
    const api = await RdsApi.start();
    api.instances.push({ identifier: 'orders', engine: 'postgres', engineVersion: '18.1', xml: '<Status>up</Status>' });
    const body = new URLSearchParams({
      Action: 'DescribeDBInstances',
      Version: VERSION,
      DBInstanceIdentifier: 'orders',
    });
    expect((await fetch(api.url, { method: 'POST', body })).status).toBe(500);
    await expect(api.stop()).rejects.toThrow(/DBInstance.Status is not in the model/);
  });
});

interface Task {
  readonly Resource?: string;
  readonly Parameters?: object;
  readonly ResultSelector?: Record<string, string>;
  readonly Retry?: { readonly ErrorEquals: string[] }[];
  readonly ItemProcessor?: { readonly States: Record<string, Task> };
}

const tasksOf = (states: Record<string, Task>): Task[] =>
  Object.values(states).flatMap((state) => [state, ...tasksOf(state.ItemProcessor?.States ?? {})]);

describe('LIB-2: the controlled reboot calls RDS by the names that Step Functions has for its model', () => {
  const common = { identifier: 'orders', readers: () => ['r'], standby: true, nodeNames: () => ['a'] };

  test.each(['instance', 'cluster'] as const)('of %s', (kind) => {
    const { States } = definition({ kind, ...common }) as { States: Record<string, Task> };
    const tasks = tasksOf(States).filter(({ Resource }) => Resource !== undefined);
    expect(tasks.length).toBeGreaterThan(3);
    for (const { Resource, Parameters, ResultSelector, Retry } of tasks) {
      expect(taskViolations(Resource!, Parameters!, Object.values(ResultSelector ?? {}))).toEqual([]);
      expect(taskErrorViolations(Retry!.flatMap(({ ErrorEquals }) => ErrorEquals))).toEqual([]);
    }
  });

  test('another name is seen', () => {
    const sdk = 'arn:aws:states:::aws-sdk:rds:';
    expect(taskViolations(`${sdk}rebootDbInstance`, {}, [])).toEqual(['RDS has no action "rebootDbInstance"']);
    expect(taskViolations(`${sdk}rebootDBInstance`, { 'DBInstanceIdentifier.$': '$' }, [])).toEqual([
      'RebootDBInstance: DBInstanceIdentifier is not in the model',
      'RebootDBInstance: DBInstanceIdentifier is missing',
    ]);
    expect(taskViolations(`${sdk}describeDBInstances`, {}, ['$.DbInstances[0].DBInstanceStatus'])).toEqual([
      'DescribeDBInstances: $.DbInstances[0].DBInstanceStatus names DBInstanceStatus, which is not in the model',
    ]);
    expect(
      taskViolations(`${sdk}describeDBClusters`, {}, ['$.DbClusters[0].DbClusterMembers[?(@.IsWriter == true)]']),
    ).toEqual([expect.stringContaining('names IsWriter, which is not in the model')]);
    expect(taskErrorViolations(['Rds.InvalidDbInstanceStateFault', 'States.TaskFailed'])).toEqual([
      'RDS has no error Rds.InvalidDbInstanceStateFault',
    ]);
  });
});
