import { PostgresServerFacts } from '../template/server-facts';
import { Rule } from './rule';

/** The first major version whose default refuses connections without TLS. */
const FORCED_FROM = { postgres: 15, 'aurora-postgresql': 17 } as const;

const BROKEN = ['TLSv1', 'TLSv1.1'];

export const SEC_11: Rule = {
  id: 'SEC-11',
  level: 'error',
  asks: 'the server takes TLS connections alone',
  fix: 'Set the parameter rds.force_ssl to 1, and ssl_min_protocol_version to TLSv1.2.',
  guard: 'SEC-11',
  check: ({ servers }) =>
    servers.flatMap((server) => {
      const reason = weakness(server);
      return reason === undefined ? [] : [{ resource: server.resource, reason }];
    }),
};

function weakness(server: PostgresServerFacts): string | undefined {
  const lowest = String(server.parameter('ssl_min_protocol_version'));
  if (BROKEN.includes(lowest)) return `ssl_min_protocol_version is ${lowest}, a broken version of TLS`;
  const forced = server.parameter('rds.force_ssl');
  if (['0', 'false', 'off'].includes(String(forced))) return 'rds.force_ssl is 0: clients may connect without TLS';
  if (forced !== undefined || server.major === undefined) return undefined;
  return server.major < FORCED_FROM[server.engine]
    ? `rds.force_ssl is not set, and is 0 by default in version ${server.major}: clients may connect without TLS`
    : undefined;
}
