import { StateDocument } from './codec';

/** The CloudFormation type of the one custom resource per server and state. */
export const STATE_RESOURCE_TYPE = 'Custom::CdkPostgresState';

/** Where PostgreSQL runs. `external`: neither RDS nor Aurora; nothing but the protocol is assumed. */
export type Platform = 'rds' | 'aurora' | 'external';

/** What the state resource's function gets besides CloudFormation's own fields. Every scalar may arrive as a string. */
export interface StateResourceProperties {
  readonly ServiceToken: string;
  readonly Server: ServerReference;
  /** The declaration, in the open up to 100 kB. */
  readonly State?: StateDocument;
  /** From 100 kB on: the S3 object that holds the declaration as JSON. */
  readonly StateAsset?: { readonly Bucket: string; readonly Key: string };
  /** Role name to the ARN of its secret, for every role that logs in by password, and every group whose logins take turns. */
  readonly Secrets?: Readonly<Record<string, string>>;
  /** Key to the ARN of the secret that a subscription connects by, for every key that a subscription names. */
  readonly ConnectionSecrets?: Readonly<Record<string, string>>;
  /** Role name to the database that its secret names as `dbname`, for every role in `Secrets`. */
  readonly HomeDatabases?: Readonly<Record<string, string>>;
  /** The emergency exit: why this deployment leaves the database alone. The function then answers success without connecting. */
  readonly SkipReason?: string;
}

export interface ServerReference {
  readonly Platform: Platform;
  /** The server's immutable identity: DbiResourceId, DbClusterResourceId, or what the user states for an external server. */
  readonly Identity: string;
  readonly Host: string;
  readonly ReaderHost?: string;
  readonly Port: string | number;
  /** Secret with `username` and `password` of the role that applies the state. */
  readonly AdminSecretArn: string;
  /** The database that holds the ledger and the run lock. */
  readonly AdminDatabase: string;
  /** Whom the server's certificate is trusted from: the shipped RDS bundle, the public roots of Node.js, or a PEM text. Always verify-full. */
  readonly Trust: 'rds' | 'public' | string;
}

/** The JSON of a role's secret. `username` and `password` are made once; the function adds the rest. */
export interface RoleSecretDocument {
  readonly username: string;
  readonly password: string;
  /** Where two logins take turns: the role that carries their privileges. `username` is the one whose turn it is (`turnsOf()`). */
  readonly group?: string;
  readonly engine?: 'postgres';
  readonly host?: string;
  readonly readerHost?: string;
  readonly port?: number;
  readonly dbname?: string;
  /** SCRAM-SHA-256 verifier of `password`, made once per password and used by server and pooler alike. */
  readonly verifier?: string;
}

/** Where the functions that log metrics put them, by server and state. */
export const METRIC_NAMESPACE = 'CdkPostgres';
/** Name of the environment variable with the name of the state that the drift function looks at. */
export const STATE_NAME_VARIABLE = 'CDK_POSTGRES_STATE';
/** Name of the environment variable that says whether the drift function brings back what is missing: `enforce`, or `report`. */
export const DRIFT_MODE_VARIABLE = 'CDK_POSTGRES_DRIFT';
/** Name of the environment variable in which the rotation and the drift function find its `ServerReference`, as JSON. */
export const SERVER_VARIABLE = 'CDK_POSTGRES_SERVER';
