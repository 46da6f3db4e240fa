import { Rule } from './rule';

export const SEC_9: Rule = {
  id: 'SEC-9',
  level: 'error',
  asks: 'new passwords are kept as SCRAM verifiers',
  fix: 'Set the parameter password_encryption to scram-sha-256, or leave it out.',
  guard: 'SEC-10',
  check: ({ servers }) =>
    servers
      .filter((server) => ['md5', 'on'].includes(String(server.parameter('password_encryption'))))
      .map(({ resource }) => ({ resource, reason: 'password_encryption is md5: new passwords are kept as MD5' })),
};
