import { DesiredRole } from '../../../lib/contract';
import { RefusedError } from '../../../lib/runtime/reconcile';
import { freshServer, TestServer, VERSIONS } from '../../support/postgres';
import { apply, appWith, asOwner, grantsOf, holds, plan, sqlOf } from './runs';
import { declaration } from './declaration';

const auditor: DesiredRole = {
  name: 'rds_pgaudit',
  login: false,
  authentication: 'none',
  inherit: true,
  createDatabase: false,
  createRole: false,
};
const EXTENSION = { name: 'pgaudit' };

/** What addAuditing() declares: the role that RDS wants, the extension, and what is audited. */
function audited() {
  const base = declaration();
  const privileges = ['INSERT', 'UPDATE', 'DELETE'] as const;
  const to = auditor.name;
  return appWith(
    {
      extensions: [EXTENSION],
      grants: [
        ...grantsOf(base),
        { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to },
        { privileges, on: { kind: 'allTables', schema: 'billing' }, to },
      ],
      defaultPrivileges: [
        ...base.databases[0].defaultPrivileges,
        { creator: 'app_owner', schema: 'billing', objects: 'tables', privileges, to },
      ],
    },
    { roles: [...base.roles, auditor] },
  );
}

const asked = (right: string) => `has_table_privilege('rds_pgaudit', 'billing.later', '${right}')`;

// The extension of these servers stands in for pgaudit: it is loaded and created, and writes nothing.
describe.each(VERSIONS)('PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await freshServer({ version });
  });
  afterAll(() => server.stop());

  test('SEC-20: the role that RDS wants is made, with the extension and the grants that say what is audited', async () => {
    await apply(server, audited());
    expect(await holds(server, `EXISTS (SELECT FROM pg_extension WHERE extname = 'pgaudit')`)).toBe(true);
    expect(await holds(server, `EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_pgaudit' AND NOT rolcanlogin)`)).toBe(
      true,
    );
    // Whoever had its privileges by membership would have what is only to be audited.
    expect(
      await holds(
        server,
        `NOT EXISTS (SELECT FROM pg_auth_members WHERE roleid = 'rds_pgaudit'::regrole AND (inherit_option OR set_option))`,
      ),
    ).toBe(true);
  });

  test('SEC-20: a table that is made later is audited, for what was declared and nothing else', async () => {
    await asOwner(server, 'CREATE TABLE billing.later (id int)');
    expect(await holds(server, asked('INSERT'))).toBe(true);
    expect(await holds(server, asked('SELECT'))).toBe(false);
  });

  test('a second run has nothing to do', async () => {
    expect(sqlOf((await plan(server, audited())).plan.steps)).toEqual([]);
  });

  test('any other role under the names of RDS is refused', async () => {
    const other = { ...audited(), roles: [...audited().roles, { ...auditor, name: 'rds_audit' }] };
    await expect(plan(server, other)).rejects.toThrow('starts with "rds", which Amazon RDS reserves for its own roles');
  });
});

test('SEC-20: a server that does not load pgaudit is refused before anything is changed', async () => {
  const server = await freshServer({ version: 18, settings: { shared_preload_libraries: 'pg_stat_statements' } });
  try {
    await apply(server, declaration());
    const error = await apply(server, audited()).catch((thrown: RefusedError) => thrown);
    expect(String((error as RefusedError).problems)).toContain(
      'the extension "pgaudit" of the database "app" needs pgaudit in the parameter shared_preload_libraries',
    );
    expect(await holds(server, `EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_pgaudit')`)).toBe(false);
  } finally {
    await server.stop();
  }
});
