import { Client } from 'pg';
import { FaultProxy } from './fault-proxy';
import { startServer, TestServer } from './postgres';

let server: TestServer;
let proxy: FaultProxy;
beforeEach(async () => {
  server = await startServer({ version: 18 });
  proxy = await FaultProxy.start(server);
  await server.query('CREATE TABLE public.t (n int)', { superuser: true });
  await server.query('GRANT ALL ON public.t TO master', { superuser: true });
});
afterEach(() => proxy.stop());

const rows = async () => (await server.query<{ n: number }>('SELECT n FROM public.t ORDER BY n')).map(({ n }) => n);

async function connect(): Promise<Client> {
  const client = new Client({ ...server.connection(), port: proxy.port, ssl: false });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

async function insert(client: Client): Promise<void> {
  await client.query('INSERT INTO public.t VALUES (1)');
  await client.query('INSERT INTO public.t VALUES ($1)', [2]);
  await client.query('INSERT INTO public.t VALUES (3)');
}

test('without a cut everything passes and is counted', async () => {
  const client = await connect();
  await insert(client);
  await client.end();
  expect(proxy.statements).toEqual([
    'INSERT INTO public.t VALUES (1)',
    'INSERT INTO public.t VALUES ($1)',
    'INSERT INTO public.t VALUES (3)',
  ]);
  expect(await rows()).toEqual([1, 2, 3]);
});

test.each([
  [1, 'before', []],
  [1, 'after', [1]],
  [2, 'before', [1]],
  [2, 'after', [1, 2]],
  [3, 'after', [1, 2, 3]],
] as const)('a cut at statement %d, %s', async (at, when, expected) => {
  proxy.cut({ at, when });
  await expect(connect().then(insert)).rejects.toThrow('Connection terminated unexpectedly');
  expect(proxy.hasCut).toBe(true);
  expect(await rows()).toEqual(expected);
  const again = await connect();
  await again.query('SELECT 1');
  await again.end();
});

test('a kill ends every connection and takes none until it is healed', async () => {
  const other = await connect();
  proxy.cut({ at: 1, when: 'after', kill: true });
  await expect(connect().then(insert)).rejects.toThrow('Connection terminated');
  await expect(other.query('SELECT 1')).rejects.toThrow();
  await expect(connect()).rejects.toThrow();
  proxy.heal();
  const again = await connect();
  await again.end();
});
