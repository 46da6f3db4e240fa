import { aws_ec2 as ec2 } from 'aws-cdk-lib';
import { memoryOf } from './monitoring/capacity';

/**
 * The families whose memory was compared, size by size, with what EC2's DescribeInstanceTypes says of the machines that they are made of.
 * A number that goes into a parameter may come from these alone; alarms bear an estimate.
 */
const VERIFIED: ReadonlySet<string> = new Set(
  (
    'c6gd m4 m5 m5d m6g m6gd m6i m6id m7g m7i m8g m8gd r5 r5b r5d r6g r6gd r6i r6id r7g r7i r8g r8gd ' +
    't2 t3 t4g x2idn x2iedn z1d'
  ).split(' '),
);

/** The memory of an instance class in GiB. Undefined: a token, or a class whose memory was not verified. */
export function instanceMemoryGiB(instanceType: ec2.InstanceType): number | undefined {
  const memory = memoryOf(instanceType);
  const [family = ''] = instanceType.toString().split('.');
  return memory === undefined || !VERIFIED.has(family) ? undefined : memory / 1024 ** 3;
}
