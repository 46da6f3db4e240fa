import { DesiredDatabase, DesiredGrant, GrantTarget, isServerRole, Privilege } from '../../contract';
import { AclEntry, Grantee, Inside, ObservedDatabase, PUBLIC, Securable } from './observed';
import { Phase, PlanBuilder, Subject } from './plan-builder';
import { lendCreate } from './lend-create';
import { lendUsage } from './lend-usage';
import { planIsolations } from './plan-isolations';
import { planReplication } from './plan-replication';
import { DATABASE_OWNER_ROLE } from './power';
import { Previous } from './previous';
import { chunks, ident, qualified } from './sql';
import { Statement } from './types';
import { counted } from '../counted';

/** The inside of one database: its own privileges, schemas, grants and default privileges. */

type ObjectClass = 'TABLE' | 'SEQUENCE' | 'ROUTINE';

const grantee = (to: Grantee) => (to === PUBLIC ? 'PUBLIC' : ident(to));
const nameOf = (to: Grantee) => (to === PUBLIC ? 'PUBLIC' : to);

export function planInside(builder: PlanBuilder, previous: Previous, database: DesiredDatabase): void {
  new InsidePlanner(builder, previous, database).plan();
}

class InsidePlanner {
  private readonly observed: ObservedDatabase | undefined;
  private readonly inside: Inside | undefined;
  private readonly managed: Set<string>;
  private readonly databaseOwner: string;
  private readonly databaseSubject: Subject;

  constructor(
    private readonly builder: PlanBuilder,
    private readonly previous: Previous,
    private readonly database: DesiredDatabase,
  ) {
    this.observed = builder.observed.databases.get(database.name);
    this.inside = builder.observed.inside.get(database.name);
    this.managed = new Set(builder.desired.roles.map((role) => role.name));
    this.databaseOwner = this.observed?.owner ?? database.owner;
    this.databaseSubject = { kind: 'database', name: database.name };
  }

  plan(): void {
    this.refuseUnknownGrantees();
    this.planDatabasePrivileges();
    if (this.isClosedToUs()) {
      if (this.builder.power.looksOnly) {
        return this.builder.refuse(
          `${this.builder.power.user} cannot look into the database ${JSON.stringify(this.database.name)}: GRANT CONNECT ON DATABASE ${ident(this.database.name)} TO ${ident(this.builder.power.user)}`,
        );
      }
      this.builder.notes.push(
        `the database ${this.database.name} cannot be entered by ${this.builder.power.user} now; what is to be done inside shows once it can`,
      );
      return;
    }
    this.database.schemas.forEach((schema) => this.planSchema(schema.name, schema.owner));
    planReplication(this.builder, this.previous, this.database);
    this.planSchemaPrivileges();
    this.planObjectPrivileges();
    this.planColumnPrivileges();
    this.planDefaultPrivileges();
    planIsolations(this.builder, this.previous, this.database);
  }

  private refuseUnknownGrantees(): void {
    const major = Math.floor(this.builder.observed.versionNumber / 10_000);
    for (const { to, privileges } of [...this.database.grants, ...this.database.defaultPrivileges]) {
      if (!this.managed.has(to) && !this.builder.observed.roles.has(to)) {
        this.builder.refuse(
          `a grant in the database ${JSON.stringify(this.database.name)} goes to the role ${JSON.stringify(to)}, which is neither declared nor there: declare it`,
        );
      }
      if (privileges.includes('MAINTAIN') && major < 17) {
        this.builder.refuse(
          `a grant in the database ${JSON.stringify(this.database.name)} gives MAINTAIN to ${JSON.stringify(to)}, which exists from PostgreSQL 17 on; this server is ${this.builder.observed.version}`,
        );
      }
    }
  }

  /** It is there, and the connected role has no CONNECT: somebody took it from PUBLIC. */
  private isClosedToUs(): boolean {
    return this.observed !== undefined && this.inside === undefined;
  }

  /** GRANT ON DATABASE works from any database, so it happens from the admin database: it also mends a closed door. */
  private planDatabasePrivileges(): void {
    const acl: readonly AclEntry[] = this.observed?.acl ?? [
      { grantee: PUBLIC, grantor: this.databaseOwner, privilege: 'CONNECT', grantable: false },
      { grantee: PUBLIC, grantor: this.databaseOwner, privilege: 'TEMPORARY', grantable: false },
    ];
    const wanted = new Map<Grantee, Set<string>>();
    for (const grant of this.database.grants) {
      if (grant.on.kind === 'database') want(wanted, grant.to, grant.privileges);
    }
    const self = this.builder.power.user;
    const selfDeclared = wanted.get(self)?.has('CONNECT') ?? false;
    const { superuser, looksOnly } = this.builder.power;
    const closes = this.database.public === 'closed' && this.databaseOwner !== self && !superuser && !looksOnly;
    if (closes || this.isClosedToUs()) want(wanted, self, ['CONNECT']);
    const target = `DATABASE ${ident(this.database.name)}`;
    for (const [to, privileges] of wanted) {
      const missing = to === this.databaseOwner && !this.observed ? [] : absent(acl, to, privileges);
      this.give({
        phase: 'databases',
        adminDatabase: true,
        object: `grant on database ${this.database.name} to ${nameOf(to)}`,
        reason: to === self && !selfDeclared ? 'so that this state can still enter when PUBLIC cannot' : undefined,
        owner: this.databaseOwner,
        statements: missing.length === 0 ? [] : [`GRANT ${missing.join(', ')} ON ${target} TO ${grantee(to)}`],
      });
    }
    for (const entry of this.extra(acl, this.databaseOwner, wanted, this.database.public === 'closed', (e) =>
      this.previous.grant(this.database.name, String(e.grantee), e.privilege, { kind: 'database' }),
    )) {
      this.take({
        // PUBLIC goes before anything is inside; a role keeps what it has until it has what replaces it.
        phase: entry.grantee === PUBLIC ? 'databases' : 'databaseRevokes',
        adminDatabase: true,
        entry,
        object: `grant on database ${this.database.name} to ${nameOf(entry.grantee)}`,
        subjects: [entry.grantee === PUBLIC ? this.databaseSubject : { kind: 'role', name: entry.grantee! }],
        reason:
          entry.grantee === PUBLIC && entry.privileges.includes('CONNECT')
            ? this.whoConnectsThroughPublic(acl)
            : undefined,
        revoke: (what) => `REVOKE ${what} ON ${target} FROM ${grantee(entry.grantee)}`,
      });
    }
  }

  private whoConnectsThroughPublic(acl: readonly AclEntry[]): string {
    const holders = new Set(acl.filter((e) => e.privilege === 'CONNECT').map((e) => e.grantee));
    const wanted = new Set(
      this.database.grants.filter((g) => g.on.kind === 'database' && g.privileges.includes('CONNECT')).map((g) => g.to),
    );
    const logins = [...this.builder.observed.roles.values()].filter(
      (role) =>
        role.login &&
        !role.superuser &&
        !isServerRole(role.name) &&
        !holders.has(role.name) &&
        !wanted.has(role.name) &&
        role.name !== this.databaseOwner &&
        role.name !== this.builder.power.user,
    );
    const names = logins.map((role) => role.name).sort();
    return names.length === 0
      ? 'PUBLIC may connect, and is declared closed'
      : `PUBLIC may connect, and is declared closed; ${counted(names.length, 'login role')} may connect through it alone: ${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`;
  }

  private planSchema(name: string, owner: string): void {
    const observed = this.inside?.schemas.get(name);
    const object = `schema ${name}`;
    const subjects: Subject[] = [{ kind: 'schema', name, database: this.database.name }];
    if (!observed && !(name === 'public' && this.inside === undefined)) {
      this.builder.add({
        phase: 'schemas',
        database: this.database.name,
        risk: 'add',
        object,
        reason: 'declared, and not there',
        statements: this.lendingCreate(
          [owner],
          this.builder.power.actAs(owner, [{ sql: `CREATE SCHEMA ${ident(name)}` }]),
        ),
        subjects,
      });
      return;
    }
    const actual = observed?.owner ?? DATABASE_OWNER_ROLE;
    if (actual === owner || (actual === DATABASE_OWNER_ROLE && owner === this.databaseOwner)) return;
    const from = actual === DATABASE_OWNER_ROLE ? this.databaseOwner : actual;
    this.builder.add({
      phase: 'schemaOwners',
      database: this.database.name,
      risk: 'disruptive',
      object,
      reason: `it belongs to ${actual}; the objects in it stay with their owners`,
      // Unlike for other objects, the server asks whether the role that gives it away may create one.
      statements: this.lendingCreate(
        [this.builder.power.user, from],
        this.builder.power.inheriting(from, [{ sql: `ALTER SCHEMA ${ident(name)} OWNER TO ${ident(owner)}` }]),
      ),
      subjects,
      from,
    });
  }

  /** The statements with CREATE on the database for the first of `roles` while they run, unless one of them has it anyway. */
  private lendingCreate(roles: readonly string[], statements: Statement[] | undefined): Statement[] | undefined {
    const { observed, power } = this.builder;
    return lendCreate(power, observed, this.database, roles, statements);
  }

  private lendingUsage(
    role: string,
    schema: string | undefined,
    statements: Statement[] | undefined,
  ): Statement[] | undefined {
    return lendUsage(this.builder, this.database, role, schema, statements);
  }

  private planSchemaPrivileges(): void {
    const declared = new Map(this.database.schemas.map((schema) => [schema.name, schema.owner]));
    for (const name of new Set([...declared.keys(), 'public'])) {
      const observed = this.inside?.schemas.get(name);
      // Schema public comes with the database, so it is never made for its declared owner.
      const owner = observed?.owner ?? (name === 'public' ? DATABASE_OWNER_ROLE : declared.get(name)!);
      const acl: readonly AclEntry[] =
        observed?.acl ??
        (name === 'public' ? [{ grantee: PUBLIC, grantor: owner, privilege: 'USAGE', grantable: false }] : []);
      const isDeclared = declared.has(name);
      const wanted = new Map<Grantee, Set<string>>();
      for (const grant of this.database.grants) {
        if (grant.on.kind === 'schema' && grant.on.schema === name) want(wanted, grant.to, grant.privileges);
      }
      for (const [to, privileges] of wanted) {
        // The declared owner is not there yet as long as the change of owner is withheld. One that is has everything, unless taken away.
        const missing = to === owner && !observed ? [] : absent(acl, to, privileges);
        this.give({
          phase: 'grants',
          object: `grant on schema ${name} to ${nameOf(to)}`,
          owner,
          statements:
            missing.length === 0 ? [] : [`GRANT ${missing.join(', ')} ON SCHEMA ${ident(name)} TO ${grantee(to)}`],
        });
      }
      // A schema that is not declared is not ours to judge, but for CREATE on public, which PUBLIC had up to PostgreSQL 14 (SEC-6).
      const judged = isDeclared ? acl : acl.filter((e) => e.grantee === PUBLIC && e.privilege === 'CREATE');
      const extra = this.extra(judged, owner, wanted, this.database.public === 'closed', (e) =>
        this.previous.grant(this.database.name, String(e.grantee), e.privilege, { kind: 'schema', schema: name }),
      );
      for (const entry of extra) {
        this.take({
          // Whoever takes back what is on an object has to enter its schema for that.
          phase: 'schemaRevokes',
          entry,
          object: `grant on schema ${name} to ${nameOf(entry.grantee)}`,
          subjects: this.subjectsOf(
            entry.grantee,
            isDeclared && name !== 'public'
              ? { kind: 'schema', name, database: this.database.name }
              : this.databaseSubject,
          ),
          revoke: (what) => `REVOKE ${what} ON SCHEMA ${ident(name)} FROM ${grantee(entry.grantee)}`,
        });
      }
    }
  }

  private subjectsOf(to: Grantee, holder: Subject): Subject[] {
    return to === PUBLIC ? [holder] : [{ kind: 'role', name: to }];
  }

  /** Tables, sequences and routines: every one is granted by its own owner, so statements name them one by one and not as ALL IN SCHEMA. */
  private planObjectPrivileges(): void {
    if (!this.inside) return this.refuseMissingObjects(new Set());
    const objects: {
      class: ObjectClass;
      all: GrantTarget['kind'];
      one: GrantTarget['kind'];
      key: string;
      item: Securable;
      sql: string;
    }[] = [
      ...this.inside.relations.map((item) => ({
        class: item.kind === 'sequence' ? ('SEQUENCE' as const) : ('TABLE' as const),
        all: item.kind === 'sequence' ? ('allSequences' as const) : ('allTables' as const),
        one: item.kind,
        key: item.name,
        item,
        sql: qualified(item.schema, item.name),
      })),
      ...this.inside.routines.map((item) => ({
        class: 'ROUTINE' as const,
        all: 'allRoutines' as const,
        one: 'routine' as const,
        key: item.signature,
        item,
        sql: `${qualified(item.schema, item.name)}${item.signature.slice(item.name.length)}`,
      })),
    ];
    const bySchema = new Map<string, DesiredGrant[]>();
    const byObject = new Map<string, DesiredGrant[]>();
    for (const grant of this.database.grants) {
      const on = grant.on;
      if (on.kind === 'allTables' || on.kind === 'allSequences' || on.kind === 'allRoutines')
        push(bySchema, JSON.stringify([on.kind, on.schema]), grant);
      else if (on.kind === 'table' || on.kind === 'sequence')
        push(byObject, JSON.stringify([on.kind, on.schema, on.name]), grant);
      else if (on.kind === 'routine') push(byObject, JSON.stringify([on.kind, on.schema, on.signature]), grant);
    }
    const found = new Set<string>();
    const missing = new Groups<{
      to: Grantee;
      owner: string;
      privileges: string[];
      class: ObjectClass;
      schema: string;
    }>();
    const surplus = new Groups<{ entry: Extra; class: ObjectClass; schema: string }>();
    let skipped = 0;
    // Objects with the same ACL, owner, schema and class, and no grant of their own, have the same differences.
    const memo = new Map<readonly AclEntry[], Map<string, { missing: [Grantee, string[]][]; extra: Extra[] }>>();
    const creators = this.creators();
    const strangers = new Map<string, number>();
    for (const object of objects) {
      const { item } = object;
      if (!item.extension && !creators.has(item.owner)) {
        const whose = `of the schema ${item.schema} in the database ${this.database.name} belong to ${item.owner}`;
        strangers.set(whose, (strangers.get(whose) ?? 0) + 1);
      }
      const own = byObject.get(JSON.stringify([object.one, item.schema, object.key]));
      if (own) found.add(JSON.stringify([object.one, item.schema, object.key]));
      if (item.extension) {
        skipped++;
        continue;
      }
      const memoKey = own ? undefined : `${object.class}\0${item.schema}\0${item.owner}`;
      let difference = memoKey === undefined ? undefined : memo.get(item.acl)?.get(memoKey);
      if (!difference) {
        const wanted = new Map<Grantee, Set<string>>();
        for (const grant of [...(bySchema.get(JSON.stringify([object.all, item.schema])) ?? []), ...(own ?? [])])
          want(wanted, grant.to, grant.privileges);
        difference = {
          missing: [...wanted].map(([to, privileges]): [Grantee, string[]] => [to, absent(item.acl, to, privileges)]),
          extra: this.extra(item.acl, item.owner, wanted, this.database.public === 'closed', (e) =>
            this.previous.grant(
              this.database.name,
              String(e.grantee),
              e.privilege,
              { kind: object.all, schema: item.schema } as GrantTarget,
              (object.one === 'routine'
                ? { kind: 'routine', schema: item.schema, signature: object.key }
                : { kind: object.one, schema: item.schema, name: object.key }) as GrantTarget,
            ),
          ),
        };
        if (memoKey !== undefined) {
          if (!memo.has(item.acl)) memo.set(item.acl, new Map());
          memo.get(item.acl)!.set(memoKey, difference);
        }
      }
      for (const [to, privileges] of difference.missing) {
        if (privileges.length > 0)
          missing.add(
            [to, item.owner, privileges.join(), object.class, item.schema],
            { to, owner: item.owner, privileges, class: object.class, schema: item.schema },
            object.sql,
          );
      }
      for (const entry of difference.extra) {
        surplus.add(
          [entry, object.class, item.schema],
          { entry, class: object.class, schema: item.schema },
          object.sql,
        );
      }
    }
    for (const [whose, count] of strangers)
      this.builder.notes.push(
        `${counted(count, 'object')} ${whose}, who is not declared to create there: an owner may do everything with ${count === 1 ? 'it' : 'them'}`,
      );
    if (skipped > 0)
      this.builder.notes.push(
        `${counted(skipped, 'object')} of extensions in the database ${this.database.name} ${skipped === 1 ? 'keeps' : 'keep'} the privileges that ${skipped === 1 ? 'its' : 'their'} extension gave`,
      );
    this.refuseMissingObjects(found);
    for (const { head, items } of missing.all()) {
      this.give({
        phase: 'grants',
        object: `grant on ${items.length} ${words(head.class, items.length)} in schema ${head.schema} to ${nameOf(head.to)}`,
        owner: head.owner,
        schema: head.schema,
        statements: chunks(items).map(
          (some) => `GRANT ${head.privileges.join(', ')} ON ${head.class} ${some.join(', ')} TO ${grantee(head.to)}`,
        ),
        mustWork: `the ${words(head.class, items.length)} ${items.slice(0, 3).join(', ')}`,
      });
    }
    for (const { head, items } of surplus.all()) {
      this.take({
        phase: 'revokes',
        entry: head.entry,
        schema: head.schema,
        object: `grant on ${items.length} ${words(head.class, items.length)} in schema ${head.schema} to ${nameOf(head.entry.grantee)}`,
        subjects: this.subjectsOf(head.entry.grantee, {
          kind: 'schema',
          name: head.schema,
          database: this.database.name,
        }),
        revoke: (what) =>
          chunks(items).map(
            (some) => `REVOKE ${what} ON ${head.class} ${some.join(', ')} FROM ${grantee(head.entry.grantee)}`,
          ),
      });
    }
  }

  /** A grant that names one object promises it: the object has to be there. */
  private refuseMissingObjects(found: ReadonlySet<string>): void {
    for (const { on, to } of this.database.grants) {
      if (on.kind !== 'table' && on.kind !== 'sequence' && on.kind !== 'routine') continue;
      const name = on.kind === 'routine' ? on.signature : on.name;
      if (found.has(JSON.stringify([on.kind, on.schema, name]))) continue;
      const near =
        on.kind === 'routine'
          ? (this.inside?.routines ?? [])
              .filter((r) => r.schema === on.schema && r.name === on.signature.split('(')[0])
              .map((r) => r.signature)
          : [];
      this.builder.refuse(
        `${JSON.stringify(to)} is to get privileges on the ${on.kind} ${JSON.stringify(`${on.schema}.${name}`)} of the database ${JSON.stringify(this.database.name)}, which does not exist${near.length > 0 ? ` (there is ${near.join(', ')})` : ''}: create it first, or grant on the schema, which covers what comes later`,
      );
    }
  }

  /** A REVOKE on the table also takes the column privileges of the same kind, so both are judged together. */
  private planColumnPrivileges(): void {
    for (const column of this.inside?.columns ?? []) {
      for (const entry of this.extra(
        column.acl,
        column.owner,
        new Map(),
        this.database.public === 'closed',
        () => false,
      )) {
        this.take({
          phase: 'revokes',
          entry,
          schema: column.schema,
          object: `grant on column ${column.schema}.${column.table}.${column.column} to ${nameOf(entry.grantee)}`,
          subjects: this.subjectsOf(entry.grantee, {
            kind: 'schema',
            name: column.schema,
            database: this.database.name,
          }),
          revoke: () =>
            `REVOKE ${entry.privileges.map((privilege) => `${privilege} (${ident(column.column)})`).join(', ')} ON TABLE ${qualified(column.schema, column.table)} FROM ${grantee(entry.grantee)}`,
        });
      }
    }
  }

  private planDefaultPrivileges(): void {
    const acls = this.inside?.defaultAcls ?? [];
    const entriesOf = (creator: string, schema: string | undefined, objects: string) =>
      acls.filter((d) => d.creator === creator && d.schema === schema && d.objects === objects).flatMap((d) => d.acl);
    const wanted = new Map<string, Set<string>>();
    for (const d of this.database.defaultPrivileges) {
      const key = JSON.stringify([d.creator, d.schema, d.objects, d.to]);
      wanted.set(key, new Set([...(wanted.get(key) ?? []), ...d.privileges]));
    }
    for (const [key, privileges] of wanted) {
      const [creator, schema, objects, to] = JSON.parse(key) as [string, string, string, string];
      const missing = creator === to ? [] : absent(entriesOf(creator, schema, objects), to, privileges);
      this.give({
        phase: 'defaultPrivileges',
        object: `default privileges on ${objects} of ${creator} in schema ${schema} to ${to}`,
        owner: creator,
        statements:
          missing.length === 0
            ? []
            : [
                `ALTER DEFAULT PRIVILEGES FOR ROLE ${ident(creator)} IN SCHEMA ${ident(schema)} GRANT ${missing.join(', ')} ON ${objects.toUpperCase()} TO ${ident(to)}`,
              ],
        mustWork: `objects of ${creator}`,
      });
    }
    const creators = this.creators();
    for (const creator of creators) this.closeRoutines(creator, entriesOf(creator, undefined, 'routines'), acls);
    for (const d of acls) {
      if (!creators.has(d.creator) || d.objects === 'types' || d.objects === 'schemas' || d.objects === 'other')
        continue;
      const objects = d.objects;
      for (const entry of this.surplusDefaults(d.acl, d.creator, d.schema, objects, wanted)) {
        const scope = d.schema === undefined ? '' : ` IN SCHEMA ${ident(d.schema)}`;
        this.take({
          phase: 'revokes',
          entry: { ...entry, grantor: d.creator },
          object: `default privileges on ${objects} of ${d.creator}${d.schema === undefined ? '' : ` in schema ${d.schema}`} to ${nameOf(entry.grantee)}`,
          subjects: this.subjectsOf(
            entry.grantee,
            d.schema === undefined
              ? this.databaseSubject
              : { kind: 'schema', name: d.schema, database: this.database.name },
          ),
          revoke: (what) =>
            `ALTER DEFAULT PRIVILEGES FOR ROLE ${ident(d.creator)}${scope} REVOKE ${what} ON ${objects.toUpperCase()} FROM ${grantee(entry.grantee)}`,
        });
      }
    }
  }

  /** The roles whose objects this declaration speaks of. */
  private creators(): Set<string> {
    return new Set(
      [
        this.database.owner,
        ...this.database.schemas.map((schema) => schema.owner),
        ...this.database.defaultPrivileges.map((d) => d.creator),
      ].sort(),
    );
  }

  /** PUBLIC's EXECUTE on new routines is built in: only a default privilege for all schemas takes it away, one in a schema does nothing. */
  private closeRoutines(creator: string, global: readonly AclEntry[], acls: Inside['defaultAcls']): void {
    if (this.database.public !== 'closed') return;
    const hasRow = acls.some((d) => d.creator === creator && d.schema === undefined && d.objects === 'routines');
    if (hasRow && !global.some((e) => e.grantee === PUBLIC)) return;
    this.builder.add({
      phase: 'defaultPrivileges',
      database: this.database.name,
      risk: 'narrow',
      object: `default privileges on routines of ${creator} to PUBLIC`,
      reason: 'PUBLIC is declared closed; it may execute what this role makes, in every schema of this database',
      statements: this.builder.power.actAs(creator, [
        { sql: `ALTER DEFAULT PRIVILEGES FOR ROLE ${ident(creator)} REVOKE EXECUTE ON ROUTINES FROM PUBLIC` },
      ]),
      subjects: [this.databaseSubject, { kind: 'role', name: creator }],
    });
  }

  private surplusDefaults(
    acl: readonly AclEntry[],
    creator: string,
    schema: string | undefined,
    objects: 'tables' | 'sequences' | 'routines',
    wanted: ReadonlyMap<string, Set<string>>,
  ): Extra[] {
    const wantedHere = new Map<Grantee, Set<string>>();
    for (const entry of acl) {
      const declared =
        schema === undefined ? undefined : wanted.get(JSON.stringify([creator, schema, objects, entry.grantee]));
      if (declared) wantedHere.set(entry.grantee, declared);
    }
    // PUBLIC on routines for all schemas is closeRoutines' business.
    const judged = schema === undefined && objects === 'routines' ? acl.filter((e) => e.grantee !== PUBLIC) : acl;
    return this.extra(
      judged,
      creator,
      wantedHere,
      this.database.public === 'closed',
      (e) =>
        schema !== undefined &&
        this.previous.defaultPrivilege(this.database.name, String(e.grantee), e.privilege, creator, schema, objects),
    );
  }

  /** Entries of an ACL that the declaration speaks of and does not want: of declared roles, of PUBLIC where it is closed, and what it gave before. */
  private extra(
    acl: readonly AclEntry[],
    owner: string,
    wanted: ReadonlyMap<Grantee, Set<string>>,
    publicClosed: boolean,
    declaredBefore: (entry: AclEntry) => boolean,
  ): Extra[] {
    const extras = new Map<string, Extra>();
    for (const entry of acl) {
      if (entry.grantee === owner) continue;
      const isWanted = wanted.get(entry.grantee)?.has(entry.privilege) ?? false;
      if (isWanted && !entry.grantable) continue;
      const before = entry.grantee !== PUBLIC && !this.hasLeft(entry.grantee) && declaredBefore(entry);
      const judged = entry.grantee === PUBLIC ? publicClosed : this.managed.has(entry.grantee) || before;
      if (!judged) continue;
      const dependents = entry.grantable
        ? acl
            // To itself too: PostgreSQL takes the option from nobody who has used it.
            .filter((e) => e.grantor === entry.grantee && e.privilege === entry.privilege)
            .map((e) => nameOf(e.grantee))
        : [];
      const { grantee: to, grantor } = entry;
      const extra = {
        grantee: to,
        grantor,
        privileges: [],
        optionOnly: isWanted,
        declaredBefore: before && !isWanted,
        dependents,
      };
      const key = JSON.stringify(extra);
      if (!extras.has(key)) extras.set(key, extra);
      extras.get(key)!.privileges.push(entry.privilege);
    }
    return [...extras.values()];
  }

  /** A role that goes out of the declaration keeps what it was given: its users have until the end of the grace, and LOGIN brings it back. */
  private hasLeft(role: string): boolean {
    return !this.managed.has(role) && this.previous.role(role) !== undefined;
  }

  private give(grant: {
    phase: Phase;
    adminDatabase?: boolean;
    object: string;
    reason?: string;
    owner: string;
    /** The schema that the statements name something in. */
    schema?: string;
    statements: string[];
    mustWork?: string;
  }): void {
    if (grant.statements.length === 0) return;
    const statements = this.builder.power.actAs(
      grant.owner,
      grant.statements.map((sql) => ({ sql })),
      this.databaseOwner,
    );
    const entering = this.lendingUsage(grant.owner, grant.schema, statements);
    if (statements && !entering) {
      return this.builder.refuse(
        `${grant.object} in the database ${JSON.stringify(this.database.name)} cannot be given: ${grant.mustWork ?? 'it'} belongs to ${grant.owner}, who may not enter the schema: GRANT USAGE ON SCHEMA ${ident(grant.schema!)} TO ${ident(grant.owner)}`,
      );
    }
    if (!statements) {
      return this.builder.refuse(
        `${grant.object} in the database ${JSON.stringify(this.database.name)} cannot be given: ${grant.mustWork ?? 'it'} belongs to ${grant.owner}, and ${this.builder.power.user} cannot act as it: GRANT ${ident(grant.owner)} TO ${ident(this.builder.power.user)} WITH INHERIT FALSE, SET TRUE, or change the owner`,
      );
    }
    this.builder.add({
      phase: grant.phase,
      database: grant.adminDatabase ? undefined : this.database.name,
      risk: 'add',
      object: grant.object,
      reason: grant.reason ?? 'declared, and not there',
      statements: entering,
    });
  }

  private take(step: {
    phase: Phase;
    adminDatabase?: boolean;
    entry: Extra;
    /** The schema that the statements name something in. */
    schema?: string;
    object: string;
    subjects: Subject[];
    reason?: string;
    revoke: (what: string) => string | string[];
  }): void {
    const { entry } = step;
    const what = `${entry.optionOnly ? 'GRANT OPTION FOR ' : ''}${entry.privileges.join(', ')}`;
    this.builder.add({
      phase: step.phase,
      database: step.adminDatabase ? undefined : this.database.name,
      risk: 'narrow',
      object: step.object,
      reason:
        step.reason ??
        `${what}, granted by ${entry.grantor}, is ${entry.declaredBefore ? 'not declared any more' : 'not declared'}`,
      // Only its grantor can take a privilege back; a REVOKE by anybody else does nothing and may not even say so.
      statements: this.lendingUsage(
        entry.grantor,
        step.schema,
        this.builder.power.actAs(
          entry.grantor,
          [step.revoke(what)].flat().map((sql) => ({ sql })),
          this.databaseOwner,
        ),
      ),
      subjects: step.subjects,
      from: entry.grantee,
      declaredBefore: entry.declaredBefore,
      impossible:
        entry.dependents.length > 0
          ? `${nameOf(entry.grantee)} has passed ${what} on to ${entry.dependents.join(', ')}: revoke it there first, or declare it for them`
          : undefined,
    });
  }
}

/** What one grantor gave to one grantee, and the declaration does not want. */
interface Extra {
  readonly grantee: Grantee;
  readonly grantor: string;
  readonly privileges: string[];
  /** The privileges are wanted, their grant option is not. */
  readonly optionOnly: boolean;
  readonly declaredBefore: boolean;
  /** Those to whom the grantee has passed them on. */
  readonly dependents: readonly string[];
}

function want(wanted: Map<Grantee, Set<string>>, to: Grantee, privileges: readonly string[]): void {
  const known = wanted.get(to);
  if (known) privileges.forEach((privilege) => known.add(privilege));
  else wanted.set(to, new Set(privileges));
}

function absent(acl: readonly AclEntry[], to: Grantee, privileges: ReadonlySet<string>): string[] {
  const has = new Set(acl.filter((e) => e.grantee === to).map((e) => e.privilege));
  return [...privileges].filter((privilege) => !has.has(privilege as Privilege));
}

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const known = map.get(key);
  if (known) known.push(value);
  else map.set(key, [value]);
}

function words(kind: ObjectClass, count: number): string {
  return `${kind.toLowerCase()}${count === 1 ? '' : 's'}`;
}

/** Items under a key of several parts, in the order in which the keys came. */
class Groups<H> {
  private readonly groups = new Map<string, { head: H; items: string[] }>();

  add(key: unknown[], head: H, item: string): void {
    const text = JSON.stringify(key);
    const known = this.groups.get(text);
    if (known) known.items.push(item);
    else this.groups.set(text, { head, items: [item] });
  }

  all(): Iterable<{ head: H; items: string[] }> {
    return this.groups.values();
  }
}
