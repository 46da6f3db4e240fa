import * as fc from 'fast-check';

/** The names of the random stories, and what their generators are made of. Names are few, so that stories often speak of the same thing. */

/** One thing that somebody does by hand. It may fail, since nobody has looked whether it can be done: then nothing has changed. */
export interface HandStep {
  readonly database: string;
  /** Who does it; absent: the superuser. */
  readonly as?: string;
  readonly sql: string;
}

export const OWNERS = ['own_a', 'own_b'] as const;
export const MEMBERS = ['role_a', 'role_b', 'role_c', 'role_d'] as const;
/** Never declared. */
export const OTHERS = ['other_a', 'other_b'] as const;
/** Never declared; each may hand out roles that it was given to administer. */
export const ADMINS = ['admin_a', 'admin_b'] as const;
export const DECLARABLE = [...OWNERS, ...MEMBERS] as const;
export const ANYBODY = [...DECLARABLE, ...OTHERS, ...ADMINS] as const;
export const DATABASES = ['app', 'more'] as const;
/** Never declared. */
export const OTHER_DATABASE = 'elsewhere';
export const SCHEMAS = ['sales', 'stock'] as const;
/** Never declared. */
export const OTHER_SCHEMA = 'private';

export const oneOf = <T>(items: readonly T[]) => fc.constantFrom(...items);
export const rarely = (weight = 8) => fc.integer({ min: 1, max: weight }).map((n) => n === 1);
export const mostly = (weight = 8) => rarely(weight).map((value) => !value);
export const some = <T>(items: readonly T[]) => fc.subarray([...items], { minLength: 1 });
/** One of several arbitraries, each with how often it is meant. */
export const weighted = <T>(...choices: readonly (readonly [number, fc.Arbitrary<T>])[]) =>
  fc.oneof(...choices.map(([weight, arbitrary]) => ({ weight, arbitrary })));

export const quoted = (grantee: string) => (grantee === 'PUBLIC' ? grantee : `"${grantee}"`);
export const step = (sql: string, as?: string, database = 'postgres'): HandStep => ({ database, as, sql });
