import { Lazy } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { addFinding } from '../compliance';
import { balance, BUDGET_METADATA, BudgetDocument, BudgetEntry, budgetLines } from '../contract';
import type { PostgresServerBase } from '../server/postgres-server';
import { ServerState } from '../server/state/server-state';

/** For a migration with its runner, the person who looks at it, and a tool that each of them has open. */
export const OPERATORS = 5;

/** A consumer of changes opens ordinary sessions beside its stream, which itself does not count (`max_wal_senders` does). */
export const FOR_EACH_REPLICATION_ROLE = 2;

/** By the server that runs; stacks that share it count together. */
const BUDGETS = new WeakMap<IConstruct, ConnectionBudget>();

/** Those who take connections of a server directly, by the role they log in as. */
interface DirectRole {
  readonly path: string;
  readonly limit?: number;
  readonly replication: boolean;
  readonly consumers: (() => BudgetEntry)[];
  /** Whether somebody logs in as it through a pooler, which counts in its place. */
  pooled: boolean;
}

/** What a pooler takes; it may depend on what the others leave. */
export interface PoolerShare {
  /** Whether it takes a part of what the others leave, and is asked after them. */
  readonly takesRest: boolean;
  readonly entry: () => BudgetEntry;
}

/**
 * Who takes how many connections of one server, at the worst moment (CP-2, CP-4): poolers, those who connect directly, this library's own functions,
 * and what is kept for people. It is added up when the app is complete.
 */
export class ConnectionBudget {
  /** The budget of a server's construct. */
  public static of(server: IConstruct): ConnectionBudget {
    const state = server as PostgresServerBase;
    const owner = state._sharedFrom() ?? state;
    const budget = BUDGETS.get(owner) ?? new ConnectionBudget(owner);
    BUDGETS.set(owner, budget);
    budget.states.add(state);
    return budget;
  }

  /** The server as each of the stacks sees it that declare something in it. */
  private readonly states = new Set<PostgresServerBase>();

  private readonly direct = new Map<IConstruct, DirectRole>();
  private readonly poolers: PoolerShare[] = [];

  private constructor(private readonly server: PostgresServerBase) {
    server.node.addMetadata(BUDGET_METADATA, Lazy.any({ produce: () => this.document() }));
    addFinding(server, {
      id: 'CP-4',
      check: () => (server.profile.isProduction ? this.problem() : undefined),
      fix:
        'Put a pooler before the server and let consumers go through it, lower what they open (reservedConcurrentExecutions, poolSize, maxTasks, ' +
        'connectionLimit of the role), or take a larger class. `cdk-postgres budget` prints the table.',
    });
  }

  /** Notes a role that may connect directly, whoever does. */
  public addRole(role: IConstruct, options: { readonly limit?: number; readonly replication: boolean }): void {
    this.direct.set(role, { path: role.node.path, ...options, consumers: [], pooled: false });
  }

  /** Notes who connects to the writer as a role, without a pooler. */
  public addDirect(role: IConstruct, entry: () => BudgetEntry): void {
    this.direct.get(role)?.consumers.push(entry);
  }

  /** Notes that somebody connects as a role through a pooler: its limit alone says nothing of others any more. */
  public addPooled(role: IConstruct): void {
    const direct = this.direct.get(role);
    if (direct) direct.pooled = true;
  }

  public addPooler(share: PoolerShare): void {
    this.poolers.push(share);
  }

  /** What the others leave for those poolers that share the rest. Undefined: the server's number is not known. */
  public rest(): { readonly connections: number; readonly poolers: number } | undefined {
    const capacity = this.server._connectionCapacity();
    if (!capacity) return undefined;
    const taken = this.entries(false).reduce((sum, { connections }) => sum + (connections ?? 0), 0);
    return {
      connections: Math.max(0, capacity.connections - taken),
      poolers: this.poolers.filter(({ takesRest }) => takesRest).length,
    };
  }

  public document(): BudgetDocument {
    const capacity = this.server._connectionCapacity();
    return balance({
      server: this.server.node.path,
      maxConnections: capacity?.connections,
      how: capacity?.how ?? 'not known: state maxConnections of the server',
      entries: this.entries(true),
    });
  }

  private entries(all: boolean): BudgetEntry[] {
    const capacity = this.server._connectionCapacity();
    const poolers = (rest: boolean) =>
      this.poolers.filter(({ takesRest }) => takesRest === rest).map(({ entry }) => entry());
    return [
      { kind: 'reserve', who: 'superusers', connections: capacity?.reserved ?? 3, how: 'kept by the server itself' },
      {
        kind: 'reserve',
        who: 'migrations and operators',
        connections: OPERATORS,
        how: 'a runner, people and their tools',
      },
      ...this.functions(),
      ...[...this.direct.values()].flatMap(ofRole),
      ...poolers(false),
      ...(all ? poolers(true) : []),
    ];
  }

  private functions(): BudgetEntry[] {
    return [...this.states].flatMap((state) => {
      const { runs, duties } = ServerState.of(state).functionRuns;
      const how = `${duties.join(', ')}: ${runs} runs × 2 sessions`;
      return runs === 0 ? [] : [{ kind: 'functions', who: state.node.path, connections: runs * 2, how }];
    });
  }

  private problem(): string | undefined {
    const document = this.document();
    // Without the server's number nothing can be compared; the command line says so.
    if (document.maxConnections === undefined || document.verdict === 'fits') return undefined;
    const what =
      document.verdict === 'exceeded'
        ? `its consumers may open ${document.total} connections, and it takes ${document.maxConnections}`
        : 'its consumers cannot be added up, since one does not say how many connections it opens';
    return `${this.server.node.path}: ${what}:\n${budgetLines(document).join('\n')}`;
  }
}

/** The server itself refuses what is above the limit of a role, so that its consumers together take no more. */
function ofRole({ path, limit, replication, consumers, pooled }: DirectRole): BudgetEntry[] {
  const entries = consumers.map((entry) => entry());
  const sum = entries.reduce<number | undefined>(
    (total, { connections }) => (total === undefined || connections === undefined ? undefined : total + connections),
    0,
  );
  if (entries.length > 0 && (limit === undefined || (sum !== undefined && sum <= limit))) return entries;
  if (limit !== undefined && entries.length > 0)
    return [
      { kind: 'direct', who: path, connections: limit, how: `its connectionLimit, for ${entries.length} consumers` },
    ];
  if (replication)
    return [
      {
        kind: 'direct',
        who: path,
        connections: limit ?? FOR_EACH_REPLICATION_ROLE,
        how: 'sessions beside the stream of changes',
      },
    ];
  return limit === undefined || pooled
    ? []
    : [{ kind: 'direct', who: path, connections: limit, how: 'its connectionLimit' }];
}
