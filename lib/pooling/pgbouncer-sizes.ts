/** What one database of a pooler is given, by its login roles. */
export interface PooledLogins {
  readonly database: string;
  readonly logins: number;
}

/** Connections of one task to one database. */
export interface DatabaseSizes {
  readonly poolSize: number;
  readonly reservePoolSize: number;
  readonly maxConnections: number;
  readonly sessionConnections: number;
}

export interface PoolerSizes {
  readonly databases: Readonly<Record<string, DatabaseSizes>>;
  /** Of all tasks that run during a deployment, together. */
  readonly total: number;
  /** What would have to be there for one connection of each process and login, where there is less. */
  readonly missing?: string;
}

/** Connections of each login, where neither the server's number is known nor a share was stated: PgBouncer's own default. */
export const POOL_SIZE_UNKNOWN = 20;

/**
 * Splits a share of the server's connections over the tasks of a deployment, their databases and their logins (CP-3):
 * `poolSize = share / (tasks × databases × logins)`, of which a tenth is kept for bursts.
 */
export function poolerSizes(options: {
  /** Connections of the server that the pooler may take. Absent: nobody knows. */
  readonly share?: number;
  /** Tasks during a deployment. */
  readonly tasks: number;
  /** Each process has pools of its own, and one connection at least in each. */
  readonly processes: number;
  readonly sessionConnections: number;
  readonly logins: readonly PooledLogins[];
}): PoolerSizes {
  const { share, tasks, processes, sessionConnections, logins } = options;
  const databases: Record<string, DatabaseSizes> = {};
  let missing: string | undefined;
  for (const { database, logins: count } of logins) {
    const each =
      share === undefined
        ? POOL_SIZE_UNKNOWN * count + sessionConnections
        : Math.floor(share / (tasks * logins.length));
    const least = processes * count;
    const given = each - sessionConnections;
    if (given < least) {
      // Without the sessions it would do: then they are what is too much.
      const because =
        sessionConnections > 0 && each >= least ? `, of which sessionConnections takes ${sessionConnections}` : '';
      missing ??= `${database} needs ${least + sessionConnections} connections in each of ${tasks} tasks${because}, and there are ${Math.max(0, each)}`;
    }
    const maxConnections = Math.max(least, given);
    const poolSize = Math.max(processes, Math.floor((10 * maxConnections) / (11 * count)));
    databases[database] = {
      poolSize,
      reservePoolSize: Math.max(0, Math.min(Math.floor(poolSize / 10), Math.floor(maxConnections / count) - poolSize)),
      maxConnections,
      sessionConnections,
    };
  }
  const ofTask = Object.values(databases).reduce((sum, one) => sum + one.maxConnections + one.sessionConnections, 0);
  return { databases, total: ofTask * tasks, missing };
}
