import { openClient } from '../connection';
import { Counters, Session } from './session';
import { ConnectionSettings } from './types';

/**
 * The connections of one run: one to the admin database, which holds the lock as long as the run lives, and at most one other
 * at a time, since a server near its connection limit is no reason to fail.
 */
export class Connections {
  readonly counters: Counters = { reads: 0, writes: 0 };
  private adminSession?: Promise<Session>;
  private other?: { readonly database: string; readonly session: Promise<Session> };

  constructor(
    private readonly settings: ConnectionSettings,
    readonly adminDatabase: string,
  ) {}

  admin(): Promise<Session> {
    this.adminSession ??= this.open(this.adminDatabase);
    return this.adminSession;
  }

  async in(database: string): Promise<Session> {
    if (database === this.adminDatabase) return this.admin();
    if (this.other?.database !== database) {
      await this.closeOther();
      const session = this.open(database);
      this.other = { database, session };
      // A database that could not be entered may be made, or opened, before it is asked for again.
      session.catch(() => {
        if (this.other?.session === session) this.other = undefined;
      });
    }
    return this.other!.session;
  }

  async closeOther(): Promise<void> {
    const session = this.other?.session;
    this.other = undefined;
    await close(session);
  }

  async close(): Promise<void> {
    const admin = this.adminSession;
    this.adminSession = undefined;
    await Promise.all([this.closeOther(), close(admin)]);
  }

  private async open(database: string): Promise<Session> {
    return new Session(await openClient({ ...this.settings, database }), database, this.counters);
  }
}

async function close(session: Promise<Session> | undefined): Promise<void> {
  // It may never have been made, or be broken already: then it is closed.
  await session?.then(({ client }) => client.end()).catch(() => undefined);
}
