import { openClient } from '../connection';
import { ConnectionSettings } from '../reconcile/types';
import { EmbeddedVersion } from './binaries';
import { createAuthority } from './certificates';
import { EmbeddedServer, startEmbeddedServer, stopEmbeddedServer } from './embedded-server';
import { LocalSecretsManager } from './local-secrets-manager';
import { LocalStorage } from './local-storage';

/** What stands for AWS in a preview: PostgreSQL with an RDS-like master and TLS, Secrets Manager and S3. */
export class PreviewServer {
  private constructor(
    readonly postgres: EmbeddedServer,
    /** PEM of the authority that signed the server's certificate. */
    readonly ca: string,
    readonly secrets: LocalSecretsManager,
    readonly storage: LocalStorage,
  ) {}

  static async start(
    version: EmbeddedVersion,
    projectDirectory: string,
    fileOf: (key: string) => string | undefined,
  ): Promise<PreviewServer> {
    const authority = createAuthority();
    const tls = authority.issue('127.0.0.1');
    const postgres = await startEmbeddedServer({ version, projectDirectory, tls });
    // On Amazon RDS membership in rds_replication lets the master make slots; a stock server asks for the attribute.
    const { host, port, superuser } = postgres;
    const admin = await openClient({ host, port, ...superuser, database: 'postgres', ca: authority.ca });
    await admin.query('ALTER ROLE master REPLICATION').finally(() => admin.end());
    return new PreviewServer(
      postgres,
      authority.ca,
      await LocalSecretsManager.start(),
      await LocalStorage.start(fileOf),
    );
  }

  /** As the master, which is what the function gets. */
  connection(): ConnectionSettings {
    const { host, port, master } = this.postgres;
    return { host, port, ...master, database: 'postgres', ca: this.ca };
  }

  /** What makes a function speak to this and to nothing else. */
  environment(region: string): Record<string, string> {
    return {
      AWS_REGION: region,
      AWS_ACCESS_KEY_ID: 'preview',
      AWS_SECRET_ACCESS_KEY: 'preview',
      AWS_ENDPOINT_URL_SECRETS_MANAGER: this.secrets.endpoint,
      AWS_ENDPOINT_URL_S3: this.storage.endpoint,
      AWS_EC2_METADATA_DISABLED: 'true',
    };
  }

  async stop(): Promise<void> {
    await Promise.all([stopEmbeddedServer(this.postgres), this.secrets.stop(), this.storage.stop()]);
  }
}
