import { Fields } from './fields';
import { nameProblem } from './names';

/** Name of the environment variable in which a pooler's task finds its `PoolerDocument`, as JSON. */
export const POOLER_VARIABLE = 'CDK_POSTGRES_POOLER';

/**
 * Name of the environment variable of the rotation function with how many seconds a pending password is left for poolers to pick up,
 * before it becomes the current one. Absent: 0.
 */
export const POOLER_PICKUP_VARIABLE = 'CDK_POSTGRES_POOLER_PICKUP';

/** A document of another version is refused, so that an old image never half understands a new one. */
export const POOLER_VERSION = 1;

/** Where clients connect to, on the task and on the load balancer. */
export const POOLER_PORT = 6432;

/** Milliseconds that are left for the last transactions of a task that stops, before ECS kills it. */
export const LAST_TRANSACTIONS = 15_000;

/** What follows the name of a database in the name of its alias with a server connection for each client. */
export const SESSION_SUFFIX = '_session';

/** The folder that the task mounts as a tmpfs, the only one that it writes. */
export const POOLER_FOLDER = '/run/pgbouncer';

/** What the task of a pooler is told. Every scalar may be a string. Times are in seconds, sizes those of the whole task. */
export interface PoolerDocument {
  readonly version: number | string;
  readonly server: PooledServerDocument;
  /** By the name that the database has on the server. */
  readonly databases: Readonly<Record<string, PooledDatabaseDocument>>;
  /** Role, or group whose logins take turns, to the ARN of its secret (`RoleSecretDocument`). */
  readonly secrets: Readonly<Record<string, string>>;
  /** ARN of the secret with the `PoolerCertificateDocument`. */
  readonly certificateSecret: string;
  /** PgBouncer has one thread: as many as the task has vCPUs. They share the port and know each other, so that a cancel arrives. @default 1 */
  readonly processes?: number | string;
  /** Where clients connect to. @default 6432 */
  readonly port?: number | string;
  /** Clients that are let in; the task's limit of open files must be higher. @default 5000 */
  readonly maxClientConnections?: number | string;
  /** Statements that are kept prepared for each server connection (CP-8). @default 200 */
  readonly maxPreparedStatements?: number | string;
  readonly timeouts?: PoolerTimeoutsDocument;
  /** After that, ECS kills a task that stops; at most 120 on Fargate. @default 120 */
  readonly stopTimeout?: number | string;
  /** How often the secrets are looked at, give or take a tenth. @default 60 */
  readonly secretsInterval?: number | string;
  readonly metrics?: PoolerMetricsDocument;
}

export interface PooledServerDocument {
  readonly host: string;
  readonly port: number | string;
  /** As `ServerReference.Trust`: the shipped RDS bundle, the public roots, or a PEM text. Always verify-full. */
  readonly trust: 'rds' | 'public' | string;
}

/** Each login has a pool of its own, and all of them together stay below `maxConnections`. At least one connection for each process. */
export interface PooledDatabaseDocument {
  /** Server connections of a login. */
  readonly poolSize: number | string;
  /** Further ones of a login, after clients have waited for 3 s (`reservePoolTimeout`). @default 0 */
  readonly reservePoolSize?: number | string;
  /** Server connections of all logins. */
  readonly maxConnections: number | string;
  /** The same of the alias `NAME_session`; 0: there is no such alias. @default 0 */
  readonly sessionConnections?: number | string;
}

/** In seconds. */
export interface PoolerTimeoutsDocument {
  /** A client that waits longer for a server connection is refused. @default 10 */
  readonly queryWait?: number | string;
  /** 0: never. @default 0 */
  readonly clientIdle?: number | string;
  /** A transaction in which nothing happens for longer is ended; 0: never. @default 60 */
  readonly idleTransaction?: number | string;
  /** 0: never. @default 0 */
  readonly transaction?: number | string;
  /** @default 1800 */
  readonly serverLifetime?: number | string;
  /** @default 300 */
  readonly serverIdle?: number | string;
  /** @default 3 */
  readonly reservePool?: number | string;
}

export interface PoolerMetricsDocument {
  /** At least one, and at most 30. */
  readonly dimensions: Readonly<Record<string, string>>;
  /** @default 60 */
  readonly interval?: number | string;
}

/** The JSON of the secret with what the pooler proves to its clients who it is. */
export interface PoolerCertificateDocument {
  /** PEM: the pooler's own certificate, then those between it and the root. */
  readonly certificate: string;
  /** PEM, unencrypted. */
  readonly privateKey: string;
  /** PEM: the root that clients trust. The pooler does not need it. */
  readonly ca?: string;
}

/** What the pooler measures, by the name of the metric: the sum of its processes, and of the interval where it counts something. */
export const POOLER_METRICS = [
  'ClientsActive',
  'ClientsWaiting',
  'ServersActive',
  'ServersIdle',
  'LongestWaitMilliseconds',
  'AverageWaitMilliseconds',
  'AverageQueryMilliseconds',
  'Transactions',
  'Queries',
  'StatementsPreparedByClients',
  'StatementsPreparedOnServer',
  'LoginFailures',
  'ServerFailures',
  'SecretsUnreadable',
  'ProcessesRestarted',
] as const;

export type PoolerMetric = (typeof POOLER_METRICS)[number];

/** A `PoolerDocument` that has been read: everything is there, and numbers are numbers. */
export interface PoolerConfiguration {
  readonly server: { readonly host: string; readonly port: number; readonly trust: string };
  readonly databases: readonly PooledDatabase[];
  readonly secrets: Readonly<Record<string, string>>;
  readonly certificateSecret: string;
  readonly processes: number;
  readonly port: number;
  readonly maxClientConnections: number;
  readonly maxPreparedStatements: number;
  readonly timeouts: Readonly<Record<keyof PoolerTimeoutsDocument, number>>;
  readonly stopTimeout: number;
  readonly secretsInterval: number;
  readonly metrics?: { readonly dimensions: Readonly<Record<string, string>>; readonly interval: number };
}

export interface PooledDatabase {
  readonly name: string;
  readonly poolSize: number;
  readonly reservePoolSize: number;
  readonly maxConnections: number;
  readonly sessionConnections: number;
}

/** A document that is none of a pooler, with the place of every problem. */
export class PoolerDocumentError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(`The configuration of the pooler is not valid: ${problems.join('; ')}`);
    this.name = 'PoolerDocumentError';
  }
}

const DAY = 86_400;
/** PgBouncer's parser knows no quotes in the name of a database, whatever its manual says. */
const DATABASE = /^[A-Za-z0-9_.-]+$/;
const ARN = /^arn:[a-z0-9-]+:secretsmanager:[a-z0-9-]+:\d{12}:secret:\S+$/;
const CONTROL = /\p{Cc}/u;

/** Reads a document strictly: an unknown key, a wrong type, a number out of range or a name that PgBouncer cannot have is an error. */
export function decodePooler(document: unknown): PoolerConfiguration {
  const problems: string[] = [];
  const top = new Fields(document, 'the configuration', problems);
  const version = top.integer('version');
  if (version !== undefined && version !== POOLER_VERSION)
    throw new PoolerDocumentError([
      `version is ${version}, and this image reads version ${POOLER_VERSION}: deploy the image of the same version of cdk-postgres`,
    ]);
  const processes = top.integerIn('processes', 1, 64, 1);
  const inner = <T>(key: string, read: (fields: Fields) => T, otherwise: object): T => {
    const fields = new Fields(top.value(key) ?? otherwise, key, problems);
    const result = read(fields);
    fields.end();
    return result;
  };
  const configuration = {
    server: inner(
      'server',
      (fields) => ({
        host: fields.string('host') ?? '',
        port: fields.integerIn('port', 1, 65_535),
        trust: fields.string('trust') ?? '',
      }),
      {},
    ),
    databases: top.entries('databases', (name, value, place): PooledDatabase => {
      const fields = new Fields(value, place, problems);
      const database = {
        name,
        poolSize: fields.integerIn('poolSize', processes, 10_000),
        reservePoolSize: fields.integerIn('reservePoolSize', 0, 10_000, 0),
        maxConnections: fields.integerIn('maxConnections', processes, 10_000),
        sessionConnections: fields.integerIn('sessionConnections', 0, 10_000, 0),
      };
      fields.end();
      // PgBouncer would take nothing for no limit at all.
      if (database.sessionConnections > 0 && database.sessionConnections < processes)
        problems.push(`sessionConnections of ${place} must be 0, or at least one for each of ${processes} processes`);
      return database;
    }),
    secrets: Object.fromEntries(
      top.entries('secrets', (role, arn, place) => {
        if (typeof arn !== 'string' || !ARN.test(arn)) problems.push(`${place} must be the ARN of a secret`);
        return [role, String(arn)];
      }),
    ),
    certificateSecret: top.string('certificateSecret') ?? '',
    processes,
    port: top.integerIn('port', 1024, 65_535, POOLER_PORT),
    maxClientConnections: top.integerIn('maxClientConnections', processes, 100_000, 5000),
    maxPreparedStatements: top.integerIn('maxPreparedStatements', 0, 10_000, 200),
    timeouts: inner(
      'timeouts',
      (fields) => ({
        queryWait: fields.integerIn('queryWait', 1, DAY, 10),
        clientIdle: fields.integerIn('clientIdle', 0, DAY, 0),
        idleTransaction: fields.integerIn('idleTransaction', 0, DAY, 60),
        transaction: fields.integerIn('transaction', 0, DAY, 0),
        serverLifetime: fields.integerIn('serverLifetime', 1, DAY, 1800),
        serverIdle: fields.integerIn('serverIdle', 1, DAY, 300),
        reservePool: fields.integerIn('reservePool', 1, DAY, 3),
      }),
      {},
    ),
    stopTimeout: top.integerIn('stopTimeout', LAST_TRANSACTIONS / 1000 + 5, 3600, 120),
    secretsInterval: top.integerIn('secretsInterval', 1, 3600, 60),
    metrics: readMetrics(top.value('metrics'), problems),
  };
  top.end();
  problems.push(...meaningProblems(configuration));
  if (problems.length > 0) throw new PoolerDocumentError(problems);
  return configuration;
}

function readMetrics(value: unknown, problems: string[]): PoolerConfiguration['metrics'] {
  if (value === undefined) return undefined;
  const fields = new Fields(value, 'metrics', problems);
  const dimensions = fields.entries('dimensions', (name, text, place): [string, string] => {
    if (typeof text !== 'string' || text === '') problems.push(`${place} must be a text that is not empty`);
    return [name, String(text)];
  });
  if (dimensions.length < 1 || dimensions.length > 30) problems.push('dimensions of metrics must be 1 to 30');
  const interval = fields.integerIn('interval', 1, 3600, 60);
  fields.end();
  return { dimensions: Object.fromEntries(dimensions), interval };
}

/** What no single field can show. */
function meaningProblems(configuration: PoolerConfiguration): string[] {
  const problems: string[] = [];
  const { databases, secrets, server, certificateSecret } = configuration;
  if (databases.length === 0) problems.push('there is no database');
  const aliases = new Map<string, string>([['pgbouncer', 'the console of PgBouncer']]);
  for (const { name, sessionConnections } of databases) {
    for (const alias of [name, ...(sessionConnections > 0 ? [name + SESSION_SUFFIX] : [])]) {
      const problem =
        nameProblem('database', alias) ??
        (DATABASE.test(alias)
          ? undefined
          : 'has other characters than A-Z a-z 0-9 _ . -, which PgBouncer does not serve');
      if (problem) problems.push(`the database ${JSON.stringify(alias)} ${problem}`);
      const taken = aliases.get(alias);
      if (taken !== undefined) problems.push(`the database ${JSON.stringify(alias)} has the name of ${taken}`);
      aliases.set(
        alias,
        alias === name ? `the database ${JSON.stringify(name)}` : `an alias of ${JSON.stringify(name)}`,
      );
    }
  }
  for (const role of Object.keys(secrets)) {
    const problem = nameProblem('object', role) ?? (CONTROL.test(role) ? 'contains a control character' : undefined);
    if (problem) problems.push(`the role ${JSON.stringify(role)} ${problem}`);
  }
  if (certificateSecret !== '' && !ARN.test(certificateSecret))
    problems.push('certificateSecret must be the ARN of a secret');
  // One name: PgBouncer takes a comma for a further host, and a slash for the folder of a socket, on which nobody is verified.
  if (!/^[A-Za-z0-9._:-]*$/.test(server.host)) problems.push(`the host ${JSON.stringify(server.host)} is none`);
  if (!['', 'rds', 'public'].includes(server.trust) && !server.trust.includes('-----BEGIN CERTIFICATE-----'))
    problems.push('trust of server must be rds, public or a PEM text');
  return problems;
}
