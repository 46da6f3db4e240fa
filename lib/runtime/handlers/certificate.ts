import { AUTHORITY_VARIABLE, CA_ATTRIBUTE, CA_LINE_ATTRIBUTE, POOLER_SUBJECT } from '../../contract';
import { ensureAuthority, ensureCertificate, rotateCertificate } from '../certificates';
import { readRotationEvent } from '../rotate/event';
import { SecretStore } from '../secrets';
import { LambdaContext, ResourceAnswer, ResourceRequest, serveCustomResource } from './cloudformation';
import { logLine } from './log';

const serve = serveCustomResource((request) => withStore((store) => answer(store, request)));

/** The function of an authority and its certificates: CloudFormation has it made, and Secrets Manager has it renewed. */
export async function handler(event: unknown, context: LambdaContext): Promise<unknown> {
  if (typeof event === 'object' && event !== null && 'RequestType' in event) return serve(event, context);
  const rotation = readRotationEvent(event);
  const { step, secret } = rotation;
  try {
    await withStore((store) => rotateCertificate(store, authoritySecret(), rotation));
    logLine('done', { step, secret });
    return undefined;
  } catch (error) {
    logLine('failed', { step, secret, problem: (error as Error).message }, 'error');
    throw error;
  }
}

/** The secrets are the stack's, and go with it. */
async function answer(store: SecretStore, request: ResourceRequest): Promise<ResourceAnswer> {
  const physicalId = request.physicalId ?? `cdk-postgres-certificate/${request.logicalId}`;
  if (request.type === 'Delete') return { physicalId };
  const {
    Certificate,
    Hosts,
    Authority = POOLER_SUBJECT,
    Subject = POOLER_SUBJECT,
    Client = 'false',
  } = request.properties;
  if (typeof Certificate !== 'string' || !Array.isArray(Hosts) || Hosts.length === 0 || !Hosts.every(isHost))
    throw new Error(
      'the event names no secret of a certificate, or no host that it is for: its template is of another version',
    );
  if (!isName(Authority) || !isName(Subject))
    throw new Error(
      'the event names an authority or a subject with other characters than letters, digits, spaces and hyphens',
    );
  const authority = await ensureAuthority(store, authoritySecret(), request.requestId, Authority);
  const done = await ensureCertificate(store, {
    secret: Certificate,
    authority,
    hosts: Hosts as string[],
    holder: { subject: Subject, client: String(Client) === 'true' },
    request: request.requestId,
    now: Date.now(),
  });
  logLine(done, { secret: Certificate, hosts: Hosts });
  const { certificate } = authority;
  return {
    physicalId,
    data: { [CA_ATTRIBUTE]: certificate, [CA_LINE_ATTRIBUTE]: JSON.stringify(certificate).slice(1, -1) },
  };
}

const isName = (name: unknown): name is string => typeof name === 'string' && /^[A-Za-z0-9 .-]{1,64}$/.test(name);

const isHost = (host: unknown): boolean => typeof host === 'string' && /^[A-Za-z0-9.-]+$/.test(host);

function authoritySecret(): string {
  const arn = process.env[AUTHORITY_VARIABLE];
  if (!arn) throw new Error(`the environment variable ${AUTHORITY_VARIABLE} is missing: deploy the stack again`);
  return arn;
}

async function withStore<T>(work: (store: SecretStore) => Promise<T>): Promise<T> {
  const store = new SecretStore();
  try {
    return await work(store);
  } finally {
    store.destroy();
  }
}
