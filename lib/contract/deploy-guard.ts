/** The CloudFormation type of the custom resource that stands before a server. */
export const DEPLOY_GUARD_TYPE = 'Custom::CdkPostgresDeployGuard';

/** The metadata of that resource, for `cdk-postgres check`. */
export const DEPLOY_GUARD_METADATA = 'cdk-postgres';

export interface DeployGuardMetadata {
  /** The generation of defaults that the server was declared with. */
  readonly defaults: string;
  /** Parameters of the server's groups that wait for a reboot, by the group's logical id. */
  readonly staticParameters: Readonly<Record<string, readonly string[]>>;
}

/** What the guard's function gets besides CloudFormation's own fields. Every scalar may arrive as a string. */
export interface DeployGuardProperties {
  readonly ServiceToken: string;
  readonly Servers: readonly GuardedServer[];
  readonly Acknowledgements?: readonly GuardAcknowledgementLine[];
}

/** One instance or cluster as the template wants it. */
export interface GuardedServer {
  /** Where the app declares it. */
  readonly Path: string;
  readonly LogicalId: string;
  readonly Type: 'AWS::RDS::DBInstance' | 'AWS::RDS::DBCluster';
  /** The name in RDS, always explicit. */
  readonly Identifier: string;
  readonly EngineVersion?: string;
  /** The family of its parameter group, such as `postgres18`, where the app makes the group. */
  readonly ParameterFamily?: string;
  readonly Class?: string;
  /** The properties that cannot change in place, by their CloudFormation name; absent ones are not set. */
  readonly CreateOnly: Readonly<Record<string, unknown>>;
  /** What it is restored from, where the guard can look at it. */
  readonly Source?: GuardedSource;
}

/** The source of a restore, and what the restored server wants of it. */
export interface GuardedSource {
  readonly Kind: 'instance' | 'cluster' | 'snapshot' | 'cluster-snapshot';
  /** Its name, or the ARN of a snapshot. */
  readonly Identifier: string;
  readonly MasterUsername?: string;
  /** `yyyy-mm-ddThh:mm:ssZ`. Absent: the latest, or a snapshot's. */
  readonly RestoreTime?: string;
  /** In GiB. */
  readonly AllocatedStorage?: string;
  readonly MaxAllocatedStorage?: string;
}

export interface GuardAcknowledgementLine {
  readonly Id: string;
  readonly Reason: string;
  /** The last day on which it holds, `yyyy-mm-dd` in UTC. */
  readonly Expires: string;
}

/** A day of the calendar as `yyyy-mm-dd`; the 31st of November is none. */
export function isDay(text: string): boolean {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const day = new Date(`${text}T00:00:00Z`);
  return !Number.isNaN(day.getTime()) && day.toISOString().startsWith(text);
}

/** What the deploy guard refuses, by the id that acknowledges it. */
export const GUARD_IDS = {
  'guard:replacement': 'a change for which CloudFormation makes a new server and gives up the old one',
  'guard:empty-successor': 'a new, empty server where one with data stands',
  'guard:engine': 'another engine under the same construct',
  'guard:major-version': 'an upgrade of the major version in place',
  'guard:downgrade': 'an older version than the one that runs',
  'guard:identifier-taken': 'a new server under the name of one that exists and is not of this resource',
  'guard:restore-source': 'a restore from what is not there, or is not what the new server says',
  'guard:port': 'another port, under which no client looks for the server',
} as const;

export type GuardId = keyof typeof GUARD_IDS;

/** Properties that say what a server is made from. One that goes away may leave an empty server behind. */
export const RESTORE_PROPERTIES: ReadonlySet<string> = new Set([
  'DBClusterSnapshotIdentifier',
  'DBSnapshotIdentifier',
  'RestoreTime',
  'RestoreToTime',
  'RestoreType',
  'SnapshotIdentifier',
  'SourceDBClusterIdentifier',
  'SourceDBInstanceAutomatedBackupsArn',
  'SourceDBInstanceIdentifier',
  'SourceDbClusterResourceId',
  'SourceDbiResourceId',
  'UseLatestRestorableTime',
]);
