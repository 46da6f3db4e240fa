import { randomUUID } from 'node:crypto';
import { decodeState, DesiredState, encodeState, StateDocument } from '../../contract';
import { reconcile } from '../reconcile';
import { AccessRow, Plan, Report, Step } from '../reconcile/types';
import { connectionSecrets, roleSecrets, SecretStore } from '../secrets';
import { Assembly } from './assembly';
import { invoke, LogRecord } from './function-process';
import { generateSecret } from './generated-password';
import { FunctionAnswer } from './local-storage';
import { PreviewServer } from './preview-server';
import { previewReferences } from './references';
import { StateResource, stateDocument } from './state-resources';
import { asSentByCloudFormation, Resolved, TemplateValues } from './template-values';

/** A preview has no publisher: what subscribes to one is made, and not started. */
function withoutPublishers(state: DesiredState): DesiredState {
  if (state.databases.every(({ subscriptions }) => subscriptions.length === 0)) return state;
  return {
    ...state,
    databases: state.databases.map((database) => ({
      ...database,
      subscriptions: database.subscriptions.map((subscription) => ({ ...subscription, enabled: false })),
    })),
  };
}

/** What one event did, by the function's own log and answer. */
export interface Deployment {
  readonly answer: FunctionAnswer;
  readonly steps: readonly Step[];
  readonly withheld: readonly Step[];
  /** The hash that lets the withheld steps run. */
  readonly hash?: string;
  readonly notes: readonly string[];
  /** Facts of the run; absent where the function failed. */
  readonly report?: Pick<Report, 'outcome' | 'server' | 'proof' | 'timings' | 'statements'>;
  readonly milliseconds: number;
}

/** The server as it is after an event, seen by a run that only plans. */
export interface Inspection {
  readonly plan: Plan;
  readonly access: readonly AccessRow[];
}

/**
 * A state resource of a synthesised app, ready to be deployed on a preview server: its references resolved, its properties as
 * CloudFormation sends them, its function found among the assets.
 */
export class PreviewedResource {
  readonly desired: DesiredState;
  /** What stands for each reference, and for what a preview puts in the place of the template's own value. */
  readonly references: readonly Resolved[];
  readonly secretArns: Readonly<Record<string, string>>;
  private readonly connectionArns: Readonly<Record<string, string>>;
  private readonly properties: Readonly<Record<string, unknown>>;
  private readonly functionFolder: string;
  private readonly functionEnvironment: Readonly<Record<string, string>>;
  private readonly functionTimeout: number;
  /** The declaration as it is applied here. */
  readonly document: StateDocument;

  constructor(
    private readonly server: PreviewServer,
    assembly: Assembly,
    readonly resource: StateResource,
    given: Readonly<Record<string, string>> = {},
  ) {
    const { postgres, secrets } = server;
    const values = new TemplateValues({
      stacks: assembly.stacks,
      source: previewReferences(postgres, secrets),
      given,
    });
    const { stack } = resource;
    const properties = values.resolve(stack, resource.properties) as Record<string, unknown>;
    const declared = properties.Server as Record<string, unknown>;
    const inPlace: Resolved[] = [];
    const replace = (key: string, value: string, shown = value) => {
      if (declared[key] !== value)
        inPlace.push({ reference: `Server.${key} (${String(declared[key])})`, value: shown });
      return value;
    };
    const reference = {
      ...declared,
      Host: replace('Host', postgres.host),
      Port: replace('Port', String(postgres.port)),
      Trust: replace('Trust', server.ca, "this preview's own certificate authority"),
    };
    const declaredState = decodeState(asSentByCloudFormation(stateDocument(assembly, resource, values)));
    this.desired = withoutPublishers(declaredState);
    this.document = encodeState(this.desired);
    const differs = this.desired === declaredState ? {} : { State: this.document, StateAsset: undefined };
    if (this.desired !== declaredState)
      inPlace.push({ reference: 'subscriptions', value: 'made and not started, since a preview has no publisher' });
    this.properties = { ...properties, ...differs, Server: reference };
    this.secretArns = (properties.Secrets ?? {}) as Record<string, string>;
    this.connectionArns = (properties.ConnectionSecrets ?? {}) as Record<string, string>;
    this.fillSecrets(String(declared.AdminSecretArn));
    this.fillConnections();

    const lambda = this.lambda(values);
    const folder = assembly.assets.get(lambda.key);
    if (folder === undefined)
      throw new Error(`the bundle ${lambda.key} of the function is not in ${assembly.directory}`);
    this.functionFolder = folder;
    this.functionEnvironment = lambda.environment;
    this.functionTimeout = lambda.timeout;
    this.references = [...values.table, ...inPlace];
  }

  /** What a deployment would do, found out without one. */
  async inspect(): Promise<Inspection> {
    const { secrets, postgres } = this.server;
    const store = new SecretStore({
      endpoint: secrets.endpoint,
      region: 'us-east-1',
      credentials: { accessKeyId: 'preview', secretAccessKey: 'preview' },
    });
    try {
      const report = await reconcile(this.desired, this.server.connection(), {
        mode: 'plan',
        identity: String((this.properties.Server as { Identity: unknown }).Identity),
        secrets: roleSecrets({ store, arns: this.secretArns }),
        connections: connectionSecrets(store, this.connectionArns),
        access: true,
      });
      return { plan: report.plan, access: report.access };
    } catch (error) {
      throw new Error(`the server on port ${postgres.port} could not be inspected: ${(error as Error).message}`);
    } finally {
      store.destroy();
    }
  }

  /** Sends the event that CloudFormation would send. `before` is the resource as it was deployed last. */
  async deploy(options: {
    readonly before?: PreviewedResource;
    readonly acknowledge?: readonly string[];
    readonly onProgress?: (message: string) => void;
  }): Promise<Deployment> {
    const requestId = randomUUID();
    const { stack, logicalId } = this.resource;
    const started = performance.now();
    const physicalId = `cdk-postgres/preview/${this.desired.name}`;
    const records = await invoke({
      folder: this.functionFolder,
      timeoutSeconds: this.functionTimeout,
      environment: { ...this.functionEnvironment, ...this.server.environment(stack.region) },
      onRecord: (record) => {
        if (record.event === 'progress') options.onProgress?.(String(record.message));
      },
      event: {
        RequestType: options.before ? 'Update' : 'Create',
        RequestId: requestId,
        ResponseURL: this.server.storage.responseUrl(requestId),
        StackId: `arn:aws:cloudformation:${stack.region}:${stack.account}:stack/${stack.stackName}/preview`,
        LogicalResourceId: logicalId,
        ResourceType: 'Custom::CdkPostgresState',
        ...(options.before && {
          PhysicalResourceId: physicalId,
          OldResourceProperties: options.before.event([]),
        }),
        ResourceProperties: this.event(options.acknowledge ?? []),
      },
    });
    const answer = this.server.storage.answerTo(requestId);
    if (!answer) throw new Error('the function ended without an answer to CloudFormation');
    return readDeployment(answer, records, performance.now() - started);
  }

  private event(acknowledge: readonly string[]): unknown {
    const { document, properties } = this;
    if (acknowledge.length === 0) return asSentByCloudFormation(properties);
    const acknowledged = { ...document, acknowledgedPlans: [...(document.acknowledgedPlans ?? []), ...acknowledge] };
    return asSentByCloudFormation({ ...properties, StateAsset: undefined, State: acknowledged });
  }

  /** The admin's secret holds the preview server's master; secrets made elsewhere get a password of their own. */
  private fillSecrets(adminArn: string): void {
    const { secrets, postgres } = this.server;
    secrets.create(adminArn, {
      username: postgres.master.user,
      password: postgres.master.password,
      engine: 'postgres',
      host: postgres.host,
      port: postgres.port,
    });
    for (const [role, arn] of Object.entries(this.secretArns)) {
      if (secrets.has(arn)) continue;
      secrets.create(
        arn,
        generateSecret({
          SecretStringTemplate: JSON.stringify({ username: role }),
          ExcludePunctuation: true,
          PasswordLength: 40,
        }),
      );
    }
  }

  /** A secret that a subscription connects by needs no publisher here, and has to be complete all the same. */
  private fillConnections(): void {
    const { secrets, postgres } = this.server;
    for (const arn of Object.values(this.connectionArns)) {
      const known = secrets.has(arn) ? secrets.value(arn) : undefined;
      if (known?.host !== undefined) continue;
      secrets.create(arn, {
        username: postgres.master.user,
        password: postgres.master.password,
        ...known,
        host: postgres.host,
        port: postgres.port,
        dbname: 'postgres',
      });
    }
  }

  private lambda(values: TemplateValues): { key: string; environment: Record<string, string>; timeout: number } {
    const { stack, properties, path } = this.resource;
    const token = properties.ServiceToken as { 'Fn::GetAtt'?: [string, string] };
    const id = token?.['Fn::GetAtt']?.[0];
    const lambda = id === undefined ? undefined : stack.template.Resources?.[id];
    if (!lambda) throw new Error(`the function of ${path} is not in its stack`);
    const { Code, Environment, Timeout } = (lambda.Properties ?? {}) as {
      Code?: { S3Key?: unknown };
      Environment?: { Variables?: unknown };
      Timeout?: number;
    };
    return {
      key: String(values.resolve(stack, Code?.S3Key)),
      environment: (values.resolve(stack, Environment?.Variables ?? {}) ?? {}) as Record<string, string>,
      timeout: Number(Timeout ?? 900),
    };
  }
}

function readDeployment(answer: FunctionAnswer, records: readonly LogRecord[], milliseconds: number): Deployment {
  const of = <T>(event: string, field: string) =>
    records.filter((record) => record.event === event).map((record) => record[field] as T);
  const report = records.find((record) => record.event === 'report') as Deployment['report'] | undefined;
  return {
    answer,
    steps: of<Step>('step', 'step'),
    withheld: of<Step>('withheld', 'step'),
    hash: of<string | undefined>('withheld', 'acknowledge')[0],
    notes: of<string>('note', 'note'),
    report,
    milliseconds,
  };
}
