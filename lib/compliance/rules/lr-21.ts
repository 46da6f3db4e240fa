import { Rule } from './rule';

export const LR_21: Rule = {
  id: 'LR-21',
  level: 'warning',
  asks: 'what happens at the end of the version is a choice',
  fix: 'Set engineLifecycleSupport to OPEN_SOURCE_RDS_EXTENDED_SUPPORT_DISABLED, or to the extended support that you mean to pay for.',
  check: ({ servers }) =>
    servers
      .filter(({ resource, isReplica }) => !isReplica && !resource.has('EngineLifecycleSupport'))
      .map(({ resource }) => ({
        resource,
        property: 'EngineLifecycleSupport',
        reason:
          'engineLifecycleSupport is not set: after the end of standard support RDS goes on with extended support, which is charged by vCPU and hour',
      })),
};
