import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** The commands of a runbook, each on one line. */
export function commandsOf(runbook: string): string[] {
  return [...runbook.matchAll(/```sh\n([\s\S]*?)```/g)].flatMap(([, block]) =>
    block!
      .replace(/\\\n\s*/g, '')
      .split('\n')
      .filter((line) => line !== ''),
  );
}

const MODELS = join(__dirname, '../../node_modules/@aws-sdk/client-rds/dist-types/models');
let types: string | undefined;

/** The options of a command of `aws rds`, which are the members of the API's request, by their name on the command line. */
export function optionsOf(command: string): ReadonlyMap<string, string> {
  types ??= readdirSync(MODELS)
    .filter((file) => /^models_\d+\.d\.ts$/.test(file))
    .map((file) => readFileSync(join(MODELS, file), 'utf8'))
    .join('\n');
  const request = new RegExp(`export interface ${operationOf(command)}Message \\{\\n([\\s\\S]*?)\\n\\}`).exec(types);
  const members = [...(request?.[1] ?? '').matchAll(/^ {4}(\w+)\??:/gm)].map(([, member]) => member!);
  return new Map(members.map((member) => [commandLineName(member), member]));
}

export function operationOf(command: string): string {
  return command.replace(/(^|-)([a-z])/g, (_all, _dash, letter: string) => letter.toUpperCase()).replace(/Db/g, 'DB');
}

function commandLineName(member: string): string {
  return member
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1-$2')
    .toLowerCase();
}
