import { problemsOf } from './judge';
import { KnownCluster } from './reference';
import { RestClient } from './rest';
import { ClusterView, look } from './view';

const POLL_MS = 2_000;

/** The members did not come together in time. */
export class GateError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.join('; '));
    this.name = 'GateError';
  }
}

/**
 * Waits until all expected members stream, at two looks in a row: between the last word of the old task of a member and the first one of the new
 * everything may look well once. Throws a `GateError` with who is missing.
 */
export async function waitUntilStreaming(
  rest: RestClient,
  cluster: KnownCluster,
  options: {
    readonly expected: readonly string[];
    /** Epoch milliseconds. */
    readonly deadline: number;
    /** Called with what is missing, whenever that is something else. */
    readonly onProgress?: (problems: readonly string[]) => void;
  },
): Promise<ClusterView> {
  let said = '';
  for (let well = 0; ;) {
    const view = await look(rest, cluster);
    const problems = problemsOf(view, cluster, options.expected);
    well = problems.length === 0 ? well + 1 : 0;
    if (well === 2) return view;
    if (problems.join() !== said) options.onProgress?.(problems);
    said = problems.join();
    if (Date.now() + POLL_MS > options.deadline)
      throw new GateError(problems.length === 0 ? ['it was well at the last look alone'] : problems);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/**
 * Who must be there: those up to the member that was deployed, and at an update those that were there before. One that the deployment takes away
 * is not waited for.
 */
export function expectedMembers(through: string, members: readonly string[], before: readonly string[] = []): string[] {
  const last = members.indexOf(through);
  if (last < 0) throw new Error(`the member ${through} is none of ${members.join(', ')}`);
  return members.filter((name, at) => at <= last || before.includes(name));
}
