import { Token, aws_ec2 as ec2 } from 'aws-cdk-lib';
import { instanceMemoryGiB } from '../instance-memory';

/**
 * What a hot standby must have at least as large as its primary, or it stops replaying (HA-12). From "Administrator's Overview" of
 * PostgreSQL's chapter on hot standby; all are static.
 */
export const AT_LEAST_AS_PRIMARY = [
  'max_connections',
  'max_locks_per_transaction',
  'max_prepared_transactions',
  'max_wal_senders',
  'max_worker_processes',
] as const;

/** What RDS has where a group says nothing, as its user guide gives it. */
const RDS_MAX_CONNECTIONS = 'LEAST({DBInstanceClassMemory/9531392},5000)';

export interface StandbyParametersOptions {
  readonly path: string;
  /** The group of the primary. */
  readonly primary: Readonly<Record<string, string>>;
  readonly primaryType: ec2.InstanceType;
  /** The group of the replica, without what this adds. */
  readonly replica: Readonly<Record<string, string>>;
  readonly replicaType: ec2.InstanceType;
  /** What the user wrote for the replica alone. */
  readonly overrides: Readonly<Record<string, string>>;
}

/** The group of the replica, with nothing smaller than the primary has it. A smaller value that the user wrote is an error. */
export function standbyParameters(options: StandbyParametersOptions): Record<string, string> {
  const result: Record<string, string> = { ...options.replica };
  for (const name of AT_LEAST_AS_PRIMARY) {
    const value = atLeast(options, name);
    if (value === undefined) delete result[name];
    else result[name] = value;
  }
  return Object.fromEntries(Object.entries(result).sort(([a], [b]) => (a < b ? -1 : 1)));
}

function atLeast(options: StandbyParametersOptions, name: string): string | undefined {
  const { path, primary, overrides, primaryType, replicaType } = options;
  const own = overrides[name];
  const needed = primary[name];
  if (own !== undefined) {
    const floor = evaluate(name, needed, primaryType);
    const given = evaluate(name, own, replicaType);
    if (floor !== undefined && given !== undefined && given < floor) {
      throw new Error(
        `${path}: parameter ${name} = ${JSON.stringify(own)} is less than the primary's ${floor}, and the replica would stop replaying: ` +
          'leave it out, or write at least as much',
      );
    }
    return own;
  }
  if (name !== 'max_connections' || primaryType.toString() === replicaType.toString()) return needed;
  if (needed !== undefined && /^\d+$/.test(needed)) return needed;
  if (Token.isUnresolved(needed)) return needed;
  return byMemory(options, needed);
}

/** A formula gives a smaller class less. The number is taken for the primary's whole memory, so that it is an upper bound. */
function byMemory({ path, primaryType, replicaType }: StandbyParametersOptions, needed: string | undefined) {
  const floor = evaluate('max_connections', needed, primaryType);
  const here = instanceMemoryGiB(replicaType);
  const there = instanceMemoryGiB(primaryType);
  if (here !== undefined && there !== undefined && here >= there) return needed;
  if (floor !== undefined) return String(floor);
  throw new Error(
    `${path}: the replica is ${replicaType} and its primary ${primaryType}, whose max_connections is the formula ` +
      `${needed ?? RDS_MAX_CONNECTIONS} of a memory that this library does not know: write max_connections as a number in the ` +
      'parameters of the server, which the replica then has too',
  );
}

/** The number that a value comes to on a class; of a formula its upper bound. Undefined: not known here. */
function evaluate(name: string, value: string | undefined, type: ec2.InstanceType): number | undefined {
  if (value === undefined) return name === 'max_connections' ? evaluate(name, RDS_MAX_CONNECTIONS, type) : undefined;
  if (Token.isUnresolved(value)) return undefined;
  if (/^\d+$/.test(value)) return Number(value);
  const formula = /^(?:LEAST\()?\{DBInstanceClassMemory\/(\d+)\}(?:,(\d+)\))?$/.exec(value.replace(/\s/g, ''));
  const memory = instanceMemoryGiB(type);
  if (!formula || memory === undefined) return undefined;
  const number = Math.ceil((memory * 1024 ** 3) / Number(formula[1]));
  return formula[2] === undefined ? number : Math.min(number, Number(formula[2]));
}
