import { randomUUID } from 'node:crypto';
import * as http from 'node:http';
import { AddressInfo } from 'node:net';

interface Version {
  text?: string;
  readonly stages: Set<string>;
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
 * AWS Secrets Manager as far as the library calls it, over its JSON protocol on the loopback address, so that a function's bundle
 * runs in a preview with its real SDK client.
 */
export class LocalSecretsManager {
  private readonly secrets = new Map<string, Map<string, Version>>();

  private constructor(private readonly server: http.Server) {}

  static async start(): Promise<LocalSecretsManager> {
    const server = http.createServer();
    const manager = new LocalSecretsManager(server);
    server.on('request', (request, response) => void manager.answer(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    return manager;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  has(arn: string): boolean {
    return this.secrets.has(arn);
  }

  create(arn: string, value: object): void {
    this.secrets.set(arn, new Map([[randomUUID(), { text: JSON.stringify(value), stages: new Set(['AWSCURRENT']) }]]));
  }

  /** The current value, parsed. */
  value(arn: string): Record<string, unknown> | undefined {
    const current = [...(this.secrets.get(arn)?.values() ?? [])].find(({ stages }) => stages.has('AWSCURRENT'));
    return current?.text === undefined ? undefined : (JSON.parse(current.text) as Record<string, unknown>);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async answer(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const operation = String(request.headers['x-amz-target']).replace('secretsmanager.', '');
    let status = 200;
    let body: object;
    try {
      body = this.perform(operation, JSON.parse(Buffer.concat(chunks).toString() || '{}') as Record<string, unknown>);
    } catch (error) {
      status = 400;
      body = {
        __type: error instanceof ServiceError ? error.type : 'InternalServiceError',
        Message: (error as Error).message,
      };
    }
    response.writeHead(status, { 'content-type': 'application/x-amz-json-1.1' });
    response.end(JSON.stringify(body));
  }

  private perform(operation: string, input: Record<string, unknown>): object {
    const arn = input.SecretId as string;
    switch (operation) {
      case 'GetSecretValue': {
        const [VersionId, version] = this.find(arn, input);
        return { ARN: arn, Name: arn, VersionId, SecretString: version.text, VersionStages: [...version.stages] };
      }
      case 'DescribeSecret':
        return {
          ARN: arn,
          Name: arn,
          VersionIdsToStages: Object.fromEntries(
            [...this.versions(arn)].map(([id, { stages }]) => [id, [...stages].sort()]),
          ),
        };
      case 'PutSecretValue': {
        const token = (input.ClientRequestToken as string | undefined) ?? randomUUID();
        const stages = (input.VersionStages as string[] | undefined) ?? ['AWSCURRENT'];
        this.put(arn, token, input.SecretString as string, stages);
        return { ARN: arn, Name: arn, VersionId: token, VersionStages: stages };
      }
      case 'UpdateSecretVersionStage':
        this.moveFrom(arn, input.VersionStage as string, input.MoveToVersionId as string, input.RemoveFromVersionId);
        return { ARN: arn, Name: arn };
      default:
        throw new ServiceError('UnknownOperationException', `${operation} is not known in a preview`);
    }
  }

  private find(arn: string, input: Record<string, unknown>): [string, Version] {
    const { VersionId: id, VersionStage: stage = id === undefined ? 'AWSCURRENT' : undefined } = input;
    const found = [...this.versions(arn)].find(
      ([key, version]) =>
        (id === undefined || id === key) && (stage === undefined || version.stages.has(stage as string)),
    );
    if (found?.[1].text === undefined) {
      throw new ServiceError('ResourceNotFoundException', `Secrets Manager can't find the specified secret value`);
    }
    return found;
  }

  private put(arn: string, token: string, text: string, stages: readonly string[]): void {
    const versions = this.versions(arn);
    const existing = versions.get(token);
    if (existing?.text !== undefined && existing.text !== text) {
      throw new ServiceError('ResourceExistsException', 'A version with this token has another value');
    }
    versions.set(token, { text, stages: existing?.stages ?? new Set() });
    for (const stage of stages) this.move(arn, token, stage);
  }

  private moveFrom(arn: string, stage: string, to: string, from: unknown): void {
    const holder = this.holder(arn, stage);
    if (holder !== undefined && holder !== from) {
      throw new ServiceError('InvalidParameterException', `The version ${stage} is on must be named to move it`);
    }
    if (!this.versions(arn).has(to)) {
      throw new ServiceError('ResourceNotFoundException', `Secrets Manager can't find the version`);
    }
    this.move(arn, to, stage);
  }

  private move(arn: string, to: string, stage: string): void {
    const versions = this.versions(arn);
    const from = this.holder(arn, stage);
    if (from === to) return;
    if (from !== undefined) versions.get(from)!.stages.delete(stage);
    versions.get(to)!.stages.add(stage);
    if (stage === 'AWSCURRENT' && from !== undefined) this.move(arn, from, 'AWSPREVIOUS');
  }

  private holder(arn: string, stage: string): string | undefined {
    return [...this.versions(arn)].find(([, version]) => version.stages.has(stage))?.[0];
  }

  private versions(arn: string): Map<string, Version> {
    const versions = this.secrets.get(arn);
    if (!versions) {
      throw new ServiceError('ResourceNotFoundException', `Secrets Manager can't find the specified secret.`);
    }
    return versions;
  }
}
