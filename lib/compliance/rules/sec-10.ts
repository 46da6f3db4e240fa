import { Rule } from './rule';

export const SEC_10: Rule = {
  id: 'SEC-10',
  level: 'error',
  asks: 'passwords kept as MD5 do not log in',
  fix: 'Set the parameter rds.accepted_password_auth_method to scram, once every role has set its password anew.',
  guard: 'SEC-10',
  check: ({ servers }) =>
    servers
      .filter((server) => server.parameter('rds.accepted_password_auth_method') === 'md5+scram')
      .map(({ resource }) => ({
        resource,
        reason: 'rds.accepted_password_auth_method is md5+scram: passwords kept as MD5 still log in',
      })),
};
