import { Duration, aws_ec2 as ec2, aws_ecs as ecs, aws_elasticloadbalancingv2 as elb } from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import { acknowledgePassThrough, acknowledgePassThroughListener } from '../pass-through';
import { POSTGRES_PORT, READ_ONLY_PORT, ROUTER_HEALTH_PORT } from './configuration';
import type { ClusterContext, ClusterTask } from './tasks';

const BEHIND = { to: 'members', logs: 'PostgreSQL' };

/** The load balancer before the routers, and so the address of the server. Certificates name it, so that it is made before them. */
export class RouterFront extends Construct {
  public readonly loadBalancer: elb.NetworkLoadBalancer;

  constructor(
    scope: Construct,
    id: string,
    props: {
      readonly vpc: ec2.IVpc;
      readonly vpcSubnets: ec2.SubnetSelection;
      readonly production: boolean;
      readonly securityGroup: ec2.SecurityGroup;
    },
  ) {
    super(scope, id);
    this.loadBalancer = new elb.NetworkLoadBalancer(this, 'LoadBalancer', {
      vpc: props.vpc,
      vpcSubnets: props.vpcSubnets,
      internetFacing: false,
      crossZoneEnabled: true,
      deletionProtection: props.production,
      securityGroups: [props.securityGroup],
    });
    acknowledgePassThrough(this.loadBalancer, BEHIND);
  }
}

export interface RouterProps {
  readonly context: ClusterContext;
  readonly front: RouterFront;
  readonly task: ClusterTask;
  readonly tasks: number;
  readonly vpcSubnets: ec2.SubnetSelection;
  readonly securityGroup: ec2.SecurityGroup;
  /** What is deployed before it. */
  readonly after: readonly IDependable[];
}

/** The tasks that find the leader, and the replicas, each second, and lead the connections of clients to them. They keep nothing. */
export class Router extends Construct {
  /** What a client needs to come through. */
  public readonly ready: IDependable[];

  constructor(scope: Construct, id: string, props: RouterProps) {
    super(scope, id);
    const { context, front, task } = props;
    const service = new ecs.FargateService(this, 'Service', {
      cluster: context.cluster,
      serviceName: 'router',
      taskDefinition: task.definition,
      desiredCount: props.tasks,
      minHealthyPercent: 100,
      maxHealthyPercent: 200,
      circuitBreaker: { rollback: true },
      availabilityZoneRebalancing: ecs.AvailabilityZoneRebalancing.ENABLED,
      assignPublicIp: false,
      vpcSubnets: props.vpcSubnets,
      securityGroups: [props.securityGroup],
    });
    const resource = service.node.findAll().find((child) => child instanceof ecs.CfnService)!;
    resource.node.addDependency(...task.ready, task.role, props.securityGroup, ...props.after);
    const listeners = [
      this.listen(front, service, task, 'Writer', POSTGRES_PORT),
      this.listen(front, service, task, 'Readers', READ_ONLY_PORT),
    ];
    this.ready = [resource, ...listeners];
  }

  private listen(
    { loadBalancer }: RouterFront,
    service: ecs.FargateService,
    task: ClusterTask,
    id: string,
    port: number,
  ): elb.NetworkListener {
    const listener = loadBalancer.addListener(id, {
      port,
      protocol: elb.Protocol.TCP,
      // Above the keepalives of server and drivers, which are what keeps a quiet connection.
      tcpIdleTimeout: Duration.seconds(350),
    });
    acknowledgePassThroughListener(listener, BEHIND);
    listener.addTargets('Routers', {
      port,
      protocol: elb.Protocol.TCP,
      targets: [service.loadBalancerTarget({ containerName: task.container.containerName, containerPort: port })],
      deregistrationDelay: Duration.seconds(60),
      // Clients reach a task by the address of the load balancer, so that its security group is who is let in.
      preserveClientIp: false,
      // Whether the router is well, and not whether there is a leader: without one, all would be taken out at once.
      healthCheck: {
        protocol: elb.Protocol.HTTP,
        port: String(ROUTER_HEALTH_PORT),
        path: '/health',
        interval: Duration.seconds(5),
        timeout: Duration.seconds(2),
        healthyThresholdCount: 2,
        unhealthyThresholdCount: 2,
      },
    });
    return listener;
  }
}
