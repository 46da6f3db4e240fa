import { CommentTarget, DesiredState, isServerRole } from '../../contract';
import { commentKey, signature } from './comments';
import { Phase, PlanBuilder } from './plan-builder';
import { DATABASE_OWNER_ROLE } from './power';
import { Previous } from './previous';
import { ident, literal } from './sql';
import { Statement } from './types';

/**
 * A comment is written where there is none, or one of ours. Another one is somebody's word: to write over it takes something away,
 * and it never goes because a description does.
 */
export function planComments(builder: PlanBuilder, previous: Previous): void {
  const { desired, observed } = builder;
  const declared = new Set(desired.comments.map(({ on }) => commentKey(on)));
  const ours = signature(desired.name);
  // What another state's signature says on a copy of its server is ours to change.
  const isOurs = (text: string) => text.endsWith(ours) || (builder.rehomed && / \(cdk-postgres: .*\)$/s.test(text));
  for (const { on, text } of desired.comments) {
    const wanted = `${text}${ours}`;
    const current = observed.comments?.get(commentKey(on));
    if (current === wanted || !isDeclared(desired, on)) continue;
    const foreign = current !== undefined && !isOurs(current);
    builder.add({
      ...place(on),
      risk: foreign ? 'narrow' : 'add',
      object: `comment on ${describe(on)}`,
      reason:
        current === undefined
          ? 'declared, and not there'
          : `it is ${JSON.stringify(shortened(current))}${foreign ? ', which somebody else wrote' : ''}`,
      statements: statements(builder, on, literal(wanted)),
      subjects: [{ ...on }],
    });
  }
  for (const { on } of previous.comments) {
    const current = observed.comments?.get(commentKey(on));
    if (declared.has(commentKey(on)) || current === undefined || !isOurs(current) || !isDeclared(desired, on)) continue;
    builder.add({
      ...place(on),
      risk: 'narrow',
      object: `comment on ${describe(on)}`,
      reason: 'not declared any more',
      statements: statements(builder, on, 'NULL'),
      subjects: [{ ...on }],
      declaredBefore: true,
    });
  }
}

/** With what else is done in the same database, so that it shares its transaction. */
function place(on: CommentTarget): { phase: Phase; database?: string } {
  return on.kind === 'schema' ? { phase: 'comments', database: on.database } : { phase: 'databases' };
}

function isDeclared(desired: DesiredState, on: CommentTarget): boolean {
  if (on.kind === 'role') return desired.roles.some(({ name }) => name === on.name);
  const database = desired.databases.find(({ name }) => name === (on.kind === 'schema' ? on.database : on.name));
  return database !== undefined && (on.kind === 'database' || database.schemas.some(({ name }) => name === on.name));
}

function statements(builder: PlanBuilder, on: CommentTarget, text: string): Statement[] | undefined {
  const { power, observed, desired } = builder;
  const sql = `COMMENT ON ${on.kind.toUpperCase()} ${ident(on.name)} IS ${text}`;
  if (on.kind === 'role') {
    const isSuperuser = observed.roles.get(on.name)?.superuser ?? false;
    const may = power.superuser || power.looksOnly || (!isSuperuser && !isServerRole(on.name) && power.alters(on.name));
    return may ? [{ sql }] : undefined;
  }
  const database = desired.databases.find(({ name }) => name === (on.kind === 'schema' ? on.database : on.name))!;
  const databaseOwner = observed.databases.get(database.name)?.owner ?? database.owner;
  if (on.kind !== 'schema') return power.actAs(databaseOwner, [{ sql }]);
  const owner =
    observed.inside.get(on.database)?.schemas.get(on.name)?.owner ??
    (on.name === 'public' ? DATABASE_OWNER_ROLE : database.schemas.find(({ name }) => name === on.name)!.owner);
  return power.actAs(owner, [{ sql }], databaseOwner);
}

function describe(on: CommentTarget): string {
  return `${on.kind} ${on.name}`;
}

function shortened(text: string): string {
  return text.length > 100 ? `${text.slice(0, 100)}…` : text;
}
