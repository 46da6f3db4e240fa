import { ArnFormat, CfnResource, CustomResource, Duration, Lazy, RemovalPolicy, Stack } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import { Construct, Dependable, IConstruct, IDependable } from 'constructs';
import { addFinding } from '../../compliance';
import {
  DEPLOY_GUARD_METADATA,
  DEPLOY_GUARD_TYPE,
  DeployGuardMetadata,
  GuardAcknowledgementLine,
} from '../../contract/deploy-guard';
import { parameterCatalogue, readParameterFamily } from '../parameters';
import { Defaults } from '../postgres-profile';
import { ServerFunction } from '../state/server-function';
import { endpointsInStack } from '../state/vpc-services';
import { RestoredExpectation, sourceStatement } from './restore-source';
import { GuardAcknowledgement, readGuardAcknowledgement } from './guard-acknowledgement';
import {
  identifierProperty,
  literalIdentifier,
  logicalId,
  ParameterGroupResource,
  parameterGroupOf,
  parameterGroupsOf,
  readServerResource,
  ServerResource,
} from './guarded-server';

export interface DeployGuardProps extends RestoredExpectation {
  /** The instance, or the cluster and its nodes. Each needs a literal name. */
  readonly servers: readonly ServerResource[];
  /** @default - the function runs outside a VPC */
  readonly vpc?: ec2.IVpc;
  /** @default - as every function of this library */
  readonly vpcSubnets?: ec2.SubnetSelection;
  /** Encrypts the function's log and dead-letter queue. */
  readonly encryptionKey: kms.IKey;
  /** @default - none; `acknowledge` adds to them */
  readonly acknowledgements?: readonly GuardAcknowledgement[];
  /** @default Defaults.V1 */
  readonly defaults?: Defaults;
  /** See `ServerFunctionProps.reserveConcurrency`. */
  readonly reserveConcurrency?: boolean;
  /** @default RemovalPolicy.RETAIN */
  readonly logRemovalPolicy?: RemovalPolicy;
}

const SERVICE_TIMEOUT = Duration.minutes(5);

/**
 * Stands before a server: CloudFormation touches the server only when this resource has passed. Its function compares what the template
 * wants with what it wanted before and with what runs, and fails on a replacement, another major version, a downgrade, another
 * engine or an empty successor (LIB-12, LR-11). A child of the server's construct; its id is part of the contract.
 */
export class DeployGuard extends Construct {
  private readonly acknowledgements: GuardAcknowledgementLine[];
  private readonly resource: CustomResource;
  private readonly servers: ServerResource[];

  constructor(
    scope: Construct,
    id: string,
    private readonly props: DeployGuardProps,
  ) {
    super(scope, id);
    this.servers = [...props.servers];
    this.acknowledgements = (props.acknowledgements ?? []).map((line) =>
      readGuardAcknowledgement(scope.node.path, line),
    );
    const guard = new ServerFunction(this, 'Function', {
      duty: 'guard',
      server: scope,
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      encryptionKey: props.encryptionKey,
      timeout: Duration.minutes(2),
      maxEventAge: SERVICE_TIMEOUT,
      memorySize: 256,
      statements: [],
      lateStatements: () => this.statements(),
      reserveConcurrency: props.reserveConcurrency,
      logRemovalPolicy: props.logRemovalPolicy,
    });
    this.resource = new CustomResource(this, 'Resource', {
      resourceType: DEPLOY_GUARD_TYPE,
      serviceToken: guard.function.functionArn,
      serviceTimeout: SERVICE_TIMEOUT,
      properties: {
        // Not cached: a reference to another stack is known only after the first look.
        Servers: Lazy.uncachedAny({
          produce: () => {
            const groups = parameterGroupsOf(Stack.of(this));
            return this.servers.map((server) => readServerResource(server, this.servers, groups, props));
          },
        }),
        Acknowledgements: Lazy.any({ produce: () => this.acknowledgements }, { omitEmptyArray: true }),
      },
    });
    const { vpc } = props;
    this.resource.node.addDependency(...guard.ready, ...(vpc ? [lazily(() => endpointsInStack(this, vpc))] : []));
    const resource = this.resource.node.defaultChild as CfnResource;
    resource.addMetadata(DEPLOY_GUARD_METADATA, Lazy.uncachedAny({ produce: () => this.metadata() }));
    for (const server of this.servers) server.addResourceDependency(resource);
    this.node.addValidation({ validate: () => this.problems() });
    this.reportExpired(scope);
  }

  /**
   * Lets one kind of change pass, for a time.
   *
   * @param acknowledgement what may pass, why, and until when
   */
  public acknowledge(acknowledgement: GuardAcknowledgement): void {
    this.acknowledgements.push(readGuardAcknowledgement(this.node.scope!.node.path, acknowledgement));
  }

  /**
   * Stands before one more server, such as a replica.
   *
   * @param server a resource of the same stack, with a literal name
   */
  public add(server: ServerResource): void {
    this.servers.push(server);
    server.addResourceDependency(this.resource.node.defaultChild as CfnResource);
  }

  /** Each server, and what it is restored from, by its exact ARN. */
  private statements(): iam.PolicyStatement[] {
    const stack = Stack.of(this);
    return this.servers.flatMap((server) => {
      const isCluster = server.cfnResourceType === 'AWS::RDS::DBCluster';
      const source = readServerResource(server, this.servers, new Map()).Source;
      return [
        new iam.PolicyStatement({
          actions: [isCluster ? 'rds:DescribeDBClusters' : 'rds:DescribeDBInstances'],
          resources: [
            stack.formatArn({
              service: 'rds',
              resource: isCluster ? 'cluster' : 'db',
              resourceName: literalIdentifier(server)?.toLowerCase() ?? 'unnamed',
              arnFormat: ArnFormat.COLON_RESOURCE_NAME,
            }),
          ],
        }),
        ...(source ? [sourceStatement(stack, source)] : []),
      ];
    });
  }

  private metadata(): DeployGuardMetadata {
    const known = parameterGroupsOf(Stack.of(this));
    const groups = new Set(
      this.servers.map((server) => parameterGroupOf(server, known)).filter((group) => group !== undefined),
    );
    const entries = [...groups].map((group): [string, string[]] => [logicalId(group), staticParameters(group)]);
    return {
      defaults: this.props.defaults ?? Defaults.V1,
      staticParameters: Object.fromEntries(entries.filter(([, names]) => names.length > 0)),
    };
  }

  private problems(): string[] {
    const stack = Stack.of(this);
    return this.servers.flatMap((server) => {
      const property = identifierProperty(server.cfnResourceType);
      if (Stack.of(server) !== stack) {
        return [`${server.node.path} stands in another stack than its deploy guard: make both in one`];
      }
      if (literalIdentifier(server) === undefined) {
        return [
          `${server.node.path}: ${property} is not a literal name; the deploy guard cannot ask RDS for a server whose name nobody knows ` +
            'before it exists: set it to a text',
        ];
      }
      return [];
    });
  }

  private reportExpired(scope: IConstruct): void {
    addFinding(scope, {
      id: 'LIB-12.expired',
      severity: 'warning',
      check: () => {
        const today = new Date().toISOString().slice(0, 10);
        const expired = this.acknowledgements.filter(({ Expires }) => Expires < today);
        return expired.length === 0
          ? undefined
          : `${scope.node.path}: ${expired.map(({ Id, Expires }) => `the acknowledgement of ${Id} has expired on ${Expires}`).join('; ')}`;
      },
      fix: 'Remove it, or give it a new day.',
    });
  }
}

function staticParameters(group: ParameterGroupResource): string[] {
  const family = readParameterFamily(group.family);
  if (!family) return [];
  const catalogue = parameterCatalogue(family.engine, family.major);
  const parameters = (Stack.of(group).resolve(group.parameters) ?? {}) as Record<string, unknown>;
  return Object.keys(parameters)
    .filter((name) => catalogue.get(name.toLowerCase())?.apply === 'static')
    .sort();
}

/** A dependency whose targets are known only when the app is complete. */
function lazily(roots: () => IConstruct[]): IDependable {
  const dependable: IDependable = {};
  Dependable.implement(dependable, {
    get dependencyRoots() {
      return roots();
    },
  });
  return dependable;
}
