import { Stack, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import {
  Database,
  ExistingRole,
  PublicationOptions,
  PublishedOperation,
  ReplicaIdentity,
  SubscriptionOrigin,
} from '../../lib/database';
import { DeclaredServer, declaredLines, declaredState, newStack, stateResource } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

let stack: Stack;
let app: Database;
beforeEach(() => {
  stack = newStack();
  app = new DeclaredServer(stack, 'Server', { majorVersion: 17 }).addDatabase('app');
});
const inside = () => declaredLines(stack).databases.app;

describe('addPublication()', () => {
  test('LR-3: by names, with columns, filter and identity', () => {
    app.addPublication('cdc', {
      tables: ['billing.invoice', '"Odd.schema"."it""s"'],
      tablesWith: [
        {
          table: 'billing.line',
          columns: ['id', 'total'],
          where: "state = 'open'",
          replicaIdentity: ReplicaIdentity.full(),
        },
      ],
      operations: [PublishedOperation.DELETE, PublishedOperation.INSERT],
      viaPartitionRoot: true,
    });
    expect(inside().publications).toEqual([
      `cdc OWNER app_owner PUBLISH INSERT, DELETE VIA ROOT FOR TABLE "Odd.schema"."it""s", TABLE billing.invoice, TABLE billing.line COLUMNS id total WHERE 'state = ''open''' IDENTITY FULL`,
    ]);
    expect(declaredState(stack).databases[0].publications[0].tables).toContainEqual({
      schema: 'Odd.schema',
      name: `it"s`,
    });
  });

  test('by schemas, and of all tables', () => {
    app.addPublication('a', { schemas: [app.addSchema('billing')] });
    app.addPublication('b', { allTables: true });
    expect(inside().publications).toEqual([
      'a OWNER app_owner PUBLISH INSERT, UPDATE, DELETE, TRUNCATE FOR SCHEMA billing',
      'b OWNER app_owner PUBLISH INSERT, UPDATE, DELETE, TRUNCATE FOR ALL TABLES',
    ]);
  });

  test.each<[string, PublicationOptions, string]>([
    ['nothing', {}, 'the publication is of nothing; name tables, schemas, or allTables: true'],
    ['all and some', { allTables: true, tables: ['a.b'] }, 'allTables stands alone'],
    [
      'a table without its schema',
      { tables: ['invoice'] },
      'table "invoice" must be its schema and name, as in billing.invoice',
    ],
    [
      'a filter that gets out',
      { tablesWith: [{ table: 'a.b', where: 'true); DROP TABLE a.b; --' }] },
      'where of a.b has one of ;',
    ],
    [
      'a filter that does not close',
      { tablesWith: [{ table: 'a.b', where: 'true) OR (true' }] },
      'where of a.b has parentheses that do not match',
    ],
    ['a name that would be cut', { tables: [`a.${'x'.repeat(64)}`] }, 'is 64 bytes long'],
    [
      'generated columns before 18',
      { tables: ['a.b'], generatedColumns: true },
      'generatedColumns exists from PostgreSQL 18 on, and the server is of version 17',
    ],
    ['no operation', { tables: ['a.b'], operations: [] }, 'operations is empty'],
    ['no column', { tablesWith: [{ table: 'a.b', columns: [] }] }, 'columns of a.b is empty'],
  ])('refuses %s', (_what, options, problem) => {
    expect(() => app.addPublication('cdc', options)).toThrow(problem);
  });

  test('refuses a schema of another database, and a second one of the same name', () => {
    const other = app.server.addDatabase('other').addSchema('x');
    expect(() => app.addPublication('cdc', { schemas: [other] })).toThrow('is of another database');
  });
});

describe('addSlot()', () => {
  test('LR-17: has a consumer, and reads as subscriptions do unless it says otherwise', () => {
    app.addSlot('debezium', { consumer: app.addLoginRole('cdc_reader'), failover: true });
    expect(inside().slots).toEqual(['debezium PLUGIN pgoutput FOR cdc_reader FAILOVER']);
  });

  test('refuses a name that PostgreSQL refuses, and failover before 17', () => {
    const consumer = app.addLoginRole('cdc_reader');
    expect(() => app.addSlot('De-bezium', { consumer })).toThrow('may have lower case letters, digits and _ alone');
    const old = new DeclaredServer(stack, 'Old', { majorVersion: 16 }).addDatabase('app');
    expect(() => old.addSlot('s', { consumer: old.addLoginRole('r'), failover: true })).toThrow(
      'failover exists from PostgreSQL 17 on',
    );
  });
});

describe('addSubscription()', () => {
  test('LR-4: names its secret by a key, and has a role of its own that nobody else logs in as', () => {
    const secret = new secretsmanager.Secret(stack, 'Publisher');
    app.addSubscription('orders', {
      connectionSecret: secret,
      publications: ['cdc'],
      origin: SubscriptionOrigin.NONE,
      copyData: false,
    });
    expect(inside().subscriptions).toEqual([
      `orders OWNER orders_subscription FROM 'app.orders' PUBLICATIONS cdc WITH copy_data = 'false', origin = 'none'`,
    ]);
    expect(declaredLines(stack).roles).toContain('orders_subscription LOGIN');
    expect(declaredLines(stack).memberships).toContain(
      'app_owner TO orders_subscription WITH INHERIT TRUE, SET TRUE, ADMIN FALSE',
    );
    expect(stateResource(stack).Properties.ConnectionSecrets).toEqual({
      'app.orders': stack.resolve(secret.secretArn),
    });
  });

  test('LR-4: the function may read the secret and not write it, before it is asked to', () => {
    const secret = new secretsmanager.Secret(stack, 'Publisher');
    app.addSubscription('orders', { connectionSecret: secret, publications: ['cdc'] });
    const policies = Template.fromStack(stack).findResources('AWS::IAM::Policy');
    const about = Object.entries(policies).flatMap(([id, { Properties }]) =>
      (Properties.PolicyDocument.Statement as { Resource: unknown; Action: string[] }[])
        .filter(({ Resource }) => JSON.stringify(Resource) === JSON.stringify(stack.resolve(secret.secretArn)))
        .map(({ Action }) => ({ id, Action })),
    );
    expect(about).toEqual([
      {
        id: expect.stringMatching(/^ServerStateApply/),
        Action: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
      },
    ]);
    expect(stateResource(stack).DependsOn).toContain(about[0].id);
  });

  test('refuses no publication, and a name that no slot can have', () => {
    const connectionSecret = new secretsmanager.Secret(stack, 'Publisher');
    expect(() => app.addSubscription('a', { connectionSecret, publications: [] })).toThrow('publications is empty');
    expect(() => app.addSubscription('A b', { connectionSecret, publications: ['p'] })).toThrow('give a slotName');
  });
});

describe('roles that are there and that nobody declares here', () => {
  const master = ExistingRole.of('master');
  const secret = () => secretsmanager.Secret.fromSecretNameV2(stack, 'Publisher', 'publisher');

  test('own a publication and a subscription, and consume a slot, and stay as they are', () => {
    app.addPublication('cdc', { tables: ['billing.invoice'], owner: master });
    app.addSlot('debezium', { consumer: ExistingRole.of('debezium') });
    app.addSubscription('orders', { connectionSecret: secret(), publications: ['cdc'], owner: master });
    const [database] = declaredState(stack).databases;
    expect(database.publications[0].owner).toBe('master');
    expect(database.slots[0].consumer).toBe('debezium');
    expect(database.subscriptions[0].owner).toBe('master');
    const { roles, memberships } = declaredState(stack);
    expect(roles.map(({ name }) => name)).toEqual(['app_owner']);
    expect(memberships).toEqual([]);
  });

  test('a group owns no subscription, since its worker logs in', () => {
    const owner = app.addGroupRole('team');
    expect(() => app.addSubscription('orders', { connectionSecret: secret(), publications: ['cdc'], owner })).toThrow(
      'owner is "team", which does not log in, as its worker has to',
    );
  });
});
