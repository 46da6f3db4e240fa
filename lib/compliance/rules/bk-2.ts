import { numberOf } from '../template/value';
import { Rule } from './rule';

export const BK_2: Rule = {
  id: 'BK-2',
  level: 'error',
  asks: 'automated backups are on',
  fix: 'Set the backup retention (backupRetention, backup.retention) to 7 days or more.',
  guard: 'BK-2',
  check: ({ servers }) =>
    servers
      .filter((server) => !server.isReplica && numberOf(server.resource.get('BackupRetentionPeriod')) === 0)
      .map(({ resource }) => ({
        resource,
        property: 'BackupRetentionPeriod',
        reason: 'automated backups are off, so that nothing is left but snapshots',
      })),
};
