import { ExistingRole, Privilege, SchemaObject } from '../../lib/database';
import { DeclaredServer, declaredLines, newStack } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup() {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  const app = server.addDatabase('app', { owner: ExistingRole.of('master') });
  return { stack, server, app };
}

test('a role that is there may own what is declared and be a group, and is not declared itself', () => {
  const { stack, app } = setup();
  app.addSchema('s', { owner: ExistingRole.of('other') });
  app.addGroupRole('team', { memberOf: [ExistingRole.of('operators')] });
  const lines = declaredLines(stack);
  expect(lines.roles).toEqual(['team NOLOGIN']);
  expect(lines.memberships).toEqual(['operators TO team WITH INHERIT TRUE, SET FALSE, ADMIN FALSE']);
  expect(lines.databases.app).toMatchObject({ owner: 'master', schemas: { s: 'other' } });
});

test('privileges do not go to a role that is not declared', () => {
  const { app } = setup();
  expect(() => app.addSchema('s').grantRead(ExistingRole.of('other'))).toThrow(/"other" is not a declared role/);
});

test('a name that PostgreSQL would cut off is no role', () => {
  const { server } = setup();
  expect(() => server.addDatabase('b', { owner: ExistingRole.of('x'.repeat(64)) })).toThrow(/names no role/);
});

test('a login role may own the database that it is declared in', () => {
  const stack = newStack();
  const app = new DeclaredServer(stack, 'Server').addDatabase('app', { owner: ExistingRole.of('app') });
  app.addLoginRole('app');
  expect(declaredLines(stack).databases.app.grants).toBeUndefined();
});

test('what is there and what comes can be granted apart, also for one creator alone', () => {
  const { stack, app } = setup();
  const reader = app.addGroupRole('reader');
  const maker = app.addGroupRole('maker');
  const schema = app.addSchema('s');
  schema.grant(reader, SchemaObject.existingTables(), Privilege.SELECT);
  schema.grant(reader, SchemaObject.futureSequences(), Privilege.USAGE);
  schema.grant(reader, SchemaObject.futureTables(maker), Privilege.INSERT);
  expect(declaredLines(stack).databases.app).toMatchObject({
    grants: ['SELECT ON ALL TABLES IN SCHEMA s TO reader', 'USAGE ON SCHEMA s TO reader'],
    defaultPrivileges: [
      'FOR maker IN SCHEMA s GRANT INSERT ON TABLES TO reader',
      'FOR master IN SCHEMA s GRANT USAGE ON SEQUENCES TO reader',
    ],
  });
});

test('the privileges of one creator and those of all are one promise', () => {
  const { stack, app } = setup();
  const reader = app.addGroupRole('reader');
  const schema = app.addSchema('s');
  schema.grant(reader, SchemaObject.allTables(), Privilege.SELECT);
  schema.grant(reader, SchemaObject.futureTables(ExistingRole.of('master')), Privilege.INSERT);
  expect(declaredLines(stack).databases.app.defaultPrivileges).toEqual([
    'FOR master IN SCHEMA s GRANT SELECT, INSERT ON TABLES TO reader',
  ]);
});

test("the schema's owner may be given what belongs to others in it", () => {
  const { stack, app } = setup();
  const owner = app.addGroupRole('owner');
  const schema = app.addSchema('s', { owner });
  schema.grant(owner, SchemaObject.table('t'), Privilege.SELECT);
  schema.grant(owner, SchemaObject.allTables(), Privilege.SELECT);
  expect(declaredLines(stack).databases.app.grants).toEqual(['SELECT ON TABLE s.t TO owner']);
});

test('CONNECT and USAGE are left out where they come in another way', () => {
  const { stack, app } = setup();
  const api = app.addLoginRole('api', { connectPrivilege: false });
  app.addSchema('s', { usageWithGrants: false }).grant(api, SchemaObject.existingTables(), Privilege.SELECT);
  expect(declaredLines(stack).databases.app.grants).toEqual(['SELECT ON ALL TABLES IN SCHEMA s TO api']);
});
