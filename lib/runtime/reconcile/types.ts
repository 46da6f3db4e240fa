import { DesiredState } from '../../contract';

/** What a state can own; `isolation`: the row security of a schema, once every table of it that has the column was enforced. */
export type ManagedKind =
  'role' | 'database' | 'schema' | 'isolation' | 'extension' | 'publication' | 'subscription' | 'slot';

/**
 * What a step does to those who work with the server. add: something new; widen: more access; narrow: less access;
 * disruptive: sessions may notice (owner, NOLOGIN); destructive: something is gone for good.
 */
export type Risk = 'add' | 'widen' | 'narrow' | 'disruptive' | 'destructive';

export interface Statement {
  /** As shown and as run, except that a password statement shows a placeholder for the verifier. */
  readonly sql: string;
  /** The role that runs it (SET LOCAL ROLE); absent: the connected role itself. */
  readonly as?: string;
  /** The role, or the group of a login that takes turns, whose verifier takes the place of the placeholder when the statement runs. */
  readonly verifierOf?: string;
  /** The key of the secret whose connection string is the statement's only parameter; what is shown has a placeholder for it. */
  readonly connectionOf?: string;
}

export interface Step {
  /** A hash of what the step does: the same step has the same id in every plan. */
  readonly id: string;
  /** The database it runs in; the admin database for what belongs to the whole server. */
  readonly database: string;
  readonly risk: Risk;
  /** What changes, for a reader: `role api`, `grant on schema billing to report`. */
  readonly object: string;
  readonly reason: string;
  readonly statements: readonly Statement[];
  /** False for what PostgreSQL refuses inside a transaction block (CREATE DATABASE). */
  readonly transactional: boolean;
  /** The table of a user that it locks against everybody: it then has a transaction of its own, waits for the lock shortly, and tries again. */
  readonly locks?: { readonly schema: string; readonly name: string };
  /** It has a transaction of its own for another reason. */
  readonly alone?: boolean;
  /** Why the step is not run; absent for a step that runs. */
  readonly withheld?: string;
  /** It is withheld because it cannot be done: no acknowledgement helps. */
  readonly impossible?: boolean;
  /** Of a withheld step: who has now what it would take away. */
  readonly heldBy?: HeldBy;
}

/** Those who have something now, whoever it was given to; PUBLIC is every role. */
export interface HeldBy {
  /** The first of them, those who log in before groups. */
  readonly roles: readonly Holder[];
  readonly count: number;
}

export interface Holder {
  readonly role: string;
  readonly login: boolean;
  /** From the role to whom it was given, over memberships. */
  readonly path: readonly string[];
  /** The role of the path that it has to SET ROLE to first, where a membership is not inherited. */
  readonly setRole?: string;
}

export interface Plan {
  /** In the order in which they run. */
  readonly steps: readonly Step[];
  /** Steps that wait for `acknowledge`, or that this role has no power to run. */
  readonly withheld: readonly Step[];
  /** The hash to acknowledge so that the withheld steps run; absent when none waits for it. */
  readonly hash?: string;
  /** What a reader should know and nothing will change: objects left alone, sessions older than a setting. */
  readonly notes: readonly string[];
}

/** The plan cannot be made safely; nothing was changed. Each problem names the object and what to do. */
export class RefusedError extends Error {
  constructor(readonly problems: readonly string[]) {
    super(problems.length === 1 ? problems[0] : `${problems.length} problems: ${problems.join(' | ')}`);
    this.name = 'RefusedError';
  }
}

/** Whom a run answers. */
export interface RunRequest {
  readonly id: string;
  /** When it was made, in ISO 8601 to the second; absent: unknown, and then only a request that was recorded is known to be over. */
  readonly at?: string;
}

/** The request is over, and another one was carried out since: to do it now would put the server back. */
export class AnsweredError extends Error {
  /** `status`: absent for a request that comes so late that a later one was carried out before it. */
  constructor(readonly status?: 'SUCCESS' | 'FAILED') {
    super(
      status === undefined
        ? 'a request that was made later has been carried out already: this one came too late, and nothing was changed'
        : `this request was answered with ${status} before, and a later one has been carried out since: it came again, and nothing was changed`,
    );
    this.name = 'AnsweredError';
  }
}

export interface ConnectionSettings {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** The database with the ledger and the run lock; default `postgres`. */
  readonly database?: string;
  /** PEM of the trusted roots for verify-full; `false` only for a Unix socket or a loopback test server. */
  readonly ca: string | false;
}

export interface RoleSecret {
  /** Who logs in with it: in the secret of a group, the login whose turn it is. Absent: the role that was asked for. */
  readonly user?: string;
  readonly password: string;
  readonly verifier: string;
  /** The secret's version id; its hash goes to the ledger. */
  readonly versionId: string;
}

/** Gives the secret of a role that logs in by password, or of a group whose logins take turns, or throws an error that says what is wrong with it (never PASSWORD NULL). */
export type SecretSource = (role: string) => Promise<RoleSecret>;

/** Where a subscription gets its rows from. */
export interface PublisherConnection {
  readonly host: string;
  readonly port: number;
  readonly dbname: string;
  readonly username: string;
  readonly password: string;
  /** Absent: verify-full. */
  readonly sslmode?: string;
  /** A file on the subscribing server. Absent: where Amazon RDS keeps the roots, or the operating system's. */
  readonly sslrootcert?: string;
  /** The secret's version id; its hash goes to the ledger. */
  readonly versionId: string;
}

/** Gives the connection that a subscription's secret holds, by the key that the declaration has for it. */
export type ConnectionSource = (key: string) => Promise<PublisherConnection>;

export interface ReconcileOptions {
  readonly mode: 'plan' | 'apply';
  /** The server's immutable identity (resource id); absent: the host and port, for an external server. */
  readonly identity?: string;
  /** The identity that the last deployment of this state gave, where it is known: a rollback may give an older one again. */
  readonly identityBefore?: string;
  /** Absent: password roles are planned, and applying one is an error. */
  readonly secrets?: SecretSource;
  /** Absent: subscriptions are planned, and applying one is an error. */
  readonly connections?: ConnectionSource;
  /** Plan hashes to acknowledge besides those in the state. */
  readonly acknowledge?: readonly string[];
  /** Epoch milliseconds after which no new step is started. */
  readonly deadline?: number;
  /** A rollback: never fail on extra objects, withhold everything that narrows. */
  readonly rollback?: boolean;
  /** Only what gives: whatever takes away, changes or sets a password is withheld, and waits for a deployment. */
  readonly onlyAdd?: boolean;
  /** Who deploys the state (stack and resource), so that only that one can release it. */
  readonly holder?: string;
  /** The request that this run answers. One that is over, since a later one was carried out, is an `AnsweredError`. */
  readonly request?: RunRequest;
  /**
   * Whether the request is noted in the ledger where there is nothing to do, too. An update that goes forward needs no note: what was made
   * before it is late by the time of what changed something, or went back, since.
   */
  readonly noteUnchanged?: boolean;
  /** Also compute who can do what, for the report. */
  readonly access?: boolean;
  /** Told what is being done, in a few words. */
  readonly onProgress?: (message: string) => void;
}

export interface ServerFacts {
  readonly versionNumber: number;
  readonly version: string;
  readonly user: string;
  readonly flavour: 'rds' | 'plain';
  readonly power: 'superuser' | 'createrole' | 'none';
  readonly identity: string;
}

/** `write`: it adds or changes rows and reads none, as an audit trail's writer. `other`: it enters the schema, and that is all. */
export type AccessLevel = 'owner' | 'read-write' | 'write' | 'read' | 'other' | 'none';

/** What a role can do in a schema, through whatever path, computed by the server itself. */
export interface AccessRow {
  readonly role: string;
  readonly database: string;
  readonly schema: string;
  readonly level: AccessLevel;
}

export interface Report {
  readonly outcome: 'unchanged' | 'applied' | 'planned';
  readonly server: ServerFacts;
  /** The server is a restored or cloned copy; its ledger spoke of another identity. */
  readonly rehomedFrom?: string;
  readonly plan: Plan;
  /** After an apply: what a second observation found. Both lists are empty, or reconcile() threw a ProofError. */
  readonly proof?: { readonly checkedPrivileges: number; readonly checkedLogins: number };
  readonly access: readonly AccessRow[];
  /** How many sessions those have now who hold what a withheld step would take away. */
  readonly sessions: Readonly<Record<string, number>>;
  /** Milliseconds by phase. */
  readonly timings: Readonly<Record<'connect' | 'observe' | 'plan' | 'apply' | 'prove', number>>;
  /** Statements sent: to read the catalog, and to change something. */
  readonly statements: { readonly reads: number; readonly writes: number };
}

/** The steps ran without an error and the server is still not as declared. */
export class ProofError extends Error {
  constructor(readonly remaining: readonly string[]) {
    super(`The server is not as declared after the run: ${remaining.join(' | ')}`);
    this.name = 'ProofError';
  }
}

/** Implemented by `reconcile()` in index.ts: observe, plan, apply, prove, under the run lock of the server. */
export type Reconcile = (
  desired: DesiredState,
  connection: ConnectionSettings,
  options: ReconcileOptions,
) => Promise<Report>;
