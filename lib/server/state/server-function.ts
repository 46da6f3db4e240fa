import { Duration, Lazy, RemovalPolicy, Validations } from 'aws-cdk-lib';
import * as ec2 from 'aws-cdk-lib/aws-ec2';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import * as sqs from 'aws-cdk-lib/aws-sqs';
import { Construct, IConstruct, IDependable } from 'constructs';
import { FunctionDuty, functionBundle } from '../package-root';
import { AwsService, defaultSubnets, requireServices } from './vpc-services';

export interface ServerFunctionProps {
  readonly duty: FunctionDuty;
  /** @default - outside a VPC, for a server that is reached over the internet */
  readonly vpc?: ec2.IVpc;
  /** @default - the isolated subnets of the VPC, or those with egress where there are none */
  readonly vpcSubnets?: ec2.SubnetSelection;
  /** @default - an own one, with egress to tcp/443 and what `allowTo` adds */
  readonly securityGroup?: ec2.ISecurityGroup;
  /** Encrypts the logs, the dead-letter queue and the secrets that the function reads; its policy lets CloudWatch Logs use it. */
  readonly encryptionKey: kms.IKey;
  readonly environment?: Readonly<Record<string, string>>;
  readonly timeout: Duration;
  /** In MiB. */
  readonly memorySize: number;
  /** What the function may do besides logging, its network interfaces and its dead-letter queue. */
  readonly statements: iam.PolicyStatement[];
  /** Statements that are known only when everything has been declared. */
  readonly lateStatements?: () => iam.PolicyStatement[];
  /**
   * How many runs may go on at once.
   * @default 2 - the advisory lock of the server serialises them; one alone would throttle a rotation during a deployment
   */
  readonly concurrency?: number;
  /**
   * Whether that number is reserved in the account.
   * @default true - false for an account whose limit leaves nothing to reserve (a new one has 10); LambdaConcurrency then is a finding
   */
  readonly reserveConcurrency?: boolean;
  /**
   * How long an event may wait for its turn. An old event that runs after a newer one would undo it.
   * @default Duration.minutes(20)
   */
  readonly maxEventAge?: Duration;
  /**
   * The server on which a missing way to AWS's APIs is reported.
   * @default - the parent of the construct that holds the function
   */
  readonly server?: IConstruct;
  /** @default RemovalPolicy.RETAIN */
  readonly logRemovalPolicy?: RemovalPolicy;
}

/**
 * One function of the library: own role, own log group, own dead-letter queue, in the VPC of the server. It has no name and its
 * construct id must not change, because CloudFormation refuses a changed ARN as a service token.
 */
export class ServerFunction extends Construct implements ec2.IConnectable {
  public readonly function: lambda.Function;
  /** Has no security group where the function runs outside a VPC. */
  public readonly connections: ec2.Connections;
  public readonly role: iam.Role;
  /**
   * What must exist before the function can run and must outlive it: its policies, its log group and the rules of its security group.
   * CDK makes none of these dependencies, because the role takes no policy updates.
   */
  public readonly ready: IDependable[] = [];
  private readonly securityGroup?: ec2.ISecurityGroup;

  constructor(scope: Construct, id: string, props: ServerFunctionProps) {
    super(scope, id);
    const logGroup = new logs.LogGroup(this, 'Logs', {
      encryptionKey: props.encryptionKey,
      retention: logs.RetentionDays.ONE_YEAR,
      removalPolicy: props.logRemovalPolicy ?? RemovalPolicy.RETAIN,
    });
    const deadLetters = new sqs.Queue(this, 'DeadLetters', {
      encryption: sqs.QueueEncryption.KMS,
      encryptionMasterKey: props.encryptionKey,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });

    this.role = new iam.Role(this, 'Role', {
      assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
      description: `cdk-postgres: ${props.duty} function of ${scope.node.path}`.slice(0, 1000),
    });
    const policies = [
      this.attach('Policy', () => [
        new iam.PolicyStatement({
          actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
          resources: [logGroup.logGroupArn],
        }),
        new iam.PolicyStatement({ actions: ['sqs:SendMessage'], resources: [deadLetters.queueArn] }),
        new iam.PolicyStatement({
          actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
          resources: [props.encryptionKey.keyArn],
        }),
        ...props.statements,
        ...(props.lateStatements?.() ?? []),
      ]),
    ];

    if (props.vpc) {
      policies.push(this.attachNetworkPolicy());
      requireServices(props.server ?? scope.node.scope ?? scope, props.vpc, props.vpcSubnets, SERVICES[props.duty]);
      this.securityGroup =
        props.securityGroup ??
        new ec2.SecurityGroup(this, 'SecurityGroup', {
          vpc: props.vpc,
          description: `cdk-postgres ${props.duty} function`,
          allowAllOutbound: false,
        });
      if (!props.securityGroup) {
        // The S3 gateway endpoint would need a prefix list that CloudFormation does not give; an isolated subnet has no other way out.
        this.securityGroup.addEgressRule(
          ec2.Peer.anyIpv4(),
          ec2.Port.tcp(443),
          'AWS APIs and the answer to CloudFormation',
        );
        this.ready.push(this.securityGroup);
      }
    }
    this.connections = new ec2.Connections({ securityGroups: this.securityGroup ? [this.securityGroup] : [] });

    this.function = new lambda.Function(this, 'Function', {
      code: lambda.Code.fromAsset(functionBundle(props.duty)),
      handler: 'index.handler',
      runtime: lambda.Runtime.NODEJS_24_X,
      architecture: lambda.Architecture.ARM_64,
      description: `cdk-postgres: ${DESCRIPTION[props.duty]}`,
      role: this.role.withoutPolicyUpdates(),
      timeout: props.timeout,
      memorySize: props.memorySize,
      environment: props.environment,
      logGroup,
      deadLetterQueue: deadLetters,
      maxEventAge: props.maxEventAge ?? Duration.minutes(20),
      reservedConcurrentExecutions: props.reserveConcurrency === false ? undefined : (props.concurrency ?? 2),
      ...(props.vpc && {
        vpc: props.vpc,
        vpcSubnets: props.vpcSubnets ?? defaultSubnets(props.vpc),
        securityGroups: [this.securityGroup!],
      }),
    });
    policies.forEach((policy) => this.function.node.addDependency(policy));
    this.ready.push(...policies, logGroup);
  }

  /**
   * Opens the way to a server. The rules are resources of their own, so that something can depend on exactly these: a dependency on
   * the server's whole security group would make a cycle with everything that a user lets in and that waits for the server.
   */
  public allowTo(server: readonly ec2.ISecurityGroup[], port: number): void {
    const own = this.securityGroup;
    if (!own) return;
    server.forEach((group, index) => {
      const suffix = index === 0 ? '' : String(index);
      const rule = { ipProtocol: 'tcp', fromPort: port, toPort: port };
      this.ready.push(
        new ec2.CfnSecurityGroupEgress(this, `ToServer${suffix}`, {
          ...rule,
          groupId: own.securityGroupId,
          destinationSecurityGroupId: group.securityGroupId,
          description: 'PostgreSQL',
        }),
        new ec2.CfnSecurityGroupIngress(this, `FromFunction${suffix}`, {
          ...rule,
          groupId: group.securityGroupId,
          sourceSecurityGroupId: own.securityGroupId,
          description: 'cdk-postgres function',
        }),
      );
    });
    if (server.length === 0) own.addEgressRule(ec2.Peer.anyIpv4(), ec2.Port.tcp(port), 'PostgreSQL outside this app');
  }

  private attach(id: string, statements: () => iam.PolicyStatement[]): iam.CfnManagedPolicy {
    return new iam.CfnManagedPolicy(this, id, {
      policyDocument: Lazy.any({ produce: () => new iam.PolicyDocument({ statements: statements() }) }),
      roles: [this.role.roleName],
    });
  }

  private attachNetworkPolicy(): iam.CfnManagedPolicy {
    const policy = this.attach('NetworkPolicy', () => [
      new iam.PolicyStatement({
        actions: [
          'ec2:AssignPrivateIpAddresses',
          'ec2:CreateNetworkInterface',
          'ec2:DeleteNetworkInterface',
          'ec2:DescribeNetworkInterfaces',
          'ec2:DescribeSubnets',
          'ec2:UnassignPrivateIpAddresses',
        ],
        resources: ['*'],
      }),
    ]);
    Validations.of(policy).acknowledge({
      id: 'AwsSolutions-IAM5[Resource::*]',
      reason:
        'Lambda attaches the function to its subnets with these calls under the function role, before the interface exists; ' +
        'the Describe calls have no resource level. The policy holds nothing else.',
    });
    return policy;
  }
}

const DESCRIPTION: Readonly<Record<FunctionDuty, string>> = {
  apply: 'brings the inside of a PostgreSQL server to its declared state',
  rotate: 'rotates the passwords of PostgreSQL roles',
  drift: 'compares the inside of a PostgreSQL server with its declared state',
  probe: 'measures what CloudWatch does not know of a PostgreSQL server',
  failover: 'fails a PostgreSQL server over and measures the write outage',
  certificate: 'makes and renews the certificates of an authority of its own',
  cluster: 'waits for, configures and watches the members of a self-managed PostgreSQL server',
  guard: 'refuses a deployment that would replace or downgrade a PostgreSQL server',
};

/** The AWS services that a function speaks to. S3 is where CloudFormation waits for an answer. */
const SERVICES: Readonly<Record<FunctionDuty, readonly AwsService[]>> = {
  apply: ['secretsmanager', 's3'],
  rotate: ['secretsmanager'],
  drift: ['secretsmanager'],
  probe: ['secretsmanager'],
  failover: ['secretsmanager', 'rds'],
  certificate: ['secretsmanager', 's3'],
  cluster: ['secretsmanager', 's3'],
  guard: ['rds', 's3'],
};
