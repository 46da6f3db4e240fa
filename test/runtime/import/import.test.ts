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

const SEEDS = [1, 2, 3, 4];
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

  test('what no declaration can say is a comment, and nothing of it is lost', async () => {
    await nastyCatalog(server);
    await server.query(
      [
        'CREATE ROLE bypasser LOGIN BYPASSRLS REPLICATION',
        "ALTER ROLE app_readonly SET work_mem = '9MB'",
        "ALTER ROLE api IN DATABASE app SET work_mem = '9MB'",
        'GRANT app_owner, migrator, team, other_owner TO master WITH INHERIT FALSE, SET TRUE',
      ],
      { superuser: true },
    );
    await server.query(
      [
        'CREATE EXTENSION pg_stat_statements',
        'CREATE POLICY tenants ON billing.invoice USING (true)',
        'CREATE PUBLICATION changes FOR TABLE billing.line',
        'CREATE SCHEMA by_root AUTHORIZATION root2',
        'ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT USAGE ON TYPES TO api',
      ],
      { superuser: true, database: 'app' },
    );
    const result = await imported(server);
    await expectNothingToDo(server, result);
    const text = source(result).replaceAll(/\n\/\/ {3}/g, ' ');
    for (const remark of [
      'role root2: not declared: it is a superuser',
      'as which master cannot act; give it to a role that is no superuser (ALTER … OWNER TO …) first',
      'role master: not declared: it is the one that applies the state',
      'role bypasser: it has BYPASSRLS',
      'role bypasser: it has REPLICATION',
      'role report: not declared: it has NOINHERIT',
      'role app_readwrite: not declared: it has the grant option of INSERT on billing.invoice',
      'setting work_mem of role app_readonly: "9MB" is not declared and stays: it has no effect on anybody',
      'setting work_mem of role api in database app: "9MB" is not declared and stays',
      'row security policy tenants of the database app: not declared',
      'publication changes of the database app: not declared',
      'default privileges on types or schemas app_owner of the database app: not declared',
    ])
      expect(text).toContain(remark);
    expect(declaredBy(source(result), 'imported')).toEqual(JSON.parse(JSON.stringify(encodeState(result.state))));
  });

  test('negative control: a grant that the declaration does not have shows in its plan', async () => {
    await randomCatalog(server, 7);
    const { state } = await imported(server);
    const role = state.roles[0].name;
    const database = state.databases.find(({ schemas }) => schemas.length > 0)!;
    await server.query(
      `GRANT TEMPORARY ON DATABASE "${database.name.replaceAll('"', '""')}" TO "${role.replaceAll('"', '""')}"`,
      { superuser: true },
    );
    const narrower = {
      ...state,
      databases: state.databases.map((one) => ({ ...one, grants: one.grants.filter(({ to }) => to !== role) })),
    };
    const report = await reconcile(narrower, server.connection(), { mode: 'plan' });
    expect([...report.plan.steps, ...report.plan.withheld]).not.toEqual([]);
  });
});

const useless = ({ remarks }: Imported) =>
  remarks.filter(({ about }) => about === 'a grant without effect').map(({ text }) => text.split(': declare it')[0]);

/** What makes every grant on the server have effect. */
async function giveWays(server: TestServer): Promise<void> {
  const { state } = await imported(server);
  const name = (text: string) => `"${text.replaceAll('"', '""')}"`;
  for (const { name: database, schemas } of state.databases) {
    for (const role of state.roles) {
      await server.query(`GRANT CONNECT ON DATABASE ${name(database)} TO ${name(role.name)}`, { superuser: true });
      for (const schema of schemas)
        await server.query(`GRANT USAGE ON SCHEMA ${name(schema.name)} TO ${name(role.name)}`, {
          superuser: true,
          database,
        });
    }
  }
}

describe('adoption', () => {
  let server: TestServer;
  beforeEach(async () => {
    server = await startServer({ version: 18 });
    await randomCatalog(server, 11);
  });

  test('a first apply of what was imported changes nothing on the server but the ledger, and a second nothing at all', async () => {
    await giveWays(server);
    const { state } = await imported(server);
    const before = await catalog(server);
    const first = await reconcile(state, server.connection(), { mode: 'apply' });
    expect(first.outcome).toBe('unchanged');
    const after = await catalog(server);
    expect([lost(before, after), lost(after, before)]).toEqual([[], []]);
    const origins = await server.query('SELECT DISTINCT origin FROM cdk_postgres.object');
    expect(origins).toEqual([{ origin: 'adopted' }]);
    expect((await reconcile(state, server.connection(), { mode: 'apply' })).statements.writes).toBe(0);
  });

  test.each(SEEDS)(
    'random catalog %i: what a first apply refuses to call proven is remarked beforehand',
    async (seed) => {
      await server.reset();
      await randomCatalog(server, seed);
      const result = await imported(server);
      const said = await reconcile(result.state, server.connection(), { mode: 'apply' }).then(
        () => '',
        (error: Error) => error.message,
      );
      const problems = [...said.matchAll(/(?<=after the run: | \| ).*?(?=: declare it)/g)].map(([text]) => text);
      expect(useless(result).length).toBeGreaterThan(0);
      expect(useless(result).sort()).toEqual(problems.sort());
      await giveWays(server);
      expect(useless(await imported(server))).toEqual([]);
    },
  );

  test('a declaration takes over what it names, and resets nothing of what it does not mention', async () => {
    const { state } = await imported(server);
    const database = state.databases[0];
    const before = await catalog(server);
    const less = {
      ...state,
      roles: state.roles.map(({ connectionLimit: _limit, validUntil: _until, ...role }) => role),
      memberships: [],
      settings: [],
      databases: [{ ...database, connectionLimit: undefined, schemas: [], grants: [], defaultPrivileges: [] }],
    };
    const report = await reconcile(less, server.connection(), { mode: 'apply' });
    const after = await catalog(server);
    expect(lost(before, after)).toEqual([]);
    expect(report.plan.withheld.every((step) => step.risk === 'narrow')).toBe(true);
    expect(report.plan.withheld.length).toBeGreaterThan(0);
  });
});

describe('the TypeScript of all of these', () => {
  test('compiles under strict rules; negative control: one that names what does not exist does not', () => {
    expect(sources.length).toBeGreaterThan(10);
    const wrong = sources[0].replace('addDatabase(', 'addDatabaze(');
    expect(compileErrors([...sources, wrong])).toEqual([expect.stringContaining('addDatabaze')]);
  });

  test('is formatted as Prettier formats it', () => {
    for (const text of sources.slice(0, 6)) expect(text).toBe(prettier(text));
  });
});
