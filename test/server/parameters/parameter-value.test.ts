import { parameterCatalogue, parameterFamily, readParameterFamily } from '../../../lib/server/parameters';
import { readParameterValue } from '../../../lib/server/parameters/parameter-value';

const rds18 = parameterCatalogue('rds', 18);
const read = (name: string, value: string) => readParameterValue(rds18.get(name)!, value);

test.each([
  ['autovacuum', 'ON', '1'],
  ['autovacuum', 'false', '0'],
  ['ssl_min_protocol_version', 'tlsv1.3', 'TLSv1.3'],
  ['synchronous_commit', '1', '1'],
  ['max_connections', ' +200 ', '200'],
  ['random_page_cost', '1.1', '1.1'],
  ['max_connections', 'LEAST({DBInstanceClassMemory/9531392}, 5000)', 'LEAST({DBInstanceClassMemory/9531392},5000)'],
  ['work_mem', '{DBInstanceClassMemory/32768}', '{DBInstanceClassMemory/32768}'],
  ['log_connections', 'receipt, authorization', 'receipt,authorization'],
  ['pgaudit.log', 'all,-misc', 'all,-misc'],
  ['shared_preload_libraries', 'pg_stat_statements, brand_new_library', 'pg_stat_statements,brand_new_library'],
  ['search_path', '"$user", public', '"$user", public'],
])('%s = %j becomes %j', (name, given, value) => {
  expect(read(name, given)).toEqual({ value });
});

test.each([
  ['work_mem', '1GB', /kB: write 1048576/],
  ['shared_buffers', '1GB', /8kB: write 131072/],
  ['statement_timeout', '5min', /ms: write 300000/],
  ['random_page_cost', '{DBInstanceVCPU}', /whole numbers only/],
  ['log_connections', 'receipt,,setup', /empty/],
  ['search_path', 'a\nb', /one line/],
])('%s = %j is refused', (name, given, problem) => {
  expect(read(name, given)).toEqual({ problem: expect.stringMatching(problem) });
});

test('every parameter says where it comes from, and whether it waits for a reboot', () => {
  for (const engine of ['rds', 'aurora'] as const) {
    for (const parameter of parameterCatalogue(engine, 18).values()) {
      expect(parameter.source).not.toBe('');
      expect(['static', 'dynamic']).toContain(parameter.apply);
    }
  }
  expect(rds18.get('shared_buffers')!.apply).toBe('static');
  expect(rds18.get('log_lock_waits')!.apply).toBe('dynamic');
  expect(parameterCatalogue('rds', 17).get('autovacuum_max_workers')!.apply).toBe('static');
  expect(rds18.get('autovacuum_max_workers')!.apply).toBe('dynamic');
});

test('a family names engine and version, and back', () => {
  expect(parameterFamily('aurora', 17)).toBe('aurora-postgresql17');
  expect(readParameterFamily('postgres16')).toEqual({ engine: 'rds', major: 16 });
  expect(readParameterFamily('aurora-postgresql18')).toEqual({ engine: 'aurora', major: 18 });
  expect(readParameterFamily('aurora-mysql8.0')).toBeUndefined();
});
