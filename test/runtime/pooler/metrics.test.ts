import { POOLER_METRICS } from '../../../lib/contract';
import { PoolerMetrics } from '../../../lib/runtime/pooler/metrics';

const pool = (fields: object) => ({
  database: 'app',
  user: 'api',
  cl_active: 0,
  cl_waiting: 0,
  sv_active: 0,
  maxwait: 0,
  maxwait_us: 0,
  ...fields,
});
const stats = (fields: object) => ({ database: 'app', ...fields });

describe('CP-18: what a task measures', () => {
  test('is the sum of its processes, and of the interval where it counts', () => {
    const metrics = new PoolerMetrics();
    const first = {
      total_xact_count: '10',
      total_query_count: '20',
      total_query_time: '40000',
      total_wait_time: '6000',
      total_server_assignment_count: '10',
    };
    metrics.read(new Map([[1, { pools: [], stats: [stats(first)] }]]));
    const second = {
      total_xact_count: '15',
      total_query_count: '30',
      total_query_time: '60000',
      total_wait_time: '16000',
      total_server_assignment_count: '15',
    };
    const read = metrics.read(
      new Map([
        [
          1,
          {
            pools: [
              pool({ cl_active: 3, cl_waiting: 2, sv_active: 1, maxwait: 1, maxwait_us: 500_000 }),
              { database: 'pgbouncer', cl_active: 9 },
            ],
            stats: [stats(second), { database: 'pgbouncer', total_xact_count: '99' }],
          },
        ],
        [2, { pools: [pool({ cl_active: 4 })], stats: [stats({ total_xact_count: '2' })] }],
      ]),
    );
    expect(read).toMatchObject({
      ClientsActive: 7,
      ClientsWaiting: 2,
      ServersActive: 1,
      LongestWaitMilliseconds: 1500,
      Transactions: 7,
      Queries: 10,
      AverageQueryMilliseconds: 2,
      AverageWaitMilliseconds: 2,
    });
    for (const name of Object.keys(read)) expect(POOLER_METRICS).toContain(name);
  });

  test('counts nothing twice after a process has not answered once', () => {
    const metrics = new PoolerMetrics();
    const at = (count: number) => new Map([[1, { pools: [], stats: [stats({ total_xact_count: count })] }]]);
    metrics.read(at(1_000_000));
    expect(metrics.read(new Map()).Transactions).toBe(0);
    expect(metrics.read(at(1_000_005)).Transactions).toBe(5);
  });

  test('counts from nothing for a process that was started anew', () => {
    const metrics = new PoolerMetrics();
    metrics.read(new Map([[1, { pools: [], stats: [stats({ total_xact_count: '100' })] }]]));
    expect(metrics.read(new Map([[1, { pools: [], stats: [stats({ total_xact_count: '3' })] }]])).Transactions).toBe(3);
    expect(metrics.read(new Map()).Transactions).toBe(0);
  });
});
