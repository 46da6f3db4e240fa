import { Stack } from 'aws-cdk-lib';
import { CfnDBClusterParameterGroup, CfnDBParameterGroup } from 'aws-cdk-lib/aws-rds';
import { IConstruct } from 'constructs';

/** The groups that a server of this library makes for itself: that of the instance or the cluster, and that of a cluster's nodes. */
const GROUPS = ['Parameters', 'InstanceParameters'];

/**
 * What the template will say of a server's parameters, with what was added to its groups by hand; read when the app is complete.
 * Undefined: the app makes no group for it.
 */
export function parametersInTemplate(server: IConstruct): Readonly<Record<string, string>> | undefined {
  const made = GROUPS.flatMap((id) => server.node.tryFindChild(id)?.node.findAll() ?? []).filter(
    (one): one is CfnDBParameterGroup | CfnDBClusterParameterGroup =>
      one instanceof CfnDBParameterGroup || one instanceof CfnDBClusterParameterGroup,
  );
  if (made.length === 0) return undefined;
  // What a node says holds for it, whatever its cluster says.
  const values = made.map((group) => Stack.of(group).resolve(group.parameters) as Record<string, string> | undefined);
  return Object.assign({}, ...values);
}
