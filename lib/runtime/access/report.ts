import { PRIVILEGES } from '../../contract';
import { AclEntry, Grantee, Inside, ObservedDefaultAcl, PUBLIC, Securable } from '../reconcile/observed';
import { DATABASE_OWNER_ROLE } from '../reconcile/power';
import { AccessFacts, DatabaseFacts, Everything } from './facts';
import { RowSecurity, RowSecurityJudge, SecuredTable } from './row-security';
import { Reach, Reachability } from './ways';

/** In the place of a role: every role of the server. No role can have this name. */
export const EVERYBODY = 'PUBLIC';

/**
 * `direct`: the role itself was given it; `group`: a role that it is a member of; `owner`: it or such a role owns the object;
 * `predefined`: a role of PostgreSQL that has it on everything; `public`: every role has it; `superuser`: it is not asked.
 */
export type AccessBy = 'direct' | 'group' | 'owner' | 'predefined' | 'public' | 'superuser';

export type AccessKind = 'database' | 'schema' | 'table' | 'sequence' | 'routine' | 'column';

/** What a set of privileges is on: one object, or objects of one kind in one schema. */
export interface AccessTarget {
  readonly kind: AccessKind;
  readonly database: string;
  readonly schema?: string;
  /** The names of the first of them, unless they are all. */
  readonly names: readonly string[];
  /** The one column of the one table that it is about. */
  readonly column?: string;
  readonly count: number;
  /** They are all that the schema has of this kind. */
  readonly all: boolean;
}

export interface Access extends Reach {
  readonly role: string;
  readonly on: AccessTarget;
  readonly privileges: readonly string[];
  readonly by: AccessBy;
  /** It may give them to others. */
  readonly grantable?: true;
  /** The roles whose objects to come carry these privileges too; with a count of 0 they are about such objects alone. */
  readonly future?: readonly string[];
  /**
   * Why they are worth nothing as things are: no USAGE on the schema, no CONNECT on the database (`connect`), or one that takes no
   * connections (`closed`).
   */
  readonly ineffective?: 'usage' | 'connect' | 'closed';
  /** What row security makes of privileges on rows; absent: no row security. Several, where not all tables are under the same. */
  readonly rowSecurity?: readonly RowSecurity[];
}

export interface AccessReport {
  readonly of: AccessFacts['of'];
  /** They may do everything, and are in no other list. */
  readonly superusers: readonly string[];
  /** Sorted by role; PUBLIC comes last. */
  readonly access: readonly Access[];
  /** Databases whose inside could not be read. */
  readonly closed: readonly string[];
}

export interface AccessQuery {
  /** Only what this role can do, through PUBLIC too. */
  readonly role?: string;
  /** Only what can be done with these objects, and with the schema and database that they are in. */
  readonly object?: { readonly schema: string; readonly name: string };
}

const MOST_NAMES = 20;

/** The predefined roles that have USAGE on every schema. */
const READ_OR_WRITE_ALL = ['pg_read_all_data', 'pg_write_all_data'];

const CLASSES = [
  { kind: 'table', objects: 'tables' },
  { kind: 'sequence', objects: 'sequences' },
  { kind: 'routine', objects: 'routines' },
] as const;
type ObjectClass = (typeof CLASSES)[number]['kind'];

/** Who can do what, and why, computed from the catalog alone: the server's own functions answer whether, but not why. */
export function accessReport(facts: AccessFacts, query: AccessQuery = {}): AccessReport {
  const superusers = [...facts.roles.values()].filter((role) => role.superuser).map((role) => role.name);
  const access = facts.databases.flatMap((database) => new DatabaseAccess(facts, database, query).list());
  const rank = (role: string) => (role === EVERYBODY ? 1 : 0);
  return {
    of: facts.of,
    superusers: superusers.filter((name) => query.role === undefined || query.role === name).sort(),
    access: access.sort((a, b) => rank(a.role) - rank(b.role) || compare(a.role, b.role)),
    closed: facts.databases.filter(({ inside }) => inside === undefined).map(({ name }) => name),
  };
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** What one grantee was given on the same objects. */
interface Given {
  readonly grantee: Grantee;
  readonly isOwner: boolean;
  readonly predefined: boolean;
  readonly privileges: readonly string[];
  readonly grantable: boolean;
  readonly on: AccessTarget;
  readonly future?: readonly string[];
  /** How many of the tables are under the same row security. */
  readonly secured?: ReadonlyMap<SecuredTable, number>;
}

/** What row security is asked about; TRUNCATE and REFERENCES are not. */
const ON_ROWS = new Set(['SELECT', 'INSERT', 'UPDATE', 'DELETE']);

class DatabaseAccess {
  private readonly reachability: Reachability;
  private readonly connects: Holders;
  private readonly uses = new Map<string, Holders>();
  private readonly found: Access[] = [];
  private readonly rows: RowSecurityJudge;
  /** What is inside, by schema: a server with as many schemas as tenants would be gone through as often otherwise. */
  private readonly objects: ReadonlyMap<string, readonly Everything[]>;
  private readonly superusers: readonly string[];
  private readonly columns: ReadonlyMap<string, Inside['columns']>;
  private readonly defaults: ReadonlyMap<string, DefaultAcls>;

  constructor(
    private readonly facts: AccessFacts,
    private readonly database: DatabaseFacts,
    private readonly query: AccessQuery,
  ) {
    this.reachability = new Reachability(facts, database.owner);
    this.rows = new RowSecurityJudge(facts);
    const { relations = [], routines = [], columns = [], defaultAcls = [] } = database.inside ?? {};
    this.objects = grouped(
      [...relations, ...routines.map((item) => ({ ...item, kind: 'routine' as const, name: item.signature }))],
      ({ schema, kind }) => objectsKey(schema, kind),
    );
    this.superusers = [...facts.roles.values()].flatMap((role) => (role.superuser ? [role.name] : []));
    this.columns = grouped(columns, ({ schema }) => schema);
    this.defaults = new Map(
      [...grouped(defaultAcls, ({ objects }) => objects)].map(([objects, rows]) => [
        objects,
        {
          creators: new Set(rows.map(({ creator }) => creator)),
          bySchema: grouped(rows, ({ schema }) => schema),
          everywhere: new Map(
            rows.flatMap((row) => (row.schema === undefined ? [[row.creator, row.acl] as const] : [])),
          ),
        },
      ]),
    );
    this.connects = this.holders(database.acl, 'CONNECT');
    for (const schema of database.inside?.schemas.values() ?? []) {
      this.uses.set(schema.name, this.holders(schema.acl, 'USAGE', READ_OR_WRITE_ALL));
    }
  }

  list(): Access[] {
    const { name, acl, owner, inside } = this.database;
    const schemas = [...(inside?.schemas.values() ?? [])]
      .filter(({ name }) => this.isAsked(name))
      .sort((a, b) => compare(a.name, b.name));
    if (this.query.object === undefined || schemas.length > 0)
      this.add(given(acl, owner, { kind: 'database', database: name, names: [name], count: 1, all: true }));
    for (const schema of schemas) this.addSchema(inside!, schema.name);
    return this.found;
  }

  private isAsked(schema: string): boolean {
    const { object } = this.query;
    if (object === undefined) return true;
    if (object.schema !== schema) return false;
    const { relations = [], routines = [] } = this.database.inside ?? {};
    return (
      relations.some((item) => item.schema === schema && item.name === object.name) ||
      routines.some((item) => item.schema === schema && [item.name, item.signature].includes(object.name))
    );
  }

  private addSchema(inside: Inside, schema: string): void {
    const { acl, owner } = inside.schemas.get(schema)!;
    const place = { database: this.database.name, schema };
    const target: AccessTarget = { kind: 'schema', ...place, names: [schema], count: 1, all: true };
    this.add(given(acl, owner, target));
    this.add(READ_OR_WRITE_ALL.map((role) => predefined(role, ['USAGE'], target)));
    for (const { kind, objects } of CLASSES) {
      const items = this.objects.get(objectsKey(schema, kind)) ?? [];
      const asked = items.filter((item) => this.isNamed(item));
      const future = this.query.object === undefined ? this.future(inside, schema, objects) : new Map();
      const secured = kind === 'table' ? this.database.secured?.get(schema) : undefined;
      this.add(group(kind, place, items.length, asked, future, secured));
      if (asked.length > 0)
        this.add(
          this.predefinedOn(kind, targetOf(kind, place, items.length, asked)).map((item) => ({
            ...item,
            secured: securedOf(asked, secured),
          })),
        );
    }
    for (const column of this.columns.get(schema) ?? []) {
      if (this.query.object && this.query.object.name !== column.table) continue;
      const on = {
        kind: 'column' as const,
        ...place,
        names: [column.table],
        column: column.column,
        count: 1,
        all: false,
      };
      const secured = securedOf([{ name: column.table }], this.database.secured?.get(schema));
      this.add(given(column.acl, column.owner, on).map((item) => ({ ...item, secured })));
    }
  }

  private isNamed(item: Securable): boolean {
    const wanted = this.query.object?.name;
    return wanted === undefined || item.name === wanted || item.name.split('(')[0] === wanted;
  }

  private predefinedOn(kind: ObjectClass, on: AccessTarget): Given[] {
    if (kind === 'routine') return [];
    const writes = kind === 'table' ? ['INSERT', 'UPDATE', 'DELETE'] : ['UPDATE'];
    return [
      predefined('pg_read_all_data', ['SELECT'], on),
      predefined('pg_write_all_data', writes, on),
      ...(kind === 'table' && this.facts.major >= 17 ? [predefined('pg_maintain', ['MAINTAIN'], on)] : []),
    ];
  }

  /** By grantee, then by creator: what objects to come will carry. */
  private future(
    inside: Inside,
    schema: string,
    objects: (typeof CLASSES)[number]['objects'],
  ): Map<Grantee, Map<string, Set<string>>> {
    const rows = this.defaults.get(objects);
    const owner = this.ownerOf(inside, schema);
    const here = rows?.bySchema.get(schema) ?? [];
    const creators = new Set(here.map((row) => row.creator));
    if (rows) {
      const mayCreate = this.holders(inside.schemas.get(schema)!.acl, 'CREATE');
      const few = mayCreate.everybody ? rows.creators : [...mayCreate.roles, ...this.superusers];
      for (const creator of few) if (rows.creators.has(creator)) creators.add(creator);
    }
    creators.add(owner);
    const future = new Map<Grantee, Map<string, Set<string>>>();
    for (const creator of creators) {
      for (const { grantee, privilege } of futureAcl(rows?.everywhere.get(creator), here, creator, objects)) {
        if (grantee === creator) continue;
        const byCreator = future.get(grantee) ?? new Map<string, Set<string>>();
        byCreator.set(creator, (byCreator.get(creator) ?? new Set()).add(privilege));
        future.set(grantee, byCreator);
      }
    }
    return future;
  }

  private ownerOf(inside: Inside, schema: string): string {
    const { owner } = inside.schemas.get(schema)!;
    return owner === DATABASE_OWNER_ROLE ? this.database.owner : owner;
  }

  /** Each that has it in its own right or by inheritance; SET ROLE is another matter. */
  private holders(acl: readonly AclEntry[], privilege: string, everywhere: readonly string[] = []): Holders {
    const grantees = new Set(acl.filter((entry) => entry.privilege === privilege).map((entry) => entry.grantee));
    everywhere.forEach((role) => grantees.add(role));
    const roles = new Set<string>();
    for (const grantee of grantees) {
      if (grantee === PUBLIC) continue;
      for (const [role, { setRole }] of this.reachability.to(grantee)) if (setRole === undefined) roles.add(role);
    }
    return { everybody: grantees.has(PUBLIC), roles };
  }

  private has(holders: Holders, role: string): boolean {
    return holders.everybody || holders.roles.has(role) || (this.facts.roles.get(role)?.superuser ?? false);
  }

  private add(items: readonly Given[]): void {
    const { role: asked } = this.query;
    for (const item of items) {
      if (item.grantee === PUBLIC) {
        const role = asked ?? EVERYBODY;
        if (!this.facts.roles.get(role)?.superuser) this.found.push(this.access(role, item, { path: [role] }));
        continue;
      }
      const reached = this.reachability.to(item.grantee);
      for (const [role, reach] of asked === undefined ? reached : pick(reached, asked)) {
        const facts = this.facts.roles.get(role);
        // pg_database_owner and its like are ways to access and nobody's login.
        if (facts?.superuser || (role.startsWith('pg_') && asked === undefined)) continue;
        this.found.push(this.access(role, item, reach));
      }
    }
  }

  private access(role: string, item: Given, reach: Reach): Access {
    const by: AccessBy =
      item.grantee === PUBLIC
        ? 'public'
        : item.predefined
          ? 'predefined'
          : item.isOwner
            ? 'owner'
            : reach.path.length > 1
              ? 'group'
              : 'direct';
    const { on, privileges, future } = item;
    const access: { -readonly [K in keyof Access]: Access[K] } = { role, on, privileges, by, path: reach.path };
    if (reach.setRole !== undefined) access.setRole = reach.setRole;
    if (item.grantable && by !== 'owner') access.grantable = true;
    if (future !== undefined) access.future = future;
    const ineffective = this.ineffective(role, on, reach.setRole);
    if (ineffective !== undefined) access.ineffective = ineffective;
    if (item.secured && privileges.some((privilege) => ON_ROWS.has(privilege)))
      access.rowSecurity = this.rows.of(reach.setRole ?? role, item.secured);
    return access;
  }

  /** A privilege in a schema is worth nothing without USAGE on it, and nothing in a database without CONNECT, which is the session's. */
  private ineffective(role: string, on: AccessTarget, setRole: string | undefined): Access['ineffective'] {
    if (!this.database.allowConnections) return 'closed';
    // A role that may connect only once it has become another one never gets there.
    if (on.kind === 'database' && setRole === undefined) return undefined;
    const everybody = role === EVERYBODY;
    const connects = everybody
      ? this.connects.everybody
      : !this.facts.roles.get(role)?.login || this.has(this.connects, role);
    if (!connects) return 'connect';
    if (on.schema === undefined || on.kind === 'schema') return undefined;
    const uses = this.uses.get(on.schema)!;
    return (everybody ? uses.everybody : this.has(uses, setRole ?? role)) ? undefined : 'usage';
  }
}

interface DefaultAcls {
  readonly creators: ReadonlySet<string>;
  readonly bySchema: ReadonlyMap<string | undefined, readonly ObservedDefaultAcl[]>;
  /** By creator, of those in no schema. */
  readonly everywhere: ReadonlyMap<string, readonly AclEntry[]>;
}

const objectsKey = (schema: string, kind: string) => `${kind} ${schema}`;

function grouped<T, K>(items: readonly T[], keyOf: (item: T) => K): Map<K, T[]> {
  const groups = new Map<K, T[]>();
  for (const item of items) {
    const key = keyOf(item);
    const known = groups.get(key);
    if (known) known.push(item);
    else groups.set(key, [item]);
  }
  return groups;
}

interface Holders {
  readonly everybody: boolean;
  readonly roles: ReadonlySet<string>;
}

function pick(reached: ReadonlyMap<string, Reach>, role: string): [string, Reach][] {
  const reach = reached.get(role);
  return reach === undefined ? [] : [[role, reach]];
}

function predefined(role: string, privileges: readonly string[], on: AccessTarget): Given {
  return { grantee: role, isOwner: false, predefined: true, privileges, grantable: false, on };
}

/** The entries of one access list, by grantee. */
function given(acl: readonly AclEntry[], owner: string, on: AccessTarget): Given[] {
  const byGrantee = new Map<string, { entry: AclEntry; privileges: Set<string> }>();
  for (const entry of acl) {
    const key = JSON.stringify([entry.grantee, entry.grantable]);
    const known = byGrantee.get(key) ?? { entry, privileges: new Set<string>() };
    known.privileges.add(entry.privilege);
    byGrantee.set(key, known);
  }
  return [...byGrantee.values()].map(({ entry, privileges }) => ({
    grantee: entry.grantee,
    isOwner: entry.grantee === owner,
    predefined: false,
    privileges: inOrder(privileges),
    grantable: entry.grantable,
    on,
  }));
}

const ORDER: readonly string[] = [...new Set(Object.values(PRIVILEGES).flat())];

function inOrder(privileges: Iterable<string>): string[] {
  return [...privileges].sort((a, b) => ORDER.indexOf(a) - ORDER.indexOf(b));
}

function securedOf(
  items: readonly { readonly name: string }[],
  secured: ReadonlyMap<string, SecuredTable> | undefined,
): ReadonlyMap<SecuredTable, number> | undefined {
  if (secured === undefined) return undefined;
  const found = new Map<SecuredTable, number>();
  for (const { name } of items) {
    const table = secured.get(name);
    if (table) found.set(table, (found.get(table) ?? 0) + 1);
  }
  return found.size === 0 ? undefined : found;
}

function targetOf(
  kind: ObjectClass,
  place: { database: string; schema: string },
  total: number,
  items: readonly Everything[],
): AccessTarget {
  const isAll = items.length === total || items.some((item) => item.everything);
  return {
    kind,
    ...place,
    names: isAll && total > 1 && items.length > 1 ? [] : items.slice(0, MOST_NAMES).map((item) => item.name),
    count: items.length,
    all: isAll,
  };
}

/**
 * The objects of one kind in one schema. Many share few access lists, so each list is looked at once; then privileges that a grantee
 * has on the same objects are said together.
 */
function group(
  kind: ObjectClass,
  place: { database: string; schema: string },
  total: number,
  items: readonly Everything[],
  future: ReadonlyMap<Grantee, ReadonlyMap<string, ReadonlySet<string>>>,
  secured: ReadonlyMap<string, SecuredTable> | undefined,
): Given[] {
  const lists = new Map<readonly AclEntry[], Map<string, Everything[]>>();
  for (const item of items) {
    const byOwner = lists.get(item.acl) ?? new Map<string, Everything[]>();
    lists.set(item.acl, byOwner);
    const same = byOwner.get(item.owner);
    if (same) same.push(item);
    else byOwner.set(item.owner, [item]);
  }
  const sets = [...lists].flatMap(([acl, byOwner]) => [...byOwner].map(([owner, same]) => ({ acl, owner, same })));
  interface Part {
    grantee: Grantee;
    isOwner: boolean;
    grantable: boolean;
    on: Map<string, number[]>;
  }
  const parts = new Map<string, Part>();
  sets.forEach(({ acl, owner }, at) => {
    for (const { grantee, privilege, grantable } of acl) {
      const isOwner = grantee === owner;
      const key = `${isOwner} ${grantable} ${grantee ?? ''}`; // no role has an empty name
      let part = parts.get(key);
      if (part === undefined) parts.set(key, (part = { grantee, isOwner, grantable, on: new Map() }));
      const known = part.on.get(privilege);
      if (known === undefined) part.on.set(privilege, [at]);
      else if (known.at(-1) !== at) known.push(at); // twice in one list, where two have granted it
    }
  });
  const result: Given[] = [];
  const said = new Map<Grantee, Map<string, Set<string>>>(); // by grantee and creator, what is said with what is there
  for (const { grantee, isOwner, grantable, on } of parts.values()) {
    const together = new Map<string, { privileges: string[]; at: readonly number[] }>();
    for (const [privilege, at] of on) {
      const key = at.join();
      const known = together.get(key);
      if (known) known.privileges.push(privilege);
      else together.set(key, { privileges: [privilege], at });
    }
    for (const { privileges, at } of together.values()) {
      const same = at.length === 1 ? sets[at[0]].same : at.flatMap((index) => sets[index].same);
      const target = targetOf(kind, place, total, same);
      const creators = isOwner || grantable || !target.all ? [] : [...(future.get(grantee) ?? [])];
      const also = creators.filter(([, carried]) => privileges.every((privilege) => carried.has(privilege)));
      for (const [creator] of also) {
        const bySaid = said.get(grantee) ?? new Map<string, Set<string>>();
        said.set(grantee, bySaid);
        bySaid.set(creator, new Set([...(bySaid.get(creator) ?? []), ...privileges]));
      }
      result.push({
        grantee,
        isOwner,
        predefined: false,
        privileges: inOrder(privileges),
        grantable,
        on: target,
        secured: securedOf(same, secured),
        future: also.length > 0 ? also.map(([creator]) => creator).sort() : undefined,
      });
    }
  }
  const toCome: AccessTarget = { kind, ...place, names: [], count: 0, all: false };
  for (const [grantee, byCreator] of future) {
    const together = new Map<string, { privileges: string[]; creators: string[] }>();
    for (const [creator, carried] of byCreator) {
      const privileges = inOrder([...carried].filter((privilege) => !said.get(grantee)?.get(creator)?.has(privilege)));
      if (privileges.length === 0) continue;
      const known = together.get(privileges.join());
      if (known) known.creators.push(creator);
      else together.set(privileges.join(), { privileges, creators: [creator] });
    }
    for (const { privileges, creators } of together.values()) {
      const base = { grantee, isOwner: false, predefined: false, privileges, grantable: false, on: toCome };
      result.push({ ...base, future: creators.sort() });
    }
  }
  return result;
}

/** The access list of an object that `creator` makes: what is built in or replaces it, and what is added for the schema. */
function futureAcl(
  everywhere: readonly AclEntry[] | undefined,
  here: readonly ObservedDefaultAcl[],
  creator: string,
  objects: (typeof CLASSES)[number]['objects'],
): AclEntry[] {
  const builtIn: AclEntry[] =
    objects === 'routines' ? [{ grantee: PUBLIC, grantor: creator, privilege: 'EXECUTE', grantable: false }] : [];
  const added = here.filter((row) => row.creator === creator);
  return [...(everywhere ?? builtIn), ...added.flatMap((row) => row.acl)];
}
