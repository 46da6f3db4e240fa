import { Lazy } from 'aws-cdk-lib';
import { DroppedObject, DropOptions } from '../../lib/database';
import { declaredLines, declaredState, DeclaredServer, newStack } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup() {
  const stack = newStack();
  return { stack, server: new DeclaredServer(stack, 'Server') };
}

test('each kind of object is dropped by its own line', () => {
  const { stack, server } = setup();
  const heir = server.addGroupRole('heir');
  const reason = "it's over";
  server.drop(DroppedObject.role('old'), { reason, reassignTo: heir, adopted: true });
  server.drop(DroppedObject.database('olddb'), { reason, force: true });
  server.drop(DroppedObject.schema('app', 'attic'), { reason, cascade: true });
  server.drop(DroppedObject.extension('app', 'citext'), { reason });
  server.drop(DroppedObject.publication('app', 'cdc'), { reason });
  server.drop(DroppedObject.subscription('app', 'feed'), { reason });
  server.drop(DroppedObject.slot('app', 'cdc'), { reason });
  expect(declaredLines(stack).drops).toEqual([
    "DATABASE olddb FORCE BECAUSE 'it''s over'",
    "EXTENSION app.citext BECAUSE 'it''s over'",
    "PUBLICATION app.cdc BECAUSE 'it''s over'",
    "ROLE old ADOPTED REASSIGN TO heir BECAUSE 'it''s over'",
    "SCHEMA app.attic CASCADE BECAUSE 'it''s over'",
    "SLOT app.cdc BECAUSE 'it''s over'",
    "SUBSCRIPTION app.feed BECAUSE 'it''s over'",
  ]);
  expect(declaredState(stack).drops).toHaveLength(7);
});

test.each<[DroppedObject, Partial<DropOptions>, RegExp]>([
  [DroppedObject.role('old'), { reason: ' ' }, /drop\(DroppedObject\.role\(\)\) of "old" needs a reason/],
  [DroppedObject.role('old'), { force: true }, /drop\(\) of the role "old" has force, which only a database has/],
  [DroppedObject.database('old'), { cascade: true }, /the database "old" has cascade, which only a schema has/],
  [DroppedObject.extension('app', 'x'), { cascade: true }, /drop what depends on it first/],
  [DroppedObject.role('rdsadmin'), {}, /which Amazon RDS reserves/],
  [DroppedObject.schema('rdsadmin', 'x'), {}, /database that belongs to the server itself/],
  [DroppedObject.database(Lazy.string({ produce: () => 'x' })), {}, /must be a literal/],
])('%# is refused with its path', (object, options, message) => {
  const { server } = setup();
  expect(() => server.drop(object, { reason: 'over', ...options })).toThrow(message);
  expect(() => server.drop(object, { reason: 'over', ...options })).toThrow('Test/Server');
});

test('an heir of another server is refused, and so is an object of the database that it names twice', () => {
  const { stack, server } = setup();
  const other = new DeclaredServer(stack, 'Other');
  expect(() =>
    server.drop(DroppedObject.role('old'), { reason: 'over', reassignTo: other.addGroupRole('heir') }),
  ).toThrow('is declared on another server');
  server.drop(DroppedObject.role('old'), { reason: 'over' });
  expect(() => server.drop(DroppedObject.role('old'), { reason: 'again', adopted: true })).toThrow(
    'Test/Server: drop() of the role "old" comes a second time; take one of the two calls out',
  );
});

describe.each([
  ['the role "app_owner"', DroppedObject.role('app_owner'), '/Owner'],
  ['the database "app"', DroppedObject.database('app'), ''],
  ['the schema "s" of the database "app"', DroppedObject.schema('app', 's'), '/Schema-s'],
  ['the extension "citext" of the database "app"', DroppedObject.extension('app', 'citext'), '/Extension-citext'],
])('%s is not both declared and dropped', (what, object, path) => {
  const message =
    `Test/Server/Database-app${path}: ${what} is declared here, and is to be dropped by drop() of Test/Server; ` +
    'take out the declaration or the drop()';
  const declare = (server: DeclaredServer) => {
    const app = server.addDatabase('app');
    app.addSchema('s');
    app.addExtension('citext');
  };

  test('where the drop comes first', () => {
    const { server } = setup();
    server.drop(object, { reason: 'over' });
    expect(() => declare(server)).toThrow(new Error(message));
  });

  test('where the declaration comes first', () => {
    const { server } = setup();
    declare(server);
    expect(() => server.drop(object, { reason: 'over' })).toThrow(new Error(message));
  });
});

test('what only has the name of what is dropped is declared', () => {
  const { stack, server } = setup();
  server.drop(DroppedObject.schema('other', 's'), { reason: 'over' });
  server.drop(DroppedObject.role('app'), { reason: 'over' });
  server.addDatabase('app').addSchema('s');
  expect(declaredState(stack).drops).toHaveLength(2);
});

test('a drop that goes with another one is said without a trace of how the template is made', () => {
  const { stack, server } = setup();
  server.addDatabase('app');
  server.drop(DroppedObject.database('old'), { reason: 'over' });
  server.drop(DroppedObject.schema('old', 's'), { reason: 'over' });
  const synthesis = () => declaredLines(stack);
  expect(synthesis).toThrow(
    /Test\/Server: what is declared inside is not valid: the schema "s" goes with the database "old"/,
  );
  expect(synthesis).not.toThrow(/Resolution error/);
});
