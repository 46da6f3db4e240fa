import { CfnElement, CfnResource, Reference, Stack, Token, Tokenization, aws_rds as rds } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';

type CfnGroup = rds.CfnDBParameterGroup | rds.CfnDBClusterParameterGroup;

/** Whatever refers to a parameter group. */
type Holder = rds.CfnDBInstance | rds.CfnDBCluster;

/** A value that only the deployment knows. Nobody judges it. */
export const NOT_KNOWN = Symbol('known only at the deployment');

export type ParameterState = string | undefined | typeof NOT_KNOWN;

/** The parameter group that a server refers to, as far as this app has it. */
export type ParameterHome =
  | { readonly kind: 'default' }
  | { readonly kind: 'imported'; readonly name: string }
  | { readonly kind: 'own'; readonly group: CfnGroup };

/** Where the parameters of a server or node are. Read anew each time: what the user changes later wins. */
export function parameterHome(holder: Holder): ParameterHome {
  const name = groupName(holder);
  if (name === undefined) return { kind: 'default' };
  if (!Token.isUnresolved(name)) {
    if (name.startsWith('default.')) return { kind: 'default' };
    return { kind: 'imported', name };
  }
  const target = referenced(name);
  if (target && isGroup(target)) return { kind: 'own', group: target };
  return { kind: 'imported', name: 'which only the deployment knows' };
}

export function setGroup(holder: Holder, name: string): void {
  if (rds.CfnDBCluster.isCfnDBCluster(holder)) holder.dbClusterParameterGroupName = name;
  else holder.dbParameterGroupName = name;
}

function groupName(holder: Holder): string | undefined {
  return rds.CfnDBCluster.isCfnDBCluster(holder) ? holder.dbClusterParameterGroupName : holder.dbParameterGroupName;
}

/** The resource that a token refers to, also one of another stack. */
export function referenced(text: string): CfnElement | undefined {
  const token = Tokenization.reverse(text);
  if (!token || !Reference.isReference(token)) return undefined;
  const { target } = token;
  return CfnElement.isCfnElement(target) ? target : undefined;
}

function isGroup(construct: IConstruct): construct is CfnGroup {
  return (
    rds.CfnDBParameterGroup.isCfnDBParameterGroup(construct) ||
    rds.CfnDBClusterParameterGroup.isCfnDBClusterParameterGroup(construct)
  );
}

export function readParameter(group: CfnGroup, name: string): ParameterState {
  const parameters = parametersOf(group);
  if (parameters === undefined) return NOT_KNOWN;
  const value = parameters[name];
  if (value === undefined || value === null) return undefined;
  return ['string', 'number', 'boolean'].includes(typeof value) ? String(value) : NOT_KNOWN;
}

/** Sets a parameter beside those that the group has. */
export function putParameter(group: CfnGroup, name: string, value: string): void {
  const maker = group.node.scope;
  if (isMaker(maker)) maker.addParameter(name, value);
  else group.parameters = { ...parametersOf(group), [name]: value };
}

/** The `ParameterGroup` of aws-rds, which writes the parameters of its resource itself. */
function isMaker(construct: IConstruct | undefined): construct is rds.ParameterGroup {
  return construct instanceof rds.ParameterGroup;
}

/** Undefined: the whole map is known only to the deployment. */
function parametersOf(group: CfnGroup): Record<string, unknown> | undefined {
  const resolved: unknown = Stack.of(group).resolve(group.parameters) ?? {};
  const override: unknown = Stack.of(group).resolve(overridesOf(group).Parameters) ?? {};
  if (!isPlain(resolved) || !isPlain(override)) return undefined;
  return { ...resolved, ...override };
}

function isPlain(value: unknown): value is Record<string, unknown> {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value);
  return isMap && !Object.keys(value).some((key) => key === 'Ref' || key.startsWith('Fn::'));
}

/** What addPropertyOverride() has set, by its CloudFormation name: it has the last word, and reaches no property of the construct. */
export function overridesOf(resource: CfnResource): Readonly<Record<string, unknown>> {
  const { rawOverrides } = resource as unknown as { rawOverrides?: { Properties?: Record<string, unknown> } };
  return rawOverrides?.Properties ?? {};
}

/**
 * Why a parameter must not be added to a group: a `ParameterGroup` that serves as group of the cluster and of its nodes has one list for
 * both, and a parameter of the one is an error in the other.
 */
export function servesTwice(group: CfnGroup): boolean {
  const maker = group.node.scope;
  return isMaker(maker) && maker.node.children.filter(isGroup).length > 1;
}

/** Who else in the app takes its parameters from a group. */
export function otherHolders(group: CfnGroup, holders: readonly Holder[]): Holder[] {
  return group.node.root.node.findAll().filter((construct): construct is Holder => {
    if (!rds.CfnDBInstance.isCfnDBInstance(construct) && !rds.CfnDBCluster.isCfnDBCluster(construct)) return false;
    if (holders.includes(construct)) return false;
    const home = parameterHome(construct);
    return home.kind === 'own' && home.group === group;
  });
}
