import { SecretSource } from '../../../lib/runtime/reconcile';
import { scramVerifier } from '../../../lib/runtime/secrets';

/** Secrets with these passwords by role, each with a verifier that stays the same as long as this source lives. */
export function secretsOf(passwords: Readonly<Record<string, string>>): SecretSource {
  const verifiers = new Map(Object.entries(passwords).map(([role, password]) => [role, scramVerifier(password)]));
  return async (role) => {
    const verifier = verifiers.get(role);
    if (verifier === undefined) throw new Error(`the test has no secret for ${role}`);
    return { password: passwords[role], verifier, versionId: `v-${passwords[role]}` };
  };
}
