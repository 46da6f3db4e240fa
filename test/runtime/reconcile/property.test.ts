import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { stories } from './generators';
import { check, parameters, QUIET_SERVER, Tally } from './laws';

const { seed, path } = parameters(1);
const STORIES = 100;

describe.each(VERSIONS)('PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startServer({ version, settings: QUIET_SERVER });
  });

  test(`random declarations on random servers, with the seed ${seed}`, async () => {
    const tally = new Tally();
    try {
      await check(stories, server, Math.ceil(STORIES / VERSIONS.length), { seed: seed + version, path }, tally);
    } finally {
      process.stderr.write(`seed ${seed}, PostgreSQL ${version}\n${tally.lines.join('\n')}\n`);
    }
    expect(tally.unknown).toEqual([]);
  }, 900_000);
});
