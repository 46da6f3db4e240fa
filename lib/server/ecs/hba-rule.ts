import type { HbaRule as HbaRuleModel } from './configuration';

/** Who and from where a line of `pg_hba.conf` is about. */
export interface HbaRuleOptions {
  /**
   * Names of databases.
   *
   * @default - all of them
   */
  readonly databases?: string[];

  /**
   * Names of roles, `+name` for the members of a group.
   *
   * @default - all of them, which is refused together with all databases
   */
  readonly roles?: string[];

  /** CIDR block from which the client comes, such as `10.0.0.0/16`. Through the router that is the address of the router. */
  readonly address: string;
}

/** A login by a client's certificate, which the authority of the cluster has signed. */
export interface HbaCertificateOptions extends HbaRuleOptions {
  /**
   * The name of a map of `pg_ident.conf` from the common name to a role.
   *
   * @default - the common name is the name of the role
   */
  readonly map?: string;
}

/** A login by a token of OAuth (SEC-17), on 18 and later. The image needs a validator library, which the parameter `oauth_validator_libraries` names. */
export interface HbaOauthOptions extends HbaRuleOptions {
  /** URL of the issuer, as the client finds it in its token. */
  readonly issuer: string;

  /** Scopes that a token must have, one at least. */
  readonly scope: string[];

  /**
   * Which of several validator libraries looks at the token.
   *
   * @default - the only one
   */
  readonly validator?: string;

  /**
   * The name of a map of `pg_ident.conf` from the validator's identity to a role.
   *
   * @default - they are equal
   */
  readonly map?: string;

  /**
   * Whether the validator decides about the role too, and no map is looked at.
   *
   * @default false
   */
  readonly delegateIdentMapping?: boolean;
}

/**
 * A line of `pg_hba.conf` (SEC-14). Connections are TLS, always, and the first line that fits decides. There is no method that lets in without
 * proof, and none that gives a password away. After the last line everybody is refused.
 */
export class HbaRule {
  /**
   * Login by password, of which the server keeps a SCRAM verifier.
   *
   * @param options who, and from where
   */
  public static scramSha256(options: HbaRuleOptions): HbaRule {
    return new HbaRule({ ...who(options), method: 'scram-sha-256' });
  }

  /**
   * Login by certificate.
   *
   * @param options who, from where, and by which map
   */
  public static cert(options: HbaCertificateOptions): HbaRule {
    return new HbaRule({ ...who(options), method: 'cert', map: options.map });
  }

  /**
   * Login by a token of OAuth.
   *
   * @param options who, from where, and whose token
   */
  public static oauth(options: HbaOauthOptions): HbaRule {
    const { issuer, scope, validator, map, delegateIdentMapping } = options;
    return new HbaRule({
      ...who(options),
      method: 'oauth',
      oauth: { issuer, scope, validator, map, delegateIdentMapping },
    });
  }

  /**
   * No login.
   *
   * @param options who, and from where
   */
  public static reject(options: HbaRuleOptions): HbaRule {
    return new HbaRule({ ...who(options), method: 'reject' });
  }

  private constructor(
    /** @internal */
    public readonly _model: HbaRuleModel,
  ) {}
}

function who({ databases, roles, address }: HbaRuleOptions) {
  return { databases: databases ?? ['all'], roles: roles ?? ['all'], address };
}
