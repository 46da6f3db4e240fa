import { createPrivateKey, X509Certificate } from 'node:crypto';
import { PoolerCertificateDocument } from '../../contract';
import { SecretError, SecretStore } from '../secrets';

/** What the pooler shows its clients, checked: PgBouncer would keep the old one without a word that anybody sees. */
export async function readCertificate(store: SecretStore, arn: string): Promise<PoolerCertificateDocument> {
  const { text } = await store.get(arn);
  let document: Partial<Record<keyof PoolerCertificateDocument, unknown>> | null;
  try {
    document = JSON.parse(text ?? '') as typeof document;
  } catch {
    // The parser's own message quotes the text.
    throw new SecretError(arn, 'is not JSON; it must be {"certificate": …, "privateKey": …}');
  }
  const { certificate, privateKey } = document ?? {};
  if (typeof certificate !== 'string' || typeof privateKey !== 'string')
    throw new SecretError(arn, 'must have the texts "certificate" and "privateKey"');
  let fits: boolean;
  try {
    fits = new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey));
  } catch {
    throw new SecretError(arn, 'must have a "certificate" and a "privateKey" in PEM, without a passphrase');
  }
  if (!fits) throw new SecretError(arn, 'has a "privateKey" of another "certificate"');
  return { certificate, privateKey };
}
