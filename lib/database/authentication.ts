/** How a role proves who it is. */
export class Authentication {
  /** By a password in a secret of the role's own, stored as a SCRAM-SHA-256 verifier and rotated (SEC-9, SEC-18). */
  public static password(): Authentication {
    return new Authentication('password');
  }

  /**
   * By an IAM token, which lasts 15 minutes (SEC-16). The role then has no password. RDS and Aurora only; elsewhere an error.
   * A server takes about 200 new connections a second that way.
   */
  public static iam(): Authentication {
    return new Authentication('iam');
  }

  /** What fits the server: a password, which works on every server and through every pooler. */
  public static recommended(): Authentication {
    return new Authentication('password');
  }

  /** Not by this library: the role may log in, and somebody else manages how (a certificate, LDAP, a password set by hand). */
  public static none(): Authentication {
    return new Authentication('none');
  }

  private constructor(
    /** `password`, `iam` or `none`. */
    public readonly method: string,
  ) {}
}
