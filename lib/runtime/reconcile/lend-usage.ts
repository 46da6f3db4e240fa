import { DesiredDatabase } from '../../contract';
import { Grantee, PUBLIC } from './observed';
import { PlanBuilder } from './plan-builder';
import { DATABASE_OWNER_ROLE, reachable } from './power';
import { Entrance } from './replication';
import { ident } from './sql';
import { Statement } from './types';

/** The statements with USAGE on the schema for `role` while they run: an owner who may not enter it cannot name what it owns there. */
export function lendUsage(
  builder: PlanBuilder,
  database: DesiredDatabase,
  role: string,
  schema: string | undefined,
  statements: Statement[] | undefined,
  /** Of a schema that is not declared; of no other is more known. */
  undeclared?: Entrance,
): Statement[] | undefined {
  if (!statements || schema === undefined || mayEnter(builder, database, role, schema, undeclared)) return statements;
  const { power, observed } = builder;
  const target = `USAGE ON SCHEMA ${ident(schema)}`;
  const owner = observed.inside.get(database.name)?.schemas.get(schema)?.owner ?? undeclared!.owner;
  const asOwner = (sql: string) =>
    power.actAs(owner, [{ sql }], observed.databases.get(database.name)?.owner ?? database.owner);
  const before = asOwner(`GRANT ${target} TO ${ident(role)}`);
  const after = asOwner(`REVOKE ${target} FROM ${ident(role)}`);
  return before && after && [...before, ...statements, ...after];
}

function mayEnter(
  builder: PlanBuilder,
  database: DesiredDatabase,
  role: string,
  schema: string,
  undeclared: Entrance | undefined,
): boolean {
  const { roles, memberships, inside, databases } = builder.observed;
  const declared = inside.get(database.name)?.schemas.get(schema);
  const users = declared
    ? declared.acl.filter(({ privilege }) => privilege === 'USAGE').map(({ grantee }) => grantee)
    : undeclared?.users;
  if (!users || roles.get(role)?.superuser || builder.power.looksOnly) return true;
  const names = new Set<Grantee>([PUBLIC, role, ...reachable(memberships, role, (m) => m.inherit)]);
  if (role === (databases.get(database.name)?.owner ?? database.owner)) names.add(DATABASE_OWNER_ROLE);
  return (
    users.some((user) => names.has(user)) ||
    database.grants.some(
      ({ on, to, privileges }) =>
        on.kind === 'schema' && on.schema === schema && names.has(to) && privileges.includes('USAGE'),
    )
  );
}
