import { CfnResource, Names, Stack, Token, aws_rds as rds } from 'aws-cdk-lib';
import { Construct, IConstruct } from 'constructs';
import { addFinding, isGuarded } from '../compliance';

/**
 * A name that does not change with anything but the construct's path: the deploy guard's permission names the server by it. An explicit
 * name also makes CloudFormation refuse a silent replacement.
 */
export function serverIdentifier(scope: Construct, given: string | undefined): string {
  if (given === undefined) {
    const name = Names.uniqueResourceName(scope, { maxLength: 48, separator: '-' });
    const tidy = name.toLowerCase().replace(/-+/g, '-').replace(/^-|-$/g, '');
    return /^[a-z]/.test(tidy) ? tidy : `p-${tidy}`;
  }
  if (Token.isUnresolved(given)) throw new Error(`${scope.node.path}: identifier is a token; write the name`);
  if (!/^[a-z](-?[a-z0-9])*$/.test(given) || given.length > 50) {
    throw new Error(
      `${scope.node.path}: identifier '${given}' must start with a letter and have at most 50 lower-case letters, digits and single hyphens`,
    );
  }
  return given;
}

/** The name of a server of aws-rds as its template has it, which the account and region have once. */
function nameOf(construct: IConstruct): string | undefined {
  const name = rds.CfnDBInstance.isCfnDBInstance(construct)
    ? construct.dbInstanceIdentifier
    : rds.CfnDBCluster.isCfnDBCluster(construct)
      ? construct.dbClusterIdentifier
      : undefined;
  // RDS keeps names in lower case.
  return name === undefined || Token.isUnresolved(name) ? undefined : name.toLowerCase();
}

/** The second server of a name fails in the middle of its deployment: here both are named before there is one. */
export function guardIdentifier(server: Construct, resources: readonly IConstruct[]): void {
  addFinding(server, {
    id: 'LIB-12.identifier',
    check: () => {
      for (const resource of resources) {
        const name = nameOf(resource);
        const twin = name && twinOf(resource, name);
        if (twin) return `${server.node.path}: the identifier '${name}' is also that of ${pathOf(twin)}`;
      }
      return undefined;
    },
    fix: 'Give one of the two another identifier, or leave it out: an identifier is there once in an account and region.',
  });
}

/** Reported by the second of the two alone, and by ours where the other is none of ours. */
function twinOf(resource: IConstruct, name: string): IConstruct | undefined {
  const all = resource.node.root.node.findAll();
  const own = all.indexOf(resource);
  return all.find(
    (other, at) =>
      other !== resource &&
      (other as CfnResource).cfnResourceType === (resource as CfnResource).cfnResourceType &&
      nameOf(other) === name &&
      place(other) === place(resource) &&
      (at < own || !isGuarded(other, 'LIB-12.identifier')),
  );
}

function place(construct: IConstruct): string {
  const { account, region } = Stack.of(construct);
  return JSON.stringify([account, region].map((one) => (Token.isUnresolved(one) ? '' : one)));
}

/** Of the construct that a user knows. */
function pathOf({ node }: IConstruct): string {
  return node.id === 'Resource' ? pathOf(node.scope!) : node.path;
}
