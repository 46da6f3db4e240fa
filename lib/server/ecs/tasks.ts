import {
  Duration,
  Lazy,
  RemovalPolicy,
  Stack,
  Validations,
  aws_ec2 as ec2,
  aws_ecr_assets as assets,
  aws_ecs as ecs,
  aws_iam as iam,
  aws_kms as kms,
  aws_logs as logs,
  aws_secretsmanager as secretsmanager,
  aws_servicediscovery as cloudmap,
} from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import { FILES_VARIABLE, RUN_FOLDER, SECRETS_VARIABLE, SecretName, TaskConfiguration } from './configuration';

/** What all tasks of a cluster have in common. */
export interface ClusterContext {
  /** The path of the server, for descriptions. */
  readonly path: string;
  readonly production: boolean;
  readonly vpc: ec2.IVpc;
  readonly encryptionKey: kms.IKey;
  readonly cluster: ecs.Cluster;
  readonly namespace: cloudmap.IPrivateDnsNamespace;
  readonly removalPolicy: RemovalPolicy;
  readonly logRetention: logs.RetentionDays;
  readonly architecture: ecs.CpuArchitecture;
  /** The role under which ECS starts tasks: it pulls the images and writes the logs. */
  readonly starter: TaskStarter;
  /** The ways to AWS's APIs that the app declares. */
  readonly endpoints: IDependable;
}

/** The image of one kind of task: built from this package, or the user's own. */
export type TaskImage = assets.DockerImageAsset | ecs.ContainerImage;

/** The role under which ECS starts the tasks of a cluster, with what all of them need and nothing else. */
export class TaskStarter extends Construct {
  public readonly role: iam.Role;
  public readonly policy: iam.CfnManagedPolicy;
  private readonly images = new Set<assets.DockerImageAsset>();
  private readonly logGroups = new Set<logs.LogGroup>();

  constructor(scope: Construct, id: string, path: string) {
    super(scope, id);
    this.role = taskRole(this, 'Role', `Starts the tasks of the PostgreSQL server ${path}`);
    this.policy = new iam.CfnManagedPolicy(this, 'Policy', {
      policyDocument: Lazy.any({ produce: () => new iam.PolicyDocument({ statements: this.statements() }) }),
      roles: [this.role.roleName],
    });
    Validations.of(this.policy).acknowledge({
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'ecr:GetAuthorizationToken has no resource level: the token is one of the registry, and what it may pull is said by the ' +
        'statement beside it, which names the repositories.',
    });
  }

  public use(image: TaskImage, logGroup: logs.LogGroup): void {
    this.logGroups.add(logGroup);
    if (image instanceof assets.DockerImageAsset) this.images.add(image);
  }

  private statements(): iam.PolicyStatement[] {
    const repositories = [...new Set([...this.images].map((image) => image.repository.repositoryArn))];
    return [
      new iam.PolicyStatement({
        actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
        resources: [...this.logGroups].map((group) => group.logGroupArn),
      }),
      ...(repositories.length > 0
        ? [
            new iam.PolicyStatement({
              actions: ['ecr:BatchCheckLayerAvailability', 'ecr:BatchGetImage', 'ecr:GetDownloadUrlForLayer'],
              resources: repositories,
            }),
          ]
        : []),
      new iam.PolicyStatement({ actions: ['ecr:GetAuthorizationToken'], resources: ['*'] }),
    ];
  }
}

/** A role that tasks of this account take on. */
export function taskRole(scope: Construct, id: string, description: string): iam.Role {
  return new iam.Role(scope, id, {
    assumedBy: new iam.ServicePrincipal('ecs-tasks.amazonaws.com', {
      conditions: { StringEquals: { 'aws:SourceAccount': Stack.of(scope).account } },
    }),
    description: description.slice(0, 1000),
  });
}

/** A secret that a task reads, by the name that its configuration has for it. */
export type TaskSecrets = Readonly<Partial<Record<SecretName, secretsmanager.ISecret>>>;

export interface ClusterTaskProps {
  readonly context: ClusterContext;
  /** The name of the container and the prefix of its log streams. */
  readonly name: string;
  readonly description: string;
  readonly image: TaskImage;
  readonly logGroup: logs.LogGroup;
  /** Rendered when the template is, since parts of it come from what is made later. */
  readonly configuration: () => TaskConfiguration;
  readonly secrets: TaskSecrets;
  /** What its role may do besides reading its secrets. */
  readonly statements?: iam.PolicyStatement[];
  /** Whether an operator may run commands in it by ECS Exec. */
  readonly exec?: boolean;
  readonly user: number;
  readonly ports: readonly number[];
  readonly healthCheck?: ecs.HealthCheck;
  readonly stopTimeout: Duration;
  readonly command?: string[];
  /** On a host of its own. */
  readonly host?: HostPlacement;
  /** On Fargate. */
  readonly fargate?: FargatePlacement;
}

export interface HostPlacement {
  /** The folder of the host that is the volume of the task, and where it is in the container. */
  readonly volume: { readonly host: string; readonly container: string };
  /** In MiB: what is kept free for it. There is no limit, which would end the whole server where one session asks for too much. */
  readonly memoryReservation: number;
  /** In MiB. @default - that of Docker, 64 */
  readonly sharedMemory?: number;
  /** Whether it has the device of the watchdog. */
  readonly watchdog?: boolean;
}

export interface FargatePlacement {
  /** In units of 1/1024 vCPU. */
  readonly cpu: number;
  /** In MiB. */
  readonly memory: number;
  /** Where the storage of the task is mounted, which goes with it. */
  readonly volume?: string;
  /** In GiB. @default 20 */
  readonly ephemeralStorage?: number;
}

/** What ECS Exec writes to in a container whose root cannot be written to. */
const EXEC_FOLDERS = ['/var/lib/amazon', '/var/log/amazon'];

/** A task of a cluster: definition, role and policy. Nothing of it is written to its root file system. */
export class ClusterTask extends Construct {
  public readonly definition: ecs.TaskDefinition;
  public readonly container: ecs.ContainerDefinition;
  public readonly role: iam.Role;
  public readonly policy: iam.CfnManagedPolicy;
  /** What has to be there before a task runs. */
  public readonly ready: IDependable[];

  constructor(
    scope: Construct,
    id: string,
    private readonly props: ClusterTaskProps,
  ) {
    super(scope, id);
    const { context, image, logGroup, host, fargate } = props;
    context.starter.use(image, logGroup);
    this.role = taskRole(this, 'Role', `${props.description} of the PostgreSQL server ${context.path}`);
    this.policy = new iam.CfnManagedPolicy(this, 'Policy', {
      policyDocument: new iam.PolicyDocument({ statements: this.statements() }),
      roles: [this.role.roleName],
    });
    if (props.exec) acknowledgeExec(this.policy);
    this.definition = host ? this.hostDefinition(host) : this.fargateDefinition(fargate!);
    this.container = this.definition.addContainer(props.name, {
      containerName: props.name,
      image: image instanceof assets.DockerImageAsset ? ecs.ContainerImage.fromDockerImageAsset(image) : image,
      command: props.command,
      user: `${props.user}:${props.user}`,
      readonlyRootFilesystem: true,
      linuxParameters: this.linuxParameters(),
      memoryReservationMiB: host?.memoryReservation,
      environment: {
        [FILES_VARIABLE]: Lazy.string({ produce: () => this.text(props.configuration().files) }),
        [SECRETS_VARIABLE]: Lazy.string({ produce: () => this.text(this.secretArns()) }),
        ...plain(props.configuration),
      },
      portMappings: props.ports.map((containerPort) => ({ containerPort, protocol: ecs.Protocol.TCP })),
      ulimits: [
        { name: ecs.UlimitName.NOFILE, softLimit: 65_536, hardLimit: 65_536 },
        // Fargate takes no other.
        ...(host
          ? [
              { name: ecs.UlimitName.CORE, softLimit: 0, hardLimit: 0 },
              { name: ecs.UlimitName.MEMLOCK, softLimit: -1, hardLimit: -1 },
            ]
          : []),
      ],
      stopTimeout: props.stopTimeout,
      healthCheck: props.healthCheck,
      logging: ecs.LogDrivers.awsLogs({ logGroup, streamPrefix: props.name, mode: ecs.AwsLogDriverMode.NON_BLOCKING }),
    });
    this.mount();
    acknowledgeEnvironment(this.definition);
    this.ready = [this.policy, context.starter.policy, logGroup, context.endpoints];
  }

  private statements(): iam.PolicyStatement[] {
    const { context, exec, statements = [] } = this.props;
    const { region } = Stack.of(this);
    const secrets = Object.values(this.props.secrets);
    const keys = new Set([context.encryptionKey, ...secrets.flatMap(({ encryptionKey }) => encryptionKey ?? [])]);
    return [
      new iam.PolicyStatement({
        actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret'],
        resources: secrets.map((secret) => secret.secretFullArn ?? `${secret.secretArn}-??????`),
      }),
      new iam.PolicyStatement({
        actions: ['kms:Decrypt'],
        resources: [...keys].map((key) => key.keyArn),
        conditions: { StringEquals: { 'kms:ViaService': `secretsmanager.${region}.amazonaws.com` } },
      }),
      ...statements,
      ...(exec
        ? [
            new iam.PolicyStatement({
              actions: ['CreateControlChannel', 'CreateDataChannel', 'OpenControlChannel', 'OpenDataChannel'].map(
                (action) => `ssmmessages:${action}`,
              ),
              resources: ['*'],
            }),
            // The session is encrypted with the key, and its log goes to the group of the cluster.
            new iam.PolicyStatement({ actions: ['kms:Decrypt'], resources: [context.encryptionKey.keyArn] }),
          ]
        : []),
    ];
  }

  private hostDefinition({ volume }: HostPlacement): ecs.Ec2TaskDefinition {
    const { context } = this.props;
    return new ecs.Ec2TaskDefinition(this, 'Definition', {
      networkMode: ecs.NetworkMode.AWS_VPC,
      executionRole: context.starter.role.withoutPolicyUpdates(),
      taskRole: this.role.withoutPolicyUpdates(),
      volumes: [{ name: 'data', host: { sourcePath: volume.host } }],
    });
  }

  private fargateDefinition({ cpu, memory, volume, ephemeralStorage }: FargatePlacement): ecs.FargateTaskDefinition {
    const { context, exec } = this.props;
    return new ecs.FargateTaskDefinition(this, 'Definition', {
      cpu,
      memoryLimitMiB: memory,
      ephemeralStorageGiB: ephemeralStorage,
      runtimePlatform: {
        cpuArchitecture: context.architecture,
        operatingSystemFamily: ecs.OperatingSystemFamily.LINUX,
      },
      executionRole: context.starter.role.withoutPolicyUpdates(),
      taskRole: this.role.withoutPolicyUpdates(),
      // Fargate encrypts them, and they go with the task. The image's VOLUME gives them to the user of the container.
      volumes: [
        { name: 'run' },
        { name: 'tmp' },
        ...(volume === undefined ? [] : [{ name: 'data' }]),
        ...(exec ? EXEC_FOLDERS.map((_, index) => ({ name: `exec-${index}` })) : []),
      ],
    });
  }

  private linuxParameters(): ecs.LinuxParameters {
    const { host, exec } = this.props;
    const parameters = new ecs.LinuxParameters(this, 'Linux', {
      initProcessEnabled: true,
      sharedMemorySize: host?.sharedMemory,
    });
    parameters.dropCapabilities(ecs.Capability.ALL);
    // Fargate adds none. On a host an operator becomes the user of the image by them, who alone is the superuser; the user itself has none.
    if (host && exec) parameters.addCapabilities(ecs.Capability.SETUID, ecs.Capability.SETGID);
    if (!host) return parameters;
    const mountOptions = [ecs.TmpfsMountOption.NOSUID, ecs.TmpfsMountOption.NODEV];
    parameters.addTmpfs(
      { containerPath: RUN_FOLDER, size: 64, mountOptions },
      { containerPath: '/tmp', size: 256, mountOptions },
      ...(exec ? EXEC_FOLDERS.map((containerPath) => ({ containerPath, size: 32, mountOptions })) : []),
    );
    if (host.watchdog)
      parameters.addDevices({
        hostPath: '/dev/watchdog',
        permissions: [ecs.DevicePermission.READ, ecs.DevicePermission.WRITE],
      });
    return parameters;
  }

  private mount(): void {
    const { host, fargate, exec } = this.props;
    const add = (sourceVolume: string, containerPath: string) =>
      this.container.addMountPoints({ sourceVolume, containerPath, readOnly: false });
    if (host) {
      add('data', host.volume.container);
      return;
    }
    add('run', RUN_FOLDER);
    add('tmp', '/tmp');
    if (fargate!.volume !== undefined) add('data', fargate!.volume);
    if (exec) EXEC_FOLDERS.forEach((folder, index) => add(`exec-${index}`, folder));
  }

  private secretArns(): Record<string, string> {
    const wanted = this.props.configuration().secrets;
    return Object.fromEntries(
      wanted.map((name) => {
        const secret = this.props.secrets[name];
        if (!secret)
          throw new Error(`${this.node.path}: its configuration asks for the secret ${name}, which nobody gave it`);
        return [name, secret.secretArn];
      }),
    );
  }

  private text(value: object): string {
    return Stack.of(this).toJsonString(value);
  }
}

/** The variables of a configuration, whose names are known when it is rendered for the first time. */
function plain(configuration: () => TaskConfiguration): Record<string, string> {
  return Object.fromEntries(
    Object.keys(configuration().environment).map((name) => [
      name,
      Lazy.string({ produce: () => configuration().environment[name]! }),
    ]),
  );
}

/** A log group of tasks, encrypted and with an end. */
export function taskLogs(
  scope: Construct,
  id: string,
  context: Pick<ClusterContext, 'encryptionKey' | 'logRetention' | 'removalPolicy'>,
) {
  return new logs.LogGroup(scope, id, {
    encryptionKey: context.encryptionKey,
    retention: context.logRetention,
    removalPolicy: context.removalPolicy,
  });
}

function acknowledgeEnvironment(definition: ecs.TaskDefinition): void {
  Validations.of(definition).acknowledge({
    id: 'AwsSolutions-ECS2',
    reason:
      'The variables have configuration files, and which secrets to read, by their ARNs. No secret is in them: the task reads them itself, since ' +
      'one that ECS puts into the environment is not renewed by a rotation.',
  });
}

function acknowledgeExec(policy: iam.CfnManagedPolicy): void {
  Validations.of(policy).acknowledge({
    id: 'AwsSolutions-IAM5[Resource::*]',
    reason:
      'The four calls of ssmmessages by which ECS Exec reaches the container have no resource level. Who may open a session is said by ' +
      'ecs:ExecuteCommand of the operator, and each session is logged.',
  });
}
