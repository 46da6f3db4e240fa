import { IConstruct } from 'constructs';
import {
  CONTRACT_VERSION,
  creatorsBySchema,
  DesiredComment,
  DesiredDatabase,
  DesiredDefaultPrivilege,
  DesiredDrop,
  DesiredExtension,
  DesiredGrant,
  DesiredMembership,
  DesiredRole,
  DesiredSchema,
  DesiredSetting,
  DesiredState,
  Privilege,
  PRIVILEGES,
  OBJECT_KIND_OF,
} from '../../contract';
import { DeclaredPlaces, ISOLATION } from './contradictions';

/** The part of a database that is declared in one piece; the rest comes by later declarations. */
export type DatabaseDeclaration = Pick<
  DesiredDatabase,
  'name' | 'owner' | 'connectionLimit' | 'encoding' | 'locale' | 'public'
>;

/** What objects of a kind will carry that anybody, or `by` alone, creates in a schema later; who that is, is known when all is declared. */
export type FutureGrant = Omit<DesiredDefaultPrivilege, 'creator'> & { readonly by?: string };

/** What a database has besides its schemas, each item in one piece. */
type Parts = Pick<DesiredDatabase, 'extensions' | 'isolations' | 'publications' | 'subscriptions' | 'slots'>;

interface DatabaseParts {
  readonly declaration: DatabaseDeclaration;
  readonly schemas: DesiredSchema[];
  readonly inside: { readonly [K in keyof Parts]: Parts[K][number][] };
  readonly grants: Map<string, DesiredGrant>;
  readonly futureGrants: Map<string, FutureGrant>;
}

/** Collects what an app declares about the inside of one server, in any order, and gives it as the contract's desired state. */
export class Declaration implements DeclaredPlaces {
  private readonly roles = new Map<string, DesiredRole>();
  /** By member, then by group. */
  private readonly memberships = new Map<string, Map<string, DesiredMembership>>();
  private readonly settings = new Map<string, DesiredSetting>();
  private readonly databases = new Map<string, DatabaseParts>();
  private readonly comments = new Map<string, DesiredComment>();
  private readonly drops = new Map<string, { readonly drop: DesiredDrop; readonly by: IConstruct }>();
  private readonly acknowledgedPlans = new Set<string>();
  private readonly declaredBy = new Map<string, IConstruct>();
  private readonly otherWays = new Set<string>();
  /** Roles that look at every database, and whether at its sequences. */
  private readonly watchers = new Map<string, boolean>();

  /** Extensions that every database has, whenever that is declared. */
  private readonly everywhere = new Map<string, DesiredExtension>();

  public get isEmpty(): boolean {
    return this.roles.size === 0 && this.databases.size === 0;
  }

  public addRole(by: IConstruct, role: DesiredRole): void {
    this.claim(by, 'role', role.name);
    this.roles.set(role.name, role);
  }

  public addDatabase(by: IConstruct, declaration: DatabaseDeclaration): void {
    this.claim(by, 'database', declaration.name);
    this.databases.set(declaration.name, {
      declaration,
      schemas: [],
      inside: { extensions: [], isolations: [], publications: [], subscriptions: [], slots: [] },
      grants: new Map(),
      futureGrants: new Map(),
    });
  }

  public addSchema(by: IConstruct, database: string, schema: DesiredSchema): void {
    this.claim(by, 'schema', schema.name, database);
    this.parts(database).schemas.push(schema);
  }

  /** `name` is what a second declaration of the same must not have. */
  public addInside<K extends keyof Parts>(
    by: IConstruct,
    database: string,
    kind: K,
    name: string,
    item: Parts[K][number],
  ): void {
    this.claim(by, kind === 'isolations' ? ISOLATION : kind.slice(0, -1), name, database);
    (this.parts(database).inside[kind] as Parts[K][number][]).push(item);
  }

  public addComment(by: IConstruct, comment: DesiredComment): void {
    const key = JSON.stringify(comment.on);
    this.claim(by, 'comment on', key);
    this.comments.set(key, comment);
  }

  public addDrop(by: IConstruct, drop: DesiredDrop): void {
    const what = wordsFor(drop.kind, drop.name, 'database' in drop ? drop.database : undefined);
    if (this.drops.has(what))
      throw new Error(`${by.node.path}: drop() of the ${what} comes a second time; take one of the two calls out`);
    const declaredBy = this.declaredBy.get(what);
    if (declaredBy) refuseDropOfDeclared(what, declaredBy, by);
    this.drops.set(what, { drop, by });
  }

  public addMembership(by: IConstruct, membership: DesiredMembership): void {
    const groups = this.memberships.get(membership.member) ?? new Map<string, DesiredMembership>();
    const earlier = groups.get(membership.role);
    if (earlier && !equal(earlier, membership)) {
      throw new Error(
        `${by.node.path}: "${membership.member}" is already a member of "${membership.role}" with other options; declare the membership once`,
      );
    }
    if (membership.role === membership.member || this.closure(membership.role, () => true).has(membership.member)) {
      throw new Error(
        `${by.node.path}: "${membership.member}" cannot be a member of "${membership.role}", which is a member of it; PostgreSQL refuses a circle`,
      );
    }
    this.memberships.set(membership.member, groups.set(membership.role, membership));
  }

  public addSetting(by: IConstruct, setting: DesiredSetting): void {
    const key = settingKey(setting);
    const earlier = this.settings.get(key);
    if (earlier && !equal(earlier, setting)) {
      throw new Error(
        `${by.node.path}: the setting ${setting.name} of "${setting.role ?? setting.database}" is declared twice, as ` +
          `${JSON.stringify(earlier.values)} and ${JSON.stringify(setting.values)}`,
      );
    }
    this.settings.set(key, setting);
  }

  /** Grants add up: the same target and grantee get the privileges of every declaration. */
  public addGrant(database: string, grant: DesiredGrant): void {
    const { grants } = this.parts(database);
    const key = JSON.stringify([grant.on, grant.to]);
    grants.set(key, { ...grant, privileges: union(grants.get(key)?.privileges, grant.privileges, grant.on.kind) });
  }

  public addFutureGrant(database: string, grant: FutureGrant): void {
    const { futureGrants } = this.parts(database);
    const key = JSON.stringify([grant.schema, grant.objects, grant.to, grant.by]);
    const privileges = union(futureGrants.get(key)?.privileges, grant.privileges, grant.objects);
    futureGrants.set(key, { ...grant, privileges });
  }

  /** A role that connects to every database, whenever that is declared, and may read how far the sequences of its schemas are. */
  public addWatcher(role: string, sequences: boolean): void {
    this.watchers.set(role, sequences);
  }

  private admitWatchers(): void {
    for (const [to, sequences] of this.watchers) {
      for (const [database, { schemas }] of this.databases) {
        this.addGrant(database, { privileges: ['CONNECT'], on: { kind: 'database' }, to });
        for (const { name: schema } of sequences ? schemas : []) {
          const privileges: Privilege[] = ['SELECT'];
          this.addGrant(database, { privileges: ['USAGE'], on: { kind: 'schema', schema }, to });
          this.addGrant(database, { privileges, on: { kind: 'allSequences', schema }, to });
          this.addFutureGrant(database, { privileges, schema, objects: 'sequences', to });
        }
      }
    }
  }

  /** An extension of every database, but where the database declares it itself. */
  public addEverywhere(by: IConstruct, extension: DesiredExtension): void {
    this.claim(by, 'extension of every database', extension.name);
    this.everywhere.set(extension.name, extension);
  }

  private installEverywhere(): void {
    for (const { inside } of this.databases.values())
      for (const extension of this.everywhere.values())
        if (!inside.extensions.some(({ name }) => name === extension.name)) inside.extensions.push(extension);
  }

  /** The names of all declared extensions, each once. */
  public extensions(): string[] {
    this.installEverywhere();
    const names = [...this.databases.values()].flatMap(({ inside }) => inside.extensions.map(({ name }) => name));
    return [...new Set(names)].sort();
  }

  public acknowledgePlan(hash: string): void {
    this.acknowledgedPlans.add(hash);
  }

  public toState(head: Pick<DesiredState, 'name' | 'profile' | 'defaults'>): DesiredState {
    this.admitWatchers();
    this.installEverywhere();
    return {
      version: CONTRACT_VERSION,
      ...head,
      acknowledgedPlans: [...this.acknowledgedPlans],
      roles: [...this.roles.values()],
      memberships: this.allMemberships(),
      settings: [...this.settings.values()],
      comments: [...this.comments.values()],
      drops: [...this.drops.values()].map(({ drop }) => drop),
      databases: [...this.databases.values()].map((parts) => ({
        ...parts.declaration,
        schemas: parts.schemas,
        grants: [...parts.grants.values()],
        defaultPrivileges: this.defaultPrivileges(parts),
        ...parts.inside,
      })),
    };
  }

  /** Default privileges belong to the creating role, so each promise for the future is written once for everybody who may create. */
  private defaultPrivileges(parts: DatabaseParts): DesiredDefaultPrivilege[] {
    if (parts.futureGrants.size === 0) return [];
    const creators = creatorsBySchema(
      {
        roles: [...this.roles.values()],
        memberships: this.allMemberships(),
        settings: [...this.settings.values()],
      },
      { schemas: parts.schemas, grants: [...parts.grants.values()] },
    );
    const promises = new Map<string, DesiredDefaultPrivilege>();
    for (const { by, ...grant } of parts.futureGrants.values()) {
      for (const creator of by === undefined ? (creators.get(grant.schema) ?? []) : [by]) {
        // What a role creates belongs to it: PostgreSQL keeps no default privilege that says so again.
        if (creator === grant.to) continue;
        const key = JSON.stringify([creator, grant.schema, grant.objects, grant.to]);
        const privileges = union(promises.get(key)?.privileges, grant.privileges, grant.objects);
        promises.set(key, { creator, ...grant, privileges });
      }
    }
    return [...promises.values()];
  }

  /** Where sessions that work as one of these roles may create objects, which then belong to it. */
  public placesToCreate(roles: readonly string[]): string[] {
    const powers = new Set(
      roles.flatMap((role) =>
        this.sessionRole(role) === role ? [...this.closure(role, (membership) => membership.inherit)] : [],
      ),
    );
    return [...this.databases.values()].flatMap(({ declaration, schemas, grants }) => [
      ...(powers.has(declaration.owner) ? [`the database ${declaration.name}`] : []),
      ...schemas
        .filter(
          ({ name, owner }) =>
            powers.has(owner) ||
            [...grants.values()].some(
              ({ on, privileges, to }) =>
                on.kind === 'schema' && on.schema === name && privileges.includes('CREATE') && powers.has(to),
            ),
        )
        .map(({ name }) => `the schema ${name} of ${declaration.name}`),
    ]);
  }

  private sessionRole(login: string): string {
    return this.settings.get(settingKey({ role: login, name: 'role' }))?.values[0] ?? login;
  }

  private allMemberships(): DesiredMembership[] {
    return [...this.memberships.values()].flatMap((groups) => [...groups.values()]);
  }

  private closure(member: string, follow: (membership: DesiredMembership) => boolean): Set<string> {
    const reached = new Set([member]);
    for (const name of reached) {
      for (const membership of this.memberships.get(name)?.values() ?? []) {
        if (follow(membership)) reached.add(membership.role);
      }
    }
    return reached;
  }

  private parts(database: string): DatabaseParts {
    const parts = this.databases.get(database);
    if (!parts) throw new Error(`The database "${database}" is not declared on this server`);
    return parts;
  }

  /** A login that comes into a database by a way that is not declared. */
  public addOtherWay(role: string, database: string): void {
    this.otherWays.add(JSON.stringify([role, database]));
  }

  public comesAnotherWay(role: string, database: string): boolean {
    return this.otherWays.has(JSON.stringify([role, database]));
  }

  public pathOf(kind: string, name: string, database?: string): string {
    return this.declaredBy.get(wordsFor(kind, name, database))!.node.path;
  }

  private claim(by: IConstruct, kind: string, name: string, database?: string): void {
    const what = wordsFor(kind, name, database);
    const earlier = this.declaredBy.get(what);
    if (earlier) {
      const remedy = earlier === by ? 'declare it once' : 'use what that is, or another name';
      throw new Error(
        `${by.node.path}: the ${what} is declared twice; ${earlier.node.path} declares it already: ${remedy}`,
      );
    }
    const dropped = this.drops.get(what);
    if (dropped) refuseDropOfDeclared(what, by, dropped.by);
    this.declaredBy.set(what, by);
  }
}

/** Names an object in messages, and no other: names are quoted as JSON. */
function wordsFor(kind: string, name: string, database?: string): string {
  const object = `${kind} ${JSON.stringify(name)}`;
  return database === undefined ? object : `${object} of the database ${JSON.stringify(database)}`;
}

/** What is declared is there, and what is dropped is not. */
function refuseDropOfDeclared(what: string, declared: IConstruct, dropped: IConstruct): never {
  throw new Error(
    `${declared.node.path}: the ${what} is declared here, and is to be dropped by drop() of ${dropped.node.path}; take out the declaration or the drop()`,
  );
}

function settingKey(setting: Pick<DesiredSetting, 'role' | 'database' | 'name'>): string {
  return JSON.stringify([setting.role, setting.database, setting.name.toLowerCase()]);
}

function union(
  earlier: readonly Privilege[] | undefined,
  added: readonly Privilege[],
  on: keyof typeof OBJECT_KIND_OF,
): Privilege[] {
  const wanted = new Set<Privilege>([...(earlier ?? []), ...added]);
  return PRIVILEGES[OBJECT_KIND_OF[on]].filter((privilege) => wanted.has(privilege));
}

function equal(a: object, b: object): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
