import { CfnResource, Stack, aws_ec2 as ec2, aws_rds as rds } from 'aws-cdk-lib';
import { Construct, IConstruct } from 'constructs';
import { ParameterEngine, ParameterLevel } from '../parameters';
import { SupportedMajor } from '../postgres-version';
import { overridesOf, referenced } from './parameter-home';

/** A property as it stands, or undefined: it is not set, or only the deployment knows it. */
type Known = string | number | boolean | undefined;

/** A server of aws-rds in the app: an instance, or a cluster with the nodes that there are by now. */
export class HardenedServer {
  /** The server that a resource is. Undefined: another engine, a node of a cluster, or no server. */
  static of(construct: IConstruct): HardenedServer | undefined {
    if (rds.CfnDBCluster.isCfnDBCluster(construct)) {
      return ['postgres', 'aurora-postgresql'].includes(construct.engine ?? '')
        ? new HardenedServer(construct)
        : undefined;
    }
    if (!rds.CfnDBInstance.isCfnDBInstance(construct) || construct.dbClusterIdentifier !== undefined) return undefined;
    return construct.engine === 'postgres' ? new HardenedServer(construct) : undefined;
  }

  private constructor(readonly resource: rds.CfnDBInstance | rds.CfnDBCluster) {}

  /** The construct that a user knows: the L2, or the resource itself. */
  get owner(): Construct {
    const { scope, id } = this.resource.node;
    return id === 'Resource' && scope && !Stack.isStack(scope) ? (scope as Construct) : this.resource;
  }

  /** Where a construct for the server may stand. */
  get place(): Construct {
    return this.owner === this.resource ? (this.resource.node.scope as Construct) : this.owner;
  }

  get path(): string {
    return this.owner.node.path;
  }

  get cluster(): rds.CfnDBCluster | undefined {
    return rds.CfnDBCluster.isCfnDBCluster(this.resource) ? this.resource : undefined;
  }

  get instance(): rds.CfnDBInstance | undefined {
    return rds.CfnDBInstance.isCfnDBInstance(this.resource) ? this.resource : undefined;
  }

  /** The nodes of a cluster, wherever in the app they stand. */
  get nodes(): rds.CfnDBInstance[] {
    const { cluster } = this;
    if (!cluster) return [];
    return this.resource.node.root.node
      .findAll()
      .filter((construct): construct is rds.CfnDBInstance => rds.CfnDBInstance.isCfnDBInstance(construct))
      .filter(({ dbClusterIdentifier }) => dbClusterIdentifier && referenced(dbClusterIdentifier) === cluster);
  }

  /** The nodes, or the instance itself. */
  get instances(): rds.CfnDBInstance[] {
    return this.instance ? [this.instance] : this.nodes;
  }

  get parameterEngine(): ParameterEngine {
    return this.resource.engine === 'aurora-postgresql' ? 'aurora' : 'rds';
  }

  /** The major version as it is stated. */
  get major(): number | undefined {
    const version = this.read('engineVersion');
    const match = /^(\d+)/.exec(String(version ?? ''));
    return match ? Number(match[1]) : undefined;
  }

  /** The known version whose parameters are nearest to those of the server. */
  get catalogueMajor(): SupportedMajor | undefined {
    const { major } = this;
    return major === undefined ? undefined : (Math.min(18, Math.max(16, major)) as SupportedMajor);
  }

  /** It follows another server, whose backups are its own. */
  get isReplica(): boolean {
    const { cluster, instance } = this;
    return [
      cluster?.replicationSourceIdentifier,
      this.isSecondary ? cluster?.globalClusterIdentifier : undefined,
      this.isOfAMoment ? undefined : instance?.sourceDbInstanceIdentifier,
      instance?.sourceDbClusterIdentifier,
    ].some((source) => source !== undefined);
  }

  /** A cluster of a global database that states no master and no data of its own has both from the primary. */
  private get isSecondary(): boolean {
    if (this.cluster?.globalClusterIdentifier === undefined) return false;
    const own = ['masterUsername', 'manageMasterUserPassword', 'snapshotIdentifier', 'sourceDbClusterIdentifier'];
    return own.every((property) => this.value(property) === undefined);
  }

  /** It starts from data that are there, and takes over whether they are encrypted. */
  get isRestored(): boolean {
    const { cluster, instance } = this;
    return [
      cluster?.snapshotIdentifier,
      cluster?.sourceDbClusterIdentifier,
      instance?.dbSnapshotIdentifier,
      instance?.dbClusterSnapshotIdentifier,
      this.isOfAMoment ? true : undefined,
    ].some((source) => source !== undefined);
  }

  /** A restore to a moment names its source as a replica does, and the moment besides. */
  private get isOfAMoment(): boolean {
    const { instance } = this;
    if (!instance) return false;
    const latest = this.value('useLatestRestorableTime') ?? false;
    return instance.restoreTime !== undefined || String(latest) !== 'false';
  }

  get allocatedStorageGiB(): number | undefined {
    const storage = Number(this.instance && this.read('allocatedStorage'));
    return Number.isFinite(storage) && storage > 0 ? storage : undefined;
  }

  /** Those whose parameter group has the parameters of a level. A cluster that is not of Aurora has one group for all. */
  holders(level: ParameterLevel): (rds.CfnDBInstance | rds.CfnDBCluster)[] {
    if (this.instance) return [this.instance];
    if (this.parameterEngine === 'rds' || level === 'cluster') return [this.cluster!];
    return this.nodes;
  }

  /** A property of the server as the template will have it. */
  read(property: string, resource: CfnResource = this.resource): Known {
    const value = this.value(property, resource);
    return ['string', 'number', 'boolean'].includes(typeof value) ? (value as Known) : undefined;
  }

  /** Whether a property is set to what only the deployment knows. */
  isUnknown(property: string, resource: CfnResource = this.resource): boolean {
    const value = this.value(property, resource);
    return typeof value === 'object' && value !== null && !Array.isArray(value);
  }

  /** Resolved, of any type. An override has the last word. */
  value(property: string, resource: CfnResource = this.resource): unknown {
    const name = property.toLowerCase();
    const override = Object.entries(overridesOf(resource)).find(([key]) => key.toLowerCase() === name);
    const stated = override ? override[1] : (resource as unknown as Record<string, unknown>)[property];
    return Stack.of(resource).resolve(stated);
  }

  /** The public subnets that it stands in, where the app knows them. */
  get publicSubnets(): string[] {
    const vpc = (this.owner as Construct & { readonly vpc?: ec2.IVpc }).vpc;
    const name = this.resource.dbSubnetGroupName;
    const group = name === undefined ? undefined : referenced(name);
    if (!vpc || !group || !rds.CfnDBSubnetGroup.isCfnDBSubnetGroup(group)) return [];
    const stack = Stack.of(group);
    const used = new Set((stack.resolve(group.subnetIds) as unknown[]).map((id) => JSON.stringify(id)));
    return vpc.publicSubnets
      .filter(({ subnetId }) => used.has(JSON.stringify(stack.resolve(subnetId))))
      .map(({ node }) => node.path);
  }
}
