import { SEQUENCE_NEAR_END } from '../../contract';

/** What decides which columns and functions a reading may name. */
export interface ServerFacts {
  /** As `server_version_num`, such as 180004. */
  readonly version: number;
  readonly standby: boolean;
  /** A standby that keeps the slots of its primary up to date, so that they survive a failover; from 17 on. */
  readonly syncs: boolean;
  /** Whether the role may read how passwords are kept, which on RDS nobody may. */
  readonly verifiers: boolean;
}

/**
 * One query, which gives one row: each column is a metric, named as it, but for `findings`, a list for the log, and `slots`, the names of slots
 * that survive a failover. Nothing in it is the text of a statement or a row of a user's table.
 */
export interface Reading {
  readonly name: string;
  /** Undefined: this server cannot be asked. */
  readonly sql: (server: ServerFacts) => string | undefined;
}

/** The log takes so many of a kind; the metric counts them all. */
const MOST_FINDINGS = 20;

export const FACTS = `
  SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS standby,
    coalesce(current_setting('sync_replication_slots', true), 'off') = 'on' AS syncs,
    has_column_privilege('pg_catalog.pg_authid', 'rolpassword', 'SELECT') AS verifiers,
    session_user::text AS role, pg_has_role('pg_read_all_stats', 'USAGE') AS monitors,
    coalesce(host(inet_server_addr()), '') || ' ' || extract(epoch FROM pg_postmaster_start_time()) AS node`;

/** Where the role may connect to: what is declared, and what is open to everybody. Nobody enters one whose DROP was interrupted, which has -2. */
export const DATABASES = `
  SELECT datname AS name FROM pg_database
  WHERE datallowconn AND datconnlimit <> -2 AND NOT datistemplate AND has_database_privilege(oid, 'CONNECT') ORDER BY datname`;

/** Evaluated only where a row has a use for it: Aurora refuses it while logical replication is off. */
const position = ({ standby }: ServerFacts) => (standby ? 'pg_last_wal_replay_lsn()' : 'pg_current_wal_lsn()');

const seconds = (since: string) => `round(extract(epoch FROM clock_timestamp() - ${since})::numeric, 1)`;

/** Rows of `from` as a list for the log, the first ones in the given order. */
const findings = (fields: string, from: string, order: string) => `
  (SELECT json_agg(f) FROM (SELECT ${fields} FROM ${from} ORDER BY ${order} LIMIT ${MOST_FINDINGS}) f) AS findings`;

const ages: Reading = {
  name: 'ages',
  sql: () => `
    WITH d AS (SELECT datname, age(datfrozenxid) AS xid, mxid_age(datminmxid) AS multixact FROM pg_database),
      old AS (
        SELECT * FROM d WHERE xid > 2 * current_setting('autovacuum_freeze_max_age')::bigint
          OR multixact > 2 * current_setting('autovacuum_multixact_freeze_max_age')::bigint)
    SELECT max(xid) AS "TransactionIdAge", max(multixact) AS "MultixactAge",
      ${findings('datname AS database, xid AS "transactionIdAge", multixact AS "multixactAge"', 'old', 'xid DESC')}
    FROM d`,
};

/** From ten seconds on a transaction is worth a line of the log. */
const activity: Reading = {
  name: 'activity',
  sql: () => `
    WITH a AS MATERIALIZED (
        SELECT pid, usename, datname, application_name, state, ${seconds('xact_start')} AS lasts,
          CASE WHEN state LIKE 'idle in transaction%' THEN ${seconds('state_change')} END AS idles
        FROM pg_stat_activity WHERE backend_type = 'client backend'),
      long AS (SELECT * FROM a WHERE pid <> pg_backend_pid() AND (lasts >= 10 OR idles >= 10)),
      p AS (SELECT max(${seconds('prepared')}) AS lasts FROM pg_prepared_xacts)
    SELECT round(100.0 * count(*) / current_setting('max_connections')::int, 1) AS "ConnectionsUsedPercent",
      coalesce(max(lasts) FILTER (WHERE pid <> pg_backend_pid()), 0) AS "OldestTransactionSeconds",
      coalesce(max(idles), 0) AS "OldestIdleInTransactionSeconds",
      coalesce((SELECT lasts FROM p), 0) AS "OldestPreparedTransactionSeconds",
      ${findings(
        'pid, usename AS role, datname AS database, application_name AS application, state, lasts AS "transactionSeconds", idles AS "idleSeconds"',
        'long',
        'lasts DESC NULLS LAST',
      )}
    FROM a`,
};

/** Who waits for a lock, and for whom. Who blocks is asked for those alone that go into the log: the question stops the lock table. */
const blocked: Reading = {
  name: 'blocked',
  sql: () => `
    WITH a AS MATERIALIZED (
        SELECT pid, usename, datname, application_name, state, backend_type, xact_start FROM pg_stat_activity),
      w AS MATERIALIZED (
        SELECT a.pid, a.usename, a.datname, a.application_name, ${seconds('min(l.waitstart)')} AS waits
        FROM pg_locks l JOIN a USING (pid) WHERE NOT l.granted AND a.backend_type = 'client backend'
        GROUP BY a.pid, a.usename, a.datname, a.application_name),
      n AS MATERIALIZED (
        SELECT w.*, pg_blocking_pids(pid) AS blockers
        FROM (SELECT * FROM w ORDER BY waits DESC NULLS LAST LIMIT ${MOST_FINDINGS}) w)
    SELECT count(*) AS "BlockedSessions", coalesce(max(waits), 0) AS "LongestBlockedSeconds",
      ${findings(
        `pid, usename AS role, datname AS database, application_name AS application, waits AS "waitsSeconds", cardinality(blockers) AS "blockerCount",
         (SELECT json_agg(json_build_object('pid', b.pid, 'role', a.usename, 'application', a.application_name,
            'state', a.state, 'kind', a.backend_type, 'transactionSeconds', ${seconds('a.xact_start')},
            'waitsToo', EXISTS (SELECT FROM w WHERE w.pid = b.pid)))
          FROM unnest(n.blockers[1:${MOST_FINDINGS}]) AS b (pid) LEFT JOIN a ON a.pid = b.pid) AS "blockedBy"`,
        'n',
        'waits DESC NULLS LAST',
      )}
    FROM w`,
};

const slots: Reading = {
  name: 'slots',
  sql: (server) => `
    WITH s AS MATERIALIZED (
        SELECT slot_name, slot_type, database, active, temporary, wal_status, safe_wal_size,
          pg_wal_lsn_diff(${position(server)}, restart_lsn) AS retained,
          ${
            server.version >= 170000
              ? 'invalidation_reason AS invalid, inactive_since, synced, failover'
              : "CASE WHEN conflicting THEN 'conflict' END AS invalid, NULL::timestamptz AS inactive_since, false AS synced, false AS failover"
          }
        FROM pg_replication_slots),
      j AS (
        SELECT *, wal_status IN ('unreserved', 'lost') OR invalid IS NOT NULL AS risk,
          NOT active AND NOT temporary AND NOT synced AS unused FROM s)
    SELECT greatest(max(retained), 0) AS "SlotRetainedBytes", count(*) FILTER (WHERE risk) AS "SlotsAtRisk",
      count(*) FILTER (WHERE unused) AS "InactiveSlots", coalesce(json_agg(slot_name) FILTER (WHERE failover), '[]') AS slots,
      ${findings(
        `slot_name AS slot, slot_type AS type, database, active, wal_status AS "walStatus", invalid, retained AS "retainedBytes",
         safe_wal_size AS "safeWalBytes", inactive_since AS "inactiveSince"`,
        `(SELECT * FROM j WHERE risk OR unused OR wal_status = 'extended') j`,
        'retained DESC NULLS LAST',
      )}
    FROM j`,
};

/** Of physical standbys: how far a logical consumer is behind is what its slot retains. */
const replicas: Reading = {
  name: 'replicas',
  sql: (server) => `
    WITH r AS MATERIALIZED (
      SELECT r.application_name, r.client_addr, r.state, r.sync_state, pg_wal_lsn_diff(${position(server)}, r.replay_lsn) AS lag
      FROM pg_stat_replication r LEFT JOIN pg_replication_slots s ON s.active_pid = r.pid
      WHERE s.slot_type IS DISTINCT FROM 'logical' AND r.state <> 'backup')
    SELECT greatest(max(lag), 0) AS "ReplicaLagBytes",
      ${findings(
        'application_name AS replica, client_addr AS address, state, sync_state AS "syncState", lag AS "lagBytes"',
        '(SELECT * FROM r WHERE lag > 16 * 1024 * 1024) r',
        'lag DESC',
      )}
    FROM r`,
};

const CONFLICTS_OF_18 = [
  'confl_insert_exists',
  'confl_update_origin_differs',
  'confl_update_exists',
  'confl_update_missing',
  'confl_delete_origin_differs',
  'confl_delete_missing',
  'confl_multiple_unique_conflicts',
];

/** Counters since the statistics were reset; all but the failed checksums are turned into what came since the look before. */
const statistics: Reading = {
  name: 'statistics',
  sql: ({ version }) => `
    WITH d AS MATERIALIZED (SELECT datname, checksum_failures, checksum_last_failure, deadlocks, conflicts FROM pg_stat_database),
      s AS (
        SELECT coalesce(sum(apply_error_count + sync_error_count), 0) AS errors,
          coalesce(sum(${version >= 180000 ? CONFLICTS_OF_18.join(' + ') : '0'}), 0) AS conflicts FROM pg_stat_subscription_stats)
    SELECT coalesce(sum(checksum_failures), 0) AS "ChecksumFailures", sum(deadlocks) AS "Deadlocks",
      sum(d.conflicts) AS "CancelledByReplay", (SELECT errors FROM s) AS "SubscriptionErrors",
      (SELECT conflicts FROM s) AS "SubscriptionConflicts",
      ${findings(
        'datname AS database, checksum_failures AS "checksumFailures", checksum_last_failure AS "lastFailure"',
        '(SELECT * FROM d WHERE checksum_failures > 0) d',
        'checksum_failures DESC',
      )}
    FROM d`,
};

const settings: Reading = {
  name: 'settings',
  sql: () => `
    WITH p AS MATERIALIZED (SELECT name FROM pg_settings WHERE pending_restart)
    SELECT count(*) AS "PendingRestart", ${findings('name AS parameter', 'p', 'name')} FROM p`,
};

const verifiers: Reading = {
  name: 'verifiers',
  sql: ({ verifiers }) =>
    verifiers
      ? `WITH r AS MATERIALIZED (SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'md5%')
         SELECT count(*) AS "Md5Verifiers", ${findings('rolname AS role', 'r', 'rolname')} FROM r`
      : undefined,
};

/** What is asked once a run, in any database. */
export const SERVER_READINGS: readonly Reading[] = [
  ages,
  activity,
  blocked,
  slots,
  replicas,
  statistics,
  settings,
  verifiers,
];

/** A slot that a standby could go on with: one that is temporary has not caught up with the primary's yet. */
const syncedSlots: Reading = {
  name: 'syncedSlots',
  sql: ({ syncs }) =>
    syncs
      ? `
    WITH s AS MATERIALIZED (
      SELECT slot_name, temporary, invalidation_reason AS invalid, NOT temporary AND invalidation_reason IS NULL AS usable
      FROM pg_replication_slots WHERE synced)
    SELECT coalesce(json_agg(slot_name) FILTER (WHERE usable), '[]') AS slots,
      ${findings('slot_name AS slot, invalid, temporary AS "notCaughtUp"', '(SELECT * FROM s WHERE NOT usable) s', 'slot_name')}
    FROM s`
      : undefined,
};

/** What is asked of a standby. */
export const STANDBY_READINGS: readonly Reading[] = [statistics, syncedSlots];

/** Not those that are being built right now, nor of partitioned tables, whose parts count. */
const invalidIndexes: Reading = {
  name: 'indexes',
  sql: () => `
    WITH i AS MATERIALIZED (
      SELECT i.indexrelid::regclass::text AS index, i.indrelid::regclass::text AS "table"
      FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
      WHERE NOT i.indisvalid AND c.relkind = 'i' AND c.relpersistence <> 't'
        AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = i.indexrelid))
    SELECT count(*) AS "InvalidIndexes", ${findings('*', 'i', 'index')} FROM i`,
};

/**
 * A sequence that starts anew is near no end, nor is that of the ledger. One that fills a column of a smaller type ends with the column's. Without a privilege
 * on it nobody but the owner sees where a sequence is.
 */
const sequences: Reading = {
  name: 'sequences',
  sql: () => `
    WITH s AS MATERIALIZED (
        SELECT s.seqrelid AS oid, s.seqincrement > 0 AS up, s.seqmin::numeric AS low, s.seqmax AS high,
          has_sequence_privilege(s.seqrelid, 'SELECT, USAGE') AS seen,
          CASE WHEN has_sequence_privilege(s.seqrelid, 'SELECT, USAGE') THEN pg_sequence_last_value(s.seqrelid) END AS at
        FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid
        WHERE NOT s.seqcycle AND c.relpersistence <> 't' AND c.relnamespace IS DISTINCT FROM to_regnamespace('cdk_postgres')),
      t AS MATERIALIZED (
        SELECT s.oid, s.up, s.at, s.low, least(s.high, CASE a.atttypid WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE s.high END)::numeric AS high
        FROM s
        LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = s.oid AND d.objsubid = 0
          AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
        LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
        -- No column is near its end before the smallest would be, and one that counts down is as wide as its sequence.
        WHERE CASE WHEN s.up THEN s.at >= least(s.high, 32767) * ${SEQUENCE_NEAR_END} + s.low * 0.2 - 1 ELSE s.at IS NOT NULL END),
      u AS MATERIALIZED (
        SELECT *, (CASE WHEN up THEN at - low ELSE high - at END + 1) / greatest(high - low + 1, 1) AS used FROM t),
      e AS (SELECT oid::regclass::text AS sequence, at AS "lastValue", round(100 * used, 1) AS "usedPercent"
            FROM u WHERE used >= ${SEQUENCE_NEAR_END})
    SELECT (SELECT count(*) FROM e) AS "SequencesNearEnd", count(*) FILTER (WHERE NOT seen) AS "SequencesUnreadable",
      ${findings('*', 'e', '"usedPercent" DESC')}
    FROM s`,
};

/**
 * Tables that autovacuum should have come to long ago: twice the dead rows that call it, and none for a day; or an age that only a freeze
 * that does not get through explains.
 */
const vacuum: Reading = {
  name: 'vacuum',
  sql: ({ version }) => {
    const calls = `current_setting('autovacuum_vacuum_threshold')::float8
          + current_setting('autovacuum_vacuum_scale_factor')::float8 * greatest(reltuples, 0)`;
    const due =
      version >= 180000 ? `least(${calls}, current_setting('autovacuum_vacuum_max_threshold')::float8)` : calls;
    return `
    WITH c AS MATERIALIZED (
        SELECT oid, pg_stat_get_dead_tuples(oid) AS dead, age(relfrozenxid) AS age, ${due} AS due
        FROM pg_class WHERE relkind IN ('r', 'm') AND relpersistence <> 't'),
      o AS MATERIALIZED (
        SELECT c.*, greatest(pg_stat_get_last_vacuum_time(oid), pg_stat_get_last_autovacuum_time(oid)) AS last
        FROM c WHERE dead > greatest(1000, 2 * due) OR age > 1.5 * current_setting('autovacuum_freeze_max_age')::bigint),
      v AS (
        SELECT oid::regclass::text AS "table", dead AS "deadRows", age AS "transactionIdAge", last AS "lastVacuum" FROM o
        WHERE age > 1.5 * current_setting('autovacuum_freeze_max_age')::bigint OR last IS NULL OR last < now() - interval '1 day')
    SELECT (SELECT count(*) FROM v) AS "TablesVacuumOverdue", ${findings('*', 'v', '"deadRows" DESC')}`;
  },
};

/** What is asked in each database. */
export const DATABASE_READINGS: readonly Reading[] = [invalidIndexes, sequences, vacuum];
