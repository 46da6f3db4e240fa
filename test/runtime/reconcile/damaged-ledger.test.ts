import { startServer, TestServer } from '../../support/postgres';
import { declaration } from './declaration';
import { objectRow, origins } from './ledger-rows';
import { apply, plan } from './runs';

describe('a ledger that somebody has damaged', () => {
  let server: TestServer;
  let made: string[];
  beforeEach(async () => {
    server = await startServer({ version: 18 });
    await apply(server, declaration());
    made = await origins(server);
    expect((await apply(server, declaration())).outcome).toBe('unchanged');
  });

  const adopted = () => made.map((line) => line.replace('created', 'adopted'));
  const expectMended = async () => {
    await apply(server, declaration());
    expect((await apply(server, declaration())).statements.writes).toBe(0);
    expect((await plan(server, declaration())).plan).toMatchObject({ steps: [], withheld: [], notes: [] });
  };

  test('the schema is there and empty', async () => {
    await server.query('DROP TABLE cdk_postgres.server, cdk_postgres.state, cdk_postgres.object, cdk_postgres.run');
    const { notes } = (await plan(server, declaration())).plan;
    expect(notes.join()).toMatch(
      /the ledger is damaged: the schema cdk_postgres lacks server, state, object, run: an apply mends it/,
    );
    await expectMended();
    expect(await origins(server)).toEqual(adopted());
  });

  test.each(['server', 'state', 'run'])('the table %s is gone', async (table) => {
    await server.query(`DROP TABLE cdk_postgres.${table}`);
    expect((await plan(server, declaration())).plan.notes.join()).toContain(`lacks ${table}:`);
    await expectMended();
    expect(await origins(server)).toEqual(made);
  });

  test('the table of objects is gone: they are claimed again, as found', async () => {
    await server.query('DROP TABLE cdk_postgres.object');
    await expectMended();
    expect(await origins(server)).toEqual(adopted());
  });

  test.each([
    'state.remaining',
    'state.declaration',
    'object.established',
    'object.removed_at',
    'run.plan',
    'server.history',
  ])('the column %s is gone', async (place) => {
    const [table, column] = place.split('.');
    await server.query(`ALTER TABLE cdk_postgres.${table} DROP COLUMN ${column}`);
    if (column === 'plan') {
      const refused = apply(server, declaration());
      await expect(refused).rejects.toThrow(/lacks run.plan: .*backup.*DROP TABLE cdk_postgres.run$/);
      await server.query('DROP TABLE cdk_postgres.run');
    }
    await expectMended();
    expect(await origins(server)).toEqual(made);
    expect((await objectRow(server, 'api'))?.established).toBe(true);
  });

  test('a role that may not mend it is told what to grant', async () => {
    await server.query(
      [
        'DROP TABLE cdk_postgres.run',
        'ALTER SCHEMA cdk_postgres OWNER TO rdsadmin',
        'GRANT USAGE ON SCHEMA cdk_postgres TO master',
      ],
      { superuser: true },
    );
    await expect(apply(server, declaration())).rejects.toThrow(
      /lacks run: master may not mend it: GRANT CREATE ON SCHEMA cdk_postgres TO "master"/,
    );
  });

  test.each([
    '{}',
    '[]',
    '"x"',
    '0',
    'null',
    '{"steps":[],"withheld":[{}],"notes":[]}',
    '{"steps":[],"withheld":[null],"notes":[]}',
    '{"steps":[],"withheld":[],"notes":[1]}',
  ])('what was withheld reads %s: nothing counts as proven', async (garbage) => {
    const [before] = await server.query('SELECT remaining FROM cdk_postgres.state');
    await server.query(`UPDATE cdk_postgres.state SET remaining = '${garbage}'`);
    expect((await plan(server, declaration())).plan).toMatchObject({ steps: [], withheld: [] });
    await expectMended();
    expect(await server.query('SELECT remaining FROM cdk_postgres.state')).toEqual([before]);
  });

  test.each(['{}', '"x"', 'null', '[1, null, {}, {"identity": 7}]', '{"identity": "db-0"}'])(
    'what the server was before reads %s: it was no other',
    async (garbage) => {
      await server.query(`UPDATE cdk_postgres.server SET history = '${garbage}'`);
      expect((await plan(server, declaration())).plan).toMatchObject({ steps: [], withheld: [], notes: [] });
      await server.query('UPDATE cdk_postgres.state SET fingerprint = NULL');
      await expectMended();
    },
  );

  test.each(['{}', '"x"', 'null', '[1, null, {}, {"id": 7}, {"id": "b", "status": "LATER"}]'])(
    'what was answered reads %s: nothing was',
    async (garbage) => {
      await server.query(`UPDATE cdk_postgres.state SET requests = '${garbage}'`);
      await apply(server, declaration(), { request: { id: 'b' }, noteUnchanged: true });
      expect(await server.query('SELECT requests FROM cdk_postgres.state')).toEqual([
        { requests: [{ id: 'b', status: 'SUCCESS' }] },
      ]);
    },
  );

  test.each([
    ['object.established', 'boolean', 'text'],
    ['object.removed_at', 'timestamp with time zone', 'text'],
    ['server.version', 'integer', 'bigint'],
    ['state.declaration', 'jsonb', 'json'],
  ])('the column %s is not of the type %s any more', async (place, was, is) => {
    const [table, column] = place.split('.');
    const alter = (type: string) =>
      server.query(`ALTER TABLE cdk_postgres.${table} ALTER ${column} TYPE ${type} USING ${column}::${type}`);
    await alter(is);
    const damage = `the ledger is damaged: in the schema cdk_postgres ${place} is of the type ${is}, and was ${was}`;
    await expect(apply(server, declaration())).rejects.toThrow(damage);
    expect((await plan(server, declaration())).plan.notes.join()).toContain(damage);
    await alter(was);
    await expectMended();
    expect(await origins(server)).toEqual(made);
  });

  test.each([
    'ALTER TABLE cdk_postgres.run ALTER id DROP IDENTITY',
    "ALTER TABLE cdk_postgres.run ADD CHECK (outcome <> 'running')",
    'DROP TABLE cdk_postgres.run; CREATE VIEW cdk_postgres.run AS SELECT 1 AS id',
  ])('%s: the run fails, names the ledger and has done nothing', async (sql) => {
    await server.query(sql);
    await server.query('ALTER ROLE api NOLOGIN');
    await expect(apply(server, declaration())).rejects.toThrow(/^the ledger: .*cdk_postgres/);
    expect(await server.query("SELECT FROM pg_roles WHERE rolname = 'api' AND rolcanlogin")).toEqual([]);
  });

  test('without its key a table is named by the error, and with it again the run comes to its end', async () => {
    await server.query('ALTER TABLE cdk_postgres.state DROP CONSTRAINT state_pkey');
    await server.query('ALTER ROLE api NOLOGIN');
    await expect(apply(server, declaration())).rejects.toThrow(/^the ledger: .*ON CONFLICT.*cdk_postgres.state/s);
    await server.query('ALTER TABLE cdk_postgres.state ADD CONSTRAINT state_pkey PRIMARY KEY (name)');
    await expectMended();
  });

  test('a declaration that cannot be read counts as none', async () => {
    await server.query(`UPDATE cdk_postgres.state SET declaration = '"x"', fingerprint = NULL`);
    await expectMended();
  });
});
