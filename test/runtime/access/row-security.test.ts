import { accessReport, declaredAccessFacts, observeAccessFacts } from '../../../lib/runtime/access';
import { DesiredIsolation, DesiredState } from '../../../lib/contract';
import { Connections } from '../../../lib/runtime/reconcile/connections';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { declaration, group, login } from '../reconcile/declaration';
import { apply, applyAcknowledged, appWith, as, asOwner, asSuperuser } from '../reconcile/runs';

const TENANT = '00000000-0000-0000-0000-00000000000a';

function state(stage: DesiredIsolation['stage']): DesiredState {
  const onTables = (to: string) => [
    { privileges: ['CONNECT' as const], on: { kind: 'database' as const }, to },
    { privileges: ['USAGE' as const], on: { kind: 'schema' as const, schema: 'billing' }, to },
    { privileges: ['SELECT' as const], on: { kind: 'allTables' as const, schema: 'billing' }, to },
  ];
  const [database] = declaration().databases;
  return appWith(
    {
      grants: [...database.grants, ...['tenants', 'report', 'stray'].flatMap(onTables)],
      isolations: [
        {
          schema: 'billing',
          column: 'tenant_id',
          type: 'uuid',
          setting: 'shop.tenant',
          stage,
          roles: ['tenants'],
          allTenants: ['report'],
        },
      ],
    },
    {
      roles: [...declaration().roles, group('tenants'), login('report'), login('stray'), login('guest')],
      memberships: [
        { role: 'tenants', member: 'api', inherit: true, set: false, admin: false },
        { role: 'app_readonly', member: 'guest', inherit: true, set: false, admin: false },
      ],
    },
  );
}

/** What row security makes of SELECT, by role. */
function bySelect(report: ReturnType<typeof accessReport>): Record<string, unknown> {
  const rows = report.access.filter(
    ({ on, privileges, by }) =>
      on.kind === 'table' && on.schema === 'billing' && privileges.includes('SELECT') && by !== 'owner',
  );
  return Object.fromEntries(rows.map(({ role, rowSecurity }) => [role, rowSecurity]));
}

describe.each(VERSIONS)('row security in access on PostgreSQL %s (SEC-25)', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });
  afterEach(() => server.reset());

  const observed = async (role?: string) => {
    const connections = new Connections(server.connection(), 'postgres');
    try {
      return accessReport(await observeAccessFacts(connections, 'app'), { role });
    } finally {
      await connections.close();
    }
  };

  async function isolated(stage: DesiredIsolation['stage']): Promise<void> {
    await apply(server, state('prepared'));
    await asOwner(
      server,
      'CREATE TABLE billing.invoice (id int, tenant_id uuid)',
      `INSERT INTO billing.invoice VALUES (1, '${TENANT}'), (2, gen_random_uuid())`,
      'CREATE TABLE billing.country (name text)',
    );
    await apply(server, state(stage));
    if (stage !== 'prepared') await applyAcknowledged(server, state(stage));
  }

  const seen = async (role: string) =>
    (await as(server, role, ['BEGIN', `SET LOCAL shop.tenant = '${TENANT}'`, 'SELECT FROM billing.invoice'])).length;

  test('what each role comes to is said, with the setting that decides, and is what it sees', async () => {
    await isolated('enforced');
    const rows = bySelect(await observed());
    expect(rows).toMatchObject({
      api: [{ rows: 'tenant', setting: 'shop.tenant', count: 1 }],
      tenants: [{ rows: 'tenant', setting: 'shop.tenant', count: 1 }],
      report: [{ rows: 'all', count: 1 }],
      stray: [{ rows: 'none', count: 1 }],
      app_readonly: [{ rows: 'none', count: 1 }],
      guest: [{ rows: 'none', count: 1 }],
    });
    expect([await seen('api'), await seen('report'), await seen('stray')]).toEqual([1, 2, 0]);
  });

  test('the owner is bound where it is forced alone; BYPASSRLS, and the policies of others, are told apart', async () => {
    await isolated('enforced');
    const ownersRows = async () =>
      (await observed('app_owner')).access.find(
        ({ on, by }) => on.kind === 'table' && on.schema === 'billing' && by === 'owner',
      )?.rowSecurity;
    expect(await ownersRows()).toEqual([{ rows: 'none', count: 1 }]);
    await asOwner(server, 'ALTER TABLE billing.invoice NO FORCE ROW LEVEL SECURITY');
    expect(await ownersRows()).toEqual([{ rows: 'all', count: 1 }]);
    await asSuperuser(server, 'ALTER ROLE stray BYPASSRLS');
    await asOwner(server, 'CREATE POLICY mine ON billing.invoice TO app_readonly USING (id > 7)');
    expect(bySelect(await observed())).toMatchObject({
      stray: [{ rows: 'all', count: 1 }],
      app_readonly: [{ rows: 'policies', policies: ['mine'], count: 1 }],
    });
  });

  test('one that is observed hides nothing, and one that is prepared is none', async () => {
    await isolated('observed');
    expect(bySelect(await observed())).toMatchObject({
      api: [{ rows: 'all', setting: 'shop.tenant', observed: true, count: 1 }],
      stray: [{ rows: 'all', observed: true, count: 1 }],
    });
    await server.reset();
    await isolated('prepared');
    expect(bySelect(await observed())).toMatchObject({ api: undefined, stray: undefined });
  });

  test('privileges that row security is not asked about, and the tables of other schemas, say nothing of it', async () => {
    await isolated('enforced');
    await asSuperuser(
      server,
      [
        'GRANT TRUNCATE ON billing.invoice TO stray',
        'CREATE SCHEMA other',
        'CREATE TABLE other.invoice (id int)',
        'GRANT SELECT ON other.invoice TO stray',
      ],
      'app',
    );
    const { access } = await observed('stray');
    const of = (privilege: string, schema: string) =>
      access.filter(
        ({ on, privileges }) => on.schema === schema && on.kind === 'table' && privileges.includes(privilege),
      );
    for (const row of [...of('TRUNCATE', 'billing'), ...of('SELECT', 'other')]) expect(row.rowSecurity).toBeUndefined();
    expect(of('TRUNCATE', 'billing')).toHaveLength(1);
  });
});

test('a declaration alone says it too, of tables that have the column', () => {
  const declared = (stage: DesiredIsolation['stage']) => bySelect(accessReport(declaredAccessFacts(state(stage))));
  const column = 'tenant_id';
  expect(declared('enforced')).toMatchObject({
    api: [{ rows: 'tenant', setting: 'shop.tenant', count: 1, column }],
    report: [{ rows: 'all', count: 1, column }],
    stray: [{ rows: 'none', count: 1, column }],
  });
  expect(declared('observed')).toMatchObject({ api: [{ rows: 'all', observed: true, column }] });
  expect(declared('prepared')).toMatchObject({ api: undefined, stray: undefined });
});
