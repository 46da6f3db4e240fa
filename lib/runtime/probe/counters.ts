import { ProbeMetric } from '../../contract';

type Numbers = Partial<Record<ProbeMetric, number>>;

/** What the server counts since its statistics were reset, of which only what came since the look before says something. */
const COUNTERS: readonly ProbeMetric[] = [
  'CancelledByReplay',
  'Deadlocks',
  'SubscriptionConflicts',
  'SubscriptionErrors',
];

/** Remembers the counters of each node as long as the function's process lives; its first look at a node counts nothing. */
export class CounterMemory {
  private readonly before = new Map<string, Numbers>();

  /** The metrics with each counter as what came since the look before. */
  since(node: string, metrics: Numbers): Numbers {
    const before = this.before.get(node);
    const counted = COUNTERS.flatMap((name) => {
      const now = metrics[name];
      // A counter that is smaller than before was reset in between.
      return now === undefined ? [] : [[name, before?.[name] === undefined ? 0 : Math.max(0, now - before[name])]];
    });
    // What this look could not read, the next one compares with the look before.
    this.before.set(node, { ...before, ...metrics });
    return { ...metrics, ...Object.fromEntries(counted) };
  }
}
