import {
  CustomResource,
  Duration,
  RemovalPolicy,
  SecretValue,
  Stack,
  Validations,
  aws_iam as iam,
  aws_lambda as lambda,
  aws_secretsmanager as secretsmanager,
} from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import { AUTHORITY_VARIABLE, CA_ATTRIBUTE, CERTIFICATE_RESOURCE_TYPE, CERTIFICATE_ROTATION_DAYS } from '../contract';
import type { ServerTrust } from '../server/external-postgres';
import { requireHost, requireProps, requireTrust } from '../server/required';
import { ServerFunction } from '../server/state/server-function';
import { ServerState } from '../server/state/server-state';

/** A certificate that you have for the pooler. */
export interface OwnCertificateOptions {
  /**
   * The host that the certificate is for and that clients connect to. You point it at the pooler's load balancer, by an alias in Route 53 or a
   * CNAME record.
   */
  readonly hostName: string;

  /**
   * Whom clients trust it from: `ServerTrust.publicRoots()`, or `ServerTrust.pem()` with the root of your authority.
   */
  readonly trust: ServerTrust;
}

/** What PgBouncer proves to its clients who it is. The load balancer passes TLS through, so that it ends at the tasks. */
export class PoolerCertificate {
  /**
   * One of an authority of the pooler's own, for the name of its load balancer. The root lasts ten years, and its certificate goes to the clients
   * by `grantConnect()`; the pooler's certificate is renewed every 30 days.
   */
  public static privateAuthority(): PoolerCertificate {
    return new PoolerCertificate(undefined, undefined);
  }

  /**
   * One that you have, such as of AWS Private CA. PgBouncer takes a renewed one from the secret by itself.
   *
   * @param secret JSON with `certificate` (PEM, with those between it and the root) and `privateKey` (PEM, without passphrase)
   * @param options whose it is
   */
  public static fromSecret(secret: secretsmanager.ISecret, options: OwnCertificateOptions): PoolerCertificate {
    const path = 'PoolerCertificate.fromSecret()';
    if (!secret?.secretArn)
      throw new Error(`${path}: secret is missing; write the secret with certificate and privateKey`);
    const { hostName, trust } = requireProps(
      path,
      options,
      "{ hostName: 'db.example.com', trust: ServerTrust.publicRoots() }",
    );
    requireHost(path, 'hostName', hostName);
    if (!trust) throw new Error(`${path}: trust is missing; say whom clients trust the certificate from`);
    requireTrust(path, trust);
    return new PoolerCertificate(secret, options);
  }

  private constructor(
    /** @internal */
    public readonly _secret: secretsmanager.ISecret | undefined,
    /** @internal */
    public readonly _options: OwnCertificateOptions | undefined,
  ) {}
}

/** The certificate of one pooler, as its tasks and clients need it. */
export interface MadeCertificate {
  readonly secret: secretsmanager.ISecret;
  /** The host that clients connect to. */
  readonly host: string;
  /** `public`, `rds`, or the root. */
  readonly trust: string;
  /** What has to be there before a task can show it. */
  readonly ready: IDependable[];
}

/** A certificate of an authority of its own: two secrets, and the function that makes and renews what is in them. */
export class PrivateAuthority extends Construct implements MadeCertificate {
  public readonly secret: secretsmanager.Secret;
  public readonly trust: string;
  public readonly ready: IDependable[];

  constructor(
    scope: Construct,
    id: string,
    state: ServerState,
    public readonly host: string,
  ) {
    super(scope, id);
    const { encryptionKey, vpc, vpcSubnets, profile } = state.props;
    const removalPolicy = profile === 'development' ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN;
    const empty = (name: string, description: string) =>
      new secretsmanager.Secret(this, name, {
        description,
        encryptionKey,
        removalPolicy: RemovalPolicy.DESTROY,
        // The function fills it; another value here would be written over what it made.
        secretStringValue: SecretValue.unsafePlainText('{}'),
      });
    const authority = empty('Authority', `Root and key of the authority of the pooler ${scope.node.path}`);
    acknowledgeRotation(authority);
    this.secret = empty('Secret', `Certificate and key of the pooler ${scope.node.path}`);

    const made = new ServerFunction(this, 'Function', {
      duty: 'certificate',
      server: state.server,
      vpc,
      vpcSubnets,
      encryptionKey,
      reserveConcurrency: state.props.reserveConcurrency,
      logRemovalPolicy: removalPolicy,
      timeout: Duration.minutes(2),
      memorySize: 256,
      environment: { [AUTHORITY_VARIABLE]: authority.secretArn },
      statements: [
        new iam.PolicyStatement({
          actions: ['secretsmanager:GetSecretValue', 'secretsmanager:DescribeSecret', 'secretsmanager:PutSecretValue'],
          resources: [authority.secretArn, this.secret.secretArn],
        }),
        new iam.PolicyStatement({
          actions: ['secretsmanager:UpdateSecretVersionStage'],
          resources: [this.secret.secretArn],
        }),
      ],
    });
    const resource = new CustomResource(this, 'Resource', {
      resourceType: CERTIFICATE_RESOURCE_TYPE,
      serviceToken: made.function.functionArn,
      serviceTimeout: Duration.minutes(5),
      properties: { Certificate: this.secret.secretArn, Hosts: [host] },
    });
    resource.node.addDependency(...made.ready, state.endpoints);
    this.trust = resource.getAttString(CA_ATTRIBUTE);

    const permission = new lambda.CfnPermission(this, 'RotatePermission', {
      action: 'lambda:InvokeFunction',
      functionName: made.function.functionArn,
      principal: 'secretsmanager.amazonaws.com',
      sourceAccount: Stack.of(this).account,
    });
    const schedule = new secretsmanager.CfnRotationSchedule(this, 'Rotation', {
      secretId: this.secret.secretArn,
      rotationLambdaArn: made.function.functionArn,
      rotateImmediatelyOnUpdate: false,
      rotationRules: { automaticallyAfterDays: CERTIFICATE_ROTATION_DAYS },
    });
    schedule.node.addDependency(permission, resource);
    this.ready = [resource];
  }
}

function acknowledgeRotation(secret: secretsmanager.Secret): void {
  for (const id of [
    'AwsSolutions-SMG4',
    'HIPAA.Security-SecretsManagerRotationEnabled',
    'NIST.800.53.R5-SecretsManagerRotationEnabled',
  ]) {
    Validations.of(secret).acknowledge({
      id,
      reason:
        'It holds the key of the root that the clients of the pooler trust, and a new root would lock all of them out until they have it. ' +
        'The function of the certificate alone reads it; the certificate that it signs is renewed every 30 days.',
    });
  }
}
