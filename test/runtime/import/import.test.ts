import { encodeState } from '../../../lib/contract';
import { adopt, Imported, readExisting, writeTypeScript } from '../../../lib/runtime/import';
import { reconcile } from '../../../lib/runtime/reconcile';
import { Connections } from '../../../lib/runtime/reconcile/connections';
import { startServer, TestServer, VERSIONS } from '../../support/postgres';
import { catalog, lost } from '../reconcile/catalog';
import { nastyCatalog } from '../access/nasty-catalog';
import { sqlOf } from '../reconcile/runs';
import { compileErrors, declaredBy, prettier } from './declared-again';
import { randomCatalog } from './random-catalog';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../../server/state/fake-bundles').fakeBundle(),
}));

const SEEDS = Array.from({ length: Number(process.env.SEEDS ?? 4) }, (_, at) => at + 1);
const sources: string[] = [];

async function imported(server: TestServer): Promise<Imported> {
  const connections = new Connections(server.connection(), 'postgres');
  try {
    return adopt(await readExisting(connections), 'imported');
  } finally {
    await connections.close();
  }
}

function source({ state, remarks }: Imported): string {
  const text = writeTypeScript(state, remarks, ['What was there.']);
  sources.push(text);
  return text;
}

async function expectNothingToDo(server: TestServer, { state, plan }: Imported): Promise<void> {
  const report = await reconcile(state, server.connection(), { mode: 'plan' });
  expect([
    ...sqlOf(report.plan.steps),
    ...report.plan.withheld.map((step) => `${step.object}: ${step.reason}`),
  ]).toEqual([]);
  expect([...plan.steps, ...plan.withheld]).toEqual([]);
}

describe.each(VERSIONS)('PostgreSQL %s', (version) => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version });
  });

  test.each(SEEDS)('what a server has, random catalog %i, is declared so that nothing is left to do', async (seed) => {
    await randomCatalog(server, seed * 100 + version);
    const result = await imported(server);
    expect(result.state.roles.length).toBeGreaterThan(0);
    expect(result.state.databases.flatMap(({ grants }) => grants).length).toBeGreaterThan(3);
    await expectNothingToDo(server, result);
    expect(declaredBy(source(result), 'imported')).toEqual(
      JSON.parse(JSON.stringify({ ...encodeState(result.state), name: 'imported' })),
    );
  });
});
