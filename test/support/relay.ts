import * as net from 'node:net';

export interface Relay {
  readonly port: number;
  /** Statements that went through, over all connections. */
  readonly statements: readonly string[];
  close(): Promise<void>;
}

export interface RelayOptions {
  /**
   * Told each statement before the server gets it. `cut`: the statement goes to the server, and both sides lose the connection before
   * anybody hears how it ended; from then on nobody is let in.
   */
  readonly onStatement?: (sql: string, number: number) => 'pass' | 'cut';
  /** Answer with this process id in place of the server's, as a pooler does. */
  readonly processId?: number;
}

/** A TCP relay in front of a test server, that reads the PostgreSQL protocol as it goes by. No TLS. */
export async function startRelay(targetPort: number, options: RelayOptions = {}): Promise<Relay> {
  const statements: string[] = [];
  const sockets = new Set<net.Socket>();
  let closed = false;
  const server = net.createServer((client) => {
    if (closed) return void client.destroy();
    const upstream = net.connect(targetPort, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    const cut = () => {
      closed = true;
      client.destroy();
      upstream.end(); // what was sent arrives, and then the server sees the end
    };
    const requests = new Messages(true);
    client.on('data', (data) => {
      for (const { type, bytes } of requests.read(data)) {
        const sql = type === 'Q' ? text(bytes, 5) : type === 'P' ? text(bytes, bytes.indexOf(0, 5) + 1) : undefined;
        if (sql === undefined) {
          if (!closed) upstream.write(bytes);
          continue;
        }
        statements.push(sql);
        const verdict = options.onStatement?.(sql, statements.length) ?? 'pass';
        upstream.write(bytes);
        if (verdict === 'cut') return cut();
      }
    });
    const answers = new Messages(false);
    upstream.on('data', (data) => {
      for (const { type, bytes } of answers.read(data)) {
        if (type === 'K' && options.processId !== undefined) bytes.writeUInt32BE(options.processId, 5);
        if (!client.destroyed) client.write(bytes);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as net.AddressInfo).port,
    statements,
    close: () => {
      sockets.forEach((socket) => socket.destroy());
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Takes a stream of protocol messages apart. Only the client's first message has no type byte. */
class Messages {
  private rest = Buffer.alloc(0);

  constructor(private startup: boolean) {}

  read(data: Buffer): { type: string; bytes: Buffer }[] {
    this.rest = Buffer.concat([this.rest, data]);
    const messages: { type: string; bytes: Buffer }[] = [];
    for (;;) {
      const header = this.startup ? 0 : 1;
      if (this.rest.length < header + 4) return messages;
      const length = header + this.rest.readUInt32BE(header);
      if (this.rest.length < length) return messages;
      const bytes = this.rest.subarray(0, length);
      messages.push({ type: this.startup ? 'startup' : String.fromCharCode(bytes[0]), bytes });
      this.rest = this.rest.subarray(length);
      this.startup = false;
    }
  }
}

function text(bytes: Buffer, from: number): string {
  return bytes.toString('utf8', from, bytes.indexOf(0, from));
}
