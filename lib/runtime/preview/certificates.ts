import { createAuthority as create, issueCertificate } from '../certificates/authority';

/** A certificate authority for servers of a preview or a test. */
export interface LocalAuthority {
  /** PEM of the root, to be trusted. */
  readonly ca: string;
  issue(...hosts: readonly string[]): { readonly certificate: string; readonly key: string };
}

export function createAuthority(name = 'cdk-postgres preview'): LocalAuthority {
  const authority = create(name, 1);
  return {
    ca: authority.certificate,
    issue(...hosts) {
      const { certificate, privateKey } = issueCertificate(authority, hosts, { validDays: 1 });
      return { certificate, key: privateKey };
    },
  };
}
