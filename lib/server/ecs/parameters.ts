import { aws_ec2 as ec2 } from 'aws-cdk-lib';
import { memoryOf } from '../monitoring/capacity';
import { defaultsV1 } from '../parameters/defaults-v1';
import type { SupportedMajor } from '../postgres-version';
import type { Storage } from './storage';

const MIB = 1024 ** 2;

/** What this library sets on RDS too and does not set here: `rds.` is the service's own, and the cluster sets the rest itself. */
const ELSEWHERE = ['password_encryption'];

/** Of a task on Fargate, and of a class that is not known. */
export const SMALL_MEMORY = 4096 * MIB;

/** The memory of a member in bytes. */
export function memberMemory(storage: Storage, instanceType: ec2.InstanceType): number {
  return storage.isEphemeral ? SMALL_MEMORY : (memoryOf(instanceType) ?? SMALL_MEMORY);
}

/** The parameters of a member: the opinion of this library, what its memory and volume allow, and last what the user says. */
export function memberParameters(options: {
  readonly major: SupportedMajor;
  readonly memory: number;
  readonly storageGib: number;
  readonly overrides: Readonly<Record<string, string>>;
}): Record<string, string> {
  const { major, memory, storageGib, overrides } = options;
  const mebibytes = Math.floor(memory / MIB);
  const opinion = defaultsV1('rds', major, storageGib)
    .filter(({ name }) => !name.startsWith('rds.') && !ELSEWHERE.includes(name))
    .map(({ name, value }) => [name, value]);
  return {
    ...(Object.fromEntries(opinion) as Record<string, string>),
    max_connections: String(Math.min(1000, Math.max(100, Math.floor(mebibytes / 40)))),
    shared_buffers: `${Math.floor(mebibytes / 4)}MB`,
    effective_cache_size: `${Math.floor((mebibytes * 7) / 10)}MB`,
    maintenance_work_mem: `${Math.min(2048, Math.max(64, Math.floor(mebibytes / 16)))}MB`,
    ...overrides,
  };
}
