/**
 * A property of a template as a rule sees it. What only a deployment knows, such as a parameter of the template, a reference or a
 * dynamic reference, is `UNKNOWN`, and no rule judges it.
 */
export const UNKNOWN = Symbol('known only at the deployment');

export type Literal = string | number | boolean;

/** `undefined`: the property is not there, and the service's own default holds. */
export type Value = Literal | undefined | typeof UNKNOWN;

export function readValue(value: unknown): Value {
  if (value === undefined || value === null || refOf(value) === 'AWS::NoValue') return undefined;
  if (typeof value === 'string') return value.includes('{{resolve:') ? UNKNOWN : value;
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  return UNKNOWN;
}

/** The logical id in `{ Ref: … }`. */
export function refOf(value: unknown): string | undefined {
  const { Ref } = (typeof value === 'object' && value !== null ? value : {}) as { Ref?: unknown };
  return typeof Ref === 'string' ? Ref : undefined;
}

/** The logical id in `{ 'Fn::GetAtt': … }`. */
export function attributeOwner(value: unknown): string | undefined {
  const call = (typeof value === 'object' && value !== null ? value : {}) as { 'Fn::GetAtt'?: unknown };
  const argument = call['Fn::GetAtt'];
  if (Array.isArray(argument)) return String(argument[0]);
  return typeof argument === 'string' ? argument.split('.')[0] : undefined;
}

/** The attribute in `{ 'Fn::GetAtt': … }`. */
export function attributeName(value: unknown): string | undefined {
  const call = (typeof value === 'object' && value !== null ? value : {}) as { 'Fn::GetAtt'?: unknown };
  const argument = call['Fn::GetAtt'];
  if (Array.isArray(argument)) return argument.slice(1).map(String).join('.');
  return typeof argument === 'string' ? argument.split('.').slice(1).join('.') : undefined;
}

/** The literal name in `{ 'Fn::ImportValue': … }`. */
export function exportOf(value: unknown): string | undefined {
  const call = (typeof value === 'object' && value !== null ? value : {}) as { 'Fn::ImportValue'?: unknown };
  return typeof call['Fn::ImportValue'] === 'string' ? call['Fn::ImportValue'] : undefined;
}

/** Templates may write what is no string as one. */
export function isTrue(value: Value): boolean {
  return String(value) === 'true';
}

export function isFalse(value: Value): boolean {
  return String(value) === 'false';
}

/** Undefined where the value is absent, unknown or no number. */
export function numberOf(value: Value): number | undefined {
  if (value === undefined || value === UNKNOWN || typeof value === 'boolean' || value === '') return undefined;
  const number = Number(value);
  return Number.isNaN(number) ? undefined : number;
}

/** Undefined where the value is absent or unknown. */
export function textOf(value: Value): string | undefined {
  return value === undefined || value === UNKNOWN ? undefined : String(value);
}
