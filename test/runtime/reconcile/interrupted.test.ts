import { freshServer, TestServer } from '../../support/postgres';
import { DURABLE, differences, everything, Interruptions } from './interrupted';
import { asOwner, asSuperuser } from './runs';

/** A run that ends in the middle, at a few points; the soak (npm run test:soak) does it at each of its statements. */

const KILLS = 6;
const RESTARTS = 2;

let server: TestServer;
let interruptions: Interruptions;
let statements: number;
beforeAll(async () => {
  server = await freshServer({ version: 18, settings: DURABLE });
  interruptions = await Interruptions.on(server);
  statements = await interruptions.count();
});
beforeEach(() => interruptions.anew());
afterAll(async () => {
  await server.stop();
  interruptions.close();
});

/** So many statements of a run, spread over it. */
const points = (count: number) =>
  Array.from({ length: count }, (_, at) => Math.floor(((at + 1) * statements) / (count + 1)));

test('case 9: the process is killed (SIGKILL) in the middle, and the next run makes it whole', async () => {
  let killed = 0;
  for (const at of points(KILLS)) {
    if (await interruptions.runUntil(at, async (kill) => kill())) killed++;
    expect([at, await interruptions.problems()]).toEqual([at, []]);
    await interruptions.anew();
  }
  expect(statements).toBeGreaterThan(30);
  expect(killed).toBeGreaterThan(KILLS / 2);
});

test.each(['restart', 'crash'] as const)(
  'case 5: the server has a %s in the middle, and the next run makes it whole',
  async (how) => {
    let happened = 0;
    for (const at of points(RESTARTS)) {
      if (await interruptions.runUntil(at, () => server[how]())) happened++;
      expect([at, await interruptions.problems()]).toEqual([at, []]);
      await interruptions.anew();
    }
    expect(happened).toBeGreaterThan(0);
  },
);

test('something lost is seen, wherever it is', async () => {
  await interruptions.problems();
  const losses: [sql: string, database: string][] = [
    ['DELETE FROM billing.invoice WHERE id = 7', 'app'],
    ['REVOKE SELECT ON billing.invoice FROM bystander', 'app'],
    ['REVOKE SELECT ON billing.invoice FROM app_readonly', 'app'],
    ['REVOKE app_readonly FROM api GRANTED BY master', 'postgres'],
    ['ALTER ROLE reports CONNECTION LIMIT 4', 'postgres'],
    ['GRANT app_owner TO api', 'postgres'],
    ["DELETE FROM cdk_postgres.object WHERE name = 'reports'", 'postgres'],
    ["UPDATE cdk_postgres.object SET established = false WHERE name = 'second'", 'postgres'],
  ];
  const unseen: string[] = [];
  for (const [sql, database] of losses) {
    const before = await everything(server);
    await asSuperuser(server, sql, database);
    if (differences(before, await everything(server)).length === 0) unseen.push(sql);
  }
  expect(unseen).toEqual([]);
  await asOwner(server, 'DELETE FROM billing.invoice');
  expect((await interruptions.problems()).filter((line) => line.startsWith('lost: row'))).toHaveLength(50);
});
