import { CfnParameter, Duration } from 'aws-cdk-lib';
import { Authentication, Database, ExistingRole, LoginRoleOptions } from '../../lib/database';
import { IPostgresServer } from '../../lib/server/postgres-server';
import { declaredLines, DeclaredServer, newStack } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup() {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server');
  return { stack, server, shop: server.addDatabase('shop'), books: server.addDatabase('books') };
}

describe('a login with privileges in another database', () => {
  type All = ReturnType<typeof setup> & { ledger: ReturnType<Database['addSchema']> };

  function synthesise(declare: (all: All) => void): () => unknown {
    const all = setup();
    declare({ ...all, ledger: all.books.addSchema('ledger') });
    return () => declaredLines(all.stack);
  }

  const login = (shop: Database, options: LoginRoleOptions = {}) =>
    shop.addLoginRole('api', { authentication: Authentication.none(), ...options });

  test.each<[string, (all: All) => void]>([
    ['no way into it', ({ shop, ledger }) => ledger.grantRead(login(shop))],
    [
      'two logins that take turns',
      ({ shop, ledger }) => ledger.grantRead(login(shop, { authentication: Authentication.alternatingPasswords() })),
    ],
    [
      'a way of its own into its own database alone',
      ({ shop, ledger }) => ledger.grantRead(login(shop, { connectPrivilege: false })),
    ],
    [
      'a group that has privileges there, and not CONNECT',
      ({ shop, ledger, books }) => {
        ledger.grantRead(books.readOnlyRole);
        ledger.grantRead(login(shop, { memberOf: [books.readOnlyRole] }));
      },
    ],
    [
      'a group whose privileges it does not inherit',
      ({ shop, ledger, books }) => {
        books.grantConnect(books.readOnlyRole);
        const api = login(shop);
        api.memberOf(books.readOnlyRole, { inherit: false, set: true });
        ledger.grantRead(api);
      },
    ],
  ])('and %s is refused', (_what, declare) => {
    expect(synthesise(declare)).toThrow(
      'Test/Server/Database-shop/Role-api: the login role "api" is granted privileges in the database "books" and may not connect to it: ' +
        'call grantConnect() of Test/Server/Database-books with it',
    );
    expect(synthesise(declare)).not.toThrow(/Resolution error/);
  });

  test.each<[string, (all: All) => void]>([
    [
      'CONNECT, given later',
      ({ shop, ledger, books }) => {
        const api = login(shop);
        ledger.grantRead(api);
        books.grantConnect(api);
      },
    ],
    [
      'CONNECT, for two that take turns',
      ({ shop, ledger, books }) => {
        const api = login(shop, { authentication: Authentication.alternatingPasswords() });
        ledger.grantRead(api);
        books.grantConnect(api);
      },
    ],
    [
      'CONNECT by a group of a group',
      ({ shop, ledger, books, server }) => {
        const guests = server.addGroupRole('guests');
        books.grantConnect(guests);
        ledger.grantRead(login(shop, { memberOf: [server.addGroupRole('visitors', { memberOf: [guests] })] }));
      },
    ],
    ['the power of the owner', ({ shop, ledger, books }) => ledger.grantRead(login(shop, { memberOf: [books.owner] }))],
    [
      'a group that this app does not declare',
      ({ shop, ledger }) => ledger.grantRead(login(shop, { memberOf: [ExistingRole.of('team')] })),
    ],
    [
      'a database that is open to PUBLIC',
      ({ shop, server }) => server.addDatabase('open', { closePublic: false }).addSchema('s').grantRead(login(shop)),
    ],
  ])('and %s is taken', (_what, declare) => expect(synthesise(declare)).not.toThrow());

  test('is not judged in its own database where it says that it comes another way', () => {
    const { shop, stack } = setup();
    shop.addSchema('s').grantRead(login(shop, { connectPrivilege: false }));
    expect(() => declaredLines(stack)).not.toThrow();
  });

  test('through a group alone is not judged: other members may come from there', () => {
    const { shop, books, stack } = setup();
    books.addSchema('ledger').grantRead(books.readOnlyRole);
    login(shop, { memberOf: [books.readOnlyRole] });
    expect(() => declaredLines(stack)).not.toThrow();
  });
});

describe('a second call', () => {
  const options = { authentication: Authentication.none() };
  const there = (id: string) => `Test/Server/${id} is there already: use what the first call returned, or another name`;

  test.each<[string, (server: IPostgresServer, shop: Database) => unknown, string]>([
    ['addDatabase("x")', (server) => server.addDatabase('x'), there('Database-x')],
    ['addGroupRole("x")', (server) => server.addGroupRole('x'), there('Role-x')],
    ['addDriftDetection()', (server) => server.addDriftDetection(), there('DriftDetection')],
    ['addMonitoring()', (server) => server.addMonitoring(), there('Monitoring')],
    ['addAuditing()', (server) => server.addAuditing(), there('Auditing')],
    ['addSchema("x")', (_, shop) => shop.addSchema('x'), there('Database-shop/Schema-x')],
    ['addExtension("x")', (_, shop) => shop.addExtension('x'), there('Database-shop/Extension-x')],
    ['addLoginRole("x")', (_, shop) => shop.addLoginRole('x', options), there('Database-shop/Role-x')],
    ['addGroupRole("x")', (_, shop) => shop.addGroupRole('x'), there('Database-shop/Role-x')],
    ['addRoleSet()', (_, shop) => shop.addRoleSet(), there('Database-shop/RoleSet')],
    [
      'addPublication("x")',
      (_, shop) => shop.addPublication('x', { allTables: true }),
      there('Database-shop/Publication-x'),
    ],
  ])('of %s names what is there', (call, declare, message) => {
    const { server, shop } = setup();
    declare(server, shop);
    const again = () => declare(server, shop);
    expect(again).toThrow(`${call} is a second declaration; ${message}`);
    expect(again).not.toThrow(/Construct with name/);
  });

  test('for another kind of role of the same name names that one', () => {
    const { shop, books } = setup();
    shop.addGroupRole('x');
    expect(() => shop.addLoginRole('x')).toThrow(there('Database-shop/Role-x'));
    expect(() => books.addLoginRole('x', options)).toThrow(
      'Test/Server/Database-books/Role-x: the role "x" is declared twice; Test/Server/Database-shop/Role-x declares it already',
    );
  });
});

test.each<[string, (server: IPostgresServer, shop: Database, name: string) => unknown, string]>([
  ['addDatabase', (server, _, name) => server.addDatabase(name), 'Test/Server: addDatabase() databaseName'],
  ['addSchema', (_, shop, name) => shop.addSchema(name), 'Test/Server/Database-shop: addSchema() schemaName'],
  ['addLoginRole', (_, shop, name) => shop.addLoginRole(name), 'Test/Server/Database-shop: addLoginRole() roleName'],
  [
    'an id of the app',
    (server, _, name) => new Database(server, `Db${name}`, { server, databaseName: name }),
    'Test/Server/Db(token): databaseName',
  ],
])('a token as a name is refused without its raw text: %s', (_what, declare, where) => {
  const { stack, server, shop } = setup();
  const name = new CfnParameter(stack, 'Name').valueAsString;
  let message = '';
  try {
    declare(server, shop, name);
  } catch (error) {
    ({ message } = error as Error);
  }
  expect(message).toContain(`${where} must be a literal text; a token is known only at deployment`);
  expect(message).not.toContain('Token[');
});

test('the master user is no role to declare, and another name is', () => {
  const server = new DeclaredServer(newStack(), 'Server', { adminRole: 'boss' });
  const shop = server.addDatabase('shop', { owner: ExistingRole.of('boss') });
  expect(() => shop.addLoginRole('boss')).toThrow(
    'Test/Server/Database-shop/Role-boss: roleName "boss" is the master user of Test/Server, who applies what is declared',
  );
  expect(() => server.addGroupRole('boss')).toThrow('Test/Server/Role-boss: roleName "boss" is the master user');
  expect(() => shop.addLoginRole('postgres', { statementTimeout: Duration.seconds(5) })).not.toThrow();
});
