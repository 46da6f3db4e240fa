import { Duration, Stack, aws_ecs as ecs, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  Authentication,
  ExternalPostgres,
  PgBouncerOptions,
  Pooler,
  PoolerCertificate,
  PostgresProfile,
  ServerTrust,
} from '../../lib';
import { decodePooler, PoolerDocument } from '../../lib/contract';
import { ConnectionBudget } from '../../lib/pooling';
import { poolerSizes } from '../../lib/pooling/pgbouncer-sizes';
import { asSentByCloudFormation, TemplateValues } from '../../lib/runtime/preview/template-values';
import { aurora, cleanStack, findingsOf, handler, instance, quiet, saidOf, withoutRegistry } from './support';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('./fake-image').fakeImage(),
}));

/** One PgBouncer, and a function that goes through it as `api`. */
function pooled(options: PgBouncerOptions = {}, more: Parameters<typeof instance>[0] = {}) {
  const made = instance(more);
  const pool = made.server.addPooler('Pool', Pooler.pgBouncer(options));
  const app = made.server.addDatabase('app');
  const api = app.addLoginRole('api');
  const fn = handler(made);
  api.grantConnect(fn, { through: pool });
  return { ...made, pool, app, api, fn };
}

interface Resource {
  readonly Properties: Record<string, any>;
  readonly DependsOn?: string[];
}

function theOne(stack: Stack, type: string): Resource & { readonly id: string } {
  const found = Object.entries(Template.fromStack(stack).findResources(type));
  expect(found).toHaveLength(1);
  return { id: found[0]![0], ...(found[0]![1] as Resource) };
}

const containerOf = (stack: Stack) => theOne(stack, 'AWS::ECS::TaskDefinition').Properties.ContainerDefinitions[0];

/** The document as the task reads it: what CloudFormation puts for the references has the form of the real thing. */
function documentOf(stack: Stack): PoolerDocument {
  const template = Template.fromStack(stack).toJSON();
  const values = new TemplateValues({
    stacks: [],
    source: (_stack, id, attribute) => {
      const type: string = template.Resources[id].Type;
      if (type === 'AWS::SecretsManager::Secret')
        return `arn:aws:secretsmanager:eu-central-1:123456789012:secret:${id}-AbCdEf`;
      return `${id}.${attribute ?? 'ref'}`.replace(/[^A-Za-z0-9.]/g, '.');
    },
  });
  const view = {
    id: 'Test',
    stackName: 'Test',
    account: '123456789012',
    region: 'eu-central-1',
    template,
    paths: new Map(),
    budgets: [],
  };
  const [variable] = containerOf(stack).Environment;
  expect(variable.Name).toBe('CDK_POSTGRES_POOLER');
  return JSON.parse(String(values.resolve(view, variable.Value)));
}

describe('CP-14: the container', () => {
  test('writes nowhere but its folder, is nobody in particular, and has files enough for its clients', () => {
    const { stack } = pooled();
    const container = containerOf(stack);
    expect(container).toMatchObject({
      ReadonlyRootFilesystem: true,
      User: '10001:10001',
      StopTimeout: 120,
      Ulimits: [{ Name: 'nofile', SoftLimit: 65536, HardLimit: 65536 }],
      LinuxParameters: { InitProcessEnabled: true },
      MountPoints: [{ ContainerPath: '/run/pgbouncer', ReadOnly: false, SourceVolume: 'run' }],
      PortMappings: [{ ContainerPort: 6432, Protocol: 'tcp' }],
      HealthCheck: {
        Command: ['CMD', 'node', '/opt/pooler/agent.js', 'health'],
        Interval: 15,
        Timeout: 5,
        Retries: 3,
        StartPeriod: 30,
      },
      LogConfiguration: { LogDriver: 'awslogs' },
    });
    expect(theOne(stack, 'AWS::ECS::TaskDefinition').Properties).toMatchObject({
      NetworkMode: 'awsvpc',
      RequiresCompatibilities: ['FARGATE'],
      Cpu: '1024',
      Memory: '2048',
      RuntimePlatform: { CpuArchitecture: 'ARM64' },
      Volumes: [{ Name: 'run' }],
    });
    Template.fromStack(stack).hasResourceProperties('AWS::Logs::LogGroup', {
      KmsKeyId: Match.anyValue(),
      RetentionInDays: 365,
    });
  });

  test('is told what it reads strictly, also as CloudFormation sends it: with every scalar a string', () => {
    const { stack, api, pool } = pooled({ queryWaitTimeout: Duration.seconds(5), sessionConnections: 4, vcpus: 2 });
    const document = documentOf(stack);
    const configuration = decodePooler(document);
    expect(decodePooler(asSentByCloudFormation(document))).toEqual(configuration);
    expect(configuration).toMatchObject({
      server: { port: 5433, trust: 'rds' },
      processes: 2,
      port: 6432,
      maxClientConnections: 5000,
      maxPreparedStatements: 200,
      stopTimeout: 120,
      timeouts: { queryWait: 5, idleTransaction: 60, serverIdle: 300 },
    });
    expect(Object.keys(configuration.secrets)).toEqual([api.roleName]);
    expect(configuration.databases).toEqual([expect.objectContaining({ name: 'app', sessionConnections: 4 })]);
    expect(JSON.stringify(document)).not.toContain('{{resolve');
    expect(pool.capabilities).toMatchObject({ mode: 'transaction', iamAuthentication: false, cancel: true });
  });

  test('lets a serverless cluster shrink', () => {
    const made = aurora({ serverlessV2: { minCapacity: 1, maxCapacity: 16 } });
    const pool = made.server.addPooler('Pool', Pooler.pgBouncer());
    made.server.addDatabase('app').addLoginRole('api').grantConnect(handler(made), { through: pool });
    expect(decodePooler(documentOf(made.stack)).timeouts.serverIdle).toBe(60);
  });
});

describe('CP-15: the service', () => {
  test('two tasks over zones, replaced without a gap, and back again when the new ones do not get well', () => {
    const { stack } = pooled();
    const service = theOne(stack, 'AWS::ECS::Service');
    expect(service.Properties).toMatchObject({
      DesiredCount: 2,
      LaunchType: 'FARGATE',
      DeploymentConfiguration: {
        MaximumPercent: 200,
        MinimumHealthyPercent: 100,
        DeploymentCircuitBreaker: { Enable: true, Rollback: true },
      },
      NetworkConfiguration: { AwsvpcConfiguration: { AssignPublicIp: 'DISABLED' } },
    });
    expect(service.Properties.NetworkConfiguration.AwsvpcConfiguration.Subnets).toHaveLength(2);
    Template.fromStack(stack).hasResourceProperties('AWS::ECS::Cluster', {
      ClusterSettings: [{ Name: 'containerInsights', Value: 'enabled' }],
    });
  });

  test('comes after the roles, their secrets, its certificate, its policies and the way to the server', () => {
    const { stack } = pooled();
    const waits = theOne(stack, 'AWS::ECS::Service').DependsOn!.join(' ');
    for (const part of [
      theOne(stack, 'Custom::CdkPostgresState').id,
      theOne(stack, 'Custom::CdkPostgresPoolerCertificate').id,
      'PostgresPoolTaskPolicy',
      'PostgresPoolExecutionPolicy',
      'PostgresPoolToServer',
      'PostgresPoolFromPooler',
      'PostgresPoolLogs',
      'SecretPolicy',
    ])
      expect(waits).toContain(part);
  });

  test('runs no task as long as no role goes through it, which then would have no database', () => {
    const { stack, server } = instance();
    server.addPooler('Pool', Pooler.pgBouncer());
    expect(theOne(stack, 'AWS::ECS::Service').Properties.DesiredCount).toBe(0);
    expect(findingsOf(instance().stack)).toEqual([]);
  });

  test('behind an internal load balancer over zones that lets clients leave by themselves', () => {
    const { stack } = pooled();
    const balancer = theOne(stack, 'AWS::ElasticLoadBalancingV2::LoadBalancer').Properties;
    expect(balancer).toMatchObject({ Scheme: 'internal', Type: 'network' });
    expect(balancer.LoadBalancerAttributes).toEqual(
      expect.arrayContaining([
        { Key: 'load_balancing.cross_zone.enabled', Value: 'true' },
        { Key: 'deletion_protection.enabled', Value: 'true' },
      ]),
    );
    const listener = theOne(stack, 'AWS::ElasticLoadBalancingV2::Listener').Properties;
    expect(listener).toMatchObject({ Port: 6432, Protocol: 'TCP' });
    expect(listener.ListenerAttributes).toEqual([{ Key: 'tcp.idle_timeout.seconds', Value: '350' }]);
    const group = theOne(stack, 'AWS::ElasticLoadBalancingV2::TargetGroup').Properties;
    expect(group).toMatchObject({ Port: 6432, Protocol: 'TCP', TargetType: 'ip', HealthCheckProtocol: 'TCP' });
    expect(group.TargetGroupAttributes).toEqual(
      expect.arrayContaining([
        { Key: 'deregistration_delay.timeout_seconds', Value: '60' },
        { Key: 'preserve_client_ip.enabled', Value: 'false' },
      ]),
    );
    expect(JSON.stringify(group.TargetGroupAttributes)).not.toContain('connection_termination');
  });

  test('the function reaches the load balancer, that the tasks, and those the server: nobody else, and nothing by a token port', () => {
    const { stack } = pooled();
    const template = Template.fromStack(stack);
    const ports = (type: string, group: string) =>
      Object.values(template.findResources(type))
        .filter(({ Properties }) => JSON.stringify(Properties.GroupId).includes(group))
        .map(({ Properties }) => Properties.FromPort);
    expect(ports('AWS::EC2::SecurityGroupIngress', 'PostgresPoolFrontSecurityGroup')).toEqual([6432]);
    expect(ports('AWS::EC2::SecurityGroupIngress', 'PostgresPoolSecurityGroup')).toEqual([6432]);
    expect(ports('AWS::EC2::SecurityGroupEgress', 'PostgresPoolFrontSecurityGroup')).toEqual([6432]);
    expect(ports('AWS::EC2::SecurityGroupEgress', 'PostgresPoolSecurityGroup')).toEqual([5433]);
    template.hasResourceProperties('AWS::EC2::SecurityGroup', {
      GroupDescription: Match.stringLikeRegexp('^Tasks of the pooler'),
      SecurityGroupEgress: [Match.objectLike({ CidrIp: '0.0.0.0/0', FromPort: 443, ToPort: 443 })],
    });
  });
});

describe('CP-16, CP-17: the environment of who goes through it', () => {
  test('names the load balancer, and has the root of its authority as a text', () => {
    const { stack } = pooled();
    const certificate = theOne(stack, 'Custom::CdkPostgresPoolerCertificate');
    const balancer = theOne(stack, 'AWS::ElasticLoadBalancingV2::LoadBalancer');
    expect(certificate.Properties.Hosts).toEqual([{ 'Fn::GetAtt': [balancer.id, 'DNSName'] }]);
    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
      Environment: {
        Variables: Match.objectLike({
          PGHOST: { 'Fn::GetAtt': [balancer.id, 'DNSName'] },
          PGPORT: '6432',
          PGDATABASE: 'app',
          PGSSLMODE: 'verify-full',
          PGSSLROOTPEM: { 'Fn::GetAtt': [certificate.id, 'CaCertificate'] },
          PGSSLROOTCERT: Match.absent(),
        }),
      },
    });
  });

  test('CP-6: of clients with a session of their own, names the alias of the database', () => {
    const made = instance();
    const pool = made.server.addPooler('Pool', Pooler.pgBouncer({ sessionConnections: 3 }));
    expect(pool.forSessions()).toBe(pool.forSessions());
    expect(pool.forSessions().capabilities).toMatchObject({ mode: 'session', sessionFeatures: true });
    made.server
      .addDatabase('app')
      .addLoginRole('listener')
      .grantConnect(handler(made), { through: pool.forSessions() });
    Template.fromStack(made.stack).hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ PGDATABASE: 'app_session', PGPORT: '6432' }) },
    });
    expect(decodePooler(documentOf(made.stack)).databases).toEqual([
      expect.objectContaining({ name: 'app', sessionConnections: 3 }),
    ]);
    expect(() => made.server.addPooler('Other', Pooler.pgBouncer()).forSessions()).toThrow(
      /forSessions\(\) has no connections; set sessionConnections/,
    );
  });

  test('with a certificate of your own: its name and its root, and no authority is made', () => {
    const made = instance();
    const secret = new secretsmanager.Secret(made.stack, 'Own', { encryptionKey: made.server.encryptionKey });
    const pool = made.server.addPooler(
      'Pool',
      Pooler.pgBouncer({
        certificate: PoolerCertificate.fromSecret(secret, {
          hostName: 'pool.example.com',
          trust: ServerTrust.publicRoots(),
        }),
      }),
    );
    made.server.addDatabase('app').addLoginRole('api').grantConnect(handler(made), { through: pool });
    const template = Template.fromStack(made.stack);
    template.resourceCountIs('Custom::CdkPostgresPoolerCertificate', 0);
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: { Variables: Match.objectLike({ PGHOST: 'pool.example.com', PGSSLROOTCERT: 'system' }) },
    });
    expect(pool.loadBalancer).toBeDefined();
    expect(documentOf(made.stack).certificateSecret).toMatch(/secret:Own/);
  });
});

describe('CP-15: rotations', () => {
  test('leave the pooler time to pick a password up before the server has it', () => {
    const variables = (stack: Stack) =>
      Object.values(Template.fromStack(stack).findResources('AWS::Lambda::Function'))
        .map(({ Properties }) => Properties.Environment?.Variables ?? {})
        .filter((all) => 'CDK_POSTGRES_POOLER_PICKUP' in all)
        .map((all) => all.CDK_POSTGRES_POOLER_PICKUP);
    const { stack } = pooled();
    expect(variables(stack)).toEqual(['70']);
    expect(decodePooler(documentOf(stack)).secretsInterval * 2 + 10).toBe(70);
    const proxied = instance();
    const pool = proxied.server.addPooler('Pool');
    proxied.server.addDatabase('app').addLoginRole('api').grantConnect(handler(proxied), { through: pool });
    expect(variables(proxied.stack)).toEqual([]);
  });

  test('two logins that take turns go through it under the name of both', () => {
    const made = instance();
    const pool = made.server.addPooler('Pool', Pooler.pgBouncer());
    made.server
      .addDatabase('app')
      .addLoginRole('api', { authentication: Authentication.alternatingPasswords() })
      .grantConnect(handler(made), { through: pool });
    expect(Object.keys(documentOf(made.stack).secrets)).toEqual(['api']);
  });

  test('of the certificate: by Secrets Manager, every 30 days, by the function that made it', () => {
    const { stack } = pooled();
    const template = Template.fromStack(stack);
    const fn = Object.keys(template.findResources('AWS::Lambda::Function')).find((id) =>
      id.startsWith('PostgresPoolCertificate'),
    )!;
    template.hasResourceProperties('AWS::SecretsManager::RotationSchedule', {
      RotationLambdaARN: { 'Fn::GetAtt': [fn, 'Arn'] },
      RotationRules: { AutomaticallyAfterDays: 30 },
      RotateImmediatelyOnUpdate: false,
    });
    template.hasResourceProperties('AWS::Lambda::Permission', {
      FunctionName: { 'Fn::GetAtt': [fn, 'Arn'] },
      Principal: 'secretsmanager.amazonaws.com',
      SourceAccount: '123456789012',
    });
  });
});

describe('CP-3: the pools', () => {
  test('share what the budget leaves, over the tasks of a deployment, databases and logins', () => {
    const sizes = poolerSizes({
      share: 440,
      tasks: 4,
      processes: 1,
      sessionConnections: 0,
      logins: [{ database: 'app', logins: 2 }],
    });
    expect(sizes).toEqual({
      databases: { app: { poolSize: 50, reservePoolSize: 5, maxConnections: 110, sessionConnections: 0 } },
      total: 440,
      missing: undefined,
    });
  });

  test.each<[Parameters<typeof poolerSizes>[0]]>([
    [
      {
        share: 1000,
        tasks: 4,
        processes: 2,
        sessionConnections: 10,
        logins: [
          { database: 'a', logins: 3 },
          { database: 'b', logins: 1 },
        ],
      },
    ],
    [{ share: 37, tasks: 4, processes: 1, sessionConnections: 0, logins: [{ database: 'a', logins: 5 }] }],
    [{ tasks: 4, processes: 1, sessionConnections: 2, logins: [{ database: 'a', logins: 5 }] }],
  ])('never take more than their share, and every login has a connection: %j', (options) => {
    const { databases, total, missing } = poolerSizes(options);
    expect(missing).toBeUndefined();
    if (options.share !== undefined) expect(total).toBeLessThanOrEqual(options.share);
    for (const { database, logins } of options.logins) {
      const { poolSize, reservePoolSize, maxConnections } = databases[database]!;
      expect(poolSize).toBeGreaterThanOrEqual(options.processes);
      expect((poolSize + reservePoolSize) * logins).toBeLessThanOrEqual(maxConnections);
    }
  });

  test('that come to nothing are a finding with what is missing', () => {
    const crowded = (acknowledged = false) => {
      const made = instance({ parameters: { max_connections: '40' } });
      const pool = made.server.addPooler('Pool', Pooler.pgBouncer({ tasks: 4 }));
      const app = made.server.addDatabase('app');
      for (const name of ['a', 'b', 'c']) app.addLoginRole(name).grantConnect(handler(made, name), { through: pool });
      if (acknowledged) made.server.acknowledge({ id: 'CP-3', reason: 'a trial' });
      return made.stack;
    };
    expect(findingsOf(crowded())).toEqual(expect.arrayContaining(['CP-3']));
    expect(saidOf(crowded(), 'CP-3')).toMatch(/the database app needs 3 connections in each of 8 tasks, and there are/);
    expect(findingsOf(crowded(true))).not.toContain('CP-3');
  });

  test('of which the sessions take too much are a finding that says so', () => {
    const made = instance({ parameters: { max_connections: '100' } });
    const pool = made.server.addPooler('Pool', Pooler.pgBouncer({ maxServerConnections: 40, sessionConnections: 10 }));
    made.server.addDatabase('app').addLoginRole('api').grantConnect(handler(made), { through: pool });
    expect(saidOf(made.stack, 'CP-3')).toMatch(
      /: maxServerConnections is too little: the database app needs 11 connections in each of 4 tasks, of which sessionConnections takes 10, and there are 10/,
    );
  });

  test('of a role with a smaller limit of its own are a warning with role, limit and size', () => {
    const limited = (connectionLimit: number | undefined, maxServerConnections = 80) => {
      const made = instance();
      const pool = made.server.addPooler('Pool', Pooler.pgBouncer({ maxServerConnections }));
      made.server
        .addDatabase('app')
        .addLoginRole('api', { connectionLimit })
        .grantConnect(handler(made), { through: pool });
      expect(findingsOf(made.stack)).toEqual([]);
      return saidOf(made.stack, 'CP-3.limit');
    };
    expect(limited(20)).toMatch(
      /Test\/Postgres\/Pool: the role api has a connectionLimit of 20, and its pools a size of 76 \(2 tasks, 4 during a deployment\)/,
    );
    for (const limit of [76, -1, undefined]) expect(limited(limit)).toBeUndefined();
  });

  test('CP-2: take what is left, which the budget says of them, unless a number is stated', () => {
    const entry = (options: PgBouncerOptions) =>
      ConnectionBudget.of(pooled(options).server as never)
        .document()
        .entries.find(({ kind }) => kind === 'PgBouncer')!;
    expect(entry({})).toMatchObject({ rest: true, how: expect.stringContaining('no more than what is left') });
    expect(entry({ maxServerConnections: 40 })).toEqual({
      kind: 'PgBouncer',
      who: 'Test/Postgres/Pool',
      connections: 40,
      how: '2 tasks, 4 during a deployment',
    });
  });

  test('CP-4: fit the budget by construction, and a stated share is taken as it is', () => {
    expect(findingsOf(pooled().stack)).toEqual([]);
    const stated = pooled({ maxServerConnections: 40 });
    const [app] = decodePooler(documentOf(stated.stack)).databases;
    expect(app).toMatchObject({ name: 'app', maxConnections: 10 });
    const tooMuch = pooled({ maxServerConnections: 10_000 });
    expect(findingsOf(tooMuch.stack)).toEqual(['CP-4']);
  });
});

test('CP-18: alarms on what it measures', () => {
  const { stack, server } = pooled();
  const alarms = Object.values(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'))
    .map(({ Properties }) => Properties)
    .filter(({ Namespace }) => Namespace === 'CdkPostgres');
  expect(
    alarms.map(({ MetricName, Threshold, EvaluationPeriods }) => [MetricName, Threshold, EvaluationPeriods]).sort(),
  ).toEqual([
    ['ClientsWaiting', 0, 3],
    ['LongestWaitMilliseconds', 5000, 3],
    ['SecretsUnreadable', 0, 10],
    ['ServerFailures', 0, 3],
  ]);
  for (const { AlarmActions } of alarms) expect(AlarmActions).toEqual([stack.resolve(server.alarmTopic!.topicArn)]);
  expect(documentOf(stack).metrics?.dimensions).toMatchObject({ Pooler: 'Test/Postgres/Pool' });
});

describe('what it cannot do is said', () => {
  test.each([
    [{ tasks: 1 }, /tasks is 1; when it is replaced or its zone is lost, nobody reaches the server/],
    [{ tasks: 0 }, /tasks must be a whole number from 1 to 100, not 0/],
    [{ image: 'x' as never }, /Test\/Postgres\/Pool: image is 'x'; write an ecs.ContainerImage, such as/],
    [{ task: 3 } as never, /^Pooler.pgBouncer\(\): task is no option, so that it would have no effect; write tasks/],
    [{ vcpus: 3 }, /vcpus is 3; write 1, 2 or 4/],
    [{ queryWaitTimeout: Duration.millis(500) }, /queryWaitTimeout is 0.5 seconds/],
    [{ maxClientConnections: 60_000 }, /maxClientConnections must be a whole number from 1 to 50000, not 60000/],
    [{ maxClientConnections: 3, vcpus: 4 }, /maxClientConnections must be a whole number from 4 to 50000, not 3/],
    [
      { sessionConnections: 3, vcpus: 4 },
      /sessionConnections is 3, and each of its 4 processes.*write 0, or 4 or more/,
    ],
    [{ vcpus: '2' as never }, /vcpus is '2'; write 1, 2 or 4/],
    [{ endpoint: 'readers' as never }, /endpoint must be a replica or server.readerEndpoint/],
    [{ certificate: { secretArn: 'arn' } as never }, /certificate must be what PoolerCertificate.fromSecret/],
  ])('%j', (options, message) => {
    expect(() => pooled(options)).toThrow(message);
  });

  test('CP-11: a role by IAM token', () => {
    const made = instance();
    const pool = made.server.addPooler('Pool', Pooler.pgBouncer());
    const role = made.server.addDatabase('app').addLoginRole('api', { authentication: Authentication.iam() });
    expect(() => role.grantConnect(handler(made), { through: pool })).toThrow(
      /authentication is Authentication.iam\(\), and PgBouncer Test\/Postgres\/Pool cannot hand a token on/,
    );
  });

  test('a database whose name it does not take, reads beside writes, and a server without a network', () => {
    const made = instance();
    const pool = made.server.addPooler('Pool', Pooler.pgBouncer());
    const role = made.server.addDatabase('my app').addLoginRole('api');
    expect(() => role.grantConnect(handler(made), { through: pool })).toThrow(/and not "my app"/);
    expect(() => pool.forReads()).toThrow(/leads to one place; add another for reads/);
    const { stack } = cleanStack();
    const adminSecret = new secretsmanager.Secret(stack, 'Admin');
    const external = ExternalPostgres.fromEndpoint(stack, 'Db', {
      host: 'db.example.com',
      adminSecret,
      identity: 'one',
    });
    expect(() => external.addPooler('Pool', Pooler.pgBouncer())).toThrow(
      /stands in a VPC, and Test\/Db is reached over the internet/,
    );
  });

  test.each<[string, PgBouncerOptions, string[], string, RegExp]>([
    ['the name of the console', {}, ['pgbouncer'], 'api', /"pgbouncer" has the name of the console of PgBouncer/],
    [
      'the name of an alias',
      { sessionConnections: 2 },
      ['app', 'app_session'],
      'api',
      /has the name of an alias of "app"/,
    ],
    ['an alias that is too long', { sessionConnections: 2 }, ['a'.repeat(57)], 'api', /is 65 bytes long/],
    ['a role with a line break', {}, ['app'], 'a\nb', /the role "a\\nb" contains a control character/],
    [
      'more connections than PgBouncer is given',
      { maxServerConnections: 80_000 },
      ['app'],
      'api',
      /maxConnections .*to 10000/,
    ],
  ])('%s, before a task would refuse it at its start', (_, options, names, roleName, message) => {
    const made = instance();
    const pool = made.server.addPooler('Pool', Pooler.pgBouncer(options));
    names.forEach((name, at) => {
      const role = made.server.addDatabase(name).addLoginRole(at === 0 ? roleName : 'other');
      role.grantConnect(handler(made, `Fn${at}`), { through: pool });
    });
    const synth = () => Template.fromStack(made.stack);
    expect(synth).toThrow(message);
    expect(synth).toThrow(/\[Test\/Postgres\/Pool\] Test\/Postgres\/Pool: its tasks would not start: /);
  });

  test('one that goes through as it is says nothing: names with dots and quotes, and a session for each process', () => {
    const made = instance();
    const pool = made.server.addPooler('Pool', Pooler.pgBouncer({ vcpus: 2, sessionConnections: 2 }));
    const role = made.server.addDatabase('my.App-1').addLoginRole(`a"b'; %include c=d`);
    role.grantConnect(handler(made), { through: pool });
    expect(decodePooler(documentOf(made.stack)).databases).toEqual([
      expect.objectContaining({ name: 'my.App-1', sessionConnections: 2 }),
    ]);
  });

  test('CP-6: a function that would have the environment of transactions, and of sessions', () => {
    const { pool, api, fn } = pooled({ sessionConnections: 2 });
    expect(() => api.grantConnect(fn, { through: pool.forSessions() })).toThrow(
      /would overwrite the environment variables that the grantee has for another endpoint of the same role/,
    );
    expect(() => api.grantConnect(fn, { through: pool })).not.toThrow();
    expect(() => api.grantConnect(fn, { through: pool.forSessions(), environment: false })).not.toThrow();
  });

  test('a certificate of your own without its parts', () => {
    const secret = new secretsmanager.Secret(cleanStack().stack, 'Certificate');
    const own =
      (...given: unknown[]) =>
      () =>
        (PoolerCertificate.fromSecret as (...given: unknown[]) => unknown)(...given);
    expect(own(undefined, {})).toThrow(/PoolerCertificate.fromSecret\(\): secret is missing/);
    expect(own(secret)).toThrow(/PoolerCertificate.fromSecret\(\): its properties are missing/);
    expect(own(secret, { hostName: 'a.b' })).toThrow(/trust is missing/);
    expect(own(secret, { hostName: 'a.b', trust: 'public' })).toThrow(/trust is 'public'; write ServerTrust/);
  });

  test('one task is enough for development', () => {
    const { stack } = pooled({ tasks: 1 }, { profile: PostgresProfile.development() });
    expect(theOne(stack, 'AWS::ECS::Service').Properties.DesiredCount).toBe(1);
  });
});

test('it stands before an external server that is reached from a VPC, and before readers', () => {
  const { stack, vpc } = cleanStack();
  const adminSecret = new secretsmanager.Secret(stack, 'Admin');
  const external = ExternalPostgres.fromEndpoint(stack, 'Db', {
    host: 'db.example.com',
    adminSecret,
    identity: 'one',
    vpc,
    maxConnections: 200,
  });
  const pool = external.addPooler('Pool');
  external.addDatabase('app').addLoginRole('api').grantConnect(handler({ stack, vpc }), { through: pool });
  expect(decodePooler(documentOf(stack)).server).toEqual({ host: 'db.example.com', port: 5432, trust: 'public' });

  const made = aurora();
  const reads = made.server.addPooler('Reads', Pooler.pgBouncer({ endpoint: made.server.readerEndpoint }));
  made.server.addDatabase('app').addLoginRole('api').grantConnect(handler(made), { through: reads });
  expect(documentOf(made.stack).server.host).toMatch(/ReadEndpoint.Address/);
});

test('an image of your own is taken as it is, and nothing is built', () => {
  const { stack } = pooled({ image: ecs.ContainerImage.fromRegistry('registry.example.com/pgbouncer:1.26.1') });
  expect(containerOf(stack).Image).toBe('registry.example.com/pgbouncer:1.26.1');
});

test('LIB-5: what its tasks need from isolated subnets is asked for, and added', () => {
  const made = instance({}, withoutRegistry());
  made.server.addPooler('Pool', Pooler.pgBouncer());
  expect(saidOf(made.stack, 'LIB-5')).toMatch(/ECR's API.*ECR's registry.*CloudWatch Logs/);
  const added = instance({}, withoutRegistry());
  added.server.addPooler('Pool', Pooler.pgBouncer());
  added.server.addVpcEndpoints();
  expect(findingsOf(added.stack)).toEqual([]);
  const names = JSON.stringify(Template.fromStack(added.stack).findResources('AWS::EC2::VPCEndpoint'));
  for (const service of ['ecr.api', 'ecr.dkr', 'logs']) expect(names).toContain(service);
});
