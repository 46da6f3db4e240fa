import { decodePooler, PoolerDocument } from '../../../lib/contract';
import { renderIni, renderUsers, share } from '../../../lib/runtime/pooler/files';

const ARN = 'arn:aws:secretsmanager:eu-central-1:123456789012:secret:x-AbCdEf';
const document: PoolerDocument = {
  version: 1,
  server: { host: 'db.example.com', port: 5432, trust: 'rds' },
  databases: {
    app: { poolSize: 5, reservePoolSize: 1, maxConnections: 7, sessionConnections: 3 },
    other: { poolSize: 2, maxConnections: 2 },
  },
  secrets: { api: ARN },
  certificateSecret: ARN,
  processes: 2,
  maxClientConnections: 101,
};
const ini = (process: number) => renderIni(decodePooler(document), process, '/run/pgbouncer').split('\n');

test.each([
  [7, 2],
  [5, 3],
  [1, 4],
  [0, 2],
  [100, 7],
])('CP-3: %d is what %d processes have together', (whole, processes) => {
  const parts = Array.from({ length: processes }, (_, at) => share(whole, processes, at + 1));
  expect(parts.reduce((sum, part) => sum + part, 0)).toBe(whole);
  expect(Math.max(...parts) - Math.min(...parts)).toBeLessThanOrEqual(1);
});

describe('pgbouncer.ini', () => {
  test('has a transaction pool for each database, a session pool where one is asked for, and each process its share', () => {
    expect(ini(1)).toEqual(
      expect.arrayContaining([
        "app = host='db.example.com' port=5432 dbname='app' pool_mode='transaction' pool_size=3 reserve_pool_size=1 max_db_connections=4",
        "app_session = host='db.example.com' port=5432 dbname='app' pool_mode='session' pool_size=2 reserve_pool_size=0 max_db_connections=2",
        "other = host='db.example.com' port=5432 dbname='other' pool_mode='transaction' pool_size=1 reserve_pool_size=0 max_db_connections=1",
        'max_client_conn = 51',
      ]),
    );
    expect(ini(2)).toEqual(
      expect.arrayContaining([
        "app = host='db.example.com' port=5432 dbname='app' pool_mode='transaction' pool_size=2 reserve_pool_size=0 max_db_connections=3",
        "app_session = host='db.example.com' port=5432 dbname='app' pool_mode='session' pool_size=1 reserve_pool_size=0 max_db_connections=1",
        'max_client_conn = 50',
      ]),
    );
    expect(ini(1).join()).not.toContain('other_session');
  });

  test('makes the processes peers on one port, each with a socket of its own', () => {
    for (const process of [1, 2]) {
      expect(ini(process)).toEqual(
        expect.arrayContaining([
          "1 = host='/run/pgbouncer/1' port=6432",
          "2 = host='/run/pgbouncer/2' port=6432",
          `peer_id = ${process}`,
          'so_reuseport = 1',
          `unix_socket_dir = /run/pgbouncer/${process}`,
        ]),
      );
    }
  });

  test.each([
    ['CP-14', 'auth_type = scram-sha-256'],
    ['CP-14', 'client_tls_sslmode = require'],
    ['CP-14', 'server_tls_sslmode = verify-full'],
    ['CP-14', 'listen_addr = *'],
    ['CP-14', 'query_wait_timeout = 10'],
    ['CP-14', 'ignore_startup_parameters = extra_float_digits,options'],
    ['CP-8', 'max_prepared_statements = 200'],
    ['CP-6', 'pool_mode = transaction'],
    ['CP-16', 'idle_transaction_timeout = 60'],
    ['CP-19', 'tcp_keepidle = 60'],
    ['HA-14', 'dns_max_ttl = 5'],
  ])('%s: says %s', (_, line) => expect(ini(1)).toContain(line));

  test('gives nobody the console over the network', () => {
    expect(ini(1).join('\n')).not.toMatch(/admin_users|stats_users|auth_query|auth_user/);
  });
});

test('the auth_file has verifiers by login, in an order of its own and with quotes doubled', () => {
  const verifier = 'SCRAM-SHA-256$4096:c2FsdA==$c3RvcmVk:c2VydmVy';
  expect(
    renderUsers(
      new Map([
        ['b"x" "y', verifier],
        ['a', verifier],
      ]),
    ),
  ).toBe(`"a" "${verifier}"\n"b""x"" ""y" "${verifier}"\n`);
});
