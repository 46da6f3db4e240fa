import { ClusterMetric, MEMBER_WATCH_PORT, VOLUME_ALARM_PERCENT, VOLUME_SWITCHOVER_PERCENT } from '../../contract';
import { behind, memberProblem } from './judge';
import { OrderOptions, successors, switchOver } from './orders';
import { Endpoint, KnownCluster } from './reference';
import { RestClient, RestError } from './rest';
import { ClusterView, look } from './view';

/** What the watch beside a member sees, and nobody else. Every part may be missing, when it could not be read. */
export interface MemberReport {
  readonly volumeUsedPercent?: number;
  readonly walReadyFiles?: number;
  readonly walReadySeconds?: number;
  /** Since the statistics were reset. */
  readonly archiveFailures?: number;
  readonly lastArchivedSeconds?: number;
  readonly backupSeconds?: number;
  readonly fullBackupSeconds?: number;
  /** Why pgBackRest could not say what is in the repository. */
  readonly backupProblem?: string;
}

export interface EtcdReading {
  readonly healthy: boolean;
  readonly databaseBytes?: number;
}

/** A line for the log. */
export interface Finding {
  readonly what: string;
  readonly member?: string;
  readonly found: string | number;
}

export interface ClusterLook {
  readonly view: ClusterView;
  readonly reports: ReadonlyMap<string, MemberReport>;
  readonly metrics: Readonly<Partial<Record<ClusterMetric, number>>>;
  readonly findings: readonly Finding[];
}

/** What changes between two looks; of this process, which Lambda keeps from look to look. */
export class ClusterMemory {
  private leadership?: string;
  private readonly failures = new Map<string, number>();

  /** 1: another leads, or on another timeline, than at the look before. */
  leaderChanged(leadership: string): number {
    const changed = this.leadership !== undefined && this.leadership !== leadership;
    this.leadership = leadership;
    return changed ? 1 : 0;
  }

  /** How many failures came to a counter since the look before; one that has become smaller was reset. */
  failuresSince(member: string, count: number): number {
    const before = this.failures.get(member);
    this.failures.set(member, count);
    if (before === undefined) return 0;
    return count >= before ? count - before : count;
  }
}

/** Looks at a cluster from outside: Patroni, the watch beside each member, etcd. */
export async function lookAtCluster(
  rest: RestClient,
  cluster: KnownCluster,
  memory: ClusterMemory,
  watchPort: number = MEMBER_WATCH_PORT,
): Promise<ClusterLook> {
  const findings: Finding[] = [];
  const reports = new Map<string, MemberReport>();
  const etcd = new Map<string, EtcdReading>();
  const [view] = await Promise.all([
    look(rest, cluster),
    ...cluster.members.map(async (member) => {
      try {
        reports.set(member.name, await readReport(rest, { ...member, port: watchPort }));
      } catch (error) {
        findings.push({ what: 'watch silent', member: member.name, found: (error as Error).message });
      }
    }),
    ...cluster.etcd.map(async (member) => {
      try {
        etcd.set(member.name, await readEtcd(rest, member));
      } catch (error) {
        findings.push({ what: 'etcd silent', member: member.name, found: (error as Error).message });
      }
    }),
  ]);
  const metrics = measure(view, cluster, reports, etcd, memory, findings);
  return { view, reports, metrics, findings };
}

async function readReport(rest: RestClient, endpoint: Endpoint): Promise<MemberReport> {
  const fields = await rest.read(endpoint, '/');
  const report: Record<string, number | string> = {};
  for (const [key, value] of Object.entries(fields))
    if (typeof value === 'number' || (key === 'backupProblem' && typeof value === 'string')) report[key] = value;
  return report;
}

/** `/health` is false without a leader, and so without a majority. */
async function readEtcd(rest: RestClient, endpoint: Endpoint): Promise<EtcdReading> {
  const { health } = await rest.read(endpoint, '/health');
  const { status, text } = await rest.ask(endpoint, 'GET', '/metrics');
  if (status !== 200) throw new RestError(`${endpoint.name} answers ${status} to /metrics`, status);
  const [, bytes] = /^etcd_mvcc_db_total_size_in_bytes (\S+)$/m.exec(text) ?? [];
  return { healthy: String(health) === 'true', databaseBytes: bytes === undefined ? undefined : Number(bytes) };
}

function measure(
  view: ClusterView,
  cluster: KnownCluster,
  reports: ReadonlyMap<string, MemberReport>,
  etcd: ReadonlyMap<string, EtcdReading>,
  memory: ClusterMemory,
  findings: Finding[],
): Partial<Record<ClusterMetric, number>> {
  const names = cluster.members.map(({ name }) => name);
  const [leader] = view.leaders;
  const missing = names.filter((name) => {
    const problem = memberProblem(view, cluster.scope, name);
    if (problem !== undefined) findings.push({ what: 'member missing', member: name, found: problem });
    return problem !== undefined;
  });
  const waiting = names.filter((name) => view.members.get(name)?.pendingRestart);
  for (const name of waiting)
    findings.push({ what: 'pending restart', member: name, found: view.members.get(name)!.pendingRestart!.join(', ') });
  const unhealthy = cluster.etcd.filter(({ name }) => etcd.get(name)?.healthy !== true);
  for (const { name } of unhealthy)
    if (etcd.has(name)) findings.push({ what: 'etcd unhealthy', member: name, found: 'it sees no leader' });
  const standbys = names.filter((name) => name !== leader && view.members.get(name)?.synchronous);
  const own = [...reports];
  const of = (key: keyof MemberReport): number[] =>
    own.map(([, report]) => report[key]).filter((value) => typeof value === 'number');
  for (const [name, report] of own) {
    if ((report.volumeUsedPercent ?? 0) >= VOLUME_ALARM_PERCENT)
      findings.push({ what: 'volume', member: name, found: report.volumeUsedPercent! });
    if (report.backupProblem !== undefined)
      findings.push({ what: 'backups unreadable', member: name, found: report.backupProblem });
  }
  const metrics: Partial<Record<ClusterMetric, number | undefined>> = {
    LeaderMissing: leader === undefined ? 1 : 0,
    LeaderChanges:
      leader === undefined ? 0 : memory.leaderChanged(`${leader}/${view.members.get(leader)?.timeline ?? ''}`),
    MembersMissing: missing.length,
    SynchronousStandbyMissing: cluster.synchronous && names.length > 1 && standbys.length === 0 ? 1 : 0,
    ReplayLagBytes: worst(names.map((name) => behind(view, name, 'replayed')).filter((lag) => lag !== undefined)),
    MembersPendingRestart: waiting.length,
    Paused: view.paused ? 1 : 0,
    EtcdMembersUnhealthy: cluster.etcd.length === 0 ? undefined : unhealthy.length,
    EtcdDatabaseBytes: worst([...etcd.values()].map((one) => one.databaseBytes).filter((size) => size !== undefined)),
    MemberWatchesMissing: names.length - reports.size,
    VolumeUsedPercent: worst(of('volumeUsedPercent')),
    WalReadyFiles: worst(of('walReadyFiles')),
    WalReadySeconds: worst(of('walReadySeconds')),
    ArchiveFailures: own
      .filter(([, { archiveFailures }]) => archiveFailures !== undefined)
      .reduce((sum, [name, { archiveFailures }]) => sum + memory.failuresSince(name, archiveFailures!), 0),
    LastArchivedSeconds: reports.get(leader ?? '')?.lastArchivedSeconds,
    // Whoever has read the repository last knows best.
    BackupSeconds: best(of('backupSeconds')),
    FullBackupSeconds: best(of('fullBackupSeconds')),
    BackupsUnreadable: own.some(([, { backupProblem }]) => backupProblem !== undefined) ? 1 : 0,
  };
  return Object.fromEntries(Object.entries(metrics).filter(([, value]) => value !== undefined));
}

const worst = (values: readonly number[]) => (values.length === 0 ? undefined : Math.max(...values));
const best = (values: readonly number[]) => (values.length === 0 ? undefined : Math.min(...values));

/** A member to which the leader hands over must have this much more room, in percent, or the next look would hand back. */
const MORE_ROOM = 5;

/**
 * Hands over from a leader whose volume is nearly full to a member that has more room (pitfall: PostgreSQL answers as primary while every write
 * fails, so that Patroni sees no reason to). Returns who leads now; undefined: nothing had to be done, or nobody has room, which `onProgress` is told.
 */
export async function guardVolume(
  rest: RestClient,
  cluster: KnownCluster,
  { view, reports }: ClusterLook,
  options: OrderOptions,
): Promise<string | undefined> {
  const [leader] = view.leaders;
  const used = reports.get(leader ?? '')?.volumeUsedPercent;
  if (leader === undefined || used === undefined || used < VOLUME_SWITCHOVER_PERCENT) return undefined;
  const roomy = successors(view, cluster).filter(
    (name) => (reports.get(name)?.volumeUsedPercent ?? 100) <= VOLUME_SWITCHOVER_PERCENT - MORE_ROOM,
  );
  const [to] = roomy;
  if (to === undefined || view.paused) {
    options.onProgress?.(
      `the volume of the leader ${leader} is ${used} % full, and ${view.paused ? 'the cluster is paused' : 'no other member has more room'}: grow the volumes`,
    );
    return undefined;
  }
  // Whose volume is full may be away for long.
  return switchOver(rest, cluster, { ...options, to, expected: [to] });
}
