import { stories } from '../runtime/reconcile/generators';
import { check, parameters, QUIET_SERVER, STEP_KINDS, Tally } from '../runtime/reconcile/laws';
import { startServer, VERSIONS } from '../support/postgres';

const { seed, path } = parameters();
const STORIES = Number(process.env.CDK_POSTGRES_STORIES ?? 1_000);
/** A kind of step that occurs less often than this has not been looked at. */
const LEAST = 10;

const tally = new Tally();

test.each(VERSIONS)(
  `random declarations on random servers, with the seed ${seed}, on PostgreSQL %i`,
  async (version) => {
    const server = await startServer({ version, settings: QUIET_SERVER });
    await check(stories, server, Math.ceil(STORIES / VERSIONS.length), { seed: seed + version, path }, tally);
  },
  3_600_000,
);

test('every kind of step has occurred, and none that is not known', () => {
  process.stderr.write(`seed ${seed}, ${STORIES} stories\n${tally.lines.join('\n')}\n`);
  expect(tally.unknown).toEqual([]);
  const kinds = [...STEP_KINDS.map(([name]) => name), '(refused)', '(acknowledged)', '(cannot be done)'];
  expect(kinds.filter((kind) => tally.of(kind) < LEAST)).toEqual([]);
});
