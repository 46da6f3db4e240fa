import * as rds from '@aws-sdk/client-rds';
import { createRequire } from 'node:module';

/**
 * The service model of the RDS API, as the AWS SDK ships it: its schemas, read by the SDK's own reader of them. A stand-in that keeps to
 * it answers no name that RDS does not have, and lets none pass.
 */

interface Schema {
  getMergedTraits(): { xmlName?: string };
  getMemberSchemas(): Record<string, Schema>;
  getValueSchema(): Schema;
  isStructSchema(): boolean;
  isListSchema(): boolean;
  isNumericSchema(): boolean;
  isBooleanSchema(): boolean;
  isTimestampSchema(): boolean;
}

/** In the versions that the client itself uses. */
const ofClient = createRequire(require.resolve('@aws-sdk/client-rds'));
const { NormalizedSchema } = ofClient('@smithy/core/schema') as { NormalizedSchema: { of(schema: unknown): Schema } };
const { parseXML } = ofClient('@aws-sdk/xml-builder') as { parseXML(xml: string): Element };

type Element = string | Element[] | { [name: string]: Element };

const VERSION = '2014-10-31';

/** What every service of AWS may answer, besides the errors of its model. */
const COMMON_ERRORS = [
  'AccessDenied',
  'AccessDeniedException',
  'InternalFailure',
  'InvalidClientTokenId',
  'Throttling',
  'UnauthorizedOperation',
];

const raw = (name: string): unknown[] | undefined =>
  (rds as unknown as Record<string, unknown[] | undefined>)[`${name}$`];

function operation(action: string): { input: Schema; output: Schema; required: string[] } | undefined {
  const found = raw(action);
  // 9 is the kind of an operation: [kind, namespace, name, traits, input, output].
  if (found?.[0] !== 9) return undefined;
  const [input, output] = (found.slice(4) as (unknown | (() => unknown))[]).map((one) =>
    typeof one === 'function' ? (one as () => unknown[])() : one,
  ) as unknown[][];
  // [kind, namespace, name, traits, members, their schemas, how many of the first are required].
  const required = (input![4] as string[]).slice(0, (input![6] as number | undefined) ?? 0);
  return { input: NormalizedSchema.of(input), output: NormalizedSchema.of(output), required };
}

/** What is wrong with a call, in sentences. */
export function requestViolations(form: URLSearchParams): string[] {
  const action = form.get('Action') ?? '';
  const found = operation(action);
  if (!found) return [`RDS has no action "${action}"`];
  const violations = form.get('Version') === VERSION ? [] : [`${action}: Version is ${form.get('Version')}`];
  for (const [key, value] of form) {
    if (key === 'Action' || key === 'Version') continue;
    violations.push(
      ...parameterViolations(found.input, key.split('.'), value).map((one) => `${action}: ${key} ${one}`),
    );
  }
  const given = new Set([...form.keys()].map((key) => key.split('.')[0]));
  for (const name of found.required) if (!given.has(name)) violations.push(`${action}: ${name} is missing`);
  return violations;
}

/** A list is written as `Name.Element.1`. */
function parameterViolations(schema: Schema, [name, ...rest]: string[], value: string): string[] {
  if (schema.isListSchema()) {
    const element = schema.getValueSchema();
    const wanted = element.getMergedTraits().xmlName ?? 'member';
    if (name !== wanted || !/^[1-9]\d*$/.test(rest[0] ?? '')) return [`is no element of the list: write ${wanted}.1`];
    return parameterViolations(element, rest.slice(1), value);
  }
  if (schema.isStructSchema()) {
    const member = schema.getMemberSchemas()[name ?? ''];
    return member ? parameterViolations(member, rest, value) : ['is not in the model'];
  }
  return name === undefined ? valueViolations(schema, value) : ['has no members in the model'];
}

function valueViolations(schema: Schema, value: string): string[] {
  if (schema.isBooleanSchema()) return /^(true|false)$/.test(value) ? [] : [`is "${value}", no boolean`];
  if (schema.isNumericSchema()) return /^-?\d+(\.\d+)?$/.test(value) ? [] : [`is "${value}", no number`];
  if (schema.isTimestampSchema())
    return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/.test(value) ? [] : [`is "${value}", no timestamp`];
  return [];
}

/** What is wrong with an answer, in sentences. Elements that are left out are not: RDS leaves out what does not apply. */
export function answerViolations(action: string, xml: string): string[] {
  const found = operation(action);
  if (!found) return [`RDS has no action "${action}"`];
  const response = (parseXML(xml) as Record<string, Element>)[`${action}Response`];
  const result = (response as Record<string, Element> | undefined)?.[`${action}Result`];
  if (result === undefined) return [`${action}: the answer has no ${action}Result`];
  return elementViolations(found.output, result, action);
}

function elementViolations(schema: Schema, element: Element, path: string): string[] {
  if (Array.isArray(element)) return [`${path} is there ${element.length} times`];
  if (schema.isListSchema()) {
    if (typeof element === 'string') return element === '' ? [] : [`${path} is text, and a list in the model`];
    const wanted = schema.getValueSchema().getMergedTraits().xmlName ?? 'member';
    return Object.entries(element).flatMap(([name, value]) =>
      name === wanted
        ? [value].flat().flatMap((one) => elementViolations(schema.getValueSchema(), one, `${path}.${name}`))
        : [`${path}.${name} is no element of the list: ${wanted} is`],
    );
  }
  if (schema.isStructSchema()) {
    if (typeof element === 'string') return element === '' ? [] : [`${path} is text, and a structure in the model`];
    const members = schema.getMemberSchemas();
    return Object.entries(element).flatMap(([name, value]) => {
      const member = members[name];
      return member ? elementViolations(member, value, `${path}.${name}`) : [`${path}.${name} is not in the model`];
    });
  }
  if (typeof element !== 'string') return [`${path} has elements, and is a value in the model`];
  return valueViolations(schema, element).map((one) => `${path} ${one}`);
}

/** The status that an error has. Undefined: RDS has none of that code. */
export function errorStatus(code: string): number | undefined {
  const traits = Object.keys(rds)
    .filter((name) => name.endsWith('$'))
    .map((name) => (raw(name.slice(0, -1)) as [number, string, string, { awsQueryError?: [string, number] }?])[3]);
  const found = traits.find((one) => one?.awsQueryError?.[0] === code)?.awsQueryError![1];
  return found ?? (COMMON_ERRORS.includes(code) ? 403 : undefined);
}

/** What is wrong with an error: a code that RDS does not have, or that it has with another status. */
export function errorViolations(code: string, status: number): string[] {
  const wanted = errorStatus(code);
  if (wanted === undefined) return [`RDS has no error "${code}"`];
  return wanted === status ? [] : [`${code} has status ${wanted}, not ${status}`];
}

/** `rebootDBInstance` and `DbInstanceIdentifier` are how Step Functions writes RebootDBInstance and DBInstanceIdentifier. */
const javaName = (name: string): string =>
  name.replace(/[A-Z]{2,}(?=[A-Z][a-z])/g, (letters) => letters[0] + letters.slice(1).toLowerCase());

/** What is wrong with a task of Step Functions that calls RDS: its action, its parameters, and what it takes of the answer. */
export function taskViolations(resource: string, parameters: object, taken: readonly string[]): string[] {
  const [, name] = /^arn:aws:states:::aws-sdk:rds:(\w+)$/.exec(resource) ?? [];
  const action = name && name[0]!.toUpperCase() + name.slice(1);
  const found = action ? operation(action) : undefined;
  if (!found) return [`RDS has no action "${name ?? resource}"`];
  const given = Object.keys(parameters).map((key) => key.replace(/\.\$$/, ''));
  const inputs = Object.keys(found.input.getMemberSchemas()).map(javaName);
  return [
    ...given.filter((key) => !inputs.includes(key)).map((key) => `${action}: ${key} is not in the model`),
    ...found.required.filter((key) => !given.includes(javaName(key))).map((key) => `${action}: ${key} is missing`),
    ...taken.flatMap((path) => pathViolations(found.output, path).map((one) => `${action}: ${path} ${one}`)),
  ];
}

/** A JSONPath such as `$.DbClusters[0].DbClusterMembers[?(@.IsClusterWriter == true)].DbInstanceIdentifier`. */
function pathViolations(schema: Schema, path: string): string[] {
  let at = schema;
  for (const [name] of path.matchAll(/[A-Z]\w*/g)) {
    while (at.isListSchema()) at = at.getValueSchema();
    const members = at.isStructSchema() ? Object.entries(at.getMemberSchemas()) : [];
    const next = members.find(([member]) => javaName(member) === name);
    if (!next) return [`names ${name}, which is not in the model`];
    // What a filter looks at is a member of the element, and not on the way.
    if (!new RegExp(`@\\.${name}\\b`).test(path)) at = next[1];
  }
  return [];
}

/** What is wrong with the errors of RDS that a task of Step Functions names. */
export function taskErrorViolations(names: readonly string[]): string[] {
  const known = new Set(
    Object.keys(rds)
      .filter((name) => /(Fault|Exception)\$$/.test(name))
      .map((name) => `Rds.${javaName(name.slice(0, -1)).replace(/Fault$/, '')}`.replace(/(Exception)?$/, 'Exception')),
  );
  return names
    .filter((name) => name.startsWith('Rds.') && name !== 'Rds.SdkClientException' && !known.has(name))
    .map((name) => `RDS has no error ${name}`);
}
