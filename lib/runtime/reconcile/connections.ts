import { Client } from 'pg';
import { openClient } from '../connection';
import { Counters, Session } from './session';
import { ConnectionSettings } from './types';

/**
 * The connections of one run: one to the admin database, which holds the lock as long as the run lives, and at most one other
 * at a time, since a server near its connection limit is no reason to fail.
 */
export class Connections {
  readonly counters: Counters = { reads: 0, writes: 0 };
  private other?: Session;
  private adminSession?: Session;

  constructor(
    private readonly settings: ConnectionSettings,
    readonly adminDatabase: string,
  ) {}

  async admin(): Promise<Session> {
    this.adminSession ??= await this.open(this.adminDatabase);
    return this.adminSession;
  }

  async in(database: string): Promise<Session> {
    if (database === this.adminDatabase) return this.admin();
    if (this.other?.database !== database) {
      await this.closeOther();
      this.other = await this.open(database);
    }
    return this.other;
  }

  async closeOther(): Promise<void> {
    const client = this.other?.client;
    this.other = undefined;
    await close(client);
  }

  async close(): Promise<void> {
    await this.closeOther();
    await close(this.adminSession?.client);
    this.adminSession = undefined;
  }

  private async open(database: string): Promise<Session> {
    return new Session(await openClient({ ...this.settings, database }), database, this.counters);
  }
}

async function close(client: Client | undefined): Promise<void> {
  await client?.end().catch(() => undefined); // it may be broken already, and then it is closed
}
