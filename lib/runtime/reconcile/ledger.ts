import { ContractError, decodeState, DesiredState, encodeState, StateDocument } from '../../contract';
import { hash, ident } from './sql';
import { replicated } from './replication';
import { Session } from './session';
import { ManagedKind, Plan, RefusedError, RunRequest, Step } from './types';

/**
 * What the library remembers, in the schema `cdk_postgres` of the admin database: which server this is, what each state manages and
 * whether it made it or found it, and every run that changed something, with its plan. Its shape changes only additively.
 */

/** Raised with every additive change of the tables below. */
export const LEDGER_VERSION = 1;
export const LEDGER_SCHEMA = 'cdk_postgres';

/** In the place of a declaration's hash: nobody took the object out of a declaration, but its state gave it up. */
export const FREED = 'freed';

/** `created`: this library made it, and may take back what it gave. `adopted`: it was there before. */
export type Origin = 'created' | 'adopted';

export interface LedgerObject {
  readonly kind: ManagedKind;
  /** The database that it is in; empty for what belongs to the whole server. */
  readonly database: string;
  readonly name: string;
  readonly state: string;
  readonly origin: Origin;
  /** A run that declared it came to its end: from then on production does not take access away unasked. */
  readonly established: boolean;
  /** When it went out of the declaration. */
  readonly removedAt?: Date;
  /** The hash of the declaration that first lacked it. */
  readonly removedBy?: string;
}

export interface LedgerDamage {
  readonly what: string;
  /** Why `mendLedger()` cannot help, and what can. */
  readonly beyond?: string;
}

/** What the ledger says of the server and of one state, without the objects. */
export interface LedgerHead {
  readonly exists: boolean;
  /** The newest version that wrote to it. */
  readonly version: number;
  /** The server's identity that it was written for. */
  readonly identity?: string;
  /** Those that it was written for before, as long as the server was another. */
  readonly earlierIdentities: readonly string[];
  /** The hash of this state's last complete declaration. */
  readonly previousHash?: string;
  /** Of the catalog when this state was last proven (fingerprint.ts), and what was withheld then. */
  readonly proven?: { readonly fingerprint: string; readonly remaining: Plan };
  /** Some role went out of the declaration, and is to be looked at again. */
  readonly hasRemovals: boolean;
  /** A run was killed, and its record is still open. */
  readonly hasOpenRuns: boolean;
  /** The server is a copy of one with this identity, and this state has not come to the end of a run here since. */
  readonly rehomedFrom?: string;
  /** Who deployed the state last. */
  readonly holder?: string;
  /** Why it could not be read; a plan then treats the server as unknown. */
  readonly unreadable?: string;
  /** What of it is gone. */
  readonly damage?: LedgerDamage;
  /** Why the connected role can neither make it nor write to it. */
  readonly unwritable?: string;
  /** The last requests that were answered for this state, in their order; absent: the ledger has no place for them yet. */
  readonly requests?: readonly AnsweredRequest[];
  /** The connected role may add to the tables of the ledger. */
  readonly mendable: boolean;
}

/** A request of CloudFormation that was answered once the server had been reached. */
export interface AnsweredRequest extends RunRequest {
  readonly status: 'SUCCESS' | 'FAILED';
}

/** A request is delivered again within hours; more of them than this are not made meanwhile. */
const MOST_REQUESTS = 50;

export interface Ledger extends LedgerHead {
  readonly objects: ReadonlyMap<string, LedgerObject>;
  /** This state's last complete declaration. */
  readonly previous?: DesiredState;
}

export function ledgerKey(kind: ManagedKind, name: string, database = ''): string {
  return JSON.stringify([kind, database, name]);
}

export function declarationHash(state: DesiredState): string {
  return hash(encodeState(state));
}

const EMPTY: LedgerHead = {
  exists: false,
  version: LEDGER_VERSION,
  earlierIdentities: [],
  hasRemovals: false,
  hasOpenRuns: false,
  mendable: true,
};

/**
 * Who has the ledger and is no administrator of the server: whoever owns a table decides what runs in the name of those who read it or
 * write to it (policies, triggers, defaults), so somebody who may create schemas in the admin database must not lay one out beforehand.
 */
export const LEDGER_STRANGERS = `ARRAY(
  SELECT rolname::text FROM pg_roles r
  WHERE NOT rolsuper AND NOT rolcreaterole AND rolname <> current_user
    AND r.oid <> (SELECT datdba FROM pg_database WHERE datname = current_database())
    AND r.oid IN (SELECT nspowner FROM pg_namespace WHERE nspname = '${LEDGER_SCHEMA}'
                  UNION ALL SELECT relowner FROM pg_class WHERE relnamespace = to_regnamespace('${LEDGER_SCHEMA}'))
  ORDER BY 1)`;

export async function readLedgerHead(session: Session, stateName: string): Promise<LedgerHead> {
  const [{ found, strangers, owner, enters, reads, writable, mendable, columns, user }] = await session.read<{
    found: boolean;
    strangers: string[];
    owner: string;
    enters: boolean;
    reads: boolean;
    writable: boolean;
    mendable: boolean;
    columns: { place: string; type: string }[];
    user: string;
  }>(
    `SELECT to_regnamespace($1) IS NOT NULL AS found, current_user AS user, ${LEDGER_STRANGERS} AS strangers,
            (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = $1) AS owner,
            coalesce(has_schema_privilege(to_regnamespace($1), 'USAGE'), false) AS enters,
            coalesce(bool_and(has_table_privilege(oid, 'SELECT')), true) AS reads,
            coalesce(bool_and(has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE')),
                     has_schema_privilege(to_regnamespace($1), 'CREATE'), has_database_privilege(current_database(), 'CREATE')) AS writable,
            coalesce(has_schema_privilege(to_regnamespace($1), 'CREATE') AND coalesce(bool_and(pg_has_role(relowner, 'USAGE')), true), false) AS mendable,
            ARRAY(SELECT json_build_object('place', t.relname || '.' || a.attname, 'type', format_type(a.atttypid, a.atttypmod)) FROM pg_attribute a JOIN pg_class t ON t.oid = a.attrelid
                  WHERE t.relnamespace = to_regnamespace($1) AND t.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped) AS columns
     FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r'`,
    [LEDGER_SCHEMA],
  );
  const ledger = `the ledger, the schema ${LEDGER_SCHEMA} in the database ${session.database}`;
  const remedy = (...grants: string[]) =>
    `connect as ${owner}, which owns it, or run as that role: ${grants.map((grant) => `GRANT ${grant} TO ${ident(user)};`).join(' ')}`;
  const tables = `ALL TABLES IN SCHEMA ${LEDGER_SCHEMA}`;
  const unwritable = writable
    ? undefined
    : found
      ? `${user} may not write to ${ledger}: ${remedy(`INSERT, UPDATE, DELETE ON ${tables}`)}`
      : `${user} may not make ${ledger}: GRANT CREATE ON DATABASE ${ident(session.database)} TO ${ident(user)}, as the owner of that database`;
  if (!found) return { ...EMPTY, unwritable };
  if (strangers.length > 0) {
    const owners = strangers.map(ident).join(', ');
    return {
      ...EMPTY,
      exists: true,
      unwritable,
      unreadable: `the schema ${LEDGER_SCHEMA} of the database ${session.database}, or a table in it, belongs to ${owners}, who may not administrate this server and could do so in the name of ${user} by it: see who made it; if it is yours, ALTER SCHEMA ${LEDGER_SCHEMA} and each of its tables OWNER TO ${ident(user)}, else drop it`,
    };
  }
  if (!enters || !reads) {
    const lacks = [...(enters ? [] : [`USAGE ON SCHEMA ${LEDGER_SCHEMA}`]), ...(reads ? [] : [`SELECT ON ${tables}`])];
    return {
      ...EMPTY,
      exists: true,
      unwritable,
      unreadable: `${user} may not read ${ledger}: ${remedy(...lacks)}`,
    };
  }
  const present = new Map(columns.map(({ place, type }) => [place, type]));
  const damage = damageOf(present);
  if (damage) {
    return {
      ...EMPTY,
      exists: true,
      unwritable,
      damage: { ...damage, beyond: damage.beyond ?? (mendable ? undefined : notMendable(user, session.database)) },
      unreadable: `${damage.what}: ${damage.beyond ?? 'an apply mends it'}`,
    };
  }
  const hasRequests = present.get('state.requests') === 'jsonb';
  const [head] = await session.read<{
    version: number | null;
    identity: string | null;
    earlier: string[];
    hash: string | null;
    holder: string | null;
    fingerprint: string | null;
    remaining: unknown;
    removals: boolean;
    open_runs: boolean;
    rehomed_from: string | null;
    requests: unknown;
  }>(
    `SELECT (SELECT max(version) FROM ${LEDGER_SCHEMA}.server) AS version, (SELECT identity FROM ${LEDGER_SCHEMA}.server) AS identity,
            ARRAY(SELECT e ->> 'identity' FROM ${LEDGER_SCHEMA}.server, jsonb_path_query(history, 'strict $[*] ? (@.identity.type() == "string")', silent => true) AS e) AS earlier,
            s.hash, s.holder, s.fingerprint, s.remaining, ${hasRequests ? 's.requests' : 'NULL'} AS requests,
            EXISTS (SELECT FROM ${LEDGER_SCHEMA}.object
                    WHERE state = $1 AND kind = 'role' AND removed_at IS NOT NULL AND removed_by <> $2) AS removals,
            EXISTS (SELECT FROM ${LEDGER_SCHEMA}.run WHERE outcome = 'running') AS open_runs,
            (SELECT history -> -1 ->> 'identity' FROM ${LEDGER_SCHEMA}.server WHERE s.updated_at < since) AS rehomed_from
     FROM (VALUES (1)) AS one LEFT JOIN ${LEDGER_SCHEMA}.state s ON s.name = $1`,
    [stateName, FREED],
  );
  const remaining = readPlan(head.remaining);
  return {
    exists: true,
    unwritable,
    version: head.version ?? LEDGER_VERSION,
    identity: head.identity ?? undefined,
    earlierIdentities: head.earlier,
    previousHash: head.hash ?? undefined,
    holder: head.holder ?? undefined,
    proven: head.fingerprint && remaining ? { fingerprint: head.fingerprint, remaining } : undefined,
    hasRemovals: head.removals,
    hasOpenRuns: head.open_runs,
    rehomedFrom: head.rehomed_from ?? undefined,
    requests: hasRequests ? readRequests(head.requests) : undefined,
    mendable,
  };
}

export async function readLedger(session: Session, stateName: string, head: LedgerHead): Promise<Ledger> {
  if (!head.exists || head.unreadable) return { ...head, objects: new Map() };
  const objects = await session.read<{
    kind: ManagedKind;
    database: string;
    name: string;
    state: string;
    origin: Origin;
    established: boolean;
    removed_at: Date | null;
    removed_by: string | null;
  }>(
    `SELECT kind, database, name, state, origin, established, removed_at, removed_by FROM ${LEDGER_SCHEMA}.object ORDER BY 1, 2, 3`,
  );
  const [state] = await session.read<{ declaration: StateDocument | null }>(
    `SELECT declaration FROM ${LEDGER_SCHEMA}.state WHERE name = $1`,
    [stateName],
  );
  return {
    ...head,
    previous: state?.declaration ? previousState(state.declaration) : undefined,
    objects: new Map(
      objects.map(({ removed_at, removed_by, ...row }) => [
        ledgerKey(row.kind, row.name, row.database),
        { ...row, removedAt: removed_at ?? undefined, removedBy: removed_by ?? undefined },
      ]),
    ),
  };
}

/** A declaration that this version cannot read any more counts as none: then nothing is taken back because of it. */
function previousState(document: StateDocument): DesiredState | undefined {
  try {
    return decodeState(document);
  } catch (error) {
    if (error instanceof ContractError) return undefined;
    throw error;
  }
}

/**
 * The tables, column by column. A column without a default of its own, or NULL, is one that a row cannot be without: who loses it has
 * lost what the rows said. All of these are of the first version: what a later one adds is no damage where it is not there yet.
 */
const TABLES = {
  server: {
    only_row: 'boolean PRIMARY KEY DEFAULT true CHECK (only_row)',
    identity: 'text NOT NULL',
    system_identifier: 'text',
    version: 'int NOT NULL',
    since: 'timestamptz NOT NULL DEFAULT now()',
    history: "jsonb NOT NULL DEFAULT '[]'",
  },
  state: {
    name: 'text PRIMARY KEY',
    declaration: 'jsonb',
    hash: 'text',
    holder: 'text',
    fingerprint: 'text',
    remaining: 'jsonb',
    updated_at: 'timestamptz NOT NULL DEFAULT now()',
  },
  object: {
    kind: 'text NOT NULL',
    database: 'text NOT NULL',
    name: 'text NOT NULL',
    state: 'text NOT NULL',
    origin: 'text NOT NULL',
    established: 'boolean NOT NULL DEFAULT false',
    since: 'timestamptz NOT NULL DEFAULT now()',
    removed_at: 'timestamptz',
    removed_by: 'text',
  },
  run: {
    id: 'bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY',
    state: 'text NOT NULL',
    hash: 'text NOT NULL',
    by_role: 'text NOT NULL DEFAULT current_user',
    started_at: 'timestamptz NOT NULL DEFAULT now()',
    finished_at: 'timestamptz',
    outcome: 'text NOT NULL',
    plan: 'jsonb NOT NULL',
  },
} as const;

/** What came after the first version. A ledger without it is whole, and gets it when it is needed. */
const LATER: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  state: { requests: "jsonb NOT NULL DEFAULT '[]'" },
};

const CONSTRAINTS: Readonly<Record<string, string>> = { object: ', PRIMARY KEY (kind, database, name)' };

export async function createLedger(session: Session): Promise<void> {
  await session.write(`CREATE SCHEMA IF NOT EXISTS ${LEDGER_SCHEMA}`);
  await session.write(
    `COMMENT ON SCHEMA ${LEDGER_SCHEMA} IS 'The ledger of cdk-postgres: what each declared state manages on this server. Keep it: without it everything counts as made by somebody else.'`,
  );
  await createTables(session);
}

async function createTables(session: Session): Promise<void> {
  for (const [table, columns] of Object.entries(TABLES)) {
    const definitions = Object.entries({ ...columns, ...LATER[table] }).map(([name, type]) => `${name} ${type}`);
    await session.write(
      `CREATE TABLE IF NOT EXISTS ${LEDGER_SCHEMA}.${table} (${definitions.join(', ')}${CONSTRAINTS[table] ?? ''})`,
    );
  }
}

/** Makes again what is gone from the ledger. What was proven with it is not any more: each state looks at all that it claims. */
export async function mendLedger(session: Session, damage: LedgerDamage): Promise<void> {
  if (damage.beyond) throw new RefusedError([`${damage.what}: ${damage.beyond}`]);
  await session.transaction(async () => {
    await createTables(session);
    for (const [table, columns] of Object.entries(TABLES)) {
      const added = Object.entries(columns).filter(([, type]) => !isEssential(type));
      const additions = added.map(([name, type]) => `ADD COLUMN IF NOT EXISTS ${name} ${type}`);
      await session.write(`ALTER TABLE ${LEDGER_SCHEMA}.${table} ${additions.join(', ')}`);
    }
    await session.write(`UPDATE ${LEDGER_SCHEMA}.state SET fingerprint = NULL, remaining = NULL`);
  });
}

function isEssential(type: string): boolean {
  return type.includes('PRIMARY KEY') || (type.includes('NOT NULL') && !type.includes('DEFAULT'));
}

/** As the server writes them. */
const LONG_NAMES: Readonly<Record<string, string>> = { int: 'integer', timestamptz: 'timestamp with time zone' };

function damageOf(present: ReadonlyMap<string, string>): LedgerDamage | undefined {
  const altered = Object.entries(TABLES).flatMap(([table, columns]) =>
    Object.entries(columns).flatMap(([name, definition]) => {
      const [word] = definition.split(' ');
      const [is, was] = [present.get(`${table}.${name}`), LONG_NAMES[word] ?? word];
      return is === undefined || is === was ? [] : [`${table}.${name} is of the type ${is}, and was ${was}`];
    }),
  );
  if (altered.length > 0) {
    return {
      what: `the ledger is damaged: in the schema ${LEDGER_SCHEMA} ${altered.join(', ')}`,
      beyond: 'ALTER TABLE … ALTER COLUMN … TYPE back to what it was, or bring the table back from a backup',
    };
  }
  const tables = Object.entries(TABLES).map(([table, columns]) => ({
    table,
    isThere: [...present.keys()].some((column) => column.startsWith(`${table}.`)),
    missing: Object.entries(columns).filter(([name]) => !present.has(`${table}.${name}`)),
  }));
  const gone = tables.flatMap(({ table, isThere, missing }) =>
    isThere ? missing.map(([name]) => `${table}.${name}`) : [table],
  );
  if (gone.length === 0) return undefined;
  const broken = tables.filter(({ isThere, missing }) => isThere && missing.some(([, type]) => isEssential(type)));
  const drops = broken.map(({ table }) => `DROP TABLE ${LEDGER_SCHEMA}.${table}`);
  return {
    what: `the ledger is damaged: the schema ${LEDGER_SCHEMA} lacks ${gone.join(', ')}`,
    beyond:
      drops.length === 0
        ? undefined
        : `without that, what is left says nothing; bring it back from a backup, or give it up, after which what it recorded counts as made by somebody else: ${drops.join('; ')}`,
  };
}

function notMendable(user: string, database: string): string {
  return `${user} may not mend it: GRANT CREATE ON SCHEMA ${LEDGER_SCHEMA} TO ${ident(user)}, and make ${user} the owner of the tables in it, in the database ${database}`;
}

/** What was withheld when the state was proven. Anything else than a plan counts as nothing proven. */
function readPlan(value: unknown): Plan | undefined {
  const plan = value as Plan | null;
  const isText = (text: unknown) => typeof text === 'string';
  const isStep = (step: unknown) => {
    const { id, database, object, reason, risk, statements } = (step ?? {}) as Step;
    return (
      [id, database, object, reason, risk].every(isText) &&
      Array.isArray(statements) &&
      (statements as unknown[]).every((statement) => isText((statement as Step['statements'][number] | null)?.sql))
    );
  };
  const lists = [plan?.steps, plan?.withheld, plan?.notes];
  if (!lists.every(Array.isArray)) return undefined;
  return [...plan!.steps, ...plan!.withheld].every(isStep) && plan!.notes.every(isText) ? plan! : undefined;
}

function readRequests(value: unknown): AnsweredRequest[] {
  const isRequest = (request: AnsweredRequest | null) =>
    typeof request?.id === 'string' && ['SUCCESS', 'FAILED'].includes(request.status);
  return Array.isArray(value)
    ? ((value as (AnsweredRequest | null)[]).filter((each) => isRequest(each)) as AnsweredRequest[])
    : [];
}

/** Says which server this is, and that this version has written to it. */
export async function recordIdentity(
  session: Session,
  identity: string,
  systemIdentifier: string | undefined,
): Promise<void> {
  await session.write(
    `INSERT INTO ${LEDGER_SCHEMA}.server AS s (identity, system_identifier, version) VALUES ($1, $2, $3)
     ON CONFLICT (only_row) DO UPDATE SET
       history = CASE WHEN s.identity = excluded.identity THEN s.history
                 ELSE s.history || jsonb_build_object('identity', s.identity, 'since', s.since, 'until', now()) END,
       since = CASE WHEN s.identity = excluded.identity THEN s.since ELSE now() END,
       identity = excluded.identity, system_identifier = excluded.system_identifier, version = greatest(s.version, excluded.version)`,
    [identity, systemIdentifier ?? null, LEDGER_VERSION],
  );
}

/**
 * A copy of another server begins a life of its own: what the states of that server claim is free here, and each state that comes
 * takes it over, whatever its name. The row of the first one is there before its run ends, so that a run after a killed one still
 * knows that the passwords are those of the moment of the copy.
 */
export async function rehome(session: Session, stateName: string): Promise<void> {
  await session.write(
    `UPDATE ${LEDGER_SCHEMA}.object SET removed_at = now(), removed_by = $2 WHERE state <> $1 AND removed_at IS NULL`,
    [stateName, FREED],
  );
  await session.write(`UPDATE ${LEDGER_SCHEMA}.state SET fingerprint = NULL, remaining = NULL`);
  await session.write(
    `INSERT INTO ${LEDGER_SCHEMA}.state (name, updated_at) VALUES ($1, '-infinity') ON CONFLICT DO NOTHING`,
    [stateName],
  );
}

/** Gives up what a state claims. Its proof goes too, so that it comes to see when another state has taken something. */
export async function freeObjects(session: Session, stateName: string): Promise<void> {
  await session.write(
    `UPDATE ${LEDGER_SCHEMA}.object SET removed_at = now(), removed_by = $2 WHERE state = $1 AND removed_at IS NULL`,
    [stateName, FREED],
  );
  await session.write(`UPDATE ${LEDGER_SCHEMA}.state SET fingerprint = NULL, remaining = NULL WHERE name = $1`, [
    stateName,
  ]);
}

export async function recordObjects(session: Session, objects: readonly LedgerObject[]): Promise<void> {
  if (objects.length === 0) return;
  await session.write(
    `INSERT INTO ${LEDGER_SCHEMA}.object (kind, database, name, state, origin, established, removed_at, removed_by)
     SELECT * FROM jsonb_to_recordset($1::jsonb) AS o(kind text, database text, name text, state text, origin text, established boolean, "removedAt" timestamptz, "removedBy" text)
     ON CONFLICT (kind, database, name) DO UPDATE SET state = excluded.state, origin = excluded.origin,
       established = excluded.established, removed_at = excluded.removed_at, removed_by = excluded.removed_by`,
    [JSON.stringify(objects)],
  );
}

export async function forgetObjects(session: Session, objects: readonly LedgerObject[]): Promise<void> {
  if (objects.length === 0) return;
  await session.write(
    `DELETE FROM ${LEDGER_SCHEMA}.object o USING jsonb_to_recordset($1::jsonb) AS g(kind text, database text, name text)
     WHERE (o.kind, o.database, o.name) = (g.kind, g.database, g.name)`,
    [JSON.stringify(objects)],
  );
}

/** Opens the record of a run. Only one run has the lock, so another one that is open was killed. */
export async function startRun(session: Session, state: DesiredState, steps: readonly Step[]): Promise<void> {
  await closeKilledRuns(session);
  await session.write(`INSERT INTO ${LEDGER_SCHEMA}.run (state, hash, outcome, plan) VALUES ($1, $2, 'running', $3)`, [
    state.name,
    declarationHash(state),
    JSON.stringify(steps),
  ]);
}

/** Ends the open run, with the steps that it came to run if they are more than it began with. */
export async function finishRun(
  session: Session,
  outcome: 'applied' | 'failed',
  steps?: readonly Step[],
): Promise<void> {
  await session.write(
    `UPDATE ${LEDGER_SCHEMA}.run SET finished_at = now(), outcome = $1, plan = coalesce($2, plan) WHERE outcome = 'running'`,
    [outcome, steps ? JSON.stringify(steps) : null],
  );
}

export async function closeKilledRuns(session: Session): Promise<void> {
  await session.write(
    `UPDATE ${LEDGER_SCHEMA}.run SET finished_at = now(), outcome = 'interrupted' WHERE outcome = 'running'`,
  );
}

export async function recordState(
  session: Session,
  state: DesiredState,
  { holder, proven }: { holder?: string; proven: Ledger['proven'] },
): Promise<void> {
  await session.write(
    `INSERT INTO ${LEDGER_SCHEMA}.state AS s (name, declaration, hash, holder, fingerprint, remaining) VALUES ($1, $2, $3, $4, $5, $6)
     ON CONFLICT (name) DO UPDATE SET declaration = excluded.declaration, hash = excluded.hash, holder = coalesce(excluded.holder, s.holder), fingerprint = excluded.fingerprint,
       remaining = excluded.remaining, updated_at = now()`,
    [
      state.name,
      JSON.stringify(encodeState(state)),
      declarationHash(state),
      holder ?? null,
      proven?.fingerprint ?? null,
      proven ? JSON.stringify(proven.remaining) : null,
    ],
  );
}

/** Notes in the order of the run lock what was answered, so that a request that comes again after a later one is known. */
export async function recordRequest(
  session: Session,
  stateName: string,
  request: AnsweredRequest,
  { exists, requests, mendable }: Pick<LedgerHead, 'exists' | 'requests' | 'mendable'>,
): Promise<void> {
  if (exists && requests === undefined) {
    if (!mendable) return;
    await session.write(`ALTER TABLE ${LEDGER_SCHEMA}.state ADD COLUMN IF NOT EXISTS requests ${LATER.state.requests}`);
  }
  const others = (requests ?? []).filter(({ id }) => id !== request.id);
  await session.write(`UPDATE ${LEDGER_SCHEMA}.state SET requests = $2 WHERE name = $1`, [
    stateName,
    JSON.stringify([...others, request].slice(-MOST_REQUESTS)),
  ]);
}

/**
 * Whether a request is over: it was answered and another one after it, or one that was made later was. What failed or ended before the
 * server was reached is not recorded, so the time is what tells of it. Lambda delivers an event at least once, and within hours.
 */
export function answeredBefore(
  request: RunRequest | undefined,
  requests: readonly AnsweredRequest[] = [],
): Pick<AnsweredRequest, 'status'> | 'late' | undefined {
  if (request === undefined) return undefined;
  const at = requests.findIndex(({ id }) => id === request.id);
  if (at >= 0) return at < requests.length - 1 ? requests[at] : undefined;
  const made = request.at;
  return made !== undefined && requests.some((known) => known.at !== undefined && known.at > made) ? 'late' : undefined;
}

/** The versions of the secrets that subscriptions connect by. The table is made by the first of them, so it may not be there. */
export async function readConnections(session: Session): Promise<Map<string, string>> {
  const [{ found }] = await session.read<{ found: boolean }>('SELECT to_regclass($1) IS NOT NULL AS found', [
    `${LEDGER_SCHEMA}.connection`,
  ]);
  if (!found) return new Map();
  const rows = await session.read<{ subscription: string; version: string }>(
    `SELECT subscription, version FROM ${LEDGER_SCHEMA}.connection`,
  );
  return new Map(rows.map(({ subscription, version }) => [subscription, version]));
}

export async function recordConnections(session: Session, versions: readonly [string, string][]): Promise<void> {
  if (versions.length === 0) return;
  await session.write(
    `CREATE TABLE IF NOT EXISTS ${LEDGER_SCHEMA}.connection (subscription text PRIMARY KEY, version text NOT NULL)`,
  );
  for (const row of versions) {
    await session.write(
      `INSERT INTO ${LEDGER_SCHEMA}.connection VALUES ($1, $2) ON CONFLICT (subscription) DO UPDATE SET version = excluded.version`,
      row,
    );
  }
}

/** Two states must not declare the same object: each would take back what the other gives. */
export function refuseForeignClaims(state: DesiredState, ledger: Ledger): void {
  const problems: string[] = [];
  const check = (kind: ManagedKind, name: string, database?: string) => {
    const known = ledger.objects.get(ledgerKey(kind, name, database));
    if (known && known.state !== state.name && known.removedAt === undefined) {
      problems.push(
        `the ${kind} ${JSON.stringify(name)}${database ? ` of the database ${JSON.stringify(database)}` : ''} is managed by the state ${JSON.stringify(known.state)}, and ${JSON.stringify(state.name)} declares it too: declare it in one of them, use the same state name if the declaration moved as a whole, or hand it over (cdk-postgres handover)`,
      );
    }
  };
  state.roles.forEach((role) => check('role', role.name));
  for (const database of state.databases) {
    check('database', database.name);
    database.schemas.forEach((schema) => check('schema', schema.name, database.name));
    database.extensions.forEach((extension) => check('extension', extension.name, database.name));
    for (const { kind, name } of replicated(database)) check(kind, name, database.name);
  }
  for (const drop of state.drops) {
    const known = ledger.objects.get(ledgerKey(drop.kind, drop.name, 'database' in drop ? drop.database : ''));
    if (known && known.state !== state.name && known.removedAt === undefined) {
      problems.push(
        `the ${drop.kind} ${JSON.stringify(drop.name)} is managed by the state ${JSON.stringify(known.state)}, and ${JSON.stringify(state.name)} is to drop it: take it out of that state first`,
      );
    }
  }
  if (problems.length > 0) throw new RefusedError(problems);
}
