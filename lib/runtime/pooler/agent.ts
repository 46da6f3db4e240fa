import * as fs from 'node:fs';
import * as path from 'node:path';
import * as tls from 'node:tls';
import { POOLER_FOLDER, PoolerConfiguration } from '../../contract';
import { logLine, logMetrics } from '../handlers/log';
import { SecretStore } from '../secrets';
import { readCertificate } from './certificate';
import { askConsole, ConsoleOptions } from './console';
import { drain } from './drain';
import { filesIn, renderIni, renderUsers } from './files';
import { RoleLogins } from './logins';
import { AgentCounts, PoolerMetrics, ProcessReading } from './metrics';
import { Processes } from './processes';

/** Where Debian's package has it. */
const BINARY = '/usr/sbin/pgbouncer';

/** Milliseconds until the next look when the certificate or a login is not there yet; twice as many after each further one. */
const HURRY = 5_000;
/** Milliseconds between looks that somebody's failed login asks for, so that nobody can make us call Secrets Manager at will. */
const AFTER_FAILURE = 3_000;

/** A password that PgBouncer, or the server, takes for wrong: the one of them may know an older one than the other. */
const REFUSED = /^C-.* pooler error: SASL authentication failed|^server login failed: .*password authentication failed/;
/** Clients come and go. What was wrong with one stands in a line of its own. */
const CLIENT_LEAVES = /^C-.* closing because: .* \(age=\d+s\)$/;
const SERVER_LEAVES = /^S-.* closing because: .* \(age=\d+s\)$/;
/** Why a server connection is closed when nothing is wrong with the server. */
const BY_ITSELF =
  /closing because: (server idle timeout|server lifetime over|database configuration changed|client disconnect|evicted)/;

/** Runs PgBouncer until it is told to stop; returns the exit code. */
export class Agent {
  private readonly files = filesIn(POOLER_FOLDER);
  private readonly store = new SecretStore();
  private readonly logins: RoleLogins;
  private readonly processes: Processes;
  private readonly metrics = new PoolerMetrics();
  private readonly counts: AgentCounts = { loginFailures: 0, serverFailures: 0, processesRestarted: 0 };
  private readonly written = new Map<string, string>();
  private unreadable = 0;
  private inVain = 0;
  private looking: Promise<void> | undefined;
  private lastLook = 0;
  private nextLook: NodeJS.Timeout | undefined;
  private measuring: NodeJS.Timeout | undefined;
  private stopping = false;
  private finish!: (code: number) => void;
  private readonly finished = new Promise<number>((resolve) => (this.finish = resolve));

  constructor(private readonly configuration: PoolerConfiguration) {
    this.logins = new RoleLogins(this.store, configuration.secrets);
    this.processes = new Processes({
      binary: BINARY,
      count: configuration.processes,
      iniOf: this.files.ini,
      onLine: (process, line) => this.read(process, line),
      onRestart: (process, how) => {
        this.counts.processesRestarted++;
        logLine('restarted', { process, problem: `PgBouncer ended ${how}` }, 'error');
      },
      onGiveUp: (problem) => {
        logLine('failed', { problem }, 'error');
        for (const process of this.processes.running()) this.processes.signal(process, 'SIGQUIT');
        this.finish(1);
      },
    });
  }

  async run(): Promise<number> {
    const { configuration, files } = this;
    for (let process = 1; process <= configuration.processes; process++) {
      fs.mkdirSync(files.sockets(process), { recursive: true, mode: 0o700 });
      this.write(files.ini(process), renderIni(configuration, process, POOLER_FOLDER));
    }
    this.write(files.serverRoots, trustedRoots(configuration.server.trust));
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => void this.stop());
    await this.look();
    // Without a certificate there is nobody that a client could trust.
    while (!this.written.has(files.certificate) && !this.stopping) {
      await new Promise((resolve) => setTimeout(resolve, HURRY));
      await this.look();
    }
    if (!this.stopping) {
      this.processes.start();
      logLine('started', { processes: configuration.processes, port: configuration.port });
      if (configuration.metrics)
        this.measuring = setInterval(() => void this.measure(), configuration.metrics.interval * 1000);
    }
    const code = await this.finished;
    this.store.destroy();
    return code;
  }

  /** In both phases of the drain the passwords stay what they are: whoever is connected has logged in. */
  private async stop(): Promise<void> {
    if (this.stopping) return;
    this.stopping = true;
    this.processes.stopRestarting();
    clearTimeout(this.nextLook);
    const drained = {
      running: () => this.processes.running(),
      ask: (process: number, command: string) => askConsole(this.consoleOf(process), command),
      kill: (process: number) => this.processes.signal(process, 'SIGQUIT'),
    };
    await drain(drained, this.configuration.stopTimeout, (message, fields) =>
      logLine('stopping', { message, ...fields }),
    );
    clearInterval(this.measuring);
    await this.measure();
    this.finish(0);
  }

  /** Reads the secrets, and lets PgBouncer know what has changed. */
  private look(): Promise<void> {
    this.looking ??= this.lookOnce().finally(() => {
      this.looking = undefined;
      this.lastLook = Date.now();
      this.inVain = this.unreadable > 0 ? this.inVain + 1 : 0;
      const interval = this.configuration.secretsInterval * 1000;
      const next = this.inVain > 0 ? Math.min(interval, HURRY * 2 ** (this.inVain - 1)) : interval;
      // A tenth more or less, so that the tasks of a service do not all ask at once.
      this.lookIn(next * (0.9 + Math.random() * 0.2));
    });
    return this.looking;
  }

  private lookIn(milliseconds: number): void {
    clearTimeout(this.nextLook);
    if (!this.stopping) this.nextLook = setTimeout(() => void this.look(), milliseconds);
  }

  private async lookOnce(): Promise<void> {
    let unreadable = 0;
    let changed = false;
    try {
      const { certificate, privateKey } = await readCertificate(this.store, this.configuration.certificateSecret);
      // Both are read by the same RELOAD.
      const keyChanged = this.write(this.files.privateKey, privateKey);
      changed = this.write(this.files.certificate, certificate) || keyChanged;
    } catch (error) {
      unreadable++;
      logLine('certificate', { problem: (error as Error).message }, 'error');
    }
    const { verifiers, problems } = await this.logins.look();
    for (const [role, problem] of problems) {
      unreadable++;
      logLine('login', { role, problem }, 'warn');
    }
    changed = this.write(this.files.users, renderUsers(verifiers)) || changed;
    this.unreadable = unreadable;
    if (!changed) return;
    await Promise.all(
      this.processes.running().map(async (process) => {
        try {
          await askConsole(this.consoleOf(process), 'RELOAD');
          logLine('reloaded', { process, logins: verifiers.size });
        } catch (error) {
          // It reads the files when it is started anew; until then it is told again at the next look.
          this.written.delete(this.files.users);
          logLine('reload', { process, problem: (error as Error).message }, 'error');
        }
      }),
    );
  }

  /** Returns whether it is new. In one step, so that a process never reads half of it. */
  private write(file: string, text: string): boolean {
    if (this.written.get(file) === text) return false;
    fs.writeFileSync(`${file}.new`, text, { mode: 0o600 });
    fs.renameSync(`${file}.new`, file);
    this.written.set(file, text);
    return true;
  }

  private read(process: number, line: string): void {
    const [, level = 'LOG', text = line] = /^\S+ \S+ \S+ \[\d+\] (\w+) (.*)$/.exec(line) ?? [];
    const isProblem = level !== 'LOG' && level !== 'DEBUG' && level !== 'NOISE';
    // By its level too: a client chooses the names in a line, and would hide what was refused to it.
    if (!isProblem && CLIENT_LEAVES.test(text)) return;
    const serverLeaves = SERVER_LEAVES.test(text);
    if (serverLeaves && BY_ITSELF.test(text)) return;
    if (serverLeaves) this.counts.serverFailures++;
    if (REFUSED.test(text)) {
      if (text.startsWith('C-')) this.counts.loginFailures++;
      this.lookSoon();
    }
    logLine('pgbouncer', { process, message: text }, isProblem || serverLeaves ? 'warn' : 'info');
  }

  /** A password may have changed since the last look. */
  private lookSoon(): void {
    if (this.looking === undefined) this.lookIn(Math.max(0, this.lastLook + AFTER_FAILURE - Date.now()));
  }

  private async measure(): Promise<void> {
    const { metrics } = this.configuration;
    if (metrics === undefined) return;
    const readings = new Map<number, ProcessReading>();
    await Promise.all(
      this.processes.running().map(async (process) => {
        try {
          const pools = await askConsole(this.consoleOf(process), 'SHOW POOLS');
          readings.set(process, { pools, stats: await askConsole(this.consoleOf(process), 'SHOW STATS') });
        } catch (error) {
          logLine('metrics', { process, problem: (error as Error).message }, 'warn');
        }
      }),
    );
    const { loginFailures, serverFailures, processesRestarted } = this.counts;
    Object.assign(this.counts, { loginFailures: 0, serverFailures: 0, processesRestarted: 0 });
    logMetrics(metrics.dimensions, {
      ...this.metrics.read(readings),
      LoginFailures: loginFailures,
      ServerFailures: serverFailures,
      SecretsUnreadable: this.unreadable,
      ProcessesRestarted: processesRestarted,
    });
  }

  private consoleOf(process: number): ConsoleOptions {
    return { sockets: this.files.sockets(process), port: this.configuration.port };
  }
}

/** As the functions trust a server: the shipped bundle, the public roots, or what the user names. */
function trustedRoots(trust: string): string {
  if (trust === 'rds') return fs.readFileSync(path.join(__dirname, 'rds-ca.pem'), 'utf8');
  if (trust === 'public') return tls.rootCertificates.join('\n');
  return trust;
}
