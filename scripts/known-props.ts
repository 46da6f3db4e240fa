/**
 * Writes lib/server/known-props.json: the members of every exported interface that says how something is made, as the compiler sees them,
 * with those that they inherit. Run it with `npx tsx --tsconfig tsconfig.dev.json scripts/known-props.ts` after a change of one; a test
 * compares the file.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as ts from 'typescript';

const ROOT = join(__dirname, '..');
const FILE = join(ROOT, 'lib', 'server', 'known-props.json');

export function readKnownProps(): Record<string, string[]> {
  const config = ts.parseJsonConfigFileContent(
    ts.readConfigFile(join(ROOT, 'tsconfig.dev.json'), (file) => readFileSync(file, 'utf8')).config,
    ts.sys,
    ROOT,
  );
  const program = ts.createProgram([join(ROOT, 'lib', 'index.ts')], config.options);
  const checker = program.getTypeChecker();
  const index = checker.getSymbolAtLocation(program.getSourceFile(join(ROOT, 'lib', 'index.ts'))!)!;
  const found = checker.getExportsOfModule(index).flatMap((symbol): [string, string[]][] => {
    const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
    // One whose name begins with I is what a construct is, and not how it is made.
    if (!(target.flags & ts.SymbolFlags.Interface) || /^I[A-Z]/.test(target.name)) return [];
    const members = checker.getDeclaredTypeOfSymbol(target).getProperties();
    return [[target.name, members.map(({ name }) => name).sort()]];
  });
  return Object.fromEntries(found.sort(([a], [b]) => (a < b ? -1 : 1)));
}

async function main(): Promise<void> {
  const { format, resolveConfig } = await import('prettier');
  const options = { ...(await resolveConfig(FILE)), parser: 'json' };
  writeFileSync(FILE, await format(JSON.stringify(readKnownProps()), options));
}

if (require.main === module) void main();
