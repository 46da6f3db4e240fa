import { SupportedMajor } from '../postgres-version';
import { ParameterEngine } from './catalogue';

/** A value that this library sets, and why. */
export interface ParameterDefault {
  readonly name: string;
  readonly value: string;
  readonly requirement: string;
  readonly why: string;
}

/**
 * The first generation of parameter values. It is frozen: a server keeps its values over updates of this package, and another opinion
 * is a new generation beside this one.
 */
export function defaultsV1(
  engine: ParameterEngine,
  major: SupportedMajor,
  allocatedStorageGiB: number | undefined,
): readonly ParameterDefault[] {
  return [
    { name: 'rds.force_ssl', value: '1', requirement: 'SEC-11', why: 'the server refuses a connection without TLS' },
    {
      name: 'password_encryption',
      value: 'scram-sha-256',
      requirement: 'SEC-9',
      why: 'a new password is kept as a SCRAM verifier',
    },
    {
      name: 'rds.accepted_password_auth_method',
      value: 'scram',
      requirement: 'SEC-9',
      why: 'a password that is kept as MD5 does not log in',
    },
    {
      name: 'shared_preload_libraries',
      value: 'pg_stat_statements,pgaudit',
      requirement: 'OPS-5, SEC-20',
      why: 'both libraries work only when loaded at the start, which later would cost a reboot',
    },
    {
      name: 'pgaudit.log',
      value: 'ddl,role',
      requirement: 'SEC-20',
      why: 'changes of objects, roles and grants are audited',
    },
    {
      name: 'pgaudit.role',
      value: 'rds_pgaudit',
      requirement: 'SEC-20',
      why: 'what is granted to this role is audited object by object; RDS takes no other name',
    },
    {
      name: 'log_connections',
      value: major >= 18 ? 'all' : '1',
      requirement: 'SEC-21, OPS-10',
      why: 'who logged in; from 18 on it is a list of stages, and AWS refuses 1',
    },
    { name: 'log_disconnections', value: '1', requirement: 'SEC-21', why: 'how long a session lasted' },
    { name: 'log_replication_commands', value: '1', requirement: 'SEC-21', why: 'who copies the whole server' },
    {
      name: 'log_lock_waits',
      value: '1',
      requirement: 'DDL-23',
      why: 'who waited for whose lock for longer than a second',
    },
    {
      name: 'log_min_duration_statement',
      value: '1000',
      requirement: 'OPS-5',
      why: 'statements slower than a second',
    },
    { name: 'log_temp_files', value: '10240', requirement: 'OPS-5', why: 'sorts that spill more than 10 MiB to disk' },
    {
      name: 'log_autovacuum_min_duration',
      value: '60000',
      requirement: 'OPS-5',
      why: 'vacuum runs longer than a minute',
    },
    {
      name: 'track_io_timing',
      value: '1',
      requirement: 'OPS-5',
      why: 'plans and statistics show the time spent on storage',
    },
    {
      name: 'idle_in_transaction_session_timeout',
      value: '300000',
      requirement: 'CP-16',
      why: 'a forgotten transaction holds its locks, and vacuum back, for five minutes at most (RDS: a day); roles set less',
    },
    {
      name: 'max_slot_wal_keep_size',
      value: String(slotLimitMiB(engine, allocatedStorageGiB)),
      requirement: 'HA-8',
      why: 'an abandoned replication slot loses its place before it fills the volume',
    },
  ];
}

/** A quarter of an instance's volume. Aurora's volume grows by itself, so that its limit is one of cost: 100 GiB. */
function slotLimitMiB(engine: ParameterEngine, allocatedStorageGiB = 100): number {
  return engine === 'aurora' ? 100 * 1024 : Math.max(1024, Math.floor((allocatedStorageGiB * 1024) / 4));
}
