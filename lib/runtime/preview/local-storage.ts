import * as fs from 'node:fs';
import * as http from 'node:http';
import { AddressInfo } from 'node:net';

/** What a function answers CloudFormation. */
export interface FunctionAnswer {
  readonly Status: 'SUCCESS' | 'FAILED';
  readonly Reason?: string;
  readonly PhysicalResourceId: string;
  readonly Data?: Readonly<Record<string, unknown>>;
}

/** S3 in a preview: gives the files of the assembly, and takes the answer that CloudFormation waits for. */
export class LocalStorage {
  private readonly answers = new Map<string, FunctionAnswer>();

  private constructor(
    private readonly server: http.Server,
    private readonly fileOf: (key: string) => string | undefined,
  ) {}

  /** `fileOf` finds the file of an object by its key. */
  static async start(fileOf: (key: string) => string | undefined): Promise<LocalStorage> {
    const server = http.createServer();
    const storage = new LocalStorage(server, fileOf);
    server.on('request', (request, response) => void storage.serve(request, response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    return storage;
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  responseUrl(requestId: string): string {
    const signed = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
    return `${this.endpoint}/cloudformation/${requestId}?signature=preview&X-Amz-Date=${signed}`;
  }

  answerTo(requestId: string): FunctionAnswer | undefined {
    return this.answers.get(requestId);
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private async serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const [, bucket, ...rest] = decodeURIComponent(new URL(request.url!, this.endpoint).pathname).split('/');
    const key = rest.join('/');
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    if (request.method === 'PUT' && bucket === 'cloudformation') {
      this.answers.set(key, JSON.parse(Buffer.concat(chunks).toString()) as FunctionAnswer);
      response.writeHead(200).end();
      return;
    }
    const file = request.method === 'GET' ? this.fileOf(key) : undefined;
    if (file === undefined) {
      response
        .writeHead(404, { 'content-type': 'application/xml' })
        .end('<Error><Code>NoSuchKey</Code><Message>It is not in the assembly</Message></Error>');
      return;
    }
    response.writeHead(200, { 'content-type': 'application/json' }).end(fs.readFileSync(file));
  }
}
