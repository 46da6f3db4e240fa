import { Duration, Lazy } from 'aws-cdk-lib';
import { Annotations, Match } from 'aws-cdk-lib/assertions';
import { Authentication, Database, GroupRole, PredefinedRole, Privilege, SchemaObject } from '../../lib/database';
import { declaredLines, declaredState, DeclaredServer, newStack, stateResource } from './declared-server';

jest.mock('../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../server/state/fake-bundles').fakeBundle(),
}));

function setup(props = {}) {
  const stack = newStack();
  const server = new DeclaredServer(stack, 'Server', props);
  return { stack, server };
}

describe('a database', () => {
  test('belongs to a role that does not log in, and is closed to PUBLIC', () => {
    const { stack, server } = setup();
    server.addDatabase('app');
    expect(declaredLines(stack)).toMatchObject({
      roles: ['app_owner NOLOGIN'],
      databases: { app: { owner: 'app_owner', public: 'closed' } },
    });
  });

  test('can keep what PUBLIC has, and belong to a declared role', () => {
    const { stack, server } = setup();
    const owner = new GroupRole(server, 'Team', { server, roleName: 'team' });
    server.addDatabase('app', { owner, closePublic: false, connectionLimit: 100, settings: { work_mem: '64MB' } });
    expect(declaredLines(stack)).toMatchObject({
      roles: ['team NOLOGIN'],
      settings: ["DATABASE app SET work_mem = '64MB'"],
      databases: { app: { owner: 'team', public: 'kept', connectionLimit: 100 } },
    });
  });

  test.each([
    ['postgres', /which holds the ledger/],
    ['rdsadmin', /belongs to the server itself/],
    ['a'.repeat(64), /64 bytes long/],
    ['', /is empty/],
    [Lazy.string({ produce: () => 'app' }), /databaseName must be a literal/],
  ])('refuses the name %j', (name, message) => {
    const { server } = setup();
    expect(() => new Database(server, 'Db', { server, databaseName: name })).toThrow(message);
    expect(() => new Database(server, 'Db2', { server, databaseName: name })).toThrow('Test/Server/Db2');
  });

  test('refuses a second declaration and names both', () => {
    const { server } = setup();
    server.addDatabase('app');
    expect(() => new Database(server, 'Again', { server, databaseName: 'app' })).toThrow(
      'Test/Server/Again/Owner: the role "app_owner" is declared twice; Test/Server/Database-app/Owner declares it already: use what that is, or another name',
    );
    const owner = new GroupRole(server, 'O', { server, roleName: 'o' });
    expect(() => new Database(server, 'Third', { server, databaseName: 'app', owner })).toThrow(
      'Test/Server/Third: the database "app" is declared twice; Test/Server/Database-app declares it already',
    );
  });

  test.each([[1.5], [-2], [NaN]])('refuses the connection limit %d', (connectionLimit) => {
    const { server } = setup();
    expect(() => server.addDatabase('app', { connectionLimit })).toThrow(/connectionLimit must be a whole number/);
  });
});

describe('a login role', () => {
  test('connects to its database and has no other privilege', () => {
    const { stack, server } = setup();
    server.addDatabase('app').addLoginRole('api');
    const lines = declaredLines(stack);
    expect(lines.roles).toContain('api LOGIN PASSWORD');
    expect(lines.databases.app.grants).toEqual(['CONNECT ON DATABASE TO api']);
    expect(lines.memberships).toBeUndefined();
  });

  test('writes its limits and settings in their canonical form', () => {
    const { stack, server } = setup();
    server.addDatabase('app').addLoginRole('api', {
      connectionLimit: 50,
      statementTimeout: Duration.seconds(15),
      lockTimeout: Duration.millis(1500),
      idleInTransactionSessionTimeout: Duration.minutes(2),
      transactionTimeout: Duration.seconds(0),
      searchPath: ['billing', 'a, b'],
      settings: { work_mem: '8MB' },
      validUntil: new Date('2030-01-01T00:00:00Z'),
    });
    const lines = declaredLines(stack);
    expect(lines.roles).toContain("api LOGIN PASSWORD CONNECTION LIMIT 50 VALID UNTIL '2030-01-01T00:00:00.000Z'");
    expect(lines.settings).toEqual([
      "ROLE api SET idle_in_transaction_session_timeout = '2min'",
      "ROLE api SET lock_timeout = '1500ms'",
      "ROLE api SET search_path = 'billing', 'a, b'",
      "ROLE api SET statement_timeout = '15s'",
      "ROLE api SET transaction_timeout = '0s'",
      "ROLE api SET work_mem = '8MB'",
    ]);
  });

  test('that acts as the owner may SET ROLE, inherits nothing, and what it creates belongs to the owner (case 51)', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    const billing = app.addSchema('billing');
    app.addLoginRole('migrator', { actsAs: app.owner });
    billing.grantRead(app.addGroupRole('readers'));
    const lines = declaredLines(stack);
    expect(lines.memberships).toEqual(['app_owner TO migrator WITH INHERIT FALSE, SET TRUE, ADMIN FALSE']);
    expect(lines.settings).toEqual(['ROLE migrator SET "role" = \'app_owner\'']);
    expect(lines.databases.app.defaultPrivileges).toEqual([
      'FOR app_owner IN SCHEMA billing GRANT SELECT ON SEQUENCES TO readers',
      'FOR app_owner IN SCHEMA billing GRANT SELECT ON TABLES TO readers',
    ]);
  });

  test.each([
    [{ settings: { role: 'x' } }, /use actsAs/],
    [{ settings: { search_path: 'a,b' } }, /use searchPath/],
    [{ settings: { 'x; DROP ROLE y': '1' } }, /not the name of a setting/],
    [
      { settings: { statment_timeout: '5s' } },
      'Test/Server/Database-app/Role-api: settings cannot have statment_timeout: PostgreSQL 18 knows no such setting: did you mean statement_timeout?',
    ],
    [{ settings: { max_connections: '5' } }, /settings cannot have max_connections: the whole server has one value/],
    [{ settings: { work_mem: Lazy.string({ produce: () => '1MB' }) } }, /settings.work_mem must be a literal/],
    [{ statementTimeout: Duration.days(40) }, /at most 24 days/],
    [{ settings: { statement_timeout: '1s' }, statementTimeout: Duration.seconds(2) }, /declared twice/],
  ])('refuses %j', (options, message) => {
    const { server } = setup();
    const app = server.addDatabase('app');
    expect(() => app.addLoginRole('api', options)).toThrow(message);
  });

  test.each(['pg_api', 'rdsapi', 'public', 'CURRENT_USER', '\u{1F600}'.repeat(16), 'a\0b', ''])(
    'cases 10, 11: refuses the name %j',
    (name) => {
      const { server } = setup();
      const app = server.addDatabase('app');
      expect(() => app.addLoginRole(name)).toThrow(/roleName .* cannot be the name of a role/);
    },
  );

  test('case 12: quotes a name that needs it, also one that looks like SQL', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    app.addLoginRole('O\'Neil "x"; DROP ROLE y', { authentication: Authentication.none() });
    expect(declaredState(stack).roles.map((role) => role.name)).toContain('O\'Neil "x"; DROP ROLE y');
  });

  test('case 16: warns of a name that psql users have to quote, and of no other', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    for (const name of ['MyRole', 'my role', 'my_role', 'role2$'])
      app.addLoginRole(name, { authentication: Authentication.none() });
    const warnings = Annotations.fromStack(stack)
      .findWarning('*', Match.stringLikeRegexp('needs double quotes'))
      .map(({ entry }) => /"(.*?)"/.exec(String(entry.data))![1]);
    expect(warnings).toEqual(['MyRole', 'my role']);
  });

  test('has a transaction timeout from PostgreSQL 17 on only', () => {
    const { server } = setup({ majorVersion: 16 });
    const app = server.addDatabase('app');
    expect(() => app.addLoginRole('api', { transactionTimeout: Duration.seconds(1) })).toThrow(/from PostgreSQL 17 on/);
  });
});

describe('a schema', () => {
  test('lets a role read what is there and what comes', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    app.addSchema('billing').grantRead(app.addLoginRole('report', { authentication: Authentication.none() }));
    expect(declaredLines(stack).databases.app).toEqual({
      owner: 'app_owner',
      public: 'closed',
      schemas: { billing: 'app_owner' },
      grants: [
        'CONNECT ON DATABASE TO report',
        'SELECT ON ALL SEQUENCES IN SCHEMA billing TO report',
        'SELECT ON ALL TABLES IN SCHEMA billing TO report',
        'USAGE ON SCHEMA billing TO report',
      ],
      defaultPrivileges: [
        'FOR app_owner IN SCHEMA billing GRANT SELECT ON SEQUENCES TO report',
        'FOR app_owner IN SCHEMA billing GRANT SELECT ON TABLES TO report',
      ],
    });
  });

  test('lets a role write, call and count, but not truncate', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    app.addSchema('billing').grantReadWrite(app.addGroupRole('writers'));
    expect(declaredLines(stack).databases.app.grants).toEqual([
      'EXECUTE ON ALL ROUTINES IN SCHEMA billing TO writers',
      'SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA billing TO writers',
      'USAGE ON SCHEMA billing TO writers',
      'USAGE, SELECT ON ALL SEQUENCES IN SCHEMA billing TO writers',
    ]);
  });

  test('adds grants up, in whatever order', () => {
    const one = setup();
    const a = one.server.addDatabase('app');
    const s = a.addSchema('s');
    const r = a.addGroupRole('r');
    s.grantRead(r);
    s.grantReadWrite(r);
    const two = setup();
    const b = two.server.addDatabase('app');
    const t = b.addSchema('s');
    const q = b.addGroupRole('r');
    t.grantReadWrite(q);
    t.grantRead(q);
    expect(declaredLines(one.stack)).toEqual(declaredLines(two.stack));
    const tables = declaredLines(one.stack).databases.app.grants.filter((line: string) => line.includes('ALL TABLES'));
    expect(tables).toEqual(['SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA s TO r']);
  });

  test('gives default privileges for every login role that may create there, also one declared later', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    const schema = app.addSchema('s');
    const readers = app.addGroupRole('readers');
    schema.grant(readers, SchemaObject.allTables(), Privilege.SELECT);
    const team = app.addGroupRole('team', { memberOf: [app.owner] });
    app.addLoginRole('dev', { memberOf: [team], authentication: Authentication.none() });
    const maker = app.addLoginRole('maker', { authentication: Authentication.none() });
    schema.grant(maker, SchemaObject.schema(), Privilege.CREATE);
    app.addLoginRole('other', { authentication: Authentication.none() });
    expect(declaredState(stack).databases[0].defaultPrivileges.map((d) => d.creator)).toEqual([
      'app_owner',
      'dev',
      'maker',
    ]);
  });

  test('grants its owner nothing, who has all of it', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    app.addSchema('s').grantReadWrite(app.owner);
    expect(declaredLines(stack).databases.app.grants).toBeUndefined();
    expect(declaredLines(stack).databases.app.defaultPrivileges).toBeUndefined();
  });

  test('grants on single objects by name and signature, with USAGE on the schema', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    const schema = app.addSchema('s');
    const role = app.addGroupRole('r');
    schema.grant(role, SchemaObject.table('in.voice'), Privilege.SELECT, Privilege.MAINTAIN);
    schema.grant(role, SchemaObject.sequence('numbers'), Privilege.USAGE);
    schema.grant(role, SchemaObject.routine('total(integer, text)'), Privilege.EXECUTE);
    expect(declaredLines(stack).databases.app.grants).toEqual([
      "EXECUTE ON ROUTINE s 'total(integer, text)' TO r",
      'SELECT, MAINTAIN ON TABLE s."in.voice" TO r',
      'USAGE ON SCHEMA s TO r',
      'USAGE ON SEQUENCE s.numbers TO r',
    ]);
    expect(declaredLines(stack).databases.app.defaultPrivileges).toBeUndefined();
  });

  test.each([
    [SchemaObject.allSequences(), [Privilege.INSERT], /INSERT, which a sequence does not have/],
    [SchemaObject.schema(), [Privilege.SELECT], /SELECT, which a schema does not have/],
    [SchemaObject.allTables(), [], /names no privilege/],
    [SchemaObject.allTables(), [Privilege.MAINTAIN], /from PostgreSQL 17 on/],
    [SchemaObject.routine('total'), [Privilege.EXECUTE], /must have the argument types/],
    [SchemaObject.table(''), [Privilege.SELECT], /is empty/],
  ])('refuses %#', (on, privileges, message) => {
    const { server } = setup({ majorVersion: 16 });
    const app = server.addDatabase('app');
    const role = app.addGroupRole('r');
    expect(() => app.addSchema('s').grant(role, on, ...privileges)).toThrow(message);
  });

  test('refuses a name twice in one database, and allows it in two', () => {
    const { server } = setup();
    const app = server.addDatabase('app');
    app.addSchema('s');
    expect(() => app.addSchema('s')).toThrow(/Schema-s/);
    server.addDatabase('other').addSchema('s');
  });
});

describe('access roles of a database', () => {
  test('cover schemas declared before and after, and their members inherit', () => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    app.addSchema('one');
    app.addLoginRole('api', { memberOf: [app.readWriteRole], authentication: Authentication.none() });
    app.addLoginRole('report', { memberOf: [app.readOnlyRole], authentication: Authentication.none() });
    app.addSchema('two');
    const lines = declaredLines(stack);
    expect(lines.memberships).toEqual([
      'app_readonly TO report WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
      'app_readwrite TO api WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    ]);
    for (const schema of ['one', 'two']) {
      expect(lines.databases.app.grants).toContain(`SELECT ON ALL TABLES IN SCHEMA ${schema} TO app_readonly`);
      expect(lines.databases.app.grants).toContain(
        `SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO app_readwrite`,
      );
    }
  });

  test('are not declared unless asked for', () => {
    const { stack, server } = setup();
    server.addDatabase('app').addSchema('one');
    expect(declaredLines(stack).roles).toEqual(['app_owner NOLOGIN']);
  });
});

describe('memberships', () => {
  test('case 32: of predefined roles depend on the version (SEC-8)', () => {
    const old = setup({ majorVersion: 16 });
    const role = old.server.addDatabase('app').addGroupRole('r');
    role.memberOf(PredefinedRole.MONITOR);
    expect(() => role.memberOf(PredefinedRole.MAINTAIN)).toThrow(
      /pg_maintain exists from PostgreSQL 17 on, and the server is of version 16/,
    );
    const recent = setup({ majorVersion: 18 });
    const other = recent.server.addDatabase('app').addGroupRole('r');
    other.memberOf(PredefinedRole.SIGNAL_AUTOVACUUM_WORKER);
    expect(declaredLines(recent.stack).memberships).toEqual([
      'pg_signal_autovacuum_worker TO r WITH INHERIT TRUE, SET FALSE, ADMIN FALSE',
    ]);
  });

  test('case 22: in a circle are refused', () => {
    const { server } = setup();
    const app = server.addDatabase('app');
    const a = app.addGroupRole('a');
    const b = app.addGroupRole('b', { memberOf: [a] });
    expect(() => a.memberOf(b)).toThrow(/refuses a circle/);
    expect(() => a.memberOf(a)).toThrow(/refuses a circle/);
  });

  test('with two sets of options are refused', () => {
    const { server } = setup();
    const app = server.addDatabase('app');
    const a = app.addGroupRole('a');
    const b = app.addGroupRole('b', { memberOf: [a] });
    b.memberOf(a);
    expect(() => b.memberOf(a, { set: true })).toThrow(/with other options/);
  });

  test('case 36: never make an application an administrator, or an IAM role by hand', () => {
    expect(() => PredefinedRole.of('rds_superuser')).toThrow(/SEC-26/);
    expect(() => PredefinedRole.of('rds_iam')).toThrow(/Authentication.iam/);
    expect(() => PredefinedRole.of('team')).toThrow(/starts with pg_ or rds_/);
  });

  test('across servers are refused', () => {
    const stack = newStack();
    const one = new DeclaredServer(stack, 'One').addDatabase('app');
    const two = new DeclaredServer(stack, 'Two').addDatabase('app');
    const role = one.addGroupRole('r');
    expect(() => two.addGroupRole('q').memberOf(role)).toThrow(/declared on another server, Test\/One/);
    expect(() => two.addSchema('s').grantRead(role)).toThrow(/declared on another server/);
    expect(() => two.addSchema('t').grantRead(PredefinedRole.MONITOR)).toThrow(/not a declared role/);
  });
});

test('the same declaration in another order gives the same document', () => {
  const make = (names: string[]) => {
    const { stack, server } = setup();
    const app = server.addDatabase('app');
    names.forEach((name) => app.addSchema(`s_${name}`).grantRead(app.addGroupRole(name)));
    return JSON.stringify(stateResource(stack).Properties.State);
  };
  expect(make(['a', 'b', 'c'])).toBe(make(['c', 'a', 'b']));
});

test.each([
  [{ encoding: 'utf9' }, /Test\/Server\/Database-app: encoding "utf9" is none that a database can have; .*UTF8/],
  [{ encoding: '' }, /Test\/Server\/Database-app: encoding "" is none/],
  [{ encoding: 'BIG5' }, /encoding "BIG5" is none/],
  [{ locale: '' }, /Test\/Server\/Database-app: locale "" is no locale/],
])('case 45: %j is refused at synthesis', (options, message) => {
  expect(() => new DeclaredServer(newStack(), 'Server').addDatabase('app', options)).toThrow(message);
});

describe('what the function would refuse is an error at synthesis that says where', () => {
  const app = () => new DeclaredServer(newStack(), 'Server').addDatabase('app');

  test.each<[string, () => unknown, RegExp]>([
    [
      'a moment that is none',
      () => app().addLoginRole('api', { validUntil: new Date('garbage') }),
      /app\/Role-api: validUntil must be a moment in the years 1 to 9999, not Invalid Date/,
    ],
    [
      'a year of five digits',
      () => app().addLoginRole('api', { validUntil: new Date(Date.UTC(20000, 0, 1)) }),
      /app\/Role-api: validUntil must be.*not \+020000-01-01/,
    ],
    [
      'a text as a moment',
      () => app().addLoginRole('api', { validUntil: '2030-01-01' as never }),
      /app\/Role-api: validUntil must be.*not 2030-01-01/,
    ],
    [
      'NUL in a setting',
      () => app().addLoginRole('api', { settings: { work_mem: 'a\0' } }),
      /app\/Role-api: settings.work_mem has a NUL/,
    ],
    [
      'NUL in a search path',
      () => app().addLoginRole('api', { searchPath: ['a\0'] }),
      /app\/Role-api: searchPath has a NUL/,
    ],
    [
      'a number as a setting',
      () => app().addLoginRole('api', { settings: { work_mem: 5 as never } }),
      /app\/Role-api: settings.work_mem must be a text, not number/,
    ],
    [
      'no role',
      () =>
        app()
          .addSchema('x')
          .grantRead(undefined as never),
      /app\/Schema-x: role is undefined/,
    ],
    ['no role for the database', () => app().grantConnect(undefined as never), /Database-app: role is undefined/],
    [
      'a number as a name',
      () => app().addLoginRole(42 as never),
      /Database-app: addLoginRole\(\) roleName must be a text, not number/,
    ],
    [
      'a name that CDK drops',
      () => app().addLoginRole('__proto__'),
      /app\/Role-__proto__: roleName "__proto__" cannot be the name of a role: it is a word of JavaScript/,
    ],
    ['a schema that CDK drops', () => app().addSchema('__proto__'), /schemaName "__proto__" cannot be/],
  ])('%s', (_what, declare, message) => expect(declare).toThrow(message));

  test('anything else that the function would refuse', () => {
    const stack = newStack();
    const server = new DeclaredServer(stack, 'Server');
    server.addDatabase('app');
    server.state.declare((declaration) =>
      declaration.addSetting(server, { role: 'api', name: 'work_mem', values: ['a\0'] }),
    );
    expect(() => declaredState(stack)).toThrow(
      /Test\/Server: what is declared inside is not valid: .*"work_mem" contains a NUL/,
    );
  });

  test('a setting with the name of a property that every object has', () => {
    const { server } = setup();
    expect(() => server.addDatabase('app', { settings: Object.fromEntries([['constructor', 'x']]) })).toThrow(
      'settings cannot have constructor: PostgreSQL 18 knows no such setting',
    );
  });
});
