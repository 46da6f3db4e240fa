import { CommentTarget, DesiredState } from '../../contract';
import { Connections } from './connections';
import { hash } from './sql';

/** Comments tell readers of \du, \l and \dn what an object is for and who manages it. */

export function commentKey(on: CommentTarget): string {
  return JSON.stringify([on.kind, on.kind === 'schema' ? on.database : '', on.name]);
}

/** What stands at the end of each comment that this library makes, so that it knows its own. */
export function signature(stateName: string): string {
  return ` (cdk-postgres: ${stateName})`;
}

const ON_SERVER = `
  SELECT 'role' AS kind, r.rolname AS name, c.description AS text FROM pg_roles r JOIN pg_shdescription c ON c.objoid = r.oid AND c.classoid = 'pg_authid'::regclass
    WHERE r.rolname = ANY($1)
  UNION ALL
  SELECT 'database', d.datname, c.description FROM pg_database d JOIN pg_shdescription c ON c.objoid = d.oid AND c.classoid = 'pg_database'::regclass
    WHERE d.datname = ANY($2)`;

const ON_SCHEMAS = `
  SELECT n.nspname AS name, c.description AS text FROM pg_namespace n
  JOIN pg_description c ON c.objoid = n.oid AND c.classoid = 'pg_namespace'::regclass AND c.objsubid = 0
  WHERE n.nspname = ANY($1)`;

/** The comments on what `targets` names, as far as it has any and can be looked at. */
export async function observeComments(
  connections: Connections,
  targets: readonly CommentTarget[],
  reachable: (database: string) => boolean,
): Promise<ReadonlyMap<string, string> | undefined> {
  if (targets.length === 0) return undefined;
  const found = new Map<string, string>();
  const names = (kind: CommentTarget['kind']) => targets.filter((on) => on.kind === kind).map((on) => on.name);
  if (names('role').length + names('database').length > 0) {
    const admin = await connections.admin();
    const rows = await admin.read<{ kind: 'role' | 'database'; name: string; text: string }>(ON_SERVER, [
      names('role'),
      names('database'),
    ]);
    for (const { kind, name, text } of rows) found.set(commentKey({ kind, name }), text);
  }
  const schemas = new Map<string, string[]>();
  for (const on of targets)
    if (on.kind === 'schema') schemas.set(on.database, [...(schemas.get(on.database) ?? []), on.name]);
  for (const [database, wanted] of schemas) {
    if (!reachable(database)) continue;
    const rows = await (await connections.in(database)).read<{ name: string; text: string }>(ON_SCHEMAS, [wanted]);
    for (const { name, text } of rows) found.set(commentKey({ kind: 'schema', database, name }), text);
  }
  return found;
}

/** For the fingerprint: the declared objects' comments, as one text. */
export async function commentFingerprint(connections: Connections, desired: DesiredState): Promise<string[]> {
  const databases = new Set(desired.databases.map(({ name }) => name));
  const targets = desired.comments.map(({ on }) => on);
  const found = await observeComments(connections, targets, (database) => databases.has(database));
  return found === undefined ? [] : [hash([...found].sort())];
}
