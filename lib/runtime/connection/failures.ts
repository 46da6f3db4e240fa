import { ConnectionSettings } from '../reconcile/types';

/** A connection that could not be made, in words that say what to do; `code` is PostgreSQL's or the system's. */
export class ConnectionError extends Error {
  constructor(
    message: string,
    readonly code: string | undefined,
  ) {
    super(message);
    this.name = 'ConnectionError';
  }
}

const TRANSIENT_CODES = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  '57P01', // terminated by an administrator, or a shutdown
  '57P02', // another session crashed
  '57P03', // starting, stopping or recovering
  '53300', // no connection left
  '25006', // read-only: a failover has not reached the name yet
  '08000',
  '08003',
  '08006',
]);

/** The connection broke or could not be made yet: a new one may work. */
export function isConnectionFailure(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string };
  if (code !== undefined) return TRANSIENT_CODES.has(code);
  return /^(.*: )?(Connection terminated|Client has encountered a connection error|timeout expired)/.test(
    message ?? '',
  );
}

/** What went wrong while connecting, and what to do about it. The password is in no message of PostgreSQL, Node.js or this. */
export function explainConnectionFailure(error: unknown, settings: ConnectionSettings): ConnectionError {
  const { code: given, message, routine } = error as { code?: string; message: string; routine?: string };
  const timedOut = given === undefined && /timeout/.test(message);
  const code = given ?? (timedOut ? 'ETIMEDOUT' : undefined);
  return new ConnectionError(describe(code, message, settings, routine), code);
}

function describe(code: string | undefined, message: string, settings: ConnectionSettings, routine?: string): string {
  const where = `${settings.host}:${settings.port}`;
  const user = JSON.stringify(settings.user);
  const database = JSON.stringify(settings.database ?? 'postgres');
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return `The host name ${settings.host} cannot be resolved (${code}): check the server's endpoint and the DNS of the VPC`;
    case 'ECONNREFUSED':
      return `Nothing listens on ${where} (${code}): check the port, and that the server is running`;
    case 'ETIMEDOUT':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return `${where} does not answer (${code}): check the security groups, the route to its subnets, and that it is running`;
    case '28P01':
      return `${where} refuses the password of ${user} (${code}): what the secret, PGPASSWORD or ~/.pgpass holds is not what the server has, or the role has been given rds_iam`;
    case '28000':
      return `${where} does not let ${user} in (${code}: ${message}): check pg_hba.conf, LOGIN, and whether the role must use an IAM token`;
    case '3D000':
      return `The database ${database} does not exist on ${where} (${code})`;
    case '42501':
      return `${user} may not connect to the database ${database} on ${where} (${code}: ${message})`;
    case '53300':
      // The code is that of three limits; the message that tells them apart may be in any language.
      if (routine === 'InitializeSessionUserId')
        return `${user} has as many sessions on ${where} as its CONNECTION LIMIT allows (${code}: ${message}): end idle ones, or raise the limit of the role`;
      if (routine === 'CheckMyDatabase')
        return `The database ${database} on ${where} has as many sessions as its CONNECTION LIMIT allows (${code}: ${message}): end idle ones, or raise the limit of the database`;
      return `${where} has no connection left (${code}: ${message}): end idle sessions, or raise max_connections`;
    case '57P03':
      return `${where} is starting, stopping or recovering (${code}: ${message}): try again when it is available`;
    case '25006':
      return `${where} is read-only (${code}): give the writer endpoint of the server, not a reader's`;
    default:
      break;
  }
  if (/does not support SSL/.test(message)) {
    return `${where} does not offer TLS, and this connection is made with TLS only: turn ssl on at the server`;
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `The certificate of ${where} is not trusted (${code}: ${message}): connect by a host name that it is for`;
  }
  if (isCertificate(code)) {
    return `The certificate of ${where} is not trusted (${code}: ${message}): check the roots that are trusted for this server`;
  }
  return `The connection to ${where} as ${user} failed${code === undefined ? '' : ` (${code})`}: ${message}`;
}

function isCertificate(code: string | undefined): boolean {
  return /^ERR_TLS|^CERT_|CERT|SIGNATURE|ISSUER/.test(code ?? '');
}

/** Nobody whom this connection trusts has signed the certificate; other roots would change that. */
export function isUntrusted({ code }: ConnectionError): boolean {
  return isCertificate(code) && code !== 'ERR_TLS_CERT_ALTNAME_INVALID';
}
