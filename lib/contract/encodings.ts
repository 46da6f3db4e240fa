/**
 * The encodings that a database of PostgreSQL 16 to 18 may have, with the other names that the server takes for each. In a name it
 * looks at letters and digits alone, and not at their case.
 */
const SERVER_ENCODINGS: Readonly<Record<string, readonly string[]>> = {
  SQL_ASCII: [],
  EUC_JP: [],
  EUC_CN: [],
  EUC_KR: [],
  EUC_TW: [],
  EUC_JIS_2004: [],
  UTF8: ['unicode'],
  MULE_INTERNAL: [],
  LATIN1: ['iso88591'],
  LATIN2: ['iso88592'],
  LATIN3: ['iso88593'],
  LATIN4: ['iso88594'],
  LATIN5: ['iso88599'],
  LATIN6: ['iso885910'],
  LATIN7: ['iso885913'],
  LATIN8: ['iso885914'],
  LATIN9: ['iso885915'],
  LATIN10: ['iso885916'],
  WIN1256: ['windows1256'],
  WIN1258: ['abc', 'tcvn', 'tcvn5712', 'vscii', 'windows1258'],
  WIN866: ['alt', 'windows866'],
  WIN874: ['windows874'],
  KOI8R: ['koi8'],
  WIN1251: ['win', 'windows1251'],
  WIN1252: ['windows1252'],
  ISO_8859_5: [],
  ISO_8859_6: [],
  ISO_8859_7: [],
  ISO_8859_8: [],
  WIN1250: ['windows1250'],
  WIN1253: ['windows1253'],
  WIN1254: ['windows1254'],
  WIN1255: ['windows1255'],
  WIN1257: ['windows1257'],
  KOI8U: [],
};

const clean = (name: string) => name.toLowerCase().replace(/[^a-z0-9]/g, '');

const BY_NAME = new Map(
  Object.entries(SERVER_ENCODINGS).flatMap(([encoding, others]) =>
    [clean(encoding), ...others].map((name) => [name, encoding] as const),
  ),
);

/** The encoding under the name that the catalog has for it. Undefined: no database can have it. */
export function serverEncoding(name: string): string | undefined {
  return BY_NAME.get(clean(name));
}

/** All of them, under the catalog's names. */
export const serverEncodings: readonly string[] = Object.keys(SERVER_ENCODINGS);

/** The libc locale under the name that the catalog has for it: C has two. */
export function serverLocale(name: string): string {
  return name === 'POSIX' ? 'C' : name;
}
