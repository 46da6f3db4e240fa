import { Size, SizeRoundingBehavior } from 'aws-cdk-lib';

/** What RDS takes for PostgreSQL, in GiB (RDS user guide, "DB instance storage"). Provisioned IOPS start higher. */
export const STORAGE_RANGE = { least: 20, leastWithProvisionedIops: 100, most: 65_536 };

/** Throws for storage that RDS would refuse minutes later. A token cannot be judged. */
export function requireStorage(path: string, prop: string, size: Size, least: number = STORAGE_RANGE.least): void {
  if (size.isUnresolved()) return;
  const gib = size.toGibibytes({ rounding: SizeRoundingBehavior.NONE });
  if (Number.isInteger(gib) && gib >= least && gib <= STORAGE_RANGE.most) return;
  throw new Error(`${path}: ${prop} is ${gib} GiB; RDS takes whole GiB from ${least} to ${STORAGE_RANGE.most}`);
}
