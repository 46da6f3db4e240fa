import { UNKNOWN, isTrue } from '../template/value';
import { Rule } from './rule';

export const BK_15: Rule = {
  id: 'BK-15',
  level: 'error',
  asks: 'the server cannot be deleted by mistake',
  fix: 'Set deletionProtection: true, and a removalPolicy of RETAIN or SNAPSHOT.',
  guard: 'BK-15',
  check: ({ servers }) =>
    servers.flatMap(({ resource, isReplica }) => {
      if (isReplica) return [];
      const protection = resource.get('DeletionProtection');
      if (protection !== UNKNOWN && !isTrue(protection))
        return [{ resource, property: 'DeletionProtection', reason: 'deletion protection is off' }];
      return resource.deletionPolicy === 'Delete'
        ? [{ resource, reason: 'it goes with its stack, without a snapshot (DeletionPolicy is Delete)' }]
        : [];
    }),
};
