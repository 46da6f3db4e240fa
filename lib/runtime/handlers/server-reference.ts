import * as fs from 'node:fs';
import * as path from 'node:path';
import * as tls from 'node:tls';
import { Platform, ServerReference } from '../../contract';

/** The server as the functions use it: every part checked, the port a number. */
export type KnownServer = Omit<ServerReference, 'Port'> & { readonly Port: number };

/** Reads a server reference whose scalars may have become strings on the way. */
export function readServerReference(value: unknown): KnownServer {
  const fields = typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  const required = (key: string): string => {
    const field = fields[key];
    if (typeof field !== 'string' || field === '') throw new Error(`Server.${key} must be a text that is not empty`);
    return field;
  };
  const platform = required('Platform');
  if (!['rds', 'aurora', 'external'].includes(platform)) {
    throw new Error(`Server.Platform must be rds, aurora or external, and is ${JSON.stringify(platform)}`);
  }
  const port = Number(fields.Port);
  if (!Number.isInteger(port) || port < 1 || port > 65535) {
    throw new Error(`Server.Port must be a port number, and is ${JSON.stringify(fields.Port)}`);
  }
  return {
    Platform: platform as Platform,
    Identity: required('Identity'),
    Host: required('Host'),
    ReaderHost: fields.ReaderHost === undefined || fields.ReaderHost === '' ? undefined : required('ReaderHost'),
    Port: port,
    AdminSecretArn: required('AdminSecretArn'),
    AdminDatabase: required('AdminDatabase'),
    Trust: required('Trust'),
  };
}

/** PEM of the roots that the server's certificate is checked against. `directory` holds the bundle of the function. */
export function trustedRoots(trust: string, directory: string): string {
  if (trust === 'rds') return fs.readFileSync(path.join(directory, 'rds-ca.pem'), 'utf8');
  if (trust === 'public') return tls.rootCertificates.join('\n');
  if (!trust.includes('-----BEGIN CERTIFICATE-----')) {
    throw new Error('Server.Trust must be "rds", "public" or certificates in PEM; a server is never trusted unseen');
  }
  return trust;
}
