import * as fs from 'node:fs';
import { dynamicConfiguration, HbaRule } from '../../../../lib/server/ecs/configuration';
import { hbaLines, identLines } from '../../../../lib/server/ecs/configuration/patroni';
import { freshServer, TestServer } from '../../../support/postgres';
import { model } from './cluster-model';

/** Those that point at what is only in a task. */
const OF_THE_TASK = /^(ssl|ssl_.*_file|unix_socket_directories|archive_command|logging_collector)$/;

const RULES: HbaRule[] = [
  { databases: ['app', 'all'], roles: ['+readers', 'my role'], address: '10.1.0.0/16', method: 'scram-sha-256' },
  { databases: ['sameuser'], roles: ['all'], address: 'fd00::/8', method: 'cert', map: 'people' },
  { databases: ['all'], roles: ['all'], address: '0.0.0.0/0', method: 'reject' },
];
const OAUTH: HbaRule = {
  databases: ['app'],
  roles: ['all'],
  address: '10.2.0.0/16',
  method: 'oauth',
  oauth: { issuer: 'https://issuer.example.com', scope: ['openid', 'db'], validator: 'checker', map: 'people' },
};

describe.each([16, 17, 18] as const)('PostgreSQL %i', (version) => {
  const cluster = model({
    majorVersion: version,
    hba: version === 18 ? [...RULES, OAUTH] : RULES,
    logicalSlots: version >= 17 ? { cdc: { database: 'app' } } : {},
  });
  const { parameters } = (dynamicConfiguration(cluster) as { postgresql: { parameters: Record<string, string> } })
    .postgresql;
  let server: TestServer;

  beforeAll(async () => {
    const settings = Object.fromEntries(Object.entries(parameters).filter(([name]) => !OF_THE_TASK.test(name)));
    server = await freshServer({ version, tls: true, settings });
  });
  afterAll(() => server.stop());

  test('starts with the parameters of the cluster', async () => {
    const [found] = await server.query<Record<string, string>>(
      "SELECT current_setting('wal_level') AS wal_level, current_setting('archive_timeout') AS archive_timeout",
    );
    expect(found).toEqual({ wal_level: 'logical', archive_timeout: '1min' });
    const names = await server.query<{ name: string }>('SELECT name FROM pg_settings');
    const known = new Set(names.map(({ name }) => name));
    expect(Object.keys(parameters).filter((name) => !known.has(name))).toEqual([]);
  });

  const fileOf = async (file: string) => {
    const name = file === 'pg_hba.conf' ? 'hba_file' : 'ident_file';
    const [{ at }] = await server.query<{ at: string }>(`SELECT current_setting('${name}') AS at`, { superuser: true });
    return at;
  };
  const rules = async (lines: readonly string[], file: string) => {
    fs.writeFileSync(await fileOf(file), `${lines.join('\n')}\n`);
    return server.query<{ line_number: number; error: string | null; user_name: string[] | null }>(
      `SELECT * FROM ${file === 'pg_hba.conf' ? 'pg_hba_file_rules' : 'pg_ident_file_mappings'} ORDER BY line_number`,
      { superuser: true },
    );
  };

  test('reads every line of pg_hba.conf and pg_ident.conf', async () => {
    const before = await Promise.all(['pg_hba.conf', 'pg_ident.conf'].map(fileOf));
    const kept = before.map((file) => fs.readFileSync(file, 'utf8'));
    try {
      const lines = hbaLines(cluster);
      const found = await rules(lines, 'pg_hba.conf');
      expect(found).toHaveLength(lines.length);
      const problems = found.filter(({ error }) => error !== null).map(({ error }) => error);
      // No library of that name is loaded here; the line itself is understood.
      expect(problems).toEqual(version === 18 ? [expect.stringContaining('oauth_validator_libraries')] : []);
      expect(found.some(({ user_name }) => user_name?.includes('my role'))).toBe(true);
      // The view does find what is wrong.
      expect((await rules(['hostssl all all 10.0.0.0/16 scram'], 'pg_hba.conf'))[0].error).toContain(
        'invalid authentication method',
      );
      const mappings = await rules(identLines(), 'pg_ident.conf');
      expect(mappings.filter(({ error }) => error !== null)).toEqual([]);
      expect(mappings).toHaveLength(identLines().length);
    } finally {
      before.forEach((file, index) => fs.writeFileSync(file, kept[index]));
    }
  });
});
