import { Token, aws_ec2 as ec2 } from 'aws-cdk-lib';

const GIB = 1024 ** 3;

/** GiB for each `large`, which has two processors. Families by the letters that their names start with, the longest first. */
const GIB_OF_A_LARGE: readonly [RegExp, number][] = [
  [/^x2iedn|^x1e/, 64],
  [/^x\d/, 32],
  [/^r\d/, 16],
  [/^z1d/, 16],
  [/^m\d/, 8],
  [/^t\d/, 8],
  [/^c\d/, 4],
];

const SMALLER: Readonly<Record<string, number>> = { micro: 1 / 8, small: 1 / 4, medium: 1 / 2, large: 1, xlarge: 2 };

/** The memory of an instance class in bytes. Undefined: a token, or a class that this table does not know. */
export function memoryOf(instanceType: ec2.InstanceType): number | undefined {
  const name = instanceType.toString();
  if (Token.isUnresolved(name)) return undefined;
  const [family = '', size = ''] = name.split('.');
  const large = GIB_OF_A_LARGE.find(([families]) => families.test(family))?.[1];
  const larges = SMALLER[size] ?? (/^\d+xlarge$/.test(size) ? 2 * parseInt(size, 10) : undefined);
  return large === undefined || larges === undefined ? undefined : large * larges * GIB;
}

/** The memory that a serverless node has at its largest: 2 GiB for each unit of capacity. */
export function serverlessMemory(maxCapacity: number): number {
  return maxCapacity * 2 * GIB;
}

/**
 * How many connections a node takes: what the parameter says, or what the service makes of the memory. Its formula counts the memory that
 * the operating system leaves, which nobody publishes; a twentieth is taken off for it.
 */
export function connectionsOf(parameter: string | undefined, memory: number | undefined): number | undefined {
  if (parameter !== undefined && /^\d+$/.test(parameter)) return Number(parameter);
  if (parameter !== undefined || memory === undefined) return undefined;
  return Math.min(5000, Math.floor((memory * 0.95) / 9531392));
}

/** How many sessions a server takes, and how many of them it keeps for those who repair it. */
export interface ConnectionCapacity {
  readonly connections: number;
  /** How that is known. */
  readonly how: string;
  /** `superuser_reserved_connections`, `reserved_connections` and RDS's own reserve together. */
  readonly reserved: number;
}

/** What a serverless node takes at the most where its least is half a unit or less, whatever its memory. */
export const MOST_OF_SMALL_SERVERLESS = 2000;

/**
 * The sessions that a parameter group and a memory come to. A formula counts the memory that the operating system leaves; see
 * `connectionsOf()`. Undefined: not known here.
 */
export function connectionCapacity(options: {
  readonly parameters: Readonly<Record<string, string>>;
  readonly memory?: number;
  /** What has the memory, such as `r7g.large`. */
  readonly node: string;
  /** No more than this, whatever the formula says. */
  readonly atMost?: number;
}): ConnectionCapacity | undefined {
  const { parameters, memory, node, atMost = Infinity } = options;
  const parameter = parameters.max_connections;
  const given = parameter !== undefined && /^\d+$/.test(parameter);
  const connections = given ? Number(parameter) : formulaOf(parameter, memory);
  if (connections === undefined) return undefined;
  return {
    connections: given ? connections : Math.min(connections, atMost),
    how: given ? 'the parameter max_connections' : `what RDS makes of the memory of ${node}`,
    reserved:
      count(parameters['superuser_reserved_connections'], 3) +
      count(parameters['reserved_connections'], 0) +
      count(parameters['rds.rds_superuser_reserved_connections'], 2),
  };
}

/** What the user states, of a server whose parameters are not known here. */
export function statedCapacity(connections: number | undefined, reserved: number): ConnectionCapacity | undefined {
  return connections === undefined ? undefined : { connections, how: 'maxConnections, as stated', reserved };
}

function formulaOf(parameter: string | undefined, memory: number | undefined): number | undefined {
  if (parameter === undefined) return connectionsOf(undefined, memory);
  const formula = /^(?:LEAST\()?\{DBInstanceClassMemory\/(\d+)\}(?:,(\d+)\))?$/.exec(parameter.replace(/\s/g, ''));
  if (!formula || memory === undefined) return undefined;
  return Math.min(Math.floor((memory * 0.95) / Number(formula[1])), Number(formula[2] ?? Infinity));
}

function count(parameter: string | undefined, byDefault: number): number {
  return parameter !== undefined && /^\d+$/.test(parameter) ? Number(parameter) : byDefault;
}
