/** TypeScript as Prettier formats it with single quotes, so that what is imported stands in an app without a diff of its own. */

const WIDTH = 80;

/** A text in the source: with the quotes that need fewer escapes. */
export function text(value: string): string {
  const inner = JSON.stringify(value)
    .slice(1, -1)
    .replaceAll('\\"', '"')
    .replaceAll('\u2028', '\\u2028')
    .replaceAll('\u2029', '\\u2029');
  const singles = inner.split("'").length;
  const doubles = inner.split('"').length;
  return singles > doubles ? `"${inner.replaceAll('"', '\\"')}"` : `'${inner.replaceAll("'", "\\'")}'`;
}

export type Value = string | readonly Value[] | { readonly [key: string]: Value | undefined };

/** A value in one line, or in several where it does not fit into `left` columns of its first line. */
export function print(value: Value, indent: string, left: number): string {
  const flat = inOneLine(value);
  if (typeof value === 'string' || (flat.length <= left && !isBroken(value))) return flat;
  const deeper = `${indent}  `;
  const room = WIDTH - deeper.length - 1;
  if (Array.isArray(value)) {
    const items = (value as readonly Value[]).map((item) => `${deeper}${print(item, deeper, room)},`);
    return `[\n${items.join('\n')}\n${indent}]`;
  }
  const entries = entriesOf(value as { readonly [key: string]: Value | undefined }).map(([key, item]) => {
    const head = `${deeper}${keyOf(key)}:`;
    const printed = print(item, deeper, WIDTH - head.length - 2);
    // A text that does not fit goes to a line of its own.
    return typeof item === 'string' && /^['"]/.test(item) && head.length + 1 + printed.length + 1 > WIDTH
      ? `${head}\n${deeper}  ${printed},`
      : `${head} ${printed},`;
  });
  return `{\n${entries.join('\n')}\n${indent}}`;
}

/** A call as a statement or as the value of a constant; `head` is all before its parenthesis. */
export function call(head: string, args: readonly Value[], indent: string): string {
  const flat = `${indent}${head}(${args.map(inOneLine).join(', ')});`;
  const last = args.at(-1);
  const isObject = typeof last === 'object' && !Array.isArray(last);
  if (args.length === 0 || (flat.length <= WIDTH && !args.some(isBroken))) return flat;
  if (isObject) {
    const before = args.slice(0, -1).map(inOneLine);
    const open = `${indent}${head}(${[...before, ''].join(', ')}`;
    if (open.length + 1 <= WIDTH) return `${open}${print(last!, indent, 0)});`;
  }
  const deeper = `${indent}  `;
  const lines = args.map((arg) => `${deeper}${print(arg, deeper, WIDTH - deeper.length - 1)},`);
  return `${indent}${head}(\n${lines.join('\n')}\n${indent});`;
}

/** A comment of one or more lines. */
export function comment(lines: readonly string[], indent: string): string {
  return lines.map((line) => `${indent}// ${line.replace(/[\r\n\u2028\u2029]+/g, ' ')}`.trimEnd()).join('\n');
}

/** Prettier gives each of several objects in a list a line of its own, however short they are. */
function isBroken(value: Value): boolean {
  if (typeof value === 'string') return false;
  if (!Array.isArray(value))
    return entriesOf(value as { readonly [key: string]: Value | undefined }).some(([, item]) => isBroken(item));
  const items = value as readonly Value[];
  const isLarge = (item: Value) =>
    typeof item === 'object' &&
    !Array.isArray(item) &&
    entriesOf(item as { readonly [key: string]: Value | undefined }).length > 1;
  return (items.length > 1 && items.every(isLarge)) || items.some(isBroken);
}

function inOneLine(value: Value): string {
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `[${(value as readonly Value[]).map(inOneLine).join(', ')}]`;
  const entries = entriesOf(value as { readonly [key: string]: Value | undefined });
  if (entries.length === 0) return '{}';
  return `{ ${entries.map(([key, item]) => `${keyOf(key)}: ${inOneLine(item)}`).join(', ')} }`;
}

function entriesOf(value: { readonly [key: string]: Value | undefined }): [string, Value][] {
  return Object.entries(value).flatMap(([key, item]) => (item === undefined ? [] : [[key, item] as [string, Value]]));
}

function keyOf(key: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(key) ? key : text(key);
}
