import { execFileSync } from 'node:child_process';
import * as path from 'node:path';
import * as ts from 'typescript';
import * as cdk from 'aws-cdk-lib';
import { ISecret, Secret } from 'aws-cdk-lib/aws-secretsmanager';
import * as library from '../../../lib';
import { StateDocument } from '../../../lib/contract';
import { DeclaredServer, newStack } from '../../database/declared-server';

const ROOT = path.resolve(__dirname, '..', '..', '..');

/** What an app that calls the generated function declares, as the document that would be deployed. */
export function declaredBy(source: string, stateName: string): StateDocument {
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: { module: ts.ModuleKind.CommonJS, target: ts.ScriptTarget.ES2022 },
  });
  type Declare = (server: library.IPostgresServer, secrets: Readonly<Record<string, ISecret>>) => void;
  const module: { exports: { declareInside?: Declare } } = { exports: {} };
  const modules: Readonly<Record<string, unknown>> = { 'aws-cdk-lib': cdk, 'cdk-postgres': library };
  new Function('require', 'exports', 'module', outputText)((name: string) => modules[name], module.exports, module);
  const server = new DeclaredServer(newStack(), 'Server', { stateName });
  const secrets = new Proxy<Record<string, ISecret>>(
    {},
    { get: (_, name) => Secret.fromSecretNameV2(server, `Secret-${String(name)}`, String(name)) },
  );
  module.exports.declareInside!(server, secrets);
  return JSON.parse(
    JSON.stringify((server.state as unknown as { encoded(): { document: StateDocument } }).encoded().document),
  );
}

/** What the compiler has against the sources, with the rules of this repository. */
export function compileErrors(sources: readonly string[]): string[] {
  const files = new Map(sources.map((source, at) => [path.join(ROOT, 'test', `imported-${at}.ts`), source]));
  const { config } = ts.readConfigFile(path.join(ROOT, 'tsconfig.dev.json'), ts.sys.readFile);
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, ROOT);
  const host = ts.createCompilerHost(options);
  const { getSourceFile, fileExists, readFile } = host;
  host.fileExists = (file) => files.has(file) || fileExists.call(host, file);
  host.readFile = (file) => files.get(file) ?? readFile.call(host, file);
  host.getSourceFile = (file, ...rest) =>
    files.has(file)
      ? ts.createSourceFile(file, files.get(file)!, ts.ScriptTarget.ES2022)
      : getSourceFile.call(host, file, ...rest);
  const program = ts.createProgram([...files.keys()], options, host);
  return [...files.keys()].flatMap((file) => {
    const source = program.getSourceFile(file);
    return [...program.getSyntacticDiagnostics(source), ...program.getSemanticDiagnostics(source)].map(
      ({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'),
    );
  });
}

/** The source as Prettier writes it. */
export function prettier(source: string): string {
  const bin = path.join(ROOT, 'node_modules', 'prettier', 'bin', 'prettier.cjs');
  const args = [bin, '--no-config', '--single-quote', '--stdin-filepath', 'inside.ts'];
  return execFileSync(process.execPath, args, { input: source, encoding: 'utf8' });
}
