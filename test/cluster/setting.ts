import { Client, ClientConfig, Pool, PoolConfig } from 'pg';
import { PoolerDocument } from '../../lib/contract';
import { scramVerifier } from '../../lib/runtime/secrets';
import { createAuthority, TestAuthority } from '../support/certificates';
import { freshServer, TestServer } from '../support/postgres';
import { TestSecretsManager } from '../support/secrets-manager';
import { freePort, TestPooler } from './pooler';

/** Told apart from everything else that may be found in a file or a log. */
export const PASSWORD = 'clear-password-0f3a91';

/** A PostgreSQL 18 with TLS and SCRAM, a database `app` with a login `api`, their secrets, and poolers before it. */
export class Setting {
  readonly poolers: TestPooler[] = [];

  private constructor(
    readonly server: TestServer,
    readonly manager: TestSecretsManager,
    /** Of the pooler's certificate. */
    readonly authority: TestAuthority,
    readonly arns: Record<string, string>,
    readonly certificateSecret: string,
  ) {}

  static async start(settings: Readonly<Record<string, string>> = {}): Promise<Setting> {
    const server = await freshServer({ version: 18, tls: true, settings });
    const manager = await TestSecretsManager.start();
    const authority = createAuthority('pooler');
    const { certificate, key } = authority.issue('127.0.0.1', 'localhost');
    const setting = new Setting(
      server,
      manager,
      authority,
      {},
      manager.create('certificate', { certificate, privateKey: key, ca: authority.ca }),
    );
    await server.query(['CREATE DATABASE app']);
    await setting.addLogin('api');
    await server.query(
      [
        'CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)',
        'INSERT INTO account VALUES (1, 0)',
        'GRANT ALL ON account TO api',
        'GRANT CREATE ON SCHEMA public TO api',
      ],
      { database: 'app' },
    );
    return setting;
  }

  /** A role with a password, as the server's state makes it: the server has the verifier that the secret holds. */
  async addLogin(role: string): Promise<void> {
    const verifier = scramVerifier(PASSWORD);
    await this.server.query(`CREATE ROLE "${role.replaceAll('"', '""')}" LOGIN PASSWORD '${verifier}'`);
    this.arns[role] = this.manager.create(`role-${Object.keys(this.arns).length}`, {
      username: role,
      password: PASSWORD,
      verifier,
    });
  }

  async document(changes: Partial<PoolerDocument> = {}): Promise<PoolerDocument> {
    return {
      version: '1',
      server: { host: this.server.host, port: String(this.server.port), trust: this.server.ca! },
      databases: { app: { poolSize: '4', maxConnections: '8', sessionConnections: '4' } },
      secrets: this.arns,
      certificateSecret: this.certificateSecret,
      processes: '2',
      port: await freePort(),
      stopTimeout: '30',
      secretsInterval: '2',
      metrics: { dimensions: { Server: 'test', Pooler: 'test' }, interval: '1' },
      ...changes,
    };
  }

  async startPooler(changes: Partial<PoolerDocument> = {}): Promise<TestPooler> {
    const pooler = await TestPooler.start(await this.document(changes), this.manager.environment);
    this.poolers.push(pooler);
    return pooler;
  }

  /** How docs/clients.md says that clients connect. */
  config(port: number, changes: ClientConfig = {}): ClientConfig {
    return {
      host: '127.0.0.1',
      port,
      user: 'api',
      password: PASSWORD,
      database: 'app',
      ssl: { ca: this.authority.ca },
      ...changes,
    };
  }

  async connect(port: number, changes: ClientConfig = {}): Promise<Client> {
    const client = new Client(this.config(port, changes));
    client.on('error', () => undefined);
    await client.connect();
    return client;
  }

  pool(port: number, changes: PoolConfig = {}): Pool {
    const pool = new Pool({ ...this.config(port), ...changes });
    pool.on('error', () => undefined);
    pool.on('connect', (client) => client.on('error', () => undefined));
    return pool;
  }

  /** The sessions of a role on the server. */
  async sessions(role = 'api'): Promise<number> {
    const [{ count }] = await this.server.query<{ count: string }>(
      `SELECT count(*) FROM pg_stat_activity WHERE usename = '${role}'`,
    );
    return Number(count);
  }

  async stop(): Promise<void> {
    await Promise.all(this.poolers.map((pooler) => pooler.stop()));
    await this.manager.stop();
    await this.server.stop();
  }
}
