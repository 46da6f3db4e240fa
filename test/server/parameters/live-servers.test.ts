import { Stack } from 'aws-cdk-lib';
import { buildParameters, Parameter, parameterCatalogue } from '../../../lib/server/parameters';
import { readParameterValue } from '../../../lib/server/parameters/parameter-value';
import { PG_SETTINGS } from '../../../lib/server/parameters/pg-settings';
import { PostgresProfile } from '../../../lib/server/postgres-profile';
import reserved from '../../../lib/server/reserved-words.json';
import { readCatalogue } from '../../../scripts/catalogue-parameters';
import { freshServer, TestServer, VERSIONS } from '../../support/postgres';

const options = { scope: new Stack(), level: 'instance', profile: PostgresProfile.production() } as const;

/** What this library sets and a stock server knows: neither RDS's own parameters nor those of pgaudit, which it does not have. */
function upstreamDefaults(version: (typeof VERSIONS)[number]): Record<string, string> {
  const all = [
    ...Object.entries(buildParameters({ ...options, engine: 'rds', major: version })),
    ...Object.entries(buildParameters({ ...options, engine: 'aurora', major: version })),
    ...Object.entries(buildParameters({ ...options, engine: 'aurora', level: 'cluster', major: version })),
  ];
  const own = Object.fromEntries(all.filter(([name]) => !/^(rds|pgaudit)\./.test(name)));
  return { ...own, shared_preload_libraries: 'pg_stat_statements' };
}

/** At their maximum the server refuses these for what they add up to together, or for the stack of its process. */
const SUM_OR_STACK =
  /^(autovacuum_max_workers|max_connections|max_wal_senders|max_worker_processes) = 262143: |^max_stack_depth = 2147483647: /;

describe.each(VERSIONS)('PostgreSQL %d', (version) => {
  let server: TestServer;
  afterEach(() => server?.stop());

  test('the committed facts are those of the live server', async () => {
    const { reservedWords, ...live } = await readCatalogue(version);
    expect(reserved).toEqual(expect.arrayContaining([...reservedWords]));
    const committed = PG_SETTINGS[version];
    expect(live.version).toBe(committed.version);
    expect(Object.keys(live.settings)).toEqual(Object.keys(committed.settings));
    // Ranges, choices and built-in values differ by platform; the file is written on Linux.
    if (process.platform === 'linux') expect(live).toEqual(committed);
  });

  test('a server starts with every value that this library sets, and shows it', async () => {
    const settings = upstreamDefaults(version);
    server = await freshServer({ version, flavour: 'plain', settings });
    const rows = await server.query<{ name: string; setting: string }>('SELECT name, setting FROM pg_settings', {
      superuser: true,
    });
    const live = new Map(rows.map((row) => [row.name, row.setting]));
    const shown: Record<string, string> = { '1': 'on' };
    const boolean = (name: string) => parameterCatalogue('rds', version).get(name)!.type === 'bool';
    for (const [name, value] of Object.entries(settings)) {
      expect([name, live.get(name)]).toEqual([name, boolean(name) ? shown[value] : value]);
    }
    expect(Object.keys(settings).length).toBeGreaterThan(10);
  });

  test('catalogue and server agree on what is out of range', async () => {
    server = await freshServer({ version, flavour: 'plain' });
    const admin = await server.connect({ superuser: true });
    const accepts = async (name: string, value: string): Promise<boolean | undefined> => {
      try {
        await admin.query(`ALTER SYSTEM SET ${admin.escapeIdentifier(name)} = ${admin.escapeLiteral(value)}`);
        await admin.query(`ALTER SYSTEM RESET ${admin.escapeIdentifier(name)}`);
        return true;
      } catch (error) {
        // Such as transaction_isolation, which belongs to a transaction: the command says nothing about the value then.
        return /cannot be changed/.test((error as Error).message) ? undefined : false;
      }
    };
    const catalogued = (parameter: Parameter, value: string) => 'value' in readParameterValue(parameter, value);
    const disagreements: string[] = [];
    let compared = 0;
    for (const parameter of parameterCatalogue('rds', version).values()) {
      if (parameter.refused || !parameter.source.startsWith('pg_settings') || parameter.name.includes('.')) continue;
      for (const value of probes(parameter)) {
        const live = await accepts(parameter.name, value);
        if (live === undefined) continue;
        compared++;
        if (live !== catalogued(parameter, value)) {
          disagreements.push(`${parameter.name} = ${value}: the server ${live ? 'takes' : 'refuses'} it`);
        }
      }
    }
    expect(compared).toBeGreaterThan(600);
    expect(disagreements.filter((line) => !SUM_OR_STACK.test(line))).toEqual([]);
  });
});

test('no reserved word is the name of a role without quotes, and the names around them are', async () => {
  const server = await freshServer({ version: 18 });
  const taken = async (name: string) =>
    server.query(`CREATE ROLE ${name}`).then(
      () => true,
      () => false,
    );
  for (const word of reserved) expect([word, await taken(word)]).toEqual([word, false]);
  for (const word of ['postgres_admin', 'authorization', 'binary', 'between']) expect(await taken(word)).toBe(true);
  expect(reserved.length).toBeGreaterThan(70);
  await server.stop();
});

test('a value that a version does not have keeps the server from starting', async () => {
  const settings = { ...upstreamDefaults(18) };
  await expect(freshServer({ version: 17, flavour: 'plain', settings })).rejects.toThrow(/log_connections/);
});

function probes(parameter: Parameter): string[] {
  const { type, min, max, values } = parameter;
  if (type === 'bool') return ['1', '0', 'perhaps'];
  if (type === 'enum') return [...(values ?? []).filter((value) => value !== ''), 'no_such_choice'];
  if (type === 'integer') return [min!, max!, min! - 1, max! + 1].map(String);
  return [];
}
