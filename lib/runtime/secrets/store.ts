import {
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
  SecretsManagerClientConfig,
  UpdateSecretVersionStageCommand,
} from '@aws-sdk/client-secrets-manager';
import { SecretError } from './role-document';

export interface SecretVersion {
  readonly versionId: string;
  readonly text: string | undefined;
}

/** Secrets Manager, with errors that name the secret and what to do, and never its content. */
export class SecretStore {
  private readonly client: SecretsManagerClient;

  /** An attempt ends early: without a route to the service, the run would else wait until its own end. */
  constructor(config: SecretsManagerClientConfig = {}) {
    this.client = new SecretsManagerClient({
      maxAttempts: 4,
      requestHandler: { connectionTimeout: 3_000, requestTimeout: 10_000 },
      ...config,
    });
  }

  /** A version by its stage or id; undefined where there is none, or where it has no value yet. */
  async find(secret: string, version: { stage?: string; id?: string }): Promise<SecretVersion | undefined> {
    try {
      return await this.get(secret, version);
    } catch (error) {
      if (error instanceof MissingSecretError) return undefined;
      throw error;
    }
  }

  /** The current version, unless another is asked for. */
  async get(
    secret: string,
    version: { stage?: string; id?: string } = { stage: 'AWSCURRENT' },
  ): Promise<SecretVersion> {
    const output = await this.call(secret, 'read', () =>
      this.client.send(
        new GetSecretValueCommand({ SecretId: secret, VersionStage: version.stage, VersionId: version.id }),
      ),
    );
    if (!output.VersionId) throw new SecretError(secret, 'came without the id of its version');
    return { versionId: output.VersionId, text: output.SecretString };
  }

  /** Version ids with their stages, and whether rotation is on. `within`: milliseconds, all attempts together. */
  async describe(
    secret: string,
    within?: number,
  ): Promise<{ rotation: boolean; stages: ReadonlyMap<string, readonly string[]> }> {
    const output = await this.call(secret, 'described', () =>
      this.client.send(new DescribeSecretCommand({ SecretId: secret }), endingIn(within)),
    );
    return {
      rotation: output.RotationEnabled === true,
      stages: new Map(Object.entries(output.VersionIdsToStages ?? {})),
    };
  }

  /** `token` is the new version's id: the same call twice makes one version. */
  async put(secret: string, document: object, token: string, stage: 'AWSCURRENT' | 'AWSPENDING'): Promise<string> {
    const output = await this.call(secret, 'written', () =>
      this.client.send(
        new PutSecretValueCommand({
          SecretId: secret,
          SecretString: JSON.stringify(document),
          ClientRequestToken: token,
          VersionStages: [stage],
        }),
      ),
    );
    return output.VersionId ?? token;
  }

  /** `within`: milliseconds, all attempts together. */
  async makeCurrent(secret: string, version: string, before: string, within?: number): Promise<void> {
    await this.call(secret, 'given its new current version', () =>
      this.client.send(
        new UpdateSecretVersionStageCommand({
          SecretId: secret,
          VersionStage: 'AWSCURRENT',
          MoveToVersionId: version,
          RemoveFromVersionId: before,
        }),
        endingIn(within),
      ),
    );
  }

  destroy(): void {
    this.client.destroy();
  }

  private async call<T>(secret: string, what: string, request: () => Promise<T>): Promise<T> {
    try {
      return await request();
    } catch (error) {
      const code = codeOf(error as Error & { code?: string });
      if (code === 'ResourceNotFoundException') {
        throw new MissingSecretError(secret, 'does not exist, or has no such version');
      }
      throw new SecretError(secret, `could not be ${what} (${code}): ${advice(code)}`);
    }
  }
}

function endingIn(milliseconds: number | undefined): { abortSignal?: AbortSignal } {
  return milliseconds === undefined ? {} : { abortSignal: AbortSignal.timeout(milliseconds) };
}

class MissingSecretError extends SecretError {}

/** The SDK wraps some errors of the network and keeps their code in the message only. */
function codeOf(error: Error & { code?: string }): string {
  if (error.name !== 'Error') return error.name;
  return error.code ?? /\b(E[A-Z_]{5,})\b/.exec(error.message)?.[1] ?? error.name;
}

function advice(code: string): string {
  switch (code) {
    case 'AccessDeniedException':
      return 'the function needs permission for it, in the resource policy of the secret and for its KMS key';
    case 'DecryptionFailure':
      return 'the function may not use the KMS key of the secret';
    case 'InvalidRequestException':
      return 'it is marked for deletion or has no value; restore it or give it one';
    case 'ThrottlingException':
      return 'too many requests; run it again';
    case 'AbortError':
    case 'TimeoutError':
    case 'ETIMEDOUT':
    case 'ENOTFOUND':
    case 'ECONNRESET':
    case 'EHOSTUNREACH':
    case 'ECONNREFUSED':
    case 'EAI_AGAIN':
      return 'there is no way to Secrets Manager; in an isolated VPC add the interface endpoint "secretsmanager" with private DNS';
    default:
      return 'see the AWS documentation of this error';
  }
}
