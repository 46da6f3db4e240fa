import * as fs from 'node:fs';
import { STATE_RESOURCE_TYPE } from '../../contract';
import { Assembly, AssemblyStack, TemplateResource } from './assembly';
import { TemplateValues } from './template-values';

/** A state resource of a template: the inside of one server. */
export interface StateResource {
  readonly stack: AssemblyStack;
  readonly logicalId: string;
  /** Where the construct stands in the app. */
  readonly path: string;
  readonly properties: Readonly<Record<string, unknown>>;
}

export interface StateSelection {
  /** A stack by its construct path or its name. */
  readonly stack?: string;
  /** A server by its construct path, or the end of it. */
  readonly server?: string;
}

/** The one state resource that is meant. Throws an error that lists what there is. */
export function findStateResource(assembly: Assembly, selection: StateSelection): StateResource {
  const stacks = assembly.stacks.filter(
    ({ id, stackName }) => selection.stack === undefined || [id, stackName].includes(selection.stack),
  );
  if (stacks.length === 0) {
    throw new Error(
      `${assembly.directory} has no stack ${selection.stack}; it has ${assembly.stacks.map(({ id }) => id).join(', ') || 'none'}`,
    );
  }
  const all = stacks.flatMap(stateResources);
  const { server } = selection;
  const found = all.filter(
    ({ path }) =>
      server === undefined || path === server || path.startsWith(`${server}/`) || path.includes(`/${server}/`),
  );
  if (found.length === 1) return found[0];
  if (all.length === 0) {
    throw new Error(
      `Nothing is declared inside a server in ${stacks.map(({ id }) => id).join(', ')}: no resource has the type ${STATE_RESOURCE_TYPE}`,
    );
  }
  const servers = (found.length > 1 ? found : all).map(serverPath).join(', ');
  throw new Error(
    found.length > 1
      ? `There are several servers; name one with --server: ${servers}`
      : `There is no server ${server}; there are ${servers}`,
  );
}

/** Everything that is declared inside servers in a stack. */
export function stateResources(stack: AssemblyStack): StateResource[] {
  return Object.entries(stack.template.Resources ?? {})
    .filter(([, resource]) => resource.Type === STATE_RESOURCE_TYPE)
    .map(([logicalId, resource]) => stateResource(stack, logicalId, resource));
}

/** The construct path of the server itself. */
export function serverPath(resource: StateResource): string {
  return resource.path.split('/').slice(0, -2).join('/');
}

function stateResource(stack: AssemblyStack, logicalId: string, resource: TemplateResource): StateResource {
  const path = stack.paths.get(logicalId) ?? `${stack.id}/${logicalId}/State/Resource`;
  return { stack, logicalId, path, properties: resource.Properties ?? {} };
}

/** The declaration of a state resource, as it is in its template or in the file that goes with it. */
export function stateDocument(assembly: Assembly, resource: StateResource, values: TemplateValues): unknown {
  const { State, StateAsset } = resource.properties;
  if (StateAsset === undefined) return values.resolve(resource.stack, State);
  const { Key } = values.resolve(resource.stack, StateAsset) as { Key: string };
  const file = assembly.assets.get(Key);
  if (file === undefined) throw new Error(`The file asset ${Key} of ${resource.path} is not in ${assembly.directory}`);
  return JSON.parse(fs.readFileSync(file, 'utf8')) as unknown;
}
