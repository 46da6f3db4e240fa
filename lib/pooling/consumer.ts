import {
  Stack,
  Token,
  aws_applicationautoscaling as scaling,
  aws_ec2 as ec2,
  aws_ecs as ecs,
  aws_iam as iam,
  aws_lambda as lambda,
} from 'aws-cdk-lib';
import { Construct, IConstruct } from 'constructs';
import { requireKnownOptions } from '../server/known-props';
import { requireProps, requireWholeNumber } from '../server/required';

/** How many connections each copy of a consumer holds. */
export interface ServiceConsumerOptions {
  /** How many connections each task opens at most: the size of the driver's pool times the processes that have one. */
  readonly poolSize: number;

  /**
   * How many tasks the service has at most, without those that a deployment adds. A service that something else than its own
   * `autoScaleTaskCount()` scales has to say it.
   *
   * @default - the `maxCapacity` of its `autoScaleTaskCount()`, or else its desired count
   */
  readonly maxTasks?: number;
}

/**
 * Who connects, where a construct alone does not say all: a service of ECS, or whatever stands in a security group. `grantConnect()` takes it as
 * it takes a Lambda function, and the connection budget takes its number from it (CP-4).
 */
export class Consumer implements iam.IGrantable, ec2.IConnectable {
  /**
   * A service of ECS: its security groups, the role of its tasks, and the environment of their default container. During a deployment old
   * and new tasks run side by side: up to `maximumPercent` of the service in a rolling update, twice as many in one that is blue/green, linear or a canary.
   *
   * @param service the service, or one of its patterns' `service`
   * @param options how many connections it holds
   */
  public static ecsService(service: ecs.BaseService, options: ServiceConsumerOptions): Consumer {
    const path = service?.node?.path ?? 'Consumer.ecsService()';
    if (!service?.taskDefinition)
      throw new Error(
        `${path}: Consumer.ecsService() takes a service of this app, whose tasks get environment and permissions; of another one pass ` +
          'Consumer.securityGroup(group, connections)',
      );
    requireProps(path, options, '{ poolSize: 10 }');
    requireKnownOptions(`${path}: Consumer.ecsService()`, 'ServiceConsumerOptions', options);
    requireWholeNumber(path, 'poolSize', options.poolSize, 1);
    if (options.maxTasks !== undefined) requireWholeNumber(path, 'maxTasks', options.maxTasks, 1);
    const { taskDefinition } = service;
    return new Consumer(service, taskDefinition.taskRole.grantPrincipal, service.connections, {
      hasPrincipal: true,
      worstCase: () => worstCaseOfService(service, options),
      addVariable: (name, value) => {
        const container = taskDefinition.defaultContainer;
        if (!container)
          throw new Error(
            `${path}: its task definition has no container yet that could take environment variables; add it before grantConnect(), or pass environment: false`,
          );
        container.addEnvironment(name, value);
      },
    });
  }

  /**
   * Whatever has this security group, such as machines of a data team. It gets a way to the server or pooler, and no credentials: grant those
   * to whoever reads them.
   *
   * @param group the security group
   * @param connections how many connections come from there at most
   */
  public static securityGroup(group: ec2.ISecurityGroup, connections: number): Consumer {
    if (!group?.securityGroupId)
      throw new Error('Consumer.securityGroup(): group must be an ec2.SecurityGroup, the one of whoever connects');
    requireWholeNumber(group.node.path, 'connections', connections, 1);
    const principal = new iam.UnknownPrincipal({ resource: group });
    return new Consumer(group, principal, new ec2.Connections({ securityGroups: [group] }), {
      hasPrincipal: false,
      worstCase: () => ({ connections, how: 'as stated' }),
    });
  }

  private constructor(
    /** @internal */
    public readonly _construct: IConstruct,
    public readonly grantPrincipal: iam.IPrincipal,
    public readonly connections: ec2.Connections,
    /** @internal */
    public readonly _ways: ConsumerWays,
  ) {}
}

/** What is known of a consumer only when the app is complete. */
export interface ConsumerWays {
  /** Whether IAM knows it. */
  readonly hasPrincipal: boolean;
  readonly worstCase: () => WorstCase;
  readonly addVariable?: (name: string, value: string) => void;
}

/** How many connections a consumer opens at the worst moment. */
export interface WorstCase {
  /** Absent: nobody said, and it cannot be derived. */
  readonly connections?: number;
  readonly how: string;
}

/** What `grantConnect()` was told of the number. */
export interface StatedConnections {
  readonly maxConnections?: number;
  readonly poolSize?: number;
}

/** A function of Lambda, whatever stands for it: the function, an alias, a version. */
export function isFunction(grantee: iam.IGrantable): grantee is lambda.IFunction {
  return 'isBoundToVpc' in grantee;
}

/**
 * Who connects, checked where no compiler looked. A version or an alias stands for its function, which has the network, the environment and the
 * reserved concurrency.
 */
export function connecting(path: string, grantee: iam.IGrantable): iam.IGrantable {
  if (!grantee?.grantPrincipal)
    throw new Error(
      `${path}: grantConnect() takes who connects: a Lambda function or an IAM role as it is, a service of ECS as ` +
        'Consumer.ecsService(service, { poolSize }), and a security group as Consumer.securityGroup(group, connections)',
    );
  return isFunction(grantee) && 'lambda' in grantee ? (grantee.lambda as lambda.IFunction) : grantee;
}

/** Where a consumer stands in the app. */
export function consumerPath(grantee: iam.IGrantable): string {
  const construct = grantee instanceof Consumer ? grantee._construct : grantee;
  return Construct.isConstruct(construct) ? construct.node.path : 'a principal';
}

/** How many connections a consumer opens at most: as it is stated, or as its construct says. */
export function worstCaseOf(path: string, grantee: iam.IGrantable, stated: StatedConnections): () => WorstCase {
  const { maxConnections, poolSize } = stated;
  if (maxConnections !== undefined) {
    requireWholeNumber(path, 'maxConnections', maxConnections, 1);
    return () => ({ connections: maxConnections, how: 'as stated' });
  }
  if (poolSize !== undefined) requireWholeNumber(path, 'poolSize', poolSize, 1);
  if (grantee instanceof Consumer) return grantee._ways.worstCase;
  if (isFunction(grantee)) return () => worstCaseOfFunction(grantee, poolSize ?? 1);
  return () => ({ how: 'not stated; pass maxConnections' });
}

/** A warm environment keeps its connections, so that all of them count and not only those that work. */
function worstCaseOfFunction(fn: lambda.IFunction, poolSize: number): WorstCase {
  const resource = fn.node.defaultChild;
  const reserved = resource instanceof lambda.CfnFunction ? resource.reservedConcurrentExecutions : undefined;
  if (reserved === undefined || Token.isUnresolved(reserved)) {
    return {
      how: 'the function reserves no concurrency, so that it may grow to what the account has; set reservedConcurrentExecutions, or pass maxConnections',
    };
  }
  const each = poolSize === 1 ? '' : ` × ${poolSize} connections`;
  return { connections: reserved * poolSize, how: `${reserved} concurrent runs${each}` };
}

function worstCaseOfService(service: ecs.BaseService, { poolSize, maxTasks }: ServiceConsumerOptions): WorstCase {
  const resource = service.node.findAll().find((child) => child instanceof ecs.CfnService) as
    ecs.CfnService | undefined;
  const tasks = maxTasks ?? mostScaledTasks(service) ?? resource?.desiredCount;
  if (tasks === undefined || Token.isUnresolved(tasks))
    return { how: 'neither desiredCount nor maxTasks says how many tasks there are; pass maxTasks' };
  const { percent, kind } = deploymentOf(resource);
  const most = Math.floor((tasks * percent) / 100);
  return {
    connections: most * poolSize,
    how: `${tasks} tasks, ${most} during a ${kind === undefined ? '' : `${kind} `}deployment, × ${poolSize} connections`,
  };
}

/** How many percent of its tasks a service runs while it is deployed. All but a rolling update start a second set beside the first one. */
function deploymentOf(resource: ecs.CfnService | undefined): { readonly percent: number; readonly kind?: string } {
  const resolve = (value: unknown): unknown => resource && Stack.of(resource).resolve(value);
  const configuration = (resolve(resource?.deploymentConfiguration) ?? {}) as {
    readonly maximumPercent?: number;
    readonly strategy?: string;
  };
  const controller = (resolve(resource?.deploymentController) ?? {}) as { readonly type?: string };
  const percent = configuration.maximumPercent ?? 200;
  const { strategy = ecs.DeploymentStrategy.ROLLING } = configuration;
  if (strategy !== ecs.DeploymentStrategy.ROLLING)
    return { percent: Math.max(200, percent), kind: strategy.toLowerCase().replace('_', '/') };
  if (controller.type === ecs.DeploymentControllerType.CODE_DEPLOY)
    return { percent: Math.max(200, percent), kind: 'blue/green' };
  return { percent };
}

/** To how many tasks the service's own scaling goes. Undefined: it has none. */
function mostScaledTasks(service: ecs.BaseService): number | undefined {
  const target = service.node.findAll().find((child) => child instanceof scaling.CfnScalableTarget) as
    scaling.CfnScalableTarget | undefined;
  return target?.maxCapacity;
}
