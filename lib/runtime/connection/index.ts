import { Client, ClientConfig } from 'pg';
import { ConnectionSettings } from '../reconcile/types';

export interface OpenOptions {
  /** Seen in pg_stat_activity. */
  readonly applicationName?: string;
  /** Milliseconds until a connection attempt is given up. */
  readonly connectTimeout?: number;
}

/**
 * Everything in the session that could change what our statements do, against settings that a role or a database brings along.
 * SET ROLE NONE, since `ALTER ROLE master SET role` would make the session start as somebody else.
 */
const SESSION = `
  SET ROLE NONE; SET search_path = pg_catalog; SET standard_conforming_strings = on; SET client_min_messages = notice;
  SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; SET createrole_self_grant = '';
  SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off;
  SET statement_timeout = '5min'; SET lock_timeout = '5s'; SET idle_in_transaction_session_timeout = '2min'`;

function config(settings: ConnectionSettings, options: OpenOptions): ClientConfig {
  return {
    host: settings.host,
    port: settings.port,
    user: settings.user,
    password: settings.password,
    database: settings.database ?? 'postgres',
    // pg checks the host name against the certificate as soon as it checks the certificate: verify-full.
    ssl: settings.ca === false ? false : { ca: settings.ca },
    application_name: options.applicationName ?? 'cdk-postgres',
    connectionTimeoutMillis: options.connectTimeout ?? 10_000,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    client_encoding: 'UTF8',
  };
}

/** A direct connection to a server that takes writes, with its session pinned. Errors say what to do. */
export async function openClient(settings: ConnectionSettings, options: OpenOptions = {}): Promise<Client> {
  const client = new Client(config(settings, options));
  client.on('error', () => undefined); // the query that is under way, or the next one, reports it
  await client.connect();
  try {
    await client.query(SESSION);
    const { rows } = await client.query<{ pid: number; recovery: boolean }>(
      'SELECT pg_backend_pid() AS pid, pg_is_in_recovery() AS recovery',
    );
    const where = `${settings.host}:${settings.port}`;
    if (rows[0].pid !== (client as unknown as { processID: number }).processID) {
      throw new Error(
        `${where} is a pooler or proxy, behind which locks and SET ROLE do not hold: give the server's own writer endpoint`,
      );
    }
    if (rows[0].recovery) {
      throw Object.assign(new Error(`${where} is a read-only standby: give the writer endpoint`), { code: '25006' });
    }
    return client;
  } catch (error) {
    await client.end().catch(() => undefined);
    throw error;
  }
}

/** Whether a password is the role's. The server checks it before LOGIN, CONNECT and limits, so those do not matter. */
export async function tryLogin(settings: ConnectionSettings): Promise<'works' | 'fails' | 'unknown'> {
  const client = new Client(config(settings, { applicationName: 'cdk-postgres login probe' }));
  client.on('error', () => undefined);
  try {
    await client.connect();
    return 'works';
  } catch (error) {
    const { code, routine } = error as { code?: string; routine?: string };
    if (code === '28P01') return 'fails';
    // pg_hba refused before it came to the password; everything else that has an SQLSTATE comes after it.
    if (code === undefined || routine === 'ClientAuthentication' || !/^(28000|42501|53300|3D000|55000)$/.test(code))
      return 'unknown';
    return 'works';
  } finally {
    await client.end().catch(() => undefined);
  }
}

const CONNECTION_CODES = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  '57P01',
  '57P02',
  '57P03',
  '53300',
  '25006',
  '08000',
  '08003',
  '08006',
]);

/** The connection broke or could not be made yet: a new one may work. */
export function isConnectionFailure(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  if (code !== undefined && CONNECTION_CODES.has(code)) return true;
  return /^(.*: )?(Connection terminated|Client has encountered a connection error|timeout expired)/.test(
    message ?? '',
  );
}
