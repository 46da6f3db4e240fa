import { drain, Drained } from '../../../lib/runtime/pooler/drain';

/** Processes that end so many milliseconds after an order. */
class Pretended implements Drained {
  readonly orders: string[] = [];
  private left = new Set([1, 2]);
  private readonly from = Date.now();

  constructor(
    private readonly clients: number,
    private readonly transactions: number,
  ) {}

  running = () => [...this.left];

  ask(process: number, command: string): Promise<unknown> {
    this.orders.push(`${process} ${command} ${Math.round((Date.now() - this.from) / 1000)}`);
    setTimeout(() => this.left.delete(process), command.endsWith('CLIENTS') ? this.clients : this.transactions);
    return Promise.resolve();
  }

  kill(process: number): void {
    this.orders.push(`${process} kill ${Math.round((Date.now() - this.from) / 1000)}`);
    this.left.delete(process);
  }
}

/** Runs a drain of 120 s in no time. */
async function drained(clients: number, transactions: number): Promise<Pretended> {
  jest.useFakeTimers();
  try {
    const processes = new Pretended(clients, transactions);
    const done = drain(processes, 120, () => undefined);
    await jest.advanceTimersByTimeAsync(125_000);
    await done;
    return processes;
  } finally {
    jest.useRealTimers();
  }
}

describe('CP-15: a task that stops', () => {
  test('waits for clients that leave, and for nothing else', async () => {
    const { orders } = await drained(30_000, 1e9);
    expect(orders).toEqual(['1 SHUTDOWN WAIT_FOR_CLIENTS 0', '2 SHUTDOWN WAIT_FOR_CLIENTS 0']);
  });

  test('cuts the others between two transactions, 15 s before its end', async () => {
    const { orders } = await drained(1e9, 5_000);
    expect(orders.slice(2)).toEqual(['1 SHUTDOWN WAIT_FOR_SERVERS 105', '2 SHUTDOWN WAIT_FOR_SERVERS 105']);
  });

  test('ends by itself before it is killed', async () => {
    const { orders } = await drained(1e9, 1e9);
    expect(orders.slice(4)).toEqual(['1 kill 118', '2 kill 118']);
  });
});
