import { DesiredIsolation } from '../../contract';
import {
  isAllTenantsPolicy,
  isTenantPolicy,
  observes,
  policyNames,
  readTenantPolicy,
} from '../reconcile/isolation-policies';
import { Grantee, PUBLIC } from '../reconcile/observed';
import { reachable } from '../reconcile/power';
import { Session } from '../reconcile/session';

/** Row security of a table that is under it. */
export interface SecuredTable {
  readonly owner: string;
  /** It binds the owner too. */
  readonly forced: boolean;
  readonly policies: readonly SecuringPolicy[];
  /** Of a declaration alone: only tables with this column are under it. */
  readonly column?: string;
}

export interface SecuringPolicy {
  readonly name: string;
  readonly permissive: boolean;
  readonly roles: readonly Grantee[];
  /** The setting with the tenant, of a policy of this library. */
  readonly setting?: string;
}

/** What row security makes of a privilege on rows. */
export interface RowSecurity {
  /** `tenant`: the rows of the tenant in `setting`; `policies`: what these let through; `none`: no policy lets a row through. */
  readonly rows: 'tenant' | 'all' | 'policies' | 'none';
  readonly setting?: string;
  readonly policies?: readonly string[];
  /** It lets everything through for now, and counts whether the tenant was set. */
  readonly observed?: true;
  /** Of how many tables. */
  readonly count: number;
  /** Of a declaration alone: of those tables that have this column. */
  readonly column?: string;
}

/** By schema, then by table. */
export type SecuredTables = ReadonlyMap<string, ReadonlyMap<string, SecuredTable>>;

export async function observeSecuredTables(session: Session): Promise<SecuredTables> {
  const rows = await session.read<{
    schema: string;
    name: string;
    owner: string;
    forced: boolean;
    policies: (SecuringPolicy & { using: string | null })[] | null;
  }>(
    `SELECT n.nspname AS schema, c.relname AS name, pg_get_userbyid(c.relowner) AS owner, c.relforcerowsecurity AS forced,
            (SELECT json_agg(json_build_object('name', p.polname, 'permissive', p.polpermissive, 'using', pg_get_expr(p.polqual, p.polrelid),
                      'roles', ARRAY(SELECT CASE WHEN r <> 0 THEN pg_get_userbyid(r) END FROM unnest(p.polroles) AS r)) ORDER BY p.polname)
             FROM pg_policy p WHERE p.polrelid = c.oid) AS policies
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relrowsecurity`,
  );
  const secured = new Map<string, Map<string, SecuredTable>>();
  // Many tables share the same policies: they are looked at once.
  const known = new Map<string, SecuredTable>();
  for (const { schema, name, owner, forced, policies } of rows) {
    const key = JSON.stringify([owner, forced, policies]);
    const table = known.get(key) ?? {
      owner,
      forced,
      policies: (policies ?? []).map(({ using, ...policy }) => ({
        ...policy,
        ...(isTenantPolicy(policy) ? { setting: readTenantPolicy(using)?.setting } : {}),
      })),
    };
    known.set(key, table);
    secured.set(schema, (secured.get(schema) ?? new Map<string, SecuredTable>()).set(name, table));
  }
  return secured;
}

/** What every table of a schema will be under that has the column. */
export function declaredSecurity(isolation: DesiredIsolation, owner: string): SecuredTable | undefined {
  if (isolation.stage === 'prepared') return undefined;
  return {
    owner,
    forced: isolation.stage === 'enforced',
    column: isolation.column,
    policies: policyNames(isolation).map(({ name, permissive, roles }) => ({
      name,
      permissive,
      roles,
      ...(isTenantPolicy({ name }) ? { setting: isolation.setting } : {}),
    })),
  };
}

/** What a role comes to, by the policies that are for it; which commands each is for is left out. */
export class RowSecurityJudge {
  private readonly groups = new Map<string, ReadonlySet<string>>();

  constructor(
    private readonly facts: {
      readonly roles: ReadonlyMap<string, { readonly bypassRls: boolean }>;
      readonly memberships: Parameters<typeof reachable>[0];
    },
  ) {}

  of(role: string, tables: ReadonlyMap<SecuredTable, number>): RowSecurity[] {
    const found = new Map<string, RowSecurity>();
    for (const [table, count] of tables) {
      const verdict = { ...this.verdict(role, table), ...(table.column === undefined ? {} : { column: table.column }) };
      const key = JSON.stringify(verdict);
      found.set(key, { ...verdict, count: count + (found.get(key)?.count ?? 0) });
    }
    return [...found.values()];
  }

  private verdict(role: string, table: SecuredTable): Omit<RowSecurity, 'count'> {
    const has = this.groupsOf(role);
    if (this.facts.roles.get(role)?.bypassRls || (!table.forced && has.has(table.owner))) return { rows: 'all' };
    const policies = table.policies.filter(({ roles }) => roles.some((each) => each === PUBLIC || has.has(each)));
    const observing = table.policies.some(observes);
    const others = policies.filter(
      (policy) => !observes(policy) && !isAllTenantsPolicy(policy) && policy.setting === undefined,
    );
    const permissive = policies.filter((policy) => policy.permissive);
    if (permissive.length === 0) return { rows: 'none' };
    if (others.length > 0) return { rows: 'policies', policies: policies.map(({ name }) => name) };
    const setting = permissive.find((policy) => policy.setting !== undefined)?.setting;
    if (observing) return { rows: 'all', ...(setting === undefined ? {} : { setting }), observed: true };
    if (permissive.some(isAllTenantsPolicy)) return { rows: 'all' };
    return { rows: 'tenant', setting };
  }

  private groupsOf(role: string): ReadonlySet<string> {
    const known = this.groups.get(role) ?? reachable(this.facts.memberships, role, (m) => m.inherit).add(role);
    this.groups.set(role, known);
    return known;
  }
}
