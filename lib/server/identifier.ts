import { Names, Token } from 'aws-cdk-lib';
import { Construct } from 'constructs';

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
