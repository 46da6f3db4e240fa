import { stories } from '../runtime/reconcile/generators';
import { check, parameters, QUIET_SERVER, STEP_KINDS, Tally } from '../runtime/reconcile/laws';
import { startServer, VERSIONS } from '../support/postgres';
import { keep } from './results';

const { seed, path } = parameters();
const STORIES = Number(process.env.CDK_POSTGRES_STORIES ?? 1_000);
/** A kind of step that occurs less often than this has not been looked at. */
const LEAST = 10;

const tally = new Tally();
let completed = 0;

test.each(VERSIONS)(
  `random declarations on random servers, with the seed ${seed}, on PostgreSQL %i`,
  async (version) => {
    const server = await startServer({ version, settings: QUIET_SERVER });
    await check(stories, server, Math.ceil(STORIES / VERSIONS.length), { seed: seed + version, path }, tally);
    completed++;
  },
  3_600_000,
);

const tooFew = (of: Tally, kinds: readonly string[]) => kinds.filter((kind) => of.of(kind) < LEAST);

test('every kind of step has occurred, and none that is not known', () => {
  process.stderr.write(`seed ${seed}, ${STORIES} stories\n${tally.lines.join('\n')}\n`);
  expect(tally.unknown).toEqual([]);
  const kinds = [...STEP_KINDS.map(([name]) => name), '(refused)', '(acknowledged)', '(cannot be done)'];
  expect(tooFew(tally, kinds)).toEqual([]);
  expect(completed).toBe(VERSIONS.length);
  // Fewer stories, or one of them again, are no proof of anything.
  if (STORIES >= 1_000 && path === undefined)
    keep('property', {
      seed,
      stories: STORIES,
      steps: Object.fromEntries(kinds.map((kind) => [kind, tally.of(kind)])),
    });
});

test('a kind of step that occurs less often is seen', () => {
  const some = new Tally();
  for (let n = 0; n < LEAST; n++) some.add('set');
  for (let n = 1; n < LEAST; n++) some.add('reset');
  expect(tooFew(some, ['set', 'reset', 'password'])).toEqual(['reset', 'password']);
});
