import * as fs from 'node:fs';
import { AssemblyStack, readAssembly } from '../lib/runtime/preview/assembly';
import { CliError } from './cli-error';

/** The one stack of a synthesised app that `--stack` means: by its construct path, or by its name in CloudFormation where one alone has it. */
export function synthesisedStack(appDir: string, stack: string): AssemblyStack {
  if (!fs.existsSync(appDir)) {
    throw new CliError(`${appDir} does not exist: run cdk synth first, or name the folder with --app-dir`);
  }
  const { stacks } = readAssembly(appDir);
  const exact = stacks.find(({ id }) => id === stack);
  if (exact) return exact;
  const [named, ...others] = stacks.filter(({ stackName }) => stackName === stack);
  const paths = (list: readonly AssemblyStack[]) => list.map(({ id }) => id).join(', ');
  if (!named) throw new CliError(`${appDir} has no stack ${stack}; it has ${paths(stacks)}`);
  if (others.length > 0) {
    throw new CliError(
      `${appDir} has several stacks of the name ${stack}: give the path, ${paths([named, ...others])}`,
    );
  }
  return named;
}
