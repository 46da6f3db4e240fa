import {
  Duration,
  RemovalPolicy,
  Stack,
  Token,
  Validations,
  aws_ec2 as ec2,
  aws_iam as iam,
  aws_kms as kms,
  aws_s3 as s3,
  aws_scheduler as scheduler,
  aws_secretsmanager as secretsmanager,
  aws_sqs as sqs,
} from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import { requireDuration } from '../required';
import { BackupModel, RepositoryModel, pathOf } from './configuration';
import type { ClusterContext, ClusterTask } from './tasks';
import { acknowledgeUnrotated } from '../unrotated-secret';

/** A copy of every backup and of the write-ahead log elsewhere, such as in another region or another account (BK-13). */
export interface SecondRepositoryOptions {
  /** The bucket. One of another account needs a policy that lets the roles of members and backup tasks in. */
  readonly bucket: s3.IBucket;

  /** The region of the bucket. */
  readonly region: string;

  /**
   * The key with which the bucket encrypts, where it is not the bucket construct's own.
   *
   * @default - `bucket.encryptionKey`
   */
  readonly encryptionKey?: kms.IKey;

  /**
   * How far back the copy reaches.
   *
   * @default - as far as the first one
   */
  readonly pointInTimeRecovery?: Duration;
}

/** How an `EcsPostgres` is backed up (BK-8, BK-9). The write-ahead log is archived all the time, besides. */
export interface EcsBackupOptions {
  /**
   * When full backups are made, as a cron expression of EventBridge in UTC.
   *
   * @default 'cron(0 1 ? * SUN *)', on Sundays at 01:00
   */
  readonly full?: string;

  /**
   * When differential backups are made: what has changed since the last full one.
   *
   * @default 'cron(0 1 ? * MON-SAT *)', on the other days at 01:00
   */
  readonly differential?: string;

  /**
   * How often incremental backups are made: what has changed since the last backup of any kind. 1 to 24 whole hours.
   *
   * @default Duration.hours(6)
   */
  readonly incrementalEvery?: Duration;

  /**
   * After how long an unfinished segment of the write-ahead log is archived nevertheless: with what is on its way, the most that is lost when
   * nothing but the bucket is left. 1 to 3600 seconds.
   *
   * @default Duration.seconds(60)
   */
  readonly archiveTimeout?: Duration;

  /**
   * A copy elsewhere (BK-13).
   *
   * @default - in the server's own region and account alone
   */
  readonly secondRepository?: SecondRepositoryOptions;

  /**
   * Where the access log of the bucket goes.
   *
   * @default - nowhere. Data events of CloudTrail say who read what
   */
  readonly accessLogs?: s3.IBucket;
}

/** The bucket of a cluster, its ciphers, and what its model says of them. */
export class BackupRepository extends Construct {
  public readonly bucket: s3.Bucket;
  public readonly cipher: secretsmanager.Secret;
  public readonly secondCipher?: secretsmanager.Secret;
  public readonly model: BackupModel;
  public readonly archiveTimeout: Duration;

  constructor(
    scope: Construct,
    id: string,
    private readonly props: {
      readonly options: EcsBackupOptions;
      readonly clusterName: string;
      readonly path: string;
      readonly retentionDays: number;
      readonly encryptionKey: kms.IKey;
      readonly removalPolicy: RemovalPolicy;
    },
  ) {
    super(scope, id);
    const { options, path, retentionDays, encryptionKey, removalPolicy } = props;
    const destroy = removalPolicy === RemovalPolicy.DESTROY;
    this.bucket = new s3.Bucket(this, 'Bucket', {
      encryption: s3.BucketEncryption.KMS,
      encryptionKey,
      bucketKeyEnabled: true,
      versioned: true,
      enforceSSL: true,
      minimumTLSVersion: 1.2,
      blockPublicAccess: s3.BlockPublicAccess.BLOCK_ALL,
      objectOwnership: s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
      serverAccessLogsBucket: options.accessLogs,
      serverAccessLogsPrefix: options.accessLogs ? `${props.clusterName}/` : undefined,
      removalPolicy: destroy ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
      lifecycleRules: [
        // pgBackRest deletes what has expired; a version stays for as long as a mistake may take to be seen.
        {
          id: 'Deleted',
          noncurrentVersionExpiration: Duration.days(Math.max(30, retentionDays)),
          expiredObjectDeleteMarker: true,
        },
        { id: 'Unfinished', abortIncompleteMultipartUploadAfter: Duration.days(7) },
      ],
    });
    acknowledgeBucket(this.bucket, options);
    this.cipher = this.makeCipher('Cipher', `Cipher of the backups of the PostgreSQL server ${path}`);
    this.archiveTimeout = requireDuration(
      path,
      'backup.archiveTimeout',
      options.archiveTimeout ?? Duration.seconds(60),
      'Duration.seconds(60)',
    );
    const second = options.secondRepository;
    if (second)
      this.secondCipher = this.makeCipher(
        'SecondCipher',
        `Cipher of the second repository of the PostgreSQL server ${path}`,
      );
    this.model = {
      bucket: this.bucket.bucketName,
      region: Stack.of(this).region,
      kmsKeyId: encryptionKey.keyArn,
      retentionDays,
      archiveTimeout: this.archiveTimeout.toSeconds(),
      ...(second
        ? {
            secondRepository: {
              bucket: second.bucket.bucketName,
              region: second.region,
              kmsKeyId: (second.encryptionKey ?? second.bucket.encryptionKey)?.keyArn,
              retentionDays: (second.pointInTimeRecovery ?? Duration.days(retentionDays)).toDays(),
            },
          }
        : {}),
    };
  }

  /** What a role that writes backups may do: in the folder of this cluster alone. */
  public statements(): iam.PolicyStatement[] {
    const { options, clusterName, encryptionKey } = this.props;
    const second = options.secondRepository;
    return [
      ...repositoryStatements(this.bucket, pathOf(clusterName, {}), encryptionKey, true),
      ...(second
        ? repositoryStatements(
            second.bucket,
            pathOf(clusterName, {}),
            second.encryptionKey ?? second.bucket.encryptionKey,
            true,
          )
        : []),
    ];
  }

  /** Acknowledges the wildcard below the folder on a policy with `statements()`. */
  public acknowledgeOn(policy: Construct): void {
    const second = this.props.options.secondRepository;
    acknowledgeFolder(policy, this.bucket, pathOf(this.props.clusterName, {}));
    if (second) acknowledgeFolder(policy, second.bucket, pathOf(this.props.clusterName, {}));
  }

  private makeCipher(id: string, description: string): secretsmanager.Secret {
    const secret = new secretsmanager.Secret(this, id, {
      description,
      encryptionKey: this.props.encryptionKey,
      removalPolicy: this.props.removalPolicy,
      generateSecretString: {
        secretStringTemplate: '{}',
        generateStringKey: 'password',
        passwordLength: 64,
        excludePunctuation: true,
      },
    });
    acknowledgeCipher(secret);
    return secret;
  }
}

/** What a role may do in one folder of a bucket. */
export function repositoryStatements(
  bucket: s3.IBucket,
  folder: string,
  key: kms.IKey | undefined,
  writes: boolean,
): iam.PolicyStatement[] {
  return [
    new iam.PolicyStatement({
      actions: ['s3:ListBucket'],
      resources: [bucket.bucketArn],
      conditions: { StringLike: { 's3:prefix': [`${folder.slice(1)}`, `${folder.slice(1)}/*`] } },
    }),
    new iam.PolicyStatement({
      actions: ['s3:GetObject', ...(writes ? ['s3:PutObject', 's3:DeleteObject'] : [])],
      resources: [bucket.arnForObjects(`${folder.slice(1)}/*`)],
    }),
    ...(key
      ? [
          new iam.PolicyStatement({
            actions: ['kms:Decrypt', ...(writes ? ['kms:GenerateDataKey'] : [])],
            resources: [key.keyArn],
            conditions: { StringLike: { 'kms:ViaService': 's3.*.amazonaws.com' } },
          }),
        ]
      : []),
  ];
}

/** The one wildcard of `repositoryStatements()`, as cdk-nag names it. */
export function acknowledgeFolder(policy: Construct, bucket: s3.IBucket, folder: string): void {
  const arn = Stack.of(policy).resolve(bucket.arnForObjects(`${folder.slice(1)}/*`));
  Validations.of(policy).acknowledge({
    id: `AwsSolutions-IAM5[Resource::${shownArn(arn)}]`,
    reason:
      'pgBackRest names its objects itself: backups and segments of the write-ahead log, all in the one folder of this server. Other folders of the ' +
      'bucket, and other buckets, are not reached.',
  });
}

/** As cdk-nag writes an ARN that is known at the deployment alone. */
function shownArn(arn: unknown): string {
  if (typeof arn === 'string') return arn;
  const {
    Ref,
    'Fn::GetAtt': att,
    'Fn::Join': join,
  } = arn as { Ref?: string; 'Fn::GetAtt'?: string[]; 'Fn::Join'?: [string, unknown[]] };
  if (Ref !== undefined) return `<${Ref}>`;
  if (att) return `<${att.join('.')}>`;
  return join ? join[1].map(shownArn).join(join[0]) : JSON.stringify(arn);
}

/** The tasks that make backups, when the schedule says so. */
export class BackupSchedule extends Construct {
  constructor(
    scope: Construct,
    id: string,
    props: {
      readonly context: ClusterContext;
      readonly options: EcsBackupOptions;
      readonly task: ClusterTask;
      readonly subnets: readonly ec2.ISubnet[];
      readonly securityGroup: ec2.SecurityGroup;
      readonly after: readonly IDependable[];
    },
  ) {
    super(scope, id);
    const { context, options, task, subnets, securityGroup } = props;
    const stack = Stack.of(this);
    const deadLetters = new sqs.Queue(this, 'DeadLetters', {
      encryption: sqs.QueueEncryption.KMS,
      encryptionMasterKey: context.encryptionKey,
      enforceSSL: true,
      retentionPeriod: Duration.days(14),
    });
    Validations.of(deadLetters).acknowledge({
      id: 'AwsSolutions-SQS3',
      reason:
        'It is a dead-letter queue itself: what EventBridge Scheduler could not start stands in it for 14 days, and the alarm on the age of the ' +
        'last backup says that somebody should look.',
    });
    const role = new iam.Role(this, 'Role', {
      assumedBy: new iam.ServicePrincipal('scheduler.amazonaws.com', {
        conditions: { StringEquals: { 'aws:SourceAccount': stack.account } },
      }),
      description: `Starts the backups of the PostgreSQL server ${context.path}`.slice(0, 1000),
    });
    const policy = new iam.CfnManagedPolicy(this, 'Policy', {
      policyDocument: new iam.PolicyDocument({
        statements: [
          new iam.PolicyStatement({
            actions: ['ecs:RunTask'],
            resources: [task.definition.taskDefinitionArn],
            conditions: { ArnEquals: { 'ecs:cluster': context.cluster.clusterArn } },
          }),
          new iam.PolicyStatement({
            actions: ['iam:PassRole'],
            resources: [task.role.roleArn, context.starter.role.roleArn],
            conditions: { StringEquals: { 'iam:PassedToService': 'ecs-tasks.amazonaws.com' } },
          }),
          new iam.PolicyStatement({ actions: ['sqs:SendMessage'], resources: [deadLetters.queueArn] }),
          new iam.PolicyStatement({
            actions: ['kms:Decrypt', 'kms:GenerateDataKey'],
            resources: [context.encryptionKey.keyArn],
          }),
        ],
      }),
      roles: [role.roleName],
    });
    const kinds: [string, string, string][] = [
      ['Full', 'full', checkCron(context.path, 'full', options.full ?? 'cron(0 1 ? * SUN *)')],
      [
        'Differential',
        'diff',
        checkCron(context.path, 'differential', options.differential ?? 'cron(0 1 ? * MON-SAT *)'),
      ],
      ['Incremental', 'incr', incremental(context.path, options.incrementalEvery)],
    ];
    for (const [name, kind, expression] of kinds) {
      const schedule = new scheduler.CfnSchedule(this, name, {
        description: `${name} backup of the PostgreSQL server ${context.path}`.slice(0, 512),
        scheduleExpression: expression,
        scheduleExpressionTimezone: 'UTC',
        flexibleTimeWindow: { mode: 'OFF' },
        kmsKeyArn: context.encryptionKey.keyArn,
        target: {
          arn: context.cluster.clusterArn,
          roleArn: role.roleArn,
          deadLetterConfig: { arn: deadLetters.queueArn },
          retryPolicy: { maximumEventAgeInSeconds: 3600, maximumRetryAttempts: 5 },
          input: JSON.stringify({
            containerOverrides: [{ name: task.container.containerName, command: ['backup', kind] }],
          }),
          ecsParameters: {
            taskDefinitionArn: task.definition.taskDefinitionArn,
            taskCount: 1,
            launchType: 'FARGATE',
            propagateTags: 'TASK_DEFINITION',
            networkConfiguration: {
              awsvpcConfiguration: {
                subnets: subnets.map(({ subnetId }) => subnetId),
                securityGroups: [securityGroup.securityGroupId],
                assignPublicIp: 'DISABLED',
              },
            },
          },
        },
      });
      schedule.node.addDependency(policy, ...task.ready, ...props.after);
    }
  }
}

function checkCron(path: string, prop: string, expression: string): string {
  if (Token.isUnresolved(expression) || /^cron\(\S+( \S+){5}\)$/.test(expression)) return expression;
  throw new Error(
    `${path}: backup.${prop} is '${expression}'; write a cron expression of EventBridge with six fields, such as 'cron(0 1 ? * SUN *)'`,
  );
}

/** Half an hour after the full ones, which else would find each other in their way. */
function incremental(path: string, every: Duration = Duration.hours(6)): string {
  requireDuration(path, 'backup.incrementalEvery', every, 'Duration.hours(6)');
  const hours = every.isUnresolved() ? NaN : every.toHours({ integral: false });
  if (!(Number.isInteger(hours) && hours >= 1 && hours <= 24))
    throw new Error(
      `${path}: backup.incrementalEvery is ${Number.isNaN(hours) ? 'a token' : every.toHumanString()}; write 1 to 24 whole hours`,
    );
  return hours === 24 ? 'cron(30 13 * * ? *)' : `cron(30 0/${hours} * * ? *)`;
}

/** The backups of an `EcsPostgres`, of this app or another, for `EcsPostgres.fromBackup()`. */
export class EcsBackups {
  /**
   * Those of a server whose bucket is known by its attributes, such as one that is lost.
   *
   * @param attributes where they are
   */
  public static fromAttributes(attributes: EcsBackupsAttributes): EcsBackups {
    return new EcsBackups(attributes);
  }

  private constructor(
    /** Where they are. */
    public readonly attributes: EcsBackupsAttributes,
  ) {}
}

/** Where the backups of a server are. */
export interface EcsBackupsAttributes {
  /** `clusterName` of the server that was backed up. */
  readonly clusterName: string;

  /** The bucket, or the one with the copy. */
  readonly bucket: s3.IBucket;

  /**
   * The region of the bucket.
   *
   * @default - that of the new server
   */
  readonly region?: string;

  /** The secret with the cipher of the backups. Without it they cannot be read by anybody. */
  readonly cipherSecret: secretsmanager.ISecret;

  /**
   * The key with which the bucket encrypts.
   *
   * @default - `bucket.encryptionKey`
   */
  readonly encryptionKey?: kms.IKey;
}

/** As the model of the new cluster has it. */
export function sourceRepository(
  scope: Construct,
  { bucket, region, encryptionKey }: EcsBackupsAttributes,
): Omit<RepositoryModel, 'retentionDays'> {
  return {
    bucket: bucket.bucketName,
    region: region ?? Stack.of(scope).region,
    kmsKeyId: (encryptionKey ?? bucket.encryptionKey)?.keyArn,
  };
}

function acknowledgeCipher(secret: secretsmanager.Secret): void {
  acknowledgeUnrotated(
    secret,
    'Backups are encrypted with it, all that are kept and those to come: with another value none of them could be read. The tasks of the server ' +
      'alone read it, and the bucket encrypts with a customer key besides, which rotates.',
  );
}

function acknowledgeBucket(bucket: s3.Bucket, { accessLogs, secondRepository }: EcsBackupOptions): void {
  const packs = ['HIPAA.Security', 'NIST.800.53.R4', 'NIST.800.53.R5', 'PCI.DSS.321'];
  for (const pack of packs)
    Validations.of(bucket).acknowledge({
      id: `${pack}-S3BucketReplicationEnabled`,
      reason: secondRepository
        ? 'pgBackRest writes everything into a second bucket itself, with a cipher and a retention of its own; a replication would copy what is broken too.'
        : 'pgBackRest would see a half-replicated repository as a broken one. A second copy is secondRepository, which it writes itself.',
    });
  Validations.of(bucket).acknowledge({
    id: 'NIST.800.53.R4-S3BucketDefaultLockEnabled',
    reason:
      'pgBackRest deletes what has expired, and rewrites its index of backups with each of them. Every version of an object stays for 30 days at ' +
      'the least, and the roles of the server may delete no version.',
  });
  if (accessLogs) return;
  for (const id of ['AwsSolutions-S1', ...packs.map((pack) => `${pack}-S3BucketLoggingEnabled`)])
    Validations.of(bucket).acknowledge({
      id,
      reason:
        'Every object is encrypted with a cipher that the tasks of the server alone can read, under roles that reach this one folder; data events of ' +
        'CloudTrail say who read what. A log bucket of yours is accessLogs.',
    });
}
