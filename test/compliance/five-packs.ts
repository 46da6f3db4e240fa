import { App, IPolicyValidationPlugin, Validations } from 'aws-cdk-lib';
import {
  AwsSolutionsChecks,
  HIPAASecurityChecks,
  NIST80053R4Checks,
  NIST80053R5Checks,
  PCIDSS321Checks,
} from 'cdk-nag';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

interface Violation {
  readonly ruleName: string;
  readonly severity: string;
  readonly violatingConstructs: { readonly constructPath: string }[];
}

/** Synthesises an app with the five packs and gives the errors, those of this library among them, as `path rule`. */
export function errorsOfFivePacks(app: App): string[] {
  const packs = [AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R4Checks, NIST80053R5Checks, PCIDSS321Checks];
  Validations.of(app).addPlugins(...packs.map((Pack): IPolicyValidationPlugin => new Pack(app)));
  try {
    app.synth();
  } catch {
    // Any finding fails the synthesis; what it was is in the report.
  }
  const report = JSON.parse(readFileSync(join(app.outdir, 'validation-report.json'), 'utf8'));
  return report.pluginReports
    .flatMap((one: { violations: Violation[] }) => one.violations)
    .filter(({ severity }: Violation) => severity === 'error')
    .flatMap((v: Violation) => v.violatingConstructs.map((c) => `${c.constructPath} ${v.ruleName}`))
    .sort();
}
