import * as fc from 'fast-check';
import { ContractError, decodeState, DesiredState, encodeState, StateDocument } from '../../lib/contract';
import { NOTHING_INSIDE } from '../support/nothing-inside';
import { HOSTILE_NAMES, ordered, states } from './states';

const runs = { numRuns: 300 };

/** What CloudFormation makes of a document: every scalar a string, empty lists and maps gone. */
function throughCloudFormation(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(throughCloudFormation);
  if (typeof value !== 'object' || value === null) return String(value);
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, item]) => [key, throughCloudFormation(item)])
      .filter(([, item]) => typeof item !== 'object' || Object.keys(item as object).length > 0),
  );
}

const travel = (document: unknown) => JSON.parse(JSON.stringify(document)) as unknown;

describe('a state comes back as it was', () => {
  test('from JSON', () => {
    fc.assert(
      fc.property(states, (state) => {
        expect(ordered(decodeState(travel(encodeState(state))))).toEqual(ordered(state));
      }),
      runs,
    );
  });

  test('case 111: from CloudFormation, which makes strings of scalars', () => {
    fc.assert(
      fc.property(states, (state) => {
        expect(ordered(decodeState(throughCloudFormation(travel(encodeState(state)))))).toEqual(ordered(state));
      }),
      runs,
    );
  });

  test('case 111: whatever the order of its lists, as the same document', () => {
    fc.assert(
      fc.property(states, (state) => {
        const turned: DesiredState = {
          ...state,
          roles: [...state.roles].reverse(),
          memberships: [...state.memberships].reverse(),
          settings: [...state.settings].reverse(),
          databases: [...state.databases]
            .reverse()
            .map((d) => ({ ...d, schemas: [...d.schemas].reverse(), grants: [...d.grants].reverse() })),
        };
        expect(JSON.stringify(encodeState(turned))).toBe(JSON.stringify(encodeState(state)));
      }),
      runs,
    );
  });

  test.each(HOSTILE_NAMES)('with the name %j in every place', (name) => {
    const state: DesiredState = {
      ...EMPTY,
      name,
      roles: [{ ...ROLE, name }],
      memberships: [{ role: name, member: `${name.slice(0, 9)}2`, inherit: true, set: false, admin: false }],
      settings: [{ role: name, database: name, name, values: [name, ''] }],
      databases: [
        {
          ...DATABASE,
          name,
          owner: name,
          schemas: [{ name, owner: name }],
          grants: [
            { privileges: ['SELECT'], on: { kind: 'table', schema: name, name }, to: name },
            { privileges: ['EXECUTE'], on: { kind: 'routine', schema: name, signature: `${name}()` }, to: name },
          ],
          defaultPrivileges: [{ creator: name, schema: name, objects: 'tables', privileges: ['SELECT'], to: name }],
        },
      ],
    };
    expect(ordered(decodeState(travel(encodeState(state))))).toEqual(ordered(state));
  });
});

const ROLE = {
  name: 'api',
  login: true,
  authentication: 'none',
  inherit: true,
  createDatabase: false,
  createRole: false,
} as const;
const DATABASE = {
  ...NOTHING_INSIDE,
  name: 'app',
  owner: 'own',
  public: 'closed',
} as const;
const EMPTY: DesiredState = {
  version: 1,
  name: 's',
  profile: 'production',
  defaults: 'V1',
  acknowledgedPlans: [],
  roles: [],
  memberships: [],
  settings: [],
  comments: [],
  drops: [],
  databases: [],
};

test('case 111: empty lists and maps are left out, since CloudFormation drops them', () => {
  expect(encodeState({ ...EMPTY, databases: [DATABASE] })).toEqual({
    version: 1,
    name: 's',
    profile: 'production',
    defaults: 'V1',
    databases: { app: { owner: 'own', public: 'closed' } },
  });
});

test('a line reads like the SQL it stands for', () => {
  const document = encodeState({
    ...EMPTY,
    roles: [
      { ...ROLE, authentication: 'password', connectionLimit: 50, validUntil: '2030-01-01T00:00:00Z' },
      { ...ROLE, name: 'My "Role"', login: false, inherit: false, createDatabase: true, createRole: true },
    ],
    memberships: [{ role: 'readers', member: 'api', inherit: true, set: false, admin: false }],
    settings: [{ role: 'api', database: 'app', name: 'search_path', values: ['billing', "it's"] }],
    databases: [
      {
        ...DATABASE,
        schemas: [{ name: 'billing', owner: 'own' }],
        grants: [
          { privileges: ['SELECT', 'INSERT'], on: { kind: 'allTables', schema: 'billing' }, to: 'api' },
          { privileges: ['EXECUTE'], on: { kind: 'routine', schema: 'billing', signature: 'f(text)' }, to: 'api' },
        ],
        defaultPrivileges: [
          { creator: 'own', schema: 'billing', objects: 'tables', privileges: ['SELECT'], to: 'api' },
        ],
      },
    ],
  });
  expect(document).toMatchObject({
    roles: [
      '"My ""Role""" NOLOGIN NOINHERIT CREATEDB CREATEROLE',
      "api LOGIN PASSWORD CONNECTION LIMIT 50 VALID UNTIL '2030-01-01T00:00:00Z'",
    ],
    memberships: ['readers TO api WITH INHERIT TRUE, SET FALSE, ADMIN FALSE'],
    settings: ["ROLE api IN DATABASE app SET search_path = 'billing', 'it''s'"],
    databases: {
      app: {
        schemas: { billing: 'own' },
        grants: [
          "EXECUTE ON ROUTINE billing 'f(text)' TO api",
          'SELECT, INSERT ON ALL TABLES IN SCHEMA billing TO api',
        ],
        defaultPrivileges: ['FOR own IN SCHEMA billing GRANT SELECT ON TABLES TO api'],
      },
    },
  });
});

describe('the decoder is strict, and says where', () => {
  const valid: StateDocument = {
    ...encodeState(EMPTY),
    roles: ['api LOGIN'],
    databases: { app: { owner: 'own', public: 'closed', schemas: { billing: 'own' } } },
  };
  const app = valid.databases!.app;
  const withApp = (changes: object) => ({ ...valid, databases: { app: { ...app, ...changes } } });

  test('the document that is changed below is valid', () => {
    expect(() => decodeState(valid)).not.toThrow();
  });

  test.each<[string, unknown, string]>([
    ['no object', 'state', 'the state must be an object'],
    ['a list', [], 'the state must be an object'],
    ['nothing', null, 'the state must be an object'],
    ['a newer contract', { ...valid, version: 2 }, 'version is 2, and this code reads version 1'],
    ['a newer contract as a string', { ...valid, version: '2' }, 'version is 2'],
    ['a version that is no number', { ...valid, version: '1.0' }, 'version of the state must be a whole number'],
    ['no version', { ...valid, version: undefined }, 'version of the state must be a whole number'],
    ['no name', { ...valid, name: undefined }, 'name of the state must be a text that is not empty'],
    ['an empty name', { ...valid, name: '' }, 'name of the state must be a text that is not empty'],
    [
      'an unknown profile',
      { ...valid, profile: 'test' },
      'profile of the state must be one of production, development',
    ],
    ['unknown defaults', { ...valid, defaults: 'V9' }, 'defaults of the state must be one of V1'],
    ['an unknown key', { ...valid, role: ['x LOGIN'] }, 'the state has a key that this version does not know: "role"'],
    [
      'an unknown key inside',
      withApp({ grant: [] }),
      'databases.app of the state has a key that this version does not know: "grant"',
    ],
    ['a key of every object', { ...valid, toString: 'x' }, 'does not know: "toString"'],
    ['a list that is a text', { ...valid, roles: 'api LOGIN' }, 'roles of the state must be a list of lines'],
    ['a line that is a number', { ...valid, roles: [7] }, 'roles of the state must be a list of lines'],
    ['a map that is a list', { ...valid, databases: ['app'] }, 'databases of the state must be a map by name'],
    [
      'a database that is a text',
      { ...valid, databases: { app: 'own' } },
      'databases.app of the state must be an object',
    ],
    ['no owner', withApp({ owner: undefined }), 'owner of databases.app of the state must be a text'],
    [
      'a limit in words',
      withApp({ connectionLimit: 'ten' }),
      'connectionLimit of databases.app of the state must be a whole number',
    ],
    ['a limit with a fraction', withApp({ connectionLimit: 1.5 }), 'connectionLimit of databases.app'],
    [
      'PUBLIC half open',
      withApp({ public: 'open' }),
      'public of databases.app of the state must be one of closed, kept',
    ],
    [
      'a schema whose owner is no text',
      withApp({ schemas: { billing: 5 } }),
      'schemas.billing of databases.app of the state must be the name of its owner',
    ],
    [
      'a role line without LOGIN',
      { ...valid, roles: ['api'] },
      'in roles of the state, the line "api" is not valid: it ends where LOGIN or NOLOGIN should stand',
    ],
    [
      'a role that would be a superuser',
      { ...valid, roles: ['api LOGIN SUPERUSER'] },
      'nothing should stand where SUPERUSER does',
    ],
    ['case 24: BYPASSRLS', { ...valid, roles: ['api LOGIN BYPASSRLS'] }, 'nothing should stand where BYPASSRLS does'],
    [
      'case 36: password and IAM',
      { ...valid, roles: ['api LOGIN PASSWORD IAM'] },
      'nothing should stand where IAM does',
    ],
    [
      'a login that cannot take turns in the secret of this group',
      { ...valid, roles: ['api NOLOGIN', 'web LOGIN PASSWORD OF api'] },
      'the role "web" has its password from the secret of "api", in which api_1 and api_2 take turns',
    ],
    [
      'a login that takes turns for a group that is not declared',
      { ...valid, roles: ['api_1 LOGIN PASSWORD OF api'] },
      'from the secret of "api", which is not declared',
    ],
    [
      'an IAM role that takes turns',
      { ...valid, roles: ['api NOLOGIN', 'api_1 LOGIN IAM OF api'] },
      'nothing should stand where OF does',
    ],
    [
      'a password without LOGIN',
      { ...valid, roles: ['api NOLOGIN PASSWORD'] },
      'a role without LOGIN cannot have an authentication',
    ],
    ['an unquoted upper-case name', { ...valid, roles: ['Api LOGIN'] }, 'a name should stand where Api does'],
    ['a line with rubbish', { ...valid, roles: ['api LOGIN; DROP'] }, 'it cannot be read'],
    ['an open quote', { ...valid, roles: ['"api LOGIN'] }, 'it cannot be read'],
    ['an empty line', { ...valid, roles: [''] }, 'it ends where a name should stand'],
    ['a membership without its options', { ...valid, memberships: ['a TO b'] }, 'it ends where WITH should stand'],
    [
      'a privilege of another kind',
      withApp({ grants: ['EXECUTE ON ALL TABLES IN SCHEMA billing TO api'] }),
      'in grants of databases.app of the state, the line "EXECUTE ON ALL TABLES IN SCHEMA billing TO api" is not valid: EXECUTE is not a privilege of a table',
    ],
    ['ALL', withApp({ grants: ['ALL ON SCHEMA billing TO api'] }), 'ALL is not a privilege of a schema'],
    [
      'a default privilege on schemas',
      withApp({ defaultPrivileges: ['FOR own IN SCHEMA billing GRANT USAGE ON SCHEMAS TO api'] }),
      'TABLES or SEQUENCES or ROUTINES should stand where SCHEMAS does',
    ],
    [
      'a grant in a schema that is not declared',
      withApp({ grants: ['USAGE ON SCHEMA other TO api'] }),
      'a declaration in the database "app" names the schema "other", which is not declared there',
    ],
    [
      'a setting of nothing',
      { ...valid, settings: ["SET work_mem = '1MB'"] },
      'ROLE or DATABASE should stand where SET does',
    ],
    [
      'a setting without a value',
      { ...valid, settings: ['ROLE api SET work_mem ='] },
      'it ends where a value in single quotes should stand',
    ],
    ['a role twice', { ...valid, roles: ['api LOGIN', 'api NOLOGIN'] }, 'the role "api" is declared twice'],
    ['a setting twice', { ...valid, settings: ["ROLE api SET a = '1'", "ROLE api SET a = '2'"] }, 'is declared twice'],
    ['case 10: a role name of 64 bytes', { ...valid, roles: [`${'x'.repeat(64)} LOGIN`] }, 'is 64 bytes long in UTF-8'],
    [
      'case 10: 32 characters of 64 bytes',
      { ...valid, roles: [`"${'é'.repeat(32)}" LOGIN`] },
      'is 64 bytes long in UTF-8',
    ],
    [
      'case 10: a long grantee',
      withApp({ grants: [`CONNECT ON DATABASE TO ${'x'.repeat(64)}`] }),
      'is 64 bytes long in UTF-8',
    ],
    [
      'case 10: a long member',
      { ...valid, memberships: [`a TO ${'x'.repeat(64)} WITH INHERIT TRUE, SET TRUE, ADMIN FALSE`] },
      'is 64 bytes long in UTF-8',
    ],
    [
      'case 10: a long table',
      withApp({ grants: [`SELECT ON TABLE billing.${'x'.repeat(64)} TO api`] }),
      'is 64 bytes long in UTF-8',
    ],
    ['case 10: a long owner', withApp({ owner: 'x'.repeat(64) }), 'is 64 bytes long in UTF-8'],
    ['an empty grantee', withApp({ grants: ['CONNECT ON DATABASE TO ""'] }), 'is empty'],
    ['case 12: NUL', { ...valid, roles: ['"a\0b" LOGIN'] }, 'contains a NUL'],
    ['case 12: NUL in a value', { ...valid, settings: ["ROLE api SET application_name = 'a\0b'"] }, 'contains a NUL'],
    [
      'case 11: a reserved database',
      { ...valid, databases: { rdsadmin: app } },
      'the database "rdsadmin" is a database that belongs to the server itself',
    ],
    ['case 11: a reserved schema', withApp({ schemas: { pg_x: 'own' } }), 'the schema "pg_x" starts with "pg_"'],
    ['a database limit below -1', withApp({ connectionLimit: -2 }), 'connectionLimit of the database "app"'],
    ['a connection limit below -1', { ...valid, roles: ['api LOGIN CONNECTION LIMIT -2'] }, 'CONNECTION LIMIT'],
    ['case 42: a date that is none', { ...valid, roles: ["api LOGIN VALID UNTIL 'tomorrow'"] }, 'VALID UNTIL'],
    [
      'case 42: a date without a zone',
      { ...valid, roles: ["api LOGIN VALID UNTIL '2030-01-01 00:00'"] },
      'VALID UNTIL',
    ],
  ])('%s', (_, document, problem) => {
    const decode = () => decodeState(document);
    expect(decode).toThrow(ContractError);
    expect(decode).toThrow(problem);
  });

  test('all problems are told at once', () => {
    const wrong = { ...valid, profile: 'x', roles: ['api'], databases: { app: { ...app, public: 'open', extra: 1 } } };
    try {
      decodeState(wrong);
      throw new Error('it was accepted');
    } catch (error) {
      expect((error as ContractError).problems).toHaveLength(4);
    }
  });

  test('a document of anything never becomes anything but a ContractError', () => {
    const keys = fc.constantFrom('version', 'name', 'profile', 'defaults', 'roles', 'databases', 'memberships', 'x');
    fc.assert(
      fc.property(fc.dictionary(keys, fc.anything()), (changes) => {
        try {
          decodeState({ ...valid, ...changes });
        } catch (error) {
          expect(error).toBeInstanceOf(ContractError);
        }
      }),
      runs,
    );
  });
});
