import * as fs from 'node:fs';
import * as path from 'node:path';
import * as readline from 'node:readline';
import { Writable } from 'node:stream';
import * as tls from 'node:tls';
import pgpass from 'pgpass';
import { ConnectionSettings } from '../lib/runtime/reconcile';
import { Connections } from '../lib/runtime/reconcile/connections';
import { CliError } from './cli-error';

export interface ServerAddress {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
  readonly plaintext: boolean;
}

/** How a command that needs no declaration is told its server. */
export interface ServerOptions {
  readonly url: string;
  readonly ca?: string;
}

const EXAMPLE = 'postgres://master@db.example.com:5432/postgres';

/** Reads `--url`. A password in it is refused: arguments are seen in process lists and kept in shell histories. */
export function parseAddress(url: string): ServerAddress {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    throw new CliError(`--url is not a URL; it looks like ${EXAMPLE}`);
  }
  if (!['postgres:', 'postgresql:'].includes(parsed.protocol)) {
    throw new CliError(`--url must begin with postgres://, as in ${EXAMPLE}`);
  }
  if (parsed.password !== '' || parsed.searchParams.has('password')) {
    throw new CliError(
      '--url must not hold a password: set PGPASSWORD, write it to ~/.pgpass, or leave it out and be asked',
    );
  }
  if (parsed.hostname === '') throw new CliError(`--url names no host; it looks like ${EXAMPLE}`);
  const user = decoded(parsed.username, 'user') || process.env.PGUSER;
  if (!user) throw new CliError(`--url names no user; it looks like ${EXAMPLE}`);
  const host = parsed.hostname.replace(/^\[(.*)\]$/, '$1');
  for (const name of parsed.searchParams.keys()) {
    if (name !== 'sslmode') throw new CliError(`--url has the parameter ${name}; only sslmode is known`);
  }
  return {
    host,
    port: Number(parsed.port || 5432),
    user,
    database: decoded(parsed.pathname.slice(1), 'database') || 'postgres',
    plaintext: isPlaintext(parsed.searchParams.get('sslmode') ?? 'verify-full', host),
  };
}

function decoded(text: string, what: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new CliError(`--url has a % in its ${what} that begins no character of UTF-8; write a % of the name as %25`);
  }
}

function isPlaintext(mode: string, host: string): boolean {
  if (mode === 'verify-full') return false;
  if (mode !== 'disable') {
    throw new CliError(
      `sslmode=${mode} does not prove whom one speaks to; leave it out for verify-full, with --ca FILE for an own authority`,
    );
  }
  if (!isLoopback(host)) {
    throw new CliError(`sslmode=disable is allowed for a server on this machine only, and ${host} is not on it`);
  }
  return true;
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** The address with its password and roots of trust. `rdsBundle` is the file with the certificates of RDS. */
export async function connect(
  address: ServerAddress,
  options: { readonly ca?: string; readonly rdsBundle: string },
): Promise<ConnectionSettings> {
  return {
    host: address.host,
    port: address.port,
    user: address.user,
    database: address.database,
    ca: address.plaintext ? false : roots(address.host, options),
    password: await findPassword(address),
  };
}

/** The certificates of RDS that come with the command line. */
export const RDS_BUNDLE = path.join(__dirname, 'functions', 'apply', 'rds-ca.pem');

/** Connections to read with; whoever opens them closes them. */
export async function connectTo(options: ServerOptions): Promise<Connections> {
  const settings = await connect(parseAddress(options.url), { ca: options.ca, rdsBundle: RDS_BUNDLE });
  return new Connections(settings, settings.database ?? 'postgres');
}

function roots(host: string, { ca, rdsBundle }: { readonly ca?: string; readonly rdsBundle: string }): string {
  if (ca === undefined) {
    return /\.rds\.amazonaws\.com(\.cn)?$/.test(host)
      ? fs.readFileSync(rdsBundle, 'utf8')
      : tls.rootCertificates.join('\n');
  }
  let text: string;
  try {
    text = fs.readFileSync(ca, 'utf8');
  } catch (error) {
    throw new CliError(`--ca ${ca} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  if (!text.includes('-----BEGIN CERTIFICATE-----')) {
    throw new CliError(`--ca ${path.basename(ca)} holds no certificate in PEM`);
  }
  return text;
}

async function findPassword(address: ServerAddress): Promise<string> {
  if (process.env.PGPASSWORD) return process.env.PGPASSWORD;
  const stored = await new Promise<string | undefined>((resolve) => pgpass(address, resolve));
  if (stored !== undefined) return stored;
  if (process.stdin.isTTY) return ask(`Password of ${address.user} on ${address.host}: `);
  throw new CliError(
    `no password for ${address.user} on ${address.host}:${address.port}: set PGPASSWORD or write it to ~/.pgpass (mode 0600)`,
  );
}

/** Asks on the terminal without showing what is typed. */
function ask(question: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = readline.createInterface({ input: process.stdin, output: silent, terminal: true });
  process.stderr.write(question);
  return new Promise((resolve, reject) => {
    reader.once('SIGINT', () => {
      reader.close();
      process.stderr.write('\n');
      reject(new CliError('ended before a password was given'));
    });
    reader.question('', (answer) => {
      reader.close();
      process.stderr.write('\n');
      resolve(answer);
    });
  });
}
