import { Match, Template } from 'aws-cdk-lib/assertions';
import { AuroraPostgres, ConflictPolicy, PostgresVersion, RdsPostgres } from '../../../lib';
import { definition } from '../../../lib/server/high-availability/controlled-reboot';
import { errorsOfFivePacks } from '../../compliance/five-packs';
import { OBJECTIVES, cleanStack, quiet } from '../support';

quiet();

const INSTANCE = {
  kind: 'instance',
  identifier: 'orders',
  readers: () => ['replica-1', 'replica-2'],
  standby: true,
  nodeNames: () => [],
} as const;
const CLUSTER = {
  kind: 'cluster',
  identifier: 'orders',
  readers: () => [],
  standby: false,
  nodeNames: () => ['a', 'b', 'c'],
} as const;

interface Machine {
  StartAt: string;
  States: Record<string, any>;
}

/** As much of Step Functions as the definition uses. Each node answers `rebooting` once before it is available. */
function run(machine: Machine, members: { name: string; writer: boolean }[] = []): string[] {
  const calls: string[] = [];
  const busy = new Set<string>();
  const at = (input: any, path: string): any => {
    const filter = /^(.*)\[\?\(@\.IsClusterWriter == (true|false)\)\](?:\.(\w+))?$/.exec(path);
    if (filter) {
      const found = at(input, filter[1]!).filter((one: any) => String(one.IsClusterWriter) === filter[2]);
      return filter[3] ? found.map((one: any) => one[filter[3]!]) : found;
    }
    return path
      .replace(/^\$\.?/, '')
      .split(/[.[\]]+/)
      .filter(Boolean)
      .reduce((value, key) => value?.[key], input);
  };
  const fill = (template: any, input: any) =>
    Object.fromEntries(
      Object.entries(template).map(([k, v]) => (k.endsWith('.$') ? [k.slice(0, -2), at(input, v as string)] : [k, v])),
    );
  const api = (resource: string, parameters: any): any => {
    const action = resource.split(':').pop()!;
    const name = parameters.DbInstanceIdentifier ?? parameters.DbClusterIdentifier;
    if (!action.startsWith('describe'))
      calls.push(`${action} ${name}${parameters.ForceFailover ? ' failing over' : ''}`);
    if (action === 'rebootDBInstance') busy.add(name);
    if (action === 'describeDBInstances') {
      if (busy.size > 1) throw new Error(`two nodes are rebooting: ${[...busy].join(', ')}`);
      return { DbInstances: [{ DbInstanceStatus: busy.delete(name) ? 'rebooting' : 'available' }] };
    }
    const list = members.map(({ name: id, writer }) => ({ DbInstanceIdentifier: id, IsClusterWriter: writer }));
    return { DbClusters: [{ Status: 'available', DbClusterMembers: list }] };
  };
  const step = (one: Machine, start: any): void => {
    let input = start;
    for (let state = one.StartAt; ;) {
      const found = one.States[state];
      if (!found) throw new Error(`no state ${state}`);
      let output: any = input;
      if (found.Type === 'Pass') output = found.Result;
      if (found.Type === 'Task') {
        const answer = api(found.Resource, fill(found.Parameters, input));
        const selected = found.ResultSelector ? fill(found.ResultSelector, answer) : answer;
        if (found.ResultPath === null) output = input;
        else if (found.ResultPath) output = { ...input, [found.ResultPath.slice(2)]: selected };
        else output = selected;
      }
      if (found.Type === 'Map') {
        for (const item of at(input, found.ItemsPath)) {
          const each = found.ItemSelector ? { name: item.DbInstanceIdentifier } : item;
          step(found.ItemProcessor, each);
        }
      }
      if (found.Type === 'Succeed') return;
      input = output;
      if (found.Type === 'Choice') {
        const taken = found.Choices.find((c: any) => {
          const value = at(input, c.Variable);
          return c.IsPresent ? value !== undefined : value === c.StringEquals;
        });
        state = taken ? taken.Next : found.Default;
      } else state = found.Next;
    }
  };
  step(machine, {});
  return calls;
}

describe('LIB-2: the order of a controlled reboot', () => {
  test('of an instance: its replicas one after another, then itself by a failover', () =>
    expect(run(definition(INSTANCE) as Machine)).toEqual([
      'rebootDBInstance replica-1',
      'rebootDBInstance replica-2',
      'rebootDBInstance orders failing over',
    ]));

  test('of an instance without a standby: a restart', () =>
    expect(run(definition({ ...INSTANCE, standby: false, readers: () => [] }) as Machine)).toEqual([
      'rebootDBInstance orders',
    ]));

  test('of a cluster: the readers that it has now, the failover, then the node that was the writer', () =>
    expect(
      run(definition(CLUSTER) as Machine, [
        { name: 'a', writer: false },
        { name: 'b', writer: true },
        { name: 'c', writer: false },
      ]),
    ).toEqual(['rebootDBInstance a', 'rebootDBInstance c', 'failoverDBCluster orders', 'rebootDBInstance b']));

  test('of a cluster without a reader: the writer', () =>
    expect(run(definition(CLUSTER) as Machine, [{ name: 'a', writer: true }])).toEqual(['rebootDBInstance a']));
});

test('LIB-2: it reboots what the app declares and no other, readers that were added late among them', () => {
  const { stack, vpc } = cleanStack();
  const server = new RdsPostgres(stack, 'Postgres', {
    vpc,
    version: PostgresVersion.V18,
    objectives: OBJECTIVES,
    identifier: 'orders',
  });
  server.addControlledReboot();
  server.addReadReplica('Reports', { purpose: 'reports', conflicts: ConflictPolicy.fresh(), identifier: 'reports-1' });
  const template = Template.fromStack(stack);
  const text = JSON.stringify(template.findResources('AWS::IAM::ManagedPolicy'));
  for (const name of ['orders', 'reports-1']) expect(text).toContain(`:db:${name}`);
  const [machine] = Object.values(template.findResources('AWS::StepFunctions::StateMachine'));
  expect(JSON.stringify(machine!.Properties.DefinitionString)).toContain('reports-1');
  expect(machine!.Properties).toMatchObject({
    LoggingConfiguration: { Level: 'ALL' },
    TracingConfiguration: { Enabled: true },
  });
  template.resourcePropertiesCountIs('AWS::Events::Rule', { ScheduleExpression: Match.anyValue() }, 0);
});

test.each(['rds', 'aurora'])('no error in the five packs (%s)', (kind) => {
  const { app, stack, vpc } = cleanStack();
  const props = { vpc, version: PostgresVersion.V17, objectives: OBJECTIVES, identifier: 'orders' };
  const server =
    kind === 'rds' ? new RdsPostgres(stack, 'Postgres', props) : new AuroraPostgres(stack, 'Postgres', props);
  if (server instanceof AuroraPostgres) server.addReaders('Reports', { purpose: 'reports' });
  server.addControlledReboot();
  expect(errorsOfFivePacks(app)).toEqual([]);
});
