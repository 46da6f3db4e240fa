import { aws_ec2 as ec2, aws_ecs as ecs, aws_servicediscovery as cloudmap } from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import type { Host } from './host';
import { NAME_TTL } from './network';
import type { ClusterContext, ClusterTask } from './tasks';

export interface MemberServiceProps {
  readonly context: ClusterContext;
  /** Name of the service, of the member, and of its host in the namespace. */
  readonly name: string;
  readonly task: ClusterTask;
  readonly subnets: readonly ec2.ISubnet[];
  readonly securityGroup: ec2.SecurityGroup;
  /** @default - Fargate */
  readonly host?: Host;
  readonly exec: boolean;
  /** What is deployed before it. */
  readonly after: readonly IDependable[];
}

/**
 * One member as a service with exactly one task, that ends before another one begins. ECS knows no identity among several tasks of one service;
 * so each has a service, and its name is what stays.
 */
export class MemberService extends Construct {
  public readonly resource: ecs.CfnService;

  constructor(scope: Construct, id: string, props: MemberServiceProps) {
    super(scope, id);
    const { context, name, task, subnets, host, securityGroup } = props;
    const record = new cloudmap.Service(this, 'Name', {
      namespace: context.namespace,
      name,
      dnsRecordType: cloudmap.DnsRecordType.A,
      dnsTtl: NAME_TTL,
      // ECS says whether it is well: a task that is not is not found by its name.
      customHealthCheck: { failureThreshold: 1 },
    });
    this.resource = new ecs.CfnService(this, 'Service', {
      cluster: context.cluster.clusterArn,
      serviceName: name,
      taskDefinition: task.definition.taskDefinitionArn,
      desiredCount: 1,
      deploymentConfiguration: {
        minimumHealthyPercent: 0,
        maximumPercent: 100,
        deploymentCircuitBreaker: { enable: true, rollback: true },
      },
      // Wants more than 100 percent, and would move what is bound to its zone.
      availabilityZoneRebalancing: 'DISABLED',
      ...(host
        ? { capacityProviderStrategy: [{ capacityProvider: host.capacityProvider.ref, weight: 1 }] }
        : { launchType: 'FARGATE' }),
      networkConfiguration: {
        awsvpcConfiguration: {
          subnets: subnets.map(({ subnetId }) => subnetId),
          securityGroups: [securityGroup.securityGroupId],
          // Tasks on a host take none, and the field with them is an error.
          ...(host ? {} : { assignPublicIp: 'DISABLED' }),
        },
      },
      serviceRegistries: [{ registryArn: record.serviceArn }],
      enableExecuteCommand: props.exec,
      enableEcsManagedTags: true,
      propagateTags: 'SERVICE',
    });
    this.resource.node.addDependency(
      ...task.ready,
      task.role,
      securityGroup,
      ...(host ? host.ready : []),
      ...props.after,
    );
  }
}
