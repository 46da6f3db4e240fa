import { Annotations, Duration, Token } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { requireDuration, requireWholeNumber } from '../required';
import { isPlainName, NameKind, nameProblem } from '../../contract';

/** Fails for a value that is known only at deployment, where a line of the desired state needs it at synthesis. */
export function requireLiteral(scope: IConstruct, prop: string, value: string): string {
  if (typeof value !== 'string') throw new Error(`${scope.node.path}: ${prop} must be a text, not ${typeof value}`);
  if (Token.isUnresolved(value)) {
    throw new Error(
      `${pathWithoutTokens(scope)}: ${prop} must be a literal text; a token is known only at deployment, too late to be checked and planned: ` +
        'write the text itself, or take it from the context of the app',
    );
  }
  return value;
}

/** A token in the id of a construct is text that nobody wrote. */
function pathWithoutTokens(scope: IConstruct): string {
  return scope.node.path.replace(/\$\{Token\[[^\]]*\]\}/g, '(token)');
}

/** Fails for a name that PostgreSQL or the server would refuse, change or keep for itself; warns of one that needs quotes. */
export function requireName(scope: IConstruct, prop: string, kind: NameKind, value: string): string {
  const name = requireLiteral(scope, prop, value);
  const problem = nameProblem(kind, name) ?? keyProblem(name);
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

/** Names are keys of the template, which CDK copies by assignment: one key never arrives. */
function keyProblem(name: string): string | undefined {
  return name === '__proto__' ? 'is a word of JavaScript, which CDK leaves out of every template' : undefined;
}

/** Fails for a text that PostgreSQL cannot store, whatever it means. */
export function requireText(scope: IConstruct, prop: string, value: string): string {
  const text = requireLiteral(scope, prop, value);
  if (text.includes('\0'))
    throw new Error(`${scope.node.path}: ${prop} has a NUL character, which PostgreSQL cannot store`);
  return text;
}

/** Fails for a moment that is none, or that a declaration cannot say (years of four digits). */
export function requireMoment(scope: IConstruct, prop: string, value: Date): string {
  const year = value instanceof Date ? value.getUTCFullYear() : NaN;
  if (!(year >= 1 && year <= 9999)) {
    const given = value instanceof Date && !Number.isNaN(year) ? value.toISOString() : String(value);
    throw new Error(`${scope.node.path}: ${prop} must be a moment in the years 1 to 9999, not ${given}`);
  }
  return value.toISOString();
}

/** Fails for a duration that is a token, no whole number of days, or out of its range. */
export function requireDays(scope: IConstruct, prop: string, value: Duration, min: number, max: number): number {
  requireDuration(scope.node.path, prop, value, `Duration.days(${Math.min(30, max)})`);
  const days = value.isUnresolved() ? NaN : value.toDays({ integral: false });
  if (!Number.isInteger(days) || days < min || days > max) {
    const given = value.isUnresolved() ? 'a token' : value.toHumanString();
    throw new Error(`${scope.node.path}: ${prop} must be ${min} to ${max} whole days, not ${given}`);
  }
  return days;
}

/** Fails for a number that is a token, not whole, or out of its range. */
export function requireInteger(scope: IConstruct, prop: string, value: number, min: number, max: number): number {
  return requireWholeNumber(scope.node.path, prop, value, min, max);
}
