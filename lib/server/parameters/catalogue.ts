import { SupportedMajor } from '../postgres-version';
import { AURORA_CLUSTER_LEVEL, AURORA_INSTANCE_LEVEL } from './aurora-scope';
import { PG_SETTINGS } from './pg-settings';
import { KEPT_BY_RDS, PLATFORM_PARAMETERS } from './platform-parameters';

export type ParameterEngine = 'rds' | 'aurora';
export type ParameterLevel = 'instance' | 'cluster';

/** One parameter of one engine and major version. */
export interface Parameter {
  readonly name: string;
  readonly type: 'bool' | 'integer' | 'real' | 'string' | 'enum';
  /** `static`: a changed value waits for a reboot, which CloudFormation does not do (LIB-2). */
  readonly apply: 'static' | 'dynamic';
  /** The group that it belongs into. Undefined: no source says at which level Aurora keeps it, and either is taken. */
  readonly level?: ParameterLevel;
  /** The unit of a plain number, such as `ms`, `kB`, `8kB` or `s`. */
  readonly unit?: string;
  readonly min?: number;
  readonly max?: number;
  readonly values?: readonly string[];
  /** Why it cannot be set here, and what to do instead. */
  readonly refused?: string;
  /** Where the facts come from. */
  readonly source: string;
  /** False where a source is missing for whether a reboot is needed, for the range, or for the level. */
  readonly verified: boolean;
}

export type ParameterCatalogue = ReadonlyMap<string, Parameter>;

const built = new Map<string, ParameterCatalogue>();

/** Every parameter of an engine's major version, by its lower-case name as RDS writes it. */
export function parameterCatalogue(engine: ParameterEngine, major: SupportedMajor): ParameterCatalogue {
  const key = `${engine}${major}`;
  let catalogue = built.get(key);
  if (!catalogue) {
    catalogue = new Map([...upstream(engine, major), ...platform(engine, major)].map((p) => [p.name, p]));
    built.set(key, catalogue);
  }
  return catalogue;
}

/** Such as `postgres18` or `aurora-postgresql18`. */
export function parameterFamily(engine: ParameterEngine, major: SupportedMajor): string {
  return `${engine === 'aurora' ? 'aurora-postgresql' : 'postgres'}${major}`;
}

/** The engine and major version of a parameter group's family, where it is one of ours. */
export function readParameterFamily(
  family: string,
): { readonly engine: ParameterEngine; readonly major: SupportedMajor } | undefined {
  const match = /^(aurora-postgresql|postgres)(16|17|18)$/.exec(family);
  if (!match) return undefined;
  return { engine: match[1] === 'postgres' ? 'rds' : 'aurora', major: Number(match[2]) as SupportedMajor };
}

function upstream(engine: ParameterEngine, major: SupportedMajor): Parameter[] {
  const { version, settings } = PG_SETTINGS[major];
  return Object.entries(settings).map(([spelling, [type, context, unit, min, max, values]]) => {
    const name = spelling.toLowerCase();
    const level = engine === 'rds' ? 'instance' : auroraLevel(name);
    const refused = context === 'internal' ? 'the server fixes it when it is built or initialized' : KEPT_BY_RDS[name];
    return {
      name,
      type: type as Parameter['type'],
      apply: context === 'postmaster' ? 'static' : 'dynamic',
      level,
      unit: unit ?? undefined,
      min: min === null ? undefined : Number(min),
      max: max === null ? undefined : Number(max),
      values: values ?? undefined,
      refused,
      source: `pg_settings of PostgreSQL ${version}`,
      verified: level !== undefined,
    };
  });
}

function auroraLevel(name: string): ParameterLevel | undefined {
  if (AURORA_CLUSTER_LEVEL.has(name)) return 'cluster';
  return AURORA_INSTANCE_LEVEL.has(name) ? 'instance' : undefined;
}

function platform(engine: ParameterEngine, major: SupportedMajor): Parameter[] {
  return PLATFORM_PARAMETERS.filter((p) => (p.engine ?? engine) === engine && (p.since ?? 0) <= major).map((p) => ({
    name: p.name,
    type: p.type,
    apply: p.apply,
    level: engine === 'rds' ? 'instance' : p.auroraLevel,
    unit: p.unit,
    min: p.min,
    max: p.max,
    values: p.values,
    source: p.source,
    verified: !p.unverified,
  }));
}
