import { PoolerConfiguration, SESSION_SUFFIX } from '../../contract';

/** Where the files of the pooler are, in the only folder that it writes. */
export function filesIn(folder: string) {
  return {
    ini: (process: number) => `${folder}/pgbouncer-${process}.ini`,
    /** A folder for each process, since the sockets in them have the name of the port that they share. */
    sockets: (process: number) => `${folder}/${process}`,
    users: `${folder}/users.txt`,
    serverRoots: `${folder}/server-ca.pem`,
    certificate: `${folder}/client.crt`,
    privateKey: `${folder}/client.key`,
  };
}

/** The part of a size that falls to a process: all parts together are the whole. `process` counts from 1. */
export function share(whole: number, processes: number, process: number): number {
  return Math.floor(whole / processes) + (process <= whole % processes ? 1 : 0);
}

/**
 * The pgbouncer.ini of one process. The configuration has been read by `decodePooler()`, which lets no text through that the parser
 * would understand in another way; nothing secret goes in.
 */
export function renderIni(configuration: PoolerConfiguration, process: number, folder: string): string {
  const { server, processes, timeouts, port } = configuration;
  const files = filesIn(folder);
  const mine = (whole: number) => share(whole, processes, process);
  const all = Array.from({ length: processes }, (_, at) => at + 1);
  const database = (alias: string, name: string, options: Readonly<Record<string, string | number>>) =>
    `${alias} = ${pairs({ host: server.host, port: server.port, dbname: name, ...options })}`;
  const databases = configuration.databases.flatMap((each) => [
    database(each.name, each.name, {
      pool_mode: 'transaction',
      pool_size: mine(each.poolSize),
      reserve_pool_size: mine(each.reservePoolSize),
      max_db_connections: mine(each.maxConnections),
    }),
    ...(each.sessionConnections === 0
      ? []
      : [
          database(each.name + SESSION_SUFFIX, each.name, {
            pool_mode: 'session',
            pool_size: mine(each.sessionConnections),
            reserve_pool_size: 0,
            max_db_connections: mine(each.sessionConnections),
          }),
        ]),
  ]);
  const settings: Readonly<Record<string, string | number>> = {
    listen_addr: '*',
    listen_port: port,
    listen_backlog: 4096,
    so_reuseport: 1,
    peer_id: process,
    // The console is open to the user that the pooler runs as, on this socket; nobody else is an administrator.
    unix_socket_dir: files.sockets(process),
    unix_socket_mode: '0700',

    auth_type: 'scram-sha-256',
    auth_file: files.users,
    client_tls_sslmode: 'require',
    client_tls_protocols: 'tlsv1.2,tlsv1.3',
    client_tls_cert_file: files.certificate,
    client_tls_key_file: files.privateKey,
    server_tls_sslmode: 'verify-full',
    server_tls_protocols: 'tlsv1.2,tlsv1.3',
    server_tls_ca_file: files.serverRoots,

    pool_mode: 'transaction',
    max_client_conn: mine(configuration.maxClientConnections),
    max_prepared_statements: configuration.maxPreparedStatements,
    ignore_startup_parameters: 'extra_float_digits,options',

    query_wait_timeout: timeouts.queryWait,
    client_idle_timeout: timeouts.clientIdle,
    idle_transaction_timeout: timeouts.idleTransaction,
    transaction_timeout: timeouts.transaction,
    server_lifetime: timeouts.serverLifetime,
    server_idle_timeout: timeouts.serverIdle,
    reserve_pool_timeout: timeouts.reservePool,
    client_login_timeout: 15,
    server_connect_timeout: 5,
    // The default would refuse clients for 15 s after a server that restarts is back.
    server_login_retry: 1,

    dns_max_ttl: 5,
    dns_nxdomain_ttl: 5,
    tcp_keepalive: 1,
    tcp_keepidle: 60,
    tcp_keepintvl: 15,
    tcp_keepcnt: 4,
    // Milliseconds. Keepalives see no peer that is gone while data waits for its acknowledgement.
    tcp_user_timeout: 30_000,

    log_connections: 0,
    // The only lines that say why a server connection failed; the agent leaves out those of clients.
    log_disconnections: 1,
    log_pooler_errors: 1,
    log_stats: 0,
    stats_period: 60,
  };
  return [
    '[databases]',
    ...databases,
    '',
    '[peers]',
    ...all.map((peer) => `${peer} = ${pairs({ host: files.sockets(peer), port })}`),
    '',
    '[pgbouncer]',
    ...Object.entries(settings).map(([name, value]) => `${name} = ${value}`),
    '',
  ].join('\n');
}

/** Login to its SCRAM verifier, in the form of PgBouncer's auth_file. */
export function renderUsers(verifiers: ReadonlyMap<string, string>): string {
  const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`;
  return [...verifiers]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([login, verifier]) => `${quoted(login)} ${quoted(verifier)}\n`)
    .join('');
}

function pairs(options: Readonly<Record<string, string | number>>): string {
  return Object.entries(options)
    .map(([name, value]) => `${name}=${typeof value === 'number' ? value : `'${value.replaceAll("'", "''")}'`}`)
    .join(' ');
}
