import { App, Stack, aws_iam as iam, aws_lambda as lambda, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { SaasStack } from '../../examples/saas/saas-stack';
import {
  Authentication,
  AuroraPostgres,
  ExternalPostgres,
  PostgresVersion,
  RdsPostgres,
  SharedPostgres,
} from '../../lib';
import { cleanStack, OBJECTIVES, quiet } from '../server/support';
import { ACCOUNT, Call, REGION, SimulatedStack } from './iam-simulation';

quiet();

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

const arn = (service: string, rest: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${rest}`;
const secretsManager = (secret: string, ...calls: string[]): Call[] =>
  calls.map((call) => ({ action: `secretsmanager:${call}`, resource: secret }));

const READ = ['GetSecretValue', 'DescribeSecret'];
const CHANGE = ['PutSecretValue', 'UpdateSecretVersionStage'];
const NEVER = [
  'DeleteSecret',
  'PutResourcePolicy',
  'UpdateSecret',
  'RotateSecret',
  'CancelRotateSecret',
  'RestoreSecret',
];

/** What no function of this library may do, whatever its duty. */
const NOBODY: Call[] = [
  ...secretsManager(arn('secretsmanager', 'secret:SomebodyElses-AbCdEf'), ...READ, ...CHANGE),
  { action: 'rds:DeleteDBInstance', resource: arn('rds', 'db:any') },
  { action: 'rds:ModifyDBInstance', resource: arn('rds', 'db:any') },
  { action: 'rds:DeleteDBCluster', resource: arn('rds', 'cluster:any') },
  { action: 'rds:ModifyDBCluster', resource: arn('rds', 'cluster:any') },
  { action: 'rds:RestoreDBInstanceFromDBSnapshot', resource: arn('rds', 'db:any') },
  { action: 'rds-db:connect', resource: arn('rds-db', 'dbuser:cluster-ANY/postgres') },
  { action: 'kms:Decrypt', resource: arn('kms', 'key/somebody-elses') },
  { action: 'iam:PassRole', resource: `arn:aws:iam::${ACCOUNT}:role/admin` },
  { action: 'iam:CreateAccessKey', resource: `arn:aws:iam::${ACCOUNT}:user/admin` },
  { action: 'sts:AssumeRole', resource: `arn:aws:iam::${ACCOUNT}:role/admin` },
  { action: 'lambda:InvokeFunction', resource: arn('lambda', 'function:any') },
  { action: 'lambda:UpdateFunctionCode', resource: arn('lambda', 'function:any') },
  { action: 's3:GetObject', resource: 'arn:aws:s3:::any/key' },
  { action: 's3:PutObject', resource: 'arn:aws:s3:::any/key' },
  { action: 'ec2:RunInstances', resource: arn('ec2', 'instance/i-1') },
  { action: 'ec2:AuthorizeSecurityGroupIngress', resource: arn('ec2', 'security-group/sg-1') },
  { action: 'cloudformation:UpdateStack', resource: arn('cloudformation', 'stack/any/1') },
  { action: 'logs:DeleteLogGroup', resource: arn('logs', 'log-group:any') },
];

interface Server {
  readonly stack: Stack;
  /** Where it stands in its stack. */
  readonly path: string;
  readonly isCluster?: boolean;
  /** Roles that have a password of their own. */
  readonly passwords: readonly string[];
  readonly database: string;
}

/** What is the same for each duty: its log, its dead letters, its network, the server's key. */
function common(
  simulated: SimulatedStack,
  holder: string,
  key: string,
  network: boolean,
): { may: Call[]; mayNot: Call[] } {
  const logs = simulated.arn(`${holder}/Logs`, 'Arn').replace(/:\*$/, ':log-stream:one');
  const letters = simulated.arn(`${holder}/DeadLetters`, 'Arn');
  const keyArn = simulated.arn(key, 'Arn');
  const interfaces: Call[] = [
    { action: 'ec2:CreateNetworkInterface', resource: arn('ec2', 'network-interface/*') },
    { action: 'ec2:DescribeNetworkInterfaces', resource: '*' },
  ];
  return {
    may: [
      { action: 'logs:CreateLogStream', resource: logs },
      { action: 'logs:PutLogEvents', resource: logs },
      { action: 'sqs:SendMessage', resource: letters },
      { action: 'kms:Decrypt', resource: keyArn },
      { action: 'kms:GenerateDataKey', resource: keyArn },
      ...(network ? interfaces : []),
    ],
    mayNot: [
      ...NOBODY,
      { action: 'sqs:ReceiveMessage', resource: letters },
      { action: 'sqs:DeleteQueue', resource: letters },
      { action: 'kms:ScheduleKeyDeletion', resource: keyArn },
      { action: 'kms:PutKeyPolicy', resource: keyArn },
      { action: 'kms:CreateGrant', resource: keyArn },
      { action: 'kms:Encrypt', resource: keyArn },
      ...(network ? [] : interfaces),
    ],
  };
}

const failOverOf = (isCluster: boolean, name: string): Call[] => [
  isCluster
    ? { action: 'rds:FailoverDBCluster', resource: arn('rds', `cluster:${name}`) }
    : { action: 'rds:RebootDBInstance', resource: arn('rds', `db:${name}`) },
];

type Duty =
  | 'State/Apply'
  | 'State/Rotate'
  | 'Guard/Function'
  | 'DriftDetection/Function'
  | 'FailoverTest/Function'
  | 'Monitoring/Probe/Function';

function expectations(simulated: SimulatedStack, server: Server, duty: Duty): { may: Call[]; mayNot: Call[] } {
  const { path, passwords, database, isCluster } = server;
  const base = common(simulated, `${path}/${duty}`, `${path}/Key`, true);
  const admin = simulated.arn(`${path}/AdminSecret`);
  const own = passwords.map((role) => simulated.arn(`${path}/Database-${database}/Role-${role}/Secret`));
  const each = (...calls: string[]) => own.flatMap((secret) => secretsManager(secret, ...calls));
  const type = isCluster ? 'DBCluster' : 'DBInstance';
  const identifier = simulated.property(`${path}/Resource/Resource`, `${type}Identifier`);
  const describe: Call[] = [
    { action: `rds:Describe${type}s`, resource: arn('rds', `${isCluster ? 'cluster' : 'db'}:${identifier}`) },
  ];
  const with_ = (may: Call[], mayNot: Call[]) => ({ may: [...base.may, ...may], mayNot: [...base.mayNot, ...mayNot] });
  switch (duty) {
    case 'State/Apply':
      return with_(
        [...secretsManager(admin, ...READ), ...each(...READ, 'PutSecretValue')],
        [...secretsManager(admin, ...CHANGE, ...NEVER), ...each('UpdateSecretVersionStage', ...NEVER), ...describe],
      );
    case 'State/Rotate':
      return with_(
        [...secretsManager(admin, ...READ, ...CHANGE), ...each(...READ, ...CHANGE)],
        [...secretsManager(admin, ...NEVER), ...each(...NEVER), ...describe],
      );
    case 'Guard/Function':
      return with_(describe, [...secretsManager(admin, ...READ, ...CHANGE), ...each(...READ, ...CHANGE)]);
    case 'DriftDetection/Function':
      return with_(secretsManager(admin, ...READ), [
        ...secretsManager(admin, ...CHANGE, ...NEVER),
        ...each(...READ, ...CHANGE, ...NEVER),
        ...describe,
      ]);
    case 'FailoverTest/Function': {
      const failOver = (name: string) => failOverOf(isCluster === true, name);
      return with_(
        [...secretsManager(admin, ...READ), ...describe, ...failOver(identifier)],
        [...secretsManager(admin, ...CHANGE, ...NEVER), ...each(...READ, ...CHANGE, ...NEVER), ...failOver('another')],
      );
    }
    case 'Monitoring/Probe/Function': {
      const probe = simulated.arn(`${path}/Monitoring/Probe/Secret`);
      return with_(secretsManager(probe, 'GetSecretValue'), [
        ...secretsManager(probe, ...CHANGE, ...NEVER),
        ...secretsManager(admin, ...READ, ...CHANGE, ...NEVER),
        ...each(...READ, ...CHANGE, ...NEVER),
        ...describe,
        { action: 'cloudwatch:PutMetricData', resource: '*' },
        { action: 'sns:Publish', resource: arn('sns', 'any') },
      ]);
    }
  }
}

const DUTIES: Duty[] = [
  'DriftDetection/Function',
  'FailoverTest/Function',
  'Guard/Function',
  'Monitoring/Probe/Function',
  'State/Apply',
  'State/Rotate',
];

function declareInside(server: RdsPostgres | AuroraPostgres): void {
  const app = server.addDatabase('app');
  app.addSchema('billing').grantReadWrite(app.addLoginRole('api'));
  app.addLoginRole('report');
  server.addDriftDetection();
  server.addMonitoring();
  server.addFailoverTest();
}

const SERVERS: Record<string, () => Server> = {
  RdsPostgres: () => {
    const { stack, vpc } = cleanStack();
    const server = new RdsPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
    declareInside(server);
    server.acknowledge({ id: 'OPS-4', reason: 'nobody looks at this server' });
    return { stack, path: 'Postgres', passwords: ['api', 'report'], database: 'app' };
  },
  AuroraPostgres: () => {
    const { stack, vpc } = cleanStack();
    const server = new AuroraPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V18, objectives: OBJECTIVES });
    declareInside(server);
    return { stack, path: 'Postgres', isCluster: true, passwords: ['api', 'report'], database: 'app' };
  },
  'the example': () => {
    const stack = new SaasStack(new App(), 'Saas', { env: { account: ACCOUNT, region: REGION } });
    stack.server.addDriftDetection();
    stack.server.addMonitoring();
    stack.server.addFailoverTest();
    return {
      stack,
      path: 'Postgres',
      isCluster: true,
      passwords: ['api', 'migrator', 'report', 'worker'],
      database: 'app',
    };
  },
};

async function verdicts(simulated: SimulatedStack, role: string, calls: readonly Call[]): Promise<string[]> {
  const said = await Promise.all(
    calls.map(async (call) => `${await simulated.ask(role, call)} ${call.action} ${call.resource}`),
  );
  return said.sort();
}

const refused = (said: readonly string[]) => said.filter((line) => !line.startsWith('Allowed '));
const allowed = (said: readonly string[]) => said.filter((line) => line.startsWith('Allowed '));

describe.each(Object.entries(SERVERS))('LIB-5, SEC-26: %s', (_name, make) => {
  let server: Server;
  let simulated: SimulatedStack;
  beforeAll(() => {
    jest.spyOn(console, 'error').mockImplementation();
    server = make();
    simulated = new SimulatedStack(server.stack);
  });

  test('has a list for every role that a function runs under', () => {
    expect(simulated.functionRoles()).toEqual(DUTIES.map((duty) => `${server.path}/${duty}/Role`));
  });

  test.each(DUTIES)('%s may do what its duty needs, and nothing else', async (duty) => {
    const { may, mayNot } = expectations(simulated, server, duty);
    const role = `${server.path}/${duty}/Role`;
    expect(refused(await verdicts(simulated, role, may))).toEqual([]);
    expect(allowed(await verdicts(simulated, role, mayNot))).toEqual([]);
  });
});

describe('LIB-5, SEC-26: a server that lives elsewhere', () => {
  const make = () => {
    const { stack } = cleanStack();
    const adminSecret = new secretsmanager.Secret(stack, 'Admin');
    const server = ExternalPostgres.fromEndpoint(stack, 'Postgres', {
      host: 'db.example.com',
      adminSecret,
      identity: 'project-1',
    });
    const app = server.addDatabase('app');
    app.addSchema('billing').grantReadWrite(app.addLoginRole('api'));
    return new SimulatedStack(stack);
  };

  test('the rotation reads the secrets of roles, and not that of the administrator', async () => {
    const simulated = make();
    expect(simulated.functionRoles()).toEqual(['Postgres/State/Apply/Role', 'Postgres/State/Rotate/Role']);
    const api = simulated.arn('Postgres/Database-app/Role-api/Secret');
    const admin = simulated.arn('Admin');
    const rotate = 'Postgres/State/Rotate/Role';
    expect(refused(await verdicts(simulated, rotate, secretsManager(api, ...READ, ...CHANGE)))).toEqual([]);
    expect(
      allowed(await verdicts(simulated, rotate, [...NOBODY, ...secretsManager(admin, ...READ, ...CHANGE, ...NEVER)])),
    ).toEqual([]);
    const apply = 'Postgres/State/Apply/Role';
    expect(
      refused(await verdicts(simulated, apply, [...secretsManager(admin, ...READ), ...secretsManager(api, ...READ)])),
    ).toEqual([]);
    expect(
      allowed(await verdicts(simulated, apply, [...NOBODY, ...secretsManager(admin, ...CHANGE, ...NEVER)])),
    ).toEqual([]);
  });
});

describe("LIB-5, SEC-26: another stack's own state on a server", () => {
  test('its functions read the administrator secret, and change those of its own roles alone', async () => {
    const { stack: platform, vpc, app } = cleanStack();
    const server = new AuroraPostgres(platform, 'Postgres', {
      vpc,
      version: PostgresVersion.V17,
      objectives: OBJECTIVES,
    });
    server.addDatabase('shared').addLoginRole('auditor');
    const stack = new Stack(app, 'Billing', { env: { account: ACCOUNT, region: REGION } });
    SharedPostgres.fromServer(stack, 'Db', server).addDatabase('billing').addLoginRole('billing_api');
    const simulated = new SimulatedStack(stack);
    expect(simulated.functionRoles()).toEqual(['Db/State/Apply/Role', 'Db/State/Rotate/Role']);
    const admin = String(simulated.property('Db/State/Resource', 'Server.AdminSecretArn'));
    const own = simulated.arn('Db/Database-billing/Role-billing_api/Secret');
    const foreign = new SimulatedStack(platform).arn('Postgres/Database-shared/Role-auditor/Secret');
    const asked = (role: string, ...calls: Call[]) => verdicts(simulated, `Db/State/${role}/Role`, calls);
    expect(refused(await asked('Apply', ...secretsManager(admin, ...READ), ...secretsManager(own, ...READ)))).toEqual(
      [],
    );
    expect(refused(await asked('Rotate', ...secretsManager(own, ...READ, ...CHANGE)))).toEqual([]);
    const mayNot = [
      ...NOBODY,
      ...secretsManager(admin, ...CHANGE, ...NEVER),
      ...secretsManager(foreign, ...READ, ...CHANGE),
    ];
    expect(allowed(await asked('Apply', ...mayNot))).toEqual([]);
    expect(allowed(await asked('Rotate', ...mayNot, ...secretsManager(admin, ...READ)))).toEqual([]);
  });
});

describe('SEC-16: a consumer that grantConnect lets in', () => {
  const connect = (simulated: SimulatedStack, user: string) => ({
    action: 'rds-db:connect',
    resource: arn('rds-db', `dbuser:${simulated.arn('Postgres/Resource/Resource', 'DBClusterResourceId')}/${user}`),
  });
  const make = () => {
    const { stack, vpc } = cleanStack();
    const server = new AuroraPostgres(stack, 'Postgres', { vpc, version: PostgresVersion.V17, objectives: OBJECTIVES });
    server.acknowledge({ id: 'CP-1', reason: 'what this test is about needs no pooler' });
    const app = server.addDatabase('app');
    const consumer = (id: string) =>
      new lambda.Function(stack, id, {
        reservedConcurrentExecutions: 10,
        vpc,
        vpcSubnets: { subnets: vpc.isolatedSubnets },
        runtime: lambda.Runtime.NODEJS_24_X,
        handler: 'index.handler',
        code: lambda.Code.fromInline('exports.handler = () => undefined'),
        role: new iam.Role(stack, `${id}Role`, { assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com') }),
      });
    app.addLoginRole('reader', { authentication: Authentication.iam() }).grantConnect(consumer('Reader'));
    app.addLoginRole('api', { authentication: Authentication.password() }).grantConnect(consumer('Api'));
    return new SimulatedStack(stack);
  };

  test('logs in by IAM as its own role, as no other, and reads no secret', async () => {
    const simulated = make();
    expect(await simulated.ask('ReaderRole', connect(simulated, 'reader'))).toBe('Allowed');
    const mayNot = [
      connect(simulated, 'postgres'),
      connect(simulated, 'api'),
      connect(simulated, 'app_owner'),
      ...secretsManager(simulated.arn('Postgres/AdminSecret'), ...READ),
      ...secretsManager(simulated.arn('Postgres/Database-app/Role-api/Secret'), ...READ, ...CHANGE),
    ];
    expect(allowed(await verdicts(simulated, 'ReaderRole', mayNot))).toEqual([]);
  });

  test('reads its own secret where it has a password, changes none, and reads no other', async () => {
    const simulated = make();
    const own = simulated.arn('Postgres/Database-app/Role-api/Secret');
    expect(refused(await verdicts(simulated, 'ApiRole', secretsManager(own, ...READ)))).toEqual([]);
    const mayNot = [
      ...secretsManager(own, ...CHANGE, ...NEVER),
      ...secretsManager(simulated.arn('Postgres/AdminSecret'), ...READ, ...CHANGE),
      connect(simulated, 'reader'),
    ];
    expect(allowed(await verdicts(simulated, 'ApiRole', mayNot))).toEqual([]);
  });
});

describe('LIB-2, SEC-26: the controlled reboot', () => {
  const role = 'Postgres/ControlledReboot/Role';
  const of = (kind: 'cluster' | 'instance') => {
    const { stack, vpc } = cleanStack();
    const props = { vpc, version: PostgresVersion.V17, objectives: OBJECTIVES, identifier: 'orders' };
    const server =
      kind === 'cluster' ? new AuroraPostgres(stack, 'Postgres', props) : new RdsPostgres(stack, 'Postgres', props);
    server.addControlledReboot();
    return { simulated: new SimulatedStack(stack), admin: 'Postgres/AdminSecret' };
  };
  const reboots = (...names: string[]): Call[] =>
    names.flatMap((name) =>
      ['rds:DescribeDBInstances', 'rds:RebootDBInstance'].map((action) => ({
        action,
        resource: arn('rds', `db:${name}`),
      })),
    );
  const failover = (name: string): Call[] =>
    ['rds:DescribeDBClusters', 'rds:FailoverDBCluster'].map((action) => ({
      action,
      resource: arn('rds', `cluster:${name}`),
    }));

  test.each<['cluster' | 'instance', Call[], Call[]]>([
    ['instance', reboots('orders'), [...reboots('another'), ...failover('orders')]],
    [
      'cluster',
      [...failover('orders'), ...reboots('orders-1', 'orders-2')],
      [...reboots('another'), ...failover('another')],
    ],
  ])('of %s reboots what is its own and no other, and reads no secret', async (kind, may, mayNot) => {
    const { simulated, admin } = of(kind);
    expect(refused(await verdicts(simulated, role, may))).toEqual([]);
    const never = [...mayNot, ...NOBODY, ...secretsManager(simulated.arn(admin), ...READ, ...CHANGE, ...NEVER)];
    expect(allowed(await verdicts(simulated, role, never))).toEqual([]);
  });
});

describe('the simulation sees', () => {
  const apply = 'Postgres/State/Apply/Role';

  test('a statement too many', async () => {
    const { stack } = SERVERS.RdsPostgres!();
    const policy = stack.node
      .findChild('Postgres')
      .node.findChild('State')
      .node.findChild('Apply')
      .node.findChild('NetworkPolicy');
    const document = (policy as iam.CfnManagedPolicy).policyDocument;
    (policy as iam.CfnManagedPolicy).policyDocument = {
      Version: '2012-10-17',
      Statement: [
        ...(stack.resolve(document).Statement as object[]),
        { Effect: 'Allow', Action: 'secretsmanager:*', Resource: '*' },
      ],
    };
    const simulated = new SimulatedStack(stack);
    const admin = simulated.arn('Postgres/AdminSecret');
    expect(await simulated.ask(apply, { action: 'secretsmanager:DeleteSecret', resource: admin })).toBe('Allowed');
  });

  test('a statement too few', async () => {
    const { stack } = SERVERS.RdsPostgres!();
    const state = stack.node.findChild('Postgres').node.findChild('State').node.findChild('Apply');
    (state.node.findChild('Policy') as iam.CfnManagedPolicy).policyDocument = { Version: '2012-10-17', Statement: [] };
    const simulated = new SimulatedStack(stack);
    const admin = simulated.arn('Postgres/AdminSecret');
    expect(await simulated.ask(apply, { action: 'secretsmanager:GetSecretValue', resource: admin })).not.toBe(
      'Allowed',
    );
  });

  test('that a secret lets in by its own policy', async () => {
    const { stack } = SERVERS.RdsPostgres!();
    const before = new SimulatedStack(stack);
    const secret = before.arn('Postgres/Database-app/Role-api/Secret');
    const call = { action: 'secretsmanager:GetSecretValue', resource: secret };
    expect(await before.ask(apply, call)).toBe('Allowed');
    expect(await before.ask('Postgres/Guard/Function/Role', call)).not.toBe('Allowed');
  });
});
