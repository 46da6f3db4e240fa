import { numberOf } from '../template/value';
import { Rule } from './rule';

export const HA_8: Rule = {
  id: 'HA-8',
  level: 'warning',
  asks: 'an abandoned replication slot cannot fill the volume',
  fix: 'Set the parameter max_slot_wal_keep_size, in MB, to a fifth or a third of the volume.',
  guard: 'HA-8',
  check: ({ servers }) =>
    servers.flatMap((server) => {
      if (String(server.parameter('rds.logical_replication')) !== '1') return [];
      const cap = server.parameter('max_slot_wal_keep_size');
      return cap === undefined || numberOf(cap) === -1
        ? [
            {
              resource: server.resource,
              reason:
                'logical replication is on and max_slot_wal_keep_size is unlimited: a slot whose consumer is gone fills the volume, and the server stops',
            },
          ]
        : [];
    }),
};
