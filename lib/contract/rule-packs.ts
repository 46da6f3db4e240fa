/**
 * The metadata entry of a synthesised app that lists the validation plugins which were asked. CDK's own report leaves out a plugin that found
 * nothing, so that it cannot be told from one that is no part of the app.
 */
export const RULE_PACKS_METADATA = 'cdk-postgres:rule-packs';
