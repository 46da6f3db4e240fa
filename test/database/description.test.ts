import { Lazy } from 'aws-cdk-lib';
import { declaredLines, DeclaredServer, newStack } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

test('what is described is commented on, and nothing else', () => {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  const app = server.addDatabase('app', { description: 'the shop' });
  app.addSchema('billing', { description: "who's paid" });
  app.addSchema('other');
  app.addLoginRole('api', { description: 'the web shop' });
  app.addGroupRole('readers', { description: 'reports' });
  server.addGroupRole('more');
  expect(declaredLines(stack).comments).toEqual([
    "DATABASE app IS 'the shop'",
    "ROLE api IS 'the web shop'",
    "ROLE readers IS 'reports'",
    "SCHEMA app.billing IS 'who''s paid'",
  ]);
});

test.each([
  ['', /Test\/Server\/Database-app: description is ""; say in a few words what the database is for/],
  [' ', /description is " "/],
  [Lazy.string({ produce: () => 'x' }), /description must be a literal/],
])('the description %j is refused', (description, message) => {
  const server = new DeclaredServer(newStack(), 'Server');
  expect(() => server.addDatabase('app', { description })).toThrow(message);
});
