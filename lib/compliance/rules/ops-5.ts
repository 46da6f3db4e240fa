import { textOf } from '../template/value';
import { Rule } from './rule';

export const OPS_5: Rule = {
  id: 'OPS-5',
  level: 'warning',
  asks: 'slow statements are seen',
  fix: 'Keep pg_stat_statements in shared_preload_libraries, which is what RDS preloads by itself.',
  guard: 'OPS-5',
  check: ({ servers }) =>
    servers.flatMap((server) => {
      const libraries = textOf(server.parameter('shared_preload_libraries'));
      return libraries === undefined || /(^|,)\s*pg_stat_statements\s*(,|$)/.test(libraries)
        ? []
        : [
            {
              resource: server.resource,
              reason: `shared_preload_libraries is '${libraries}', without pg_stat_statements, so that slow statements stay unseen`,
            },
          ];
    }),
};
