import { App, Lazy, Stack, Token, aws_ec2 as ec2, aws_rds as rds, aws_sns as sns } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import {
  AllowedExtensions,
  AuroraPostgres,
  AuroraPostgresProps,
  Authentication,
  PostgresProfile,
  PostgresVersion,
  Privilege,
  RdsPostgres,
  RdsPostgresProps,
  SchemaObject,
} from '../../lib';
import { decodeState, DesiredState } from '../../lib/contract';
import { DeclaredServer } from '../database/declared-server';
import { cleanStack, OBJECTIVES, quiet } from './support';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('./state/fake-bundles').fakeBundle(),
}));
quiet();

type Props = Partial<RdsPostgresProps & AuroraPostgresProps>;
type Kind = 'rds' | 'aurora';
const KINDS: Kind[] = ['rds', 'aurora'];

function make(kind: Kind, props: Props = {}, acknowledge: string[] = []) {
  const { app, stack, vpc } = cleanStack();
  const all = { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES, identifier: 'shop', ...props };
  const server = kind === 'rds' ? new RdsPostgres(stack, 'Postgres', all) : new AuroraPostgres(stack, 'Postgres', all);
  acknowledge.forEach((id) => server.acknowledge({ id, reason: 'what a test is about' }));
  return { app, stack, server, vpc };
}

function stateOf(stack: Stack): DesiredState {
  const [resource] = Object.values(Template.fromStack(stack).findResources('Custom::CdkPostgresState'));
  return decodeState(resource.Properties.State);
}

/** The parameters of every group of a template, by the type of the group. */
function parametersOf(stack: Stack, kind: Kind): Record<string, string> {
  const type = kind === 'rds' ? 'AWS::RDS::DBParameterGroup' : 'AWS::RDS::DBClusterParameterGroup';
  const [group] = Object.values(Template.fromStack(stack).findResources(type));
  return group.Properties.Parameters;
}

function problemOf(app: App): string {
  try {
    app.synth();
    return '';
  } catch (error) {
    return String(error);
  }
}

/** The findings of this library that an app has, as `id: what`. */
function findingsOf(app: App): string[] {
  const said: string[] = [];
  jest.spyOn(console, 'error').mockImplementation((line: string) => void said.push(String(line)));
  const problem = problemOf(app);
  return [...said, problem].filter((line) => line !== '');
}

describe.each(KINDS)('the way to %s', (kind) => {
  const nodes = (stack: Stack) => Object.values(Template.fromStack(stack).findResources('AWS::RDS::DBInstance'));

  test('SEC-12, SEC-13: every node has its certificate from the authority that the template names', () => {
    const { stack } = make(kind);
    expect(nodes(stack).map(({ Properties }) => Properties.CACertificateIdentifier)).toEqual(
      nodes(stack).map(() => 'rds-ca-rsa2048-g1'),
    );
  });

  test('SEC-13: a node without a named authority is a finding', () => {
    const { app, stack } = make(kind);
    const [node] = stack.node.findAll().filter((one) => one instanceof rds.CfnDBInstance);
    node.caCertificateIdentifier = undefined;
    expect(findingsOf(app).join('\n')).toMatch(
      /no certificate authority is named for Test\/Postgres\/[^]*cdk-postgres::SEC-13/,
    );
  });

  test('SEC-13: who operates the server hears that RDS will rotate its certificate, and that an authority expires', () => {
    const { stack } = make(kind);
    const template = Template.fromStack(stack);
    const [topic] = Object.keys(template.findResources('AWS::SNS::Topic'));
    const Targets = [Match.objectLike({ Arn: { Ref: topic } })];
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: {
        source: ['aws.rds'],
        'detail-type': ['RDS DB Instance Event'],
        detail: { EventID: ['RDS-EVENT-0501', 'RDS-EVENT-0502'], SourceIdentifier: ['shop', { prefix: 'shop-' }] },
      },
      State: 'ENABLED',
      Targets,
    });
    template.hasResourceProperties('AWS::Events::Rule', {
      EventPattern: {
        source: ['aws.health'],
        detail: { service: ['RDS'], eventTypeCode: ['AWS_RDS_PLANNED_LIFECYCLE_EVENT'] },
      },
      Targets,
    });
    const publishes = Match.objectLike({
      Effect: 'Allow',
      Action: 'sns:Publish',
      Principal: { Service: 'events.amazonaws.com' },
    });
    template.hasResourceProperties('AWS::SNS::TopicPolicy', {
      PolicyDocument: { Statement: Match.arrayWith([publishes]) },
    });
    // Without the key the topic takes the message and throws it away.
    template.hasResourceProperties('AWS::KMS::Key', {
      Description: 'PostgreSQL server Test/Postgres',
      KeyPolicy: {
        Statement: Match.arrayWith([
          Match.objectLike({
            Principal: { Service: 'events.amazonaws.com' },
            Action: ['kms:Decrypt', 'kms:GenerateDataKey*'],
          }),
        ]),
      },
    });
  });

  test('SEC-13: it goes to the topic that operators read, and nowhere in the development profile without one', () => {
    const own = cleanStack();
    const topic = new sns.Topic(own.stack, 'OnCall');
    new RdsPostgres(own.stack, 'Postgres', {
      vpc: own.vpc,
      version: PostgresVersion.V18,
      objectives: OBJECTIVES,
      alarmTopic: topic,
    });
    const targets = Object.values(Template.fromStack(own.stack).findResources('AWS::Events::Rule')).map(
      ({ Properties }) => Properties.Targets[0].Arn,
    );
    expect(targets).toEqual([own.stack.resolve(topic.topicArn), own.stack.resolve(topic.topicArn)]);
    const { stack } = make(kind, { profile: PostgresProfile.development() });
    Template.fromStack(stack).resourceCountIs('AWS::Events::Rule', 0);
  });

  test('SEC-15: nobody may enter until a connection is granted, and then from its security group alone', () => {
    const ways = (stack: Stack) =>
      Object.values(Template.fromStack(stack).findResources('AWS::EC2::SecurityGroupIngress')).map(
        ({ Properties }) => Properties,
      );
    const closed = ways(make(kind).stack);
    const { stack, server, vpc } = make(kind);
    server.connections.allowDefaultPortFrom(new ec2.SecurityGroup(stack, 'Consumer', { vpc }));
    const open = ways(stack);
    expect(open).toHaveLength(closed.length + 1);
    const consumers = open.map(({ SourceSecurityGroupId }) => JSON.stringify(SourceSecurityGroupId));
    expect(consumers.filter((group) => group.includes('Consumer'))).toHaveLength(1);
    for (const way of open) {
      expect(way).toMatchObject({ FromPort: 5433, ToPort: 5433, SourceSecurityGroupId: expect.anything() });
      expect(way).not.toHaveProperty('CidrIp');
    }
  });

  test('SEC-16: a role that logs in by token: the server takes tokens, the role is to be granted rds_iam', () => {
    const { stack, server } = make(kind);
    server.addDatabase('app').addLoginRole('monitor', { authentication: Authentication.iam() });
    Template.fromStack(stack).hasResourceProperties(kind === 'rds' ? 'AWS::RDS::DBInstance' : 'AWS::RDS::DBCluster', {
      EnableIAMDatabaseAuthentication: true,
    });
    expect(stateOf(stack).roles.find(({ name }) => name === 'monitor')?.authentication).toBe('iam');
  });

  test('SEC-21, SEC-22, LIB-6: each exported log has a group with key and retention, which is there before the server', () => {
    const { stack } = make(kind);
    const template = Template.fromStack(stack);
    const groups = Object.entries(template.findResources('AWS::Logs::LogGroup')).filter(([, { Properties }]) =>
      String(Properties.LogGroupName).startsWith('/aws/rds/'),
    );
    const type = kind === 'rds' ? 'AWS::RDS::DBInstance' : 'AWS::RDS::DBCluster';
    const [server] = Object.values(template.findResources(type));
    const place = kind === 'rds' ? 'instance' : 'cluster';
    expect(groups.map(([, { Properties }]) => Properties.LogGroupName).sort()).toEqual(
      [...server.Properties.EnableCloudwatchLogsExports].sort().map((log) => `/aws/rds/${place}/shop/${log}`),
    );
    for (const [id, { Properties }] of groups) {
      expect(server.DependsOn).toContain(id);
      expect(Properties).toMatchObject({ RetentionInDays: 365, KmsKeyId: expect.anything() });
    }
  });
});

describe.each(KINDS)('auditing on %s', (kind) => {
  test('SEC-20: the library, the role of RDS, the extension in every database, and grants for what is audited', () => {
    const { stack, server } = make(kind);
    const before = server.addDatabase('app');
    const billing = before.addSchema('billing');
    const auditing = server.addAuditing();
    auditing.audit(billing, SchemaObject.allTables());
    auditing.audit(billing, SchemaObject.table('card'), Privilege.SELECT);
    server.addDatabase('later');
    const state = stateOf(stack);
    expect(state.databases.map(({ name, extensions }) => [name, extensions])).toEqual([
      ['app', [{ name: 'pgaudit' }]],
      ['later', [{ name: 'pgaudit' }]],
    ]);
    expect(state.roles.find(({ name }) => name === 'rds_pgaudit')).toMatchObject({ login: false });
    expect(state.memberships.filter(({ role }) => role === 'rds_pgaudit')).toEqual([]);
    expect(state.databases[0].grants.filter(({ to }) => to === 'rds_pgaudit')).toEqual([
      {
        privileges: ['INSERT', 'UPDATE', 'DELETE'],
        on: { kind: 'allTables', schema: 'billing' },
        to: 'rds_pgaudit',
      },
      { privileges: ['SELECT'], on: { kind: 'table', schema: 'billing', name: 'card' }, to: 'rds_pgaudit' },
      { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'rds_pgaudit' },
    ]);
    expect(state.databases[0].defaultPrivileges.filter(({ to }) => to === 'rds_pgaudit')).toEqual([
      {
        creator: 'app_owner',
        schema: 'billing',
        objects: 'tables',
        privileges: ['INSERT', 'UPDATE', 'DELETE'],
        to: 'rds_pgaudit',
      },
    ]);
    Template.fromStack(stack).hasResourceProperties('AWS::RDS::DBParameterGroup', {
      Parameters: Match.objectLike({
        shared_preload_libraries: 'pg_stat_statements,pgaudit',
        'pgaudit.role': 'rds_pgaudit',
        'pgaudit.log': 'ddl,role',
      }),
    });
  });

  test('SEC-20: a database that declares the extension itself keeps its declaration', () => {
    const { stack, server } = make(kind);
    server.addDatabase('app').addExtension('pgaudit', { version: '18.0' });
    server.addAuditing();
    expect(stateOf(stack).databases[0].extensions).toEqual([{ name: 'pgaudit', version: '18.0' }]);
  });

  test('SEC-20: parameters with which nothing would be audited are findings', () => {
    const prop = kind === 'rds' ? 'parameters' : 'instanceParameters';
    const unloaded = make(kind, { [prop]: { shared_preload_libraries: 'pg_stat_statements' } });
    unloaded.server.addAuditing();
    expect(findingsOf(unloaded.app).join('\n')).toContain(
      'addAuditing() needs pgaudit in the parameter shared_preload_libraries, which is "pg_stat_statements"',
    );
    const roleless = make(kind, { [prop]: { 'pgaudit.role': 'engine-default' } });
    roleless.server.addAuditing();
    expect(findingsOf(roleless.app).join('\n')).toContain(
      'addAuditing() audits what is granted to rds_pgaudit, and the parameter pgaudit.role is not set',
    );
    const fine = make(kind, {}, ['OPS-4']);
    fine.server.addAuditing();
    expect(findingsOf(fine.app)).toEqual([]);
  });
});

test('SEC-20: what pgaudit takes no notice of is refused with what to do', () => {
  const { server } = make('rds');
  const billing = server.addDatabase('app').addSchema('billing');
  const auditing = server.addAuditing();
  expect(() => auditing.audit(billing, SchemaObject.allTables(), Privilege.TRUNCATE)).toThrow(
    /Test\/Postgres\/Auditing: audit\(\) of the schema "billing" names TRUNCATE; .*the rest by the parameter pgaudit\.log/,
  );
  expect(() => auditing.audit(billing, SchemaObject.allRoutines())).toThrow(/names a allRoutines; .*allTables\(\)/);
});

test('SEC-20: a server that this app does not run is audited by the role that its parameter names', () => {
  const stack = new Stack(new App(), 'Test');
  const server = new DeclaredServer(stack, 'Server', { platform: 'external' });
  server.addDatabase('app');
  expect(server.addAuditing({ roleName: 'auditor' }).roleName).toBe('auditor');
  expect(stateOf(stack).roles.map(({ name }) => name)).toContain('auditor');
});

describe.each(KINDS)('the allow-list of extensions on %s', (kind) => {
  test('SEC-23: it has what is declared, before and after, in a stable order, and no others', () => {
    const { stack, server } = make(kind, { allowedExtensions: AllowedExtensions.declared('hstore') });
    const app = server.addDatabase('app');
    app.addExtension('pg_trgm');
    server.addAuditing();
    app.addExtension('citext');
    expect(parametersOf(stack, kind)['rds.allowed_extensions']).toBe('citext,hstore,pg_trgm,pgaudit,plpgsql');
  });

  test('SEC-23: a closed list is what it says, and an extension outside of it fails the synthesis', () => {
    const fine = make(kind, { allowedExtensions: AllowedExtensions.only('pg_trgm') }, ['OPS-4']);
    fine.server.addDatabase('app').addExtension('pg_trgm');
    expect(problemOf(fine.app)).toBe('');
    expect(parametersOf(fine.stack, kind)['rds.allowed_extensions']).toBe('pg_trgm,plpgsql');

    const { app, server } = make(kind, { allowedExtensions: AllowedExtensions.only('pg_trgm') }, ['OPS-4']);
    server.addDatabase('app').addExtension('citext');
    expect(problemOf(app)).toMatch(
      /\[Test\/Postgres\] citext is declared by addExtension\(\), and rds\.allowed_extensions allows pg_trgm,plpgsql: add it there/,
    );
  });

  test('SEC-23: the parameter set by hand is held to the same', () => {
    const { app, server } = make(kind, { parameters: { 'rds.allowed_extensions': 'pg_trgm, hstore' } }, ['OPS-4']);
    server.addDatabase('app').addExtension('hstore');
    expect(problemOf(app)).toBe('');
    const other = make(kind, { parameters: { 'rds.allowed_extensions': 'pg_trgm' } }, ['OPS-4']);
    other.server.addDatabase('app').addExtension('hstore');
    expect(problemOf(other.app)).toMatch(/hstore is declared/);
    const all = make(kind, { parameters: { 'rds.allowed_extensions': '*' } }, ['OPS-4']);
    all.server.addDatabase('app').addExtension('hstore');
    expect(problemOf(all.app)).toBe('');
  });

  test('SEC-23: without one the parameter is not set', () => {
    const { stack } = make(kind);
    expect(parametersOf(stack, kind)).not.toHaveProperty(['rds.allowed_extensions']);
  });

  test('SEC-24: an extension that reaches out of the server is a finding in production, and acknowledged by name', () => {
    const declare = (props: Props, acknowledge: string[] = []) => {
      const { app, server } = make(kind, props, ['OPS-4', ...acknowledge]);
      const database = server.addDatabase('app');
      database.addExtension('pg_trgm');
      database.addExtension('dblink');
      return findingsOf(app).join('\n');
    };
    expect(declare({})).toMatch(
      /the extension dblink lets sessions connect from the server to others[^]*cdk-postgres::SEC-24/,
    );
    expect(declare({})).not.toMatch(/pg_trgm/);
    expect(declare({}, ['SEC-24'])).toBe('');
  });
});

test.each<[string, Props, RegExp]>([
  ['a token', { allowedExtensions: AllowedExtensions.only(Lazy.string({ produce: () => 'x' })) }, /must be a literal/],
  ['no name', { allowedExtensions: AllowedExtensions.declared('pg trgm') }, /names "pg trgm", which is no name of/],
  [
    'twice',
    { allowedExtensions: AllowedExtensions.declared(), parameters: { 'rds.allowed_extensions': 'citext' } },
    /allowedExtensions and the parameter rds\.allowed_extensions are both set; leave the parameter out/,
  ],
])('SEC-23: a list with %s is refused with its path', (_, props, message) => {
  expect(() => make('rds', props)).toThrow(message);
  expect(() => make('rds', props)).toThrow('Test/Postgres: ');
  expect(Token.isUnresolved(message)).toBe(false);
});
