import { RemovalPolicy, aws_secretsmanager as secretsmanager } from 'aws-cdk-lib';
import { Construct, IDependable } from 'constructs';
import { CertificateAuthority } from '../server/certificate-authority';
import type { ServerTrust } from '../server/external-postgres';
import { requireHost, requireProps, requireTrust } from '../server/required';
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
export class PrivateAuthority extends CertificateAuthority implements MadeCertificate {
  public readonly secret: secretsmanager.Secret;
  public readonly ready: IDependable[];

  constructor(
    scope: Construct,
    id: string,
    state: ServerState,
    public readonly host: string,
  ) {
    const { encryptionKey, vpc, vpcSubnets, profile, reserveConcurrency } = state.props;
    super(scope, id, {
      of: `the pooler ${scope.node.path}`,
      trustedBy: 'the clients of the pooler',
      server: state.server,
      vpc,
      vpcSubnets,
      encryptionKey,
      reserveConcurrency,
      logRemovalPolicy: profile === 'development' ? RemovalPolicy.DESTROY : RemovalPolicy.RETAIN,
      endpoints: state.endpoints,
    });
    const { secret, resource } = this.issue(this, { of: `the pooler ${scope.node.path}`, hosts: [host] });
    this.secret = secret;
    this.ready = [resource];
  }
}
