import * as http from 'node:http';
import { AddressInfo } from 'node:net';
import { ResponseBody } from '../../lib/runtime/handlers/cloudformation';

/** Takes the answers of custom resources, as the bucket of CloudFormation does. */
export class TestResponses {
  /** Everything that was sent, in order; a response that was refused too. */
  readonly bodies: string[] = [];
  readonly contentTypes: (string | undefined)[] = [];
  /** Answer the next requests with these statuses; 0 breaks the connection. */
  readonly statuses: number[] = [];

  private events = 0;

  private constructor(private readonly server: http.Server) {}

  static async start(): Promise<TestResponses> {
    const server = http.createServer();
    const responses = new TestResponses(server);
    server.on('request', (request, response) => void responses.take(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    return responses;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}/response?X-Amz-Expires=7200&X-Amz-Signature=very-secret`;
  }

  get last(): ResponseBody {
    return JSON.parse(this.bodies[this.bodies.length - 1]) as ResponseBody;
  }

  /** An event as CloudFormation sends it, a minute after the one before: all scalars are strings, and empty lists are gone. */
  event(fields: {
    readonly type: 'Create' | 'Update' | 'Delete';
    readonly properties: object;
    readonly oldProperties?: object;
    readonly physicalId?: string;
    readonly logicalId?: string;
  }): Record<string, unknown> {
    const signed = new Date(Date.UTC(2030, 0, 1, 0, this.events)).toISOString().replace(/[-:]|\.000/g, '');
    return {
      RequestType: fields.type,
      ResponseURL: `${this.url}&X-Amz-Date=${signed}`,
      StackId: 'arn:aws:cloudformation:eu-central-1:123456789012:stack/test/1b2c',
      RequestId: `request-${this.events++}`,
      LogicalResourceId: fields.logicalId ?? 'State',
      ResourceType: 'Custom::CdkPostgresState',
      ...(fields.physicalId === undefined ? {} : { PhysicalResourceId: fields.physicalId }),
      ResourceProperties: asCloudFormationSends(fields.properties),
      ...(fields.oldProperties ? { OldResourceProperties: asCloudFormationSends(fields.oldProperties) } : {}),
    };
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async take(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    this.bodies.push(Buffer.concat(chunks).toString());
    this.contentTypes.push(request.headers['content-type']);
    const status = this.statuses.shift() ?? 200;
    if (status === 0) request.socket.destroy();
    else response.writeHead(status).end();
  }
}

function asCloudFormationSends(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(asCloudFormationSends);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value)
        .filter(([, entry]) => entry !== undefined && !(Array.isArray(entry) && entry.length === 0))
        .map(([key, entry]) => [key, asCloudFormationSends(entry)]),
    );
  }
  return String(value);
}
