import { createHash } from 'node:crypto';
import { escapeIdentifier, escapeLiteral } from 'pg';
import { MAX_NAME_BYTES } from '../../contract';

/** The one place where a name becomes SQL. Refuses what PostgreSQL would cut off or cannot store. */
export function ident(name: string): string {
  if (name.length === 0 || name.includes('\0') || Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new Error(
      `${JSON.stringify(name)} cannot be a PostgreSQL name: it is empty, has a NUL or is over ${MAX_NAME_BYTES} bytes`,
    );
  }
  return escapeIdentifier(name);
}

export function qualified(schema: string, name: string): string {
  return `${ident(schema)}.${ident(name)}`;
}

/** The one place where a value becomes SQL. */
export function literal(value: string): string {
  if (value.includes('\0')) throw new Error(`${JSON.stringify(value)} cannot be a PostgreSQL value: it has a NUL`);
  return escapeLiteral(value).trim();
}

/** Stands at the end of a password statement, in the place of the verifier. */
export const VERIFIER_PLACEHOLDER = "'SCRAM-SHA-256$…'";

export function hash(value: unknown, length = 64): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, length);
}

/** Splits a list so that no statement grows beyond what is pleasant to log and to parse. */
export function chunks<T>(items: readonly T[], size = 500): T[][] {
  const result: T[][] = [];
  for (let at = 0; at < items.length; at += size) result.push(items.slice(at, at + size));
  return result;
}

/** The rows of a query as one number, whatever their order; a sum, since equal rows would cancel each other out in an XOR. */
export const sum = (query: string) => `(SELECT coalesce(sum(hashtextextended(r::text, 0)), 0) FROM (${query}) AS r)`;
