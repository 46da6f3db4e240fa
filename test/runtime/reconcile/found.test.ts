import { startServer, TestServer } from '../../support/postgres';
import { declaration, owner } from './declaration';
import { apply, applyAcknowledged, appWith } from './runs';

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
