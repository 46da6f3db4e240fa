import { CommentTarget, DesiredState } from '../../contract';
import { observeComments } from '../reconcile/comments';
import { Connections } from '../reconcile/connections';
import { LEDGER_STRANGERS } from '../reconcile/ledger';
import { observeFacts, observeServer, observeSettingFacts } from '../reconcile/observe';
import { observeReplicationFacts } from '../reconcile/observe-replication';
import { Inside, Observed } from '../reconcile/observed';
import { SERVER_DATABASES, wholeInside } from '../access/facts';
import { Found, readInside } from './inside';

/** What exists, and this library may or may not be able to declare. */
export interface Existing {
  /** The databases that were asked for, whose roles alone are of interest; absent: all. */
  readonly only?: readonly string[];
  readonly observed: Observed;
  /** By database; what the inside has besides schemas and what is granted in them. */
  readonly others: ReadonlyMap<string, readonly OtherObject[]>;
  /** By database; what else there is that a declaration can say. */
  readonly found: ReadonlyMap<string, Found>;
  readonly replicationRoles: readonly string[];
  /** What the ledger says, by state. */
  readonly managed: ReadonlyMap<string, number>;
}

export interface OtherObject {
  /** A key of OTHER_KINDS. */
  readonly kind: string;
  readonly name: string;
  readonly detail: string;
}

/**
 * Kinds of objects in a database that an import says in a comment. Where the model learns to declare one, it goes from here to the
 * declaration; until then nothing is lost silently.
 */
export const OTHER_KINDS: Readonly<Record<string, string>> = {
  'event trigger': `SELECT evtname, 'owner ' || pg_get_userbyid(evtowner) FROM pg_event_trigger WHERE evtname !~ '^rds_'`,
  'foreign server': `SELECT srvname, 'owner ' || pg_get_userbyid(srvowner) FROM pg_foreign_server`,
  'row security policy': `SELECT polname, 'on ' || polrelid::regclass::text FROM pg_policy WHERE polname !~ '^cdk_postgres_'`,
  'schema of an extension': `SELECT nspname, 'belongs to an extension' FROM pg_namespace n WHERE EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_namespace'::regclass AND d.objid = n.oid AND d.deptype = 'e')`,
  'type with privileges of its own': `SELECT typname, 'in schema ' || typnamespace::regnamespace FROM pg_type WHERE typacl IS NOT NULL AND oid >= 16384`,
  'default privileges on types or schemas': `SELECT pg_get_userbyid(defaclrole), CASE defaclobjtype WHEN 'T' THEN 'types' ELSE 'schemas' END FROM pg_default_acl WHERE defaclobjtype IN ('T', 'n')`,
  'large object with privileges': `SELECT oid::text, 'owner ' || pg_get_userbyid(lomowner) FROM pg_largeobject_metadata WHERE lomacl IS NOT NULL`,
};

const OTHERS = Object.entries(OTHER_KINDS)
  .map(([kind, query]) => `SELECT '${kind}' AS kind, n::text AS name, d::text AS detail FROM (${query}) AS found(n, d)`)
  .join(' UNION ALL ');

const NOTHING_DECLARED: Omit<DesiredState, 'settings' | 'databases'> = {
  version: 1,
  name: 'import',
  profile: 'production',
  defaults: 'V1',
  acknowledgedPlans: [],
  roles: [],
  memberships: [],
  comments: [],
  drops: [],
};

/** Reads a server in a constant number of queries, and as many again for each database. */
export async function readExisting(connections: Connections, only?: readonly string[]): Promise<Existing> {
  const admin = await connections.admin();
  const server = await observeServer(admin);
  const wanted = [...server.databases.keys()].filter(
    (name) =>
      !SERVER_DATABASES.has(name) &&
      name !== connections.adminDatabase &&
      name !== 'postgres' &&
      (only === undefined || only.includes(name)),
  );
  const settings = server.settings.flatMap(({ role, database, values }) =>
    [...values].map(([name, value]) => ({ role, database, name, values: [value] })),
  );
  const empty = { public: 'kept', schemas: [], grants: [], defaultPrivileges: [], extensions: [] } as const;
  const more = { isolations: [], publications: [], subscriptions: [], slots: [] };
  const desired: DesiredState = {
    ...NOTHING_DECLARED,
    settings,
    databases: wanted.map((name) => ({ name, owner: '', ...empty, ...more })),
  };
  const facts = await observeFacts(admin, desired);
  const inside = new Map<string, Inside>();
  const others = new Map<string, OtherObject[]>();
  const found = new Map<string, Found>();
  for (const base of desired.databases) {
    const { name } = base;
    if (!facts.databases.has(name)) continue;
    const session = await connections.in(name);
    const read = await readInside(session, base, { ...server, user: facts.user }, await wholeInside(connections, name));
    inside.set(name, read.inside);
    found.set(name, read.found);
    others.set(name, await session.read<OtherObject & Record<string, string>>(`${OTHERS} ORDER BY 1, 2`));
  }
  const databases = desired.databases.map((base) => ({ ...base, ...found.get(base.name) }));
  const comments = await observeComments(connections, commentTargets(server.roles.keys(), inside), (name) =>
    inside.has(name),
  );
  const replication = await admin.read<{ name: string }>(
    `SELECT rolname AS name FROM pg_roles WHERE rolreplication AND NOT rolsuper ORDER BY 1`,
  );
  return {
    only,
    observed: {
      ...facts,
      ...server,
      databases: new Map([...server.databases].filter(([name]) => wanted.includes(name))),
      inside,
      replicationFacts: await observeReplicationFacts(admin, { ...desired, databases }),
      comments,
      settingFacts: await observeSettingFacts(admin, desired),
      logins: new Map(),
      connected: new Set(),
      connectionVersions: new Map(),
      connectedVersions: new Map(),
    },
    others,
    found,
    replicationRoles: replication.map(({ name }) => name),
    managed: await readManaged(connections),
  };
}

function commentTargets(roles: Iterable<string>, inside: ReadonlyMap<string, Inside>): CommentTarget[] {
  return [
    ...[...roles].map((name) => ({ kind: 'role' as const, name })),
    ...[...inside.keys()].map((name) => ({ kind: 'database' as const, name })),
    ...[...inside].flatMap(([database, { schemas }]) =>
      [...schemas.keys()].map((name) => ({ kind: 'schema' as const, database, name })),
    ),
  ];
}

async function readManaged(connections: Connections): Promise<Map<string, number>> {
  const admin = await connections.admin();
  const [{ usable }] = await admin.read<{ usable: boolean }>(
    `SELECT coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
                     AND c.relkind = 'r' AND cardinality(${LEDGER_STRANGERS}) = 0, false) AS usable
     FROM (VALUES (1)) AS one LEFT JOIN pg_namespace n ON n.nspname = 'cdk_postgres'
     LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'object'`,
  );
  if (!usable) return new Map();
  const rows = await admin.read<{ state: string; count: number }>(
    `SELECT state, count(*)::int AS count FROM cdk_postgres.object WHERE removed_at IS NULL GROUP BY 1 ORDER BY 1`,
  );
  return new Map(rows.map(({ state, count }) => [state, count]));
}
