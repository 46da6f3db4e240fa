import { DesiredIsolation, TenantType } from '../../contract';
import { Grantee, ObservedIsolatedTable, ObservedPolicy, PUBLIC } from './observed';
import { hash, ident, literal, qualified } from './sql';

/** What a policy of this library starts with; all others are somebody else's. */
const PREFIX = 'cdk_postgres_';
/** Where the functions are that count. A schema of their own, so that no grant on the application's routines speaks of them. */
export const COUNTING_SCHEMA = 'cdk_postgres_tenants';
const OBSERVE_PREFIX = `${PREFIX}observe_`;

/** The types that a column may have, as PostgreSQL prints them without their length; the first one is what the tenant is cast to. */
export const COLUMN_TYPES: Readonly<Record<TenantType, readonly string[]>> = {
  uuid: ['uuid'],
  text: ['text', 'character varying'],
  integer: ['integer'],
  bigint: ['bigint'],
};

/** A policy as it is to be, with what the server prints of it afterwards. */
export interface WantedPolicy {
  readonly name: string;
  readonly permissive: boolean;
  readonly roles: readonly Grantee[];
  readonly using: string;
  readonly check?: string;
  readonly printed: { readonly using: string; readonly check: string | null };
}

const TENANT_POLICY = `${PREFIX}tenant`;
export const isTenantPolicy = (policy: Pick<ObservedPolicy, 'name'>) => policy.name === TENANT_POLICY;
const ALL_TENANTS_POLICY = `${PREFIX}all_tenants`;
export const isAllTenantsPolicy = (policy: Pick<ObservedPolicy, 'name'>) => policy.name === ALL_TENANTS_POLICY;
export const isOurs = (policy: ObservedPolicy) => policy.name.startsWith(PREFIX);
export const observes = (policy: Pick<ObservedPolicy, 'name'>) => policy.name.startsWith(OBSERVE_PREFIX);

/** What each of these functions is. */
export const COUNTER = { body: 'BEGIN RETURN true; END', attributes: 'LANGUAGE plpgsql STABLE PARALLEL SAFE' } as const;

/** The functions that count for one role in one schema; they do nothing else, and the server counts calls by itself. */
export function counters(schema: string, role: string): { set: string; missing: string } {
  const key = hash([schema, role], 12);
  return { set: `set_${key}`, missing: `missing_${key}` };
}

/**
 * The policies that let a tenant's rows through, which are there at each stage.
 *
 * The tenant is read in a subquery, once for a statement: as a bare expression a sequential scan would read and cast it for every row.
 * A setting that was local to an earlier transaction is '' and not NULL, which no cast but that to text takes (reconciler case 82).
 */
export function tenantPolicies(isolation: DesiredIsolation, table: ObservedIsolatedTable): WantedPolicy[] {
  const [type] = COLUMN_TYPES[isolation.type];
  const tenant = tenantOf(isolation);
  const using = `${ident(isolation.column)} = (SELECT ${type === 'text' ? tenant : `${tenant}::${type}`})`;
  const column = table.columnType === 'character varying' ? `(${table.quotedColumn})::text` : table.quotedColumn;
  const value = type === 'text' ? printedTenant(isolation) : `(${printedTenant(isolation)})::${type}`;
  const printed = `(${column} = ( SELECT ${value} AS "nullif"))`;
  const ofTenant: WantedPolicy = {
    name: TENANT_POLICY,
    permissive: true,
    roles: [...isolation.roles].sort(),
    using,
    check: using,
    printed: { using: printed, check: printed },
  };
  if (isolation.allTenants.length === 0) return [ofTenant];
  return [ofTenant, open(ALL_TENANTS_POLICY, [...isolation.allTenants].sort())];
}

/** What the printed condition of a tenant's policy says, the other way round; absent where somebody else wrote it. */
export function readTenantPolicy(
  using: string | null,
): { column: string; type: TenantType; setting: string } | undefined {
  const tenant = String.raw`NULLIF\(current_setting\('([^']+)'::text, true\), ''::text\)`;
  const pattern = new RegExp(
    String.raw`^\((?:\((.+)\)::text|(.+)) = \( SELECT (?:${tenant}|\(${tenant}\)::(uuid|integer|bigint)) AS "nullif"\)\)$`,
  );
  const match = pattern.exec(using?.replace(/\s+/g, ' ') ?? '');
  if (!match) return undefined;
  const column = match[1] ?? match[2];
  return {
    column: column.startsWith('"') ? column.slice(1, -1).replaceAll('""', '"') : column,
    type: (match[5] as TenantType | undefined) ?? 'text',
    setting: match[3] ?? match[4],
  };
}

/**
 * Policies that let everything through, as without row security, and count whether the roles set the tenant: a restrictive policy for
 * each role calls one of two functions once for a statement, beside a permissive one for everybody.
 */
export function observingPolicies(isolation: DesiredIsolation): WantedPolicy[] {
  const counting = [...isolation.roles].sort().map((role): WantedPolicy => {
    const { set, missing } = counters(isolation.schema, role);
    const call = (name: string) => `${qualified(COUNTING_SCHEMA, name)}()`;
    const printed = (name: string) => `${COUNTING_SCHEMA}.${name}()`;
    return {
      name: `${OBSERVE_PREFIX}${set.slice('set_'.length)}`,
      permissive: false,
      roles: [role],
      using: `(SELECT CASE WHEN ${tenantOf(isolation)} IS NULL THEN ${call(missing)} ELSE ${call(set)} END)`,
      printed: {
        using: `( SELECT CASE WHEN (${printedTenant(isolation)} IS NULL) THEN ${printed(missing)} ELSE ${printed(set)} END AS ${set})`,
        check: null,
      },
    };
  });
  return [open(`${OBSERVE_PREFIX}open`, [PUBLIC]), ...counting];
}

/** All of them by their names and roles, as at a stage; what a table's own form of the column is does not matter. */
export function policyNames(isolation: DesiredIsolation): Pick<WantedPolicy, 'name' | 'permissive' | 'roles'>[] {
  const table = { columnType: isolation.type, quotedColumn: ident(isolation.column) } as ObservedIsolatedTable;
  return [...tenantPolicies(isolation, table), ...(isolation.stage === 'observed' ? observingPolicies(isolation) : [])];
}

function open(name: string, roles: readonly Grantee[]): WantedPolicy {
  return {
    name,
    permissive: true,
    roles,
    using: 'true',
    check: 'true',
    printed: { using: 'true', check: 'true' },
  };
}

const tenantOf = ({ setting }: DesiredIsolation) => `nullif(current_setting(${literal(setting)}, true), '')`;
const printedTenant = ({ setting }: DesiredIsolation) =>
  `NULLIF(current_setting(${literal(setting)}::text, true), ''::text)`;

/**
 * Compares with what the server prints of its own form of an expression, never with the text that made it (reconciler case 86). All
 * expressions are ours, so their printed forms are known; `isolation.test.ts` holds them against each version.
 */
export function isAsWanted(policy: ObservedPolicy, wanted: WantedPolicy): boolean {
  const flat = (text: string | null) => text?.replace(/\s+/g, ' ') ?? null;
  const names = (roles: readonly Grantee[]) => JSON.stringify([...roles].sort());
  return (
    policy.permissive === wanted.permissive &&
    policy.command === '*' &&
    names(policy.roles) === names(wanted.roles) &&
    flat(policy.using) === wanted.printed.using &&
    flat(policy.check) === wanted.printed.check
  );
}

export function createPolicy(table: ObservedIsolatedTable, policy: WantedPolicy): string {
  const to = policy.roles.map((role) => (role === PUBLIC ? 'PUBLIC' : ident(role))).join(', ');
  const kind = policy.permissive ? '' : ' AS RESTRICTIVE';
  const check = policy.check === undefined ? '' : ` WITH CHECK (${policy.check})`;
  return `CREATE POLICY ${ident(policy.name)} ON ${qualified(table.schema, table.name)}${kind} TO ${to} USING (${policy.using})${check}`;
}

export function dropPolicy(table: ObservedIsolatedTable, name: string): string {
  return `DROP POLICY ${ident(name)} ON ${qualified(table.schema, table.name)}`;
}
