import { Stack } from 'aws-cdk-lib';
import { decodeState } from '../contract';
import { declaredAccessLines } from '../runtime/access';
import { serverPath, stateDocument, stateResources } from '../runtime/preview/state-resources';
import { asSentByCloudFormation, TemplateValues } from '../runtime/preview/template-values';
import { assemblyOf, deployedAs, outermost, requireStack } from './private/assembly-of';

/**
 * Who will be able to do what inside the servers of a stack, as text that a reviewer reads, for a snapshot:
 * `expect(expectAccess(stack)).toMatchSnapshot()`. A line is `api: SELECT, INSERT on billing.* (future too)`.
 *
 * Servers in nested stacks belong to the stack that these are in; a nested stack alone may be asked too.
 *
 * It is computed from the declaration alone: no server is started, and what somebody granted by hand is not in it.
 */
export function expectAccess(stack: Stack): string {
  requireStack('expectAccess', stack);
  const { assembly, own } = assemblyOf(outermost(stack));
  const stacks = stack.node.findAll().filter(Stack.isStack);
  const values = new TemplateValues({ stacks: assembly.stacks, source: () => undefined });
  const servers = stacks
    .flatMap((one) => stateResources(deployedAs(one, own)))
    .map((resource) => {
      const state = decodeState(asSentByCloudFormation(stateDocument(assembly, resource, values)));
      return [serverPath(resource), ...declaredAccessLines(state).map((line) => `  ${line}`)].join('\n');
    });
  if (servers.length === 0) throw new Error(`${stack.node.path} declares nothing inside a PostgreSQL server`);
  return servers.sort().join('\n\n');
}
