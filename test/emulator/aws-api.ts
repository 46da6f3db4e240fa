/** One line of a function's log, read as the JSON that it is where it is. */
export interface LogEntry {
  readonly text: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

export interface Invocation {
  /** What the function returned, or its error. */
  readonly result: Readonly<Record<string, unknown>>;
  readonly failed: boolean;
  readonly log: readonly LogEntry[];
}

/**
 * The few calls that the suite makes itself, over plain HTTP: this repository has no SDK client for most of these services, and the
 * emulator checks no signature.
 */
export class AwsApi {
  constructor(
    private readonly endpoint: string,
    readonly region: string,
  ) {}

  /** A service that speaks JSON: `secretsmanager.CreateSecret`, `Logs_20140328.FilterLogEvents`. */
  async json<T>(target: string, input: object): Promise<T> {
    const service = target.startsWith('Logs') ? 'logs' : target.split('.')[0];
    const headers = { 'x-amz-target': target, 'content-type': 'application/x-amz-json-1.1' };
    const { status, text } = await this.rest(service, 'POST', '/', JSON.stringify(input), headers);
    if (status !== 200) throw new Error(`${target}: ${status} ${text}`);
    return JSON.parse(text) as T;
  }

  /** A service that speaks query and answers in XML. */
  async query(service: 'cloudformation' | 'rds', action: string, input: Record<string, string>): Promise<string> {
    const Version = service === 'rds' ? '2014-10-31' : '2010-05-15';
    const body = new URLSearchParams({ Action: action, Version, ...input }).toString();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const { status, text } = await this.rest(service, 'POST', '/', body, headers);
    if (status !== 200) throw new Error(`${service} ${action}: ${status} ${text}`);
    return text;
  }

  async rest(service: string, method: string, path: string, body?: string, headers: Record<string, string> = {}) {
    const authorization =
      `AWS4-HMAC-SHA256 Credential=test/20260101/${this.region}/${service}/aws4_request, ` +
      'SignedHeaders=host, Signature=none';
    const response = await fetch(this.endpoint + path, { method, body, headers: { authorization, ...headers } });
    return { status: response.status, headers: response.headers, text: await response.text() };
  }

  /** Runs a deployed function and waits for its end. */
  async invoke(functionName: string, event: object): Promise<Invocation> {
    const before = (await this.log(functionName)).length;
    const path = `/2015-03-31/functions/${functionName}/invocations`;
    const { status, headers, text } = await this.rest('lambda', 'POST', path, JSON.stringify(event));
    if (status !== 200) throw new Error(`Invoke ${functionName}: ${status} ${text}`);
    return {
      result: JSON.parse(text) as Record<string, unknown>,
      failed: headers.get('x-amz-function-error') !== null,
      log: (await this.log(functionName)).slice(before),
    };
  }

  /** What a function has logged over all its runs; the last line of each is what it returned. */
  async log(functionName: string): Promise<LogEntry[]> {
    const logGroupName = `/aws/lambda/${functionName}`;
    const { logGroups } = await this.json<{ logGroups: { logGroupName: string }[] }>(
      'Logs_20140328.DescribeLogGroups',
      { logGroupNamePrefix: logGroupName },
    );
    // The group is there from the beginning of the first run, its lines from the end.
    if (logGroups.length === 0) return [];
    const { events } = await this.json<{ events: { message: string }[] }>('Logs_20140328.FilterLogEvents', {
      logGroupName,
    });
    return events.map(({ message }) => readEntry(message));
  }

  /** Physical ids of a stack's resources by their logical id. */
  async resources(stackName: string): Promise<Map<string, string>> {
    const text = await this.query('cloudformation', 'DescribeStackResources', { StackName: stackName });
    const members = text.split('<member>').slice(1);
    return new Map(members.map((member) => [tag(member, 'LogicalResourceId')!, tag(member, 'PhysicalResourceId')!]));
  }

  async stack(stackName: string): Promise<{ readonly id: string; readonly status: string }> {
    const text = await this.query('cloudformation', 'DescribeStacks', { StackName: stackName });
    return { id: tag(text, 'StackId')!, status: tag(text, 'StackStatus')! };
  }
}

/** The text of the first element of this name. */
export function tag(xml: string, name: string): string | undefined {
  return new RegExp(`<${name}>([^<]*)</${name}>`).exec(xml)?.[1];
}

function readEntry(text: string): LogEntry {
  try {
    const value = JSON.parse(text) as unknown;
    return { text, fields: typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {} };
  } catch {
    return { text, fields: {} };
  }
}
