import { behind, memberProblem } from './judge';
import { waitUntilStreaming } from './gate';
import { Endpoint, KnownCluster } from './reference';
import { RestClient } from './rest';
import { ClusterView, look } from './view';

/** Patroni answers when the member is up again, and its shutdown checkpoint takes as long as there is to write. */
const RESTART_TIMEOUT_MS = 300_000;

/** How a run ends and what it says on the way. */
export interface OrderOptions {
  /** Epoch milliseconds. */
  readonly deadline: number;
  readonly onProgress?: (message: string) => void;
}

/** What is asked cannot be done as the cluster is. */
export class OrderError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'OrderError';
  }
}

export function memberNamed(cluster: KnownCluster, name: string): Endpoint {
  const member = cluster.members.find((endpoint) => endpoint.name === name);
  if (member) return member;
  throw new OrderError(`there is no member ${name}: the members are ${cluster.members.map((m) => m.name).join(', ')}`);
}

/** The members that may lead next, the best first: they stream, wait for no restart, stand in for commits, and are the least behind. */
export function successors(view: ClusterView, cluster: KnownCluster): string[] {
  const rank = (name: string) => {
    const member = view.members.get(name)!;
    return [cluster.synchronous && !member.synchronous, member.pendingRestart !== undefined].filter(Boolean).length;
  };
  return cluster.members
    .map(({ name }) => name)
    .filter((name) => !view.leaders.includes(name) && memberProblem(view, cluster.scope, name) === undefined)
    .sort((a, b) => rank(a) - rank(b) || (behind(view, a) ?? 0) - (behind(view, b) ?? 0));
}

/** Has another member lead, in an orderly way: the leader stops, the successor has all of its WAL, and it goes on as a standby. Returns who leads now. */
export async function switchOver(
  rest: RestClient,
  cluster: KnownCluster,
  options: OrderOptions & {
    readonly to?: string;
    /** Who must stream before it is over. @default - all that were well before it: one that was away already stops nobody */
    readonly expected?: readonly string[];
  },
): Promise<string> {
  const view = await look(rest, cluster);
  const [leader] = view.leaders;
  if (leader === undefined) throw new OrderError('no member leads, so that there is nothing to switch over from');
  if (options.to === leader) throw new OrderError(`${leader} leads already`);
  if (options.to !== undefined) {
    memberNamed(cluster, options.to);
    const problem = memberProblem(view, cluster.scope, options.to);
    if (problem !== undefined) throw new OrderError(`${options.to} cannot lead: ${problem}`);
  }
  const to = options.to ?? successors(view, cluster)[0];
  if (to === undefined) throw new OrderError(`nobody can take over from ${leader}: no other member streams`);
  options.onProgress?.(`switching over from ${leader} to ${to}`);
  await rest.order(memberNamed(cluster, leader), 'POST', '/switchover', { leader, candidate: to }, RESTART_TIMEOUT_MS);
  await waitUntilStreaming(rest, cluster, {
    expected: options.expected ?? wellIn(view, cluster),
    deadline: options.deadline,
  });
  return to;
}

/** Restarts PostgreSQL on one member, and waits until it streams again, and those that did before. */
export async function restartMember(
  rest: RestClient,
  cluster: KnownCluster,
  name: string,
  options: OrderOptions,
): Promise<void> {
  const member = memberNamed(cluster, name);
  const expected = [...new Set([...wellIn(await look(rest, cluster), cluster), name])];
  options.onProgress?.(`restarting ${name}`);
  await rest.order(member, 'POST', '/restart', {}, RESTART_TIMEOUT_MS);
  await waitUntilStreaming(rest, cluster, { expected, deadline: options.deadline });
}

/**
 * Restarts the members that wait for it, so that writers are cut once, by a switchover: the standbys, then the switchover, then the old leader.
 *
 * Where all of them still wait after that, a parameter has become smaller that a standby must not have smaller than the leader
 * (`max_connections` and the like, HA-12): then the leader is restarted in its place, and the standbys after it.
 */
export async function restartPending(
  rest: RestClient,
  cluster: KnownCluster,
  options: OrderOptions,
): Promise<string[]> {
  const done: string[] = [];
  const restart = async (name: string) => {
    await restartMember(rest, cluster, name, options);
    done.push(`restarted ${name}`);
  };
  const waiting = async () => {
    const view = await look(rest, cluster);
    const names = cluster.members.map(({ name }) => name).filter((name) => view.members.get(name)?.pendingRestart);
    const [leader] = view.leaders;
    return { leader, standbys: names.filter((name) => name !== leader), leaderWaits: names.includes(leader ?? '') };
  };
  const first = await waiting();
  for (const name of first.standbys) await restart(name);
  if (first.leaderWaits && cluster.members.length > 1) {
    const { standbys } = await waiting();
    // Where a standby waits still, it waits for the leader, and a switchover to it would change nothing.
    if (standbys.length === 0) {
      const to = await switchOver(rest, cluster, options);
      done.push(`switched over from ${first.leader} to ${to}`);
      await restart(first.leader!);
    }
  }
  const second = await waiting();
  if (second.leaderWaits) {
    await restart(second.leader!);
    for (const name of (await waiting()).standbys) await restart(name);
  }
  return done;
}

function wellIn(view: ClusterView, cluster: KnownCluster): string[] {
  return cluster.members
    .map(({ name }) => name)
    .filter((name) => memberProblem(view, cluster.scope, name) === undefined);
}
