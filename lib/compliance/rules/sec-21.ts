import { Rule } from './rule';

export const SEC_21: Rule = {
  id: 'SEC-21',
  level: 'warning',
  asks: "the server's log outlives the server",
  fix: "Export it: cloudwatchLogsExports: ['postgresql'], into a log group with a retention.",
  check: ({ servers }) =>
    servers.flatMap(({ resource, isServerlessV1 }) => {
      if (isServerlessV1) return [];
      const types = resource.list('EnableCloudwatchLogsExports');
      if (
        resource.has('EnableCloudwatchLogsExports') &&
        (types === undefined || types.some((type) => type === 'postgresql' || typeof type === 'object'))
      )
        return [];
      return [
        {
          resource,
          property: 'EnableCloudwatchLogsExports',
          reason: "PostgreSQL's log is not exported; who connected is gone after days, and with the server",
        },
      ];
    }),
};
