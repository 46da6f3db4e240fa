import { isPlainName } from '../../contract';
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
