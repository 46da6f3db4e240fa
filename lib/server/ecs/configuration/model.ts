import { HbaRule, hbaProblems, validatorLibraries } from './hba';
import { parameterProblems } from './parameters';
import { isCidr, isToken, show } from './text';

/** Where PostgreSQL answers on a member, and where clients reach the primary on the router. */
export const POSTGRES_PORT = 5432;
/** Where the router leads to a replica. */
export const READ_ONLY_PORT = 5433;
/** Patroni's REST API, by TLS. */
export const PATRONI_PORT = 8008;
/** pgBackRest's server on each member, by TLS with certificates of both sides. */
export const PGBACKREST_PORT = 8432;
/** etcd for its clients, by TLS with certificates of both sides. */
export const ETCD_CLIENT_PORT = 2379;
/** etcd for its peers, by TLS with certificates of both sides. */
export const ETCD_PEER_PORT = 2380;
/** etcd's `/health` and `/metrics`, in clear, on the loopback interface of the task alone. */
export const ETCD_METRICS_PORT = 2381;
/** `/health` and `/metrics` of the router, in clear: what the load balancer looks at. */
export const ROUTER_HEALTH_PORT = 8404;

/** The tmpfs of each task: files and secrets, sockets, nothing that is to stay. */
export const RUN_FOLDER = '/run/cdk-postgres';
/** Where the volume of a member is mounted; the data directory is `data` in it, the spool of pgBackRest `spool`. */
export const MEMBER_VOLUME = '/var/lib/pg';
/** Where the volume of an etcd member is mounted. */
export const ETCD_VOLUME = '/var/lib/etcd';

/** Users and groups of the images, to whom the volumes must belong. */
export const USERS = { postgres: 10002, etcd: 10003, router: 10004 } as const;

/** Environment variable with the files of a task, as JSON: absolute path to content. */
export const FILES_VARIABLE = 'CDK_POSTGRES_FILES';
/** Environment variable with the secrets of a task, as JSON: name, such as `certificate`, to ARN. */
export const SECRETS_VARIABLE = 'CDK_POSTGRES_SECRETS';
/** Environment variable with how often the secrets are looked at, in seconds. Absent: 60. */
export const SECRETS_INTERVAL_VARIABLE = 'CDK_POSTGRES_SECRETS_INTERVAL';

/** The user of Patroni's REST API, for whatever changes something. */
export const RESTAPI_USER = 'patroni';

/** The lease of the leader, in seconds: Patroni's `ttl`. The time of an unexpected failover follows from it. */
export const LEADER_TTL = 20;

/**
 * What a secret of a task holds, by its name. Each is the JSON text of a secret in Secrets Manager:
 *
 * - `certificate`: `{ certificate, privateKey, ca }`, PEM, as in the secret of a pooler
 * - `restapi`: `{ password }`, of Patroni's REST API
 * - `cipher`: `{ password }`, with which pgBackRest encrypts what it puts into the bucket; never to be changed
 * - `cipher-2`: the same of the second repository
 * - `cipher-restore`: the same of the repository that the cluster begins with
 * - `admin`: `{ username, password }`, of the role that this library's functions log in as
 *
 * Members know each other by their certificates, so that no password goes from one to another. The superuser has none.
 */
export type SecretName = 'certificate' | 'restapi' | 'cipher' | 'cipher-2' | 'cipher-restore' | 'admin';

/** A cluster of members that Patroni keeps: what every file in its tasks follows from. */
export interface ClusterModel {
  /** Patroni's scope and pgBackRest's stanza. */
  readonly name: string;
  /** The DNS namespace of the members, such as `orders.internal`; may be a token. */
  readonly namespace: string;
  readonly majorVersion: 16 | 17 | 18;
  /** Three, or one for a development. */
  readonly members: 1 | 3;
  /** A commit is acknowledged only after another member has it (RPO 0): Patroni's quorum mode, strictly. */
  readonly synchronous: boolean;
  /** Configuration parameters of PostgreSQL by name, besides those that the cluster sets itself. */
  readonly parameters: Readonly<Record<string, string>>;
  /** CIDR blocks from which members and clients come, such as those of the VPC. May be tokens. */
  readonly networks: readonly string[];
  /** Who may log in from where, before the rejection of everybody else. Empty: every role but the cluster's own, by password, from `networks`. */
  readonly hba: readonly HbaRule[];
  /** Names by which clients know the router, such as that of the load balancer. May be tokens. */
  readonly routerHosts: readonly string[];
  /** The role that functions of this library log in as. @default postgres_admin */
  readonly adminUser?: string;
  /** Absent: nothing is archived, and the cluster cannot be restored; for a development alone. */
  readonly backup?: BackupModel;
  /** The cluster begins as a copy of another. Absent: it begins empty. */
  readonly bootstrap?: BootstrapModel;
  /** Logical replication slots that outlive a failover (17 and later): name to what they decode. */
  readonly logicalSlots?: Readonly<Record<string, LogicalSlotModel>>;
  /**
   * How far behind a replica may be and still become the leader, in bytes, where commits do not wait for it.
   * @default 1048576
   */
  readonly maximumLagOnFailover?: number;
}

/** A slot that Patroni keeps on every member. */
export interface LogicalSlotModel {
  readonly database: string;
  /** The output plugin. @default pgoutput */
  readonly plugin?: string;
}

/** Where pgBackRest keeps a copy of everything. */
export interface RepositoryModel {
  /** Name of the bucket; may be a token. */
  readonly bucket: string;
  readonly region: string;
  /** The folder in the bucket. @default the name of the cluster */
  readonly path?: string;
  /** KMS key with which S3 encrypts. @default the bucket's own setting */
  readonly kmsKeyId?: string;
  /** Host and port in the place of S3's, such as that of a gateway. @default S3's in the region */
  readonly host?: string;
  /** PEM file whose authorities sign the certificate of the host. @default those of the system */
  readonly hostCaFile?: string;
  /** Days in which an error can be undone to the second: full backups and the WAL since the oldest of them stay as long. */
  readonly retentionDays: number;
}

export interface BackupModel extends RepositoryModel {
  /** A copy elsewhere, with the same content and a cipher of its own. */
  readonly secondRepository?: RepositoryModel;
  /**
   * After how many seconds an unfinished segment of WAL is archived nevertheless: what can be lost when only the bucket is left.
   * @default 60
   */
  readonly archiveTimeout?: number;
}

/** What a cluster begins with: the repository of another, and how far its WAL is replayed. */
export interface BootstrapModel {
  /** The name of the cluster whose backups they are. */
  readonly stanza: string;
  readonly repository: Omit<RepositoryModel, 'retentionDays'>;
  readonly target: RecoveryTargetModel;
}

/** How far WAL is replayed. Everything but `latest` names a `value`. */
export interface RecoveryTargetModel {
  readonly type: 'latest' | 'time' | 'lsn' | 'name' | 'xid' | 'immediate';
  /** A time such as `2026-03-01 12:00:00+00`, an LSN such as `0/3000060`, the name of a restore point, or a transaction. */
  readonly value?: string;
  /** Stop just before the target instead of just after it. @default false */
  readonly exclusive?: boolean;
  /** @default latest */
  readonly timeline?: string;
}

/** What a task is given: the files of its tmpfs, the secrets that it fetches, and its environment. */
export interface TaskConfiguration {
  /** Absolute path to content, for `CDK_POSTGRES_FILES`. */
  readonly files: Readonly<Record<string, string>>;
  /** Names of the secrets that the task needs, for `CDK_POSTGRES_SECRETS`. */
  readonly secrets: readonly SecretName[];
  readonly environment: Readonly<Record<string, string>>;
}

/** What a certificate of the cluster is issued for. All of them are used by servers and by clients (`serverAuth`, `clientAuth`). */
export interface CertificateModel {
  /** By which the others know whose it is. */
  readonly commonName: string;
  readonly hosts: readonly string[];
}

/** `pg-1`, …: names of services, Patroni's members, and hosts. */
export function memberName(n: number): string {
  return `pg-${n}`;
}

/** `etcd-1`, …: names of services, etcd's members, and hosts. */
export function etcdName(n: number): string {
  return `etcd-${n}`;
}

/** 1, 2, 3. There are as many members of etcd as of PostgreSQL. */
export function numbers(model: ClusterModel): number[] {
  return Array.from({ length: model.members }, (_, index) => index + 1);
}

/** The host name of a member, such as `pg-1.orders.internal`. */
export function memberHost(model: ClusterModel, n: number): string {
  return `${memberName(n)}.${model.namespace}`;
}

/** The host name of an etcd member. */
export function etcdHost(model: ClusterModel, n: number): string {
  return `${etcdName(n)}.${model.namespace}`;
}

/** A member also answers to the names of the router, which hands TLS on as it is. */
export function memberCertificate(model: ClusterModel, n: number): CertificateModel {
  return {
    commonName: memberName(n),
    hosts: [memberHost(model, n), ...model.routerHosts, 'localhost', '127.0.0.1'],
  };
}

/** etcd's gateway from HTTP to gRPC dials itself, on the loopback interface. */
export function etcdCertificate(model: ClusterModel, n: number): CertificateModel {
  return { commonName: etcdName(n), hosts: [etcdHost(model, n), 'localhost', '127.0.0.1'] };
}

/** The router shows it to nobody, and finds in its secret the root by which it knows Patroni. */
export function routerCertificate(model: ClusterModel): CertificateModel {
  return { commonName: 'router', hosts: [`router.${model.namespace}`] };
}

/** By which the members know the task that makes backups. */
export function backupCertificate(model: ClusterModel): CertificateModel {
  return { commonName: 'backup', hosts: [`backup.${model.namespace}`] };
}

/** The name of the role that functions of this library log in as. */
export function adminUser(model: ClusterModel): string {
  return model.adminUser ?? 'postgres_admin';
}

/** Roles that PostgreSQL and the cluster have already. */
export const OWN_ROLES = { superuser: 'postgres', replication: 'replicator', rewind: 'rewinder' } as const;

/** @throws Error with everything that is wrong with the model, each with its field, its value, and what to do */
export function checkModel(model: ClusterModel): void {
  const problems = modelProblems(model);
  if (problems.length > 0)
    throw new Error(`the cluster ${model.name} cannot be configured:\n- ${problems.join('\n- ')}`);
}

/** Everything that is wrong with a model. Empty: nothing. */
export function modelProblems(model: ClusterModel): string[] {
  const problems: string[] = [];
  if (!/^[a-z][a-z0-9-]{0,40}$/.test(model.name))
    problems.push(
      `name: ${show(model.name)} must be lower-case letters, digits and hyphens, up to 41, beginning with a letter`,
    );
  if (!isToken(model.namespace) && !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(model.namespace))
    problems.push(`namespace: ${show(model.namespace)} is no DNS name`);
  if (![16, 17, 18].includes(model.majorVersion))
    problems.push(`majorVersion: ${model.majorVersion} is none of 16, 17, 18`);
  if (model.members !== 1 && model.members !== 3)
    problems.push(
      `members: ${String(model.members)} is neither 1 nor 3; of two members neither may go on alone, so that there would be two to fail`,
    );
  if (model.synchronous && model.members === 1)
    problems.push('synchronous: one member has nobody to wait for; take three, or an RPO above 0');
  if (model.networks.length === 0) problems.push('networks: name at least one CIDR block, such as that of the VPC');
  for (const network of model.networks)
    if (!isToken(network) && !isCidr(network)) problems.push(`networks: ${show(network)} is no CIDR block`);
  for (const host of model.routerHosts)
    if (!isToken(host) && !/^[A-Za-z0-9.-]+$/.test(host)) problems.push(`routerHosts: ${show(host)} is no host name`);
  const admin = adminUser(model);
  if (
    !/^[a-z_][a-z0-9_]{0,62}$/.test(admin) ||
    Object.values<string>(OWN_ROLES).includes(admin) ||
    admin.startsWith('pg_')
  )
    problems.push(
      `adminUser: ${show(admin)} must be lower-case letters, digits and underscores, and no role of the cluster itself`,
    );
  const validators = validatorLibraries(model.parameters.oauth_validator_libraries);
  problems.push(...hbaProblems(model.hba, model.majorVersion, validators).map((problem) => `hba${problem}`));
  problems.push(...parameterProblems(model.parameters, model.majorVersion).map((problem) => `parameters: ${problem}`));
  if (model.backup) {
    problems.push(...repositoryProblems('backup', model.backup));
    const timeout = model.backup.archiveTimeout;
    if (timeout !== undefined && !(Number.isInteger(timeout) && timeout >= 1 && timeout <= 3600))
      problems.push(`backup.archiveTimeout: ${timeout} must be 1 to 3600 seconds`);
    if (model.backup.secondRepository)
      problems.push(...repositoryProblems('backup.secondRepository', model.backup.secondRepository));
  }
  if (model.bootstrap) problems.push(...bootstrapProblems(model));
  for (const [name, slot] of Object.entries(model.logicalSlots ?? {})) {
    if (model.majorVersion < 17)
      problems.push(`logicalSlots.${name}: slots outlive a failover from 17 on, and this is ${model.majorVersion}`);
    if (!/^[a-z0-9_]{1,63}$/.test(name) || /^pg_\d+$/.test(name))
      problems.push(
        `logicalSlots: ${show(name)} must be lower-case letters, digits and underscores, and no slot of a member`,
      );
    if (/[\0\r\n]/.test(slot.database) || slot.database === '')
      problems.push(`logicalSlots.${name}: names no database`);
  }
  const lag = model.maximumLagOnFailover;
  if (lag !== undefined && !(Number.isSafeInteger(lag) && lag > 0))
    problems.push(`maximumLagOnFailover: ${lag} must be a positive number of bytes`);
  return problems;
}

function repositoryProblems(
  field: string,
  repository: Omit<RepositoryModel, 'retentionDays'> & { retentionDays?: number },
) {
  const problems: string[] = [];
  // Values of an ini file, one to a line.
  for (const [name, value] of Object.entries(repository))
    if (typeof value === 'string' && (value === '' || /[\0\r\n\s]/.test(value)))
      problems.push(`${field}.${name}: ${show(value)} is empty, or has a space or a line break`);
  const days = repository.retentionDays;
  if (days !== undefined && !(Number.isInteger(days) && days >= 1 && days <= 9_999_999))
    problems.push(`${field}.retentionDays: ${days} must be a whole number of days, 1 or more`);
  return problems;
}

function bootstrapProblems(model: ClusterModel): string[] {
  const { stanza, repository, target } = model.bootstrap!;
  const problems = repositoryProblems('bootstrap.repository', repository);
  if (!/^[a-z][a-z0-9-]{0,40}$/.test(stanza))
    problems.push(`bootstrap.stanza: ${show(stanza)} is no name of a cluster`);
  const { backup } = model;
  if (
    backup &&
    stanza === model.name &&
    backup.bucket === repository.bucket &&
    pathOf(stanza, backup) === pathOf(stanza, repository)
  )
    problems.push(
      `bootstrap: the cluster would archive to where it is restored from; give it another name, or backup.path, so that what is there stays as it is`,
    );
  const forms: Record<RecoveryTargetModel['type'], RegExp | undefined> = {
    latest: undefined,
    immediate: undefined,
    // A time without a zone would be one of the server's.
    time: /^\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d(:?\d\d)?)$/,
    lsn: /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/i,
    name: /^[^'\\\0\r\n]{1,63}$/,
    xid: /^\d{1,20}$/,
  };
  if (!(target.type in forms))
    problems.push(`bootstrap.target: ${show(target.type)} is none of ${Object.keys(forms).join(', ')}`);
  const form = forms[target.type];
  if (form ? !form.test(target.value ?? '') : target.value !== undefined)
    problems.push(
      `bootstrap.target: ${show(target.value ?? '')} is no ${target.type}` +
        (target.type === 'time' ? '; write one with its zone, such as 2026-03-01 12:00:00+00' : ''),
    );
  if (target.timeline !== undefined && !/^(latest|current|\d{1,10}|0x[0-9a-f]{1,8})$/i.test(target.timeline))
    problems.push(`bootstrap.target.timeline: ${show(target.timeline)} is neither latest, current nor a number`);
  return problems;
}

/** The folder of a repository in its bucket. */
export function pathOf(stanza: string, repository: Pick<RepositoryModel, 'path'>): string {
  return `/${(repository.path ?? stanza).replace(/^\/+|\/+$/g, '')}`;
}
