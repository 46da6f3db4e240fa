import { reconcile } from '../../../lib/runtime/reconcile';
import { freshServer, startServer, TestServer } from '../../support/postgres';
import { declaration } from './declaration';
import { apply, appWith, grantsOf, plan } from './runs';

describe.each([16, 17, 18] as const)('PostgreSQL %i', (version) => {
  let server: TestServer;
  beforeAll(async () => {
    server = await freshServer({ version });
  });
  afterAll(() => server.stop());

  test('applies, proves and then has nothing to do', async () => {
    const first = await reconcile(declaration(), server.connection(), { mode: 'apply', access: true });
    expect(first.outcome).toBe('applied');
    const second = await reconcile(declaration(), server.connection(), { mode: 'apply' });
    expect(second.outcome).toBe('unchanged');
    expect(second.statements.writes).toBe(0);
  });
});

test('case 117: a run that finds nothing to do still proves, since an earlier one may have done it all and failed there', async () => {
  const server = await startServer({ version: 18 });
  const usage = { privileges: ['USAGE' as const], on: { kind: 'schema' as const, schema: 'billing' }, to: 'api' };
  const connect = grantsOf(declaration()).filter(({ on }) => on.kind === 'database');
  const state = appWith({ grants: [usage] });
  const problem = /no effective CONNECT on the database app/;
  await expect(apply(server, state)).rejects.toThrow(problem);
  await expect(apply(server, state)).rejects.toThrow(problem);
  expect((await plan(server, state)).plan.notes.join()).toMatch(problem);
  expect(await apply(server, appWith({ grants: [usage, ...connect] }))).toMatchObject({ outcome: 'applied' });
});
