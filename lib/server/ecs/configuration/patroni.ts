import { hbaLine } from './hba';
import {
  adminUser,
  ClusterModel,
  etcdHost,
  ETCD_CLIENT_PORT,
  LEADER_TTL,
  MEMBER_VOLUME,
  memberHost,
  memberName,
  numbers,
  OWN_ROLES,
  PATRONI_PORT,
  POSTGRES_PORT,
  RESTAPI_USER,
  RUN_FOLDER,
} from './model';
import { recoveryOptions } from './pgbackrest';
import { TLS } from './files';

/** Scripts of the image of PostgreSQL. */
const SCRIPTS = '/opt/cdk-postgres';

/** Identity of the certificates of members, to the roles by which members reach each other. */
const MEMBERS_MAP = 'members';
/** Users of the task, to roles, over the local socket. */
const LOCAL_MAP = 'local';

/** Rows of `pg_hba.conf`: the cluster's own, the user's, and nobody else. */
export function hbaLines(model: ClusterModel): string[] {
  const { superuser, replication, rewind } = OWN_ROLES;
  const own = [superuser, replication, rewind].join(',');
  return [
    `local all ${superuser} peer map=${LOCAL_MAP}`,
    // Patroni asks itself IDENTIFY_SYSTEM.
    `local replication ${replication} peer map=${LOCAL_MAP}`,
    'local all all reject',
    ...model.networks.flatMap((network) => [
      `hostssl replication ${replication} ${network} cert map=${MEMBERS_MAP}`,
      `hostssl all ${rewind} ${network} cert map=${MEMBERS_MAP}`,
    ]),
    `host all ${own} all reject`,
    'host replication all all reject',
    // The functions of this library log in by password whatever the user's rules are.
    ...model.networks.map((network) => `hostssl all ${adminUser(model)} ${network} scram-sha-256`),
    ...(model.hba.length > 0
      ? model.hba.map(hbaLine)
      : model.networks.map((network) => `hostssl all all ${network} scram-sha-256`)),
    'host all all all reject',
  ];
}

/** Rows of `pg_ident.conf`. */
export function identLines(): string[] {
  const { superuser, replication, rewind } = OWN_ROLES;
  return [
    `${LOCAL_MAP} postgres ${superuser}`,
    `${LOCAL_MAP} postgres ${replication}`,
    // A shell that ECS Exec opens is root's, who could become postgres anyway.
    `${LOCAL_MAP} root ${superuser}`,
    `${MEMBERS_MAP} /^pg-[0-9]+$ ${replication}`,
    `${MEMBERS_MAP} /^pg-[0-9]+$ ${rewind}`,
  ];
}

/** What the cluster sets before the user's parameters, and the user may change. */
function parameterDefaults(model: ClusterModel): Record<string, string> {
  return {
    max_wal_senders: '10',
    max_replication_slots: '10',
    // A replica that was away for a moment needs neither a slot nor the archive (HA-10).
    wal_keep_size: '512MB',
    // A host that died says nothing: without these it is noticed after minutes.
    wal_sender_timeout: '10s',
    wal_receiver_timeout: '10s',
    tcp_user_timeout: '15s',
    tcp_keepalives_idle: '10',
    tcp_keepalives_interval: '5',
    tcp_keepalives_count: '3',
    checkpoint_timeout: '5min',
    checkpoint_completion_target: '0.9',
    log_checkpoints: 'on',
    log_lock_waits: 'on',
    log_autovacuum_min_duration: '10s',
    log_line_prefix: '%m [%p] %q%u@%d %a ',
    // A consumer that stopped over a weekend survives, one that nobody remembers does not keep WAL for ever (HA-9).
    ...(model.majorVersion >= 18 ? { idle_replication_slot_timeout: '7d' } : {}),
  };
}

/** What nobody changes, since the cluster keeps its promises by it. */
function ownParameters(model: ClusterModel): Record<string, string> {
  return {
    wal_level: 'logical',
    hot_standby: 'on',
    wal_log_hints: 'on',
    password_encryption: 'scram-sha-256',
    ssl: 'on',
    ssl_cert_file: TLS.certificate,
    ssl_key_file: TLS.key,
    ssl_ca_file: TLS.ca,
    ssl_min_protocol_version: 'TLSv1.2',
    unix_socket_directories: RUN_FOLDER,
    logging_collector: 'off',
    ...(Object.keys(model.logicalSlots ?? {}).length > 0 ? { hot_standby_feedback: 'on' } : {}),
    ...(model.backup
      ? {
          archive_mode: 'on',
          archive_command: `${SCRIPTS}/pgbackrest-archive-push "%p"`,
          archive_timeout: `${model.backup.archiveTimeout ?? 60}s`,
        }
      : {}),
  };
}

/**
 * What all members share, which Patroni keeps in etcd: written when the cluster begins, and changed afterwards by a PATCH of `/config`
 * with the whole of it. Rows of `pg_hba.conf` and parameters are among it.
 */
export function dynamicConfiguration(model: ClusterModel): Readonly<Record<string, unknown>> {
  return {
    // loop_wait + 2 * retry_timeout may not exceed ttl, or a leader that is cut off would still be one when the next is elected.
    ttl: LEADER_TTL,
    loop_wait: 5,
    retry_timeout: 5,
    // A crashed server is given a minute to recover in place before another takes over.
    primary_start_timeout: 60,
    synchronous_mode: model.synchronous ? 'quorum' : false,
    synchronous_mode_strict: model.synchronous,
    maximum_lag_on_failover: model.maximumLagOnFailover ?? 1_048_576,
    // etcd may be away for as long as the leader reaches every member.
    failsafe_mode: true,
    check_timeline: true,
    slots: Object.fromEntries(
      Object.entries(model.logicalSlots ?? {}).map(([name, { database, plugin }]) => [
        name,
        { type: 'logical', database, plugin: plugin ?? 'pgoutput' },
      ]),
    ),
    postgresql: {
      use_pg_rewind: true,
      use_slots: true,
      // A member whose data cannot be joined to the leader's is made anew, without an operator.
      remove_data_directory_on_rewind_failure: true,
      remove_data_directory_on_diverged_timelines: true,
      parameters: { ...parameterDefaults(model), ...model.parameters, ...ownParameters(model) },
      pg_hba: hbaLines(model),
      pg_ident: identLines(),
      ...(model.backup
        ? {
            recovery_conf: {
              restore_command: `${SCRIPTS}/pgbackrest-archive-get %f "%p"`,
              recovery_target_timeline: 'latest',
            },
          }
        : {}),
    },
  };
}

/** The configuration of a member's Patroni, without secrets. JSON is YAML. */
export function patroniConfiguration(model: ClusterModel, n: number): string {
  const host = memberHost(model, n);
  const byCertificate = { sslmode: 'verify-full', sslcert: TLS.certificate, sslkey: TLS.key, sslrootcert: TLS.ca };
  const { superuser, replication, rewind } = OWN_ROLES;
  return json({
    scope: model.name,
    namespace: '/cdk-postgres/',
    name: memberName(n),
    log: { level: 'INFO' },
    restapi: {
      listen: `0.0.0.0:${PATRONI_PORT}`,
      connect_address: `${host}:${PATRONI_PORT}`,
      certfile: TLS.certificate,
      keyfile: TLS.key,
      authentication: { username: RESTAPI_USER },
    },
    ctl: { cacert: TLS.ca },
    etcd3: {
      protocol: 'https',
      hosts: numbers(model).map((other) => `${etcdHost(model, other)}:${ETCD_CLIENT_PORT}`),
      cacert: TLS.ca,
      cert: TLS.certificate,
      key: TLS.key,
    },
    bootstrap: {
      dcs: dynamicConfiguration(model),
      initdb: [
        'data-checksums',
        { encoding: 'UTF8' },
        { locale: 'C.UTF-8' },
        // Sorting that no update of the C library changes (OPS-14).
        ...(model.majorVersion >= 17 ? [{ 'locale-provider': 'builtin' }, { 'builtin-locale': 'C.UTF-8' }] : []),
      ],
      post_bootstrap: `${SCRIPTS}/after-bootstrap`,
      ...(model.bootstrap
        ? {
            method: 'repository',
            repository: {
              command: `${SCRIPTS}/restore`,
              no_params: true,
              keep_existing_recovery_conf: true,
              // Handed to the command as --option=value.
              ...recoveryOptions(model.bootstrap.target),
            },
          }
        : {}),
    },
    postgresql: {
      listen: `0.0.0.0:${POSTGRES_PORT}`,
      connect_address: `${host}:${POSTGRES_PORT}`,
      data_dir: `${MEMBER_VOLUME}/data`,
      bin_dir: `/usr/lib/postgresql/${model.majorVersion}/bin`,
      pgpass: `${RUN_FOLDER}/pgpass`,
      // The superuser has no password: he is who runs the server, and nobody else.
      use_unix_socket: true,
      use_unix_socket_repl: true,
      authentication: {
        superuser: { username: superuser },
        replication: { username: replication, ...byCertificate },
        rewind: { username: rewind, ...byCertificate },
      },
      // From the bucket first, which costs the leader nothing.
      create_replica_methods: [...(model.backup ? ['pgbackrest'] : []), 'basebackup'],
      ...(model.backup
        ? {
            pgbackrest: {
              command: `/usr/bin/pgbackrest --stanza=${model.name} --delta --type=standby restore`,
              keep_data: true,
              no_params: true,
            },
          }
        : {}),
      basebackup: [{ checkpoint: 'fast' }, { 'max-rate': '200M' }],
    },
    // The host resets itself if Patroni hangs. A task without the device has the other guards alone.
    watchdog: { mode: 'automatic', device: '/dev/watchdog', safety_margin: 5 },
  });
}

function json(value: unknown): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
