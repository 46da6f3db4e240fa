import { Rule } from './rule';

const OFF = ['0', 'off', 'false'];

export const OPS_7: Rule = {
  id: 'OPS-7',
  level: 'error',
  asks: 'autovacuum is on',
  fix: 'Leave the parameter autovacuum out; what disturbs is tuned by table.',
  guard: 'OPS-7',
  check: ({ servers }) =>
    servers
      .filter((server) => OFF.includes(String(server.parameter('autovacuum'))))
      .map(({ resource }) => ({
        resource,
        reason: 'autovacuum is off: tables bloat, and the server stops at transaction ID wraparound',
      })),
};
