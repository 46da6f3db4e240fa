import { DesiredDatabase } from '../../contract';
import { Grantee, PUBLIC } from './observed';
import { PlanBuilder } from './plan-builder';
import { DATABASE_OWNER_ROLE, reachable } from './power';
import { ident } from './sql';
import { Statement } from './types';

/** The statements with USAGE on the schema for `role` while they run: an owner who may not enter it cannot name what it owns there. */
export function lendUsage(
  builder: PlanBuilder,
  database: DesiredDatabase,
  role: string,
  schema: string | undefined,
  statements: Statement[] | undefined,
): Statement[] | undefined {
  if (!statements || schema === undefined || mayEnter(builder, database, role, schema)) return statements;
  const { power, observed } = builder;
  const target = `USAGE ON SCHEMA ${ident(schema)}`;
  const owner = observed.inside.get(database.name)!.schemas.get(schema)!.owner;
  const asOwner = (sql: string) =>
    power.actAs(owner, [{ sql }], observed.databases.get(database.name)?.owner ?? database.owner);
  const before = asOwner(`GRANT ${target} TO ${ident(role)}`);
  const after = asOwner(`REVOKE ${target} FROM ${ident(role)}`);
  return before && after && [...before, ...statements, ...after];
}

function mayEnter(builder: PlanBuilder, database: DesiredDatabase, role: string, schema: string): boolean {
  const { roles, memberships, inside, databases } = builder.observed;
  const acl = inside.get(database.name)?.schemas.get(schema)?.acl;
  if (!acl || roles.get(role)?.superuser || builder.power.looksOnly) return true;
  const names = new Set<Grantee>([PUBLIC, role, ...reachable(memberships, role, (m) => m.inherit)]);
  if (role === (databases.get(database.name)?.owner ?? database.owner)) names.add(DATABASE_OWNER_ROLE);
  return (
    acl.some((entry) => entry.privilege === 'USAGE' && names.has(entry.grantee)) ||
    database.grants.some(
      ({ on, to, privileges }) =>
        on.kind === 'schema' && on.schema === schema && names.has(to) && privileges.includes('USAGE'),
    )
  );
}
