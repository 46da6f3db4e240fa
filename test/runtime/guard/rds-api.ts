import * as http from 'node:http';
import { AddressInfo } from 'node:net';
import { RDSClient } from '@aws-sdk/client-rds';
import { answerViolations, errorViolations, requestViolations } from '../../support/rds-model';

export interface FakeServer {
  readonly identifier: string;
  readonly engine: string;
  readonly engineVersion: string;
  /** Further elements of DBInstance or DBCluster, such as `<Port>5433</Port>`. */
  readonly xml?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

/**
 * Answers what the library asks of RDS in the API's own protocol: form in, XML out. Both are held to the SDK's model of the service: a call
 * that is not of it is refused, and an answer that is not of it is not given.
 */
export class RdsApi {
  public readonly instances: FakeServer[] = [];
  public readonly clusters: FakeServer[] = [];
  public readonly snapshots: FakeServer[] = [];
  public readonly clusterSnapshots: FakeServer[] = [];
  public readonly parameters: Record<string, Record<string, string>> = {};
  /** What was asked, in order. */
  public readonly calls: { readonly action: string; readonly form: URLSearchParams }[] = [];
  /** Answers every call with this error code. */
  public failure?: string;

  /** What was not of the model. Code that goes on after an error would hide it, so `stop()` throws it. */
  private readonly violations: string[] = [];

  private constructor(private readonly server: http.Server) {}

  static async start(): Promise<RdsApi> {
    const server = http.createServer();
    const api = new RdsApi(server);
    server.on('request', (request, response) => {
      let body = '';
      request.on('data', (chunk) => (body += chunk));
      request.on('end', () => {
        const form = new URLSearchParams(body);
        const action = form.get('Action') ?? '';
        api.calls.push({ action, form });
        const { status, xml } = api.checkedAnswer(action, form);
        response.writeHead(status, { 'content-type': 'text/xml' }).end(xml);
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return api;
  }

  client(): RDSClient {
    return new RDSClient({
      endpoint: this.url,
      region: 'eu-west-1',
      credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
      maxAttempts: 1,
    });
  }

  get url(): string {
    return `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
    if (this.violations.length > 0) throw new Error(`not as the model of RDS has it: ${this.violations.join('; ')}`);
  }

  reset(): void {
    this.instances.length = this.clusters.length = this.calls.length = 0;
    this.snapshots.length = this.clusterSnapshots.length = 0;
    for (const name of Object.keys(this.parameters)) delete this.parameters[name];
    this.failure = undefined;
  }

  private checkedAnswer(action: string, form: URLSearchParams): { status: number; xml: string } {
    const wrong = requestViolations(form);
    this.violations.push(...wrong);
    if (wrong.length > 0) return error(400, 'InvalidParameterValue', wrong.join('; '));
    const { status, xml } = this.answer(action, form);
    const code = /<Code>(.*?)<\/Code>/.exec(xml)?.[1];
    const impossible = code === undefined ? answerViolations(action, xml) : errorViolations(code, status);
    this.violations.push(...impossible);
    return impossible.length > 0 ? error(500, 'InternalFailure', impossible.join('; ')) : { status, xml };
  }

  private answer(action: string, form: URLSearchParams): { status: number; xml: string } {
    if (this.failure) return error(403, this.failure);
    if (action === 'DescribeDBInstances') {
      const found = this.instances.filter(({ identifier }) => identifier === form.get('DBInstanceIdentifier'));
      if (found.length === 0) return error(404, 'DBInstanceNotFound');
      return ok(action, `<DBInstances>${found.map((one) => element('DBInstance', one)).join('')}</DBInstances>`);
    }
    if (action === 'DescribeDBClusters') {
      const found = this.clusters.filter(({ identifier }) => identifier === form.get('DBClusterIdentifier'));
      if (found.length === 0) return error(404, 'DBClusterNotFoundFault');
      return ok(action, `<DBClusters>${found.map((one) => element('DBCluster', one)).join('')}</DBClusters>`);
    }
    if (action === 'DescribeDBSnapshots') {
      const found = this.snapshots.filter(({ identifier }) => identifier === form.get('DBSnapshotIdentifier'));
      if (found.length === 0) return error(404, 'DBSnapshotNotFound');
      return ok(action, `<DBSnapshots>${found.map((one) => element('DBSnapshot', one)).join('')}</DBSnapshots>`);
    }
    if (action === 'DescribeDBClusterSnapshots') {
      const found = this.clusterSnapshots.filter(
        ({ identifier }) => identifier === form.get('DBClusterSnapshotIdentifier'),
      );
      if (found.length === 0) return error(404, 'DBClusterSnapshotNotFoundFault');
      const list = found.map((one) => element('DBClusterSnapshot', one)).join('');
      return ok(action, `<DBClusterSnapshots>${list}</DBClusterSnapshots>`);
    }
    if (action === 'RebootDBInstance' || action === 'FailoverDBCluster') {
      const list = action === 'RebootDBInstance' ? this.instances : this.clusters;
      const name = form.get('DBInstanceIdentifier') ?? form.get('DBClusterIdentifier');
      const found = list.find(({ identifier }) => identifier === name);
      if (!found) return error(404, action === 'RebootDBInstance' ? 'DBInstanceNotFound' : 'DBClusterNotFoundFault');
      return ok(action, element(action === 'RebootDBInstance' ? 'DBInstance' : 'DBCluster', found));
    }
    const group = form.get('DBParameterGroupName') ?? form.get('DBClusterParameterGroupName') ?? '';
    const all = Object.entries(this.parameters[group] ?? {});
    // Two pages, as RDS makes for every real group.
    const page = form.get('Marker') ? all.slice(1) : all.slice(0, 1);
    const list = page.map(
      ([n, v]) => `<Parameter><ParameterName>${n}</ParameterName><ParameterValue>${v}</ParameterValue></Parameter>`,
    );
    const marker = form.get('Marker') || all.length < 2 ? '' : '<Marker>more</Marker>';
    return ok(action, `<Parameters>${list.join('')}</Parameters>${marker}`);
  }
}

function element(
  kind: 'DBInstance' | 'DBCluster' | 'DBSnapshot' | 'DBClusterSnapshot',
  { identifier, engine, engineVersion, xml, tags }: FakeServer,
): string {
  const list = Object.entries(tags ?? {}).map(([key, value]) => `<Tag><Key>${key}</Key><Value>${value}</Value></Tag>`);
  return (
    `<${kind}><${kind}Identifier>${identifier}</${kind}Identifier><Engine>${engine}</Engine>` +
    `<EngineVersion>${engineVersion}</EngineVersion>${xml ?? ''}<TagList>${list.join('')}</TagList></${kind}>`
  );
}

function ok(action: string, result: string): { status: number; xml: string } {
  return {
    status: 200,
    xml: `<${action}Response xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><${action}Result>${result}</${action}Result></${action}Response>`,
  };
}

function error(status: number, code: string, message = code): { status: number; xml: string } {
  return {
    status,
    xml: `<ErrorResponse xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`,
  };
}
