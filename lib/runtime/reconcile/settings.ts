import { DesiredSetting } from '../../contract';
import { SettingFacts } from './observed';
import { literal } from './sql';

/** Settings whose elements PostgreSQL stores as quoted identifiers (GUC_LIST_QUOTE); of other lists it keeps the text. */
const QUOTED_LISTS = new Set([
  'search_path',
  'temp_tablespaces',
  'local_preload_libraries',
  'session_preload_libraries',
]);

/** Base-unit factors: a value may name a unit, and pg_settings says in which one the bare number counts. */
const UNITS: Readonly<Record<string, number>> = {
  B: 1,
  kB: 1024,
  MB: 1024 ** 2,
  GB: 1024 ** 3,
  TB: 1024 ** 4,
  us: 0.001,
  ms: 1,
  s: 1000,
  min: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** Each element is quoted on its own: `SET search_path = 'a, b'` would name one schema with a comma in it. */
export function settingLiteral(setting: DesiredSetting): string {
  return setting.values.map(literal).join(', ');
}

/** The elements of a list as the catalog keeps it: quoted where they are no plain names. */
export function elements(stored: string): string[] {
  return [...stored.matchAll(/"((?:[^"]|"")*)"|[^\s,"]+/g)].map(([bare, quoted]) =>
    quoted === undefined ? bare.toLowerCase() : quoted.replaceAll('""', '"'),
  );
}

/** Values are stored as text: `2s` and `2000` mean the same statement_timeout, and are compared as what they mean. */
export function sameSetting(setting: DesiredSetting, stored: string, facts: SettingFacts | undefined): boolean {
  if (QUOTED_LISTS.has(setting.name.toLowerCase()))
    return JSON.stringify(elements(stored)) === JSON.stringify(setting.values);
  const wanted = setting.values.join(', ');
  if (wanted === stored || facts === undefined) return wanted === stored;
  switch (facts.type) {
    case 'bool':
      return truth(wanted) === truth(stored);
    case 'integer':
    case 'real':
      return quantity(wanted, facts.unit) === quantity(stored, facts.unit);
    case 'enum':
      return wanted.toLowerCase() === stored.toLowerCase();
    default:
      return false;
  }
}

function truth(text: string): boolean | string {
  const lower = text.trim().toLowerCase();
  if (['on', '1'].includes(lower) || (lower !== '' && ('true'.startsWith(lower) || 'yes'.startsWith(lower))))
    return true;
  if (['off', 'of', '0'].includes(lower) || (lower !== '' && ('false'.startsWith(lower) || 'no'.startsWith(lower))))
    return false;
  return text;
}

function quantity(text: string, baseUnit: string | undefined): number | string {
  const match = /^\s*([+-]?[\d.]+(?:e[+-]?\d+)?)\s*([A-Za-z]*)\s*$/i.exec(text);
  if (!match) return text;
  const base = /^(\d*)([A-Za-z]+)$/.exec(baseUnit ?? '');
  const baseFactor = base ? (base[1] === '' ? 1 : Number(base[1])) * UNITS[base[2]] : 1;
  const factor = match[2] === '' ? baseFactor : UNITS[match[2]];
  return factor === undefined ? text : Math.round(Number(match[1]) * factor * 1000) / 1000;
}
