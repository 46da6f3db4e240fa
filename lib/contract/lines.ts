import {
  DesiredDefaultPrivilege,
  DesiredGrant,
  DesiredMembership,
  DesiredRole,
  DesiredSetting,
  GrantTarget,
  OBJECT_KIND_OF,
  Privilege,
  PRIVILEGES,
} from './desired-state';
import { isPlainName } from './names';

/**
 * Roles, memberships, settings, grants and default privileges travel as lines of text, because `cdk diff` shows a changed
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
  if (!role.inherit) words.push('NOINHERIT');
  if (role.createDatabase) words.push('CREATEDB');
  if (role.createRole) words.push('CREATEROLE');
  if (role.connectionLimit !== undefined) words.push(`CONNECTION LIMIT ${role.connectionLimit}`);
  if (role.validUntil !== undefined) words.push(`VALID UNTIL ${literal(role.validUntil)}`);
  return words.join(' ');
}

export function readRole(line: string): DesiredRole {
  const read = new LineReader(line);
  const role = { name: read.name(), login: read.choice('LOGIN', 'NOLOGIN') === 'LOGIN' };
  const authentication = read.skip('PASSWORD') ? 'password' : read.skip('IAM') ? 'iam' : 'none';
  const inherit = !read.skip('NOINHERIT');
  const createDatabase = read.skip('CREATEDB');
  const createRole = read.skip('CREATEROLE');
  const connectionLimit = read.skip('CONNECTION') ? (read.expect('LIMIT'), read.integer()) : undefined;
  const validUntil = read.skip('VALID') ? (read.expect('UNTIL'), read.literal()) : undefined;
  read.end();
  if (connectionLimit !== undefined && connectionLimit < -1)
    throw read.error('CONNECTION LIMIT is a number from 0 on, or -1 for none');
  if (validUntil !== undefined && !isMoment(validUntil))
    throw read.error('VALID UNTIL is infinity, or a moment in UTC such as 2030-01-01T00:00:00Z');
  if (!role.login && authentication !== 'none') throw read.error('a role without LOGIN cannot have an authentication');
  return { ...role, authentication, inherit, createDatabase, createRole, connectionLimit, validUntil };
}

/** In UTC and complete: PostgreSQL would read anything less in the time zone of the session. */
function isMoment(text: string): boolean {
  const isUtc = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/.test(text);
  return text === 'infinity' || (isUtc && !Number.isNaN(Date.parse(text)));
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

const TOKEN = /\s*(?:("(?:[^"]|"")*")|('(?:[^']|'')*')|(-?[A-Za-z0-9_$]+)|([,.=]))/y;

class LineReader {
  private readonly tokens: string[] = [];
  private at = 0;

  constructor(private readonly line: string) {
    TOKEN.lastIndex = 0;
    const end = line.trimEnd().length;
    while (TOKEN.lastIndex < end) {
      const match = TOKEN.exec(line);
      if (!match) throw this.error('it cannot be read');
      this.tokens.push(match[1] ?? match[2] ?? match[3] ?? match[4]);
    }
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
