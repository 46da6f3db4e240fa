import { ClusterParametersProperties } from '../../contract';
import { OrderOptions, restartPending } from './orders';
import { KnownCluster } from './reference';
import { RestClient, RestError } from './rest';
import { ClusterView, look } from './view';

/** A part of Patroni's dynamic configuration. In a patch, null takes a key away. */
export interface Configuration {
  readonly [key: string]: Value;
}
type Value = string | number | boolean | null | readonly Value[] | Configuration;

/** What was declared, read: `restart`: whether members that wait for one are restarted. */
export interface DeclaredConfiguration {
  readonly configuration: Configuration;
  readonly restart: boolean;
}

const POLL_MS = 1_000;

/** A member reads the configuration once in each turn of its loop; by then the second has begun. */
const TURNS = 2;

export function readDeclared(properties: Readonly<Record<string, unknown>>): DeclaredConfiguration {
  const { Parameters, Settings, Restart } = properties as Partial<ClusterParametersProperties>;
  const root: Record<string, unknown> = {};
  for (const [path, text] of Object.entries(textsOf('Settings', Settings))) {
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new Error(`Settings.${path} is not JSON: ${text}`);
    }
    put(root, path.split('.'), value);
  }
  for (const [name, text] of Object.entries(textsOf('Parameters', Parameters)))
    put(root, ['postgresql', 'parameters', name], text);
  if (Restart !== undefined && Restart !== 'report' && Restart !== 'ordered')
    throw new Error(`Restart must be "report" or "ordered", and is ${JSON.stringify(Restart)}`);
  return { configuration: root as Configuration, restart: Restart === 'ordered' };
}

function textsOf(what: string, value: unknown): Record<string, string> {
  if (value === undefined) return {};
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error(`${what} must be a map`);
  return Object.fromEntries(Object.entries(value).map(([key, text]) => [key, String(text)]));
}

function put(root: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path as [string, ...string[]];
  if (rest.length === 0) root[key] = value;
  else put((root[key] ??= {}) as Record<string, unknown>, rest, value);
}

/**
 * What must be changed of what there is. A key that was declared before and is not any longer goes; one that nobody declared stays, whoever has
 * set it.
 */
export function patchOf(declared: Configuration, before: Configuration, there: Configuration): Configuration {
  const patch: Record<string, Value> = {};
  for (const [key, value] of Object.entries(declared)) {
    const [was, is] = [before[key], there[key]];
    if (isObject(value)) {
      const inner = patchOf(value, isObject(was) ? was : {}, isObject(is) ? is : {});
      if (Object.keys(inner).length > 0) patch[key] = inner;
    } else if (!same(value, is)) patch[key] = value;
  }
  for (const [key, was] of Object.entries(before)) {
    const is = there[key];
    if (key in declared || is === undefined || is === null) continue;
    if (isObject(was) && isObject(is)) {
      const inner = patchOf({}, was, is);
      // What nobody else has added to goes as a whole: a slot without a type would be none.
      const nothingLeft = Object.keys(is).every((name) => inner[name] === null);
      if (Object.keys(inner).length > 0) patch[key] = nothingLeft ? null : inner;
    } else patch[key] = null;
  }
  return patch;
}

/** Patroni keeps a parameter as it was given, as text or as a number. */
function same(declared: Value, there: Value | undefined): boolean {
  if (there === undefined || there === null) return declared === null;
  return typeof declared === 'object' || typeof there === 'object'
    ? JSON.stringify(declared) === JSON.stringify(there)
    : String(declared) === String(there);
}

function isObject(value: Value | undefined): value is Configuration {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export interface ParametersReport {
  /** What was changed, such as `postgresql.parameters.work_mem = 8MB`; empty: it was so already. */
  readonly changed: readonly string[];
  /** What was restarted or switched over. */
  readonly done: readonly string[];
  /** `MEMBER: PARAMETER, …` of those that wait for a restart. */
  readonly pending: readonly string[];
}

/** Takes the dynamic configuration of the cluster to what is declared, and says who waits for a restart. A second run changes nothing. */
export async function applyParameters(
  rest: RestClient,
  cluster: KnownCluster,
  declared: DeclaredConfiguration,
  before: Configuration,
  options: OrderOptions,
): Promise<ParametersReport> {
  const view = await look(rest, cluster);
  const asked = cluster.members.find(({ name }) => name === (view.leaders[0] ?? [...view.members.keys()][0]));
  if (!asked) throw new RestError([...view.silent.values()].join('; '));
  const there = (await rest.read(asked, '/config')) as Configuration;
  const patch = patchOf(declared.configuration, before, there);
  const changed = linesOf(patch);
  let now = view;
  if (changed.length > 0) {
    options.onProgress?.(`changing ${changed.join(', ')}`);
    await rest.order(asked, 'PATCH', '/config', patch);
    const turn = Number(declared.configuration.loop_wait ?? there.loop_wait ?? 10) * 1000;
    now = await afterTurns(rest, cluster, Math.min(Date.now() + TURNS * turn, options.deadline));
  }
  const waits = () => [...now.members.values()].filter(({ pendingRestart }) => pendingRestart !== undefined);
  let done: string[] = [];
  if (declared.restart && waits().length > 0) {
    done = await restartPending(rest, cluster, options);
    now = await look(rest, cluster);
  }
  const pending = waits().map(
    ({ name, pendingRestart }) => `${name}: ${pendingRestart!.join(', ') || 'a parameter that it does not name'}`,
  );
  return { changed, done, pending };
}

/** Ends early where all members have said that they wait for a restart: then nothing else can be learnt. */
async function afterTurns(rest: RestClient, cluster: KnownCluster, until: number): Promise<ClusterView> {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    const view = await look(rest, cluster);
    const all = cluster.members.every(({ name }) => view.members.get(name)?.pendingRestart !== undefined);
    if (all || Date.now() > until) return view;
  }
}

function linesOf(patch: Configuration, path: readonly string[] = []): string[] {
  return Object.entries(patch).flatMap(([key, value]) => {
    const at = [...path, key];
    if (isObject(value)) return linesOf(value, at);
    return [value === null ? `${at.join('.')} taken back` : `${at.join('.')} = ${textOf(value)}`];
  });
}

function textOf(value: Value): string {
  return typeof value === 'string' ? value : JSON.stringify(value);
}
