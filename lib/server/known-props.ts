import { IConstruct } from 'constructs';
import known from './known-props.json';
import { nearest } from './parameters/nearest';

/** Members of the interfaces by which constructs are made. `scripts/known-props.ts` writes the data. */
const KNOWN: Readonly<Record<string, readonly string[]>> = known;

/**
 * Refuses a property that is spelt almost like one: without a compiler nobody reads it, and the default stands in its place. Others pass, since typed
 * code may hand over an object that has more.
 *
 * @param made the construct, whose properties are those of its class, or the name of an interface
 */
export function refuseMisspelt(path: string, made: IConstruct | string, props: object | undefined | null): void {
  if (typeof props !== 'object' || props === null) return;
  const names = typeof made === 'string' ? KNOWN[made] : propsOfClass(made);
  if (!names) return;
  for (const name of unknownIn(names, props)) {
    const [meant] = meantBy(name, names);
    if (meant !== undefined)
      throw new Error(`${path}: ${name} is no property of it, so that it would have no effect; write ${meant}`);
  }
}

/** Refuses every member that options do not have: they are written where they are passed. `what` names the call. */
export function requireKnownOptions(what: string, interfaceName: string, options: object): void {
  const names = KNOWN[interfaceName]!;
  for (const name of unknownIn(names, options)) {
    const [meant] = meantBy(name, names);
    throw new Error(
      `${what}: ${name} is no option, so that it would have no effect; ${meant === undefined ? `there are ${names.join(', ')}` : `write ${meant}`}`,
    );
  }
}

function unknownIn(names: readonly string[], props: object): string[] {
  return Object.entries(props).flatMap(([name, value]) => (value === undefined || names.includes(name) ? [] : name));
}

function meantBy(name: string, names: readonly string[]): readonly string[] {
  const same = names.filter((one) => one.toLowerCase() === name.toLowerCase());
  return same.length > 0 ? same : nearest(name, names, Math.min(2, Math.floor(name.length / 3)));
}

/** Those of all ways to make it: a restored server takes others than a new one. */
function propsOfClass(made: IConstruct): readonly string[] | undefined {
  for (let one: unknown = Object.getPrototypeOf(made); one !== null; one = Object.getPrototypeOf(one)) {
    const { name } = (one as object).constructor;
    if (KNOWN[`${name}Props`] === undefined) continue;
    const ways = Object.keys(KNOWN).filter((key) => key.startsWith(name) && key.endsWith('Props'));
    return [...new Set(ways.flatMap((key) => KNOWN[key]!))];
  }
  return undefined;
}
