import { UNKNOWN, numberOf } from '../template/value';
import { Rule } from './rule';

const FLOOR_DAYS = 7;

export const BK_3: Rule = {
  id: 'BK-3',
  level: 'error',
  asks: 'point-in-time recovery reaches back 7 days or more',
  fix: 'Set the backup retention (backupRetention, backup.retention) to 7 days or more; 14 is a good start, 35 the most.',
  guard: 'BK-3',
  check: ({ servers }) =>
    servers.flatMap(({ resource, isReplica }) => {
      const value = resource.get('BackupRetentionPeriod');
      // One day is what RDS takes where nothing is said.
      const days = value === undefined ? 1 : value === UNKNOWN ? undefined : numberOf(value);
      if (isReplica || days === undefined || days === 0 || days >= FLOOR_DAYS) return [];
      const reason = `point-in-time recovery reaches back ${days} ${days === 1 ? 'day' : 'days'}; an error that is found later than that cannot be undone`;
      return [{ resource, property: 'BackupRetentionPeriod', reason }];
    }),
};
