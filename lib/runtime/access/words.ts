import { isPlainName, Privilege, PRIVILEGES } from '../../contract';
import type { Access } from './report';
import { Reach } from './ways';

/** A name as one writes it in SQL. */
export function quoted(name: string): string {
  return isPlainName(name) ? name : `"${name.replaceAll('"', '""')}"`;
}

/** `directly`, `via team → app_readonly`, `only after SET ROLE app_owner`. */
export function reachWords({ path, setRole }: Reach): string {
  const arrows = (roles: readonly string[]) => roles.map(quoted).join(' → ');
  if (setRole !== undefined) {
    const further = path.slice(path.indexOf(setRole) + 1);
    return `only after SET ROLE ${quoted(setRole)}${further.length === 0 ? '' : `, via ${arrows(further)}`}`;
  }
  return path.length === 1 ? 'directly' : `via ${arrows(path.slice(1))}`;
}

/** `ALL` where it has all that there is for this kind of object; MAINTAIN came with PostgreSQL 17. */
export function privilegeWords({ privileges, on }: Pick<Access, 'privileges' | 'on'>): string {
  if (on.kind === 'column') return privileges.join(', ');
  const all: readonly Privilege[] = PRIVILEGES[on.kind];
  const rest = all.filter((privilege) => !privileges.includes(privilege));
  return all.length > 1 && rest.every((privilege) => privilege === 'MAINTAIN') ? 'ALL' : privileges.join(', ');
}
