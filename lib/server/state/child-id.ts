import { IConstruct } from 'constructs';
import { requireLiteral } from './literals';

/**
 * The id of what a method declares by its name, such as `Schema-billing`. Fails for a name that only the deployment knows, before it
 * becomes part of every path, and for a second call.
 */
export function childId(scope: IConstruct, method: string, prop: string, prefix: string, name: string): string {
  const literal = requireLiteral(scope, `${method}() ${prop}`, name);
  return requireFirst(scope, `${method}(${JSON.stringify(literal)})`, `${prefix}-${literal}`);
}

/** The same id, unless the scope has it already: CDK's own error would name the id alone. */
export function requireFirst(scope: IConstruct, call: string, id: string): string {
  const earlier = scope.node.tryFindChild(id);
  if (earlier) {
    throw new Error(
      `${scope.node.path}: ${call} is a second declaration; ${earlier.node.path} is there already: use what the first call returned, or another name`,
    );
  }
  return id;
}
