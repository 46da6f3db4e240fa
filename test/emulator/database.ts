import * as net from 'node:net';
import { randomBytes, randomInt } from 'node:crypto';
import { TestAuthority } from '../support/certificates';
import { freshServer, TestServer } from '../support/postgres';
import { Emulator } from './emulator';

/** As the template says it. */
const PORT = 5433;

export interface MasterUser {
  readonly username: string;
  readonly password: string;
}

/**
 * The PostgreSQL 18 behind the endpoint of an emulated Aurora cluster, which itself is a name and nothing else. Both its names lead to a
 * loopback address of its own, where a relay listens on the port of the template; TLS goes through to the server, whose certificate
 * is for these names.
 */
export class EmulatedDatabase {
  private constructor(
    readonly server: TestServer,
    readonly host: string,
    readonly readerHost: string,
    readonly resourceId: string,
    /** Leads to the server too, and is not in its certificate. */
    readonly otherHost: string,
    private readonly relay: net.Server,
    private readonly sockets: Set<net.Socket>,
  ) {}

  static async start(emulator: Emulator, region: string, authority: TestAuthority): Promise<EmulatedDatabase> {
    const suffix = `${randomBytes(6).toString('hex')}.${region}.rds.amazonaws.com`;
    const host = `saas.cluster-${suffix}`;
    const readerHost = `saas.cluster-ro-${suffix}`;
    const otherHost = `other.cluster-${suffix}`;
    const server = await freshServer({ version: 18, tls: true, certificateHosts: [host, readerHost], authority });
    const sockets = new Set<net.Socket>();
    const relay = net.createServer((client) => forward(client, server.port, sockets));
    const address = `127.${randomInt(64, 128)}.${randomInt(256)}.${randomInt(1, 255)}`;
    await new Promise<void>((resolve, reject) => {
      relay.once('error', reject);
      relay.listen(PORT, address, resolve);
    });
    relay.unref();
    emulator.resolve(address, [host, readerHost, otherHost]);
    const resourceId = `cluster-${randomBytes(13).toString('hex').toUpperCase()}`;
    return new EmulatedDatabase(server, host, readerHost, resourceId, otherHost, relay, sockets);
  }

  /** Gives the master the name and the password that RDS takes from the template. */
  async setMaster({ username, password }: MasterUser): Promise<void> {
    const admin = await this.server.connect({ superuser: true });
    try {
      const name = admin.escapeIdentifier(username);
      await admin.query(`ALTER ROLE ${admin.escapeIdentifier(this.server.master.user)} RENAME TO ${name}`);
      await admin.query(`ALTER ROLE ${name} PASSWORD ${admin.escapeLiteral(password)}`);
    } finally {
      await admin.end();
    }
  }

  async stop(): Promise<void> {
    this.sockets.forEach((socket) => socket.destroy());
    await new Promise((resolve) => this.relay.close(resolve));
    await this.server.stop();
  }
}

function forward(client: net.Socket, port: number, sockets: Set<net.Socket>): void {
  const upstream = net.connect(port, '127.0.0.1');
  for (const socket of [client, upstream]) {
    sockets.add(socket);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      client.destroy();
      upstream.destroy();
    });
  }
  client.pipe(upstream).pipe(client);
}
