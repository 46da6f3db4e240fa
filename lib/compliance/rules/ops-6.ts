import { UNKNOWN, isTrue, textOf } from '../template/value';
import { Rule } from './rule';

export const OPS_6: Rule = {
  id: 'OPS-6',
  level: 'warning',
  asks: 'what the server waits for is recorded',
  fix: 'Set databaseInsightsMode, or enablePerformanceInsights: true, which keeps 7 days without a charge.',
  check: ({ servers }) =>
    servers.flatMap((server) => {
      if (server.isServerlessV1) return [];
      const records = [server.resource, ...server.nodes].some((resource) => {
        const insights = resource.get('EnablePerformanceInsights') ?? resource.get('PerformanceInsightsEnabled');
        const mode = resource.get('DatabaseInsightsMode');
        return insights === UNKNOWN || mode === UNKNOWN || isTrue(insights) || textOf(mode) !== undefined;
      });
      return records
        ? []
        : [
            {
              resource: server.resource,
              reason: 'Database Insights are off; nobody can say afterwards what the server was busy with',
            },
          ];
    }),
};
