import { transformSync } from '@swc/core';
import { readFileSync } from 'node:fs';
import * as path from 'node:path';
import * as pg from 'pg';
import { startServer, TestServer } from '../../support/postgres';
import { declaration } from './declaration';
import { apply, appWith, asOwner, asSuperuser } from './runs';

type AsTenant = <T>(pool: pg.Pool, tenant: string, work: (client: pg.PoolClient) => Promise<T>) => Promise<T>;

/** The function that docs/tenants.md gives to applications, as it stands there. */
function documented(): AsTenant {
  const text = readFileSync(path.resolve(__dirname, '../../../docs/tenants.md'), 'utf8');
  const [, source] = /```ts\n(import \{ Pool[\s\S]*?)```/.exec(text)!;
  const { code } = transformSync(source, {
    jsc: { parser: { syntax: 'typescript' }, target: 'es2023' },
    module: { type: 'commonjs' },
  });
  const module = { exports: {} as { asTenant: AsTenant } };
  new Function('require', 'exports', 'module', code)(() => pg, module.exports, module);
  return module.exports.asTenant;
}

const A = '00000000-0000-0000-0000-00000000000a';
const B = '00000000-0000-0000-0000-00000000000b';

describe('the function for applications in docs/tenants.md (SEC-25)', () => {
  const asTenant = documented();
  let server: TestServer;
  let pool: pg.Pool;

  beforeAll(async () => {
    server = await startServer({ version: 18 });
    const [database] = declaration().databases;
    const on = { kind: 'allTables', schema: 'billing' } as const;
    const state = appWith({
      grants: [...database.grants, { privileges: ['SELECT', 'INSERT'], on, to: 'api' }],
      isolations: [
        {
          schema: 'billing',
          column: 'tenant_id',
          type: 'uuid',
          setting: 'app.tenant_id',
          stage: 'enforced',
          roles: ['api'],
          allTenants: [],
        },
      ],
    });
    const withUsage = { privileges: ['USAGE'], on: { kind: 'schema', schema: 'billing' }, to: 'api' } as const;
    const complete = {
      ...state,
      databases: [{ ...state.databases[0], grants: [...state.databases[0].grants, withUsage] }],
    };
    await apply(server, complete);
    await asOwner(
      server,
      `CREATE TABLE billing.invoice (id int, tenant_id uuid NOT NULL DEFAULT current_setting('app.tenant_id')::uuid)`,
    );
    await apply(server, complete);
    await asSuperuser(server, "ALTER ROLE api PASSWORD 'for-the-test'");
    // One connection for all, as a pooler would have it.
    const { host, port } = server;
    pool = new pg.Pool({ host, port, user: 'api', password: 'for-the-test', database: 'app', max: 1 });
  });
  afterAll(async () => {
    await pool.end();
    await server.reset();
  });
  afterEach(() => asSuperuser(server, 'TRUNCATE billing.invoice', 'app'));

  const add = (tenant: string, id: number) =>
    asTenant(pool, tenant, (client) => client.query('INSERT INTO billing.invoice VALUES ($1)', [id]));
  const ids = (tenant: string) =>
    asTenant(pool, tenant, async (client) => (await client.query('SELECT id FROM billing.invoice')).rows);

  test('gives each tenant its rows, on one connection', async () => {
    await add(A, 1);
    await add(B, 2);
    expect(await ids(A)).toEqual([{ id: 1 }]);
    expect(await ids(B)).toEqual([{ id: 2 }]);
    expect((await pool.query('SELECT * FROM billing.invoice')).rows).toEqual([]);
  });

  test('leaves no tenant behind when the work fails, and nothing of the work', async () => {
    await expect(
      asTenant(pool, A, async (client) => {
        await client.query('INSERT INTO billing.invoice VALUES (3)');
        throw new Error('the application');
      }),
    ).rejects.toThrow('the application');
    expect(await ids(A)).toEqual([]);
    expect((await pool.query("SELECT nullif(current_setting('app.tenant_id', true), '') AS t")).rows).toEqual([
      { t: null },
    ]);
  });

  test('gets another connection when its own broke', async () => {
    await expect(
      asTenant(pool, A, async (client) => {
        client.on('error', () => undefined);
        const [{ pid }] = (await client.query('SELECT pg_backend_pid() AS pid')).rows;
        await asSuperuser(server, `SELECT pg_terminate_backend(${pid}, 10000)`);
        await client.query('SELECT 1');
      }),
    ).rejects.toThrow();
    expect(await ids(A)).toEqual([]);
  });

  test('takes no tenant that is none', async () => {
    await add(B, 1);
    await expect(ids("x'; DROP TABLE billing.invoice; --")).rejects.toThrow(/invalid input syntax for type uuid/);
    expect(await ids(A)).toEqual([]);
  });
});
