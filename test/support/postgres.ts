import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Client } from 'pg';
import { createAuthority, TestAuthority } from './certificates';
import { ConnectionSettings } from '../../lib/runtime/reconcile/types';
import {
  copyTree,
  dataDirectory,
  EMBEDDED_VERSIONS,
  EmbeddedVersion,
  serviceUser,
} from '../../lib/runtime/preview/binaries';
import {
  Credentials,
  EmbeddedServer,
  restartEmbeddedServer,
  startEmbeddedServer,
  stopEmbeddedServer,
} from '../../lib/runtime/preview/embedded-server';

export const VERSIONS = EMBEDDED_VERSIONS;
export type TestVersion = EmbeddedVersion;

export interface StartOptions {
  readonly version: TestVersion;
  readonly flavour?: 'rds' | 'plain';
  readonly settings?: Readonly<Record<string, string>>;
  /** The server refuses connections without TLS; `ca` and `connection().ca` are what to trust. */
  readonly tls?: boolean;
  /** The names in the server's certificate; default: the address that it is reached by. */
  readonly certificateHosts?: readonly string[];
}

export interface FreshOptions extends StartOptions {
  /** Signs the server's certificate; default: one of its own. */
  readonly authority?: TestAuthority;
}

export interface ConnectOptions {
  /** Default: the master. */
  readonly user?: string;
  readonly password?: string;
  /** Default: `postgres`. */
  readonly database?: string;
  /** Connect as the bootstrap superuser, to look at what the master cannot see; never to run the code under test. */
  readonly superuser?: boolean;
}

export interface LoggedStatement {
  readonly user: string;
  readonly database: string;
  readonly sql: string;
}

export class TestServer {
  private readonly clients = new Set<Client>();

  constructor(
    private readonly embedded: EmbeddedServer,
    /** PEM of the authority that signed the server's certificate. */
    readonly ca?: string,
  ) {}

  get version(): TestVersion {
    return this.embedded.version;
  }
  get flavour(): 'rds' | 'plain' {
    return this.embedded.flavour;
  }
  get host(): '127.0.0.1' {
    return this.embedded.host;
  }
  get port(): number {
    return this.embedded.port;
  }
  /** Not a superuser: what the code under test connects as. */
  get master(): Credentials {
    return this.embedded.master;
  }
  get superuser(): Credentials {
    return this.embedded.superuser;
  }
  get dataDirectory(): string {
    return this.embedded.dataDirectory;
  }

  /** What the code under test gets to connect as the master. */
  connection(overrides: Partial<ConnectionSettings> = {}): ConnectionSettings {
    return {
      host: this.host,
      port: this.port,
      ...this.master,
      database: 'postgres',
      ca: this.ca ?? false,
      ...overrides,
    };
  }

  /** A connected client; `reset()` and `stop()` end it if the test did not. */
  async connect(options: ConnectOptions = {}): Promise<Client> {
    const { user, password } = options.superuser ? this.superuser : this.master;
    const client = new Client({
      host: this.host,
      port: this.port,
      user: options.user ?? user,
      password: options.password ?? password,
      database: options.database ?? 'postgres',
      ssl: this.ca === undefined ? false : { ca: this.ca, checkServerIdentity: () => undefined },
    });
    client.on('error', () => undefined);
    client.on('end', () => this.clients.delete(client));
    await client.connect();
    // A client that a failed test left open must not keep jest from ending.
    if (process.env.JEST_WORKER_ID) (client as Client & { unref(): void }).unref();
    this.clients.add(client);
    return client;
  }

  /** Runs statements one by one on a connection of their own and returns the rows of the last. */
  async query<Row = Record<string, unknown>>(
    sql: string | readonly string[],
    options: ConnectOptions = {},
  ): Promise<Row[]> {
    const client = await this.connect(options);
    try {
      let rows: Row[] = [];
      for (const statement of typeof sql === 'string' ? [sql] : sql) {
        rows = (await client.query(statement)).rows as Row[];
      }
      return rows;
    } finally {
      await client.end();
    }
  }

  /** The session of the code under test that waits for somebody else's lock, once there is one. */
  async whenBlocked(): Promise<{ readonly pid: number; readonly query: string }> {
    const admin = await this.connect({ superuser: true });
    try {
      let before: string | undefined;
      for (let tries = 0; tries < 1_000; tries++) {
        const { rows } = await admin.query<{ pid: number; query: string }>(
          "SELECT pid, query FROM pg_stat_activity WHERE application_name = 'cdk-postgres' AND wait_event_type = 'Lock'",
        );
        // The server reads the text of the statement before what the session waits for, which may be that of the next one.
        const found = JSON.stringify(rows[0]);
        if (rows.length > 0 && found === before) return rows[0];
        before = found;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      throw new Error('nobody waits');
    } finally {
      await admin.end();
    }
  }

  /** Everything the server has logged since it was made. */
  log(): string {
    return fs.readFileSync(this.embedded.logFile, 'utf8');
  }

  /** The statements that the server got while `work` ran, whoever sent them; those of the superuser are left out. */
  async recordStatements(work: () => Promise<unknown>): Promise<LoggedStatement[]> {
    const admin = await this.connect({ superuser: true });
    try {
      await this.setLogStatement(admin, 'all');
      const start = fs.statSync(this.embedded.logFile).size;
      await work();
      await this.setLogStatement(admin, 'ddl');
      const text = fs.readFileSync(this.embedded.logFile).subarray(start).toString('utf8');
      return readStatements(text).filter((statement) => statement.user !== this.superuser.user);
    } finally {
      await admin.end();
    }
  }

  /** New sessions see it as soon as a new session of ours does. */
  private async setLogStatement(admin: Client, value: string): Promise<void> {
    await admin.query(`ALTER SYSTEM SET log_statement = ${admin.escapeLiteral(value)}`);
    await admin.query('SELECT pg_reload_conf()');
    for (let tries = 0; ; tries++) {
      const [row] = await this.query<{ log_statement: string }>('SHOW log_statement', { superuser: true });
      if (row.log_statement === value) return;
      if (tries > 200) throw new Error(`log_statement did not become ${value}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Drops every database, role and ledger that a test has made: as a new server, in a fraction of the time. */
  async reset(): Promise<void> {
    await Promise.all([...this.clients].map((client) => client.end().catch(() => undefined)));
    const admin = await this.connect({ superuser: true });
    try {
      // What a failed test has left running, or holds, must not fail the ones after it.
      await admin.query(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
      );
      const { user } = this.superuser;
      const keep = ['postgres', 'template0', 'template1', 'rdsadmin'];
      // PostgreSQL drops no database that one of these is in.
      for (const { name } of (
        await admin.query(
          'SELECT datname AS name FROM pg_subscription JOIN pg_database d ON d.oid = subdbid GROUP BY 1',
        )
      ).rows)
        await this.dropSubscriptions(name);
      await admin.query('SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active');
      const databases = await admin.query('SELECT datname AS name FROM pg_database WHERE datname <> ALL ($1)', [keep]);
      for (const { name } of databases.rows)
        await admin.query(`DROP DATABASE ${admin.escapeIdentifier(name)} WITH (FORCE)`);
      const roles = await admin.query(
        `SELECT rolname AS name FROM pg_roles WHERE rolname <> ALL ($1) AND NOT (oid < 16384)
           AND NOT (rolname LIKE 'rds\\_%')`,
        [[user, 'master']],
      );
      for (const database of ['postgres', 'template1']) {
        const client = database === 'postgres' ? admin : await this.connect({ superuser: true, database });
        const schemas = await client.query(
          `SELECT nspname AS name FROM pg_namespace WHERE oid >= 16384 AND nspname NOT LIKE 'pg\\_%'`,
        );
        for (const { name } of schemas.rows) await client.query(`DROP SCHEMA ${client.escapeIdentifier(name)} CASCADE`);
        for (const { name } of roles.rows) await client.query(`DROP OWNED BY ${client.escapeIdentifier(name)} CASCADE`);
        await client.query('DROP SCHEMA IF EXISTS public CASCADE');
        await client.query('CREATE SCHEMA public AUTHORIZATION pg_database_owner');
        await client.query('GRANT USAGE ON SCHEMA public TO PUBLIC');
        if (client !== admin) await client.end();
      }
      for (const { name } of roles.rows) await admin.query(`DROP ROLE ${admin.escapeIdentifier(name)}`);
      await admin.query('ALTER ROLE master RESET ALL');
      await admin.query('ALTER DATABASE postgres RESET ALL');
      await admin.query('ALTER SYSTEM RESET ALL');
      await admin.query('SELECT pg_reload_conf()');
      // An untouched database has no access list at all, which no GRANT brings back.
      await admin.query("UPDATE pg_database SET datacl = NULL WHERE datname = 'postgres' AND datacl IS NOT NULL");
    } finally {
      await admin.end();
    }
  }

  private async dropSubscriptions(database: string): Promise<void> {
    const client = await this.connect({ superuser: true, database });
    const { rows } = await client.query(
      'SELECT subname AS name FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())',
    );
    for (const { name } of rows) {
      const subscription = client.escapeIdentifier(name);
      await client.query(`ALTER SUBSCRIPTION ${subscription} DISABLE`);
      await client.query(`ALTER SUBSCRIPTION ${subscription} SET (slot_name = NONE)`);
      await client.query(`DROP SUBSCRIPTION ${subscription}`);
    }
    await client.end();
  }

  async restart(whileStopped?: () => Promise<void>): Promise<void> {
    await restartEmbeddedServer(this.embedded, whileStopped);
  }

  /** As after a failure: nothing is written out, and the server recovers from its WAL (pg_ctl's immediate mode). */
  async crash(): Promise<void> {
    await restartEmbeddedServer(this.embedded, undefined, 'SIGQUIT');
  }

  async stop(): Promise<void> {
    await Promise.all([...this.clients].map((client) => client.end().catch(() => undefined)));
    await stopEmbeddedServer(this.embedded);
  }

  /**
   * A physical copy of the running server on another port, as a restored snapshot or a clone is; as a `standby` it
   * stays read-only. The caller stops it.
   */
  async copy(
    settings?: Readonly<Record<string, string>>,
    options: { readonly standby?: boolean } = {},
  ): Promise<TestServer> {
    const admin = await this.connect({ superuser: true });
    const backup = path.join(dataDirectory(), `backup-${process.pid}-${this.port}-${Date.now().toString(36)}`);
    try {
      await admin.query("SELECT pg_backup_start('copy', true)");
      copyTree(this.dataDirectory, backup, serviceUser());
      const { rows } = await admin.query('SELECT labelfile FROM pg_backup_stop(false)');
      fs.rmSync(path.join(backup, 'pg_wal'), { recursive: true });
      copyTree(path.join(this.dataDirectory, 'pg_wal'), path.join(backup, 'pg_wal'), serviceUser());
      fs.rmSync(path.join(backup, 'postmaster.pid'));
      fs.writeFileSync(path.join(backup, 'backup_label'), rows[0].labelfile);
      const user = serviceUser();
      if (user) fs.chownSync(path.join(backup, 'backup_label'), user.uid, user.gid);
      if (options.standby) fs.writeFileSync(path.join(backup, 'standby.signal'), '');
      return new TestServer(
        await startEmbeddedServer({ version: this.version, flavour: this.flavour, settings, copyOf: backup }),
      );
    } finally {
      await admin.end();
      fs.rmSync(backup, { recursive: true, force: true });
    }
  }
}

/**
 * The server of this jest worker with these options, started at the first call and stopped when the worker ends, in whatever way.
 * Each call hands it out as new.
 */
export async function startServer(options: StartOptions): Promise<TestServer> {
  const { version, flavour = 'rds', settings = {}, tls = false, certificateHosts = [] } = options;
  const key = JSON.stringify([version, flavour, settings, tls, certificateHosts]);
  const known = workerServers().get(key);
  const starting = known ?? start(options);
  if (!known) {
    workerServers().set(key, starting);
    starting.catch(() => workerServers().delete(key));
  }
  const { embedded, ca } = await starting;
  const server = new TestServer(embedded, ca);
  if (known) await server.reset();
  return server;
}

/** A server of the caller's own, which the caller stops. */
export async function freshServer(options: FreshOptions): Promise<TestServer> {
  const { embedded, ca } = await start(options);
  return new TestServer(embedded, ca);
}

interface Started {
  readonly embedded: EmbeddedServer;
  readonly ca?: string;
}

async function start(options: FreshOptions): Promise<Started> {
  const { version, flavour, settings } = options;
  if (!options.tls) return { embedded: await startEmbeddedServer({ version, flavour, settings }) };
  const authority = options.authority ?? createAuthority();
  const tls = authority.issue(...(options.certificateHosts ?? ['127.0.0.1']));
  return { embedded: await startEmbeddedServer({ version, flavour, settings, tls }), ca: authority.ca };
}

/**
 * Jest gives every test file its own modules and globals, and leaves Node's own modules the only objects that the files of one worker
 * share.
 */
function workerServers(): Map<string, Promise<Started>> {
  const shared = os as unknown as Record<symbol, Map<string, Promise<Started>>>;
  return (shared[Symbol.for('cdk-postgres.test-servers')] ??= new Map());
}

/** Reads the log of the embedded servers, where the lines of a statement after its first start with a tab. */
function readStatements(log: string): LoggedStatement[] {
  const statements: { user: string; database: string; sql: string }[] = [];
  let inStatement = false;
  for (const line of log.split('\n')) {
    if (line.startsWith('\t')) {
      if (inStatement) statements[statements.length - 1].sql += `\n${line.slice(1)}`;
      continue;
    }
    const match = /^\S+ \S+ \S+ \[\d+\] (.*?)@(.*?) LOG: {2}(?:statement|execute [^:]+): (.*)$/.exec(line);
    inStatement = match !== null;
    if (match) statements.push({ user: match[1], database: match[2], sql: match[3] });
  }
  return statements;
}
