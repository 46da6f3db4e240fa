import pRetry from 'p-retry';
import { DesiredRole, DesiredState, strictState, turnsOf } from '../../contract';
import { isConnectionFailure, tryLogin } from '../connection';
import { observeAccess } from './access';
import { applyGroup, groupSteps, isOvertaken, OvertakenError } from './apply';
import { ClaimChanges, claimsAtEnd, claimsAtStart, withChanges } from './claims';
import { observeComments } from './comments';
import { Connections } from './connections';
import { fingerprint, fingerprintInside } from './fingerprint';
import {
  answeredBefore,
  closeKilledRuns,
  createLedger,
  declarationHash,
  finishRun,
  forgetObjects,
  freeObjects,
  Ledger,
  LEDGER_VERSION,
  mendLedger,
  LedgerHead,
  readLedgerHead,
  readLedger,
  recordConnections,
  recordRequest,
  readConnections,
  recordIdentity,
  recordObjects,
  recordState,
  refuseForeignClaims,
  rehome,
  startRun,
} from './ledger';
import { holdersOf } from './holders';
import { lockServer } from './lock';
import {
  observeConnected,
  observeFacts,
  observeInside,
  observeServer,
  observeSessions,
  observeSettingFacts,
  ServerFacts,
} from './observe';
import { anyLeft, observeDrops } from './observe-drops';
import { observeExtensions } from './observe-extensions';
import { observeIsolation } from './observe-isolations';
import { observeReplication, observeReplicationFacts } from './observe-replication';
import { Inside, LoginVerdict, Observed } from './observed';
import { makePlan } from './plan';
import { ineffective } from './prove';
import { connectionString } from './publisher';
import { connectionKey } from './replication';
import { Session } from './session';
import { hash } from './sql';
import {
  AccessRow,
  AnsweredError,
  ConnectionSource,
  ConnectionSettings,
  Plan,
  ProofError,
  PublisherConnection,
  Reconcile,
  ReconcileOptions,
  RefusedError,
  Report,
  RoleSecret,
  RunRequest,
  SecretSource,
  Step,
} from './types';

export * from './drift';
export * from './handover';
export * from './approval';
export * from './types';

const NOTHING: Plan = { steps: [], withheld: [], notes: [] };
const OLDEST_MAJOR = 16;
const NEWEST_MAJOR = 18;
const LOCK_WAIT_MS = 60_000;
/** An apply can show what a plan could not see, such as what template1 gave to a new database; more rounds than this show nothing new. */
const MOST_PASSES = 4;
/** How often a run begins anew when its connection breaks or another tool is in its way: each run is complete in itself. */
const MOST_ATTEMPTS = 3;

export const reconcile: Reconcile = async (desired, connection, options) => {
  // Whoever made the declaration: read strictly, a name that PostgreSQL would change or a word of SQL goes no further.
  const state = strictState(desired);
  return pRetry(
    async () => {
      const run = new Run(state, connection, options);
      try {
        return await run.go();
      } catch (error) {
        const overtaken = isOvertaken(error);
        const mayTryAgain =
          (overtaken || isConnectionFailure(error)) && Date.now() < (options.deadline ?? Infinity) - 5_000;
        if (!isConnectionFailure(error)) await run.fail().catch(() => undefined); // the first error is the one to tell
        if (!mayTryAgain) {
          await run.noteFailure(error).catch(() => undefined);
          throw new pRetry.AbortError(error as Error);
        }
        const what = overtaken ? 'somebody else changed something meanwhile' : 'the connection was lost';
        options.onProgress?.(`${what}, and the run begins anew: ${(error as Error).message}`);
        throw error;
      } finally {
        await run.close();
      }
    },
    { retries: MOST_ATTEMPTS - 1, minTimeout: 300, randomize: true },
  );
};

/**
 * Frees what a state manages, so that another state may declare it; nothing in the server changes otherwise. `holder` is who
 * deployed the state last: a resource that another one has already replaced frees nothing, and so does one that was replaced by
 * itself when the server got another identity. So does a `request` that comes again, or late, after a later one. Source: reconciler
 * cases 107, 108.
 */
export async function release(
  stateName: string,
  connection: ConnectionSettings,
  holder: string,
  identity?: string,
  request?: RunRequest,
): Promise<'released' | 'kept'> {
  const connections = new Connections(connection, connection.database ?? 'postgres');
  try {
    const session = await connections.admin();
    await lockServer(session, Date.now() + LOCK_WAIT_MS, () => undefined);
    const head = await readLedgerHead(session, stateName);
    const isOthers =
      (head.holder !== undefined && head.holder !== holder) ||
      (identity !== undefined && head.identity !== undefined && head.identity !== identity);
    const isOver = isOthers || answeredBefore(request, head.requests) !== undefined;
    if (!head.exists || head.unreadable || head.version > LEDGER_VERSION || isOver) return 'kept';
    await session.transaction(async () => {
      await freeObjects(session, stateName);
      if (request) await recordRequest(session, stateName, { ...request, status: 'SUCCESS' }, head);
    });
    return 'released';
  } finally {
    await connections.close();
  }
}

class Run {
  private readonly adminDatabase: string;
  private readonly connections: Connections;
  private readonly timings = { connect: 0, observe: 0, plan: 0, apply: 0, prove: 0 };
  /** As they were when the logins were last tried, each read once. */
  private secrets?: SecretSource;
  /** The version of each secret that this run has set a password from. */
  private readonly setFrom = new Map<string, string>();
  private readonly publishers: ConnectionSource | undefined;
  /** By connectionKey(): the version of the secret that each subscription connects by, and what the ledger says of it. */
  private connected = new Map<string, string>();
  private recorded: ReadonlyMap<string, string> = new Map();
  private identity = '';
  private facts!: ServerFacts;
  private fingerprint?: string;
  private head?: LedgerHead;
  private ledger!: Ledger;
  private observed!: Observed;
  private rehomedFrom?: string;
  private sessions: Record<string, number> = {};
  private started = false;
  private hasOpenRun = false;
  private ledgerReady = false;

  constructor(
    private readonly desired: DesiredState,
    private readonly connection: ConnectionSettings,
    private readonly options: ReconcileOptions,
  ) {
    this.adminDatabase = connection.database ?? 'postgres';
    this.connections = new Connections(connection, this.adminDatabase);
    this.publishers = options.connections && remembered(options.connections);
  }

  close(): Promise<void> {
    return this.connections.close();
  }

  async go(): Promise<Report> {
    const { options, desired } = this;
    // While the admin connection is made and the ledger read, so is the one database, where there is only one: most runs end there.
    // Taken before the run lock, it may match what was proven, and is never noted as proven itself. The database may be yet to come.
    const inside =
      desired.databases.length === 1
        ? fingerprintInside(this.connections, desired).catch(() => undefined)
        : Promise.resolve(undefined);
    const admin = await this.timed('connect', async () => {
      const session = await this.connections.admin();
      if (options.mode === 'apply') {
        await lockServer(session, Math.min(Date.now() + LOCK_WAIT_MS, options.deadline ?? Infinity), (message) =>
          options.onProgress?.(message),
        );
      }
      return session;
    });
    this.identity = options.identity ?? `${this.connection.host}:${this.connection.port}`;
    const head = await this.timed('observe', async () => {
      this.facts = await observeFacts(admin, desired);
      this.refuseUnknownVersion();
      const found = await readLedgerHead(admin, desired.name);
      if (!found.damage || options.mode === 'plan') return found;
      await mendLedger(admin, found.damage);
      return readLedgerHead(admin, desired.name);
    });
    this.head = head;
    this.refuseAnswered(head);
    const newer = this.refuseNewerLedger(head);
    if (newer) return this.report('unchanged', { ...NOTHING, notes: [newer] });
    const returned = this.refuseReturnedIdentity(head);
    if (returned) return this.report('unchanged', { ...NOTHING, notes: [returned] });
    if (head.unreadable && options.mode === 'apply')
      throw new RefusedError([head.unreadable, ...(head.unwritable ? [head.unwritable] : [])]);
    if (head.proven && (await this.timed('observe', () => this.isAsProven(admin, head, inside)))) {
      await this.noteAnswered(admin, head);
      return this.report(options.mode === 'plan' ? 'planned' : 'unchanged', head.proven.remaining, await this.access());
    }
    this.ledger = await this.timed('observe', () => readLedger(admin, desired.name, head));
    const isCopy = head.identity !== undefined && head.identity !== this.identity;
    this.rehomedFrom = isCopy ? head.identity : head.rehomedFrom;
    if (!isCopy) refuseForeignClaims(desired, this.ledger);
    if (this.hasSubscriptions) this.recorded = await readConnections(admin);
    this.connected = new Map(this.recorded);
    await this.observe(admin);
    const first = this.withStrangers(await this.plan());
    if (options.mode === 'plan') {
      await this.countSessions(admin, first);
      const found = first.steps.length > 0 ? [] : (await this.prove()).problems;
      return this.report('planned', { ...first, notes: [...first.notes, ...found] }, await this.access());
    }
    const { steps, last } = await this.apply(admin, first);
    const changed = steps.length > 0;
    // Also when nothing was to be done: an earlier run may have done it all and failed here.
    const { problems, ...proof } = await this.timed('prove', () => this.prove());
    // A rollback that failed would leave the stack stuck.
    if (problems.length > 0 && !options.rollback) throw new ProofError(problems);
    await this.finish(admin, steps, last);
    await this.countSessions(admin, last);
    const notes = [...new Set([...first.notes, ...last.notes, ...problems])];
    return this.report(changed ? 'applied' : 'unchanged', { ...last, steps, notes }, await this.access(), proof);
  }

  /** A hash that somebody acknowledged for this run, and that is of another plan, is not passed over in silence. */
  private withStrangers(plan: Plan): Plan {
    const is = plan.hash ? `the hash is ${plan.hash}` : 'nothing waits for a hash';
    const strangers = (this.options.acknowledge ?? []).filter(
      (hash) => hash !== plan.hash && !plan.notes.some((note) => note.includes(hash)),
    );
    return { ...plan, notes: [...plan.notes, ...strangers.map((hash) => `${hash} is not of this plan: ${is}`)] };
  }

  /** Nothing has changed since this very declaration was proven here: same catalog, same passwords, nobody about to be disabled. */
  private async isAsProven(admin: Session, head: LedgerHead, inside: Promise<string[] | undefined>): Promise<boolean> {
    const { desired, facts } = this;
    if (
      head.hasRemovals ||
      (this.options.acknowledge ?? []).length > 0 ||
      head.identity !== this.identity ||
      head.previousHash !== declarationHash(desired) ||
      (this.options.holder !== undefined && this.options.holder !== head.holder) ||
      facts.databases.size < desired.databases.length ||
      (await anyLeft(this.connections, desired.drops))
    ) {
      return false;
    }
    const [now] = await Promise.all([
      this.takeFingerprint(inside.then((sums) => sums ?? fingerprintInside(this.connections, desired))),
      // While the databases are read, over another connection.
      this.countSessions(admin, head.proven!.remaining),
    ]);
    if (now !== head.proven!.fingerprint) return false;
    const logins = await this.probeLogins(new Set(desired.roles.map((role) => role.name)));
    return [...logins.values()].every((verdict) => verdict !== 'fails');
  }

  private refuseUnknownVersion(): void {
    const major = Math.floor(this.facts.versionNumber / 10_000);
    if (major < OLDEST_MAJOR || (major > NEWEST_MAJOR && this.options.mode === 'apply')) {
      throw new RefusedError([
        `this server is PostgreSQL ${this.facts.version}, and this version of cdk-postgres works on ${OLDEST_MAJOR} to ${NEWEST_MAJOR}: use a version that knows it`,
      ]);
    }
  }

  /** An event that is delivered twice, or late, may come after a later one. Under the run lock, so that no other run is between. */
  private refuseAnswered({ requests }: LedgerHead): void {
    const before = answeredBefore(this.options.request, requests);
    if (before !== undefined) throw new AnsweredError(before === 'late' ? undefined : before.status);
  }

  /** All that a run with nothing to do writes, if it is asked to, and once: whatever was made before its request is over. */
  private async noteAnswered(admin: Session, { unwritable, requests, exists, mendable }: LedgerHead): Promise<void> {
    const { request, mode, noteUnchanged } = this.options;
    if (
      request === undefined ||
      !noteUnchanged ||
      mode !== 'apply' ||
      unwritable ||
      requests?.at(-1)?.id === request.id
    )
      return;
    const answered = { ...request, status: 'SUCCESS' } as const;
    await recordRequest(admin, this.desired.name, answered, { exists, requests, mendable });
  }

  /** What failed was answered too, and must not be done when it comes again after its rollback. */
  async noteFailure(error: unknown): Promise<void> {
    const { request, mode } = this.options;
    if (request === undefined || mode !== 'apply' || error instanceof AnsweredError || isConnectionFailure(error))
      return;
    if (!this.head || this.head.unreadable || (!this.head.exists && !this.ledgerReady)) return;
    await recordRequest(await this.connections.admin(), this.desired.name, { ...request, status: 'FAILED' }, this.head);
  }

  private refuseNewerLedger(head: LedgerHead): string | undefined {
    if (head.version <= LEDGER_VERSION) return undefined;
    const what = `the ledger on this server was written by a newer version of cdk-postgres (ledger ${head.version}, this code ${LEDGER_VERSION})`;
    if (this.options.rollback) return `${what}: a rollback changes nothing`;
    throw new RefusedError([`${what}: deploy with that version or a newer one`]);
  }

  /** A copy gets an identity that no server had before. */
  private refuseReturnedIdentity({ identity, earlierIdentities }: LedgerHead): string | undefined {
    if (identity === undefined || identity === this.identity || !earlierIdentities.includes(this.identity)) return;
    const [now, given] = [JSON.stringify(identity), JSON.stringify(this.identity)];
    const what = `the state ${JSON.stringify(this.desired.name)} says that this server is ${given}, which it was before it became ${now}: no copy of a server is that, but two states that call one server by two names, and each would set the passwords of the other and take over what it manages`;
    if (this.options.rollback || this.options.identityBefore === identity) return `${what}; a rollback changes nothing`;
    throw new RefusedError([`${what}: give every state of this server the same identity, ${now}`]);
  }

  private async observe(admin: Session): Promise<void> {
    await this.timed('observe', async () => {
      this.options.onProgress?.('reading the catalog');
      this.facts = await observeFacts(admin, this.desired);
      const complete = this.facts.databases.size === this.desired.databases.length;
      this.fingerprint = complete ? await this.takeFingerprint() : undefined;
      const server = await observeServer(admin);
      const inside = new Map<string, Inside>();
      for (const database of this.desired.databases) {
        if (!this.facts.databases.has(database.name)) continue;
        const session = await this.connections.in(database.name);
        const schemas = database.schemas.map((schema) => schema.name);
        const toBeRead = this.options.mode === 'plan';
        inside.set(database.name, {
          ...(await observeInside(session, schemas)),
          extensions: await observeExtensions(session, database.extensions),
          isolation: await observeIsolation(session, database.isolations, this.desired.roles),
          replication: await observeReplication(session, database, { ...this.facts, ...server }, toBeRead),
        });
      }
      this.observed = {
        ...this.facts,
        ...server,
        inside,
        settingFacts: await observeSettingFacts(admin, this.desired),
        logins: await this.probeLogins(server.roles),
        replicationFacts: await observeReplicationFacts(admin, this.desired),
        connectionVersions: await this.connectionVersions(),
        connectedVersions: new Map(this.connected),
        connected: await observeConnected(admin, [
          ...this.rolesAboutToGo(),
          ...this.desired.settings.flatMap(({ role }) => role ?? []),
        ]),
        comments: await observeComments(
          this.connections,
          [...this.desired.comments, ...(this.ledger.previous?.comments ?? [])].map(({ on }) => on),
          (database) => inside.has(database),
        ),
        drops: await observeDrops(this.connections, this.desired.drops),
      };
    });
  }

  private get hasSubscriptions(): boolean {
    return this.desired.databases.some(({ subscriptions }) => subscriptions.length > 0);
  }

  /** What a subscription connects by cannot be read from the catalog, so the version of its secret stands for it. */
  private async takeFingerprint(inside?: Promise<string[]>): Promise<string> {
    const sums = await fingerprint(this.connections, this.desired, inside);
    if (!this.hasSubscriptions) return sums;
    return hash([sums, [...(await this.connectionVersions())].sort()]);
  }

  private async connectionVersions(): Promise<Map<string, string>> {
    const versions = new Map<string, string>();
    if (!this.publishers) return versions;
    const problems: string[] = [];
    for (const database of this.desired.databases) {
      for (const { name, secret } of database.subscriptions) {
        try {
          const { versionId } = await this.publishers(secret);
          versions.set(connectionKey(database.name, name), hash(versionId, 32));
        } catch (error) {
          problems.push(
            `the secret of the subscription ${JSON.stringify(name)} cannot be used, so its connection stays as it is: ${(error as Error).message}`,
          );
        }
      }
    }
    if (problems.length > 0) throw new RefusedError(problems.sort());
    return versions;
  }

  private rolesAboutToGo(): string[] {
    const declared = new Set(this.desired.roles.map((role) => role.name));
    return [...this.ledger.objects.values()]
      .filter(
        ({ kind, state, removedAt, name }) =>
          kind === 'role' && state === this.desired.name && removedAt !== undefined && !declared.has(name),
      )
      .map(({ name }) => name);
  }

  /** A password cannot be read from the catalog, so the only way to know whether it is the secret's is to log in with it. */
  private async probeLogins(existing: { has(role: string): boolean }): Promise<Map<string, LoginVerdict>> {
    const verdicts = new Map<string, LoginVerdict>();
    // Read anew, since a rotation may have ended while steps ran.
    this.secrets = this.options.secrets && remembered(this.options.secrets);
    if (!this.secrets) return verdicts;
    const wanted = this.desired.roles.filter((role) => role.authentication === 'password');
    const problems: string[] = [];
    const probe = async ({ name: role, passwordOf }: DesiredRole) => {
      let secret: RoleSecret;
      try {
        secret = await this.secrets!(passwordOf ?? role);
        requireUser(secret, role, passwordOf);
      } catch (error) {
        problems.push(
          `the secret of the role ${JSON.stringify(passwordOf ?? role)} cannot be used, so its password stays as it is: ${(error as Error).message}`,
        );
        return;
      }
      if (passwordOf !== undefined && secret.user !== role) {
        verdicts.set(role, 'resting');
        return;
      }
      if (!existing.has(role)) {
        verdicts.set(role, 'fails');
        return;
      }
      const settings = { ...this.connection, user: role, password: secret.password, database: this.adminDatabase };
      const verdict = await tryLogin(settings);
      if (verdict === 'fails') await this.refuseOlderSecret(passwordOf ?? role);
      verdicts.set(role, verdict);
    };
    const queue = [...wanted];
    await Promise.all(
      Array.from({ length: 4 }, async () => {
        for (let role = queue.shift(); role !== undefined; role = queue.shift()) await probe(role);
      }),
    );
    if (problems.length > 0) throw new RefusedError([...new Set(problems)].sort());
    return verdicts;
  }

  /** The secret as it is now, if it is the one that the plan is made with: a password that was rotated since must not go back. */
  private async refuseOlderSecret(role: string): Promise<RoleSecret> {
    const [planned, now] = [await this.secrets!(role), await this.options.secrets!(role)];
    if (now.versionId !== planned.versionId) throw new OvertakenError(`the secret of the role ${JSON.stringify(role)}`);
    return now;
  }

  private async secretToSet(role: string): Promise<RoleSecret> {
    const secret = await this.refuseOlderSecret(role);
    this.setFrom.set(role, secret.versionId);
    return secret;
  }

  /** A step that ran has to run again where a rotation ended at the same time. */
  private async isOfOlderSecret({ statements }: Step): Promise<boolean> {
    for (const { verifierOf } of statements) {
      if (verifierOf === undefined || !this.secrets) continue;
      if (this.setFrom.get(verifierOf) !== (await this.secrets(verifierOf)).versionId) return true;
    }
    return false;
  }

  private plan(): Promise<Plan> {
    return this.timed('plan', async () =>
      makePlan(this.desired, this.ledger, this.observed, this.adminDatabase, {
        acknowledged: this.options.acknowledge ?? [],
        rehomed: this.rehomedFrom !== undefined,
        rollback: this.options.rollback,
        toBeRead: this.options.mode === 'plan',
        onlyAdd: this.options.onlyAdd,
      }),
    );
  }

  /** Plan, apply, observe, until the plan is empty. A step that comes back after it ran did nothing: that is a failure, not a retry. */
  private async apply(admin: Session, first: Plan): Promise<{ steps: Step[]; last: Plan }> {
    if (!this.options.secrets) refusePasswords(first.steps);
    const done = new Map<string, Step>();
    let plan = first;
    for (let pass = 1; plan.steps.length > 0; pass++) {
      await this.timed('apply', () => this.applySteps(admin, plan.steps));
      plan.steps.forEach((step) => done.set(step.id, step));
      await this.observe(admin);
      plan = await this.plan();
      for (const step of plan.steps) if (await this.isOfOlderSecret(step)) done.delete(step.id);
      // One that was acknowledged comes back as withheld: what is left of its plan has a hash that nobody has acknowledged.
      const again = [...plan.steps, ...plan.withheld].filter((step) => done.has(step.id));
      const left = pass === MOST_PASSES ? plan.steps : [];
      if (again.length + left.length > 0) throw new ProofError([...new Set([...again, ...left])].map(describe));
    }
    return { steps: [...done.values()], last: plan };
  }

  private async applySteps(admin: Session, steps: readonly Step[]): Promise<void> {
    const groups = groupSteps(steps);
    const start = claimsAtStart(this.desired, this.ledger, this.observed, this.rehomedFrom !== undefined);
    for (const [at, group] of groups.entries()) {
      if (Date.now() >= (this.options.deadline ?? Infinity)) {
        throw new Error(
          `the time of this run is over before ${describe(group[0])}; ${at} of ${groups.length} groups of steps are done and stay, and the next run does the rest`,
        );
      }
      this.options.onProgress?.(
        `${group[0].database}: ${group.length === 1 ? group[0].object : `${group.length} steps`}`,
      );
      const open = !this.started && group[0].transactional && group[0].database === this.adminDatabase;
      if (!this.started && !open) {
        await admin.transaction(() => this.begin(admin, steps, start));
        this.hasOpenRun = true;
      }
      const { publishers } = this;
      const connectionOf =
        publishers && (async (key: string) => connectionString(await publishers(key), this.facts.flavour));
      // No connection of this run may stay in a database that is dropped or copied from.
      if (!group[0].transactional && group[0].database === this.adminDatabase) await this.connections.closeOther();
      const session = await this.connections.in(group[0].database);
      const secrets = this.secrets && ((role: string) => this.secretToSet(role));
      await applyGroup(session, group, secrets, connectionOf, async () => {
        if (open) await this.begin(admin, steps, start);
      });
      this.noteConnections(group);
      this.started = true;
      this.hasOpenRun = true;
      this.ledger = withChanges(this.ledger, start);
    }
  }

  private noteConnections(steps: readonly Step[]): void {
    const keys = new Set(steps.flatMap((step) => step.statements.flatMap(({ connectionOf }) => connectionOf ?? [])));
    for (const database of this.desired.databases) {
      for (const { name, secret } of database.subscriptions) {
        const key = connectionKey(database.name, name);
        const version = this.observed.connectionVersions.get(key);
        if (keys.has(secret) && version !== undefined) this.connected.set(key, version);
      }
    }
  }

  private async begin(admin: Session, steps: readonly Step[], start: ClaimChanges): Promise<void> {
    await this.ensureLedger(admin);
    await recordObjects(admin, start.record);
    await startRun(admin, this.desired, steps);
  }

  private async ensureLedger(admin: Session): Promise<void> {
    const { exists, version, identity } = this.ledger;
    if (!exists || version < LEDGER_VERSION) await createLedger(admin);
    if (identity !== this.identity || version < LEDGER_VERSION)
      await recordIdentity(admin, this.identity, this.observed.systemIdentifier);
    if (identity !== undefined && identity !== this.identity) await rehome(admin, this.desired.name);
    this.ledgerReady = true;
  }

  /** Empty plans do not lie, but they only compare catalogs: this asks the server whether the declared access has effect. */
  private async prove(): Promise<{ checkedPrivileges: number; checkedLogins: number; problems: string[] }> {
    this.options.onProgress?.('proving');
    const problems: string[] = [];
    let checkedPrivileges = 0;
    for (const database of this.desired.databases) {
      const session = await this.connections.in(database.name);
      const result = await ineffective(session, this.desired, database);
      checkedPrivileges += result.checked;
      problems.push(...result.problems);
    }
    const checkedLogins = [...this.observed.logins.values()].filter((verdict) => verdict === 'works').length;
    return { checkedPrivileges, checkedLogins, problems };
  }

  /** Leaves the outcome of a run that did not come to its end in the ledger, if the connection still lives. */
  async fail(): Promise<void> {
    if (this.hasOpenRun) await finishRun(await this.connections.admin(), 'failed');
  }

  private async finish(admin: Session, steps: readonly Step[], last: Plan): Promise<void> {
    const changed = steps.length > 0;
    // What a rollback leaves is for the next deployment to look at, not to take as given.
    const proven =
      this.fingerprint === undefined || (this.options.rollback && last.withheld.length > 0)
        ? undefined
        : { fingerprint: this.fingerprint, remaining: last };
    // What a run that only adds leaves to the next deployment is no proof, and what the last one has listed stays listed.
    const keepsProof = this.options.onlyAdd === true && last.withheld.length > 0;
    const end = claimsAtEnd(this.desired, this.ledger, this.observed, this.rehomedFrom !== undefined);
    const holder = this.options.holder;
    const same =
      this.ledger.identity === this.identity &&
      this.ledger.previousHash === declarationHash(this.desired) &&
      (keepsProof ||
        (this.ledger.proven?.fingerprint === proven?.fingerprint &&
          this.ledger.proven?.remaining.hash === proven?.remaining.hash)) &&
      (holder === undefined || holder === this.ledger.holder) &&
      !this.ledger.hasOpenRuns &&
      end.record.length === 0 &&
      end.forget.length === 0;
    if (same && !changed) {
      await this.noteAnswered(admin, this.ledger);
      return;
    }
    const connections = [...this.connected].filter(([key, version]) => this.recorded.get(key) !== version);
    await admin.transaction(async () => {
      if (!this.ledgerReady) await this.ensureLedger(admin);
      await recordConnections(admin, connections);
      await recordObjects(admin, end.record);
      await forgetObjects(admin, end.forget);
      if (!keepsProof) await recordState(admin, this.desired, { holder, proven });
      if (this.options.request !== undefined)
        await recordRequest(admin, this.desired.name, { ...this.options.request, status: 'SUCCESS' }, this.ledger);
      if (changed) await finishRun(admin, 'applied', steps);
      else if (this.ledger.hasOpenRuns) await closeKilledRuns(admin);
    });
  }

  /** Whoever approves withheld steps wants to know who works with what they take away, now and not when they were planned. */
  private async countSessions(admin: Session, plan: Plan): Promise<void> {
    this.sessions = await observeSessions(admin, holdersOf(plan));
  }

  private async access(): Promise<AccessRow[]> {
    if (!this.options.access) return [];
    const rows: AccessRow[] = [];
    for (const database of this.desired.databases) {
      if (!this.facts.databases.has(database.name)) continue;
      rows.push(...(await observeAccess(await this.connections.in(database.name), this.desired, database)));
    }
    return rows;
  }

  private report(outcome: Report['outcome'], plan: Plan, access: AccessRow[] = [], proof?: Report['proof']): Report {
    const { facts } = this;
    return {
      outcome,
      server: {
        versionNumber: facts.versionNumber,
        version: facts.version,
        user: facts.user,
        flavour: facts.flavour,
        power: facts.superuser ? 'superuser' : facts.createRole ? 'createrole' : 'none',
        identity: this.identity,
      },
      rehomedFrom: this.rehomedFrom,
      plan,
      proof,
      access,
      sessions: this.sessions,
      timings: this.timings,
      statements: { reads: this.connections.counters.reads, writes: this.connections.counters.writes },
    };
  }

  private async timed<T>(phase: keyof Report['timings'], body: () => Promise<T>): Promise<T> {
    const from = performance.now();
    try {
      return await body();
    } finally {
      this.timings[phase] += performance.now() - from;
    }
  }
}

function describe(step: Step): string {
  return `${step.object} (${step.reason})`;
}

/** A secret that takes turns must not be mistaken for one that does not, nor the other way round. */
function requireUser(secret: RoleSecret, role: string, passwordOf: string | undefined): void {
  const users = passwordOf === undefined ? [role] : turnsOf(passwordOf);
  const user = secret.user ?? passwordOf ?? role;
  if (!users.includes(user)) {
    throw new Error(
      `it is about ${JSON.stringify(user)}, and not about ${users.map((name) => JSON.stringify(name)).join(' or ')}`,
    );
  }
}

/** One read of each secret. */
function remembered<T extends RoleSecret | PublisherConnection>(
  source: (key: string) => Promise<T>,
): (key: string) => Promise<T> {
  const known = new Map<string, Promise<T>>();
  return (role) => {
    if (!known.has(role)) known.set(role, source(role));
    return known.get(role)!;
  };
}

/** Before anything runs, and of all roles at once: whoever gives one secret would else be asked for the next. */
function refusePasswords(steps: readonly Step[]): void {
  const roles = [
    ...new Set(steps.flatMap(({ statements }) => statements.flatMap(({ verifierOf }) => verifierOf ?? []))),
  ].sort();
  if (roles.length === 0) return;
  const [who, one] =
    roles.length === 1
      ? [`the role ${JSON.stringify(roles[0])} logs`, 'its secret']
      : [`the roles ${roles.map((role) => JSON.stringify(role)).join(', ')} log`, 'their secrets'];
  throw new RefusedError([
    `${who} in by password, and this run has no access to ${one}: apply it by a deployment, or give cdk-postgres apply --secrets FILE, a JSON of ${roles.map((role) => `${JSON.stringify(role)}: "ARN"`).join(', ')}`,
  ]);
}
