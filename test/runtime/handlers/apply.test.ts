import * as http from 'node:http';
import { AddressInfo } from 'node:net';
import { CONTRACT_VERSION, DesiredState, encodeState } from '../../../lib/contract';
import { handler } from '../../../lib/runtime/handlers/apply';
import { fitsVerifier } from '../../../lib/runtime/secrets';
import { NOTHING_INSIDE } from '../../support/nothing-inside';
import { TestResponses } from '../../support/cloudformation';
import { functionProcess } from '../../support/function-process';
import { startServer, TestServer } from '../../support/postgres';
import { TestSecretsManager } from '../../support/secrets-manager';

const { lines } = functionProcess();
let server: TestServer;
let manager: TestSecretsManager;
let responses: TestResponses;
let adminArn: string;
let apiArn: string;

beforeEach(async () => {
  server = await startServer({ version: 18, tls: true });
  manager = await TestSecretsManager.start();
  responses = await TestResponses.start();
  Object.assign(process.env, manager.environment, { AWS_MAX_ATTEMPTS: '1' });
  adminArn = manager.create('admin', { username: server.master.user, password: server.master.password });
  apiArn = manager.create('api', { username: 'api', password: 'the clear password' });
});
afterEach(async () => {
  await responses.stop();
  await manager.stop();
});

const context = { getRemainingTimeInMillis: () => 60_000 };

function state(changes: Partial<DesiredState> = {}): DesiredState {
  return {
    version: CONTRACT_VERSION,
    name: 'test',
    profile: 'production',
    defaults: 'V1',
    acknowledgedPlans: [],
    roles: [
      {
        name: 'app_owner',
        login: false,
        authentication: 'none',
        inherit: true,
        createDatabase: false,
        createRole: false,
      },
      { name: 'api', login: true, authentication: 'password', inherit: true, createDatabase: false, createRole: false },
    ],
    memberships: [],
    settings: [],
    comments: [],
    drops: [],
    databases: [
      {
        ...NOTHING_INSIDE,
        name: 'app',
        owner: 'app_owner',
        public: 'closed',
        grants: [{ privileges: ['CONNECT'], on: { kind: 'database' }, to: 'api' }],
      },
    ],
    ...changes,
  };
}

function properties(changes: object = {}, serverChanges: object = {}) {
  return {
    ServiceToken: 'arn:aws:lambda:eu-central-1:123456789012:function:apply',
    Server: {
      Platform: 'rds',
      Identity: 'db-ABCDEFGH',
      Host: server.host,
      ReaderHost: 'reader.example',
      Port: server.port,
      AdminSecretArn: adminArn,
      AdminDatabase: 'postgres',
      Trust: server.ca,
      ...serverChanges,
    },
    State: encodeState(state()),
    Secrets: { api: apiArn },
    HomeDatabases: { api: 'app' },
    ...changes,
  };
}

async function send(event: Record<string, unknown>) {
  await handler(event, context);
  return responses.last;
}

const create = (changes?: object, serverChanges?: object) =>
  send(responses.event({ type: 'Create', properties: properties(changes, serverChanges) }));

test('Create makes what is declared, completes the secret, and answers in a few words', async () => {
  const answer = await create();
  expect(answer).toMatchObject({
    Status: 'SUCCESS',
    PhysicalResourceId: 'cdk-postgres/db-ABCDEFGH/test',
    Data: { Outcome: 'applied', Withheld: '0', ServerVersion: expect.stringMatching(/^18/) },
  });
  expect(Number(answer.Data!.Steps)).toBeGreaterThan(2);
  const secret = manager.value(apiArn) as Record<string, string>;
  expect(secret).toMatchObject({
    host: server.host,
    readerHost: 'reader.example',
    port: server.port,
    dbname: 'app',
    engine: 'postgres',
  });
  expect(fitsVerifier('the clear password', secret.verifier)).toBe(true);
  const client = await server.connect({ user: 'api', password: 'the clear password', database: 'app' });
  await client.end();
});

test('case 43: no secret is in the answer, the log of the function or that of the server', async () => {
  await create();
  const { verifier } = manager.value(apiArn) as Record<string, string>;
  const everything = JSON.stringify(lines) + responses.bodies.join();
  for (const secret of ['the clear password', verifier, server.master.password, 'very-secret']) {
    expect(everything).not.toContain(secret);
  }
  expect(server.log()).not.toContain('the clear password');
  expect(lines).toContainEqual(expect.objectContaining({ event: 'step' }));
  expect(lines).toContainEqual(expect.objectContaining({ event: 'report', outcome: 'applied' }));
  expect(lines).toContainEqual(
    expect.objectContaining({ _aws: expect.anything(), Server: 'db-ABCDEFGH', State: 'test', Withheld: 0 }),
  );
});

test('case 6: the same event again changes nothing', async () => {
  await create();
  const before = manager.calls.length;
  const answer = await create();
  expect(answer).toMatchObject({ Status: 'SUCCESS', Data: { Outcome: 'unchanged', Steps: '0' } });
  expect(manager.operations().slice(before)).not.toContain('PutSecretValue');
});

test('cases 107, 108: the physical id follows the server and the state name, and nothing inside', async () => {
  const { PhysicalResourceId } = await create();
  const update = (changes: object, serverChanges: object = {}) =>
    send(
      responses.event({
        type: 'Update',
        physicalId: PhysicalResourceId,
        properties: properties(changes, serverChanges),
        oldProperties: properties(),
      }),
    );
  const wider = state({ roles: [...state().roles, { ...state().roles[0], name: 'another' }] });
  expect((await update({ State: encodeState(wider) })).PhysicalResourceId).toBe(PhysicalResourceId);
  expect((await update({}, { Identity: 'db-REPLACED' })).PhysicalResourceId).toBe('cdk-postgres/db-REPLACED/test');
});

describe('case 108: another server in the place of the first', () => {
  const removeFirst = () =>
    send(
      responses.event({
        type: 'Delete',
        physicalId: 'cdk-postgres/db-ABCDEFGH/test',
        properties: properties(),
      }),
    );

  test('gets everything that is declared, and the Delete of the first changes nothing on either', async () => {
    await create();
    const second = await startServer({ version: 18, tls: true, certificateHosts: ['127.0.0.1', 'second.example'] });
    const secondAdmin = manager.create('admin-2', {
      username: second.master.user,
      password: second.master.password,
    });
    const replaced = properties(
      {},
      { Identity: 'db-REPLACED', Port: second.port, Trust: second.ca, AdminSecretArn: secondAdmin },
    );
    const answer = await send(
      responses.event({
        type: 'Update',
        physicalId: 'cdk-postgres/db-ABCDEFGH/test',
        properties: replaced,
        oldProperties: properties(),
      }),
    );
    expect(answer).toMatchObject({
      Status: 'SUCCESS',
      PhysicalResourceId: 'cdk-postgres/db-REPLACED/test',
      Data: { Outcome: 'applied' },
    });
    expect(await removeFirst()).toMatchObject({ Status: 'SUCCESS' });
    for (const each of [server, second]) {
      const client = await each.connect({ user: 'api', password: 'the clear password', database: 'app' });
      await client.end();
    }
    // The new one still has its claims.
    expect(
      await create(
        { State: encodeState(state({ name: 'another' })) },
        { Identity: 'db-REPLACED', Port: second.port, Trust: second.ca, AdminSecretArn: secondAdmin },
      ),
    ).toMatchObject({ Status: 'FAILED', Reason: expect.stringContaining('managed by the state "test"') });
  });

  test('that is the same under another identity keeps what the new resource manages', async () => {
    await create();
    const renamed = properties({}, { Identity: 'db-RENAMED' });
    const answer = await send(
      responses.event({
        type: 'Update',
        physicalId: 'cdk-postgres/db-ABCDEFGH/test',
        properties: renamed,
        oldProperties: properties(),
      }),
    );
    expect(answer.PhysicalResourceId).toBe('cdk-postgres/db-RENAMED/test');
    expect(await removeFirst()).toMatchObject({ Status: 'SUCCESS' });
    expect(await create({ State: encodeState(state({ name: 'another' })) }, { Identity: 'db-RENAMED' })).toMatchObject({
      Status: 'FAILED',
      Reason: expect.stringContaining('managed by the state "test"'),
    });
    expect(await server.query('SELECT DISTINCT origin FROM cdk_postgres.object WHERE removed_at IS NULL')).toEqual([
      { origin: 'created' },
    ]);
  });
});

test('case 108: going back to the identity of before succeeds and changes nothing where the resource itself had changed it', async () => {
  await create();
  const renamed = properties({}, { Identity: 'db-RENAMED' });
  const physicalId = 'cdk-postgres/db-ABCDEFGH/test';
  const update = (properties: object, oldProperties: object) =>
    send(responses.event({ type: 'Update', physicalId, properties, oldProperties }));
  expect(await update(renamed, properties())).toMatchObject({ Status: 'SUCCESS' });
  expect(await update(properties(), renamed)).toMatchObject({ Status: 'SUCCESS', Data: { Outcome: 'unchanged' } });
  expect(await server.query('SELECT identity FROM cdk_postgres.server')).toEqual([{ identity: 'db-RENAMED' }]);
  // Somebody else, or the next deployment.
  expect(await update(properties(), properties())).toMatchObject({
    Status: 'FAILED',
    Reason: expect.stringContaining('give every state of this server the same identity, "db-RENAMED"'),
  });
});

test('case 111: the order of lists is no change, and numbers come as text', async () => {
  const { grants, ...app } = state().databases[0];
  const more = [...grants, { privileges: ['TEMPORARY' as const], on: { kind: 'database' as const }, to: 'api' }];
  const limits = { connectionLimit: 7 };
  const one = state({
    roles: state().roles.map((role) => ({ ...role, ...limits })),
    databases: [{ ...app, ...limits, grants: more }],
  });
  const other = { ...one, roles: [...one.roles].reverse(), databases: [{ ...app, ...limits, grants: more.reverse() }] };
  const event = responses.event({ type: 'Create', properties: properties({ State: encodeState(one) }) });
  expect(JSON.stringify(event.ResourceProperties)).toContain('"connectionLimit":"7"');
  expect(JSON.stringify(event.ResourceProperties)).not.toContain('"memberships"'); // an empty list is gone
  expect(await send(event)).toMatchObject({ Status: 'SUCCESS', Data: { Outcome: 'applied' } });
  expect(
    await server.query(
      `SELECT rolconnlimit, datconnlimit FROM pg_roles, pg_database WHERE rolname = 'api' AND datname = 'app'`,
    ),
  ).toEqual([{ rolconnlimit: 7, datconnlimit: 7 }]);
  expect(await create({ State: encodeState(other) })).toMatchObject({ Data: { Outcome: 'unchanged', Steps: '0' } });
});

describe('Delete', () => {
  const remove = (changes?: object, serverChanges?: object, logicalId?: string) =>
    send(
      responses.event({
        type: 'Delete',
        physicalId: 'cdk-postgres/db-ABCDEFGH/test',
        properties: properties(changes, serverChanges),
        logicalId,
      }),
    );

  test('case 102: everything stays in the database, and another state may declare it', async () => {
    await create();
    expect(await remove()).toMatchObject({ Status: 'SUCCESS', PhysicalResourceId: 'cdk-postgres/db-ABCDEFGH/test' });
    expect(await server.query("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'api'")).toEqual([
      { rolcanlogin: true },
    ]);
    expect(await server.query("SELECT 1 FROM pg_database WHERE datname = 'app'")).toHaveLength(1);
    expect(await create({ State: encodeState(state({ name: 'another' })) })).toMatchObject({ Status: 'SUCCESS' });
  });

  test('case 107: the Delete of a resource that another one has replaced releases nothing', async () => {
    await create();
    await send(responses.event({ type: 'Create', logicalId: 'Moved', properties: properties() }));
    expect(await remove()).toMatchObject({ Status: 'SUCCESS' });
    expect(await create({ State: encodeState(state({ name: 'another' })) })).toMatchObject({
      Status: 'FAILED',
      Reason: expect.stringContaining('managed by the state "test"'),
    });
  });

  test.each([
    ['the server', {}, { Port: 1 }],
    ['its name', {}, { Host: 'gone.invalid' }],
    ['the secret', {}, { AdminSecretArn: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:gone' }],
    ['the declaration', { State: undefined, StateAsset: { Bucket: 'gone', Key: 'gone' } }, {}],
    ['everything', { State: undefined, Server: undefined }, {}],
  ])('case 103: succeeds quickly when %s is gone', async (_, changes, serverChanges) => {
    process.env.AWS_ENDPOINT_URL_S3 = 'http://127.0.0.1:1';
    const start = Date.now();
    expect(await remove(changes, serverChanges)).toMatchObject({ Status: 'SUCCESS' });
    expect(Date.now() - start).toBeLessThan(10_000);
    expect(lines).toContainEqual(
      expect.objectContaining({ event: 'not released', consequence: 'everything stays in the database as it is' }),
    );
  });

  test('case 109: after a failed Create it succeeds and takes nothing away', async () => {
    await server.query('CREATE ROLE app_owner');
    manager.replace(apiArn, { username: 'api' });
    const failed = await create();
    expect(failed.Status).toBe('FAILED');
    expect(
      await send(responses.event({ type: 'Delete', physicalId: failed.PhysicalResourceId, properties: properties() })),
    ).toMatchObject({ Status: 'SUCCESS' });
    expect(await server.query("SELECT 1 FROM pg_roles WHERE rolname = 'app_owner'")).toHaveLength(1);
  });
});

test('cases 109, 110: a rollback from any state succeeds, and takes away nothing that it does not know', async () => {
  const { PhysicalResourceId } = await create();
  const wider = {
    ...properties(),
    State: encodeState(state({ roles: [...state().roles, { ...state().roles[0], name: 'newcomer' }] })),
  };
  await send(
    responses.event({ type: 'Update', physicalId: PhysicalResourceId, properties: wider, oldProperties: properties() }),
  );
  await server.query('GRANT app_owner TO newcomer');
  const back = await send(
    responses.event({ type: 'Update', physicalId: PhysicalResourceId, properties: properties(), oldProperties: wider }),
  );
  expect(back).toMatchObject({ Status: 'SUCCESS', PhysicalResourceId });
  expect(await server.query("SELECT 1 FROM pg_roles WHERE rolname = 'newcomer'")).toHaveLength(1);
});

test('cases 110, 120: what a rollback leaves can be acknowledged, and going back a day later is no rollback', async () => {
  const { PhysicalResourceId } = await create();
  const more = { privileges: ['TEMPORARY' as const], on: { kind: 'database' as const }, to: 'api' };
  const [app] = state().databases;
  const wider = {
    ...properties(),
    State: encodeState(state({ databases: [{ ...app, grants: [...app.grants, more] }] })),
  };
  const update = (to: object, from: object) =>
    send(responses.event({ type: 'Update', physicalId: PhysicalResourceId, properties: to, oldProperties: from }));
  const has = async () =>
    (await server.query<{ has: boolean }>("SELECT has_database_privilege('api', 'app', 'TEMPORARY') AS has"))[0].has;
  await update(wider, properties());
  const back = await update(properties(), wider);
  expect(back).toMatchObject({ Status: 'SUCCESS', Data: { Withheld: '1', PlanHash: expect.any(String) } });
  expect(await has()).toBe(true);
  await update(wider, properties());
  await server.query("UPDATE cdk_postgres.state SET updated_at = now() - interval '25 hours'");
  expect(await update(properties(), wider)).toMatchObject({ Status: 'SUCCESS', Data: { Withheld: '0' } });
  expect(await has()).toBe(false);
});

test('case 114: an older version rolls back on a newer ledger with success, and refuses anything else', async () => {
  const { PhysicalResourceId } = await create();
  await server.query('UPDATE cdk_postgres.server SET version = 99');
  const wider = {
    ...properties(),
    State: encodeState(state({ roles: [...state().roles, { ...state().roles[0], name: 'newcomer' }] })),
  };
  const update = (to: object, from: object) =>
    send(responses.event({ type: 'Update', physicalId: PhysicalResourceId, properties: to, oldProperties: from }));
  expect(await update(wider, properties())).toMatchObject({
    Status: 'FAILED',
    Reason: expect.stringContaining('newer version of cdk-postgres'),
  });
  expect(await update(properties(), wider)).toMatchObject({ Status: 'SUCCESS', Data: { Outcome: 'unchanged' } });
});

test('case 120: what is withheld is in the answer with its hash and its holders, cut to 4,096 bytes, and whole in the log', async () => {
  await create();
  const many = Array.from({ length: 120 }, (_, at) => `by_hand_${at}`);
  await server.query([
    ...many.map((role) => `CREATE ROLE ${role}`),
    ...many.map((role) => `GRANT ${role} TO api WITH SET FALSE`),
  ]);
  const answer = await create();
  expect(answer).toMatchObject({ Status: 'SUCCESS', Data: { Withheld: '120', PlanHash: expect.any(String) } });
  expect(answer.Reason).toContain(`server.acknowledgePlan('${answer.Data!.PlanHash}'`);
  expect(answer.Reason).toContain('narrow: membership of api in by_hand_0, held by api directly');
  expect(answer.Reason).toContain('the whole text is in the log');
  expect(Buffer.byteLength(responses.bodies.at(-1)!)).toBeLessThanOrEqual(4096);
  const logged = lines.filter((line) => line.event === 'withheld');
  expect(logged).toHaveLength(120);
  expect(logged[0]).toMatchObject({ heldBy: 'api directly', acknowledge: answer.Data!.PlanHash });
});

test('the emergency exit answers success without a connection or a secret, and says so loudly', async () => {
  const answer = await create({ SkipReason: 'INC-42: the run lock is stuck' }, { Host: 'gone.invalid' });
  expect(answer).toMatchObject({
    Status: 'SUCCESS',
    Data: { Outcome: 'skipped' },
    Reason: expect.stringContaining('LEFT ALONE'),
  });
  expect(answer.Reason).toContain('INC-42');
  expect(lines).toContainEqual(expect.objectContaining({ level: 'warn', event: 'skipped' }));
  expect(manager.calls).toEqual([]);
});

test('a large declaration comes from S3', async () => {
  const paths: string[] = [];
  const s3 = http.createServer((request, response) => {
    paths.push(new URL(request.url!, 'http://s3').pathname);
    response.end(JSON.stringify(encodeState(state())));
  });
  await new Promise<void>((resolve) => s3.listen(0, '127.0.0.1', resolve));
  process.env.AWS_ENDPOINT_URL_S3 = `http://127.0.0.1:${(s3.address() as AddressInfo).port}`;
  const answer = await create({ State: undefined, StateAsset: { Bucket: 'assets', Key: 'state.json' } });
  expect(answer).toMatchObject({ Status: 'SUCCESS', Data: { Outcome: 'applied' } });
  expect(paths).toEqual(['/assets/state.json']);
  s3.closeAllConnections();
  s3.close();
});

describe('bad input ends in a clear answer', () => {
  test.each([
    ['no server', { Server: undefined }, {}, 'Server.Platform must be a text'],
    ['no port', {}, { Port: 'many' }, 'Server.Port must be a port number, and is "many"'],
    ['an unknown platform', {}, { Platform: 'oracle' }, 'Server.Platform must be rds, aurora or external'],
    ['no declaration', { State: undefined }, {}, 'the state must be an object'],
    ['two declarations', { StateAsset: { Bucket: 'b', Key: 'k' } }, {}, 'exclude each other'],
    ['trust in nobody', {}, { Trust: 'none' }, 'never trusted unseen'],
    ['a wrong host', {}, { Host: 'gone.invalid' }, 'gone.invalid cannot be resolved'],
    [
      'no admin secret',
      {},
      { AdminSecretArn: 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:gone' },
      'does not exist',
    ],
    ['no secret of a role', { Secrets: undefined }, {}, 'no secret is given for the role "api"'],
  ])('%s', async (_, changes, serverChanges, reason) => {
    const answer = await create(changes, serverChanges);
    expect(answer.Status).toBe('FAILED');
    expect(answer.Reason).toContain(reason);
  });

  test('case 39: a secret without a password never becomes PASSWORD NULL', async () => {
    await create();
    manager.replace(apiArn, { username: 'api' });
    const answer = await create();
    expect(answer).toMatchObject({ Status: 'FAILED', Reason: expect.stringContaining('has no "password"') });
    const client = await server.connect({ user: 'api', password: 'the clear password', database: 'app' });
    await client.end();
  });

  test('a server whose certificate is of another authority is not spoken to', async () => {
    const other = await startServer({ version: 18, tls: true, certificateHosts: ['elsewhere.example'] });
    expect(await create({}, { Port: other.port })).toMatchObject({
      Status: 'FAILED',
      Reason: expect.stringContaining('is not trusted'),
    });
  });
});
