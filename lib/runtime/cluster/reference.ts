import { createPrivateKey, X509Certificate } from 'node:crypto';
import { ClusterReference, ETCD_PORT, PATRONI_PORT, REST_API_USER } from '../../contract';
import { SecretError, SecretStore } from '../secrets';

/** Something with a name that listens. */
export interface Endpoint {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

/** The cluster as the function uses it: every part checked. */
export interface KnownCluster {
  readonly identity: string;
  readonly scope: string;
  readonly members: readonly Endpoint[];
  readonly etcd: readonly Endpoint[];
  readonly synchronous: boolean;
  readonly certificateSecret: string;
  readonly restApiSecret?: string;
}

/** What proves to the members who asks, and by which they prove who they are; all in PEM. */
export interface ClusterLogin {
  readonly certificate: string;
  readonly privateKey: string;
  readonly ca: string;
  /** `USER:PASSWORD`, where the REST API asks for it besides the certificate. */
  readonly basic?: string;
}

/** Reads a reference whose scalars may have become strings on the way. */
export function readClusterReference(value: unknown): KnownCluster {
  const fields = typeof value === 'object' && value !== null ? (value as Partial<ClusterReference>) : {};
  const text = (key: keyof ClusterReference): string => {
    const field = fields[key];
    if (typeof field !== 'string' || field === '') throw new Error(`Cluster.${key} must be a text that is not empty`);
    return field;
  };
  const members = readEndpoints('Cluster.Members', fields.Members, PATRONI_PORT);
  if (members.length === 0) throw new Error('Cluster.Members must name at least one member');
  return {
    identity: text('Identity'),
    scope: text('Scope'),
    members,
    etcd: readEndpoints('Cluster.Etcd', fields.Etcd ?? [], ETCD_PORT),
    synchronous: String(fields.Synchronous) === 'true',
    certificateSecret: text('CertificateSecret'),
    restApiSecret: fields.RestApiSecret === undefined ? undefined : text('RestApiSecret'),
  };
}

/** Lines `NAME=HOST` or `NAME=HOST:PORT`. */
export function readEndpoints(what: string, value: unknown, port: number): Endpoint[] {
  if (!Array.isArray(value)) throw new Error(`${what} must be a list of NAME=HOST:PORT`);
  const endpoints = value.map((line): Endpoint => {
    const [, name, host, given] = /^([\w-]+)=([\w.-]+)(?::(\d{1,5}))?$/.exec(String(line)) ?? [];
    if (name === undefined || host === undefined)
      throw new Error(`${what} must be a list of NAME=HOST:PORT, and has ${JSON.stringify(line)}`);
    return { name, host, port: given === undefined ? port : Number(given) };
  });
  const twice = endpoints.find(({ name }, at) => endpoints.findIndex((other) => other.name === name) !== at);
  if (twice) throw new Error(`${what} names ${twice.name} twice`);
  return endpoints;
}

/** The certificate of the function, checked, and the password of the REST API. */
export async function readLogin(
  store: SecretStore,
  cluster: Pick<KnownCluster, 'certificateSecret' | 'restApiSecret'>,
): Promise<ClusterLogin> {
  const secret = cluster.certificateSecret;
  const { certificate, privateKey, ca } = await readFields(store, secret);
  if (certificate === undefined || privateKey === undefined || ca === undefined)
    throw new SecretError(secret, 'must have the texts "certificate", "privateKey" and "ca"');
  let fits: boolean;
  try {
    fits = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey));
  } catch {
    throw new SecretError(secret, 'must have a "certificate" and a "privateKey" in PEM, without a passphrase');
  }
  if (!fits) throw new SecretError(secret, 'has a "privateKey" of another "certificate"');
  if (cluster.restApiSecret === undefined) return { certificate, privateKey, ca };
  const { username = REST_API_USER, password } = await readFields(store, cluster.restApiSecret);
  if (password === undefined) throw new SecretError(cluster.restApiSecret, 'must have the text "password"');
  return { certificate, privateKey, ca, basic: `${username}:${password}` };
}

async function readFields(store: SecretStore, secret: string): Promise<Readonly<Record<string, string | undefined>>> {
  const { text } = await store.get(secret);
  try {
    const value: unknown = JSON.parse(text ?? '');
    const entries = Object.entries(value as object).filter(([, field]) => typeof field === 'string' && field !== '');
    return Object.fromEntries(entries) as Record<string, string>;
  } catch {
    // The parser's own message quotes the text.
    throw new SecretError(secret, 'is not a JSON object');
  }
}
