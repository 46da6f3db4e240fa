import { UNKNOWN, textOf } from '../template/value';
import { Rule } from './rule';

export const SEC_20: Rule = {
  id: 'SEC-20',
  level: 'warning',
  asks: 'who changed what can be audited',
  fix: 'Add pgaudit to the parameter shared_preload_libraries, then create the extension and say what pgaudit.log writes.',
  guard: 'SEC-20',
  check: ({ servers }) =>
    servers.flatMap((server) => {
      const libraries = server.parameter('shared_preload_libraries');
      if (server.isReplica || libraries === UNKNOWN || /(^|,)\s*pgaudit\s*(,|$)/.test(textOf(libraries) ?? ''))
        return [];
      return [{ resource: server.resource, reason: 'pgaudit is not preloaded, and nothing is audited' }];
    }),
};
