import { createHash } from 'node:crypto';
import { GUARD_IDS, GuardedServer, GuardId, RESTORE_PROPERTIES } from '../../contract/deploy-guard';
import { RunningServer } from './running';
import { readVersion } from './version';

/** One thing that a deployment would do to a server. */
export interface Objection {
  readonly id: GuardId;
  readonly path: string;
  /** The property, and its value before and after, where it is about one. */
  readonly property?: string;
  readonly before?: string;
  readonly after?: string;
  readonly consequence: string;
  readonly remedy: string;
}

export interface Case {
  /** What the template wants. */
  readonly desired: readonly GuardedServer[];
  /** What it wanted before. Undefined: the guard is new. */
  readonly previous?: readonly GuardedServer[];
  /** What runs under the name of each desired server, by logical id. Absent: nothing. */
  readonly running: ReadonlyMap<string, RunningServer>;
  /** Whether CloudFormation made what runs for this very resource of the stack. */
  readonly isOwn: (desired: GuardedServer, running: RunningServer) => boolean;
}

/** What the deployment would do that nobody may do by accident. Empty: it may go on. */
export function judge(facts: Case): Objection[] {
  const objections: Objection[] = [];
  for (const desired of facts.desired) {
    const previous = facts.previous?.find((server) => server.LogicalId === desired.LogicalId);
    const running = facts.running.get(desired.LogicalId);
    if (previous && previous.Type !== desired.Type) {
      objections.push(otherType(previous, desired));
      continue;
    }
    const isRenamed = previous !== undefined && !sameValue('Identifier', previous.Identifier, desired.Identifier);
    if (running && (!previous || isRenamed) && !facts.isOwn(desired, running)) {
      objections.push(taken(desired));
      continue;
    }
    if (previous) objections.push(...againstBefore(previous, desired));
    else if (running) objections.push(...againstRunning(running, desired));
    objections.push(...versionObjections(previous, running, desired));
  }
  objections.push(...successors(facts.previous ?? [], facts.desired));
  return objections;
}

/** Identifies what the guard watches: the same for the same servers, whatever else changes. */
export function fingerprint(servers: readonly GuardedServer[]): string {
  const watched = servers
    .map(({ LogicalId, Type, Identifier, EngineVersion, ParameterFamily, CreateOnly }) => [
      LogicalId,
      Type,
      Identifier,
      EngineVersion ?? null,
      ParameterFamily ?? null,
      Object.entries(CreateOnly)
        .map(([name, value]) => [name, canonical(value)])
        .sort(),
    ])
    .map((server) => JSON.stringify(server))
    .sort();
  return createHash('sha256').update(watched.join('\n')).digest('hex').slice(0, 16);
}

/** Scalars as CloudFormation writes them, so that `true` and `"true"` are the same. */
export function canonical(value: unknown): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (Array.isArray(value)) return JSON.stringify(value.map((item) => canonical(item) ?? '').sort());
  if (typeof value === 'object') {
    const entries = Object.entries(value).map(([key, item]) => [key, canonical(item) ?? '']);
    return JSON.stringify(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }
  return String(value);
}

function againstBefore(previous: GuardedServer, desired: GuardedServer): Objection[] {
  const names = [...new Set([...Object.keys(previous.CreateOnly), ...Object.keys(desired.CreateOnly)])].sort();
  const objections: Objection[] = [];
  for (const name of names) {
    const before = canonical(previous.CreateOnly[name]);
    const after = canonical(desired.CreateOnly[name]);
    if (sameValue(name, before, after) || changesInPlace(name, before, after)) continue;
    objections.push(changed(desired, name, before, after));
  }
  const replaced = objections.some(({ id }) => id === 'guard:replacement' || id === 'guard:engine');
  if (replaced && holdsData(previous) && !isRestored(desired)) objections.push(emptySuccessor(previous, desired));
  return objections;
}

/** Names are case-insensitive in RDS, which keeps them in lower case. */
function sameValue(name: string, before: string | undefined, after: string | undefined): boolean {
  if (name === 'UseLatestRestorableTime' && isFalse(before) && isFalse(after)) return true;
  if (/Identifier$|^DBSubnetGroupName$/.test(name)) return before?.toLowerCase() === after?.toLowerCase();
  return before === after;
}

function isFalse(value: string | undefined): boolean {
  return value === undefined || value === 'false';
}

/** Where the resource's own code updates the server although the property is one of those that may replace it. */
function changesInPlace(name: string, before: string | undefined, after: string | undefined): boolean {
  if (name === 'GlobalClusterIdentifier') return after === undefined;
  if (name === 'PerformanceInsightsKMSKeyId') return before === undefined;
  return false;
}

function changed(server: GuardedServer, property: string, before?: string, after?: string): Objection {
  const about = { path: server.Path, property, before, after };
  const keep = before === undefined ? `leave ${property} out` : `keep ${property} as it is`;
  if (property === 'Engine') {
    const consequence = 'CloudFormation makes a new server of the other engine and gives up the one with the data';
    return { id: 'guard:engine', ...about, consequence, remedy: `${keep}, and move the data to a second server first` };
  }
  if (property === 'Port' && server.Type === 'AWS::RDS::DBCluster') {
    const consequence = 'the cluster restarts, and no client finds it at its old address';
    return { id: 'guard:port', ...about, consequence, remedy: keep };
  }
  if (RESTORE_PROPERTIES.has(property) && after === undefined) {
    const consequence =
      'a server that was restored keeps its data only while the template names what it was restored from; without it ' +
      'CloudFormation may make an empty one';
    return { id: 'guard:empty-successor', ...about, consequence, remedy: keep };
  }
  const consequence = `CloudFormation makes a new ${kind(server)} and gives up the old one`;
  return { id: 'guard:replacement', ...about, consequence, remedy: keep };
}

/** The guard has come to a server that stands already: what CloudFormation knew before cannot be seen, what runs can. */
function againstRunning(running: RunningServer, desired: GuardedServer): Objection[] {
  const objections: Objection[] = [];
  for (const [name, value] of Object.entries(running.properties).sort()) {
    const wanted = canonical(desired.CreateOnly[name]);
    if (wanted === undefined || sameAsRunning(name, value, wanted)) continue;
    objections.push(changed(desired, name, value, wanted));
  }
  return objections;
}

/** How the construct writes a reference to a secret, which nobody resolves on the way to the guard. */
const DYNAMIC_REFERENCE = '{{not resolved:';

/** A key may be named by id, alias or ARN; RDS answers with the ARN, and an alias cannot be told apart from here. */
function sameAsRunning(name: string, running: string, wanted: string): boolean {
  if (wanted.includes(DYNAMIC_REFERENCE)) return true;
  if (/kms/i.test(name)) {
    if (/(^|\/|:)alias\//.test(wanted)) return true;
    return running.split('/').pop() === wanted.split('/').pop();
  }
  if (name === 'AvailabilityZones') return true;
  return running.toLowerCase() === wanted.toLowerCase();
}

function versionObjections(
  previous: GuardedServer | undefined,
  running: RunningServer | undefined,
  desired: GuardedServer,
): Objection[] {
  const wanted = readVersion(desired.EngineVersion);
  const isUnchanged = previous !== undefined && previous.EngineVersion === desired.EngineVersion;
  const objections: Objection[] = [];
  const family = readVersion(/(\d+)$/.exec(desired.ParameterFamily ?? '')?.[1]);
  if (wanted && family && family.major !== wanted.major) {
    objections.push({
      id: 'guard:major-version',
      path: desired.Path,
      property: 'parameter group family',
      before: desired.EngineVersion,
      after: desired.ParameterFamily,
      consequence: `a server of version ${desired.EngineVersion} cannot use parameters of ${desired.ParameterFamily}`,
      remedy: `use a parameter group of the family for ${wanted.major}`,
    });
  }
  // CloudFormation passes a version on only when the template's has changed: a server that has upgraded itself is left alone.
  if (!wanted || isUnchanged) return objections;
  const currentText = running?.engineVersion ?? previous?.EngineVersion;
  const current = readVersion(currentText);
  if (!current) return objections;
  const about = { path: desired.Path, property: 'EngineVersion', before: currentText, after: desired.EngineVersion };
  const isOlderMinor =
    wanted.major === current.major &&
    wanted.minor !== undefined &&
    current.minor !== undefined &&
    wanted.minor < current.minor;
  if (wanted.major < current.major || isOlderMinor) {
    objections.push({
      id: 'guard:downgrade',
      ...about,
      consequence: 'RDS refuses to go back to an older version, and the deployment would fail half-way',
      remedy: isOlderMinor
        ? `name the major version ${wanted.major} alone, so that minor versions upgrade themselves`
        : `use version ${current.major}`,
    });
  } else if (wanted.major > current.major) {
    objections.push({
      id: 'guard:major-version',
      ...about,
      consequence: 'the server is down for the time of the upgrade, and there is no way back but a restore',
      remedy: `stay at ${current.major}, and upgrade on a copy first`,
    });
  }
  return objections;
}

/** A server with data that is gone from the template beside one that is new in it: somebody renamed it, or exchanged its kind. */
function successors(previous: readonly GuardedServer[], desired: readonly GuardedServer[]): Objection[] {
  const ids = (servers: readonly GuardedServer[]) => new Set(servers.map((server) => server.LogicalId));
  const before = ids(previous);
  const after = ids(desired);
  const gone = previous.filter((server) => holdsData(server) && !after.has(server.LogicalId));
  const fresh = desired.filter((server) => holdsData(server) && !before.has(server.LogicalId));
  return gone.flatMap((old) =>
    fresh.map((server): Objection =>
      old.Type !== server.Type || old.CreateOnly.Engine !== server.CreateOnly.Engine
        ? otherType(old, server)
        : isRestored(server)
          ? {
              id: 'guard:replacement',
              path: server.Path,
              before: old.Identifier,
              after: server.Identifier,
              consequence: 'a restored copy takes the place of the server, without what was written since',
              remedy: 'keep the construct and its id as they are',
            }
          : emptySuccessor(old, server),
    ),
  );
}

function emptySuccessor(old: GuardedServer, server: GuardedServer): Objection {
  return {
    id: 'guard:empty-successor',
    path: server.Path,
    before: old.Identifier,
    after: server.Identifier,
    consequence: 'the new server would be empty, and applications would be pointed at it',
    remedy: 'restore the new server from a snapshot of the old one, or keep the construct, its id and its properties',
  };
}

function otherType(old: GuardedServer, server: GuardedServer): Objection {
  const describe = ({ Type, CreateOnly }: GuardedServer) => `${String(CreateOnly.Engine ?? 'PostgreSQL')} (${Type})`;
  return {
    id: 'guard:engine',
    path: server.Path,
    before: describe(old),
    after: describe(server),
    consequence: 'the data does not move from one to the other by itself',
    remedy: 'declare the other server under a new construct id beside this one, and move the data first',
  };
}

function taken(server: GuardedServer): Objection {
  return {
    id: 'guard:identifier-taken',
    path: server.Path,
    property: server.Type === 'AWS::RDS::DBCluster' ? 'DBClusterIdentifier' : 'DBInstanceIdentifier',
    after: server.Identifier,
    consequence: `${kind(server) === 'cluster' ? 'a cluster' : 'an instance'} of this name exists, and CloudFormation did not make it for this resource of this stack`,
    remedy: 'choose another identifier, or take the existing one over with cdk import',
  };
}

function kind(server: GuardedServer): string {
  return server.Type === 'AWS::RDS::DBCluster' ? 'cluster' : 'instance';
}

/** A node of a cluster holds none of its own, and a replica nothing that its primary has not. */
function holdsData(server: GuardedServer): boolean {
  if (isReplica(server)) return false;
  return server.Type === 'AWS::RDS::DBCluster' || canonical(server.CreateOnly.DBClusterIdentifier) === undefined;
}

/** Follows another instance. A restore to a moment names its source as well, and the moment besides. */
function isReplica({ Type, CreateOnly }: GuardedServer): boolean {
  return (
    Type === 'AWS::RDS::DBInstance' &&
    canonical(CreateOnly.SourceDBInstanceIdentifier) !== undefined &&
    canonical(CreateOnly.RestoreTime) === undefined &&
    isFalse(canonical(CreateOnly.UseLatestRestorableTime))
  );
}

function isRestored(server: GuardedServer): boolean {
  return [...RESTORE_PROPERTIES].some((name) => !isFalse(canonical(server.CreateOnly[name])));
}

/** The sentence that an engineer reads in CloudFormation's events. */
export function describeObjection(objection: Objection): string {
  const { id, path, property, before, after, consequence, remedy } = objection;
  const value = (text: string | undefined) => (text === undefined ? 'not set' : JSON.stringify(text));
  const change = before === undefined && after === undefined ? '' : ` ${value(before)} would become ${value(after)}:`;
  return (
    `${path}: ${property ?? GUARD_IDS[id]}${change ? (property ? '' : ',') : ':'}${change} ${consequence}. ` +
    `To stay safe, ${remedy}. If it is meant: acknowledge({ id: '${id}', reason, expires }) on the server.`
  );
}
