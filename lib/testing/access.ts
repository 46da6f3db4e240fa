import { CfnResource, Stack } from 'aws-cdk-lib';
import { decodeState, STATE_RESOURCE_TYPE } from '../contract';
import { declaredAccessLines } from '../runtime/access';
import { serverPath, stateDocument, stateResources } from '../runtime/preview/state-resources';
import { asSentByCloudFormation, TemplateValues } from '../runtime/preview/template-values';
import { assemblyOf, requireStack } from './private/assembly-of';

/**
 * Who will be able to do what inside the servers of a stack, as text that a reviewer reads, for a snapshot:
 * `expect(expectAccess(stack)).toMatchSnapshot()`. A line is `api: SELECT, INSERT on billing.* (future too)`.
 *
 * It is computed from the declaration alone: no server is started, and what somebody granted by hand is not in it.
 */
export function expectAccess(stack: Stack): string {
  requireStack('expectAccess', stack);
  refuseNested(stack);
  const { assembly, own } = assemblyOf(stack);
  const values = new TemplateValues({ stacks: assembly.stacks, source: () => undefined });
  const servers = stateResources(own).map((resource) => {
    const state = decodeState(asSentByCloudFormation(stateDocument(assembly, resource, values)));
    return [serverPath(resource), ...declaredAccessLines(state).map((line) => `  ${line}`)].join('\n');
  });
  if (servers.length === 0) throw new Error(`${stack.node.path} declares nothing inside a PostgreSQL server`);
  return servers.sort().join('\n\n');
}

/** The template of a nested stack is another one: a report without its servers would pass for all there is. */
function refuseNested(stack: Stack): void {
  const nested = stack.node
    .findAll()
    .filter((one) => CfnResource.isCfnResource(one) && one.cfnResourceType === STATE_RESOURCE_TYPE)
    .map((one) => Stack.of(one))
    .find((owner) => owner !== stack && owner.nested);
  if (nested)
    throw new Error(
      `${nested.node.path} is a nested stack with a server in it, which expectAccess does not read: declare the server in ${stack.node.path} itself`,
    );
}
