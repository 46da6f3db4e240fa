import { nearest } from '../../parameters/nearest';
import { PG_SETTINGS, SettingRow } from '../../parameters/pg-settings';
import { show } from './text';

/** Parameters that the cluster sets, and what to do instead. A value of the user's would break what it keeps. */
const OWN: Readonly<Record<string, string>> = {
  listen_addresses: 'each member listens on its own address',
  port: 'a member has its host for itself',
  cluster_name: 'it is the name of the cluster',
  data_directory: 'it is on the volume of the member',
  hba_file: 'Patroni writes it; see hba',
  ident_file: 'Patroni writes it',
  config_file: 'Patroni writes it',
  unix_socket_directories: 'the socket lies in the tmpfs of the task',
  hot_standby: 'replicas answer queries, always',
  wal_level: 'archiving, replicas and logical slots need what it is',
  archive_mode: 'see backup',
  archive_command: 'see backup',
  archive_library: 'see backup',
  archive_timeout: 'see backup.archiveTimeout',
  restore_command: 'see backup',
  synchronous_standby_names: 'Patroni sets it; see synchronous',
  primary_conninfo: 'Patroni sets it',
  primary_slot_name: 'Patroni sets it',
  wal_log_hints: 'a member that was the leader comes back by it',
  fsync: 'without it a crash destroys the data',
  full_page_writes: 'without it a crash destroys the data',
  ssl: 'connections are TLS, always',
  ssl_cert_file: 'certificates come with the task',
  ssl_key_file: 'certificates come with the task',
  ssl_ca_file: 'certificates come with the task',
  ssl_min_protocol_version: 'it is TLS 1.2 or newer',
  password_encryption: 'it is scram-sha-256',
  hot_standby_feedback: 'slots that outlive a failover need what it is; see logicalSlots',
  sync_replication_slots: 'Patroni keeps the slots; see logicalSlots',
};

/** Choices that the image's PostgreSQL has, and that from which the catalogue was read was built without. */
const BUILT_IN: Readonly<Record<string, readonly string[]>> = {
  wal_compression: ['lz4', 'zstd'],
  default_toast_compression: ['lz4'],
  io_method: ['io_uring'],
};

/** Everything that is wrong with parameters of a major version. Empty: nothing. */
export function parameterProblems(parameters: Readonly<Record<string, string>>, majorVersion: 16 | 17 | 18): string[] {
  const settings = PG_SETTINGS[majorVersion]?.settings;
  if (!settings) return [];
  return Object.entries(parameters).flatMap(([name, value]) => {
    const problem = parameterProblem(name, value, settings);
    return problem === undefined ? [] : [`${name}: ${problem}`];
  });
}

function parameterProblem(
  name: string,
  value: string,
  settings: Readonly<Record<string, SettingRow>>,
): string | undefined {
  if (name in OWN) return `leave it out: ${OWN[name]}`;
  if (/^recovery_/.test(name)) return 'leave it out: see bootstrap.target';
  if (/[\0\r\n]/.test(value)) return 'a value is one line of text';
  // Those of extensions, such as pgaudit.log: nobody knows them before the library is loaded.
  if (/^[a-z_][a-z0-9_]*\.[a-z_][a-z0-9_.]*$/.test(name)) return undefined;
  const row = settings[name];
  if (!row) {
    const [close] = nearest(name, Object.keys(settings), 3);
    return `PostgreSQL has no such parameter${close ? `; did you mean ${close}?` : ''}`;
  }
  const [type, context, unit, min, max, listed] = row;
  const values = [...new Set([...(listed ?? []), ...(BUILT_IN[name] ?? [])])];
  if (context === 'internal') return 'it cannot be set';
  switch (type) {
    case 'bool':
      return /^(1|0|on|off|true|false|yes|no)$/i.test(value) ? undefined : `${show(value)}: write on or off`;
    case 'enum':
      return values.some((known) => known.toLowerCase() === value.toLowerCase())
        ? undefined
        : `${show(value)} must be one of ${values.join(', ')}`;
    case 'integer':
    case 'real':
      return numberProblem(value, unit, min, max);
    default:
      return undefined;
  }
}

function numberProblem(value: string, unit: string | null, min: string | null, max: string | null): string | undefined {
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(us|ms|s|min|h|d|B|kB|MB|GB|TB)?$/.exec(value.trim());
  if (!match || (match[2] !== undefined && unit === null))
    return `${show(value)}: write a number${unit === null ? '' : ` in ${unit}, or with its unit, such as 1${unit.replace(/^\d+/, '')}`}`;
  // PostgreSQL converts units, and looks at the limits after that.
  if (match[2] !== undefined) return undefined;
  const number = Number(match[1]);
  if ((min !== null && number < Number(min)) || (max !== null && number > Number(max)))
    return `${value} must be ${min} to ${max}${unit === null ? '' : ` ${unit}`}`;
  return undefined;
}
