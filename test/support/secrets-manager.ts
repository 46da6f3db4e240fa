import { randomUUID } from 'node:crypto';
import * as http from 'node:http';
import { AddressInfo } from 'node:net';
import { SecretsManagerClientConfig } from '@aws-sdk/client-secrets-manager';

export interface RecordedCall {
  readonly operation: string;
  readonly input: Readonly<Record<string, unknown>>;
}

interface Version {
  text?: string;
  stages: Set<string>;
}

class ServiceError extends Error {
  constructor(
    readonly type: string,
    message: string,
  ) {
    super(message);
  }
}

/**
 * AWS Secrets Manager as far as the library calls it, over its JSON protocol. Secrets are created and looked at by methods,
 * everything else comes from the real SDK client.
 */
export class TestSecretsManager {
  readonly calls: RecordedCall[] = [];
  /** Called before an operation has its effect; what it throws, the caller gets as a broken connection. */
  beforeCall?: (call: RecordedCall) => void | Promise<void>;
  /** Called after the effect and before the answer. */
  afterCall?: (call: RecordedCall) => void | Promise<void>;
  /** Answer this operation with an error of the service. */
  failing?: { readonly operation: string; readonly type: string; readonly message?: string };
  private readonly secrets = new Map<string, Map<string, Version>>();

  private constructor(private readonly server: http.Server) {}

  static async start(): Promise<TestSecretsManager> {
    const server = http.createServer();
    // On a busy machine it would close an idle connection just when the next request is on its way.
    server.keepAliveTimeout = 0;
    const manager = new TestSecretsManager(server);
    server.on('request', (request, response) => void manager.answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    return manager;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** What the real client needs to speak to this server. */
  get config(): SecretsManagerClientConfig {
    return {
      endpoint: this.endpoint,
      region: 'eu-central-1',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
    };
  }

  /** The same for the functions, which take it from their environment. */
  get environment(): Record<string, string> {
    return {
      AWS_ENDPOINT_URL_SECRETS_MANAGER: this.endpoint,
      AWS_REGION: 'eu-central-1',
      AWS_ACCESS_KEY_ID: 'test',
      AWS_SECRET_ACCESS_KEY: 'test',
    };
  }

  /** Returns the ARN. */
  create(name: string, value: object | string): string {
    const arn = `arn:aws:secretsmanager:eu-central-1:123456789012:secret:${name}-AbCdEf`;
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    this.secrets.set(arn, new Map([[randomUUID(), { text, stages: new Set(['AWSCURRENT']) }]]));
    return arn;
  }

  remove(arn: string): void {
    this.secrets.delete(arn);
  }

  /** Puts a new value by hand, as a user in the console does. */
  replace(arn: string, value: object | string): void {
    this.put(arn, randomUUID(), typeof value === 'string' ? value : JSON.stringify(value), ['AWSCURRENT']);
  }

  /** What RotateSecret does before it calls the rotation function: a version without a value, staged as pending. Returns its id. */
  beginRotation(arn: string): string {
    const token = randomUUID();
    for (const version of this.versions(arn).values()) version.stages.delete('AWSPENDING');
    this.versions(arn).set(token, { stages: new Set(['AWSPENDING']) });
    return token;
  }

  stagesOf(arn: string): Record<string, string[]> {
    return Object.fromEntries([...this.versions(arn)].map(([id, version]) => [id, [...version.stages].sort()]));
  }

  /** The parsed value of a stage, or undefined. */
  value(arn: string, stage = 'AWSCURRENT'): Record<string, unknown> | undefined {
    const text = [...this.versions(arn).values()].find((version) => version.stages.has(stage))?.text;
    return text === undefined ? undefined : (JSON.parse(text) as Record<string, unknown>);
  }

  versionId(arn: string, stage = 'AWSCURRENT'): string | undefined {
    return [...this.versions(arn)].find(([, version]) => version.stages.has(stage))?.[0];
  }

  operations(): string[] {
    return this.calls.map((call) => call.operation);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const operation = String(request.headers['x-amz-target']).replace('secretsmanager.', '');
    const call = { operation, input: JSON.parse(Buffer.concat(chunks).toString() || '{}') as Record<string, unknown> };
    this.calls.push(call);
    try {
      await this.beforeCall?.(call);
    } catch {
      request.socket.destroy();
      return;
    }
    let status = 200;
    let body: object;
    try {
      if (this.failing?.operation === operation) {
        throw new ServiceError(this.failing.type, this.failing.message ?? 'as the test wants it');
      }
      body = this.perform(operation, call.input);
    } catch (error) {
      status = 400;
      const type = error instanceof ServiceError ? error.type : 'InternalServiceError';
      body = { __type: type, Message: (error as Error).message };
    }
    try {
      await this.afterCall?.(call);
    } catch {
      request.socket.destroy();
      return;
    }
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify(body));
  }

  private perform(operation: string, input: Record<string, unknown>): object {
    const arn = input.SecretId as string;
    switch (operation) {
      case 'GetSecretValue': {
        const versions = this.versions(arn);
        const stage =
          (input.VersionStage as string | undefined) ?? (input.VersionId === undefined ? 'AWSCURRENT' : undefined);
        const found = [...versions].find(
          ([id, version]) =>
            (input.VersionId === undefined || input.VersionId === id) &&
            (stage === undefined || version.stages.has(stage)),
        );
        if (found?.[1].text === undefined) {
          throw new ServiceError('ResourceNotFoundException', `Secrets Manager can't find the specified secret value`);
        }
        const [VersionId, version] = found;
        return { ARN: arn, Name: arn, VersionId, SecretString: version.text, VersionStages: [...version.stages] };
      }
      case 'DescribeSecret':
        return { ARN: arn, Name: arn, RotationEnabled: true, VersionIdsToStages: this.stagesOf(arn) };
      case 'PutSecretValue': {
        const token = (input.ClientRequestToken as string | undefined) ?? randomUUID();
        const stages = (input.VersionStages as string[] | undefined) ?? ['AWSCURRENT'];
        this.put(arn, token, input.SecretString as string, stages);
        return { ARN: arn, Name: arn, VersionId: token, VersionStages: stages };
      }
      case 'UpdateSecretVersionStage': {
        const versions = this.versions(arn);
        const stage = input.VersionStage as string;
        const holder = this.versionId(arn, stage);
        if (holder !== undefined && input.RemoveFromVersionId !== holder) {
          throw new ServiceError('InvalidParameterException', `The version ${stage} is on must be named to move it`);
        }
        if (!versions.has(input.MoveToVersionId as string)) {
          throw new ServiceError('ResourceNotFoundException', `Secrets Manager can't find the version`);
        }
        this.move(arn, input.MoveToVersionId as string, stage);
        return { ARN: arn, Name: arn };
      }
      default:
        throw new ServiceError('UnknownOperationException', operation);
    }
  }

  private put(arn: string, token: string, text: string, stages: readonly string[]): void {
    const versions = this.versions(arn);
    if (!/^[A-Za-z0-9-]{32,64}$/.test(token)) throw new ServiceError('InvalidParameterException', 'ClientRequestToken');
    const existing = versions.get(token);
    if (existing?.text !== undefined && existing.text !== text) {
      throw new ServiceError('ResourceExistsException', 'A version with this token has another value');
    }
    versions.set(token, { text, stages: existing?.stages ?? new Set() });
    for (const stage of stages) this.move(arn, token, stage);
  }

  private move(arn: string, to: string, stage: string): void {
    const versions = this.versions(arn);
    const from = this.versionId(arn, stage);
    if (from === to) return;
    if (from !== undefined) versions.get(from)!.stages.delete(stage);
    versions.get(to)!.stages.add(stage);
    if (stage === 'AWSCURRENT' && from !== undefined) this.move(arn, from, 'AWSPREVIOUS');
  }

  private versions(arn: string): Map<string, Version> {
    const versions = this.secrets.get(arn);
    if (!versions)
      throw new ServiceError('ResourceNotFoundException', `Secrets Manager can't find the specified secret.`);
    return versions;
  }
}
