import { DURABLE, Interruptions } from '../runtime/reconcile/interrupted';
import { freshServer, TestServer } from '../support/postgres';
import { keep } from './results';

const counts: Record<string, number> = {};
let server: TestServer;
let interruptions: Interruptions;
beforeAll(async () => {
  server = await freshServer({ version: 18, settings: DURABLE });
  interruptions = await Interruptions.on(server);
});
beforeEach(() => interruptions.anew());
afterAll(async () => {
  await server.stop();
  interruptions.close();
});

/** At every nth statement, until the run comes to its end. How often. */
async function atEach(nth: number, fault: (kill: () => void) => Promise<void>): Promise<number> {
  let times = 0;
  for (let at = 1; await interruptions.runUntil(at, fault); at += nth) {
    times++;
    expect([at, await interruptions.problems()]).toEqual([at, []]);
    await interruptions.anew();
  }
  return times;
}

test('case 9: the process is killed at each of its statements', async () => {
  const kills = await atEach(1, async (kill) => kill());
  counts.kills = kills;
  expect(kills).toBeGreaterThan(20);
});

test.each(['restart', 'crash'] as const)(
  'case 5: the server has a %s in the middle, at every third statement',
  async (how) => {
    const times = await atEach(3, () => server[how]());
    counts[how === 'crash' ? 'crashes' : 'restarts'] = times;
    expect(times).toBeGreaterThan(5);
  },
);

test('what happened is kept', () => {
  expect(Object.keys(counts)).toEqual(['kills', 'restarts', 'crashes']);
  keep('faults', counts);
});
