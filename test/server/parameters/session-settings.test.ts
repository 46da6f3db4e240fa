import { PG_SETTINGS } from '../../../lib/server/parameters/pg-settings';
import { sessionSettingProblem } from '../../../lib/server/parameters/session-settings';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';

describe.each(VERSIONS)('PostgreSQL %d', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version });
  });

  test.each(['ROLE somebody', 'DATABASE somewhere'])('ALTER %s takes what a declaration may say', async (target) => {
    const admin = await server.connect({ superuser: true });
    await admin.query(`CREATE ${target}`);
    const refused: string[] = [];
    for (const name of Object.keys(PG_SETTINGS[version].settings)) {
      if (name.includes('.')) continue;
      try {
        await admin.query(`ALTER ${target} SET ${admin.escapeIdentifier(name)} FROM CURRENT`);
      } catch {
        refused.push(name);
      }
    }
    const judged = Object.keys(PG_SETTINGS[version].settings).filter(
      (name) => sessionSettingProblem(name.toLowerCase(), 'external', version) !== undefined,
    );
    expect(judged).toEqual(refused);
    expect(refused.length).toBeGreaterThan(100);
    await admin.end();
    await server.reset();
  });
});

describe('a name', () => {
  const problem = (name: string, version?: number) => sessionSettingProblem(name, 'external', version);

  test.each([
    ['statment_timeout', 18, 'PostgreSQL 18 knows no such setting: did you mean statement_timeout?'],
    ['statment_timeout', undefined, 'PostgreSQL knows no such setting: did you mean statement_timeout?'],
    ['xyzzy', 18, /^PostgreSQL 18 knows no such setting: check the spelling/],
    ['transaction_timeout', 16, /^PostgreSQL 16 does not know it, and 17 and 18 do/],
    ['max_connections', 18, /^the whole server has one value, read when it starts; set it in the parameters/],
    ['max_connections', undefined, /^the whole server has one value/],
    ['autovacuum', 17, /^the whole server has one value; set it in the parameters/],
    ['server_version', 17, /^the server fixes it/],
    ['log_connections', 17, /^a session takes it when it connects/],
    ['apg_enable_not_in_transform', 17, /knows no such setting/],
  ])('%s on %s is refused', (name, version, message) => expect(problem(name, version)).toMatch(message));

  test.each([
    ['statement_timeout', 16],
    ['datestyle', 18],
    ['transaction_timeout', 17],
    ['transaction_timeout', undefined],
    ['old_snapshot_threshold_of.an_application', 18],
    ['app.tenant', undefined],
  ])('%s on %s is taken', (name, version) => expect(problem(name, version)).toBeUndefined());

  test('that Aurora alone knows is taken there', () =>
    expect(sessionSettingProblem('apg_enable_not_in_transform', 'aurora', 17)).toBeUndefined());
});
