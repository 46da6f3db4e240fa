/** How a role proves who it is. */
export class Authentication {
  /**
   * By a password in a secret of the role's own, stored as a SCRAM-SHA-256 verifier and rotated (SEC-9, SEC-18). A client that is refused
   * during a rotation reads the secret again and tries once more.
   */
  public static password(): Authentication {
    return new Authentication('password');
  }

  /**
   * By a password, as two logins that take turns (SEC-18): `NAME_1` and `NAME_2` are members of the role itself, which carries every
   * privilege and does not log in. The secret names the one whose turn it is. A rotation gives the other one a new password and the turn,
   * so that a client that still holds the user name and password of before goes on until the rotation after.
   *
   * Clients take the user name from the secret, too. Each login has the connection limit of its own, and `current_user` is one or the other.
   */
  public static alternatingPasswords(): Authentication {
    return new Authentication('alternatingPasswords');
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
    /** `password`, `alternatingPasswords`, `iam` or `none`. */
    public readonly method: string,
  ) {}
}
