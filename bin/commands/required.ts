import { Command } from 'commander';

/**
 * A hook for options that must be given. Commander's own requiredOption() asks for them before it looks at what else was written, so that
 * whoever misspells `--url` would be told that it is missing.
 */
export function required(...names: readonly string[]): (command: Command) => void {
  return (command) => {
    for (const option of command.options)
      if (names.includes(option.attributeName()) && command.getOptionValue(option.attributeName()) === undefined)
        command.error(`error: required option '${option.flags}' not specified`);
  };
}
