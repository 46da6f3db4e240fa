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
