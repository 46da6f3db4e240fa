import { Rule } from './rule';

export const LIB_12: Rule = {
  id: 'LIB-12',
  level: 'warning',
  asks: 'the stack of a server cannot be deleted by mistake',
  fix: 'Set terminationProtection: true on the stack.',
  guard: 'LIB-12',
  check: ({ servers, stack }) =>
    stack.terminationProtection === false
      ? servers.map(({ resource }) => ({
          resource,
          reason: `the termination protection of stack ${stack.name} is off`,
        }))
      : [],
};
