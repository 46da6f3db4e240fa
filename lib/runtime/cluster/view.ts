import { Endpoint, KnownCluster } from './reference';
import { RestClient } from './rest';

/** What a member says of itself. */
export interface MemberView {
  readonly name: string;
  /** Of whatever answers at its address. */
  readonly is: { readonly name: string; readonly scope: string };
  readonly leads: boolean;
  /** Such as `running` or `starting`. */
  readonly state: string;
  /** Of a standby: `streaming`, `in archive recovery`; undefined: neither. */
  readonly replication?: string;
  readonly synchronous: boolean;
  readonly timeline?: number;
  /** Bytes of WAL that it has written or received, and that it has replayed. */
  readonly received?: number;
  readonly replayed?: number;
  readonly version?: string;
  /** Undefined: it waits for no restart. Empty: it does not say for what. */
  readonly pendingRestart?: readonly string[];
}

/** A cluster as its members see it now. */
export interface ClusterView {
  readonly members: ReadonlyMap<string, MemberView>;
  /** Of the members that do not answer. */
  readonly silent: ReadonlyMap<string, string>;
  /** Who says that it leads; more than one only where something is very wrong, or a switchover just happens. */
  readonly leaders: readonly string[];
  /** Who has the lock, as a member reads it from etcd. A dead one stays there until its time to live is over. */
  readonly lock?: string;
  readonly paused: boolean;
}

/** Asks every member itself: what Patroni keeps in etcd of one that died is its last word. */
export async function look(rest: RestClient, cluster: Pick<KnownCluster, 'members'>): Promise<ClusterView> {
  const answers = await Promise.all(
    cluster.members.map(async (member): Promise<MemberView | string> => {
      try {
        return readMember(member.name, await rest.read(member, '/patroni'));
      } catch (error) {
        return (error as Error).message;
      }
    }),
  );
  const members = new Map<string, MemberView>();
  const silent = new Map<string, string>();
  for (const [at, { name }] of cluster.members.entries()) {
    const answer = answers[at]!;
    if (typeof answer === 'string') silent.set(name, answer);
    else members.set(name, answer);
  }
  const leaders = cluster.members.map(({ name }) => name).filter((name) => members.get(name)?.leads);
  const asked = cluster.members.find(({ name }) => name === leaders[0]) ?? firstOf(cluster.members, members);
  return { members, silent, leaders, ...(asked ? await clusterOf(rest, asked) : { paused: false }) };
}

function firstOf(endpoints: readonly Endpoint[], answered: ReadonlyMap<string, unknown>): Endpoint | undefined {
  return endpoints.find(({ name }) => answered.has(name));
}

async function clusterOf(rest: RestClient, endpoint: Endpoint): Promise<Pick<ClusterView, 'lock' | 'paused'>> {
  try {
    const cluster = await rest.read(endpoint, '/cluster');
    const members = Array.isArray(cluster.members) ? (cluster.members as Record<string, unknown>[]) : [];
    const lock = members.find(({ role }) => role === 'leader' || role === 'standby_leader')?.name;
    return { lock: lock === undefined ? undefined : String(lock), paused: cluster.pause === true };
  } catch {
    // It has just answered; whatever is in the way now is found at the next look.
    return { paused: false };
  }
}

function readMember(name: string, fields: Readonly<Record<string, unknown>>): MemberView {
  const patroni = (fields.patroni ?? {}) as { name?: unknown; scope?: unknown };
  const xlog = (fields.xlog ?? {}) as Record<string, unknown>;
  const role = String(fields.role);
  const leads = ['primary', 'master', 'standby_leader'].includes(role);
  const received = numberOf(xlog.location ?? xlog.received_location);
  return {
    name,
    is: { name: String(patroni.name), scope: String(patroni.scope) },
    leads,
    state: String(fields.state),
    replication: typeof fields.replication_state === 'string' ? fields.replication_state : undefined,
    synchronous: fields.sync_standby === true || fields.quorum_standby === true,
    timeline: numberOf(fields.timeline),
    received,
    replayed: numberOf(xlog.location ?? xlog.replayed_location),
    version: versionOf(numberOf(fields.server_version)),
    pendingRestart:
      fields.pending_restart === true ? Object.keys((fields.pending_restart_reason ?? {}) as object) : undefined,
  };
}

function numberOf(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

/** 180006 is 18.6. */
function versionOf(number: number | undefined): string | undefined {
  return number === undefined ? undefined : `${Math.floor(number / 10000)}.${number % 10000}`;
}
