import * as https from 'node:https';
import { ClusterLogin, Endpoint } from './reference';

/** A member that did not answer, or answered that it will not. */
export class RestError extends Error {
  constructor(
    message: string,
    /** Of the answer; absent: there was none. */
    readonly status?: number,
  ) {
    super(message);
    this.name = 'RestError';
  }
}

export interface RestAnswer {
  readonly status: number;
  readonly text: string;
}

/** Enough for a member that is far away or busy; one that is gone must not take the time of the others. */
const TIMEOUT_MS = 5_000;

/** HTTPS with a certificate of one's own, to hosts whose certificate is of the cluster's root and for their name. */
export class RestClient {
  private readonly agent: https.Agent;

  constructor(private readonly login: ClusterLogin) {
    const { certificate, privateKey, ca } = login;
    // A member that was replaced has another address under the same name: no connection is kept.
    this.agent = new https.Agent({ cert: certificate, key: privateKey, ca, keepAlive: false, minVersion: 'TLSv1.2' });
  }

  /** The answer, whatever its status. `timeout`: milliseconds in which nothing is heard. */
  ask(
    endpoint: Endpoint,
    method: 'GET' | 'POST' | 'PATCH',
    path: string,
    options: { readonly body?: object; readonly timeout?: number } = {},
  ): Promise<RestAnswer> {
    const { body, timeout = TIMEOUT_MS } = options;
    const payload = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const fail = (problem: string) => reject(new RestError(`${whereIs(endpoint)} does not answer: ${problem}`));
      const request = https.request(
        {
          agent: this.agent,
          host: endpoint.host,
          port: endpoint.port,
          method,
          path,
          auth: this.login.basic,
          headers:
            payload === undefined
              ? {}
              : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', (error: NodeJS.ErrnoException) => fail(problemOf(error)));
          response.on('end', () =>
            resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8').trim() }),
          );
        },
      );
      request.setTimeout(timeout, () =>
        request.destroy(Object.assign(new Error(`nothing within ${timeout / 1000} s`), { code: 'ETIMEDOUT' })),
      );
      request.on('error', (error: NodeJS.ErrnoException) => fail(problemOf(error)));
      request.end(payload);
    });
  }

  /** What a member answers as JSON; Patroni says with its status too whether it runs. */
  async read(endpoint: Endpoint, path: string): Promise<Readonly<Record<string, unknown>>> {
    const { status, text } = await this.ask(endpoint, 'GET', path);
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw new RestError(`${whereIs(endpoint)} answers ${status} to ${path}, and no JSON`, status);
    }
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  }

  /** Has a member do something. Its own words say why it will not. */
  async order(
    endpoint: Endpoint,
    method: 'POST' | 'PATCH',
    path: string,
    body: object,
    timeout?: number,
  ): Promise<RestAnswer> {
    const answer = await this.ask(endpoint, method, path, { body, timeout });
    if (answer.status >= 200 && answer.status < 300) return answer;
    const advice =
      answer.status === 401 || answer.status === 403
        ? '; the client certificate, or the password of the REST API, is not the one that the cluster trusts'
        : '';
    throw new RestError(
      `${whereIs(endpoint)} refuses ${method} ${path} (${answer.status}): ${answer.text || 'no reason given'}${advice}`,
      answer.status,
    );
  }

  destroy(): void {
    this.agent.destroy();
  }
}

function whereIs({ name, host, port }: Endpoint): string {
  return `${name} (${host}:${port})`;
}

const UNTRUSTED = [
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'CERT_SIGNATURE_FAILURE',
];

function problemOf(error: NodeJS.ErrnoException): string {
  const code = error.code ?? '';
  if (UNTRUSTED.includes(code)) return `its certificate is not of the root of this cluster (${code})`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') return 'its certificate is for another host';
  if (code === 'CERT_HAS_EXPIRED') return 'its certificate has expired';
  // So it is whoever shows a certificate of somebody else; TLS 1.3 tells only after the handshake.
  if (/ALERT|SSL/.test(code)) return `the TLS connection was refused, perhaps the client certificate (${code})`;
  return code === '' || error.message.includes(code) ? error.message : `${code}: ${error.message}`;
}
