import { randomUUID } from 'node:crypto';
import { SecretSource } from '../reconcile/types';
import { completeSecret, readSecret, SecretEndpoint, SecretError, StoredSecret } from './role-document';
import { scramVerifier } from './scram';
import { SecretStore } from './store';

export interface RoleSecretsOptions {
  readonly store: SecretStore;
  /** Role name to the ARN of its secret. */
  readonly arns: Readonly<Record<string, string>>;
  /** What the role's secret says about where to connect. Absent: secrets are only read. */
  readonly endpointOf?: (role: string) => SecretEndpoint;
}

/** The secrets of roles in Secrets Manager. A secret without a fitting verifier gets one before the server does. */
export function roleSecrets(options: RoleSecretsOptions): SecretSource {
  return async (role) => {
    const arn = Object.hasOwn(options.arns, role) ? options.arns[role] : undefined;
    if (arn === undefined) {
      throw new Error(`no secret is given for the role ${JSON.stringify(role)}, which logs in by password`);
    }
    const { document, versionId } = await readComplete(options.store, arn, role, options.endpointOf?.(role));
    return {
      user: document.username,
      password: document.password,
      verifier: document.verifier ?? scramVerifier(document.password),
      versionId,
    };
  };
}

/**
 * Reads the current version of a role's secret, and writes what is missing in it: its verifier and, when an endpoint is given, where to
 * connect. Without an endpoint nothing is written.
 */
export async function readComplete(
  store: SecretStore,
  arn: string,
  role: string | undefined,
  endpoint: SecretEndpoint | undefined,
): Promise<{ document: StoredSecret; versionId: string }> {
  for (let tries = 0; tries < 3; tries++) {
    const current = await store.get(arn);
    const document = readSecret(arn, current.text, role);
    const complete = completeSecret(document, endpoint);
    if (!complete) return { document, versionId: current.versionId };
    if (!endpoint) return { document: complete, versionId: current.versionId };
    // A rotation may have ended in between, and its password must not be replaced by the one before it.
    if ((await store.get(arn)).versionId !== current.versionId) continue;
    return { document: complete, versionId: await store.put(arn, complete, randomUUID(), 'AWSCURRENT') };
  }
  throw new SecretError(arn, 'gets new versions faster than it can be read; run it again when its rotation is over');
}
