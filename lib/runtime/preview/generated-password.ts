import { randomInt } from 'node:crypto';

const LOWER = 'abcdefghijklmnopqrstuvwxyz';
const UPPER = LOWER.toUpperCase();
const DIGITS = '0123456789';
const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';

/** A secret's `GenerateSecretString` block, every scalar possibly a string. */
export interface GenerateSecretString {
  readonly SecretStringTemplate?: string;
  readonly GenerateStringKey?: string;
  readonly PasswordLength?: number | string;
  readonly ExcludeCharacters?: string;
  readonly ExcludeLowercase?: boolean | string;
  readonly ExcludeUppercase?: boolean | string;
  readonly ExcludeNumbers?: boolean | string;
  readonly ExcludePunctuation?: boolean | string;
  readonly IncludeSpace?: boolean | string;
}

/** The value that Secrets Manager would make of the block. */
export function generateSecret(block: GenerateSecretString): Record<string, unknown> {
  const template = JSON.parse(block.SecretStringTemplate ?? '{}') as Record<string, unknown>;
  return { ...template, [block.GenerateStringKey ?? 'password']: generatePassword(block) };
}

function generatePassword(block: GenerateSecretString): string {
  const excluded = new Set(block.ExcludeCharacters ?? '');
  const without = (characters: string, exclude: boolean | string | undefined) =>
    isTrue(exclude) ? '' : [...characters].filter((character) => !excluded.has(character)).join('');
  const classes = [
    without(LOWER, block.ExcludeLowercase),
    without(UPPER, block.ExcludeUppercase),
    without(DIGITS, block.ExcludeNumbers),
    without(PUNCTUATION, block.ExcludePunctuation),
    isTrue(block.IncludeSpace) ? ' ' : '',
  ].filter((characters) => characters !== '');
  const all = classes.join('');
  const pick = (characters: string) => characters[randomInt(characters.length)];
  // One of each class, as Secrets Manager does by default, and then whatever comes.
  const password = classes.map(pick);
  while (password.length < Number(block.PasswordLength ?? 32)) password.push(pick(all));
  for (let at = password.length - 1; at > 0; at--) {
    const other = randomInt(at + 1);
    [password[at], password[other]] = [password[other], password[at]];
  }
  return password.join('');
}

const isTrue = (value: boolean | string | undefined) => value === true || value === 'true';
