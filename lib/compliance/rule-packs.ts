import { Lazy, Stack, Stage } from 'aws-cdk-lib';
import { IConstruct } from 'constructs';
import { RULE_PACKS_METADATA } from '../contract/rule-packs';

/**
 * Writes into the synthesised app which validation plugins are asked, at the last moment, when all are registered. CDK asks every plugin that
 * is registered and reports one that throws; who is listed here and not in its report was asked and found nothing.
 */
export function recordRulePacks(scope: IConstruct): void {
  const names = Lazy.any({ produce: () => rulePacks(scope.node.root) });
  scope.node.addMetadata(RULE_PACKS_METADATA, names);
}

function rulePacks(root: IConstruct): string[] {
  const stages = root.node.findAll().filter(Stage.isStage);
  // CDK asks the plugins of a stage for the stacks in it, and not at all where there are none.
  const asked = stages.filter((stage) => stage.node.findAll().some(Stack.isStack));
  return [...new Set(asked.flatMap(pluginNames))].sort();
}

/** CDK 2.276 has no other public way to its plugins than a deprecated one, whose warning would be shown to people who cannot help it. */
function pluginNames(stage: Stage): string[] {
  const before = process.env.JSII_DEPRECATED;
  process.env.JSII_DEPRECATED = 'quiet';
  try {
    return stage.policyValidationBeta1.map(({ name }) => name);
  } finally {
    if (before === undefined) delete process.env.JSII_DEPRECATED;
    else process.env.JSII_DEPRECATED = before;
  }
}
