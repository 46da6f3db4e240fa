import { DesiredDatabase, DesiredState, GrantTarget, OBJECT_KIND_OF, PRIVILEGES } from '../../contract';
import { Connections } from '../reconcile/connections';
import { declaredMemberships } from '../reconcile/iam';
import { observeInside, observeServer } from '../reconcile/observe';
import { AclEntry, Inside, ObservedMembership, ObservedRole, PUBLIC, Securable } from '../reconcile/observed';
import { DATABASE_OWNER_ROLE } from '../reconcile/power';
import { declaredSecurity, observeSecuredTables, SecuredTables } from './row-security';

/** Stands for all objects of its kind in its schema, where a declaration is looked at and nobody knows which there are. */
export interface Everything extends Securable {
  readonly everything?: true;
}

/** What decides who can do what. Of a server, or of a declaration alone: then as it will be once it is applied to a new server. */
export interface AccessFacts {
  readonly of: 'server' | 'declaration';
  /** The major version, which decides what the predefined roles may do. */
  readonly major: number;
  readonly roles: ReadonlyMap<string, Pick<ObservedRole, 'name' | 'superuser' | 'login' | 'bypassRls'>>;
  readonly memberships: readonly Omit<ObservedMembership, 'grantor'>[];
  readonly databases: readonly DatabaseFacts[];
}

export interface DatabaseFacts {
  readonly name: string;
  readonly owner: string;
  readonly acl: readonly AclEntry[];
  readonly allowConnections: boolean;
  /** Absent: the connected role cannot enter it. */
  readonly inside?: Inside;
  /** Tables that are under row security. */
  readonly secured?: SecuredTables;
}

/** Databases that belong to the server. */
export const SERVER_DATABASES: ReadonlySet<string> = new Set(['template0', 'template1', 'rdsadmin']);

const USER_SCHEMAS = `SELECT nspname::text AS name FROM pg_namespace WHERE nspname <> 'information_schema' AND nspname !~ '^pg_' ORDER BY 1`;

/** Reads a server in five queries and seven for each database, whatever is in there. `only`: the one database to look into. */
export async function observeAccessFacts(connections: Connections, only?: string): Promise<AccessFacts> {
  const admin = await connections.admin();
  const [{ major, open }] = await admin.read<{ major: number; open: string[] }>(
    `SELECT current_setting('server_version_num')::int / 10000 AS major,
            ARRAY(SELECT datname::text FROM pg_database WHERE datallowconn AND has_database_privilege(oid, 'CONNECT')) AS open`,
  );
  const isAsked = (name: string) => !SERVER_DATABASES.has(name) && (only === undefined || name === only);
  // The database of the first connection after the rest, which another connection reads meanwhile.
  const insides = new Map<string, Pick<DatabaseFacts, 'inside' | 'secured'>>();
  const others = async () => {
    for (const name of open.filter((one) => isAsked(one) && one !== admin.database))
      insides.set(name, await readInside(connections, name));
  };
  const own = async () => {
    const server = await observeServer(admin);
    if (open.includes(admin.database) && isAsked(admin.database))
      insides.set(admin.database, await readInside(connections, admin.database));
    return server;
  };
  const [{ roles, memberships, databases }] = await Promise.all([own(), others()]);
  const facts = [...databases.values()]
    .filter(({ name }) => isAsked(name))
    .map((database): DatabaseFacts => ({ ...database, ...insides.get(database.name) }));
  return { of: 'server', major, roles, memberships, databases: facts };
}

async function readInside(connections: Connections, name: string): Promise<Pick<DatabaseFacts, 'inside' | 'secured'>> {
  const inside = await wholeInside(connections, name);
  return { inside, secured: await observeSecuredTables(await connections.in(name)) };
}

/** Everything in a database but the system's own schemas. */
export async function wholeInside(connections: Connections, database: string): Promise<Inside> {
  const session = await connections.in(database);
  const schemas = await session.read<{ name: string }>(USER_SCHEMAS);
  return observeInside(
    session,
    schemas.map(({ name }) => name),
  );
}

/** What a declaration alone says. Roles that it names and does not declare are taken as they are named. */
export function declaredAccessFacts(state: DesiredState, only?: string): AccessFacts {
  const roles = new Map(
    state.roles.map((role) => [role.name, { name: role.name, superuser: false, login: role.login, bypassRls: false }]),
  );
  return {
    of: 'declaration',
    major: Number.MAX_SAFE_INTEGER,
    roles,
    memberships: declaredMemberships(state),
    databases: state.databases
      .filter((database) => only === undefined || database.name === only)
      .map((database) => ({
        name: database.name,
        owner: database.owner,
        allowConnections: true,
        acl: [
          ...entries(database.owner, database.owner, PRIVILEGES.database),
          ...(database.public === 'kept' ? entries(PUBLIC, database.owner, ['CONNECT', 'TEMPORARY']) : []),
          ...database.grants.flatMap((grant) =>
            grant.on.kind === 'database' ? entries(grant.to, database.owner, grant.privileges) : [],
          ),
        ],
        inside: declaredInside(database),
        secured: declaredSecured(database),
      })),
  };
}

function entries(grantee: AclEntry['grantee'], grantor: string, privileges: readonly string[]): AclEntry[] {
  return privileges.map((privilege) => ({ grantee, grantor, privilege, grantable: false }));
}

function declaredSecured(database: DesiredDatabase): SecuredTables {
  const owners = new Map(database.schemas.map((schema) => [schema.name, schema.owner]));
  const names = (schema: string) => [
    '*',
    ...database.grants.flatMap(({ on }) => (on.kind === 'table' && on.schema === schema ? [on.name] : [])),
  ];
  return new Map(
    database.isolations.flatMap((isolation) => {
      const table = declaredSecurity(isolation, owners.get(isolation.schema) ?? database.owner);
      return table === undefined
        ? []
        : [[isolation.schema, new Map(names(isolation.schema).map((name) => [name, table]))] as const];
    }),
  );
}

function declaredInside(database: DesiredDatabase): Inside {
  const owners = new Map(database.schemas.map((schema) => [schema.name, schema.owner]));
  const granted = (owner: string, ...kinds: ((on: GrantTarget) => boolean)[]) =>
    database.grants.flatMap((grant) =>
      kinds.some((matches) => matches(grant.on)) ? entries(grant.to, owner, grant.privileges) : [],
    );
  const isIn = (kind: GrantTarget['kind'], schema: string) => (on: GrantTarget) =>
    on.kind === kind && 'schema' in on && on.schema === schema;
  const securables = (all: 'allTables' | 'allSequences' | 'allRoutines') => {
    const kind = OBJECT_KIND_OF[all];
    return database.schemas.flatMap(({ name: schema, owner }): Everything[] => {
      const own = entries(owner, owner, PRIVILEGES[kind]);
      const open = kind === 'routine' && database.public === 'kept' ? entries(PUBLIC, owner, ['EXECUTE']) : [];
      const names = new Set(
        database.grants.flatMap(({ on }) =>
          'schema' in on && on.schema === schema && on.kind === kind
            ? [on.kind === 'routine' ? on.signature : (on as { name: string }).name]
            : [],
        ),
      );
      const base = { schema, owner, extension: false };
      const all_ = granted(owner, isIn(all, schema));
      const everything = { ...base, name: '*', everything: true as const, acl: [...own, ...open, ...all_] };
      const named = [...names].map((name) => {
        const isIt = (on: GrantTarget) =>
          'schema' in on &&
          on.schema === schema &&
          on.kind === kind &&
          (on.kind === 'routine' ? on.signature : (on as { name: string }).name) === name;
        return { ...base, name, acl: [...own, ...open, ...all_, ...granted(owner, isIt)] };
      });
      return [everything, ...named];
    });
  };
  return {
    schemas: new Map(
      [...owners].map(([name, owner]) => [
        name,
        {
          name,
          owner,
          acl: [
            ...entries(owner, owner, PRIVILEGES.schema),
            ...(name === 'public' ? entries(PUBLIC, DATABASE_OWNER_ROLE, ['USAGE']) : []),
            ...granted(owner, isIn('schema', name)),
          ],
        },
      ]),
    ),
    relations: [
      ...securables('allTables').map((item) => ({ ...item, kind: 'table' as const })),
      ...securables('allSequences').map((item) => ({ ...item, kind: 'sequence' as const })),
    ],
    routines: securables('allRoutines').map((item) => ({ ...item, signature: item.name })),
    columns: [],
    defaultAcls: [
      ...database.defaultPrivileges.map((d) => ({
        creator: d.creator,
        schema: d.schema,
        objects: d.objects,
        acl: entries(d.to, d.creator, d.privileges),
      })),
      // Closed: the built-in EXECUTE of PUBLIC on what the owners make is taken away.
      ...(database.public === 'kept'
        ? []
        : [...new Set([database.owner, ...owners.values()])].map((creator) => ({
            creator,
            schema: undefined,
            objects: 'routines' as const,
            acl: entries(creator, creator, ['EXECUTE']),
          }))),
    ],
  };
}
