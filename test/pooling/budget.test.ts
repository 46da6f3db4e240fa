import {
  Stack,
  aws_ec2 as ec2,
  aws_ecs as ecs,
  aws_iam as iam,
  aws_lambda as lambda,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { App } from 'aws-cdk-lib';
import { Consumer, ExternalPostgres, Pooler, PostgresProfile, SharedPostgres } from '../../lib';
import { balance, budgetLines, BudgetDocument } from '../../lib/contract';
import { ConnectionBudget } from '../../lib/pooling';
import { readAssembly } from '../../lib/runtime/preview/assembly';
import { aurora, cleanStack, findingsOf, handler, instance, quiet, saidOf } from './support';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const of = (server: object): BudgetDocument => ConnectionBudget.of(server as never).document();
const row = (server: object, kind: string, who = '') =>
  of(server).entries.find((entry) => entry.kind === kind && entry.who.includes(who));

describe('CP-2: what the server takes', () => {
  test('is what RDS makes of the memory of the class, less what the operating system has', () => {
    expect(of(instance().server)).toMatchObject({
      server: 'Test/Postgres',
      maxConnections: Math.floor((16 * 1024 ** 3 * 0.95) / 9531392),
      how: 'what RDS makes of the memory of r7g.large',
    });
  });

  test('is the parameter where there is one, a number or a formula', () => {
    expect(of(instance({ parameters: { max_connections: '300' } }).server)).toMatchObject({
      maxConnections: 300,
      how: 'the parameter max_connections',
    });
    expect(
      of(instance({ parameters: { max_connections: 'LEAST({DBInstanceClassMemory/33554432},400)' } }).server),
    ).toMatchObject({ maxConnections: 400 });
  });

  test('is 2,000 at most where a serverless cluster gets as small as half a unit', () => {
    const most = (minCapacity: number) =>
      of(aurora({ serverlessV2: { minCapacity, maxCapacity: 64 } }).server).maxConnections;
    expect(most(0.5)).toBe(2000);
    expect(most(1)).toBe(5000);
  });

  test('is stated of an external server, or not known', () => {
    const external = (maxConnections?: number) => {
      const { stack } = cleanStack();
      const adminSecret = new secretsmanager.Secret(stack, 'Admin');
      return ExternalPostgres.fromEndpoint(stack, 'Db', {
        host: 'db.example.com',
        adminSecret,
        identity: 'one',
        maxConnections,
      });
    };
    expect(of(external(60))).toMatchObject({ maxConnections: 60, how: 'maxConnections, as stated', verdict: 'fits' });
    expect(of(external())).toMatchObject({
      maxConnections: undefined,
      how: 'not known: state maxConnections of the server',
      verdict: 'unknown',
    });
    expect(() => external(0)).toThrow(/Test\/Db: maxConnections is 0; write the server's max_connections/);
  });
});

describe('CP-4: what consumers take at the worst moment', () => {
  test('a function without a pooler: its reserved concurrency, times its pool', () => {
    const made = instance();
    made.server.acknowledge({ id: 'CP-1', reason: 'it listens' });
    const app = made.server.addDatabase('app');
    app.addLoginRole('api').grantConnect(handler(made));
    app.addLoginRole('job').grantConnect(handler(made, 'Job'), { poolSize: 3 });
    expect(row(made.server, 'direct', 'Handler')).toMatchObject({ connections: 20, how: '20 concurrent runs' });
    expect(row(made.server, 'direct', 'Job')).toMatchObject({
      connections: 60,
      how: '20 concurrent runs × 3 connections',
    });
  });

  test('one behind a pooler takes none of its own, since the pooler lends them', () => {
    const made = instance();
    const pool = made.server.addPooler('Pool');
    made.server.addDatabase('app').addLoginRole('api').grantConnect(handler(made), { through: pool });
    expect(row(made.server, 'direct')).toBeUndefined();
    const { maxConnections } = of(made.server);
    expect(row(made.server, 'RDS Proxy')).toMatchObject({
      connections: Math.ceil(maxConnections! * 0.8),
      how: '80 % of max_connections',
    });
  });

  test('a service: its tasks while a deployment doubles them, times their pool', () => {
    const made = instance();
    const service = fargateService(made, { desiredCount: 3, maxHealthyPercent: 150 });
    const app = made.server.addDatabase('app');
    app.addLoginRole('api').grantConnect(Consumer.ecsService(service, { poolSize: 10 }));
    app
      .addLoginRole('web')
      .grantConnect(Consumer.ecsService(service, { poolSize: 10, maxTasks: 8 }), { environment: false });
    expect(row(made.server, 'direct', 'as api')).toMatchObject({
      connections: 40,
      how: '3 tasks, 4 during a deployment, × 10 connections',
    });
    expect(row(made.server, 'direct', 'as web')).toMatchObject({ connections: 120 });
  });

  test.each([
    [ecs.DeploymentStrategy.BLUE_GREEN, 'blue/green'],
    [ecs.DeploymentStrategy.LINEAR, 'linear'],
    [ecs.DeploymentStrategy.CANARY, 'canary'],
  ])(
    'a service that is deployed %s: a second set of tasks stands beside the first, whatever maximumPercent says',
    (strategy, said) => {
      const made = instance();
      const service = fargateService(made, {
        maxHealthyPercent: 100,
        minHealthyPercent: 0,
        deploymentStrategy: strategy,
      });
      made.server
        .addDatabase('app')
        .addLoginRole('api')
        .grantConnect(Consumer.ecsService(service, { poolSize: 10 }));
      const rolling = instance();
      const update = fargateService(rolling, { maxHealthyPercent: 100, minHealthyPercent: 0 });
      rolling.server
        .addDatabase('app')
        .addLoginRole('api')
        .grantConnect(Consumer.ecsService(update, { poolSize: 10 }));
      const { connections } = row(rolling.server, 'direct')!;
      expect(row(made.server, 'direct')).toMatchObject({
        connections: 2 * connections!,
        how: expect.stringContaining(`during a ${said} deployment`),
      });
    },
  );

  test('a service that CodeDeploy replaces doubles its tasks too', () => {
    const made = instance();
    const service = fargateService(made, {
      maxHealthyPercent: 100,
      minHealthyPercent: 0,
      deploymentController: { type: ecs.DeploymentControllerType.CODE_DEPLOY },
    });
    made.server
      .addDatabase('app')
      .addLoginRole('api')
      .grantConnect(Consumer.ecsService(service, { poolSize: 10 }));
    expect(row(made.server, 'direct')!.how).toMatch(/(\d+) tasks, \d+ during a blue\/green deployment/);
  });

  test('a service that scales: as far as its scaling goes, unless maxTasks says it', () => {
    const made = instance();
    const service = fargateService(made);
    service.autoScaleTaskCount({ minCapacity: 2, maxCapacity: 20 });
    const app = made.server.addDatabase('app');
    app.addLoginRole('api').grantConnect(Consumer.ecsService(service, { poolSize: 5 }));
    app
      .addLoginRole('web')
      .grantConnect(Consumer.ecsService(service, { poolSize: 5, maxTasks: 8 }), { environment: false });
    expect(row(made.server, 'direct', 'as api')).toMatchObject({ connections: 200 });
    expect(row(made.server, 'direct', 'as web')).toMatchObject({ connections: 80 });
  });

  test('a version or an alias stands for its function: its network, its environment, its concurrency', () => {
    const made = instance();
    made.server.acknowledge({ id: 'CP-1', reason: 'it listens' });
    const fn = handler(made);
    const alias = new lambda.Alias(made.stack, 'Live', { aliasName: 'live', version: fn.currentVersion });
    const app = made.server.addDatabase('app');
    const api = app.addLoginRole('api');
    api.grantConnect(alias);
    api.grantConnect(fn.currentVersion);
    expect(row(made.server, 'direct', 'Test/Handler as api')).toMatchObject({ how: '20 concurrent runs' });
    const template = Template.fromStack(made.stack);
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ PGUSER: 'api' }) },
    });
    template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', { Description: 'PostgreSQL as api' });
  });

  test('the limit of a role that goes through a pooler is none beside it, unless somebody connects directly too', () => {
    const made = instance();
    const pool = made.server.addPooler('Pool');
    const role = made.server.addDatabase('app').addLoginRole('api', { connectionLimit: 5 });
    expect(row(made.server, 'direct', 'Role-api')).toMatchObject({ connections: 5 });
    role.grantConnect(handler(made), { through: pool });
    expect(row(made.server, 'direct')).toBeUndefined();
    role.grantConnect(new iam.Role(made.stack, 'Who', { assumedBy: new iam.AccountRootPrincipal() }));
    expect(row(made.server, 'direct', 'Role-api')).toMatchObject({ connections: 5 });
  });

  test('a security group says it, and the limit of a role holds whatever is said', () => {
    const made = instance();
    const group = new ec2.SecurityGroup(made.stack, 'Analysts', { vpc: made.vpc });
    const app = made.server.addDatabase('app');
    app.addLoginRole('analyst').grantConnect(Consumer.securityGroup(group, 12));
    const limited = app.addLoginRole('report', { connectionLimit: 5 });
    limited.grantConnect(new iam.Role(made.stack, 'A', { assumedBy: new iam.AccountRootPrincipal() }));
    limited.grantConnect(new iam.Role(made.stack, 'B', { assumedBy: new iam.AccountRootPrincipal() }));
    app.addLoginRole('watcher', { connectionLimit: 2 });
    app.addLoginRole('cdc', { replication: true });
    expect(row(made.server, 'direct', 'as analyst')).toMatchObject({ connections: 12, how: 'as stated' });
    expect(row(made.server, 'direct', 'report')).toMatchObject({
      connections: 5,
      how: 'its connectionLimit, for 2 consumers',
    });
    expect(row(made.server, 'direct', 'watcher')).toMatchObject({ connections: 2 });
    expect(row(made.server, 'direct', 'cdc')).toMatchObject({ connections: 2 });
    expect(findingsOf(made.stack)).toEqual([]);
  });

  test("this library's own functions, superusers and operators", () => {
    const { server } = instance();
    server.addDatabase('app').addLoginRole('api');
    server.addMonitoring();
    expect(row(server, 'functions')).toMatchObject({ connections: (5 + 2 + 1) * 2 });
    expect(of(server).entries.slice(0, 2)).toEqual([
      { kind: 'reserve', who: 'superusers', connections: 5, how: 'kept by the server itself' },
      expect.objectContaining({ kind: 'reserve', connections: 5 }),
    ]);
  });

  test('states of several stacks count together, in the stack of the server', () => {
    const made = instance();
    const other = new Stack(made.stack.node.root as App, 'Other', {
      env: { account: '123456789012', region: 'eu-central-1' },
    });
    const shared = SharedPostgres.fromServer(other, 'Db', made.server);
    shared.addDatabase('billing').addLoginRole('billing', { connectionLimit: 7 });
    made.server.addDatabase('app').addLoginRole('api', { connectionLimit: 6 });
    expect(of(shared)).toEqual(of(made.server));
    expect(
      of(made.server)
        .entries.filter(({ kind }) => kind === 'direct')
        .map(({ connections }) => connections),
    ).toEqual([7, 6]);
    expect(of(made.server).entries.filter(({ kind }) => kind === 'functions')).toHaveLength(2);
  });
});

describe('CP-4: the finding', () => {
  const overdrawn = (profile = PostgresProfile.production()) => {
    const made = instance({ parameters: { max_connections: '100' }, profile });
    made.server.acknowledge({ id: 'CP-1', reason: 'it listens' });
    made.server
      .addDatabase('app')
      .addLoginRole('api')
      .grantConnect(handler(made, 'Handler', { reservedConcurrentExecutions: 200 }));
    return made;
  };

  test('has the table of who takes what, and can be acknowledged', () => {
    const said = saidOf(overdrawn().stack, 'CP-4')!;
    expect(said).toContain('Test/Postgres: its consumers may open 224 connections, and it takes 100:');
    expect(said).toMatch(/^200 {2}direct +Test\/Handler as api: 200 concurrent runs$/m);
    expect(said).toMatch(/^224 {2}sum +of 100 \(the parameter max_connections\)$/m);
    const acknowledged = overdrawn();
    acknowledged.server.acknowledge({ id: 'CP-4', reason: 'measured: never more than 40 at once' });
    expect(findingsOf(acknowledged.stack)).toEqual([]);
  });

  test('is none of a development server, nor where everything fits', () => {
    expect(findingsOf(overdrawn(PostgresProfile.development()).stack)).toEqual([]);
    const made = instance();
    made.server.addPooler('Pool');
    expect(findingsOf(made.stack)).toEqual([]);
  });

  test('is there where somebody does not say a number', () => {
    const made = instance();
    made.server
      .addDatabase('app')
      .addLoginRole('api')
      .grantConnect(new iam.Role(made.stack, 'Who', { assumedBy: new iam.AccountRootPrincipal() }));
    expect(saidOf(made.stack, 'CP-4')).toMatch(
      /cannot be added up, since one does not say[^]*\? +direct +Test\/Who as api: not stated; pass maxConnections/,
    );
    const stated = instance();
    stated.server
      .addDatabase('app')
      .addLoginRole('api')
      .grantConnect(new iam.Role(stated.stack, 'Who', { assumedBy: new iam.AccountRootPrincipal() }), {
        maxConnections: 4,
      });
    expect(findingsOf(stated.stack)).toEqual([]);
    const unreserved = instance();
    unreserved.server.acknowledge({ id: 'CP-1', reason: 'it listens' });
    unreserved.server
      .addDatabase('app')
      .addLoginRole('api')
      .grantConnect(handler(unreserved, 'Fn', { reservedConcurrentExecutions: undefined }));
    expect(saidOf(unreserved.stack, 'CP-4')).toContain('set reservedConcurrentExecutions');
  });
});

describe('CP-1: a function on the server itself', () => {
  test('is a finding in production that names through, and none behind a pooler', () => {
    const raw = (profile = PostgresProfile.production()) => {
      const made = instance({ profile });
      made.server.addDatabase('app').addLoginRole('api').grantConnect(handler(made));
      return made;
    };
    expect(findingsOf(raw().stack)).toEqual(['CP-1']);
    expect(saidOf(raw().stack, 'CP-1')).toMatch(/Role-api: Test\/Handler connects to the server itself/);
    expect(findingsOf(raw(PostgresProfile.development()).stack)).toEqual([]);
    const pooled = instance();
    pooled.server
      .addDatabase('app')
      .addLoginRole('api')
      .grantConnect(handler(pooled), { through: pooled.server.addPooler('Pool') });
    expect(findingsOf(pooled.stack)).toEqual([]);
  });
});

test.each([
  [{ maxConnections: 0 }, /maxConnections must be a whole number from 1 on, not 0/],
  [{ poolSize: 1.5 }, /poolSize must be a whole number from 1 on, not 1.5/],
  [{ poolsize: 3 } as object, /grantConnect\(\): poolsize is no property of it, .*; write poolSize/],
])('%j is refused', (options, message) => {
  const made = instance();
  const role = made.server.addDatabase('app').addLoginRole('api');
  expect(() => role.grantConnect(handler(made), options)).toThrow(message);
});

test('who cannot connect is told how it can', () => {
  const made = instance();
  const role = made.server.addDatabase('app').addLoginRole('api');
  for (const who of [undefined, fargateService(made)])
    expect(() => role.grantConnect(who as never)).toThrow(
      /Role-api: grantConnect\(\) takes who connects: .* Consumer.ecsService\(service, \{ poolSize \}\)/,
    );
  const group = new ec2.SecurityGroup(made.stack, 'Analysts', { vpc: made.vpc });
  expect(() => Consumer.ecsService({ node: { path: 'Imported' } } as never, { poolSize: 1 })).toThrow(
    /^Imported: Consumer.ecsService\(\) takes a service of this app/,
  );
  expect(() => Consumer.securityGroup(made.vpc as never, 3)).toThrow(/group must be an ec2.SecurityGroup/);
  expect(() => Consumer.securityGroup(group, '3' as never)).toThrow(
    /Analysts: connections must be a whole number from 1 on, not '3'/,
  );
});

test('an endpoint and a pooler at once are refused', () => {
  const made = aurora();
  const role = made.server.addDatabase('app').addLoginRole('api');
  const through = made.server.addPooler('Pool');
  expect(() => role.grantConnect(handler(made), { endpoint: made.server.readerEndpoint, through })).toThrow(
    /has endpoint and through.*through: pool.forReads\(\)/,
  );
});

test('CP-17: the default container of a service gets the environment, and its task role the secret', () => {
  const made = instance();
  const pool = made.server.addPooler('Pool');
  const service = fargateService(made);
  made.server
    .addDatabase('app')
    .addLoginRole('api')
    .grantConnect(Consumer.ecsService(service, { poolSize: 5 }), { through: pool });
  const definition = made.stack.resolve(
    (service.taskDefinition.node.defaultChild as ecs.CfnTaskDefinition).containerDefinitions,
  );
  const variables = Object.fromEntries(definition[0].environment.map((one: any) => [one.name, one.value]));
  expect(variables).toMatchObject({ PGPORT: '5432', PGUSER: 'api', PGSSLMODE: 'verify-full' });
});

test('the assembly has the budget of every server, which the command line prints', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cdk-postgres-budget-'));
  try {
    const made = instance();
    made.server.addPooler('Pool');
    const app = made.stack.node.root as App;
    const { directory } = app.synth();
    const [document] = readAssembly(directory).stacks.flatMap(({ budgets }) => budgets);
    expect(document).toEqual(JSON.parse(JSON.stringify(of(made.server))));
    expect(document).toMatchObject({ server: 'Test/Postgres', verdict: 'fits' });
  } finally {
    rmSync(folder, { recursive: true });
  }
});

describe('adding up', () => {
  const entries = [
    { kind: 'reserve', who: 'superusers', connections: 5, how: 'kept' },
    { kind: 'direct', who: 'a', connections: 95, how: 'stated' },
  ];
  test.each([
    [100, entries, 'fits', 100],
    [99, entries, 'exceeded', 100],
    [100, [...entries, { kind: 'direct', who: 'b', how: 'not stated' }], 'unknown', 100],
    [99, [...entries, { kind: 'direct', who: 'b', how: 'not stated' }], 'exceeded', 100],
    [undefined, entries, 'unknown', 100],
  ] as const)('%s: %#', (maxConnections, list, verdict, total) => {
    const document = balance({ server: 'S', maxConnections, how: 'so', entries: [...list] });
    expect(document).toMatchObject({ verdict, total });
    expect(budgetLines(document)).toHaveLength(list.length + 1);
  });
});

test('a second pooler gets what the first leaves', () => {
  const made = instance();
  made.server.addPooler('Proxy', Pooler.rdsProxy({ maxConnectionsPercent: 50 }));
  const { connections, poolers } = ConnectionBudget.of(made.server).rest()!;
  const document = of(made.server);
  expect(connections).toBe(document.maxConnections! - document.total);
  expect(poolers).toBe(0);
});

function fargateService(
  made: { readonly stack: Stack; readonly vpc: ec2.IVpc },
  props: Partial<ecs.FargateServiceProps> = {},
): ecs.FargateService {
  const taskDefinition = new ecs.FargateTaskDefinition(made.stack, 'Task');
  taskDefinition.addContainer('web', { image: ecs.ContainerImage.fromRegistry('nginx') });
  return new ecs.FargateService(made.stack, 'Web', {
    cluster: new ecs.Cluster(made.stack, 'Cluster', { vpc: made.vpc }),
    taskDefinition,
    vpcSubnets: { subnetType: ec2.SubnetType.PRIVATE_ISOLATED },
    desiredCount: 2,
    ...props,
  });
}
