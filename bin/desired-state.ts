import * as fs from 'node:fs';
import { ContractError, decodeState, DesiredState } from '../lib/contract';
import { readAssembly } from '../lib/runtime/preview/assembly';
import { findStateResource, stateDocument } from '../lib/runtime/preview/state-resources';
import { TemplateValues } from '../lib/runtime/preview/template-values';
import { CliError } from './cli-error';

export interface StateOptions {
  readonly state?: string;
  readonly stack?: string;
  readonly server?: string;
  readonly appDir: string;
}

/** The declaration that a command works on: a document of its own, or that of a stack in cdk.out. */
export function loadDesiredState(options: StateOptions): DesiredState {
  if ((options.state === undefined) === (options.stack === undefined)) {
    throw new CliError(
      'give either --state FILE, a document with the declaration, or --stack NAME, a stack in cdk.out',
    );
  }
  const [document, place] =
    options.state === undefined
      ? [fromAssembly(options), `the stack ${options.stack}`]
      : [readJson(options.state), options.state];
  try {
    return decodeState(document);
  } catch (error) {
    if (!(error instanceof ContractError)) throw error;
    throw new CliError(
      `${place} is not a desired state:\n${error.problems.map((problem) => `  ${problem}`).join('\n')}`,
    );
  }
}

function fromAssembly(options: StateOptions): unknown {
  if (!fs.existsSync(options.appDir)) {
    throw new CliError(`${options.appDir} does not exist: run cdk synth first, or name the folder with --app-dir`);
  }
  try {
    const assembly = readAssembly(options.appDir);
    const resource = findStateResource(assembly, options);
    const values = new TemplateValues({ stacks: assembly.stacks, source: () => undefined });
    return stateDocument(assembly, resource, values);
  } catch (error) {
    throw new CliError((error as Error).message);
  }
}

export function readJson(file: string): unknown {
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch (error) {
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CliError(`${file} is not JSON: ${(error as Error).message}`);
  }
}
