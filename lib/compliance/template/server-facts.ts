import { ResourceFacts, isMap } from './resource-facts';
import { UNKNOWN, Value, isFalse, readValue, textOf } from './value';

export const INSTANCE = 'AWS::RDS::DBInstance';
export const CLUSTER = 'AWS::RDS::DBCluster';

const ENGINES = ['postgres', 'aurora-postgresql'] as const;
type Engine = (typeof ENGINES)[number];

/** The other resources of a server's template. */
interface Neighbours {
  ofType(type: string): readonly ResourceFacts[];
  referenced(value: unknown): ResourceFacts | undefined;
}

/** A PostgreSQL server of a template: a cluster with its nodes, or an instance that belongs to none. */
export class PostgresServerFacts {
  /** The server that the resource is; undefined for other engines, for the nodes of a cluster, and where the engine is not known. */
  static of(resource: ResourceFacts, template: Neighbours): PostgresServerFacts | undefined {
    if (resource.type !== CLUSTER && resource.type !== INSTANCE) return undefined;
    if (resource.type === INSTANCE && resource.has('DBClusterIdentifier')) return undefined;
    const engine = engineOf(resource, template);
    return engine && new PostgresServerFacts(resource, engine, template);
  }

  private constructor(
    readonly resource: ResourceFacts,
    readonly engine: Engine,
    private readonly template: Neighbours,
  ) {}

  get isCluster(): boolean {
    return this.resource.type === CLUSTER;
  }

  get isAurora(): boolean {
    return this.engine === 'aurora-postgresql';
  }

  /** Aurora Serverless in its first version has no nodes of its own. */
  get isServerlessV1(): boolean {
    return this.resource.get('EngineMode') === 'serverless';
  }

  /** A cluster of RDS with a writer and two standbys that serve reads. */
  get isMultiAzCluster(): boolean {
    return this.isCluster && !this.isAurora;
  }

  /** It follows another server, whose properties decide for it. */
  get isReplica(): boolean {
    const { resource } = this;
    if (this.isCluster) return resource.has('ReplicationSourceIdentifier');
    return (
      (resource.has('SourceDBInstanceIdentifier') && !this.isOfAMoment) || resource.has('SourceDBClusterIdentifier')
    );
  }

  /** A restore to a moment names its source as a replica does, and the moment besides. */
  private get isOfAMoment(): boolean {
    const latest = this.resource.get('UseLatestRestorableTime');
    return this.resource.has('RestoreTime') || (latest !== undefined && !isFalse(latest));
  }

  /** It starts from data that is there, and takes over whether they are encrypted. */
  get isRestored(): boolean {
    const sources = [
      'DBSnapshotIdentifier',
      'DBClusterSnapshotIdentifier',
      'SnapshotIdentifier',
      'SourceDbiResourceId',
      'SourceDBInstanceAutomatedBackupsArn',
      'SourceDbClusterResourceId',
      this.isCluster ? 'SourceDBClusterIdentifier' : 'SourceDBInstanceIdentifier',
    ];
    return !this.isReplica && sources.some((property) => this.resource.has(property));
  }

  /** The nodes of a cluster that are in this template. */
  get nodes(): readonly ResourceFacts[] {
    if (!this.isCluster) return [];
    return this.template
      .ofType(INSTANCE)
      .filter((node) => this.template.referenced(node.rawOf('DBClusterIdentifier')) === this.resource);
  }

  /** The cluster's nodes, or the instance itself. */
  get instances(): readonly ResourceFacts[] {
    return this.isCluster ? this.nodes : [this.resource];
  }

  /** The major version; undefined where it is not known. */
  get major(): number | undefined {
    const [major] = textOf(this.resource.get('EngineVersion'))?.split('.') ?? [];
    return major === undefined || !/^\d+$/.test(major) ? undefined : Number(major);
  }

  /** A parameter of the groups in use; what a node says holds for it, whatever its cluster says. `undefined`: the engine's default holds. */
  parameter(name: string): Value {
    const values = this.instances.map((node) => this.parameterOf(node.rawOf('DBParameterGroupName'), name));
    if (this.isCluster) values.push(this.parameterOf(this.resource.rawOf('DBClusterParameterGroupName'), name));
    return values.find((value) => textOf(value) !== undefined) ?? values.find((value) => value !== undefined);
  }

  private parameterOf(group: unknown, name: string): Value {
    const literal = readValue(group);
    if (literal === undefined || textOf(literal)?.startsWith('default.')) return undefined;
    const parameters = this.template.referenced(group)?.rawOf('Parameters');
    if (isMap(parameters) && !Object.keys(parameters).some((key) => key.startsWith('Fn::') || key === 'Ref'))
      return readValue(parameters[name]);
    // A group of another stack, of another template or of a name: it may say anything.
    return this.template.referenced(group) !== undefined && parameters === undefined ? undefined : UNKNOWN;
  }
}

function engineOf(resource: ResourceFacts, template: Neighbours): Engine | undefined {
  const engine = textOf(resource.get('Engine'))?.toLowerCase();
  if (engine !== undefined) return ENGINES.find((known) => known === engine);
  const source = template.referenced(resource.rawOf('SourceDBInstanceIdentifier'));
  return source === undefined || source === resource ? undefined : engineOf(source, template);
}
