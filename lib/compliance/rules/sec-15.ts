import { isTrue } from '../template/value';
import { Rule } from './rule';

export const SEC_15: Rule = {
  id: 'SEC-15',
  level: 'error',
  asks: 'the server has no public address',
  fix: 'Leave publiclyAccessible out, and select isolated subnets.',
  check: ({ servers }) =>
    servers.flatMap((server) =>
      [...new Set([server.resource, ...server.nodes])]
        .filter((resource) => isTrue(resource.get('PubliclyAccessible')))
        .map((resource) => ({
          resource,
          property: 'PubliclyAccessible',
          reason: 'publiclyAccessible is on: the server has an address on the internet',
        })),
    ),
};
