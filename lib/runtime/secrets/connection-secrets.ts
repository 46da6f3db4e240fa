import { ConnectionSource, PublisherConnection } from '../reconcile/types';
import { readSecret, SecretError } from './role-document';
import { SecretStore } from './store';

/** Ways to connect that check who answers; without TLS a password and every row would cross the network in the open. */
const CHECKED = ['verify-full', 'verify-ca'];

/** The secrets that subscriptions connect by, in the form that Amazon RDS and this library write: host, port, dbname, username, password. */
export function connectionSecrets(store: SecretStore, arns: Readonly<Record<string, string>>): ConnectionSource {
  return async (key) => {
    const arn = Object.hasOwn(arns, key) ? arns[key] : undefined;
    if (arn === undefined) throw new Error(`no secret is given for the connection ${JSON.stringify(key)}`);
    const { text, versionId } = await store.get(arn);
    return { ...readConnection(arn, text), versionId };
  };
}

function readConnection(arn: string, text: string | undefined): Omit<PublisherConnection, 'versionId'> {
  const document = readSecret(arn, text);
  const optional = (name: string) => {
    const value: unknown = document[name];
    if (value === undefined || (typeof value === 'string' && value !== '')) return value;
    throw new SecretError(arn, `has a "${name}" that is no text`);
  };
  const required = (name: string) => {
    const value = optional(name);
    if (value === undefined) throw new SecretError(arn, `has no "${name}", which a subscription connects to`);
    return value;
  };
  const port = Number(document.port ?? 5432);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new SecretError(arn, 'has a "port" that is none');
  const sslmode = optional('sslmode');
  if (sslmode !== undefined && !CHECKED.includes(sslmode))
    throw new SecretError(
      arn,
      `has an "sslmode" that does not check who answers; use ${CHECKED.join(' or ')}, or leave it out`,
    );
  return {
    host: required('host'),
    port,
    dbname: required('dbname'),
    username: document.username,
    password: document.password,
    sslmode,
    sslrootcert: optional('sslrootcert'),
  };
}
