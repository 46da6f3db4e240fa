import { randomUUID } from 'node:crypto';
import * as https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Issued } from '../../lib/runtime/certificates';

export interface IssuerOptions {
  readonly certificate: Issued;
  /** The name of this process in the certificate. */
  readonly host: string;
  /** Where it listens. */
  readonly address: string;
  /** The token of whoever holds a client, by the client's id. */
  readonly tokens: Readonly<Record<string, string>>;
}

/**
 * An issuer of tokens, as far as the device flow of libpq asks it (RFC 8628, RFC 8414). The person who would type the code into a browser
 * and agree has always just done so.
 */
export class TestIssuer {
  /** Each device that asked for a token. */
  readonly asked: { readonly client: string; readonly scope: string }[] = [];
  private readonly clients = new Map<string, string>();
  private readonly server: https.Server;

  private constructor(private readonly options: IssuerOptions) {
    const { certificate, privateKey } = options.certificate;
    this.server = https.createServer({ cert: certificate, key: privateKey }, (request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        const answer = this.answer(request.url ?? '', new URLSearchParams(body));
        response.writeHead('error' in answer ? 400 : 200, { 'content-type': 'application/json' });
        response.end(JSON.stringify(answer));
      });
    });
  }

  static async start(options: IssuerOptions): Promise<TestIssuer> {
    const issuer = new TestIssuer(options);
    await new Promise<void>((resolve, reject) =>
      issuer.server.once('error', reject).listen(0, options.address, resolve),
    );
    return issuer;
  }

  get url(): string {
    return `https://${this.options.host}:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private answer(path: string, form: URLSearchParams): object {
    switch (path) {
      case '/.well-known/openid-configuration':
        return {
          issuer: this.url,
          device_authorization_endpoint: `${this.url}/device`,
          token_endpoint: `${this.url}/token`,
          grant_types_supported: ['urn:ietf:params:oauth:grant-type:device_code'],
        };
      case '/device': {
        const client = form.get('client_id') ?? '';
        if (!(client in this.options.tokens)) return { error: 'invalid_client' };
        this.asked.push({ client, scope: form.get('scope') ?? '' });
        const device = randomUUID();
        this.clients.set(device, client);
        return {
          device_code: device,
          user_code: 'ABCD-EFGH',
          verification_uri: `${this.url}/browser`,
          interval: 1,
          expires_in: 60,
        };
      }
      case '/token': {
        const client = this.clients.get(form.get('device_code') ?? '');
        if (client === undefined || client !== form.get('client_id')) return { error: 'invalid_grant' };
        return { access_token: this.options.tokens[client], token_type: 'Bearer' };
      }
      default:
        return { error: 'invalid_request' };
    }
  }
}
