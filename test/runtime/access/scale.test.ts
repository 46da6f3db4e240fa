import { AccessFacts, accessReport } from '../../../lib/runtime/access';

const entry = (grantee: string, privilege: string) => ({ grantee, grantor: 'owner', privilege, grantable: false });

/** 1,000 login roles in 20 groups, 10,000 tables in 10 schemas, and 5,000 grants on single tables. */
function large(): AccessFacts {
  const groups = Array.from({ length: 20 }, (_, at) => `group_${at}`);
  const logins = Array.from({ length: 1_000 }, (_, at) => `login_${at}`);
  const schemas = Array.from({ length: 10 }, (_, at) => `schema_${at}`);
  const common = [entry('owner', 'SELECT'), ...groups.map((group) => entry(group, 'SELECT'))];
  const relations = Array.from({ length: 10_000 }, (_, at) => ({
    schema: schemas[at % 10],
    name: `table_${at}`,
    owner: 'owner',
    extension: false,
    kind: 'table' as const,
    acl: at < 5_000 ? [...common, entry(logins[at % 1_000], 'INSERT')] : common,
  }));
  return {
    of: 'server',
    major: 18,
    roles: new Map(
      [...groups, ...logins, 'owner'].map((name) => [
        name,
        { name, superuser: false, login: name.startsWith('login'), bypassRls: false },
      ]),
    ),
    memberships: logins.map((member, at) => ({
      role: groups[at % 20],
      member,
      inherit: true,
      set: false,
      admin: false,
    })),
    databases: [
      {
        name: 'app',
        owner: 'owner',
        acl: groups.map((group) => entry(group, 'CONNECT')),
        allowConnections: true,
        inside: {
          schemas: new Map(
            schemas.map((name) => [name, { name, owner: 'owner', acl: groups.map((group) => entry(group, 'USAGE')) }]),
          ),
          relations,
          routines: [],
          columns: [],
          defaultAcls: [],
        },
      },
    ],
  };
}

test('the report of 1,000 roles and 10,000 tables names few objects, and has every grant', () => {
  const { access } = accessReport(large());
  // Each login: CONNECT, USAGE and SELECT in each schema by its group; INSERT on 5 tables of its own, which share a schema.
  expect(
    access.filter(({ role }) => role === 'login_7').map(({ privileges, on }) => [privileges[0], on.count]),
  ).toEqual([
    ['CONNECT', 1],
    ...Array.from({ length: 10 }, (_, at) => [
      ['USAGE', 1],
      ['SELECT', 1_000],
      ...(at === 7 ? [['INSERT', 5]] : []),
    ]).flat(),
  ]);
  expect(Math.max(...access.map(({ on }) => on.names.length))).toBeLessThanOrEqual(20);
  expect(access.length).toBeLessThan(25_000);
});
