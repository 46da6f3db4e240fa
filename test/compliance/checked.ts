import { App, IPolicyValidationPlugin, Stack, Validations } from 'aws-cdk-lib';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { PostgresChecks } from '../../lib';

export interface Found {
  readonly rule: string;
  readonly severity: string;
  readonly at: string;
  readonly description: string;
  readonly fix: string;
}

/** Synthesises an app with the checks and reads what they found; a plugin that fails is an error of the test. */
export function checked(
  build: (stack: Stack, app: App) => void,
  plugin: IPolicyValidationPlugin = new PostgresChecks(),
): Found[] {
  const app = new App({ context: { '@aws-cdk/core:failSynthOnValidationErrors': false } });
  Validations.of(app).addPlugins(plugin);
  const stack = new Stack(app, 'S', {
    env: { account: '123456789012', region: 'eu-central-1' },
    terminationProtection: true,
  });
  build(stack, app);
  app.synth();
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  const mine = report.pluginReports.filter((r: any) => r.pluginName === 'PostgresChecks');
  for (const { metadata } of mine) if (metadata?.error) throw new Error(metadata.error);
  return mine.flatMap((r: any) =>
    r.violations.flatMap((violation: any) =>
      violation.violatingConstructs.map((construct: any) => ({
        rule: violation.ruleName,
        severity: violation.severity,
        at: construct.constructPath,
        description: violation.description,
        fix: violation.suggestedFix,
      })),
    ),
  );
}

export const rulesOf = (found: readonly Found[]) => [...new Set(found.map(({ rule }) => rule))].sort();
