import { transformSync } from '@swc/core';
import { App, Lazy } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import { Authentication, Database, TenantStage, TenantType } from '../../lib/database';
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
    'The isolation of the database "app" "billing" is declared twice: by Test/Server/Database-app/Schema-billing',
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
