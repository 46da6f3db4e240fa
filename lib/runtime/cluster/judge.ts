import { CAUGHT_UP_BYTES } from '../../contract';
import { KnownCluster } from './reference';
import { ClusterView } from './view';

/** Bytes of the leader's WAL that a member has not received, or has not replayed; undefined: not known. */
export function behind(
  view: ClusterView,
  name: string,
  what: 'received' | 'replayed' = 'received',
): number | undefined {
  const end = view.members.get(view.leaders[0] ?? '')?.received;
  const own = view.members.get(name)?.[what];
  return end === undefined || own === undefined ? undefined : Math.max(0, end - own);
}

/** What is not as it must be before the next member may be touched: all expected ones run, one leads, the others stream from its timeline. */
export function problemsOf(
  view: ClusterView,
  cluster: Pick<KnownCluster, 'scope' | 'synchronous'>,
  expected: readonly string[],
): string[] {
  const problems: string[] = [];
  const [leader, other] = view.leaders;
  if (leader === undefined) problems.push('no member leads');
  else if (other !== undefined) problems.push(`${view.leaders.join(' and ')} say that they lead`);
  else if (view.lock !== leader)
    problems.push(
      `${leader} leads, and the lock in etcd is ${view.lock === undefined ? "nobody's" : `of ${view.lock}`}`,
    );
  for (const name of expected) {
    const problem = memberProblem(view, cluster.scope, name);
    if (problem !== undefined) problems.push(problem);
  }
  const standbys = expected.filter((name) => name !== leader && view.members.get(name)?.synchronous);
  if (cluster.synchronous && leader !== undefined && expected.length > 1 && standbys.length === 0)
    problems.push('no member is a synchronous standby, so that commits wait');
  return problems;
}

/** What is wrong with one member; undefined: it leads, or streams and has caught up. */
export function memberProblem(view: ClusterView, scope: string, name: string): string | undefined {
  const member = view.members.get(name);
  if (!member) return view.silent.get(name) ?? `${name} is not a member`;
  if (member.is.name !== name || member.is.scope !== scope)
    return `${member.is.name} of the cluster ${member.is.scope} answers at the address of ${name} of ${scope}`;
  if (member.state !== 'running') return `${name} is ${member.state}`;
  if (member.leads) return undefined;
  if (member.replication !== 'streaming')
    return `${name} does not stream (${member.replication ?? 'it is no standby'})`;
  const leader = view.members.get(view.leaders[0] ?? '');
  if (!leader) return undefined;
  if (member.timeline !== leader.timeline)
    return `${name} is on timeline ${member.timeline}, and the leader ${leader.name} on ${leader.timeline}`;
  const lag = behind(view, name);
  if (lag === undefined) return `${name} does not say how far it is`;
  return lag > CAUGHT_UP_BYTES ? `${name} is ${mebibytes(lag)} behind the leader ${leader.name}` : undefined;
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MiB`;
}
