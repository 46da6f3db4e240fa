import { isTrue } from '../template/value';
import { Rule } from './rule';

export const BK_14: Rule = {
  id: 'BK-14',
  level: 'warning',
  asks: 'copies are encrypted with a key of your own',
  fix: 'Set storageEncryptionKey when the server is made; changing it later replaces the server.',
  check: ({ servers }) =>
    servers
      .filter(
        ({ resource, isReplica, isRestored }) =>
          !isReplica && !isRestored && isTrue(resource.get('StorageEncrypted')) && !resource.has('KmsKeyId'),
      )
      .map(({ resource }) => ({
        resource,
        property: 'KmsKeyId',
        reason:
          "storage is encrypted with the account's default key, which no other account can use: no backup can be kept there",
      })),
};
