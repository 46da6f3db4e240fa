/**
 * What is wrong with the text of a row filter, in words that continue "the row filter …". It stands between parentheses in the SQL
 * of a publication, and must not get out of them: so it is one expression, whose quotes and parentheses all close.
 */
export function rowFilterProblem(filter: string): string | undefined {
  if (filter.trim() === '') return 'is empty';
  if (/[\0;\\$]|--|\/\*/.test(filter)) return 'has one of ; \\ $ -- /* or a NUL, which an expression does not need';
  let depth = 0;
  const rest = filter.replace(/'(?:[^']|'')*'|"(?:[^"]|"")*"/g, '');
  if (/['"]/.test(rest)) return 'has a quote that does not close';
  for (const character of rest) {
    if (character === '(') depth++;
    if (character === ')' && --depth < 0) break;
  }
  return depth === 0 ? undefined : 'has parentheses that do not match';
}
