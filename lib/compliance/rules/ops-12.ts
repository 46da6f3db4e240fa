import { textOf } from '../template/value';
import { Rule } from './rule';

export const OPS_12: Rule = {
  id: 'OPS-12',
  level: 'warning',
  asks: 'the speed of a node is constant',
  fix: 'Use a Graviton class of constant speed, such as r7g.large.',
  guard: 'OPS-12',
  check: ({ servers }) =>
    servers.flatMap((server) =>
      server.instances.flatMap((resource) => {
        const instanceClass = textOf(resource.get('DBInstanceClass'));
        return instanceClass !== undefined && /^db\.t\d/.test(instanceClass)
          ? [
              {
                resource,
                property: 'DBInstanceClass',
                reason: `${instanceClass} is burstable; when its credits end, it runs at a fraction of its speed`,
              },
            ]
          : [];
      }),
    ),
};
