import {
  DesiredComment,
  DesiredDefaultPrivilege,
  DesiredDrop,
  DesiredExtension,
  DesiredGrant,
  DesiredIsolation,
  DesiredMembership,
  DesiredPublication,
  DesiredPublishedTable,
  DesiredRole,
  DesiredSetting,
  DesiredSlot,
  DesiredSubscription,
  GrantTarget,
  ISOLATION_STAGES,
  OBJECT_KIND_OF,
  Privilege,
  PRIVILEGES,
  PUBLISHED_OPERATIONS,
  PublishedOperation,
  ReplicaIdentity,
  SUBSCRIPTION_OPTIONS,
  SubscriptionOption,
  TENANT_TYPES,
} from './desired-state';
import { isPlainName } from './names';

/**
 * What is declared travels as lines of text, because `cdk diff` shows a changed
 * element of a list with its content, and a changed key of a map by its name alone. Each kind has a writer and a reader here.
 */

const KEYWORDS = new Set([
  'on',
  'to',
  'in',
  'with',
  'for',
  'set',
  'login',
  'nologin',
  'role',
  'database',
  'schema',
  'all',
]);

const name = (text: string) => (isPlainName(text) && !KEYWORDS.has(text) ? text : `"${text.replace(/"/g, '""')}"`);
const literal = (text: string) => `'${text.replace(/'/g, "''")}'`;
const flag = (value: boolean) => (value ? 'TRUE' : 'FALSE');

export function writeRole(role: DesiredRole): string {
  const words = [name(role.name), role.login ? 'LOGIN' : 'NOLOGIN'];
  if (role.authentication !== 'none') words.push(role.authentication.toUpperCase());
  if (role.passwordOf !== undefined) words.push(`OF ${name(role.passwordOf)}`);
  if (!role.inherit) words.push('NOINHERIT');
  if (role.createDatabase) words.push('CREATEDB');
  if (role.createRole) words.push('CREATEROLE');
  if (role.replication) words.push('REPLICATION');
  if (role.connectionLimit !== undefined) words.push(`CONNECTION LIMIT ${role.connectionLimit}`);
  if (role.validUntil !== undefined) words.push(`VALID UNTIL ${literal(role.validUntil)}`);
  return words.join(' ');
}

export function readRole(line: string): DesiredRole {
  const read = new LineReader(line);
  const role = { name: read.name(), login: read.choice('LOGIN', 'NOLOGIN') === 'LOGIN' };
  const authentication = read.skip('PASSWORD') ? 'password' : read.skip('IAM') ? 'iam' : 'none';
  const passwordOf = authentication === 'password' && read.skip('OF') ? read.name() : undefined;
  const inherit = !read.skip('NOINHERIT');
  const createDatabase = read.skip('CREATEDB');
  const createRole = read.skip('CREATEROLE');
  const replication = read.skip('REPLICATION');
  const connectionLimit = read.skip('CONNECTION') ? (read.expect('LIMIT'), read.integer()) : undefined;
  const validUntil = read.skip('VALID') ? (read.expect('UNTIL'), read.literal()) : undefined;
  read.end();
  return {
    ...role,
    authentication,
    ...(passwordOf !== undefined && { passwordOf }),
    inherit,
    createDatabase,
    createRole,
    ...(replication && { replication }),
    connectionLimit,
    validUntil,
  };
}

export function writeMembership(m: DesiredMembership): string {
  return `${name(m.role)} TO ${name(m.member)} WITH INHERIT ${flag(m.inherit)}, SET ${flag(m.set)}, ADMIN ${flag(m.admin)}`;
}

export function readMembership(line: string): DesiredMembership {
  const read = new LineReader(line);
  const role = read.name();
  read.expect('TO');
  const member = read.name();
  read.expect('WITH', 'INHERIT');
  const inherit = read.flag();
  read.expect(',', 'SET');
  const set = read.flag();
  read.expect(',', 'ADMIN');
  const admin = read.flag();
  read.end();
  return { role, member, inherit, set, admin };
}

export function writeSetting(s: DesiredSetting): string {
  const scope = [s.role && `ROLE ${name(s.role)}`, s.database && `${s.role ? 'IN ' : ''}DATABASE ${name(s.database)}`];
  return `${scope.filter(Boolean).join(' ')} SET ${name(s.name)} = ${s.values.map(literal).join(', ')}`;
}

export function readSetting(line: string): DesiredSetting {
  const read = new LineReader(line);
  const role = read.choice('ROLE', 'DATABASE') === 'ROLE' ? read.name() : undefined;
  let database: string | undefined;
  if (role === undefined) database = read.name();
  else if (read.skip('IN')) database = (read.expect('DATABASE'), read.name());
  read.expect('SET');
  const setting = read.name();
  read.expect('=');
  const values = [read.literal()];
  while (read.skip(',')) values.push(read.literal());
  read.end();
  return { role, database, name: setting, values };
}

export function writeGrant(grant: DesiredGrant): string {
  return `${grant.privileges.join(', ')} ON ${writeTarget(grant.on)} TO ${name(grant.to)}`;
}

function writeTarget(on: GrantTarget): string {
  switch (on.kind) {
    case 'database':
      return 'DATABASE';
    case 'schema':
      return `SCHEMA ${name(on.schema)}`;
    case 'allTables':
      return `ALL TABLES IN SCHEMA ${name(on.schema)}`;
    case 'allSequences':
      return `ALL SEQUENCES IN SCHEMA ${name(on.schema)}`;
    case 'allRoutines':
      return `ALL ROUTINES IN SCHEMA ${name(on.schema)}`;
    case 'table':
      return `TABLE ${name(on.schema)}.${name(on.name)}`;
    case 'sequence':
      return `SEQUENCE ${name(on.schema)}.${name(on.name)}`;
    case 'routine':
      return `ROUTINE ${name(on.schema)} ${literal(on.signature)}`;
  }
}

export function readGrant(line: string): DesiredGrant {
  const read = new LineReader(line);
  const privileges = read.words();
  read.expect('ON');
  const on = readTarget(read);
  read.expect('TO');
  const to = read.name();
  read.end();
  return { privileges: read.privileges(privileges, on.kind), on, to };
}

function readTarget(read: LineReader): GrantTarget {
  switch (read.choice('DATABASE', 'SCHEMA', 'ALL', 'TABLE', 'SEQUENCE', 'ROUTINE')) {
    case 'DATABASE':
      return { kind: 'database' };
    case 'SCHEMA':
      return { kind: 'schema', schema: read.name() };
    case 'TABLE':
      return { kind: 'table', ...read.qualified() };
    case 'SEQUENCE':
      return { kind: 'sequence', ...read.qualified() };
    case 'ROUTINE':
      return { kind: 'routine', schema: read.name(), signature: read.literal() };
    default: {
      const kind = ({ TABLES: 'allTables', SEQUENCES: 'allSequences', ROUTINES: 'allRoutines' } as const)[
        read.choice('TABLES', 'SEQUENCES', 'ROUTINES')
      ];
      read.expect('IN', 'SCHEMA');
      return { kind, schema: read.name() };
    }
  }
}

export function writeDefaultPrivilege(d: DesiredDefaultPrivilege): string {
  return `FOR ${name(d.creator)} IN SCHEMA ${name(d.schema)} GRANT ${d.privileges.join(', ')} ON ${d.objects.toUpperCase()} TO ${name(d.to)}`;
}

export function readDefaultPrivilege(line: string): DesiredDefaultPrivilege {
  const read = new LineReader(line);
  read.expect('FOR');
  const creator = read.name();
  read.expect('IN', 'SCHEMA');
  const schema = read.name();
  read.expect('GRANT');
  const privileges = read.words();
  read.expect('ON');
  const objects = ({ TABLES: 'tables', SEQUENCES: 'sequences', ROUTINES: 'routines' } as const)[
    read.choice('TABLES', 'SEQUENCES', 'ROUTINES')
  ];
  read.expect('TO');
  const to = read.name();
  read.end();
  return { creator, schema, objects, privileges: read.privileges(privileges, objects), to };
}

export function writeComment({ on, text }: DesiredComment): string {
  const where = on.kind === 'schema' ? `${name(on.database)}.` : '';
  return `${on.kind.toUpperCase()} ${where}${name(on.name)} IS ${literal(text)}`;
}

export function readComment(line: string): DesiredComment {
  const read = new LineReader(line);
  const kind = KINDS[read.choice('ROLE', 'DATABASE', 'SCHEMA')];
  const on = kind === 'schema' ? { kind, ...read.inDatabase() } : { kind, name: read.name() };
  read.expect('IS');
  const text = read.literal();
  read.end();
  return { on, text };
}

const KINDS = {
  ROLE: 'role',
  DATABASE: 'database',
  SCHEMA: 'schema',
  EXTENSION: 'extension',
  PUBLICATION: 'publication',
  SUBSCRIPTION: 'subscription',
  SLOT: 'slot',
} as const;

export function writeDrop(drop: DesiredDrop): string {
  const words = [drop.kind.toUpperCase(), `${'database' in drop ? `${name(drop.database)}.` : ''}${name(drop.name)}`];
  if (drop.adopted) words.push('ADOPTED');
  if (drop.reassignTo !== undefined) words.push(`REASSIGN TO ${name(drop.reassignTo)}`);
  if (drop.force) words.push('FORCE');
  if (drop.cascade) words.push('CASCADE');
  return `${words.join(' ')} BECAUSE ${literal(drop.reason)}`;
}

export function readDrop(line: string): DesiredDrop {
  const read = new LineReader(line);
  const kind = KINDS[read.choice('ROLE', 'DATABASE', 'SCHEMA', 'EXTENSION', 'PUBLICATION', 'SUBSCRIPTION', 'SLOT')];
  const target = kind === 'role' || kind === 'database' ? { kind, name: read.name() } : { kind, ...read.inDatabase() };
  const adopted = read.skip('ADOPTED');
  const reassignTo = kind === 'role' && read.skip('REASSIGN') ? (read.expect('TO'), read.name()) : undefined;
  const force = kind === 'database' && read.skip('FORCE');
  const cascade = kind === 'schema' && read.skip('CASCADE');
  read.expect('BECAUSE');
  const reason = read.literal();
  read.end();
  return { ...target, reason, adopted, reassignTo, force, cascade };
}

export function writeExtension(e: DesiredExtension): string {
  const schema = e.schema === undefined ? '' : ` SCHEMA ${name(e.schema)}`;
  return `${name(e.name)}${schema}${e.version === undefined ? '' : ` VERSION ${literal(e.version)}`}`;
}

export function readExtension(line: string): DesiredExtension {
  const read = new LineReader(line);
  const extension = read.name();
  const schema = read.skip('SCHEMA') ? read.name() : undefined;
  const version = read.skip('VERSION') ? read.literal() : undefined;
  read.end();
  return { name: extension, schema, version };
}

export function writeIsolation(i: DesiredIsolation): string {
  const names = (word: string, roles: readonly string[]) =>
    roles.length === 0 ? '' : ` ${word} ${[...roles].sort().map(name).join(', ')}`;
  return `${name(i.schema)} BY ${name(i.column)} ${i.type.toUpperCase()} FROM ${literal(i.setting)} ${i.stage.toUpperCase()}${names('FOR', i.roles)}${names('ALL TENANTS FOR', i.allTenants)}`;
}

export function readIsolation(line: string): DesiredIsolation {
  const read = new LineReader(line);
  const schema = read.name();
  read.expect('BY');
  const column = read.name();
  const typeWord = read.choice(...TENANT_TYPES.map((type) => type.toUpperCase()));
  const type = TENANT_TYPES.find((known) => known.toUpperCase() === typeWord)!;
  read.expect('FROM');
  const setting = read.literal();
  const stageWord = read.choice(...ISOLATION_STAGES.map((stage) => stage.toUpperCase()));
  const stage = ISOLATION_STAGES.find((known) => known.toUpperCase() === stageWord)!;
  read.expect('FOR');
  const roles = read.names();
  const allTenants = read.skip('ALL') ? (read.expect('TENANTS', 'FOR'), read.names()) : [];
  read.end();
  return { schema, column, type, setting, stage, roles, allTenants };
}

export function writePublication(p: DesiredPublication): string {
  const words = [name(p.name), 'OWNER', name(p.owner), 'PUBLISH', p.operations.join(', ')];
  if (p.viaRoot) words.push('VIA ROOT');
  if (p.generatedColumns) words.push('GENERATED');
  const items = [
    ...(p.allTables ? ['ALL TABLES'] : []),
    ...p.schemas.map((schema) => `SCHEMA ${name(schema)}`).sort(),
    ...p.tables.map(writePublishedTable).sort(),
  ];
  return `${words.join(' ')}${items.length === 0 ? '' : ` FOR ${items.join(', ')}`}`;
}

function writePublishedTable(t: DesiredPublishedTable): string {
  const columns = t.columns === undefined ? '' : ` COLUMNS ${t.columns.map(name).join(' ')}`;
  const where = t.where === undefined ? '' : ` WHERE ${literal(t.where)}`;
  const { identity } = t;
  const by =
    identity === undefined
      ? ''
      : ` IDENTITY ${identity.kind.toUpperCase()}${identity.kind === 'index' ? ` ${name(identity.index)}` : ''}`;
  return `TABLE ${name(t.schema)}.${name(t.name)}${columns}${where}${by}`;
}

export function readPublication(line: string): DesiredPublication {
  const read = new LineReader(line);
  const publication = read.name();
  read.expect('OWNER');
  const owner = read.name();
  read.expect('PUBLISH');
  const operations: PublishedOperation[] = [read.choice(...PUBLISHED_OPERATIONS)];
  while (read.skip(',')) operations.push(read.choice(...PUBLISHED_OPERATIONS));
  const viaRoot = read.skip('VIA') && (read.expect('ROOT'), true);
  const generatedColumns = read.skip('GENERATED');
  const tables: DesiredPublishedTable[] = [];
  const schemas: string[] = [];
  let allTables = false;
  if (read.skip('FOR')) {
    do {
      const word = read.choice('ALL', 'SCHEMA', 'TABLE');
      if (word === 'ALL') {
        read.expect('TABLES');
        allTables = true;
      } else if (word === 'SCHEMA') schemas.push(read.name());
      else tables.push(readPublishedTable(read));
    } while (read.skip(','));
  }
  read.end();
  return { name: publication, owner, operations, viaRoot, generatedColumns, tables, schemas, allTables };
}

function readPublishedTable(read: LineReader): DesiredPublishedTable {
  const table = read.qualified();
  let columns: string[] | undefined;
  if (read.skip('COLUMNS')) {
    columns = [read.name()];
    while (read.isName()) columns.push(read.name());
  }
  const where = read.skip('WHERE') ? read.literal() : undefined;
  return { ...table, columns, where, identity: read.skip('IDENTITY') ? readIdentity(read) : undefined };
}

function readIdentity(read: LineReader): ReplicaIdentity {
  const word = read.choice('DEFAULT', 'FULL', 'INDEX');
  if (word === 'INDEX') return { kind: 'index', index: read.name() };
  return { kind: word === 'FULL' ? 'full' : 'default' };
}

export function writeSubscription(s: DesiredSubscription): string {
  const options = SUBSCRIPTION_OPTIONS.flatMap((option) =>
    s.options[option] === undefined ? [] : [`${option} = ${literal(s.options[option])}`],
  );
  const slot = s.slot === undefined ? '' : ` SLOT ${name(s.slot)}`;
  return `${name(s.name)} OWNER ${name(s.owner)} FROM ${literal(s.secret)} PUBLICATIONS ${[...s.publications].sort().map(name).join(', ')}${slot}${s.enabled ? '' : ' DISABLED'}${options.length === 0 ? '' : ` WITH ${options.join(', ')}`}`;
}

export function readSubscription(line: string): DesiredSubscription {
  const read = new LineReader(line);
  const subscription = read.name();
  read.expect('OWNER');
  const owner = read.name();
  read.expect('FROM');
  const secret = read.literal();
  read.expect('PUBLICATIONS');
  const publications = read.names();
  const slot = read.skip('SLOT') ? read.name() : undefined;
  const enabled = !read.skip('DISABLED');
  const options: Partial<Record<SubscriptionOption, string>> = {};
  if (read.skip('WITH')) {
    do {
      const option = read.choice(...SUBSCRIPTION_OPTIONS);
      read.expect('=');
      options[option] = read.literal();
    } while (read.skip(','));
  }
  read.end();
  return { name: subscription, owner, secret, publications, slot, enabled, options };
}

export function writeSlot(s: DesiredSlot): string {
  return `${name(s.name)} PLUGIN ${name(s.plugin)} FOR ${name(s.consumer)}${s.failover ? ' FAILOVER' : ''}${s.twoPhase ? ' TWO PHASE' : ''}`;
}

export function readSlot(line: string): DesiredSlot {
  const read = new LineReader(line);
  const slot = read.name();
  read.expect('PLUGIN');
  const plugin = read.name();
  read.expect('FOR');
  const consumer = read.name();
  const failover = read.skip('FAILOVER');
  const twoPhase = read.skip('TWO') && (read.expect('PHASE'), true);
  read.end();
  return { name: slot, plugin, consumer, failover, twoPhase };
}

/** A character that begins no token is one of its own, so that it is seen. */
const TOKENS = /"(?:[^"]|"")*"|'(?:[^']|'')*'|-?[A-Za-z0-9_$]+|\S/g;
const STRAY = /^[^A-Za-z0-9_$,.=]$/;

class LineReader {
  private readonly tokens: readonly string[];
  private at = 0;

  constructor(private readonly line: string) {
    this.tokens = line.match(TOKENS) ?? [];
    if (this.tokens.some((token) => token.length === 1 && STRAY.test(token))) throw this.error('it cannot be read');
  }

  error(problem: string): Error {
    return new Error(`the line ${JSON.stringify(this.line)} is not valid: ${problem}`);
  }

  private next(wanted: string): string {
    const token = this.tokens[this.at++];
    if (token === undefined) throw this.error(`it ends where ${wanted} should stand`);
    return token;
  }

  name(): string {
    const token = this.next('a name');
    if (token.startsWith('"')) return token.slice(1, -1).replace(/""/g, '"');
    if (!isPlainName(token)) throw this.error(`a name should stand where ${token} does`);
    return token;
  }

  names(): string[] {
    const names = [this.name()];
    while (this.skip(',')) names.push(this.name());
    return names;
  }

  /** Whether a name comes next; a word in capital letters is none. */
  isName(): boolean {
    const token = this.tokens[this.at];
    return token !== undefined && (token.startsWith('"') || isPlainName(token));
  }

  inDatabase(): { database: string; name: string } {
    const { schema, name } = this.qualified();
    return { database: schema, name };
  }

  qualified(): { schema: string; name: string } {
    const schema = this.name();
    this.expect('.');
    return { schema, name: this.name() };
  }

  literal(): string {
    const token = this.next('a value in single quotes');
    if (!token.startsWith("'")) throw this.error(`a value in single quotes should stand where ${token} does`);
    return token.slice(1, -1).replace(/''/g, "'");
  }

  integer(): number {
    const token = this.next('a whole number');
    if (!/^-?\d{1,9}$/.test(token)) throw this.error(`a whole number should stand where ${token} does`);
    return Number(token);
  }

  flag(): boolean {
    return this.choice('TRUE', 'FALSE') === 'TRUE';
  }

  skip(word: string): boolean {
    if (this.tokens[this.at] !== word) return false;
    this.at++;
    return true;
  }

  expect(...words: string[]): void {
    for (const word of words) this.choice(word);
  }

  choice<T extends string>(...words: T[]): T {
    const token = this.next(words.join(' or '));
    if (!(words as string[]).includes(token))
      throw this.error(`${words.join(' or ')} should stand where ${token} does`);
    return token as T;
  }

  words(): string[] {
    const words = [this.next('a privilege')];
    while (this.skip(',')) words.push(this.next('a privilege'));
    return words;
  }

  privileges(words: string[], on: keyof typeof OBJECT_KIND_OF): Privilege[] {
    const allowed: readonly string[] = PRIVILEGES[OBJECT_KIND_OF[on]];
    for (const word of words) {
      if (!allowed.includes(word)) {
        throw this.error(`${word} is not a privilege of a ${OBJECT_KIND_OF[on]}; there are ${allowed.join(', ')}`);
      }
    }
    return words as Privilege[];
  }

  end(): void {
    if (this.at < this.tokens.length) throw this.error(`nothing should stand where ${this.tokens[this.at]} does`);
  }
}
