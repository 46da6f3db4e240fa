import { UNKNOWN, numberOf } from '../template/value';
import { Rule } from './rule';

export const OPS_4: Rule = {
  id: 'OPS-4',
  level: 'warning',
  asks: 'storage grows before it is full',
  fix: 'Set maxAllocatedStorage well above allocatedStorage.',
  guard: 'OPS-4',
  check: ({ servers }) =>
    servers.flatMap(({ resource, isCluster }) => {
      if (isCluster) return [];
      const most = resource.get('MaxAllocatedStorage');
      const allocated = numberOf(resource.get('AllocatedStorage'));
      if (most === UNKNOWN || (most !== undefined && (allocated === undefined || Number(most) > allocated))) return [];
      const size = allocated === undefined ? 'its size' : `${allocated} GiB`;
      return [
        {
          resource,
          property: 'MaxAllocatedStorage',
          reason: `storage cannot grow beyond ${size}, and a full server stops`,
        },
      ];
    }),
};
