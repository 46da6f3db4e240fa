import { PoolerMetric } from '../../contract';

type Row = Readonly<Record<string, unknown>>;

/** What SHOW POOLS and SHOW STATS of one process say. */
export interface ProcessReading {
  readonly pools: readonly Row[];
  readonly stats: readonly Row[];
}

/** What the agent counts itself. */
export interface AgentCounts {
  loginFailures: number;
  serverFailures: number;
  processesRestarted: number;
}

/** The rows of the console itself are nobody's work. */
const isWork = ({ database }: Row) => database !== 'pgbouncer';

const COUNTERS = [
  'total_xact_count',
  'total_query_count',
  'total_query_time',
  'total_wait_time',
  'total_server_assignment_count',
  'total_client_parse_count',
  'total_server_parse_count',
] as const;

type Counters = Record<(typeof COUNTERS)[number], number>;

/** Turns what processes have counted since they started into what happened since the reading before. */
export class PoolerMetrics {
  private before = new Map<number, Counters>();

  /** Process number to what it says; one that does not answer is left out, and the next reading has what it did meanwhile. */
  read(readings: ReadonlyMap<number, ProcessReading>): Partial<Record<PoolerMetric, number>> {
    const sums = zero();
    const after = new Map<number, Counters>();
    for (const [process, { stats }] of readings) {
      const now = zero();
      for (const row of stats.filter(isWork)) for (const name of COUNTERS) now[name] += Number(row[name] ?? 0);
      const then = this.before.get(process) ?? zero();
      // One that has been started anew counts from nothing.
      const restarted = COUNTERS.some((name) => now[name] < then[name]);
      for (const name of COUNTERS) sums[name] += now[name] - (restarted ? 0 : then[name]);
      after.set(process, now);
    }
    this.before = new Map([...this.before, ...after]);
    const pools = [...readings.values()].flatMap((reading) => reading.pools.filter(isWork));
    const sum = (...names: string[]) =>
      pools.reduce((total, row) => total + names.reduce((part, name) => part + Number(row[name] ?? 0), 0), 0);
    return {
      ClientsActive: sum('cl_active'),
      ClientsWaiting: sum('cl_waiting'),
      ServersActive: sum('sv_active', 'sv_active_cancel', 'sv_being_canceled'),
      ServersIdle: sum('sv_idle', 'sv_used', 'sv_tested'),
      LongestWaitMilliseconds: Math.max(
        0,
        ...pools.map((row) => Number(row.maxwait ?? 0) * 1000 + Number(row.maxwait_us ?? 0) / 1000),
      ),
      AverageWaitMilliseconds: perOne(sums.total_wait_time, sums.total_server_assignment_count),
      AverageQueryMilliseconds: perOne(sums.total_query_time, sums.total_query_count),
      Transactions: sums.total_xact_count,
      Queries: sums.total_query_count,
      StatementsPreparedByClients: sums.total_client_parse_count,
      StatementsPreparedOnServer: sums.total_server_parse_count,
    };
  }
}

function zero(): Counters {
  return Object.fromEntries(COUNTERS.map((name) => [name, 0])) as Counters;
}

/** PgBouncer counts microseconds. */
function perOne(microseconds: number, count: number): number {
  return count === 0 ? 0 : microseconds / count / 1000;
}
