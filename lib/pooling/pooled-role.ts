import { aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';

/** What a pooler has to know of a role that logs in through it. */
export interface PooledRole {
  /** The construct that declares it. */
  readonly construct: IConstruct;
  readonly roleName: string;
  readonly databaseName: string;
  /** `password`, `alternatingPasswords`, `iam` or `none`. */
  readonly method: string;
  /** Who logs in: the role itself, or the two that take turns. */
  readonly logins: readonly string[];
  /** Of a role with a password. */
  readonly secret?: secretsmanager.ISecret;
  /** How many sessions the server lets each login have. Absent: no limit. */
  readonly connectionLimit?: number;
  /** Whether it streams changes. */
  readonly replication: boolean;
  /** The role that its sessions work as, which a setting of the role switches to at login. */
  readonly actsAs?: string;
}
