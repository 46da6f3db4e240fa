import { Session } from '../reconcile/session';

/** Sessions of one role and one application that an item would be felt by. */
export interface SessionFacts {
  readonly role: string;
  readonly application: string;
  /** The first of the addresses that they come from. */
  readonly addresses: readonly string[];
  readonly withoutTls: number;
  readonly replicates: boolean;
  /** Idle inside a transaction for longer than the limit. */
  readonly idle: number;
}

export interface SlotFacts {
  readonly name: string;
  readonly active: boolean;
  readonly walStatus: string | null;
  /** Undefined: it holds nothing. */
  readonly retainedBytes: number | null;
}

/** What a server says of itself. */
export interface HardeningFacts {
  readonly version: string;
  readonly role: string;
  /** Absent: not there, or this role may not see it. */
  readonly settings: Readonly<Record<string, string>>;
  /** Settings of which this session has a value of its own, so that the server's is not seen. */
  readonly ownSettings: readonly string[];
  /** Settings whose new value waits for a restart. */
  readonly pendingRestart: readonly string[];
  /** Undefined: this role does not see the sessions of others. */
  readonly sessions?: readonly SessionFacts[];
  /** Roles that log in by a password that is kept as MD5. Undefined: this role cannot see how passwords are kept. */
  readonly md5Roles?: readonly string[];
  readonly slots: readonly SlotFacts[];
}

/** What this package sets as the limit of idle transactions. */
const IDLE = '5 minutes';

export const SETTINGS = [
  'rds.force_ssl',
  'rds.accepted_password_auth_method',
  'password_encryption',
  'shared_preload_libraries',
  'pgaudit.log',
  'pgaudit.role',
  'log_connections',
  'log_disconnections',
  'log_replication_commands',
  'log_min_duration_statement',
  'log_lock_waits',
  'log_temp_files',
  'log_autovacuum_min_duration',
  'track_io_timing',
  'idle_in_transaction_session_timeout',
  'max_slot_wal_keep_size',
  'port',
] as const;

export type SettingName = (typeof SETTINGS)[number];

/** Three queries, and one more where it can be seen how passwords are kept, whatever there is on the server. */
export async function observeHardening(session: Session, idleFor = IDLE): Promise<HardeningFacts> {
  const [server] = await session.read<ServerRow>(SERVER, [SETTINGS]);
  const { version, role, settings, own, pending, seesSessions, readsVerifiers, hasTools } = server!;
  return {
    version,
    role,
    settings: Object.fromEntries(
      Object.entries(settings).filter((entry): entry is [string, string] => entry[1] !== null),
    ),
    ownSettings: own,
    pendingRestart: pending,
    sessions: seesSessions ? await session.read<SessionFacts & { role: string }>(SESSIONS, [idleFor]) : undefined,
    md5Roles: readsVerifiers
      ? await md5Roles(session, VERIFIERS)
      : hasTools
        ? await md5Roles(session, TOOLS)
        : undefined,
    slots: await session.read<SlotFacts & { name: string }>(SLOTS),
  };
}

async function md5Roles(session: Session, sql: string): Promise<string[]> {
  return (await session.read<{ role: string }>(sql)).map(({ role }) => role);
}

interface ServerRow {
  readonly version: string;
  readonly role: string;
  readonly settings: Readonly<Record<string, string | null>>;
  readonly own: readonly string[];
  readonly pending: readonly string[];
  readonly seesSessions: boolean;
  readonly readsVerifiers: boolean;
  readonly hasTools: boolean;
}

/**
 * What the session started with (`reset_val`), since it has set some itself; what its role or database brings along is told apart.
 *
 * A setting of an extension that is not loaded, such as one of RDS on another server, is not in pg_settings; one that this role may not see
 * is not, either, and asking for it is an error. A function is called only as part of its extension: anybody who may create a
 * schema could make one of that name, and have the administrator run it.
 */
const SERVER = `
  SELECT current_setting('server_version') AS version, session_user::text AS role,
    (SELECT jsonb_object_agg(wanted.name,
              CASE WHEN s.name IS NOT NULL THEN s.reset_val
                   WHEN wanted.name LIKE '%.%' THEN nullif(current_setting(wanted.name, true), '') END)
       FROM unnest($1::text[]) AS wanted(name) LEFT JOIN pg_settings s ON s.name = wanted.name) AS settings,
    ARRAY(SELECT DISTINCT split_part(line, '=', 1) FROM pg_db_role_setting o, unnest(o.setconfig) line
           WHERE (o.setrole <> 0 OR o.setdatabase <> 0) AND split_part(line, '=', 1) = ANY ($1::text[])
             AND (o.setrole = 0 OR o.setrole = to_regrole(quote_ident(session_user::text)))
             AND (o.setdatabase = 0 OR o.setdatabase = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
           ORDER BY 1) AS own,
    ARRAY(SELECT s.name FROM pg_settings s WHERE s.pending_restart ORDER BY 1) AS pending,
    pg_has_role('pg_read_all_stats', 'USAGE') AS "seesSessions",
    has_table_privilege('pg_authid', 'SELECT') AS "readsVerifiers",
    EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
             WHERE d.classid = 'pg_proc'::regclass AND d.refclassid = 'pg_extension'::regclass
               AND d.deptype = 'e' AND e.extname = 'rds_tools'
               AND d.objid = to_regprocedure('rds_tools.role_password_encryption_type()')) AS "hasTools"`;

/**
 * Those of RDS itself log in as rdsadmin, over a local socket or the loopback, and are no business of its users. Five addresses are enough
 * to find a client by.
 */
const SESSIONS = `
  SELECT a.usename::text AS role, coalesce(a.application_name, '') AS application, a.backend_type = 'walsender' AS replicates,
    (array_agg(DISTINCT host(a.client_addr)))[1:5] AS addresses,
    count(*) FILTER (WHERE NOT s.ssl)::int AS "withoutTls",
    count(*) FILTER (WHERE a.state LIKE 'idle in transaction%' AND now() - a.state_change > $1::interval)::int AS idle
  FROM pg_stat_activity a JOIN pg_stat_ssl s ON s.pid = a.pid
  WHERE a.backend_type IN ('client backend', 'walsender') AND a.client_addr IS NOT NULL AND a.pid <> pg_backend_pid()
    AND a.usename <> 'rdsadmin'
    AND (NOT s.ssl OR (a.state LIKE 'idle in transaction%' AND now() - a.state_change > $1::interval))
  GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`;

const VERIFIERS = `
  SELECT rolname::text AS role FROM pg_authid WHERE rolcanlogin AND rolpassword ~ '^md5[0-9a-f]{32}$' ORDER BY 1`;

/** What RDS offers in the place of pg_authid, which it closes. */
const TOOLS = `
  SELECT r.rolname::text AS role
  FROM rds_tools.role_password_encryption_type() t JOIN pg_roles r ON r.rolname = t.rolname
  WHERE r.rolcanlogin AND t.encryption_type = 'md5' ORDER BY 1`;

const SLOTS = `
  SELECT slot_name::text AS name, active, wal_status AS "walStatus",
    pg_wal_lsn_diff(
      CASE WHEN pg_is_in_recovery() THEN coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
           ELSE pg_current_wal_lsn() END, restart_lsn)::float8 AS "retainedBytes"
  FROM pg_replication_slots ORDER BY 1`;
