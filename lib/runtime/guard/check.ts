import {
  DescribeDBClusterParametersCommand,
  DescribeDBParametersCommand,
  Parameter,
  RDSClient,
} from '@aws-sdk/client-rds';
import { DEPLOY_GUARD_METADATA, DEPLOY_GUARD_TYPE, GuardedServer } from '../../contract/deploy-guard';
import { holds, weigh } from './acknowledged';
import { describeObjection, judge } from './judge';
import { readAcknowledgements, readServers } from './properties';
import { describeRunning, RunningServer } from './running';
import { describeSources, judgeRestore } from './source';

/** The generations of defaults that this version of the package knows, oldest first. */
export const DEFAULTS_GENERATIONS = ['V1', 'V2'] as const;

export interface CheckOptions {
  /** A synthesized template. */
  readonly template: object;
  /** Where the running servers are seen. Absent: what needs them is unknown. */
  readonly client?: RDSClient;
  readonly now?: Date;
}

export interface CheckReport {
  /** Where the app declares the server. */
  readonly construct: string;
  readonly logicalIds: readonly string[];
  /** The generation of defaults that it was declared with, and newer ones to opt into. */
  readonly defaults: string;
  readonly newerDefaults: readonly string[];
  readonly reboots: readonly RebootReport[];
  readonly servers: readonly ServerReport[];
  /** `unknown` without credentials. */
  readonly guard: 'passes' | 'refuses' | 'unknown';
  /** What it would refuse, as it would say it. */
  readonly objections: readonly string[];
  /** What it would let pass for an acknowledgement, and acknowledgements that hold no more. */
  readonly notes: readonly string[];
}

export interface ServerReport {
  readonly identifier: string;
  readonly declaredVersion?: string;
  /** Undefined: nothing runs under this name, or it is unknown without credentials. */
  readonly runningVersion?: string;
}

export interface RebootReport {
  readonly parameterGroup: string;
  readonly parameter: string;
  readonly declared: string;
  /** `yes`: it differs from the running group's value, or waits already; `unknown`: without credentials. */
  readonly needsReboot: 'yes' | 'unknown';
  readonly running?: string;
}

/** What an engineer asks before a deployment: newer defaults, reboots that are due, and what the deploy guard would say. */
export async function checkTemplate(options: CheckOptions): Promise<CheckReport[]> {
  const resources = readResources(options.template);
  const guards = Object.values(resources).filter(({ Type }) => Type === DEPLOY_GUARD_TYPE);
  return Promise.all(guards.map((guard) => checkGuard(guard, resources, options)));
}

async function checkGuard(guard: Resource, resources: Resources, options: CheckOptions): Promise<CheckReport> {
  const { client, now = new Date() } = options;
  const servers = readServers(guard.Properties).map(literalsOnly);
  const metadata = asRecord(guard.Metadata?.[DEPLOY_GUARD_METADATA]);
  const defaults = String(metadata.defaults ?? 'unknown');
  const acknowledgements = readAcknowledgements(guard.Properties);
  const running = client ? await describeRunning(client, servers) : undefined;
  const toRestore = running ? servers.filter(({ LogicalId }) => !running.has(LogicalId)) : [];
  const sources = client ? await describeSources(client, toRestore) : new Map();
  const objections = [
    ...(running ? judge({ desired: servers, running, isOwn }) : []),
    ...toRestore.flatMap((server) => judgeRestore(server, sources.get(server.LogicalId))),
  ];
  const { refused, accepted } = weigh(objections, acknowledgements, now);
  return {
    construct: commonPath(servers.map(({ Path }) => Path)),
    logicalIds: servers.map(({ LogicalId }) => LogicalId),
    defaults,
    newerDefaults: newerThan(defaults),
    reboots: await reboots(servers, resources, asRecord(metadata.staticParameters), running, client),
    servers: servers.map((server) => ({
      identifier: server.Identifier,
      declaredVersion: server.EngineVersion,
      runningVersion: running?.get(server.LogicalId)?.engineVersion,
    })),
    guard: running ? (refused.length > 0 ? 'refuses' : 'passes') : 'unknown',
    objections: refused.map(describeObjection),
    notes: [
      ...accepted.map(({ objection, reason }) => `${objection.id} would pass: ${reason}`),
      ...acknowledgements
        .filter(({ Expires }) => !holds(Expires, now))
        .map(({ Id, Expires }) => `the acknowledgement of ${Id} has expired on ${Expires}: remove it`),
    ],
  };
}

/** A template does not know its stack's id; the same logical id is near enough for a look ahead. */
function isOwn(server: GuardedServer, running: RunningServer): boolean {
  return running.logicalId === server.LogicalId;
}

function newerThan(defaults: string): string[] {
  const known: readonly string[] = DEFAULTS_GENERATIONS;
  const index = known.indexOf(defaults);
  return index < 0 ? [] : known.slice(index + 1);
}

/** A reference is resolved only by the deployment; what cannot be compared is left out. */
function literalsOnly(server: GuardedServer): GuardedServer {
  const entries = Object.entries(server.CreateOnly).filter(
    ([, value]) => value === null || typeof value !== 'object' || Array.isArray(value),
  );
  const EngineVersion = typeof server.EngineVersion === 'string' ? server.EngineVersion : undefined;
  return { ...server, EngineVersion, CreateOnly: Object.fromEntries(entries) };
}

async function reboots(
  servers: readonly GuardedServer[],
  resources: Resources,
  staticParameters: Record<string, unknown>,
  running: ReadonlyMap<string, RunningServer> | undefined,
  client: RDSClient | undefined,
): Promise<RebootReport[]> {
  const reports: RebootReport[] = [];
  for (const [group, names] of Object.entries(staticParameters)) {
    const declared = asRecord(resources[group]?.Properties.Parameters);
    const users = servers.filter(({ LogicalId }) => groupOf(resources[LogicalId]) === group);
    const live = users.map(({ LogicalId }) => running?.get(LogicalId)).find((server) => server !== undefined);
    // A server that does not stand yet starts with its parameters.
    if (running && !live) continue;
    const values =
      client && live?.parameterGroup ? await parametersOf(client, users[0]!, live.parameterGroup) : undefined;
    for (const name of names as string[]) {
      const value = declared[name];
      if (typeof value !== 'string') continue;
      const report = { parameterGroup: group, parameter: name, declared: value };
      if (!values) reports.push({ ...report, needsReboot: 'unknown' });
      else if (values.get(name) !== value || live?.parametersPending) {
        reports.push({ ...report, needsReboot: 'yes', running: values.get(name) });
      }
    }
  }
  return reports;
}

function groupOf(server: Resource | undefined): string | undefined {
  const { DBParameterGroupName, DBClusterParameterGroupName } = server?.Properties ?? {};
  const reference = asRecord(DBParameterGroupName ?? DBClusterParameterGroupName).Ref;
  return typeof reference === 'string' ? reference : undefined;
}

async function parametersOf(
  client: RDSClient,
  server: GuardedServer,
  group: string,
): Promise<ReadonlyMap<string, string | undefined>> {
  const isCluster = server.Type === 'AWS::RDS::DBCluster';
  const values = new Map<string, string | undefined>();
  let Marker: string | undefined;
  do {
    const page: { Parameters?: Parameter[]; Marker?: string } = isCluster
      ? await client.send(new DescribeDBClusterParametersCommand({ DBClusterParameterGroupName: group, Marker }))
      : await client.send(new DescribeDBParametersCommand({ DBParameterGroupName: group, Marker }));
    for (const { ParameterName, ParameterValue } of page.Parameters ?? []) {
      if (ParameterName) values.set(ParameterName, ParameterValue);
    }
    Marker = page.Marker;
  } while (Marker);
  return values;
}

interface Resource {
  readonly Type: string;
  readonly Properties: Record<string, unknown>;
  readonly Metadata?: Record<string, unknown>;
}

type Resources = Readonly<Record<string, Resource>>;

function readResources(template: object): Resources {
  const resources = asRecord((template as { Resources?: unknown }).Resources);
  const entries = Object.entries(resources).map(([id, value]): [string, Resource] => {
    const { Type, Properties, Metadata } = asRecord(value);
    return [id, { Type: String(Type), Properties: asRecord(Properties), Metadata: asRecord(Metadata) }];
  });
  return Object.fromEntries(entries);
}

function commonPath(paths: readonly string[]): string {
  const [first = [], ...others] = paths.map((path) => path.split('/'));
  const length = first.findIndex((part, index) => others.some((other) => other[index] !== part));
  return (length < 0 ? first : first.slice(0, length)).join('/');
}

function asRecord(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
