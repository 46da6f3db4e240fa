import { startServer, TestServer } from '../../support/postgres';
import { memberships } from './catalog';
import { declaration, owner } from './declaration';
import { apply, applyAcknowledged, appWith, asOwner, asSuperuser, grantsOf, holds, legacyApplication } from './runs';

/** What random stories (property.test.ts) have found, each as the few lines that it comes down to. */

let server: TestServer;
beforeAll(async () => {
  server = await startServer({ version: 18 });
});
beforeEach(() => server.reset());

test('a setting of a database goes in the same run in which the database gets another owner', async () => {
  const roles = [...declaration().roles, owner('next_owner')];
  const work = { database: 'app', name: 'work_mem', values: ['8MB'] };
  await apply(server, appWith({}, { roles, settings: [work] }));
  await applyAcknowledged(server, appWith({ owner: 'next_owner' }, { roles, settings: [] }));
  expect(await server.query("SELECT FROM pg_db_role_setting WHERE setconfig::text LIKE '%work_mem%'")).toEqual([]);
});

test('what belongs to somebody who may not enter the schema is granted and revoked all the same', async () => {
  const state = declaration({ roles: [...declaration().roles, owner('maker')] });
  await apply(server, state);
  await asOwner(server, 'CREATE TABLE billing.page (id int)');
  await asSuperuser(
    server,
    ['ALTER TABLE billing.page OWNER TO maker', 'GRANT UPDATE (id), DELETE ON billing.page TO api'],
    'app',
  );
  await applyAcknowledged(server, state);
  expect(await holds(server, "has_table_privilege('app_readonly', 'billing.page', 'SELECT')")).toBe(true);
  expect(await holds(server, "has_table_privilege('api', 'billing.page', 'DELETE')")).toBe(false);
  expect(await holds(server, "has_column_privilege('api', 'billing.page', 'id', 'UPDATE')")).toBe(false);
  expect(await holds(server, "has_schema_privilege('maker', 'billing', 'USAGE')")).toBe(false);
});

test('a privilege on an object goes before the USAGE by which its owner enters the schema', async () => {
  const state = declaration({ roles: [...declaration().roles, owner('maker')] });
  await apply(server, state);
  await asOwner(server, 'GRANT USAGE ON SCHEMA billing TO maker', 'CREATE TABLE billing.page (id int)');
  await asSuperuser(server, ['ALTER TABLE billing.page OWNER TO maker', 'GRANT DELETE ON billing.page TO api'], 'app');
  await applyAcknowledged(server, state);
  expect(await holds(server, "has_table_privilege('api', 'billing.page', 'DELETE')")).toBe(false);
  expect(await holds(server, "has_schema_privilege('maker', 'billing', 'USAGE')")).toBe(false);
});

test('what belongs to somebody who may not enter a schema that is not ours is refused with what helps', async () => {
  await server.query(['CREATE ROLE app_owner', 'GRANT app_owner TO master WITH SET TRUE', 'CREATE DATABASE app']);
  await server.query('ALTER DATABASE app OWNER TO app_owner');
  await asSuperuser(
    server,
    ['CREATE SCHEMA billing', 'CREATE TABLE billing.page (id int)', 'ALTER TABLE billing.page OWNER TO app_owner'],
    'app',
  );
  await expect(apply(server, declaration())).rejects.toThrow(
    /belongs to app_owner, who may not enter the schema: GRANT USAGE ON SCHEMA "billing" TO "app_owner"/,
  );
});

test('schema public of a new database is closed and given to its declared owner', async () => {
  const roles = [...declaration().roles, owner('keeper')];
  const schemas = [...declaration().databases[0].schemas, { name: 'public', owner: 'keeper' }];
  await apply(server, appWith({ schemas }, { roles }));
  expect(await holds(server, "has_schema_privilege('api', 'public', 'USAGE')")).toBe(false);
  expect(await holds(server, "(SELECT nspowner = 'keeper'::regrole FROM pg_namespace WHERE nspname = 'public')")).toBe(
    true,
  );
});

test('the declared owner of a schema has what is declared also while the change of owner is withheld', async () => {
  await legacyApplication(server);
  const roles = [...declaration().roles, owner('keeper')];
  const on = { kind: 'schema', schema: 'billing' } as const;
  const state = appWith(
    {
      schemas: [{ name: 'billing', owner: 'keeper' }],
      grants: [...grantsOf(declaration()), { privileges: ['USAGE', 'CREATE'], on, to: 'keeper' }],
    },
    { roles },
  );
  expect((await apply(server, state)).plan.withheld.map(({ object }) => object)).toContain('schema billing');
  expect(await holds(server, "has_schema_privilege('keeper', 'billing', 'CREATE')")).toBe(true);
  await applyAcknowledged(server, state);
  expect(await holds(server, "has_schema_privilege('keeper', 'billing', 'CREATE')")).toBe(true);
});

test('an owner from whom somebody has taken what is declared for it gets it back', async () => {
  const grants = [
    ...grantsOf(declaration()),
    { privileges: ['CREATE' as const], on: { kind: 'database' as const }, to: 'app_owner' },
    { privileges: ['USAGE' as const], on: { kind: 'schema' as const, schema: 'billing' }, to: 'app_owner' },
    { privileges: ['DELETE' as const], on: { kind: 'allTables' as const, schema: 'billing' }, to: 'app_owner' },
  ];
  await apply(server, appWith({ grants }));
  await asOwner(
    server,
    'CREATE TABLE billing.page (id int)',
    'REVOKE DELETE ON billing.page FROM app_owner',
    'REVOKE USAGE ON SCHEMA billing FROM app_owner',
    'REVOKE CREATE ON DATABASE app FROM app_owner',
  );
  expect((await apply(server, appWith({ grants }))).outcome).toBe('applied');
  expect(await holds(server, "has_table_privilege('app_owner', 'billing.page', 'DELETE')")).toBe(true);
});

test('what is taken from its owner leaves no membership of the master that was not there', async () => {
  await server.query([
    'CREATE ROLE previous_owner',
    'CREATE ROLE team',
    'GRANT previous_owner TO team WITH INHERIT FALSE, SET TRUE',
    'GRANT team TO master WITH INHERIT FALSE, SET TRUE',
    'CREATE DATABASE app',
  ]);
  await asSuperuser(server, 'ALTER DATABASE app OWNER TO previous_owner');
  await apply(server, declaration());
  await applyAcknowledged(server, declaration());
  expect(await memberships(server, 'previous_owner')).toEqual([
    'master in previous_owner by rdsadmin: ADMIN',
    'team in previous_owner by master: SET',
  ]);
});
