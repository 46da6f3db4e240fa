import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import * as net from 'node:net';

/** A certificate authority: the root that others trust, and the key that signs with it. */
export interface Authority {
  /** The common name of the root. */
  readonly name: string;
  /** PEM. */
  readonly certificate: string;
  /** PEM, unencrypted. Whoever has it can be anybody to those who trust the root. */
  readonly privateKey: string;
}

/** A certificate of a server, and its key. */
export interface Issued {
  /** PEM. */
  readonly certificate: string;
  /** PEM, unencrypted. */
  readonly privateKey: string;
}

const DAY = 86_400_000;

const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';

/** A certificate that begins to be valid now is not yet valid for whoever's clock is behind. */
const CLOCKS_DIFFER = 3_600_000;

/** Makes an authority with a key of its own. Node.js can check certificates and cannot make them. */
export function createAuthority(name: string, validDays: number): Authority {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const extensions = [
    extension('2.5.29.19', true, sequence(der(0x01, Buffer.from([0xff])))),
    // keyCertSign and cRLSign
    extension('2.5.29.15', true, der(0x03, Buffer.from([1, 0x06]))),
    extension('2.5.29.14', false, der(0x04, keyId(keys.publicKey))),
  ];
  return {
    name,
    certificate: makeCertificate({
      subject: name,
      issuer: name,
      key: keys.publicKey,
      signer: keys.privateKey,
      validDays,
      extensions,
    }),
    privateKey: pem(keys.privateKey),
  };
}

/** What a certificate says of its holder besides the hosts. */
export interface Holder {
  /**
   * The common name.
   * @default - the first host
   */
  readonly subject?: string;
  /**
   * Whether the holder may show it as a client too, as the members of a cluster do to one another.
   * @default false
   */
  readonly client?: boolean;
}

/** Makes a certificate for hosts, by name or address. */
export function issueCertificate(
  authority: Authority,
  hosts: readonly string[],
  options: Holder & { readonly validDays: number },
): Issued {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const root = new X509Certificate(authority.certificate);
  const names = hosts.map((host) =>
    net.isIPv4(host) ? der(0x87, Buffer.from(host.split('.').map(Number))) : der(0x82, Buffer.from(host, 'ascii')),
  );
  const extensions = [
    extension('2.5.29.19', true, sequence()),
    // digitalSignature
    extension('2.5.29.15', true, der(0x03, Buffer.from([7, 0x80]))),
    extension('2.5.29.37', false, sequence(oid(SERVER_AUTH), ...(options.client ? [oid(CLIENT_AUTH)] : []))),
    extension('2.5.29.17', false, sequence(...names)),
    extension('2.5.29.14', false, der(0x04, keyId(keys.publicKey))),
    extension('2.5.29.35', false, sequence(der(0x80, keyId(root.publicKey)))),
  ];
  return {
    certificate: makeCertificate({
      subject: options.subject ?? hosts[0]!,
      issuer: authority.name,
      key: keys.publicKey,
      signer: createPrivateKey(authority.privateKey),
      validDays: options.validDays,
      extensions,
    }),
    privateKey: pem(keys.privateKey),
  };
}

/** The hosts that a certificate is for. */
export function hostsOf(certificate: string): string[] {
  const { subjectAltName = '' } = new X509Certificate(certificate);
  return subjectAltName.split(', ').map((name) => name.replace(/^(DNS|IP Address):/, ''));
}

/** Whom a certificate is of. */
export function holderOf(certificate: string): Required<Holder> {
  const { subject, keyUsage } = new X509Certificate(certificate);
  // What Node.js calls the key usage is the extended one.
  const usages = keyUsage as string[] | undefined;
  return { subject: subject.replace(/^CN=/, ''), client: usages?.includes(CLIENT_AUTH) ?? false };
}

/** For how many more days a certificate is valid; less than none when it is not. */
export function daysLeft(certificate: string, now: number): number {
  return (Date.parse(new X509Certificate(certificate).validTo) - now) / DAY;
}

/** Whether a certificate was signed by an authority. */
export function isIssuedBy(certificate: string, authority: Pick<Authority, 'certificate'>): boolean {
  const root = new X509Certificate(authority.certificate);
  const leaf = new X509Certificate(certificate);
  return leaf.checkIssued(root) && leaf.verify(root.publicKey);
}

interface Made {
  readonly subject: string;
  readonly issuer: string;
  readonly key: KeyObject;
  readonly signer: KeyObject;
  readonly validDays: number;
  readonly extensions: readonly Buffer[];
}

function makeCertificate({ subject, issuer, key, signer, validDays, extensions }: Made): string {
  const algorithm = sequence(oid('1.2.840.10045.4.3.2'));
  const now = Date.now();
  const body = sequence(
    der(0xa0, der(0x02, Buffer.from([2]))),
    // Positive, whatever the first random bit is.
    der(0x02, Buffer.concat([Buffer.from([1]), randomBytes(15)])),
    algorithm,
    distinguishedName(issuer),
    sequence(moment(now - CLOCKS_DIFFER), moment(now + validDays * DAY)),
    distinguishedName(subject),
    key.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = der(0x03, Buffer.concat([Buffer.from([0]), sign('sha256', body, signer)]));
  const base64 = sequence(body, algorithm, signature).toString('base64');
  return `-----BEGIN CERTIFICATE-----\n${base64.match(/.{1,64}/g)!.join('\n')}\n-----END CERTIFICATE-----\n`;
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }) as string;
}

/** Any that is the key's own will do; the whole of its encoding is as good as its bits alone. */
function keyId(key: KeyObject): Buffer {
  return createHash('sha1')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest();
}

function der(tag: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

function sequence(...items: readonly Buffer[]): Buffer {
  return der(0x30, Buffer.concat(items));
}

function oid(text: string): Buffer {
  const [first, second, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const part of rest) {
    const groups = [part & 0x7f];
    for (let left = part >> 7; left > 0; left >>= 7) groups.unshift((left & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

function extension(id: string, critical: boolean, value: Buffer): Buffer {
  return sequence(oid(id), ...(critical ? [der(0x01, Buffer.from([0xff]))] : []), der(0x04, value));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(der(0x31, sequence(oid('2.5.4.3'), der(0x0c, Buffer.from(commonName)))));
}

/** UTCTime has two digits for the year and ends with 2049 (RFC 5280, 4.1.2.5); GeneralizedTime has four. */
function moment(milliseconds: number): Buffer {
  const digits = new Date(milliseconds).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return digits < '2050'
    ? der(0x17, Buffer.from(`${digits.slice(2)}Z`, 'ascii'))
    : der(0x18, Buffer.from(`${digits}Z`, 'ascii'));
}
