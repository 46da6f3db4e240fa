import { DesiredDatabase } from '../../contract';
import { Observed } from './observed';
import { Power } from './power';
import { ident } from './sql';
import { Statement } from './types';

/** The statements with CREATE on the database for the first of `roles` while they run, unless one of them has it anyway. */
export function lendCreate(
  power: Power,
  observed: Pick<Observed, 'roles' | 'databases'>,
  database: DesiredDatabase,
  roles: readonly string[],
  statements: Statement[] | undefined,
): Statement[] | undefined {
  const there = observed.databases.get(database.name);
  const databaseOwner = there?.owner ?? database.owner;
  const mayCreate = (role: string) =>
    // An owner has it too unless somebody took it away.
    (role === databaseOwner && !there) ||
    observed.roles.get(role)?.superuser ||
    there?.acl.some((entry) => entry.grantee === role && entry.privilege === 'CREATE') ||
    database.grants.some(
      (grant) => grant.on.kind === 'database' && grant.to === role && grant.privileges.includes('CREATE'),
    );
  if (roles.some(mayCreate)) return statements;
  const target = `CREATE ON DATABASE ${ident(database.name)}`;
  // Where it changes hands, the step may run before or after: then as both, since whoever owns it is the one that grants.
  const asOwner = (sql: string) =>
    databaseOwner === database.owner
      ? power.actAs(databaseOwner, [{ sql }])
      : asBoth(power.inheriting(database.owner, [{ sql }]));
  const asBoth = (inner: Statement[] | undefined) => inner && power.inheriting(databaseOwner, inner);
  const before = asOwner(`GRANT ${target} TO ${ident(roles[0])}`);
  const after = asOwner(`REVOKE ${target} FROM ${ident(roles[0])}`);
  return statements && before && after && [...before, ...statements, ...after];
}
