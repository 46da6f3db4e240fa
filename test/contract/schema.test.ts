import Ajv2020 from 'ajv/dist/2020';
import * as fc from 'fast-check';
import { ContractError, decodeState, encodeState, PRIVILEGES, StateDocument } from '../../lib/contract';
import schema from '../../lib/contract/desired-state.schema.json';
import { states } from './states';

const ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true });
const isValid = ajv.compile(schema);
const travel = (document: unknown) => JSON.parse(JSON.stringify(document)) as unknown;

function decodes(document: unknown): boolean {
  try {
    decodeState(document);
    return true;
  } catch (error) {
    if (error instanceof ContractError) return false;
    throw error;
  }
}

test('what the encoder writes is valid', () => {
  fc.assert(
    fc.property(states, (state) => {
      isValid(travel(encodeState(state)));
      expect(isValid.errors).toBeNull();
    }),
    { numRuns: 500 },
  );
});

test('every privilege is in the schema, and none besides', () => {
  const patterns = JSON.stringify(schema.$defs.grant);
  const known = new Set(Object.values(PRIVILEGES).flat());
  for (const privilege of known) expect(patterns).toContain(privilege);
  const words = new Set(patterns.match(/\b[A-Z]{4,}\b/g));
  const grammar = ['DATABASE', 'SCHEMA', 'TABLE', 'TABLES', 'SEQUENCE', 'SEQUENCES', 'ROUTINE', 'ROUTINES'];
  const notPrivileges = [...grammar, 'PRIVILEGES', 'NAME'];
  expect([...words].filter((word) => !known.has(word as never) && !notPrivileges.includes(word))).toEqual([]);
});

const valid: StateDocument = {
  version: 1,
  name: 's',
  profile: 'production',
  defaults: 'V1',
  acknowledgedPlans: ['0123456789abcdef'],
  roles: ["api LOGIN PASSWORD CONNECTION LIMIT 5 VALID UNTIL '2030-01-01T00:00:00Z'", 'own NOLOGIN'],
  memberships: ['"My ""Group""" TO api WITH INHERIT TRUE, SET FALSE, ADMIN FALSE'],
  settings: ["ROLE api SET search_path = 'a', 'b'"],
  comments: ["SCHEMA app.billing IS 'who pays'"],
  drops: [
    "DATABASE old ADOPTED FORCE BECAUSE 'moved'",
    "ROLE old REASSIGN TO own BECAUSE 'it''s over'",
    "SCHEMA app.old CASCADE BECAUSE 'empty'",
    "SLOT app.old BECAUSE 'nobody reads it'",
  ],
  databases: {
    app: {
      owner: 'own',
      connectionLimit: 7,
      public: 'closed',
      schemas: { billing: 'own' },
      grants: ['SELECT, INSERT ON ALL TABLES IN SCHEMA billing TO api', "EXECUTE ON ROUTINE billing 'f(text)' TO api"],
      defaultPrivileges: ['FOR own IN SCHEMA billing GRANT SELECT ON TABLES TO api'],
      extensions: ["pg_trgm SCHEMA billing VERSION '1.6'", '"uuid-ossp"'],
      isolations: ["billing BY tenant_id UUID FROM 'app.tenant_id' PREPARED FOR api ALL TENANTS FOR own"],
      publications: [
        "cdc OWNER own PUBLISH INSERT, UPDATE VIA ROOT FOR SCHEMA billing, TABLE billing.t COLUMNS id body WHERE 'id > 0' IDENTITY FULL",
      ],
      subscriptions: [
        "orders OWNER own FROM 'orders' PUBLICATIONS cdc SLOT s DISABLED WITH copy_data = 'false', streaming = 'parallel'",
      ],
      slots: ['cdc PLUGIN pgoutput FOR api FAILOVER TWO PHASE'],
    },
  },
};
const app = valid.databases!.app;
const withApp = (changes: object) => ({ ...valid, databases: { app: { ...app, ...changes } } });

test('the document that is made wrong below is right', () => {
  expect(isValid(valid)).toBe(true);
  expect(isValid({ ...withApp({ connectionLimit: '-1' }), version: '1' })).toBe(true);
  expect(decodes(valid)).toBe(true);
});

test.each<[string, unknown]>([
  ['no object', 'state'],
  ['another version', { ...valid, version: 2 }],
  ['no name', { ...valid, name: undefined }],
  ['an unknown profile', { ...valid, profile: 'test' }],
  ['an unknown key', { ...valid, tables: [] }],
  ['a list that is a text', { ...valid, roles: 'api LOGIN' }],
  ['a line that is no text', { ...valid, roles: [{ name: 'api' }] }],
  ['a role without LOGIN', { ...valid, roles: ['api'] }],
  ['a superuser', { ...valid, roles: ['api LOGIN SUPERUSER'] }],
  ['a password without LOGIN', { ...valid, roles: ['api NOLOGIN PASSWORD'] }],
  ['password and IAM', { ...valid, roles: ['api LOGIN PASSWORD IAM'] }],
  ['an unquoted upper-case name', { ...valid, roles: ['Api LOGIN'] }],
  ['a limit below -1', { ...valid, roles: ['api LOGIN CONNECTION LIMIT -2'] }],
  ['a moment without a zone', { ...valid, roles: ["api LOGIN VALID UNTIL '2030-01-01 00:00'"] }],
  ['a membership without an option', { ...valid, memberships: ['g TO api WITH INHERIT TRUE, SET FALSE'] }],
  ['a setting of nothing', { ...valid, settings: ["SET work_mem = '1MB'"] }],
  ['a setting without quotes', { ...valid, settings: ['ROLE api SET work_mem = 1'] }],
  ['a NUL', { ...valid, roles: ['"a\0b" LOGIN'] }],
  ['a database that belongs to the server', { ...valid, databases: { rdsadmin: app } }],
  ['a schema that belongs to the server', withApp({ schemas: { pg_x: 'own' } })],
  ['a database without an owner', withApp({ owner: undefined })],
  ['a limit with a fraction', withApp({ connectionLimit: 1.5 })],
  ['a limit in words', withApp({ connectionLimit: 'ten' })],
  ['PUBLIC half open', withApp({ public: 'open' })],
  ['a privilege of another kind', withApp({ grants: ['EXECUTE ON ALL TABLES IN SCHEMA billing TO api'] })],
  ['ALL', withApp({ grants: ['ALL ON SCHEMA billing TO api'] })],
  ['a grant option', withApp({ grants: ['CREATE ON DATABASE TO api WITH GRANT OPTION'] })],
  ['two statements', withApp({ grants: ['CREATE ON DATABASE TO api; DROP'] })],
  [
    'default privileges on types',
    withApp({ defaultPrivileges: ['FOR o IN SCHEMA billing GRANT USAGE ON TYPES TO a'] }),
  ],
  ['a comment on a table', { ...valid, comments: ["TABLE t IS 'x'"] }],
  ['a comment without quotes', { ...valid, comments: ['ROLE api IS me'] }],
  ['a drop of a table', { ...valid, drops: ["TABLE app.t BECAUSE 'x'"] }],
  ['a drop of a slot of no database', { ...valid, drops: ["SLOT old BECAUSE 'x'"] }],
  ['a drop without a reason', { ...valid, drops: ['ROLE old'] }],
  ['a drop with an empty reason', { ...valid, drops: ["ROLE old BECAUSE ' '"] }],
  ['a drop of a role that cascades', { ...valid, drops: ["ROLE old CASCADE BECAUSE 'x'"] }],
  ['an heir of a database', { ...valid, drops: ["DATABASE old REASSIGN TO own BECAUSE 'x'"] }],
  ['an extension that cascades', withApp({ extensions: ['pg_trgm CASCADE'] })],
  ['a tenant in a date', withApp({ isolations: ["billing BY t DATE FROM 'app.t' PREPARED FOR api"] })],
  [
    'a tenant in a setting of the server',
    withApp({ isolations: ["billing BY t UUID FROM 'work_mem' PREPARED FOR api"] }),
  ],
  ['an isolation of nobody', withApp({ isolations: ["billing BY t UUID FROM 'app.t' PREPARED ALL TENANTS FOR own"] })],
  ['an isolation of an unknown stage', withApp({ isolations: ["billing BY t UUID FROM 'app.t' PERHAPS FOR api"] })],
  ['an isolation without a stage', withApp({ isolations: ["billing BY t UUID FROM 'app.t' FOR api"] })],
  ['a publication of nothing', withApp({ publications: ['cdc OWNER own PUBLISH'] })],
  [
    'a publication of all tables and one',
    withApp({ publications: ['cdc OWNER own PUBLISH INSERT FOR ALL TABLES, TABLE a.b'] }),
  ],
  ['a published sequence', withApp({ publications: ['cdc OWNER own PUBLISH INSERT FOR SEQUENCE a.b'] })],
  ['a connection in clear', withApp({ subscriptions: ['s OWNER own FROM host PUBLICATIONS cdc'] })],
  [
    'an unknown option of a subscription',
    withApp({ subscriptions: ["s OWNER own FROM 'k' PUBLICATIONS cdc WITH slot_name = 'x'"] }),
  ],
  ['a slot for nobody', withApp({ slots: ['cdc PLUGIN pgoutput'] })],
  ['a slot in capital letters', withApp({ slots: ['"Cdc" PLUGIN pgoutput FOR api'] })],
])('neither the schema nor the decoder takes %s', (_, document) => {
  expect(isValid(travel(document))).toBe(false);
  expect(decodes(travel(document))).toBe(false);
});

test('a schema that had lost a rule would be caught', () => {
  const lax = structuredClone(schema) as typeof schema;
  lax.$defs.role.pattern = '^.*$';
  const takes = new Ajv2020({ strict: true, strictRequired: false }).compile({ ...lax, $id: 'lax' });
  expect(takes({ ...valid, roles: ['api LOGIN SUPERUSER'] })).toBe(true);
});

test('every property and every kind of line is described', () => {
  const undescribed: string[] = [];
  const visit = (node: Record<string, unknown>, place: string) => {
    for (const [key, child] of Object.entries((node.properties ?? {}) as Record<string, Record<string, unknown>>)) {
      if (typeof child.description !== 'string') undescribed.push(`${place}.${key}`);
    }
  };
  visit(schema, 'state');
  visit(schema.$defs.database, 'database');
  for (const [key, child] of Object.entries(schema.$defs)) {
    if (key !== 'database' && typeof child === 'object' && !('description' in child)) undescribed.push(key);
  }
  expect(undescribed).toEqual([]);
});
