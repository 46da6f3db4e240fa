import * as net from 'node:net';

export interface Cut {
  /** Which statement, from 1, counted over all connections since `start()` or `reset()`. */
  readonly at: number;
  /**
   * `before`: the server never gets the statement. `after`: it has run it, and the client never hears of it. `stall`: nothing is cut;
   * the statement is lost, and the client waits for its answer.
   */
  readonly when: 'before' | 'after' | 'stall';
  /** The client's process dies: every connection breaks, and no new one is taken until `heal()`. Default: that connection only. */
  readonly kill?: boolean;
}

/** Stands between a client and PostgreSQL (without TLS), counts the statements, and cuts the connection at a chosen one. */
export class FaultProxy {
  /** The statements sent so far, in order: the text of a query, or of what an Execute was prepared from. */
  readonly statements: string[] = [];
  private readonly connections = new Set<Connection>();
  private plan?: Cut;
  private dead = false;
  private last?: RegExp;

  private constructor(private readonly server: net.Server) {}

  static async start(target: { readonly host: string; readonly port: number }): Promise<FaultProxy> {
    const server = net.createServer();
    const proxy = new FaultProxy(server);
    server.on('connection', (client) => proxy.accept(client, target));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    return proxy;
  }

  get port(): number {
    return (this.server.address() as net.AddressInfo).port;
  }

  /** Whether the planned cut has happened. */
  get hasCut(): boolean {
    return this.plan === undefined;
  }

  cut(plan: Cut): void {
    this.plan = plan;
  }

  /** Takes no new connection once a statement like this has come, until `heal()`; those that are there go on. */
  refuseAfter(statement: RegExp): void {
    this.last = statement;
  }

  /** Counts from zero again, without a cut. */
  reset(): void {
    this.statements.length = 0;
    this.plan = undefined;
    this.heal();
  }

  /** Takes connections again after a `kill` or `refuseAfter()`. */
  heal(): void {
    this.dead = false;
    this.last = undefined;
  }

  async stop(): Promise<void> {
    for (const connection of this.connections) connection.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private accept(client: net.Socket, target: { host: string; port: number }): void {
    if (this.dead) {
      client.destroy();
      return;
    }
    const connection = new Connection(client, net.connect(target), {
      beforeStatement: (sql) => {
        this.statements.push(sql);
        if (this.last?.test(sql)) this.dead = true;
        if (this.plan?.at !== this.statements.length) return true;
        if (this.plan.when === 'stall') {
          this.plan = undefined;
          return false;
        }
        if (this.plan.when === 'before') {
          this.execute(connection);
          return false;
        }
        connection.cutAtNextReady = () => this.execute(connection);
        return true;
      },
      closed: () => this.connections.delete(connection),
    });
    this.connections.add(connection);
  }

  private execute(connection: Connection): void {
    const kill = this.plan?.kill ?? false;
    this.plan = undefined;
    this.dead = kill;
    for (const each of kill ? [...this.connections] : [connection]) each.destroy();
  }
}

interface Hooks {
  /** False: do not pass it on. */
  beforeStatement(sql: string): boolean;
  closed(): void;
}

class Connection {
  cutAtNextReady?: () => void;
  private parsed = '';

  constructor(
    private readonly client: net.Socket,
    private readonly upstream: net.Socket,
    private readonly hooks: Hooks,
  ) {
    const frontend = new Messages(true, (type, body, raw) => {
      if (type === 'P')
        this.parsed = body
          .subarray(body.indexOf(0) + 1)
          .toString()
          .split('\0')[0];
      if (type === 'Q' && !hooks.beforeStatement(body.subarray(0, -1).toString())) return;
      if (type === 'E' && !hooks.beforeStatement(this.parsed)) return;
      upstream.write(raw);
    });
    const backend = new Messages(false, (type, _body, raw) => {
      if (type === 'Z' && this.cutAtNextReady) this.cutAtNextReady();
      else client.write(raw);
    });
    client.on('data', (data) => frontend.push(data));
    upstream.on('data', (data) => backend.push(data));
    for (const socket of [client, upstream]) {
      socket.on('error', () => undefined);
      socket.on('close', () => this.destroy());
      socket.setNoDelay(true);
      socket.unref();
    }
  }

  destroy(): void {
    this.client.destroy();
    this.upstream.destroy();
    this.hooks.closed();
  }
}

/** Cuts a stream into protocol messages. The first one of a client has no type byte. */
class Messages {
  private buffer = Buffer.alloc(0);

  constructor(
    private untyped: boolean,
    private readonly onMessage: (type: string, body: Buffer, raw: Buffer) => void,
  ) {}

  push(data: Buffer): void {
    this.buffer = Buffer.concat([this.buffer, data]);
    for (;;) {
      const header = this.untyped ? 0 : 1;
      if (this.buffer.length < header + 4) return;
      const end = header + this.buffer.readUInt32BE(header);
      if (this.buffer.length < end) return;
      const raw = this.buffer.subarray(0, end);
      this.buffer = this.buffer.subarray(end);
      const type = this.untyped ? '' : String.fromCharCode(raw[0]);
      this.untyped = false;
      this.onMessage(type, raw.subarray(header + 4), raw);
    }
  }
}
