import { Client } from 'pg';
import { DesiredState, Privilege, strictState } from '../lib/contract';
import { NOTHING_INSIDE } from '../test/support/nothing-inside';
import { TestServer } from '../test/support/postgres';

/** The workload of the benchmark: tenants in one database, each with an owner, a login role, a schema, grants and default privileges. */

const TABLE_PRIVILEGES: readonly Privilege[] = ['SELECT', 'INSERT', 'UPDATE', 'DELETE'];
const SEQUENCE_PRIVILEGES: readonly Privilege[] = ['USAGE', 'SELECT'];
const range = (count: number) => Array.from({ length: count }, (_, at) => at);

/** How many tables of the next tenant each may read, where tenants share something: with USAGE there, six grants more for each. */
const SHARED_TABLES = 5;
const sharedTables = (n: number, count: number) =>
  range(SHARED_TABLES).map((t) => ({ schema: `tenant_${(n + 1) % count}`, name: `t${t}` }));

/** As the function has it once it has read the event. */
export function tenants(count: number, shared = false): DesiredState {
  return strictState({
    version: 1,
    name: 'bench',
    profile: 'production',
    defaults: 'V1',
    acknowledgedPlans: [],
    roles: [
      role('saas_owner'),
      ...range(count).flatMap((n) => [
        role(`tenant_${n}_owner`),
        { ...role(`tenant_${n}`), login: true, connectionLimit: 20 },
      ]),
    ],
    memberships: [],
    settings: range(count).map((n) => ({ role: `tenant_${n}`, name: 'statement_timeout', values: ['15s'] })),
    comments: [],
    drops: [],
    databases: [
      {
        ...NOTHING_INSIDE,
        name: 'saas',
        owner: 'saas_owner',
        public: 'closed',
        schemas: range(count).map((n) => ({ name: `tenant_${n}`, owner: `tenant_${n}_owner` })),
        grants: range(count).flatMap((n) => {
          const schema = `tenant_${n}`;
          return [
            { privileges: ['CONNECT'] as const, on: { kind: 'database' } as const, to: schema },
            { privileges: ['USAGE'] as const, on: { kind: 'schema', schema } as const, to: schema },
            { privileges: TABLE_PRIVILEGES, on: { kind: 'allTables', schema } as const, to: schema },
            { privileges: SEQUENCE_PRIVILEGES, on: { kind: 'allSequences', schema } as const, to: schema },
            ...(shared
              ? [
                  {
                    privileges: ['USAGE'] as const,
                    on: { kind: 'schema', schema: `tenant_${(n + 1) % count}` } as const,
                    to: schema,
                  },
                  ...sharedTables(n, count).map((table) => ({
                    privileges: ['SELECT'] as const,
                    on: { kind: 'table', ...table } as const,
                    to: schema,
                  })),
                ]
              : []),
          ];
        }),
        defaultPrivileges: range(count).flatMap((n) => {
          const schema = `tenant_${n}`;
          const common = { creator: `tenant_${n}_owner`, schema, to: schema };
          return [
            { ...common, objects: 'tables' as const, privileges: TABLE_PRIVILEGES },
            { ...common, objects: 'sequences' as const, privileges: SEQUENCE_PRIVILEGES },
          ];
        }),
      },
    ],
  });
}

function role(name: string) {
  return {
    name,
    login: false,
    authentication: 'none' as const,
    inherit: true,
    createDatabase: false,
    createRole: false,
  };
}

/** What is there before the first apply: the database, the owners, the schemas and their tables, made by an earlier tool as the master. */
export async function prepareTables(server: TestServer, count: number, tables: number): Promise<void> {
  await server.query([
    'CREATE ROLE saas_owner NOLOGIN',
    'GRANT saas_owner TO master WITH INHERIT FALSE, SET TRUE',
    'CREATE DATABASE saas OWNER saas_owner',
  ]);
  const client = await server.connect({ database: 'saas' });
  try {
    for (const n of range(count)) {
      const owner = `tenant_${n}_owner`;
      await client.query(`
        BEGIN;
        CREATE ROLE ${owner} NOLOGIN; GRANT ${owner} TO master WITH INHERIT FALSE, SET TRUE;
        SET LOCAL ROLE saas_owner; GRANT CREATE ON DATABASE saas TO ${owner};
        SET LOCAL ROLE ${owner}; CREATE SCHEMA tenant_${n};
        ${range(tables)
          .map((t) => `CREATE TABLE tenant_${n}.t${t} (id int PRIMARY KEY, body text);`)
          .join('\n')}
        SET LOCAL ROLE saas_owner; REVOKE CREATE ON DATABASE saas FROM ${owner};
        COMMIT`);
    }
  } finally {
    await client.end();
  }
}

/**
 * What an experienced administrator would write by hand to reach the same catalog, over one connection to each database: one
 * transaction, one statement a line, as psql would send the file. `oneMessage` sends each part whole, the fastest way there is.
 */
export async function applyReference(
  server: TestServer,
  count: number,
  schemasExist: boolean,
  oneMessage: boolean,
  shared = false,
): Promise<void> {
  const owners = schemasExist
    ? []
    : ['saas_owner', ...range(count).map((n) => `tenant_${n}_owner`)].flatMap((owner) => [
        `CREATE ROLE ${owner} NOLOGIN`,
        `GRANT ${owner} TO CURRENT_USER WITH INHERIT FALSE, SET TRUE`,
      ]);
  const roles = range(count).flatMap((n) => [
    `CREATE ROLE tenant_${n} LOGIN CONNECTION LIMIT 20`,
    `ALTER ROLE tenant_${n} SET statement_timeout TO '15s'`,
  ]);
  const admin = await server.connect();
  try {
    await send(admin, ['BEGIN', ...owners, ...roles, 'COMMIT'], oneMessage);
    if (!schemasExist) await admin.query('CREATE DATABASE saas OWNER saas_owner');
  } finally {
    await admin.end();
  }
  const inside = [
    'SET LOCAL ROLE saas_owner',
    ...range(count).map((n) => `GRANT CONNECT ON DATABASE saas TO tenant_${n}`),
    'GRANT CONNECT ON DATABASE saas TO master',
    ...(schemasExist
      ? []
      : [
          'REVOKE ALL ON DATABASE saas FROM PUBLIC',
          'ALTER DEFAULT PRIVILEGES FOR ROLE saas_owner REVOKE EXECUTE ON ROUTINES FROM PUBLIC',
        ]),
    ...range(count).flatMap((n) => [
      ...(schemasExist ? [] : ['SET LOCAL ROLE saas_owner', `GRANT CREATE ON DATABASE saas TO tenant_${n}_owner`]),
      `SET LOCAL ROLE tenant_${n}_owner`,
      ...(schemasExist ? [] : [`CREATE SCHEMA tenant_${n}`]),
      `GRANT USAGE ON SCHEMA tenant_${n} TO tenant_${n}`,
      `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tenant_${n} TO tenant_${n}`,
      `GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA tenant_${n} TO tenant_${n}`,
      `ALTER DEFAULT PRIVILEGES FOR ROLE tenant_${n}_owner IN SCHEMA tenant_${n} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tenant_${n}`,
      `ALTER DEFAULT PRIVILEGES FOR ROLE tenant_${n}_owner IN SCHEMA tenant_${n} GRANT USAGE, SELECT ON SEQUENCES TO tenant_${n}`,
      ...(shared
        ? [
            `GRANT USAGE ON SCHEMA tenant_${n} TO tenant_${(n + count - 1) % count}`,
            ...sharedTables((n + count - 1) % count, count).map(
              (table) => `GRANT SELECT ON ${table.schema}.${table.name} TO tenant_${(n + count - 1) % count}`,
            ),
          ]
        : []),
      ...(schemasExist
        ? []
        : [
            `ALTER DEFAULT PRIVILEGES FOR ROLE tenant_${n}_owner REVOKE EXECUTE ON ROUTINES FROM PUBLIC`,
            'SET LOCAL ROLE saas_owner',
            `REVOKE CREATE ON DATABASE saas FROM tenant_${n}_owner`,
          ]),
    ]),
  ];
  const client = await server.connect({ database: 'saas' });
  try {
    await send(client, ['BEGIN', ...inside, 'COMMIT'], oneMessage);
  } finally {
    await client.end();
  }
}

async function send(client: Client, statements: string[], oneMessage: boolean): Promise<void> {
  if (oneMessage) await client.query(statements.join(';\n'));
  else for (const statement of statements) await client.query(statement);
}
