import {
  CustomResource,
  Duration,
  RemovalPolicy,
  SecretValue,
  Stack,
  aws_ec2 as ec2,
  aws_iam as iam,
  aws_kms as kms,
  aws_lambda as lambda,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Construct, IConstruct, IDependable } from 'constructs';
import {
  AUTHORITY_VARIABLE,
  CA_ATTRIBUTE,
  CA_LINE_ATTRIBUTE,
  CERTIFICATE_RESOURCE_TYPE,
  CERTIFICATE_ROTATION_DAYS,
} from '../contract';
import { ServerFunction } from './state/server-function';
import { acknowledgeUnrotated } from './unrotated-secret';

export interface CertificateAuthorityProps {
  /** Whose certificates it signs, in words that continue "the authority of …". */
  readonly of: string;
  /** Who holds its root and would be locked out by another one. */
  readonly trustedBy: string;
  /**
   * The common name of the root.
   * @default - that of a pooler
   */
  readonly authorityName?: string;
  readonly server: IConstruct;
  readonly vpc?: ec2.IVpc;
  readonly vpcSubnets?: ec2.SubnetSelection;
  readonly encryptionKey: kms.IKey;
  readonly reserveConcurrency?: boolean;
  readonly logRemovalPolicy: RemovalPolicy;
  /** What has to be there before the function reaches AWS's APIs. */
  readonly endpoints?: IDependable;
}

export interface CertificateProps {
  /** Whose it is, in words that continue "Certificate and key of …". */
  readonly of: string;
  readonly hosts: readonly string[];
  /**
   * The common name.
   * @default - that of a pooler
   */
  readonly subject?: string;
  /**
   * Whether it is shown as a client too.
   * @default false
   */
  readonly client?: boolean;
}

/** A certificate in its secret, in the shape of `PoolerCertificateDocument`. */
export interface IssuedCertificate {
  readonly secret: secretsmanager.Secret;
  /** Makes the certificate; what shows it waits for it. */
  readonly resource: CustomResource;
}

/** An authority of its own: a secret with root and key, and the function that makes and renews what it signs. */
export class CertificateAuthority extends Construct {
  private readonly made: ServerFunction;
  private readonly authority: secretsmanager.Secret;
  private readonly secrets: secretsmanager.Secret[] = [];
  private readonly permission: lambda.CfnPermission;
  private first?: CustomResource;

  constructor(
    scope: Construct,
    id: string,
    private readonly settings: CertificateAuthorityProps,
  ) {
    super(scope, id);
    this.authority = this.emptySecret(this, 'Authority', `Root and key of the authority of ${settings.of}`);
    acknowledgeRotation(this.authority, settings.trustedBy);
    this.made = new ServerFunction(this, 'Function', {
      duty: 'certificate',
      server: settings.server,
      vpc: settings.vpc,
      vpcSubnets: settings.vpcSubnets,
      encryptionKey: settings.encryptionKey,
      reserveConcurrency: settings.reserveConcurrency,
      logRemovalPolicy: settings.logRemovalPolicy,
      timeout: Duration.minutes(2),
      memorySize: 256,
      environment: { [AUTHORITY_VARIABLE]: this.authority.secretArn },
      statements: [],
      lateStatements: () => this.statements(),
    });
    this.permission = new lambda.CfnPermission(this, 'RotatePermission', {
      action: 'lambda:InvokeFunction',
      functionName: this.made.function.functionArn,
      principal: 'secretsmanager.amazonaws.com',
      sourceAccount: Stack.of(this).account,
    });
  }

  /** The root as PEM, when a certificate was issued. */
  public get trust(): string {
    return this.issued().getAttString(CA_ATTRIBUTE);
  }

  /** The root on one line, for a text of JSON. */
  public get trustLine(): string {
    return this.issued().getAttString(CA_LINE_ATTRIBUTE);
  }

  /** Makes a certificate in a secret of the scope, and renews it every 30 days. */
  public issue(scope: Construct, props: CertificateProps): IssuedCertificate {
    const { authorityName, endpoints } = this.settings;
    const secret = this.emptySecret(scope, 'Secret', `Certificate and key of ${props.of}`);
    this.secrets.push(secret);
    const resource = new CustomResource(scope, 'Resource', {
      resourceType: CERTIFICATE_RESOURCE_TYPE,
      serviceToken: this.made.function.functionArn,
      serviceTimeout: Duration.minutes(5),
      properties: {
        Certificate: secret.secretArn,
        Hosts: props.hosts,
        ...(authorityName === undefined ? {} : { Authority: authorityName }),
        ...(props.subject === undefined ? {} : { Subject: props.subject }),
        ...(props.client ? { Client: true } : {}),
      },
    });
    resource.node.addDependency(...this.made.ready, ...(endpoints ? [endpoints] : []));
    // Two at once would each find no authority and make one.
    if (this.first) resource.node.addDependency(this.first);
    else this.first = resource;
    const schedule = new secretsmanager.CfnRotationSchedule(scope, 'Rotation', {
      secretId: secret.secretArn,
      rotationLambdaArn: this.made.function.functionArn,
      rotateImmediatelyOnUpdate: false,
      rotationRules: { automaticallyAfterDays: CERTIFICATE_ROTATION_DAYS },
    });
    schedule.node.addDependency(this.permission, resource);
    return { secret, resource };
  }

  private issued(): CustomResource {
    if (!this.first) throw new Error(`${this.node.path}: it has issued no certificate yet`);
    return this.first;
  }

  private statements(): iam.PolicyStatement[] {
    const certificates = this.secrets.map((secret) => secret.secretArn);
    return [
      new iam.PolicyStatement({
        actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret', 'secretsmanager:PutSecretValue'],
        resources: [this.authority.secretArn, ...certificates],
      }),
      new iam.PolicyStatement({ actions: ['secretsmanager:UpdateSecretVersionStage'], resources: certificates }),
    ];
  }

  private emptySecret(scope: Construct, id: string, description: string): secretsmanager.Secret {
    return new secretsmanager.Secret(scope, id, {
      description,
      encryptionKey: this.settings.encryptionKey,
      removalPolicy: RemovalPolicy.DESTROY,
      // The function fills it; another value here would be written over what it made.
      secretStringValue: SecretValue.unsafePlainText('{}'),
    });
  }
}

function acknowledgeRotation(secret: secretsmanager.Secret, trustedBy: string): void {
  acknowledgeUnrotated(
    secret,
    `It holds the key of the root that ${trustedBy} trust, and a new root would lock all of them out until they have it. ` +
      'The function of the certificate alone reads it; the certificate that it signs is renewed every 30 days.',
  );
}
