import { aws_rds as rds } from 'aws-cdk-lib';
import { defaultsV1 } from '../parameters/defaults-v1';
import { ParameterLevel, parameterCatalogue } from '../parameters';
import { HardenedServer } from './hardened-server';
import { Measure } from './measure';
import {
  NOT_KNOWN,
  ParameterHome,
  ParameterState,
  parameterHome,
  putParameter,
  readParameter,
  servesTwice,
  setGroup,
} from './parameter-home';

interface WantedParameter {
  readonly name: string;
  /** Whether a value does what is asked; whoever chose it may keep it. */
  readonly holds: (value: string) => boolean;
  /** Whether the engine's own default does, in a version. */
  readonly holdsByDefault?: (server: HardenedServer) => boolean;
  /** What becomes of a value that does not hold. Default: this library's value. */
  readonly merge?: (value: string, ours: string) => string;
}

const isOn = (value: string) => ['1', 'on', 'true', 'yes'].includes(value.toLowerCase());
const isOff = (value: string) => ['0', 'off', 'false', 'no', ''].includes(value.trim().toLowerCase());
const libraries = (value: string) => value.split(',').map((item) => item.trim());

/** Those that are there stay, in their order: somebody needs them. */
function withLibraries(value: string, ours: string): string {
  const there = libraries(value).filter((item) => item !== '');
  return [...there, ...libraries(ours).filter((item) => !there.includes(item))].join(',');
}

const on = (name: string): WantedParameter => ({ name, holds: isOn });
const anyLimit = (name: string): WantedParameter => ({ name, holds: (value) => Number(value) !== -1 });

/** From this version on the engine refuses connections without TLS by default. */
const tlsByDefault = ({ major, parameterEngine }: HardenedServer) =>
  major !== undefined && major >= (parameterEngine === 'aurora' ? 17 : 15);

const PARAMETERS = {
  'force-tls': [{ name: 'rds.force_ssl', holds: isOn, holdsByDefault: tlsByDefault }],
  'scram-passwords': [{ name: 'password_encryption', holds: (value: string) => value === 'scram-sha-256' }],
  // The two come together: RDS refuses one that contradicts what the other still is (LIB-3).
  'refuse-md5': [
    { name: 'password_encryption', holds: (value: string) => value === 'scram-sha-256' },
    { name: 'rds.accepted_password_auth_method', holds: (value: string) => value === 'scram' },
  ],
  audit: [
    {
      name: 'shared_preload_libraries',
      holds: (value: string) => ['pg_stat_statements', 'pgaudit'].every((name) => libraries(value).includes(name)),
      merge: withLibraries,
    },
    { name: 'pgaudit.log', holds: (value: string) => value !== 'none' && value !== '' },
    { name: 'pgaudit.role', holds: (value: string) => value === 'rds_pgaudit' },
  ],
  'log-connections': [
    { name: 'log_connections', holds: (value: string) => !isOff(value) },
    on('log_disconnections'),
    on('log_replication_commands'),
  ],
  'log-statements': [
    anyLimit('log_min_duration_statement'),
    on('log_lock_waits'),
    anyLimit('log_temp_files'),
    anyLimit('log_autovacuum_min_duration'),
    on('track_io_timing'),
  ],
  'idle-transactions': [
    // RDS's own default is a day, which is none.
    {
      name: 'idle_in_transaction_session_timeout',
      holds: (value: string) => Number(value) > 0 && Number(value) < 86_400_000,
    },
  ],
  'slot-limit': [anyLimit('max_slot_wal_keep_size')],
} as const satisfies Readonly<Record<string, readonly WantedParameter[]>>;

export type ParameterItem = keyof typeof PARAMETERS;

export function isParameterItem(id: string): id is ParameterItem {
  return id in PARAMETERS;
}

/** One parameter in one group that does not do what is asked. */
interface Lack {
  readonly parameter: WantedParameter;
  readonly holder: rds.CfnDBInstance | rds.CfnDBCluster;
  readonly home: ParameterHome;
  readonly state: ParameterState;
}

export function parameterMeasure(id: ParameterItem): Measure {
  return {
    missing: (server) => {
      if (withoutHolders(server, PARAMETERS[id])) return 'these are parameters of its nodes, and the app has none';
      const lacks = lacksOf(server, PARAMETERS[id]);
      return lacks.length === 0 ? undefined : [...new Set(lacks.map(describe))].join('; ');
    },
    obstacle: (server) => {
      for (const lack of lacksOf(server, PARAMETERS[id])) {
        const obstacle = obstacleOf(server, lack);
        if (obstacle !== undefined) return obstacle;
      }
      return withoutHolders(server, PARAMETERS[id])
        ? 'set them where the nodes are made, or apply the mixin when they are'
        : undefined;
    },
    enforce: (server) => {
      for (const { parameter, home, state } of lacksOf(server, PARAMETERS[id])) {
        if (home.kind !== 'own') continue;
        const ours = oursOf(server, parameter.name);
        const merged = typeof state === 'string' && parameter.merge ? parameter.merge(state, ours) : ours;
        putParameter(home.group, parameter.name, merged);
      }
    },
  };
}

/** A cluster whose nodes are made elsewhere, or later. */
function withoutHolders(server: HardenedServer, wanted: readonly WantedParameter[]): boolean {
  return wanted.some(({ name }) => server.holders(levelOf(server, name)).length === 0);
}

function lacksOf(server: HardenedServer, wanted: readonly WantedParameter[]): Lack[] {
  return wanted.flatMap((parameter) =>
    server.holders(levelOf(server, parameter.name)).flatMap((holder) => {
      const home = parameterHome(holder);
      const state = home.kind === 'own' ? readParameter(home.group, parameter.name) : undefined;
      return lacks(server, parameter, state) ? [{ parameter, holder, home, state }] : [];
    }),
  );
}

function lacks(server: HardenedServer, parameter: WantedParameter, state: ParameterState): boolean {
  if (state === NOT_KNOWN) return false;
  return state === undefined ? !parameter.holdsByDefault?.(server) : !parameter.holds(state);
}

function levelOf(server: HardenedServer, name: string): ParameterLevel {
  return parameterCatalogue(server.parameterEngine, server.catalogueMajor ?? 18).get(name)?.level ?? 'instance';
}

function oursOf(server: HardenedServer, name: string): string {
  const values = defaultsV1(server.parameterEngine, server.catalogueMajor!, server.allocatedStorageGiB);
  return values.find((value) => value.name === name)!.value;
}

function describe({ parameter, home, state }: Lack): string {
  const { name } = parameter;
  if (home.kind === 'imported') return `${name} is in the parameter group ${home.name}, which this app does not make`;
  return state === undefined ? `${name} is not set` : `${name} is ${JSON.stringify(state)}`;
}

function obstacleOf(server: HardenedServer, { parameter, home }: Lack): string | undefined {
  if (server.catalogueMajor === undefined) return 'the engine states no version, on which the values depend';
  if (home.kind === 'default')
    return 'the server uses the default group of its engine, which nobody can change: enforce HardeningItem.OWN_PARAMETER_GROUP as well';
  if (home.kind === 'imported')
    return `set ${parameter.name} to ${JSON.stringify(oursOf(server, parameter.name))} where the parameter group ${home.name} is made`;
  if (servesTwice(home.group))
    return `${home.group.node.scope!.node.path} serves the cluster and its nodes alike, whose parameters differ: give each a ParameterGroup of its own`;
  return undefined;
}

/** A group of its own in the place of the engine's default. */
export const OWN_GROUP: Measure = {
  missing: (server) => {
    const without = holdersOf(server).filter((holder) => parameterHome(holder).kind === 'default');
    return without.length === 0
      ? undefined
      : `${without.length === 1 ? '' : `${without.length} of its resources: `}the parameters are those of the engine’s default group`;
  },
  obstacle: ({ major }) =>
    major === undefined ? 'the engine states no version, and so no family of parameters' : undefined,
  enforce: (server) => {
    const { resource, major, place } = server;
    if (major === undefined) return;
    const engine: rds.IEngine = {
      engineType: resource.engine!,
      parameterGroupFamily: `${resource.engine === 'postgres' ? 'postgres' : 'aurora-postgresql'}${major}`,
    };
    const prefix = place === server.owner ? '' : resource.node.id;
    const make = (id: string) =>
      new rds.ParameterGroup(place, `${prefix}${id}`, {
        engine,
        description: `Parameters of the PostgreSQL server ${server.path}`.slice(0, 255),
      });
    const without = holdersOf(server).filter((holder) => parameterHome(holder).kind === 'default');
    const nodes = without.filter((holder) => rds.CfnDBInstance.isCfnDBInstance(holder));
    if (without.includes(resource) && server.cluster)
      setGroup(resource, make('HardenedParameters').bindToCluster({}).parameterGroupName);
    if (nodes.length === 0) return;
    const { parameterGroupName } = make(
      server.cluster ? 'HardenedNodeParameters' : 'HardenedParameters',
    ).bindToInstance({});
    nodes.forEach((node) => setGroup(node, parameterGroupName));
  },
};

function holdersOf(server: HardenedServer) {
  return [...new Set([...server.holders('cluster'), ...server.holders('instance')])];
}
