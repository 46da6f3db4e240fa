import { Authentication } from '../../../lib';
import { probe } from '../../../lib/runtime/probe';
import { reconcile } from '../../../lib/runtime/reconcile';
import { DeclaredServer, declaredState, newStack } from '../../database/declared-server';
import { secretsOf } from '../../runtime/reconcile/secrets';
import { startServer, VERSIONS } from '../../support/postgres';
import { quiet } from '../support';

jest.mock('../../../lib/server/package-root', () => ({
  functionBundle: () => jest.requireActual('../state/fake-bundles').fakeBundle(),
}));

quiet();

const PASSWORD = 'the password of the probe';

test.each(VERSIONS)(
  'SEC-26: what addMonitoring() declares lets the probe look at everything and read no row, on PostgreSQL %i',
  async (version) => {
    const stack = newStack();
    const declared = new DeclaredServer(stack, 'Server', { majorVersion: version });
    const app = declared.addDatabase('app');
    app.addSchema('billing');
    app.addLoginRole('api', { authentication: Authentication.none() });
    declared.addMonitoring();
    const state = declaredState(stack);

    const server = await startServer({ version });
    const apply = () =>
      reconcile(state, server.connection(), {
        mode: 'apply',
        identity: 'cluster-ABC',
        secrets: secretsOf({ cdk_postgres_probe: PASSWORD }),
      });
    expect((await apply()).plan.withheld).toEqual([]);
    expect((await apply()).statements.writes).toBe(0);

    const owner = (sql: string[]) => server.query(['SET ROLE app_owner', ...sql], { database: 'app' });
    await owner([
      'CREATE TABLE billing.invoice (id int GENERATED ALWAYS AS IDENTITY, body text)',
      "INSERT INTO billing.invoice (body) VALUES ('a row')",
      'CREATE SEQUENCE billing.near MAXVALUE 10',
      "SELECT setval('billing.near', 9)",
    ]);
    const login = { user: 'cdk_postgres_probe', password: PASSWORD };
    const found = await probe(server.connection(login), { deadline: Date.now() + 60_000, mostDatabases: 10 });
    expect(found.failures).toEqual([]);
    expect(found.metrics).toMatchObject({ SequencesNearEnd: 1, SequencesUnreadable: 0, DatabasesNotVisited: 0 });
    expect(found.findings).toMatchObject([{ database: 'app', found: { sequence: 'billing.near', lastValue: 9 } }]);

    const client = await server.connect({ ...login, database: 'app' });
    await expect(client.query('SELECT * FROM billing.invoice')).rejects.toThrow(/permission denied/);
    await expect(client.query("SELECT nextval('billing.near')")).rejects.toThrow(/permission denied|read-only/);
    expect((await client.query('SHOW default_transaction_read_only')).rows).toEqual([
      { default_transaction_read_only: 'on' },
    ]);
  },
);
