import {
  ClusterAnswer,
  ClusterMetric,
  CLUSTER_GATE_RESOURCE_TYPE,
  CLUSTER_PARAMETERS_RESOURCE_TYPE,
  CLUSTER_VARIABLE,
  GATE_SECONDS,
  PENDING_RESTART_ATTRIBUTE,
} from '../../contract';
import {
  applyParameters,
  ClusterMemory,
  expectedMembers,
  GateError,
  guardVolume,
  KnownCluster,
  lookAtCluster,
  readClusterReference,
  readCommand,
  readDeclared,
  readLogin,
  RestClient,
  runCommand,
  waitUntilStreaming,
} from '../cluster';
import { SecretStore } from '../secrets';
import {
  AskAgainError,
  LambdaContext,
  ResourceAnswer,
  ResourceRequest,
  RunLimits,
  serveCustomResource,
} from './cloudformation';
import { logLine, logMetrics } from './log';

/** Before its end the function has this long to say what it has found. */
const MARGIN_MS = 10_000;

const memory = new ClusterMemory();

/** What who calls the function by hand is told of the watch. */
export interface WatchAnswer {
  readonly failed: boolean;
  readonly metrics: Readonly<Partial<Record<ClusterMetric, number>>>;
}

const serve = serveCustomResource((request, limits) => {
  switch (request.resourceType) {
    case CLUSTER_GATE_RESOURCE_TYPE:
      return gate(request, limits);
    case CLUSTER_PARAMETERS_RESOURCE_TYPE:
      return parameters(request, limits);
    default:
      throw new Error(`the function knows no resource of the type ${JSON.stringify(request.resourceType)}`);
  }
});

/**
 * The function of a cluster: CloudFormation has it wait between members and keep Patroni's configuration, a schedule has it look, and
 * `cdk-postgres ecs` has it do what an operator asks for.
 */
export async function handler(event: unknown, context: LambdaContext): Promise<unknown> {
  const fields = typeof event === 'object' && event !== null ? event : {};
  if ('RequestType' in fields) return serve(event, context);
  if ('command' in fields) return obey(fields, context);
  return watch(context);
}

/** Lambda shows who calls it an error as its name and message. */
async function obey(event: object, context: LambdaContext): Promise<ClusterAnswer> {
  const command = readCommand(event);
  logLine('asked', command);
  return withCluster(async (rest, cluster) => {
    const answer = await runCommand(rest, cluster, command, {
      deadline: Date.now() + context.getRemainingTimeInMillis() - MARGIN_MS,
      onProgress: (message) => logLine('progress', { message }),
    });
    logLine('answered', answer);
    return answer;
  });
}

/** It never throws: that it could not look is a metric, and the next look comes soon. */
async function watch(context: LambdaContext): Promise<WatchAnswer> {
  const from = Date.now();
  const deadline = from + context.getRemainingTimeInMillis() - MARGIN_MS;
  let known: KnownCluster | undefined;
  try {
    return await withCluster(
      async (rest, cluster) => {
        const looked = await lookAtCluster(rest, cluster, memory);
        for (const finding of looked.findings) logLine(finding.what, finding, 'warn');
        const to = await guardVolume(rest, cluster, looked, {
          deadline,
          onProgress: (message) => logLine('volume guard', { message }, 'error'),
        }).catch((error: Error) => {
          logLine('volume guard', { problem: error.message }, 'error');
          return error;
        });
        const metrics = {
          ...looked.metrics,
          VolumeSwitchovers: to === undefined ? 0 : 1,
          WatchFailed: 0,
          WatchMilliseconds: Date.now() - from,
        };
        logMetrics({ Server: cluster.identity }, metrics);
        return { failed: false, metrics };
      },
      (cluster) => (known = cluster),
    );
  } catch (error) {
    logLine('failed', { server: known?.identity, problem: (error as Error).message }, 'error');
    const metrics = { WatchFailed: 1 };
    if (known) logMetrics({ Server: known.identity }, metrics);
    return { failed: true, metrics };
  }
}

async function gate(request: ResourceRequest, { deadline }: RunLimits): Promise<ResourceAnswer> {
  const physicalId = request.physicalId ?? `cdk-postgres-cluster-gate/${request.logicalId}`;
  if (request.type === 'Delete') return { physicalId };
  const members = textsOf('Members', request.properties.Members);
  const before = request.oldProperties ? textsOf('Members', request.oldProperties.Members) : [];
  const expected = expectedMembers(String(request.properties.Through), members, before);
  try {
    return await withCluster(async (rest, cluster) => {
      await waitUntilStreaming(rest, cluster, {
        expected,
        deadline,
        onProgress: (problems) => logLine('waiting', { expected, problems }),
      });
      logLine('passed', { expected });
      return { physicalId };
    });
  } catch (error) {
    if (!(error instanceof GateError)) throw error;
    logLine('not yet', { expected, problems: error.problems }, 'warn');
    const asked = Date.parse(request.requestedAt ?? '');
    if (Date.now() - asked < GATE_SECONDS * 1000) throw new AskAgainError(error.message);
    throw new Error(
      `the members of the cluster do not stream after the deployment of ${String(request.properties.Through)}, so that the next one is left as it is: ` +
        `${error.message}. What a member that is named waits for is in its log`,
    );
  }
}

async function parameters(request: ResourceRequest, { deadline }: RunLimits): Promise<ResourceAnswer> {
  const physicalId = request.physicalId ?? `cdk-postgres-cluster-parameters/${request.logicalId}`;
  // The members go with the stack; where they stay, they keep what they have.
  if (request.type === 'Delete') return { physicalId };
  const declared = readDeclared(request.properties);
  const before = request.oldProperties ? readDeclared(request.oldProperties).configuration : {};
  return withCluster(async (rest, cluster) => {
    const report = await applyParameters(rest, cluster, declared, before, {
      deadline,
      onProgress: (message) => logLine('progress', { message }),
    });
    logLine('done', report);
    const pending = report.pending.join('; ');
    return {
      physicalId,
      data: { [PENDING_RESTART_ATTRIBUTE]: pending },
      reason: pending === '' ? undefined : `a restart is needed: ${pending}`,
    };
  });
}

function textsOf(what: string, value: unknown): string[] {
  if (!Array.isArray(value) || !value.every((entry) => typeof entry === 'string'))
    throw new Error(`${what} must be a list of names: the template is of another version`);
  return value as string[];
}

/** `onKnown` is told which cluster it is before anything can go wrong with the secrets. */
async function withCluster<T>(
  work: (rest: RestClient, cluster: KnownCluster) => Promise<T>,
  onKnown: (cluster: KnownCluster) => void = () => undefined,
): Promise<T> {
  const text = process.env[CLUSTER_VARIABLE];
  if (!text) throw new Error(`the environment variable ${CLUSTER_VARIABLE} is missing: deploy the stack again`);
  const cluster = readClusterReference(JSON.parse(text));
  onKnown(cluster);
  const store = new SecretStore();
  let rest: RestClient | undefined;
  try {
    rest = new RestClient(await readLogin(store, cluster));
    return await work(rest, cluster);
  } finally {
    rest?.destroy();
    store.destroy();
  }
}
