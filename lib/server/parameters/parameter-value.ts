import { nearest } from './nearest';
import { Parameter } from './catalogue';

/** What a value becomes in the group, or what is wrong with it, in words that continue "… is …: ". */
export type ReadValue = { readonly value: string } | { readonly problem: string };

/** Checks a value against the catalogue and writes it as RDS does: booleans as 1 and 0, choices in the server's spelling. */
export function readParameterValue(parameter: Parameter, given: string): ReadValue {
  const text = given.trim();
  if (/[\0\r\n]/.test(text)) return { problem: 'a value is one line of text' };
  switch (parameter.type) {
    case 'bool':
      return readBoolean(text);
    case 'integer':
    case 'real':
      return readNumber(parameter, text);
    case 'enum':
      return readChoice(parameter, text);
    case 'string':
      return readText(parameter, text);
  }
}

const TRUE = new Set(['1', 'on', 'true', 'yes']);
const FALSE = new Set(['0', 'off', 'false', 'no']);

function readBoolean(text: string): ReadValue {
  const word = text.toLowerCase();
  if (TRUE.has(word)) return { value: '1' };
  if (FALSE.has(word)) return { value: '0' };
  return { problem: 'write 1 or 0' };
}

function readNumber(parameter: Parameter, text: string): ReadValue {
  if (isFormula(text)) return readFormula(parameter, text);
  const isNumber =
    parameter.type === 'integer' ? /^[+-]?\d+$/.test(text) : /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text);
  const kind = parameter.type === 'integer' ? 'a whole number' : 'a number';
  if (!isNumber) {
    const converted = convertUnit(parameter, text);
    if (converted !== undefined) return { problem: `RDS takes plain numbers in ${parameter.unit}: write ${converted}` };
    return {
      problem: `write ${kind}${parameter.unit ? ` in ${parameter.unit}` : ''}, or a formula such as {DBInstanceClassMemory/9531392}`,
    };
  }
  const number = Number(text);
  if (
    (parameter.min !== undefined && number < parameter.min) ||
    (parameter.max !== undefined && number > parameter.max)
  ) {
    const unit = parameter.unit ? ` ${parameter.unit}` : '';
    return { problem: `it must be ${parameter.min ?? 'any number'} to ${parameter.max ?? 'any number'}${unit}` };
  }
  return { value: text.replace(/^\+/, '') };
}

function isFormula(text: string): boolean {
  return /^(\{|(GREATEST|LEAST|SUM|log)\()/i.test(text);
}

const FORMULA_VARIABLES = [
  'AllocatedStorage',
  'DBInstanceClassMemory',
  'DBInstanceVCPU',
  'EndPointPort',
  'TrueIfReplica',
];

/** The language of "DB parameter formulas" in the RDS user guide: variables and arithmetic in braces, and four functions. */
function readFormula(parameter: Parameter, text: string): ReadValue {
  const formula = text.replace(/\s+/g, '');
  const depth = { '{': 0, '(': 0 };
  for (const char of formula) {
    if (char === '{' || char === '(') depth[char]++;
    if (char === '}') depth['{']--;
    if (char === ')') depth['(']--;
    if (depth['{'] < 0 || depth['('] < 0) break;
  }
  if (depth['{'] !== 0 || depth['('] !== 0)
    return { problem: 'the braces or parentheses of the formula are not balanced' };
  if (parameter.type !== 'integer') return { problem: 'RDS takes a formula for whole numbers only' };
  for (const word of formula.match(/[A-Za-z]+/g) ?? []) {
    if (FORMULA_VARIABLES.includes(word) || /^(GREATEST|LEAST|SUM|log)$/.test(word)) continue;
    const [close] = nearest(word, [...FORMULA_VARIABLES, 'GREATEST', 'LEAST', 'SUM', 'log'], 3);
    return { problem: `the formula names ${word}, which RDS does not know${close ? `; did you mean ${close}?` : ''}` };
  }
  if (!/^[A-Za-z0-9_{}()$*\/,.+-]+$/.test(formula))
    return { problem: 'the formula has a character that RDS does not know' };
  return { value: formula };
}

const IN_MS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };
const IN_KB: Readonly<Record<string, number>> = { B: 1 / 1024, kB: 1, MB: 1024, GB: 1024 ** 2, TB: 1024 ** 3 };

/** PostgreSQL's configuration file takes `60s` and `1GB`; a parameter group does not. */
function convertUnit(parameter: Parameter, text: string): number | undefined {
  const match = /^(-?\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d|B|kB|MB|GB|TB)$/.exec(text);
  const base = /^(\d*)(\w+)$/.exec(parameter.unit ?? '');
  if (!match || !base) return undefined;
  const table = match[2] in IN_MS ? IN_MS : IN_KB;
  const unit = table[base[2]];
  if (unit === undefined) return undefined;
  return Math.round((Number(match[1]) * table[match[2]]) / (unit * Number(base[1] || 1)));
}

function readChoice(parameter: Parameter, text: string): ReadValue {
  const values = parameter.values ?? [];
  const exact = values.find((value) => value.toLowerCase() === text.toLowerCase());
  if (exact !== undefined) return { value: exact };
  // PostgreSQL takes 1 and 0 for a choice that was a boolean once, and RDS lists them.
  if (values.includes('on') && (text === '1' || text === '0')) return { value: text };
  return { problem: `it must be one of ${values.filter((value) => value !== '').join(', ')}` };
}

const LISTS: Readonly<Record<string, { readonly known: readonly string[]; readonly open: boolean }>> = {
  log_connections: { known: ['receipt', 'authentication', 'authorization', 'setup_durations', 'all'], open: false },
  'pgaudit.log': {
    known: ['read', 'write', 'function', 'role', 'ddl', 'misc', 'misc_set', 'all', 'none'],
    open: false,
  },
  shared_preload_libraries: {
    known: [
      'auto_explain',
      'babelfishpg_tds',
      'orafce',
      'pg_ad_mapping',
      'pg_bigm',
      'pg_cron',
      'pg_hint_plan',
      'pg_partman_bgw',
      'pg_prewarm',
      'pg_similarity',
      'pg_stat_statements',
      'pg_tle',
      'pg_transport',
      'pgactive',
      'pgaudit',
      'pglogical',
      'plprofiler',
      'plrust',
    ],
    open: true,
  },
};

function readText(parameter: Parameter, text: string): ReadValue {
  const list = LISTS[parameter.name];
  if (!list) return { value: text };
  const items = text.split(',').map((item) => item.trim().toLowerCase());
  for (const item of items) {
    const name = parameter.name === 'pgaudit.log' ? item.replace(/^-/, '') : item;
    if (list.known.includes(name)) continue;
    if (name === '') return { problem: 'an element of the list is empty' };
    const [close] = nearest(name, list.known, 2);
    // AWS adds libraries; what looks like none of the known ones is not called a mistake.
    if (list.open && !close) continue;
    const hint = close ? `; did you mean ${close}?` : '';
    return { problem: `${JSON.stringify(name)} is not one of ${list.known.join(', ')}${hint}` };
  }
  return { value: items.join(',') };
}
