import { reconcile } from '../../../lib/runtime/reconcile';
import { freshServer, TestServer } from '../../support/postgres';
import { declaration } from './declaration';

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
