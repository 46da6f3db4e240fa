import { CfnResource, Stack, Token } from 'aws-cdk-lib';
import { CfnDBCluster, CfnDBClusterParameterGroup, CfnDBInstance, CfnDBParameterGroup } from 'aws-cdk-lib/aws-rds';
import { GuardedServer } from '../../contract/deploy-guard';
import { GuardedType, guardedProperties } from './create-only';
import { RestoredExpectation, readSource } from './restore-source';

export type ServerResource = CfnDBInstance | CfnDBCluster;
export type ParameterGroupResource = CfnDBParameterGroup | CfnDBClusterParameterGroup;

/** The property that names a server in RDS. */
export function identifierProperty(type: string): 'DBInstanceIdentifier' | 'DBClusterIdentifier' {
  return type === 'AWS::RDS::DBCluster' ? 'DBClusterIdentifier' : 'DBInstanceIdentifier';
}

/** What the template will say about a server, escape hatches and all; read when the app is complete. */
export function readServerResource(
  server: ServerResource,
  all: readonly ServerResource[],
  groups: ReadonlyMap<string, ParameterGroupResource>,
  expectation: RestoredExpectation = {},
): GuardedServer {
  const properties = templateProperties(server);
  const type = server.cfnResourceType as GuardedType;
  const text = (name: string) => (typeof properties[name] === 'string' ? (properties[name] as string) : undefined);
  const createOnly = guardedProperties(type)
    .filter((name) => properties[name] !== undefined)
    .map((name): [string, unknown] => [name, plain(properties[name], all)]);
  return {
    Path: server.node.path.replace(/(\/Resource)+$/, ''),
    LogicalId: logicalId(server),
    Type: type,
    Identifier: text(identifierProperty(type)) ?? '',
    // One that only the deployment knows reaches the guard resolved.
    EngineVersion: versionOf(properties, all),
    ParameterFamily: parameterGroupOf(server, groups)?.family,
    Class: text('DBInstanceClass') ?? text('DBClusterInstanceClass'),
    CreateOnly: Object.fromEntries(createOnly),
    Source: readSource(properties, expectation),
  };
}

function versionOf(
  { EngineVersion }: Readonly<Record<string, unknown>>,
  all: readonly ServerResource[],
): string | undefined {
  return (typeof EngineVersion === 'number' ? String(EngineVersion) : plain(EngineVersion, all)) as string | undefined;
}

/** The literal name of a server, or undefined where the template has none that the guard could ask for. */
export function literalIdentifier(server: ServerResource): string | undefined {
  const value = templateProperties(server)[identifierProperty(server.cfnResourceType)];
  return typeof value === 'string' && !Token.isUnresolved(value) && value !== '' ? value : undefined;
}

/** The parameter groups that a stack makes, by logical id; to look for each one alone takes longer the more an app declares. */
export function parameterGroupsOf(stack: Stack): ReadonlyMap<string, ParameterGroupResource> {
  const groups = stack.node
    .findAll()
    .filter(
      (one): one is ParameterGroupResource =>
        (one instanceof CfnDBParameterGroup || one instanceof CfnDBClusterParameterGroup) && Stack.of(one) === stack,
    );
  return new Map(groups.map((group) => [logicalId(group), group]));
}

/** The parameter group that the app makes for a server. Undefined: it is the engine's default, or comes from elsewhere. */
export function parameterGroupOf(
  server: ServerResource,
  groups: ReadonlyMap<string, ParameterGroupResource>,
): ParameterGroupResource | undefined {
  const { DBParameterGroupName, DBClusterParameterGroupName } = templateProperties(server);
  const reference = (DBParameterGroupName ?? DBClusterParameterGroupName) as { Ref?: unknown } | undefined;
  return typeof reference === 'object' ? groups.get(String(reference.Ref)) : undefined;
}

export function logicalId(resource: CfnResource): string {
  return Stack.of(resource).resolve(resource.logicalId) as string;
}

/** The properties as they will stand in the template: overrides reach them by no other way. */
function templateProperties(resource: CfnResource): Record<string, unknown> {
  const rendering = resource as unknown as { _toCloudFormation(): object };
  const template = Stack.of(resource).resolve(rendering._toCloudFormation()) as {
    Resources: Record<string, { Properties?: Record<string, unknown> }>;
  };
  return template.Resources[logicalId(resource)]?.Properties ?? {};
}

/**
 * The server waits for the guard, so that the guard may not wait for the server: a reference to a guarded server, as a node has it to
 * its cluster, becomes that server's name. A dynamic reference stays a text, so that nothing secret reaches the guard.
 */
function plain(value: unknown, all: readonly ServerResource[]): unknown {
  if (typeof value === 'string') return value.replaceAll('{{resolve:', '{{not resolved:');
  if (Array.isArray(value)) return value.map((item) => plain(item, all));
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value);
  const [key, target] = entries[0] ?? [];
  const referenced =
    entries.length === 1 && (key === 'Ref' || key === 'Fn::GetAtt')
      ? all.find((server) => logicalId(server) === (Array.isArray(target) ? target[0] : String(target).split('.')[0]))
      : undefined;
  if (referenced) return literalIdentifier(referenced) ?? logicalId(referenced);
  return Object.fromEntries(entries.map(([name, item]) => [name, plain(item, all)]));
}
