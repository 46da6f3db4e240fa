import { Duration, aws_lambda as lambda } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Authentication, LoginRoleOptions, PredefinedRole, Privilege, SchemaObject } from '../../lib/database';
import { DeclaredServer, declaredLines, declaredState, newStack, stateResource } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup(options: LoginRoleOptions = {}) {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  const app = server.addDatabase('app');
  const api = app.addLoginRole('api', { authentication: Authentication.alternatingPasswords(), ...options });
  return { stack, server, app, api };
}

test('SEC-18: two logins inherit from the role, which carries every privilege; limits and settings are each login’s own', () => {
  const { stack, app, api } = setup({
    statementTimeout: Duration.seconds(15),
    searchPath: ['billing'],
    connectionLimit: 50,
    validUntil: new Date('2030-01-01T00:00:00Z'),
  });
  app.addSchema('billing').grantReadWrite(api);
  const lines = declaredLines(stack);
  expect(lines.roles).toEqual([
    'api NOLOGIN',
    "api_1 LOGIN PASSWORD OF api CONNECTION LIMIT 50 VALID UNTIL '2030-01-01T00:00:00.000Z'",
    "api_2 LOGIN PASSWORD OF api CONNECTION LIMIT 50 VALID UNTIL '2030-01-01T00:00:00.000Z'",
    'app_owner NOLOGIN',
  ]);
  expect(lines.memberships).toEqual([
    'api TO api_1 WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    'api TO api_2 WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
  ]);
  expect(lines.settings).toEqual([
    "ROLE api_1 SET search_path = 'billing'",
    "ROLE api_1 SET statement_timeout = '15s'",
    "ROLE api_2 SET search_path = 'billing'",
    "ROLE api_2 SET statement_timeout = '15s'",
  ]);
  const grantees = new Set(declaredState(stack).databases[0].grants.map((grant) => grant.to));
  expect([...grantees]).toEqual(['api']);
});

test('one secret, whose generated part is constant: the first user and the group', () => {
  const { stack, api } = setup();
  const template = Template.fromStack(stack);
  const secrets = Object.values(
    template.findResources('AWS::SecretsManager::Secret', {
      Properties: { Description: Match.stringLikeRegexp('role api') },
    }),
  );
  expect(secrets.map((secret) => secret.Properties.GenerateSecretString.SecretStringTemplate)).toEqual([
    '{"username":"api_1","group":"api"}',
  ]);
  const arn = stack.resolve(api.secret!.secretArn);
  expect(stateResource(stack).Properties.Secrets).toEqual({ api: arn });
  expect(stateResource(stack).Properties.HomeDatabases).toEqual({ api: 'app' });
  template.hasResourceProperties('AWS::SecretsManager::RotationSchedule', { SecretId: arn });
});

test('another kind of authentication has another secret: the password of one is never that of the other', () => {
  const ids = [Authentication.password(), Authentication.alternatingPasswords()].map((authentication) => {
    const { stack, api } = setup({ authentication });
    return JSON.stringify(stack.resolve(api.secret!.secretArn));
  });
  expect(new Set(ids).size).toBe(2);
});

test('only where logins take turns, the function that rotates may read the secret of the administrator', () => {
  const statements = (authentication: Authentication) => {
    const { stack, server } = setup({ authentication });
    const admin = stack.resolve(server.adminSecret.secretArn);
    const policies = Template.fromStack(stack).findResources('AWS::IAM::ManagedPolicy');
    return Object.entries(policies)
      .filter(([id]) => id.includes('Rotate'))
      .flatMap(([, policy]) => policy.Properties.PolicyDocument.Statement)
      .filter((statement) => JSON.stringify(statement.Resource) === JSON.stringify(admin))
      .map((statement) => statement.Action);
  };
  expect(statements(Authentication.password())).toEqual([]);
  expect(statements(Authentication.alternatingPasswords())).toEqual([
    ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
  ]);
});

test('clients take the user name from the secret, so that no PGUSER is there', () => {
  const { stack, server, api } = setup();
  const handler = new lambda.Function(stack, 'Handler', {
    runtime: lambda.Runtime.NODEJS_24_X,
    handler: 'index.handler',
    code: lambda.Code.fromInline('exports.handler = async () => {};'),
    vpc: server.vpc,
  });
  server.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
  api.grantConnect(handler);
  expect(api.connection).toMatchObject({ user: undefined, authentication: 'alternatingPasswords', database: 'app' });
  expect(Object.keys(api.environment)).toEqual(['PGHOST', 'PGPORT', 'PGDATABASE', 'PGSSLMODE', 'PGSECRETARN']);
  Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: { PGDATABASE: 'app', PGUSER: Match.absent(), PGSECRETARN: Match.anyValue() } },
  });
});

test('memberships follow: privileges by way of the role, SET ROLE to each login', () => {
  const { stack, app, api } = setup({ memberOf: [PredefinedRole.MONITOR] });
  api.memberOf(app.readWriteRole, { set: true });
  expect(declaredLines(stack).memberships).toEqual([
    'api TO api_1 WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    'api TO api_2 WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    'app_readwrite TO api_1 WITH INHERIT TRUE, SET TRUE, ADMIN FALSE',
    'app_readwrite TO api_2 WITH INHERIT TRUE, SET TRUE, ADMIN FALSE',
    'pg_monitor TO api WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
  ]);
});

describe('SEC-18: what alternating logins create', () => {
  const problem = (stack: ReturnType<typeof newStack>) => {
    try {
      Template.fromStack(stack);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  };

  test('would belong to the one whose turn it is, which is a finding; default privileges are for both', () => {
    const { stack, app, api } = setup();
    const billing = app.addSchema('billing');
    const report = app.addLoginRole('report');
    billing.grantRead(report);
    billing.grant(api, SchemaObject.schema(), Privilege.CREATE);
    expect(problem(stack)).toContain(
      'api_1 and api_2 may create objects in the schema billing of app, which would belong to the one whose turn it is',
    );
  });

  test('belongs to the owner with actsAs, for which default privileges are declared', () => {
    const stack = newStack();
    const app = new DeclaredServer(stack, 'Server').addDatabase('app');
    const migrator = app.addLoginRole('migrator', {
      authentication: Authentication.alternatingPasswords(),
      actsAs: app.owner,
    });
    const billing = app.addSchema('billing');
    billing.grantRead(app.addLoginRole('report'));
    expect(migrator.roleName).toBe('migrator');
    expect(problem(stack)).toBe('');
    expect(new Set(declaredState(stack).databases[0].defaultPrivileges.map(({ creator }) => creator))).toEqual(
      new Set(['app_owner']),
    );
    expect(declaredLines(stack).settings).toEqual([
      'ROLE migrator_1 SET "role" = \'app_owner\'',
      'ROLE migrator_2 SET "role" = \'app_owner\'',
    ]);
  });

  test('carries the default privileges of either login, where the finding is acknowledged', () => {
    const { stack, server, app, api } = setup();
    server.acknowledge({ id: 'SEC-18', reason: 'scratch tables alone' });
    const billing = app.addSchema('billing');
    billing.grantRead(app.addLoginRole('report'));
    billing.grant(api, SchemaObject.schema(), Privilege.CREATE);
    expect(problem(stack)).toBe('');
    expect(new Set(declaredState(stack).databases[0].defaultPrivileges.map(({ creator }) => creator))).toEqual(
      new Set(['app_owner', 'api_1', 'api_2']),
    );
  });
});

test('a name that leaves no room for the logins is an error', () => {
  expect(() =>
    setup({}).app.addLoginRole('x'.repeat(62), { authentication: Authentication.alternatingPasswords() }),
  ).toThrow(/roleName "x+_1" cannot be the name of a role: it is 64 bytes long/);
});
