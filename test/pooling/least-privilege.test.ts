import { Stack, aws_iam as iam } from 'aws-cdk-lib';
import { Authentication, Pooler } from '../../lib';
import { ACCOUNT, Call, REGION, SimulatedStack } from '../compliance/iam-simulation';
import { handler, instance, quiet } from './support';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
  poolerImage: () => jest.requireActual('./fake-image').fakeImage(),
}));

const arn = (service: string, rest: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${rest}`;
const READ = ['GetSecretValue', 'DescribeSecret'];
const CHANGE = ['PutSecretValue', 'UpdateSecretVersionStage'];
const onSecret = (secret: string, ...calls: string[]): Call[] =>
  calls.map((call) => ({ action: `secretsmanager:${call}`, resource: secret }));
const VIA = { 'kms:ViaService': `secretsmanager.${REGION}.amazonaws.com` };

/** What no role of a pooler may do. */
const NOBODY: Call[] = [
  ...onSecret(arn('secretsmanager', 'secret:SomebodyElses-AbCdEf'), ...READ, ...CHANGE),
  { action: 'rds:ModifyDBInstance', resource: arn('rds', 'db:any') },
  { action: 'rds-db:connect', resource: arn('rds-db', 'dbuser:db-ANY/postgres') },
  { action: 'iam:PassRole', resource: `arn:aws:iam::${ACCOUNT}:role/admin` },
  { action: 'ecs:UpdateService', resource: arn('ecs', 'service/any/any') },
  { action: 'kms:Decrypt', resource: arn('kms', 'key/somebody-elses'), context: VIA },
  { action: 's3:GetObject', resource: 'arn:aws:s3:::any/key' },
];

async function verdicts(simulated: SimulatedStack, role: string, calls: readonly Call[]): Promise<string[]> {
  const said = await Promise.all(
    calls.map(async (call) => `${await simulated.ask(role, call)} ${call.action} ${call.resource}`),
  );
  return said.sort();
}
const refused = (said: readonly string[]) => said.filter((line) => !line.startsWith('Allowed '));
const allowed = (said: readonly string[]) => said.filter((line) => line.startsWith('Allowed '));

/** Two roles with passwords, of which `api` goes through the pooler, and one by token. */
function stackWith(pooler: Pooler, tokens = true): Stack {
  const made = instance();
  const pool = made.server.addPooler('Pool', pooler);
  const app = made.server.addDatabase('app');
  app.addLoginRole('api').grantConnect(handler(made), { through: pool });
  app.addLoginRole('other');
  if (tokens) {
    const role = new iam.Role(made.stack, 'ReaderRole', {
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
    });
    app
      .addLoginRole('reader', { authentication: Authentication.iam() })
      .grantConnect(handler(made, 'Reader', { role }), { through: pool });
  }
  return made.stack;
}
const secretOf = (simulated: SimulatedStack, role: string) =>
  simulated.arn(`Postgres/Database-app/Role-${role}/Secret`);

test('CP-11: the role of RDS Proxy reads the secrets that go through it, logs in as the token roles, and nothing else', async () => {
  const simulated = new SimulatedStack(stackWith(Pooler.rdsProxy()));
  const role = 'Postgres/Pool/Role';
  const key = simulated.arn('Postgres/Key', 'Arn');
  const identity = simulated.arn('Postgres/Resource/Resource', 'DbiResourceId');
  const may: Call[] = [
    ...onSecret(secretOf(simulated, 'api'), ...READ),
    { action: 'kms:Decrypt', resource: key, context: VIA },
    { action: 'rds-db:connect', resource: arn('rds-db', `dbuser:${identity}/reader`) },
  ];
  const mayNot: Call[] = [
    ...NOBODY,
    ...onSecret(secretOf(simulated, 'api'), ...CHANGE, 'DeleteSecret'),
    ...onSecret(secretOf(simulated, 'other'), ...READ, ...CHANGE),
    ...onSecret(simulated.arn('Postgres/AdminSecret'), ...READ, ...CHANGE),
    { action: 'kms:Decrypt', resource: key, context: { 'kms:ViaService': `rds.${REGION}.amazonaws.com` } },
    { action: 'kms:GenerateDataKey', resource: key, context: VIA },
    { action: 'rds-db:connect', resource: arn('rds-db', `dbuser:${identity}/api`) },
    { action: 'rds-db:connect', resource: arn('rds-db', `dbuser:${identity}/postgres`) },
  ];
  expect(refused(await verdicts(simulated, role, may))).toEqual([]);
  expect(allowed(await verdicts(simulated, role, mayNot))).toEqual([]);
});

test('SEC-16: a client by token logs in at the proxy as its own role, and not past it', async () => {
  const simulated = new SimulatedStack(stackWith(Pooler.rdsProxy()));
  const proxy = simulated.arn('Postgres/Pool/Resource', 'DBProxyArn').split(':').at(-1)!;
  const identity = simulated.arn('Postgres/Resource/Resource', 'DbiResourceId');
  const connect = (place: string, user: string): Call => ({
    action: 'rds-db:connect',
    resource: arn('rds-db', `dbuser:${place}/${user}`),
  });
  expect(refused(await verdicts(simulated, 'ReaderRole', [connect(proxy, 'reader')]))).toEqual([]);
  const past = [connect(proxy, 'api'), connect(identity, 'reader')];
  expect(allowed(await verdicts(simulated, 'ReaderRole', past))).toEqual([]);
});

test('CP-14: the tasks of PgBouncer read their secrets and their certificate, and nothing else', async () => {
  const simulated = new SimulatedStack(stackWith(Pooler.pgBouncer(), false));
  const role = 'Postgres/Pool/TaskRole';
  const key = simulated.arn('Postgres/Key', 'Arn');
  const certificate = simulated.arn('Postgres/Pool/Certificate/Secret');
  const authority = simulated.arn('Postgres/Pool/Certificate/Authority');
  const may: Call[] = [
    ...onSecret(secretOf(simulated, 'api'), ...READ),
    ...onSecret(certificate, ...READ),
    { action: 'kms:Decrypt', resource: key, context: VIA },
  ];
  const mayNot: Call[] = [
    ...NOBODY,
    ...onSecret(secretOf(simulated, 'api'), ...CHANGE),
    ...onSecret(secretOf(simulated, 'other'), ...READ),
    ...onSecret(certificate, ...CHANGE),
    ...onSecret(authority, ...READ, ...CHANGE),
    ...onSecret(simulated.arn('Postgres/AdminSecret'), ...READ),
    { action: 'kms:GenerateDataKey', resource: key, context: VIA },
  ];
  expect(refused(await verdicts(simulated, role, may))).toEqual([]);
  expect(allowed(await verdicts(simulated, role, mayNot))).toEqual([]);
});

test('the function of the certificate signs and renews, and reads no password', async () => {
  const simulated = new SimulatedStack(stackWith(Pooler.pgBouncer(), false));
  const role = 'Postgres/Pool/Certificate/Function/Role';
  const certificate = simulated.arn('Postgres/Pool/Certificate/Secret');
  const authority = simulated.arn('Postgres/Pool/Certificate/Authority');
  const may = [...onSecret(authority, ...READ, 'PutSecretValue'), ...onSecret(certificate, ...READ, ...CHANGE)];
  const mayNot = [
    ...NOBODY,
    ...onSecret(authority, 'UpdateSecretVersionStage', 'DeleteSecret'),
    ...onSecret(secretOf(simulated, 'api'), ...READ, ...CHANGE),
    ...onSecret(simulated.arn('Postgres/AdminSecret'), ...READ),
  ];
  expect(refused(await verdicts(simulated, role, may))).toEqual([]);
  expect(allowed(await verdicts(simulated, role, mayNot))).toEqual([]);
});

test('what starts the tasks pulls one image and writes one log, and reads no secret', async () => {
  const simulated = new SimulatedStack(stackWith(Pooler.pgBouncer(), false));
  const role = 'Postgres/Pool/ExecutionRole';
  const log = simulated.arn('Postgres/Pool/Logs', 'Arn').replace(/:\*$/, ':log-stream:one');
  const image = arn('ecr', `repository/cdk-hnb659fds-container-assets-${ACCOUNT}-${REGION}`);
  const may: Call[] = [
    { action: 'logs:PutLogEvents', resource: log },
    { action: 'ecr:BatchGetImage', resource: image },
    { action: 'ecr:GetAuthorizationToken', resource: '*' },
  ];
  const mayNot: Call[] = [
    ...NOBODY,
    { action: 'ecr:PutImage', resource: image },
    { action: 'ecr:BatchGetImage', resource: arn('ecr', 'repository/other') },
    ...onSecret(secretOf(simulated, 'api'), ...READ),
    ...onSecret(simulated.arn('Postgres/Pool/Certificate/Secret'), ...READ),
  ];
  expect(refused(await verdicts(simulated, role, may))).toEqual([]);
  expect(allowed(await verdicts(simulated, role, mayNot))).toEqual([]);
});
