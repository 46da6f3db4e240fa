import { Annotations, Token } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { isPlainName, NameKind, nameProblem } from '../../contract';

/** Fails for a value that is known only at deployment, where a line of the desired state needs it at synthesis. */
export function requireLiteral(scope: IConstruct, prop: string, value: string): string {
  if (Token.isUnresolved(value)) {
    throw new Error(
      `${scope.node.path}: ${prop} must be a literal text; a token (${Token.asString(value)}) is known only at deployment, ` +
        'too late to be checked and planned',
    );
  }
  return value;
}

/** Fails for a name that PostgreSQL or the server would refuse, change or keep for itself; warns of one that needs quotes. */
export function requireName(scope: IConstruct, prop: string, kind: NameKind, value: string): string {
  const name = requireLiteral(scope, prop, value);
  const problem = nameProblem(kind, name);
  if (problem) {
    throw new Error(
      `${scope.node.path}: ${prop} ${JSON.stringify(name)} cannot be the name of a ${kind}: it ${problem}`,
    );
  }
  if (!isPlainName(name)) {
    Annotations.of(scope).addWarningV2(
      `cdk-postgres:quotedName:${name}`,
      `${prop} ${JSON.stringify(name)} needs double quotes in every SQL statement; lower case letters, digits and _ do not`,
    );
  }
  return name;
}

/** Fails for a number that is a token, not whole, or out of its range. */
export function requireInteger(scope: IConstruct, prop: string, value: number, min: number, max: number): number {
  if (Token.isUnresolved(value) || !Number.isInteger(value) || value < min || value > max) {
    const given = Token.isUnresolved(value) ? 'a token' : String(value);
    throw new Error(`${scope.node.path}: ${prop} must be a whole number from ${min} to ${max}, not ${given}`);
  }
  return value;
}
