import { Lazy, aws_ec2 as ec2, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Match, Template } from 'aws-cdk-lib/assertions';
import { Authentication, ExternalPoolerOptions, ExternalPostgres, Pooler, PoolMode, ServerTrust } from '../../lib';
import { aurora, cleanStack, findingsOf, handler, quiet } from './support';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function supabase(options: Partial<ExternalPoolerOptions> = {}) {
  const made = cleanStack();
  const adminSecret = new secretsmanager.Secret(made.stack, 'Admin');
  const server = ExternalPostgres.fromEndpoint(made.stack, 'Supabase', {
    host: 'db.abc.supabase.co',
    adminSecret,
    identity: 'abc',
    maxConnections: 60,
  });
  const pool = server.addPooler('Pool', Pooler.external({ host: 'aws-0.pooler.supabase.com', port: 6543, ...options }));
  return { ...made, server, pool };
}

test('CP-20: the environment names the pooler, with the user name that it asks for', () => {
  const made = supabase({ userName: '{role}.abc', maxServerConnections: 15 });
  made.server.addDatabase('app').addLoginRole('api').grantConnect(handler(made), { through: made.pool });
  Template.fromStack(made.stack).hasResourceProperties('AWS::Lambda::Function', {
    Environment: {
      Variables: Match.objectLike({
        PGHOST: 'aws-0.pooler.supabase.com',
        PGPORT: '6543',
        PGUSER: 'api.abc',
        PGSSLMODE: 'verify-full',
        PGSSLROOTCERT: 'system',
      }),
    },
  });
});

test('CP-20: the name of the role stands wherever the user name says so, whatever is in it', () => {
  const made = supabase({ userName: '{role}.abc/{role}', maxServerConnections: 15 });
  made.server.addDatabase('app').addLoginRole('a$$b').grantConnect(handler(made), { through: made.pool });
  Template.fromStack(made.stack).hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: Match.objectLike({ PGUSER: 'a$$b.abc/a$$b' }) },
  });
});

test.each([
  [{ trust: 'public' }, /Test\/Supabase\/Pool: trust is 'public'; write ServerTrust.publicRoots\(\)/],
  [{ userName: 5 }, /userName is 5; write where the role's name stands/],
  [{ maxServerConnections: '15' }, /maxServerConnections must be a whole number from 1 on, not '15'/],
  [
    { maxServerConnections: Lazy.number({ produce: () => 15 }) },
    /maxServerConnections must be a whole number from 1 on, not a token/,
  ],
])('where no compiler looks, %# is refused', (options, message) => {
  expect(() => supabase(options as never)).toThrow(message);
});

test('CP-1: what is no pooler is refused, and without options', () => {
  const { server } = aurora();
  expect(() => server.addPooler('Other', 'rdsProxy' as never)).toThrow(
    /Test\/Postgres: addPooler\('Other'\) takes Pooler/,
  );
  expect(() => Pooler.external(undefined as never)).toThrow(/Pooler.external\(\): its properties are missing/);
});

test('CP-20: its capabilities are what is stated, and what its mode implies', () => {
  expect(supabase().pool.capabilities).toEqual({
    mode: 'transaction',
    preparedStatements: false,
    sessionFeatures: false,
    iamAuthentication: false,
    cancel: true,
  });
  expect(supabase({ mode: PoolMode.SESSION }).pool.capabilities).toMatchObject({
    preparedStatements: true,
    sessionFeatures: true,
  });
  expect(supabase({ preparedStatements: true }).pool.capabilities.preparedStatements).toBe(true);
});

test('CP-11: a role by IAM token goes through it where it says so, with a token of the server', () => {
  const refused = aurora();
  const without = refused.server.addPooler('Pool', Pooler.external({ host: 'pool.example.com' }));
  const role = refused.server.addDatabase('app').addLoginRole('api', { authentication: Authentication.iam() });
  expect(() => role.grantConnect(handler(refused), { through: without })).toThrow(
    /authentication is Authentication.iam\(\), and the pooler Test\/Postgres\/Pool cannot hand a token on.*Pooler.rdsProxy\(\) on RDS and Aurora/,
  );
  const made = aurora();
  const pool = made.server.addPooler(
    'Pool',
    Pooler.external({ host: 'pool.example.com', iamAuthentication: true, maxServerConnections: 10 }),
  );
  made.server
    .addDatabase('app')
    .addLoginRole('api', { authentication: Authentication.iam() })
    .grantConnect(handler(made), { through: pool });
  expect(JSON.stringify(Template.fromStack(made.stack).findResources('AWS::IAM::Policy'))).toContain(
    JSON.stringify(made.stack.resolve(made.server.identity)),
  );
});

test('its certificate is trusted from where it says, and its security groups let the application in', () => {
  const made = aurora();
  const group = new ec2.SecurityGroup(made.stack, 'PoolerGroup', { vpc: made.vpc, allowAllOutbound: false });
  const pem = '-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----';
  const pool = made.server.addPooler(
    'Pool',
    Pooler.external({
      host: 'pool.example.com',
      trust: ServerTrust.pem(pem),
      securityGroups: [group],
      maxServerConnections: 10,
    }),
  );
  made.server.addDatabase('app').addLoginRole('api').grantConnect(handler(made), { through: pool });
  const template = Template.fromStack(made.stack);
  template.hasResourceProperties('AWS::Lambda::Function', {
    Environment: { Variables: Match.objectLike({ PGSSLROOTPEM: pem, PGSSLROOTCERT: Match.absent() }) },
  });
  template.hasResourceProperties('AWS::EC2::SecurityGroupIngress', {
    FromPort: 5432,
    GroupId: made.stack.resolve(group.securityGroupId),
  });
});

test('CP-4: how many connections it opens has to be stated where the server is known', () => {
  expect(findingsOf(supabase().stack)).toEqual(['CP-4']);
  expect(findingsOf(supabase({ maxServerConnections: 15 }).stack)).toEqual([]);
  expect(findingsOf(supabase({ maxServerConnections: 55 }).stack)).toEqual(['CP-4']);
});

test.each<[object, RegExp]>([
  [{ host: 'postgres://x' }, /host must be a host name/],
  [{ mode: 'statement' }, /mode is 'statement'; write PoolMode.TRANSACTION or PoolMode.SESSION/],
  [{ iamAuthentication: 'no' }, /Test\/Supabase\/Pool: iamAuthentication is 'no'; write true or false/],
  [{ preparedStatements: 1 }, /Test\/Supabase\/Pool: preparedStatements is 1; write true or false/],
  [{ username: '{role}.abc' }, /^Pooler.external\(\): username is no option, .*; write userName/],
  [{ color: 'red' }, /^Pooler.external\(\): color is no option, .*; there are host, iamAuthentication, maxServerConn/],
  [{ userName: 'api.abc' }, /userName is "api.abc"; write where the role's name stands in it/],
  [{ maxServerConnections: 0 }, /maxServerConnections must be a whole number from 1 on, not 0/],
  [{ port: 0 }, /port is 0/],
])('%j is refused', (options, message) => {
  expect(() => supabase(options)).toThrow(message);
});

test('nobody is passed for a pooler but what addPooler() gave', () => {
  const made = aurora();
  const role = made.server.addDatabase('app').addLoginRole('api');
  expect(() => role.grantConnect(handler(made), { through: { host: 'x' } as never })).toThrow(
    /through is a Object; pass what server.addPooler\(\) gave: const pool = server.addPooler\('Pool'\)/,
  );
  expect(() => role.grantConnect(handler(made, 'Early'), { through: Pooler.rdsProxy() as never })).toThrow(
    /Role-api: through is a Pooler; pass what server.addPooler\(\) gave/,
  );
  expect(() => role.grantConnect(handler(made, 'Text'), { through: 'pool' as never })).toThrow(
    /through is 'pool'; pass/,
  );
  const other = supabase();
  expect(() => role.grantConnect(handler(made, 'Other'), { through: other.pool })).toThrow(
    /names a pooler of Test\/Supabase; the role is one of Test\/Postgres/,
  );
});
