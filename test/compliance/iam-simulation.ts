import { runSimulation } from '@cloud-copilot/iam-simulate';
import { CfnResource, Stack, aws_iam as iam } from 'aws-cdk-lib';
import { Template } from 'aws-cdk-lib/assertions';
import { AssemblyStack, Template as TemplateJson } from '../../lib/runtime/preview/assembly';
import { TemplateValues } from '../../lib/runtime/preview/template-values';

export const ACCOUNT = '123456789012';
export const REGION = 'eu-central-1';

/** A call that a role makes: the action, on what, with what the service adds to the request. */
export interface Call {
  readonly action: string;
  readonly resource: string;
  readonly context?: Readonly<Record<string, string>>;
}

/** What Ref and GetAtt give, as far as policies name it. */
function referenced(stack: AssemblyStack, id: string, attribute?: string): string | undefined {
  const { Type, Properties = {} } = stack.template.Resources?.[id] ?? { Type: '' };
  const arn = (service: string, rest: string) => `arn:aws:${service}:${REGION}:${ACCOUNT}:${rest}`;
  switch (`${Type}${attribute === undefined ? '' : `.${attribute}`}`) {
    case 'AWS::SecretsManager::Secret':
    case 'AWS::SecretsManager::Secret.Id':
      return arn('secretsmanager', `secret:${id}-AbCdEf`);
    case 'AWS::SecretsManager::SecretTargetAttachment':
      return referenced(stack, (Properties.SecretId as { Ref: string }).Ref);
    case 'AWS::KMS::Key.Arn':
      return arn('kms', `key/${id}`);
    case 'AWS::Logs::LogGroup.Arn':
      return arn('logs', `log-group:${id}:*`);
    case 'AWS::SQS::Queue.Arn':
      return arn('sqs', id);
    case 'AWS::SNS::Topic':
      return arn('sns', id);
    case 'AWS::IAM::Role.Arn':
      return `arn:aws:iam::${ACCOUNT}:role/${id}`;
    case 'AWS::Lambda::Function.Arn':
      return arn('lambda', `function:${id}`);
    case 'AWS::S3::Bucket.Arn':
      return `arn:aws:s3:::${id.toLowerCase()}`;
    case 'AWS::ECS::Cluster.Arn':
      return arn('ecs', `cluster/${id}`);
    case 'AWS::ECS::TaskDefinition':
      return arn('ecs', `task-definition/${id}:1`);
    case 'AWS::EC2::Volume':
      return `vol-${id.toLowerCase()}`;
    case 'AWS::RDS::DBProxy.DBProxyArn':
      return arn('rds', `db-proxy:prx-${id}`);
    case 'AWS::RDS::DBCluster.DBClusterArn':
      return arn('rds', `cluster:${id}`);
    case 'AWS::RDS::DBInstance.DBInstanceArn':
      return arn('rds', `db:${id}`);
    default:
      return `${id}${attribute === undefined ? '' : `.${attribute}`}`;
  }
}

function viewOf(stack: Stack): AssemblyStack {
  const template = Template.fromStack(stack).toJSON() as TemplateJson;
  return {
    id: stack.node.path,
    stackName: stack.stackName,
    account: ACCOUNT,
    region: REGION,
    template,
    paths: new Map(),
    budgets: [],
  };
}

/** The policies of a stack's template, asked as IAM asks them. */
export class SimulatedStack {
  private readonly view: AssemblyStack;
  private readonly values: TemplateValues;

  constructor(private readonly stack: Stack) {
    const stacks = stack.node.root.node.findAll().filter(Stack.isStack).map(viewOf);
    this.view = stacks.find(({ id }) => id === stack.node.path)!;
    // What it imports from another stack of the app is what that one exports.
    this.values = new TemplateValues({ stacks, source: referenced, dynamic: () => 'a secret' });
  }

  /** The roles that functions run under, by the path of the role. */
  functionRoles(): string[] {
    return this.stack.node
      .findAll()
      .filter((construct): construct is iam.CfnRole => construct instanceof iam.CfnRole)
      .filter((role) => JSON.stringify(this.resolved(role).AssumeRolePolicyDocument).includes('lambda.amazonaws.com'))
      .map((role) => role.node.scope!.node.path.replace(`${this.stack.node.path}/`, ''))
      .sort();
  }

  arn(path: string, attribute?: string): string {
    const found = referenced(this.view, this.idOf(path), attribute);
    if (found === undefined) throw new Error(`nothing is known of ${path}`);
    return found;
  }

  /** A property of a resource, or one in it: `Server.Host`. */
  property(path: string, name: string): string {
    let value: unknown = this.resolvedById(this.idOf(path));
    for (const key of name.split('.')) value = (value as Record<string, unknown>)[key];
    return String(value);
  }

  /** `Allowed`, `ImplicitlyDenied` or `ExplicitlyDenied`, for what the policies of the role and of the resource say together. */
  async ask(rolePath: string, { action, resource, context = {} }: Call): Promise<string> {
    const role = this.idOf(rolePath);
    const result = await runSimulation(
      {
        request: {
          principal: referenced(this.view, role, 'Arn')!,
          action,
          resource: { resource, accountId: ACCOUNT },
          contextVariables: { 'aws:SecureTransport': 'true', ...context },
        },
        identityPolicies: this.identityPolicies(role),
        serviceControlPolicies: [],
        resourceControlPolicies: [],
        resourcePolicy: this.resourcePolicy(resource),
      },
      {},
    );
    if (result.resultType === 'error') throw new Error(`${action} on ${resource}: ${JSON.stringify(result.errors)}`);
    return result.overallResult;
  }

  private identityPolicies(role: string): { name: string; policy: unknown }[] {
    const properties = this.resolvedById(role);
    const attached = this.ofType('AWS::IAM::ManagedPolicy', 'AWS::IAM::Policy').filter(([id]) =>
      JSON.stringify(this.view.template.Resources![id]!.Properties!.Roles ?? []).includes(`"${role}"`),
    );
    if ((properties.ManagedPolicyArns as unknown[] | undefined)?.length)
      throw new Error(
        `${role} has policies of AWS, which are not simulated: ${JSON.stringify(properties.ManagedPolicyArns)}`,
      );
    return [
      ...attached.map(([id, { PolicyDocument }]) => ({ name: id, policy: PolicyDocument })),
      ...((properties.Policies ?? []) as { PolicyName: string; PolicyDocument: unknown }[]).map((inline) => ({
        name: inline.PolicyName,
        policy: inline.PolicyDocument,
      })),
    ];
  }

  private resourcePolicy(arn: string): unknown {
    const secrets = this.ofType('AWS::SecretsManager::ResourcePolicy').filter(([, { SecretId }]) => SecretId === arn);
    const keys = this.ofType('AWS::KMS::Key').filter(([id]) => referenced(this.view, id, 'Arn') === arn);
    const queues = this.ofType('AWS::SQS::QueuePolicy').filter(([, { Queues }]) => {
      const name = arn.split(':').at(-1)!;
      return (Queues as string[]).some((url) => url === name);
    });
    return secrets[0]?.[1].ResourcePolicy ?? keys[0]?.[1].KeyPolicy ?? queues[0]?.[1].PolicyDocument;
  }

  private ofType(...types: string[]): [string, Record<string, unknown>][] {
    return Object.entries(this.view.template.Resources ?? {})
      .filter(([, { Type }]) => types.includes(Type))
      .map(([id]) => [id, this.resolvedById(id)]);
  }

  private idOf(path: string): string {
    const construct = this.stack.node.findChild(path.split('/')[0]!);
    const found = path
      .split('/')
      .slice(1)
      .reduce((scope, id) => scope.node.findChild(id), construct);
    const resource = CfnResource.isCfnResource(found) ? found : (found.node.defaultChild as CfnResource);
    return String(this.stack.resolve(resource.logicalId));
  }

  private resolved(resource: CfnResource): Record<string, unknown> {
    return this.resolvedById(String(this.stack.resolve(resource.logicalId)));
  }

  private resolvedById(id: string): Record<string, unknown> {
    return this.values.resolve(this.view, this.view.template.Resources![id]!.Properties ?? {}) as Record<
      string,
      unknown
    >;
  }
}
