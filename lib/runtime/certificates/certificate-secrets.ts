import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import { AUTHORITY_DAYS, CERTIFICATE_DAYS, CERTIFICATE_ROTATION_DAYS, POOLER_SUBJECT } from '../../contract';
import { RotationEvent } from '../rotate/event';
import { SecretError, SecretStore } from '../secrets';
import {
  Authority,
  createAuthority,
  daysLeft,
  Holder,
  holderOf,
  hostsOf,
  isIssuedBy,
  issueCertificate,
  Issued,
} from './authority';

/** A certificate and the root that clients trust, as the secret has them. */
interface CertificateDocument extends Issued {
  readonly ca: string;
}

/**
 * The authority of a secret, made the first time. What is there and cannot be read is no reason to make another: clients trust the one that
 * was there.
 */
export async function ensureAuthority(
  store: SecretStore,
  secret: string,
  request: string,
  name = POOLER_SUBJECT,
): Promise<Authority> {
  const { text } = await store.get(secret);
  const known = readAuthority(secret, text);
  if (known) return known;
  const authority = createAuthority(name, AUTHORITY_DAYS);
  await store.put(secret, authority, tokenOf(request, 'authority'), 'AWSCURRENT');
  return authority;
}

/** Makes the certificate unless the one that is there is for these hosts, of this authority, and far from its end. */
export async function ensureCertificate(
  store: SecretStore,
  options: {
    readonly secret: string;
    readonly authority: Authority;
    readonly hosts: readonly string[];
    /** @default - a pooler's: the names of load balancers exceed the 64 characters of a common name, and clients look at the alternative ones */
    readonly holder?: Required<Holder>;
    readonly request: string;
    readonly now: number;
  },
): Promise<'made' | 'kept'> {
  const { secret, authority, hosts, request, now, holder = POOLER } = options;
  const current = readCertificate((await store.get(secret)).text);
  if (
    current &&
    isIssuedBy(current.certificate, authority) &&
    hostsOf(current.certificate).join() === hosts.join() &&
    sameHolder(holderOf(current.certificate), holder) &&
    daysLeft(current.certificate, now) > CERTIFICATE_ROTATION_DAYS
  )
    return 'kept';
  await store.put(secret, issue(authority, hosts, holder), tokenOf(request, 'certificate'), 'AWSCURRENT');
  return 'made';
}

/** One step of a rotation by Secrets Manager: a new certificate of the same authority, for the same hosts. */
export async function rotateCertificate(
  store: SecretStore,
  authoritySecret: string,
  { step, secret, token }: RotationEvent,
): Promise<void> {
  const stages = (await store.describe(secret)).stages;
  if (!stages.has(token)) throw new SecretError(secret, `has no version ${token} to rotate to`);
  if (stages.get(token)!.includes('AWSCURRENT')) return;
  switch (step) {
    case 'createSecret': {
      if (readCertificate((await store.find(secret, { id: token, stage: 'AWSPENDING' }))?.text)) return;
      const current = requireCertificate(secret, (await store.get(secret)).text);
      const authority = requireAuthority(authoritySecret, (await store.get(authoritySecret)).text);
      const { certificate } = current;
      await store.put(secret, issue(authority, hostsOf(certificate), holderOf(certificate)), token, 'AWSPENDING');
      return;
    }
    case 'setSecret':
      // Nobody has to be told: who shows it reads the current version by itself.
      return;
    case 'testSecret': {
      const pending = requireCertificate(secret, (await store.get(secret, { id: token, stage: 'AWSPENDING' })).text);
      const authority = requireAuthority(authoritySecret, (await store.get(authoritySecret)).text);
      if (!isIssuedBy(pending.certificate, authority))
        throw new SecretError(secret, 'has a new certificate that is not of the authority that clients trust');
      return;
    }
    case 'finishSecret': {
      const [before] = [...stages].find(([, names]) => names.includes('AWSCURRENT')) ?? [];
      await store.makeCurrent(secret, token, before ?? token);
    }
  }
}

const POOLER: Required<Holder> = { subject: POOLER_SUBJECT, client: false };

function sameHolder(one: Required<Holder>, other: Required<Holder>): boolean {
  return one.subject === other.subject && one.client === other.client;
}

function issue(authority: Authority, hosts: readonly string[], holder: Required<Holder>): CertificateDocument {
  const issued = issueCertificate(authority, hosts, { validDays: CERTIFICATE_DAYS, ...holder });
  return { ...issued, ca: authority.certificate };
}

function readAuthority(secret: string, text: string | undefined): Authority | undefined {
  const fields = fieldsOf(text);
  if (fields && Object.keys(fields).length === 0) return undefined;
  const { name, certificate, privateKey } = fields ?? {};
  if (typeof name !== 'string' || typeof certificate !== 'string' || typeof privateKey !== 'string')
    throw new SecretError(
      secret,
      'has an authority in part; restore an earlier version of it, since clients trust that one',
    );
  if (!isPair(certificate, privateKey))
    throw new SecretError(
      secret,
      'has an authority whose certificate and key cannot be read, or are none of each other; restore an earlier version of it, since clients ' +
        'trust that one',
    );
  return { name, certificate, privateKey };
}

function requireAuthority(secret: string, text: string | undefined): Authority {
  const authority = readAuthority(secret, text);
  if (!authority) throw new SecretError(secret, 'has no authority yet; deploy the stack first');
  return authority;
}

function readCertificate(text: string | undefined): CertificateDocument | undefined {
  const { certificate, privateKey, ca } = fieldsOf(text) ?? {};
  return typeof certificate === 'string' &&
    typeof privateKey === 'string' &&
    typeof ca === 'string' &&
    isPair(certificate, privateKey)
    ? { certificate, privateKey, ca }
    : undefined;
}

function requireCertificate(secret: string, text: string | undefined): CertificateDocument {
  const document = readCertificate(text);
  if (document) return document;
  const fields = fieldsOf(text);
  throw new SecretError(
    secret,
    fields && Object.keys(fields).length === 0
      ? 'has no certificate yet; deploy the stack first'
      : 'has a certificate that cannot be read, or that is none of its key; restore an earlier version of it',
  );
}

/** Undefined: there is something else than an object in JSON. */
function fieldsOf(text: string | undefined): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '{}');
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

function isPair(certificate: string, privateKey: string): boolean {
  try {
    return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey));
  } catch {
    return false;
  }
}

/** The same request twice makes one version. */
function tokenOf(request: string, what: string): string {
  return createHash('sha256').update(`${request}/${what}`).digest('hex');
}
