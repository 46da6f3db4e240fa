import {
  ArnFormat,
  Size,
  Stack,
  Tags,
  Validations,
  aws_autoscaling as autoscaling,
  aws_ec2 as ec2,
  aws_ecs as ecs,
  aws_iam as iam,
} from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import type { Storage } from './storage';
import type { ClusterContext } from './tasks';
import { hostVolumes, userData } from './user-data';

/** Whose a host and its volumes are: the condition on which the host may attach them. */
export const MEMBER_TAG = 'cdk-postgres:member';

/** etcd has some megabytes; gp3 has its 3,000 operations a second at any size. */
const ETCD_VOLUME_SIZE = Size.gibibytes(4);

export interface HostProps {
  readonly context: ClusterContext;
  /** Such as `pg-1`. */
  readonly member: string;
  /** The name of the cluster, for tags. */
  readonly clusterName: string;
  /** The one subnet, and so the one zone. */
  readonly subnet: ec2.ISubnet;
  readonly instanceType: ec2.InstanceType;
  readonly machineImage: ec2.IMachineImage;
  readonly securityGroup: ec2.ISecurityGroup;
  readonly storage: Storage;
  /** In seconds. */
  readonly stopTimeout: number;
}

/**
 * Where one member and its etcd run: one instance in one zone, with two volumes that outlive it. When the instance is lost, its group starts another
 * one in the same zone, which attaches them again.
 */
export class Host extends Construct {
  public readonly capacityProvider: ecs.CfnCapacityProvider;
  public readonly group: autoscaling.AutoScalingGroup;
  public readonly role: iam.Role;
  public readonly dataVolume: ec2.CfnVolume;
  public readonly etcdVolume: ec2.CfnVolume;
  /** What a service waits for. */
  public readonly ready: IDependable[] = [];

  constructor(
    scope: Construct,
    id: string,
    private readonly props: HostProps,
  ) {
    super(scope, id);
    const { context, member, storage, subnet } = props;
    this.dataVolume = this.volume('DataVolume', storage.gibibytes, {
      volumeType: storage.kind,
      iops: storage.iops,
      throughput: storage.throughput,
    });
    this.etcdVolume = this.volume('EtcdVolume', ETCD_VOLUME_SIZE.toGibibytes(), { volumeType: 'gp3' });

    this.role = new iam.Role(this, 'Role', {
      assumedBy: new iam.ServicePrincipal('ec2.amazonaws.com'),
      description: `Host of ${member} of the PostgreSQL server ${context.path}`.slice(0, 1000),
    });
    const policy = this.policy();
    const { region, urlSuffix } = Stack.of(this);
    const launchTemplate = new ec2.LaunchTemplate(this, 'LaunchTemplate', {
      machineImage: props.machineImage,
      instanceType: props.instanceType,
      role: this.role.withoutPolicyUpdates(),
      securityGroup: props.securityGroup,
      userData: ec2.UserData.custom(
        userData({
          clusterName: context.cluster.clusterName,
          region,
          urlSuffix,
          member,
          volumes: hostVolumes({ member: this.dataVolume.ref, etcd: this.etcdVolume.ref }),
          stopTimeout: props.stopTimeout,
        }),
      ),
      // The role may attach volumes. Tasks have roles of their own, and one hop does not reach them.
      httpTokens: ec2.LaunchTemplateHttpTokens.REQUIRED,
      httpPutResponseHopLimit: 1,
      detailedMonitoring: true,
      ebsOptimized: true,
      associatePublicIpAddress: false,
      blockDevices: [
        {
          deviceName: '/dev/xvda',
          // Images and the system; no data. Under the key of the account for EBS, since with another one its policy would have to name the
          // service-linked role of Auto Scaling, which an account may not have yet.
          volume: ec2.BlockDeviceVolume.ebs(30, { encrypted: true, volumeType: ec2.EbsDeviceVolumeType.GP3 }),
        },
      ],
    });
    this.group = new autoscaling.AutoScalingGroup(this, 'Group', {
      vpc: context.vpc,
      vpcSubnets: { subnets: [subnet] },
      launchTemplate,
      minCapacity: 1,
      maxCapacity: 1,
    });
    // No update policy: a new template waits for the next instance, since all hosts at once would be all members at once.
    acknowledgeGroup(this.group);
    Tags.of(this.group).add(MEMBER_TAG, this.tag, { applyToLaunchedInstances: true });
    Tags.of(this.group).add('Name', `${props.clusterName}/${member}`, { applyToLaunchedInstances: true });
    this.group.node.addDependency(policy, context.endpoints);

    this.ready.push(this.group);

    this.capacityProvider = new ecs.CfnCapacityProvider(this, 'CapacityProvider', {
      autoScalingGroupProvider: {
        autoScalingGroupArn: this.group.autoScalingGroupName,
        managedScaling: { status: 'DISABLED' },
        managedTerminationProtection: 'DISABLED',
        managedDraining: 'ENABLED',
      },
    });
  }

  private get tag(): string {
    return `${this.props.clusterName}/${this.props.member}`;
  }

  private volume(
    id: string,
    size: number,
    more: { volumeType: string; iops?: number; throughput?: number },
  ): ec2.CfnVolume {
    const { context, subnet, member, clusterName } = this.props;
    const volume = new ec2.CfnVolume(this, id, {
      availabilityZone: subnet.availabilityZone,
      size,
      encrypted: true,
      kmsKeyId: context.encryptionKey.keyArn,
      ...more,
    });
    volume.applyRemovalPolicy(context.removalPolicy);
    Tags.of(volume).add(MEMBER_TAG, this.tag);
    Tags.of(volume).add('Name', `${clusterName}/${member} ${id}`);
    acknowledgeVolume(volume);
    return volume;
  }

  /** As AWS's own AmazonEC2ContainerServiceforEC2Role, for the one cluster, and the two volumes. */
  private policy(): iam.CfnManagedPolicy {
    const { context } = this.props;
    const { cluster, encryptionKey } = context;
    const stack = Stack.of(this);
    const own = { StringEquals: { [`aws:ResourceTag/${MEMBER_TAG}`]: this.tag } };
    const ec2Arn = (resource: string, resourceName: string) =>
      stack.formatArn({ service: 'ec2', resource, resourceName, arnFormat: ArnFormat.SLASH_RESOURCE_NAME });
    const policy = new iam.CfnManagedPolicy(this, 'Policy', {
      policyDocument: new iam.PolicyDocument({
        statements: [
          new iam.PolicyStatement({
            actions: ['ec2:AttachVolume'],
            resources: [ec2Arn('volume', this.dataVolume.ref), ec2Arn('volume', this.etcdVolume.ref)],
            conditions: own,
          }),
          new iam.PolicyStatement({
            actions: ['ec2:AttachVolume'],
            resources: [ec2Arn('instance', '*')],
            conditions: own,
          }),
          // EC2 decrypts the key of the volume on behalf of who attaches it.
          new iam.PolicyStatement({
            actions: ['kms:Decrypt', 'kms:DescribeKey'],
            resources: [encryptionKey.keyArn],
            conditions: { StringEquals: { 'kms:ViaService': `ec2.${stack.region}.amazonaws.com` } },
          }),
          new iam.PolicyStatement({
            actions: ['kms:CreateGrant'],
            resources: [encryptionKey.keyArn],
            conditions: {
              StringEquals: { 'kms:ViaService': `ec2.${stack.region}.amazonaws.com` },
              Bool: { 'kms:GrantIsForAWSResource': 'true' },
            },
          }),
          new iam.PolicyStatement({
            actions: [
              'ecs:DeregisterContainerInstance',
              'ecs:RegisterContainerInstance',
              'ecs:SubmitAttachmentStateChanges',
              'ecs:SubmitContainerStateChange',
              'ecs:SubmitTaskStateChange',
            ],
            resources: [cluster.clusterArn],
          }),
          new iam.PolicyStatement({
            actions: ['ecs:Poll', 'ecs:StartTelemetrySession', 'ecs:UpdateContainerInstancesState'],
            resources: ['*'],
            conditions: { ArnEquals: { 'ecs:cluster': cluster.clusterArn } },
          }),
          new iam.PolicyStatement({ actions: ['ecs:DiscoverPollEndpoint'], resources: ['*'] }),
          // Session Manager, by which an operator comes to the host.
          new iam.PolicyStatement({
            actions: [
              'ssm:UpdateInstanceInformation',
              'ssmmessages:CreateControlChannel',
              'ssmmessages:CreateDataChannel',
              'ssmmessages:OpenControlChannel',
              'ssmmessages:OpenDataChannel',
            ],
            resources: ['*'],
          }),
        ],
      }),
      roles: [this.role.roleName],
    });
    acknowledgePolicy(policy);
    return policy;
  }
}

function acknowledgePolicy(policy: iam.CfnManagedPolicy): void {
  Validations.of(policy).acknowledge({
    id: 'AwsSolutions-IAM5[Resource::*]',
    reason:
      'ecs:DiscoverPollEndpoint and the calls of Session Manager have no resource level. The name of a container instance is known when it has ' +
      'registered, so that Poll and its like are bound to the one cluster by a condition.',
  });
  const { partition, region, account } = Stack.of(policy);
  const name = (token: string) => Stack.of(policy).resolve(token)?.Ref ?? token;
  Validations.of(policy).acknowledge({
    id: `AwsSolutions-IAM5[Resource::arn:<${name(partition)}>:ec2:${shownAs(name(region), region)}:${shownAs(name(account), account)}:instance/*]`,
    reason:
      'The id of the instance is not known before it runs. The condition lets it attach to an instance with the tag of this member alone, and the ' +
      'volumes are named one by one.',
  });
}

function shownAs(name: string, value: string): string {
  return name === value ? value : `<${name}>`;
}

function acknowledgeVolume(volume: ec2.CfnVolume): void {
  for (const pack of ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5'])
    Validations.of(volume).acknowledge({
      id: `${pack}-EC2EBSInBackupPlan`,
      reason:
        'What is on the volume is backed up by pgBackRest, to the second and with checks of every page; a snapshot of one volume of a running cluster ' +
        'is neither. The volume stays when the stack goes.',
    });
}

function acknowledgeGroup(group: autoscaling.AutoScalingGroup): void {
  Validations.of(group).acknowledge({
    id: 'AwsSolutions-AS3',
    reason:
      'A group of exactly one instance does not scale. That its instance was lost shows in the member that is missing, on which there is an alarm.',
  });
}

/** How many network interfaces the smallest sizes have: each task has one, the host has one. */
const TWO_INTERFACES = /\.(nano|micro)$|^(?!t)\w+\.medium$/;

/** Why tasks do not fit on an instance of a type. Undefined: they do. */
export function unfitInstance(instanceType: ec2.InstanceType): string | undefined {
  const name = instanceType.toString();
  return TWO_INTERFACES.test(name)
    ? `instanceType is ${name}, which has two network interfaces; a host needs three, for itself, the member and etcd: take a large one, or t4g.medium`
    : undefined;
}
