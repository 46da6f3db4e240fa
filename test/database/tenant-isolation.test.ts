import { transformSync } from '@swc/core';
import { App, Lazy } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { Authentication, Database, Privilege, SchemaObject, TenantStage, TenantType } from '../../lib/database';
import { declaredLines, DeclaredServer, newStack } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup() {
  const stack = newStack();
  const app = new DeclaredServer(stack, 'Server').addDatabase('app');
  const role = (name: string) => app.addLoginRole(name, { authentication: Authentication.none() });
  return {
    stack,
    app,
    billing: app.addSchema('billing'),
    api: role('api'),
    worker: role('worker'),
    report: role('report'),
  };
}

const lines = (stack: ReturnType<typeof newStack>) => declaredLines(stack).databases.app.isolations;

test('the isolation of a schema is one line (SEC-25)', () => {
  const { stack, billing, api, worker, report, app } = setup();
  billing.isolateTenants({
    column: 'tenant_id',
    type: TenantType.BIGINT,
    roles: [worker, api, api],
    allTenants: [report, app.owner],
    setting: 'saas.tenant',
    stage: TenantStage.ENFORCED,
  });
  expect(lines(stack)).toEqual([
    "billing BY tenant_id BIGINT FROM 'saas.tenant' ENFORCED FOR api, worker ALL TENANTS FOR app_owner, report",
  ]);
});

test('by default it is prepared, and the tenant is in app.tenant_id', () => {
  const { stack, billing, api } = setup();
  billing.isolateTenants({ column: 'tenant_id', type: TenantType.UUID, roles: [api] });
  expect(lines(stack)).toEqual(["billing BY tenant_id UUID FROM 'app.tenant_id' PREPARED FOR api"]);
});

function findings(stack: ReturnType<typeof newStack>): { description: string; severity: string }[] {
  jest.spyOn(console, 'error').mockImplementation();
  const app = App.of(stack) as App;
  Template.fromStack(stack);
  const report = JSON.parse(readFileSync(path.join(app.outdir, 'validation-report.json'), 'utf8'));
  return report.pluginReports
    .flatMap(({ violations }: { violations: { ruleName: string }[] }) => violations)
    .filter(({ ruleName }: { ruleName: string }) => ruleName === 'SEC-25');
}

test('roles with privileges that are in neither list are a warning, those of a role set too (SEC-25)', () => {
  const { stack, app, billing, api, worker, report } = setup();
  billing.isolateTenants({ column: 'tenant_id', type: TenantType.UUID, roles: [api], allTenants: [app.owner] });
  // Granted later than isolated, directly and through a group.
  billing.grantRead(api);
  billing.grantReadWrite(worker);
  billing.grantRead(app.readOnlyRole);
  report.memberOf(app.readOnlyRole);
  expect(findings(stack)).toEqual([
    expect.objectContaining({
      severity: 'warning',
      description: expect.stringContaining(
        'these roles have privileges and will see, once it is enforced, no row: app_readonly, report, worker',
      ),
    }),
  ]);
});

test('no warning where everybody with a privilege is in a list, or in a group of one (SEC-25)', () => {
  const { stack, app, billing, api, worker, report } = setup();
  billing.grantRead(app.readOnlyRole);
  report.memberOf(app.readOnlyRole);
  billing.grantReadWrite(worker);
  billing.isolateTenants({
    column: 'tenant_id',
    type: TenantType.UUID,
    roles: [api, worker],
    allTenants: [app.readOnlyRole],
    stage: TenantStage.ENFORCED,
  });
  expect(findings(stack)).toEqual([]);
});

test('a second declaration for the schema is refused', () => {
  const { billing, api } = setup();
  const options = { column: 'tenant_id', type: TenantType.UUID, roles: [api] };
  billing.isolateTenants(options);
  expect(() => billing.isolateTenants(options)).toThrow(
    'Test/Server/Database-app/Schema-billing: the isolation of the schema "billing" of the database "app" is declared twice',
  );
});

test.each([
  ['no role', () => ({ roles: [] }), /roles is empty/],
  [
    'the owner',
    ({ app }: ReturnType<typeof setup>) => ({ roles: [app.owner] }),
    /"app_owner", the owner of the schema/,
  ],
  [
    'a role in both lists',
    ({ api }: ReturnType<typeof setup>) => ({ allTenants: [api] }),
    /has "api" in roles and in allTenants/,
  ],
  ['a setting of the server', () => ({ setting: 'work_mem' }), /setting "work_mem" must have a prefix and a name/],
  ['a setting with SQL in it', () => ({ setting: "a.b', true); --" }), /must have a prefix and a name/],
  ['a column that is cut off', () => ({ column: 'c'.repeat(64) }), /isolateTenants\(\) column "c+" cannot be the name/],
  [
    'a token',
    () => ({ setting: Lazy.string({ produce: () => 'app.t' }) }),
    /isolateTenants\(\) setting must be a literal/,
  ],
  [
    'a role of another server',
    ({ stack }: ReturnType<typeof setup>) => {
      const server = new DeclaredServer(stack, 'Other');
      const other = new Database(server, 'Db', { server, databaseName: 'other' });
      return { roles: [other.addGroupRole('stranger')] };
    },
    /"stranger".* is declared on another server/,
  ],
])('refuses %s, with the path of the schema', (_what, change, message) => {
  const all = setup();
  const changes = change(all);
  const declare = () =>
    all.billing.isolateTenants({ column: 'tenant_id', type: TenantType.UUID, roles: [all.api], ...changes });
  expect(declare).toThrow(message);
  expect(declare).toThrow('Test/Server/Database-app/Schema-billing');
});

describe('a role that is to see one tenant alone', () => {
  const path = 'Test/Server/Database-app/Schema-billing: isolateTenants() has';
  type All = ReturnType<typeof setup>;

  function declare(change: (all: All) => void): () => unknown {
    const all = setup();
    const { billing, api, report, app } = all;
    billing.isolateTenants({
      column: 'tenant_id',
      type: TenantType.UUID,
      roles: [api],
      allTenants: [report, app.readOnlyRole],
    });
    // Whatever comes after the isolation counts as well.
    change(all);
    return () => lines(all.stack);
  }

  test.each<[string, (all: All) => void, string]>([
    [
      'is a member of the owner',
      ({ api, app }) => api.memberOf(app.owner),
      `${path} "api" see one tenant alone, and it can act as "app_owner", the owner of the schema, who can turn row security off: take that away`,
    ],
    [
      'may SET ROLE to the owner',
      ({ api, app }) => api.memberOf(app.owner, { inherit: false, set: true }),
      `${path} "api" see one tenant alone, and it can act as "app_owner"`,
    ],
    [
      'is a member of who sees all',
      ({ api, report }) => api.memberOf(report),
      `${path} "api" see one tenant alone, and it can act as "report", who sees all tenants: take that away`,
    ],
    [
      'comes to it by groups of groups',
      ({ api, app }) => {
        const between = app.addGroupRole('between');
        between.memberOf(app.readOnlyRole);
        api.memberOf(between);
      },
      `${path} "api" see one tenant alone, and it can act as "app_readonly", who sees all tenants`,
    ],
    [
      'has a member that sees all besides',
      ({ api, worker, report }) => {
        worker.memberOf(api);
        worker.memberOf(report);
      },
      `${path} "worker" see one tenant alone, as a member of "api", and it can act as "report", who sees all tenants`,
    ],
    [
      'has TRUNCATE',
      ({ api, billing }) => billing.grant(api, SchemaObject.allTables(), Privilege.TRUNCATE),
      `${path} "api" see one tenant alone, and it is granted TRUNCATE, which takes the rows of all tenants`,
    ],
  ])('and %s is refused', (_what, change, message) => {
    expect(declare(change)).toThrow(message);
    expect(declare(change)).not.toThrow(/Resolution error/);
  });

  test.each<[string, (all: All) => void]>([
    ['is in no group', () => undefined],
    ['is in a group of its own', ({ api, app }) => api.memberOf(app.readWriteRole)],
    ['is worked as by somebody who sees all', ({ api, report }) => report.memberOf(api)],
    ['has DELETE', ({ api, billing }) => billing.grant(api, SchemaObject.allTables(), Privilege.DELETE)],
    [
      'has TRUNCATE in another schema',
      ({ api, app }) => app.addSchema('scratch').grant(api, SchemaObject.allTables(), Privilege.TRUNCATE),
    ],
    ['shares the server with one who acts as the owner', ({ worker, app }) => worker.memberOf(app.owner)],
  ])('and %s is taken', (_what, change) => expect(declare(change)()).toHaveLength(1));
});

test('the declaration in docs/tenants.md is one', () => {
  const text = readFileSync(path.resolve(__dirname, '../../docs/tenants.md'), 'utf8');
  const [, source] = /```ts\n(const billing[\s\S]*?)```/.exec(text)!;
  const { code } = transformSync(source, { jsc: { parser: { syntax: 'typescript' }, target: 'es2023' } });
  const stack = newStack();
  const app = new DeclaredServer(stack, 'Server').addDatabase('app');
  new Function('app', 'TenantType', 'TenantStage', code)(app, TenantType, TenantStage);
  expect(lines(stack)).toEqual([
    "billing BY tenant_id UUID FROM 'app.tenant_id' PREPARED FOR api ALL TENANTS FOR app_owner, report",
  ]);
});
