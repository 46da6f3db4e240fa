import { Token, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { addFinding } from '../../compliance';
import { Defaults, PostgresProfile } from '../postgres-profile';
import { SupportedMajor } from '../postgres-version';
import {
  Parameter,
  parameterCatalogue,
  ParameterCatalogue,
  ParameterEngine,
  parameterFamily,
  ParameterLevel,
} from './catalogue';
import { defaultsV1, ParameterDefault } from './defaults-v1';
import { connections, connectionsOfValue, defaultsV2, MOST_CONNECTIONS } from './defaults-v2';
import { nearest } from './nearest';
import { readParameterValue } from './parameter-value';
import { guardParameters } from './weakened';

/** The value that leaves a parameter out of the group, so that the engine's own default holds. */
export const ENGINE_DEFAULT = 'engine-default';

export interface BuildParametersOptions {
  /** The server, which errors and findings name. */
  readonly scope: IConstruct;
  readonly engine: ParameterEngine;
  readonly major: SupportedMajor;
  /** Which group. An RDS instance has only that of the instance. */
  readonly level: ParameterLevel;
  /** What the user sets; `engine-default` leaves a parameter to the engine. */
  readonly overrides?: Readonly<Record<string, string>>;
  readonly profile: PostgresProfile;
  /** @default Defaults.V1 */
  readonly defaults?: Defaults;
  /**
   * The volume of an RDS instance, of which replication slots may take a quarter (HA-8).
   * @default 100
   */
  readonly allocatedStorageGiB?: number;
  /**
   * The class of the nodes, from which the second generation computes.
   * @default - serverless nodes, or not known
   */
  readonly instanceType?: ec2.InstanceType;
}

/**
 * The parameters of one group, by name. An unknown name, one of the other group, or a value that the version refuses is an error with
 * the construct, the parameter, the value and what to do (LIB-1, OPS-10); pairs that RDS takes only together come together (LIB-3);
 * a value that weakens the server is a finding.
 */
export function buildParameters(options: BuildParametersOptions): Record<string, string> {
  const { scope, engine, major, level } = options;
  if (engine === 'rds' && level === 'cluster') {
    throw new Error(`${scope.node.path}: an RDS instance has no cluster parameter group; use the level 'instance'`);
  }
  const catalogue = parameterCatalogue(engine, major);
  const overrides = readOverrides(options, catalogue);
  const values = new Map<string, string>();
  for (const { name, value } of defaultsOf(options)) {
    if (belongs(catalogue.get(name)!, level)) values.set(name, value);
  }
  for (const [name, value] of overrides) {
    if (value === ENGINE_DEFAULT) values.delete(name);
    else values.set(name, value);
  }
  completePairs(options, overrides, values);
  guardParameters(options, values);
  guardConnections(options, values.get('max_connections'));
  return Object.fromEntries([...values].sort(([a], [b]) => (a < b ? -1 : 1)));
}

function defaultsOf(options: BuildParametersOptions): readonly ParameterDefault[] {
  const generation = options.defaults ?? Defaults.V1;
  switch (generation) {
    case Defaults.V1:
      return defaultsV1(options.engine, options.major, options.allocatedStorageGiB);
    case Defaults.V2:
      return defaultsV2(options.engine, options.major, options.allocatedStorageGiB, options.instanceType);
  }
}

/** A parameter whose level no source states is set beside the instance's, where it overrides the cluster's. */
function belongs(parameter: Parameter, level: ParameterLevel): boolean {
  return (parameter.level ?? 'instance') === level;
}

function readOverrides(options: BuildParametersOptions, catalogue: ParameterCatalogue): Map<string, string> {
  const overrides = new Map<string, string>();
  for (const [spelling, given] of Object.entries(options.overrides ?? {})) {
    const name = spelling.toLowerCase();
    const place = `${options.scope.node.path}: parameter ${spelling}`;
    const parameter = catalogue.get(name);
    if (!parameter) throw new Error(`${place} = ${JSON.stringify(given)} ${unknownName(options, name)}`);
    if (parameter.refused) {
      throw new Error(`${place} = ${JSON.stringify(given)} cannot be set on RDS: ${parameter.refused}`);
    }
    if (parameter.level !== undefined && parameter.level !== options.level) {
      const prop = parameter.level === 'cluster' ? 'parameters' : 'instanceParameters';
      throw new Error(
        `${place} = ${JSON.stringify(given)} is a parameter of the ${parameter.level} in ${parameterFamily(options.engine, options.major)}, ` +
          `and the group of the ${options.level} would never apply it: move it to ${prop}`,
      );
    }
    if (overrides.has(name)) throw new Error(`${place} is set twice, in two spellings: keep one`);
    overrides.set(name, readOverride(place, parameter, given));
  }
  return overrides;
}

function readOverride(place: string, parameter: Parameter, given: string): string {
  if (Token.isUnresolved(given) || given === ENGINE_DEFAULT) return given;
  if (typeof given !== 'string')
    throw new Error(`${place} = ${JSON.stringify(given)} must be a text: write '${given}'`);
  const read = readParameterValue(parameter, given);
  if ('problem' in read) throw new Error(`${place} = ${JSON.stringify(given)}: ${read.problem}`);
  return read.value;
}

function unknownName(options: BuildParametersOptions, name: string): string {
  const family = parameterFamily(options.engine, options.major);
  const others = ([16, 17, 18] as const).filter((major) => parameterCatalogue(options.engine, major).has(name));
  if (others.length > 0) {
    return `is not a parameter of ${family}; PostgreSQL has it in ${others.join(', ')}: remove it, or use that version`;
  }
  const otherEngine = options.engine === 'rds' ? 'aurora' : 'rds';
  if (parameterCatalogue(otherEngine, options.major).has(name)) {
    return `is not a parameter of ${family}, only of ${parameterFamily(otherEngine, options.major)}: remove it`;
  }
  const known = parameterCatalogue(options.engine, options.major);
  const similar = nearest(name, known.keys(), Math.max(2, Math.floor(name.length / 4))).slice(0, 3);
  const hint =
    similar.length > 0
      ? `did you mean ${similar.join(' or ')}?`
      : 'check the spelling; a parameter that AWS has added since goes on the parameter group itself (addParameter)';
  return `is not a parameter of ${family}: ${hint}`;
}

/** More connections than the memory bears are an override with a reason (CP-2). The first generation left them to RDS. */
function guardConnections(options: BuildParametersOptions, value: string | undefined): void {
  const { scope, engine, instanceType, profile, defaults, level } = options;
  if (defaults !== Defaults.V2 || !instanceType || level !== 'instance') return;
  const bearable = Number(connections(engine, instanceType));
  const most = Number.isNaN(bearable) ? MOST_CONNECTIONS : bearable;
  const wanted = value === undefined ? undefined : connectionsOfValue(value, instanceType);
  addFinding(scope, {
    id: 'CP-2',
    check: () =>
      profile.isProduction && wanted !== undefined && wanted > most
        ? `${scope.node.path}: parameter max_connections = ${JSON.stringify(value)}: ${instanceType} has memory for ${most}, and more sessions ` +
          'make each other slower'
        : undefined,
    fix: 'Leave max_connections out and put a pooler before the server, or acknowledge with what was measured.',
  });
}

const TLS_VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];

/** RDS applies the two of a pair in one call, and refuses one that contradicts what the other still is (LIB-3). */
function completePairs(
  options: BuildParametersOptions,
  overrides: ReadonlyMap<string, string>,
  values: Map<string, string>,
): void {
  const pair = (one: string, other: string, derive: (value: string) => string) => {
    const value = overrides.get(one);
    if (value === undefined || overrides.has(other)) return;
    if (value === ENGINE_DEFAULT) values.delete(other);
    else values.set(other, derive(value));
  };
  pair('password_encryption', 'rds.accepted_password_auth_method', (v) => (v === 'md5' ? 'md5+scram' : 'scram'));
  pair('rds.accepted_password_auth_method', 'password_encryption', () => 'scram-sha-256');
  pair('ssl_min_protocol_version', 'ssl_max_protocol_version', () => 'TLSv1.3');
  pair('ssl_max_protocol_version', 'ssl_min_protocol_version', (v) => (v === 'TLSv1.3' ? 'TLSv1.2' : v));

  const path = options.scope.node.path;
  if (values.get('password_encryption') === 'md5' && values.get('rds.accepted_password_auth_method') === 'scram') {
    throw new Error(
      `${path}: parameter password_encryption = "md5" with rds.accepted_password_auth_method = "scram" would make passwords that ` +
        'nobody can log in with: leave both out',
    );
  }
  const min = values.get('ssl_min_protocol_version');
  const max = values.get('ssl_max_protocol_version');
  if (min && max && TLS_VERSIONS.indexOf(min) > TLS_VERSIONS.indexOf(max) && TLS_VERSIONS.includes(max)) {
    throw new Error(
      `${path}: parameter ssl_min_protocol_version = "${min}" is newer than ssl_max_protocol_version = "${max}": nobody could connect`,
    );
  }
}
