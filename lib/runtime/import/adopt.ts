import {
  CommentTarget,
  creatorsBySchema,
  DesiredComment,
  DesiredDatabase,
  DesiredDefaultPrivilege,
  DesiredGrant,
  DesiredIsolation,
  DesiredMembership,
  DesiredPublication,
  DesiredRole,
  DesiredSetting,
  DesiredState,
  isServerRole,
  nameProblem,
  ObjectKind,
  Privilege,
  PRIVILEGES,
  rowFilterProblem,
} from '../../contract';
import { commentKey, signature } from '../reconcile/comments';
import { IAM_ROLE } from '../reconcile/iam';
import { COUNTING_SCHEMA } from '../reconcile/isolation-policies';
import { Ledger } from '../reconcile/ledger';
import {
  AclEntry,
  Grantee,
  Inside,
  Observed,
  ObservedDatabase,
  ObservedIsolation,
  PUBLIC,
  Securable,
} from '../reconcile/observed';
import { makePlan } from '../reconcile/plan';
import { DATABASE_OWNER_ROLE, Power, reachable } from '../reconcile/power';
import { elements, sameSetting } from '../reconcile/settings';
import { ident } from '../reconcile/sql';
import { Plan, RefusedError } from '../reconcile/types';
import { Existing } from './catalog';
import { Found } from './inside';
import { counted } from '../counted';

/** What is not in the declaration, or not as it is there, and stays on the server as it is. */
export interface Remark {
  /** `role api`, `database app`. */
  readonly about: string;
  readonly text: string;
}

export interface Imported {
  readonly state: DesiredState;
  readonly remarks: readonly Remark[];
  /** What a first apply of the state would do, by the role that imported it: nothing, unless a remark says why. */
  readonly plan: Plan;
}

/** The declaration of what exists, as far as the constructs can express it, with the rest as remarks. */
export function adopt(existing: Existing, name: string): Imported {
  return new Adoption(existing, name).make();
}

const CLASSES = [
  { kind: 'table', all: 'allTables', future: 'tables' },
  { kind: 'sequence', all: 'allSequences', future: 'sequences' },
  { kind: 'routine', all: 'allRoutines', future: 'routines' },
] as const;

const NO_LEDGER: Ledger = {
  exists: false,
  version: 1,
  earlierIdentities: [],
  hasRemovals: false,
  hasOpenRuns: false,
  mendable: true,
  objects: new Map(),
};

class Adoption {
  private readonly observed: Observed;
  private readonly power: Power;
  private readonly remarks: Remark[] = [];
  /** Why a role is left out. */
  private readonly leftOut = new Map<string, string>();
  /** Roles that have nothing to do with the databases that were asked for. */
  private elsewhere: ReadonlySet<string> = new Set();
  private readonly owners = new Set<string>();
  private readonly schemas = new Map<string, { readonly name: string; readonly owner: string }[]>();

  constructor(
    private readonly existing: Existing,
    private readonly name: string,
  ) {
    this.observed = existing.observed;
    this.power = new Power(existing.observed, true);
  }

  make(): Imported {
    const databases = this.chooseDatabases();
    for (const database of databases) this.chooseSchemas(database);
    if (this.existing.only) this.elsewhere = this.rolesElsewhere(databases);
    this.leaveOutByAttributes(databases.length > 0);
    for (const database of databases) this.leaveOutByPrivileges(database);
    const roles = this.roles();
    const memberships = this.memberships();
    const settings = this.settings(roles, databases, memberships);
    const base: DesiredState = {
      version: 1,
      name: this.name,
      profile: 'production',
      defaults: 'V1',
      acknowledgedPlans: [],
      roles,
      memberships,
      settings,
      comments: [],
      drops: [],
      databases: [],
    };
    const bare = databases.map((database) => this.database(database, base));
    const declared = bare.map((database) => this.withInside(database, { ...base, databases: bare }));
    for (const [role, why] of this.leftOut) this.remark(`role ${role}`, why);
    if (this.elsewhere.size > 0)
      this.remark(
        `${this.elsewhere.size === 1 ? 'role' : 'roles'} ${[...this.elsewhere].sort().join(', ')}`,
        `not declared: nothing in ${this.existing.only!.join(', ')} is owned by ${this.elsewhere.size === 1 ? 'it' : 'them'} or granted to ${this.elsewhere.size === 1 ? 'it' : 'them'}, directly or through a membership`,
      );
    this.remarkOthers();
    const whole = { ...base, databases: declared };
    const state = { ...whole, comments: this.comments(whole) };
    return { state, remarks: this.remarks, plan: this.plan(state) };
  }

  private remark(about: string, text: string): void {
    this.remarks.push({ about, text });
  }

  /** It can act as an owner, or can give itself that right when the state is applied. */
  private mayActAs(about: string, owner: string): boolean {
    if (isServerRole(owner) || this.power.canSet(owner)) return true;
    if (this.power.administers(owner)) {
      this.remark(about, `applying gives ${this.power.user} SET on its owner ${owner}, so that it can act as it`);
      return true;
    }
    // Whoever may act as a superuser is one.
    const first = this.observed.roles.get(owner)?.superuser
      ? 'give it to a role that is no superuser (ALTER … OWNER TO …) first'
      : `GRANT ${ident(owner)} TO ${ident(this.power.user)} WITH INHERIT FALSE, SET TRUE first`;
    this.remark(about, `not declared: it belongs to ${owner}, as which ${this.power.user} cannot act; ${first}`);
    return false;
  }

  private chooseDatabases(): ObservedDatabase[] {
    return [...this.observed.databases.values()].filter((database) => {
      const about = `database ${database.name}`;
      const problem = nameProblem('database', database.name);
      if (problem) this.remark(about, `not declared: its name ${problem}`);
      else if (!database.allowConnections) this.remark(about, 'not declared: it takes no connections');
      else if (!this.observed.inside.has(database.name))
        this.remark(about, `not declared: ${this.power.user} may not connect to it`);
      else if (this.mayActAs(about, database.owner)) {
        this.owners.add(database.owner);
        return true;
      }
      return false;
    });
  }

  private chooseSchemas(database: ObservedDatabase): void {
    const inside = this.observed.inside.get(database.name)!;
    const ofExtensions = new Set(
      this.existing.others
        .get(database.name)
        ?.filter(({ kind }) => kind === 'schema of an extension')
        .map(({ name }) => name),
    );
    const chosen: { name: string; owner: string }[] = [];
    for (const { name, owner } of inside.schemas.values()) {
      const about = `schema ${name} of the database ${database.name}`;
      if (name === 'cdk_postgres' || name === COUNTING_SCHEMA || ofExtensions.has(name)) continue;
      const problem = nameProblem('schema', name);
      const actual = owner === DATABASE_OWNER_ROLE ? database.owner : owner;
      if (problem) this.remark(about, `not declared: its name ${problem}`);
      else if (name === 'public' && isUntouchedPublic(inside, database)) continue;
      else if (this.owners.has(actual) || this.mayActAs(about, actual)) {
        this.owners.add(actual);
        chosen.push({ name, owner: actual });
      }
    }
    this.schemas.set(
      database.name,
      chosen.sort((a, b) => (a.name < b.name ? -1 : 1)),
    );
  }

  /** What PUBLIC may do belongs to nobody: a role is of a database when it owns something there, was given something, or is a member of one that was. */
  private rolesElsewhere(databases: readonly ObservedDatabase[]): Set<string> {
    const named = new Set(databases.flatMap((database) => this.rolesNamedIn(database)));
    const { memberships, roles } = this.observed;
    const isOf = (role: string) =>
      named.has(role) || [...reachable(memberships, role, () => true)].some((group) => named.has(group));
    return new Set([...roles.keys()].filter((role) => !isServerRole(role) && role !== this.power.user && !isOf(role)));
  }

  private rolesNamedIn({ name, owner, acl }: ObservedDatabase): Grantee[] {
    const { schemas, relations, routines, columns, defaultAcls } = this.observed.inside.get(name)!;
    const { isolations, publications, subscriptions, slots } = this.existing.found.get(name)!;
    const objects = [{ owner, acl }, ...schemas.values(), ...relations, ...routines, ...columns];
    return [
      ...objects.flatMap((object) => [object.owner, ...object.acl.map(({ grantee }) => grantee)]),
      ...defaultAcls.flatMap(({ creator, acl: given }) => [creator, ...given.map(({ grantee }) => grantee)]),
      ...this.observed.settings.flatMap(({ role, database }) => (database === name ? (role ?? []) : [])),
      ...isolations.flatMap(({ roles, allTenants }) => [...roles, ...allTenants]),
      ...[...publications, ...subscriptions].map((item) => item.owner),
      ...slots.map(({ consumer }) => consumer),
    ];
  }

  private leaveOut(role: string, why: string): void {
    if (!this.leftOut.has(role)) this.leftOut.set(role, `not declared: ${why}`);
  }

  private leaveOutByAttributes(hasDatabase: boolean): void {
    const { roles, memberships, flavour } = this.observed;
    const follows = flavour === 'rds' ? (m: { inherit: boolean }) => m.inherit : () => true;
    for (const role of roles.values()) {
      if (isServerRole(role.name) || this.elsewhere.has(role.name)) continue;
      const problem = nameProblem('role', role.name);
      const attribute = role.superuser
        ? 'it is a superuser'
        : role.createRole
          ? 'it has CREATEROLE, which makes it an administrator'
          : role.createDatabase
            ? 'it has CREATEDB'
            : !role.inherit
              ? `it has NOINHERIT; ALTER ROLE "${role.name}" INHERIT changes no membership that it has, and lets it be declared`
              : undefined;
      if (role.name === this.power.user && !this.power.looksOnly)
        this.leaveOut(role.name, 'it is the one that applies the state');
      else if (problem) this.leaveOut(role.name, `its name ${problem}`);
      else if (attribute) this.leaveOut(role.name, attribute);
      else if (role.login && !hasDatabase) this.leaveOut(role.name, 'a login role is declared with its database');
      else if (!role.login && reachable(memberships, role.name, follows).has(IAM_ROLE))
        this.leaveOut(role.name, `it does not log in and is a member of ${IAM_ROLE}`);
      for (const group of this.groupsOf(role.name)) {
        const rows = this.rows(group, role.name);
        if (group === IAM_ROLE) {
          const asDeclared = rows.some((m) => m.inherit) && rows.some((m) => m.set) && !rows.some((m) => m.admin);
          if (!asDeclared)
            this.leaveOut(role.name, `its membership in ${IAM_ROLE} has other options than IAM login gives`);
        } else if (group === 'rds_superuser') this.leaveOut(role.name, 'it is a member of rds_superuser');
        else if (isServerRole(group) && !/^(pg|rds)_[a-z_]+$/.test(group))
          this.leaveOut(role.name, `it is a member of ${group}`);
      }
      if (role.bypassRls && !role.superuser)
        this.remark(`role ${role.name}`, 'it has BYPASSRLS, which is not declared and stays');
    }
    for (const role of this.existing.replicationRoles) {
      if (!isServerRole(role) && !this.elsewhere.has(role))
        this.remark(`role ${role}`, 'it has REPLICATION, which is not declared and stays');
    }
  }

  /** What a declared role has and no declaration can give it would be taken for too much. */
  private leaveOutByPrivileges(database: ObservedDatabase): void {
    const inside = this.observed.inside.get(database.name)!;
    const declared = new Set(this.schemas.get(database.name)!.map((schema) => schema.name));
    const place = `of the database ${database.name}`;
    const judge = (acl: readonly AclEntry[], owner: string, what: string) => {
      for (const { grantee, privilege, grantable } of acl) {
        if (grantee !== PUBLIC && grantee !== owner && grantable)
          this.leaveOut(grantee, `it has the grant option of ${privilege} on ${what}`);
      }
    };
    judge(database.acl, database.owner, `the database ${database.name}`);
    for (const schema of inside.schemas.values()) {
      if (!declared.has(schema.name)) continue;
      judge(schema.acl, schema.owner, `the schema ${schema.name} ${place}`);
      if (schema.owner === DATABASE_OWNER_ROLE && schema.acl.some((entry) => entry.grantee === database.owner))
        this.leaveOut(
          database.owner,
          `it was given by name what it has on the schema ${schema.name} as owner ${place}`,
        );
    }
    for (const item of [...inside.relations, ...inside.routines]) {
      if (declared.has(item.schema) && !item.extension)
        judge(item.acl, item.owner, `${item.schema}.${item.name} ${place}`);
    }
    for (const column of inside.columns) {
      if (!declared.has(column.schema)) continue;
      for (const { grantee, privilege } of column.acl) {
        if (grantee === PUBLIC || grantee === column.owner) continue;
        this.leaveOut(
          grantee,
          `it has ${privilege} on the column ${column.schema}.${column.table}.${column.column} ${place} alone`,
        );
      }
    }
    for (const row of inside.defaultAcls) {
      if (row.objects === 'types' || row.objects === 'schemas' || row.objects === 'other') continue;
      for (const { grantee, privilege, grantable } of row.acl) {
        if (grantee === PUBLIC || grantee === row.creator) continue;
        if (!this.mayDeclareCreator(row.creator)) {
          if (row.schema === undefined || declared.has(row.schema))
            this.remark(
              `default privileges of ${row.creator} ${place}`,
              `not declared: ${privilege} on ${row.objects} to ${grantee}; ${this.power.user} cannot act as ${row.creator}`,
            );
        } else if (row.schema === undefined)
          this.leaveOut(grantee, `it has ${privilege} on what ${row.creator} will make in every schema ${place}`);
        else if (declared.has(row.schema) && grantable)
          this.leaveOut(grantee, `it has the grant option of ${privilege} on what ${row.creator} will make ${place}`);
      }
    }
  }

  private mayDeclareCreator(creator: string): boolean {
    return this.owners.has(creator) || isServerRole(creator) || this.power.canSet(creator);
  }

  private isDeclared(role: string): boolean {
    const out = this.leftOut.has(role) || this.elsewhere.has(role);
    return this.observed.roles.has(role) && !out && !isServerRole(role);
  }

  private roles(): DesiredRole[] {
    return [...this.observed.roles.values()]
      .filter((role) => this.isDeclared(role.name))
      .map((role): DesiredRole => {
        const isIam = role.login && this.groupsOf(role.name).includes(IAM_ROLE);
        if (!role.login && role.connectionLimit !== -1)
          this.remark(`role ${role.name}`, `its connection limit of ${role.connectionLimit} is not declared and stays`);
        if (!role.login && role.validUntil !== undefined)
          this.remark(`role ${role.name}`, `its VALID UNTIL ${role.validUntil} is not declared and stays`);
        return {
          name: role.name,
          login: role.login,
          authentication: isIam ? 'iam' : 'none',
          inherit: true,
          createDatabase: false,
          createRole: false,
          connectionLimit: role.login && role.connectionLimit !== -1 ? role.connectionLimit : undefined,
          validUntil: role.login ? role.validUntil : undefined,
        };
      });
  }

  private rows(role: string, member: string) {
    return this.observed.memberships.filter(
      (m) =>
        m.role === role &&
        m.member === member &&
        // What the server itself gives to whoever creates a role.
        !(this.observed.roles.get(m.grantor)?.superuser && m.admin && !m.inherit && !m.set),
    );
  }

  private groupsOf(member: string): string[] {
    const groups = new Set(this.observed.memberships.filter((m) => m.member === member).map((m) => m.role));
    return [...groups].filter((group) => this.rows(group, member).length > 0).sort();
  }

  private memberships(): DesiredMembership[] {
    const members = [...this.observed.roles.keys()].filter((name) => this.isDeclared(name));
    return members.flatMap((member) =>
      this.groupsOf(member)
        .filter((role) => role !== IAM_ROLE)
        .map((role) => {
          const rows = this.rows(role, member);
          const has = (option: 'inherit' | 'set' | 'admin') => rows.some((row) => row[option]);
          return { role, member, inherit: has('inherit'), set: has('set'), admin: has('admin') };
        }),
    );
  }

  private settings(
    roles: readonly DesiredRole[],
    databases: readonly ObservedDatabase[],
    memberships: readonly DesiredMembership[],
  ): DesiredSetting[] {
    const logins = new Set(roles.filter((role) => role.login).map((role) => role.name));
    const declared = new Set(databases.map((database) => database.name));
    const result: DesiredSetting[] = [];
    for (const { role, database, values } of this.observed.settings) {
      for (const [name, value] of values) {
        const of = [role && `role ${role}`, database && `database ${database}`].filter(Boolean).join(' in ');
        if (role !== undefined && !this.isDeclared(role)) continue;
        if (role === undefined && !declared.has(database ?? '')) continue;
        const setting = { role, database, name, values: name === 'search_path' ? elements(value) : [value] };
        const why =
          role !== undefined && database !== undefined
            ? 'a setting of a role in one database has no construct'
            : role !== undefined && !logins.has(role)
              ? 'it has no effect on anybody, since the role does not log in'
              : this.whyNoSetting(setting, value, memberships);
        if (why === undefined) result.push(canonical(setting));
        else this.remark(`setting ${name} of ${of}`, `${JSON.stringify(value)} is not declared and stays: ${why}`);
      }
    }
    return result;
  }

  private whyNoSetting(
    setting: DesiredSetting,
    stored: string,
    memberships: readonly DesiredMembership[],
  ): string | undefined {
    const { role, name, values } = setting;
    const facts = this.observed.settingFacts.get(name);
    if (name === 'role') {
      const acts = memberships.some(
        (m) => m.member === role && m.role === values[0] && !m.inherit && m.set && !m.admin,
      );
      return role !== undefined && acts ? undefined : 'it goes with a membership that has SET alone';
    }
    if (facts === undefined) return 'the server does not know it, and only a superuser may store it';
    if (facts.context !== 'user' && !(facts.context === 'superuser' && facts.maySet))
      return `${this.power.user} may not set it for a role or database`;
    if (name === 'search_path' && role === undefined) return 'a search_path of a database has no construct';
    if (name === 'session_authorization' || !/^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)?$/.test(name))
      return 'it has no construct';
    if (name === 'transaction_timeout' && this.observed.versionNumber < 170_000) return 'the version does not have it';
    return sameSetting(canonical(setting), stored, facts) ? undefined : 'its value cannot be written as one text';
  }

  private database(observed: ObservedDatabase, base: DesiredState): DesiredDatabase {
    const inside = this.observed.inside.get(observed.name)!;
    const schemas = this.schemas.get(observed.name)!;
    const grants: DesiredGrant[] = [];
    const grantAll = (acl: readonly AclEntry[], owner: string, kind: ObjectKind, on: DesiredGrant['on']) => {
      for (const [to, privileges] of this.byGrantee(acl, owner, kind)) grants.push({ privileges, on, to });
    };
    grantAll(observed.acl, observed.owner, 'database', { kind: 'database' });
    for (const { name } of schemas) {
      const { acl, owner: actual } = inside.schemas.get(name)!;
      grantAll(acl, actual, 'schema', { kind: 'schema', schema: name });
    }
    const creators = creatorsBySchema(base, { schemas, grants });
    const defaultPrivileges = this.defaultPrivileges(inside, schemas);
    for (const schema of schemas) {
      for (const { kind, all, future } of CLASSES) {
        const items: Securable[] =
          kind === 'routine'
            ? inside.routines.map((item) => ({ ...item, name: item.signature }))
            : inside.relations.filter((item) => item.kind === kind);
        const here = items.filter((item) => item.schema === schema.name && !item.extension);
        const promised = defaultPrivileges.filter((d) => d.schema === schema.name && d.objects === future);
        grants.push(...this.objectGrants(kind, all, schema.name, here, promised, creators.get(schema.name)!));
      }
    }
    this.remarkUseless(observed, inside, grants);
    const database: DesiredDatabase = {
      name: observed.name,
      owner: observed.owner,
      connectionLimit: observed.connectionLimit === -1 ? undefined : observed.connectionLimit,
      public: 'kept',
      schemas,
      grants,
      defaultPrivileges,
      extensions: [],
      isolations: [],
      publications: [],
      subscriptions: [],
      slots: [],
    };
    if (observed.acl.some((entry) => entry.grantee === PUBLIC)) return database;
    const closed = { ...database, public: 'closed' as const };
    const steps = (one: DesiredDatabase) => {
      const { steps, withheld } = this.plan({ ...base, databases: [one] });
      return steps.length + withheld.length;
    };
    return steps(closed) <= steps(database) ? closed : database;
  }

  /** A run proves that what is declared has effect. To leave it out would not help: what is not declared is to be taken away. */
  private remarkUseless(database: ObservedDatabase, inside: Inside, grants: readonly DesiredGrant[]): void {
    const isHeld = (to: string, privilege: string, acl: readonly AclEntry[], owner: string) => {
      const through = reachable(this.observed.memberships, to, (membership) => membership.inherit).add(to);
      // The owner is a member of it inside its database, which no catalog says.
      if (through.has(database.owner)) through.add(DATABASE_OWNER_ROLE);
      return (
        through.has(owner) ||
        acl.some(
          (entry) => entry.privilege === privilege && (entry.grantee === PUBLIC || through.has(entry.grantee)),
        ) ||
        (privilege === 'USAGE' && HAVE_USAGE_EVERYWHERE.some((role) => through.has(role)))
      );
    };
    const useless = new Set<string>();
    for (const { on, to } of grants) {
      if (this.observed.roles.get(to)!.login && !isHeld(to, 'CONNECT', database.acl, database.owner))
        useless.add(`${to} has no effective CONNECT on the database ${database.name}`);
      if (!('schema' in on)) continue;
      const { acl, owner } = inside.schemas.get(on.schema)!;
      if (!isHeld(to, 'USAGE', acl, owner))
        useless.add(`${to} has no effective USAGE on the schema ${on.schema} of the database ${database.name}`);
    }
    for (const what of useless)
      this.remark(
        'a grant without effect',
        `${what}: declare it, or revoke what it was given inside, before the first apply`,
      );
  }

  private byGrantee(acl: readonly AclEntry[], owner: string, kind: ObjectKind): Map<string, Privilege[]> {
    const found = new Map<string, Set<string>>();
    for (const { grantee, privilege } of acl) {
      if (grantee === PUBLIC || grantee === owner || !this.isDeclared(grantee)) continue;
      found.set(grantee, (found.get(grantee) ?? new Set()).add(privilege));
    }
    return new Map([...found].map(([to, privileges]) => [to, inOrder(kind, privileges)]));
  }

  private defaultPrivileges(inside: Inside, schemas: readonly { readonly name: string }[]): DesiredDefaultPrivilege[] {
    const declared = new Set(schemas.map((schema) => schema.name));
    const result: DesiredDefaultPrivilege[] = [];
    for (const { creator, schema, objects, acl } of inside.defaultAcls) {
      if (schema === undefined || !declared.has(schema) || !this.mayDeclareCreator(creator)) continue;
      if (objects === 'types' || objects === 'schemas' || objects === 'other') continue;
      const kind = CLASSES.find(({ future }) => future === objects)!.kind;
      for (const [to, privileges] of this.byGrantee(acl, creator, kind))
        result.push({ creator, schema, objects, privileges, to });
    }
    return result;
  }

  /** What a role has on each object of a kind is a grant on all of them; what it has on some is one on each of these. */
  private objectGrants(
    kind: (typeof CLASSES)[number]['kind'],
    all: (typeof CLASSES)[number]['all'],
    schema: string,
    items: readonly Securable[],
    promised: readonly DesiredDefaultPrivilege[],
    creators: ReadonlySet<string>,
  ): DesiredGrant[] {
    const perItem = items.map((item) => ({ item, has: this.byGrantee(item.acl, item.owner, kind) }));
    const grantees = new Set([...perItem.flatMap(({ has }) => [...has.keys()]), ...promised.map(({ to }) => to)]);
    const grants: DesiredGrant[] = [];
    for (const to of [...grantees].sort()) {
      const others = perItem.filter(({ item }) => item.owner !== to);
      const onAll = new Set<string>(
        PRIVILEGES[kind].filter((privilege) =>
          others.length > 0
            ? others.every(({ has }) => has.get(to)?.includes(privilege))
            : this.promisedByAll(promised, creators, to, privilege),
        ),
      );
      if (onAll.size > 0) grants.push({ privileges: inOrder(kind, onAll), on: { kind: all, schema }, to });
      for (const { item, has } of others) {
        const own = (has.get(to) ?? []).filter((privilege) => !onAll.has(privilege));
        if (own.length === 0) continue;
        const on = kind === 'routine' ? { kind, schema, signature: item.name } : { kind, schema, name: item.name };
        grants.push({ privileges: own, on, to });
      }
    }
    return grants;
  }

  /** Where there is no object yet, what everybody's objects will carry is meant for all of them. */
  private promisedByAll(
    promised: readonly DesiredDefaultPrivilege[],
    creators: ReadonlySet<string>,
    to: string,
    privilege: Privilege,
  ): boolean {
    const others = [...creators].filter((creator) => creator !== to);
    return (
      others.length > 0 &&
      others.every((creator) =>
        promised.some((d) => d.creator === creator && d.to === to && d.privileges.includes(privilege)),
      )
    );
  }

  private remarkOthers(): void {
    for (const [database, others] of this.existing.others) {
      for (const { kind, name, detail } of others)
        this.remark(`${kind} ${name} of the database ${database}`, `not declared, and stays (${detail})`);
    }
    for (const [state, count] of this.existing.managed)
      this.remark(
        `state ${state}`,
        `it manages ${counted(count, 'object')} of this server already; declare ${count === 1 ? 'it' : 'them'} under its stateName, or ${count === 1 ? 'it is' : 'they are'} refused`,
      );
  }

  /** What else a database has is declared as far as a plan of it would leave it as it is. */
  private withInside(database: DesiredDatabase, base: DesiredState): DesiredDatabase {
    const found = this.existing.found.get(database.name);
    if (!found) return database;
    const place = `of the database ${database.name}`;
    for (const [what, why] of found.unfit) this.remark(`${what} ${place}`, `not declared, and stays: ${why}`);
    const schemas = new Set(database.schemas.map(({ name }) => name));
    const others = base.databases.filter(({ name }) => name !== database.name);
    const before = new Set(this.changes(base));
    const problems = (changed: DesiredDatabase) =>
      this.changes({ ...base, databases: [...others, changed] }).filter((change) => !before.has(change));
    let result = database;
    for (const candidate of candidates(found, schemas)) {
      const why = this.unfitRoles(database, candidate, base) ?? candidate.problem;
      const next = { ...result, ...candidate.addTo(result) };
      const changes = why === undefined ? problems(next) : [why];
      if (changes.length === 0) result = next;
      else this.remark(`${candidate.about} ${place}`, `not declared, and stays: ${changes.join('; ')}`);
    }
    return result;
  }

  /** What a construct asks of the roles, and no plan does. */
  private unfitRoles(database: DesiredDatabase, { subscriber, isolation }: Candidate, base: DesiredState) {
    const owner = database.schemas.find(({ name }) => name === isolation?.schema)?.owner;
    for (const role of isolation?.roles ?? []) {
      if (!this.isDeclared(role)) return `it is for the role ${role}, which is not declared`;
      if (role === owner) return `it is for ${role}, who owns the schema`;
    }
    if (subscriber === undefined || !this.isDeclared(subscriber)) return undefined;
    // The construct makes a declared login that a subscription works as a member of the database's owner.
    const isMember = base.memberships.some(
      (m) => m.role === database.owner && m.member === subscriber && m.inherit && m.set && !m.admin,
    );
    return isMember
      ? undefined
      : `its owner ${subscriber} is no member of the owner of the database with INHERIT and SET, as that of a declared one is: GRANT "${database.owner}" TO "${subscriber}" WITH INHERIT TRUE, SET TRUE`;
  }

  /** Comments that this library has made for the state of this name; any other is somebody's word, over which a description would write. */
  private comments(state: DesiredState): DesiredComment[] {
    const ours = signature(this.name);
    const targets: CommentTarget[] = [
      ...state.roles.map(({ name }) => ({ kind: 'role' as const, name })),
      ...state.databases.map(({ name }) => ({ kind: 'database' as const, name })),
      ...state.databases.flatMap(({ name: database, schemas }) =>
        schemas.map(({ name }) => ({ kind: 'schema' as const, database, name })),
      ),
    ];
    return targets.flatMap((on) => {
      const comment = this.observed.comments?.get(commentKey(on));
      if (comment === undefined) return [];
      const text = comment.slice(0, -ours.length);
      if (comment.endsWith(ours) && text.trim() !== '') return [{ on, text }];
      const where = on.kind === 'schema' ? ` of the database ${on.database}` : '';
      // PostgreSQL itself comments on the schema public.
      if (on.kind === 'schema' && on.name === 'public' && comment === 'standard public schema') return [];
      this.remark(
        `comment on ${on.kind} ${on.name}${where}`,
        `${JSON.stringify(comment.length > 100 ? `${comment.slice(0, 100)}…` : comment)} is not declared and stays: a description would write over it`,
      );
      return [];
    });
  }

  /** What a first apply of a state would do or refuse, as sentences. */
  private changes(state: DesiredState): string[] {
    const plan = this.tryPlan(state);
    if (plan instanceof RefusedError) return [...plan.problems];
    return [...plan.steps, ...plan.withheld].map(({ object, reason }) => `${object}: ${reason}`);
  }

  private plan(state: DesiredState): Plan {
    const plan = this.tryPlan(state);
    if (!(plan instanceof RefusedError)) return plan;
    for (const problem of plan.problems) this.remark('the whole', problem);
    return { steps: [], withheld: [], notes: [...plan.problems] };
  }

  private tryPlan(state: DesiredState): Plan | RefusedError {
    const inside = new Map(
      state.databases.map((database) => [
        database.name,
        onlyDeclared(this.observed.inside.get(database.name)!, database),
      ]),
    );
    try {
      return makePlan(state, NO_LEDGER, { ...this.observed, inside }, 'postgres', { toBeRead: true });
    } catch (error) {
      if (error instanceof RefusedError) return error;
      throw error;
    }
  }
}

/** Something in a database that may be declared. */
interface Candidate {
  readonly about: string;
  readonly addTo: (database: DesiredDatabase) => Partial<DesiredDatabase>;
  /** Why no construct can say it, whatever its plan. */
  readonly problem?: string;
  /** The role that a subscription works as. */
  readonly subscriber?: string;
  readonly isolation?: DesiredIsolation;
}

function candidates(found: Found, schemas: ReadonlySet<string>): Candidate[] {
  const named = (name: string) => {
    const problem = nameProblem('object', name);
    return problem && `its name ${problem}`;
  };
  return [
    ...found.extensions.map((extension): Candidate => ({
      about: `extension ${extension.name}`,
      problem: /^[a-z0-9_][a-z0-9_-]{0,62}$/.test(extension.name) ? undefined : named(extension.name),
      addTo: ({ extensions }) => ({
        extensions: [
          ...extensions,
          { name: extension.name, schema: schemas.has(extension.schema ?? '') ? extension.schema : undefined },
        ],
      }),
    })),
    ...found.isolations.map((isolation): Candidate => ({
      about: `isolation of tenants in the schema ${isolation.schema}`,
      problem: schemas.has(isolation.schema) ? named(isolation.column) : 'its schema is not declared',
      isolation,
      addTo: ({ isolations }) => ({ isolations: [...isolations, isolation] }),
    })),
    ...found.publications.map((publication): Candidate => ({
      about: `publication ${publication.name}`,
      problem: named(publication.name) ?? unfitPublication(publication, schemas),
      addTo: ({ publications }) => ({ publications: [...publications, publication] }),
    })),
    ...found.slots.map((slot): Candidate => ({
      about: `slot ${slot.name}`,
      addTo: ({ slots }) => ({ slots: [...slots, slot] }),
    })),
    ...found.subscriptions.map((subscription): Candidate => ({
      about: `subscription ${subscription.name}`,
      problem:
        named(subscription.name) ??
        (/^[a-z0-9_]{1,63}$/.test(subscription.slot ?? subscription.name)
          ? undefined
          : 'its name cannot be that of a slot'),
      subscriber: subscription.owner,
      addTo: ({ subscriptions }) => ({ subscriptions: [...subscriptions, subscription] }),
    })),
  ];
}

function unfitPublication(publication: DesiredPublication, schemas: ReadonlySet<string>): string | undefined {
  if (!publication.allTables && publication.tables.length + publication.schemas.length === 0) return 'it is of nothing';
  if (publication.operations.length === 0) return 'it publishes no operation';
  const unknown = publication.schemas.filter((schema) => !schemas.has(schema));
  if (unknown.length > 0) return `it publishes schemas that are not declared: ${unknown.join(', ')}`;
  for (const { schema, name, where, columns = [] } of publication.tables) {
    for (const part of [schema, name, ...columns]) {
      const problem = nameProblem('object', part);
      if (problem) return `the name ${JSON.stringify(part)} ${problem}`;
    }
    const problem = where === undefined ? undefined : rowFilterProblem(where);
    if (problem) return `its row filter of ${schema}.${name} ${problem}`;
  }
  return undefined;
}

/** Predefined roles. */
const HAVE_USAGE_EVERYWHERE = ['pg_read_all_data', 'pg_write_all_data'];

function inOrder(kind: ObjectKind, privileges: Iterable<string>): Privilege[] {
  const wanted = new Set(privileges);
  return PRIVILEGES[kind].filter((privilege) => wanted.has(privilege));
}

/** As an observation for what is declared of a database reads it. */
function onlyDeclared(inside: Inside, database: DesiredDatabase): Inside {
  const names = new Set(database.schemas.map((schema) => schema.name));
  const isolated = new Set(database.isolations.map(({ schema }) => schema));
  return {
    schemas: new Map([...inside.schemas].filter(([name]) => names.has(name) || name === 'public')),
    relations: inside.relations.filter((item) => names.has(item.schema)),
    routines: inside.routines.filter((item) => names.has(item.schema)),
    columns: inside.columns.filter((item) => names.has(item.schema)),
    defaultAcls: inside.defaultAcls.filter((row) => row.schema === undefined || names.has(row.schema)),
    extensions: inside.extensions,
    isolation: isolated.size === 0 ? undefined : onlyIsolated(inside.isolation, isolated),
    replication: inside.replication,
  };
}

function onlyIsolated(
  observed: ObservedIsolation | undefined,
  schemas: ReadonlySet<string>,
): ObservedIsolation | undefined {
  return (
    observed && {
      ...observed,
      tables: observed.tables.filter(({ schema }) => schemas.has(schema)),
      bypasses: observed.bypasses.filter(({ isolation }) => schemas.has(isolation)),
    }
  );
}

/** The schema `public` as PostgreSQL makes it, with nothing of anybody's in it. */
function isUntouchedPublic(inside: Inside, database: ObservedDatabase): boolean {
  const { owner, acl } = inside.schemas.get('public')!;
  return (
    [DATABASE_OWNER_ROLE, database.owner].includes(owner) &&
    acl.every((entry) => entry.grantee === owner || entry.grantee === PUBLIC) &&
    ![...inside.relations, ...inside.routines].some((item) => item.schema === 'public' && !item.extension) &&
    !inside.defaultAcls.some((row) => row.schema === 'public')
  );
}

/** Settings that a login role has as a duration. */
export const DURATIONS: Readonly<Record<string, string>> = {
  statement_timeout: 'statementTimeout',
  lock_timeout: 'lockTimeout',
  idle_in_transaction_session_timeout: 'idleInTransactionSessionTimeout',
  transaction_timeout: 'transactionTimeout',
};

const UNITS: Readonly<Record<string, number>> = { '': 1, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

/** Undefined: it is none that a Duration can express. */
export function milliseconds(text: string): number | undefined {
  const match = /^(\d{1,12}) ?([a-z]*)$/.exec(text);
  const factor = match ? UNITS[match[2]] : undefined;
  return match && factor !== undefined ? Number(match[1]) * factor : undefined;
}

/** A duration is written as the constructs write it. */
function canonical(setting: DesiredSetting): DesiredSetting {
  const time = setting.role !== undefined && setting.name in DURATIONS ? milliseconds(setting.values[0]) : undefined;
  if (time === undefined || time > 2_147_483_647) return setting;
  const text =
    time > 0 && time % 60_000 === 0 ? `${time / 60_000}min` : time % 1000 === 0 ? `${time / 1000}s` : `${time}ms`;
  return { ...setting, values: [text] };
}
