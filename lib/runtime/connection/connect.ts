import * as tls from 'node:tls';
import pRetry from 'p-retry';
import { Client, ClientConfig, QueryResult } from 'pg';
import { ConnectionSettings } from '../reconcile/types';
import { ConnectionError, explainConnectionFailure, isConnectionFailure } from './failures';

export interface OpenOptions {
  /** Seen in pg_stat_activity. Default: `cdk-postgres`. */
  readonly applicationName?: string;
  /** Milliseconds until one attempt to connect is given up. Default: 10,000. */
  readonly connectTimeout?: number;
  /**
   * Milliseconds in which a server that starts, fails over, resumes or is full is tried again. Each attempt resolves the name
   * anew. Default: 0, one attempt.
   */
  readonly patience?: number;
  /** A server that only reads will do. Default: it must take writes. */
  readonly standby?: boolean;
  /** Told why the next attempt is waited for. */
  readonly onRetry?: (message: string) => void;
}

/**
 * Everything in the session that could change what our statements do, against settings that a role or a database brings along.
 * SET ROLE NONE, since `ALTER ROLE master SET role` would make the session start as somebody else. What could end the session comes
 * first; transaction_timeout is there since PostgreSQL 17, and the timeouts of statements and of idle transactions remain. No parallel
 * workers: to start them takes longer than they save on a catalog, and the application may want them. No jit, which compiles for longer
 * than a catalog is read.
 */
const SESSION = `
  SET statement_timeout = '5min'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '2min'; SET idle_session_timeout = 0;
  SET ROLE NONE; SET quote_all_identifiers = off; SET search_path = pg_catalog;
  SELECT set_config('transaction_timeout', '0', false) WHERE current_setting('transaction_timeout', true) IS NOT NULL;
  SET standard_conforming_strings = on; SET array_nulls = on; SET row_security = on; SET exit_on_error = off;
  SET client_min_messages = notice; SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; SET createrole_self_grant = '';
  SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; SET max_parallel_workers_per_gather = 0; SET jit = off;
  SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3`;

/** A server on some operating systems cannot watch its client while a statement runs, and refuses this then. */
const WATCH_CLIENT = `SET client_connection_check_interval = '10s'`;

/**
 * A direct connection to a server, one that takes writes unless a standby will do, with its session pinned. Throws a ConnectionError that says what to do about a
 * server that is unreachable, starting, full, read-only, untrusted, or behind a pooler.
 */
export async function openClient(settings: ConnectionSettings, options: OpenOptions = {}): Promise<Client> {
  const until = Date.now() + (options.patience ?? 0);
  return pRetry(
    async () => {
      try {
        return await openOnce(settings, options);
      } catch (error) {
        if (!isConnectionFailure(error) || Date.now() >= until) throw new pRetry.AbortError(error as Error);
        options.onRetry?.((error as Error).message);
        throw error;
      }
    },
    { retries: 1000, minTimeout: 250, maxTimeout: 5_000, factor: 1.6, randomize: true },
  );
}

/** Where the server is once it has checked the password; before that, a server without any slot left has the same code as a limit. */
const AFTER_PASSWORD = new Set(['InitPostgres', 'InitializeSessionUserId', 'CheckMyDatabase']);

/** Whether a password is the role's. The server checks it before LOGIN, CONNECT and limits, so those do not matter. */
export async function tryLogin(
  settings: ConnectionSettings,
  options: Pick<OpenOptions, 'connectTimeout'> = {},
): Promise<'works' | 'fails' | 'unknown'> {
  const client = newClient(settings, { applicationName: 'cdk-postgres login probe', ...options });
  try {
    await client.connect();
    return 'works';
  } catch (error) {
    const { code, routine } = error as { code?: string; routine?: string };
    if (code === '28P01') return 'fails';
    // Nothing but a database that is closed, not there or not for this role.
    if (code === '42501' || code === '3D000' || code === '55000') return 'works';
    // NOLOGIN and limits; pg_hba, other ways to log in and a full server have these codes too, and come before the password.
    const afterPassword = AFTER_PASSWORD.has(routine ?? '');
    return (code === '28000' || code === '53300') && afterPassword ? 'works' : 'unknown';
  } finally {
    await client.end().catch(() => undefined);
  }
}

async function openOnce(settings: ConnectionSettings, options: OpenOptions): Promise<Client> {
  const client = newClient(settings, options);
  try {
    await client.connect();
    const answers = (await client.query(
      `${SESSION}; SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS recovery`,
    )) as unknown as QueryResult<{ pid: number; recovery: boolean }>[];
    const { rows } = answers.at(-1)!;
    await client.query(WATCH_CLIENT).catch(() => undefined);
    if (rows[0].recovery && !options.standby) throw Object.assign(new Error('it is a standby'), { code: '25006' });
    // A pooler answers with a process id of its own making, or with that of another session.
    if (rows[0].pid !== (client as unknown as { processID: number }).processID) {
      throw new ConnectionError(
        `${settings.host}:${settings.port} is a pooler or proxy, behind which locks and SET ROLE do not hold: give the server's own writer endpoint`,
        undefined,
      );
    }
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error instanceof ConnectionError ? error : explainConnectionFailure(error, settings);
  }
}

function newClient(settings: ConnectionSettings, options: OpenOptions): Client {
  const client = new Client({
    host: settings.host,
    port: settings.port,
    user: settings.user,
    password: settings.password,
    database: settings.database ?? 'postgres',
    ssl: settings.ca === false ? false : verifyFull(settings.host, settings.ca),
    application_name: options.applicationName ?? 'cdk-postgres',
    connectionTimeoutMillis: options.connectTimeout ?? 10_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    client_encoding: 'UTF8',
  });
  client.on('error', () => undefined); // the query that is under way, or the next one, reports it
  return client;
}

/** For a host that is an address, Node.js would compare the certificate with `localhost`, since pg passes names only. */
function verifyFull(host: string, ca: string): ClientConfig['ssl'] {
  return {
    secureContext: contextOf(ca),
    rejectUnauthorized: true,
    checkServerIdentity: (_name, certificate) => tls.checkServerIdentity(host, certificate),
  };
}

const CONTEXTS = new Map<string, tls.SecureContext>();

/** Reading the certificates of RDS takes 15 ms, and a run opens a connection for every role that logs in by password. */
function contextOf(ca: string): tls.SecureContext {
  let context = CONTEXTS.get(ca);
  if (!context) {
    try {
      context = tls.createSecureContext({ ca, minVersion: 'TLSv1.2' });
    } catch (error) {
      throw new ConnectionError(
        `the trusted roots cannot be read as certificates in PEM: ${(error as Error).message}`,
        undefined,
      );
    }
    CONTEXTS.set(ca, context);
  }
  return context;
}
