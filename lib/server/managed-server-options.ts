import {
  Duration,
  RemovalPolicy,
  Size,
  aws_ec2 as ec2,
  aws_kms as kms,
  aws_logs as logs,
  aws_sns as sns,
} from 'aws-cdk-lib';
import { AllowedExtensions } from './allowed-extensions';
import { RecoveryObjectives } from './objectives';
import { Defaults, PostgresProfile } from './postgres-profile';
import { PostgresVersion } from './postgres-version';
import { VaultLock } from './recovery/vault-lock';

/** What `RdsPostgres` and `AuroraPostgres` have in common. */
export interface ManagedServerOptions {
  /** The network the server stands in. */
  readonly vpc: ec2.IVpc;

  /**
   * The subnets of the server and of the functions that configure it.
   *
   * @default - the isolated subnets of the network, or its private ones where it has none isolated; a public subnet is an error (SEC-15)
   */
  readonly vpcSubnets?: ec2.SubnetSelection;

  /**
   * Security groups of the server.
   *
   * @default - one of its own, which nobody may enter until a connection is granted (SEC-15)
   */
  readonly securityGroups?: ec2.ISecurityGroup[];

  /** The major version. The minor version upgrades itself (LR-21). */
  readonly version: PostgresVersion;

  /** What the business can bear; a server that cannot hold to it as configured is a finding (BK-1). */
  readonly objectives: RecoveryObjectives;

  /**
   * What the server is for.
   *
   * @default PostgresProfile.production()
   */
  readonly profile?: PostgresProfile;

  /**
   * The generation of defaults, so that an update of this package changes no server.
   *
   * @default Defaults.V1
   */
  readonly defaults?: Defaults;

  /**
   * How far back the server can be restored to any second (BK-3), 1 to 35 days.
   *
   * @default - 14 days, or `objectives.history` where that is more; 1 day in the development profile. Less than 7 days in production is a
   * finding
   */
  readonly pointInTimeRecovery?: Duration;

  /**
   * The lock of the vault with the daily snapshots (BK-13).
   *
   * @default VaultLock.governance()
   */
  readonly backupVaultLock?: VaultLock;

  /**
   * The class of each node.
   *
   * @default - r7g.large (Graviton, OPS-12), for `MultiAzPostgres` r6gd.large; t4g.medium in the development profile. A burstable class in production is a finding
   */
  readonly instanceType?: ec2.InstanceType;

  /**
   * Server parameters that differ from this library's opinion. A name, scope or value that the version does not know is an error.
   *
   * @default - this library's opinion alone (SEC-9, SEC-11, SEC-20, SEC-21, OPS-5)
   */
  readonly parameters?: { [name: string]: string };

  /**
   * Which extensions anybody may install, by the parameter `rds.allowed_extensions` (SEC-23).
   *
   * @default - not restricted: the server allows each that Amazon RDS supports, to those who may create it
   */
  readonly allowedExtensions?: AllowedExtensions;

  /**
   * The port. It must be a literal number.
   *
   * @default 5433 for every managed server: scanners try 5432 first, one rule pack refuses it, and servers stay exchangeable
   */
  readonly port?: number;

  /**
   * The name of the instance or cluster in RDS: lower-case letters, digits and single hyphens, at most 50 characters.
   *
   * A changed name replaces the server, which the deploy guard refuses.
   *
   * @default - made from the construct's path
   */
  readonly identifier?: string;

  /**
   * The name of the master user. The server keeps it for life.
   *
   * @default 'postgres'
   */
  readonly masterUsername?: string;

  /**
   * Customer key of storage, snapshots, Insights, logs, secrets and alarms (BK-14, SEC-22). The server keeps it for life.
   *
   * The policy of an imported key must let CloudWatch Logs and CloudWatch alarms use it.
   *
   * @default - a key of its own with yearly rotation, kept when the stack goes
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * The daily window of automated backups, `hh:mm-hh:mm` in UTC (OPS-11).
   *
   * @default '01:00-02:00'
   */
  readonly backupWindow?: string;

  /**
   * The weekly window of maintenance and minor upgrades, `ddd:hh:mm-ddd:hh:mm` in UTC (OPS-11). It may not overlap the backup window.
   *
   * @default 'sun:03:00-sun:04:00'
   */
  readonly maintenanceWindow?: string;

  /**
   * Whether the minor version upgrades itself in the maintenance window (LR-21).
   *
   * @default true
   */
  readonly autoMinorVersionUpgrade?: boolean;

  /**
   * Refuses deletion by anybody until it is switched off (BK-15).
   *
   * @default - true; false in the development profile
   */
  readonly deletionProtection?: boolean;

  /**
   * What becomes of the server when it leaves the stack (BK-15).
   *
   * @default RemovalPolicy.RETAIN; RemovalPolicy.DESTROY in the development profile
   */
  readonly removalPolicy?: RemovalPolicy;

  /**
   * Where alarms go (OPS-4).
   *
   * @default - an encrypted topic of its own, to which nobody is subscribed: a warning until somebody is. None in the development profile
   */
  readonly alarmTopic?: sns.ITopic;

  /**
   * How long the exported PostgreSQL log is kept (SEC-21).
   *
   * @default - one year; one week in the development profile
   */
  readonly logRetention?: logs.RetentionDays;

  /**
   * Interval of enhanced monitoring (OPS-6): 1, 5, 10, 15, 30 or 60 seconds.
   *
   * @default - 60 seconds; off in the development profile
   */
  readonly monitoringInterval?: Duration;

  /**
   * The name under which this server's declared inside claims its objects in the ledger.
   *
   * @default - the stack's name
   */
  readonly stateName?: string;

  /**
   * How often the passwords of the master and of password roles change (SEC-18).
   *
   * @default Duration.days(30)
   */
  readonly passwordRotation?: Duration;

  /**
   * Whether the functions reserve their concurrency in the account. A new account has nothing to reserve; without it two rule packs
   * report LambdaConcurrency.
   *
   * @default true
   */
  readonly reserveConcurrency?: boolean;
}

/** Storage of an `RdsPostgres`. */
export interface StorageOptions {
  /**
   * Storage at creation.
   *
   * @default - 100 GiB; 20 GiB in the development profile
   */
  readonly allocatedStorage?: Size;

  /**
   * The ceiling to which storage grows by itself (OPS-4). It must be above the storage at creation.
   *
   * @default - five times the storage at creation
   */
  readonly maxAllocatedStorage?: Size;
}
