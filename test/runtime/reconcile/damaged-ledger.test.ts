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
      /the ledger is damaged: the schema cdk_postgres lacks server, state, object, run, .*an apply mends it/,
    );
    await expectMended();
    expect(await origins(server)).toEqual(adopted());
  });

  test.each(['server', 'state', 'run'])('the table %s is gone', async (table) => {
    await server.query(`DROP TABLE cdk_postgres.${table}`);
    expect((await plan(server, declaration())).plan.notes.join()).toContain(`lacks ${table},`);
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

  test('a declaration that cannot be read counts as none', async () => {
    await server.query(`UPDATE cdk_postgres.state SET declaration = '"x"', fingerprint = NULL`);
    await expectMended();
  });
});
