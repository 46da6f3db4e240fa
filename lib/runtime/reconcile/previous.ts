import { DesiredDatabase, DesiredExtension, DesiredMembership, DesiredState, GrantTarget } from '../../contract';
import { declaredMemberships } from './iam';

export const MEMBERSHIP_OPTIONS = ['inherit', 'set', 'admin'] as const;

/** What the previous declaration gave, to be looked up one privilege at a time. */
export class Previous {
  private readonly given = new Set<string>();
  private readonly memberships = new Map<string, DesiredMembership>();
  private readonly roles: ReadonlyMap<string, DesiredState['roles'][number]>;
  private readonly extensions = new Map<string, DesiredExtension>();
  readonly settings: DesiredState['settings'];
  readonly databases: DesiredState['databases'];
  readonly comments: DesiredState['comments'];

  constructor(state: DesiredState | undefined) {
    this.databases = state?.databases ?? [];
    this.roles = new Map(state?.roles.map((role) => [role.name, role]));
    this.settings = state?.settings ?? [];
    this.comments = state?.comments ?? [];
    for (const m of state ? declaredMemberships(state) : []) this.memberships.set(key(m.role, m.member), m);
    for (const database of state?.databases ?? []) {
      for (const extension of database.extensions) this.extensions.set(key(database.name, extension.name), extension);
      for (const grant of database.grants) {
        for (const privilege of grant.privileges)
          this.given.add(key(database.name, grant.to, privilege, ...targetKey(grant.on)));
      }
      for (const d of database.defaultPrivileges) {
        for (const privilege of d.privileges)
          this.given.add(key(database.name, d.to, privilege, 'default', d.creator, d.schema, d.objects));
      }
    }
  }

  database(name: string): DesiredDatabase | undefined {
    return this.databases.find((database) => database.name === name);
  }

  role(name: string): DesiredState['roles'][number] | undefined {
    return this.roles.get(name);
  }

  extension(database: string, name: string): DesiredExtension | undefined {
    return this.extensions.get(key(database, name));
  }

  membership(role: string, member: string): DesiredMembership | undefined {
    return this.memberships.get(key(role, member));
  }

  /** Whether it gave all that this row does: what somebody has added to it by hand is not in there. */
  gaveMembership(row: DesiredMembership): boolean {
    const before = this.membership(row.role, row.member);
    return before !== undefined && MEMBERSHIP_OPTIONS.every((option) => before[option] || !row[option]);
  }

  grant(database: string, grantee: string, privilege: string, ...targets: GrantTarget[]): boolean {
    return targets.some((target) => this.given.has(key(database, grantee, privilege, ...targetKey(target))));
  }

  defaultPrivilege(
    database: string,
    grantee: string,
    privilege: string,
    creator: string,
    schema: string,
    objects: string,
  ): boolean {
    return this.given.has(key(database, grantee, privilege, 'default', creator, schema, objects));
  }
}

function key(...parts: string[]): string {
  return JSON.stringify(parts);
}

function targetKey(on: GrantTarget): string[] {
  switch (on.kind) {
    case 'database':
      return [on.kind];
    case 'table':
    case 'sequence':
      return [on.kind, on.schema, on.name];
    case 'routine':
      return [on.kind, on.schema, on.signature];
    default:
      return [on.kind, on.schema];
  }
}
