import { UNKNOWN, isTrue } from '../template/value';
import { Rule } from './rule';

export const HA_1: Rule = {
  id: 'HA-1',
  level: 'error',
  asks: 'a second node takes over from a lost one',
  fix: 'Set multiAz: true on an instance; give an Aurora cluster a reader.',
  guard: 'HA-1',
  check: ({ servers }) =>
    servers.flatMap((server) => {
      const { resource } = server;
      if (server.isReplica || server.isMultiAzCluster || server.isServerlessV1) return [];
      if (server.isCluster) {
        // Without any node here they are made elsewhere, or the cluster is a headless secondary.
        return server.nodes.length === 1
          ? [
              {
                resource,
                reason: 'there is no reader; the loss of the writer stops the database until a new one is made',
              },
            ]
          : [];
      }
      const multiAz = resource.get('MultiAZ');
      return multiAz === UNKNOWN || isTrue(multiAz)
        ? []
        : [
            {
              resource,
              property: 'MultiAZ',
              reason: 'multiAz is off; the loss of the node or its zone stops the database',
            },
          ];
    }),
};
