import { execFileSync } from 'node:child_process';
import * as path from 'node:path';

const ROOT = path.resolve(__dirname, '..', '..');

/** ESLint reads its configuration by a dynamic import, which jest does not allow in its own process. */
const LINT = `
  const { ESLint } = require('eslint');
  const directions = ['import-x/no-restricted-paths', 'no-restricted-imports'];
  const typed = ['no-floating-promises', 'no-misused-promises', 'await-thenable'];
  const rules = Object.fromEntries(typed.map((rule) => ['@typescript-eslint/' + rule, 'off']));
  const eslint = new ESLint({ overrideConfig: { languageOptions: { parserOptions: { project: null } }, rules } });
  (async () => {
    const answers = [];
    for (const [filePath, source] of JSON.parse(require('fs').readFileSync(0, 'utf8'))) {
      const [{ messages }] = await eslint.lintText(source, { filePath });
      answers.push(messages.filter((m) => m.fatal || directions.includes(m.ruleId)).map((m) => m.ruleId ?? m.message));
    }
    console.log(JSON.stringify(answers));
  })();
`;

function lint(cases: readonly (readonly [file: string, from: string])[]): string[][] {
  const files = cases.map(([file, from]) => [file, `import * as other from '${from}';\nexport const used = other;\n`]);
  return JSON.parse(
    execFileSync(process.execPath, ['-e', LINT], { cwd: ROOT, input: JSON.stringify(files), encoding: 'utf8' }),
  ) as string[][];
}

const REFUSED = [
  ['lib/contract/planted.ts', '../runtime/reconcile'],
  ['lib/contract/planted.ts', '../server/postgres-server'],
  ['lib/contract/planted.ts', 'node:crypto'],
  ['lib/contract/planted.ts', 'aws-cdk-lib'],
  ['lib/runtime/planted.ts', '../server/postgres-server'],
  ['lib/runtime/reconcile/planted.ts', '../../compliance'],
  ['lib/runtime/planted.ts', 'aws-cdk-lib'],
  ['lib/runtime/planted.ts', 'aws-cdk-lib/aws-rds'],
  ['lib/runtime/planted.ts', 'constructs'],
  ['lib/server/planted.ts', '../runtime/reconcile'],
  ['lib/server/postgres-server.ts', '../runtime/reconcile'],
  ['lib/server/planted.ts', '../database'],
  ['lib/server/planted.ts', 'pg'],
  ['lib/server/planted.ts', '@aws-sdk/client-rds'],
  ['lib/database/planted.ts', '../runtime/reconcile'],
  ['lib/database/planted.ts', 'pg'],
  ['lib/pooling/planted.ts', '../runtime/reconcile'],
  ['lib/pooling/planted.ts', '../database'],
  ['lib/pooling/planted.ts', 'pg'],
  ['lib/compliance/planted.ts', '../runtime/reconcile'],
  ['lib/compliance/planted.ts', '../server/postgres-server'],
  ['lib/server/planted.ts', '../testing'],
  ['lib/compliance/planted.ts', '../testing'],
  ['lib/testing/planted.ts', '../server/postgres-server'],
  ['lib/testing/planted.ts', '../database'],
  ['bin/planted.ts', '../lib/server/postgres-server'],
  ['bin/planted.ts', 'aws-cdk-lib'],
] as const;

const ALLOWED = [
  ['lib/contract/planted.ts', './names'],
  ['lib/testing/planted.ts', '../runtime/access'],
  ['lib/testing/planted.ts', '../compliance/postgres-checks'],
  ['lib/testing/planted.ts', 'aws-cdk-lib'],
  ['lib/runtime/planted.ts', '../contract'],
  ['lib/runtime/planted.ts', 'pg'],
  ['lib/server/planted.ts', '../contract'],
  ['lib/server/planted.ts', '../compliance'],
  ['lib/server/planted.ts', 'aws-cdk-lib'],
  ['lib/database/planted.ts', '../server/postgres-server'],
  ['lib/server/postgres-server.ts', '../database'],
  ['bin/planted.ts', '../lib/runtime/reconcile'],
] as const;

test('an import against the directions of the rooms is refused', () => {
  const answers = lint(REFUSED);
  expect(REFUSED.filter((_, at) => answers[at].length !== 1)).toEqual([]);
});

test('an import along the directions is allowed', () => {
  const answers = lint(ALLOWED);
  expect(ALLOWED.filter((_, at) => answers[at].length > 0)).toEqual([]);
});
