import * as fs from 'node:fs';
import * as path from 'node:path';
import * as ts from 'typescript';

const TESTS = path.resolve(__dirname, '..');

/** What managed servers are held to: each of them is in the name of a test that shows it. */
const REQUIRED = {
  'point-in-time recovery': ['BK-1', 'BK-2', 'BK-3', 'BK-5', 'BK-12', 'BK-15', 'BK-18'],
  'the second copy': ['BK-13', 'BK-14'],
  'read replicas': ['HA-7', 'HA-12', 'HA-13'],
  'high availability': ['HA-1', 'HA-2', 'HA-5', 'HA-17', 'HA-18', 'HA-19', 'HA-21'],
  parameters: ['OPS-7', 'OPS-8', 'OPS-9', 'OPS-10', 'HA-8', 'HA-9', 'CP-2', 'CP-5', 'CP-16', 'CP-19', 'LIB-2'],
  access: 'SEC-12 SEC-13 SEC-15 SEC-16 SEC-20 SEC-21 SEC-22 SEC-23 SEC-24 LIB-6'.split(' '),
  monitoring: ['OPS-4', 'OPS-5', 'OPS-6', 'OPS-7', 'HA-20', 'LR-17', 'LR-18', 'CP-18'],
} as const;

const IDS = /^(?:[A-Z]{2,3}-\d+)(?:, [A-Z]{2,3}-\d+)*(?=:|$)/;

/** The requirement ids that the names of a file's tests begin with, those that a table fills in among them. */
function namedIn(source: string): string[] {
  const found: string[] = [];
  const add = (text: string) => found.push(...(IDS.exec(text)?.[0].split(', ') ?? []));
  const visit = (node: ts.Node): void => {
    if (ts.isCallExpression(node) && /^(test|it|describe)\b/.test(node.expression.getText())) {
      const [name] = node.arguments;
      if (name && ts.isStringLiteralLike(name)) {
        add(name.text);
        if (name.text.startsWith('%s')) for (const first of firstsOfTable(node.expression)) add(first);
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile('a.test.ts', source, ts.ScriptTarget.Latest, true));
  return found;
}

/** The first value of each row of `test.each([...])`, where the table is written there or is a constant of the file. */
function firstsOfTable(each: ts.Expression): string[] {
  if (!ts.isCallExpression(each)) return [];
  const rows = elementsOf(each.arguments[0]);
  return rows.flatMap((row) => {
    const first = ts.isArrayLiteralExpression(row) ? row.elements[0] : row;
    return first && ts.isStringLiteralLike(first) ? [first.text] : [];
  });
}

function elementsOf(table: ts.Expression | undefined): readonly ts.Expression[] {
  if (!table) return [];
  if (ts.isAsExpression(table)) return elementsOf(table.expression);
  if (ts.isArrayLiteralExpression(table)) return table.elements;
  if (!ts.isIdentifier(table)) return [];
  let found: readonly ts.Expression[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isVariableDeclaration(node) && node.name.getText() === table.text) found = elementsOf(node.initializer);
    else ts.forEachChild(node, visit);
  };
  visit(table.getSourceFile());
  return found;
}

const files = fs
  .readdirSync(TESTS, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => fs.readFileSync(path.join(TESTS, file), 'utf8'));

describe('each requirement has a test that is named after it', () => {
  const named = new Set(files.flatMap(namedIn));

  test.each(Object.entries(REQUIRED))('%s', (_what, ids) => {
    expect(ids.filter((id) => !named.has(id))).toEqual([]);
  });
});

test('names are read as jest makes them, and nothing else is taken for one', () => {
  const source = `
    // HA-90: a comment
    const rows = [['HA-1: a row', 'HA-91'], ['no id', 2]];
    describe('HA-2, HA-3: a group', () => {
      test('HA-4: one', () => expect(['HA-92']).toEqual('HA-93: text'));
      test.each(rows)('%s', () => {});
      test.each<[string, string]>([['HA-5', 'x']] as const)('%s: %s', () => {});
      test.each([['HA-94']])('a name without %s', () => {});
      test('as HA-95 says', () => {});
    });`;
  expect(namedIn(source).sort()).toEqual(['HA-1', 'HA-2', 'HA-3', 'HA-4', 'HA-5']);
});
