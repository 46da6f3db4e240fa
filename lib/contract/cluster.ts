/** The type of the resource that waits after a member's deployment until the members stream again. */
export const CLUSTER_GATE_RESOURCE_TYPE = 'Custom::CdkPostgresClusterGate';

/** The type of the resource that keeps Patroni's dynamic configuration as declared. */
export const CLUSTER_PARAMETERS_RESOURCE_TYPE = 'Custom::CdkPostgresClusterParameters';

/** Name of the environment variable with the `ClusterReference` of the function, as JSON. */
export const CLUSTER_VARIABLE = 'CDK_POSTGRES_CLUSTER_REFERENCE';

/** Where Patroni's REST API listens, the watch of a member (lib/images/postgres/watch.py), and etcd for its clients. */
export const PATRONI_PORT = 8008;
export const MEMBER_WATCH_PORT = 8009;
export const ETCD_PORT = 2379;

/** The user of Patroni's REST API, where its secret names no other. */
export const REST_API_USER = 'patroni';

/**
 * For how many seconds a gate waits at the least before it says that the deployment has failed. The function runs 15 minutes at the most: before
 * that it ends with an error and without an answer, so that Lambda runs the same event again, twice.
 */
export const GATE_SECONDS = 1920;

/** The timeout in seconds that the resources state (`ServiceTimeout`): the gate has answered by then. CloudFormation knows no longer one. */
export const CLUSTER_SERVICE_TIMEOUT = 3600;

/** WAL that a member may be behind and still count as caught up, in bytes: what a busy server writes in a moment. */
export const CAUGHT_UP_BYTES = 16 * 1024 * 1024;

/** From this share of its volume on, in percent, a member tells; and the leader hands over to a member that has more room. */
export const VOLUME_ALARM_PERCENT = 80;
export const VOLUME_SWITCHOVER_PERCENT = 95;

/** How a cluster of Patroni is spoken to. Every scalar may be a string. */
export interface ClusterReference {
  /** What the metrics are named after. */
  readonly Identity: string;
  /** Patroni's scope, which is the name of the cluster. */
  readonly Scope: string;
  /** Members by name, in the order of their deployment, to `HOST` or `HOST:PORT` of their REST API. */
  readonly Members: readonly string[];
  /** The same of etcd, as its clients see it. */
  readonly Etcd?: readonly string[];
  /** Whether commits wait for a standby, so that one without is an error. */
  readonly Synchronous: boolean | string;
  /** ARN of the secret with the `PoolerCertificateDocument` that proves to Patroni who asks. */
  readonly CertificateSecret: string;
  /** ARN of the secret with the password of the REST API (`{ username?, password }`); absent where a certificate is enough. */
  readonly RestApiSecret?: string;
}

/** The properties of `CLUSTER_GATE_RESOURCE_TYPE`. */
export interface ClusterGateProperties {
  /** The member that was deployed before: it and those before it are waited for, and at an update those that were there earlier. */
  readonly Through: string;
  /** All that there are after the deployment, in its order. */
  readonly Members: readonly string[];
  /** Changes with what was deployed, such as the ARN of the task definition, so that CloudFormation asks again. */
  readonly Deployed: string;
}

/** The properties of `CLUSTER_PARAMETERS_RESOURCE_TYPE`. What is left out later is taken back; what was never named stays as it is. */
export interface ClusterParametersProperties {
  /** PostgreSQL's parameters by name. */
  readonly Parameters: Readonly<Record<string, string>>;
  /** Patroni's own dynamic settings, such as `ttl` or `slots.cdc`, to their value as JSON. A dot leads into an object. */
  readonly Settings?: Readonly<Record<string, string>>;
  /** What is done where a parameter needs a restart. @default 'report' */
  readonly Restart?: 'report' | 'ordered' | string;
}

/** Name of the attribute with the members that wait for a restart. */
export const PENDING_RESTART_ATTRIBUTE = 'PendingRestart';

/** What the watch of a cluster measures, by the name of the metric; of all members the worst. The end of a name says its unit. */
export const CLUSTER_METRICS = [
  /** 1: the function could not look. */
  'WatchFailed',
  'WatchMilliseconds',
  /** 1: no member leads. */
  'LeaderMissing',
  /** Another leader or timeline than at the look before. */
  'LeaderChanges',
  /** Members that do not answer, do not run or do not stream on the leader's timeline. */
  'MembersMissing',
  /** 1: commits wait for a standby, and there is none. */
  'SynchronousStandbyMissing',
  /** WAL of the leader that a member has not replayed. */
  'ReplayLagBytes',
  'MembersPendingRestart',
  /** 1: Patroni is paused and does not fail over. */
  'Paused',
  /** Members of etcd that do not answer or see no leader. */
  'EtcdMembersUnhealthy',
  'EtcdDatabaseBytes',
  /** Watches of members that did not answer: what follows is not known of them. */
  'MemberWatchesMissing',
  'VolumeUsedPercent',
  /** WAL segments that wait to be archived, and for how long the oldest of them does. */
  'WalReadyFiles',
  'WalReadySeconds',
  /** Failures of the archiver since the look before. */
  'ArchiveFailures',
  'LastArchivedSeconds',
  /** Since the last backup of any kind, and since the last full one. */
  'BackupSeconds',
  'FullBackupSeconds',
  /** 1: pgBackRest cannot say what is in the repository. */
  'BackupsUnreadable',
  /** 1: the leader's volume was nearly full, and another member leads now or was asked to. */
  'VolumeSwitchovers',
] as const;

export type ClusterMetric = (typeof CLUSTER_METRICS)[number];

/** What an operator may ask the function for; it answers with a `ClusterAnswer`. */
export type ClusterCommand =
  | { readonly command: 'status' }
  | { readonly command: 'switchover'; readonly to?: string }
  | { readonly command: 'restart'; readonly member?: string; readonly pending?: boolean }
  | { readonly command: 'reinit'; readonly member: string }
  | { readonly command: 'pause' }
  | { readonly command: 'resume' };

export interface ClusterAnswer {
  /** What was done, a line for each step. */
  readonly done: readonly string[];
  /** What is not as it should be, a line each; empty: all members stream. */
  readonly problems: readonly string[];
  readonly paused: boolean;
  readonly members: readonly ClusterMemberAnswer[];
}

export interface ClusterMemberAnswer {
  readonly name: string;
  /** Such as `leader`, `replica`, `quorum standby`; `unknown`: it does not answer. */
  readonly role: string;
  readonly state: string;
  readonly timeline?: number;
  /** Bytes of WAL of the leader that it has not received. */
  readonly lag?: number;
  /** Such as `18.6`. */
  readonly version?: string;
  /** Parameters that wait for a restart; empty: it is not known which. */
  readonly pendingRestart?: readonly string[];
}
