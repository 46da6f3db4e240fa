import { Lazy } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { Extension, Schema } from '../../lib/database';
import { declaredLines, DeclaredServer, newStack } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup() {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  return { stack, server, app: server.addDatabase('app') };
}

test('SEC-23: an extension is declared with its schema and version, or without', () => {
  const { stack, app } = setup();
  app.addExtension('pg_trgm', { schema: app.addSchema('search'), version: '1.6' });
  app.addExtension('uuid-ossp');
  expect(declaredLines(stack).databases.app.extensions).toEqual(['"uuid-ossp"', "pg_trgm SCHEMA search VERSION '1.6'"]);
  // That name is not ours to choose.
  Annotations.fromStack(stack).hasNoWarning('*', Match.stringLikeRegexp('uuid-ossp'));
});

test.each([
  ['', {}, /extensionName "" cannot be the name of a object: it is empty/],
  ['x'.repeat(64), {}, /is 64 bytes long/],
  [Lazy.string({ produce: () => 'citext' }), {}, /extensionName must be a literal/],
  ['citext', { version: Lazy.string({ produce: () => '1' }) }, /version must be a literal/],
  ['citext', { version: '' }, /version is "", which is no version of an extension; give one such as 1\.6/],
])('the extension %j with %j is refused with its path', (name, options, message) => {
  const { app } = setup();
  expect(() => new Extension(app, 'Ext', { database: app, extensionName: name, ...options })).toThrow(message);
  expect(() => new Extension(app, 'Ext2', { database: app, extensionName: name, ...options })).toThrow(
    'Test/Server/Database-app/Ext2',
  );
});

test('a schema of another database is refused', () => {
  const { app, server } = setup();
  const other: Schema = server.addDatabase('other').addSchema('s');
  expect(() => app.addExtension('citext', { schema: other })).toThrow(
    'schema is "s" of the database "other" (Test/Server/Database-other/Schema-s); an extension goes into a schema of its own database',
  );
});

test('a second declaration names both', () => {
  const { app } = setup();
  app.addExtension('citext');
  expect(() => new Extension(app, 'Again', { database: app, extensionName: 'citext' })).toThrow(
    /Again: the extension "citext" of the database "app" is declared twice; .*Extension-citext declares it already/,
  );
});
