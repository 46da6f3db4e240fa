import { DesiredState } from '../../contract';
import { Connections } from '../reconcile/connections';
import { observeFacts, observeServer, observeSettingFacts } from '../reconcile/observe';
import { Inside, Observed } from '../reconcile/observed';
import { SERVER_DATABASES, wholeInside } from '../access/facts';

/** What exists, and this library may or may not be able to declare. */
export interface Existing {
  readonly observed: Observed;
  /** By database; what the inside has besides schemas and what is granted in them. */
  readonly others: ReadonlyMap<string, readonly OtherObject[]>;
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
  extension: `SELECT extname, 'version ' || extversion || ' in schema ' || extnamespace::regnamespace FROM pg_extension WHERE extname <> 'plpgsql'`,
  publication: `SELECT pubname, 'owner ' || pg_get_userbyid(pubowner) FROM pg_publication`,
  subscription: `SELECT subname, 'owner ' || pg_get_userbyid(subowner) FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())`,
  'replication slot': `SELECT slot_name, 'plugin ' || coalesce(plugin, 'none') FROM pg_replication_slots WHERE database = current_database()`,
  'event trigger': `SELECT evtname, 'owner ' || pg_get_userbyid(evtowner) FROM pg_event_trigger WHERE evtname !~ '^rds_'`,
  'foreign server': `SELECT srvname, 'owner ' || pg_get_userbyid(srvowner) FROM pg_foreign_server`,
  'row security policy': `SELECT polname, 'on ' || polrelid::regclass::text FROM pg_policy`,
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
  for (const name of wanted) {
    if (!facts.databases.has(name)) continue;
    inside.set(name, await wholeInside(connections, name));
    others.set(
      name,
      await (await connections.in(name)).read<OtherObject & Record<string, string>>(`${OTHERS} ORDER BY 1, 2`),
    );
  }
  const replication = await admin.read<{ name: string }>(
    `SELECT rolname AS name FROM pg_roles WHERE rolreplication AND NOT rolsuper ORDER BY 1`,
  );
  return {
    observed: {
      ...facts,
      ...server,
      databases: new Map([...server.databases].filter(([name]) => wanted.includes(name))),
      inside,
      settingFacts: await observeSettingFacts(admin, desired),
      logins: new Map(),
      connected: new Set(),
      connectionVersions: new Map(),
      connectedVersions: new Map(),
    },
    others,
    replicationRoles: replication.map(({ name }) => name),
    managed: await readManaged(connections),
  };
}

async function readManaged(connections: Connections): Promise<Map<string, number>> {
  const admin = await connections.admin();
  const [{ usable }] = await admin.read<{ usable: boolean }>(
    `SELECT coalesce(has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT'), false) AS usable
     FROM (VALUES (1)) AS one LEFT JOIN pg_namespace n ON n.nspname = 'cdk_postgres'
     LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = 'object'`,
  );
  if (!usable) return new Map();
  const rows = await admin.read<{ state: string; count: number }>(
    `SELECT state, count(*)::int AS count FROM cdk_postgres.object WHERE removed_at IS NULL GROUP BY 1 ORDER BY 1`,
  );
  return new Map(rows.map(({ state, count }) => [state, count]));
}
