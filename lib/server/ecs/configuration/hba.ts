import { isCidr, isToken, show } from './text';

/** How a client proves who it is. There is no clear password, no `md5` and no `trust`. */
export type HbaMethod = 'scram-sha-256' | 'cert' | 'oauth' | 'reject';

/** A line of `pg_hba.conf`. Connections are TLS, always; the first line that fits decides. */
export interface HbaRule {
  /** Names of databases, or `all`. */
  readonly databases: readonly string[];
  /** Names of roles, `+name` for the members of a group, or `all`. */
  readonly roles: readonly string[];
  /** CIDR block from which the client comes; may be a token. */
  readonly address: string;
  readonly method: HbaMethod;
  /** Of the method `oauth` (18 and later), which needs a validator library in the image and in `oauth_validator_libraries`. */
  readonly oauth?: HbaOAuth;
  /** Of the method `cert`: the name of a map of `pg_ident.conf`. @default the common name of the certificate is the name of the role */
  readonly map?: string;
}

/** What would end a text of `pg_hba.conf`, or its line. */
const UNWRITABLE = /[\0\r\n"]/;

/** SEC-17. */
export interface HbaOAuth {
  /** URL of the issuer, as the client finds it in its token. */
  readonly issuer: string;
  /** Scopes that a token must have. */
  readonly scope: readonly string[];
  /** Which of several validator libraries looks at the token. @default the only one */
  readonly validator?: string;
  /** The name of a map of `pg_ident.conf` from the validator's identity to a role. @default they are equal */
  readonly map?: string;
  /** The validator decides about the role too, and no map is looked at. @default false */
  readonly delegateIdentMapping?: boolean;
}

/** The libraries in a value of `oauth_validator_libraries`. */
export function validatorLibraries(value = ''): string[] {
  return value
    .split(',')
    .map((library) => library.trim().replace(/^"(.*)"$/, '$1'))
    .filter((library) => library !== '');
}

/**
 * Everything that is wrong with rules (SEC-14), each in words that continue "hba". Empty: nothing.
 *
 * @param validators the libraries of `oauth_validator_libraries`
 */
export function hbaProblems(
  rules: readonly HbaRule[],
  majorVersion: number,
  validators: readonly string[] = [],
): string[] {
  return rules.flatMap((rule, index) =>
    ruleProblems(rule, majorVersion, validators).map((problem) => `[${index}]: ${problem}`),
  );
}

function ruleProblems(rule: HbaRule, majorVersion: number, validators: readonly string[]): string[] {
  const problems: string[] = [];
  const isRejection = rule.method === 'reject';
  for (const [field, names] of Object.entries({ databases: rule.databases, roles: rule.roles })) {
    if (names.length === 0) problems.push(`${field} is empty; name some, or 'all'`);
    for (const name of names)
      if (name === '' || UNWRITABLE.test(name))
        problems.push(`${field}: ${show(name)} cannot be written in pg_hba.conf`);
  }
  if (rule.databases.includes('replication'))
    problems.push(`databases: 'replication' is for members alone, which the cluster's own lines let in`);
  if (!isRejection && rule.databases.includes('all') && rule.roles.includes('all'))
    problems.push(`every role in every database; name the databases or the roles (SEC-14)`);
  if (!isToken(rule.address) && !isCidr(rule.address))
    problems.push(`address: ${show(rule.address)} is no CIDR block, such as 10.0.0.0/16`);
  else if (!isRejection && /\/0$/.test(rule.address))
    problems.push(`address: ${rule.address} is everywhere; name the network of the clients (SEC-14)`);
  switch (rule.method as string) {
    case 'scram-sha-256':
    case 'cert':
    case 'reject':
      break;
    case 'oauth':
      problems.push(...oauthProblems(rule.oauth, majorVersion, validators));
      break;
    case 'trust':
      problems.push(`method: trust lets in whoever asks; take scram-sha-256 (SEC-14)`);
      break;
    case 'password':
    case 'md5':
      problems.push(
        `method: ${rule.method} gives the password, or what is as good as it, away; take scram-sha-256 (SEC-14)`,
      );
      break;
    default:
      problems.push(`method: ${show(rule.method)} is none of scram-sha-256, cert, oauth, reject`);
  }
  if (rule.oauth && rule.method !== 'oauth')
    problems.push(`oauth: belongs to the method oauth, and this is ${rule.method}`);
  if (rule.map !== undefined && rule.method !== 'cert')
    problems.push(`map: belongs to the method cert; that of oauth is oauth.map`);
  const options = { map: rule.map, 'oauth.map': rule.oauth?.map, 'oauth.validator': rule.oauth?.validator };
  for (const [field, value] of Object.entries(options))
    if (value !== undefined && (value === '' || UNWRITABLE.test(value)))
      problems.push(`${field}: ${show(value)} cannot be written in pg_hba.conf`);
  return problems;
}

function oauthProblems(oauth: HbaOAuth | undefined, majorVersion: number, validators: readonly string[]): string[] {
  if (majorVersion < 18) return [`method: oauth comes with 18, and this is ${majorVersion}`];
  if (!oauth) return [`oauth: name the issuer and the scope`];
  const problems: string[] = [];
  if (!/^https:\/\/[^\s"\\]+$/.test(oauth.issuer))
    problems.push(`oauth.issuer: ${show(oauth.issuer)} must be a URL that begins with https://`);
  if (oauth.scope.length === 0)
    problems.push(`oauth.scope: name at least one scope, or any token of the issuer is let in`);
  for (const scope of oauth.scope)
    if (!/^[\x21\x23-\x5B\x5D-\x7E]+$/.test(scope)) problems.push(`oauth.scope: ${show(scope)} is no scope (RFC 6749)`);
  if (oauth.delegateIdentMapping && oauth.map !== undefined)
    problems.push(`oauth: a map is not looked at with delegateIdentMapping; leave one of them out`);
  problems.push(...validatorProblems(oauth.validator, validators));
  return problems;
}

/** PostgreSQL starts with no line whose validator it does not know. */
function validatorProblems(validator: string | undefined, validators: readonly string[]): string[] {
  if (validators.length === 0)
    return [`oauth: name the library that looks at tokens in the parameter oauth_validator_libraries`];
  if (validator === undefined && validators.length > 1)
    return [`oauth.validator: name one of ${validators.join(', ')}, which oauth_validator_libraries has`];
  if (validator !== undefined && !validators.includes(validator))
    return [
      `oauth.validator: ${show(validator)} is not in oauth_validator_libraries, which has ${validators.join(', ')}`,
    ];
  return [];
}

/** A rule as a line of `pg_hba.conf`. */
export function hbaLine(rule: HbaRule): string {
  const fields = ['hostssl', names(rule.databases), names(rule.roles), rule.address, rule.method];
  if (rule.map !== undefined) fields.push(`map=${quote(rule.map)}`);
  if (rule.oauth) {
    const { issuer, scope, validator, map, delegateIdentMapping } = rule.oauth;
    fields.push(`issuer=${quote(issuer)}`, `scope=${quote(scope.join(' '))}`);
    if (validator !== undefined) fields.push(`validator=${quote(validator)}`);
    if (map !== undefined) fields.push(`map=${quote(map)}`);
    if (delegateIdentMapping) fields.push('delegate_ident_mapping=1');
  }
  return fields.join(' ');
}

/** `all` and `+group` have a meaning only without quotes, other keywords are names with quotes. */
function names(list: readonly string[]): string {
  return list
    .map((name) => {
      if (name === 'all') return name;
      return name.startsWith('+') ? `+${quote(name.slice(1))}` : quote(name);
    })
    .join(',');
}

function quote(text: string): string {
  return `"${text}"`;
}
