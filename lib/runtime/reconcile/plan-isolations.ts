import { DesiredDatabase, DesiredIsolation, isServerRole, rolesWithoutRows } from '../../contract';
import {
  COLUMN_TYPES,
  COUNTER,
  COUNTING_SCHEMA,
  counters,
  createPolicy,
  dropPolicy,
  isAsWanted,
  isOurs,
  observes,
  observingPolicies,
  tenantPolicies,
  WantedPolicy,
} from './isolation-policies';
import { lendUsage } from './lend-usage';
import { Inside, ObservedBypass, ObservedIsolatedTable, ObservedIsolation, ObservedPolicy, PUBLIC } from './observed';
import { Draft, PlanBuilder, Subject } from './plan-builder';
import { reachable } from './power';
import { Previous } from './previous';
import { ident, literal, qualified } from './sql';
import { Statement } from './types';
import { membershipsAfter, powersOver, reportByHand } from './undeclared-memberships';

/** Row security by tenant (SEC-25): policies first, which have no effect before row security is on, and row security on request alone. */
export function planIsolations(builder: PlanBuilder, previous: Previous, database: DesiredDatabase): void {
  const before = previous.databases.find(({ name }) => name === database.name)?.isolations ?? [];
  for (const { schema } of before) {
    if (database.isolations.some((isolation) => isolation.schema === schema)) continue;
    builder.notes.push(
      `the tenants of the schema ${schema} of the database ${database.name} are not declared to be isolated any more: its policies and its row security stay as they are`,
    );
  }
  const inside = builder.observed.inside.get(database.name);
  const observed = inside?.isolation;
  for (const isolation of database.isolations) {
    const earlier = before.find(({ schema }) => schema === isolation.schema);
    new IsolationPlanner(builder, previous, database, isolation, earlier, observed).plan();
  }
  if (observed) planUnneededCounters(builder, database, observed);
}

/** Whether every table of the schema that has the column is under row security, the owner too, and nothing of it is only observed. */
export function isEnforced(isolation: DesiredIsolation, inside: Inside | undefined): boolean {
  return (
    inside?.isolation !== undefined &&
    inside.schemas.has(isolation.schema) &&
    isolatedTables(isolation, inside.isolation).every(isTableEnforced)
  );
}

export function isPartlyEnforced(isolation: DesiredIsolation, inside: Inside | undefined): boolean {
  return inside?.isolation !== undefined && isolatedTables(isolation, inside.isolation).some(isTableEnforced);
}

const isTableEnforced = (table: ObservedIsolatedTable) =>
  table.rowSecurity && table.forced && !table.policies.some(observes);

function isolatedTables(isolation: DesiredIsolation, observed: ObservedIsolation): ObservedIsolatedTable[] {
  return observed.tables.filter((table) => table.schema === isolation.schema && table.columnType !== undefined);
}

/** What the counters tell of a role; the numbers are left out, since a reason that changes with each call could not be acknowledged. */
type Verdict = 'sets' | 'misses' | 'unseen' | 'uncounted';

class IsolationPlanner {
  private readonly tables: readonly ObservedIsolatedTable[];
  private readonly subject: Subject;
  private readonly place: string;
  private readonly databaseOwner: string;
  /** All of it was enforced once: tables that come later are under row security from the moment they are seen. */
  private readonly established: boolean;
  /** They have privileges and no policy is for them. */
  private readonly cutOff: readonly string[];

  constructor(
    private readonly builder: PlanBuilder,
    private readonly previous: Previous,
    private readonly database: DesiredDatabase,
    private readonly isolation: DesiredIsolation,
    private readonly earlier: DesiredIsolation | undefined,
    private readonly observed: ObservedIsolation | undefined,
  ) {
    this.tables = observed ? isolatedTables(isolation, observed) : [];
    this.subject = { kind: 'schema', name: isolation.schema, database: database.name };
    this.place = `schema ${JSON.stringify(isolation.schema)} of the database ${JSON.stringify(database.name)}`;
    this.databaseOwner = builder.observed.databases.get(database.name)?.owner ?? database.owner;
    const known = builder.ledgerObject({ kind: 'isolation', name: isolation.schema, database: database.name });
    this.established =
      known !== undefined && known.state === builder.desired.name && known.established && known.removedAt === undefined;
    this.cutOff = this.rolesCutOff();
  }

  plan(): void {
    this.refuseUnknownRoles();
    const isolated = this.isolatedRoles();
    this.refuseRolesThatSeeAll(isolated);
    this.refuseTruncate(isolated);
    this.refuseOtherTypes();
    this.noteTablesWithout();
    this.noteTablesWithoutIndex();
    this.noteRolesCutOff();
    if (this.isolation.stage === 'observed') this.planCounters();
    for (const table of this.tables) this.planTable(table, isolated);
    this.noteCounts();
    for (const bypass of this.observed?.bypasses ?? []) this.planBypass(bypass, isolated);
  }

  private refuseUnknownRoles(): void {
    const declared = new Set(this.builder.desired.roles.map(({ name }) => name));
    for (const role of [...this.isolation.roles, ...this.isolation.allTenants]) {
      if (!declared.has(role) && !this.builder.observed.roles.has(role))
        this.builder.refuse(
          `the isolation of the ${this.place} names the role ${JSON.stringify(role)}, which is neither declared nor there: declare it`,
        );
    }
  }

  /** Everybody to whom a policy of the isolated roles applies, but for those who are to see all tenants. */
  private isolatedRoles(): string[] {
    const open = new Set(this.isolation.allTenants);
    const memberships = this.memberships();
    const members = this.builder.desired.roles
      .map(({ name }) => name)
      .filter((name) => {
        const groups = reachable(memberships, name, (m) => m.inherit || m.set);
        return this.isolation.roles.some((role) => groups.has(role));
      });
    return [...new Set([...this.isolation.roles, ...members])].filter((role) => !open.has(role)).sort();
  }

  /** As they will be after this plan. */
  private memberships() {
    const { planned, byHand } = membershipsAfter(this.builder, this.previous);
    return [...byHand, ...planned];
  }

  /**
   * Source: reconciler case 81. A member of pg_read_all_data is under row security like everybody else. What somebody gave by hand is named and
   * left, since the rest of the declaration is not the worse for it.
   */
  private refuseRolesThatSeeAll(isolated: readonly string[]): void {
    const { planned, byHand } = membershipsAfter(this.builder, this.previous);
    const memberships = [...byHand, ...planned];
    for (const role of isolated) {
      const declared = this.whySeesAll(role, planned);
      const says = (because: readonly string[]) =>
        `the role ${JSON.stringify(role)} is to see one tenant alone in the ${this.place}, and ${because.join(', and ')}`;
      if (declared.length > 0) {
        this.builder.refuse(`${says(declared)}: take that away, or take the role out of the isolation`);
        continue;
      }
      const because = this.whySeesAll(role, memberships);
      if (because.length === 0) continue;
      const powers = powersOver(memberships, role);
      const leadsThere = byHand.find((m) => powers.has(m.member) && this.whySeesAll(m.role, memberships).length > 0);
      reportByHand(this.builder, leadsThere!, says(because));
    }
  }

  private whySeesAll(role: string, memberships: Parameters<typeof powersOver>[0]): string[] {
    const facts = this.builder.observed.roles.get(role);
    const powers = powersOver(memberships, role);
    const owners = new Set(this.tables.map(({ owner }) => owner));
    return [
      ...(facts?.superuser ? ['is a superuser'] : []),
      ...(facts?.bypassRls ? [`has BYPASSRLS: ALTER ROLE ${ident(role)} NOBYPASSRLS`] : []),
      ...(powers.has('rds_superuser') ? ['is a member of rds_superuser'] : []),
      ...[...owners].sort().flatMap((owner) => {
        if (!powers.has(owner)) return [];
        const tables = this.tables.filter((table) => table.owner === owner).map(({ name }) => name);
        return [`${owner === role ? 'owns' : `can act as ${owner}, who owns`} ${few(tables)}`];
      }),
      ...this.isolation.allTenants
        .filter((open) => powers.has(open))
        .map((open) => `can act as ${open}, who sees all tenants`),
    ];
  }

  /** Declared or not: whoever has a privilege works with the table today. */
  private rolesCutOff(): string[] {
    const { observed, desired } = this.builder;
    const tables = new Set(this.tables.map(({ name }) => name));
    const inside = observed.inside.get(this.database.name);
    const declared = new Set(desired.roles.map(({ name }) => name));
    const given = (inside?.relations ?? [])
      .filter(({ schema, name }) => schema === this.isolation.schema && tables.has(name))
      .flatMap(({ owner, acl }) =>
        acl.flatMap(({ grantee }) => (grantee === PUBLIC || grantee === owner ? [] : grantee)),
      )
      // What a declared role has and is not declared to have goes with this plan, or is withheld.
      .filter((role) => !declared.has(role));
    const others = [...observed.roles.values()].filter(({ name }) => !declared.has(name) && !isServerRole(name));
    return rolesWithoutRows(
      [...desired.roles, ...others],
      this.memberships(),
      this.database,
      this.isolation,
      given,
    ).filter((role) => {
      const facts = observed.roles.get(role);
      return !facts?.superuser && !facts?.bypassRls && role !== this.builder.power.user;
    });
  }

  private noteRolesCutOff(): void {
    if (this.cutOff.length === 0) return;
    const when =
      this.isolation.stage === 'enforced'
        ? this.tables.every(isTableEnforced)
          ? 'see'
          : 'will see'
        : 'will see, once it is enforced,';
    this.builder.notes.push(
      `in the ${this.place}, ${cutOffWords(this.cutOff, when)}; put them in roles or allTenants of the isolation`,
    );
  }

  private refuseTruncate(isolated: readonly string[]): void {
    for (const { on, to, privileges } of this.database.grants) {
      if ((on.kind !== 'allTables' && on.kind !== 'table') || on.schema !== this.isolation.schema) continue;
      if (privileges.includes('TRUNCATE') && isolated.includes(to))
        this.builder.refuse(
          `the role ${JSON.stringify(to)} is to see one tenant alone in the ${this.place}, and is declared to have TRUNCATE, which takes the rows of all tenants: declare DELETE instead`,
        );
    }
  }

  private refuseOtherTypes(): void {
    const allowed = COLUMN_TYPES[this.isolation.type];
    for (const { name, columnType } of this.tables) {
      if (!allowed.includes(columnType!))
        this.builder.refuse(
          `the column ${JSON.stringify(this.isolation.column)} of the table ${JSON.stringify(`${this.isolation.schema}.${name}`)} of the database ${JSON.stringify(this.database.name)} is of the type ${columnType}, and the isolation declares ${this.isolation.type}: declare its type, or change the column`,
        );
    }
  }

  private noteTablesWithout(): void {
    const without = (this.observed?.tables ?? [])
      .filter((table) => table.schema === this.isolation.schema && table.columnType === undefined)
      .map(({ name }) => name);
    const none =
      this.tables.length === 0 ? '; no table has it, so nothing is isolated: is the column spelled right?' : '';
    if (without.length > 0)
      this.builder.notes.push(
        `in the ${this.place}, ${without.length === 1 ? 'a table has' : `${without.length} tables have`} no column ${this.isolation.column}, so each tenant sees all of ${without.length === 1 ? 'it' : 'them'}: ${few(without, 50)}${none}`,
      );
  }

  /** Each statement of a tenant looks for its rows by the column. A partitioned table's index is that of its partitions. */
  private noteTablesWithoutIndex(): void {
    const slow = this.tables.filter(({ indexed }) => !indexed).map(({ name }) => name);
    if (slow.length > 0)
      this.builder.notes.push(
        `in the ${this.place}, no index begins with ${this.isolation.column} on ${few(slow, 50)}: with row security on, each statement of a tenant reads the whole table where no other index helps`,
      );
  }

  private planTable(table: ObservedIsolatedTable, isolated: readonly string[]): void {
    const { stage } = this.isolation;
    const wanted = tenantPolicies(this.isolation, table);
    const observing = table.policies.filter(observes);
    const policies = this.policyChanges(table, wanted);
    const on = qualified(table.schema, table.name);
    const drops = observing.map(({ name }) => dropPolicy(table, name));
    // Somebody who made the table in a schema that is enforced has not seen it without row security.
    const isNew = this.established && !table.policies.some(isOurs);

    if (stage === 'enforced' && isNew && !isTableEnforced(table)) {
      this.step(table, {
        risk: 'disruptive',
        object: `row security of the table ${table.schema}.${table.name}`,
        reason: 'the table is new in a schema whose tenants are isolated',
        statements: [...policies.statements, ...enable(table, on)],
        declaredBefore: true,
      });
      this.planOthersPolicies(table, isolated);
      return;
    }
    this.step(table, {
      risk: policies.narrows && table.rowSecurity ? 'narrow' : table.rowSecurity ? 'widen' : 'add',
      object: `policies of the table ${table.schema}.${table.name}`,
      reason: `${policies.reason}${table.rowSecurity ? '' : '; they have no effect before row security is on'}`,
      statements: policies.statements,
      declaredBefore: policies.declaredBefore,
    });
    if (stage === 'prepared') this.planPrepared(table, on, drops);
    if (stage === 'observed') this.planObserved(table, on);
    if (stage === 'enforced' && !isTableEnforced(table)) {
      this.step(table, {
        risk: 'disruptive',
        object: `row security of the table ${table.schema}.${table.name}`,
        reason: `${describe(table)}, and is to be enforced; ${this.evidence()}${others(table)}${this.cutOff.length === 0 ? '' : `; ${cutOffWords(this.cutOff, 'will see')}`}`,
        statements: [...drops, ...enable(table, on)],
        asks: 'row security hides every row from a session that has not set its tenant, and from the owner too',
      });
    }
    this.planOthersPolicies(table, isolated);
  }

  private planPrepared(table: ObservedIsolatedTable, on: string, drops: readonly string[]): void {
    if (!table.rowSecurity) return;
    const known = this.builder.ledgerObject({
      kind: 'isolation',
      name: this.isolation.schema,
      database: this.database.name,
    });
    const object = `row security of the table ${table.schema}.${table.name}`;
    if (drops.length > 0) {
      this.step(table, {
        risk: 'disruptive',
        object,
        reason: 'it is not to be observed any more; it let everything through',
        statements: [...drops, `ALTER TABLE ${on} DISABLE ROW LEVEL SECURITY`],
        declaredBefore: true,
      });
    } else if (known || this.earlier?.stage === 'enforced') {
      this.step(table, {
        risk: 'disruptive',
        object,
        reason: 'it is enforced, and only to be prepared',
        statements: [`ALTER TABLE ${on} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY`],
        asks: 'without row security every role sees the rows of all tenants',
      });
    } else {
      this.builder.notes.push(
        `row security of the table ${table.schema}.${table.name} of the database ${this.database.name} is already on, so the policies have effect now`,
      );
    }
  }

  private planObserved(table: ObservedIsolatedTable, on: string): void {
    const observing = table.policies.filter(observes);
    const object = `row security of the table ${table.schema}.${table.name}`;
    if (table.rowSecurity && observing.length === 0) {
      // A policy that lets everything through would open what somebody has closed.
      this.builder.notes.push(
        `row security of the table ${table.schema}.${table.name} of the database ${this.database.name} is already on, so it is not observed: nothing may be let through to look at it`,
      );
      return;
    }
    const closing = table.policies.filter((policy) => !isOurs(policy) && !policy.permissive).map(({ name }) => name);
    if (!table.rowSecurity && closing.length > 0) {
      this.builder.notes.push(
        `the table ${table.schema}.${table.name} of the database ${this.database.name} is not observed: row security would bring restrictive policies of others into effect (${closing.join(', ')})`,
      );
      return;
    }
    const changes = this.changes(table, observing, observingPolicies(this.isolation));
    if (table.rowSecurity) {
      this.step(table, {
        risk: 'widen',
        object,
        reason: 'what observes it, and lets everything through, is not as declared',
        statements: changes.statements,
        counts: true,
      });
      return;
    }
    this.step(table, {
      counts: true,
      risk: 'disruptive',
      object,
      reason: `${describe(table)}, and is to be observed: it lets everything through, and counts whether ${this.isolation.roles.join(', ')} set ${this.isolation.setting}`,
      statements: [...changes.statements, `ALTER TABLE ${on} ENABLE ROW LEVEL SECURITY`],
      asks: 'it locks the table for a moment, and pg_dump by a role that neither owns it nor has BYPASSRLS then needs --enable-row-security',
    });
  }

  private policyChanges(table: ObservedIsolatedTable, wanted: readonly WantedPolicy[]) {
    const ours = table.policies.filter((policy) => isOurs(policy) && !observes(policy));
    const changes = this.changes(table, ours, wanted);
    const before = this.earlier && tenantPolicies(this.earlier, table);
    // What is changed is what the previous declaration made: its reader has seen it go.
    const declaredBefore =
      before !== undefined &&
      JSON.stringify(before) !== JSON.stringify(wanted) &&
      changes.changed.every((policy) => before.some((one) => one.name === policy.name && isAsWanted(policy, one)));
    return { ...changes, narrows: changes.changed.length > 0, declaredBefore };
  }

  /** A policy that is not as wanted is made anew in the same transaction: ALTER POLICY cannot change all of it. */
  private changes(table: ObservedIsolatedTable, is: readonly ObservedPolicy[], wanted: readonly WantedPolicy[]) {
    const wrong = is.filter((policy) => {
      const one = wanted.find(({ name }) => name === policy.name);
      return one === undefined || !isAsWanted(policy, one);
    });
    const missing = wanted.filter(
      ({ name }) => !is.some((policy) => policy.name === name) || wrong.some((p) => p.name === name),
    );
    const statements = [
      ...wrong.map(({ name }) => dropPolicy(table, name)),
      ...missing.map((policy) => createPolicy(table, policy)),
    ];
    const names = wrong.map(({ name }) => name).join(', ');
    const reason =
      wrong.length === 0 ? 'declared, and not there' : `${names} ${wrong.length === 1 ? 'is' : 'are'} not as declared`;
    return { statements, reason, changed: wrong };
  }

  private step(
    table: ObservedIsolatedTable,
    draft: Omit<Draft, 'phase' | 'database' | 'statements' | 'locks'> & {
      statements: readonly string[];
      /** Its policies call what counts. */
      counts?: boolean;
    },
  ): void {
    const { counts = false, ...rest } = draft;
    if (draft.statements.length === 0) return;
    this.builder.add({
      ...rest,
      phase: 'isolation',
      database: this.database.name,
      subjects: [this.subject],
      locks: { schema: table.schema, name: table.name },
      statements: lendUsage(
        this.builder,
        // What is declared is granted after this.
        { ...this.database, grants: [] },
        table.owner,
        table.schema,
        this.naming(
          counts ? table.owner : undefined,
          this.builder.power.actAs(
            table.owner,
            draft.statements.map((sql) => ({ sql })),
            this.databaseOwner,
          ),
        ),
      ),
    });
  }

  /** Who makes a policy has to be able to name the functions that it calls, and only then. */
  private naming(owner: string | undefined, statements: Statement[] | undefined): Statement[] | undefined {
    const counting = this.observed?.countingOwner ?? this.databaseOwner;
    if (owner === undefined || owner === counting || !statements) return statements;
    const lend = (sql: string) => this.builder.power.actAs(counting, [{ sql }]);
    const before = lend(`GRANT USAGE ON SCHEMA ${ident(COUNTING_SCHEMA)} TO ${ident(owner)}`);
    const after = lend(`REVOKE USAGE ON SCHEMA ${ident(COUNTING_SCHEMA)} FROM ${ident(owner)}`);
    return before && after && [...before, ...statements, ...after];
  }

  /** Permissive policies add up: one of somebody else opens what ours close. It is theirs, so it is shown and never dropped. */
  private planOthersPolicies(table: ObservedIsolatedTable, isolated: readonly string[]): void {
    const memberships = this.memberships();
    const groups = new Set(
      isolated.flatMap((role) => [role, ...reachable(memberships, role, (m) => m.inherit || m.set)]),
    );
    for (const policy of table.policies) {
      if (isOurs(policy) || !policy.permissive) continue;
      const to = policy.roles.filter((role) => role === PUBLIC || groups.has(role));
      if (to.length === 0) continue;
      this.warn({
        object: `policy ${policy.name} of the table ${table.schema}.${table.name}`,
        reason: `it lets rows through to ${to.map((role) => role ?? 'PUBLIC').join(', ')} besides those of the tenant: ${policy.using ?? policy.check ?? 'true'}`,
        sql: dropPolicy(table, policy.name),
        owner: table.owner,
        impossible: 'somebody else made it: drop it, make it RESTRICTIVE, or keep it if it is meant',
      });
    }
  }

  private planBypass(bypass: ObservedBypass, isolated: readonly string[]): void {
    if (bypass.isolation !== this.isolation.schema) return;
    const roles = bypass.roles.filter((role) => isolated.includes(role));
    if (roles.length === 0) return;
    if (bypass.kind === 'function' && !this.seesAll(bypass.owner)) return;
    const what = `${bypass.schema}.${bypass.name}${bypass.arguments === null ? '' : `(${bypass.arguments})`}`;
    const on = qualified(bypass.schema, bypass.name);
    const to = roles.map(ident).join(', ');
    const who = roles.join(', ');
    const revoke = `REVOKE SELECT ON ${on} FROM ${to}`;
    const warnings: Record<
      ObservedBypass['kind'],
      Pick<Parameters<typeof this.warn>[0], 'reason' | 'sql' | 'impossible'>
    > = {
      view: {
        reason: `${who} may read it, and it reads isolated tables of the schema ${this.isolation.schema} with the rights of ${bypass.owner}`,
        sql: `ALTER VIEW ${on} SET (security_invoker = true)`,
        impossible: 'its readers may rely on it: make it a security invoker, or take SELECT from the isolated roles',
      },
      'materialized view': {
        reason: `${who} may read it, and it holds rows of all tenants of the schema ${this.isolation.schema}`,
        sql: revoke,
        impossible: 'row security does not reach its rows: take SELECT from the isolated roles',
      },
      'foreign table': {
        reason: `${who} may read it, and a foreign table of the schema ${this.isolation.schema} has no row security`,
        sql: revoke,
        impossible: 'isolate the tenants where the table is, and take SELECT from the isolated roles',
      },
      partition: {
        reason: `${who} may read it without the table that it is a part of, and it lies outside the schema ${this.isolation.schema}`,
        sql: revoke,
        impossible: 'take SELECT from the isolated roles, or isolate the tenants of its schema too',
      },
      function: {
        reason: `${who} may call it, and it runs with the rights of ${bypass.owner}, to whom the rows of all tenants are open`,
        sql: `REVOKE EXECUTE ON ROUTINE ${on}(${bypass.arguments}) FROM PUBLIC, ${to}`,
        impossible:
          'it may be meant: see that it returns rows of the tenant alone, or take EXECUTE from the isolated roles',
      },
      truncate: {
        reason: `${who} may TRUNCATE it, which takes the rows of all tenants`,
        sql: `REVOKE TRUNCATE ON ${on} FROM ${to}`,
        impossible: 'row security does not hold for TRUNCATE: take it away where it was given',
      },
    };
    this.warn({
      object: `${bypass.kind === 'truncate' ? 'TRUNCATE on the table' : bypass.kind} ${what}`,
      owner: bypass.owner,
      ...warnings[bypass.kind],
    });
  }

  private seesAll(role: string): boolean {
    const facts = this.builder.observed.roles.get(role);
    const groups = reachable(this.builder.observed.memberships, role, (m) => m.inherit).add(role);
    return (
      (facts?.superuser ?? false) ||
      (facts?.bypassRls ?? false) ||
      this.isolation.allTenants.some((open) => groups.has(open))
    );
  }

  private warn(way: { object: string; reason: string; sql: string; owner: string; impossible: string }): void {
    this.builder.add({
      phase: 'isolation',
      database: this.database.name,
      risk: 'narrow',
      object: way.object,
      reason: way.reason,
      statements: [{ sql: way.sql, as: way.owner }],
      impossible: way.impossible,
    });
  }

  private planCounters(): void {
    const names = this.isolation.roles.map((role) => ({ role, ...counters(this.isolation.schema, role) }));
    const known = this.observed?.counters;
    const isFit = (name: string, role: string) => {
      const counter = known?.get(name);
      return counter?.intact === true && counter.executors.some((each) => each === PUBLIC || each === role);
    };
    const missing = names.filter(({ set, missing: none, role }) => !isFit(set, role) || !isFit(none, role));
    const isChanged = missing.some(({ set, missing: none }) => known?.has(set) || known?.has(none));
    if (missing.length === 0 || this.tables.length === 0) return;
    const schema = ident(COUNTING_SCHEMA);
    const create = (name: string, role: string, what: string) => [
      `CREATE OR REPLACE FUNCTION ${qualified(COUNTING_SCHEMA, name)}() RETURNS boolean ${COUNTER.attributes} AS ${literal(COUNTER.body)}`,
      `COMMENT ON FUNCTION ${qualified(COUNTING_SCHEMA, name)}() IS ${literal(`cdk-postgres: called when ${role} reads or writes ${this.isolation.schema} ${what} a tenant; the server counts it`)}`,
      `GRANT EXECUTE ON FUNCTION ${qualified(COUNTING_SCHEMA, name)}() TO ${ident(role)}`,
    ];
    this.builder.add({
      phase: 'isolation',
      database: this.database.name,
      // One that does something else than be counted may hide rows, or fail.
      risk: isChanged ? 'widen' : 'add',
      object: `what counts the tenants of schema ${this.isolation.schema}`,
      reason: isChanged
        ? `functions in the schema ${COUNTING_SCHEMA} are not as they were made: they do nothing but be counted`
        : `the schema is to be observed; functions in the schema ${COUNTING_SCHEMA} do nothing but be counted`,
      statements: this.builder.power.actAs(
        this.observed?.countingOwner ?? this.databaseOwner,
        [
          ...(this.observed?.countingOwner !== undefined ? [] : [`CREATE SCHEMA IF NOT EXISTS ${schema}`]),
          ...missing.flatMap(({ role, set, missing: none }) => [
            `GRANT USAGE ON SCHEMA ${schema} TO ${ident(role)}`,
            ...create(set, role, 'with'),
            ...create(none, role, 'without'),
          ]),
        ].map((sql) => ({ sql })),
      ),
    });
  }

  private verdict(role: string): Verdict {
    const { set, missing } = counters(this.isolation.schema, role);
    const count = (name: string) => this.observed?.counters.get(name)?.calls ?? 0;
    if (count(missing) > 0) return 'misses';
    if (count(set) > 0) return 'sets';
    return this.isObserved() && !this.observed?.counted ? 'uncounted' : 'unseen';
  }

  private isObserved(): boolean {
    return this.tables.some((table) => table.policies.some(observes));
  }

  private evidence(): string {
    if (!this.isObserved())
      return `nobody has observed whether ${this.isolation.roles.join(', ')} set ${this.isolation.setting}`;
    const words: Record<Verdict, string> = {
      sets: `has set ${this.isolation.setting} whenever it came to a row`,
      misses: `has come to rows without ${this.isolation.setting}, and would not have seen them`,
      unseen: 'has not come to a row, so nothing is known of it',
      uncounted: 'cannot be told of, since track_functions is none',
    };
    return this.isolation.roles.map((role) => `${role} ${words[this.verdict(role)]}`).join('; ');
  }

  private noteCounts(): void {
    if (!this.isObserved()) return;
    for (const role of this.isolation.roles) {
      const { set, missing } = counters(this.isolation.schema, role);
      const count = (name: string) => this.observed?.counters.get(name)?.calls ?? 0;
      const verdict = this.verdict(role);
      this.builder.notes.push(
        verdict === 'uncounted'
          ? `whether ${role} sets ${this.isolation.setting} in the ${this.place} cannot be told, since track_functions is none: set it to pl in the parameter group`
          : `in the ${this.place}, ${role} came to rows ${times(count(set))} with ${this.isolation.setting}, and ${times(count(missing))} without`,
      );
    }
  }
}

function describe(table: ObservedIsolatedTable): string {
  if (table.policies.some(observes)) return 'it is observed';
  if (!table.rowSecurity) return 'it is off';
  return 'it is on, and the owner is not bound by it';
}

function cutOffWords(roles: readonly string[], see: string): string {
  return `these roles have privileges and ${see} no row: ${few(roles, 50)}`;
}

/** Policies that have had no effect up to now. */
function others(table: ObservedIsolatedTable): string {
  const names = table.policies.filter((policy) => !isOurs(policy)).map(({ name }) => name);
  if (table.rowSecurity || names.length === 0) return '';
  return `; with it come into effect the policies of others: ${names.join(', ')}`;
}

function enable(table: ObservedIsolatedTable, on: string): string[] {
  return [
    ...(table.rowSecurity ? [] : [`ALTER TABLE ${on} ENABLE ROW LEVEL SECURITY`]),
    ...(table.forced ? [] : [`ALTER TABLE ${on} FORCE ROW LEVEL SECURITY`]),
  ];
}

/** Functions that no policy calls any more. Another schema of the database may still be observed. */
function planUnneededCounters(builder: PlanBuilder, database: DesiredDatabase, observed: ObservedIsolation): void {
  const wanted = new Set(
    database.isolations
      .filter(
        ({ schema, stage }) =>
          stage === 'observed' || observed.tables.some((t) => t.schema === schema && t.policies.some(observes)),
      )
      .flatMap(({ schema, roles }) => roles.flatMap((role) => Object.values(counters(schema, role)))),
  );
  const unneeded = [...observed.counters].flatMap(([name, { used }]) =>
    /^(set|missing)_[0-9a-f]{12}$/.test(name) && !wanted.has(name) && !used ? [name] : [],
  );
  if (unneeded.length === 0) return;
  builder.add({
    phase: 'isolation',
    database: database.name,
    risk: 'narrow',
    object: `what counted tenants in the database ${database.name}`,
    reason: 'nothing is observed by it any more',
    statements: builder.power.actAs(
      observed.countingOwner!,
      unneeded.sort().map((name) => ({ sql: `DROP FUNCTION ${qualified(COUNTING_SCHEMA, name)}()` })),
    ),
    declaredBefore: true,
  });
}

function times(count: number): string {
  return count === 0 ? 'never' : `at least ${count} times`;
}

function few(names: readonly string[], most = 5): string {
  return `${names.slice(0, most).join(', ')}${names.length > most ? `, and ${names.length - most} more` : ''}`;
}
