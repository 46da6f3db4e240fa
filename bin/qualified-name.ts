import { CliError } from './cli-error';

const PART = /^(?:"((?:[^"]|"")+)"|([^".]+))$/;

/** Reads `schema.name` as a user writes it in SQL: in double quotes a part may have dots and capital letters. */
export function parseObject(text: string): { schema: string; name: string } {
  const match = /^("(?:[^"]|"")+"|[^".]+)\.("(?:[^"]|"")+"|[^"]+)$/.exec(text);
  if (!match) throw new CliError(`--object ${text} is not a name with its schema, as billing.invoice`);
  return { schema: unquote(match[1]), name: unquote(match[2]) };
}

function unquote(part: string): string {
  const quoted = PART.exec(part)?.[1];
  return quoted === undefined ? part : quoted.replaceAll('""', '"');
}
