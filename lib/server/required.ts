import { Duration, Size, Token, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { isIPv6 } from 'node:net';
import { RecoveryObjectives } from './objectives';
import { Defaults, PostgresProfile } from './postgres-profile';
import { PostgresVersion } from './postgres-version';
import reservedWords from './reserved-words.json';

const OBJECTIVES_EXAMPLE = 'objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(30) }';

/** What has no default must be there also where no compiler looks: plain JavaScript, tsx, `as any`. */
export function requireObjectives(path: string, objectives: RecoveryObjectives | undefined): RecoveryObjectives {
  if (objectives === undefined || objectives === null) {
    throw new Error(
      `${path}: objectives is missing; write what the business can bear, such as ${OBJECTIVES_EXAMPLE}: the guards compare the server with it (BK-1)`,
    );
  }
  for (const [prop, meaning] of [
    ['rpo', 'how much work may be lost'],
    ['rto', 'how long the database may be away'],
  ] as const) {
    const value: Duration | undefined = objectives[prop];
    if (value === undefined || value === null) {
      throw new Error(`${path}: objectives.${prop} is missing; write ${meaning}, as in ${OBJECTIVES_EXAMPLE}`);
    }
    if (!(value instanceof Duration) || value.isUnresolved()) {
      const given = value instanceof Duration ? 'a token' : shown(value);
      throw new Error(`${path}: objectives.${prop} is ${given}; write a literal Duration, as in ${OBJECTIVES_EXAMPLE}`);
    }
  }
  return objectives;
}

/** See `requireObjectives()`. */
export function requireVersion(path: string, version: PostgresVersion | undefined): PostgresVersion {
  if (version instanceof PostgresVersion) return version;
  if (version === undefined || version === null) {
    throw new Error(`${path}: version is missing; write the PostgreSQL version, such as version: PostgresVersion.V18`);
  }
  throw new Error(
    `${path}: version is ${shown(version)}; write one as PostgresVersion.V18, or PostgresVersion.of('18.1') for a minor version`,
  );
}

/** A text would be no production, and so a server without standby, protection and backups. */
export function requireProfile(path: string, profile: PostgresProfile | undefined): PostgresProfile {
  if (profile === undefined || profile === null) return PostgresProfile.production();
  if (profile instanceof PostgresProfile) return profile;
  throw new Error(
    `${path}: profile is ${shown(profile)}; write PostgresProfile.production() or PostgresProfile.development()`,
  );
}

export function requireDefaults(path: string, defaults: Defaults | undefined): Defaults {
  if (defaults === undefined || defaults === null) return Defaults.V1;
  const known = Object.values(Defaults);
  if (known.includes(defaults)) return defaults;
  throw new Error(
    `${path}: defaults is ${shown(defaults)}; write ${known.map((one) => `Defaults.${one}`).join(' or ')}`,
  );
}

/** The template gets `db.` before the class, here and in aws-cdk-lib. */
export function requireInstanceType(path: string, instanceType: ec2.InstanceType): ec2.InstanceType {
  const name = instanceType.toString();
  if (Token.isUnresolved(name) || !/^db\./i.test(name)) return instanceType;
  throw new Error(
    `${path}: instanceType is '${name}'; leave out 'db.', which the template gets by itself: new InstanceType('${name.slice(3)}')`,
  );
}

/** Roles that RDS makes itself, and those that it documents as taken. */
const RDS_ROLES = [
  'admin',
  'rdsadmin',
  'rdsrepladmin',
  'rds_ad',
  'rds_iam',
  'rds_password',
  'rds_replication',
  'rds_superuser',
];

/** What PostgreSQL takes for no name of a role (manual, "CREATE ROLE"), besides its reserved key words. */
const NO_ROLES = ['none', 'public'];

/** The name of a new master user, as RDS for PostgreSQL takes it. */
export function requireMasterUsername(path: string, name: string): string {
  if (Token.isUnresolved(name)) return name;
  const refuse = (why: string) => new Error(`${path}: masterUsername is ${shown(name)}; ${why}`);
  if (typeof name !== 'string' || !/^[a-z][a-z0-9_]{0,62}$/i.test(name))
    throw refuse('RDS takes 1 to 63 letters, digits and underscores, a letter first');
  if (name !== name.toLowerCase())
    throw refuse(
      `RDS makes it in lower case, and the secret would name a user that is not there; write '${name.toLowerCase()}'`,
    );
  if (name.startsWith('pg_')) throw refuse("PostgreSQL reserves names that begin with 'pg_'; choose another one");
  if ([...RDS_ROLES, ...NO_ROLES, ...reservedWords].includes(name))
    throw refuse('RDS for PostgreSQL refuses it as a reserved word; choose another one, or leave it out for postgres');
  return name;
}

/** A port is a number on every server, and one that is known at synthesis. */
export function requirePort(
  path: string,
  port: number,
  range: { readonly min: number; readonly max: number; readonly who: string },
): number {
  if (Token.isUnresolved(port)) {
    throw new Error(
      `${path}: port is a token; write the number, since security group rules with a token port cannot be judged`,
    );
  }
  if (typeof port !== 'number') {
    const number = Number(port);
    const advice = Number.isInteger(number) && number > 0 ? `port: ${number}, without quotes` : 'a number';
    throw new Error(`${path}: port is ${shown(port)}, a ${typeof port}; write ${advice}`);
  }
  if (!Number.isInteger(port) || port < range.min || port > range.max) {
    throw new Error(`${path}: port is ${port}; ${range.who} ${range.min} to ${range.max}`);
  }
  return port;
}

/** What a server is, for the ledger: missing or empty where no compiler looked. */
export function requireIdentity(path: string, identity: string | undefined, example: string): string {
  if (identity === undefined || identity === null) {
    throw new Error(`${path}: identity is missing; write ${example}, since the ledger compares it with what it stored`);
  }
  if (typeof identity !== 'string') {
    throw new Error(`${path}: identity is ${shown(identity)}, no text; write ${example}`);
  }
  if (identity.trim() === '') throw new Error(`${path}: identity is empty; write ${example}`);
  return identity;
}

/** The value goes into no message: what is wrong with it may be that it has a password. */
export function requireHost(path: string, prop: string, host: string): void {
  if (Token.isUnresolved(host)) return;
  if (typeof host !== 'string') {
    throw new Error(`${path}: ${prop} is missing; write the host name, such as db.example.com`);
  }
  if (host.trim() === '') throw new Error(`${path}: ${prop} is empty`);
  if (/[\s/@?#[\]\0]/.test(host) || (host.includes(':') && !isIPv6(host))) {
    throw new Error(
      `${path}: ${prop} must be a host name or an address alone, such as db.example.com, without scheme, user, port, path or spaces; ` +
        'the port has a prop of its own, and the user is in adminSecret',
    );
  }
}

/** What a user states of a server that this app does not know. */
export function requireMaxConnections(path: string, value: number | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (Token.isUnresolved(value) || !Number.isInteger(value) || value < 1)
    throw new Error(
      `${path}: maxConnections is ${Token.isUnresolved(value) ? 'a token' : shown(value)}; write the server's max_connections, a literal number`,
    );
  return value;
}

/** A Duration, also where no compiler looks; `example` is what to write for a value of the usual kind. */
export function requireDuration(path: string, prop: string, value: Duration, example: string): Duration {
  if (value instanceof Duration) return value;
  throw new Error(`${path}: ${prop} is ${shown(value)}; write a Duration, such as ${withNumber(example, value)}`);
}

/** See `requireDuration()`. */
export function requireSize(path: string, prop: string, value: Size): Size {
  if (value instanceof Size) return value;
  throw new Error(
    `${path}: ${prop} is ${shown(value)}; write a Size, such as ${withNumber('Size.gibibytes(100)', value)}`,
  );
}

/** The number that was written is what was meant, most often in the usual unit. */
function withNumber(example: string, value: unknown): string {
  const isUsable = typeof value === 'number' && Number.isInteger(value) && value > 0;
  return isUsable ? example.replace(/\d+/, String(value)) : example;
}

/** The id of a network is none yet. */
export function requireVpc(path: string, vpc: ec2.IVpc | undefined): ec2.IVpc {
  if (!vpc) throw new Error(`${path}: vpc is ${String(vpc)}; a server needs a network to stand in`);
  if (typeof vpc !== 'object') {
    const found = typeof vpc === 'string' ? `ec2.Vpc.fromLookup(this, 'Vpc', { vpcId: ${shown(vpc)} })` : 'an ec2.Vpc';
    throw new Error(`${path}: vpc is ${shown(vpc)}; write ${found}`);
  }
  return vpc;
}

/** The object with all the rest, where no compiler looked. */
export function requireProps<T extends object>(path: string, props: T | undefined, example: string): T {
  if (typeof props === 'object' && props !== null) return props;
  throw new Error(
    `${path}: its properties are ${props === undefined ? 'missing' : shown(props)}; write an object, such as ${example}`,
  );
}

/** A `ServerTrust`, also where no compiler looks: its name alone would be passed over. */
export function requireTrust(path: string, trust: { readonly value: string } | undefined): void {
  if (trust === undefined || typeof trust?.value === 'string') return;
  throw new Error(
    `${path}: trust is ${given(trust)}; write ServerTrust.publicRoots(), ServerTrust.rds() or ServerTrust.pem(text)`,
  );
}

/** What was given where a literal belongs: a token's own text would say nothing. */
export function given(value: unknown): string {
  return Token.isUnresolved(value) ? 'a token' : shown(value);
}

/** A text in quotes, and of an object no more than what it is: it may be large, or go in circles. */
export function shown(value: unknown): string {
  if (typeof value === 'string') return `'${value}'`;
  return typeof value === 'object' && value !== null ? `a ${value.constructor?.name ?? 'object'}` : String(value);
}

/** A number that counts something, also where no compiler looks. */
export function requireWholeNumber(path: string, prop: string, value: number, min: number, max = Infinity): number {
  if (Token.isUnresolved(value) || !Number.isInteger(value) || value < min || value > max) {
    const range = max === Infinity ? `from ${min} on` : `from ${min} to ${max}`;
    throw new Error(`${path}: ${prop} must be a whole number ${range}, not ${given(value)}`);
  }
  return value;
}

/** A switch, also where no compiler looks: every text is true to JavaScript, 'no' as well. */
export function requireBoolean(path: string, prop: string, value: boolean | undefined): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value;
  throw new Error(`${path}: ${prop} is ${given(value)}; write true or false`);
}
