import { GuardedServer } from '../../../lib/contract/deploy-guard';
import { handler, standGuard } from '../../../lib/runtime/handlers/guard';
import { ResourceAnswer } from '../../../lib/runtime/handlers/cloudformation';
import { TestResponses } from '../../support/cloudformation';
import { FakeServer, RdsApi } from './rds-api';

const STACK = 'arn:aws:cloudformation:eu-west-1:111122223333:stack/app/1';
const NOW = new Date('2026-05-03T12:00:00Z');

let api: RdsApi;
beforeAll(async () => {
  api = await RdsApi.start();
});
afterAll(() => api.stop());
beforeEach(() => {
  api.reset();
  for (const level of ['info', 'warn', 'error'] as const) jest.spyOn(console, level).mockImplementation();
});

const desired = (changes: Partial<GuardedServer> = {}, createOnly: object = {}): GuardedServer => ({
  Path: 'App/Postgres',
  LogicalId: 'Postgres1',
  Type: 'AWS::RDS::DBInstance',
  Identifier: 'app-postgres',
  EngineVersion: '18',
  ParameterFamily: 'postgres18',
  CreateOnly: {
    DBInstanceIdentifier: 'app-postgres',
    Engine: 'postgres',
    Port: '5433',
    StorageEncrypted: 'true',
    ...createOnly,
  },
  ...changes,
});

const stands = (changes: Partial<FakeServer> = {}, stack = STACK): FakeServer => ({
  identifier: 'app-postgres',
  engine: 'postgres',
  engineVersion: '18.4',
  xml: '<Endpoint><Port>5433</Port></Endpoint><StorageEncrypted>true</StorageEncrypted>',
  tags: { 'aws:cloudformation:stack-id': stack, 'aws:cloudformation:logical-id': 'Postgres1' },
  ...changes,
});

interface Event {
  readonly type?: 'Create' | 'Update' | 'Delete';
  readonly servers: readonly GuardedServer[];
  readonly before?: readonly GuardedServer[];
  readonly physicalId?: string;
  readonly acknowledgements?: readonly object[];
  readonly now?: Date;
}

async function ask({
  type = 'Update',
  servers,
  before,
  physicalId,
  acknowledgements,
  now = NOW,
}: Event): Promise<ResourceAnswer> {
  const client = api.client();
  try {
    return await standGuard(
      {
        type,
        stackId: STACK,
        logicalId: 'Guard',
        requestId: 'request',
        physicalId,
        properties: { Servers: servers, Acknowledgements: acknowledgements },
        oldProperties: before && { Servers: before },
      },
      client,
      now,
    );
  } finally {
    client.destroy();
  }
}

const create = (servers = [desired()]) => ask({ type: 'Create', servers });

test('a first deployment passes, and asks RDS for the one server by its name', async () => {
  const { physicalId } = await create();
  expect(physicalId).toMatch(/^cdk-postgres-guard\//);
  expect(api.calls.map(({ action, form }) => [action, form.get('DBInstanceIdentifier')])).toEqual([
    ['DescribeDBInstances', 'app-postgres'],
  ]);
});

test('a cluster and its nodes are asked for each by its kind', async () => {
  const cluster = desired({ Type: 'AWS::RDS::DBCluster', CreateOnly: { Engine: 'aurora-postgresql' } });
  const node = desired({
    LogicalId: 'Node1',
    Identifier: 'app-postgres-1',
    CreateOnly: { DBClusterIdentifier: 'app-postgres' },
  });
  await create([cluster, node]);
  expect(api.calls.map(({ action }) => action).sort()).toEqual(['DescribeDBClusters', 'DescribeDBInstances']);
});

test('a server of the same name outside the stack is refused before CloudFormation finds it', async () => {
  api.instances.push(stands({ tags: {} }));
  await expect(create()).rejects.toThrow(
    /refuses this deployment, and no server has been touched\. App\/Postgres: DBInstanceIdentifier not set would become "app-postgres": an? .*instance of this name exists.*guard:identifier-taken/,
  );
  api.instances[0] = stands({}, `${STACK}-other`);
  await expect(create()).rejects.toThrow(/guard:identifier-taken/);
});

test('a guard that comes to a server of its own stack compares with what runs', async () => {
  api.instances.push(stands());
  await create();
  api.instances[0] = stands({ engineVersion: '17.10' });
  await expect(create()).rejects.toThrow(/EngineVersion "17.10" would become "18".*guard:major-version/);
  api.instances[0] = stands({ xml: '<StorageEncrypted>false</StorageEncrypted>' });
  await expect(create()).rejects.toThrow(/StorageEncrypted "false" would become "true"/);
});

test('the refusal names construct, property, both values and what to do', async () => {
  api.instances.push(stands());
  const { physicalId } = await create();
  const update = ask({ servers: [desired({}, { Port: '5434' })], before: [desired()], physicalId });
  await expect(update).rejects.toThrow(
    'App/Postgres: Port "5433" would become "5434": CloudFormation makes a new instance and gives up the old one. To stay safe, keep Port ' +
      "as it is. If it is meant: acknowledge({ id: 'guard:replacement', reason, expires }) on the server.",
  );
});

test('an update that changes nothing watched asks nobody, whatever the server has become by itself', async () => {
  const { physicalId } = await create();
  api.reset();
  api.instances.push(stands({ engineVersion: '19.1' }));
  const answer = await ask({ servers: [desired({ Class: 'db.r7g.4xlarge' })], before: [desired()], physicalId });
  expect(answer.physicalId).toBe(physicalId);
  expect(api.calls).toEqual([]);
});

test('a minor version that upgraded itself never fails a later deployment', async () => {
  const { physicalId } = await create();
  for (const minor of ['18.4', '18.5', '18.11']) {
    api.instances[0] = stands({ engineVersion: minor });
    await ask({ servers: [desired({}, { AvailabilityZone: undefined })], before: [desired()], physicalId });
    await create();
  }
});

const acknowledged = { Id: 'guard:major-version', Reason: 'rehearsed on a copy', Expires: '2026-05-03' };
const at17 = desired({ EngineVersion: '17', ParameterFamily: 'postgres17' });

test('an acknowledgement lets its kind pass until its day is over', async () => {
  api.instances.push(stands({ engineVersion: '17.10' }));
  const { physicalId } = await create([at17]);
  const upgrade = { servers: [desired()], before: [at17], physicalId, acknowledgements: [acknowledged] };
  expect((await ask(upgrade)).reason).toBe('guard:major-version: rehearsed on a copy');
  await expect(ask({ ...upgrade, now: new Date('2026-05-04T00:00:00Z') })).rejects.toThrow(
    /guard:major-version.*has expired on 2026-05-03/,
  );
  await expect(ask({ ...upgrade, acknowledgements: [] })).rejects.toThrow(/no way back but a restore/);
});

describe('a rollback passes:', () => {
  test('after the guard has refused', async () => {
    api.instances.push(stands());
    const { physicalId } = await create();
    const changed = desired({}, { Port: '5434' });
    await expect(ask({ servers: [changed], before: [desired()], physicalId })).rejects.toThrow(/Port/);
    await ask({ servers: [desired()], before: [changed], physicalId });
  });

  test('after the guard has let an upgrade pass and something else failed, with the server upgraded already', async () => {
    api.instances.push(stands({ engineVersion: '17.10' }));
    const { physicalId } = await create([at17]);
    const passed = await ask({ servers: [desired()], before: [at17], physicalId, acknowledgements: [acknowledged] });
    api.instances[0] = stands({ engineVersion: '18.4' });
    await ask({ servers: [at17], before: [desired()], physicalId: passed.physicalId });
    await ask({ servers: [at17], before: [desired()], physicalId });
  });

  test('where RDS does not answer', async () => {
    api.instances.push(stands());
    const { physicalId } = await create();
    const acknowledgements = [
      { ...acknowledged, Id: 'guard:replacement' },
      { ...acknowledged, Id: 'guard:empty-successor' },
    ];
    const changed = desired({}, { Port: '5434' });
    const passed = await ask({ servers: [changed], before: [desired()], physicalId, acknowledgements });
    api.failure = 'InternalFailure';
    await ask({ servers: [desired()], before: [changed], physicalId: passed.physicalId });
  });

  test('and what only looks like one does not: the earlier server is gone, or days have passed', async () => {
    api.instances.push(stands({ engineVersion: '17.10' }));
    const { physicalId } = await create([at17]);
    const passed = await ask({ servers: [desired()], before: [at17], physicalId, acknowledgements: [acknowledged] });
    api.instances[0] = stands({ engineVersion: '18.4' });
    const back = { servers: [at17], before: [desired()], physicalId: passed.physicalId };
    await expect(ask({ ...back, now: new Date('2026-05-05T12:00:00Z') })).rejects.toThrow(/guard:downgrade/);
    api.instances.length = 0;
    await expect(ask(back)).rejects.toThrow(/guard:downgrade/);
  });
});

test('Delete succeeds without asking', async () => {
  api.failure = 'AccessDenied';
  await expect(ask({ type: 'Delete', servers: [], physicalId: 'anything' })).resolves.toEqual({
    physicalId: 'anything',
  });
  expect(api.calls).toEqual([]);
});

test('without permission it fails and says for what', async () => {
  api.failure = 'AccessDenied';
  await expect(create()).rejects.toThrow(/cannot see whether app-postgres runs: AccessDenied/);
});

test('without a way to RDS it fails and names the endpoint', async () => {
  const gone = await RdsApi.start();
  const client = gone.client();
  await gone.stop();
  const properties = { Servers: [desired()] };
  const request = { type: 'Create', stackId: STACK, logicalId: 'Guard', requestId: 'r', properties } as const;
  await expect(standGuard(request, client, NOW)).rejects.toThrow(/cannot reach the RDS API.*addVpcEndpoints\(\)/);
  client.destroy();
});

test('properties that are not the guard’s own fail', async () => {
  await expect(ask({ type: 'Create', servers: [{ ...desired(), Identifier: '' }] })).rejects.toThrow(
    /server 0 .* no Identifier/,
  );
});

describe('the function', () => {
  const environment = { ...process.env };
  afterEach(() => {
    process.env = { ...environment };
  });

  test('answers CloudFormation with success, and with the refusal in the reason', async () => {
    Object.assign(process.env, {
      AWS_ENDPOINT_URL: api.url,
      AWS_REGION: 'eu-west-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    });
    const responses = await TestResponses.start();
    const context = { getRemainingTimeInMillis: () => 60_000 };
    const properties = { ServiceToken: 'arn', Servers: [desired()] };
    await handler(responses.event({ type: 'Create', properties }), context);
    expect(responses.last.Status).toBe('SUCCESS');

    const { PhysicalResourceId: physicalId } = responses.last;
    const changed = { ServiceToken: 'arn', Servers: [desired({}, { StorageEncrypted: false })] };
    await handler(
      responses.event({ type: 'Update', properties: changed, oldProperties: properties, physicalId }),
      context,
    );
    expect(responses.last).toMatchObject({ Status: 'FAILED', PhysicalResourceId: physicalId });
    expect(responses.last.Reason).toMatch(/StorageEncrypted "true" would become "false"/);
    await responses.stop();
  });
});
