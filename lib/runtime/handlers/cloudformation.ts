import * as http from 'node:http';
import * as https from 'node:https';

/** What CloudFormation asks of a custom resource. Properties are as they came: every scalar may be a string. */
export interface ResourceRequest {
  readonly type: 'Create' | 'Update' | 'Delete';
  readonly stackId: string;
  readonly logicalId: string;
  /** Such as `Custom::CdkPostgresState`; absent where the event does not say. */
  readonly resourceType?: string;
  readonly requestId: string;
  /** When CloudFormation made it, in ISO 8601; absent where the URL for its answer does not say so. */
  readonly requestedAt?: string;
  /** Absent at Create. */
  readonly physicalId?: string;
  readonly properties: Readonly<Record<string, unknown>>;
  /** At Update: the properties before. */
  readonly oldProperties?: Readonly<Record<string, unknown>>;
}

export interface ResourceAnswer {
  /** A changed id at Update makes CloudFormation send Delete for the earlier one when the update is over. */
  readonly physicalId: string;
  /** Attributes for Fn::GetAtt; small, since a whole response has 4,096 bytes at most. */
  readonly data?: Readonly<Record<string, string>>;
  /** Shown with the resource's event in CloudFormation. */
  readonly reason?: string;
}

export interface RunLimits {
  /** Epoch milliseconds at which the handler must be done; some seconds later CloudFormation is told that the time is over. */
  readonly deadline: number;
}

export type ResourceHandler = (request: ResourceRequest, limits: RunLimits) => Promise<ResourceAnswer>;

export interface LambdaContext {
  getRemainingTimeInMillis(): number;
}

/**
 * What the resource waits for takes longer than a function may run: CloudFormation is not answered, the function ends with this error, and Lambda
 * runs the same event again after a minute or two, twice at the most. Whoever throws it answers at the second of them at the latest.
 */
export class AskAgainError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'AskAgainError';
  }
}

/** The body that CloudFormation was sent; the function returns it too, for who calls it directly. */
export interface ResponseBody {
  readonly Status: 'SUCCESS' | 'FAILED';
  readonly Reason?: string;
  readonly PhysicalResourceId: string;
  readonly StackId: string;
  readonly RequestId: string;
  readonly LogicalResourceId: string;
  readonly Data?: Readonly<Record<string, string>>;
}

export const MAX_RESPONSE_BYTES = 4096;

/** The id of a resource whose Create failed. The Delete that follows never fails: perhaps nothing of the event could be understood. */
const FAILED_CREATE = 'cdk-postgres-failed-create';

/** Before its end a function has this long to send its answer. */
const ANSWER_MARGIN_MS = 10_000;
/** Before it answers that the time is over, a handler has this long to come to an end by itself. */
const STOP_MARGIN_MS = 10_000;

/**
 * Makes a Lambda handler that speaks CloudFormation's protocol: exactly one response per event, whatever happens, before the
 * function's time is over, within 4,096 bytes. What the handler throws becomes the reason of a FAILED response, but for an `AskAgainError`.
 */
export function serveCustomResource(
  handle: ResourceHandler,
): (event: unknown, context: LambdaContext) => Promise<ResponseBody> {
  return async (event, context) => {
    const end = Date.now() + context.getRemainingTimeInMillis();
    const fields = asRecord(event);
    const url = responseUrl(fields.ResponseURL);
    const body = await answer(fields, handle, end);
    await send(url, JSON.stringify(body), end - 500);
    return body;
  };
}

async function answer(
  fields: Readonly<Record<string, unknown>>,
  handle: ResourceHandler,
  end: number,
): Promise<ResponseBody> {
  const ids = {
    StackId: text(fields.StackId),
    RequestId: text(fields.RequestId),
    LogicalResourceId: text(fields.LogicalResourceId),
  };
  const known = text(fields.PhysicalResourceId) || FAILED_CREATE;
  let timer: NodeJS.Timeout | undefined;
  const timeOver = new Promise<never>((_resolve, reject) => {
    const message = 'the time of the function is over; what is done stays, and deploying again does the rest';
    timer = setTimeout(() => reject(new Error(message)), Math.max(0, end - ANSWER_MARGIN_MS - Date.now()));
  });
  try {
    const request = readRequest(fields);
    const work = handle(request, { deadline: end - ANSWER_MARGIN_MS - STOP_MARGIN_MS });
    const { physicalId, data, reason } = await Promise.race([work, timeOver]);
    return fit({ Status: 'SUCCESS', Reason: reason, PhysicalResourceId: physicalId, ...ids, Data: data });
  } catch (error) {
    if (error instanceof AskAgainError) throw error;
    if (fields.RequestType === 'Delete' && known === FAILED_CREATE) {
      return fit({ Status: 'SUCCESS', Reason: reasonOf(error), PhysicalResourceId: known, ...ids });
    }
    return fit({ Status: 'FAILED', Reason: reasonOf(error), PhysicalResourceId: known, ...ids });
  } finally {
    clearTimeout(timer);
  }
}

function readRequest(fields: Readonly<Record<string, unknown>>): ResourceRequest {
  const type = fields.RequestType;
  if (type !== 'Create' && type !== 'Update' && type !== 'Delete') {
    throw new Error(`the event's RequestType is ${JSON.stringify(type)}, and not Create, Update or Delete`);
  }
  for (const key of ['StackId', 'RequestId', 'LogicalResourceId'] as const) {
    if (!text(fields[key])) throw new Error(`the event has no ${key}: it does not come from CloudFormation`);
  }
  if (type !== 'Create' && !text(fields.PhysicalResourceId)) {
    throw new Error(`the event of type ${type} has no PhysicalResourceId`);
  }
  return {
    type,
    stackId: text(fields.StackId),
    requestId: text(fields.RequestId),
    requestedAt: signedAt(fields.ResponseURL),
    logicalId: text(fields.LogicalResourceId),
    resourceType: text(fields.ResourceType) || undefined,
    physicalId: text(fields.PhysicalResourceId) || undefined,
    properties: asRecord(fields.ResourceProperties),
    oldProperties: type === 'Update' ? asRecord(fields.OldResourceProperties) : undefined,
  };
}

/** Cuts the reason, keeping its beginning, and gives up the data before it gives up the response. */
function fit(body: ResponseBody): ResponseBody {
  const size = (candidate: ResponseBody) => Buffer.byteLength(JSON.stringify(candidate));
  if (size(body) <= MAX_RESPONSE_BYTES) return body;
  const bare = { ...body, Reason: '' };
  if (size(bare) > MAX_RESPONSE_BYTES - 200) return fit({ ...body, Data: undefined });
  const note = ' … (the whole text is in the log of the function)';
  const characters = [...(body.Reason ?? '')];
  let low = 0;
  let high = characters.length;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    const candidate = { ...body, Reason: characters.slice(0, middle).join('') + note };
    if (size(candidate) <= MAX_RESPONSE_BYTES) low = middle;
    else high = middle - 1;
  }
  return { ...body, Reason: characters.slice(0, low).join('') + note };
}

/** A verifier in an error text, from whatever layer, is as good as a password for who has time. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error || isErrorLike(error) ? error.message : String(error);
  return message.replace(/SCRAM-SHA-256\$[^\s'"]+/g, 'SCRAM-SHA-256$…') || 'it failed without a message';
}

function isErrorLike(error: unknown): error is { message: string } {
  return typeof (error as { message?: unknown } | null)?.message === 'string';
}

/** The URL is a credential of its own: it is never logged or shown. */
function responseUrl(value: unknown): URL {
  const url = typeof value === 'string' && URL.canParse(value) ? new URL(value) : undefined;
  const loopback = url?.protocol === 'http:' && ['127.0.0.1', 'localhost', '[::1]'].includes(url.hostname);
  if (!url || !(url.protocol === 'https:' || loopback)) {
    throw new Error(
      'the event has no https ResponseURL, so nobody can be answered: it does not come from CloudFormation',
    );
  }
  return url;
}

/** The events of CloudFormation have no time but this: when the URL of the answer was signed. It is not the secret in it. */
function signedAt(url: unknown): string | undefined {
  const date = typeof url === 'string' && URL.canParse(url) ? new URL(url).searchParams.get('X-Amz-Date') : null;
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date ?? '');
  return parts ? `${parts.slice(1, 4).join('-')}T${parts.slice(4).join(':')}Z` : undefined;
}

/** Sends the response until it is taken. Without it the stack waits for its timeout, so this fails loudly, and Lambda runs the event again. */
async function send(url: URL, body: string, until: number): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    const problem = await put(url, body, Math.max(1_000, Math.min(10_000, until - Date.now())));
    if (problem === undefined) return;
    console.error(JSON.stringify({ event: 'response', attempt: attempt + 1, problem }));
    const pause = Math.min(4_000, 200 * 2 ** attempt);
    if (attempt >= 8 || Date.now() + pause > until) {
      throw new Error(
        `CloudFormation could not be answered: ${problem}; in an isolated VPC this needs the gateway endpoint of S3`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pause));
  }
}

function put(url: URL, body: string, timeout: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const { request } = url.protocol === 'https:' ? https : http;
    // The URL is signed for an empty content type.
    const headers = { 'content-type': '', 'content-length': Buffer.byteLength(body) };
    const sending = request(url, { method: 'PUT', headers }, (response) => {
      response.resume();
      response.on('end', () => {
        const status = response.statusCode ?? 0;
        resolve(status >= 200 && status < 300 ? undefined : `the answer was refused with status ${status}`);
      });
      response.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.name));
    });
    sending.setTimeout(timeout, () => sending.destroy(Object.assign(new Error('timeout'), { code: 'ETIMEDOUT' })));
    sending.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.name));
    sending.end(body);
  });
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
