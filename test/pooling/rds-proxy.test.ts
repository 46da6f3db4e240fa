import { App, Duration, Lazy, Stack, aws_sns as sns } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Authentication, ExternalPostgres, ManagedPostgres, Pooler, PostgresProfile, SharedPostgres } from '../../lib';
import { aws_rds as rds, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { aurora, cleanStack, findingsOf, handler, instance, multiAz, quiet, saidOf } from './support';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const proxyOf = (stack: Stack) => {
  const [[id, resource] = []] = Object.entries(Template.fromStack(stack).findResources('AWS::RDS::DBProxy'));
  return { id: id!, ...(resource as { Properties: Record<string, any>; DependsOn: string[] }) };
};

describe('CP-1: Pooler.recommended()', () => {
  test('is RDS Proxy before Aurora: TLS alone, its log encrypted and limited before the proxy is made', () => {
    const { stack, server } = aurora();
    const pool = server.addPooler('Pool');
    const proxy = proxyOf(stack);
    expect(proxy.Properties).toMatchObject({
      EngineFamily: 'POSTGRESQL',
      RequireTLS: true,
      DebugLogging: false,
      IdleClientTimeout: 900,
      // No role yet: tokens need no secret, and one of the two a proxy must have.
      DefaultAuthScheme: 'IAM_AUTH',
    });
    expect(proxy.Properties.Auth).toBeUndefined();
    expect(pool.port).toBe(5432);
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::Logs::LogGroup', {
      LogGroupName: `/aws/rds/proxy/${proxy.Properties.DBProxyName}`,
      KmsKeyId: Match.anyValue(),
      RetentionInDays: 365,
    });
    expect(proxy.DependsOn.some((id) => id.startsWith('PostgresPoolLogs'))).toBe(true);
    template.hasResourceProperties('AWS::RDS::DBProxyTargetGroup', {
      TargetGroupName: 'default',
      DBClusterIdentifiers: [{ Ref: Match.stringLikeRegexp('^Postgres') }],
      ConnectionPoolConfigurationInfo: {
        MaxConnectionsPercent: 80,
        MaxIdleConnectionsPercent: 40,
        ConnectionBorrowTimeout: 10,
      },
    });
    const [config] = Object.values(template.findResources('AWS::RDS::DBProxyTargetGroup')).map(
      (one) => one.Properties.ConnectionPoolConfigurationInfo,
    );
    expect(Object.keys(config)).not.toContain('InitQuery');
    expect(Object.keys(config)).not.toContain('SessionPinningFilters');
  });

  test('is RDS Proxy before an instance and before a Multi-AZ cluster', () => {
    const one = instance();
    one.server.addPooler('Pool');
    Template.fromStack(one.stack).hasResourceProperties('AWS::RDS::DBProxyTargetGroup', {
      DBInstanceIdentifiers: [{ Ref: Match.stringLikeRegexp('^Postgres') }],
    });
    const cluster = multiAz();
    cluster.server.addPooler('Pool');
    Template.fromStack(cluster.stack).hasResourceProperties('AWS::RDS::DBProxyTargetGroup', {
      DBClusterIdentifiers: [{ Ref: Match.stringLikeRegexp('^Postgres') }],
    });
  });

  test('before a server whose construct is of aws-rds, and before one of another stack', () => {
    const { stack, vpc, app } = cleanStack();
    const cluster = new rds.DatabaseCluster(stack, 'Theirs', {
      engine: rds.DatabaseClusterEngine.auroraPostgres({ version: rds.AuroraPostgresEngineVersion.VER_17_4 }),
      vpc,
      vpcSubnets: { subnets: vpc.isolatedSubnets },
      port: 5433,
      iamAuthentication: true,
      writer: rds.ClusterInstance.serverlessV2('writer'),
    });
    const managed = ManagedPostgres.fromCluster(stack, 'Postgres', { cluster });
    managed.addPooler('Pool');
    const other = new Stack(app, 'Other', { env: { account: '123456789012', region: 'eu-central-1' } });
    SharedPostgres.fromServer(other, 'Db', managed).addPooler('Pool');
    Template.fromStack(stack).resourceCountIs('AWS::RDS::DBProxy', 1);
    Template.fromStack(other).hasResourceProperties('AWS::RDS::DBProxyTargetGroup', {
      DBClusterIdentifiers: [{ 'Fn::ImportValue': Match.anyValue() }],
    });
  });

  test('cannot be RDS Proxy before an external server, and says what can', () => {
    const { stack } = cleanStack();
    const adminSecret = new secretsmanager.Secret(stack, 'Admin');
    const external = ExternalPostgres.fromEndpoint(stack, 'Postgres', {
      host: 'db.example.com',
      adminSecret,
      identity: 'one',
    });
    expect(() => external.addPooler('Pool', Pooler.rdsProxy())).toThrow(
      /Test\/Postgres: Pooler.rdsProxy\(\): RDS Proxy stands before servers that RDS or Aurora runs.*use Pooler.pgBouncer\(\), or Pooler.external\(\)/,
    );
    expect(() => external.addPooler('Pool')).toThrow(/reached over the internet; pass the vpc.*or Pooler.external\(\)/);
  });
});

describe('CP-10, CP-11: who logs in', () => {
  test('a password role by its secret with SCRAM, and the proxy comes after the state and the policy of the secret', () => {
    const made = aurora();
    const { stack, server } = made;
    const pool = server.addPooler('Pool');
    const api = server.addDatabase('app').addLoginRole('api');
    api.grantConnect(handler(made), { through: pool });
    const proxy = proxyOf(stack);
    const secret = stack.resolve(api.secret!.secretArn);
    expect(proxy.Properties.DefaultAuthScheme).toBe('NONE');
    expect(proxy.Properties.Auth).toEqual([
      {
        AuthScheme: 'SECRETS',
        ClientPasswordAuthType: 'POSTGRES_SCRAM_SHA_256',
        Description: 'api',
        IAMAuth: 'DISABLED',
        SecretArn: secret,
      },
    ]);
    const template = Template.fromStack(stack);
    const [[state]] = Object.entries(template.findResources('Custom::CdkPostgresState'));
    expect(proxy.DependsOn).toContain(state);
    const [[policy]] = Object.entries(
      template.findResources('AWS::SecretsManager::ResourcePolicy', { Properties: { SecretId: secret } }),
    );
    expect(proxy.DependsOn).toContain(policy);
    // The other way round would be a circle: the state waits for the policy, which names the proxy's role and not the proxy.
    expect(JSON.stringify(template.findResources('Custom::CdkPostgresState'))).not.toContain(proxy.id);
  });

  test('CP-11: 200 roles by password at the most', () => {
    const proxied = (roles: number, authentication = Authentication.password()) => {
      // CloudFormation takes 500 resources in a stack, and so many roles come from several.
      const app = new App({ context: { '@aws-cdk/core:stackResourceLimit': 0 } });
      const made = instance({}, cleanStack(2, app));
      const pool = made.server.addPooler('Pool');
      const fn = handler(made);
      const database = made.server.addDatabase('app');
      for (let number = 1; number <= roles; number++)
        database
          .addLoginRole(`tenant_${number}`, { authentication })
          .grantConnect(fn, { through: pool, environment: false });
      return made.stack;
    };
    expect(findingsOf(proxied(200))).not.toContain('CP-11');
    expect(saidOf(proxied(201), 'CP-11')).toMatch(
      /201 roles log in by password through the proxy, and it takes 200 secrets/,
    );
    expect(findingsOf(proxied(201, Authentication.iam()))).not.toContain('CP-11');
  });

  test('an IAM role end to end, without any secret: the client at the proxy, the proxy at the server', () => {
    const made = aurora();
    const { stack, server } = made;
    const pool = server.addPooler('Pool');
    const fn = handler(made);
    server
      .addDatabase('app')
      .addLoginRole('api', { authentication: Authentication.iam() })
      .grantConnect(fn, { through: pool });
    const proxy = proxyOf(stack);
    expect(proxy.Properties.DefaultAuthScheme).toBe('IAM_AUTH');
    expect(proxy.Properties.Auth).toBeUndefined();
    const template = Template.fromStack(stack);
    template.hasResourceProperties('AWS::IAM::Policy', {
      Roles: [{ Ref: Match.stringLikeRegexp('^Handler') }],
      PolicyDocument: {
        Statement: Match.arrayWith([
          {
            Action: 'rds-db:connect',
            Effect: 'Allow',
            Resource: {
              'Fn::Join': [
                '',
                [
                  'arn:',
                  { Ref: 'AWS::Partition' },
                  ':rds-db:eu-central-1:123456789012:dbuser:',
                  { 'Fn::Select': [6, { 'Fn::Split': [':', { 'Fn::GetAtt': [proxy.id, 'DBProxyArn'] }] }] },
                  '/api',
                ],
              ],
            },
          },
        ]),
      },
    });
    template.hasResourceProperties('AWS::IAM::ManagedPolicy', {
      PolicyDocument: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Action: 'rds-db:connect',
            Resource: { 'Fn::Join': ['', Match.arrayWith([Match.stringLikeRegexp('/api$')])] },
          }),
        ]),
      },
      Roles: [{ Ref: Match.stringLikeRegexp('^PostgresPoolRole') }],
    });
  });

  test('both kinds: tokens by default, and secrets for those who have one', () => {
    const made = aurora();
    const { stack, server } = made;
    const pool = server.addPooler('Pool');
    const app = server.addDatabase('app');
    app.addLoginRole('api').grantConnect(handler(made), { through: pool });
    app
      .addLoginRole('job', { authentication: Authentication.iam() })
      .grantConnect(handler(made, 'Job'), { through: pool });
    const { Properties } = proxyOf(stack);
    expect(Properties.DefaultAuthScheme).toBe('IAM_AUTH');
    expect(Properties.Auth.map((one: any) => one.Description)).toEqual(['api']);
  });

  test.each([
    [
      'two logins that take turns',
      { authentication: Authentication.alternatingPasswords() },
      /alternatingPasswords\(\), and RDS Proxy knows the one user that a secret names/,
    ],
    ['replication', { replication: true }, /no pooler passes the replication protocol on; leave through out/],
  ])('%s cannot go through it', (_, options, message) => {
    const made = aurora();
    const pool = made.server.addPooler('Pool');
    const role = made.server.addDatabase('app').addLoginRole('one', options);
    expect(() => role.grantConnect(handler(made), { through: pool })).toThrow(message);
  });

  test('CP-13: nor a role that works as another, as migrations do', () => {
    const made = aurora();
    const pool = made.server.addPooler('Pool');
    const app = made.server.addDatabase('app');
    const migrator = app.addLoginRole('migrator', { actsAs: app.owner });
    expect(() => migrator.grantConnect(handler(made), { through: pool })).toThrow(
      /actsAs is app_owner.*leave through out, so that it connects to the server itself, as migrations must/,
    );
  });
});

test('CP-16, CP-17: the function is let in at the proxy alone, and its environment names the proxy and its root', () => {
  const made = aurora();
  const { stack, server } = made;
  const pool = server.addPooler('Pool');
  server.addDatabase('app').addLoginRole('api').grantConnect(handler(made), { through: pool });
  const template = Template.fromStack(stack);
  const { id } = proxyOf(stack);
  template.hasResourceProperties('AWS::Lambda::Function', {
    Environment: {
      Variables: {
        PGHOST: { 'Fn::GetAtt': [id, 'Endpoint'] },
        PGPORT: '5432',
        PGDATABASE: 'app',
        PGUSER: 'api',
        PGSSLMODE: 'verify-full',
        PGSSLROOTCERT: 'system',
        PGSECRETARN: Match.anyValue(),
      },
    },
  });
  const fromHandler = Object.values(template.findResources('AWS::EC2::SecurityGroupIngress')).filter((rule) =>
    JSON.stringify(rule.Properties.SourceSecurityGroupId).includes('Handler'),
  );
  expect(fromHandler.map(({ Properties }) => [Properties.FromPort, JSON.stringify(Properties.GroupId)])).toEqual([
    [5432, expect.stringContaining('PostgresPoolSecurityGroup')],
  ]);
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    Description: 'Pooler',
    FromPort: 5433,
    GroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^PostgresSecurityGroup'), 'GroupId'] },
    SourceSecurityGroupId: { 'Fn::GetAtt': [Match.stringLikeRegexp('^PostgresPoolSecurityGroup'), 'GroupId'] },
  });
});

describe('CP-13: the way to the readers', () => {
  test('is an endpoint of the proxy, made when it is asked for, once', () => {
    const made = aurora();
    const { stack, server } = made;
    const pool = server.addPooler('Pool');
    expect(Object.keys(Template.fromStack(stack).findResources('AWS::RDS::DBProxyEndpoint'))).toEqual([]);
    const second = aurora();
    const reads = second.server.addPooler('Pool');
    expect(reads.forReads()).toBe(reads.forReads());
    second.server
      .addDatabase('app')
      .addLoginRole('report', { authentication: Authentication.iam() })
      .grantConnect(handler(second), { through: reads.forReads() });
    const template = Template.fromStack(second.stack);
    template.hasResourceProperties('AWS::RDS::DBProxyEndpoint', { TargetRole: 'READ_ONLY' });
    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: {
        Variables: Match.objectLike({ PGHOST: { 'Fn::GetAtt': [Match.stringLikeRegexp('Readers'), 'Endpoint'] } }),
      },
    });
    expect(pool.capabilities.iamAuthentication).toBe(true);
  });

  test('is an error where there is none', () => {
    const one = instance();
    expect(() => one.server.addPooler('Pool').forReads()).toThrow(/does not stand before read replicas/);
    const alone = aurora({ readers: 0 });
    expect(() => alone.server.addPooler('Pool').forReads()).toThrow(/the cluster has no reader; set readers/);
    expect(() => alone.server.addPooler('Other').forSessions()).toThrow(/connects to the server itself/);
  });
});

describe('malformed options are refused', () => {
  test.each([
    [
      { sessionPinningFilters: ['EXCLUDE_VARIABLE_SETS'] },
      /sessionPinningFilters is set, and RDS Proxy has none for PostgreSQL/,
    ],
    [{ initQuery: 'SET x = 1' }, /initQuery is set.*set what sessions need on the role/],
    [{ maxConnectionsPercent: 0 }, /maxConnectionsPercent is 0; write whole percents from 1 to 100/],
    [{ maxConnectionsPercent: 40, maxIdleConnectionsPercent: 50 }, /from 0 to maxConnectionsPercent \(40\)/],
    [{ borrowTimeout: Duration.minutes(6) }, /borrowTimeout is 360 seconds; RDS Proxy takes 1 to 300/],
    [{ idleClientTimeout: Duration.hours(9) }, /idleClientTimeout is 32400 seconds/],
  ])('%j', (options, message) => {
    expect(() => aurora().server.addPooler('Pool', Pooler.rdsProxy(options))).toThrow(message);
  });
});

test('what a proxy keeps open is no more than what it may use beside others', () => {
  const made = (idle: number) => {
    const { stack, server } = aurora();
    server.addPooler('Web', Pooler.rdsProxy({ maxIdleConnectionsPercent: idle }));
    server.addPooler('Jobs');
    return () => Template.fromStack(stack);
  };
  expect(made(41)).toThrow(
    /Test\/Postgres\/Web: maxIdleConnectionsPercent is 41, and the proxy may use 40 %.*write 40 or less/,
  );
  expect(made(40)).not.toThrow();
});

test('where no compiler looks, a number that is none is shown as it was written', () => {
  const add = (options: object) => () => aurora().server.addPooler('Pool', Pooler.rdsProxy(options));
  expect(add({ maxConnectionsPercent: '80' })).toThrow(/maxConnectionsPercent is '80'; write/);
  expect(add({ maxConnectionsPercent: Lazy.number({ produce: () => 80 }) })).toThrow(
    /maxConnectionsPercent is a token/,
  );
});

describe('CP-12, CP-18: alarms on the topic of the server', () => {
  test('pinned connections, and what clients wait for one', () => {
    const { stack, server } = aurora();
    server.addPooler('Pool');
    const template = Template.fromStack(stack);
    const actions = [stack.resolve(server.alarmTopic!.topicArn)];
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Threshold: 10,
      EvaluationPeriods: 3,
      AlarmActions: actions,
      Metrics: Match.arrayWith([
        Match.objectLike({ Expression: 'IF(connections > 0, 100 * pinned / connections, 0)' }),
        Match.objectLike({
          MetricStat: Match.objectLike({
            Metric: {
              Namespace: 'AWS/RDS',
              MetricName: 'DatabaseConnectionsCurrentlySessionPinned',
              Dimensions: [{ Name: 'ProxyName', Value: proxyOf(stack).Properties.DBProxyName }],
            },
          }),
        }),
      ]),
    });
    template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'DatabaseConnectionsBorrowLatency',
      Threshold: 100_000,
      AlarmActions: actions,
    });
  });

  test('none where a development server has no topic, and there where it has', () => {
    const names = (props: object) => {
      const { stack, server } = aurora({ profile: PostgresProfile.development(), ...props });
      server.addPooler('Pool');
      return JSON.stringify(Template.fromStack(stack).findResources('AWS::CloudWatch::Alarm'));
    };
    expect(names({})).not.toContain('BorrowLatency');
    const { stack, vpc } = cleanStack();
    expect(vpc).toBeDefined();
    const topic = sns.Topic.fromTopicArn(stack, 'Topic', 'arn:aws:sns:eu-central-1:123456789012:alarms');
    expect(names({ alarmTopic: topic })).toContain('BorrowLatency');
  });
});

describe('guards', () => {
  const findings = (build: () => { stack: Stack }) => findingsOf(build().stack).filter((id) => id.startsWith('CP-'));

  test('CP-10: statements in the log are a finding in production, which can be acknowledged', () => {
    const debug = (profile = PostgresProfile.production(), acknowledged = false) => {
      const made = aurora({ profile });
      made.server.addPooler('Pool', Pooler.rdsProxy({ debugLogging: true }));
      if (acknowledged) made.server.acknowledge({ id: 'CP-10', reason: 'one day, to find who pins' });
      return made;
    };
    expect(findings(() => debug())).toEqual(['CP-10']);
    expect(findings(() => debug(undefined, true))).toEqual([]);
    expect(findings(() => debug(PostgresProfile.development()))).toEqual([]);
  });

  test('CP-10: a proxy keeps a cluster awake that is to pause, which is said', () => {
    const pausing = (minCapacity: number) => {
      const made = aurora({ serverlessV2: { minCapacity, maxCapacity: 8 }, profile: PostgresProfile.development() });
      made.server.addPooler('Pool');
      return findingsOf(made.stack, 'warning');
    };
    expect(pausing(0)).toEqual(['CP-10.pause']);
    expect(pausing(0.5)).toEqual([]);
  });

  test('CP-3: two proxies share 80 percent, and more than that is a finding', () => {
    const percents = (stack: Stack) =>
      Object.values(Template.fromStack(stack).findResources('AWS::RDS::DBProxyTargetGroup')).map(
        (one) => one.Properties.ConnectionPoolConfigurationInfo.MaxConnectionsPercent,
      );
    const shared = aurora();
    shared.server.addPooler('Web', Pooler.rdsProxy({ maxConnectionsPercent: 50 }));
    shared.server.addPooler('Jobs');
    expect(percents(shared.stack)).toEqual([50, 30]);
    const halves = aurora();
    halves.server.addPooler('Web');
    halves.server.addPooler('Jobs');
    expect(percents(halves.stack)).toEqual([40, 40]);
    const tooMuch = (acknowledged: boolean) => {
      const made = aurora();
      made.server.addPooler('Web', Pooler.rdsProxy({ maxConnectionsPercent: 50 }));
      made.server.addPooler('Jobs', Pooler.rdsProxy({ maxConnectionsPercent: 40 }));
      if (acknowledged) made.server.acknowledge({ id: 'CP-3', reason: 'they are never busy at once' });
      return made;
    };
    expect(findings(() => tooMuch(false))).toEqual(['CP-3']);
    expect(findings(() => tooMuch(true))).toEqual([]);
  });
});
