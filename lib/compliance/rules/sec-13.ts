import { Rule } from './rule';

/** They have expired. */
const EXPIRED = ['rds-ca-2015', 'rds-ca-2019'];

export const SEC_13: Rule = {
  id: 'SEC-13',
  level: 'error',
  asks: "the server's certificate is of an authority that is valid",
  fix: 'Set caCertificate to rds-ca-rsa2048-g1 or rds-ca-ecc384-g1.',
  check: ({ servers }) =>
    servers.flatMap((server) =>
      server.instances
        .filter((node) => EXPIRED.includes(String(node.get('CACertificateIdentifier'))))
        .map((resource) => ({
          resource,
          property: 'CACertificateIdentifier',
          reason: `the certificate authority ${String(resource.get('CACertificateIdentifier'))} has expired; clients that check it cannot connect`,
        })),
    ),
};
