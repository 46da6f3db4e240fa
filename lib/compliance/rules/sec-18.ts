import { textOf } from '../template/value';
import { Rule } from './rule';

export const SEC_18: Rule = {
  id: 'SEC-18',
  level: 'error',
  asks: 'no password stands in a template',
  fix: 'Use Credentials.fromGeneratedSecret() or fromSecret(), or manageMasterUserPassword.',
  check: ({ servers }) =>
    servers
      .filter(({ resource }) => textOf(resource.get('MasterUserPassword')) !== undefined)
      .map(({ resource }) => ({
        resource,
        property: 'MasterUserPassword',
        reason: "the master user's password stands in the template, where everybody reads it who may read the stack",
      })),
};
