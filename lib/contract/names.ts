/** The longest name PostgreSQL keeps, in bytes of UTF-8; it silently truncates a longer one (NAMEDATALEN - 1). */
export const MAX_NAME_BYTES = 63;

export type NameKind = 'role' | 'database' | 'schema' | 'object';

/** The role of pgaudit on Amazon RDS. The server takes no other name for it, and leaves it to its administrator to create it. */
export const AUDIT_ROLE = 'rds_pgaudit';

const RESERVED_ROLES = new Set(['public', 'none', 'current_user', 'session_user', 'current_role', 'user']);
const RESERVED_DATABASES = new Set(['template0', 'template1', 'rdsadmin']);
const RESERVED_SCHEMAS = new Set(['information_schema', 'cdk_postgres', 'cdk_postgres_tenants']);

/**
 * What is wrong with a name that a declaration wants to create or manage, in words that continue "… cannot be managed: it".
 * Undefined: nothing. The same rule holds at synth, where a literal is known, and at run time, where a token has become one.
 */
export function nameProblem(kind: NameKind, name: string): string | undefined {
  if (name.length === 0) return 'is empty';
  if (name.includes('\0')) return 'contains a NUL character';
  if (/\p{Surrogate}/u.test(name)) return 'is not valid Unicode (a lone surrogate)';
  const bytes = Buffer.byteLength(name);
  if (bytes > MAX_NAME_BYTES) {
    return `is ${bytes} bytes long in UTF-8; PostgreSQL keeps ${MAX_NAME_BYTES} and would cut the rest off silently`;
  }
  const lower = name.toLowerCase();
  if (kind === 'role') {
    if (lower.startsWith('pg_')) return 'starts with "pg_", which PostgreSQL reserves for predefined roles';
    if (lower.startsWith('rds') && name !== AUDIT_ROLE)
      return 'starts with "rds", which Amazon RDS reserves for its own roles';
    if (RESERVED_ROLES.has(lower)) return 'is a reserved word for roles';
  }
  if (kind === 'database' && RESERVED_DATABASES.has(lower)) return 'is a database that belongs to the server itself';
  if (kind === 'schema') {
    if (lower.startsWith('pg_')) return 'starts with "pg_", which PostgreSQL reserves for system schemas';
    if (RESERVED_SCHEMAS.has(lower)) return 'is a schema that belongs to the server or to this library';
  }
  return undefined;
}

/** True for a name that PostgreSQL folds to itself, so that psql users can type it without quotes (keywords aside). */
export function isPlainName(name: string): boolean {
  return /^[a-z_][a-z0-9_$]*$/.test(name);
}

/** A role that the server brings along: it can be a group in a membership, and is never created, changed or dropped. */
export function isServerRole(name: string): boolean {
  return name.startsWith('pg_') || (name.startsWith('rds') && name !== AUDIT_ROLE);
}

/** The logins that take turns in the secret of a group, the first of them first. */
export function turnsOf(group: string): readonly string[] {
  return [`${group}_1`, `${group}_2`];
}
