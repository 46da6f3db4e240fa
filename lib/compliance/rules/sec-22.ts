import { UNKNOWN, isTrue } from '../template/value';
import { Rule } from './rule';

export const SEC_22: Rule = {
  id: 'SEC-22',
  level: 'error',
  asks: 'storage is encrypted',
  fix: 'Set storageEncrypted: true (with storageEncryptionKey) when the server is made; changing it later replaces the server.',
  check: ({ servers }) =>
    servers.flatMap(({ resource, isReplica, isRestored, isServerlessV1 }) => {
      const encrypted = resource.get('StorageEncrypted');
      // A replica or a restored server is encrypted as what it comes from; the first Serverless always is.
      if (isReplica || isRestored || isServerlessV1 || encrypted === UNKNOWN || isTrue(encrypted)) return [];
      // A key without a word about encryption is taken as a wish for it.
      if (encrypted === undefined && resource.has('KmsKeyId')) return [];
      return [
        {
          resource,
          property: 'StorageEncrypted',
          reason: 'storage is not encrypted, and neither are its snapshots and backups',
        },
      ];
    }),
};
