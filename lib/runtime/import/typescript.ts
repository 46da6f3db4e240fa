import {
  CommentTarget,
  creatorsBySchema,
  DesiredDatabase,
  DesiredIsolation,
  DesiredMembership,
  DesiredPublication,
  DesiredPublishedTable,
  DesiredRole,
  DesiredSlot,
  DesiredState,
  DesiredSubscription,
  isServerRole,
  Privilege,
  PRIVILEGES,
  PUBLISHED_OPERATIONS,
} from '../../contract';
import { commentKey } from '../reconcile/comments';
import { DURATIONS, Remark } from './adopt';
import { call, comment, text, Value } from './source';

const PREDEFINED: Readonly<Record<string, string>> = {
  pg_monitor: 'MONITOR',
  pg_read_all_settings: 'READ_ALL_SETTINGS',
  pg_read_all_stats: 'READ_ALL_STATS',
  pg_stat_scan_tables: 'STAT_SCAN_TABLES',
  pg_signal_backend: 'SIGNAL_BACKEND',
  pg_read_all_data: 'READ_ALL_DATA',
  pg_write_all_data: 'WRITE_ALL_DATA',
  pg_checkpoint: 'CHECKPOINT',
  pg_use_reserved_connections: 'USE_RESERVED_CONNECTIONS',
  pg_create_subscription: 'CREATE_SUBSCRIPTION',
  pg_maintain: 'MAINTAIN',
  pg_signal_autovacuum_worker: 'SIGNAL_AUTOVACUUM_WORKER',
};

const CLASSES = [
  { kind: 'table', all: 'allTables', future: 'tables', present: 'existingTables', later: 'futureTables' },
  {
    kind: 'sequence',
    all: 'allSequences',
    future: 'sequences',
    present: 'existingSequences',
    later: 'futureSequences',
  },
  { kind: 'routine', all: 'allRoutines', future: 'routines', present: 'existingRoutines', later: 'futureRoutines' },
] as const;

/** What a short method of Schema gives, as `table/sequence/routine` privileges. */
const SHORT = [
  { method: 'grantReadWrite', table: 'SELECT,INSERT,UPDATE,DELETE', sequence: 'USAGE,SELECT', routine: 'EXECUTE' },
  { method: 'grantRead', table: 'SELECT', sequence: 'SELECT', routine: '' },
  { method: 'grantExecute', table: '', sequence: '', routine: 'EXECUTE' },
] as const;

/** What the source imports where it uses it. */
const CLASSES_OF_API = [
  'Authentication',
  'ExistingRole',
  'PredefinedRole',
  'Privilege',
  'PublishedOperation',
  'ReplicaIdentity',
  'SchemaObject',
  'SubscriptionOrigin',
  'SubscriptionStreaming',
  'TenantStage',
  'TenantType',
];

const RESERVED = new Set(
  'break case catch class const continue debugger default delete do else enum export extends false finally for function if import in instanceof new null return super switch this throw true try typeof var void while with implements interface let package private protected public static yield await async of arguments eval undefined server secrets'.split(
    ' ',
  ),
);

/** A declaration as an app writes it: a function that declares it on a server, of whatever kind that is. */
export function writeTypeScript(state: DesiredState, remarks: readonly Remark[], head: readonly string[]): string {
  return new Writer(state).write(remarks, head);
}

interface Statement {
  /** The constant that holds the construct; it is left out where nothing uses it. */
  readonly constant?: string;
  readonly callee: string;
  readonly args: readonly Value[];
  readonly comment?: readonly string[];
}

class Writer {
  private readonly blocks: Statement[][] = [];
  private readonly constants = new Map<string, string>();
  private readonly taken = new Set(RESERVED);
  private hasPasswordComment = false;
  private readonly roles: ReadonlyMap<string, DesiredRole>;
  private readonly descriptions: ReadonlyMap<string, string>;
  /** The secrets of subscriptions, by what they are called in the source: the name of the subscription and its database. */
  private readonly secrets = new Map<string, string>();

  constructor(private readonly state: DesiredState) {
    this.roles = new Map(state.roles.map((role) => [role.name, role]));
    this.descriptions = new Map(state.comments.map(({ on, text }) => [commentKey(on), text]));
  }

  write(remarks: readonly Remark[], head: readonly string[]): string {
    const { state } = this;
    const databases = sortedBy(state.databases, ({ name }) => name);
    const implied = new Set(databases.filter((database) => this.hasImpliedOwner(database)).map(({ owner }) => owner));
    const logins = state.roles.filter((role) => role.login);
    this.groupRoles(implied);
    for (const database of databases) this.database(database, implied);
    for (const database of databases) this.loginRoles(database, logins);
    const memberships = sortedBy(state.memberships, (m) => JSON.stringify([m.member, m.role])).filter(
      (m) => !this.written.has(m) && !this.isActsAs(m),
    );
    this.blocks.push(memberships.map((m) => this.memberOf(m)));
    for (const database of databases) this.inside(database);
    return this.text(remarks, head);
  }

  /** The memberships that stand in the options of a role. */
  private readonly written = new Set<DesiredMembership>();

  private text(remarks: readonly Remark[], head: readonly string[]): string {
    const statements = this.blocks.flat();
    const print = (statement: Statement, constant: string | undefined) =>
      (statement.comment ? `${comment(statement.comment, '  ')}\n` : '') +
      call(`${constant === undefined ? '' : `const ${constant} = `}${statement.callee}`, statement.args, '  ');
    const code = statements
      .map((statement) => print({ ...statement, comment: undefined }, undefined))
      .join('\n')
      .replace(/'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/g, "''");
    const names = new Set(code.match(/(?<![.\w$])[\w$]+/g));
    const body = this.blocks
      .filter((block) => block.length > 0)
      .map((block) =>
        block
          .map((s) => print(s, s.constant !== undefined && names.has(s.constant) ? s.constant : undefined))
          .join('\n'),
      )
      .join('\n\n');
    const uses = (name: string) => names.has(name);
    const imports = CLASSES_OF_API.filter(uses);
    const imported = [...imports, 'IPostgresServer'].sort((a, b) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1));
    const flat = `import { ${imported.join(', ')} } from 'cdk-postgres';`;
    const lines = [
      ...(uses('Duration') ? ["import { Duration } from 'aws-cdk-lib';"] : []),
      ...(this.secrets.size > 0 ? ["import { ISecret } from 'aws-cdk-lib/aws-secretsmanager';"] : []),
      flat.length <= 80 ? flat : `import {\n${imported.map((name) => `  ${name},`).join('\n')}\n} from 'cdk-postgres';`,
      '',
      ...(head.length > 0 ? [comment(head, ''), ''] : []),
      ...this.secretsInterface(),
      ...(body === ''
        ? ['export function declareInside(_server: IPostgresServer): void {}']
        : [...this.signature(), body, '}']),
    ];
    if (remarks.length > 0) {
      lines.push('', comment(['Not in the declaration. All of it stays on the server as it is:'], ''));
      for (const { about, text } of remarks) lines.push(comment(wrapped(`- ${about}: ${text}`), ''));
    }
    return `${lines.join('\n')}\n`;
  }

  private signature(): string[] {
    if (this.secrets.size === 0) return ['export function declareInside(server: IPostgresServer): void {'];
    return [
      'export function declareInside(',
      '  server: IPostgresServer,',
      '  secrets: ConnectionSecrets,',
      '): void {',
    ];
  }

  /** Where a subscription connects to is for superusers to read, and its password for nobody; so the app has to bring them. */
  private secretsInterface(): string[] {
    if (this.secrets.size === 0) return [];
    const about = [
      '/**',
      ' * How each subscription connects to its publisher: a secret that you make, with',
      ' * host, port, dbname, username and password. An import reads no password. The',
      ' * first deployment sets the connection once its plan is acknowledged.',
      ' */',
    ];
    const members = [...this.secrets].map(
      ([name, of], at) => `${at > 0 ? '\n' : ''}  /** ${of} */\n  readonly ${name}: ISecret;`,
    );
    return [...about, 'export interface ConnectionSecrets {', ...members, '}', ''];
  }

  private description(on: CommentTarget): string | undefined {
    const description = this.descriptions.get(commentKey(on));
    return description === undefined ? undefined : text(description);
  }

  private constant(kind: string, name: string): string {
    const words = name
      .replace(/[^A-Za-z0-9]+/g, ' ')
      .trim()
      .split(' ')
      .filter(Boolean);
    const camel = words
      .map((word, at) => (at === 0 ? word[0].toLowerCase() : word[0].toUpperCase()) + word.slice(1))
      .join('');
    const base = /^[a-z]/.test(camel) ? camel : `${kind}${camel === '' ? '' : `_${camel}`}`;
    const options = [base, `${base}${kind[0].toUpperCase()}${kind.slice(1)}`];
    let chosen = options.find((option) => !this.taken.has(option));
    for (let at = 2; chosen === undefined; at++) {
      if (!this.taken.has(`${base}${at}`)) chosen = `${base}${at}`;
    }
    this.taken.add(chosen);
    return chosen;
  }

  private add(statement: Statement): void {
    if (this.blocks.length === 0) this.blocks.push([]);
    this.blocks.at(-1)!.push(statement);
  }

  private block(): void {
    this.blocks.push([]);
  }

  /** A role as an expression; one that has no constant yet is named, which a group or an owner may be. */
  private role(name: string): string {
    const constant = this.constants.get(name);
    if (constant !== undefined) return constant;
    if (isServerRole(name)) {
      const known = PREDEFINED[name];
      return known === undefined ? `PredefinedRole.of(${text(name)})` : `PredefinedRole.${known}`;
    }
    return `ExistingRole.of(${text(name)})`;
  }

  private owner(name: string): string {
    return isServerRole(name) ? `ExistingRole.of(${text(name)})` : this.role(name);
  }

  /** The owner that a database makes by itself: named after it, with nothing else to be said about it. */
  private hasImpliedOwner({ name, owner }: DesiredDatabase): boolean {
    const role = this.roles.get(owner);
    return (
      owner === `${name}_owner` &&
      role !== undefined &&
      !role.login &&
      !this.descriptions.has(commentKey({ kind: 'role', name: owner })) &&
      !this.state.memberships.some((m) => m.member === owner) &&
      this.state.databases.every((other) => other.name === name || other.owner !== owner)
    );
  }

  private groupRoles(implied: ReadonlySet<string>): void {
    this.block();
    const groups = sortedBy(
      this.state.roles.filter((role) => !role.login && !implied.has(role.name)),
      ({ name }) => name,
    );
    const left = new Map(groups.map((role) => [role.name, role]));
    const visit = (role: DesiredRole) => {
      if (!left.delete(role.name)) return;
      const memberships = this.membershipsOf(role.name);
      for (const { role: group } of memberships) {
        const first = left.get(group);
        if (first) visit(first);
      }
      const options = {
        description: this.description({ kind: 'role', name: role.name }),
        memberOf: this.memberOfOption(memberships),
      };
      const constant = this.constant('role', role.name);
      this.add({ constant, callee: 'server.addGroupRole', args: [text(role.name), ...unlessEmpty(options)] });
      this.constants.set(role.name, constant);
    };
    groups.forEach(visit);
  }

  private membershipsOf(member: string): DesiredMembership[] {
    return sortedBy(
      this.state.memberships.filter((m) => m.member === member),
      ({ role }) => role,
    );
  }

  /** Memberships with the options that they have unless others are said, in roles that can be named already. */
  private memberOfOption(memberships: readonly DesiredMembership[]): string[] | undefined {
    const plain = memberships.filter(
      (m) => m.inherit && !m.set && !m.admin && (this.constants.has(m.role) || !this.roles.has(m.role)),
    );
    plain.forEach((m) => this.written.add(m));
    return plain.length === 0 ? undefined : plain.map((m) => this.role(m.role));
  }

  private memberOf(m: DesiredMembership): Statement {
    const options = {
      inherit: m.inherit ? undefined : 'false',
      set: m.set ? 'true' : undefined,
      admin: m.admin ? 'true' : undefined,
    };
    const plain = m.inherit && !m.set && !m.admin;
    return {
      callee: `${this.constants.get(m.member)}.memberOf`,
      args: [this.role(m.role), ...(plain ? [] : [options])],
    };
  }

  private isActsAs(m: DesiredMembership): boolean {
    return this.actsAs(m.member) === m.role;
  }

  private actsAs(role: string): string | undefined {
    return this.state.settings.find((s) => s.role === role && s.database === undefined && s.name === 'role')?.values[0];
  }

  private database(database: DesiredDatabase, implied: ReadonlySet<string>): void {
    this.block();
    const settings = this.state.settings.filter((s) => s.database === database.name && s.role === undefined);
    const options = {
      description: this.description({ kind: 'database', name: database.name }),
      owner: implied.has(database.owner) ? undefined : this.owner(database.owner),
      connectionLimit: database.connectionLimit === undefined ? undefined : String(database.connectionLimit),
      encoding: database.encoding === undefined ? undefined : text(database.encoding),
      locale: database.locale === undefined ? undefined : text(database.locale),
      closePublic: database.public === 'closed' ? undefined : 'false',
      settings: settings.length === 0 ? undefined : settingsOf(settings),
    };
    const constant = this.constant('database', database.name);
    this.constants.set(`database ${database.name}`, constant);
    this.add({ constant, callee: 'server.addDatabase', args: [text(database.name), ...unlessEmpty(options)] });
    if (implied.has(database.owner)) this.constants.set(database.owner, `${constant}.owner`);
  }

  /** A login role belongs to the database that it may connect to. */
  private loginRoles(database: DesiredDatabase, logins: readonly DesiredRole[]): void {
    this.block();
    for (const role of sortedBy(logins, ({ name }) => name)) {
      if (this.homeOf(role.name) !== database) continue;
      this.loginRole(role, database);
    }
  }

  private homeOf(role: string): DesiredDatabase {
    const databases = sortedBy(this.state.databases, ({ name }) => name);
    return (
      databases.find((database) => this.connects(database, role)) ??
      databases.find((database) => database.owner === role) ??
      databases[0]
    );
  }

  private connects(database: DesiredDatabase, role: string): boolean {
    return database.grants.some(
      ({ on, to, privileges }) => on.kind === 'database' && to === role && privileges.includes('CONNECT'),
    );
  }

  private loginRole(role: DesiredRole, database: DesiredDatabase): void {
    const actsAs = this.actsAs(role.name);
    const memberships = this.membershipsOf(role.name).filter((m) => !this.isActsAs(m));
    const settings = this.state.settings.filter(
      (s) => s.role === role.name && s.database === undefined && s.name !== 'role',
    );
    const options: Record<string, Value | undefined> = {
      description: this.description({ kind: 'role', name: role.name }),
      authentication: role.authentication === 'password' ? undefined : `Authentication.${role.authentication}()`,
      connectionLimit: role.connectionLimit === undefined ? undefined : String(role.connectionLimit),
    };
    const plain = settings.filter((s) => {
      const prop = DURATIONS[s.name];
      const duration = prop === undefined ? undefined : durationOf(s.values[0]);
      if (duration !== undefined) options[prop] = duration;
      else if (s.name === 'search_path') options.searchPath = s.values.map(text);
      return duration === undefined && s.name !== 'search_path';
    });
    if (plain.length > 0) options.settings = settingsOf(plain);
    if (role.validUntil !== undefined) options.validUntil = `new Date(${text(role.validUntil)})`;
    if (actsAs !== undefined) options.actsAs = this.owner(actsAs);
    options.memberOf = this.memberOfOption(memberships);
    if (!this.connects(database, role.name) && database.owner !== role.name) options.connectPrivilege = 'false';
    const constant = this.constant('role', role.name);
    this.add({
      constant,
      callee: `${this.constants.get(`database ${database.name}`)}.addLoginRole`,
      args: [text(role.name), ...unlessEmpty(options)],
      comment: role.authentication === 'none' ? this.passwordComment() : undefined,
    });
    this.constants.set(role.name, constant);
  }

  /** Once: an adoption resets no password, and its reader has to know how that is asked for. */
  private passwordComment(): string[] | undefined {
    if (this.hasPasswordComment) return undefined;
    this.hasPasswordComment = true;
    return [
      'Authentication.none(): the role keeps its password. To take it over, with a new',
      'one in a secret of its own, leave the line out and acknowledge the plan.',
    ];
  }

  private inside(database: DesiredDatabase): void {
    this.block();
    const constant = this.constants.get(`database ${database.name}`)!;
    const grants = sortedBy(database.grants, ({ on, to }) => JSON.stringify([to, on]));
    for (const { on, to, privileges } of grants) {
      if (on.kind !== 'database') continue;
      const isHome = this.roles.get(to)?.login === true && this.homeOf(to) === database;
      const left = privileges.filter((privilege) => privilege !== 'CONNECT' || !isHome);
      if (left.length === 0) continue;
      const role = this.role(to);
      if (left.join() === 'CONNECT') this.add({ callee: `${constant}.grantConnect`, args: [role] });
      else this.add({ callee: `${constant}.grant`, args: [role, ...left.map(privilegeOf)] });
    }
    const creators = creatorsBySchema(this.state, database);
    for (const schema of sortedBy(database.schemas, ({ name }) => name)) {
      this.block();
      this.schema(database, schema, creators.get(schema.name)!);
    }
    this.beside(database);
  }

  private schema(
    database: DesiredDatabase,
    schema: DesiredDatabase['schemas'][number],
    creators: ReadonlySet<string>,
  ): void {
    const grants = database.grants.filter(({ on }) => 'schema' in on && on.schema === schema.name);
    const promised = database.defaultPrivileges.filter((d) => d.schema === schema.name);
    const users = new Set(
      grants.filter(({ on, privileges }) => on.kind === 'schema' && privileges.includes('USAGE')).map(({ to }) => to),
    );
    const grantees = [...new Set([...grants, ...promised].map(({ to }) => to))].sort();
    const withUsage = grantees.every((to) => users.has(to) || to === schema.owner);
    const constant = this.constant('schema', schema.name);
    this.constants.set(`schema ${database.name}.${schema.name}`, constant);
    this.add({
      constant,
      callee: `${this.constants.get(`database ${database.name}`)}.addSchema`,
      args: [
        text(schema.name),
        ...unlessEmpty({
          description: this.description({ kind: 'schema', database: database.name, name: schema.name }),
          owner: schema.owner === database.owner ? undefined : this.owner(schema.owner),
          usageWithGrants: withUsage ? undefined : 'false',
        }),
      ],
    });
    for (const to of grantees) {
      const mine = grants.filter((grant) => grant.to === to);
      const onSchema = mine.find(({ on }) => on.kind === 'schema')?.privileges ?? [];
      const parts = this.parts(
        schema.owner,
        to,
        mine,
        promised.filter((d) => d.to === to),
        creators,
      );
      const left = onSchema.filter((privilege) => privilege !== 'USAGE' || !withUsage || parts.length === 0);
      if (left.join() === 'USAGE') this.add({ callee: `${constant}.grantUsage`, args: [this.role(to)] });
      else if (left.length > 0)
        this.add({
          callee: `${constant}.grant`,
          args: [this.role(to), 'SchemaObject.schema()', ...left.map(privilegeOf)],
        });
      for (const { method, args } of parts)
        this.add({ callee: `${constant}.${method}`, args: [this.role(to), ...args] });
    }
    const isolation = database.isolations.find((one) => one.schema === schema.name);
    if (isolation) this.add({ callee: `${constant}.isolateTenants`, args: [this.isolation(isolation)] });
  }

  private isolation({ column, type, setting, stage, roles, allTenants }: DesiredIsolation): Value {
    return {
      column: text(column),
      type: `TenantType.${type.toUpperCase()}`,
      setting: setting === 'app.tenant_id' ? undefined : text(setting),
      roles: roles.map((role) => this.role(role)),
      allTenants: allTenants.length === 0 ? undefined : allTenants.map((role) => this.owner(role)),
      stage: stage === 'prepared' ? undefined : `TenantStage.${stage.toUpperCase()}`,
    };
  }

  private schemaConstant(database: DesiredDatabase, schema: string): string {
    return this.constants.get(`schema ${database.name}.${schema}`)!;
  }

  private beside(database: DesiredDatabase): void {
    const add = (method: string, name: string, options: Readonly<Record<string, Value | undefined>>) =>
      this.add({
        callee: `${this.constants.get(`database ${database.name}`)}.${method}`,
        args: [text(name), ...unlessEmpty(options)],
      });
    this.block();
    for (const { name, schema } of sortedBy(database.extensions, (one) => one.name))
      add('addExtension', name, { schema: schema === undefined ? undefined : this.schemaConstant(database, schema) });
    this.block();
    for (const publication of sortedBy(database.publications, (one) => one.name))
      add('addPublication', publication.name, this.publication(database, publication));
    for (const slot of sortedBy(database.slots, (one) => one.name)) add('addSlot', slot.name, this.slot(slot));
    for (const subscription of sortedBy(database.subscriptions, (one) => one.name))
      add('addSubscription', subscription.name, this.subscription(database, subscription));
  }

  private publication(
    database: DesiredDatabase,
    { owner, operations, viaRoot, generatedColumns, tables, schemas, allTables }: DesiredPublication,
  ): Readonly<Record<string, Value | undefined>> {
    const isPlain = (table: DesiredPublishedTable) =>
      table.columns === undefined && table.where === undefined && table.identity === undefined;
    const plain = tables.filter(isPlain);
    const special = tables.filter((table) => !isPlain(table));
    const list = <T>(items: readonly T[], write: (item: T) => Value) =>
      items.length === 0 ? undefined : items.map(write);
    return {
      allTables: allTables ? 'true' : undefined,
      schemas: list(schemas, (schema) => this.schemaConstant(database, schema)),
      tables: list(plain, (table) => text(qualifiedName(table))),
      tablesWith: list(special, (table) => ({
        table: text(qualifiedName(table)),
        columns: list(table.columns ?? [], text),
        where: table.where === undefined ? undefined : text(table.where),
        replicaIdentity:
          table.identity === undefined
            ? undefined
            : table.identity.kind === 'index'
              ? `ReplicaIdentity.index(${text(table.identity.index)})`
              : `ReplicaIdentity.${table.identity.kind === 'full' ? 'full' : 'primaryKey'}()`,
      })),
      operations:
        operations.length === PUBLISHED_OPERATIONS.length
          ? undefined
          : operations.map((operation) => `PublishedOperation.${operation}`),
      viaPartitionRoot: viaRoot ? 'true' : undefined,
      generatedColumns: generatedColumns ? 'true' : undefined,
      owner: owner === database.owner ? undefined : this.owner(owner),
    };
  }

  private slot({ consumer, plugin, failover, twoPhase }: DesiredSlot): Readonly<Record<string, Value | undefined>> {
    return {
      consumer: this.owner(consumer),
      plugin: plugin === 'pgoutput' ? undefined : text(plugin),
      failover: failover ? 'true' : undefined,
      twoPhase: twoPhase ? 'true' : undefined,
    };
  }

  private subscription(
    database: DesiredDatabase,
    { name, owner, publications, slot, enabled, options }: DesiredSubscription,
  ): Readonly<Record<string, Value | undefined>> {
    const secret = this.constant('secret', name);
    this.secrets.set(secret, `Of the subscription ${printable(name)} of the database ${printable(database.name)}.`);
    const { streaming, origin } = options;
    return {
      connectionSecret: `secrets.${secret}`,
      publications: publications.map(text),
      slotName: slot === undefined ? undefined : text(slot),
      streaming: streaming === undefined ? undefined : `SubscriptionStreaming.${streaming.toUpperCase()}`,
      twoPhase: options.two_phase,
      failover: options.failover,
      origin: origin === undefined ? undefined : `SubscriptionOrigin.${origin.toUpperCase()}`,
      disableOnError: options.disable_on_error,
      runAsOwner: options.run_as_owner,
      enabled: enabled ? undefined : 'false',
      owner: this.owner(owner),
    };
  }

  /** What one role has in a schema, in as few calls as there are. */
  private parts(
    owner: string,
    to: string,
    grants: DesiredDatabase['grants'],
    promised: DesiredDatabase['defaultPrivileges'],
    creators: ReadonlySet<string>,
  ): { method: string; args: string[] }[] {
    const parts: { method: string; args: string[] }[] = [];
    const grant = (on: string, privileges: readonly Privilege[]) => {
      if (privileges.length > 0)
        parts.push({ method: 'grant', args: [`SchemaObject.${on}`, ...privileges.map(privilegeOf)] });
    };
    const always = new Map<string, Privilege[]>();
    const rest: (() => void)[] = [];
    for (const { kind, all, future, present, later } of CLASSES) {
      const there = grants.find(({ on }) => on.kind === all)?.privileges ?? [];
      const byCreator = new Map(promised.filter((d) => d.objects === future).map((d) => [d.creator, d.privileges]));
      const others = [...creators].filter((creator) => creator !== to);
      const isAlways = (privilege: Privilege) =>
        to !== owner &&
        there.includes(privilege) &&
        others.every((creator) => byCreator.get(creator)?.includes(privilege));
      const both = PRIVILEGES[kind].filter(isAlways);
      always.set(kind, both);
      rest.push(() => {
        grant(
          `${present}()`,
          there.filter((privilege) => !both.includes(privilege as never)),
        );
        for (const [creator, privileges] of byCreator) {
          const left = creators.has(creator)
            ? privileges.filter((privilege) => !both.includes(privilege as never))
            : privileges;
          grant(`${later}(${this.owner(creator)})`, left);
        }
      });
    }
    const short = SHORT.find(
      ({ table, sequence, routine }) =>
        always.get('table')!.join() === table &&
        always.get('sequence')!.join() === sequence &&
        always.get('routine')!.join() === routine,
    );
    if (short) parts.push({ method: short.method, args: [] });
    else for (const { kind, all } of CLASSES) grant(`${all}()`, always.get(kind)!);
    rest.forEach((write) => write());
    for (const { on, privileges } of grants) {
      if (on.kind === 'table' || on.kind === 'sequence') grant(`${on.kind}(${text(on.name)})`, privileges);
      if (on.kind === 'routine') grant(`routine(${text(on.signature)})`, privileges);
    }
    return parts;
  }
}

function qualifiedName(table: { readonly schema: string; readonly name: string }): string {
  return [table.schema, table.name]
    .map((part) => (/[".]/.test(part) ? `"${part.replaceAll('"', '""')}"` : part))
    .join('.');
}

/** In a comment, which a name must not end. */
function printable(name: string): string {
  return name.replace(/[\r\n\u2028\u2029]+/g, ' ').replaceAll('*/', '* /');
}

function privilegeOf(privilege: string): string {
  return `Privilege.${privilege}`;
}

function sortedBy<T>(items: readonly T[], key: (item: T) => string): T[] {
  return [...items].sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
}

function unlessEmpty<T extends { readonly [key: string]: Value | undefined }>(options: T): T[] {
  return Object.values(options).some((value) => value !== undefined) ? [options] : [];
}

function settingsOf(settings: DesiredState['settings']): Record<string, string> {
  return Object.fromEntries(sortedBy(settings, ({ name }) => name).map(({ name, values }) => [name, text(values[0])]));
}

function durationOf(value: string): string | undefined {
  const match = /^(\d+)(min|s|ms)$/.exec(value);
  const units: Readonly<Record<string, string>> = { min: 'minutes', s: 'seconds', ms: 'millis' };
  return match ? `Duration.${units[match[2]]}(${match[1]})` : undefined;
}

function wrapped(line: string): string[] {
  const lines: string[] = [];
  let current = '';
  for (const word of line.split(' ')) {
    if (current !== '' && current.length + 1 + word.length > 77) {
      lines.push(current);
      current = `  ${word}`;
    } else current = current === '' ? word : `${current} ${word}`;
  }
  return [...lines, current];
}
